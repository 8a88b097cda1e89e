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
fn an_aborted_service_is_killed_after_its_own_time() {
    let mut s = running("Type=notify\nTimeoutStopSec=10\nTimeoutAbortSec=3");
    s.step(Event::WatchdogFailed, at(1000));
    assert_eq!(s.deadline(), Some(at(4000)));
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

fn stage_ended(code: i32) -> Event {
    Event::StageEnded {
        exit: Exit::Code(code),
        jitter: 0,
    }
}

#[test]
fn nothing_starts_again_before_the_commands_after_the_end_have_ended() {
    let mut s = running("Type=notify\nRestart=always\nExecStopPost=/bin/b");
    let effects = s.step(died(3), at(10));
    assert_eq!(effects.last(), Some(&Effect::Run(Stage::Finish)));
    let finishing = State::Finishing {
        exit: Exit::Code(3),
    };
    assert_eq!(s.state(), finishing);
    assert!(s.is_alive() && !s.is_up());
    assert!(s.step(stage_ended(0), at(900)).contains(&Effect::Spawn));
}

#[test]
fn a_stopped_service_is_down_only_after_those_commands() {
    let mut s = running("Type=notify\nRestart=always\nExecStopPost=/bin/b");
    s.step(Event::Stop, at(10));
    s.step(died(0), at(20));
    assert!(s.is_alive());
    s.step(stage_ended(1), at(30));
    assert_eq!(s.state(), State::Idle);
}

#[test]
fn a_check_is_asked_again_at_growing_intervals_until_it_succeeds() {
    let mut s = checked();
    s.step(Event::Start, at(0));
    assert_eq!(s.step(Event::Executed, at(0)), [Effect::Check]);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(s.step(Event::Checked { ok: false }, now), []);
        let next = s.deadline().unwrap();
        pauses.push((next - now).as_millis());
        now = next;
        assert_eq!(s.step(Event::Deadline, now), [Effect::Check]);
        assert_eq!(s.deadline(), None);
    }
    assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert!(!s.is_up());
    s.step(Event::Checked { ok: true }, now);
    assert!(s.is_up());
}

fn checked() -> Service {
    let mut spec = ServiceSpec::new("a", vec!["/bin/a".to_owned()]);
    spec.readiness = Readiness::Check;
    spec.start_timeout = None;
    spec.restart = crate::units::spec::Restart::Always;
    Service::new(&spec)
}

#[test]
fn a_check_that_still_runs_is_cut_with_its_service() {
    let mut s = checked();
    s.step(Event::Start, at(0));
    s.step(Event::Executed, at(0));
    let effects = s.step(died(1), at(1));
    assert!(effects.contains(&Effect::CutHelpers));
    assert!(effects.contains(&Effect::Spawn));
}

#[test]
fn commands_stand_around_the_program_in_systemds_order() {
    let text = "Type=notify\nExecStartPre=/bin/b\nExecStartPost=/bin/c\nExecStop=/bin/d";
    let mut s = service(text);
    assert_eq!(s.step(Event::Start, at(0)), [Effect::Run(Stage::Before)]);
    assert!(s.step(stage_ended(0), at(1)).contains(&Effect::Spawn));
    assert_eq!(s.step(Event::Ready, at(2)), [Effect::Run(Stage::After)]);
    assert!(!s.is_up());
    s.step(stage_ended(0), at(3));
    assert!(s.is_up());
    assert_eq!(s.step(Event::Stop, at(4)), [Effect::Run(Stage::Stop)]);
    assert!(s.step(stage_ended(0), at(5)).contains(&Effect::Terminate));
    s.step(died(0), at(6));
    assert_eq!(s.state(), State::Idle);
}

#[test]
fn a_command_before_the_start_that_fails_is_a_failed_start() {
    let mut s = service("Restart=on-failure\nExecStartPre=/bin/b");
    s.step(Event::Start, at(0));
    let effects = s.step(stage_ended(1), at(1));
    assert!(!effects.contains(&Effect::Spawn));
    // The first restart comes at once, with these commands again.
    assert_eq!(effects.last(), Some(&Effect::Run(Stage::Before)));
}

#[test]
fn a_command_that_stops_nothing_is_followed_by_the_signal() {
    let mut s = running("ExecStop=/bin/d\nTimeoutStopSec=2");
    s.step(Event::Stop, at(10));
    assert_eq!(s.deadline(), Some(at(2010)));
    let effects = s.step(Event::Deadline, at(2010));
    assert_eq!(effects, [Effect::CutHelpers, Effect::Terminate]);
}

#[test]
fn the_commands_of_a_oneshot_follow_each_other_until_one_fails() {
    let mut s = service("Type=oneshot\nExecStart=-/bin/b\nExecStart=/bin/c");
    s.step(Event::Start, at(0));
    assert!(s.step(died(0), at(1)).contains(&Effect::Spawn));
    assert_eq!(s.position(), 1);
    // Its failure does not matter.
    assert!(s.step(died(1), at(2)).contains(&Effect::Spawn));
    assert_eq!(s.position(), 2);
    s.step(died(0), at(3));
    assert!(s.is_up());
    let mut s = service("Type=oneshot\nExecStart=/bin/b");
    s.step(Event::Start, at(0));
    assert!(!s.step(died(1), at(1)).contains(&Effect::Spawn));
    assert_eq!(s.state(), State::Finished { ok: false });
}

#[test]
fn what_remains_after_its_exit_is_up_until_it_is_stopped() {
    let mut s =
        running("RemainAfterExit=yes\nRestart=always\nExecStop=/bin/d\nExecStopPost=/bin/e");
    s.step(died(0), at(10));
    assert!(s.is_up() && !s.is_alive());
    assert_eq!(s.step(Event::Stop, at(20)), [Effect::Run(Stage::Stop)]);
    let effects = s.step(stage_ended(0), at(21));
    assert_eq!(effects.last(), Some(&Effect::Run(Stage::Finish)));
    s.step(stage_ended(0), at(22));
    assert_eq!(s.state(), State::Idle);
    let mut s = running("RemainAfterExit=yes\nRestart=always");
    assert!(s.step(died(1), at(10)).contains(&Effect::Spawn));
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
            any::<bool>().prop_map(|ok| Event::Checked { ok }),
            (0..2i32).prop_map(stage_ended),
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

    const EVERYTHING: &str = "ExecStartPre=/b\nExecStartPost=/c\nExecStop=/d\nExecStopPost=/e";

    fn any_service() -> impl Strategy<Value = Service> {
        let units = [
            "Type=notify\nRestart=always\nX-Drain=/bin/d".to_owned(),
            format!("Type=notify\nRestart=always\n{EVERYTHING}\nX-Drain=/bin/d"),
            format!("Type=oneshot\nExecStart=/bin/b\n{EVERYTHING}\nRestart=on-failure"),
            format!("RemainAfterExit=yes\n{EVERYTHING}\nRestart=on-failure"),
            "Type=oneshot\nExecStart=-/bin/b\nExecStopPost=/e".to_owned(),
        ];
        let units = prop::sample::select(units.to_vec());
        prop_oneof![units.prop_map(|unit| service(&unit)), Just(checked())]
    }

    /// What runs, by the effects that were asked for.
    #[derive(Debug, Default)]
    struct World {
        program: bool,
        has_executed: bool,
        stage: Option<Stage>,
        check: bool,
    }

    impl World {
        /// Whether this can happen now; takes away what has ended.
        fn allows(&mut self, event: Event) -> bool {
            match event {
                Event::Executed => self.program && !std::mem::replace(&mut self.has_executed, true),
                Event::Ready => self.program,
                Event::Exited { .. } => std::mem::take(&mut self.program),
                Event::Checked { .. } => std::mem::take(&mut self.check),
                Event::StageEnded { .. } => self.stage.take().is_some(),
                _ => true,
            }
        }

        fn carry_out(&mut self, effect: Effect) {
            match effect {
                Effect::Spawn => {
                    assert!(!self.program && self.stage.is_none());
                    self.program = true;
                    self.has_executed = false;
                }
                Effect::Run(stage) => {
                    assert!(self.stage.is_none());
                    let is_around = matches!(stage, Stage::Before | Stage::Finish);
                    assert!(!(is_around && self.program), "{stage:?}");
                    self.stage = Some(stage);
                }
                Effect::Check => {
                    assert!(self.program && !self.check);
                    self.check = true;
                }
                Effect::CutHelpers => {
                    self.stage = None;
                    self.check = false;
                }
                Effect::Terminate | Effect::Abort | Effect::Kill | Effect::Drain => {
                    assert!(self.program);
                }
                Effect::EndAppliance | Effect::Note(_) => {}
            }
        }
    }

    proptest! {
        /// A fake world that does what it is told always agrees with `is_alive`, and no effect ever asks
        /// for a second process beside one that it would disturb.
        #[test]
        fn one_process_at_most(
            mut s in any_service(),
            events in prop::collection::vec((any_event(), 1..2000u64), 0..80),
        ) {
            let mut world = World::default();
            let mut now = at(0);
            for (event, wait) in events {
                now += at(wait);
                if !world.allows(event) {
                    continue;
                }
                for effect in s.step(event, now) {
                    world.carry_out(effect);
                }
                prop_assert_eq!(s.is_alive(), world.program || world.stage.is_some(), "{:?} {:?}", s.state(), world);
                prop_assert!(!world.check || world.program);
            }
        }

        /// Whatever came before, an order to stop followed by the passing of time ends in rest, or waits for
        /// what is bounded elsewhere: a killed process and the commands after the end.
        #[test]
        fn a_stop_always_comes_to_an_end(
            mut s in any_service(),
            events in prop::collection::vec(any_event(), 0..40),
        ) {
            let mut world = World::default();
            let mut now = at(0);
            for event in events {
                now += at(10);
                if world.allows(event) {
                    s.step(event, now).into_iter().for_each(|effect| world.carry_out(effect));
                }
            }
            s.step(Event::Stop, now);
            for _ in 0..40 {
                let Some(next) = s.deadline() else { break };
                now = next;
                s.step(Event::Deadline, now);
            }
            let state = s.state();
            let is_bounded = matches!(state, State::Killed | State::Finishing { .. });
            prop_assert!(is_bounded || matches!(state, State::Idle | State::Finished { .. }), "{state:?}");
        }
    }
}
