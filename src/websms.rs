//! WebSMS: text messages between carriers, who speak HTTP, and the phones of the exchange.
//!
//! A message from outside is on disk before the carrier hears that it was taken; a message from a phone is on disk before
//! the dialplan goes on. `message` holds the words that all share, `profile` what is known of a carrier's interface.
//!
//! A webhook goes through `source` (who sent it), `door` (which interface it is for), `verify` (whether it is the carrier's)
//! and `extract` (what it says); `request` is what they look at, `body` makes a `document` of it and `path` finds its way
//! there. Those rooms are pure.
//!
//! Invariant: nothing that came from outside reaches Asterisk, a log or a shell but as a value of a typed field.

pub mod body;
pub mod document;
pub mod door;
pub mod extract;
pub mod message;
pub mod path;
pub mod profile;
pub mod request;
pub mod source;
pub mod verify;
