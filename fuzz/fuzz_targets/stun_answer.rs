//! Any bytes are an answer or are refused, and an answer is to our own question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::nat::stun::{answer, request};

fuzz_target!(|bytes: &[u8]| {
    let id = *b"twelve bytes";
    if answer(bytes, &id).is_ok() {
        assert_eq!(bytes.get(4..20), request(&id).get(4..20));
    }
});
