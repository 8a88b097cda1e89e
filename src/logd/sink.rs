//! The container's output behind its queue: takes what fits, never waits for a reader.
//!
//! An output whose reader is gone for good loses its lines, counted; the ring and the file still get them.
//! Invariant: every line is written, or counted as lost.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::fold::Said;
use super::queue::Queue;
use crate::sys::output::{LARGEST_WRITE, SharedOutput, Written};

/// The bytes that may wait for a reader.
pub const BOUND: usize = 1 << 20;

/// How much is written in one turn, so that a fast reader does not keep us from our own readers.
const WRITES_PER_TURN: usize = 64;

/// How long an output that failed (a full disk) is left alone.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    Open,
    RestsUntil(Instant),
    Gone,
}

/// The output and what waits for it.
#[derive(Debug)]
pub struct Sink {
    pub queue: Queue,
    output: SharedOutput,
    state: State,
    scratch: Vec<u8>,
}

impl Sink {
    pub fn new(output: SharedOutput) -> Sink {
        Sink {
            queue: Queue::new(BOUND),
            output,
            state: State::Open,
            scratch: Vec::with_capacity(LARGEST_WRITE),
        }
    }

    /// Takes the line of `said`; `tell` makes the line that tells of lost ones.
    pub fn push(&mut self, said: &Said, line: String, tell: impl FnOnce(u64) -> Vec<u8>) {
        if matches!(self.state, State::Gone) {
            self.queue.lose(said.source, said.weight);
        } else {
            self.queue
                .push(said.source, said.weight, line.into_bytes(), tell);
        }
    }

    /// Writes what fits now, and tells of losses when there is room again.
    pub fn drain(&mut self, tell: impl Fn(usize, u64) -> Vec<u8>) {
        if let State::RestsUntil(until) = self.state
            && Instant::now() >= until
        {
            self.state = State::Open;
        }
        if !matches!(self.state, State::Open) {
            return;
        }
        self.queue.settle(&tell);
        for _ in 0..WRITES_PER_TURN {
            if self.queue.is_empty() {
                return;
            }
            self.scratch.clear();
            self.queue.front(LARGEST_WRITE, &mut self.scratch);
            match self.output.write(&self.scratch) {
                Written::Some(count) => {
                    self.queue.advance(count);
                    self.queue.settle(&tell);
                }
                Written::Full => return,
                Written::Gone => {
                    self.state = State::Gone;
                    self.queue.lose_all();
                    return;
                }
                Written::Failed(_) => {
                    self.state = State::RestsUntil(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    /// The descriptor, while something waits for it to take more.
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        let waits = matches!(self.state, State::Open) && !self.queue.is_empty();
        waits.then(|| self.output.descriptor())
    }

    /// How long it still rests.
    pub fn rest(&self) -> Option<Duration> {
        match self.state {
            State::RestsUntil(until) => Some(until.saturating_duration_since(Instant::now())),
            State::Open | State::Gone => None,
        }
    }
}
