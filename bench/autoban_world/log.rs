//! A log service that has a line for each request that failed, and a few of which the manager is not told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use switchhook::logd::query::{Line, Message, SCHEMA};
use switchhook::sys::clock::wall_clock;

/// How often in a second it has lines.
const TURNS: u32 = 200;

/// Until it is dropped.
pub struct Log(Arc<AtomicBool>);

impl Log {
    /// So many lines a second for one that asks; one of 100 is about a request without an event, with two senders in it.
    pub fn start(root: &Path, rate: u64) -> Log {
        let directory = root.join("run/switchhook");
        std::fs::create_dir_all(&directory).expect("a directory");
        let listener = UnixListener::bind(directory.join("evidence.sock")).expect("a socket");
        let is_over = Arc::new(AtomicBool::new(false));
        let log = Log(Arc::clone(&is_over));
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("AutoBan asks");
            let mut lines = BufReader::new(stream);
            let mut request = String::new();
            lines.read_line(&mut request).expect("a request");
            let mut stream = lines.into_inner();
            let mut text = Vec::new();
            put(
                &mut text,
                &Message::Start {
                    schema: SCHEMA,
                    start: 1,
                },
            );
            let began = Instant::now();
            let mut sequence = 0;
            for turn in 1.. {
                let share = rate / u64::from(TURNS);
                (0..share).for_each(|_| failed(&mut text, &mut sequence));
                if stream.write_all(&text).is_err() || is_over.load(Ordering::Relaxed) {
                    return;
                }
                text.clear();
                let due = Duration::from_secs(1) / TURNS * turn;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        });
        log
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn failed(text: &mut Vec<u8>, sequence: &mut u64) {
    *sequence += 1;
    let is_untold = sequence.is_multiple_of(100);
    let sender = std::net::Ipv4Addr::from_bits(0x2e00_0000 + (*sequence as u32 & 0xffff));
    let call_id = match is_untold {
        true => "\u{fffd}' failed for '198.18.0.1:5060' (callid: x",
        false => "1-4711@192.0.2.7",
    };
    line(
        text,
        *sequence,
        "notice",
        format!(
            "NOTICE[40]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'REGISTER' from '<sip:100@192.0.2.1>' failed for '{sender}:5071' (callid: {call_id}) - No matching endpoint found"
        ),
    );
    if is_untold {
        *sequence += 1;
        line(
            text,
            *sequence,
            "error",
            "ERROR[40]: security_events.c:1236 in ast_security_event_report: Failed to issue security event of type InvalidAccountID.".to_owned(),
        );
    }
}

fn line(text: &mut Vec<u8>, sequence: u64, level: &str, message: String) {
    let line = Line {
        sequence,
        time: wall_clock(),
        service: "asterisk".to_owned(),
        level: level.to_owned(),
        message,
    };
    put(text, &Message::Line(line));
}

fn put(text: &mut Vec<u8>, message: &Message) {
    serde_json::to_writer(&mut *text, message).expect("a message");
    text.push(b'\n');
}
