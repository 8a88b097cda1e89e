//! What lasts and what follows: the values that the ledger takes and gives.
//!
//! Pure.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::autoban::cidr::Cidr;
use crate::autoban::evidence::{Grade, Kind};
use crate::autoban::key::{Change, Network, Set, Source};

/// One lasting change. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Fact {
    Offender {
        source: Source,
        #[serde(flatten)]
        record: Offender,
    },
    Free {
        source: Source,
    },
    Weak {
        source: Source,
        #[serde(flatten)]
        record: Span,
    },
    WeakFree {
        source: Source,
    },
    Network {
        network: Network,
        #[serde(flatten)]
        record: Span,
    },
    NetworkFree {
        network: Network,
    },
    Trust {
        source: Source,
        until: i64,
    },
    List {
        list: List,
        cidr: Cidr,
        comment: String,
    },
    Unlist {
        list: List,
        cidr: Cidr,
    },
}

/// A source that was sentenced: in jail before `until`, on parole before `parole_until`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offender {
    pub kind: Kind,
    /// How many sentences so far.
    pub level: u8,
    pub since: i64,
    pub until: i64,
    pub parole_until: i64,
    /// Whether it speaks against its network.
    pub aggregates: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// A ban without parole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    pub kind: Kind,
    pub since: i64,
    pub until: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// The lists that an operator keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    White,
    Black,
}

/// What is worth a line in the log or a number in a counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Note {
    Jailed {
        source: Source,
        record: Offender,
        trusted: bool,
    },
    WeakBanned {
        source: Source,
        record: Span,
    },
    NetworkBanned {
        network: Network,
        record: Span,
    },
    /// Its time in jail is over; it is on parole until the moment given.
    Released {
        source: Source,
        parole_until: i64,
    },
    /// A ban ended early because somebody there is trusted.
    Pardoned {
        cidr: Cidr,
    },
    /// A trusted source is abused or abuses; it is not banned yet.
    TrustedSuspect {
        source: Source,
        grade: Grade,
        kind: Kind,
    },
    /// All clients come from the gateway's address: something hides who they are.
    SourceHidden {
        gateway: IpAddr,
    },
    /// Freed for want of room.
    Evicted {
        source: Source,
        set: Set,
    },
    /// Not banned: no room, and nobody who could be spared.
    Full {
        source: Source,
        set: Set,
    },
    /// An operation left this one out, and why.
    Skipped {
        cidr: Cidr,
        why: &'static str,
    },
}

/// What follows from an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// For the kernel, in this order.
    pub changes: Vec<Change>,
    /// For the log.
    pub notes: Vec<Note>,
    /// For the journal.
    pub facts: Vec<Fact>,
    /// The white or the black list is another one: write both anew ([`Ledger::listed`]).
    pub lists: bool,
}
