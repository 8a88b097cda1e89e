//! `sms send`: hands a message in for the carrier, and follows it if that is wanted.
//!
//! Invariant: with its key a message that is handed in twice, for the answer was lost, is stored once.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::client::{self, AskError};
use super::table::shown;
use crate::cli::output::{Exit, Output};
use crate::sys::clock::{self, Stopwatch};
use crate::websms::control::{HandedIn, LONGEST, Reply, Request, Row};
use crate::websms::delivery::State;

/// Between two looks at a message that is followed.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct SendArgs {
    /// The number it is for
    #[arg(long, value_name = "NUMBER")]
    to: String,
    /// The number it is from
    #[arg(long, value_name = "NUMBER")]
    from: String,
    /// The interface of websms.conf; without it the sender's number decides
    #[arg(long, value_name = "INDEX")]
    interface: Option<String>,
    /// Follow it until the carrier has accepted it, or says that it is delivered
    #[arg(long, value_name = "STATE", num_args = 0..=1, default_missing_value = "accepted", require_equals = true)]
    wait: Option<Goal>,
    /// How long it is followed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "wait")]
    timeout: u64,
    /// The address of a picture to go with it, where the carrier takes them; may be given again
    #[arg(long, value_name = "URL")]
    media: Vec<String>,
    /// The text; `-`: standard input
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: String,
}

/// How far it is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Goal {
    Accepted,
    Delivered,
}

/// Where a message that is followed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Arrived,
    Lost,
    Going,
}

fn way(goal: Goal, state: State) -> Way {
    match state {
        State::Delivered => Way::Arrived,
        State::Accepted | State::Sent if goal == Goal::Accepted => Way::Arrived,
        State::Failed | State::Dead | State::Expired | State::Cancelled | State::Unknown => {
            Way::Lost
        }
        _ => Way::Going,
    }
}

/// 0 when it is on disk, or got as far as it was to be followed; 1 when it is refused or lost; 2 when that is not known yet.
pub fn run(args: &SendArgs, socket: &Path, out: &Output) -> Result<Exit, AskError> {
    #[derive(Serialize)]
    struct Queued<'a> {
        id: &'a str,
        interface: &'a str,
        segments: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    }
    let body = match args.text.as_str() {
        "-" => match input() {
            Ok(text) => text,
            Err(error) => {
                out.problem(&format!("standard input cannot be read: {error}"), None);
                return Ok(Exit::Failed);
            }
        },
        text => text.to_owned(),
    };
    let request = Request::Send(HandedIn {
        to: args.to.clone(),
        from: args.from.clone(),
        body,
        index: args.interface.clone(),
        key: None,
        media: args.media.clone(),
    });
    let Reply::Queued {
        id,
        interface,
        segments,
    } = client::ask(socket, &request)?
    else {
        return Err(AskError::Shape);
    };
    let Some(goal) = args.wait else {
        match out.is_json() {
            true => out.json(&Queued {
                id: &id,
                interface: &interface,
                segments,
                state: None,
                detail: None,
            }),
            false => out.text(&id),
        }
        return Ok(Exit::Ok);
    };
    if !out.is_json() {
        out.text(&id);
    }
    let followed = follow(socket, &id, goal, Duration::from_secs(args.timeout))?;
    let (row, way) = followed;
    if out.is_json() {
        out.json(&Queued {
            id: &id,
            interface: &row.interface,
            segments,
            state: Some(&row.state),
            detail: Some(&row.detail),
        });
    } else {
        let detail = match row.detail.as_str() {
            "" => String::new(),
            detail => format!(": {}", shown(detail)),
        };
        out.text(&format!("{}{detail}", shown(&row.state)));
    }
    Ok(match way {
        Way::Arrived => Exit::Ok,
        Way::Lost => Exit::No,
        Way::Going => Exit::Failed,
    })
}

fn follow(socket: &Path, id: &str, goal: Goal, patience: Duration) -> Result<(Row, Way), AskError> {
    let begin = Stopwatch::start();
    loop {
        let request = Request::Show { id: id.to_owned() };
        let Reply::Show { message, .. } = client::ask(socket, &request)? else {
            return Err(AskError::Shape);
        };
        let state = State::of_word(&message.state).ok_or(AskError::Shape)?;
        let way = way(goal, state);
        if way != Way::Going || begin.elapsed() >= patience {
            return Ok((*message, way));
        }
        clock::pause(PAUSE);
    }
}

fn input() -> io::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(LONGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // A shell's line has an end; the message does not.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_followed_as_far_as_it_was_wanted() {
        assert_eq!(way(Goal::Accepted, State::Queued), Way::Going);
        assert_eq!(way(Goal::Accepted, State::Sending), Way::Going);
        assert_eq!(way(Goal::Accepted, State::Accepted), Way::Arrived);
        assert_eq!(way(Goal::Delivered, State::Accepted), Way::Going);
        assert_eq!(way(Goal::Delivered, State::Sent), Way::Going);
        assert_eq!(way(Goal::Delivered, State::Delivered), Way::Arrived);
        for lost in [State::Failed, State::Dead, State::Unknown, State::Expired] {
            assert_eq!(way(Goal::Accepted, lost), Way::Lost);
            assert_eq!(way(Goal::Delivered, lost), Way::Lost);
        }
    }
}
