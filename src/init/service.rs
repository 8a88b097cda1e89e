//! The life of one service as an explicit machine: `step(event, now) -> effects`.
//!
//! Pure: no clock, no process, no log. `now` and every moment are durations since PID 1 started.
//! Invariant: a process exists exactly in the states `Starting`, `Running`, `Draining`, `Stopping` and `Killed`.

use std::time::Duration;

pub use crate::units::exit::Exit;
use crate::units::exit::ExitSet;
use crate::units::spec::{CrashLoop, Readiness, Restart, ServiceSpec};

/// A point in time: the duration since PID 1 started.
pub type Moment = Duration;

/// The first pause of the back-off; the very first restart has none.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause of the back-off.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many failures in a row, none of them after a stable time, are a crash loop.
const CRASH_LOOP: u32 = 20;
/// The pause in a crash loop: the appliance stays answerable, and a mended cause is still found.
const CRASH_LOOP_PAUSE: Duration = Duration::from_secs(300);
/// After this time in service earlier failures are forgotten.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// A stop signal sent before readiness is repeated at this interval: a program may not listen yet.
const REPEAT_STOP: Duration = Duration::from_millis(500);

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing runs and nothing is pending.
    Idle,
    /// A process runs and has not said that it is ready.
    Starting { ready_by: Option<Moment> },
    /// In service.
    Running { since: Moment },
    /// Takes no new work; may finish what it has until the budget ends.
    Draining { until: Moment },
    /// SIGTERM was sent.
    Stopping {
        kill_at: Moment,
        repeat_at: Option<Moment>,
    },
    /// SIGKILL was sent.
    Killed,
    /// Waits before the next start.
    Pausing { until: Moment },
    /// Ended for good: a oneshot that is done, or a service that is not to be restarted.
    Finished { ok: bool },
}

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Start,
    /// As `Start`, but its end is then final.
    Once,
    /// Its conditions do not hold: it is done without having run.
    Skip,
    /// Stop now: SIGTERM, grace, SIGKILL.
    Stop,
    /// Take no new work, then stop; `budget` bounds the wait for the work to end.
    Drain {
        budget: Duration,
    },
    /// End at once: SIGKILL.
    Kill,
    /// Stop with the usual grace, then start.
    Restart,
    /// The program was executed.
    Executed,
    /// The child could not become the program.
    ExecFailed,
    /// `READY=1`.
    Ready,
    /// The process was reaped. `jitter` is -20..=20 percent, for the back-off.
    Exited {
        exit: Exit,
        jitter: i8,
    },
    /// `WATCHDOG=1`: it lives.
    Watchdog,
    /// `WATCHDOG_USEC`: from now on it speaks at least this often.
    WatchdogInterval(Duration),
    /// It does not live, by its own word or a probe's.
    WatchdogFailed,
    /// `EXTEND_TIMEOUT_USEC`: it needs this much longer to start or to stop.
    ExtendTimeout(Duration),
    /// The moment of `deadline()` has come.
    Deadline,
}

/// What the supervisor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Spawn,
    /// The stop signal.
    Terminate,
    /// SIGABRT: it does not answer, a core may tell why.
    Abort,
    Kill,
    Drain,
    /// The service cannot be kept up and its unit says that the container ends then.
    EndAppliance,
    Note(Note),
}

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    Started,
    Ready { after: Duration },
    Ended { exit: Exit, expected: bool },
    Restarting { pause: Duration },
    NotReadyInTime,
    DrainedOut,
    DrainBudgetSpent,
    Killing,
    WatchdogMissed,
    CrashLoop,
    GivenUp,
}

/// One service and its state.
#[derive(Debug, Clone)]
pub struct Service {
    readiness: Readiness,
    restart: Restart,
    restart_pause: Option<Duration>,
    start_timeout: Option<Duration>,
    stop_timeout: Duration,
    drains: bool,
    success: ExitSet,
    prevent_restart: ExitSet,
    force_restart: ExitSet,
    start_limit: Option<(u32, Duration)>,
    crash_loop: CrashLoop,
    watchdog: Option<Duration>,
    watchdog_due: Option<Moment>,
    starts: Vec<Moment>,
    state: State,
    wanted: bool,
    start_again: bool,
    once: bool,
    failures: u32,
    restarts: u64,
    started_at: Moment,
    in_service_since: Option<Moment>,
    last_exit: Option<Exit>,
}

impl Service {
    pub fn new(spec: &ServiceSpec) -> Service {
        Service {
            readiness: spec.readiness,
            restart: spec.restart,
            restart_pause: spec.restart_pause,
            start_timeout: spec.start_timeout,
            stop_timeout: spec.stop_timeout,
            drains: spec.drain.is_some(),
            success: spec.success_exit.clone(),
            prevent_restart: spec.prevent_restart.clone(),
            force_restart: spec.force_restart.clone(),
            start_limit: spec.start_limit_burst.zip(spec.start_limit_interval),
            crash_loop: spec.crash_loop,
            watchdog: spec.watchdog,
            watchdog_due: None,
            starts: Vec::new(),
            state: State::Idle,
            wanted: false,
            start_again: false,
            once: false,
            failures: 0,
            restarts: 0,
            started_at: Duration::ZERO,
            in_service_since: None,
            last_exit: None,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// How often it was started again after an end that nobody asked for.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    pub fn last_exit(&self) -> Option<Exit> {
        self.last_exit
    }

    /// Started by `Event::Once`: its end is final.
    pub fn is_once(&self) -> bool {
        self.once
    }

    /// The longest silence that its watchdog allows, and when that is over.
    pub fn watchdog_deadline(&self) -> Option<(Duration, Moment)> {
        let due = self
            .watchdog_due
            .filter(|_| matches!(self.state, State::Running { .. }))?;
        Some((self.watchdog?, due))
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// A process exists.
    pub fn is_alive(&self) -> bool {
        !matches!(
            self.state,
            State::Idle | State::Pausing { .. } | State::Finished { .. }
        )
    }

    /// In service, or done as it should be.
    pub fn is_up(&self) -> bool {
        matches!(
            self.state,
            State::Running { .. } | State::Finished { ok: true }
        )
    }

    /// When `Event::Deadline` is due.
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Starting { ready_by } => ready_by,
            State::Draining { until } | State::Pausing { until } => Some(until),
            State::Stopping { kill_at, repeat_at } => {
                Some(repeat_at.map_or(kill_at, |at| at.min(kill_at)))
            }
            State::Running { .. } => self.watchdog_due,
            State::Idle | State::Killed | State::Finished { .. } => None,
        }
    }

    /// Takes one event and says what to do, in order.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        match event {
            Event::Start => self.start(now),
            Event::Once => {
                let effects = self.start(now);
                self.once = true;
                effects
            }
            Event::Skip => {
                if !self.is_alive() {
                    self.wanted = true;
                    self.state = State::Finished { ok: true };
                }
                vec![]
            }
            Event::Stop => self.stop(now, false),
            Event::Restart => self.stop(now, true),
            Event::Drain { budget } => self.drain(budget, now),
            Event::Kill => self.kill(),
            Event::Executed => self.executed(now),
            Event::ExecFailed => vec![],
            Event::Ready => self.ready(now),
            Event::Exited { exit, jitter } => self.exited(exit, jitter, now),
            Event::Watchdog => self.watchdog(now),
            Event::WatchdogInterval(interval) => {
                self.watchdog = Some(interval).filter(|interval| !interval.is_zero());
                self.watchdog(now)
            }
            Event::WatchdogFailed => self.watchdog_failed(now),
            Event::ExtendTimeout(more) => self.extend(more, now),
            Event::Deadline => self.deadline_passed(now),
        }
    }

    fn start(&mut self, now: Moment) -> Vec<Effect> {
        self.wanted = true;
        self.once = false;
        match self.state {
            State::Idle | State::Finished { .. } | State::Pausing { .. } => {
                self.failures = 0;
                self.spawn(now)
            }
            State::Stopping { .. } | State::Killed | State::Draining { .. } => {
                self.start_again = true;
                vec![]
            }
            State::Starting { .. } | State::Running { .. } => vec![],
        }
    }

    fn spawn(&mut self, now: Moment) -> Vec<Effect> {
        self.started_at = now;
        self.in_service_since = None;
        self.watchdog_due = None;
        self.state = State::Starting {
            ready_by: self
                .start_timeout
                .map(|timeout| now.saturating_add(timeout)),
        };
        vec![Effect::Spawn, Effect::Note(Note::Started)]
    }

    fn stop(&mut self, now: Moment, again: bool) -> Vec<Effect> {
        self.wanted = again;
        self.start_again = again;
        match self.state {
            State::Idle | State::Pausing { .. } | State::Finished { .. } => {
                self.state = State::Idle;
                if again {
                    self.start_again = false;
                    return self.start(now);
                }
                vec![]
            }
            State::Starting { .. } => self.terminate(now, true),
            State::Running { .. } | State::Draining { .. } => self.terminate(now, false),
            State::Stopping { .. } | State::Killed => vec![],
        }
    }

    fn drain(&mut self, budget: Duration, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Running { .. } if self.drains => {
                self.wanted = false;
                self.start_again = false;
                self.state = State::Draining {
                    until: now.saturating_add(budget),
                };
                vec![Effect::Drain]
            }
            _ => self.stop(now, false),
        }
    }

    fn terminate(&mut self, now: Moment, may_not_listen_yet: bool) -> Vec<Effect> {
        self.state = State::Stopping {
            kill_at: now.saturating_add(self.stop_timeout),
            repeat_at: may_not_listen_yet.then(|| now.saturating_add(REPEAT_STOP)),
        };
        vec![Effect::Terminate]
    }

    fn kill(&mut self) -> Vec<Effect> {
        if !self.is_alive() {
            self.state = State::Idle;
            return vec![];
        }
        self.start_again = self.wanted;
        self.state = State::Killed;
        vec![Effect::Kill]
    }

    fn executed(&mut self, now: Moment) -> Vec<Effect> {
        match (self.state, self.readiness) {
            (State::Starting { .. }, Readiness::Exec) => self.in_service(now),
            _ => vec![],
        }
    }

    fn ready(&mut self, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Starting { .. } if self.readiness == Readiness::Notify => self.in_service(now),
            // It listens from now on, so the signal that it may have missed is sent again.
            State::Stopping {
                kill_at,
                repeat_at: Some(_),
            } => {
                self.state = State::Stopping {
                    kill_at,
                    repeat_at: None,
                };
                vec![Effect::Terminate]
            }
            _ => vec![],
        }
    }

    fn in_service(&mut self, now: Moment) -> Vec<Effect> {
        self.state = State::Running { since: now };
        self.in_service_since = Some(now);
        self.watchdog(now);
        vec![Effect::Note(Note::Ready {
            after: now.saturating_sub(self.started_at),
        })]
    }

    fn exited(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        let before = self.state;
        self.last_exit = Some(exit);
        let was_ordered = matches!(
            before,
            State::Draining { .. } | State::Stopping { .. } | State::Killed
        ) && !self.wanted;
        let is_success = exit.is_success() || self.success.contains(exit);
        let is_done = self.readiness == Readiness::Oneshot && is_success;
        let mut effects = vec![Effect::Note(Note::Ended {
            exit,
            expected: was_ordered || is_done || self.start_again,
        })];
        if matches!(before, State::Draining { .. }) {
            effects.push(Effect::Note(Note::DrainedOut));
        }
        if std::mem::take(&mut self.start_again) {
            effects.extend(self.spawn(now));
        } else if !self.wanted {
            self.state = State::Idle;
        } else if is_done {
            self.state = State::Finished { ok: true };
        } else if !self.restarts_after(exit) {
            self.state = State::Finished { ok: is_success };
            effects.push(Effect::Note(Note::GivenUp));
        } else if self.is_over_start_limit(now) {
            effects.extend(self.crash_loops(now));
        } else {
            let pause = self.next_pause(jitter);
            self.restarts += 1;
            effects.push(Effect::Note(Note::Restarting { pause }));
            if pause.is_zero() {
                effects.extend(self.spawn(now));
            } else {
                self.state = State::Pausing {
                    until: now.saturating_add(pause),
                };
            }
        }
        effects
    }

    fn restarts_after(&self, exit: Exit) -> bool {
        if self.once || self.prevent_restart.contains(exit) {
            return false;
        }
        if self.force_restart.contains(exit) {
            return true;
        }
        let is_success = exit.is_success() || self.success.contains(exit);
        match self.restart {
            Restart::No => false,
            Restart::Always => true,
            Restart::OnSuccess => is_success,
            Restart::OnFailure => !is_success,
            Restart::OnAbnormal | Restart::OnAbort => matches!(exit, Exit::Signal(_)),
        }
    }

    /// `StartLimitBurst=` within `StartLimitIntervalSec=`, or a crash loop by our own measure.
    fn is_over_start_limit(&mut self, now: Moment) -> bool {
        let was_stable = self
            .in_service_since
            .is_some_and(|since| now.saturating_sub(since) >= STABLE_AFTER);
        if was_stable {
            self.failures = 0;
            self.starts.clear();
        }
        self.starts.push(self.started_at);
        match self.start_limit {
            Some((burst, interval)) => {
                self.starts
                    .retain(|start| now.saturating_sub(*start) <= interval);
                u32::try_from(self.starts.len()).unwrap_or(u32::MAX) > burst
            }
            None => {
                self.starts.clear();
                self.failures >= CRASH_LOOP
            }
        }
    }

    fn crash_loops(&mut self, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.failures <= CRASH_LOOP {
            effects.push(Effect::Note(Note::CrashLoop));
        }
        self.failures = self.failures.max(CRASH_LOOP).saturating_add(1);
        self.starts.clear();
        match self.crash_loop {
            CrashLoop::Retry => {
                self.restarts += 1;
                let pause = CRASH_LOOP_PAUSE;
                effects.push(Effect::Note(Note::Restarting { pause }));
                self.state = State::Pausing {
                    until: now.saturating_add(pause),
                };
            }
            CrashLoop::Stop => {
                self.state = State::Finished { ok: false };
                effects.push(Effect::Note(Note::GivenUp));
            }
            CrashLoop::Exit => {
                self.state = State::Finished { ok: false };
                effects.extend([Effect::Note(Note::GivenUp), Effect::EndAppliance]);
            }
        }
        effects
    }

    fn watchdog(&mut self, now: Moment) -> Vec<Effect> {
        if matches!(self.state, State::Running { .. }) {
            self.watchdog_due = self.watchdog.map(|interval| now.saturating_add(interval));
        }
        vec![]
    }

    fn watchdog_failed(&mut self, now: Moment) -> Vec<Effect> {
        if !matches!(self.state, State::Running { .. }) {
            return vec![];
        }
        self.state = State::Stopping {
            kill_at: now.saturating_add(self.stop_timeout),
            repeat_at: None,
        };
        vec![Effect::Note(Note::WatchdogMissed), Effect::Abort]
    }

    fn extend(&mut self, more: Duration, now: Moment) -> Vec<Effect> {
        let later = now.saturating_add(more);
        match &mut self.state {
            State::Starting {
                ready_by: Some(at), ..
            } => *at = (*at).max(later),
            State::Stopping { kill_at, .. } => *kill_at = (*kill_at).max(later),
            _ => {}
        }
        vec![]
    }

    /// None for the first failure after a stable time, then 100 ms doubling up to 30 s.
    fn next_pause(&mut self, jitter: i8) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if let Some(fixed) = self.restart_pause {
            return fixed;
        }
        if self.failures == 1 {
            return Duration::ZERO;
        }
        let doublings = (self.failures - 2).min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        let percent = u32::try_from(100 + i32::from(jitter.clamp(-20, 20))).unwrap_or(100);
        pause * percent / 100
    }

    fn deadline_passed(&mut self, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Pausing { .. } => self.spawn(now),
            State::Starting { .. } => {
                let mut effects = vec![Effect::Note(Note::NotReadyInTime)];
                effects.extend(self.terminate(now, true));
                effects
            }
            State::Draining { .. } => {
                let mut effects = vec![Effect::Note(Note::DrainBudgetSpent)];
                effects.extend(self.terminate(now, false));
                effects
            }
            State::Stopping { kill_at, .. } if now >= kill_at => {
                self.state = State::Killed;
                vec![Effect::Note(Note::Killing), Effect::Kill]
            }
            State::Stopping { kill_at, .. } => {
                self.state = State::Stopping {
                    kill_at,
                    repeat_at: Some(now.saturating_add(REPEAT_STOP)),
                };
                vec![Effect::Terminate]
            }
            State::Running { .. } => self.watchdog_failed(now),
            State::Idle | State::Killed | State::Finished { .. } => vec![],
        }
    }
}

#[cfg(test)]
mod tests;
