//! The phases from the first hook to the last process, as an explicit machine.
//!
//! Pure. A first order to stop drains; a second one cuts the waiting short; a third one kills.
//! Invariant: phases only go forward.

/// Where the appliance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    EntryHooks,
    Serving,
    /// No new work; running work may end.
    Draining,
    ExitHooks,
    /// Services are stopped in reverse order.
    Stopping,
    /// What escaped its service is ended.
    Leftovers,
    /// The log service prints what is left and ends.
    StoppingLog,
    Ended,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::EntryHooks => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
            Phase::ExitHooks => "exit-hooks",
            Phase::Stopping | Phase::Leftovers | Phase::StoppingLog => "stopping",
            Phase::Ended => "ended",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    EntryHooksDone,
    /// An entry hook failed for good.
    StartAborted,
    StopOrdered,
    /// No service is draining any more.
    Drained,
    ExitHooksDone,
    ServicesStopped,
    LeftoversGone,
    LogStopped,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    StartServices,
    CutHooks,
    Drain,
    CutDrain,
    RunExitHooks,
    StopServices,
    KillServices,
    EndLeftovers,
    StopLog,
}

/// The machine.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    phase: Phase,
    kills: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown {
            phase: Phase::EntryHooks,
            kills: false,
        }
    }
}

impl Shutdown {
    /// In service already, as after a change of PID 1's binary.
    pub fn in_service() -> Shutdown {
        Shutdown {
            phase: Phase::Serving,
            kills: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn is_stopping(&self) -> bool {
        self.phase > Phase::Serving
    }

    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match (self.phase, event) {
            (Phase::EntryHooks, Event::EntryHooksDone) => {
                self.enter(Phase::Serving, Action::StartServices)
            }
            (Phase::EntryHooks, Event::StartAborted) => {
                self.enter(Phase::Stopping, Action::StopServices)
            }
            (Phase::EntryHooks, Event::StopOrdered) => {
                self.phase = Phase::Stopping;
                vec![Action::CutHooks, Action::StopServices]
            }
            (Phase::Serving, Event::StopOrdered) => self.enter(Phase::Draining, Action::Drain),
            (Phase::Draining, Event::StopOrdered) => vec![Action::CutDrain],
            (Phase::Draining, Event::Drained) => self.enter(Phase::ExitHooks, Action::RunExitHooks),
            (Phase::ExitHooks, Event::StopOrdered) => vec![Action::CutHooks],
            (Phase::ExitHooks, Event::ExitHooksDone) => {
                self.enter(Phase::Stopping, Action::StopServices)
            }
            (Phase::Stopping, Event::StopOrdered) if !self.kills => {
                self.kills = true;
                vec![Action::KillServices]
            }
            (Phase::Stopping, Event::ServicesStopped) => {
                self.enter(Phase::Leftovers, Action::EndLeftovers)
            }
            (Phase::Leftovers, Event::LeftoversGone) => {
                self.enter(Phase::StoppingLog, Action::StopLog)
            }
            (Phase::StoppingLog, Event::LogStopped) => {
                self.phase = Phase::Ended;
                vec![]
            }
            _ => vec![],
        }
    }

    fn enter(&mut self, phase: Phase, action: Action) -> Vec<Action> {
        self.phase = phase;
        vec![action]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordered_life_goes_through_every_phase() {
        let mut s = Shutdown::default();
        assert_eq!(s.step(Event::EntryHooksDone), [Action::StartServices]);
        assert_eq!(s.step(Event::StopOrdered), [Action::Drain]);
        assert_eq!(s.step(Event::Drained), [Action::RunExitHooks]);
        assert_eq!(s.step(Event::ExitHooksDone), [Action::StopServices]);
        assert_eq!(s.step(Event::ServicesStopped), [Action::EndLeftovers]);
        assert_eq!(s.step(Event::LeftoversGone), [Action::StopLog]);
        assert_eq!(s.step(Event::LogStopped), []);
        assert_eq!(s.phase(), Phase::Ended);
    }

    #[test]
    fn a_second_order_cuts_and_a_third_kills() {
        let mut s = Shutdown::default();
        s.step(Event::EntryHooksDone);
        s.step(Event::StopOrdered);
        assert_eq!(s.step(Event::StopOrdered), [Action::CutDrain]);
        s.step(Event::Drained);
        assert_eq!(s.step(Event::StopOrdered), [Action::CutHooks]);
        s.step(Event::ExitHooksDone);
        assert_eq!(s.step(Event::StopOrdered), [Action::KillServices]);
        assert_eq!(s.step(Event::StopOrdered), []);
    }

    #[test]
    fn a_failing_start_runs_no_exit_hooks() {
        let mut s = Shutdown::default();
        assert_eq!(s.step(Event::StartAborted), [Action::StopServices]);
        assert_eq!(s.phase(), Phase::Stopping);
    }

    proptest::proptest! {
        #[test]
        fn phases_only_go_forward(events in proptest::collection::vec(0usize..8, 0..60)) {
            let all = [
                Event::EntryHooksDone, Event::StartAborted, Event::StopOrdered, Event::Drained,
                Event::ExitHooksDone, Event::ServicesStopped, Event::LeftoversGone, Event::LogStopped,
            ];
            let mut s = Shutdown::default();
            for event in events {
                let before = s.phase();
                s.step(all[event]);
                proptest::prop_assert!(s.phase() >= before);
            }
        }
    }
}
