//! What waits to be told to the webhook: gathering, pace and patience.
//!
//! Pure. The first event goes out at once; what comes within the next ten seconds goes together. Moments are milliseconds
//! since 1970. Invariants: at most one request is under way, and no flood of events makes a flood of requests or takes more
//! memory than two full ones.

use serde::Serialize;

/// The most events of one request; more are counted.
pub const MOST: usize = 100;
/// The least time between two requests that tell something new.
const BETWEEN: i64 = 10_000;
/// How long the same request is tried.
const PATIENCE: i64 = 3_600_000;
const FIRST_PAUSE: i64 = 5_000;
const LONGEST_PAUSE: i64 = 600_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// What: `banned`, `released`, and so on.
    pub event: &'static str,
    /// RFC 3339.
    pub at: String,
    /// An address or a network; not there for what is about none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// As in the log.
    pub reason: String,
    /// RFC 3339; not there for what has no end of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How many sentences that makes for this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub events: Vec<Event>,
    pub omitted: u64,
}

impl Batch {
    fn size(&self) -> u64 {
        self.events.len() as u64 + self.omitted
    }
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The same may succeed later.
    pub is_temporary: bool,
    /// How long the other side asks to wait, in milliseconds.
    pub retry_after: Option<i64>,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The first failure after all was well.
    Fails,
    WorksAgain,
}

/// Numbers since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were taken.
    pub requests: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events that were left out of a full request.
    pub omitted: u64,
    /// Events that were given up.
    pub lost: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Batch,
    /// Under way or to be tried again, and when that was first tried.
    current: Option<(Batch, i64)>,
    under_way: bool,
    tries: u32,
    /// Nothing is sent before.
    next: i64,
    is_failing: bool,
    tally: Tally,
}

impl Outbox {
    pub fn push(&mut self, event: Event) {
        match self.waiting.events.len() < MOST {
            true => self.waiting.events.push(event),
            false => self.omit(1),
        }
    }

    /// Events that did not even get here.
    pub fn omit(&mut self, count: u64) {
        self.waiting.omitted += count;
        self.tally.omitted += count;
    }

    /// When the next request is to be sent. `None`: there is nothing to send, or one is under way.
    #[must_use]
    pub fn due(&self) -> Option<i64> {
        let is_empty = self.current.is_none() && self.waiting.size() == 0;
        (!self.under_way && !is_empty).then_some(self.next)
    }

    /// The request to send, when it is due. `done` must follow.
    pub fn take(&mut self, now: i64) -> Option<&Batch> {
        if self.due()? > now {
            return None;
        }
        self.under_way = true;
        if self.current.is_none() {
            let fresh = std::mem::take(&mut self.waiting);
            self.current = Some((fresh, now));
            self.tries = 0;
        }
        self.current.as_ref().map(|(batch, _)| batch)
    }

    /// Whether the next request is a new one, no repeat.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.current.is_none()
    }

    /// What became of the request.
    pub fn done(&mut self, result: Result<(), Failure>, now: i64) -> Option<Word> {
        self.under_way = false;
        let (size, first) = self
            .current
            .as_ref()
            .map_or((0, now), |(batch, first)| (batch.size(), *first));
        let failure = match result {
            Ok(()) => {
                (self.current, self.next) = (None, now + BETWEEN);
                self.tally.requests += 1;
                let was = std::mem::take(&mut self.is_failing);
                return was.then_some(Word::WorksAgain);
            }
            Err(failure) => failure,
        };
        self.tally.failures += 1;
        let doubled = FIRST_PAUSE << self.tries.min(10);
        let asked = failure.retry_after.unwrap_or(0).min(PATIENCE);
        let pause = doubled.min(LONGEST_PAUSE).max(asked);
        self.tries += 1;
        self.next = now + pause.max(BETWEEN * i64::from(!failure.is_temporary));
        if !failure.is_temporary || self.next > first + PATIENCE {
            self.current = None;
            self.tally.lost += size;
        }
        let was = std::mem::replace(&mut self.is_failing, true);
        (!was).then_some(Word::Fails)
    }

    /// Forgets all that waits, as for another address.
    pub fn clear(&mut self) {
        *self = Outbox {
            tally: self.tally,
            ..Outbox::default()
        };
    }

    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Events that wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |(batch, _)| batch.size());
        self.waiting.size() + current
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn event(n: usize) -> Event {
        Event {
            event: "banned",
            at: String::new(),
            address: Some(n.to_string()),
            reason: String::new(),
            until: None,
            count: None,
        }
    }

    fn refused(is_temporary: bool, retry_after: Option<i64>) -> Result<(), Failure> {
        Err(Failure {
            is_temporary,
            retry_after,
        })
    }

    #[test]
    fn the_first_goes_at_once_and_what_follows_is_gathered() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.due(), None);
        outbox.push(event(0));
        assert!(outbox.due().is_some_and(|due| due <= NOW));
        assert_eq!(outbox.take(NOW).unwrap().events, [event(0)]);
        // One at a time.
        (1..=250).for_each(|n| outbox.push(event(n)));
        assert_eq!((outbox.due(), outbox.take(NOW)), (None, None));
        assert_eq!(outbox.done(Ok(()), NOW + 100), None);
        assert_eq!(outbox.due(), Some(NOW + 100 + BETWEEN));
        assert_eq!(outbox.take(NOW + BETWEEN), None);
        let batch = outbox.take(NOW + 100 + BETWEEN).unwrap();
        assert_eq!((batch.events.len(), batch.omitted), (MOST, 150));
        assert_eq!(outbox.done(Ok(()), NOW + 200 + BETWEEN), None);
        assert_eq!((outbox.due(), outbox.waiting()), (None, 0));
        let tally = outbox.tally();
        assert_eq!((tally.requests, tally.omitted, tally.lost), (2, 150, 0));
    }

    #[test]
    fn a_failure_is_told_once_and_the_same_is_tried_again() {
        let mut outbox = Outbox::default();
        outbox.push(event(0));
        let mut now = NOW;
        let mut pauses = Vec::new();
        for n in 0..5 {
            assert_eq!(outbox.take(now).unwrap().events, [event(0)]);
            let word = outbox.done(refused(true, None), now);
            assert_eq!(word, (n == 0).then_some(Word::Fails));
            outbox.push(event(n + 1));
            pauses.push(outbox.due().unwrap() - now);
            now = outbox.due().unwrap();
        }
        assert_eq!(pauses, [5_000, 10_000, 20_000, 40_000, 80_000]);
        outbox.take(now).unwrap();
        // What the other side asks for, but no more than all our patience.
        outbox.done(refused(true, Some(400_000)), now);
        assert_eq!(outbox.due(), Some(now + 400_000));
        now += 400_000;
        assert_eq!(outbox.take(now).unwrap().events, [event(0)]);
        assert_eq!(outbox.done(Ok(()), now), Some(Word::WorksAgain));
        let later = outbox.take(now + BETWEEN).unwrap();
        assert_eq!(later.events.len(), 5);
    }

    #[test]
    fn what_cannot_be_told_is_given_up() {
        let mut outbox = Outbox::default();
        outbox.push(event(0));
        outbox.take(NOW);
        assert_eq!(outbox.done(refused(false, None), NOW), Some(Word::Fails));
        assert_eq!((outbox.due(), outbox.tally().lost), (None, 1));
        // An hour of failures.
        outbox.push(event(1));
        let mut now = outbox.due().unwrap();
        let first = now;
        while outbox.take(now).is_some() {
            assert_eq!(outbox.done(refused(true, None), now), None);
            now = outbox.due().unwrap_or(now);
        }
        assert_eq!(outbox.tally().lost, 2);
        assert!(now - first <= PATIENCE && now - first > PATIENCE - LONGEST_PAUSE);
        assert_eq!(outbox.waiting(), 0);
    }

    proptest! {
        /// However events, answers and moments fall: each event is told, omitted or lost, and the pace is kept.
        #[test]
        fn nothing_is_told_twice_or_forgotten(steps in proptest::collection::vec((0u8..4, 0i64..700_000), 1..300)) {
            let (mut outbox, mut now) = (Outbox::default(), NOW);
            let (mut pushed, mut told, mut last) = (0u64, 0u64, None);
            for (kind, pause) in steps {
                now += pause;
                match kind {
                    0 | 1 => { outbox.push(event(0)); pushed += 1; }
                    _ => if let Some(batch) = outbox.take(now) {
                        let count = batch.events.len() as u64;
                        prop_assert!(batch.events.len() <= MOST);
                        prop_assert!(last.is_none_or(|last| now - last >= FIRST_PAUSE));
                        last = Some(now);
                        let result = if kind == 2 { Ok(()) } else { refused(pause % 2 == 0, None) };
                        told += if result.is_ok() { count } else { 0 };
                        outbox.done(result, now);
                    }
                }
            }
            let tally = outbox.tally();
            // Omitted events are lost a second time with the request that would have counted them.
            prop_assert!(told + outbox.waiting() + tally.lost + tally.omitted >= pushed);
            prop_assert!(told + outbox.waiting() + tally.lost <= pushed);
        }
    }
}
