//! Which changes one reload has carried: what was written, and up to which change Asterisk was proved to have it.
//!
//! Pure: it reads no file and takes no lock. Invariant: a change counts as carried only if it was written before the reload began
//! that was proved.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The number of a change, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The account of the changes since the machine started. Whoever holds it alone may change it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    written: u64,
    proved: u64,
    /// The lists of the changes between the two.
    lists: BTreeSet<String>,
}

impl Ledger {
    /// An account as it was printed; a new one where it cannot be read: then nothing counts as carried.
    #[must_use]
    pub fn parse(text: &str) -> Ledger {
        let ledger: Ledger = serde_json::from_str(text).unwrap_or_default();
        match ledger.proved <= ledger.written {
            true => ledger,
            false => Ledger::default(),
        }
    }

    #[must_use]
    pub fn print(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Notes that a list has been changed.
    pub fn write(&mut self, list: &str) -> Ticket {
        self.written = self.written.saturating_add(1);
        self.lists.insert(list.to_owned());
        Ticket(self.written)
    }

    /// Whether somebody's reload has carried this change, so that it needs none of its own.
    #[must_use]
    pub fn carried(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.proved
    }

    /// The lists that a reload which begins now has to carry and to prove.
    pub fn lists(&self) -> impl Iterator<Item = &str> {
        self.lists.iter().map(String::as_str)
    }

    /// Ends a reload: all that was written before it is carried, unless it was not proved. Then each looks for itself.
    pub fn end(&mut self, is_proved: bool) {
        self.lists.clear();
        if is_proved {
            self.proved = self.written;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reload_carries_all_that_was_written_before_it() {
        let mut ledger = Ledger::default();
        let (first, second) = (ledger.write("home"), ledger.write("office"));
        assert!(!ledger.carried(first) && !ledger.carried(second));
        assert_eq!(ledger.lists().collect::<Vec<_>>(), ["home", "office"]);
        ledger.end(true);
        assert!(ledger.carried(first) && ledger.carried(second));
        let third = ledger.write("home");
        assert!(ledger.carried(second) && !ledger.carried(third));
        assert_eq!(ledger.lists().collect::<Vec<_>>(), ["home"]);
    }

    #[test]
    fn a_reload_that_was_not_proved_carries_nothing() {
        let mut ledger = Ledger::default();
        let first = ledger.write("home");
        ledger.end(false);
        assert!(!ledger.carried(first));
        assert_eq!(ledger.lists().count(), 0);
    }

    #[test]
    fn it_comes_back_as_it_was_and_what_cannot_be_read_carries_nothing() {
        let mut ledger = Ledger::default();
        ledger.write("home");
        ledger.end(true);
        let ticket = ledger.write("off\"ice");
        assert_eq!(Ledger::parse(&ledger.print()), ledger);
        for text in ["", "{", r#"{"written":1,"proved":9,"lists":[]}"#] {
            assert!(!Ledger::parse(text).carried(ticket), "{text}");
        }
    }
}
