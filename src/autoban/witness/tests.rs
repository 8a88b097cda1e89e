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

/// Who can have sent it; with a mark where that is not certain.
fn words(found: &Witnessed) -> String {
    let senders = found.senders.iter();
    let mut words: Vec<String> = senders.map(|s| s.place.ip().to_string()).collect();
    words.dedup();
    let mark = if found.is_alone { "" } else { "?" };
    words.join(" ") + mark
}

/// What a pair of lines says: the senders, `-` if nobody can be held to it.
fn read(from: &str, place: &str, call_id: &str) -> String {
    let line = notice(40, from, place, call_id, UNKNOWN);
    match of(&[line, error(40, "InvalidAccountID")])[..] {
        [Seen::Failed, Seen::Against(ref found)] => words(found),
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
        match &of(&[line, error(40, event)])[..] {
            [Seen::Failed, Seen::Against(found)] => {
                assert_eq!((words(found), found.kind), ("192.0.2.7".to_owned(), kind));
            }
            other => panic!("{other:?}"),
        }
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
    let gap = "WARNING[9]: logger.c:2100 in logger_thread: Logging resumed.  7 messages discarded.";
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
fn where_two_senders_can_be_read_both_are_told() {
    let decoy = "' failed for '198.51.100.7:1' (callid: z";
    let both = "192.0.2.7 198.51.100.7?";
    assert_eq!(read("<sip:a@b>", "192.0.2.7:1", decoy), both);
    let from = format!("\"x{decoy}\" <sip:a@b>");
    assert_eq!(read(&from, "192.0.2.7:1", "x"), "198.51.100.7 192.0.2.7?");
    assert_eq!(read(&from, "192.0.2.7:1", decoy), "198.51.100.7 192.0.2.7?");
    // As long as it is no address with all that stands around it, there is but one.
    for text in [
        "' failed for ",
        "failed for '198.51.100.7:1'",
        "' (callid: ",
        "a' failed for 'b c' (callid: ",
    ] {
        assert_eq!(read(text, "192.0.2.7:1", text), "192.0.2.7", "{text}");
    }
    // A whole one that is no address.
    let odd = "' failed for 'x' (callid: ";
    assert_eq!(read("<sip:a@b>", "192.0.2.7:1", odd), "192.0.2.7?");
    assert_eq!(read("<sip:a@b>", "x", "x"), "-");
    // A decoy with the own address hides nothing.
    let own = "' failed for '192.0.2.7:9' (callid: ";
    assert_eq!(read(own, "192.0.2.7:1", own), "192.0.2.7");
    // As many as have room on either side of the true one, each another one.
    let many = |start: u8| -> String {
        let one = |n| format!("' failed for '[::{n:x}]:1' (callid: ");
        (start..start + 16).map(one).collect()
    };
    let found = read(&many(0x20), "192.0.2.7:1", &many(0x40));
    assert_eq!(found.split(' ').count(), 33, "{found}");
    assert!(
        found.contains(" 192.0.2.7 ") && found.ends_with('?'),
        "{found}"
    );
}

#[test]
fn no_request_is_longer_than_it_was() {
    let of = |from: &str, call_id: &str| {
        let line = notice(40, from, "192.0.2.7:1", call_id, UNKNOWN);
        failed(line.split_once("log_failed_request: ").unwrap().1)
            .unwrap()
            .bytes
    };
    assert_eq!(of("<sip:a@b>", "x"), 60);
    // Each of these was one byte.
    let text = "%23".repeat(100);
    assert!(of(&format!("<sip:{text}@b>"), "x") <= 60 + 100);
    assert!(of("<sip:a@b>", &"\u{fffd}".repeat(300)) <= 60 + 300);
    assert!(of("<sip:a@b>", &"x".repeat(300)) > 130);
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
        let place: SocketAddr = match v6 {
            false => "192.0.2.7:40000",
            true => "[fd5b::7]:40000",
        }.parse().unwrap();
        let line = notice(40, &from, &place.to_string(), &call_id, UNKNOWN).replacen("REGISTER", &method, 1);
        match of(&[line, error(40, "InvalidAccountID")]).pop() {
            Some(Seen::Against(found)) => {
                prop_assert!(found.senders.iter().any(|sender| sender.place == place));
                prop_assert!(!found.is_alone || found.senders.iter().all(|s| s.place.ip() == place.ip()));
                prop_assert_eq!(found.kind, Kind::UnknownAccount);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_lines_are_read_to_an_end(lines: Vec<String>) {
        of(&lines);
    }
}
