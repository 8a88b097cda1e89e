//! One command to a running Asterisk over its console socket, and its whole answer.
//!
//! It is `asterisk -rx` without a second process (0.2 ms instead of 11 ms). It keeps no connection open and retries nothing.
//! Invariant: a call ends within its timeout, whatever the other side does, and holds at most 16 MiB of answer.
//!
//! The protocol, read in Asterisk's main/asterisk.c (`netconsole`, and the `-rx` branch of `ast_remotecontrol`) and checked
//! against Asterisk 22.10.1: the server greets with one line `host/pid/version`; the client sends
//! `cli quit after COMMAND` and a zero byte, all in one write; the server answers and closes. It puts verbose messages into
//! the same stream; such a line begins with the byte 0xFF minus its level. `-rx` drops every line whose first byte is above
//! 127, which would also drop a line of text that begins with a non-ASCII letter; no UTF-8 text begins with 0xF5 or more, so
//! we drop only those.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use thiserror::Error;

pub(super) const PREFIX: &str = "cli quit after ";
/// Asterisk reads a command into 512 bytes, prefix and zero byte included.
const MAX_COMMAND: usize = 511 - PREFIX.len();
const MAX_GREETING: usize = 512;
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The first byte of a verbose line, at level 10; level 0 has 0xFF.
const VERBOSE: u8 = 0xf5;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CtlError {
    /// Nobody listens: no socket, or nobody behind it.
    #[error("Asterisk does not run: nobody listens on `{}`", .0.display())]
    NotRunning(PathBuf),
    /// Somebody listens but does not speak: Asterisk is starting, hanging, or the socket is held for it while it is down.
    #[error("Asterisk did not answer on `{}` within {} ms", path.display(), timeout.as_millis())]
    Silent { path: PathBuf, timeout: Duration },
    /// It answers, and does not come to the end of a reload.
    #[error("Asterisk has been reading its configuration for {} s and does not come to an end", .0.as_secs())]
    Busy(Duration),
    #[error("`{}` is no Asterisk console", .0.display())]
    NotAsterisk(PathBuf),
    #[error("this command cannot be sent: it is empty, too long, or holds a line break")]
    BadCommand,
    #[error("the answer is longer than 16 MiB")]
    TooLong,
    #[error("cannot talk to Asterisk on `{}`", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Runs one console command and returns its output, without verbose messages.
///
/// Asterisk reports no success or failure: a command that does not exist is an answer like any other.
///
/// # Errors
/// If Asterisk is not there, is silent for longer than `timeout` in all, or does not speak the protocol.
pub fn run(path: &Path, command: &str, timeout: Duration) -> Result<String, CtlError> {
    if command.trim().is_empty()
        || command.len() > MAX_COMMAND
        || command.contains(['\0', '\n', '\r'])
    {
        return Err(CtlError::BadCommand);
    }
    let mut link = Link {
        stream: open(path)?,
        path,
        timeout,
        deadline: Instant::now() + timeout,
    };
    link.greeting()?;
    // In one write: the server looks for the prefix in its first read only.
    let request = format!("{PREFIX}{command}\0");
    link.stream
        .write_all(request.as_bytes())
        .map_err(|error| link.failed(error))?;
    let answer = link.rest()?;
    Ok(String::from_utf8_lossy(&without_verbose(&answer)).into_owned())
}

struct Link<'a> {
    stream: UnixStream,
    path: &'a Path,
    timeout: Duration,
    deadline: Instant,
}

impl Link<'_> {
    /// Reads what is there, waiting no longer than the deadline; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, CtlError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.silent());
            }
            let set = self.stream.set_read_timeout(Some(left));
            match set.and_then(|()| self.stream.read(buffer)) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// `host/pid/version` and a line feed. The server sends nothing more before the command, so the line is read to its end.
    fn greeting(&mut self) -> Result<(), CtlError> {
        self.stream
            .set_write_timeout(Some(self.timeout))
            .map_err(|error| self.failed(error))?;
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < MAX_GREETING {
            if self.read(&mut byte)? == 0 {
                break;
            }
            if byte == *b"\n" {
                let text = String::from_utf8_lossy(&line);
                let pid = text.rsplit('/').nth(1).map(str::parse::<u32>);
                return if matches!(pid, Some(Ok(_))) {
                    Ok(())
                } else {
                    Err(self.not_asterisk())
                };
            }
            line.extend_from_slice(&byte);
        }
        Err(if line.is_empty() {
            self.silent()
        } else {
            self.not_asterisk()
        })
    }

    fn rest(&mut self) -> Result<Vec<u8>, CtlError> {
        let mut answer = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let count = self.read(&mut buffer)?;
            if count == 0 {
                return Ok(answer);
            }
            answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if answer.len() > MAX_ANSWER {
                return Err(CtlError::TooLong);
            }
        }
    }

    fn silent(&self) -> CtlError {
        CtlError::Silent {
            path: self.path.to_owned(),
            timeout: self.timeout,
        }
    }

    fn not_asterisk(&self) -> CtlError {
        CtlError::NotAsterisk(self.path.to_owned())
    }

    fn failed(&self, source: io::Error) -> CtlError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.silent(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                CtlError::NotRunning(self.path.to_owned())
            }
            _ => CtlError::Io {
                path: self.path.to_owned(),
                source,
            },
        }
    }
}

/// Connects without waiting: a full backlog means that nobody accepts.
fn open(path: &Path) -> Result<UnixStream, CtlError> {
    let failed = |errno: Errno| match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => CtlError::NotRunning(path.to_owned()),
        Errno::EAGAIN => CtlError::Silent {
            path: path.to_owned(),
            timeout: Duration::ZERO,
        },
        other => CtlError::Io {
            path: path.to_owned(),
            source: other.into(),
        },
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(failed)?;
    let address = UnixAddr::new(path).map_err(failed)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&descriptor), &address).map_err(failed)?;
    let stream = UnixStream::from(descriptor);
    let blocking = stream.set_nonblocking(false);
    blocking.map_err(|source| CtlError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(stream)
}

fn without_verbose(answer: &[u8]) -> Vec<u8> {
    let lines = answer.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| line.first().is_none_or(|byte| *byte < VERBOSE))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    const SHORT: Duration = Duration::from_millis(100);

    /// Plays Asterisk for one connection: greets, takes the command, answers.
    fn stand_in(
        greeting: &'static [u8],
        answer: &'static [u8],
    ) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<Vec<u8>>) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("asterisk.ctl");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting).unwrap();
            let mut command = vec![0; 512];
            let count = stream.read(&mut command).unwrap_or(0);
            command.truncate(count);
            stream.write_all(answer).ok();
            command
        });
        (root, path, server)
    }

    #[test]
    fn a_stand_in_for_asterisk_gets_the_command_and_its_verbose_lines_are_dropped() {
        let (_root, path, server) = stand_in(
            b"host/1/22.10.1\n",
            b"one\n\xfe  == verbose\n\xc3\xa9t\xc3\xa9\n",
        );
        assert_eq!(
            run(&path, "core show uptime", Duration::from_secs(5)).unwrap(),
            "one\n\u{e9}t\u{e9}\n"
        );
        assert_eq!(server.join().unwrap(), b"cli quit after core show uptime\0");
    }

    #[test]
    fn a_socket_that_nobody_accepts_on_is_silent() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("asterisk.ctl");
        let _held = UnixListener::bind(&path).unwrap();
        assert!(matches!(
            run(&path, "core show uptime", SHORT),
            Err(CtlError::Silent { .. })
        ));
    }

    #[test]
    fn no_socket_and_a_dead_socket_mean_that_asterisk_does_not_run() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("asterisk.ctl");
        assert!(matches!(
            run(&path, "x", SHORT),
            Err(CtlError::NotRunning(_))
        ));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(
            run(&path, "x", SHORT),
            Err(CtlError::NotRunning(_))
        ));
    }

    #[test]
    fn another_server_is_recognised() {
        let (_root, path, _server) = stand_in(b"220 mail.example.com ESMTP\n", b"");
        assert!(matches!(
            run(&path, "x", SHORT),
            Err(CtlError::NotAsterisk(_))
        ));
    }

    #[test]
    fn a_command_cannot_carry_a_second_one() {
        for command in ["", "a\nb", "a\0b", &"x".repeat(497)] {
            assert!(matches!(
                run(Path::new("/nonexistent"), command, SHORT),
                Err(CtlError::BadCommand)
            ));
        }
    }
}
