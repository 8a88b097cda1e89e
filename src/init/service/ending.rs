//! What follows the end of a service's program: the next command, the commands after the end, the restart.
//!
//! Pure, a part of the machine. Invariant: nothing is started while something of the service still runs.

use super::restart::Next;
use super::{Effect, Exit, Moment, Note, Readiness, Service, Stage, State};

impl Service {
    pub(super) fn exited(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        let before = self.state;
        self.last_exit = Some(exit);
        self.has_process = false;
        let was_ordered = matches!(
            before,
            State::Draining { .. } | State::Asking { .. } | State::Stopping { .. } | State::Killed
        ) && !self.wanted;
        let is_done = self.is_done(exit);
        let mut effects = vec![Effect::Note(Note::Ended {
            exit,
            expected: was_ordered || is_done || self.start_again,
        })];
        if matches!(before, State::Draining { .. }) {
            effects.push(Effect::Note(Note::DrainedOut));
        }
        match before {
            State::Starting { ready_by } if self.readiness == Readiness::Oneshot => {
                let may_fail = self.commands.get(self.position).is_some_and(|may| *may);
                let goes_on = is_done || may_fail;
                if goes_on && self.position + 1 < self.commands.len() {
                    self.position += 1;
                    effects.extend(self.spawn(ready_by));
                } else if goes_on && self.has(Stage::After) {
                    self.state = State::Completing { ready_by };
                    effects.push(Effect::Run(Stage::After));
                } else {
                    let end = if goes_on { Exit::Code(0) } else { exit };
                    effects.extend(self.leave(end, jitter, now));
                }
            }
            _ => {
                let starts = matches!(before, State::Starting { .. });
                if (starts && self.readiness == Readiness::Check)
                    || matches!(before, State::Completing { .. } | State::Asking { .. })
                {
                    effects.push(Effect::CutHelpers);
                }
                effects.extend(self.leave(exit, jitter, now));
            }
        }
        effects
    }

    /// An end that leaves the service up: a oneshot's success, or one that `RemainAfterExit=` keeps.
    fn is_done(&self, exit: Exit) -> bool {
        (self.readiness == Readiness::Oneshot || self.remains) && self.policy.is_success(exit)
    }

    /// The process is gone, or never came to be: what is to be run after each end, then the next step.
    pub(super) fn leave(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        let stays_up = self.remains && self.wanted && !self.start_again && self.is_done(exit);
        if self.has(Stage::Finish) && !stays_up {
            self.state = State::Finishing { exit };
            return vec![Effect::Run(Stage::Finish)];
        }
        self.conclude(exit, jitter, now)
    }

    pub(super) fn conclude(&mut self, exit: Exit, jitter: i8, now: Moment) -> Vec<Effect> {
        if std::mem::take(&mut self.start_again) {
            return self.begin(now);
        }
        if !self.wanted {
            self.state = State::Idle;
            return vec![];
        }
        if self.is_done(exit) {
            self.state = State::Finished { ok: true };
            return vec![];
        }
        if self.once || !self.policy.restarts_after(exit) {
            self.state = State::Finished {
                ok: self.policy.is_success(exit),
            };
            return vec![Effect::Note(Note::GivenUp)];
        }
        let next = self
            .policy
            .next(self.started_at, self.in_service_since, jitter, now);
        let mut effects = Vec::new();
        if next.is_news {
            effects.push(Effect::Note(Note::CrashLoop));
        }
        match next.what {
            Next::Start(pause) => {
                self.restarts += 1;
                effects.push(Effect::Note(Note::Restarting { pause }));
                if pause.is_zero() {
                    effects.extend(self.begin(now));
                } else {
                    self.state = State::Pausing {
                        until: now.saturating_add(pause),
                    };
                }
            }
            Next::GiveUp { ends_appliance } => {
                self.state = State::Finished { ok: false };
                effects.push(Effect::Note(Note::GivenUp));
                if ends_appliance {
                    effects.push(Effect::EndAppliance);
                }
            }
        }
        effects
    }
}
