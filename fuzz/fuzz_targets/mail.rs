//! Any bytes are a mail: its lines end as SMTP wants it, its addresses hold nothing that could be a command, and what was read
//! reads back with the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::mail::message::{Given, is_address, read};

fuzz_target!(|bytes: &[u8]| {
    let given = Given { id: "1@x", date: "Sun, 29 Nov 2026 12:00:00 +0000" };
    let mail = read(bytes, given);
    assert!(mail.to.iter().chain(&mail.from).all(|address| is_address(address)));
    assert_eq!(read(&mail.bytes, given).bytes, mail.bytes);
});
