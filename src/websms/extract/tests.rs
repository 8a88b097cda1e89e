//! Webhooks of carriers as they come, read by a profile.

use proptest::prelude::*;

use super::*;
use crate::websms::profile::Profile;

fn hearing(profile: &str) -> Hearing {
    let profile: Profile = toml::from_str(&format!("title = 'x'\n{profile}")).unwrap();
    Hearing::new(&profile.incoming, profile.receipt.as_ref()).unwrap()
}

fn hear(
    profile: &str,
    method: &str,
    target: &str,
    kind: &str,
    body: &str,
) -> Result<Heard, Malformed> {
    hearing(profile).hear(&Request {
        method,
        target,
        headers: &[("Content-Type", kind)],
        body: body.as_bytes(),
    })
}

fn json(profile: &str, body: &str) -> Result<Heard, Malformed> {
    hear(profile, "POST", "/hook", "application/json", body)
}

fn form(profile: &str, body: &str) -> Result<Heard, Malformed> {
    hear(
        profile,
        "POST",
        "/hook",
        "application/x-www-form-urlencoded",
        body,
    )
}

fn message(to: &str, from: &str, body: &str, id: &str) -> Received {
    Received {
        to: to.to_owned(),
        from: from.to_owned(),
        body: body.to_owned(),
        id: (!id.is_empty()).then(|| id.to_owned()),
        ..Received::default()
    }
}

fn receipt(id: &str, state: ReceiptState, detail: &str) -> Receipt {
    Receipt {
        id: id.to_owned(),
        state,
        detail: detail.to_owned(),
    }
}

const TELNYX: &str = r#"
[incoming]
format = "json"
when = [{ path = "data.event_type", is = ["message.received"] }]
to = ["data.payload.to[0].phone_number"]
from = ["data.payload.from.phone_number"]
text = ["data.payload.text"]
id = ["data.payload.id"]
media = ["data.payload.media[*].url"]
[receipt]
when = [{ path = "data.event_type", is = ["message.sent", "message.finalized"] }]
id = ["data.payload.id"]
state = ["data.payload.to[0].status"]
detail = ["data.payload.errors[0].title"]
states = { delivered = "delivered", sending_failed = "failed" }
"#;

#[test]
fn a_message_deep_in_json_is_heard() {
    let event = |kind: &str, rest: &str| {
        format!(
            r#"{{"data":{{"event_type":"{kind}","payload":{{"id":"a1","to":[{{"phone_number":"+1","status":"delivered"}}],"from":{{"phone_number":"+2"}}{rest}}}}}}}"#
        )
    };
    let rest =
        r#","text":"a\n\"b\" 😀","media":[{"url":"https://m/1"},{"url":""},{"url":"https://m/2"}]"#;
    assert_eq!(
        json(TELNYX, &event("message.received", rest)),
        Ok(Heard::Messages(vec![Received {
            media: vec!["https://m/1".to_owned(), "https://m/2".to_owned()],
            ..message("+1", "+2", "a\n\"b\" 😀", "a1")
        }]))
    );
    assert_eq!(
        json(TELNYX, &event("message.finalized", "")),
        Ok(Heard::Receipts(vec![receipt(
            "a1",
            ReceiptState::Delivered,
            "delivered"
        )]))
    );
    assert_eq!(json(TELNYX, &event("call.hangup", "")), Ok(Heard::Nothing));
    let odd = event(
        "message.received",
        r#","media":[{"url":"file:///etc/passwd"}]"#,
    );
    assert!(
        json(TELNYX, &odd)
            .unwrap_err()
            .to_string()
            .contains("picture")
    );
}

const BANDWIDTH: &str = r#"
[incoming]
each = "$[*]"
when = [{ path = "type", is = ["message-received"] }]
to = ["to"]
from = ["message.from"]
text = ["message.text"]
id = ["message.id"]
[receipt]
when = [{ path = "type", is = ["message-delivered", "message-failed"] }]
id = ["message.id"]
state = ["type"]
states = { message-delivered = "delivered", message-failed = "failed" }
"#;

#[test]
fn an_array_brings_a_message_each() {
    let got =
        r#"{"type":"message-received","to":"+1","message":{"from":"+2","text":"x","id":"01"}}"#;
    let sent = r#"{"type":"message-failed","message":{"id":"02"}}"#;
    let message = message("+1", "+2", "x", "01");
    let failed = receipt("02", ReceiptState::Failed, "message-failed");
    assert_eq!(
        json(BANDWIDTH, &format!("[{got},{got}]")),
        Ok(Heard::Messages(vec![message.clone(), message.clone()]))
    );
    assert_eq!(
        json(BANDWIDTH, &format!("[{sent},{got}]")),
        Ok(Heard::Both(vec![message], vec![failed]))
    );
    assert_eq!(json(BANDWIDTH, "[]"), Ok(Heard::Nothing));
    // One that cannot be read spoils the heap: the carrier sends all of it again.
    let broken = got.replace("+2", "+2\\n");
    assert!(json(BANDWIDTH, &format!("[{got},{broken}]")).is_err());
    let many = vec![got; MOST_ITEMS + 1].join(",");
    assert!(json(BANDWIDTH, &format!("[{many}]")).is_err());
}

const SNS: &str = r#"
[incoming]
format = "json"
confirm = "SubscribeURL"
unwrap = ["Message"]
to = ["Message.destinationNumber"]
from = ["Message.originationNumber"]
text = ["Message.messageBody"]
id = ["Message.inboundMessageId"]
"#;

#[test]
fn a_document_within_a_text_is_opened_once() {
    let inner = r#"{"originationNumber":"+2","destinationNumber":"+1","messageBody":"{\"a\":1}","inboundMessageId":"i"}"#;
    let outer =
        |message: &str| serde_json::json!({"Type": "Notification", "Message": message}).to_string();
    assert_eq!(
        json(SNS, &outer(inner)),
        Ok(Heard::Messages(vec![message(
            "+1",
            "+2",
            r#"{"a":1}"#,
            "i"
        )]))
    );
    let reason = json(SNS, &outer("hello")).unwrap_err().to_string();
    assert!(
        reason.contains("the field `Message` holds no document"),
        "{reason}"
    );
}

#[test]
fn a_subscription_is_confirmed_and_its_end_is_not() {
    let url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1";
    let body = |kind: &str, url: &str| {
        format!(r#"{{"Type":"{kind}","Message":"x","SubscribeURL":"{url}"}}"#)
    };
    assert_eq!(
        json(SNS, &body("SubscriptionConfirmation", url)),
        Ok(Heard::Confirm(url.to_owned()))
    );
    assert_eq!(
        json(SNS, &body("UnsubscribeConfirmation", url)),
        Ok(Heard::Nothing)
    );
    assert!(json(SNS, &body("SubscriptionConfirmation", "gopher://x")).is_err());
}

const TWILIO: &str = r#"
[incoming]
to = ["To"]
from = ["From"]
text = ["Body"]
id = ["MessageSid", "SmsMessageSid"]
media = ["MediaUrl#"]
[receipt]
id = ["MessageSid"]
state = ["MessageStatus"]
detail = ["ErrorCode"]
states = { sent = "sent", delivered = "delivered", undelivered = "failed" }
"#;

#[test]
fn without_conditions_the_fields_tell_a_message_from_a_receipt() {
    assert_eq!(
        form(
            TWILIO,
            "To=%2B1&From=%2B2&Body=&SmsMessageSid=7&MediaUrl0=http://m/0&MediaUrl1=HTTPS://m/1"
        ),
        Ok(Heard::Messages(vec![Received {
            media: vec!["http://m/0".to_owned(), "HTTPS://m/1".to_owned()],
            ..message("+1", "+2", "", "7")
        }]))
    );
    assert_eq!(
        form(
            TWILIO,
            "To=%2B1&From=%2B2&MessageSid=7&MessageStatus=undelivered&ErrorCode=30003%0d%0ax"
        ),
        Ok(Heard::Receipts(vec![receipt(
            "7",
            ReceiptState::Failed,
            "30003  x"
        )]))
    );
    assert_eq!(
        form(TWILIO, "MessageSid=7&MessageStatus=queued"),
        Ok(Heard::Nothing)
    );
    // A message that says its state is one all the same.
    assert_eq!(
        form(
            TWILIO,
            "To=1&From=2&Body=x&MessageSid=7&MessageStatus=received"
        ),
        Ok(Heard::Messages(vec![message("1", "2", "x", "7")]))
    );
    assert!(form(TWILIO, "MessageSid=7").is_err());
}

#[test]
fn a_text_may_stand_in_one_of_several_places() {
    let sinch = r#"
        [incoming]
        to = ["to"]
        from = ["from"]
        text = ["body.message", "body"]
        media = ["body.media[*].url"]
    "#;
    let said = |body: &str| -> Result<String, Malformed> {
        let body = format!(r#"{{"to":"1","from":"2","body":{body}}}"#);
        match json(sinch, &body)? {
            Heard::Messages(messages) => Ok(messages.into_iter().next().unwrap().body),
            other => panic!("{other:?}"),
        }
    };
    let media = r#""media":[{"url":"https://m/1"}]"#;
    assert_eq!(said("\"1.10\""), Ok("1.10".to_owned()));
    assert_eq!(
        said(&format!(r#"{{"message":"x",{media}}}"#)),
        Ok("x".to_owned())
    );
    assert_eq!(said(&format!("{{{media}}}")), Ok(String::new()));
    assert_eq!(said("null"), Ok(String::new()));
    assert!(said("{\"other\":1}").is_err());
}

const VONAGE: &str = r#"
[incoming]
methods = ["GET", "POST"]
to = ["to"]
from = ["msisdn"]
text = ["text"]
id = ["messageId"]
part = { reference = "concat-ref", number = "concat-part", total = "concat-total" }
"#;

#[test]
fn parts_of_a_long_message_are_told() {
    let part = |rest: &str| -> Result<Option<Part>, Malformed> {
        let target = format!("/hook?to=1&msisdn=2&text=x&messageId=3{rest}");
        match hear(VONAGE, "GET", &target, "", "")? {
            Heard::Messages(messages) => Ok(messages.into_iter().next().unwrap().part),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        part("&concat=true&concat-ref=0a&concat-part=2&concat-total=3"),
        Ok(Some(Part {
            reference: "0a".to_owned(),
            number: 2,
            total: 3
        }))
    );
    assert_eq!(part(""), Ok(None));
    assert_eq!(
        part("&concat-ref=0a&concat-part=1&concat-total=1"),
        Ok(None)
    );
    for (number, total) in [("0", "2"), ("3", "2"), ("x", "2"), ("1", "300"), ("1", "0")] {
        let rest = format!("&concat-ref=0a&concat-part={number}&concat-total={total}");
        assert!(part(&rest).is_err(), "{rest}");
    }
}

#[test]
fn a_text_is_decoded_as_the_profile_says() {
    let bulkvs = r#"
        [incoming]
        to = ["To[0]"]
        from = ["From"]
        text = ["Message"]
        decode = "url"
    "#;
    assert_eq!(
        json(
            bulkvs,
            r#"{"From":"2","To":["1"],"Message":"a%20b+%F0%9F%98%80"}"#
        ),
        Ok(Heard::Messages(vec![message("1", "2", "a b 😀", "")]))
    );
}

#[test]
fn a_method_that_is_not_the_interfaces_is_refused() {
    let refused = hear(TWILIO, "GET", "/?To=1&From=2&Body=x", "", "").unwrap_err();
    assert_eq!(refused.status, 405);
    assert_eq!(refused.to_string(), "the interface takes POST, not `GET`");
}

#[test]
fn mistakes_in_a_profile_are_told_all() {
    let mistakes = |text: &str| {
        let profile: Profile = toml::from_str(&format!("title='x'\n{text}")).unwrap();
        let mistakes = Hearing::new(&profile.incoming, profile.receipt.as_ref()).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = mistakes("[incoming]\nto=['a[']\nfrom=['']\neach='b..c'");
    assert_eq!(told.len(), 3, "{told:?}");
    let told = mistakes("[incoming]\nunwrap=['Body']\ntext=['Body']");
    assert!(told.first().unwrap().contains("never opened"), "{told:?}");
}

proptest! {
    #[test]
    fn no_request_is_too_odd(
        body in r#"([\[\]{},:=&%]|"(to|from|message|text|type|id)"|"message-received"|"\+1"|To=|Body=){0,20}"#,
        kind in prop::sample::select(vec!["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", ""]),
    ) {
        for profile in [TELNYX, BANDWIDTH, SNS, TWILIO, VONAGE] {
            let _ = hear(profile, "POST", "/hook", kind, &body);
        }
    }
}
