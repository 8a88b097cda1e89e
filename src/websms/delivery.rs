//! The life of one message as an explicit machine: `step(event, now) -> effects`.
//!
//! Pure: no clock, no disk, no wire. `now` and every moment are milliseconds since 1970, because a life outlasts its process.
//! `incoming` is a message for phones, `outgoing` one for a carrier; `line` keeps the messages of one sender to one recipient
//! in order, `outbox` does the same for a carrier's interface and keeps to its pace. What is written to disk is each state
//! that an effect names. Invariant: a message leaves a final state by an order from people only.

mod answer;
mod incoming;
mod line;
mod outbox;
mod outgoing;
mod pace;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use answer::{Answer, meaning_of};
pub use incoming::{Incoming, Leg, LegState, Rule};
pub use line::Line;
pub use outbox::{Outbox, Pair};
pub use outgoing::{Outgoing, after_receipt};
pub use pace::{Bucket, pause};

/// Milliseconds since 1970.
pub type Moment = i64;

/// How long things may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// An incoming message that no phone took by then is given up.
    pub incoming: i64,
    /// An outgoing message that no carrier took by then is given up.
    pub outgoing: i64,
    /// When this many phones have it, a message is delivered.
    pub rule: Rule,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            incoming: 7 * DAY,
            outgoing: DAY,
            rule: Rule::Any,
        }
    }
}

pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;
/// A phone that has not answered by then is silent: the exchange sends no further copy (RFC 3261, timer F).
pub const SILENCE: i64 = 32_000;
/// Once one phone has the message, the others that are there are tried for so long.
pub const LINGER: i64 = 300_000;

/// Where a message is. Its words are those of the store and of what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Incoming: on disk, and nothing more.
    Received,
    /// Incoming: its endpoint is known; it waits for an earlier one of the same pair.
    Routed,
    /// Incoming: no phone is there, or a pause runs.
    Held,
    /// A copy is with a phone or with the carrier, who has not answered yet.
    Sending,
    /// A phone has it, or the carrier says so.
    Delivered,
    /// Incoming: every phone that is there refused it.
    Rejected,
    /// Nobody took it in time.
    Expired,
    /// Taken back by people.
    Cancelled,
    /// Outgoing: waits for its turn, or for the end of a pause.
    Queued,
    /// Outgoing: the carrier has it.
    Accepted,
    /// Outgoing: it left the carrier.
    Sent,
    /// Outgoing: the carrier took it and could not deliver it.
    Failed,
    /// Outgoing: the carrier refused it.
    Dead,
    /// Outgoing: the carrier may have it or not. It is not sent again without an order: it could be charged twice.
    Unknown,
}

impl State {
    const WORDS: [(State, &str); 14] = [
        (State::Received, "received"),
        (State::Routed, "routed"),
        (State::Held, "held"),
        (State::Sending, "sending"),
        (State::Delivered, "delivered"),
        (State::Rejected, "rejected"),
        (State::Expired, "expired"),
        (State::Cancelled, "cancelled"),
        (State::Queued, "queued"),
        (State::Accepted, "accepted"),
        (State::Sent, "sent"),
        (State::Failed, "failed"),
        (State::Dead, "dead"),
        (State::Unknown, "unknown"),
    ];

    /// As it stands in the store.
    pub fn word(self) -> &'static str {
        let found = State::WORDS.iter().find(|(state, _)| *state == self);
        found.map_or("", |(_, word)| word)
    }

    pub fn of_word(word: &str) -> Option<State> {
        let found = State::WORDS.iter().find(|(_, of)| *of == word);
        found.map(|(state, _)| *state)
    }

    /// Something is still to be done about it by us.
    pub fn is_open(self) -> bool {
        match self {
            State::Received | State::Routed | State::Held | State::Queued | State::Sending => true,
            State::Delivered
            | State::Rejected
            | State::Expired
            | State::Cancelled
            | State::Accepted
            | State::Sent
            | State::Failed
            | State::Dead
            | State::Unknown => false,
        }
    }

    /// No news can change it. `Accepted`, `Sent` and `Unknown` are neither open nor final: a receipt may come.
    pub fn is_final(self) -> bool {
        !self.is_open() && !matches!(self, State::Accepted | State::Sent | State::Unknown)
    }

    /// It ended badly, so that people may order another try.
    pub fn may_be_retried(self) -> bool {
        matches!(
            self,
            State::Rejected
                | State::Expired
                | State::Cancelled
                | State::Failed
                | State::Dead
                | State::Unknown
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Incoming: its endpoint is known.
    Routed,
    /// No earlier message of its pair is in the way; outgoing: the carrier's pace allows it, too.
    Turn,
    /// A phone is there for it.
    Came(String),
    Went(String),
    /// The exchange took the copy for this phone.
    HandedOver(String),
    /// The exchange did not take it: it is down, or too busy.
    NotHandedOver {
        contact: String,
        jitter: i8,
    },
    /// A phone's final response.
    Answered {
        contact: String,
        code: u16,
        retry_after: Option<i64>,
        jitter: i8,
    },
    /// What the carrier said, or did not say.
    Verdict {
        verdict: Verdict,
        jitter: i8,
    },
    /// What the carrier says became of it, later.
    Receipt(super::message::ReceiptState),
    /// People want another try.
    Retry,
    /// People want it no more.
    Cancel,
    /// A deadline has passed.
    Clock {
        jitter: i8,
    },
}

/// A carrier's answer to a message that we handed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It will never take this message.
    Refused,
    /// It did not take it now; with its own wish for a pause in milliseconds.
    Later(Option<i64>),
    /// The request went out and nothing came back. A request that bears a key may be repeated.
    Silent {
        repeatable: bool,
    },
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Hand it to the exchange for this phone.
    SendTo(String),
    /// Hand it to the carrier.
    Send,
    /// Write this contact's leg down: it has ended.
    Write(String),
    /// Write this state down.
    Become(State),
}

#[cfg(test)]
mod tests;
