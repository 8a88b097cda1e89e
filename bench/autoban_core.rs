//! The pure core of AutoBan on one thread: events a second from bytes to decisions, and the memory it takes, with every
//! event from a /64 of its own.
//!
//! BENCH_EVENTS (2000000).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use report::Report;
use switchhook::asterisk::ami::frame::{Frame, Framer};
use switchhook::autoban::evidence::{Meaning, weigh};
use switchhook::autoban::ledger::{Ledger, Manual};
use switchhook::autoban::policy::Policy;

const NOW: i64 = 1_800_000_000_000;

/// One event from a /64 of its own, as Asterisk 22 writes it.
fn event(text: &mut String, number: u64) {
    let (high, low) = (number >> 16, number & 0xffff);
    let _ = write!(
        text,
        "Event: InvalidAccountID\r\nPrivilege: security,all\r\nEventTV: 2026-08-05T10:11:12.345+0000\r\nSeverity: Error\r\nService: PJSIP\r\nEventVersion: 1\r\nAccountID: 100\r\nSessionID: 1-{number}@192.0.2.7\r\nLocalAddress: IPV6/UDP/::1/5060\r\nRemoteAddress: IPV6/UDP/2001:{high:x}:{low:x}::5/5071\r\n\r\n"
    );
}

/// A field of /proc/self/status, in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

/// The processor's time that this thread has used: other work on the machine does not count.
fn used() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills the structure that it is given.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "the kernel has no thread clock");
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// Events a second from bytes to decisions.
fn run(ledger: &mut Ledger, from: u64, count: u64) -> f64 {
    let mut framer = Framer::new();
    framer.feed(b"Asterisk Call Manager/11.0.0\r\n");
    framer.next();
    let mut seconds = 0.0;
    let mut seen = 0u64;
    let mut text = String::new();
    for start in (from..from + count).step_by(1000) {
        text.clear();
        (start..start + 1000).for_each(|number| event(&mut text, number));
        let began = used();
        for piece in text.as_bytes().chunks(16 * 1024) {
            framer.feed(piece);
            while let Some(frame) = framer.next() {
                let Frame::Security(event) = frame else {
                    panic!("not an event: {frame:?}");
                };
                let now = NOW + i64::try_from(seen / 1000).unwrap_or(0);
                seen += 1;
                black_box(ledger.step(weigh(&event), now));
            }
        }
        seconds += (used() - began).as_secs_f64();
    }
    assert_eq!(seen, count, "every event was read");
    count as f64 / seconds
}

fn main() -> std::process::ExitCode {
    let events: u64 = std::env::var("BENCH_EVENTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2_000_000);
    let before = memory("VmRSS");
    let mut ledger = Ledger::new(Policy::default());
    let rates: Vec<f64> = (0..5)
        .map(|n| run(&mut ledger, n * events / 5, events / 5))
        .collect();
    let (after, peak) = (memory("VmRSS"), memory("VmHWM"));
    println!(
        "events a second: {}",
        rates.iter().map(|r| format!("{r:.0} ")).collect::<String>()
    );
    println!(
        "memory: {before:.1} MB before, {after:.1} MB after, {peak:.1} MB at most; {:?}",
        ledger.counts()
    );

    // The same with a full jail.
    for number in 0..65_536u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        let cidr = switchhook::autoban::cidr::Cidr::host(address.into());
        ledger.manual(&Manual::ban(cidr, None, ""), NOW);
    }
    let jailed = run(&mut ledger, events, events / 5);
    println!("events a second with 65,536 jailed: {jailed:.0}");
    black_box(ledger.step(Meaning::Nothing, NOW));

    let mut report = Report::new("autoban_core");
    let costs: Vec<f64> = rates.iter().map(|rate| 1e9 / rate).collect();
    report.bar("event_to_decision", "ns", &costs, None, 1000.0);
    report.bar(
        "event_to_decision_65536_jailed",
        "ns",
        &[1e9 / jailed],
        None,
        1000.0,
    );
    report.bar("memory_at_most", "MB", &[peak], None, 64.0);
    report.finish()
}
