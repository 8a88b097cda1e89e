//! What programs of this machine and the daemon say to each other: one JSON object on a line each way, over a Unix socket.
//!
//! Pure shapes. Root and the daemon's own user may ask all, the PBX's user may hand messages in. Invariant: a field that a
//! later version adds has a default, so that an older daemon is understood.

use serde::{Deserialize, Serialize};

use super::delivery::Moment;

/// The version of the shapes; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Where the daemon listens, below the appliance's root.
pub const SOCKET: &str = "run/websms/control.sock";

/// The longest message that is handed in, as a line, in bytes.
pub const LONGEST: u64 = 64 * 1024;
/// The longest line of a request: a webhook that is replayed is one.
pub const LONGEST_LINE: u64 = 512 * 1024;

/// A message for a carrier, as a program hands it in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedIn {
    pub to: String,
    /// The number that sends; of a SIP address its user.
    pub from: String,
    pub body: String,
    /// Of the interface; none or empty: it is chosen.
    #[serde(default)]
    pub index: Option<String>,
    /// What comes again with the same key is the same message.
    #[serde(default)]
    pub key: Option<String>,
    /// Addresses of pictures, for a carrier that sends them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<String>,
}

/// Its text is nobody's business.
impl std::fmt::Debug for HandedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} -> {} ({} bytes)",
            self.from,
            self.to,
            self.body.len()
        )
    }
}

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Take this message. The answer comes when it is on disk.
    Send(HandedIn),
    /// How the daemon does.
    Status,
    /// Messages, the newest first.
    List {
        /// `in` or `out`.
        #[serde(default)]
        direction: Option<String>,
        #[serde(default)]
        state: Option<String>,
        /// From or to.
        #[serde(default)]
        number: Option<String>,
        #[serde(default)]
        interface: Option<String>,
        /// Older than this one.
        #[serde(default)]
        before: Option<String>,
        #[serde(default)]
        limit: Option<u32>,
    },
    /// One message and what happened to it.
    Show { id: String },
    /// Try one again that ended badly, or that waits.
    Retry { id: String },
    /// Take one back that waits.
    Cancel { id: String },
    /// The last requests of carriers.
    Requests {
        #[serde(default)]
        limit: Option<u32>,
    },
    /// Forget all messages from and to a number, or count them.
    Erase {
        number: String,
        /// Only count.
        #[serde(default)]
        dry: bool,
    },
    /// Send ourselves a webhook as the interface's carrier would.
    TestWebhook {
        /// Of the interface; none: the only one that receives.
        #[serde(default)]
        interface: Option<String>,
        /// For whom; none: the interface's number.
        #[serde(default)]
        to: Option<String>,
        /// The message goes on to the phones.
        #[serde(default)]
        deliver: bool,
    },
    /// Judge a webhook that was written down, without any effect.
    Replay {
        /// Head and body as they came, in base64.
        request: String,
        /// From this address; none: any that the interface lets in.
        #[serde(default)]
        peer: Option<std::net::IpAddr>,
        /// As if it came at this second since 1970.
        #[serde(default)]
        at: Option<u64>,
    },
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Reply {
    /// It is on disk.
    Queued {
        id: String,
        /// Empty: that without index.
        interface: String,
        /// How many short messages it costs.
        segments: usize,
    },
    Status(Status),
    List {
        messages: Vec<Row>,
    },
    Show {
        message: Box<Row>,
        history: Vec<Happened>,
        /// The phones that have had it or refused it.
        #[serde(default)]
        deliveries: Vec<Delivery>,
        #[serde(default)]
        media: Vec<Kept>,
    },
    /// The message is now in this state.
    Done {
        state: String,
    },
    Requests {
        requests: Vec<Asked>,
    },
    /// So many messages were erased, or would be.
    Erased {
        messages: u64,
    },
    /// What each step made of a webhook.
    Trial(Box<Trial>),
    Refused {
        reason: String,
        #[serde(default)]
        hint: Option<String>,
    },
}

impl Reply {
    pub fn refused(reason: impl Into<String>) -> Reply {
        Reply::Refused {
            reason: reason.into(),
            hint: None,
        }
    }
}

/// How the daemon does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub schema: u32,
    /// Why it does less than it should; empty when all is well.
    pub problems: Vec<String>,
    /// Messages that wait for phones.
    pub waiting_in: u32,
    /// Messages that wait for carriers.
    pub waiting_out: u32,
    pub interfaces: Vec<Interface>,
}

/// An interface of websms.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Empty: that without index.
    pub index: String,
    pub profile: Option<String>,
    pub receives: bool,
    pub sends: bool,
    pub numbers: Vec<String>,
    pub failover: Option<String>,
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    pub id: String,
    pub direction: String,
    pub interface: String,
    pub from: String,
    pub to: String,
    pub body: String,
    pub media: Vec<String>,
    pub state: String,
    pub received: Moment,
    pub changed: Moment,
    /// When the next step is due.
    pub next: Option<Moment>,
    pub tries: u32,
    pub detail: String,
    /// The carrier's id.
    pub provider_id: Option<String>,
    pub endpoint: Option<String>,
    pub segments: usize,
}

/// One line of a message's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Happened {
    pub at: Moment,
    pub what: String,
    pub detail: String,
}

/// One of a message's media.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The carrier's address.
    pub source: String,
    /// `waiting`, `stored`, or `left` with the carrier.
    pub state: String,
    pub kind: Option<String>,
    pub bytes: u64,
    /// Ours.
    pub link: Option<String>,
    pub detail: String,
}

/// How a webhook fared that people sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    pub interface: Option<String>,
    /// In their order; the first that failed is the last.
    pub steps: Vec<Checked>,
    /// What the listener answered, if it was asked.
    pub answer: Option<Answered>,
}

/// One step of the way of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checked {
    pub step: String,
    /// None: it could not be tested.
    pub passed: Option<bool>,
    pub detail: String,
}

/// An answer of the listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    pub at: String,
    pub status: u16,
    pub body: String,
    /// Why, as it stands among the requests.
    pub reason: String,
}

/// What became of a phone's copy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    pub contact: String,
    /// `taken` or `refused`.
    pub state: String,
    /// The phone's response that refused it.
    pub code: Option<u16>,
    pub tries: u32,
}

/// A carrier's request and what was made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    pub at: Moment,
    pub interface: Option<String>,
    pub peer: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_client_leaves_out_has_a_default() {
        let line = r#"{"command":"send","to":"+46701234567","from":"101","body":"x"}"#;
        let request: Request = serde_json::from_str(line).unwrap();
        let Request::Send(message) = &request else {
            panic!("{request:?}")
        };
        assert_eq!((&message.index, &message.key), (&None, &None));
        assert_eq!(
            format!("{request:?}"),
            "Send(101 -> +46701234567 (1 bytes))"
        );
        let reply: Reply = serde_json::from_str(r#"{"result":"status"}"#).unwrap();
        assert_eq!(reply, Reply::Status(Status::default()));
        let list: Request = serde_json::from_str(r#"{"command":"list"}"#).unwrap();
        assert!(matches!(list, Request::List { limit: None, .. }));
    }
}
