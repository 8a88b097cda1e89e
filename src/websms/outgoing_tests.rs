use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::websms::config::{World, read};
use crate::websms::profiles::{Profiles, SHIPPED};

/// Read once: it takes longer than all else here.
static PROFILES: std::sync::LazyLock<Profiles> =
    std::sync::LazyLock::new(|| Profiles::load(std::iter::empty()).0);

fn interface(text: &str) -> Interface {
    with(text, &PROFILES)
}

fn with_own(text: &str, own: &[(&str, &str)]) -> Interface {
    let (profiles, bad) = Profiles::load(own.iter().copied());
    assert_eq!(bad, []);
    with(text, &profiles)
}

fn with(text: &str, profiles: &Profiles) -> Interface {
    let world = World {
        variable: &|_| None,
        file: &|_| Err("no file".to_owned()),
        profiles,
    };
    let config = read("websms.conf", Some(text), &world);
    let sends = config.interfaces.into_iter().find(|i| i.outgoing.is_some());
    sends.unwrap_or_else(|| panic!("{:?}", config.mistakes))
}

fn sent(to: &str, from: &str, body: &str) -> Sent {
    Sent {
        to: to.to_owned(),
        from: from.to_owned(),
        body: body.to_owned(),
        media: Vec::new(),
    }
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
}

/// The body of a message by an interface of these keys.
fn form(keys: &str, message: &Sent) -> String {
    let interface = interface(&format!("[websms]\nurl_host = https://h.example\n{keys}"));
    body(&request(&interface, message, "id").unwrap()).to_owned()
}

#[test]
fn the_predecessors_request_byte_for_byte() {
    let interface = interface(
        "[websms]\nurl_host = https://api.example.com\nurl_path = /sms/send/\nauth_user = user\nauth_secret = secret\n",
    );
    let request = request(
        &interface,
        &sent("+12025550183", "0046701234567", "Hello wörld & 😀 +1 ~*-_."),
        "id",
    )
    .unwrap();
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://api.example.com/sms/send/")
    );
    assert_eq!(
        body(&request),
        "Body=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1+%7E%2A-_.&From=0046701234567&To=%2B12025550183"
    );
    assert_eq!(
        header(&request, "Content-Type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        header(&request, "Authorization"),
        Some("Basic dXNlcjpzZWNyZXQ=")
    );
    assert_eq!(
        format!("{request:?}"),
        "POST https://api.example.com/sms/send/ (90 bytes)"
    );
}

#[test]
fn zadarmas_signature_as_the_predecessor_made_it() {
    let interface = interface(
        "[websms]\nurl_host = https://api.zadarma.com\nurl_path = /v1/sms/send/\nauth_method = zadarma\nauth_user = user\nauth_secret = secret\nkey_to = number\nkey_from = caller_id\nkey_body = message\n",
    );
    let request = request(
        &interface,
        &sent("+12025550183", "0046701234567", "Hello wörld & 😀 +1 ~*-_."),
        "id",
    )
    .unwrap();
    assert_eq!(
        body(&request),
        "caller_id=0046701234567&message=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1+%7E%2A-_.&number=%2B12025550183"
    );
    assert_eq!(
        header(&request, "Authorization"),
        Some("user:ZTE2MzZjMDU5ZGRiZWZhN2MwYjI5ZDE4ZGVjMDFhOGQ4ZDg1MjU5ZQ==")
    );
}

#[test]
fn plain_proof_is_two_fields() {
    let keys = "auth_method = plain\nauth_user = me\nauth_secret = s3\nkey_user = api_key\nkey_secret = secret\n";
    assert_eq!(
        form(keys, &sent("1", "2", "b")),
        "Body=b&From=2&To=1&api_key=me&secret=s3"
    );
    let none = "auth_method = none\nauth_user = me\nauth_secret = s3\n";
    assert_eq!(form(none, &sent("1", "2", "b")), "Body=b&From=2&To=1");
}

#[test]
fn numbers_lose_plus_and_zeros_only_when_asked() {
    let message = sent("+0046701", "+46702", "+1");
    assert_eq!(form("", &message), "Body=%2B1&From=%2B46702&To=%2B0046701");
    for form_of in ["no+", "e164", "E.164"] {
        let text = form(&format!("val_numform = \"{form_of}\"\n"), &message);
        assert_eq!(text, "Body=%2B1&From=46702&To=46701", "{form_of}");
    }
}

#[test]
fn signs_beyond_16_bits_are_replaced_or_told() {
    let (emoji, plain) = (sent("1", "2", "a😀é"), sent("1", "2", "aé"));
    assert_eq!(
        form("val_unicode = ucs-2\n", &emoji),
        "Body=a%EF%BF%BD%C3%A9&From=2&To=1"
    );
    assert_eq!(
        form("val_unicode = \"type=unicode\"\n", &emoji),
        "Body=a%F0%9F%98%80%C3%A9&From=2&To=1&type=unicode"
    );
    assert_eq!(
        form("val_unicode = \"type=unicode\"\n", &plain),
        "Body=a%C3%A9&From=2&To=1"
    );
}

#[test]
fn static_fields_win_and_are_split_as_php_split_them() {
    let message = sent("+1", "2", "b");
    assert_eq!(
        form("val_static = \"a=1, c=2,d=e=f\"\n", &message),
        "+c=2&Body=b&From=2&To=%2B1&a=1&d=e"
    );
    // After the form of numbers, and over everything.
    assert_eq!(
        form(
            "val_numform = e164\nval_static = \"From=+9,Body=x\"\n",
            &message
        ),
        "Body=x&From=%2B9&To=1"
    );
}

#[test]
fn one_key_for_two_fields_keeps_the_last() {
    assert_eq!(form("key_from = To\n", &sent("1", "2", "b")), "Body=b&To=2");
}

#[test]
fn twilio_gets_a_form() {
    let interface = interface(
        "[websms]\nprofile = twilio\nauth_user = AC1\nauth_secret = tok\nparam_account = A/C 1\ncountry = 46\n[websmsd]\nurl_path = /t\npublic_url = https://pbx.example.org/t\nverify_secret = s\n",
    );
    let mut message = sent("070-123 45 67", "+15550100", "Hej & 😀");
    message.media = vec![
        "https://m.example/1".to_owned(),
        "https://m.example/2".to_owned(),
    ];
    let request = request(&interface, &message, "id").unwrap();
    assert_eq!(
        request.url,
        "https://api.twilio.com/2010-04-01/Accounts/A%2FC%201/Messages.json"
    );
    assert_eq!(
        body(&request),
        "Body=Hej+%26+%F0%9F%98%80&From=%2B15550100&MediaUrl=https%3A%2F%2Fm.example%2F1&MediaUrl=https%3A%2F%2Fm.example%2F2&StatusCallback=https%3A%2F%2Fpbx.example.org%2Ft&To=%2B46701234567"
    );
    assert_eq!(
        header(&request, "Authorization"),
        Some("Basic QUMxOnRvaw==")
    );
}

#[test]
fn text_cannot_leave_its_place_in_json() {
    let interface = interface("[websms]\nprofile = telnyx\nauth_secret = KEY\n");
    let evil = "\",\"to\":\"+1900\\ {from} {secret}\n";
    let request = request(&interface, &sent("+15550101", "+15550100", evil), "id").unwrap();
    let document: Json = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        document,
        json!({"to": "+15550101", "from": "+15550100", "text": evil})
    );
    assert_eq!(header(&request, "Authorization"), Some("Bearer KEY"));
    assert_eq!(header(&request, "Content-Type"), Some("application/json"));
}

#[test]
fn other_shapes_of_profiles() {
    let bandwidth = interface(
        "[websms]\nprofile = bandwidth\nauth_user = u\nauth_secret = s\nparam_account = 7\nparam_application = app\n",
    );
    let request_of =
        |interface: &Interface, message: &Sent| request(interface, message, "our-id").unwrap();
    let message = sent("+15550101", "+15550100", "x");
    let document: Json = serde_json::from_slice(&request_of(&bandwidth, &message).body).unwrap();
    assert_eq!(
        document,
        json!({"applicationId": "app", "to": ["+15550101"], "from": "+15550100", "text": "x", "tag": "our-id"})
    );
    let flowroute = interface("[websms]\nprofile = flowroute\nauth_user = u\nauth_secret = s\n");
    let request = request_of(&flowroute, &message);
    assert_eq!(
        header(&request, "Content-Type"),
        Some("application/vnd.api+json")
    );
    let document: Json = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(document["data"]["attributes"]["to"], "+15550101");
    let skyetel = interface(
        "[websms]\nprofile = skyetel\nauth_user = u\nauth_secret = s\nurl_host = http://127.0.0.1:8080\n",
    );
    assert_eq!(
        request_of(&skyetel, &message).url,
        "http://127.0.0.1:8080/v1/out?from=15550100"
    );
    let vonage = interface("[websms]\nprofile = vonage-sms\nauth_user = u\nauth_secret = s\n");
    assert!(body(&request_of(&vonage, &message)).contains("&type=text"));
    assert!(body(&request_of(&vonage, &sent("+1", "Shop", "я"))).ends_with("to=1&type=unicode"));
    let voipms = interface("[websms]\nprofile = voipms\nauth_user = u@x\nauth_secret = s\n");
    let message = sent("+12125550101", "+12125550102", "x");
    assert_eq!(
        body(&request_of(&voipms, &message)),
        "api_password=s&api_username=u%40x&did=2125550102&dst=2125550101&message=x&method=sendSMS"
    );
}

#[test]
fn what_a_carrier_cannot_take_is_refused_here() {
    let keys = interface("[websms]\nurl_host = https://h.example\n");
    let voipms = interface("[websms]\nprofile = voipms\nauth_user = u\nauth_secret = s\n");
    let of = |interface: &Interface, message: &Sent| request(interface, message, "id").unwrap_err();
    for to in ["+1\r\nX: y", "1;2", ""] {
        assert_eq!(
            of(&keys, &sent(to, "1", "x")),
            Unsendable::Receiver(NoNumber::Grammar),
            "{to:?}"
        );
    }
    assert_eq!(
        of(&keys, &sent("1", "a\"b", "x")),
        Unsendable::Sender(NoNumber::Grammar)
    );
    assert!(matches!(
        of(&voipms, &sent("+46701234567", "+12125550101", "x")),
        Unsendable::Receiver(NoNumber::NotNanp(_))
    ));
    assert_eq!(
        of(&voipms, &sent("2125550101", "2125550102", &"x".repeat(161))),
        Unsendable::TooLong {
            length: 161,
            longest: 160
        }
    );
    let mut picture = sent("2125550101", "2125550102", "x");
    picture.media.push("https://m.example/1".to_owned());
    assert_eq!(of(&voipms, &picture), Unsendable::NoMedia);
    assert_eq!(of(&keys, &picture), Unsendable::NoMedia);
}

/// Every shipped profile makes a request for a message of every kind.
#[test]
fn every_profile_sends() {
    for (name, text) in SHIPPED {
        let profile = crate::websms::profiles::read(text).unwrap();
        let Some(outgoing) = &profile.outgoing else {
            continue;
        };
        let parameters: String = crate::websms::profiles::parameters(outgoing)
            .iter()
            .map(|name| format!("param_{name} = p-{name}\n"))
            .collect();
        let interface = interface(&format!(
            "[websms]\nprofile = {name}\nauth_user = u\nauth_secret = s\n{parameters}"
        ));
        let request = request(
            &interface,
            &sent("+12125550101", "+12125550102", "\"{to}\" é\n"),
            "id",
        )
        .unwrap();
        assert!(
            request.url.starts_with("https://") && !request.url.contains(['{', '}', ' ']),
            "{name}: {}",
            request.url
        );
        assert!(!body(&request).contains("{text}"), "{name}");
        let proof = header(&request, "Authorization").is_some() || body(&request).contains("=s");
        assert!(proof, "{name}");
    }
}

fn keys_verdict(check: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Verdict {
    let interface = interface(&format!(
        "[websms]\nurl_host = https://h.example\nresp_check = \"{check}\"\n"
    ));
    verdict(
        interface.outgoing.as_ref().unwrap(),
        status,
        headers,
        body.as_bytes(),
        784_111_777,
    )
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Taken { .. } => "taken",
        Verdict::Refused { .. } => "refused",
        Verdict::Later { .. } => "later",
    }
}

#[test]
fn the_status_counts_before_the_body() {
    let good = r#"{"status":"success"}"#;
    for (status, expected) in [
        (200, "taken"),
        (201, "taken"),
        (204, "taken"),
        (301, "refused"),
        (302, "refused"),
        (400, "refused"),
        (401, "refused"),
        (404, "refused"),
        (408, "later"),
        (429, "later"),
        (500, "later"),
        (503, "later"),
        (101, "refused"),
    ] {
        assert_eq!(
            word(&keys_verdict("", status, &[], good)),
            expected,
            "{status}"
        );
        let checked = keys_verdict("status=success", status, &[], good);
        assert_eq!(word(&checked), expected, "{status}");
    }
    // Without a rule the body may be anything.
    for body in ["", "OK", "{}", "[]", "<html>"] {
        assert_eq!(word(&keys_verdict("", 200, &[], body)), "taken", "{body}");
    }
}

#[test]
fn resp_check_in_both_forms() {
    for (check, body, expected) in [
        ("status=success", r#"{"status":"success"}"#, "taken"),
        ("status=success", r#"{"status":"error"}"#, "refused"),
        ("status=success", "", "refused"),
        ("status=success", "status=success", "refused"),
        ("status=0", r#"{"messages":[{"status":0}]}"#, "taken"),
        (
            "status=0",
            r#"{"status":"1","messages":[{"status":"0"}]}"#,
            "taken",
        ),
        (
            "status=0",
            r#"{"messages":[{"status":"0"}],"status":"1"}"#,
            "refused",
        ),
        ("/^OK/", "\"OK 123\"", "taken"),
        ("/^OK/", "OK 123", "taken"),
        ("/^ok/i", "OK 123", "taken"),
        ("/\\\"id\\\":[0-9]+/", r#"{"id":5}"#, "taken"),
        ("/status=success/", "status=success", "taken"),
        ("/^OK/", "ERR", "refused"),
    ] {
        assert_eq!(
            word(&keys_verdict(check, 200, &[], body)),
            expected,
            "{check} {body}"
        );
    }
}

#[test]
fn a_carrier_that_asks_for_patience_gets_it() {
    let after = |value: &str| match keys_verdict(
        "",
        503,
        &[("Retry-After", value)],
        "busy\r\n\u{1b}[31m now",
    ) {
        Verdict::Later { after, why } => {
            assert_eq!(why, "HTTP 503: busy [31m now");
            after.map(|after| after.as_secs())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(after("120"), Some(120));
    assert_eq!(after("99999999"), Some(86_400));
    // 60 seconds after `now`.
    assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
    assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    for none in [
        "soon",
        "-5",
        "Sun, 31 Feb 1994 08:00:00 GMT",
        "",
        "Sun, 06 Nov 1994 8 GMT",
    ] {
        assert_eq!(after(none), None, "{none}");
    }
}

#[test]
fn a_profiles_rule_must_hold_too() {
    let of = |profile: &str, status: u16, body: &str| {
        let interface = interface(&format!(
            "[websms]\nprofile = {profile}\nauth_user = u\nauth_secret = s\nparam_account = a\n"
        ));
        verdict(
            interface.outgoing.as_ref().unwrap(),
            status,
            &[],
            body.as_bytes(),
            0,
        )
    };
    let taken = |id: &str| Verdict::Taken {
        id: Some(id.to_owned()),
    };
    assert_eq!(
        of("twilio", 201, r#"{"sid":"SM1","status":"queued"}"#),
        taken("SM1")
    );
    assert_eq!(
        word(&of("twilio", 400, r#"{"code":21211,"message":"Invalid"}"#)),
        "refused"
    );
    assert_eq!(
        of("plivo", 202, r#"{"message_uuid":["u-1"]}"#),
        taken("u-1")
    );
    assert_eq!(
        of("voipms", 200, r#"{"status":"success","sms":23434}"#),
        taken("23434")
    );
    assert_eq!(
        word(&of("voipms", 200, r#"{"status":"invalid_dst"}"#)),
        "refused"
    );
    let vonage = |statuses: &str| {
        of(
            "vonage-sms",
            200,
            &format!(r#"{{"messages":[{statuses}]}}"#),
        )
    };
    assert_eq!(vonage(r#"{"status":"0","message-id":"0A"}"#), taken("0A"));
    assert_eq!(word(&vonage(r#"{"status":"0"},{"status":"9"}"#)), "refused");
    assert_eq!(word(&vonage(r#"{"status":"1"}"#)), "later");
    assert_eq!(word(&vonage("")), "refused");
}

#[test]
fn only_a_header_that_the_carrier_knows_makes_a_repetition_harmless() {
    let keys = interface("[websms]\nurl_host = https://h.example\n");
    assert!(!repeatable(keys.outgoing.as_ref().unwrap()));
    let own = "title = \"Own\"\n[outgoing]\nurl = \"https://h.example/{user}\"\nidempotency-header = \"Idempotency-Key\"\nfields = { t = \"{text}\" }\n";
    let own = with_own("[websms]\nprofile = own\nauth_user = u\n", &[("own", own)]);
    assert!(repeatable(own.outgoing.as_ref().unwrap()));
    let request = request(&own, &sent("1", "2", "x"), "m-17").unwrap();
    assert_eq!(header(&request, "Idempotency-Key"), Some("m-17"));
}

proptest! {
    /// Whatever a phone sends, the address and the headers are those of the configuration.
    #[test]
    fn text_moves_nothing_but_itself(to in "(\\PC|\n){0,34}", from in "(\\PC|\r){0,34}", text in "(\\PC|\n|\\{|\\}|\"|\\\\|&|=){0,40}") {
        for keys in ["url_host = https://h.example\nval_static = \"a=1\"\n", "profile = telnyx\nauth_secret = s\n", "profile = 46elks\nauth_user = u\nauth_secret = s\n"] {
            let interface = interface(&format!("[websms]\n{keys}"));
            let still = request(&interface, &sent("+15550101", "+15550100", "x"), "id").unwrap();
            if let Ok(moved) = request(&interface, &sent(&to, &from, &text), "id") {
                prop_assert_eq!(&moved.url, &still.url);
                prop_assert_eq!(&moved.headers, &still.headers);
                prop_assert!(!to.trim_matches(' ').contains(['\n', '\r']));
            }
        }
    }

    #[test]
    fn any_answer_is_judged(status: u16, body: Vec<u8>, after in "\\PC{0,30}") {
        let interface = interface("[websms]\nprofile = vonage-sms\nauth_user = u\nauth_secret = s\n");
        let judged = verdict(interface.outgoing.as_ref().unwrap(), status, &[("retry-after", &after)], &body, 0);
        if let Verdict::Refused { why } | Verdict::Later { why, .. } = judged {
            prop_assert!(!why.chars().any(char::is_control) && why.chars().count() <= 220);
        }
    }
}
