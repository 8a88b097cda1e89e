//! All messages that are under way to phones, and what is known of numbers and endpoints.
//!
//! Pure: the clock, Asterisk's answers and the phones' are handed in, and what is to be done comes out. Each pair of sender and
//! recipient has a line of its own; a message waits outside of it until its number and the contacts behind it are known.
//! Invariant: a message that was added is in a line, or waits for one question at least that is open.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::parked::{Names, Parked, Waiting, of_number};
use super::routes::endpoint_of;
use crate::websms::delivery::{
    Answer, Effect, Event, Incoming, Leg, LegState, Line, Moment, State, meaning_of,
};
use crate::websms::spool::Id;

/// What is known of a number or of an endpoint is asked again when it is older, in milliseconds.
const LIFE: i64 = 60_000;
/// That there is nothing is believed for this long: an Asterisk that starts does not know its hints yet.
const LIFE_OF_NOTHING: i64 = 10_000;
/// Questions of each kind that a look asks at most.
const STEP: usize = 64;

/// What is to be asked of Asterisk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Which endpoints stand behind a number?
    Number(String),
    /// Which contacts does an endpoint have?
    Endpoint(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    Ask(Question),
    Send {
        id: Id,
        contact: String,
        from: String,
    },
    /// A message or legs of it changed.
    Write {
        id: Id,
        state: State,
        /// It was another one before.
        is_new: bool,
        legs: Vec<Leg>,
        endpoint: Option<String>,
        to: String,
        next: Option<Moment>,
    },
}

/// An answer of Asterisk's, which grows old.
#[derive(Debug, Default)]
struct Known {
    names: Vec<String>,
    at: Option<Moment>,
    is_asked: bool,
}

impl Known {
    fn is_fresh(&self, now: Moment) -> bool {
        let life = match self.names.is_empty() {
            true => LIFE_OF_NOTHING,
            false => LIFE,
        };
        self.at.is_some_and(|at| now.saturating_sub(at) < life)
    }
}

#[derive(Debug)]
struct Pair {
    names: Names,
    endpoints: Vec<String>,
    contacts: Vec<String>,
    line: Line<Id>,
    due: Option<Moment>,
}

/// The messages, by sender and recipient.
#[derive(Debug, Default)]
pub struct Lines {
    pairs: HashMap<u64, Pair>,
    by_names: BTreeMap<Names, u64>,
    by_endpoint: HashMap<String, BTreeSet<u64>>,
    by_message: HashMap<Id, u64>,
    due: BTreeSet<(Moment, u64)>,
    last: u64,
    waiting: Waiting,
    numbers: HashMap<String, Known>,
    endpoints: HashMap<String, Known>,
    /// Messages that are not to go yet, and those behind them with them: their media are being fetched.
    kept: HashSet<Id>,
    /// Somebody is there who answers questions.
    is_connected: bool,
}

impl Lines {
    pub fn has(&self, id: Id) -> bool {
        self.by_message.contains_key(&id) || self.waiting.has(id)
    }

    /// When `clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes a message for a recipient; `stored` is its state on disk.
    pub fn add(
        &mut self,
        id: Id,
        names: Names,
        message: Incoming,
        stored: State,
        now: Moment,
    ) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let parked = Parked {
            id,
            message,
            stored,
        };
        // Behind those of the same two that wait, as behind those of their line.
        let may_go = !self.waiting.holds(&names) && !self.kept.contains(&id);
        let line = match may_go {
            true => self.line_of(&names, now, &mut deeds),
            false => None,
        };
        match line {
            Some(number) => self.enter(number, parked, now, &mut deeds),
            None => self.waiting.park(names, parked),
        }
        deeds
    }

    /// Keeps a message back that is to be added, until it is released.
    pub fn keep_back(&mut self, id: Id) {
        self.kept.insert(id);
    }

    /// The messages that are kept back.
    pub fn kept_back(&self) -> Vec<Id> {
        self.kept.iter().copied().collect()
    }

    /// Lets messages go.
    pub fn release(&mut self, ids: &[Id], now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for id in ids {
            self.kept.remove(id);
        }
        let names = ids.iter().filter_map(|id| self.waiting.names_of(*id));
        let names = names.collect();
        self.unpark(names, now, &mut deeds);
        deeds
    }

    /// One that is not on its way yet is taken back.
    fn cancel_parked(&mut self, id: Id, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let Some((names, mut parked)) = self.waiting.remove(id) else {
            return deeds;
        };
        parked.message.step(Event::Cancel, now);
        self.kept.remove(&id);
        deeds.push(Deed::Write {
            id,
            state: parked.message.state(),
            is_new: true,
            legs: Vec::new(),
            endpoint: None,
            to: names.to.clone(),
            next: None,
        });
        self.unpark(vec![names], now, &mut deeds);
        deeds
    }

    /// Brings the messages for these that wait for nothing more to their lines, in order.
    fn unpark(&mut self, all: Vec<Names>, now: Moment, deeds: &mut Vec<Deed>) {
        for names in all {
            let first = self.waiting.first(&names);
            if first.is_none_or(|id| self.kept.contains(&id)) {
                continue;
            }
            let Some(number) = self.line_of(&names, now, deeds) else {
                continue;
            };
            let kept = &self.kept;
            for parked in self.waiting.take(&names, |id| !kept.contains(&id)) {
                self.enter(number, parked, now, deeds);
            }
        }
    }

    fn enter(&mut self, number: u64, parked: Parked, now: Moment, deeds: &mut Vec<Deed>) {
        let Parked {
            id,
            message,
            stored,
        } = parked;
        self.by_message.insert(id, number);
        let before = deeds.len();
        self.within(number, None, deeds, |line| line.add(id, message, now));
        // After a restart most are where they were.
        let is_news = |deed: &Deed| match deed {
            Deed::Write {
                id: of,
                state,
                legs,
                ..
            } => *of != id || *state != stored || !legs.is_empty(),
            _ => true,
        };
        let news = deeds.split_off(before).into_iter().filter(is_news);
        deeds.extend(news);
    }

    /// The line of these two, a new one if all is known for it.
    fn line_of(&mut self, names: &Names, now: Moment, deeds: &mut Vec<Deed>) -> Option<u64> {
        if let Some(number) = self.by_names.get(names) {
            return Some(*number);
        }
        let endpoints = self.know_number(&names.to, now, deeds)?;
        let mut contacts = Vec::new();
        let mut is_known = true;
        for endpoint in &endpoints {
            match self.know_endpoint(endpoint, now, deeds) {
                Some(of) => contacts.extend(of),
                None => is_known = false,
            }
        }
        if !is_known {
            return None;
        }
        self.last += 1;
        let pair = Pair {
            names: names.clone(),
            endpoints: Vec::new(),
            line: Line::new(contacts.clone()),
            contacts,
            due: None,
        };
        self.pairs.insert(self.last, pair);
        self.by_names.insert(names.clone(), self.last);
        self.belongs(self.last, endpoints);
        Some(self.last)
    }

    /// These are the endpoints of a line.
    fn belongs(&mut self, number: u64, endpoints: Vec<String>) {
        let Some(pair) = self.pairs.get_mut(&number) else {
            return;
        };
        if pair.endpoints == endpoints {
            return;
        }
        let before = std::mem::replace(&mut pair.endpoints, endpoints);
        leave(&mut self.by_endpoint, &before, number);
        for endpoint in &pair.endpoints {
            let lines = self.by_endpoint.entry(endpoint.clone()).or_default();
            lines.insert(number);
        }
    }

    fn of_endpoint(&self, endpoint: &str) -> Vec<u64> {
        let lines = self.by_endpoint.get(endpoint);
        lines.map_or_else(Vec::new, |lines| lines.iter().copied().collect())
    }

    fn know_number(
        &mut self,
        number: &str,
        now: Moment,
        deeds: &mut Vec<Deed>,
    ) -> Option<Vec<String>> {
        let known = self.numbers.entry(number.to_owned()).or_default();
        if known.is_fresh(now) || !self.is_connected {
            return Some(known.names.clone());
        }
        if !known.is_asked {
            known.is_asked = true;
            deeds.push(Deed::Ask(Question::Number(number.to_owned())));
        }
        None
    }

    fn know_endpoint(
        &mut self,
        endpoint: &str,
        now: Moment,
        deeds: &mut Vec<Deed>,
    ) -> Option<Vec<String>> {
        let known = self.endpoints.entry(endpoint.to_owned()).or_default();
        if known.is_fresh(now) {
            return Some(known.names.clone());
        }
        if !self.is_connected {
            return Some(Vec::new());
        }
        if !known.is_asked {
            known.is_asked = true;
            deeds.push(Deed::Ask(Question::Endpoint(endpoint.to_owned())));
        }
        None
    }

    /// Asterisk is there, or it is another one: all is asked anew.
    pub fn connected(&mut self, now: Moment) -> Vec<Deed> {
        self.is_connected = true;
        for known in self.numbers.values_mut().chain(self.endpoints.values_mut()) {
            known.at = None;
            known.is_asked = false;
        }
        self.look(usize::MAX, now)
    }

    /// Asterisk is gone, and with it all phones. What is known of numbers is kept.
    pub fn lost(&mut self, now: Moment) -> Vec<Deed> {
        self.is_connected = false;
        for known in self.numbers.values_mut().chain(self.endpoints.values_mut()) {
            known.is_asked = false;
        }
        let endpoints: Vec<String> = self.endpoints.drain().map(|(name, _)| name).collect();
        let mut deeds = Vec::new();
        for endpoint in endpoints {
            self.spread(&endpoint, &[], now, &mut deeds);
        }
        self.unpark(self.waiting.all(), now, &mut deeds);
        deeds
    }

    /// Asks again what messages wait for: a step of it.
    pub fn poll(&mut self, now: Moment) -> Vec<Deed> {
        // What was not answered by now never will be.
        for known in self.numbers.values_mut().chain(self.endpoints.values_mut()) {
            known.is_asked = false;
        }
        if self.is_connected {
            self.numbers.retain(|_, known| known.is_fresh(now));
        }
        self.look(STEP, now)
    }

    fn look(&mut self, most: usize, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let numbers = self.pairs.values().map(|pair| &pair.names.to);
        let numbers: HashSet<&String> = numbers.collect();
        for number in oldest(numbers, &self.numbers, most, now) {
            self.know_number(&number, now, &mut deeds);
        }
        let names = self.pairs.values().flat_map(|pair| &pair.endpoints);
        let endpoints: HashSet<&String> = names.collect();
        for endpoint in oldest(endpoints, &self.endpoints, most, now) {
            self.know_endpoint(&endpoint, now, &mut deeds);
        }
        self.unpark(self.waiting.all(), now, &mut deeds);
        deeds
    }

    /// The endpoints of a number.
    pub fn number_is(&mut self, number: &str, endpoints: Vec<String>, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let known = self.numbers.entry(number.to_owned()).or_default();
        *known = Known {
            names: endpoints.clone(),
            at: Some(now),
            is_asked: false,
        };
        let pairs: Vec<u64> = of_number(&self.by_names, number)
            .map(|(_, at)| *at)
            .collect();
        for at in pairs {
            self.belongs(at, endpoints.clone());
            let mut contacts = Vec::new();
            for endpoint in &endpoints {
                self.know_endpoint(endpoint, now, &mut deeds);
                // Old knowledge is good until there is better.
                let known = self.endpoints.get(endpoint);
                contacts.extend(known.map(|known| known.names.clone()).unwrap_or_default());
            }
            self.meet(at, &contacts, now, &mut deeds);
        }
        self.unpark(self.waiting.for_number(number), now, &mut deeds);
        deeds
    }

    /// The contacts of an endpoint.
    pub fn endpoint_has(
        &mut self,
        endpoint: &str,
        contacts: Vec<String>,
        now: Moment,
    ) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let known = Known {
            names: contacts.clone(),
            at: Some(now),
            is_asked: false,
        };
        self.endpoints.insert(endpoint.to_owned(), known);
        self.spread(endpoint, &contacts, now, &mut deeds);
        // Whoever waits for a contact waits for a number that has this endpoint.
        let has_it = |known: &Known| known.names.iter().any(|name| name == endpoint);
        let numbers = self.numbers.iter().filter(|(_, known)| has_it(known));
        let names = numbers.flat_map(|(number, _)| self.waiting.for_number(number));
        let names = names.collect();
        self.unpark(names, now, &mut deeds);
        deeds
    }

    /// Something about an endpoint's phones changed; `back` is a contact that has just come.
    pub fn stirred(&mut self, endpoint: &str, back: Option<&str>, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let Some(known) = self.endpoints.get_mut(endpoint) else {
            return deeds;
        };
        known.at = None;
        if let Some(contact) = back {
            // It was there all the time, as far as we knew: whatever kept it silent is over.
            let has_it = |pair: &Pair| pair.contacts.iter().any(|known| known == contact);
            let mut pairs = self.of_endpoint(endpoint);
            pairs.retain(|at| self.pairs.get(at).is_some_and(has_it));
            for at in pairs {
                self.within(at, None, &mut deeds, |line| {
                    let mut effects = line.step(None, Event::Went(contact.to_owned()), now);
                    effects.extend(line.step(None, Event::Came(contact.to_owned()), now));
                    effects
                });
            }
        }
        if self.by_endpoint.contains_key(endpoint) {
            self.endpoints
                .entry(endpoint.to_owned())
                .or_default()
                .is_asked = false;
            self.know_endpoint(endpoint, now, &mut deeds);
        }
        deeds
    }

    /// Tells each line of an endpoint's contacts.
    fn spread(&mut self, endpoint: &str, contacts: &[String], now: Moment, deeds: &mut Vec<Deed>) {
        for at in self.of_endpoint(endpoint) {
            let Some(pair) = self.pairs.get(&at) else {
                continue;
            };
            let others = pair
                .contacts
                .iter()
                .filter(|known| endpoint_of(known) != endpoint);
            let all: Vec<String> = others.cloned().chain(contacts.iter().cloned()).collect();
            self.meet(at, &all, now, deeds);
        }
    }

    /// These contacts, and no others, are there for a line.
    fn meet(&mut self, at: u64, contacts: &[String], now: Moment, deeds: &mut Vec<Deed>) {
        let Some(pair) = self.pairs.get_mut(&at) else {
            return;
        };
        let before = std::mem::replace(&mut pair.contacts, contacts.to_vec());
        self.within(at, None, deeds, |line| {
            let gone = before.iter().filter(|known| !contacts.contains(known));
            let mut effects = Vec::new();
            for contact in gone {
                effects.extend(line.step(None, Event::Went(contact.clone()), now));
            }
            for contact in contacts.iter().filter(|contact| !before.contains(contact)) {
                effects.extend(line.step(None, Event::Came(contact.clone()), now));
            }
            effects
        });
    }

    /// Something happened to one message.
    pub fn step(&mut self, id: Id, event: Event, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        if event == Event::Cancel && !self.by_message.contains_key(&id) {
            return self.cancel_parked(id, now);
        }
        if let Some(number) = self.by_message.get(&id).copied() {
            let code = match &event {
                Event::Answered { code, .. } => Some(*code),
                _ => None,
            };
            self.within(number, code, &mut deeds, |line| {
                line.step(Some(&id), event, now)
            });
        }
        deeds
    }

    /// The time has come for some.
    pub fn clock(&mut self, jitter: i8, now: Moment) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        let due: Vec<u64> = due.map(|(_, number)| *number).collect();
        for number in due {
            self.within(number, None, &mut deeds, |line| {
                line.step(None, Event::Clock { jitter }, now)
            });
        }
        deeds
    }

    /// Lets something happen to a line, and makes deeds of its effects. `code` is the phone's answer, if that happened.
    fn within(
        &mut self,
        number: u64,
        code: Option<u16>,
        deeds: &mut Vec<Deed>,
        happen: impl FnOnce(&mut Line<Id>) -> Vec<(Id, Effect)>,
    ) {
        let Some(pair) = self.pairs.get_mut(&number) else {
            return;
        };
        let effects = happen(&mut pair.line);
        let mut writes: Vec<Deed> = Vec::new();
        let due = pair.line.deadline();
        for (id, effect) in effects {
            if let Effect::SendTo(contact) = &effect {
                deeds.push(Deed::Send {
                    id,
                    contact: contact.clone(),
                    from: pair.names.from.clone(),
                });
                continue;
            }
            let at = writes
                .iter()
                .rposition(|deed| matches!(deed, Deed::Write { id: of, .. } if *of == id));
            let at = at.unwrap_or_else(|| {
                writes.push(Deed::Write {
                    id,
                    // Without a change it is that of the line, or of a message at rest that a further phone had.
                    state: pair.line.get(&id).map_or(State::Delivered, Incoming::state),
                    is_new: false,
                    legs: Vec::new(),
                    endpoint: pair.endpoints.first().cloned(),
                    to: pair.names.to.clone(),
                    next: due,
                });
                writes.len() - 1
            });
            let Some(Deed::Write {
                state,
                is_new,
                legs,
                endpoint,
                ..
            }) = writes.get_mut(at)
            else {
                continue;
            };
            match effect {
                Effect::Become(new) => (*state, *is_new) = (new, true),
                Effect::Write(contact) => {
                    *endpoint = Some(endpoint_of(&contact).to_owned());
                    let leg = pair.line.get(&id).and_then(|message| {
                        let mut legs = message.legs().iter();
                        legs.find(|leg| leg.contact == contact).cloned()
                    });
                    let refused = code.filter(|code| meaning_of(*code) != Answer::Taken);
                    // What is over has left the line already.
                    legs.push(leg.unwrap_or(Leg {
                        contact,
                        state: refused.map_or(LegState::Taken, |code| LegState::Refused { code }),
                        tries: 1,
                        tried: None,
                        there: false,
                    }));
                }
                Effect::SendTo(_) | Effect::Send => {}
            }
        }
        for id in pair.line.take_gone() {
            self.by_message.remove(&id);
        }
        deeds.extend(writes);
        if due != pair.due || pair.line.is_empty() {
            if let Some(before) = pair.due.take() {
                self.due.remove(&(before, number));
            }
            pair.due = due;
            if let Some(at) = due {
                self.due.insert((at, number));
            }
        }
        if pair.line.is_empty()
            && let Some(pair) = self.pairs.remove(&number)
        {
            self.by_names.remove(&pair.names);
            leave(&mut self.by_endpoint, &pair.endpoints, number);
        }
    }
}

/// The line is none of these endpoints' any more.
fn leave(by_endpoint: &mut HashMap<String, BTreeSet<u64>>, endpoints: &[String], number: u64) {
    for endpoint in endpoints {
        if let Some(lines) = by_endpoint.get_mut(endpoint) {
            lines.remove(&number);
            if lines.is_empty() {
                by_endpoint.remove(endpoint);
            }
        }
    }
}

/// Those whose knowledge is the oldest, and no longer fresh.
fn oldest(
    names: HashSet<&String>,
    known: &HashMap<String, Known>,
    most: usize,
    now: Moment,
) -> Vec<String> {
    let age = |name: &String| known.get(name).and_then(|known| known.at);
    let is_old = |name: &&String| !known.get(*name).is_some_and(|known| known.is_fresh(now));
    let mut names: Vec<&String> = names.into_iter().filter(is_old).collect();
    names.sort_by_key(|name| age(name));
    names.into_iter().take(most).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websms::delivery::Terms;

    const NOW: Moment = 1_800_000_000_000;

    fn add(lines: &mut Lines, id: Id, from: &str) -> Vec<Id> {
        let pair = Names {
            to: "+469".to_owned(),
            from: from.to_owned(),
        };
        let life = Incoming::new(&Terms::default(), NOW);
        written(lines.add(id, pair, life, State::Received, NOW))
    }

    fn written(deeds: Vec<Deed>) -> Vec<Id> {
        let writes = deeds.into_iter().filter_map(|deed| match deed {
            Deed::Write { id, .. } => Some(id),
            _ => None,
        });
        let mut ids: Vec<Id> = writes.collect();
        ids.dedup();
        ids
    }

    #[test]
    fn what_is_kept_back_holds_up_its_own_pair_and_nobody_else() {
        let [first, kept, behind, other] = [1, 2, 3, 4].map(|n| Id::first_of(NOW + n));
        let mut lines = Lines::default();
        // A pair that has a line already waits all the same.
        assert_eq!(add(&mut lines, first, "+461"), [first]);
        lines.keep_back(kept);
        assert_eq!(add(&mut lines, kept, "+461"), []);
        assert_eq!(add(&mut lines, behind, "+461"), []);
        assert_eq!(add(&mut lines, other, "+462"), [other]);
        assert!(lines.has(kept) && lines.has(behind));
        assert_eq!(written(lines.release(&[], NOW)), []);
        assert_eq!(lines.kept_back(), [kept]);
        assert_eq!(written(lines.release(&[kept], NOW)), [kept, behind]);
        assert_eq!(lines.kept_back(), []);
    }

    #[test]
    fn what_is_kept_back_can_be_taken_back() {
        let [kept, behind] = [1, 2].map(|n| Id::first_of(NOW + n));
        let mut lines = Lines::default();
        lines.keep_back(kept);
        assert_eq!(add(&mut lines, kept, "+461"), []);
        assert_eq!(add(&mut lines, behind, "+461"), []);
        let deeds = lines.step(kept, Event::Cancel, NOW);
        let is_cancelled = |deed: &Deed| matches!(deed, Deed::Write { id, state: State::Cancelled, .. } if *id == kept);
        assert!(deeds.first().is_some_and(is_cancelled), "{deeds:?}");
        assert_eq!(written(deeds), [kept, behind]);
        assert!(!lines.has(kept));
    }
}
