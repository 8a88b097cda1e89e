//! Whole lives of messages, without a phone and without a carrier.

mod laws;

use super::*;
use crate::websms::message::ReceiptState;

const NOW: Moment = 1_800_000_000_000;

fn came(contact: &str) -> Event {
    Event::Came(contact.to_owned())
}

fn went(contact: &str) -> Event {
    Event::Went(contact.to_owned())
}

fn answered(contact: &str, code: u16) -> Event {
    Event::Answered {
        contact: contact.to_owned(),
        code,
        retry_after: None,
        jitter: 0,
    }
}

fn clock() -> Event {
    Event::Clock { jitter: 0 }
}

fn verdict(verdict: Verdict) -> Event {
    Event::Verdict { verdict, jitter: 0 }
}

fn send(contact: &str) -> Effect {
    Effect::SendTo(contact.to_owned())
}

fn write(contact: &str) -> Effect {
    Effect::Write(contact.to_owned())
}

/// A message that is routed and has its turn, with these phones there.
fn incoming(terms: &Terms, contacts: &[&str]) -> Incoming {
    let mut message = Incoming::new(terms, NOW);
    message.step(Event::Routed, NOW);
    for contact in contacts {
        message.step(came(contact), NOW);
    }
    message.step(Event::Turn, NOW);
    message
}

#[test]
fn a_phone_that_answers_2xx_has_it() {
    let mut message = Incoming::new(&Terms::default(), NOW);
    let routed = message.step(Event::Routed, NOW);
    assert_eq!(routed, [Effect::Become(State::Routed)]);
    let held = message.step(Event::Turn, NOW);
    assert_eq!(held, [Effect::Become(State::Held)]);
    let sending = message.step(came("a"), NOW);
    assert_eq!(sending, [send("a"), Effect::Become(State::Sending)]);
    assert_eq!(message.step(Event::HandedOver("a".to_owned()), NOW), []);
    let done = message.step(answered("a", 200), NOW);
    assert_eq!(done, [write("a"), Effect::Become(State::Delivered)]);
    assert!(message.is_over());
}

#[test]
fn a_busy_phone_is_tried_again_after_5_then_10_seconds() {
    let mut message = incoming(&Terms::default(), &["a"]);
    message.step(answered("a", 486), NOW);
    assert_eq!(message.state(), State::Held);
    assert_eq!(message.deadline(), Some(NOW + 5_000));
    assert_eq!(message.step(clock(), NOW + 4_999), []);
    let again = message.step(clock(), NOW + 5_000);
    assert_eq!(again, [send("a"), Effect::Become(State::Sending)]);
    message.step(answered("a", 503), NOW + 5_000);
    assert_eq!(message.deadline(), Some(NOW + 15_000));
}

#[test]
fn a_silent_phone_is_given_32_seconds_and_its_late_answer_counts() {
    let mut message = incoming(&Terms::default(), &["a"]);
    assert_eq!(message.deadline(), Some(NOW + SILENCE));
    message.step(clock(), NOW + SILENCE);
    assert_eq!(message.state(), State::Held);
    message.step(answered("a", 200), NOW + SILENCE + 1);
    assert_eq!(message.state(), State::Delivered);
}

#[test]
fn retry_after_wins_when_it_is_longer() {
    let mut message = incoming(&Terms::default(), &["a"]);
    let busy = Event::Answered {
        contact: "a".to_owned(),
        code: 503,
        retry_after: Some(60_000),
        jitter: 0,
    };
    message.step(busy, NOW);
    assert_eq!(message.deadline(), Some(NOW + 60_000));
}

#[test]
fn refusals_end_it_and_what_a_repetition_may_change_does_not() {
    for code in [403, 404, 405, 415, 501, 603, 606] {
        let mut message = incoming(&Terms::default(), &["a"]);
        message.step(answered("a", code), NOW);
        assert_eq!(message.state(), State::Rejected, "{code}");
    }
    for code in [408, 480, 486, 500, 503, 600] {
        let mut message = incoming(&Terms::default(), &["a"]);
        message.step(answered("a", code), NOW);
        assert_eq!(message.state(), State::Held, "{code}");
    }
}

#[test]
fn one_phone_refuses_and_another_takes_it() {
    let mut message = incoming(&Terms::default(), &["a", "b"]);
    message.step(answered("a", 405), NOW);
    assert_eq!(message.state(), State::Sending);
    message.step(answered("b", 202), NOW);
    assert_eq!(message.state(), State::Delivered);
}

#[test]
fn with_any_the_other_phones_are_tried_a_while_longer() {
    let mut message = incoming(&Terms::default(), &["a", "b"]);
    message.step(answered("b", 486), NOW);
    message.step(answered("a", 200), NOW);
    assert_eq!(message.state(), State::Delivered);
    assert!(!message.is_over());
    assert_eq!(message.step(clock(), NOW + 5_000), [send("b")]);
    message.step(answered("b", 486), NOW + 5_000);
    message.step(clock(), NOW + LINGER);
    assert!(message.is_over());
    assert_eq!(message.state(), State::Delivered);
}

#[test]
fn with_all_every_phone_that_is_there_counts() {
    let terms = Terms {
        rule: Rule::All,
        ..Terms::default()
    };
    let mut message = incoming(&terms, &["a", "b"]);
    message.step(answered("a", 200), NOW);
    assert_eq!(message.state(), State::Sending);
    message.step(answered("b", 486), NOW);
    assert_eq!(message.state(), State::Held);
    let done = message.step(went("b"), NOW + 6_000);
    assert_eq!(done, [Effect::Become(State::Delivered)]);
}

#[test]
fn a_message_that_nobody_took_expires() {
    let mut message = incoming(&Terms::default(), &[]);
    assert_eq!(message.deadline(), Some(NOW + 7 * DAY));
    let end = message.step(clock(), NOW + 7 * DAY);
    assert_eq!(end, [Effect::Become(State::Expired)]);
    assert_eq!(message.deadline(), None);
    // Also one that was never routed.
    let mut message = Incoming::new(&Terms::default(), NOW);
    message.step(clock(), NOW + 7 * DAY);
    assert_eq!(message.state(), State::Expired);
}

#[test]
fn what_went_during_a_try_is_not_tried_again_and_what_comes_back_is_at_once() {
    let mut message = incoming(&Terms::default(), &["a"]);
    message.step(went("a"), NOW);
    message.step(clock(), NOW + SILENCE);
    assert_eq!(message.state(), State::Held);
    assert_eq!(message.deadline(), Some(NOW + 7 * DAY));
    let back = message.step(came("a"), NOW + SILENCE + 1);
    assert_eq!(back.first(), Some(&send("a")));
}

#[test]
fn a_phone_that_comes_and_goes_is_not_tried_more_often_than_every_5_seconds() {
    let mut message = incoming(&Terms::default(), &["a"]);
    message.step(answered("a", 486), NOW);
    message.step(went("a"), NOW + 1);
    assert_eq!(message.step(came("a"), NOW + 2), []);
    assert_eq!(message.deadline(), Some(NOW + 5_000));
}

#[test]
fn people_may_take_back_what_waits_and_retry_what_ended_badly() {
    let mut message = incoming(&Terms::default(), &["a"]);
    assert_eq!(message.step(Event::Cancel, NOW), [], "it is on the wire");
    message.step(answered("a", 486), NOW);
    let end = message.step(Event::Cancel, NOW);
    assert_eq!(end, [Effect::Become(State::Cancelled)]);
    assert!(message.is_over());
    let again = message.step(Event::Retry, NOW + 8 * DAY);
    assert_eq!(again, [Effect::Become(State::Routed)]);
    assert_eq!(message.deadline(), Some(NOW + 15 * DAY));
    let mut message = incoming(&Terms::default(), &["a"]);
    message.step(answered("a", 200), NOW);
    assert_eq!(message.step(Event::Retry, NOW), [], "the phone has it");
}

#[test]
fn after_a_restart_only_those_who_had_no_copy_get_one() {
    let terms = Terms {
        rule: Rule::All,
        ..Terms::default()
    };
    let mut message = incoming(&terms, &["a", "b"]);
    message.step(answered("a", 200), NOW);
    let legs = message.legs().to_vec();
    let mut message = Incoming::resume(&terms, NOW, State::Sending, legs);
    assert_eq!(message.step(came("a"), NOW), []);
    assert_eq!(message.step(came("b"), NOW), []);
    let turn = message.step(Event::Turn, NOW);
    assert_eq!(turn, [send("b"), Effect::Become(State::Sending)]);
}

#[test]
fn a_carrier_takes_it_and_tells_what_became_of_it() {
    let mut message = Outgoing::new(&Terms::default(), NOW);
    let sending = message.step(Event::Turn, NOW);
    assert_eq!(sending, [Effect::Become(State::Sending), Effect::Send]);
    message.step(verdict(Verdict::Taken), NOW);
    assert_eq!(message.state(), State::Accepted);
    message.step(Event::Receipt(ReceiptState::Delivered), NOW);
    assert_eq!(message.state(), State::Delivered);
    // One that was overtaken says nothing new.
    assert_eq!(message.step(Event::Receipt(ReceiptState::Sent), NOW), []);
}

#[test]
fn silence_after_the_request_is_never_repeated_without_a_key() {
    let mut message = Outgoing::new(&Terms::default(), NOW);
    message.step(Event::Turn, NOW);
    message.step(verdict(Verdict::Silent { repeatable: false }), NOW);
    assert_eq!(message.state(), State::Unknown);
    assert_eq!(message.step(Event::Turn, NOW + DAY), []);
    assert_eq!(message.ready_at(), None);
    let mut message = Outgoing::new(&Terms::default(), NOW);
    message.step(Event::Turn, NOW);
    message.step(verdict(Verdict::Silent { repeatable: true }), NOW);
    assert_eq!(message.ready_at(), Some(NOW + 5_000));
    // The same for a crash in the middle.
    let left = (State::Sending, None, 1);
    let (_, news) = Outgoing::resume(&Terms::default(), NOW, left, false);
    assert_eq!(news, [Effect::Become(State::Unknown)]);
    let (_, news) = Outgoing::resume(&Terms::default(), NOW, left, true);
    assert_eq!(news, [Effect::Become(State::Queued)]);
}

#[test]
fn a_carrier_that_is_busy_is_asked_until_the_day_is_over() {
    let mut message = Outgoing::new(&Terms::default(), NOW);
    message.step(Event::Turn, NOW);
    message.step(verdict(Verdict::Later(Some(7_000))), NOW);
    assert_eq!(message.ready_at(), Some(NOW + 7_000));
    let mut now = NOW + 7_000;
    let mut tries = 1;
    while message.state() == State::Queued {
        message.step(Event::Turn, now);
        message.step(verdict(Verdict::Later(None)), now);
        tries += 1;
        now = message.ready_at().unwrap_or(now);
    }
    assert_eq!(message.state(), State::Expired);
    assert!((30..40).contains(&tries), "{tries}");
}

#[test]
fn a_later_message_waits_for_the_earlier_one_and_both_leave_together() {
    let terms = Terms::default();
    let mut line = Line::default();
    for id in [1, 2] {
        line.add(id, Incoming::new(&terms, NOW), NOW);
    }
    assert_eq!(line.get(&1).map(Incoming::state), Some(State::Held));
    assert_eq!(line.get(&2).map(Incoming::state), Some(State::Routed));
    let out = line.step(None, came("a"), NOW);
    assert_eq!(out, [(1, send("a")), (1, Effect::Become(State::Sending))]);
    let out = line.step(Some(&1), answered("a", 200), NOW);
    let expected = [
        (1, write("a")),
        (1, Effect::Become(State::Delivered)),
        (2, send("a")),
        (2, Effect::Become(State::Sending)),
    ];
    assert_eq!(out, expected);
    line.step(Some(&2), answered("a", 200), NOW);
    assert!(line.is_empty());
}

#[test]
fn a_dead_phone_beside_does_not_hold_up_the_one_that_works() {
    let terms = Terms::default();
    let mut line = Line::new(vec!["a".to_owned(), "dead".to_owned()]);
    line.add(1, Incoming::new(&terms, NOW), NOW);
    line.add(2, Incoming::new(&terms, NOW), NOW);
    let out = line.step(Some(&1), answered("a", 200), NOW);
    assert!(out.contains(&(2, send("a"))), "{out:?}");
    assert!(!out.contains(&(2, send("dead"))), "{out:?}");
    // When the first is given up there, or taken, the second may go.
    let out = line.step(Some(&1), answered("dead", 404), NOW + 1);
    assert!(out.contains(&(2, send("dead"))), "{out:?}");
}

#[test]
fn a_carriers_pace_is_kept_and_pairs_do_not_wait_for_each_other() {
    let terms = Terms::default();
    let pair = |from: &str| Pair {
        from: from.to_owned(),
        to: "z".to_owned(),
    };
    let mut outbox = Outbox::new(Bucket::new(Some(1.0), NOW));
    let sending = |id| [(id, Effect::Become(State::Sending)), (id, Effect::Send)];
    let first = outbox.add(1, pair("a"), Outgoing::new(&terms, NOW), NOW);
    assert_eq!(first, sending(1));
    assert_eq!(
        outbox.add(2, pair("a"), Outgoing::new(&terms, NOW), NOW),
        []
    );
    assert_eq!(
        outbox.add(3, pair("b"), Outgoing::new(&terms, NOW), NOW),
        []
    );
    assert_eq!(outbox.deadline(), Some(NOW + 1_000));
    // The first is not taken yet: the other pair goes on.
    assert_eq!(outbox.clock(NOW + 1_000), sending(3));
    outbox.step(&pair("a"), &1, &verdict(Verdict::Taken), NOW + 1_000);
    assert_eq!(outbox.clock(NOW + 2_000), sending(2));
}
