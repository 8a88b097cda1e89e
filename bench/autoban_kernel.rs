//! Bans into the kernel's sets: our one netlink socket, beside a forked nft(8) for each, in turns, in the same table of a
//! network namespace of its own. What is timed is the call, which returns when the kernel has done it.
//!
//! BENCH_RUNS (100): single bans of each at each size.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use report::{Report, median};
use switchhook::autoban::firewall::Firewall;
use switchhook::autoban::key::{Change, Set, Source};
use switchhook::autoban::ruleset::{Caps, Settings};

const INSIDE: &str = "BENCH_NAMESPACE";
const HOUR: Duration = Duration::from_secs(3600);

/// So many bans from the `first` address on.
fn bans(first: u32, count: u32) -> impl Iterator<Item = Change> {
    (first..first + count).map(|bits| Change::Ban {
        set: Set::Jail,
        source: Source::V4(bits),
        timeout: HOUR,
        left: HOUR,
    })
}

/// The same for nft.
fn text(first: u32, count: u32) -> String {
    let mut text = "add element inet autoban jail4 { ".to_owned();
    for bits in first..first + count {
        let _ = write!(text, "{} timeout 1h, ", std::net::Ipv4Addr::from_bits(bits));
    }
    text + "}\n"
}

fn nft(input: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft cannot be run: apt-get install nftables");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("nft reads");
    drop(stdin);
    assert!(child.wait().expect("nft ends").success());
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        // Root needs no user namespace, and has the buffers that it has in a container.
        let root = std::fs::metadata("/proc/self")
            .is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
        let status = Command::new("unshare")
            .args([if root { "-n" } else { "-Urn" }, "--"])
            .arg(std::env::current_exe().expect("the measurement's own program"))
            .env(INSIDE, "1")
            .status()
            .expect("unshare(1) of util-linux is needed");
        return ExitCode::from(u8::from(!status.success()));
    }
    let runs: u32 = std::env::var("BENCH_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100);
    let jail = 4_000_000;
    let settings = Settings {
        caps: Caps {
            jail,
            ..Caps::default()
        },
        ..Settings::default()
    };
    let mut firewall = Firewall::open(&settings).unwrap_or_else(|e| panic!("{e}"));
    let mut report = Report::new("autoban-kernel");
    let micro = |seconds: f64, bans: u32| seconds * 1e6 / f64::from(bans);

    for (size, name) in [(0, "0"), (10_000, "10k"), (1_000_000, "1m")] {
        firewall.restore(bans(0x0a00_0000, size)).expect("restored");
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        let mut next = 0x6400_0000;
        for _ in 0..runs {
            let ban: Vec<Change> = bans(next, 1).collect();
            ours.push(micro(
                seconds(|| assert_eq!(firewall.apply(&ban).expect("applied").applied, 1)),
                1,
            ));
            let ban = text(next + 1, 1);
            peer.push(micro(seconds(|| nft(&ban)), 1));
            next += 2;
        }
        report.bar(
            &format!("autoban-kernel-ban-{name}"),
            "us",
            &ours,
            Some(&peer),
            100.0,
        );
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        let count = 10_000;
        for _ in 0..5 {
            let many: Vec<Change> = bans(next, count).collect();
            ours.push(micro(
                seconds(|| assert_eq!(firewall.apply(&many).expect("applied").applied, 10_000)),
                count,
            ));
            next += count;
            let many = text(next, count);
            peer.push(micro(seconds(|| nft(&many)), count));
            next += count;
        }
        // 20,000 events a second, should each of them ban.
        println!(
            "batches of 1000 with {name} there: {:.0} bans a second",
            1e6 / median(&ours)
        );
        report.bar(
            &format!("autoban-kernel-batched-{name}"),
            "us",
            &ours,
            Some(&peer),
            50.0,
        );
    }

    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    let count = 100_000;
    for _ in 0..5 {
        ours.push(
            1e3 * seconds(|| {
                let outcome = firewall
                    .restore(bans(0x0a00_0000, count))
                    .expect("restored");
                assert_eq!(outcome.applied, 100_000);
            }),
        );
        let all = format!("flush set inet autoban jail4\n{}", text(0x0a00_0000, count));
        peer.push(1e3 * seconds(|| nft(&all)));
    }
    report.bar(
        "autoban-kernel-restore-100k",
        "ms",
        &ours,
        Some(&peer),
        1000.0,
    );
    firewall.take_down().expect("taken down");
    report.finish()
}
