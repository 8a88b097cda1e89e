//! Any bytes are a store or are refused; each entry is a sound pair or is refused, and a sound pair reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::certs::{acme_json, validate};

fuzz_target!(|bytes: &[u8]| {
    let Ok(store) = acme_json::read(bytes) else { return };
    for entry in store.entries {
        if let Ok(pair) = validate::examine(&entry.chain, &entry.key) {
            assert_eq!(validate::examine(&pair.chain, &pair.key), Ok(pair));
        }
    }
});
