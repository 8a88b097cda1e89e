use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn facts(id: &str, from: i64, life: i64) -> Facts {
    Facts {
        id: id.to_owned(),
        not_before: from,
        not_after: from + life,
    }
}

fn wanted() -> Vec<String> {
    vec!["ecc".to_owned()]
}

fn have(facts: Facts) -> BTreeMap<String, Facts> {
    BTreeMap::from([("ecc".to_owned(), facts)])
}

fn failed(kind: Kind, retry_after: Option<i64>) -> Event {
    Event::Failed {
        kind,
        retry_after,
        text: "x".to_owned(),
    }
}

/// One that has seen a certificate of 90 days, made now.
fn with_certificate() -> Schedule {
    let mut schedule = Schedule::new();
    schedule.see("s", "d", &have(facts("1", NOW, 90 * DAY)), NOW, 0);
    schedule.step(Event::NotTold("ecc".to_owned(), None), NOW, 0);
    schedule
}

/// How long it waits with an order after these failures, each at its moment.
fn wait_after(events: &[(Kind, Option<i64>)]) -> i64 {
    let mut schedule = Schedule::new();
    schedule.see("s", "d", &BTreeMap::new(), NOW, 0);
    let mut now = NOW;
    for (kind, retry_after) in events {
        schedule.step(Event::Began, now, 0);
        schedule.step(failed(*kind, *retry_after), now, 0);
        now = schedule.not_before;
    }
    schedule.not_before - schedule.trouble().unwrap().at
}

#[test]
fn without_a_certificate_one_is_ordered_at_once() {
    let mut schedule = Schedule::new();
    schedule.see("s", "d", &BTreeMap::new(), NOW, 0);
    assert_eq!(schedule.next(&wanted(), NOW), Next::Order(wanted()));
}

#[test]
fn only_the_kind_that_is_missing_or_due_is_ordered() {
    let schedule = with_certificate();
    let both = vec!["ecc".to_owned(), "rsa".to_owned()];
    assert_eq!(
        schedule.next(&both, NOW),
        Next::Order(vec!["rsa".to_owned()])
    );
    assert_eq!(
        schedule.next(&both, NOW + 61 * DAY),
        Next::Order(both.clone())
    );
}

#[test]
fn a_certificate_is_renewed_with_a_third_of_its_life_left_and_a_short_one_with_a_half() {
    let renew_at = |life, dice| {
        let mut schedule = Schedule::new();
        schedule.see("s", "d", &have(facts("1", NOW, life)), NOW, dice);
        schedule.renew_at("ecc").unwrap() - NOW
    };
    assert_eq!(renew_at(90 * DAY, 0), 60 * DAY);
    assert_eq!(renew_at(6 * DAY, 0), 3 * DAY);
    // By chance somewhat earlier.
    assert_eq!(
        renew_at(100 * DAY, u64::MAX),
        100 * DAY - 100 * DAY / 3 - 2 * DAY
    );
    // One that came from elsewhere and is over is renewed now.
    let mut schedule = Schedule::new();
    schedule.see(
        "s",
        "d",
        &have(facts("1", NOW - 90 * DAY, 80 * DAY)),
        NOW,
        0,
    );
    assert_eq!(schedule.next(&wanted(), NOW), Next::Order(wanted()));
}

#[test]
fn the_authoritys_window_decides_but_cannot_let_a_certificate_end() {
    let told = |start, end, dice| {
        let mut schedule = with_certificate();
        let window = Window {
            start: NOW + start,
            end: NOW + end,
        };
        schedule.step(Event::Told("ecc".to_owned(), window, HOUR), NOW, dice);
        schedule.renew_at("ecc").unwrap() - NOW
    };
    assert_eq!(told(40 * DAY, 50 * DAY, 0), 40 * DAY);
    assert_eq!(told(40 * DAY, 50 * DAY, u64::MAX), 50 * DAY);
    // It was revoked: the window is in the past.
    assert_eq!(told(-DAY, -HOUR, 0), -DAY);
    assert_eq!(told(200 * DAY, 300 * DAY, 0), 75 * DAY);
    // What is no window changes nothing.
    assert_eq!(told(50 * DAY, 40 * DAY, 0), 60 * DAY);
}

#[test]
fn the_same_window_is_not_diced_for_again() {
    let mut schedule = with_certificate();
    let window = Window {
        start: NOW + DAY,
        end: NOW + 9 * DAY,
    };
    schedule.step(Event::Told("ecc".to_owned(), window, HOUR), NOW, 0);
    schedule.step(
        Event::Told("ecc".to_owned(), window, HOUR),
        NOW + HOUR,
        u64::MAX,
    );
    assert_eq!(schedule.renew_at("ecc"), Some(NOW + DAY));
}

#[test]
fn windows_are_asked_for_when_the_authority_says_so_and_within_a_day() {
    let mut schedule = with_certificate();
    let asks_after = |schedule: &Schedule| match schedule.next(&wanted(), NOW) {
        Next::Rest(until) => until - NOW,
        other => panic!("{other:?}"),
    };
    for (again, expected) in [(3 * HOUR, 3 * HOUR), (1, MINUTE), (30 * DAY, LONGEST_REST)] {
        let window = Window {
            start: NOW + 50 * DAY,
            end: NOW + 51 * DAY,
        };
        schedule.step(Event::Told("ecc".to_owned(), window, again), NOW, 0);
        assert_eq!(asks_after(&schedule), expected);
    }
    assert_eq!(
        schedule.next(&wanted(), NOW + DAY),
        Next::AskWindows(wanted())
    );
    schedule.step(Event::NotTold("ecc".to_owned(), Some(1)), NOW, 0);
    assert_eq!(asks_after(&schedule), HOUR);
}

#[test]
fn the_wait_after_a_failure_follows_its_kind() {
    use Kind::{Interrupted, Local, RateLimited, Refused, Rejected, ServerDown};
    for (events, wait) in [
        (&[(ServerDown, None)][..], MINUTE),
        (&[(ServerDown, None), (ServerDown, None)], 2 * MINUTE),
        (&[(ServerDown, None); 12], HOUR),
        (&[(ServerDown, Some(600))], 10 * MINUTE),
        (&[(Local, None)], MINUTE),
        (&[(Refused, None)], 15 * MINUTE),
        (&[(Refused, None); 3], HOUR),
        (&[(Refused, None); 12], 12 * HOUR),
        (&[(Rejected, None)], HOUR),
        (&[(RateLimited, Some(3 * DAY))], 3 * DAY),
        (&[(RateLimited, Some(90 * DAY))], LONGEST),
        (&[(RateLimited, Some(1))], MINUTE),
        (&[(RateLimited, Some(1)); 9], HOUR),
        (&[(RateLimited, None)], 6 * HOUR),
        (&[(RateLimited, None); 4], DAY),
        (&[(Interrupted, None)], 5 * MINUTE),
    ] {
        assert_eq!(wait_after(events), wait, "{events:?}");
    }
}

#[test]
fn an_attempt_that_was_not_survived_counts() {
    let mut schedule = Schedule::new();
    schedule.see("s", "d", &BTreeMap::new(), NOW, 0);
    schedule.step(Event::Began, NOW, 0);
    let schedule = Schedule::parse(&schedule.text()).unwrap();
    assert_eq!(schedule.next(&wanted(), NOW), Next::Rest(NOW + 5 * MINUTE));
    assert_eq!(schedule.trouble().unwrap().kind, Kind::Interrupted);
}

#[test]
fn changed_settings_are_tried_at_once_unless_the_authority_wanted_us_to_wait() {
    for (kind, directory, is_tried) in [
        (Kind::Rejected, "d", true),
        (Kind::RateLimited, "d", false),
        (Kind::RateLimited, "another", true),
    ] {
        let mut schedule = Schedule::new();
        schedule.see("s", "d", &BTreeMap::new(), NOW, 0);
        schedule.step(Event::Began, NOW, 0);
        schedule.step(failed(kind, None), NOW, 0);
        schedule.see("s", "d", &BTreeMap::new(), NOW, 0);
        assert!(
            matches!(schedule.next(&wanted(), NOW + 1), Next::Rest(_)),
            "{kind:?}"
        );
        schedule.see("changed", directory, &BTreeMap::new(), NOW, 0);
        let next = schedule.next(&wanted(), NOW + 1);
        assert_eq!(
            next == Next::Order(wanted()),
            is_tried,
            "{kind:?} {directory}"
        );
    }
}

#[test]
fn success_ends_the_trouble() {
    let mut schedule = Schedule::new();
    schedule.step(Event::Began, NOW, 0);
    schedule.step(failed(Kind::Refused, None), NOW, 0);
    schedule.step(Event::Began, NOW + HOUR, 0);
    let issued = Event::Issued("ecc".to_owned(), facts("1", NOW, 90 * DAY));
    schedule.step(issued, NOW + HOUR, 0);
    assert_eq!((schedule.trouble(), schedule.failures), (None, 0));
    assert_eq!(
        schedule.next(&wanted(), NOW + HOUR),
        Next::AskWindows(wanted())
    );
}

#[test]
fn an_authority_that_gives_certificates_of_yesterday_or_for_minutes_is_not_asked_again_at_once() {
    for (from, life) in [(NOW - 90 * DAY, 80 * DAY), (NOW, 4 * MINUTE)] {
        let mut schedule = Schedule::new();
        schedule.step(Event::Began, NOW, 0);
        let issued = Event::Issued("ecc".to_owned(), facts("1", from, life));
        schedule.step(issued, NOW, 0);
        schedule.step(Event::NotTold("ecc".to_owned(), None), NOW, 0);
        let later = NOW + 14 * MINUTE;
        assert!(
            matches!(schedule.next(&wanted(), later), Next::Rest(until) if until == later + MINUTE)
        );
    }
}

#[test]
fn a_file_of_a_later_version_or_a_damaged_one_is_not_taken() {
    let text = Schedule::new().text();
    assert_eq!(Schedule::parse(&text).unwrap(), Schedule::new());
    let later = text.replace("\"schema\": 1", "\"schema\": 2");
    assert_eq!(Schedule::parse(&later), Err(StateError::Future(2)));
    assert!(matches!(
        Schedule::parse(&text[..20]),
        Err(StateError::Broken(_))
    ));
    let lost = Schedule::after_loss(NOW);
    assert_eq!(lost.next(&wanted(), NOW), Next::Rest(NOW + HOUR));
}

/// What may happen between two looks at the clock.
#[derive(Debug, Clone)]
enum Turn {
    Pass(i64),
    Fail(Kind, Option<i64>),
    Issue(i64),
    Restart,
    Change(u8),
    /// Whoever holds the certificate lost it.
    Lose,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let kind = prop_oneof![
        Just(Kind::RateLimited),
        Just(Kind::Refused),
        Just(Kind::Rejected),
        Just(Kind::ServerDown),
        Just(Kind::Local),
    ];
    let turn = prop_oneof![
        (0i64..7200).prop_map(Turn::Pass),
        (kind, proptest::option::of(0i64..100_000))
            .prop_map(|(kind, after)| Turn::Fail(kind, after)),
        (-DAY..90 * DAY).prop_map(Turn::Issue),
        Just(Turn::Restart),
        any::<u8>().prop_map(Turn::Change),
        Just(Turn::Lose),
    ];
    proptest::collection::vec(turn, 1..200)
}

proptest! {
    #[test]
    fn there_is_never_a_storm(turns in turns(), dice: u64) {
        let mut schedule = Schedule::new();
        let mut subject = "s".to_owned();
        let mut have = BTreeMap::new();
        let mut now = NOW;
        let mut attempts: Vec<i64> = Vec::new();
        for (index, turn) in turns.into_iter().enumerate() {
            match &turn {
                Turn::Pass(seconds) => now += seconds,
                Turn::Restart => schedule = Schedule::parse(&schedule.text()).unwrap(),
                Turn::Change(which) => subject = which.to_string(),
                Turn::Lose => have.clear(),
                Turn::Fail(..) | Turn::Issue(_) => {}
            }
            schedule.see(&subject, "d", &have, now, dice);
            if !matches!(schedule.next(&wanted(), now), Next::Order(_)) {
                continue;
            }
            schedule.step(Event::Began, now, dice);
            attempts.push(now);
            let event = match turn {
                Turn::Fail(kind, retry_after) => failed(kind, retry_after),
                Turn::Issue(life) => {
                    let facts = facts(&index.to_string(), now, life);
                    have.insert("ecc".to_owned(), facts.clone());
                    Event::Issued("ecc".to_owned(), facts)
                }
                // It does not come to an end.
                _ => continue,
            };
            schedule.step(event, now, dice);
        }
        for (most, within) in [(MOST_PER_HOUR, HOUR), (MOST_PER_DAY, DAY)] {
            for at in &attempts {
                let count = attempts.iter().filter(|other| (*at..*at + within).contains(other)).count();
                prop_assert!(count <= most, "{count} within {within} s");
            }
        }
    }

    #[test]
    fn no_wait_is_longer_than_the_longest_even_when_the_clock_is_set_back(
        back in 0i64..10_000 * DAY, kinds in proptest::collection::vec(0u8..4, 0..30), dice: u64,
    ) {
        let mut schedule = Schedule::new();
        schedule.see("s", "d", &BTreeMap::new(), NOW, dice);
        for kind in kinds {
            schedule.step(Event::Began, NOW, dice);
            let kind = [Kind::RateLimited, Kind::Refused, Kind::ServerDown, Kind::Rejected][usize::from(kind)];
            schedule.step(failed(kind, Some(i64::MAX / 4)), NOW, dice);
        }
        let mut now = NOW - back;
        let end = now + LONGEST;
        while let Next::Rest(until) = schedule.next(&wanted(), now) {
            prop_assert!(until > now && until - now <= LONGEST_REST);
            now = until;
            prop_assert!(now <= end);
        }
    }

    #[test]
    fn a_rest_moves_on_and_a_certificate_is_renewed_before_it_ends(
        life in 2 * HOUR..400 * DAY, dice: u64, window in proptest::option::of((0i64..500 * DAY, 0i64..50 * DAY)),
    ) {
        let mut schedule = Schedule::new();
        schedule.see("s", "d", &have(facts("1", NOW, life)), NOW, dice);
        let mut now = NOW;
        loop {
            match schedule.next(&wanted(), now) {
                Next::Order(_) => break,
                Next::AskWindows(kinds) => {
                    for kind in kinds {
                        let event = match window {
                            Some((start, length)) => Event::Told(kind, Window { start: NOW + start, end: NOW + start + length }, 6 * HOUR),
                            None => Event::NotTold(kind, None),
                        };
                        schedule.step(event, now, dice);
                    }
                }
                Next::Rest(until) => {
                    prop_assert!(until > now);
                    now = until;
                }
            }
        }
        prop_assert!(now < NOW + life);
    }
}
