//! The pure machine of one service (`init::service`) against a model of its own, written from docs/reference: the same
//! random life for both, and after each event they must agree.

use std::time::Duration;

use proptest::prelude::*;
use switchhook::init::service::{Effect, Event, Exit, Service, State};
use switchhook::units::{service_file, unit_file::Source};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    Always,
    OnFailure,
    No,
}

/// What one would note down on paper about a service.
#[derive(Debug)]
struct Paper {
    policy: Policy,
    notifies: bool,
    process: bool,
    /// It was told to end, or killed.
    ending: bool,
    up_since: Option<Duration>,
    ended_well: bool,
    wanted: bool,
    again: bool,
    once: bool,
    /// Failures in a row.
    failures: u32,
    restarts: u64,
    /// The pause before the next start, without jitter.
    pause: Option<Duration>,
}

impl Paper {
    fn begins(&mut self) {
        self.process = true;
        self.ending = false;
        self.up_since = None;
        self.ended_well = false;
        self.pause = None;
    }

    fn is_up(&self) -> bool {
        match self.process {
            true => self.up_since.is_some() && !self.ending,
            false => self.ended_well && self.pause.is_none(),
        }
    }

    fn ordered_to_start(&mut self) {
        self.wanted = true;
        self.once = false;
        match (self.process, self.ending) {
            (false, _) => {
                self.failures = 0;
                self.begins();
            }
            (true, true) => self.again = true,
            (true, false) => {}
        }
    }

    fn rests(&mut self) {
        self.ended_well = false;
        self.pause = None;
    }

    fn ended(&mut self, exit: Exit, now: Duration) {
        let is_good = exit == Exit::Code(0);
        let was_up = self.up_since;
        self.process = false;
        self.ending = false;
        self.rests();
        if std::mem::take(&mut self.again) {
            self.begins();
            return;
        }
        if !self.wanted {
            return;
        }
        let comes_back =
            self.policy == Policy::Always || (self.policy == Policy::OnFailure && !is_good);
        if self.once || !comes_back {
            self.ended_well = is_good;
            return;
        }
        if was_up.is_some_and(|since| now - since >= 60 * SECOND) {
            self.failures = 0;
        }
        self.restarts += 1;
        let pause = match self.failures {
            0 => Duration::ZERO,
            20.. => 300 * SECOND,
            n => (Duration::from_millis(100) * 2u32.pow((n - 1).min(16))).min(30 * SECOND),
        };
        self.failures += 1;
        match pause.is_zero() {
            true => self.begins(),
            false => self.pause = Some(pause),
        }
    }

    fn takes(&mut self, event: Event, now: Duration) {
        match event {
            Event::Start => self.ordered_to_start(),
            Event::Once => {
                self.ordered_to_start();
                self.once = true;
            }
            Event::Stop => {
                self.wanted = false;
                self.again = false;
                self.ending = self.process;
                if !self.process {
                    self.rests();
                }
            }
            Event::Restart => {
                // Whoever orders it knows of the failures so far.
                self.failures = 0;
                if self.process {
                    self.wanted = true;
                    self.again = true;
                    self.ending = true;
                } else {
                    self.ordered_to_start();
                }
            }
            Event::Kill => {
                if self.process {
                    self.again = self.wanted;
                    self.ending = true;
                } else {
                    self.rests();
                }
            }
            Event::Executed if self.process && !self.ending && !self.notifies => {
                self.up_since.get_or_insert(now);
            }
            Event::Ready if self.process && !self.ending && self.notifies => {
                self.up_since.get_or_insert(now);
            }
            Event::WatchdogFailed if self.is_up() && self.process => self.ending = true,
            Event::Exited { exit, .. } => self.ended(exit, now),
            _ => {}
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let exit = prop_oneof![
        Just(Exit::Code(0)),
        Just(Exit::Code(1)),
        Just(Exit::Signal(9))
    ];
    prop_oneof![
        2 => Just(Event::Start),
        1 => Just(Event::Once),
        1 => Just(Event::Stop),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
        4 => Just(Event::Executed),
        4 => Just(Event::Ready),
        1 => Just(Event::WatchdogFailed),
        // Only when it is due.
        6 => Just(Event::Deadline),
        8 => (exit, -20..=20i8).prop_map(|(exit, jitter)| Event::Exited { exit, jitter }),
    ]
}

/// Of a service that ends again and again; few orders break its row of failures.
fn any_crash() -> impl Strategy<Value = Event> {
    let exit = prop_oneof![3 => Just(Exit::Code(1)), 1 => Just(Exit::Signal(9))];
    prop_oneof![
        20 => (exit, -20..=20i8).prop_map(|(exit, jitter)| Event::Exited { exit, jitter }),
        20 => Just(Event::Deadline),
        5 => Just(Event::Executed),
        1 => any_event(),
    ]
}

fn any_life() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let wait = || prop_oneof![3 => 0..50u64, 1 => 0..90_000u64];
    prop_oneof![
        prop::collection::vec((any_event(), wait()), 0..120),
        prop::collection::vec((any_crash(), 0..50u64), 60..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn the_machine_and_the_paper_agree(
        policy in prop_oneof![Just(Policy::Always), Just(Policy::OnFailure), Just(Policy::No)],
        notifies: bool,
        events in any_life(),
    ) {
        let directives = match policy {
            Policy::Always => "Restart=always",
            Policy::OnFailure => "Restart=on-failure",
            Policy::No => "Restart=no",
        };
        let kind = if notifies { "notify" } else { "exec" };
        let text = format!(
            "[Service]\nExecStart=/bin/a\nType={kind}\n{directives}\nTimeoutStartSec=infinity\nTimeoutStopSec=5\n"
        );
        let source = Source { file: "a".into(), text };
        let mut machine = Service::new(&service_file::read("a", &[source]).0.unwrap());
        let mut paper = Paper {
            policy, notifies, process: false, ending: false, up_since: None, ended_well: false, wanted: false,
            again: false, once: false, failures: 0, restarts: 0, pause: None,
        };
        let mut now = Duration::ZERO;
        for (event, wait) in events {
            let is_of_process = matches!(event, Event::Exited { .. } | Event::Executed | Event::Ready);
            if is_of_process && !paper.process {
                continue;
            }
            now += Duration::from_millis(wait);
            // Deadlines are never slept over.
            while let Some(due) = machine.deadline().filter(|due| *due <= now || event == Event::Deadline) {
                now = now.max(due);
                let before = machine.state();
                let effects = machine.step(Event::Deadline, due);
                match before {
                    State::Pausing { .. } => {
                        prop_assert!(effects.contains(&Effect::Spawn));
                        paper.begins();
                    }
                    State::Stopping { kill_at, .. } => prop_assert!(effects.contains(&Effect::Kill) == (due >= kill_at)),
                    other => prop_assert!(false, "a deadline in {other:?}"),
                }
                if event == Event::Deadline {
                    break;
                }
            }
            if event == Event::Deadline || (is_of_process && !paper.process) {
                continue;
            }
            machine.step(event, now);
            paper.takes(event, now);
            prop_assert_eq!(machine.is_alive(), paper.process, "process after {:?}: {:?}", event, paper);
            prop_assert_eq!(machine.is_wanted(), paper.wanted, "wanted after {:?}: {:?}", event, paper);
            prop_assert_eq!(machine.restarts(), paper.restarts, "restarts after {:?}: {:?}", event, paper);
            prop_assert_eq!(machine.is_up(), paper.is_up(), "up after {:?}: {:?}, {:?}", event, paper, machine.state());
            if let Some(pause) = paper.pause {
                let State::Pausing { until } = machine.state() else {
                    return Err(TestCaseError::fail(format!("no pause after {event:?}: {:?}", machine.state())));
                };
                if let Event::Exited { .. } = event {
                    let waits = until - now;
                    prop_assert!(waits >= pause * 4 / 5 && waits <= pause * 6 / 5, "{waits:?} is not about {pause:?}");
                }
            }
        }
    }
}
