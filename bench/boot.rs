//! From container start to READY: our PID 1 with Asterisk beneath it, beside the same image in which
//! Asterisk runs bare as PID 1, in turns. Zero is the engine's `StartedAt`; the end is the `READY=1`
//! that reaches a notify socket of the host, which both get mounted.
//!
//! BENCH_IMAGE (switchhook:mini), BENCH_RUNS (15).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use report::{Report, median};

fn docker(arguments: &[&str]) -> String {
    let out = Command::new("docker")
        .args(arguments)
        .output()
        .expect("docker cannot be run");
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    assert!(
        out.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

/// Removes what the measurement made, however it ends.
struct Cleanup {
    container: String,
    volume: String,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        for arguments in [
            ["rm", "-f", &self.container],
            ["volume", "rm", &self.volume],
        ] {
            let _ = Command::new("docker").args(arguments).output();
        }
    }
}

/// Who is PID 1.
#[derive(Clone, Copy, PartialEq)]
enum Subject {
    Ours,
    Bare,
}

/// One start; milliseconds from `StartedAt` to READY.
fn start(
    subject: Subject,
    image: &str,
    names: &Cleanup,
    directory: &Path,
    socket: &UnixDatagram,
) -> f64 {
    let mount = format!("{}:/notify", directory.display());
    let volume = format!("{}:/srv", names.volume);
    let mut arguments = vec![
        "create",
        "--name",
        &names.container,
        "--network",
        "none",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "-e",
        "NOTIFY_SOCKET=/notify/socket",
        "-v",
        &mount,
        "-v",
        &volume,
    ];
    match subject {
        Subject::Ours => arguments.extend(["--tmpfs", "/run", image]),
        // What PID 1 would have made for it: its run directory. Its log has no reader.
        Subject::Bare => arguments.extend([
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/run/asterisk:uid=5060,gid=5060,mode=750",
            "--user",
            "5060:5060",
            "--entrypoint",
            "/usr/sbin/asterisk",
            image,
            "-f",
        ]),
    }
    docker(&arguments);
    docker(&["start", &names.container]);
    let mut buffer = [0u8; 256];
    let ready = loop {
        let length = socket.recv(&mut buffer).expect("it never became ready");
        if buffer[..length].starts_with(b"READY=1") {
            break SystemTime::now();
        }
    };
    let started = docker(&[
        "inspect",
        "--format",
        "{{.State.StartedAt}}",
        &names.container,
    ]);
    let started = Command::new("date")
        .args(["-d", &started, "+%s%N"])
        .output()
        .expect("date");
    let started: u64 = String::from_utf8_lossy(&started.stdout)
        .trim()
        .parse()
        .expect("a time");
    let ready = ready
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970");
    docker(&["kill", &names.container]);
    docker(&["rm", "-f", &names.container]);
    (ready.saturating_sub(Duration::from_nanos(started))).as_secs_f64() * 1000.0
}

fn main() -> std::process::ExitCode {
    let image = std::env::var("BENCH_IMAGE").unwrap_or("switchhook:mini".to_owned());
    let runs: usize = std::env::var("BENCH_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    let socket = UnixDatagram::bind(&path).expect("a notify socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a timeout");
    for (path, mode) in [(directory.path(), "755"), (path.as_path(), "666")] {
        Command::new("chmod")
            .arg(mode)
            .arg(path)
            .status()
            .expect("chmod");
    }
    let id = std::process::id();
    let names = Cleanup {
        container: format!("bench-boot-{id}"),
        volume: format!("bench-boot-{id}"),
    };
    let once = |subject| start(subject, &image, &names, directory.path(), &socket);

    // The first start seeds the volume; a new volume for each.
    let mut first = Vec::new();
    for _ in 0..runs.min(5) {
        let _ = Command::new("docker")
            .args(["volume", "rm", &names.volume])
            .output();
        first.push(once(Subject::Ours));
    }
    // In turns, so that a change of the machine's mood meets both.
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    once(Subject::Bare);
    for _ in 0..runs {
        ours.push(once(Subject::Ours));
        bare.push(once(Subject::Bare));
    }
    let differences: Vec<f64> = ours.iter().zip(&bare).map(|(a, b)| a - b).collect();
    println!(
        "image {image}, {runs} pairs; ratio of medians {:.3}",
        median(&ours) / median(&bare)
    );
    let mut report = Report::new("boot");
    report.bar("boot-ready", "ms", &ours, Some(&bare), 1000.0);
    report.bar("boot-own-part", "ms", &differences, None, 50.0);
    report.bar("boot-first-start", "ms", &first, Some(&bare), 1000.0);
    report.finish()
}
