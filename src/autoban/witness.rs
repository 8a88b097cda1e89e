//! The second witness: what Asterisk's log says of a request of which the manager is not told.
//!
//! A security event that would hold bytes that are no UTF-8 is not raised (main/security_events.c, by way of main/json.c).
//! The log then has two lines of the same thread, one behind the other: `log_failed_request` of
//! res_pjsip/pjsip_distributor.c names the sender, and `ast_security_event_report` says that the event failed. Only such a
//! pair counts, so that what the manager is told of is never counted twice.
//!
//! Pure. [`senders`] reads who can have sent it, [`received`] knows over whose connection it can have come, and [`verdict`]
//! says who is held to it. Invariant: a line speaks against nobody but those that it names, and the true sender is one of them.

pub mod received;
pub mod senders;
pub mod verdict;

use std::collections::HashMap;
use std::net::SocketAddr;

use super::evidence::Kind;
use senders::Senders;

/// Threads of which a first line is kept. Asterisk has some dozens.
const THREADS: usize = 256;

/// What an event is missing of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// One or more.
    pub senders: Vec<Sender>,
    /// All of them are one address, for certain.
    pub is_alone: bool,
    /// The request has at least so many bytes.
    pub bytes: u64,
    pub kind: Kind,
}

/// Who may have sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    pub place: SocketAddr,
    /// A connection of it is there, and has received of late what the request can have been.
    pub has_sent: bool,
}

/// What came of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Against(Witnessed),
    /// An event is missing, and nobody can be held to it: the line before names nobody, or is not there.
    Nobody,
    /// A request failed. Whether an event of it is missing says the next line.
    Failed,
    Nothing,
}

#[derive(Debug)]
struct Failed {
    senders: Senders,
    bytes: u64,
    kind: Kind,
}

/// Puts the lines of each thread together.
#[derive(Debug, Default)]
pub struct Pairs {
    /// By thread, its last line, if it says who failed with what.
    failed: HashMap<u32, Failed>,
}

impl Pairs {
    /// Takes the next line, as Asterisk gives it to syslog(3).
    pub fn take(&mut self, line: &str) -> Seen {
        if let Some((thread, text)) = said(line, "NOTICE", "log_failed_request") {
            if self.failed.len() >= THREADS {
                self.failed.clear();
            }
            match failed(text) {
                Some(found) => self.failed.insert(thread, found),
                None => self.failed.remove(&thread),
            };
            return Seen::Failed;
        }
        let Some((thread, text)) = said(line, "ERROR", "ast_security_event_report") else {
            if is_gap(line) {
                self.forget();
            }
            return Seen::Nothing;
        };
        let before = self.failed.remove(&thread);
        let Some(missing) = missing(text) else {
            return Seen::Nothing;
        };
        match before {
            Some(failed) if failed.kind == missing && !failed.senders.places.is_empty() => {
                let unheard = |place| Sender {
                    place,
                    has_sent: false,
                };
                Seen::Against(Witnessed {
                    senders: failed.senders.places.into_iter().map(unheard).collect(),
                    is_alone: failed.senders.is_alone,
                    bytes: failed.bytes,
                    kind: missing,
                })
            }
            _ => Seen::Nobody,
        }
    }

    /// Lines are missing: what was there has no second half any more.
    pub fn forget(&mut self) {
        self.failed.clear();
    }
}

/// The thread and the text of `LEVEL[THREAD][C-CALL]: FILE:LINE in FUNCTION: TEXT`, if it is of this level and function.
fn said<'a>(line: &'a str, level: &str, function: &str) -> Option<(u32, &'a str)> {
    let (thread, rest) = line
        .strip_prefix(level)?
        .strip_prefix('[')?
        .split_once(']')?;
    let rest = match rest.strip_prefix("[C-") {
        Some(call) => call.split_once(']')?.1,
        None => rest,
    };
    let (place, rest) = rest.strip_prefix(": ")?.split_once(" in ")?;
    let (_, number) = place.rsplit_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(thread) || !is_number(number) || place.contains(' ') {
        return None;
    }
    let text = rest.strip_prefix(function)?.strip_prefix(": ")?;
    Some((thread.parse().ok()?, text))
}

/// Whether Asterisk says that it leaves out lines (main/logger.c).
fn is_gap(line: &str) -> bool {
    let texts = [": Log queue threshold (", ": Logging resumed."];
    line.starts_with("WARNING[")
        && line.contains("]: logger.c:")
        && texts.iter().any(|text| line.contains(text))
}

/// A request that failed.
fn failed(text: &str) -> Option<Failed> {
    let text = text.strip_prefix("Request '")?;
    // The end is Asterisk's own, and has no such mark in it.
    let (text, reason) = text.rsplit_once(") - ")?;
    Some(Failed {
        senders: Senders::read(text),
        bytes: least(text),
        kind: reason_of(reason)?,
    })
}

/// No request of which this was written was shorter, in bytes. Beside its method, From and Call-ID it has 60 of headers; the
/// line has an address of at most 47 and 33 of its own, and up to three characters for one of the request, as `%23` for `#`.
fn least(text: &str) -> u64 {
    let written = text.chars().count().saturating_sub(47 + 33) as u64;
    60 + written / 3
}

/// All that `log_failed_request` is called with.
fn reason_of(text: &str) -> Option<Kind> {
    let text = match text.split_once(" after ") {
        Some((reason, count)) => {
            let words: Vec<&str> = count.split(' ').collect();
            let [_, "tries", "in", _, "ms"] = words.as_slice() else {
                return None;
            };
            reason
        }
        None => text,
    };
    Some(match text {
        "No matching endpoint found" => Kind::UnknownAccount,
        "Failed to authenticate" | "Error to authenticate" => Kind::WrongPassword,
        "Not match Endpoint ACL" | "Not match Endpoint Contact ACL" => Kind::AclDenied,
        _ => return None,
    })
}

/// The kind of the event that failed; others than these are no abuse.
fn missing(text: &str) -> Option<Kind> {
    let name = text.strip_prefix("Failed to issue security event of type ")?;
    Some(match name.trim_end_matches('.') {
        "InvalidAccountID" => Kind::UnknownAccount,
        "ChallengeResponseFailed" => Kind::WrongPassword,
        "FailedACL" => Kind::AclDenied,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
