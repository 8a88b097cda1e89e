//! A message for a carrier.
//!
//! Pure. Invariant: a message that the carrier may have taken is never sent again without an order from people, unless the
//! request bears a key that makes a repetition harmless.

use super::{Effect, Event, Moment, State, Terms, Verdict, pause};
use crate::websms::message::ReceiptState;

/// One outgoing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    state: State,
    /// How long it is good for, from a new try by hand.
    validity: i64,
    expires: Moment,
    /// No try before this moment.
    next: Moment,
    tries: u32,
}

impl Outgoing {
    /// One that a phone gave us at this moment.
    pub fn new(terms: &Terms, received: Moment) -> Outgoing {
        Outgoing {
            state: State::Queued,
            validity: terms.outgoing,
            expires: received.saturating_add(terms.outgoing),
            next: received,
            tries: 0,
        }
    }

    /// One that a former process left in this state, and what is to be written down of it. What was under way then may have
    /// been taken.
    pub fn resume(
        terms: &Terms,
        received: Moment,
        (state, next, tries): (State, Option<Moment>, u32),
        repeatable: bool,
    ) -> (Outgoing, Vec<Effect>) {
        let now = match state {
            State::Sending if repeatable => State::Queued,
            State::Sending => State::Unknown,
            other => other,
        };
        let message = Outgoing {
            state: now,
            next: next.unwrap_or(received),
            tries,
            ..Outgoing::new(terms, received)
        };
        let news = (now != state).then_some(Effect::Become(now));
        (message, news.into_iter().collect())
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// From when on it waits for its turn.
    pub fn ready_at(&self) -> Option<Moment> {
        (self.state == State::Queued).then_some(self.next)
    }

    /// When `Event::Clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        (self.state == State::Queued).then_some(self.expires)
    }

    /// Takes one event and says what to do, in order.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = self.state;
        match event {
            Event::Turn => {
                if self.state == State::Queued && now >= self.next && now < self.expires {
                    self.tries = self.tries.saturating_add(1);
                    self.state = State::Sending;
                    effects.push(Effect::Send);
                }
            }
            Event::Verdict { verdict, jitter } => {
                if self.state == State::Sending {
                    self.state = self.judged(verdict, jitter, now);
                }
            }
            Event::Receipt(receipt) => self.state = after_receipt(self.state, receipt),
            Event::Retry => self.retry(now),
            Event::Cancel => {
                if self.state == State::Queued {
                    self.state = State::Cancelled;
                }
            }
            Event::Clock { .. } => {
                if self.state == State::Queued && now >= self.expires {
                    self.state = State::Expired;
                }
            }
            // Phones are no part of this way.
            Event::Routed
            | Event::Came(_)
            | Event::Went(_)
            | Event::HandedOver(_)
            | Event::NotHandedOver { .. }
            | Event::Answered { .. } => {}
        }
        if self.state != before {
            // It is on disk that it is under way before it is: what a crash leaves is then never taken for unsent.
            effects.insert(0, Effect::Become(self.state));
        }
        effects
    }

    fn judged(&mut self, verdict: Verdict, jitter: i8, now: Moment) -> State {
        let asked = match verdict {
            Verdict::Taken => return State::Accepted,
            Verdict::Refused => return State::Dead,
            Verdict::Silent { repeatable: false } => return State::Unknown,
            Verdict::Silent { repeatable: true } => None,
            Verdict::Later(asked) => asked,
        };
        self.next = now.saturating_add(pause(self.tries, jitter, asked));
        if self.next >= self.expires {
            return State::Expired;
        }
        State::Queued
    }

    fn retry(&mut self, now: Moment) {
        if self.state.may_be_retried() || self.state == State::Queued {
            self.state = State::Queued;
            self.next = now;
            self.expires = self.expires.max(now.saturating_add(self.validity));
        }
    }
}

/// What a carrier's receipt makes of a state. An older word never takes back a newer one.
pub fn after_receipt(state: State, receipt: ReceiptState) -> State {
    match (state, receipt) {
        (State::Unknown, ReceiptState::Accepted) => State::Accepted,
        (State::Unknown | State::Accepted, ReceiptState::Sent) => State::Sent,
        (State::Unknown | State::Accepted | State::Sent, ReceiptState::Delivered) => {
            State::Delivered
        }
        (State::Unknown | State::Accepted | State::Sent, ReceiptState::Failed) => State::Failed,
        (other, _) => other,
    }
}
