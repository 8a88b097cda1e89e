//! The asking side of WebSMS's control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::websms::control::{LONGEST_LINE, Reply, Request};

/// A test of a webhook waits for the listener, and an order of erasure for the disk.
const PATIENCE: Duration = Duration::from_secs(40);
/// No answer is longer, in bytes.
const MOST: u64 = 256 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    #[error("WebSMS does not run: cannot connect to `{path}`")]
    Unreachable { path: String, source: io::Error },
    #[error("WebSMS's socket `{path}` is closed to this user")]
    Forbidden { path: String },
    #[error("WebSMS does not answer")]
    NoAnswer(#[source] io::Error),
    #[error("WebSMS gave an answer that this program does not know")]
    Shape,
    #[error("that is longer than {} KiB", LONGEST_LINE / 1024)]
    TooLong,
    #[error("{reason}")]
    Refused {
        reason: String,
        hint: Option<String>,
    },
}

impl AskError {
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreachable { .. } => {
                Some("`switchhook status websms` and `switchhook logs websms` say why")
            }
            Self::Forbidden { .. } => Some("it answers root and its own user"),
            Self::Shape => Some("restart WebSMS if the program was replaced while it ran"),
            Self::Refused { hint, .. } => hint.as_deref(),
            Self::NoAnswer(_) | Self::TooLong => None,
        }
    }
}

/// Sends one request and waits for its answer; a refusal is an error.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    let mut line = serde_json::to_vec(request).map_err(|_| AskError::Shape)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST_LINE {
        return Err(AskError::TooLong);
    }
    let mut stream = UnixStream::connect(socket).map_err(|source| {
        let path = socket.display().to_string();
        match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::Forbidden { path },
            _ => AskError::Unreachable { path, source },
        }
    })?;
    let mut answer = String::new();
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(&line))
        .and_then(|()| BufReader::new(stream.take(MOST)).read_line(&mut answer))
        .map_err(AskError::NoAnswer)?;
    if answer.is_empty() {
        return Err(AskError::NoAnswer(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_str(&answer) {
        Ok(Reply::Refused { reason, hint }) => Err(AskError::Refused { reason, hint }),
        Ok(reply) => Ok(reply),
        Err(_) => Err(AskError::Shape),
    }
}
