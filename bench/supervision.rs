//! Our supervisor beside its peers and a floor, in turns: start, restart, stop, escaped children, orphans, memory.
//!
//! Every supervisor is PID 1 of new PID and mount namespaces with a fresh /proc, in one tree of Debian's packages
//! (`supervisors::world`). The services are one static program that stamps CLOCK_MONOTONIC and tells us
//! (bench/programs/service.c). Everything runs as SCHED_FIFO where that is permitted, and before each measured run a gate
//! waits for a quiet moment (`supervisors::gate`). The floor is the shortest C program that restarts what ends.
//!
//! Ours gets its services as unit files (`Type=exec`, `Restart=always`), no hooks, no cgroups, and a volume that an
//! earlier start has seeded; the first start is told apart.
//!
//! BENCH_RUNS (20), BENCH_STOPS (1000), BENCH_CRASH_SECONDS (60), BENCH_ONLY (words of the parts to run: start restart
//! finish escape orphans crash; results are not kept then), SWITCHHOOK_INIT (PID 1: build/switchhook-init, else
//! build/switchhook, else target/release/switchhook).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs and waits between them"
)]

mod report;
mod supervisors {
    pub mod gate;
    pub mod parts;
    pub mod samples;
    pub mod subject;
    pub mod world;

    use std::process::{Command, Stdio};

    /// The C programs of bench/programs.
    pub const PROGRAMS: [&str; 3] = ["service", "floor", "orphans"];

    /// Runs a command that must succeed; what it printed.
    pub fn run(command: &mut Command) -> String {
        let out = command.stderr(Stdio::inherit()).output();
        let out = out.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(out.status.success(), "{command:?} failed");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }
}

use std::path::{Path, PathBuf};

use report::{Report, percentile};
use supervisors::parts::{
    Load, crash_loop, escape, finish, first_start, orphans, restart, start_and_stop, started,
    stop_slow,
};
use supervisors::samples::{SERVICES, Samples};
use supervisors::subject::{ALL, Habit, SUPERVISORS, Subject};
use supervisors::world::World;

const NOBODY: u32 = 65_534;

fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// Puts our binaries where the namespaces see them; their paths and sizes.
fn bring_ours(world: &World) -> Vec<String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let first = |names: &[&str]| {
        let paths = names.iter().map(|name| home.join(name));
        paths.into_iter().find(|path| path.exists())
    };
    let given = std::env::var_os("SWITCHHOOK_INIT").map(PathBuf::from);
    let is_thin = |path: &Path| path.to_string_lossy().ends_with("-init");
    let thin =
        given.or_else(|| first(&["build/switchhook-init", "target/release/switchhook-init"]));
    // The commands and the services of our own come from the same build.
    let beside = thin.as_ref().map(|path| path.with_file_name("switchhook"));
    let whole = beside.filter(|path| path.exists());
    let whole = whole.or_else(|| first(&["build/switchhook", "target/release/switchhook"]));
    let whole = whole.expect("there is no release binary: docker/binary makes it");
    let mut shown = Vec::new();
    let mut bring = |path: &Path, name: &str| {
        let size = std::fs::copy(path, world.work.path().join(name)).expect("a copy");
        shown.push(format!("{} ({} KiB)", path.display(), size / 1024));
    };
    bring(&whole, "switchhook");
    match thin {
        Some(path) if is_thin(&path) => bring(&path, "switchhook-init"),
        Some(path) => bring(&path, "switchhook"),
        None => {}
    }
    shown
}

fn main() -> std::process::ExitCode {
    let runs = number("BENCH_RUNS", 20);
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split_whitespace().any(|word| word == part);
    let world = World::new();
    let ours = bring_ours(&world);
    let realtime = supervisors::gate::realtime();
    let mut report = Report::new("supervision");
    println!("ours: {}", ours.join(", "));
    let versions: Vec<_> = world
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    println!(
        "peers (Debian {}): {}",
        supervisors::world::SUITE,
        versions.join(", ")
    );
    println!(
        "dinit: no package of it in Debian's bookworm, trixie, forky or sid, so it is not measured here"
    );
    let class = if realtime {
        "SCHED_FIFO 20"
    } else {
        "normal (SCHED_FIFO is not permitted)"
    };
    println!("scheduling: {class}; {runs} runs");
    report.note("ours", ours.into());
    report.note("peers", serde_json::json!(world.versions));
    report.note("dinit", "no package in Debian".into());
    report.note("scheduling", class.into());

    let mut samples = Samples::default();
    // Once unmeasured: caches are warm then and our volume is seeded.
    for subject in ALL {
        let (run, _) = started(&world, subject, SERVICES, Habit::Plain, None);
        run.signal(subject.stop_signal());
        run.end(&world);
    }
    if wanted("start") {
        for _ in 0..runs {
            ALL.into_iter()
                .for_each(|subject| start_and_stop(&world, &mut samples, subject));
        }
        for _ in 0..runs.div_ceil(4) {
            ALL.into_iter()
                .for_each(|subject| stop_slow(&world, &mut samples, subject));
        }
        (0..runs.div_ceil(4)).for_each(|_| first_start(&world, &mut samples));
    }
    if wanted("restart") {
        for turn in 0..runs {
            SUPERVISORS
                .into_iter()
                .for_each(|subject| restart(&world, &mut samples, subject, turn < 3));
        }
    }
    if wanted("finish") {
        let row = "stop: services of 5 that did not finish";
        for turn in 0..number("BENCH_STOPS", 1000) {
            finish(
                &world,
                &mut samples,
                Subject::Ours,
                SERVICES,
                Habit::Plain,
                row,
            );
            if turn % 20 == 0 {
                ALL.into_iter()
                    .filter(|subject| *subject != Subject::Ours)
                    .for_each(|subject| {
                        finish(&world, &mut samples, subject, SERVICES, Habit::Plain, row)
                    });
            }
        }
        let row = "stop: services of 20 that did not finish, one slow";
        (0..runs).for_each(|_| finish(&world, &mut samples, Subject::Ours, 20, Habit::Slow, row));
    }
    if wanted("escape") {
        for user in [None, Some(NOBODY)] {
            for subject in SUPERVISORS {
                escape(&world, &mut samples, subject, user);
            }
        }
        // Our roots belong to somebody else now.
        let _ = std::fs::remove_dir_all(Subject::Ours.root(&world));
        let _ = std::fs::remove_dir_all(Subject::OursLogd.root(&world));
        first_start(&world, &mut Samples::default());
    }
    if wanted("orphans") {
        for _ in 0..runs.div_ceil(4) {
            ALL.into_iter()
                .filter(|subject| *subject != Subject::OursLogd)
                .for_each(|subject| orphans(&world, &mut samples, subject, Load::Backlog));
            orphans(
                &world,
                &mut samples,
                Subject::Ours,
                Load::BacklogAndQuestions,
            );
        }
        for turn in 0..runs.div_ceil(4) {
            ALL.into_iter()
                // It looks every five seconds: once is enough.
                .filter(|subject| *subject != Subject::Runit || turn == 0)
                .for_each(|subject| orphans(&world, &mut samples, subject, Load::One));
        }
    }
    if wanted("crash") {
        crash_loop(&world, &mut samples, number("BENCH_CRASH_SECONDS", 60));
    }
    samples.print();
    if samples.noisy > 0 {
        println!("{} runs were made without a quiet moment", samples.noisy);
    }
    report.note("noisy_runs", samples.noisy.into());
    judge(&samples, &mut report);
    if only.is_empty() {
        report.finish()
    } else {
        report.verdict()
    }
}

/// The bars of the issue.
fn judge(samples: &Samples, report: &mut Report) {
    let (middle, tail, most) = (50.0, 99.0, 100.0);
    let bars = [
        (
            "start-five",
            "ms",
            "start: exec to 5 services, ms",
            Subject::Ours,
            middle,
            4.0,
        ),
        (
            "start-five-logd",
            "ms",
            "start: exec to 5 services, ms",
            Subject::OursLogd,
            middle,
            4.0,
        ),
        (
            "restart-steady",
            "ms",
            "restart: kill -9 of a steady service, ms",
            Subject::Ours,
            middle,
            0.9,
        ),
        (
            "restart-steady-p99",
            "ms",
            "restart: kill -9 of a steady service, ms",
            Subject::Ours,
            tail,
            3.0,
        ),
        (
            "stop-overhead",
            "ms",
            "stop: order to end, ms",
            Subject::Ours,
            middle,
            1.3,
        ),
        (
            "stop-overhead-slow",
            "ms",
            "stop: beyond a service of 500 ms, ms",
            Subject::Ours,
            middle,
            1.3,
        ),
        (
            "stop-unfinished",
            "",
            "stop: services of 5 that did not finish",
            Subject::Ours,
            most,
            0.0,
        ),
        (
            "stop-unfinished-20",
            "",
            "stop: services of 20 that did not finish, one slow",
            Subject::Ours,
            most,
            0.0,
        ),
        (
            "escaped-left",
            "",
            "escaped children after 3 restarts",
            Subject::Ours,
            most,
            1.0,
        ),
        (
            "escaped-left-unprivileged",
            "",
            "escaped children after 3 restarts, no privilege",
            Subject::Ours,
            most,
            1.0,
        ),
        (
            "orphan-backlog",
            "us",
            "orphans: backlog of 10,000, us each",
            Subject::Ours,
            middle,
            6.0,
        ),
        (
            "orphan-one",
            "ms",
            "orphans: one, end to reaped, ms",
            Subject::Ours,
            middle,
            1.0,
        ),
        (
            "orphan-control",
            "ms",
            "orphans: control socket meanwhile, ms",
            Subject::Ours,
            most,
            5.0,
        ),
        (
            "pid1-rss",
            "KiB",
            "memory: RSS, KiB",
            Subject::Ours,
            middle,
            2048.0,
        ),
        // The hour itself is a test of the pure machine (src/init/service/tests.rs).
        (
            "crash-first-minute",
            "",
            "crash loop: restarts in the first minute",
            Subject::Ours,
            middle,
            40.0,
        ),
    ];
    for (name, unit, row, subject, point, goal) in bars {
        let ours = samples.of(row, subject);
        if !ours.is_empty() {
            report.bar_at(name, unit, (ours, point), samples.best_peer(row), goal);
        }
    }
    for ((row, subject), values) in &samples.rows {
        let points = [10.0, 50.0, 90.0, 99.0, 100.0].map(|p| percentile(values, p));
        report.row(row, subject.name(), values.len(), points);
    }
}
