//! `sms test-webhook`: a webhook as its carrier would send it, and one from a file.

use serde_json::Value;

use crate::appliance::wait_for;
use crate::websms::bridge::Bridge;

/// Carriers whose addresses this host has not.
const CONF: &str = "[websmsd]\nprox_addr = \"\"\nremt_addr = 192.0.2.0/24\n\
    profile [t] = twilio\nurl_path [t] = /hook/t\nverify_secret [t] = the-auth-token\npublic_url [t] = https://pbx.example.org/hook/t\n\
    profile [v] = vonage-sms\nurl_path [v] = /hook/v\nverify_secret [v] = the-signature-secret\n\
    profile [z] = zadarma\nurl_path [z] = /hook/z\nverify_secret [z] = the-api-secret\n\
    profile [x] = telnyx\nurl_path [x] = /hook/x\nverify_secret [x] = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n\
    url_path [old] = /hook/old\n";

fn step<'a>(trial: &'a Value, name: &str) -> &'a Value {
    let steps = trial["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["step"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {trial}"))
}

#[test]
fn a_webhook_is_made_signed_sent_and_kept_from_the_phones() {
    let bridge = Bridge::with(CONF);
    for (index, status) in [("t", 200), ("v", 200), ("z", 200), ("old", 200)] {
        let trial = bridge.sms_json(0, &["test-webhook", index]);
        assert_eq!(trial["answer"]["status"], status, "{index}: {trial}");
        for name in ["door", "method", "signature", "meaning", "answer"] {
            assert_eq!(
                step(&trial, name)["passed"],
                true,
                "{index} {name}: {trial}"
            );
        }
    }
    let all = bridge.sms_json(0, &["list"]);
    let states = all["messages"].as_array().unwrap().iter();
    let states: Vec<&str> = states.map(|of| of["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["cancelled"; 4]);
    let requests = bridge.requests(4);
    assert!(
        requests
            .iter()
            .all(|asked| asked.reason == "a test; no phone gets it"),
        "{requests:?}"
    );

    // With the order to do so it goes on.
    let words = ["test-webhook", "t", "--to", "+12025550109", "--deliver"];
    bridge.sms_json(0, &words);
    let held = || {
        let list = bridge.sms_json(0, &["list", "--number", "+12025550109"]);
        let message = list["messages"].get(0).cloned()?;
        (message["state"] != "cancelled").then_some(())
    };
    wait_for(held, "it is not on its way");
    let people = bridge.sms(&["test-webhook", "t"]);
    let people = String::from_utf8(people.stdout).unwrap();
    assert!(people.contains("signature  ok"), "{people}");
    assert!(!people.contains("the-auth-token"));
}

#[test]
fn what_only_the_carrier_can_sign_is_said_and_refused_by_the_listener() {
    let bridge = Bridge::with(CONF);
    let trial = bridge.sms_json(0, &["test-webhook", "x"]);
    assert_eq!(step(&trial, "signature")["passed"], Value::Null);
    let detail = step(&trial, "signature")["detail"].as_str().unwrap();
    assert!(detail.contains("only the carrier can make"), "{detail}");
    assert_eq!(step(&trial, "meaning")["passed"], true);
    assert_eq!(trial["answer"]["status"], 403);
    assert_eq!(
        bridge.sms_json(0, &["list"])["messages"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    // Several receive: one must be named.
    assert_eq!(bridge.sms(&["test-webhook"]).status.code(), Some(1));
    assert_eq!(
        bridge.sms(&["test-webhook", "nobody"]).status.code(),
        Some(1)
    );
}

#[test]
fn a_ticket_from_elsewhere_opens_no_door() {
    let bridge = Bridge::with(CONF);
    let headers = [
        ("X-Switchhook-Test", "0123456789abcdef01234567"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let answer = bridge.ask("POST", "/hook/old", &headers, b"To=1&From=2&Body=x");
    assert_eq!(answer.status, 403);
}

#[test]
fn a_request_from_a_file_is_judged_step_by_step() {
    let bridge = Bridge::with(CONF);
    let body = "To=%2B12025550160&From=%2B12025550161&Body=hi&MessageSid=SM1";
    let file = bridge.path("captured");
    let write = |signature: &str| {
        let length = body.len();
        let text = format!(
            "POST /hook/t HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded\nX-Twilio-Signature: {signature}\nContent-Length: {length}\n\n{body}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    let name = file.to_str().unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"the-auth-token");
    let signed = "https://pbx.example.org/hook/tBodyhiFrom+12025550161MessageSidSM1To+12025550160";
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag.as_ref());

    write(&tag);
    let trial = bridge.sms_json(0, &["test-webhook", "--from-file", name]);
    assert_eq!(trial["interface"], "t");
    assert_eq!(step(&trial, "signature")["passed"], true, "{trial}");
    assert!(
        step(&trial, "meaning")["detail"]
            .as_str()
            .unwrap()
            .starts_with("a message from +12025550161")
    );
    write("AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let trial = bridge.sms_json(1, &["test-webhook", "--from-file", name]);
    assert_eq!(step(&trial, "signature")["passed"], false, "{trial}");
    let words = [
        "test-webhook",
        "--from-file",
        name,
        "--peer",
        "198.51.100.1",
    ];
    let trial = bridge.sms_json(1, &words);
    assert_eq!(step(&trial, "door")["passed"], false, "{trial}");
    // Nothing of this had any effect.
    assert_eq!(
        bridge.sms_json(0, &["list"])["messages"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    std::fs::write(&file, "not http").unwrap();
    assert_eq!(
        bridge
            .sms(&["test-webhook", "--from-file", name])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(
        bridge
            .sms(&["test-webhook", "--from-file", "/nowhere"])
            .status
            .code(),
        Some(2)
    );
}
