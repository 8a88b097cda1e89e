//! What the daemon says, on stderr with a level in front; the log service takes it from there.
//!
//! Invariant: no flood of bans becomes a flood of lines. What is left out is counted, and the count is told.

use std::net::IpAddr;
use std::time::Duration;

use crate::autoban::key::Set;
use crate::autoban::ledger::Note;
pub use crate::sys::say::{ERROR, NOTICE, WARNING, say};

/// Lines about sources within one second.
const LINES: u32 = 20;

/// Tells notes, so many in a second.
#[derive(Debug, Default)]
pub struct Voice {
    said: u32,
    left_out: u64,
}

impl Voice {
    /// Tells what an event led to. `prefix` stands before it, as in a dry run.
    pub fn tell(&mut self, notes: &[Note], prefix: &str) {
        for note in notes {
            let Some((level, text)) = words(note) else {
                continue;
            };
            // It says what to do, once for each gateway.
            if !matches!(note, Note::SourceHidden { .. }) {
                if self.said >= LINES {
                    self.left_out += 1;
                    continue;
                }
                self.said += 1;
            }
            say(level, &format!("{prefix}{text}"));
        }
    }

    /// A second went by.
    pub fn breathe(&mut self) {
        self.said = 0;
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            say(
                WARNING,
                &format!("{left_out} more lines about sources were left out"),
            );
        }
    }
}

fn words(note: &Note) -> Option<(u8, String)> {
    Some(match note {
        Note::Jailed {
            source,
            record,
            trusted,
        } => {
            let time = span_between(record.since, record.until);
            let kind = record.kind.words();
            let again = match record.level {
                1 => String::new(),
                level => format!(", sentence {level}"),
            };
            let though = if *trusted {
                ", although it is trusted"
            } else {
                ""
            };
            (
                WARNING,
                format!("jailed {source} for {time}: {kind}{again}{though}"),
            )
        }
        Note::WeakBanned { source, record } => (
            WARNING,
            format!(
                "closed SIP over UDP to {source} for {}: {}, which can be forged",
                span_between(record.since, record.until),
                record.kind.words()
            ),
        ),
        Note::NetworkBanned { network, record } => (
            WARNING,
            format!(
                "jailed the network {network} for {}: many of it were jailed",
                span_between(record.since, record.until)
            ),
        ),
        Note::Released { source, .. } => (NOTICE, format!("released {source}, on parole")),
        Note::Pardoned { cidr } => (
            NOTICE,
            format!("pardoned {cidr}: somebody there knows a password"),
        ),
        Note::TrustedSuspect { source, kind, .. } => (
            WARNING,
            format!(
                "{source} is trusted and is not banned, but comes up with: {}\nhint: look for a phone with a stale password there",
                kind.words()
            ),
        ),
        Note::SourceHidden { gateway } => (ERROR, hidden(*gateway)),
        Note::Evicted { source, set } => (
            WARNING,
            format!(
                "the set of {} is full; freed {source} for another",
                name(*set)
            ),
        ),
        Note::Full { source, set } => (
            ERROR,
            format!(
                "the set of {} is full; did not ban {source}\nhint: raise maxjail in autoban.conf",
                name(*set)
            ),
        ),
        Note::Skipped { .. } => return None,
    })
}

/// What to change where all clients have the gateway's address.
pub fn hidden(gateway: IpAddr) -> String {
    format!(
        "all clients come from the gateway {gateway}: something hides who they are, so nobody is banned\nhint: start the Docker engine with `--userland-proxy=false`, or the container with `network_mode: host`"
    )
}

fn name(set: Set) -> &'static str {
    match set {
        Set::Jail => "the jail",
        Set::Weak => "weak bans",
    }
}

/// From one moment to another, in the words of the configuration.
fn span_between(from: i64, to: i64) -> String {
    span(u64::try_from(to.saturating_sub(from)).unwrap_or(0) / 1000)
}

/// Seconds in the words of the configuration.
pub fn span(seconds: u64) -> String {
    let text: String = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')]
        .iter()
        .scan(seconds, |left, (unit, letter)| {
            let count = *left / unit;
            *left %= unit;
            Some(match count {
                0 => String::new(),
                count => format!("{count}{letter}"),
            })
        })
        .collect();
    match Duration::from_secs(seconds).is_zero() {
        true => "0s".to_owned(),
        false => text,
    }
}
