//! AutoBan: from Asterisk's security events to the kernel's drop rules.
//!
//! How the pieces fit: [`asterisk::ami::frame`](crate::asterisk::ami::frame) cuts the stream, `evidence` weighs an event,
//! `ledger` keeps the books (`score` counts for one source, `policy` says how much is enough), and what follows is changes
//! for the kernel, notes for the log and facts for the `journal`. `config` reads autoban.conf, `cidr` and `key` are the words
//! that all share, `legacy`, `blocklist` and `witness` read what others wrote, `named_lists` takes lists of Asterisk's as ours, `outbox` paces what a webhook is told.
//! Those rooms are pure; `firewall` carries out what they ask for, and `daemon` brings all of it together.
//!
//! Invariant: the kernel is written, never read, between an event and its ban.

pub mod acl;
pub mod blocklist;
pub mod cidr;
pub mod config;
pub mod control;
pub mod daemon;
pub mod evidence;
pub mod firewall;
pub mod journal;
pub mod key;
pub mod ledger;
pub mod legacy;
pub mod named_lists;
pub mod outbox;
pub mod policy;
pub mod ruleset;
pub mod score;
pub mod witness;
