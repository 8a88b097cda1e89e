//! The asking side of AutoBan's control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use crate::autoban::control::{Reply, Request};

/// The daemon works a list of a million entries out within this.
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer is longer, in bytes.
const MOST: u64 = 512 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    #[error("AutoBan does not run: cannot connect to `{path}`")]
    Unreachable { path: String, source: io::Error },
    #[error("AutoBan's socket `{path}` is closed to this user")]
    Forbidden { path: String },
    #[error("AutoBan does not answer")]
    NoAnswer(#[source] io::Error),
    #[error("AutoBan gave an answer that this program does not know")]
    Shape,
    #[error("AutoBan refuses: {0}")]
    Refused(String),
}

impl AskError {
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => Some(
                "`switchhook status autoban` and `switchhook logs autoban` say why; without /srv/etc/asterisk/autoban.conf it is off",
            ),
            Self::Forbidden { .. } => Some("it answers root and its own user"),
            Self::Shape => Some("restart AutoBan if the program was replaced while it ran"),
            Self::NoAnswer(_) | Self::Refused(_) => None,
        }
    }
}

/// Sends one request and waits for its answer; a refusal is an error.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| {
        let path = socket.display().to_string();
        match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::Forbidden { path },
            _ => AskError::Unreachable { path, source },
        }
    })?;
    let mut line = serde_json::to_vec(request).map_err(|_| AskError::Shape)?;
    line.push(b'\n');
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
        Ok(Reply::Refused { reason }) => Err(AskError::Refused(reason)),
        Ok(reply) => Ok(reply),
        Err(_) => Err(AskError::Shape),
    }
}
