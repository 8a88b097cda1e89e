//! AutoBan whole: the real daemon and the real kernel, in a network namespace of its own.
//!
//! First a feeder in Asterisk's place, which speaks recorded frames: how many events a second are kept up with, with how
//! many in jail, beside how many lines of the log, and how long a ban takes meanwhile; memory with a million sources; bans after `kill -9` in an empty
//! kernel. Then the real Asterisk of the image, whose attackers send SIP from addresses of another namespace: from the
//! tenth packet to the kernel's set, and how many packets are answered. A ban counts when the daemon has had the kernel's
//! acknowledgement (feeder), or when the kernel tells of the element (Asterisk: `nft monitor`).
//!
//! BENCH_SECONDS (60) of each flood, BENCH_ONLY (words of: feed feed-0 feed-10k feed-1m feed-witness memory restore sip;
//! results are not kept then, unless BENCH_JOIN is set: they join those of the other parts of the same revision), BENCH_IMAGE (switchhook:full), BENCH_SETTLE (2): seconds between the last ban and `kill -9`.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs and waits between them"
)]

mod autoban_world {
    pub mod daemon;
    pub mod exchange;
    pub mod feeder;
    pub mod log;
}
mod report;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use autoban_world::daemon::{Daemon, Home};
use autoban_world::exchange;
use autoban_world::feeder::{Feeder, From, frame};
use autoban_world::log::Log;
use report::{Report, median, percentile};

const INSIDE: &str = "BENCH_NAMESPACE";
/// What Asterisk itself can put out at the most.
const RATE: u64 = 20_000;

/// The daemon at a feeder, both ready.
fn at_a_feeder(more: &str) -> (Feeder, Home, Daemon) {
    let feeder = Feeder::start();
    let home = Home::new(feeder.port, more);
    let (mut daemon, _) = Daemon::start(&home);
    daemon.until("AutoBan is connected", |daemon| daemon.status().connected);
    (feeder, home, daemon)
}

fn is_jailed(daemon: &mut Daemon, bits: u32) -> bool {
    let address = std::net::Ipv4Addr::from_bits(bits).to_string();
    !daemon.why(&address)["offender"].is_null()
}

/// A flood at each size of the jail, and one with as many lines in the log, with an attacker every second.
fn feed(report: &mut Report, seconds: u64, wanted: impl Fn(&str) -> bool) {
    let turns = [
        (0u32, "0", false),
        (10_000, "10k", false),
        (1_000_000, "1m", false),
        (0, "witness", true),
    ];
    for (size, name, has_log) in turns {
        if !wanted(&format!("feed-{name}")) {
            continue;
        }
        let (feeder, home, mut daemon) = at_a_feeder("maxjail = 1048576");
        let log = has_log.then(|| Log::start(home.directory.path(), RATE));
        if log.is_some() {
            daemon.until("the log is followed", |daemon| {
                daemon.status().witness == "listening"
            });
        }
        daemon.jail(0x1400_0000, size, false);
        let used = daemon.used();
        let mut bans = Vec::new();
        let mut attacker = 0x0b00_0000;
        let time = Duration::from_secs(seconds);
        let began = Instant::now();
        let sample = |turn: u64, daemon: &mut Daemon, bans: &mut Vec<f64>, attacker: &mut u32| {
            if turn % 200 != 100 {
                return;
            }
            // Not two in one /24.
            *attacker += 256;
            let mut text = String::new();
            (0..10).for_each(|n| frame(&mut text, n, From::Proven(*attacker)));
            let sent = Instant::now();
            feeder.send(&text);
            while !is_jailed(daemon, *attacker) {
                assert!(sent.elapsed() < Duration::from_secs(20), "never banned");
            }
            bans.push(sent.elapsed().as_secs_f64() * 1e3);
        };
        let [worst, behind] = feeder.flood(RATE, time, 0, |turn| {
            sample(turn, &mut daemon, &mut bans, &mut attacker);
        });
        let sent = RATE / 200 * (time.as_millis() as u64 / 5) + 10 * bans.len() as u64;
        daemon.until("all events are counted", |daemon| {
            daemon.counted("InvalidAccountID") >= sent
        });
        let took = began.elapsed().as_secs_f64();
        let share = (daemon.used() - used).as_secs_f64() / took;
        let lost = feeder.connections() - 1;
        if log.is_some() {
            let lines = daemon.counted("log lines of failed requests");
            let witnessed = daemon.counted("witnessed lines");
            println!("{name}: {lines} lines of the log, {witnessed} of them counted");
        }
        println!(
            "{name} in jail: {sent} events in {took:.2} s, {:.0}% of a core, at worst {worst:.0?} behind, {lost} disconnects, {:.1} MB",
            share * 100.0,
            daemon.memory("VmHWM:")
        );
        report.bar(
            &format!("autoban-feed-{name}-behind"),
            "ms",
            &[behind.as_secs_f64() * 1e3],
            None,
            100.0,
        );
        report.bar(
            &format!("autoban-feed-{name}-overtime"),
            "s",
            &[took - seconds as f64],
            None,
            1.0,
        );
        report.bar(
            &format!("autoban-feed-{name}-disconnects"),
            "",
            &[lost as f64],
            None,
            0.0,
        );
        report.bar(&format!("autoban-feed-{name}-ban"), "ms", &bans, None, 5.0);
        let points = [10.0, 50.0, 90.0, 99.0, 100.0].map(|at| percentile(&bans, at));
        report.row("ban during 20,000 events/s, ms", name, bans.len(), points);
    }
}

/// A million sources, as fast as they are read.
fn memory(report: &mut Report) {
    let (feeder, _home, mut daemon) = at_a_feeder("");
    let before = daemon.memory("VmRSS:");
    let began = Instant::now();
    let mut text = String::new();
    for start in (0..1_000_000u64).step_by(100) {
        text.clear();
        (start..start + 100).for_each(|number| frame(&mut text, number, From::V6(number)));
        feeder.send(&text);
    }
    daemon.until("all events are counted", |daemon| {
        daemon.counted("InvalidAccountID") >= 1_000_000
    });
    let rate = 1e6 / began.elapsed().as_secs_f64();
    let (after, most) = (daemon.memory("VmRSS:"), daemon.memory("VmHWM:"));
    println!(
        "1,000,000 /64: {rate:.0} events/s; {before:.1} MB before, {after:.1} MB after, {most:.1} MB at most"
    );
    report.bar("autoban-memory-1m-64", "MB", &[most], None, 64.0);
    report.bar(
        "autoban-event-at-full-speed",
        "us",
        &[1e6 / rate],
        None,
        50.0,
    );
}

/// 100,000 bans, kill -9, an empty kernel as in a new container, and the start until they hold.
fn restore(report: &mut Report) {
    let feeder = Feeder::start();
    let home = Home::new(feeder.port, "");
    let (mut daemon, _) = Daemon::start(&home);
    daemon.jail(0x1400_0000, 50_000, false);
    daemon.jail(0, 50_000, true);
    let end = |facts: serde_json::Value| facts["offender"]["until"].as_i64().expect("in jail");
    let samples = [
        "20.0.0.0",
        "20.0.195.79",
        "2001:db8::1",
        "2001:db8:0:c34f::1",
    ];
    let ends: Vec<i64> = samples
        .iter()
        .map(|address| end(daemon.why(address)))
        .collect();
    // The journal is written in groups, at most so late.
    let settle = std::env::var("BENCH_SETTLE")
        .ok()
        .and_then(|n| n.parse().ok());
    std::thread::sleep(Duration::from_secs(settle.unwrap_or(2)));
    daemon.kill();
    let (mut times, mut drift, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        exchange::run("nft", &["delete", "table", "inet", "autoban"]);
        let (mut daemon, ready) = Daemon::start(&home);
        times.push(ready.as_secs_f64());
        used.push(daemon.used().as_secs_f64());
        let sets = ["jail4", "jail6"].map(|set| {
            exchange::run("nft", &["list", "set", "inet", "autoban", set])
                .matches("expires")
                .count()
        });
        assert_eq!(sets, [50_000, 50_000], "the kernel holds them all");
        for (address, end_before) in samples.iter().zip(&ends) {
            drift.push((end(daemon.why(address)) - end_before).abs() as f64 / 1e3);
        }
        daemon.kill();
    }
    println!("100,000 bans held again: {times:.3?} s, of the processor {used:.2?} s");
    report.bar("autoban-restore-100k", "s", &times, None, 1.0);
    report.bar_at("autoban-restore-drift", "s", (&drift, 100.0), None, 1.0);
    exchange::run("nft", &["delete", "table", "inet", "autoban"]);
}

/// Real SIP at the real Asterisk, quiet and during a flood of forged packets.
fn sip(report: &mut Report) {
    let exchange = exchange::Exchange::start();
    let home = Home::new(5038, "");
    let (mut daemon, _) = Daemon::start(&home);
    daemon.until("AutoBan is connected", |daemon| daemon.status().connected);
    let watch = exchange::Watch::start();
    for (name, flood) in [("quiet", 0), ("flood", 3000)] {
        let flooding = exchange.flood(flood);
        for transport in ["udp", "tcp"] {
            let attacks: Vec<exchange::Attack> = (0..20)
                .map(|_| exchange.attack(transport, 200, &watch))
                .collect();
            let times: Vec<f64> = attacks.iter().map(|a| a.to_kernel_ms).collect();
            let answered: Vec<f64> = attacks.iter().map(|a| f64::from(a.answered)).collect();
            println!(
                "{name} {transport}: tenth packet to kernel {:.2} ms (median), {:.0} packets answered at most",
                median(&times),
                percentile(&answered, 100.0)
            );
            report.bar(
                &format!("autoban-sip-{name}-{transport}"),
                "ms",
                &times,
                Some(&[700.0]),
                5.0,
            );
            report.bar_at(
                &format!("autoban-through-{name}-{transport}"),
                "",
                (&answered, 100.0),
                Some(138.0),
                11.0,
            );
        }
        println!("{name}: {} forged packets were sent", flooding.stop());
    }
}

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let status = Command::new("unshare")
            .args(["-n", "-m", "--"])
            .arg(std::env::current_exe().expect("the measurement's own program"))
            .env(INSIDE, "1")
            .status()
            .expect("unshare(1) of util-linux is needed");
        return ExitCode::from(u8::from(!status.success()));
    }
    exchange::run("ip", &["link", "set", "lo", "up"]);
    let seconds = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split_whitespace().any(|word| word == part);
    let mut report = Report::new("autoban");
    report.note("seconds", seconds.into());
    if wanted("sip") {
        sip(&mut report);
    }
    if wanted("restore") {
        restore(&mut report);
    }
    if wanted("memory") {
        memory(&mut report);
    }
    feed(&mut report, seconds, |turn| wanted("feed") || wanted(turn));
    match (only.is_empty(), std::env::var_os("BENCH_JOIN")) {
        (true, _) => report.finish(),
        (false, Some(_)) => report.join(&only),
        (false, None) => report.verdict(),
    }
}
