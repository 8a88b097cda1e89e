//! Whatever is written to /dev/log or a service's pipe becomes whole, bounded, printable lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchhook::config::LogFormat;
use switchhook::logd::lines::{LONGEST_LINE, Splitter};
use switchhook::logd::style::Style;
use switchhook::logd::syslog::{ClientTime, OWN_NAME, Record, parse_datagram, read_line};

fn check(record: &Record) {
    assert!(record.severity < 8);
    // Bytes that are no UTF-8 become three each.
    assert!(record.text.len() <= 3 * (LONGEST_LINE + 16));
    for (format, host) in [
        (LogFormat::Text, None),
        (LogFormat::Json, Some("host".to_owned())),
    ] {
        let line = Style { format, host }.output(record, "time");
        let text = line.strip_suffix('\n').unwrap();
        assert!(!text.contains(|c: char| c.is_control() && c != '\t'));
        if format == LogFormat::Json {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    for time in [ClientTime::Strip, ClientTime::Keep] {
        let record = parse_datagram(bytes, time);
        assert_ne!(record.service, OWN_NAME);
        check(&record);
        let mut splitter = Splitter::default();
        let mut take = |line: &[u8]| check(&read_line("service", 6, line, time));
        let (a, b) = bytes.split_at(bytes.len() / 2);
        splitter.feed(a, &mut take);
        splitter.feed(b, &mut take);
        if let Some(line) = splitter.finish() {
            take(&line);
        }
    }
});
