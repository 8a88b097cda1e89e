//! Mail from the exchange: what `minivm-send` is given goes to a mail server, if not now then later.
//!
//! `message` reads a mail as sendmail(8) is given it, `route` is the server and how it is spoken to, `letter` what one mail
//! for one recipient goes through, and `words` finds the server that minivm.conf names. Those are pure. `queue` keeps letters
//! on disk, `send` speaks SMTP once, and `daemon` does that until the queue is empty. It refuses to be a mail server: it takes
//! nothing from the network, resolves no MX and never sends a bounce.
//!
//! Invariant: a letter that was taken is on disk until a server has taken it or a person removes it.

pub mod daemon;
pub mod letter;
pub mod message;
pub mod queue;
pub mod route;
pub mod send;
pub mod words;
