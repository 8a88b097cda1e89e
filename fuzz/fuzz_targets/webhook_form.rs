//! Any bytes are a form or are refused; what is a form keeps every field, and the three keys find text or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::websms::body::form;
use switchhook::websms::extract::keys::Keys;
use switchhook::websms::message::Heard;
use switchhook::websms::request::Request;

fuzz_target!(|body: &[u8]| {
    let Ok(fields) = form::read(body) else { return };
    assert!(fields.len() <= body.split(|b| *b == b'&').count());
    let _ = form::nested(fields);
    let request = Request {
        method: "POST",
        target: "/",
        headers: &[("Content-Type", form::MEDIA_TYPE)],
        body,
    };
    if let Ok(Heard::Messages(messages)) = Keys::default().hear(&request) {
        for message in messages {
            for number in [message.to, message.from] {
                assert!(number.len() <= 32 && !number.contains(char::is_control));
            }
        }
    }
});
