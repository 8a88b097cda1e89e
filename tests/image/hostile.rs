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
        talk.expect("a connection").ask(request).is_some()
    };
    // What gets no answer costs its time; so many at once.
    let is_answered: Vec<bool> = std::thread::scope(|scope| {
        let parts = (0..requests.len()).collect::<Vec<_>>();
        let parts = parts
            .chunks(parts.len().div_ceil(16))
            .map(<[usize]>::to_vec);
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(|| part.into_iter().map(ask).collect::<Vec<_>>()))
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().unwrap());
        all.flatten().collect()
    });
    // The last one shows that all before it are counted.
    street.outside.move_in("198.18.5.1");
    assert!(street.answers("198.18.5.1", Carrier::Tcp));
    street.counted("198.18.5.1", "strong_events", 1);
    // What is no UTF-8 raises no event; the log tells of it, unless the sender cannot be told from a decoy.
    let is_witnessed = |n: usize| is_answered[n] && is_binary(&requests[n].1);
    let is_ambiguous = |n: usize| is_witnessed(n) && requests[n].1.call_id.ends_with(DECOY);
    let all = || 0..requests.len();
    let (ambiguous, witnessed) = (
        all().filter(|n| is_ambiguous(*n)).count() as u64,
        all().filter(|n| is_witnessed(*n)).count() as u64,
    );
    assert!(ambiguous == 1 && witnessed > 5, "{ambiguous} {witnessed}");
    street.wait_counter("witnessed lines weak", witnessed - ambiguous);
    street.wait_counter("log lines without one sender", ambiguous);
    let watched = street.watched();
    for (n, (what, request)) in requests.iter().enumerate() {
        // No answer: it was no SIP. A known account without a password: it was only asked for one.
        let is_told = is_answered[n] && request.to.is_none() && !is_ambiguous(n);
        let count = watched.get(&from(n)).copied().unwrap_or(0);
        assert_eq!(count, u64::from(is_told), "{what}");
    }
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
