//! Any bytes give a list or say why not, and each of its entries is found by its own address.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use switchhook::autoban::blocklist::parse;
use switchhook::autoban::ruleset::Key;

fuzz_target!(|text: &[u8]| {
    let Ok(parsed) = parse(text, &[]) else { return };
    for (key, length, count) in parsed.list.lengths() {
        for value in parsed.list.piece(key, length, 0, count) {
            let address = match key {
                Key::V4 => IpAddr::from((value as u32).to_be_bytes()),
                _ => IpAddr::from(value.to_be_bytes()),
            };
            assert!(parsed.list.has(key, length, value));
            assert!(parsed.list.find(address).is_some_and(|found| found.length() <= length));
        }
    }
});
