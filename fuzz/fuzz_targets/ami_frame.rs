//! No bytes make the framer panic, and however they are cut the frames are the same. The first byte says how they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::asterisk::ami::frame::{Frame, Framer};

fn frames(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.feed(piece);
        while let Some(frame) = framer.next() {
            if let Frame::Security(event) = &frame {
                assert!(!event.account.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            }
            found.push(format!("{frame:?}"));
        }
    }
    found
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    assert_eq!(frames(bytes, usize::from(*cut) + 1), frames(bytes, usize::MAX));
});
