//! Whatever a stranger writes into From and Call-ID, his own address is among those that the log's line names; and no lines
//! at all make the reader panic, or remember more than it may.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use switchhook::autoban::witness::{Pairs, Seen};

const MISSING: &str = "ERROR[40]: security_events.c:1236 in ast_security_event_report: Failed to issue security event of type InvalidAccountID.";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut pairs = Pairs::default();
    for line in text.split('\n') {
        if let Seen::Against(found) = pairs.take(line) {
            assert!((1..=40).contains(&found.senders.len()));
            assert!(found.senders.iter().all(|sender| !sender.has_sent));
        }
    }
    // As Asterisk cuts them.
    let cut = |part: &str| part.chars().take(170).collect::<String>();
    let (from, call_id) = text.split_once('\n').unwrap_or((&text, ""));
    let (from, call_id) = (cut(from), cut(call_id));
    for place in ["192.0.2.7:40000", "[fd5b::7]:40000"] {
        let line = format!(
            "NOTICE[40]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'REGISTER' from '{from}' failed for '{place}' (callid: {call_id}) - No matching endpoint found"
        );
        let place: SocketAddr = place.parse().unwrap();
        assert_eq!(pairs.take(&line), Seen::Failed);
        let Seen::Against(found) = pairs.take(MISSING) else {
            panic!("nobody: {line}");
        };
        assert!(found.senders.iter().any(|sender| sender.place == place), "{line}");
        let is_other = |sender: &switchhook::autoban::witness::Sender| sender.place.ip() != place.ip();
        assert!(!found.is_alone || !found.senders.iter().any(is_other), "{line}");
        assert!(found.bytes >= 60);
    }
});
