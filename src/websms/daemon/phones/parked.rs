//! Messages that wait outside of their lines, for Asterisk's word about their number or about the phones behind it.
//!
//! Pure. They stand by recipient first, so that a word about a number finds its own without looking at the others: thousands
//! of messages may wait, and as many words may come. Invariant: those of one sender to one recipient keep their order.

use std::collections::{BTreeMap, HashSet};

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
    by_names: BTreeMap<Names, Vec<Parked>>,
    ids: HashSet<Id>,
}

impl Waiting {
    pub fn has(&self, id: Id) -> bool {
        self.ids.contains(&id)
    }

    /// Whether a message between these waits.
    pub fn holds(&self, names: &Names) -> bool {
        self.by_names.contains_key(names)
    }

    /// Puts one behind those between the same two.
    pub fn park(&mut self, names: Names, parked: Parked) {
        self.ids.insert(parked.id);
        self.by_names.entry(names).or_default().push(parked);
    }

    /// Takes those between these two out, in order.
    pub fn take(&mut self, names: &Names) -> Vec<Parked> {
        let taken = self.by_names.remove(names).unwrap_or_default();
        for parked in &taken {
            self.ids.remove(&parked.id);
        }
        taken
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
