//! Any bytes are a multipart form or are refused; a field's text stands in the body as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::websms::body::multipart;

fuzz_target!(|input: (&str, &[u8])| {
    let (content_type, body) = input;
    for kind in [content_type, "multipart/form-data; boundary=b"] {
        for (_, text) in multipart::read(kind, body).unwrap_or_default() {
            let text = text.as_bytes();
            assert!(text.is_empty() || body.windows(text.len()).any(|window| window == text));
        }
    }
});
