//! What the `autoban` command and its daemon say to each other: one JSON object on a line each way, over a Unix socket.
//!
//! Pure shapes. Invariant: a field that a later version adds has a default, so that an older daemon is understood.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ledger::{Manual, SetName};

/// The version of the shapes; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Where the daemon listens, below the appliance's root; for root and the daemon's own user.
pub const SOCKET: &str = "run/autoban/control.sock";

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How the daemon does.
    Status,
    /// The entries of these sets.
    List { sets: Vec<SetName> },
    /// All that is known of an address.
    Why { address: IpAddr },
    /// An order by hand.
    Manual { order: Manual },
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Reply {
    Status(Box<Status>),
    /// For each set that was asked for its rows, as `ledger::Row` serialises.
    List {
        sets: Vec<(SetName, Vec<Value>)>,
    },
    /// `ledger::Why`, and the same as lines for people.
    Why {
        facts: Value,
        text: String,
    },
    /// How many entries an order by hand changed, and what it could not do, in words.
    Done {
        changed: usize,
        notes: Vec<String>,
    },
    Refused {
        reason: String,
    },
}

/// How the daemon does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub schema: u32,
    /// `kernel`, `acl` (Asterisk's Named ACL, without NET_ADMIN), `none` (neither can, see `problems`), `dry-run` or `off`.
    pub enforcement: String,
    /// Connected to AMI, and listening to security events.
    pub connected: bool,
    /// Why it does less than it should; empty when all is well.
    pub problems: Vec<String>,
    /// All clients come from this address: something hides who they are.
    pub hidden_behind: Option<IpAddr>,
    /// The second witness, Asterisk's log: `listening`, or `away` or `silent` with the reason; empty from an older daemon.
    pub witness: String,
    pub counts: Value,
    /// Events by kind and grade, bans, evictions, hostile frames, gaps: name to number.
    pub counters: Vec<(String, u64)>,
    pub imports: Vec<ImportStatus>,
    /// Not there without a webhook.
    pub webhook: Option<WebhookStatus>,
}

/// How one imported block list does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportStatus {
    /// Address or path, without what is secret.
    pub from: String,
    pub entries: usize,
    /// Lines that are no address or that are not blocked.
    pub left_out: usize,
    /// When it was last there, RFC 3339.
    pub fetched: Option<String>,
    /// Seconds until its entries are over; 0 when they are, or never were there.
    pub left_s: u64,
    /// What went wrong since then.
    pub error: Option<String>,
}

/// How the webhook does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookStatus {
    /// Scheme, host and port.
    pub to: String,
    /// Requests that were taken, and attempts that failed.
    pub requests: u64,
    pub failures: u64,
    /// Events that there was no room for, that were given up, and that wait.
    pub omitted: u64,
    pub lost: u64,
    pub waiting: u64,
    pub error: Option<String>,
}
