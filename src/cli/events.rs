//! `switchhook events`: what happened to the services, when and why, from PID 1's memory; `-f` follows it.
//!
//! A follower that was disconnected, because it was too slow or others pushed it out, comes back and asks for what it
//! missed. Ctrl-C is the answer "enough": exit code 0.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::init::control::{Reply, Request, open};
use crate::init::events::{Event, MOST_EVENTS};
use crate::sys::clock::rfc3339;
use crate::sys::signal::{self, Signals};

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only events of this service, as `switchhook status` shows it
    service: Option<String>,
    /// Go on with the events to come, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// How many of the last events
    #[arg(short = 'n', long, value_name = "N", default_value_t = MOST_EVENTS)]
    lines: usize,
    /// One JSON object for each event
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// The lines of a conversation with PID 1, one reply each.
pub struct Lines {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Lines {
    pub fn new(stream: UnixStream) -> Lines {
        Lines {
            stream,
            input: Vec::new(),
        }
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Reads once and gives the whole replies that came; `None` at the end of the conversation.
    pub fn read(&mut self) -> std::io::Result<Option<Vec<Reply>>> {
        let mut buffer = vec![0u8; 64 * 1024];
        let length = match self.stream.read(&mut buffer) {
            Ok(length) => length,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return Ok(Some(Vec::new())),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(e) => return Err(e),
        };
        if length == 0 {
            return Ok(None);
        }
        self.input
            .extend_from_slice(buffer.get(..length).unwrap_or_default());
        let end = self.input.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = self.input.drain(..end.map_or(0, |end| end + 1)).collect();
        let lines = whole.split(|byte| *byte == b'\n');
        let replies = lines.filter(|line| !line.is_empty());
        let parsed: Result<Vec<Reply>, _> = replies.map(serde_json::from_slice).collect();
        Ok(Some(parsed?))
    }
}

/// How a conversation ended.
enum End {
    Enough,
    Refused(String),
    Gone,
}

/// Exit code 0 when the events came, 1 when PID 1 refuses or knows no such service, 2 when it does not answer.
pub fn run(args: &EventsArgs) -> ExitCode {
    let out = Output::new(args.json);
    let socket = args.root.paths().control_socket();
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            out.error(&error, None);
            return out.finish(Exit::Failed);
        }
    };
    // The number of the last event that was shown or skipped; none before the first answer.
    let mut seen: Option<u64> = None;
    loop {
        let before = seen;
        match converse(&socket, args, &mut seen, &mut signals, &out) {
            Ok(End::Enough) => return out.finish(Exit::Ok),
            Ok(End::Refused(reason)) => {
                out.problem(&reason, None);
                return out.finish(Exit::No);
            }
            // Only as long as it gets on: a PID 1 that hangs up at once is not asked for ever.
            Ok(End::Gone) if args.follow && seen != before => {}
            Ok(End::Gone) => {
                out.problem("the exchange ended the conversation", None);
                return out.finish(Exit::Failed);
            }
            Err(problem) => {
                out.problem(&problem, None);
                return out.finish(Exit::Failed);
            }
        }
    }
}

fn converse(
    socket: &Path,
    args: &EventsArgs,
    seen: &mut Option<u64>,
    signals: &mut Signals,
    out: &Output,
) -> Result<End, String> {
    let request = Request::Events {
        // Of one service more are asked for than are shown.
        last: match (&args.service, *seen) {
            (None, None) => args.lines,
            _ => MOST_EVENTS,
        },
        after: seen.unwrap_or(0),
        follow: args.follow,
    };
    let stream = open(socket, &request).map_err(|e| e.to_string())?;
    let mut lines = Lines::new(stream);
    let mut answered = false;
    let broken = |e: std::io::Error| format!("the exchange's answer cannot be read: {e}");
    loop {
        // One who follows may wait for ever, but not for the first answer.
        let timeout = if answered {
            PollTimeout::NONE
        } else {
            PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX)
        };
        if !wait(&lines, signals, timeout).map_err(broken)? {
            return Ok(End::Enough);
        }
        let Some(replies) = lines.read().map_err(broken)? else {
            return Ok(End::Gone);
        };
        for reply in replies {
            match reply {
                Reply::Events { events, .. } => {
                    answered = true;
                    tell_gap(*seen, events.first(), out);
                    let of_interest: Vec<&Event> = events
                        .iter()
                        .filter(|event| is_wanted(args, event))
                        .collect();
                    let most = if seen.is_none() {
                        args.lines
                    } else {
                        MOST_EVENTS
                    };
                    let skipped = of_interest.len().saturating_sub(most);
                    of_interest.iter().skip(skipped).for_each(|e| show(out, e));
                    *seen = events
                        .last()
                        .map(|event| event.sequence)
                        .or(*seen)
                        .or(Some(0));
                }
                Reply::Event(event) => {
                    tell_gap(*seen, Some(&event), out);
                    *seen = Some(event.sequence);
                    if is_wanted(args, &event) {
                        show(out, &event);
                    }
                }
                Reply::Refused { reason } => return Ok(End::Refused(reason)),
                Reply::Done | Reply::Status(_) | Reply::Definitions { .. } => {}
            }
        }
        if out.is_broken() || (answered && !args.follow) {
            return Ok(End::Enough);
        }
    }
}

/// False when the user has had enough.
fn wait(lines: &Lines, signals: &mut Signals, timeout: PollTimeout) -> std::io::Result<bool> {
    loop {
        let mut fds = [
            PollFd::new(signals.descriptor(), PollFlags::POLLIN),
            PollFd::new(lines.stream().as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => return Err(std::io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let has_come = fds.get(1).is_some_and(|fd| fd.any().unwrap_or(false));
        if signals.pending().contains(&signal::Request::Stop) {
            return Ok(false);
        }
        if has_come {
            return Ok(true);
        }
    }
}

/// Numbers have no gap but where PID 1 has forgotten, or nobody was there to listen.
fn tell_gap(seen: Option<u64>, next: Option<&Event>, out: &Output) {
    let (Some(seen), Some(next)) = (seen, next) else {
        return;
    };
    let missed = next.sequence.saturating_sub(seen + 1);
    if missed > 0 {
        out.problem(
            &format!("{missed} events came and went too fast to be read"),
            None,
        );
    }
}

fn is_wanted(args: &EventsArgs, event: &Event) -> bool {
    args.service
        .as_ref()
        .is_none_or(|service| event.service.as_ref() == Some(service))
}

#[derive(Serialize)]
struct Shown<'a> {
    time: String,
    #[serde(flatten)]
    event: &'a Event,
}

fn show(out: &Output, event: &Event) {
    let time = rfc3339(event.time_ms);
    if out.is_json() {
        out.json(&Shown { time, event });
    } else {
        out.text(&format!("{time} {}", line(event)));
    }
}

/// `asterisk[17] started: restart after signal 9`.
pub fn line(event: &Event) -> String {
    let mut text = event.service.as_deref().unwrap_or("exchange").to_owned();
    if let Some(pid) = event.pid {
        text.push_str(&format!("[{pid}]"));
    }
    text.push(' ');
    text.push_str(event.what.name());
    if !event.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&event.detail);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::events::What;

    #[test]
    fn an_event_is_one_line() {
        let mut event = Event {
            sequence: 1,
            time_ms: 0,
            service: Some("a".into()),
            what: What::Started,
            detail: "restart after signal 9".into(),
            pid: Some(7),
        };
        assert_eq!(line(&event), "a[7] started: restart after signal 9");
        event.pid = None;
        event.detail.clear();
        event.service = None;
        event.what = What::Ready;
        assert_eq!(line(&event), "exchange ready");
    }
}
