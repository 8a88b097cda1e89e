//! WebSMS: text messages between carriers, who speak HTTP, and the phones of the exchange.
//!
//! A message from outside is on disk before the carrier hears that it was taken; a message from a phone is on disk before
//! the dialplan goes on. `message` holds the words that all share, `profile` what is known of a carrier's interface and
//! `profiles` the carriers that are known; `config` reads websms.conf (by `ini`).
//!
//! A webhook goes through `source` (who sent it), `door` (which interface it is for), `verify` (whether it is the carrier's)
//! and `extract` (what it says); `request` is what they look at, `body` makes a `document` of it and `path` finds its way
//! there. `outgoing` writes requests and judges answers, `number` and `segments` know numbers and lengths, `delivery` is a
//! message's life, and `hep` reads the phones' answers. `choose` finds the interface for a message that a program hands in by
//! the words of `control` or of `agi`; `api` is what programs elsewhere may ask over HTTP, and `hook` how they are told. Those rooms are pure; `spool` keeps the messages on
//! disk, and `daemon` brings all of it together.
//!
//! Invariant: nothing that came from outside reaches Asterisk, a log or a shell but as a value of a typed field.

pub mod agi;
pub mod api;
pub mod body;
pub mod choose;
pub mod config;
pub mod control;
pub mod daemon;
pub mod delivery;
pub mod document;
pub mod door;
pub mod extract;
pub mod hep;
pub mod hook;
pub mod ini;
pub mod media;
pub mod message;
pub mod number;
pub mod outgoing;
pub mod path;
pub mod profile;
pub mod profiles;
pub mod request;
pub mod segments;
pub mod source;
pub mod spool;
pub mod trial;
pub mod verify;
