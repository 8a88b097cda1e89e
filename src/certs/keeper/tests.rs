use super::*;
use crate::certs::pair::Algorithm;
use proptest::prelude::*;

const NOW: i64 = 1_000_000;

fn found(digest: &str) -> Found {
    Found {
        source: Source::Traefik,
        digest: digest.to_owned(),
        facts: vec![Facts {
            fingerprint: format!("print-{digest}"),
            algorithm: Algorithm::Ecdsa,
            bits: 256,
            names: vec!["pbx.example.com".to_owned()],
            issuer: String::new(),
            serial: String::new(),
            not_before: NOW,
            not_after: NOW + 100,
            is_self_signed: false,
            is_staging: false,
            chain: Vec::new(),
            notes: Vec::new(),
        }],
    }
}

fn live(digest: &str) -> Live {
    Live {
        generation: format!("gen-{digest}"),
        found: found(digest),
    }
}

fn shown(digest: &str) -> Vec<Proof> {
    vec![proof(Outcome::Shown(format!("print-{digest}")))]
}

fn broken() -> Vec<Proof> {
    vec![proof(Outcome::Failed("reset".to_owned()))]
}

fn closed() -> Vec<Proof> {
    vec![proof(Outcome::Closed)]
}

fn proof(outcome: Outcome) -> Proof {
    Proof {
        what: "sips".to_owned(),
        address: ([127, 0, 0, 1], 5061).into(),
        asked: None,
        outcome,
    }
}

/// A keeper that rests with `old` in use, shown by its listener.
fn resting() -> Keeper {
    let mut keeper = Keeper::new(Some(live("old")), Vec::new());
    assert_eq!(keeper.step(Event::Tick, NOW), [Effect::Look]);
    let effects = keeper.step(Event::Looked(Ok(found("old"))), NOW);
    assert_eq!(effects, [Effect::Prove]);
    assert_eq!(keeper.step(Event::Proved(shown("old")), NOW), []);
    assert!(keeper.is_resting());
    keeper
}

/// Takes the keeper to where `new` is switched to and the PBX was told.
fn reloaded() -> Keeper {
    let mut keeper = resting();
    assert_eq!(keeper.step(Event::Look, NOW), [Effect::Look]);
    let effects = keeper.step(Event::Looked(Ok(found("new"))), NOW);
    assert_eq!(effects, [Effect::Prove], "what is shown before");
    assert_eq!(
        keeper.step(Event::Proved(shown("old")), NOW),
        [Effect::Stage]
    );
    let effects = keeper.step(Event::Staged(Ok("gen-new".into())), NOW);
    assert_eq!(effects, [Effect::Switch("gen-new".into())]);
    let effects = keeper.step(Event::Switched(Ok(())), NOW);
    assert_eq!(effects, [Effect::Reload { heal: false }]);
    assert_eq!(
        keeper.step(Event::Reloaded(Reload::Done), NOW),
        [Effect::Prove]
    );
    keeper
}

fn whats(effects: &[Effect]) -> Vec<What> {
    let records = effects.iter().filter_map(|effect| match effect {
        Effect::Record(record) => Some(record.what),
        _ => None,
    });
    records.collect()
}

#[test]
fn a_new_certificate_is_staged_switched_to_reloaded_and_proven_and_then_the_hook_runs() {
    let mut keeper = reloaded();
    let effects = keeper.step(Event::Proved(shown("new")), NOW);
    assert_eq!(whats(&effects), [What::Proven]);
    assert_eq!(effects.last(), Some(&Effect::RunHook));
    assert_eq!(keeper.live(), Some(&live("new")));
    assert_eq!(keeper.trouble(), None);
}

#[test]
fn t24_and_t25_what_is_already_in_use_causes_nothing() {
    let mut keeper = resting();
    assert_eq!(keeper.step(Event::Look, NOW), [Effect::Look]);
    assert_eq!(keeper.step(Event::Looked(Ok(found("old"))), NOW), []);
    assert!(keeper.is_resting());
}

#[test]
fn t18_nothing_found_keeps_what_is_in_use_and_says_why() {
    let mut keeper = resting();
    keeper.step(Event::Look, NOW);
    let effects = keeper.step(Event::Looked(Err("no match".into())), NOW);
    assert_eq!((effects, keeper.nothing()), (vec![], Some("no match")));
    assert_eq!(keeper.live(), Some(&live("old")));
}

#[test]
fn a_certificate_that_is_refused_is_healed_once_then_rolled_back_and_left_aside() {
    for bad in [broken(), shown("old")] {
        let mut keeper = reloaded();
        let effects = keeper.step(Event::Proved(bad.clone()), NOW);
        assert_eq!(effects, [Effect::Reload { heal: true }]);
        keeper.step(Event::Reloaded(Reload::Done), NOW);
        let effects = keeper.step(Event::Proved(bad), NOW);
        assert_eq!(
            effects,
            [
                Effect::KeepRefused,
                Effect::Switch("gen-old".into()),
                Effect::Reload { heal: true }
            ]
        );
        keeper.step(Event::Switched(Ok(())), NOW);
        let effects = keeper.step(Event::Reloaded(Reload::Done), NOW);
        assert_eq!(effects, [Effect::Prove]);
        let effects = keeper.step(Event::Proved(shown("old")), NOW);
        assert_eq!(whats(&effects), [What::RolledBack]);
        assert_eq!(keeper.live(), Some(&live("old")));
        assert!(keeper.trouble().unwrap().contains("in use again"));
        // It is not tried again, until another one comes or somebody says so.
        keeper.step(Event::Look, NOW);
        assert_eq!(keeper.step(Event::Looked(Ok(found("new"))), NOW), []);
        assert!(keeper.nothing().unwrap().contains("refused before"));
        let effects = keeper.step(Event::Forgive, NOW);
        assert_eq!(effects, [Effect::KeepRefused, Effect::Look]);
        let effects = keeper.step(Event::Looked(Ok(found("new"))), NOW);
        assert_eq!(effects, [Effect::Prove]);
    }
}

#[test]
fn t35_a_pbx_that_is_down_reads_its_files_when_it_starts_and_is_asked_then() {
    let mut keeper = resting();
    keeper.step(Event::Look, NOW);
    keeper.step(Event::Looked(Ok(found("new"))), NOW);
    keeper.step(Event::Proved(closed()), NOW);
    keeper.step(Event::Staged(Ok("gen-new".into())), NOW);
    keeper.step(Event::Switched(Ok(())), NOW);
    let effects = keeper.step(Event::Reloaded(Reload::PbxDown), NOW);
    assert_eq!(whats(&effects), [What::Switched]);
    let later = NOW + LOOK;
    assert_eq!(keeper.step(Event::Tick, later), [Effect::Look]);
    let effects = keeper.step(Event::Looked(Ok(found("new"))), later);
    assert_eq!(effects, [Effect::Prove]);
    assert_eq!(keeper.step(Event::Proved(shown("new")), later), []);
    assert_eq!(keeper.trouble(), None);
}

#[test]
fn t36_a_disk_that_is_full_leaves_everything_as_it_is_and_is_told_once() {
    let mut keeper = resting();
    for (at, told) in [(NOW, 1), (NOW + LOOK, 0)] {
        keeper.step(Event::Look, at);
        keeper.step(Event::Looked(Ok(found("new"))), at);
        keeper.step(Event::Proved(shown("old")), at);
        let effects = keeper.step(Event::Staged(Err("no space".into())), at);
        assert_eq!(whats(&effects).len(), told);
        assert_eq!(keeper.live(), Some(&live("old")));
        assert_eq!(keeper.trouble(), Some("no space"));
    }
    // Room again.
    let mut room = keeper;
    room.step(Event::Look, NOW);
    room.step(Event::Looked(Ok(found("new"))), NOW);
    room.step(Event::Proved(shown("old")), NOW);
    let effects = room.step(Event::Staged(Ok("gen-new".into())), NOW);
    assert_eq!(effects, [Effect::Switch("gen-new".into())]);
}

#[test]
fn a_first_certificate_that_is_refused_stays_for_there_is_no_other() {
    let mut keeper = Keeper::new(None, Vec::new());
    keeper.step(Event::Tick, NOW);
    keeper.step(Event::Looked(Ok(found("new"))), NOW);
    keeper.step(Event::Proved(broken()), NOW);
    keeper.step(Event::Staged(Ok("gen-new".into())), NOW);
    keeper.step(Event::Switched(Ok(())), NOW);
    keeper.step(Event::Reloaded(Reload::Done), NOW);
    keeper.step(Event::Proved(broken()), NOW);
    keeper.step(Event::Reloaded(Reload::Done), NOW);
    let effects = keeper.step(Event::Proved(broken()), NOW);
    assert_eq!(whats(&effects), [What::Kept]);
    assert_eq!(keeper.live(), Some(&live("new")));
}

#[test]
fn a_listener_that_lost_the_certificate_is_healed_once_and_then_told() {
    let mut keeper = resting();
    let at = NOW + PROVE;
    keeper.step(Event::Tick, at);
    let effects = keeper.step(Event::Looked(Ok(found("old"))), at);
    assert_eq!(effects, [Effect::Prove]);
    let effects = keeper.step(Event::Proved(broken()), at);
    assert_eq!(effects, [Effect::Reload { heal: true }]);
    let effects = keeper.step(Event::Reloaded(Reload::Done), at);
    assert_eq!(effects, [Effect::Prove]);
    let mut other = keeper.clone();
    let effects = keeper.step(Event::Proved(shown("old")), at);
    assert_eq!(whats(&effects), [What::Healed]);
    assert_eq!(keeper.trouble(), None);
    // Or it is not.
    assert_eq!(other.step(Event::Proved(broken()), at), []);
    assert!(other.trouble().unwrap().contains("makes no handshake"));
    let next = at + PROVE;
    other.step(Event::Tick, next);
    other.step(Event::Looked(Ok(found("old"))), next);
    assert_eq!(other.step(Event::Proved(broken()), next), [], "no storm");
}

#[test]
fn a_clock_that_is_set_back_by_years_delays_nothing() {
    let mut keeper = resting();
    let past = NOW - 900_000;
    assert_eq!(keeper.step(Event::Tick, past), []);
    assert_eq!(keeper.step(Event::Tick, past + LOOK), [Effect::Look]);
}

#[test]
fn without_any_certificate_it_sleeps_between_two_looks() {
    let mut keeper = Keeper::new(None, Vec::new());
    keeper.step(Event::Tick, NOW);
    keeper.step(Event::Looked(Err("nothing".into())), NOW);
    assert_eq!(keeper.wakes_at(), NOW + LOOK);
}

#[test]
fn t34_a_word_that_comes_while_it_works_is_heard_afterwards() {
    let mut keeper = reloaded();
    assert_eq!(keeper.step(Event::Look, NOW), []);
    keeper.step(Event::Proved(shown("new")), NOW);
    assert_eq!(keeper.step(Event::Tick, NOW), [Effect::Look]);
    // And once.
    keeper.step(Event::Looked(Ok(found("new"))), NOW);
    assert_eq!(keeper.step(Event::Tick, NOW), []);
}

/// Answers an effect of work in one of the ways in which the world can.
fn answer(effect: &Effect, choice: usize) -> Option<Event> {
    let proofs = [
        shown("old"),
        shown("new"),
        shown("third"),
        broken(),
        closed(),
    ];
    Some(match effect {
        Effect::Look => match choice % 4 {
            0 => Event::Looked(Err("nothing".into())),
            1 => Event::Looked(Ok(found("old"))),
            2 => Event::Looked(Ok(found("new"))),
            _ => Event::Looked(Ok(found("third"))),
        },
        Effect::Stage if choice.is_multiple_of(5) => Event::Staged(Err("full".into())),
        Effect::Stage => Event::Staged(Ok(format!("gen-{choice}"))),
        Effect::Switch(_) if choice.is_multiple_of(7) => Event::Switched(Err("read-only".into())),
        Effect::Switch(_) => Event::Switched(Ok(())),
        Effect::Reload { .. } => Event::Reloaded(match choice % 3 {
            0 => Reload::PbxDown,
            1 => Reload::Done,
            _ => Reload::Failed("silent".into()),
        }),
        Effect::Prove => Event::Proved(proofs[choice % proofs.len()].clone()),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn whatever_the_world_answers_it_comes_to_rest_and_never_loses_what_it_had(choices in proptest::collection::vec(0..1000usize, 1..200)) {
        let mut keeper = Keeper::new(Some(live("old")), Vec::new());
        let mut choices = choices.into_iter();
        let mut now = NOW;
        while let Some(choice) = choices.next() {
            now += 31;
            let mut effects = keeper.step(if choice % 9 == 0 { Event::Forgive } else { Event::Tick }, now);
            let mut steps = 0;
            while !keeper.is_resting() {
                let work = effects.iter().filter(|effect| answer(effect, 0).is_some()).cloned();
                let work: Vec<Effect> = work.collect();
                prop_assert!(!work.is_empty(), "it waits for nothing");
                effects.clear();
                for effect in work {
                    let choice = choices.next().unwrap_or(1);
                    effects.extend(keeper.step(answer(&effect, choice).unwrap(), now));
                }
                steps += 1;
                prop_assert!(steps < 30, "it goes in circles");
            }
            prop_assert!(keeper.live().is_some());
            prop_assert!(keeper.refused().len() <= MOST_REFUSED);
        }
    }
}
