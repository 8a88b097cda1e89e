//! The tables of the block lists: one is filled unseen, piece by piece, and takes the other's place in one transaction.
//!
//! A list of a hundred thousand networks takes the kernel a third of a second; in pieces, no ban waits for more than one of
//! them. Invariant: whoever is on the old and on the new lists is dropped at every moment in between.

use std::time::Duration;

use super::protocol::{self, Element};
use super::{Firewall, FirewallError, milliseconds};
use crate::autoban::cidr::Cidr;
use crate::autoban::ruleset::{Key, LIST_TABLES, Ruleset, list_set};

/// Elements that are added at once: they fit the buffer of a process without privilege over the machine.
pub const PIECE: usize = 2 * protocol::ELEMENTS_PER_MESSAGE;

/// What there is of lists in the kernel.
#[derive(Debug, Default)]
pub struct Lists {
    standing: Option<&'static str>,
    filling: Option<Ruleset>,
}

impl Firewall {
    /// Finds what an earlier process left. A table that was being filled has no counters yet; the next one replaces it.
    pub(super) fn find_lists(&mut self) -> Result<(), FirewallError> {
        for table in LIST_TABLES {
            if !self.counters_of(table)?.is_empty() {
                self.lists.standing = Some(table);
            }
        }
        self.count_lists()
    }

    /// Reads what the lists' rules met. The white list counts in the bans' table.
    pub(super) fn count_lists(&mut self) -> Result<(), FirewallError> {
        let Some(table) = self.lists.standing else {
            return Ok(());
        };
        let counts = self.counters_of(table)?;
        let ours = counts
            .into_iter()
            .filter(|(name, _)| name.starts_with("list"));
        self.counts.extend(ours);
        Ok(())
    }

    /// Begins to fill a table with sets for these families and lengths, each with room for so many. Those of one family
    /// stand together.
    pub fn fill_lists(
        &mut self,
        white: &[Cidr],
        lengths: &[(Key, u8, usize)],
    ) -> Result<(), FirewallError> {
        let failed = FirewallError::new("begin to load the block lists into the kernel's firewall");
        let [first, second] = LIST_TABLES;
        let table = match self.lists.standing == Some(first) {
            true => second,
            false => first,
        };
        let ruleset = Ruleset::of_lists(table, white, lengths);
        self.lists.filling = None;
        self.whole(&failed, |w| {
            protocol::begin(w, 1, &ruleset);
            protocol::table(w, protocol::NEWTABLE, protocol::ACK, 2, table);
        })?;
        self.lists.filling = Some(ruleset);
        Ok(())
    }

    /// Adds networks of one family and length to the table that is being filled, at most `PIECE`.
    pub fn add_to_lists(
        &mut self,
        (key, length): (Key, u8),
        values: &[u128],
        timeout: Duration,
        left: Duration,
    ) -> Result<(), FirewallError> {
        let failed = FirewallError::new("load the block lists into the kernel's firewall");
        let Some(table) = self.lists.filling.as_ref().map(|ruleset| ruleset.table) else {
            return Err(FirewallError::Gone);
        };
        let left = milliseconds(left);
        if values.is_empty() || left == 0 {
            return Ok(());
        }
        let element = |value: &u128| Element {
            set: list_set(key, length),
            key,
            value: *value,
            timeout: milliseconds(timeout).max(left),
            left,
        };
        let elements: Vec<Element> = values.iter().map(element).collect();
        self.whole(&failed, |w| {
            for elements in elements.chunks(protocol::ELEMENTS_PER_MESSAGE) {
                protocol::add_elements(w, 0, 1, table, elements);
            }
            protocol::table(w, protocol::NEWTABLE, protocol::ACK, 2, table);
        })
    }

    /// Lets the filled table take the other one's place.
    pub fn switch_lists(&mut self) -> Result<(), FirewallError> {
        let failed = FirewallError::new("put the block lists into force in the kernel's firewall");
        // What was dropped so far is not forgotten; a table that is not there has nothing to tell.
        let _ = self.count_lists();
        let Some(ruleset) = self.lists.filling.take() else {
            return Err(FirewallError::Gone);
        };
        let table = ruleset.table;
        let counts = std::mem::take(&mut self.counts);
        let count = |name: &str| match name.starts_with("list") {
            true => counts.get(name).copied().unwrap_or_default(),
            false => protocol::Count::default(),
        };
        let done = self.whole(&failed, |w| {
            protocol::finish(w, 1, &ruleset, count);
            for other in LIST_TABLES.iter().filter(|other| **other != table) {
                protocol::remove_table(w, 1, other);
            }
            protocol::table(w, protocol::NEWTABLE, protocol::ACK, 2, table);
        });
        self.counts = counts;
        done?;
        self.lists.standing = Some(table);
        Ok(())
    }

    /// Another white list for the lists that stand.
    pub fn spare_in_lists(&mut self, white: &[Cidr]) -> Result<(), FirewallError> {
        let failed = FirewallError::new("write the white list into the kernel's firewall");
        let Some(table) = self.lists.standing else {
            return Ok(());
        };
        let ruleset = Ruleset::of_lists(table, white, &[]);
        self.whole(&failed, |w| {
            for set in &ruleset.sets {
                protocol::flush_set(w, 1, table, set.name);
                protocol::fixed_elements(w, 1, table, set);
            }
            protocol::table(w, protocol::NEWTABLE, protocol::ACK, 2, table);
        })
    }

    /// Removes what there is of lists.
    pub fn remove_lists(&mut self) -> Result<(), FirewallError> {
        let failed = FirewallError::new("remove the block lists from the kernel's firewall");
        self.lists = Lists::default();
        self.whole(&failed, |w| {
            for table in LIST_TABLES {
                protocol::remove_table(w, 1, table);
            }
            // A message that asks for a confirmation, and changes nothing.
            let [last, _] = LIST_TABLES;
            protocol::table(w, protocol::NEWTABLE, protocol::CREATE, 1, last);
            protocol::table(w, protocol::DELTABLE, protocol::ACK, 2, last);
        })
    }
}
