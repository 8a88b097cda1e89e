//! The time of one `websms TO FROM BODY`, from its start to its exit code, with the real daemon and a disk that is really
//! synchronised, beside `/bin/true`: what a process costs here. Both in turns. The carrier of the daemon is away.
//!
//! BENCH_DIR (the target directory): a place on the disk. BENCH_TURNS (300).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use report::{Report, percentile};

const BINARY: &str = env!("CARGO_BIN_EXE_switchhook");
/// Nobody listens there: no request disturbs the measurement for long.
const CONF: &str = "[websms]\nauth_method = none\nurl_host = \"http://127.0.0.1:9\"\nrate = 1/h\n";

/// Milliseconds until it has ended well.
fn time_of(command: &mut Command) -> f64 {
    let begin = Instant::now();
    let status = command.stdin(Stdio::null()).status().expect("a program");
    let time = begin.elapsed().as_secs_f64() * 1000.0;
    assert!(status.success(), "{command:?}");
    time
}

fn main() -> ExitCode {
    let base = std::env::var_os("BENCH_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let turns = std::env::var("BENCH_TURNS").ok();
    let turns = turns.and_then(|text| text.parse().ok()).unwrap_or(300);
    let root = tempfile::tempdir_in(base).expect("a directory on the disk");
    let conf = root.path().join("srv/etc/asterisk");
    std::fs::create_dir_all(&conf).expect("a directory");
    std::fs::write(conf.join("websms.conf"), CONF).expect("a configuration");
    let ready = root.path().join("ready");
    let word = UnixDatagram::bind(&ready).expect("a socket");
    let mut daemon = Command::new(BINARY)
        .args(["websms", "serve", "--agi", "127.0.0.1:0", "--root"])
        .arg(root.path())
        .env("NOTIFY_SOCKET", &ready)
        .stderr(Stdio::null())
        .spawn()
        .expect("the daemon");
    word.recv(&mut [0; 64]).expect("its word");
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let mut command = Command::new(BINARY);
        command.arg0("websms").arg("--root").arg(root.path());
        command.args(["+46701234567", "101", &format!("Your code is {turn}")]);
        ours.push(time_of(&mut command));
        floor.push(time_of(&mut Command::new("/bin/true")));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    for (name, times) in [("websms", &ours), ("/bin/true", &floor)] {
        println!(
            "{name}: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
            percentile(times, 50.0),
            percentile(times, 90.0),
            percentile(times, 99.0)
        );
    }
    let mut report = Report::new("websms_command");
    report.note("peer", "/bin/true".into());
    report.bar("websms_command", "ms", &ours, Some(&floor), 3.0);
    report.finish()
}
