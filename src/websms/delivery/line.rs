//! The incoming messages of one sender to one recipient, in their order.
//!
//! Pure. A message gets its turn when the one before it is at rest; a contact gets a message when it has had, or has lost, the
//! one before it. Invariant: no contact sees a later message before an earlier one that it may still get.

use std::collections::VecDeque;

use super::{Effect, Event, Incoming, Moment};

/// All messages of a pair that are not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<Id> {
    /// The contacts of the endpoint that are there.
    contacts: Vec<String>,
    messages: VecDeque<Place<Id>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place<Id> {
    id: Id,
    message: Incoming,
    has_turn: bool,
    /// The contacts that were given to it.
    given: Vec<String>,
}

impl<Id> Default for Line<Id> {
    fn default() -> Self {
        Line {
            contacts: Vec::new(),
            messages: VecDeque::new(),
        }
    }
}

impl<Id: Clone + PartialEq> Line<Id> {
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
        let place = self.messages.iter().find(|place| place.id == *id);
        place.map(|place| &place.message)
    }

    /// When `Event::Clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        let places = self.messages.iter();
        places.filter_map(|place| place.message.deadline()).min()
    }

    /// Takes a message that is routed, at the end of the line.
    pub fn add(&mut self, id: Id, message: Incoming, now: Moment) -> Vec<(Id, Effect)> {
        let mut place = Place {
            id: id.clone(),
            message,
            has_turn: false,
            given: Vec::new(),
        };
        let effects = place.message.step(Event::Routed, now);
        let mut out: Vec<_> = effects.into_iter().map(|e| (id.clone(), e)).collect();
        self.messages.push_back(place);
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
                self.tell(
                    None,
                    |place| place.given.contains(contact),
                    &event,
                    now,
                    &mut out,
                );
            }
            Event::Went(contact) => {
                self.contacts.retain(|there| there != contact);
                self.tell(
                    None,
                    |place| place.given.contains(contact),
                    &event,
                    now,
                    &mut out,
                );
                for place in &mut self.messages {
                    place.given.retain(|given| given != contact);
                }
            }
            // The line alone says whose turn it is.
            Event::Turn => {}
            _ => self.tell(id, |_| true, &event, now, &mut out),
        }
        self.advance(now, &mut out);
        out
    }

    fn tell(
        &mut self,
        id: Option<&Id>,
        concerns: impl Fn(&Place<Id>) -> bool,
        event: &Event,
        now: Moment,
        out: &mut Vec<(Id, Effect)>,
    ) {
        let wanted =
            |place: &&mut Place<Id>| id.is_none_or(|id| place.id == *id) && concerns(place);
        for place in self.messages.iter_mut().filter(wanted) {
            place.step(event.clone(), now, out);
        }
    }

    /// Gives the turn and the contacts to the first that is open, as far as they are free, and forgets what is over.
    fn advance(&mut self, now: Moment, out: &mut Vec<(Id, Effect)>) {
        // At rest, but a phone of theirs may still get them.
        let mut earlier: Vec<&Incoming> = Vec::new();
        for place in &mut self.messages {
            if place.message.state().is_open() {
                for contact in &self.contacts {
                    let is_free = !earlier.iter().any(|before| before.may_reach(contact));
                    if is_free && !place.given.contains(contact) {
                        place.given.push(contact.clone());
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
        self.messages.retain(|place| !place.message.is_over());
    }
}

impl<Id: Clone> Place<Id> {
    fn step(&mut self, event: Event, now: Moment, out: &mut Vec<(Id, Effect)>) {
        let effects = self.message.step(event, now);
        out.extend(effects.into_iter().map(|e| (self.id.clone(), e)));
    }
}
