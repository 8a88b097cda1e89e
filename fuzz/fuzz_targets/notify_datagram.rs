//! Any datagram on the notify socket becomes bounded words, in its order; what it does not say is not read into it.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use switchhook::init::notify::{Word, parse};

const DAY: Duration = Duration::from_secs(86_400);

fuzz_target!(|datagram: &[u8]| {
    let words = parse(datagram);
    let lines = datagram.split(|byte| *byte == b'\n').count();
    assert!(words.len() <= lines);
    for word in &words {
        match word {
            Word::Status(text) => assert!(text.chars().count() <= 256 && !text.contains(char::is_control)),
            Word::WatchdogInterval(time) | Word::ExtendTimeout(time) => assert!(*time <= DAY),
            Word::MainPid(pid) => assert!(*pid > 1),
            Word::DescriptorName(name) => {
                assert!(!name.is_empty() && name.len() <= 255 && !name.contains(':') && name.is_ascii());
            }
            _ => {}
        }
    }
    // Line by line it says the same.
    let single: Vec<Word> = datagram.split(|byte| *byte == b'\n').flat_map(parse).collect();
    assert_eq!(words, single);
});
