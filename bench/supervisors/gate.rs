//! Noise: the scheduling class of everything here, and the gate that waits for a quiet moment.

use std::time::Duration;

use super::world::now;

/// A sleep may be late by so much on either core for the moment to count as quiet.
const WORST_NS: i64 = 1_500_000;
const SLEEPS: usize = 150;
const MOST_TRIES: usize = 20;

/// Makes this process and what it starts SCHED_FIFO; whether it was permitted.
pub fn realtime() -> bool {
    let priority = libc::sched_param { sched_priority: 20 };
    // SAFETY: sched_setscheduler(2) reads the structure.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) == 0 }
}

/// Waits for a quiet moment; false when there was none.
pub fn quiet() -> bool {
    (0..MOST_TRIES).any(|_| worst() < WORST_NS)
}

/// The latest of many short sleeps on each core, in nanoseconds.
fn worst() -> i64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let measure = |core: usize| {
        // SAFETY: a set of one core of this machine, for this thread alone.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
        let sleep = Duration::from_micros(300);
        let late = (0..SLEEPS).map(|_| {
            let before = now();
            std::thread::sleep(sleep);
            now() - before - 300_000
        });
        late.max().unwrap_or(0)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || measure(core)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(i64::MAX))
            .max()
            .unwrap_or(0)
    })
}
