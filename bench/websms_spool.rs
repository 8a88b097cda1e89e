//! Acknowledged messages a second of WebSMS's spool, with 64 callers and a disk that is really synchronised, beside the floor:
//! a thread that appends the same bytes to a file and calls fdatasync(2) once for all who wait. Both in turns.
//!
//! BENCH_DIR (the target directory): a place on the disk. BENCH_SECONDS (2): of each turn. BENCH_TURNS (5).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use report::{Report, percentile};
use switchhook::sys::clock;
use switchhook::websms::spool::{Direction, Limits, New, Spool};
use tokio::sync::oneshot;

const CALLERS: usize = 64;
const BODY: &str = "Your code is 123456. It is valid for ten minutes. Do not share it with anybody, not even with us: we never ask.";

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

/// A field of /proc/self/status, in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

/// What one turn of one of them came to.
struct Turn {
    /// Acknowledged a second.
    rate: f64,
    /// Milliseconds of each call.
    calls: Vec<f64>,
}

/// 64 callers, each of whom waits for its answer before it asks again.
fn turn<F>(length: Duration, call: impl Fn(u64) -> F + 'static) -> Turn
where
    F: Future<Output = ()> + 'static,
{
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.build().expect("a runtime");
    let calls = Rc::new(RefCell::new(Vec::with_capacity(1 << 17)));
    let next = Rc::new(Cell::new(0));
    let call = Rc::new(call);
    let begin = Instant::now();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (calls, next, call) = (Rc::clone(&calls), Rc::clone(&next), Rc::clone(&call));
                tokio::task::spawn_local(async move {
                    while begin.elapsed() < length {
                        next.set(next.get() + 1);
                        let start = Instant::now();
                        call(next.get()).await;
                        calls
                            .borrow_mut()
                            .push(start.elapsed().as_secs_f64() as f32);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("a caller ends");
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let calls = calls.take();
    Turn {
        rate: calls.len() as f64 / seconds,
        calls: calls.iter().map(|call| f64::from(*call) * 1000.0).collect(),
    }
}

fn message(turn: u64, number: u64) -> New {
    New {
        direction: Direction::In,
        interface: "carrier".to_owned(),
        provider_id: Some(format!("SM{turn:08x}{number:024x}")),
        key: None,
        from: format!("+4670{:07}", number % 1000),
        to: "+46707654321".to_owned(),
        body: BODY.to_owned(),
        media: vec![],
        received: clock::unix_millis(),
        part: None,
    }
}

/// The floor's thread: appends what waits, synchronises once, answers all.
fn appender(path: &Path) -> SyncSender<(New, oneshot::Sender<()>)> {
    let (sender, queue) = sync_channel::<(New, oneshot::Sender<()>)>(4096);
    let mut file = File::create(path).expect("a file");
    std::thread::spawn(move || {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Ok(first) = queue.recv() {
            for (new, answer) in std::iter::once(first).chain(queue.try_iter().take(511)) {
                let id = new.provider_id.unwrap_or_default();
                writeln!(
                    bytes,
                    "{id} {} {} {} {}",
                    new.from, new.to, new.received, new.body
                )
                .expect("bytes");
                waiting.push(answer);
            }
            file.write_all(&bytes).expect("the disk takes it");
            file.sync_data().expect("the disk keeps it");
            bytes.clear();
            for answer in waiting.drain(..) {
                answer.send(()).expect("a caller waits");
            }
        }
    });
    sender
}

fn main() -> ExitCode {
    let base = std::env::var_os("BENCH_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    let directory = tempfile::tempdir_in(base).expect("a directory on the disk");
    let length = Duration::from_secs(number("BENCH_SECONDS", 2));
    let path = directory.path().join("spool.db");
    let limits = Limits {
        waiting: u64::MAX,
        ..Limits::default()
    };
    let tell = Box::new(|line: &str| eprintln!("{line}"));
    let (spool, handle) = Spool::open(&path, limits, tell).expect("a spool");
    let floor = appender(&directory.path().join("floor"));
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    let (mut ours_calls, mut peer_calls) = (Vec::new(), Vec::new());
    let mut resident = Vec::new();
    for round in 0..number("BENCH_TURNS", 5) {
        let spool = spool.clone();
        let turn_of_spool = turn(length, move |number| {
            let (spool, new) = (spool.clone(), message(round, number));
            async move {
                spool.store(new).await.expect("it is taken");
            }
        });
        resident.push(memory("VmRSS"));
        let floor = floor.clone();
        let turn_of_floor = turn(length, move |number| {
            let (floor, new) = (floor.clone(), message(round, number));
            async move {
                let (sender, answer) = oneshot::channel();
                floor.try_send((new, sender)).expect("there is room");
                answer.await.expect("an answer");
            }
        });
        println!(
            "acknowledged a second: ours {:.0} (p99 {:.1} ms), append and fdatasync {:.0} (p99 {:.1} ms)",
            turn_of_spool.rate,
            percentile(&turn_of_spool.calls, 99.0),
            turn_of_floor.rate,
            percentile(&turn_of_floor.calls, 99.0)
        );
        ours.push(1e6 / turn_of_spool.rate);
        peer.push(1e6 / turn_of_floor.rate);
        ours_calls.push(percentile(&turn_of_spool.calls, 99.0));
        peer_calls.push(percentile(&turn_of_floor.calls, 99.0));
    }
    handle.close();
    let mut report = Report::new("websms_spool");
    report.note("callers", CALLERS.into());
    report.note("peer", "append and one fdatasync for all who wait".into());
    report.bar("time_per_store_64_callers", "us", &ours, Some(&peer), 66.7);
    report.bar(
        "store_p99_64_callers",
        "ms",
        &ours_calls,
        Some(&peer_calls),
        20.0,
    );
    report.bar("memory_with_its_callers", "MB", &resident, None, 24.0);
    report.finish()
}
