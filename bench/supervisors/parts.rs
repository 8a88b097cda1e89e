//! The single measurements: each starts one supervisor, does one thing to it, and notes how long that took.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::run;
use super::samples::{FINISHED, SERVICES, Samples};
use super::subject::{Habit, Subject};
use super::world::{Run, World, now, signal_pid};

/// A service that has been up for so long is steady.
const STEADY: Duration = Duration::from_millis(1200);
const BACKLOG: usize = 10_000;

fn millis(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// A supervisor with all its services up.
pub fn started(
    world: &World,
    subject: Subject,
    count: usize,
    habit: Habit,
    user: Option<u32>,
) -> (Run, Vec<super::world::Word>) {
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
pub fn start_and_stop(world: &World, samples: &mut Samples, subject: Subject) {
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
pub fn stop_slow(world: &World, samples: &mut Samples, subject: Subject) {
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
pub fn first_start(world: &World, samples: &mut Samples) {
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
pub fn restart(world: &World, samples: &mut Samples, subject: Subject, again: bool) {
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
pub fn finish(
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
pub fn escape(world: &World, samples: &mut Samples, subject: Subject, user: Option<u32>) {
    let row = match user {
        None => "escaped children after 3 restarts",
        Some(_) => "escaped children after 3 restarts, no privilege",
    };
    let command = subject.prepare(world, 1, Habit::Escape, user);
    let run = world.launch(&command, user);
    let (mut killed, mut born) = (0, 0);
    while born < 4 {
        let Some(word) = world.hear(super::world::PATIENCE_MS) else {
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
pub enum Load {
    One,
    Backlog,
    /// The control socket is asked at the same time, so the drain itself does not count.
    BacklogAndQuestions,
}

/// A backlog of zombies, or one orphan.
pub fn orphans(world: &World, samples: &mut Samples, subject: Subject, load: Load) {
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
pub fn crash_loop(world: &World, samples: &mut Samples, seconds: usize) {
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
