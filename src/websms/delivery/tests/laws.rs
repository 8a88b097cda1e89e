//! What holds whatever happens, in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One thing that happens: a kind, a message, a contact, an amount.
type Happening = (u8, usize, usize, u16);

const CONTACTS: [&str; 3] = ["a", "b", "c"];
const CODES: [u16; 8] = [100, 200, 202, 404, 408, 486, 503, 606];

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    prop::collection::vec((0u8..12, 0usize..6, 0usize..3, any::<u16>()), 1..120)
}

fn phone_event(kind: u8, contact: &str, amount: u16) -> Event {
    match kind {
        0 | 1 => came(contact),
        2 => went(contact),
        3 => Event::HandedOver(contact.to_owned()),
        4 => Event::NotHandedOver {
            contact: contact.to_owned(),
            jitter: 20,
        },
        5 | 6 => answered(contact, CODES[usize::from(amount) % CODES.len()]),
        7 => Event::Cancel,
        _ => Event::Clock { jitter: -20 },
    }
}

proptest! {
    #[test]
    fn no_phone_sees_a_later_message_first_and_ends_are_final(
        all in any::<bool>(),
        happenings in happenings(),
    ) {
        let rule = if all { Rule::All } else { Rule::Any };
        let terms = Terms { rule, ..Terms::default() };
        let mut line: Line<usize> = Line::default();
        let mut states: BTreeMap<usize, State> = BTreeMap::new();
        let mut latest: BTreeMap<String, usize> = BTreeMap::new();
        let mut tried: BTreeMap<(usize, String), Moment> = BTreeMap::new();
        let (mut now, mut known) = (NOW, 0);
        for (kind, message, contact, amount) in happenings {
            let effects = if kind >= 10 {
                known += 1;
                states.insert(known, State::Received);
                line.add(known, Incoming::new(&terms, now), now)
            } else {
                if kind >= 8 {
                    now += i64::from(amount) * if amount % 97 == 0 { 10_000 } else { 1 };
                }
                let event = phone_event(kind, CONTACTS[contact], amount);
                let message = message % known.max(1) + 1;
                let of_all = matches!(event, Event::Came(_) | Event::Went(_) | Event::Clock { .. });
                line.step((!of_all).then_some(&message), event, now)
            };
            for (id, effect) in effects {
                match effect {
                    Effect::Become(state) => {
                        let before = states.insert(id, state).unwrap();
                        prop_assert!(!before.is_final(), "{id}: {before} -> {state}");
                        prop_assert!(before != state);
                    }
                    Effect::SendTo(contact) => {
                        let last = latest.entry(contact.clone()).or_insert(id);
                        prop_assert!(*last <= id, "{contact} got {last} before {id}");
                        *last = id;
                        if let Some(before) = tried.insert((id, contact), now) {
                            // 5 s less a fifth.
                            prop_assert!(now - before >= 4_000, "{}", now - before);
                        }
                    }
                    Effect::Write(_) => {}
                    Effect::Send => prop_assert!(false, "not to a carrier"),
                }
            }
            // Each message is in the state that was written down, and what is left out of the line is at rest.
            for (id, state) in &states {
                match line.get(id) {
                    Some(message) => prop_assert_eq!(message.state(), *state),
                    None => prop_assert!(!state.is_open()),
                }
            }
            // A deadline that has passed was obeyed: else the caller would spin.
            let spins = kind >= 8 && line.deadline().is_some_and(|at| at <= now);
            prop_assert!(!spins);
        }
    }

    #[test]
    fn of_a_pair_one_is_under_way_and_the_pace_is_kept(
        rate in 1u32..20,
        happenings in happenings(),
    ) {
        let terms = Terms::default();
        let mut outbox = Outbox::new(Bucket::new(Some(f64::from(rate)), NOW));
        let pair = |n: usize| Pair { from: CONTACTS[n].to_owned(), to: "z".to_owned() };
        let mut known: Vec<usize> = vec![];
        let mut states: Vec<State> = vec![];
        let mut left: BTreeMap<usize, usize> = BTreeMap::new();
        let (mut now, mut sent) = (NOW, 0.0);
        for (kind, message, contact, amount) in happenings {
            let id = message % known.len().max(1);
            let whose = known.get(id).copied().unwrap_or(contact);
            let effects = match kind {
                8.. => {
                    known.push(contact);
                    states.push(State::Queued);
                    outbox.add(known.len() - 1, pair(contact), Outgoing::new(&terms, now), now)
                }
                0 | 1 => {
                    now += i64::from(amount);
                    outbox.clock(now)
                }
                2 => outbox.step(&pair(whose), &id, &Event::Cancel, now),
                3 => outbox.step(&pair(whose), &id, &Event::Retry, now),
                kind => {
                    let said = match kind {
                        4 => Verdict::Later(Some(i64::from(amount))),
                        5 => Verdict::Silent { repeatable: amount % 2 == 0 },
                        6 => Verdict::Refused,
                        _ => Verdict::Taken,
                    };
                    outbox.step(&pair(whose), &id, &verdict(said), now)
                }
            };
            for (id, effect) in effects {
                match effect {
                    Effect::Become(state) => {
                        prop_assert!(states[id].is_open(), "{id}: {} -> {state}", states[id]);
                        states[id] = state;
                    }
                    Effect::Send => {
                        sent += 1.0;
                        let last = left.entry(known[id]).or_insert(id);
                        prop_assert!(*last <= id, "{last} before {id}");
                        *last = id;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            for whose in 0..CONTACTS.len() {
                let under_way = states.iter().zip(&known);
                let under_way = under_way.filter(|(s, of)| **s == State::Sending && **of == whose);
                prop_assert!(under_way.count() <= 1);
            }
            let allowed = f64::from(rate) * (1.0 + (now - NOW) as f64 / 1000.0);
            prop_assert!(sent <= allowed + 0.1, "{sent} of {allowed}");
        }
    }

    #[test]
    fn a_pause_grows_and_ends_at_an_hour(tries in 1u32..100, jitter in -20i8..=20) {
        let (this, next) = (pause(tries, jitter, None), pause(tries + 1, jitter, None));
        prop_assert!(this <= next && (4_000..=HOUR).contains(&this));
        prop_assert!(pause(tries, jitter, Some(2 * HOUR)) == 2 * HOUR);
    }
}
