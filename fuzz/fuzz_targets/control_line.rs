//! Whatever a client sends is a request, which says the same when it is written again, or is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::init::control::Request;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
        let again = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
    }
});
