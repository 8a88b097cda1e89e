//! Messages that wait outside of their lines, for Asterisk's word about their number or about the phones behind it.
//!
//! Pure. They stand by recipient first, so that a word about a number finds its own without looking at the others: thousands
//! of messages may wait, and as many words may come. Invariant: those of one sender to one recipient keep their order.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::websms::delivery::{Incoming, State};
use crate::websms::spool::Id;

/// The two whom a line connects; in the order of the recipients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    pub to: String,
    pub from: String,
}

/// One that waits.
#[derive(Debug)]
pub struct Parked {
    pub id: Id,
    pub message: Incoming,
    /// Its state on disk.
    pub stored: State,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    by_names: BTreeMap<Names, VecDeque<Parked>>,
    ids: HashMap<Id, Names>,
}

impl Waiting {
    pub fn has(&self, id: Id) -> bool {
        self.ids.contains_key(&id)
    }

    /// Whether a message between these waits.
    pub fn holds(&self, names: &Names) -> bool {
        self.by_names.contains_key(names)
    }

    /// Between whom this one is to go.
    pub fn names_of(&self, id: Id) -> Option<Names> {
        self.ids.get(&id).cloned()
    }

    /// The first of those between these two.
    pub fn first(&self, names: &Names) -> Option<Id> {
        self.by_names.get(names)?.front().map(|parked| parked.id)
    }

    /// Puts one behind those between the same two.
    pub fn park(&mut self, names: Names, parked: Parked) {
        self.ids.insert(parked.id, names.clone());
        self.by_names.entry(names).or_default().push_back(parked);
    }

    /// Takes those between these two out, in order, up to the first that may not go.
    pub fn take(&mut self, names: &Names, may_go: impl Fn(Id) -> bool) -> Vec<Parked> {
        let mut taken = Vec::new();
        let Some(all) = self.by_names.get_mut(names) else {
            return taken;
        };
        while all.front().is_some_and(|parked| may_go(parked.id)) {
            taken.extend(all.pop_front());
        }
        if all.is_empty() {
            self.by_names.remove(names);
        }
        for parked in &taken {
            self.ids.remove(&parked.id);
        }
        taken
    }

    /// Takes one out.
    pub fn remove(&mut self, id: Id) -> Option<(Names, Parked)> {
        let names = self.ids.remove(&id)?;
        let all = self.by_names.get_mut(&names)?;
        let at = all.iter().position(|parked| parked.id == id)?;
        let parked = all.remove(at)?;
        if all.is_empty() {
            self.by_names.remove(&names);
        }
        Some((names, parked))
    }

    pub fn all(&self) -> Vec<Names> {
        self.by_names.keys().cloned().collect()
    }

    pub fn for_number(&self, number: &str) -> Vec<Names> {
        of_number(&self.by_names, number)
            .map(|(names, _)| names.clone())
            .collect()
    }
}

/// What is kept for a recipient, by sender.
pub fn of_number<'a, T>(
    all: &'a BTreeMap<Names, T>,
    number: &'a str,
) -> impl Iterator<Item = (&'a Names, &'a T)> {
    let first = Names {
        to: number.to_owned(),
        from: String::new(),
    };
    all.range(first..)
        .take_while(move |(names, _)| names.to == number)
}
