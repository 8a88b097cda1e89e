//! The control socket: one JSON object a line, each way.
//!
//! PID 1 listens; only root and the appliance's own user are heard. Requests are small and bounded; a
//! client that does not read is dropped. Invariant: nothing here waits.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The version of the shapes below; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

const LONGEST_REQUEST: usize = 4096;
const MOST_CLIENTS: usize = 32;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    Status,
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
    Refused { reason: String },
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
    pub services: Vec<ServiceStatus>,
}

/// The state of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    /// `waiting`, `starting`, `running`, `draining`, `stopping`, `pausing`, `stopped`, `done` or `failed`.
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
    /// Its own word on how it does (sd_notify, STATUS=).
    pub status: Option<String>,
}

/// One connected client.
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
}

/// The listening side.
pub struct Server {
    listener: UnixListener,
    clients: HashMap<RawFd, Client>,
}

/// What a descriptor of ours brought.
pub enum Incoming {
    Nothing,
    /// A new descriptor to watch.
    Connected(RawFd),
    /// Requests of one client, in order; a bad line comes as its reason.
    Requests(Vec<Result<Request, String>>),
    Gone,
}

impl Server {
    pub fn bind(path: &Path) -> std::io::Result<Server> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Server {
            listener,
            clients: HashMap::new(),
        })
    }

    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub fn client(&self, fd: RawFd) -> Option<&UnixStream> {
        self.clients.get(&fd).map(|client| &client.stream)
    }

    pub fn owns(&self, fd: RawFd) -> bool {
        fd == self.listener.as_raw_fd() || self.clients.contains_key(&fd)
    }

    /// Handles readability of one of our descriptors.
    pub fn readable(&mut self, fd: RawFd) -> Incoming {
        if fd == self.listener.as_raw_fd() {
            return self.accept();
        }
        let Some(client) = self.clients.get_mut(&fd) else {
            return Incoming::Nothing;
        };
        let mut buffer = [0u8; 1024];
        match client.stream.read(&mut buffer) {
            Ok(0) => Incoming::Gone,
            Ok(length) => {
                client
                    .input
                    .extend_from_slice(buffer.get(..length).unwrap_or_default());
                if client.input.len() > LONGEST_REQUEST {
                    return Incoming::Gone;
                }
                let mut requests = Vec::new();
                while let Some(end) = client.input.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = client.input.drain(..=end).collect();
                    requests.push(parse_request(&line));
                }
                Incoming::Requests(requests)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Incoming::Nothing,
            Err(_) => Incoming::Gone,
        }
    }

    fn accept(&mut self) -> Incoming {
        let Ok((stream, _)) = self.listener.accept() else {
            return Incoming::Nothing;
        };
        if self.clients.len() >= MOST_CLIENTS
            || !is_trusted(&stream)
            || stream.set_nonblocking(true).is_err()
        {
            return Incoming::Nothing;
        }
        let fd = stream.as_raw_fd();
        self.clients.insert(
            fd,
            Client {
                stream,
                input: Vec::new(),
            },
        );
        Incoming::Connected(fd)
    }

    /// Answers; a client that cannot take the answer at once is dropped.
    pub fn reply(&mut self, fd: RawFd, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&fd) else {
            return;
        };
        let mut line = serde_json::to_vec(reply).unwrap_or_default();
        line.push(b'\n');
        if client.stream.write_all(&line).is_err() {
            self.clients.remove(&fd);
        }
    }

    pub fn drop_client(&mut self, fd: RawFd) {
        self.clients.remove(&fd);
    }
}

/// The peer is root or runs as we do (unix(7), SO_PEERCRED).
fn is_trusted(stream: &UnixStream) -> bool {
    nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Why a client got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "cannot reach the exchange at `{path}`: {source}\nhint: is the container running, and are you root in it?"
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

/// Asks once, as a client, and waits for the answer up to `patience`.
pub fn ask(
    path: &Path,
    request: &Request,
    patience: std::time::Duration,
) -> Result<Reply, AskError> {
    let connect = |source| AskError::Connect {
        path: path.display().to_string(),
        source,
    };
    let mut stream = UnixStream::connect(path).map_err(connect)?;
    stream
        .set_read_timeout(Some(patience))
        .map_err(AskError::NoAnswer)?;
    let mut line = serde_json::to_vec(request).map_err(AskError::Shape)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(AskError::NoAnswer)?;
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
        fn any_bytes_are_a_request_or_a_reason(line: Vec<u8>) {
            if let Err(reason) = parse_request(&line) {
                proptest::prop_assert!(!reason.is_empty());
            }
        }

        #[test]
        fn a_request_is_read_as_it_was_written(service: String, signal: i32, which in 0..8usize) {
            let requests = [
                Request::Status,
                Request::Start { service: service.clone() },
                Request::Stop { service: service.clone() },
                Request::Restart { service: service.clone() },
                Request::Reload { service: service.clone() },
                Request::Kill { service: service.clone() },
                Request::Once { service: service.clone() },
                Request::Signal { service, signal },
            ];
            let written = serde_json::to_vec(&requests[which]).unwrap();
            // A line is one line, whatever the service is called.
            proptest::prop_assert!(!written.contains(&b'\n'));
            proptest::prop_assert_eq!(parse_request(&written), Ok(requests[which].clone()));
        }
    }
}
