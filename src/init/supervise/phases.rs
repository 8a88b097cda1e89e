//! Carrying out the phases of the stop.

use std::time::Duration;

use super::Supervisor;
use crate::init::EXIT_FAILED;
use crate::init::events::What;
use crate::init::service::{Event, Moment, State};
use crate::init::shutdown::{self, Action, Phase};
use crate::logd::syslog::{NOTICE, WARNING};
use crate::sys::process;

/// How long escaped processes may take to end after SIGTERM.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(super) fn phase_event(&mut self, event: shutdown::Event) {
        let before = self.shutdown.phase();
        let actions = self.shutdown.step(event);
        let phase = self.shutdown.phase();
        if phase != before && phase > Phase::Serving && phase < Phase::Leftovers {
            self.journal.say(NOTICE, format!("stop: {}", phase.name()));
        }
        if phase != before {
            self.record(None, What::Phase, phase.name());
        }
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::StartServices => {
                for unit in self.units.iter_mut().filter(|unit| !unit.spec.is_log) {
                    unit.start_pending = unit.spec.starts;
                }
                self.begin_timers();
            }
            Action::CutHooks => self.cut_hooks(),
            Action::Drain => {
                let budget = self.config.drain_timeout;
                self.tell_services(|unit_drains| unit_drains.then_some(Event::Drain { budget }));
            }
            Action::CutDrain => {
                self.journal.say(
                    WARNING,
                    "second order to stop: not waiting for running work",
                );
                for index in 0..self.units.len() {
                    let state = self.units.get(index).map(|unit| unit.life.state());
                    if matches!(state, Some(State::Draining { .. })) {
                        self.feed(index, Event::Stop);
                    }
                }
            }
            Action::RunExitHooks => self.begin_exit_hooks(),
            // Begun here, continued by `advance_phase` in reverse order.
            Action::StopServices => {}
            Action::KillServices => {
                self.exit_code = self.exit_code.max(EXIT_FAILED);
                self.tell_services(|_| Some(Event::Kill));
            }
            Action::EndLeftovers => {
                let left = self.other_children();
                let escaped = left
                    .iter()
                    .filter(|pid| !self.roles.contains_key(&pid.as_raw()))
                    .count();
                if escaped > 0 {
                    self.journal.say(
                        WARNING,
                        format!("ending {escaped} processes that outlived their service"),
                    );
                }
                if !left.is_empty() {
                    left.iter()
                        .for_each(|pid| process::signal_one(*pid, libc::SIGTERM));
                    self.leftovers_until = Some(self.now() + LEFTOVER_GRACE);
                }
            }
            Action::StopLog => {
                if let Some(index) = self.log_unit() {
                    self.feed(index, Event::Stop);
                }
            }
        }
    }

    /// Feeds every service but the log the event that `choose` gives, told whether the service drains.
    fn tell_services(&mut self, choose: impl Fn(bool) -> Option<Event>) {
        for index in 0..self.units.len() {
            let Some(unit) = self.units.get(index) else {
                continue;
            };
            if unit.spec.is_log {
                continue;
            }
            if let Some(event) = choose(unit.spec.drain.is_some()) {
                self.feed(index, event);
            }
        }
    }

    pub(super) fn advance_phase(&mut self) {
        match self.shutdown.phase() {
            Phase::Draining => {
                let drains = |unit: &super::Unit| {
                    unit.spec.drain.is_some()
                        && matches!(
                            unit.life.state(),
                            State::Draining { .. }
                                | State::Asking { .. }
                                | State::Stopping { .. }
                                | State::Killed
                                | State::Finishing { .. }
                        )
                };
                if !self.units.iter().any(drains) {
                    self.phase_event(shutdown::Event::Drained);
                    self.advance_phase();
                }
            }
            Phase::Stopping => self.stop_next(),
            Phase::Leftovers => {
                if self.other_children().is_empty() {
                    self.leftovers_until = None;
                    self.phase_event(shutdown::Event::LeftoversGone);
                    self.advance_phase();
                }
            }
            Phase::StoppingLog => {
                let log = self.log_unit().and_then(|index| self.units.get(index));
                if log.is_none_or(|unit| !unit.life.is_alive()) {
                    self.phase_event(shutdown::Event::LogStopped);
                }
            }
            Phase::EntryHooks | Phase::Serving | Phase::ExitHooks | Phase::Ended => {}
        }
    }

    /// Stops every service that no living service waits for.
    fn stop_next(&mut self) {
        let living = |unit: &&super::Unit| unit.life.is_alive();
        let needed: Vec<usize> = self
            .units
            .iter()
            .filter(living)
            .flat_map(|unit| unit.waits_for.clone())
            .collect();
        for index in (0..self.units.len()).rev() {
            let is_log = self.units.get(index).is_some_and(|unit| unit.spec.is_log);
            // Also one that only waits for its next start must hear of it.
            if !is_log && !needed.contains(&index) {
                self.feed(index, Event::Stop);
            }
        }
        if self
            .units
            .iter()
            .filter(living)
            .all(|unit| unit.spec.is_log)
        {
            self.phase_event(shutdown::Event::ServicesStopped);
            self.advance_phase();
        }
    }

    pub(super) fn leftovers_deadline(&mut self, now: Moment) {
        if self.leftovers_until.is_some_and(|at| at <= now) {
            self.other_children()
                .iter()
                .for_each(|pid| process::signal_one(*pid, libc::SIGKILL));
            // Children of the killed come to us next; they are killed in the following rounds.
            self.leftovers_until = Some(now + Duration::from_millis(20));
        }
    }
}
