//! The incoming messages of one sender to one recipient, in their order.
//!
//! Pure. A message gets its turn when the one before it is at rest; a contact gets a message when it has had, or has lost, the
//! one before it. What happens to one costs no look at those that wait behind it: thousands may. Invariant: no contact sees a
//! later message before an earlier one that it may still get.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use super::{Effect, Event, Incoming, Moment};

/// All messages of a pair that are not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<Id: Eq + Hash> {
    /// The contacts of the endpoint that are there.
    contacts: Vec<String>,
    /// By their place in the line.
    messages: BTreeMap<u64, Place<Id>>,
    places: HashMap<Id, u64>,
    last: u64,
    /// Those to which contacts were given.
    given: BTreeSet<u64>,
    deadlines: BTreeSet<(Moment, u64)>,
    /// Those that are over and left.
    gone: Vec<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place<Id> {
    id: Id,
    message: Incoming,
    has_turn: bool,
    /// The contacts that were given to it.
    given: Vec<String>,
    /// As it stands in `deadlines`.
    deadline: Option<Moment>,
}

impl<Id: Eq + Hash> Default for Line<Id> {
    fn default() -> Self {
        Line {
            contacts: Vec::new(),
            messages: BTreeMap::new(),
            places: HashMap::new(),
            last: 0,
            given: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            gone: Vec::new(),
        }
    }
}

impl<Id: Clone + Eq + Hash> Line<Id> {
    /// With the contacts that are there now.
    pub fn new(contacts: Vec<String>) -> Line<Id> {
        Line {
            contacts,
            ..Line::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn get(&self, id: &Id) -> Option<&Incoming> {
        let place = self.messages.get(self.places.get(id)?)?;
        Some(&place.message)
    }

    /// When `Event::Clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Those that left since this was asked last.
    pub fn take_gone(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.gone)
    }

    /// Takes a message that is routed, at the end of the line.
    pub fn add(&mut self, id: Id, message: Incoming, now: Moment) -> Vec<(Id, Effect)> {
        self.last += 1;
        let place = Place {
            id: id.clone(),
            message,
            has_turn: false,
            given: Vec::new(),
            deadline: None,
        };
        self.places.insert(id, self.last);
        self.messages.insert(self.last, place);
        let mut out = Vec::new();
        self.tell(vec![self.last], &Event::Routed, now, &mut out);
        self.advance(now, &mut out);
        out
    }

    /// What happened to one message, or with `None` to all: contacts, the clock.
    pub fn step(&mut self, id: Option<&Id>, event: Event, now: Moment) -> Vec<(Id, Effect)> {
        let mut out = Vec::new();
        match &event {
            Event::Came(contact) => {
                if !self.contacts.contains(contact) {
                    self.contacts.push(contact.clone());
                }
                // Those to whom it was given are told again: a pause of theirs ends.
                self.tell(self.given(contact), &event, now, &mut out);
            }
            Event::Went(contact) => {
                self.contacts.retain(|there| there != contact);
                let had = self.given(contact);
                self.tell(had.clone(), &event, now, &mut out);
                for at in had {
                    if let Some(place) = self.messages.get_mut(&at) {
                        place.given.retain(|given| given != contact);
                        if place.given.is_empty() {
                            self.given.remove(&at);
                        }
                    }
                }
            }
            // The line alone says whose turn it is.
            Event::Turn => {}
            Event::Clock { .. } if id.is_none() => {
                let due = self.deadlines.iter().take_while(|(at, _)| *at <= now);
                let due = due.map(|(_, place)| *place).collect();
                self.tell(due, &event, now, &mut out);
            }
            _ => {
                let concerned = match id {
                    Some(id) => self.places.get(id).copied().into_iter().collect(),
                    None => self.messages.keys().copied().collect(),
                };
                self.tell(concerned, &event, now, &mut out);
            }
        }
        self.advance(now, &mut out);
        out
    }

    /// The places that were given this contact.
    fn given(&self, contact: &String) -> Vec<u64> {
        let has_it = |at: &&u64| {
            let place = self.messages.get(at);
            place.is_some_and(|place| place.given.contains(contact))
        };
        self.given.iter().filter(has_it).copied().collect()
    }

    fn tell(&mut self, places: Vec<u64>, event: &Event, now: Moment, out: &mut Vec<(Id, Effect)>) {
        for at in places {
            if let Some(place) = self.messages.get_mut(&at) {
                place.step(event.clone(), now, out);
            }
            self.note(at);
        }
    }

    /// Gives the turn and the contacts to the first that is open, as far as they are free, and forgets what is over.
    fn advance(&mut self, now: Moment, out: &mut Vec<(Id, Effect)>) {
        // At rest, but a phone of theirs may still get them.
        let mut earlier: Vec<&Incoming> = Vec::new();
        let mut seen = Vec::new();
        for (at, place) in &mut self.messages {
            seen.push(*at);
            if place.message.state().is_open() {
                for contact in &self.contacts {
                    let is_free = !earlier.iter().any(|before| before.may_reach(contact));
                    if is_free && !place.given.contains(contact) {
                        place.given.push(contact.clone());
                        self.given.insert(*at);
                        place.step(Event::Came(contact.clone()), now, out);
                    }
                }
                if !place.has_turn {
                    place.has_turn = true;
                    place.step(Event::Turn, now, out);
                }
            }
            if place.message.state().is_open() {
                break;
            }
            earlier.push(&place.message);
        }
        for at in seen {
            self.note(at);
        }
    }

    /// Something may have changed at this place.
    fn note(&mut self, at: u64) {
        let Some(place) = self.messages.get_mut(&at) else {
            return;
        };
        let is_over = place.message.is_over();
        let deadline = place.message.deadline().filter(|_| !is_over);
        let before = std::mem::replace(&mut place.deadline, deadline);
        if before != deadline {
            if let Some(moment) = before {
                self.deadlines.remove(&(moment, at));
            }
            if let Some(moment) = deadline {
                self.deadlines.insert((moment, at));
            }
        }
        if is_over && let Some(place) = self.messages.remove(&at) {
            self.places.remove(&place.id);
            self.given.remove(&at);
            self.gone.push(place.id);
        }
    }
}

impl<Id: Clone> Place<Id> {
    fn step(&mut self, event: Event, now: Moment, out: &mut Vec<(Id, Effect)>) {
        let effects = self.message.step(event, now);
        out.extend(effects.into_iter().map(|e| (self.id.clone(), e)));
    }
}
