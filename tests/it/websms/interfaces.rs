//! Which requests are an interface's, whether they are the carrier's, and what they say.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;

use super::bridge::{Bridge, encoded, form};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Every carrier's webhook as it is documented, whichever way it is written: form, multipart, JSON, query.
#[test]
fn what_each_carrier_sends_is_taken_byte_for_byte() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/websms");
    let mut conf = "[websmsd]\nprox_addr = \"\"\n".to_owned();
    let mut wanted = Vec::new();
    for (name, _) in switchhook::websms::profiles::SHIPPED {
        let text = std::fs::read_to_string(samples.join(format!("{name}.json"))).unwrap();
        let sample: Value = serde_json::from_str(&text).unwrap();
        conf.push_str(&format!(
            "profile [{name}] = {name}\nverify [{name}] = no\nremt_addr [{name}] = 127.0.0.1\nurl_path [{name}] = /{name}\n"
        ));
        wanted.push((*name, sample));
    }
    let bridge = Bridge::with(&conf);
    for (name, sample) in &wanted {
        let url = sample["url"].as_str().unwrap();
        let query = url.split_once('?').map(|(_, query)| format!("?{query}"));
        let path = format!("/{name}{}", query.unwrap_or_default());
        let headers = sample["headers"].as_object().unwrap();
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
            .collect();
        let method = sample["method"].as_str().unwrap();
        let body = sample["body"].as_str().unwrap_or("");
        let answer = bridge.ask(method, &path, &headers, body.as_bytes());
        assert!((200..300).contains(&answer.status), "{name}: {answer:?}");
    }
    let found = bridge.messages();
    for (name, sample) in &wanted {
        let row = found.iter().find(|row| row.interface == *name);
        let row = row.unwrap_or_else(|| panic!("{name} is lost"));
        let expect = &sample["expect"];
        assert_eq!(expect["to"], row.to.as_str(), "{name}");
        assert_eq!(expect["from"], row.from.as_str(), "{name}");
        assert_eq!(expect["text"], row.body.as_str(), "{name}");
        assert_eq!(expect["id"].as_str(), row.provider_id.as_deref(), "{name}");
    }
    assert_eq!(found.len(), wanted.len());
}

/// Method, path, headers, body, and the status that it is refused with.
type Refused<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16);

/// The predecessor said 200 to all of these and forgot them.
#[test]
fn d05_what_is_no_message_is_refused_with_its_reason_and_written_down() {
    let bridge =
        Bridge::with("[websmsd]\nremt_addr = 127.0.0.1\nurl_path = /hook\nprox_addr = \"\"\n");
    let long = form(&"1".repeat(230), "2", "a");
    let cases: &[Refused<'_>] = &[
        ("POST", "/hook", &[FORM], "From=2&Body=a", 400),
        ("POST", "/hook", &[FORM], "To=1&Body=a", 400),
        ("POST", "/hook", &[FORM], &long, 400),
        ("POST", "/hook", &[FORM], "To=../../x&From=2&Body=a", 400),
        ("POST", "/hook", &[FORM], "To=1&From=2&Body=%ff", 400),
        (
            "POST",
            "/hook",
            &[("Content-Type", "application/json")],
            "{\"To\":",
            400,
        ),
        (
            "POST",
            "/hook",
            &[("Content-Type", "text/csv")],
            "To,From",
            415,
        ),
        ("POST", "/hook", &[], "To=1&From=2&Body=a", 415),
        ("PUT", "/hook", &[FORM], "To=1&From=2&Body=a", 405),
        ("POST", "/other", &[FORM], "To=1&From=2&Body=a", 404),
        ("POST", "/hook/", &[FORM], "To=1&From=2&Body=a", 404),
    ];
    for (method, path, headers, body, status) in cases {
        let answer = bridge.ask(method, path, headers, body.as_bytes());
        assert_eq!(
            answer.status, *status,
            "{method} {path} {body}: {}",
            answer.body
        );
        assert_eq!(answer.body.lines().count(), 1, "{}", answer.body);
        assert_eq!(answer.header("allow").is_some(), *status == 405);
    }
    assert_eq!(bridge.messages(), []);
    let asked = bridge.requests(cases.len());
    for (asked, (_, path, _, _, status)) in asked.iter().zip(cases) {
        assert_eq!((asked.path.as_str(), asked.status), (*path, *status));
        assert_eq!(asked.interface.is_some(), *path == "/hook");
        assert!(!asked.reason.is_empty());
    }
    // And both ways in which it was blind.
    let json = br#"{"To":"1","From":"2","Body":"1.10"}"#;
    let kind = [("Content-Type", "application/json")];
    assert_eq!(bridge.ask("POST", "/hook", &kind, json).status, 200);
    let query = "/hook?To=1&From=2&Body=%7B%22To%22%3A%223%22%7D";
    assert_eq!(bridge.ask("GET", query, &[], b"").status, 200);
    let found = bridge.messages();
    let texts: Vec<&str> = found.iter().map(|row| row.body.as_str()).collect();
    assert_eq!(texts, ["1.10", "{\"To\":\"3\"}"]);
    assert!(found.iter().all(|row| row.to == "1"));
    let asked = bridge.requests(cases.len() + 2);
    assert_eq!(asked.last().unwrap().path, "/hook");
}

#[test]
fn two_interfaces_of_one_address_are_told_apart_by_their_paths() {
    let bridge = Bridge::with(
        "[websmsd]\nprox_addr = \"\"\nremt_addr [one] = 127.0.0.1\nremt_addr [two] = 127.0.0.1\nurl_path [one] = /one\nurl_path [two] = /two\nkey_to [two] = dst\nresp_ack [one] = first\nresp_ack [two] = second\nkey_echo = probe\n",
    );
    assert_eq!(bridge.post("/one", &form("1", "2", "a")).body, "first");
    assert_eq!(
        bridge.post("/two?x=1", "dst=3&From=2&Body=b").body,
        "second"
    );
    // The test of an address works beside a path, and is text whatever it holds.
    let echo = bridge.ask("GET", "/one?probe=%3Cscript%3E", &[], b"");
    assert_eq!((echo.status, echo.body.as_str()), (200, "<script>"));
    assert!(
        echo.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    assert_eq!(echo.header("x-content-type-options"), Some("nosniff"));
    let found = bridge.messages();
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|r| (r.interface.as_str(), r.to.as_str()))
        .collect();
    assert_eq!(found, [("one", "1"), ("two", "3")]);
}

#[test]
fn two_interfaces_that_mean_the_same_requests_are_one_and_a_mistake() {
    let mut bridge = Bridge::with(
        "[websmsd]\nprox_addr = \"\"\nremt_addr [1] = 127.0.0.1\nremt_addr [2] = 127.0.0.1\nurl_path [1] = /one\nurl_path [2] = /one\n",
    );
    bridge.says("the interface 2 receives nothing");
    assert_eq!(bridge.post("/one", &form("1", "2", "a")).status, 200);
    assert_eq!(bridge.messages()[0].interface, "1");
}

fn twilio(secret: &str, url: &str, fields: &[(&str, &str)]) -> String {
    let mut sorted = fields.to_vec();
    sorted.sort();
    let text = sorted
        .iter()
        .fold(url.to_owned(), |text, (k, v)| text + k + v);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}

#[test]
fn who_cannot_sign_is_refused_and_the_secret_is_told_to_nobody() {
    let url = "https://pbx.example.org/hook";
    let mut bridge = Bridge::with(&format!(
        "[websmsd]\nprox_addr = \"\"\nprofile [1] = twilio\nverify_secret [1] = SesameOpen\npublic_url [1] = {url}\nurl_path [1] = /hook\nremt_addr [1] = 127.0.0.1\n"
    ));
    let fields = [
        ("To", "+461"),
        ("From", "+462"),
        ("Body", "Hemligt"),
        ("MessageSid", "SM1"),
    ];
    let body: Vec<String> = fields
        .iter()
        .map(|(k, v)| format!("{k}={}", encoded(v)))
        .collect();
    let body = body.join("&");
    let right = twilio("SesameOpen", url, &fields);
    let wrong = twilio("Sesame", url, &fields);
    let ask = |signature: Option<&str>, body: &str| {
        let mut headers = vec![FORM];
        headers.extend(signature.map(|signature| ("X-Twilio-Signature", signature)));
        bridge
            .ask("POST", "/hook", &headers, body.as_bytes())
            .status
    };
    assert_eq!(ask(None, &body), 403);
    assert_eq!(ask(Some(""), &body), 403);
    assert_eq!(ask(Some(&wrong), &body), 403);
    assert_eq!(ask(Some(&right), &format!("{body}&x=1")), 403);
    assert_eq!(bridge.messages(), []);
    assert_eq!(ask(Some(&right), &body), 200);
    assert_eq!(ask(Some(&right), &body), 200);
    assert_eq!(bridge.messages().len(), 1);
    let asked = bridge.requests(6);
    let said = bridge.all_that_was_said();
    assert!(said.iter().any(|line| line.contains("403")), "{said:?}");
    for text in said.iter().chain(asked.iter().map(|asked| &asked.reason)) {
        for secret in ["SesameOpen", "Hemligt", right.as_str()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn d10_d11_nobody_gives_himself_the_address_of_another() {
    let body = form("1", "2", "a");
    let from = |bridge: &Bridge, forwarded: &[&str]| {
        let mut headers = vec![FORM];
        headers.extend(forwarded.iter().map(|value| ("X-Forwarded-For", *value)));
        bridge.ask("POST", "/", &headers, body.as_bytes()).status
    };
    // Without a proxy that is trusted the header is a stranger's.
    let bridge = Bridge::with("[websmsd]\nremt_addr = 192.0.2.7\nprox_addr = \"\"\n");
    assert_eq!(from(&bridge, &["192.0.2.7"]), 403);
    assert_eq!(bridge.requests(1)[0].peer, "127.0.0.1");
    let bridge = Bridge::with(
        "[websmsd]\nremt_addr = \"192.0.2.7, a.b.c.d, 2001:db8::/64\"\nprox_addr = 127.0.0.1\n",
    );
    // What cannot be read in a list of addresses closes the interface, and garbage is nobody.
    for (spoof, status) in [
        ("192.0.2.7", 503),
        ("evil, 9.9.9.9", 503),
        ("a.b.c.d", 403),
        ("", 403),
    ] {
        assert_eq!(from(&bridge, &[spoof]), status, "{spoof}");
    }
    assert_eq!(bridge.messages(), []);
    let bridge = Bridge::with(
        "[websmsd]\nremt_addr = \"192.0.2.7, 2001:db8::/64\"\nprox_addr = 127.0.0.1\n",
    );
    for (spoof, status) in [
        (vec!["192.0.2.7, 198.51.100.1"], 403),
        (vec!["192.0.2.7", "198.51.100.1"], 403),
        (vec!["192.0.2.7 , evil"], 403),
        (vec!["2001:db9::1"], 403),
        (vec!["evil, 192.0.2.7"], 200),
        (vec!["2001:db8::1"], 200),
        (vec![], 403),
    ] {
        assert_eq!(from(&bridge, &spoof), status, "{spoof:?}");
    }
    assert_eq!(bridge.messages().len(), 2);
}

#[test]
fn d14_a_newline_in_a_number_reaches_neither_the_log_nor_the_spool() {
    let mut bridge = Bridge::with("[websmsd]\nremt_addr = 127.0.0.1\nprox_addr = \"\"\n");
    let forged = form("1\n<3>forged line\u{1b}[2J", "2", "a");
    assert_eq!(bridge.post("/", &forged).status, 400);
    assert_eq!(bridge.post("/\u{1b}", &forged).status, 400);
    let said = bridge.all_that_was_said();
    assert!(
        said.iter().any(|line| line.contains("forged line")),
        "{said:?}"
    );
    assert!(
        !said.iter().any(|line| line.starts_with("<3>forged")),
        "{said:?}"
    );
    assert!(!said.iter().any(|line| line.contains('\u{1b}')), "{said:?}");
    assert_eq!(bridge.messages(), []);
}

/// A profile of the user's own, and its mistake.
#[test]
fn a_carrier_that_nobody_knows_is_described_in_a_file() {
    let profile = "title = \"Mine\"\n[incoming]\nformat = \"json\"\neach = \"items[*]\"\nto = [\"t\"]\nfrom = [\"f\"]\ntext = [\"x\"]\nid = [\"n\"]\n[answer]\nstatus = 202\nbody = \"ok\"\n";
    let mut bridge = Bridge::empty();
    bridge
        .configure("[websmsd]\nprox_addr = \"\"\nprofile [1] = mine\nremt_addr [1] = 127.0.0.1\n");
    bridge.file("srv/etc/asterisk/websms.d/mine.toml", profile);
    bridge.reload();
    let body = br#"{"items":[{"t":"1","f":"2","x":"a","n":7},{"t":"1","f":"2","x":"b","n":8}]}"#;
    let answer = bridge.ask("POST", "/", &[], body);
    assert_eq!((answer.status, answer.body.as_str()), (202, "ok"));
    assert_eq!(bridge.messages().len(), 2);
    bridge.file("srv/etc/asterisk/websms.d/mine.toml", "titel = 1\n");
    bridge.reload();
    bridge.says("the profile mine cannot be used");
    assert_eq!(bridge.ask("POST", "/", &[], body).status, 503);
}
