//! AutoBan: from Asterisk's security events to the kernel's drop rules.
//!
//! `key` and the rooms that decide are pure; `firewall` carries out what they ask for. Invariant: the kernel is written,
//! never read, between an event and its ban.

pub mod block;
pub mod firewall;
pub mod key;
pub mod ruleset;
