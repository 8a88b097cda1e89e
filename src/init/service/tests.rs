//! Whole lives of a service, without one process.

use super::*;
use crate::units::{service_file, unit_file::Source};

fn service(unit: &str) -> Service {
    let text = format!("[Service]\nExecStart=/bin/a\n{unit}");
    Service::new(
        &service_file::read(
            "a",
            &[Source {
                file: "a".into(),
                text,
            }],
        )
        .0
        .unwrap(),
    )
}

fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

fn died(code: i32) -> Event {
    Event::Exited {
        exit: Exit::Code(code),
        jitter: 0,
    }
}

fn running(unit: &str) -> Service {
    let mut s = service(unit);
    s.step(Event::Start, at(0));
    s.step(Event::Executed, at(1));
    s.step(Event::Ready, at(2));
    assert!(s.is_up());
    s
}

#[test]
fn notify_is_ready_by_its_own_word_only() {
    let mut s = service("Type=notify");
    assert_eq!(
        s.step(Event::Start, at(0)),
        [Effect::Spawn, Effect::Note(Note::Started)]
    );
    assert_eq!(s.step(Event::Executed, at(1)), []);
    assert!(!s.is_up());
    assert_eq!(
        s.step(Event::Ready, at(7)),
        [Effect::Note(Note::Ready { after: at(7) })]
    );
    assert!(s.is_up());
}

#[test]
fn the_first_restart_is_at_once_then_pauses_double_to_thirty_seconds() {
    let mut s = running("Restart=always");
    let mut now = at(10);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let effects = s.step(died(1), now);
        let pause = effects.iter().find_map(|e| match e {
            Effect::Note(Note::Restarting { pause }) => Some(*pause),
            _ => None,
        });
        pauses.push(pause.unwrap().as_millis());
        now = s.deadline().unwrap_or(now);
        if matches!(s.state(), State::Pausing { .. }) {
            s.step(Event::Deadline, now);
        }
    }
    assert_eq!(
        pauses,
        [
            0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000
        ]
    );
}

#[test]
fn a_stable_time_forgets_failures() {
    let mut s = running("Restart=always");
    s.step(died(1), at(10));
    s.step(Event::Executed, at(11));
    let effects = s.step(died(1), at(61_000));
    assert!(
        effects.contains(&Effect::Note(Note::Restarting { pause: at(0) })),
        "{effects:?}"
    );
}

#[test]
fn a_stop_before_readiness_is_repeated_until_heard() {
    let mut s = service("Type=notify\nTimeoutStopSec=10");
    s.step(Event::Start, at(0));
    assert_eq!(s.step(Event::Stop, at(100)), [Effect::Terminate]);
    assert_eq!(s.deadline(), Some(at(600)));
    assert_eq!(s.step(Event::Deadline, at(600)), [Effect::Terminate]);
    assert_eq!(s.step(Event::Ready, at(700)), [Effect::Terminate]);
    assert_eq!(s.deadline(), Some(at(10_100)));
    assert_eq!(
        s.step(Event::Deadline, at(10_100)),
        [Effect::Note(Note::Killing), Effect::Kill]
    );
    s.step(
        Event::Exited {
            exit: Exit::Signal(9),
            jitter: 0,
        },
        at(10_101),
    );
    assert_eq!(s.state(), State::Idle);
}

#[test]
fn a_drain_waits_for_the_work_then_stops() {
    let mut s = running("Type=notify\nX-Drain=/bin/drain");
    assert_eq!(
        s.step(Event::Drain { budget: at(30_000) }, at(10)),
        [Effect::Drain]
    );
    assert_eq!(s.deadline(), Some(at(30_010)));
    let spent = s.step(Event::Deadline, at(30_010));
    assert_eq!(
        spent,
        [Effect::Note(Note::DrainBudgetSpent), Effect::Terminate]
    );
}

#[test]
fn a_second_order_cuts_the_drain_short() {
    let mut s = running("Type=notify\nX-Drain=/bin/drain");
    s.step(Event::Drain { budget: at(30_000) }, at(10));
    assert_eq!(s.step(Event::Stop, at(20)), [Effect::Terminate]);
}

#[test]
fn a_service_that_ends_while_draining_stays_down() {
    let mut s = running("Type=notify\nX-Drain=/bin/drain\nRestart=always");
    s.step(Event::Drain { budget: at(30_000) }, at(10));
    let effects = s.step(died(0), at(20));
    assert!(effects.contains(&Effect::Note(Note::DrainedOut)));
    assert_eq!(s.state(), State::Idle);
}

#[test]
fn a_restart_order_stops_and_starts_once() {
    let mut s = running("Type=notify");
    assert_eq!(s.step(Event::Restart, at(10)), [Effect::Terminate]);
    let effects = s.step(died(0), at(20));
    assert!(effects.contains(&Effect::Spawn));
    assert_eq!(s.restarts(), 0);
}

#[test]
fn a_restart_order_forgets_failures() {
    let mut s = running("Restart=always");
    let mut now = at(10);
    for _ in 0..3 {
        now += at(1);
        s.step(died(1), now);
        now = s.deadline().unwrap_or(now);
        s.step(Event::Deadline, now);
        s.step(Event::Restart, now);
        s.step(died(0), now);
        s.step(Event::Executed, now);
        let effects = s.step(died(1), now);
        let pause = Duration::ZERO;
        assert!(
            effects.contains(&Effect::Note(Note::Restarting { pause })),
            "{effects:?}"
        );
    }
}

#[test]
fn a_start_during_the_stop_is_kept_for_after_it() {
    let mut s = running("Type=notify");
    s.step(Event::Stop, at(10));
    assert_eq!(s.step(Event::Start, at(11)), []);
    assert!(s.step(died(0), at(20)).contains(&Effect::Spawn));
}

#[test]
fn a_oneshot_that_succeeds_is_up_and_one_that_fails_is_not() {
    let mut s = service("Type=oneshot");
    s.step(Event::Start, at(0));
    s.step(died(0), at(5));
    assert!(s.is_up());
    let mut s = service("Type=oneshot");
    s.step(Event::Start, at(0));
    s.step(died(3), at(5));
    assert_eq!(s.state(), State::Finished { ok: false });
}

#[test]
fn a_missed_watchdog_aborts_and_the_service_comes_back() {
    let mut s = running("Type=notify\nRestart=always\nWatchdogSec=2");
    assert_eq!(s.deadline(), Some(at(2002)));
    s.step(Event::Watchdog, at(1500));
    assert_eq!(s.deadline(), Some(at(3500)));
    let effects = s.step(Event::Deadline, at(3500));
    assert_eq!(effects, [Effect::Note(Note::WatchdogMissed), Effect::Abort]);
    let ended = Event::Exited {
        exit: Exit::Signal(6),
        jitter: 0,
    };
    assert!(s.step(ended, at(3600)).contains(&Effect::Spawn));
}

#[test]
fn a_service_may_ask_for_more_time() {
    let mut s = service("Type=notify\nTimeoutStartSec=1");
    s.step(Event::Start, at(0));
    s.step(Event::ExtendTimeout(at(5000)), at(500));
    assert_eq!(s.deadline(), Some(at(5500)));
}

#[test]
fn a_permanent_crash_loop_makes_at_most_forty_restarts_in_its_first_hour() {
    let mut s = service("Type=notify\nRestart=always");
    s.step(Event::Start, at(0));
    let (mut now, mut told) = (at(0), 0);
    while now < Duration::from_secs(3600) {
        let effects = s.step(died(1), now);
        told += effects
            .iter()
            .filter(|e| **e == Effect::Note(Note::CrashLoop))
            .count();
        if let Some(next) = s
            .deadline()
            .filter(|_| matches!(s.state(), State::Pausing { .. }))
        {
            now = next;
            s.step(Event::Deadline, now);
        }
    }
    assert!(s.restarts() <= 40, "{} restarts", s.restarts());
    assert!(s.restarts() > 25, "{} restarts", s.restarts());
    assert_eq!(told, 1);
}

#[test]
fn a_start_limit_of_the_unit_and_its_policy_are_kept() {
    let text = "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=10\n[Service]\nExecStart=/bin/a\nRestart=always\nRestartSec=1ms\nX-CrashLoop=exit\n";
    let source = Source {
        file: "a".into(),
        text: text.into(),
    };
    let mut s = Service::new(&service_file::read("a", &[source]).0.unwrap());
    s.step(Event::Start, at(0));
    assert!(!s.step(died(1), at(1)).contains(&Effect::EndAppliance));
    s.step(Event::Deadline, at(2));
    assert!(!s.step(died(1), at(3)).contains(&Effect::EndAppliance));
    s.step(Event::Deadline, at(4));
    assert!(s.step(died(1), at(5)).contains(&Effect::EndAppliance));
    assert_eq!(s.state(), State::Finished { ok: false });
}

#[test]
fn exit_codes_can_force_and_forbid_a_restart() {
    let mut s = running("Type=notify\nRestart=always\nRestartPreventExitStatus=78");
    s.step(died(78), at(10));
    assert_eq!(s.state(), State::Finished { ok: false });
    let mut s = running("Type=notify\nRestart=no\nRestartForceExitStatus=75");
    assert!(s.step(died(75), at(10)).contains(&Effect::Spawn));
    let mut s = running("Type=notify\nRestart=on-failure\nSuccessExitStatus=3");
    s.step(died(3), at(10));
    assert_eq!(s.state(), State::Finished { ok: true });
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Start),
            Just(Event::Stop),
            Just(Event::Restart),
            Just(Event::Kill),
            Just(Event::Drain { budget: at(500) }),
            Just(Event::Executed),
            Just(Event::Ready),
            Just(Event::Watchdog),
            Just(Event::WatchdogFailed),
            Just(Event::ExtendTimeout(at(300))),
            Just(Event::Skip),
            Just(Event::Deadline),
            (0..3i32).prop_map(|code| Event::Exited {
                exit: Exit::Code(code),
                jitter: 0
            }),
            Just(Event::Exited {
                exit: Exit::Signal(9),
                jitter: 20
            }),
        ]
    }

    proptest! {
        /// A fake world that spawns on `Spawn` and ends on `Exited` always agrees with `is_alive`,
        /// and no effect ever asks for a second process.
        #[test]
        fn one_process_at_most(events in prop::collection::vec((any_event(), 1..2000u64), 0..60)) {
            let mut s = service("Type=notify\nRestart=always\nX-Drain=/bin/d");
            let mut alive = false;
            let mut now = at(0);
            for (event, wait) in events {
                now += at(wait);
                if matches!(event, Event::Exited { .. } | Event::Executed | Event::Ready) && !alive {
                    continue;
                }
                if matches!(event, Event::Exited { .. }) {
                    alive = false;
                }
                for effect in s.step(event, now) {
                    match effect {
                        Effect::Spawn => {
                            prop_assert!(!alive);
                            alive = true;
                        }
                        Effect::Terminate | Effect::Abort | Effect::Kill | Effect::Drain => {
                            prop_assert!(alive);
                        }
                        Effect::EndAppliance => {}
                        Effect::Note(_) => {}
                    }
                }
                prop_assert_eq!(s.is_alive(), alive);
            }
        }

        /// Whatever came before, an order to stop followed by the passing of time ends in `Killed` or rest.
        #[test]
        fn a_stop_always_comes_to_an_end(events in prop::collection::vec(any_event(), 0..30)) {
            let mut s = service("Type=notify\nRestart=always\nX-Drain=/bin/d\nTimeoutStopSec=2");
            let mut now = at(0);
            for event in events {
                now += at(10);
                if s.is_alive() || !matches!(event, Event::Exited { .. } | Event::Executed | Event::Ready) {
                    s.step(event, now);
                }
            }
            s.step(Event::Stop, now);
            for _ in 0..20 {
                let Some(next) = s.deadline() else { break };
                now = next;
                s.step(Event::Deadline, now);
            }
            prop_assert!(matches!(s.state(), State::Killed | State::Idle | State::Finished { .. }), "{:?}", s.state());
        }
    }
}
