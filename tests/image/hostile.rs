//! What a stranger writes into a request comes up in the manager's events. Here it is a hostile field in every place that
//! is a stranger's: it may count against its sender, and never for him or against anybody else.

use crate::street::Street;
use crate::talk::{Carrier, Register, Talk};

/// In no network of the test's: somebody who has done nothing.
const BYSTANDER: &str = "198.51.100.7";

/// What stands around the sender in a line of Asterisk's log.
const DECOY: &[u8] = b"a' failed for '198.51.100.7:1' (callid: b";

/// Texts that would say something in another place.
fn texts() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "a%0d%0ab",
        "a%0ab",
        "a%0db",
        "a%00b",
        "a%22%5c%27b",
        "a%ff%fe%c0%80b",
        "%0d%0a%0d%0aEvent%3a%20SuccessfulAuth",
        "%0d%0aUsingPassword%3a%201%0d%0a%0d%0a",
        "%0d%0aRemoteAddress%3a%20IPV4/198.51.100.7/1",
        "%0d%0aRemoteAddress%3a%20IPV4/198.51.100.7/1%0d%0a",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.push(vec![b'x'; 3000]);
    all
}

/// Texts for fields in which the exchange does not unescape anything.
fn raw_texts() -> Vec<Vec<u8>> {
    let mut all = texts();
    all.extend([
        b"a\r\n b".to_vec(),
        b"a\r\n RemoteAddress: IPV4/TCP/198.51.100.7/5060\r\n b".to_vec(),
        b"a\nb".to_vec(),
        b"a\rb".to_vec(),
        b"a\0b".to_vec(),
        b"a\xff\xfe\xc0\x80b".to_vec(),
        DECOY.to_vec(),
        [b"\xff", DECOY].concat(),
        b"a\\\"b".to_vec(),
    ]);
    all
}

/// An answer to a challenge that was never given, with one part as the stranger wants it.
fn authorization(part: &str, text: &[u8]) -> Vec<u8> {
    let mut out = b"Digest ".to_vec();
    for (name, usual) in [
        ("username", "alice"),
        ("realm", "asterisk"),
        ("nonce", "1800000000/0123456789abcdef0123456789abcdef"),
        ("uri", "sip:exchange"),
        ("response", "0123456789abcdef0123456789abcdef"),
        ("opaque", "0123456789abcdef"),
        ("cnonce", "c0"),
    ] {
        out.extend_from_slice(format!("{name}=\"").as_bytes());
        out.extend_from_slice(if name == part { text } else { usual.as_bytes() });
        out.extend_from_slice(b"\", ");
    }
    out.extend_from_slice(b"algorithm=MD5, qop=auth, nc=00000001");
    out
}

/// A request for each place and each text.
fn requests() -> Vec<(String, Register)> {
    let mut all = Vec::new();
    let mut push = |place: &str, text: &[u8], request: Register| {
        let shown: String = text.escape_ascii().to_string().chars().take(40).collect();
        all.push((format!("{place} {shown}"), request));
    };
    for text in texts() {
        for name in ["nobody", "alice"] {
            let mut request = Register::of(name);
            match name {
                "nobody" => request.user = text.clone(),
                _ => request.to = Some(text.clone()),
            }
            push(if name == "alice" { "to" } else { "from" }, &text, request);
        }
    }
    for text in raw_texts() {
        let mut request = Register::of("nobody");
        request.display = [b"\"", &text[..], b"\" "].concat();
        push("display", &text, request);
        let mut request = Register::of("nobody");
        request.call_id = text.clone();
        push("call-id", &text, request);
        let mut request = Register::of("nobody");
        request.agent = text.clone();
        push("agent", &text, request);
        for part in ["username", "realm", "nonce", "opaque", "response"] {
            // Of one whom the exchange knows: then it looks at the answer.
            let mut request = Register::of("alice");
            request.authorization = Some(authorization(part, &text));
            push(part, &text, request);
        }
    }
    all
}

#[test]
fn a_hostile_field_speaks_against_its_sender_and_nobody_else() {
    let street = Street::with("maxcount = 1000");
    let exchange = street.exchange_for("198.18.6.0");
    let requests = requests();
    let from = |n: usize| format!("198.18.{}.{}", 6 + n / 200, 1 + n % 200);
    let lines: Vec<String> = (0..requests.len())
        .map(|n| format!("addr add {}/32 dev eth0", from(n)))
        .collect();
    street.outside.ip_batch(&lines);
    let before = street.counter("SuccessfulAuth");
    let ask = |n: usize| {
        let talk = Talk::open(&street.outside, &from(n), exchange, Carrier::Tcp);
        let (_, request) = &requests[n];
        let mut talk = talk.expect("a connection");
        (talk.ask(request).is_some(), talk)
    };
    // What gets no answer costs its time; so many at once. The connections stay, so that what came over them is known.
    let (is_answered, _talks): (Vec<bool>, Vec<Talk>) = std::thread::scope(|scope| {
        let parts = (0..requests.len()).collect::<Vec<_>>();
        let parts = parts
            .chunks(parts.len().div_ceil(16))
            .map(<[usize]>::to_vec);
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(|| part.into_iter().map(ask).collect::<Vec<_>>()))
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().unwrap());
        all.flatten().unzip()
    });
    // The last one shows that all before it are counted.
    street.outside.move_in("198.18.5.1");
    assert!(street.answers("198.18.5.1", Carrier::Tcp));
    street.counted("198.18.5.1", "strong_events", 1);
    // What is no UTF-8 raises no event; the log tells of it, and the connection whose it is.
    let is_witnessed = |n: usize| is_answered[n] && is_binary(&requests[n].1);
    let all = || 0..requests.len();
    let decoyed = all().filter(|n| is_witnessed(*n) && requests[*n].1.call_id.ends_with(DECOY));
    let (decoyed, witnessed) = (
        decoyed.count() as u64,
        all().filter(|n| is_witnessed(*n)).count() as u64,
    );
    assert!(decoyed == 1 && witnessed > 5, "{decoyed} {witnessed}");
    street.wait_counter("log lines with several senders", decoyed);
    street.wait_counter("witnessed lines strong", witnessed);
    let watched = street.watched();
    for (n, (what, request)) in requests.iter().enumerate() {
        // No answer: it was no SIP. A known account without a password: it was only asked for one.
        let is_told = is_answered[n] && request.to.is_none();
        let count = watched.get(&from(n)).copied().unwrap_or(0);
        assert_eq!(count, u64::from(is_told), "{what}");
    }
    assert_eq!(street.counter("witnessed lines weak"), 0);
    assert_eq!(watched.get(BYSTANDER), None);
    let told = is_answered.iter().filter(|is_answered| **is_answered);
    assert!(told.count() > 100, "the exchange took hardly any of it");
    assert!(street.counter("hostile frames") >= 8);
    // Nobody's password was right, nobody else was there, and the connection held.
    assert_eq!(street.counter("SuccessfulAuth"), before);
    let bystander = street.why(BYSTANDER);
    assert_eq!(
        (&bystander["verdict"], &bystander["standing"]),
        (&"free".into(), &"stranger".into())
    );
    assert_eq!(street.counter("gaps"), 0);
}

/// A request of which no event is raised, with so many decoys in what is a stranger's: in From, in Call-ID.
fn hidden(n: u32, decoys: [&[&str]; 2]) -> Register {
    let text = |decoys: &[&str]| -> String {
        let one = |decoy: &&str| format!("' failed for '{decoy}:5060' (callid: ");
        decoys.iter().map(one).collect()
    };
    let [from, call_id] = decoys.map(text);
    Register {
        display: format!("\"{from}\" ").into(),
        call_id: [b"\xff", call_id.as_bytes(), format!("c{n}").as_bytes()].concat(),
        ..Register::of("nobody")
    }
}

#[test]
fn who_hides_behind_others_is_counted_and_they_are_not_harmed() {
    let street = Street::with("");
    let (exchange, log) = (&street.exchange, &street.exchange.log);
    // A phone that is trusted, and somebody with a connection that says nothing.
    let (phone, idle) = ("198.18.8.1", "198.18.8.2");
    let attackers: Vec<String> = (11..=16).map(|n| format!("198.18.8.{n}")).collect();
    let all = attackers.iter().map(String::as_str).chain([phone, idle]);
    all.for_each(|address| street.outside.move_in(address));
    let password = exchange.password("alice");
    let mut alice = street.talk(phone, Carrier::Tcp).expect("a connection");
    assert_eq!(alice.register("alice", &password), Some(200));
    let _idle = street.talk(idle, Carrier::Tcp).expect("a connection");
    let kinds: [[&[&str]; 2]; 3] = [
        [&[], &[]],
        [&[], &[phone, idle]],
        // Among them the first of the attackers, and himself.
        [
            &[phone, "[fd5b:1:2:9::7]", &attackers[4]],
            &[idle, &attackers[5]],
        ],
    ];
    for (n, decoys) in kinds.into_iter().enumerate() {
        // The idle one may be closed out over UDP for a while, and no more.
        for (carrier, from) in [
            (Carrier::Udp, &attackers[n]),
            (Carrier::Tcp, &attackers[n + 3]),
        ] {
            let mut talk = street.talk(from, carrier).expect("a connection");
            for n in 1..=9 {
                assert!(
                    talk.ask(&hidden(n, decoys)).is_some(),
                    "{from} {carrier:?}: {n}"
                );
            }
            let grade = if carrier == Carrier::Udp {
                "weak_events"
            } else {
                "strong_events"
            };
            street.counted(from, grade, 9);
            assert!(talk.ask(&hidden(10, decoys)).is_some());
            match carrier {
                Carrier::Udp => log.wait_for(&format!(
                    "closed SIP over UDP to {from} for 2m: unknown account"
                )),
                _ => log.wait_for(&format!("jailed {from} for 20m: unknown account")),
            };
            assert_eq!(street.answers(from, Carrier::Tcp), carrier == Carrier::Udp);
        }
    }
    assert!(street.counter("log lines with several senders") >= 40);
    // It costs the phone nothing, not even a word.
    let why = street.why(phone);
    assert_eq!(
        (
            &why["standing"],
            &why["verdict"],
            &why["weak_events"],
            &why["strong_events"]
        ),
        (&"trusted".into(), &"free".into(), &0.into(), &0.into()),
        "{why}"
    );
    assert_eq!(street.counter("trusted suspects"), 0);
    assert_eq!(alice.register("alice", &password), Some(200));
    let why = street.why(idle);
    assert!(why["jail"].is_null() && why["strong_events"] == 0, "{why}");
    assert!(street.answers(idle, Carrier::Tcp));
    assert_eq!(street.counter("networks jailed"), 0);
}

/// Whether an event of it would have bytes that are no UTF-8.
fn is_binary(request: &Register) -> bool {
    let part = |name: &[u8]| {
        let text = request.authorization.as_deref().unwrap_or_default();
        let at = text.windows(name.len()).position(|found| found == name);
        let rest = at.and_then(|at| text.get(at + name.len()..));
        rest.unwrap_or_default()
            .split(|byte| *byte == b'"')
            .next()
            .map(<[u8]>::to_vec)
    };
    let told = [b"nonce=\"".as_slice(), b"response=\""].map(part);
    let told = told.into_iter().flatten().chain([request.call_id.clone()]);
    told.into_iter()
        .any(|text| std::str::from_utf8(&text).is_err())
        || request.user.starts_with(b"a%ff")
}
