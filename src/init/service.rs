//! The life of one service as an explicit machine: `step(event, now) -> effects`.
//!
//! Pure: no clock, no process, no log. `now` and every moment are durations since PID 1 started. The
//! supervisor runs the commands around a service's program; their time is bounded there or by `deadline()`.
//! Invariant: nothing of a service runs in the states `Idle`, `Pausing` and `Finished`.

mod ending;
mod restart;
mod vocabulary;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::units::exit::Exit;
use crate::units::spec::{Readiness, ServiceSpec};
use restart::Policy;
pub use vocabulary::{Effect, Event, Moment, Note, Stage, State};

/// A stop signal sent before readiness is repeated at this interval: a program may not listen yet.
const REPEAT_STOP: Duration = Duration::from_millis(500);
/// The first pause between two checks for readiness; each further one is twice as long.
const FIRST_CHECK_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two checks.
const LONGEST_CHECK_PAUSE: Duration = Duration::from_secs(5);

/// One service and its state. Its serialised form is what a new binary of PID 1 goes on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    readiness: Readiness,
    remains: bool,
    /// For each command of the program whether it may fail.
    commands: Vec<bool>,
    position: usize,
    stages: Vec<Stage>,
    policy: Policy,
    start_timeout: Option<Duration>,
    stop_timeout: Duration,
    abort_timeout: Duration,
    drains: bool,
    watchdog: Option<Duration>,
    watchdog_due: Option<Moment>,
    check_at: Option<Moment>,
    checks: u32,
    state: State,
    has_process: bool,
    wanted: bool,
    start_again: bool,
    once: bool,
    restarts: u64,
    started_at: Moment,
    in_service_since: Option<Moment>,
    last_exit: Option<Exit>,
}

impl Default for Service {
    fn default() -> Self {
        Service::new(&ServiceSpec::default())
    }
}

impl Service {
    pub fn new(spec: &ServiceSpec) -> Service {
        let then = spec.then.iter().map(|command| command.may_fail);
        let stages = [
            (Stage::Before, spec.before_start.is_empty()),
            (Stage::After, spec.after_start.is_empty()),
            (Stage::Stop, spec.stop.is_empty()),
            (
                Stage::Finish,
                spec.finish.is_none() && spec.after_end.is_empty(),
            ),
        ];
        let stages = stages.into_iter().filter(|(_, is_empty)| !is_empty);
        Service {
            readiness: spec.readiness,
            remains: spec.remain_after_exit,
            commands: std::iter::once(spec.may_fail).chain(then).collect(),
            position: 0,
            stages: stages.map(|(stage, _)| stage).collect(),
            policy: Policy::new(spec),
            start_timeout: spec.start_timeout,
            stop_timeout: spec.stop_timeout,
            abort_timeout: spec.abort_timeout.unwrap_or(spec.stop_timeout),
            drains: spec.drain.is_some(),
            watchdog: spec.watchdog,
            watchdog_due: None,
            check_at: None,
            checks: 0,
            state: State::Idle,
            has_process: false,
            wanted: false,
            start_again: false,
            once: false,
            restarts: 0,
            started_at: Duration::ZERO,
            in_service_since: None,
            last_exit: None,
        }
    }

    /// Takes over the policies of a changed definition; where it is in its life stays.
    pub fn redefine(&mut self, spec: &ServiceSpec) {
        let fresh = Service::new(spec);
        *self = Service {
            readiness: fresh.readiness,
            remains: fresh.remains,
            commands: fresh.commands,
            stages: fresh.stages,
            policy: fresh.policy.remembering(&self.policy),
            start_timeout: fresh.start_timeout,
            stop_timeout: fresh.stop_timeout,
            abort_timeout: fresh.abort_timeout,
            drains: fresh.drains,
            watchdog: fresh.watchdog,
            ..self.clone()
        };
    }

    /// Which of the program's commands is to be run or runs; only a oneshot has more than one.
    pub fn position(&self) -> usize {
        self.position
    }

    /// It is down and will not be back within moments: stopped, given up, or failing again and again.
    pub fn is_away(&self) -> bool {
        match self.state {
            State::Idle | State::Finished { .. } => true,
            State::Pausing { .. } => self.policy.fails_often(),
            _ => false,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// How often it was started again after an end that nobody asked for.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// When its latest process was started.
    pub fn started_at(&self) -> Moment {
        self.started_at
    }

    pub fn last_exit(&self) -> Option<Exit> {
        self.last_exit
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// A process exists, its own or one of the commands around it.
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
            State::Starting { ready_by } => ready_by.into_iter().chain(self.check_at).min(),
            State::Preparing { ready_by } | State::Completing { ready_by } => ready_by,
            State::Draining { until } | State::Pausing { until } | State::Asking { until } => {
                Some(until)
            }
            State::Stopping { kill_at, repeat_at } => {
                Some(repeat_at.map_or(kill_at, |at| at.min(kill_at)))
            }
            State::Running { .. } => self.watchdog_due,
            State::Idle | State::Killed | State::Finishing { .. } | State::Finished { .. } => None,
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
            Event::Restart => {
                // Whoever orders it knows of the failures so far.
                self.policy.forget_failures();
                self.stop(now, true)
            }
            Event::Drain { budget } => self.drain(budget, now),
            Event::Kill => self.kill(now),
            Event::Executed => self.executed(now),
            Event::ExecFailed => vec![],
            Event::Ready => self.ready(now),
            Event::Checked { ok } => self.checked(ok, now),
            Event::StageEnded { exit, jitter } => self.stage_ended(exit, jitter, now),
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

    fn has(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    fn start(&mut self, now: Moment) -> Vec<Effect> {
        self.wanted = true;
        self.once = false;
        match self.state {
            State::Idle | State::Finished { .. } | State::Pausing { .. } => {
                self.policy.forget_failures();
                self.begin(now)
            }
            State::Stopping { .. }
            | State::Killed
            | State::Draining { .. }
            | State::Asking { .. }
            | State::Finishing { .. } => {
                self.start_again = true;
                vec![]
            }
            State::Preparing { .. }
            | State::Starting { .. }
            | State::Completing { .. }
            | State::Running { .. } => vec![],
        }
    }

    fn begin(&mut self, now: Moment) -> Vec<Effect> {
        self.started_at = now;
        self.in_service_since = None;
        self.watchdog_due = None;
        self.position = 0;
        let ready_by = self
            .start_timeout
            .map(|timeout| now.saturating_add(timeout));
        if self.has(Stage::Before) {
            self.state = State::Preparing { ready_by };
            return vec![Effect::Run(Stage::Before)];
        }
        self.spawn(ready_by)
    }

    fn spawn(&mut self, ready_by: Option<Moment>) -> Vec<Effect> {
        self.check_at = None;
        self.checks = 0;
        self.has_process = true;
        self.state = State::Starting { ready_by };
        vec![Effect::Spawn, Effect::Note(Note::Started)]
    }

    fn stop(&mut self, now: Moment, again: bool) -> Vec<Effect> {
        self.wanted = again;
        self.start_again = again;
        match self.state {
            State::Finished { ok: true } if self.remains && self.has(Stage::Stop) => self.ask(now),
            State::Idle | State::Pausing { .. } | State::Finished { .. } => {
                self.state = State::Idle;
                if again {
                    self.start_again = false;
                    return self.start(now);
                }
                vec![]
            }
            State::Preparing { .. } => self.cut_preparation(Exit::Signal(15), 0, now),
            State::Starting { .. } => self.terminate(now, true),
            State::Completing { .. } => self.terminate(now, false),
            State::Running { .. } if self.has(Stage::Stop) => self.ask(now),
            State::Running { .. } | State::Draining { .. } => self.terminate(now, false),
            State::Asking { .. }
            | State::Stopping { .. }
            | State::Killed
            | State::Finishing { .. } => vec![],
        }
    }

    fn ask(&mut self, now: Moment) -> Vec<Effect> {
        self.state = State::Asking {
            until: now.saturating_add(self.stop_timeout),
        };
        vec![Effect::Run(Stage::Stop)]
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

    /// The stop signal. What has no process, a oneshot that is done, goes on to its end at once.
    fn terminate(&mut self, now: Moment, may_not_listen_yet: bool) -> Vec<Effect> {
        let may_help = match self.state {
            State::Starting { .. } => self.readiness == Readiness::Check,
            State::Completing { .. } | State::Asking { .. } => true,
            _ => false,
        };
        let mut effects = Vec::new();
        if may_help {
            effects.push(Effect::CutHelpers);
        }
        if !self.has_process {
            let exit = self.last_exit.unwrap_or(Exit::Code(0));
            effects.extend(self.leave(exit, 0, now));
            return effects;
        }
        self.state = State::Stopping {
            kill_at: now.saturating_add(self.stop_timeout),
            repeat_at: may_not_listen_yet.then(|| now.saturating_add(REPEAT_STOP)),
        };
        effects.push(Effect::Terminate);
        effects
    }

    fn cut_preparation(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        let mut effects = vec![Effect::CutHelpers];
        effects.extend(self.leave(exit, jitter, now));
        effects
    }

    fn kill(&mut self, now: Moment) -> Vec<Effect> {
        if !self.is_alive() {
            self.state = State::Idle;
            return vec![];
        }
        self.start_again = self.wanted;
        if self.has_process {
            self.state = State::Killed;
            return vec![Effect::CutHelpers, Effect::Kill];
        }
        let mut effects = vec![Effect::CutHelpers];
        effects.extend(match self.state {
            State::Finishing { exit } => self.conclude(exit, 0, now),
            _ => self.leave(Exit::Signal(9), 0, now),
        });
        effects
    }

    fn executed(&mut self, now: Moment) -> Vec<Effect> {
        match (self.state, self.readiness) {
            (State::Starting { ready_by }, Readiness::Exec) => self.complete(ready_by, now),
            (State::Starting { .. }, Readiness::Check) => vec![Effect::Check],
            _ => vec![],
        }
    }

    fn ready(&mut self, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Starting { ready_by } if self.readiness == Readiness::Notify => {
                self.complete(ready_by, now)
            }
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

    fn checked(&mut self, ok: bool, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Starting { ready_by } if self.readiness == Readiness::Check => {
                if ok {
                    return self.complete(ready_by, now);
                }
                let pause = FIRST_CHECK_PAUSE * (1 << self.checks.min(16));
                self.checks = self.checks.saturating_add(1);
                self.check_at = Some(now.saturating_add(pause.min(LONGEST_CHECK_PAUSE)));
                vec![]
            }
            _ => vec![],
        }
    }

    fn complete(&mut self, ready_by: Option<Moment>, now: Moment) -> Vec<Effect> {
        if self.has(Stage::After) {
            self.state = State::Completing { ready_by };
            return vec![Effect::Run(Stage::After)];
        }
        self.in_service(now)
    }

    fn in_service(&mut self, now: Moment) -> Vec<Effect> {
        self.state = State::Running { since: now };
        self.in_service_since = Some(now);
        self.watchdog(now);
        vec![Effect::Note(Note::Ready {
            after: now.saturating_sub(self.started_at),
        })]
    }

    fn stage_ended(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        let failed = |stage| (!exit.is_success()).then_some(Note::StageFailed { stage, exit });
        let note = |stage| failed(stage).map(Effect::Note);
        let mut effects = Vec::new();
        match self.state {
            State::Preparing { ready_by } if exit.is_success() => {
                effects.extend(self.spawn(ready_by));
            }
            State::Preparing { .. } => {
                effects.extend(note(Stage::Before));
                effects.extend(self.leave(exit, jitter, now));
            }
            State::Completing { .. } if exit.is_success() && self.has_process => {
                effects.extend(self.in_service(now));
            }
            State::Completing { .. } if exit.is_success() => {
                effects.extend(self.leave(Exit::Code(0), jitter, now));
            }
            State::Completing { .. } if self.has_process => {
                effects.extend(note(Stage::After));
                effects.extend(self.terminate(now, false));
            }
            State::Completing { .. } => {
                effects.extend(note(Stage::After));
                effects.extend(self.leave(exit, jitter, now));
            }
            State::Asking { .. } => {
                effects.extend(note(Stage::Stop));
                effects.extend(self.terminate(now, false));
            }
            State::Finishing { exit: end } => {
                effects.extend(note(Stage::Finish));
                effects.extend(self.conclude(end, jitter, now));
            }
            State::Idle
            | State::Starting { .. }
            | State::Running { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Killed
            | State::Pausing { .. }
            | State::Finished { .. } => {}
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
            kill_at: now.saturating_add(self.abort_timeout),
            repeat_at: None,
        };
        vec![Effect::Note(Note::WatchdogMissed), Effect::Abort]
    }

    fn extend(&mut self, more: Duration, now: Moment) -> Vec<Effect> {
        let later = now.saturating_add(more);
        match &mut self.state {
            State::Preparing { ready_by: Some(at) }
            | State::Starting { ready_by: Some(at) }
            | State::Completing { ready_by: Some(at) } => *at = (*at).max(later),
            State::Stopping { kill_at, .. } => *kill_at = (*kill_at).max(later),
            _ => {}
        }
        vec![]
    }

    fn deadline_passed(&mut self, now: Moment) -> Vec<Effect> {
        match self.state {
            State::Pausing { .. } => self.begin(now),
            State::Preparing { .. } => {
                let mut effects = vec![Effect::Note(Note::NotReadyInTime)];
                effects.extend(self.cut_preparation(Exit::Signal(9), 0, now));
                effects
            }
            State::Starting { .. } if self.check_at.is_some_and(|at| at <= now) => {
                self.check_at = None;
                vec![Effect::Check]
            }
            State::Starting { .. } | State::Completing { .. } => {
                let mut effects = vec![Effect::Note(Note::NotReadyInTime)];
                let starts = matches!(self.state, State::Starting { .. });
                effects.extend(self.terminate(now, starts));
                effects
            }
            State::Asking { .. } => self.terminate(now, false),
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
            State::Idle | State::Killed | State::Finishing { .. } | State::Finished { .. } => {
                vec![]
            }
        }
    }
}

#[cfg(test)]
mod tests;
