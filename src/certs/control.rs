//! What the `cert` command and the keeper say to each other: one JSON object on a line each way, over a Unix socket.
//!
//! Pure shapes. Root alone is heard. Invariant: an answer holds no key.

use serde::{Deserialize, Serialize};

use super::report::Report;

/// Where the keeper listens, below the appliance's root.
pub const SOCKET: &str = "run/certs/control.sock";

/// What a client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// How it is, as far as is known.
    Show,
    /// Look and prove now.
    Check,
    /// Look now, and take what was refused before; with `anew` what is good is replaced as well.
    Renew {
        #[serde(default)]
        anew: bool,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Reply {
    Report(Box<Report>),
    Refused { reason: String },
}
