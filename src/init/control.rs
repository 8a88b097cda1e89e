//! The control socket: one JSON object a line, each way.
//!
//! Here are the shapes of both directions and the asking side; PID 1's side is `server`.
//! Invariant: new fields and commands are added, none changes its meaning without a new schema number.

pub mod server;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::events;
use crate::units::diff::Change;
pub use server::{Incoming, Server};

/// The version of the shapes below; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    Status,
    /// A defect, for the tests of what becomes of one.
    #[cfg(debug_assertions)]
    Panic,
    /// Go on as another binary of PID 1: this one, or the one that is now where ours was.
    Reexec {
        program: Option<String>,
    },
    /// Read the unit files again.
    ReloadDefinitions {
        dry_run: bool,
    },
    Start {
        service: String,
    },
    Stop {
        service: String,
    },
    Restart {
        service: String,
    },
    Reload {
        service: String,
    },
    Kill {
        service: String,
    },
    /// Start it; it is not started again when it ends.
    Once {
        service: String,
    },
    /// Send a signal to its main process.
    Signal {
        service: String,
        signal: i32,
    },
    /// What happened: the newest `last` events after number `after`; with `follow` also those to come, one a line.
    Events {
        last: usize,
        #[serde(default)]
        after: u64,
        #[serde(default)]
        follow: bool,
    },
}

/// Reads one line of a client.
///
/// # Errors
/// With what is wrong with the line, in words.
pub fn parse_request(line: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Reply {
    Status(Status),
    Done,
    Definitions {
        changes: Vec<Change>,
        /// Services that still run as they were defined before.
        needs_restart: Vec<String>,
        /// What is ignored in the units that are in force now.
        findings: Vec<String>,
    },
    Refused {
        reason: String,
    },
    /// The answer to `events`, oldest first.
    Events {
        schema: u32,
        events: Vec<events::Event>,
    },
    /// One more, for a follower.
    Event(events::Event),
}

/// The state of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub version: String,
    /// `starting`, `serving`, `draining`, `exit-hooks` or `stopping`.
    pub phase: String,
    /// Serving, and every service is up.
    pub ready: bool,
    pub uptime_ms: u64,
    /// How long the first start of all services took; absent before that.
    pub ready_after_ms: Option<u64>,
    pub volume: String,
    /// How escaped processes are found: `cgroup`, `group` or `variable`.
    pub containment: String,
    pub orphans_reaped: u64,
    /// PID 1's number, which is another one when it runs beside others.
    #[serde(default)]
    pub pid: i32,
    /// How many events there have been.
    #[serde(default)]
    pub events: u64,
    /// Followers of the events that were disconnected because they did not read.
    #[serde(default)]
    pub followers_dropped: u64,
    #[serde(default)]
    pub timers: Vec<TimerStatus>,
    pub services: Vec<ServiceStatus>,
}

/// The state of one timer. Moments are milliseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerStatus {
    pub name: String,
    /// The service that it starts.
    pub service: String,
    /// `None`: not by itself, or not before its service has ended.
    pub due_ms: Option<i64>,
    pub last_start_ms: Option<i64>,
}

/// A listener that PID 1 holds for a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketStatus {
    /// As in LISTEN_FDNAMES.
    pub name: String,
    /// The socket unit, without suffix.
    pub unit: String,
    /// `unix PATH`, `tcp ADDRESS:PORT` or `udp ADDRESS:PORT`.
    pub address: String,
    /// Connections wait there and the service, which is up, takes none of them.
    pub unused: bool,
}

/// The state of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    /// `listening` (a connection starts it), `waiting`, `starting`, `running`, `draining`, `stopping`, `pausing`, `stopped`, `done` or `failed`.
    pub state: String,
    pub up: bool,
    pub wanted: bool,
    pub pid: Option<i32>,
    /// Starts only by an order or a timer: being down is no trouble.
    pub by_order: bool,
    /// How long it has been in this state.
    pub state_for_ms: u64,
    pub restarts: u64,
    pub last_exit: Option<String>,
    /// How the last order to read its configuration again went: `running`, `done`, or how its command ended.
    #[serde(default)]
    pub reload: Option<String>,
    /// Its own word on how it does (sd_notify, STATUS=).
    pub status: Option<String>,
    #[serde(default)]
    pub description: String,
    /// The services that must be up before it.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// Why it was last started, in words.
    #[serde(default)]
    pub start_reason: Option<String>,
    /// How long ago that was.
    #[serde(default)]
    pub started_ms: Option<u64>,
    /// It is not started again when it ends.
    #[serde(default)]
    pub once: bool,
    #[serde(default)]
    pub sockets: Vec<SocketStatus>,
    /// How many descriptors it has stored with PID 1.
    #[serde(default)]
    pub stored_descriptors: usize,
    /// The longest silence that its watchdog allows.
    #[serde(default)]
    pub watchdog_ms: Option<u64>,
    /// In how long the watchdog barks unless it speaks.
    #[serde(default)]
    pub watchdog_due_in_ms: Option<u64>,
    /// The service that reads its output (runit's `log/run`).
    #[serde(default)]
    pub log_service: Option<String>,
    #[serde(default)]
    pub last_event: Option<events::Event>,
}

/// Why a client got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "cannot reach the exchange at `{path}`: {source}\nhint: {}",
        hint(source)
    )]
    Connect {
        path: String,
        source: std::io::Error,
    },
    #[error("the exchange gave no answer: {0}")]
    NoAnswer(std::io::Error),
    #[error("the exchange's answer was not understood: {0}")]
    Shape(serde_json::Error),
}

fn hint(problem: &std::io::Error) -> &'static str {
    match problem.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "only root gives orders and looks here: `docker exec -u root ...`"
        }
        _ => "is the container running, and are you root in it?",
    }
}

/// Connects as a client and sends one request. What comes back is the caller's to read.
pub fn open(path: &Path, request: &Request) -> Result<UnixStream, AskError> {
    let connect = |source| AskError::Connect {
        path: path.display().to_string(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(connect)?;
    let mut line = serde_json::to_vec(request).map_err(AskError::Shape)?;
    line.push(b'\n');
    match stream.write_all(&line) {
        // It may have said why before it closed the connection.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(stream),
        Err(e) => Err(AskError::NoAnswer(e)),
        Ok(()) => Ok(stream),
    }
}

/// Asks once, as a client, and waits for the answer up to `patience`.
pub fn ask(
    path: &Path,
    request: &Request,
    patience: std::time::Duration,
) -> Result<Reply, AskError> {
    let stream = open(path, request)?;
    stream
        .set_read_timeout(Some(patience))
        .map_err(AskError::NoAnswer)?;
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut answer)
        .map_err(AskError::NoAnswer)?;
    serde_json::from_str(&answer).map_err(AskError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_object_a_line() {
        let request: Request =
            serde_json::from_str(r#"{"command":"restart","service":"asterisk"}"#).unwrap();
        assert_eq!(
            request,
            Request::Restart {
                service: "asterisk".into()
            }
        );
        assert!(serde_json::from_str::<Request>(r#"{"command":"explode"}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_a_request_or_refused(
            bytes: Vec<u8>,
            command in "status|start|stop|restart|reload|kill|once|signal|events",
            service in ".{0,20}",
            signal: i32,
            last: usize,
        ) {
            let _ = serde_json::from_slice::<Request>(&bytes);
            let line = serde_json::json!({
                "command": command, "service": service, "signal": signal, "last": last, "later": [],
            });
            // A field of a newer client is no reason to refuse its order.
            let request: Request = serde_json::from_value(line).unwrap();
            let again = serde_json::to_vec(&request).unwrap();
            proptest::prop_assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
        }
    }

    #[test]
    fn an_older_exchange_is_understood() {
        let old = r#"{"result":"status","schema":1,"version":"0.1.0","phase":"serving","ready":true,"uptime_ms":1,
            "ready_after_ms":1,"volume":"x","containment":"group","orphans_reaped":0,"services":[{"name":"a",
            "state":"running","up":true,"wanted":true,"pid":7,"by_order":false,"state_for_ms":1,"restarts":0,
            "last_exit":null,"status":null}]}"#;
        let Reply::Status(status) = serde_json::from_str(old).unwrap() else {
            panic!("not a status");
        };
        assert_eq!(status.services[0].start_reason, None);
    }
}
