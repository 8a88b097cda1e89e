//! What went wrong before, and must not again, at the level of one request.

use proptest::prelude::*;

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// 46elks' names; others are the defaults.
fn elks() -> Keys {
    Keys {
        to: "to".to_owned(),
        from: "from".to_owned(),
        body: "message".to_owned(),
        ..Keys::default()
    }
}

fn hear(
    keys: &Keys,
    method: &str,
    target: &str,
    kind: &str,
    body: &[u8],
) -> Result<Heard, Malformed> {
    keys.hear(&Request {
        method,
        target,
        headers: &[("Content-Type", kind)],
        body,
    })
}

/// To, from, text; or the reason.
fn heard(keys: &Keys, kind: &str, body: &str) -> Result<[String; 3], String> {
    match hear(keys, "POST", "/hook", kind, body.as_bytes()) {
        Ok(Heard::Messages(messages)) => {
            let [message] = <[Received; 1]>::try_from(messages).unwrap();
            Ok([message.to, message.from, message.body])
        }
        Ok(other) => Err(format!("{other:?}")),
        Err(malformed) => {
            assert_eq!(malformed.status, 400);
            Err(malformed.to_string())
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

fn three(to: &str, from: &str, body: &str) -> Result<[String; 3], String> {
    Ok([to, from, body].map(str::to_owned))
}

#[test]
fn a_text_that_names_a_sender_does_not_become_the_sender() {
    // The text comes last and names the field before it; a line break in it would have been a line of a call file.
    for text in [
        r#"{"from":"1>\nApplication: System\nData: id>/x\n<"}"#,
        r#"{"to":"+1900","from":"+1911","message":"other"}"#,
        r#"[{"to":"+1900"}]"#,
    ] {
        let body = format!(
            "direction=incoming&id=s1&from=%2B46701&to=%2B46702&created=x&message={}",
            encoded(text)
        );
        assert_eq!(heard(&elks(), FORM, &body), three("+46702", "+46701", text));
        let json = serde_json::json!({"message": text, "from": "+46701", "to": "+46702"});
        assert_eq!(
            heard(&elks(), JSON, &json.to_string()),
            three("+46702", "+46701", text)
        );
    }
}

#[test]
fn a_text_that_is_json_stays_text() {
    for text in [
        "1.10",
        "1e3",
        "12345678901234567890",
        "true",
        "null",
        "\"quoted\"",
        " 12 ",
        "0",
        "[1,2]",
        r#"{"a":"b"}"#,
        r#"{"Body":"inner"}"#,
        "007",
    ] {
        let body = format!("To=1&From=2&Body={}", encoded(text));
        assert_eq!(heard(&Keys::default(), FORM, &body), three("1", "2", text));
    }
}

#[test]
fn numbers_of_twenty_digits_and_leading_zeros_are_kept() {
    assert_eq!(
        heard(
            &Keys::default(),
            FORM,
            "To=12345678901234567890&From=0046&Body=x"
        ),
        three("12345678901234567890", "0046", "x")
    );
    assert_eq!(
        heard(
            &Keys::default(),
            JSON,
            r#"{"To":12345678901234567890,"From":"0046","Body":1.10}"#
        ),
        three("12345678901234567890", "0046", "1.10")
    );
}

#[test]
fn a_line_break_in_a_number_is_refused_and_not_logged() {
    for (name, value) in [
        ("To", "1\nApplication: System"),
        ("To", "1\r\nSetvar: FILE(/x)=y"),
        ("From", "2\nData: id"),
        ("From", "2\0"),
        ("From", "\u{1b}[31m"),
        ("To", "../../tmp/x"),
        ("To", ".."),
        ("To", "1/2"),
        ("To", "1@evil"),
        ("From", "2>"),
        ("From", "\u{660}\u{661}"),
    ] {
        let other = if name == "To" { "From" } else { "To" };
        let body = format!("{other}=3&{name}={}&Body=x", encoded(value));
        let reason = heard(&Keys::default(), FORM, &body).unwrap_err();
        assert!(reason.contains("no number and no name"), "{reason}");
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
    let long = "1".repeat(33);
    let reason = heard(&Keys::default(), FORM, &format!("To={long}&From=2")).unwrap_err();
    assert!(reason.contains("more than 32"), "{reason}");
    assert!(heard(&Keys::default(), FORM, "To=A%20b.c-d_9&From=%2B2").is_ok());
}

#[test]
fn a_message_without_a_number_is_refused_and_not_forgotten() {
    for (kind, body, told) in [
        (FORM, "From=2&Body=x", "to whom it is (key To)"),
        (FORM, "To=1&from=2&Body=x", "from whom it is (key From)"),
        (FORM, "To=&From=2", "to whom it is"),
        (JSON, r#"{"To":null,"From":"2"}"#, "to whom it is"),
        (JSON, r#"{"To":["1"],"From":"2"}"#, "by no text"),
        (JSON, "{", "the JSON is wrong at byte 2"),
        (FORM, "", "to whom it is"),
    ] {
        let reason = heard(&Keys::default(), kind, body).unwrap_err();
        assert!(reason.contains(told), "{reason}");
    }
}

#[test]
fn json_and_queries_are_heard() {
    assert_eq!(
        heard(
            &Keys::default(),
            JSON,
            r#"{"data":{"To":"1","From":"2","Body":"a\n\"b\" 😀"}}"#
        ),
        three("1", "2", "a\n\"b\" 😀")
    );
    let get = hear(
        &Keys::default(),
        "GET",
        "/h?To=1&From=2&Body=a%26b",
        "",
        b"",
    )
    .unwrap();
    let Heard::Messages(messages) = get else {
        panic!("{get:?}")
    };
    assert_eq!(messages.first().unwrap().body, "a&b");
    let put = hear(&Keys::default(), "PUT", "/h?To=1&From=2", "", b"");
    assert_eq!(put.unwrap_err().status, 405);
}

#[test]
fn a_long_text_comes_whole() {
    let ascii = "a \"b\"\n".repeat(267);
    let emoji = "😀".repeat(1600);
    let cyrillic = "Привет, мир! ".repeat(123);
    for text in [ascii.get(..1600).unwrap(), &emoji, &cyrillic] {
        let body = format!("To=1&From=2&Body={}", encoded(text));
        assert_eq!(heard(&Keys::default(), FORM, &body), three("1", "2", text));
        let json = serde_json::json!({"To": "1", "From": "2", "Body": text}).to_string();
        assert_eq!(heard(&Keys::default(), JSON, &json), three("1", "2", text));
    }
}

#[test]
fn only_a_named_container_is_opened() {
    let zadarma = Keys {
        to: "caller_did".to_owned(),
        from: "caller_id".to_owned(),
        body: "text".to_owned(),
        echo: "zd_echo".to_owned(),
        ..Keys::default()
    };
    let result = r#"{"caller_id":"+46","caller_did":"47","text":"{\"caller_did\":\"1900\"}"}"#;
    let body = format!("event=SMS&result={}", encoded(result));
    let text = r#"{"caller_did":"1900"}"#;
    assert_eq!(heard(&zadarma, FORM, &body), three("47", "+46", text));
    let other = Keys {
        containers: Vec::new(),
        ..zadarma.clone()
    };
    assert!(heard(&other, FORM, &body).is_err());
    let reason = heard(&zadarma, FORM, "event=SMS&result=%7B").unwrap_err();
    assert!(
        reason.contains("the field `result` holds no document"),
        "{reason}"
    );
    // A container that is the text's own field is not opened.
    let twice = Keys {
        containers: vec!["Body".to_owned()],
        ..Keys::default()
    };
    let inner = r#"{"To":"9"}"#;
    let body = format!("To=1&From=2&Body={}", encoded(inner));
    assert_eq!(heard(&twice, FORM, &body), three("1", "2", inner));
}

#[test]
fn what_lies_nearest_the_top_counts() {
    let json =
        r#"{"meta":{"To":"9","From":"9"},"To":"1","x":[{"From":"2","Body":"b"}],"z":{"Body":"c"}}"#;
    // `meta` is before `x`, and both are on one level; `x` holds an array, so its fields are a level deeper.
    assert_eq!(heard(&Keys::default(), JSON, json), three("1", "9", "c"));
    let paths = Keys {
        to: "data.to[0].number".to_owned(),
        from: "a_b".to_owned(),
        body: "m".to_owned(),
        ..Keys::default()
    };
    let json = r#"{"a_b":"2","data":{"to":[{"number":"1"}],"m":"t"}}"#;
    assert_eq!(heard(&paths, JSON, json), three("1", "2", "t"));
    let names = Keys {
        to: "To".to_owned(),
        ..paths
    };
    assert_eq!(
        heard(&names, FORM, "a.b=2&data[To]=1&m=t"),
        three("1", "2", "t")
    );
    assert_eq!(
        heard(&names, FORM, "a+b=2&To=1&To=9&m=t"),
        three("1", "2", "t")
    );
}

#[test]
fn a_test_of_the_address_is_answered_as_it_came() {
    let keys = Keys {
        echo: "zd_echo".to_owned(),
        ..Keys::default()
    };
    let echo = |method: &str, target: &str| hear(&keys, method, target, "", b"");
    let page = "/hook?zd_echo=%3Cscript%3E";
    // A text; the server sends it as text/plain.
    assert_eq!(echo("GET", page), Ok(Heard::Echo("<script>".to_owned())));
    assert!(echo("POST", page).is_err());
    assert!(echo("GET", "/hook?other=1").is_err());
    assert!(echo("GET", &format!("/?zd_echo={}", "x".repeat(2000))).is_err());
    assert!(hear(&Keys::default(), "GET", "/?=x", "", b"").is_err());
}

proptest! {
    #[test]
    fn every_text_comes_byte_for_byte(text in any::<String>()) {
        let form = format!("Body={}&To=1&From=2", encoded(&text));
        prop_assert_eq!(heard(&Keys::default(), FORM, &form), three("1", "2", &text));
        let json = serde_json::json!({"To": "1", "From": "2", "Body": text}).to_string();
        prop_assert_eq!(heard(&Keys::default(), JSON, &json), three("1", "2", &text));
    }

    #[test]
    fn what_is_heard_has_sound_numbers(to in any::<String>(), from in r#"[+0-9a-z \n]{0,34}"#) {
        let form = format!("Body=&To={}&From={}", encoded(&to), encoded(&from));
        if let Ok([to, from, _]) = heard(&Keys::default(), FORM, &form) {
            for number in [to, from] {
                prop_assert!((1..=32).contains(&number.len()));
                prop_assert!(number.chars().all(|c| c.is_ascii_alphanumeric() || "+._- ".contains(c)));
            }
        }
    }
}
