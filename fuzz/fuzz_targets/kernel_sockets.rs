//! Whatever stands in the kernel's answer about sockets, it is read to its end, and no state but an open one is a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::sys::netlink::connections::{Told, read};
use switchhook::sys::netlink::message::messages;

fuzz_target!(|bytes: &[u8]| {
    for body in messages(bytes).map(|message| message.body).chain([bytes]) {
        if let Some(Told::Opened(_, connection)) = read(body) {
            assert!(matches!(body[1], 1 | 4 | 5 | 8 | 9 | 11));
            assert_eq!(connection.peer.ip(), connection.peer.ip().to_canonical());
        }
    }
});
