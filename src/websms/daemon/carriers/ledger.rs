//! The lives of all messages that are open, by interface, and what follows from each event: what to write down, what to send,
//! whom to tell.
//!
//! It neither waits nor writes. Invariant: a message is in the outbox of one interface, that which the spool has, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exchange::Outcome;
use crate::websms::choose;
use crate::websms::config::Config;
use crate::websms::delivery::{
    Bucket, Effect, Event, Moment, Outbox, Outgoing, Pair, State, Terms, Verdict,
};
use crate::websms::outgoing;
use crate::websms::spool::{Id, Message, Transition};

/// Requests to one interface at once: so many can be unknown after a crash.
const AT_ONCE: usize = 8;

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub struct Work {
    pub changes: Vec<Transition>,
    pub sends: Vec<Id>,
    /// Those that did not go out.
    pub ended: Vec<Id>,
}

impl Work {
    pub fn append(&mut self, mut other: Work) {
        self.changes.append(&mut other.changes);
        self.sends.append(&mut other.sends);
        self.ended.append(&mut other.ended);
    }

    pub fn forget(&mut self, id: Id) {
        self.changes.retain(|change| change.id != id);
        self.sends.retain(|other| *other != id);
        self.ended.retain(|other| *other != id);
    }
}

/// What must be known of a message beside its life.
#[derive(Debug, Clone)]
struct Item {
    interface: String,
    pair: Pair,
    received: Moment,
    tries: u32,
    /// Since when its interface puts it off.
    since: Option<Moment>,
    /// The interfaces that it was taken from.
    tried: Vec<String>,
    /// How the last try ended.
    why: String,
}

#[derive(Debug)]
pub struct Ledger {
    config: Arc<Config>,
    terms: Terms,
    at_once: usize,
    lanes: BTreeMap<String, Outbox<Id>>,
    items: BTreeMap<Id, Item>,
}

impl Ledger {
    pub fn new(config: Arc<Config>) -> Ledger {
        Ledger {
            terms: terms(&config),
            config,
            at_once: AT_ONCE,
            lanes: BTreeMap::new(),
            items: BTreeMap::new(),
        }
    }

    /// From now on by this configuration. What waits goes on waiting at the new pace.
    pub fn reconfigure(&mut self, config: Arc<Config>, now: Moment) {
        self.terms = terms(&config);
        for (name, lane) in &mut self.lanes {
            lane.go_at(bucket(&config, name, now));
        }
        self.config = config;
    }

    /// Nothing is sent any more.
    pub fn stop(&mut self) {
        self.at_once = 0;
        self.lanes.values_mut().for_each(|lane| lane.at_most(0));
    }

    pub fn has(&self, id: Id) -> bool {
        self.items.contains_key(&id)
    }

    pub fn forget(&mut self, id: Id) {
        if let Some(item) = self.items.get(&id)
            && let Some(lane) = self.lanes.get_mut(&item.interface)
        {
            // Whatever it waits for. At the moment 0 nobody else gets a turn.
            let refused = Event::Verdict {
                verdict: Verdict::Refused,
                jitter: 0,
            };
            for event in [Event::Cancel, refused] {
                let _ = lane.step(&item.pair, &id, &event, 0);
            }
        }
        self.items.remove(&id);
    }

    /// When `clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        self.lanes.values().filter_map(Outbox::deadline).min()
    }

    pub fn clock(&mut self, now: Moment) -> Work {
        let names: Vec<String> = self.lanes.keys().cloned().collect();
        let mut work = Work::default();
        for name in names {
            let Some(lane) = self.lanes.get_mut(&name) else {
                continue;
            };
            let effects = lane.clock(now);
            work.append(self.written(&name, effects, None, now));
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
        work
    }

    /// Takes a message of the spool that is open.
    pub fn take(&mut self, message: &Message, now: Moment) -> Work {
        if self.has(message.id) {
            return Work::default();
        }
        let interface = choose::find(&self.config, &message.interface);
        let outbound = interface.and_then(|interface| interface.outgoing.as_ref());
        let left = (message.state, message.next, message.tries);
        let (life, effects) = Outgoing::resume(
            &self.terms,
            message.received,
            left,
            outbound.is_some_and(outgoing::repeatable),
        );
        self.items.insert(message.id, item_of(message));
        let is_open = life.state().is_open();
        let ready = life.ready_at();
        let mut work = Work::default();
        for effect in effects {
            let Effect::Become(state) = effect else {
                continue;
            };
            let mut change = Transition::new(message.id, state, now);
            change.tries = message.tries;
            change.next = ready;
            change.detail = "WebSMS ended while the carrier had it".to_owned();
            work.changes.push(change);
        }
        match is_open {
            true => work.append(self.add(message.id, life, now)),
            false => drop(self.items.remove(&message.id)),
        }
        work
    }

    /// What a try came to.
    pub fn done(&mut self, id: Id, outcome: Outcome, jitter: i8, now: Moment) -> Work {
        let Some(item) = self.items.get_mut(&id) else {
            return Work::default();
        };
        item.why.clone_from(&outcome.detail);
        let puts_off = matches!(outcome.verdict, Verdict::Later(_));
        item.since = match puts_off {
            true => item.since.or(Some(now)),
            false => None,
        };
        let gives_up = outcome.verdict == Verdict::Refused
            || (puts_off && choose::is_out_of_patience(item.since, now));
        let (name, pair) = (item.interface.clone(), item.pair.clone());
        let other = gives_up
            .then(|| choose::next(&self.config, &name, &item.tried))
            .flatten();
        let other = other.map(|other| choose::name_of(other).to_owned());
        if let Some(other) = other {
            return self.hand_over(id, &other, &outcome.detail, now);
        }
        let event = Event::Verdict {
            verdict: outcome.verdict,
            jitter,
        };
        let effects = self.step(&name, &pair, id, &event, now);
        self.written(&name, effects, Some((id, &outcome)), now)
    }

    /// Another interface takes over: it is queued there as if it were new, and expires when it would have.
    fn hand_over(&mut self, id: Id, to: &str, why: &str, now: Moment) -> Work {
        let Some(item) = self.items.get_mut(&id) else {
            return Work::default();
        };
        let (from, pair) = (item.interface.clone(), item.pair.clone());
        let change = Transition {
            next: Some(now),
            interface: Some(to.to_owned()),
            detail: format!(
                "{} takes over from {}: {why}",
                choose::shown(to),
                choose::shown(&from)
            ),
            ..Transition::new(id, State::Queued, now)
        };
        item.tried.push(from.clone());
        item.interface = to.to_owned();
        item.since = None;
        item.tries = 0;
        let received = item.received;
        // The first forgets it as one that is refused; its next one gets its turn.
        let event = Event::Verdict {
            verdict: Verdict::Refused,
            jitter: 0,
        };
        let mut effects = self.step(&from, &pair, id, &event, now);
        effects.retain(|(other, _)| *other != id);
        let mut work = Work {
            changes: vec![change],
            ..Work::default()
        };
        work.append(self.written(&from, effects, None, now));
        let queued = (State::Queued, Some(now), 0);
        let (life, _) = Outgoing::resume(&self.terms, received, queued, false);
        work.append(self.add(id, life, now));
        work
    }

    /// Tries one now that waits.
    pub fn hurry(&mut self, id: Id, now: Moment) -> Result<Work, String> {
        self.order(id, &Event::Retry, now)
    }

    /// Takes one back that waits.
    pub fn cancel(&mut self, id: Id, now: Moment) -> Result<Work, String> {
        self.order(id, &Event::Cancel, now)
    }

    fn order(&mut self, id: Id, event: &Event, now: Moment) -> Result<Work, String> {
        let gone = || format!("there is no message {id}");
        let item = self.items.get(&id).ok_or_else(gone)?;
        let (name, pair) = (item.interface.clone(), item.pair.clone());
        let lane = self.lanes.get(&name).ok_or_else(gone)?;
        if lane.get(&pair, &id).map(Outgoing::state) == Some(State::Sending) {
            return Err("the carrier is being asked: wait for its answer".to_owned());
        }
        let effects = self.step(&name, &pair, id, event, now);
        Ok(self.written(&name, effects, None, now))
    }

    /// Takes one up again that is at rest.
    pub fn revive(&mut self, message: &Message, now: Moment) -> Result<Work, String> {
        if !message.state.may_be_retried() {
            return Err(format!("it is {} and cannot be tried again", message.state));
        }
        let left = (message.state, message.next, 0);
        let (mut life, _) = Outgoing::resume(&self.terms, message.received, left, false);
        life.step(Event::Retry, now);
        let mut work = Work {
            changes: vec![Transition {
                next: Some(now),
                detail: "by order".to_owned(),
                ..Transition::new(message.id, State::Queued, now)
            }],
            ..Work::default()
        };
        let item = Item {
            tries: 0,
            ..item_of(message)
        };
        self.items.insert(message.id, item);
        work.append(self.add(message.id, life, now));
        Ok(work)
    }

    fn add(&mut self, id: Id, life: Outgoing, now: Moment) -> Work {
        let Some(item) = self.items.get(&id) else {
            return Work::default();
        };
        let (name, pair) = (item.interface.clone(), item.pair.clone());
        let (config, at_once) = (&self.config, self.at_once);
        let lane = self.lanes.entry(name.clone()).or_insert_with(|| {
            let mut lane = Outbox::new(bucket(config, &name, now));
            lane.at_most(at_once);
            lane
        });
        let effects = lane.add(id, pair, life, now);
        self.written(&name, effects, None, now)
    }

    fn step(
        &mut self,
        name: &str,
        pair: &Pair,
        id: Id,
        event: &Event,
        now: Moment,
    ) -> Vec<(Id, Effect)> {
        let lane = self.lanes.get_mut(name);
        lane.map(|lane| lane.step(pair, &id, event, now))
            .unwrap_or_default()
    }

    /// What an interface's effects come to. `of` is the message that was tried, and how.
    fn written(
        &mut self,
        name: &str,
        effects: Vec<(Id, Effect)>,
        of: Option<(Id, &Outcome)>,
        now: Moment,
    ) -> Work {
        let mut work = Work::default();
        for (id, effect) in effects {
            let state = match effect {
                Effect::Become(state) => state,
                Effect::Send => {
                    work.sends.push(id);
                    continue;
                }
                Effect::SendTo(_) | Effect::Write(_) => continue,
            };
            let Some(item) = self.items.get_mut(&id) else {
                continue;
            };
            let mut change = Transition::new(id, state, now);
            if state == State::Sending {
                item.tries = item.tries.saturating_add(1);
            }
            change.tries = item.tries;
            let life = self
                .lanes
                .get(name)
                .and_then(|lane| lane.get(&item.pair, &id));
            change.next = life.and_then(Outgoing::ready_at);
            if let Some((_, outcome)) = of.filter(|(tried, _)| *tried == id) {
                change.detail.clone_from(&outcome.detail);
                change.provider_id.clone_from(&outcome.provider_id);
            }
            if state == State::Expired {
                change.detail = match item.why.as_str() {
                    "" => "its time is over".to_owned(),
                    why => format!("its time is over: {why}"),
                };
            }
            if matches!(state, State::Dead | State::Expired) {
                work.ended.push(id);
            }
            if !state.is_open() {
                self.items.remove(&id);
            }
            work.changes.push(change);
        }
        work
    }
}

fn item_of(message: &Message) -> Item {
    Item {
        interface: message.interface.clone(),
        pair: Pair {
            from: message.from.clone(),
            to: message.to.clone(),
        },
        received: message.received,
        tries: message.tries,
        since: None,
        tried: Vec::new(),
        why: message.detail.clone(),
    }
}

fn terms(config: &Config) -> Terms {
    let outgoing = config.store.validity.as_millis();
    Terms {
        outgoing: i64::try_from(outgoing).unwrap_or(i64::MAX),
        ..Terms::default()
    }
}

fn bucket(config: &Config, name: &str, now: Moment) -> Bucket {
    let rate = choose::find(config, name).and_then(|interface| interface.rate);
    Bucket::new(rate, now)
}
