//! Any bytes are JSON or are refused, as `serde_json` has it; any text is a path or is refused; what is a path prints as
//! one, and finds in every document something or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::websms::body::json;
use switchhook::websms::path::Path;

fuzz_target!(|input: (&str, &[u8])| {
    let (path, document) = input;
    let document = json::read(document);
    if document.is_ok() {
        // It cannot hold a number such as 1e999, and we can.
        if let Err(e) = serde_json::from_slice::<serde_json::Value>(input.1) {
            assert!(e.to_string().contains("out of range"), "{e}");
        }
    }
    let Ok(path) = path.parse::<Path>() else { return };
    assert_eq!(path.to_string().parse(), Ok(path.clone()));
    if let Ok(document) = document {
        let all = path.all(&document);
        assert_eq!(path.first(&document), all.first().copied());
    }
});
