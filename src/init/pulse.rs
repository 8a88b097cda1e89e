//! When a service is asked whether it lives, and when its silence means that it does not.
//!
//! Pure; moments are durations since PID 1 started. Invariant: a verdict needs as many unanswered questions
//! in a row as the unit says, each with the whole interval to answer, counted from the moment it was asked:
//! so that time during which PID 1 itself did not run, a paused container's, counts at most once.

use std::time::Duration;

use super::service::Moment;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Whether the service is in service now; told again and again.
    InService(bool),
    /// It said something.
    Answered,
    /// The question could not be put, for a reason that says nothing about the service.
    NotAsked,
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put the question.
    Ask,
    /// Take an open question back.
    Withdraw,
    /// It does not live.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Waiting { until: Moment },
    Asked { since: Moment },
}

/// The questions to one service.
#[derive(Debug, Clone)]
pub struct Pulse {
    interval: Duration,
    failures: u32,
    missed: u32,
    state: State,
}

impl Pulse {
    pub fn new(interval: Duration, failures: u32) -> Pulse {
        Pulse {
            interval,
            failures,
            missed: 0,
            state: State::Off,
        }
    }

    /// How many questions in a row were not answered.
    pub fn missed(&self) -> u32 {
        self.missed
    }

    /// When `Event::Time` is due.
    pub fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Off => None,
            State::Waiting { until } => Some(until),
            State::Asked { since } => Some(since.saturating_add(self.interval)),
        }
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, event: Event, now: Moment) -> Option<Action> {
        match (event, self.state) {
            (Event::InService(true), State::Off) => {
                self.wait(now);
                self.missed = 0;
                None
            }
            (Event::InService(false), State::Waiting { .. } | State::Asked { .. }) => {
                self.state = State::Off;
                Some(Action::Withdraw)
            }
            (Event::Answered, State::Asked { since }) => {
                self.missed = 0;
                self.wait(since);
                Some(Action::Withdraw)
            }
            (Event::NotAsked, State::Asked { since }) => {
                self.wait(since);
                Some(Action::Withdraw)
            }
            (Event::Time, State::Waiting { until }) if until <= now => {
                self.state = State::Asked { since: now };
                Some(Action::Ask)
            }
            (Event::Time, State::Asked { since }) if since.saturating_add(self.interval) <= now => {
                self.missed += 1;
                if self.missed >= self.failures {
                    self.state = State::Off;
                    return Some(Action::Dead);
                }
                self.state = State::Asked { since: now };
                Some(Action::Ask)
            }
            (
                Event::InService(_) | Event::Answered | Event::NotAsked | Event::Time,
                State::Off | State::Waiting { .. } | State::Asked { .. },
            ) => None,
        }
    }

    fn wait(&mut self, since: Moment) {
        self.state = State::Waiting {
            until: since.saturating_add(self.interval),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn asked() -> Pulse {
        let mut pulse = Pulse::new(at(10), 3);
        assert_eq!(pulse.step(Event::InService(true), at(0)), None);
        assert_eq!(pulse.deadline(), Some(at(10)));
        assert_eq!(pulse.step(Event::Time, at(10)), Some(Action::Ask));
        pulse
    }

    #[test]
    fn three_silent_intervals_in_a_row_are_death() {
        let mut pulse = asked();
        assert_eq!(pulse.step(Event::Time, at(19)), None);
        assert_eq!(pulse.step(Event::Time, at(20)), Some(Action::Ask));
        assert_eq!(pulse.step(Event::Time, at(30)), Some(Action::Ask));
        assert_eq!(pulse.step(Event::Time, at(40)), Some(Action::Dead));
        assert_eq!(pulse.deadline(), None);
    }

    #[test]
    fn an_answer_however_late_makes_good_for_earlier_silence() {
        let mut pulse = asked();
        pulse.step(Event::Time, at(20));
        pulse.step(Event::Time, at(30));
        assert_eq!(pulse.step(Event::Answered, at(39)), Some(Action::Withdraw));
        assert_eq!((pulse.missed(), pulse.deadline()), (0, Some(at(40))));
    }

    #[test]
    fn a_question_that_could_not_be_put_counts_for_nothing() {
        let mut pulse = asked();
        pulse.step(Event::Time, at(20));
        assert_eq!(pulse.step(Event::NotAsked, at(20)), Some(Action::Withdraw));
        assert_eq!((pulse.missed(), pulse.deadline()), (1, Some(at(30))));
    }

    #[test]
    fn a_long_pause_of_everything_is_one_silence() {
        let mut pulse = asked();
        assert_eq!(pulse.step(Event::Time, at(9000)), Some(Action::Ask));
        assert_eq!(pulse.missed(), 1);
    }

    #[test]
    fn only_what_is_in_service_is_asked() {
        let mut pulse = asked();
        assert_eq!(
            pulse.step(Event::InService(false), at(11)),
            Some(Action::Withdraw)
        );
        assert_eq!(pulse.step(Event::Time, at(100)), None);
    }

    proptest! {
        /// Whatever happens, death needs `failures` whole intervals without an answer.
        #[test]
        fn death_takes_its_time(
            events in prop::collection::vec((0u8..5, 0u64..15), 1..200),
            failures in 1u32..5,
        ) {
            let mut pulse = Pulse::new(at(10), failures);
            let (mut now, mut since, mut is_asked) = (at(0), at(0), false);
            for (event, later) in events {
                now += at(later);
                let event = match event {
                    0 => Event::InService(false),
                    1 => Event::Answered,
                    2 => Event::NotAsked,
                    3 => Event::InService(true),
                    _ => Event::Time,
                };
                let needs_question = matches!(event, Event::Answered | Event::NotAsked);
                if needs_question && !is_asked {
                    continue;
                }
                if event == Event::Answered || event == Event::InService(false) {
                    since = now;
                }
                let action = pulse.step(event, now);
                if let Some(action) = action {
                    is_asked = action == Action::Ask;
                }
                if action == Some(Action::Dead) {
                    prop_assert!(now - since >= at(10) * failures);
                    since = now;
                }
            }
        }
    }
}
