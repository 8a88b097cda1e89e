//! Any line on the control socket is a request or a reason; a request that is written again reads as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::init::control::{Reply, Request, parse_request};

fuzz_target!(|line: &[u8]| {
    match parse_request(line) {
        Ok(request) => {
            let written = serde_json::to_vec(&request).unwrap();
            assert_eq!(parse_request(&written).as_ref(), Ok(&request));
            assert!(serde_json::from_slice::<Request>(line).is_ok());
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    // A client reads answers the same way.
    if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
        let written = serde_json::to_vec(&reply).unwrap();
        assert_eq!(serde_json::from_slice::<Reply>(&written).unwrap(), reply);
    }
});
