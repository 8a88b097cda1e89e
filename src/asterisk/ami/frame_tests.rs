use proptest::prelude::*;

use super::super::address::Transport;
use super::super::event::{Name, Service};
use super::*;

const BANNER: &str = "Asterisk Call Manager/11.0.0\r\n";
const TAIL: &str = "SessionID: 4a-b@h\r\nLocalAddress: IPV4/UDP/127.0.0.1/5060\r\nRemoteAddress: IPV4/UDP/192.0.2.7/5071\r\n";

/// What texts of a stranger are made of when they want to be more than values.
const PARTS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "\0",
    ": ",
    "x",
    "Event: ",
    "SuccessfulAuth",
    "Event: SuccessfulAuth\r\n",
    "Privilege: security,all\r\n",
    "EventTV: t\r\n",
    "Severity: Informational\r\n",
    "Service: PJSIP\r\n",
    "EventVersion: 1\r\n",
    "AccountID: a\r\n",
    "UsingPassword: 1\r\n",
    "Response: Success\r\n",
    "ActionID: 1\r\n",
    "RemoteAddress: ",
    "IPV4/8.8.8.8/1",
    "IPV4/UDP/8.8.8.8/1\r\n",
    "\r\nRemoteAddress: IPV4/8.8.8.8/1\r\n",
    "\r\n\r\nEvent: SuccessfulAuth\r\n",
    TAIL,
];

/// One event as Asterisk 22.10.1 wrote it, with the account and the headers after the addresses given.
fn event(name: &str, severity: &str, version: &str, account: &str, rest: &str) -> String {
    format!(
        "Event: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-08-05T10:11:12.345+0000\r\nSeverity: {severity}\r\nService: PJSIP\r\nEventVersion: {version}\r\nAccountID: {account}\r\n{TAIL}{rest}\r\n"
    )
}

fn unknown(account: &str) -> String {
    event("InvalidAccountID", "Error", "1", account, "")
}

/// A frame in words.
fn words(frame: Frame<'_>) -> String {
    match frame {
        Frame::Banner(text) => format!("banner {text}"),
        Frame::Security(event) => format!(
            "{:?} {} {} {}",
            event.name,
            event.account.escape_ascii(),
            event.remote.address,
            event.remote.transport.name()
        ),
        Frame::Other(lines) => format!("other {}", lines.len()),
        Frame::Hostile(hostile) => format!(
            "hostile: {}, by {}",
            hostile.suspicion.word(),
            hostile
                .author
                .map_or("-".to_owned(), |peer| peer.address.to_string())
        ),
    }
}

/// Every frame of the text in words, fed in pieces of this size.
fn frames(text: &[u8], piece: usize) -> Vec<String> {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for piece in text.chunks(piece.max(1)) {
        framer.feed(piece);
        while let Some(frame) = framer.next() {
            found.push(words(frame));
        }
    }
    found
}

fn read(text: &str) -> Vec<String> {
    let mut found = frames(format!("{BANNER}{text}").as_bytes(), usize::MAX);
    assert_eq!(found.remove(0), "banner Asterisk Call Manager/11.0.0");
    found
}

#[test]
fn every_event_is_read_in_its_own_form() {
    let rows: &[(&str, &str, &str, &str, Name)] = &[
        (
            "FailedACL",
            "Error",
            "1",
            "ACLName: not_match_endpoint_acl\r\n",
            Name::FailedAcl,
        ),
        ("FailedACL", "Error", "1", "", Name::FailedAcl),
        (
            "InvalidAccountID",
            "Error",
            "1",
            "Module: m\r\nSessionTV: t\r\n",
            Name::InvalidAccountId,
        ),
        ("SessionLimit", "Error", "1", "", Name::SessionLimit),
        ("MemoryLimit", "Error", "1", "", Name::MemoryLimit),
        ("LoadAverageLimit", "Error", "1", "", Name::LoadAverageLimit),
        (
            "RequestNotSupported",
            "Error",
            "1",
            "RequestType: registrar\r\n",
            Name::RequestNotSupported,
        ),
        (
            "RequestNotAllowed",
            "Error",
            "1",
            "RequestType: Command\r\nSessionTV: t\r\nRequestParams: \r\n",
            Name::RequestNotAllowed,
        ),
        (
            "AuthMethodNotAllowed",
            "Error",
            "1",
            "AuthMethod: x\r\n",
            Name::AuthMethodNotAllowed,
        ),
        (
            "SuccessfulAuth",
            "Informational",
            "1",
            "UsingPassword: 1\r\n",
            Name::SuccessfulAuth,
        ),
        (
            "UnexpectedAddress",
            "Error",
            "2",
            "ExpectedAddress: IPV4/UDP/192.0.2.8/5060\r\n",
            Name::UnexpectedAddress,
        ),
        (
            "ChallengeResponseFailed",
            "Error",
            "1",
            "Challenge: 17/aa\r\nResponse: \r\nExpectedResponse: \r\n",
            Name::ChallengeResponseFailed,
        ),
        ("InvalidPassword", "Error", "2", "", Name::InvalidPassword),
        (
            "InvalidPassword",
            "Error",
            "2",
            "Challenge: \r\nReceivedChallenge: a\r\nReceivedHash: b\r\n",
            Name::InvalidPassword,
        ),
        (
            "ChallengeSent",
            "Informational",
            "1",
            "Challenge: \r\n",
            Name::ChallengeSent,
        ),
        (
            "InvalidTransport",
            "Error",
            "1",
            "AttemptedTransport: x\r\n",
            Name::InvalidTransport,
        ),
    ];
    for (name, severity, version, rest, expected) in rows {
        let mut framer = Framer::new();
        framer.feed(BANNER.as_bytes());
        framer.feed(event(name, severity, version, "alice", rest).as_bytes());
        framer.next();
        match framer.next() {
            Some(Frame::Security(event)) => {
                assert_eq!(event.name, *expected);
                assert_eq!(event.account, b"alice");
                assert_eq!(event.service, Service::Pjsip);
                assert_eq!(event.remote.transport, Transport::Udp);
                assert_eq!(event.remote.port, 5071);
            }
            other => panic!("{name}: {other:?}"),
        }
        // One header more, one less, the other severity, another version.
        for wrong in [
            event(
                name,
                severity,
                version,
                "alice",
                &format!("{rest}Extra: 1\r\n"),
            ),
            event(name, severity, version, "alice", rest).replacen("SessionID: 4a-b@h\r\n", "", 1),
            event(name, "Warning", version, "alice", rest),
            event(name, severity, "9", "alice", rest),
        ] {
            let found = read(&wrong);
            assert!(
                found.len() == 1 && found[0].starts_with("hostile"),
                "{name}: {found:?}"
            );
        }
    }
}

#[test]
fn a_bad_format_event_has_its_account_late() {
    let text = format!(
        "Event: RequestBadFormat\r\nPrivilege: security,all\r\nEventTV: t\r\nSeverity: Error\r\nService: AMI\r\nEventVersion: 1\r\n{TAIL}RequestType: x\r\nSessionTV: t\r\nAccountID: bob\r\n\r\n"
    );
    assert_eq!(read(&text), ["RequestBadFormat bob 192.0.2.7 UDP"]);
    let without = text.replace("AccountID: bob\r\n", "");
    assert_eq!(read(&without), ["RequestBadFormat  192.0.2.7 UDP"]);
}

#[test]
fn what_asterisk_may_put_before_the_time_is_taken() {
    let text = unknown("a").replace(
        "EventTV",
        "Timestamp: 1.2\r\nSequenceNumber: 1\r\nFile: manager.c\r\nLine: 7\r\nFunc: f\r\nSystemName: s\r\nEventTV",
    );
    assert_eq!(read(&text), ["InvalidAccountId a 192.0.2.7 UDP"]);
    let twice = unknown("a").replace("EventTV", "SystemName: a\r\nSystemName: b\r\nEventTV");
    assert_eq!(read(&twice), ["hostile: duplicate header, by 192.0.2.7"]);
}

#[test]
fn responses_and_other_events_are_header_lists() {
    let mut framer = Framer::new();
    framer.feed(BANNER.as_bytes());
    framer.feed(b"Response: Success\r\nActionID: k1\r\nMessage: Command output follows\r\nOutput: one\r\nOutput:  two\r\n\r\nEvent: FullyBooted\r\nPrivilege: system,all\r\nUptime: 3\r\n\r\nEvent: ContactList\r\nActionID: k2\r\nUri: sip:a@h\r\n\r\n");
    framer.next();
    let Some(Frame::Other(lines)) = framer.next() else {
        panic!("no response");
    };
    assert_eq!(lines.get("actionid"), Some(&b"k1"[..]));
    let outputs: Vec<_> = lines
        .headers()
        .filter(|(name, _)| *name == b"Output")
        .collect();
    assert_eq!(
        outputs,
        [
            (&b"Output"[..], &b"one"[..]),
            (&b"Output"[..], &b" two"[..])
        ]
    );
    assert!(
        matches!(framer.next(), Some(Frame::Other(lines)) if lines.get("Uptime") == Some(b"3"))
    );
    assert!(
        matches!(framer.next(), Some(Frame::Other(lines)) if lines.get("Uri") == Some(b"sip:a@h"))
    );
    assert!(framer.next().is_none());
}

/// Each row is a hostile AMI field, and what becomes of it.
#[test]
fn hostile_fields_are_evidence_never_data() {
    let rows: &[(&str, &[&str])] = &[
        ("a\nb", &["hostile: control byte, by 192.0.2.7"]),
        ("a\rb", &["hostile: control byte, by 192.0.2.7"]),
        ("a\0b", &["hostile: control byte, by 192.0.2.7"]),
        (
            "\r\n",
            &[
                "hostile: header missing, by -",
                "hostile: no header, by 192.0.2.7",
            ],
        ),
        ("x\r\ny", &["hostile: header out of place, by 192.0.2.7"]),
        (
            "x\r\nAccountID: y",
            &["hostile: duplicate header, by 192.0.2.7"],
        ),
        (
            "x\r\nRemoteAddress: IPV4/TCP/8.8.8.8/1",
            &["hostile: duplicate header, by 192.0.2.7"],
        ),
        (
            "x\r\n\r\ny",
            &[
                "hostile: header missing, by -",
                "hostile: no header, by 192.0.2.7",
            ],
        ),
        (
            "\r\n\r\nEvent: SuccessfulAuth",
            &[
                "hostile: header missing, by -",
                "hostile: header out of place, by 192.0.2.7",
            ],
        ),
        (
            "\r\nRemoteAddress: IPV4/8.8.8.8/1\r\n",
            &[
                "hostile: header out of place, by -",
                "hostile: no header, by 192.0.2.7",
            ],
        ),
        (
            "\r\n\r\nResponse: Success\r\n\r\n",
            &[
                "hostile: header missing, by -",
                "hostile: rest of a torn event, by -",
                "hostile: header missing, by -",
                "hostile: no header, by 192.0.2.7",
            ],
        ),
        (
            "\r\n\r\nEvent: Shutdown\r\n\r\n",
            &[
                "hostile: header missing, by -",
                "hostile: header missing, by -",
                "hostile: header missing, by -",
                "hostile: no header, by 192.0.2.7",
            ],
        ),
    ];
    for (account, expected) in rows {
        let mut found = read(&format!("{}{}", unknown(account), unknown("next")));
        assert_eq!(
            found.pop().as_deref(),
            Some("InvalidAccountId next 192.0.2.7 UDP")
        );
        assert_eq!(found, *expected, "{account:?}");
    }
}

#[test]
fn what_is_too_long_is_not_kept_but_its_author_is_found() {
    let long = "x".repeat(100_000);
    assert_eq!(
        read(&unknown(&long)),
        ["hostile: line too long, by 192.0.2.7"]
    );
    let call_id = unknown("a").replace("4a-b@h", &long);
    assert_eq!(read(&call_id), ["hostile: line too long, by 192.0.2.7"]);
    let many = unknown(&"x\r\nA: b".repeat(20_000));
    assert_eq!(read(&many), ["hostile: frame too long, by 192.0.2.7"]);

    let mut framer = Framer::new();
    framer.feed(BANNER.as_bytes());
    framer.next();
    for _ in 0..1000 {
        framer.feed("y".repeat(1000).as_bytes());
        assert!(framer.next().is_none());
    }
    assert!(
        framer.buffer.capacity() < 32 * 1024,
        "{}",
        framer.buffer.capacity()
    );
}

#[test]
fn a_connection_begins_with_a_banner() {
    assert_eq!(
        frames(b"GABpbx Call Manager/1.0\r\n", 3),
        ["banner GABpbx Call Manager/1.0"]
    );
    assert_eq!(
        frames(b"HTTP/1.1 400 Bad Request\r\n", 99),
        ["hostile: no banner, by -"]
    );
    assert_eq!(
        frames("x".repeat(300).as_bytes(), 99),
        ["hostile: no banner, by -"]
    );
}

proptest! {
    #[test]
    fn control_bytes_are_found_where_they_are(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 10u8..18, 120u8..150], 0..40)) {
        let plain = bytes.iter().position(|b| *b <= b'\r').map(|at| (at, bytes[at]));
        prop_assert_eq!(next_control(&bytes), plain);
    }

    #[test]
    fn every_cut_gives_the_same_frames(
        accounts in prop::collection::vec("[a\\r\\n:\0 ]{0,12}|x{4070,4110}", 1..5),
        piece in 1usize..400,
    ) {
        let text: String = accounts.iter().map(|account| unknown(account)).collect();
        let text = format!("{BANNER}{text}Response: Success\r\n\r\n");
        prop_assert_eq!(frames(text.as_bytes(), piece), frames(text.as_bytes(), usize::MAX));
    }

    #[test]
    fn no_field_makes_an_event_of_its_own(account in "(\r\n|[ -~]|Event: |RemoteAddress: |IPV4/1\\.1\\.1\\.1/1|SuccessfulAuth){0,12}") {
        let account: String = account.chars().take(36).collect();
        let found = read(&unknown(&account));
        let events: Vec<_> = found.iter().filter(|frame| !frame.starts_with("hostile")).collect();
        if account.contains('\r') {
            prop_assert!(events.is_empty(), "{:?}", found);
        } else {
            prop_assert_eq!(events.len(), 1);
        }
        prop_assert!(found.iter().all(|frame| !frame.contains("1.1.1.1") || !frame.starts_with("hostile")));
    }

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_frames_and_are_not_kept(
        parts in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(PARTS).prop_map(|part| part.as_bytes().to_vec()),
                2 => prop::collection::vec(any::<u8>(), 0..40),
                1 => (any::<u8>(), 3000usize..70_000).prop_map(|(byte, count)| vec![byte; count]),
            ],
            0..40,
        ),
        cuts in prop::collection::vec(1usize..9000, 1..20),
    ) {
        let bytes = [BANNER.as_bytes(), &parts.concat()].concat();
        let (mut framer, mut found) = (Framer::new(), Vec::new());
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            framer.feed(piece);
            while let Some(frame) = framer.next() {
                found.push(words(frame));
            }
            let kept = framer.buffer.len() - framer.begin;
            prop_assert!(kept <= MAX_FRAME + 2, "{} bytes are kept", kept);
        }
        prop_assert_eq!(found, frames(&bytes, usize::MAX));
    }

}

proptest! {
    // Two of the parts have to come together.
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn one_hostile_value_makes_nobody_trusted_and_nobody_else_known(
        place in prop_oneof![Just(0usize), 1usize..5],
        value in prop::collection::vec(
            prop_oneof![
                3 => prop::sample::select(PARTS).prop_map(|part| part.as_bytes().to_vec()),
                1 => prop::collection::vec(any::<u8>(), 1..6),
            ],
            0..8,
        ),
    ) {
        // What the exchange unescapes is cut at this length; longer values come without the ends of lines.
        let mut value = value.concat();
        match place {
            0 => value.truncate(36),
            _ => value.retain(|byte| !b"\r\n".contains(byte)),
        }
        let (answer, acl) = ("Challenge: @3\r\nResponse: @4\r\nExpectedResponse: \r\n", "ACLName: @2\r\n");
        let template = match place {
            2 => event("FailedACL", "Error", "1", "@0", acl),
            3 | 4 => event("ChallengeResponseFailed", "Error", "1", "@0", answer),
            _ => unknown("@0"),
        };
        let template = template.replace("4a-b@h", "@1");
        let (before, after) = template.split_once(&format!("@{place}")).unwrap();
        let bytes = [BANNER.as_bytes(), before.as_bytes(), &value, after.as_bytes(), unknown("next").as_bytes()].concat();
        let mut framer = Framer::new();
        framer.feed(&bytes);
        let mut last = None;
        while let Some(frame) = framer.next() {
            match frame {
                Frame::Security(event) => {
                    prop_assert_ne!(event.name, Name::SuccessfulAuth);
                    prop_assert_eq!(event.remote.address.to_string(), "192.0.2.7");
                    last = Some(event.account.to_vec());
                }
                Frame::Hostile(hostile) => if let Some(author) = hostile.author {
                    prop_assert_eq!(author.address.to_string(), "192.0.2.7");
                }
                Frame::Banner(_) | Frame::Other(_) => {}
            }
        }
        // The connection goes on.
        prop_assert_eq!(last.as_deref(), Some(&b"next"[..]));
    }
}
