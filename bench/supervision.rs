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
//! finish escape orphans crash), SWITCHHOOK_INIT (PID 1: build/switchhook-init, else build/switchhook, else
//! target/release/switchhook).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs and waits between them"
)]

mod report;
mod supervisors {
    pub mod gate;
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

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use report::{Report, median, percentile};
use supervisors::subject::{ALL, Habit, SUPERVISORS, Subject};
use supervisors::world::{Run, World, now, signal_pid};
use supervisors::{gate, run};

const SERVICES: usize = 5;
/// A service that has been up for so long is steady.
const STEADY: Duration = Duration::from_millis(1200);
const BACKLOG: usize = 10_000;
const FINISHED: &str = "stop: services of 5 that finished, one slow";
const NOBODY: u32 = 65_534;

fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

fn millis(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The samples of each row and subject, and the moments that were not quiet.
#[derive(Default)]
struct Samples {
    rows: BTreeMap<(&'static str, Subject), Vec<f64>>,
    noisy: usize,
}

impl Samples {
    fn add(&mut self, row: &'static str, subject: Subject, value: f64) {
        self.rows.entry((row, subject)).or_default().push(value);
    }

    fn of(&self, row: &'static str, subject: Subject) -> &[f64] {
        self.rows.get(&(row, subject)).map_or(&[], Vec::as_slice)
    }

    /// The best median of the peers that supervise, and let the services finish where that is the question.
    fn best_peer(&self, row: &'static str) -> Option<f64> {
        let finishes = |subject| {
            let finished = self.of(FINISHED, subject);
            !row.starts_with("stop: order") || finished.iter().all(|n| *n >= SERVICES as f64)
        };
        let is_peer = |s: &&Subject| s.is_peer() && finishes(**s) && !self.of(row, **s).is_empty();
        let peers = SUPERVISORS.iter().filter(is_peer);
        let medians = peers.map(|subject| median(self.of(row, *subject)));
        medians.min_by(f64::total_cmp)
    }

    fn gate(&mut self) {
        self.noisy += usize::from(!gate::quiet());
    }

    fn print(&self) {
        let mut last = "";
        for ((row, subject), samples) in &self.rows {
            if last != *row {
                println!(
                    "\n{row:44} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
                    "n", "p10", "median", "p90", "p99", "max"
                );
                last = row;
            }
            let at = |p: f64| format!("{:9.2}", percentile(samples, p));
            let n = samples.len();
            println!(
                "  {:42} {n:7} {} {} {} {} {}",
                subject.name(),
                at(10.0),
                at(50.0),
                at(90.0),
                at(99.0),
                at(100.0)
            );
        }
        println!();
    }
}

/// A supervisor with all its services up.
fn started(
    world: &World,
    subject: Subject,
    count: usize,
    habit: Habit,
    user: Option<u32>,
) -> (Run, Vec<supervisors::world::Word>) {
    let command = subject.prepare(world, count, habit, user);
    let run = world.launch(&command, user);
    let Some(words) = world.hear_all('S', count) else {
        panic!(
            "{}: the services did not start ({command:?})",
            subject.name()
        );
    };
    (run, words)
}

/// Execution to the last service's main(), and SIGTERM to the end.
fn start_and_stop(world: &World, samples: &mut Samples, subject: Subject) {
    samples.gate();
    let (run, words) = started(world, subject, SERVICES, Habit::Plain, None);
    let first = words.iter().map(|word| word.at).min().unwrap_or(0);
    samples.add(
        "start: exec to the first service, ms",
        subject,
        millis(first - run.began()),
    );
    let last = words.iter().map(|word| word.at).max().unwrap_or(0);
    samples.add(
        "start: exec to 5 services, ms",
        subject,
        millis(last - run.began()),
    );
    std::thread::sleep(Duration::from_millis(150));
    let asked = now();
    run.signal(subject.stop_signal());
    match run.end(world) {
        Some((at, _, _)) => samples.add("stop: order to end, ms", subject, millis(at - asked)),
        None => samples.add("stop: order to end, ms", subject, f64::INFINITY),
    }
}

/// What the stop costs beyond a service that needs 500 ms.
fn stop_slow(world: &World, samples: &mut Samples, subject: Subject) {
    samples.gate();
    let (run, _) = started(world, subject, SERVICES, Habit::Slow, None);
    std::thread::sleep(Duration::from_millis(150));
    let asked = now();
    run.signal(subject.stop_signal());
    let Some((at, _, words)) = run.end(world) else {
        return;
    };
    let finished = words.iter().filter(|word| word.kind == 'E').count();
    samples.add(FINISHED, subject, finished as f64);
    if finished == SERVICES {
        samples.add(
            "stop: beyond a service of 500 ms, ms",
            subject,
            millis(at - asked) - 500.0,
        );
    }
}

/// The first start of ours, which seeds the volume and makes a certificate.
fn first_start(world: &World, samples: &mut Samples) {
    samples.gate();
    let root = Subject::Ours.root(world);
    for below in ["srv", "run", "etc"] {
        let _ = std::fs::remove_dir_all(root.join(below));
    }
    let (run, words) = started(world, Subject::Ours, SERVICES, Habit::Plain, None);
    let last = words.iter().map(|word| word.at).max().unwrap_or(0);
    samples.add(
        "start: first, with seeding, ms",
        Subject::Ours,
        millis(last - run.began()),
    );
    run.signal(libc::SIGTERM);
    run.end(world);
}

/// SIGKILL to the replacement's main(), each service once after a steady time; memory before that.
fn restart(world: &World, samples: &mut Samples, subject: Subject, again: bool) {
    let (run, mut words) = started(world, subject, SERVICES, Habit::Plain, None);
    std::thread::sleep(STEADY);
    let rows = [
        "memory: RSS, KiB",
        "memory: PSS, KiB",
        "memory: private, KiB",
        "memory: processes",
    ];
    for (row, value) in rows.into_iter().zip(run.memory()) {
        samples.add(row, subject, value);
    }
    samples.gate();
    let mut kill = |samples: &mut Samples, row, index: usize| {
        let killed = now();
        signal_pid(words[index].pid, libc::SIGKILL);
        let replacement = world.hear_all('S', 1).and_then(|mut new| new.pop());
        let Some(word) = replacement else {
            samples.add(row, subject, f64::INFINITY);
            return;
        };
        samples.add(row, subject, millis(word.at - killed));
        words[index] = word;
        std::thread::sleep(Duration::from_millis(20));
    };
    for index in 0..SERVICES {
        kill(samples, "restart: kill -9 of a steady service, ms", index);
    }
    if again {
        std::thread::sleep(STEADY);
        kill(samples, "restart: the same one again after 1.2 s, ms", 0);
    }
    run.signal(subject.stop_signal());
    run.end(world);
}

/// How many of the services end their work when the stop comes right after the start.
fn finish(
    world: &World,
    samples: &mut Samples,
    subject: Subject,
    count: usize,
    habit: Habit,
    row: &'static str,
) {
    let (run, _) = started(world, subject, count, habit, None);
    run.signal(subject.stop_signal());
    let words = run.end(world).map_or(Vec::new(), |(_, _, words)| words);
    let finished = words.iter().filter(|word| word.kind == 'E').count();
    samples.add(row, subject, (count - finished) as f64);
}

/// Children that left group, session and parent, after their service was killed three times.
fn escape(world: &World, samples: &mut Samples, subject: Subject, user: Option<u32>) {
    let row = match user {
        None => "escaped children after 3 restarts",
        Some(_) => "escaped children after 3 restarts, no privilege",
    };
    let command = subject.prepare(world, 1, Habit::Escape, user);
    let run = world.launch(&command, user);
    let (mut killed, mut born) = (0, 0);
    while born < 4 {
        let Some(word) = world.hear(supervisors::world::PATIENCE_MS) else {
            println!("{row}: {} did not start its service", subject.name());
            return;
        };
        match word.kind {
            'X' => born += 1,
            'S' => continue,
            _ => {}
        }
        if killed < 3 {
            killed += 1;
            // Its parent is the service, whose number the processes tell.
            let service = run
                .processes()
                .into_iter()
                .find(|(_, name)| name == "service");
            let root = PathBuf::from(format!("/proc/{}/root", run.pid));
            if let Some((pid, _)) = service {
                outer_pid(&root, pid)
                    .into_iter()
                    .for_each(|pid| signal_pid(pid, libc::SIGKILL));
            }
        }
    }
    let left = run
        .processes()
        .iter()
        .filter(|(_, name)| name == "escaped")
        .count();
    samples.add(row, subject, left as f64);
}

/// This machine's number of a process of the namespace whose root this is.
fn outer_pid(root: &Path, inner: i32) -> Option<i32> {
    let space = std::fs::read_link(root.join(format!("proc/{inner}/ns/pid"))).ok()?;
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.into_iter().find(|pid| {
        let is_there = std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|s| s == space);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let number = line.and_then(|line| line.split_whitespace().last()?.parse::<i32>().ok());
        is_there && number == Some(inner)
    })
}

/// Asks our control socket until told to stop: when each question began and ended.
fn ask_meanwhile(socket: &Path, stop: &AtomicBool) -> Vec<(i64, i64)> {
    let mut stream = UnixStream::connect(socket).expect("our control socket");
    let mut answers = BufReader::new(stream.try_clone().expect("a descriptor"));
    let (mut times, mut line) = (Vec::new(), String::new());
    while !stop.load(Ordering::Relaxed) {
        let began = now();
        stream
            .write_all(b"{\"command\":\"status\"}\n")
            .expect("a question");
        line.clear();
        answers.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("{\"result\":\"status\""), "{line}");
        times.push((began, now()));
        std::thread::sleep(Duration::from_micros(200));
    }
    times
}

#[derive(Clone, Copy, PartialEq)]
enum Load {
    One,
    Backlog,
    /// The control socket is asked at the same time, so the drain itself does not count.
    BacklogAndQuestions,
}

/// A backlog of zombies, or one orphan.
fn orphans(world: &World, samples: &mut Samples, subject: Subject, load: Load) {
    let (run_, _) = started(world, subject, SERVICES, Habit::Plain, None);
    std::thread::sleep(Duration::from_millis(100));
    let program = world.work.path().join("orphans");
    let orphans = |arguments: &[&str]| -> (i64, i64) {
        let text = run(Command::new(&program)
            .arg(run_.pid.to_string())
            .args(arguments));
        let (begin, end) = text.split_once(' ').expect("two numbers");
        (
            begin.parse().expect("a number"),
            end.parse().expect("a number"),
        )
    };
    samples.gate();
    if load == Load::One {
        for _ in 0..3 {
            let (begin, end) = orphans(&["1"]);
            samples.add(
                "orphans: one, end to reaped, ms",
                subject,
                millis(end - begin),
            );
        }
        return;
    }
    let count = BACKLOG.to_string();
    let stop = AtomicBool::new(false);
    let ((begin, end), answers) = std::thread::scope(|scope| {
        let asking = (load == Load::BacklogAndQuestions).then(|| {
            let socket = subject.root(world).join("run/switchhook/control.sock");
            let stop = &stop;
            scope.spawn(move || ask_meanwhile(&socket, stop))
        });
        let times = orphans(&[&count, "hold"]);
        stop.store(true, Ordering::Relaxed);
        (
            times,
            asking.map_or(Vec::new(), |thread| thread.join().unwrap_or_default()),
        )
    });
    if load == Load::Backlog {
        samples.add(
            "orphans: backlog of 10,000, us each",
            subject,
            (end - begin) as f64 / 1e3 / BACKLOG as f64,
        );
    }
    for (asked, answered) in answers {
        if (begin..=end).contains(&asked) {
            samples.add(
                "orphans: control socket meanwhile, ms",
                subject,
                millis(answered - asked),
            );
        } else if answered < begin && answered - asked < 1_000_000_000 {
            samples.add(
                "control socket while they are born, ms",
                subject,
                millis(answered - asked),
            );
        }
    }
}

/// Starts again in the first minute of a service that ends at once, all at the same time.
fn crash_loop(world: &World, samples: &mut Samples, seconds: usize) {
    let subjects = [Subject::Ours, Subject::S6, Subject::Runit];
    let commands: Vec<_> = subjects
        .iter()
        .map(|s| s.prepare(world, 1, Habit::Fail, None))
        .collect();
    let _runs: Vec<Run> = commands
        .iter()
        .map(|command| world.launch(command, None))
        .collect();
    let until = now() + i64::try_from(seconds).unwrap_or(60) * 1_000_000_000;
    let mut starts: BTreeMap<String, f64> = BTreeMap::new();
    while now() < until {
        if let Some(word) = world.hear(200) {
            *starts.entry(word.name).or_default() += 1.0;
        }
    }
    for subject in subjects {
        let started = starts.get(&subject.service(0)).copied().unwrap_or(0.0);
        samples.add(
            "crash loop: restarts in the first minute",
            subject,
            started - 1.0,
        );
    }
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
    let realtime = gate::realtime();
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
    report.finish()
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
