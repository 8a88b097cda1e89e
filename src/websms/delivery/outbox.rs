//! The messages for one carrier's interface: in order for each pair, and no faster than the carrier takes them.
//!
//! Pure. What is under way when the process dies may or may not have been taken: `most` bounds how many that can be.
//! Invariant: of one pair one message is under way at most, and it is the oldest that the carrier has not taken.

use std::collections::{BTreeMap, VecDeque};

use super::{Bucket, Effect, Event, Moment, Outgoing, State};

/// Sender and recipient.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    pub from: String,
    pub to: String,
}

/// All messages of an interface that are open.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbox<Id> {
    bucket: Bucket,
    /// So many are under way at most.
    most: usize,
    /// When the bucket has a token again, if it was found empty.
    refilled: Option<Moment>,
    lines: BTreeMap<Pair, VecDeque<(Id, Outgoing)>>,
}

impl<Id: Clone + Ord> Outbox<Id> {
    pub fn new(bucket: Bucket) -> Outbox<Id> {
        Outbox {
            bucket,
            most: usize::MAX,
            refilled: None,
            lines: BTreeMap::new(),
        }
    }

    /// From now on so many are under way at most.
    pub fn at_most(&mut self, most: usize) {
        self.most = most;
    }

    /// From now on it goes at this pace.
    pub fn go_at(&mut self, bucket: Bucket) {
        self.bucket = bucket;
        self.refilled = None;
    }

    fn under_way(&self) -> usize {
        let heads = self.lines.values().filter_map(VecDeque::front);
        heads
            .filter(|(_, message)| message.state() == State::Sending)
            .count()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn get(&self, pair: &Pair, id: &Id) -> Option<&Outgoing> {
        let line = self.lines.get(pair)?;
        line.iter().find(|(of, _)| of == id).map(|(_, it)| it)
    }

    /// When `Event::Clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        let heads = self.lines.values().filter_map(VecDeque::front);
        let ready = heads.filter_map(|(_, message)| message.ready_at()).min();
        let ready = ready.filter(|_| self.under_way() < self.most);
        let ready = ready.map(|at| self.refilled.map_or(at, |refilled| at.max(refilled)));
        let all = self.lines.values().flatten();
        let expires = all.filter_map(|(_, message)| message.deadline()).min();
        ready.into_iter().chain(expires).min()
    }

    /// Takes a message, at the end of its pair's line.
    pub fn add(&mut self, id: Id, pair: Pair, message: Outgoing, now: Moment) -> Vec<(Id, Effect)> {
        self.lines.entry(pair).or_default().push_back((id, message));
        let mut out = Vec::new();
        self.advance(now, &mut out);
        out
    }

    /// What happened to one message.
    pub fn step(&mut self, pair: &Pair, id: &Id, event: &Event, now: Moment) -> Vec<(Id, Effect)> {
        let mut out = Vec::new();
        let line = self.lines.get_mut(pair);
        let mut messages = line.into_iter().flatten();
        // The outbox alone says whose turn it is.
        if *event != Event::Turn
            && let Some((id, message)) = messages.find(|(of, _)| of == id)
        {
            let effects = message.step(event.clone(), now);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
        self.advance(now, &mut out);
        out
    }

    /// A deadline has passed.
    pub fn clock(&mut self, now: Moment) -> Vec<(Id, Effect)> {
        let mut out = Vec::new();
        for (id, message) in self.lines.values_mut().flatten() {
            let effects = message.step(Event::Clock { jitter: 0 }, now);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
        self.advance(now, &mut out);
        out
    }

    /// Gives turns, the oldest first, as long as there are tokens, and forgets what is at rest.
    fn advance(&mut self, now: Moment, out: &mut Vec<(Id, Effect)>) {
        for line in self.lines.values_mut() {
            line.retain(|(_, message)| message.state().is_open());
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.refilled = self.refilled.filter(|at| *at > now);
        if self.refilled.is_some() {
            return;
        }
        let mut room = self.most.saturating_sub(self.under_way());
        let heads = self.lines.values_mut().filter_map(VecDeque::front_mut);
        let mut ready: Vec<_> = heads
            .filter(|(_, message)| message.ready_at().is_some_and(|at| at <= now))
            .collect();
        ready.sort_by(|(a, one), (b, other)| (one.ready_at(), a).cmp(&(other.ready_at(), b)));
        for (id, message) in ready {
            // One that has expired takes no token; the clock will say so.
            if message.deadline().is_some_and(|at| at <= now) {
                continue;
            }
            if room == 0 {
                return;
            }
            if let Err(at) = self.bucket.take(now) {
                self.refilled = Some(at);
                return;
            }
            room -= 1;
            let effects = message.step(Event::Turn, now);
            out.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        }
    }
}
