//! `switchhook logs`: the last lines that services said, and those to come, from the log service's memory.
//!
//! Independent of SYSLOG_LEVEL: what `docker logs` hides is here. With `--json` each line is one object.
//! A log service that restarts is waited for when following. Ctrl-C is the answer "enough": exit code 0.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::logd::query::{DEFAULT_LINES, Line, Message, Place, Request, Selection};
use crate::sys::signal::{self, Signals};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Only lines of this service, as `switchhook status` shows it, or of this syslog(3) tag
    service: Option<String>,
    /// Go on with the lines to come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = DEFAULT_LINES)]
    lines: usize,
    /// Only this level and worse: emerg, alert, crit, error, warning, notice, info, debug
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// One JSON object for each line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// How a connection ended.
enum End {
    /// All lines came, or enough of them.
    Enough,
    /// The log service refused.
    Refused(String),
    /// The log service went away; the last line that came.
    Gone(Option<Place>),
}

/// Exit code 0 when all lines came, 1 when the log service refuses, 2 when it does not answer.
pub fn run(args: &LogsArgs) -> ExitCode {
    let out = Output::new(args.json);
    let socket = args.root.paths().log_socket();
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            out.error(&error, None);
            return out.finish(Exit::Failed);
        }
    };
    let mut selection = Selection {
        service: args.service.clone(),
        level: args.level.clone(),
        lines: Some(args.lines),
        follow: args.follow,
        after: None,
    };
    loop {
        match read(&socket, &selection, &mut signals, &out) {
            Ok(End::Enough) => return out.finish(Exit::Ok),
            Ok(End::Refused(reason)) => {
                out.problem(&reason, None);
                return out.finish(Exit::No);
            }
            Ok(End::Gone(Some(place))) if args.follow => {
                out.problem("the log service ended; waiting for it to come back", None);
                selection.after = Some(place);
            }
            Ok(End::Gone(_)) => {
                out.problem("the log service ended before it had answered", None);
                return out.finish(Exit::Failed);
            }
            Err(error) => {
                let text = format!("cannot read the log at `{}`: {error}", socket.display());
                out.problem(
                    &text,
                    Some("is the container running, and are you root in it?"),
                );
                return out.finish(Exit::Failed);
            }
        }
    }
}

/// Asks once and prints what comes.
fn read(
    socket: &Path,
    selection: &Selection,
    signals: &mut Signals,
    out: &Output,
) -> std::io::Result<End> {
    let mut stream = UnixStream::connect(socket)?;
    let mut request = serde_json::to_vec(&Request::Logs(selection.clone()))?;
    request.push(b'\n');
    stream.write_all(&request)?;
    let mut place: Option<Place> = selection.after;
    let mut started = false;
    let mut input: Vec<u8> = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        // One who follows may wait for ever, but not for the first word of a service that is there.
        let waits_for_ever = selection.follow && (started || selection.after.is_some());
        if !wait(&stream, signals, waits_for_ever)? {
            return Ok(End::Enough);
        }
        let length = match stream.read(&mut buffer) {
            Ok(length) => length,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(e) => return Err(e),
        };
        if length == 0 {
            let is_whole = started && !selection.follow;
            return Ok(if is_whole {
                End::Enough
            } else {
                End::Gone(place)
            });
        }
        input.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let end = input.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = input.drain(..end.map_or(0, |end| end + 1)).collect();
        for line in whole.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
            match serde_json::from_slice(line)? {
                Message::Start { start, .. } => {
                    started = true;
                    place = Some(match place {
                        Some(place) if place.start == start => place,
                        _ => Place { start, sequence: 0 },
                    });
                }
                Message::Line(line) => {
                    if let Some(place) = &mut place {
                        place.sequence = line.sequence;
                    }
                    print(out, &line);
                }
                Message::Lost { lines } => {
                    let text = format!("{lines} lines came and went too fast to be read");
                    out.problem(&text, None);
                }
                Message::Refused { reason } => return Ok(End::Refused(reason)),
                Message::Stats(_) => {}
            }
            if out.is_broken() {
                return Ok(End::Enough);
            }
        }
    }
}

/// False when the user has had enough.
fn wait(stream: &UnixStream, signals: &mut Signals, for_ever: bool) -> std::io::Result<bool> {
    let timeout = if for_ever {
        PollTimeout::NONE
    } else {
        PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX)
    };
    loop {
        let mut fds = [
            PollFd::new(signals.descriptor(), PollFlags::POLLIN),
            PollFd::new(stream.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => return Err(std::io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<i32> = fds
            .iter()
            .filter(|fd| fd.any().unwrap_or(false))
            .map(|fd| fd.as_fd().as_raw_fd())
            .collect();
        if signals.pending().contains(&signal::Request::Stop) {
            return Ok(false);
        }
        if ready.contains(&stream.as_raw_fd()) {
            return Ok(true);
        }
    }
}

fn print(out: &Output, line: &Line) {
    if out.is_json() {
        out.json(line);
    } else {
        out.text(&format!(
            "{} {} {}: {}",
            line.time, line.level, line.service, line.message
        ));
    }
}
