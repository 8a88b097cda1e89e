//! Asterisk's Named ACLs: what they say, who uses them, how they are changed.
//!
//! A list is in acl.conf or in a database's table; Asterisk looks into the file first. Rules, lists, plans, consumers, the
//! ledger and mappings are pure; only `store` opens files and connections. It reloads nothing: that is `cli::acl`'s.
//! Invariant: nothing is written that Asterisk would not read back as it was asked for.

pub mod consumers;
pub mod ledger;
pub mod list;
pub mod mapping;
pub mod plan;
#[cfg(feature = "services")]
pub mod ranges;
pub mod review;
pub mod rule;
pub mod store;

/// The file of the lists.
pub const FILE: &str = "acl.conf";
