//! The second witness: what Asterisk's log says of a request of which the manager is not told.
//!
//! A security event that would hold bytes that are no UTF-8 is not raised (main/security_events.c, by way of main/json.c).
//! The log then has two lines of the same thread, one behind the other: `log_failed_request` of
//! res_pjsip/pjsip_distributor.c names the sender, and `ast_security_event_report` says that the event failed. Only such a
//! pair counts, so that what the manager is told of is never counted twice.
//!
//! Pure. A stranger's text stands on both sides of the address, and may look like an address with its surroundings. The true
//! one is among those that can be read, so that a line counts where all of them are of one sender. Invariant: no line speaks
//! against an address from which the request did not come. Who makes his lines ambiguous is not counted by them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::evidence::Kind;

/// Threads of which a first line is kept. Asterisk has some dozens.
const THREADS: usize = 256;

/// What an event is missing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witnessed {
    pub address: IpAddr,
    pub kind: Kind,
}

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Against(Witnessed),
    /// An event is missing, and nobody can be held to it: the line before has two senders, or is not there.
    Nobody,
    /// A request failed. Whether an event of it is missing says the next line.
    Failed,
    Nothing,
}

/// Puts the lines of each thread together.
#[derive(Debug, Default)]
pub struct Pairs {
    /// By thread, its last line: who failed with what, if that can be told.
    failed: HashMap<u32, (Option<IpAddr>, Kind)>,
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
            Some((Some(address), kind)) if kind == missing => {
                Seen::Against(Witnessed { address, kind })
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

/// The kind of a request that failed and its sender, `None` where more than one can be read.
fn failed(text: &str) -> Option<(Option<IpAddr>, Kind)> {
    let text = text.strip_prefix("Request '")?;
    // The end is Asterisk's own, and has no such mark in it.
    let (text, reason) = text.rsplit_once(") - ")?;
    Some((sender(text), reason_of(reason)?))
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

/// The sender in `METHOD' from 'URI' failed for 'ADDRESS:PORT' (callid: ID`, where one alone can be read.
fn sender(text: &str) -> Option<IpAddr> {
    // With the quotation mark before it the pattern could overlap itself, and the second of two would not be found.
    const BEFORE: &str = " failed for '";
    const BEHIND: &str = " (callid: ";
    let mut found = None;
    for (at, _) in text.match_indices(BEFORE) {
        let (front, rest) = text.split_at_checked(at)?;
        let (place, behind) = rest.strip_prefix(BEFORE)?.split_once('\'')?;
        // An address has neither a space nor a mark in it.
        let is_whole = front.ends_with('\'') && !place.contains(' ') && behind.starts_with(BEHIND);
        if !is_whole {
            continue;
        }
        let address = place.parse::<SocketAddr>().ok()?.ip().to_canonical();
        if found.is_some_and(|other| other != address) {
            return None;
        }
        found = Some(address);
    }
    found
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notice(thread: u32, from: &str, place: &str, call_id: &str, reason: &str) -> String {
        format!(
            "NOTICE[{thread}]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'REGISTER' from '{from}' failed for '{place}' (callid: {call_id}) - {reason}"
        )
    }

    fn error(thread: u32, event: &str) -> String {
        format!(
            "ERROR[{thread}]: security_events.c:1236 in ast_security_event_report: Failed to issue security event of type {event}."
        )
    }

    fn of(lines: &[String]) -> Vec<Seen> {
        let mut pairs = Pairs::default();
        lines.iter().map(|line| pairs.take(line)).collect()
    }

    const UNKNOWN: &str = "No matching endpoint found";
    const FAILED: &str = "Failed to authenticate";

    /// What a pair of lines says: the address, `-` if nobody can be held to it.
    fn read(from: &str, place: &str, call_id: &str) -> String {
        let line = notice(40, from, place, call_id, UNKNOWN);
        match of(&[line, error(40, "InvalidAccountID")])[..] {
            [Seen::Failed, Seen::Against(found)] => found.address.to_string(),
            [Seen::Failed, Seen::Nobody] => "-".to_owned(),
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pair_speaks_against_the_sender() {
        let kinds = [
            (UNKNOWN, "InvalidAccountID", Kind::UnknownAccount),
            (
                "No matching endpoint found after 6 tries in 4711.123 ms",
                "InvalidAccountID",
                Kind::UnknownAccount,
            ),
            (FAILED, "ChallengeResponseFailed", Kind::WrongPassword),
            ("Not match Endpoint ACL", "FailedACL", Kind::AclDenied),
        ];
        for (reason, event, kind) in kinds {
            let line = notice(40, "<sip:a@b>", "192.0.2.7:5060", "a\u{fffd}b", reason);
            let address = [192, 0, 2, 7].into();
            assert_eq!(
                of(&[line, error(40, event)]),
                [Seen::Failed, Seen::Against(Witnessed { address, kind })]
            );
        }
        assert_eq!(read("<sip:a@b>", "[fd5b::7]:40000", "x"), "fd5b::7");
        assert_eq!(read("<sip:a@b>", "[::ffff:192.0.2.7]:1", "x"), "192.0.2.7");
        assert_eq!(read("", "192.0.2.7:1", ""), "192.0.2.7");
        let call = notice(40, "", "192.0.2.7:1", "", UNKNOWN).replacen("]:", "][C-0000001f]:", 1);
        assert!(matches!(
            of(&[call, error(40, "InvalidAccountID")])[1],
            Seen::Against(_)
        ));
    }

    #[test]
    fn one_line_alone_or_of_another_thread_says_nothing() {
        let line = || notice(40, "<sip:a@b>", "192.0.2.7:5060", "x", FAILED);
        let missing = "ChallengeResponseFailed";
        assert_eq!(of(&[error(40, missing)]), [Seen::Nobody]);
        assert_eq!(of(&[line(), error(41, missing)])[1], Seen::Nobody);
        // One pair, one event.
        let twice = [line(), error(40, missing), error(40, missing)];
        assert_eq!(of(&twice)[2], Seen::Nobody);
        // Of this one the manager was told; the next one of the thread was only asked for a password.
        let challenged = [line(), error(40, "ChallengeSent"), error(40, missing)];
        assert_eq!(of(&challenged)[1..], [Seen::Nothing, Seen::Nobody]);
        // Raised elsewhere, behind a login (res_pjsip_registrar.c).
        assert_eq!(of(&[line(), error(40, "FailedACL")])[1], Seen::Nobody);
        let gap =
            "WARNING[9]: logger.c:2100 in logger_thread: Logging resumed.  7 messages discarded.";
        assert_eq!(
            of(&[line(), gap.to_owned(), error(40, missing)])[2],
            Seen::Nobody
        );
        let mut pairs = Pairs::default();
        pairs.take(&line());
        pairs.forget();
        assert_eq!(pairs.take(&error(40, missing)), Seen::Nobody);
    }

    #[test]
    fn where_two_senders_can_be_read_nobody_is_held_to_it() {
        let decoy = "' failed for '198.51.100.7:1' (callid: z";
        assert_eq!(read("<sip:a@b>", "192.0.2.7:1", decoy), "-");
        let from = format!("\"x{decoy}\" <sip:a@b>");
        assert_eq!(read(&from, "192.0.2.7:1", "x"), "-");
        assert_eq!(read(&from, "192.0.2.7:1", decoy), "-");
        // As long as it is no address with all that stands around it, there is but one.
        for text in [
            "' failed for ",
            "failed for '198.51.100.7:1'",
            "' (callid: ",
            "a' failed for 'b c' (callid: ",
        ] {
            assert_eq!(read(text, "192.0.2.7:1", text), "192.0.2.7", "{text}");
        }
        // A whole one that is no address, and might be the true one.
        let odd = "' failed for 'x' (callid: ";
        assert_eq!(read("<sip:a@b>", "192.0.2.7:1", odd), "-");
        // A decoy with the own address hides nothing.
        let own = "' failed for '192.0.2.7:9' (callid: ";
        assert_eq!(read(own, "192.0.2.7:1", own), "192.0.2.7");
    }

    #[test]
    fn other_lines_are_none_of_its() {
        for line in [
            "",
            "NOTICE[1]",
            "NOTICE[x]: a.c:1 in log_failed_request: Request 'A",
            "NOTICE[1]: a b.c:1 in log_failed_request: Request 'A",
            "NOTICE[1]: a.c:x in log_failed_request: Request 'A",
            "NOTICE[1]: chan.c:1 in other: x in log_failed_request: Request 'A",
            "WARNING[1]: a.c:1 in log_failed_request: Request 'A",
            "Request 'REGISTER' from 'x' failed for '192.0.2.7:1' (callid: x) - Failed to authenticate",
        ] {
            assert_eq!(of(&[line.to_owned()]), [Seen::Nothing], "{line}");
        }
        let odd = notice(40, "", "192.0.2.7:1", "", "Another reason");
        assert_eq!(of(&[odd, error(40, "InvalidAccountID")])[1], Seen::Nobody);
    }

    /// A stranger's text, mostly of what could be taken for something.
    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("' failed for '".to_owned()),
            Just("' (callid: ".to_owned()),
            Just("198.51.100.7:1".to_owned()),
            Just("[2001:db8::1]:5060".to_owned()),
            Just(") - Failed to authenticate".to_owned()),
            Just(") - ".to_owned()),
            Just("'".to_owned()),
            Just(" ".to_owned()),
            Just("failed for ".to_owned()),
            Just("NOTICE[40]: a.c:1 in log_failed_request: Request '".to_owned()),
            "[^\\r\\n]{0,6}",
        ];
        proptest::collection::vec(part, 0..9).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_text_of_a_stranger_makes_it_another_sender(
            from in text(), call_id in text(), method in "[A-Z'.!%*_`~+-]{1,20}", v6: bool,
        ) {
            let (place, own) = match v6 {
                false => ("192.0.2.7:40000", "192.0.2.7"),
                true => ("[fd5b::7]:40000", "fd5b::7"),
            };
            let line = notice(40, &from, place, &call_id, UNKNOWN).replacen("REGISTER", &method, 1);
            if let Seen::Against(found) = of(&[line, error(40, "InvalidAccountID")])[1] {
                prop_assert_eq!(found.address.to_string(), own);
                prop_assert_eq!(found.kind, Kind::UnknownAccount);
            }
        }

        #[test]
        fn any_lines_are_read_to_an_end(lines: Vec<String>) {
            of(&lines);
        }
    }
}
