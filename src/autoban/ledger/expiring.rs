//! A bounded table whose entries have a time at which they are due.
//!
//! Pure. A wheel of one-second slots that goes round in 4096 seconds holds them, so that each entry costs O(1) to place, to
//! move and to take out, and is looked at once a round. Invariant: an entry is in exactly one slot.

use std::collections::HashMap;
use std::hash::Hash;

use super::hash::Secret;

const NONE: u32 = u32::MAX;
const SLOTS: usize = 4096;

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    /// Milliseconds.
    due: i64,
    slot: u32,
    before: u32,
    after: u32,
}

/// The table.
#[derive(Debug)]
pub struct Expiring<K, V> {
    index: HashMap<K, u32, Secret>,
    entries: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
    slots: Vec<u32>,
    /// The next second to be looked at.
    second: i64,
    /// A number to sample with.
    random: u64,
}

impl<K: Copy + Eq + Hash, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Expiring {
            index: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            slots: vec![NONE; SLOTS],
            second: i64::MIN,
            random: 0x2545_f491_4f6c_dd1d,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Expiring<K, V> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let at = *self.index.get(key)?;
        self.entry(at).map(|entry| &entry.value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries
            .iter()
            .flatten()
            .map(|entry| (&entry.key, &entry.value))
    }

    /// Puts an entry in, in the place of one with the same key.
    pub fn insert(&mut self, key: K, value: V, due: i64) -> Option<V> {
        let old = self.remove(&key);
        let entry = Entry {
            key,
            value,
            due,
            slot: NONE,
            before: NONE,
            after: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.entries.get_mut(at as usize) {
                    *place = Some(entry);
                }
                at
            }
            None => {
                self.entries.push(Some(entry));
                (self.entries.len() - 1) as u32
            }
        };
        self.index.insert(key, at);
        self.link(at);
        old
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.index.remove(key)?;
        self.unlink(at);
        self.free.push(at);
        let entry = self.entries.get_mut(at as usize)?.take()?;
        Some(entry.value)
    }

    /// Of sixteen entries taken at random, the one that can best be spared. A rank of `None` cannot be spared.
    pub fn sample_lowest<R: Ord>(&mut self, rank: impl Fn(&V) -> Option<R>) -> Option<K> {
        let mut lowest: Option<(R, K)> = None;
        let count = self.entries.len() as u64;
        for _ in 0..16 {
            // xorshift64 (Marsaglia, 2003).
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let at = self.random.checked_rem(count).unwrap_or(0);
            let Some(entry) = self.entry(at as u32) else {
                continue;
            };
            if let Some(found) = rank(&entry.value)
                && lowest.as_ref().is_none_or(|(least, _)| found < *least)
            {
                lowest = Some((found, entry.key));
            }
        }
        lowest.map(|(_, key)| key)
    }

    /// Hands over what is due. An entry for which a later time comes back stays until then.
    pub fn expire(&mut self, now: i64, mut due: impl FnMut(&K, &mut V) -> Option<i64>) {
        let end = now.div_euclid(1000);
        if end <= self.second {
            return;
        }
        // The first time, and after a long pause, every slot.
        let first = self.second.max(end - SLOTS as i64);
        self.second = end;
        for second in first..end {
            let slot = second.rem_euclid(SLOTS as i64) as usize;
            let mut at = self.slots.get(slot).copied().unwrap_or(NONE);
            while at != NONE {
                let Some(entry) = self.entries.get_mut(at as usize).and_then(Option::as_mut) else {
                    break;
                };
                let after = entry.after;
                if entry.due <= now {
                    let key = entry.key;
                    match due(&key, &mut entry.value) {
                        Some(later) if later > now => {
                            entry.due = later;
                            self.unlink(at);
                            self.link(at);
                        }
                        _ => {
                            self.remove(&key);
                        }
                    }
                }
                at = after;
            }
        }
    }

    fn entry(&self, at: u32) -> Option<&Entry<K, V>> {
        self.entries.get(at as usize)?.as_ref()
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    fn link(&mut self, at: u32) {
        let soonest = self.second;
        let Some(entry) = self.entry_mut(at) else {
            return;
        };
        // What is already over comes at the next look.
        let second = entry.due.div_euclid(1000).max(soonest);
        let slot = second.rem_euclid(SLOTS as i64) as u32;
        entry.slot = slot;
        let Some(head) = self.slots.get_mut(slot as usize) else {
            return;
        };
        let after = std::mem::replace(head, at);
        if let Some(entry) = self.entry_mut(after) {
            entry.before = at;
        }
        if let Some(entry) = self.entry_mut(at) {
            (entry.before, entry.after) = (NONE, after);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(entry) = self.entry(at) else {
            return;
        };
        let (before, after, slot) = (entry.before, entry.after, entry.slot);
        match self.entry_mut(before) {
            Some(entry) => entry.after = after,
            None => {
                if let Some(head) = self.slots.get_mut(slot as usize) {
                    *head = after;
                }
            }
        }
        if let Some(entry) = self.entry_mut(after) {
            entry.before = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Beside a list that is searched from end to end.
        #[test]
        fn entries_leave_when_they_are_due(
            steps in prop::collection::vec((0u8..20, 0i64..9_000_000, any::<bool>(), 0i64..3_000_000), 1..60)
        ) {
            let mut table = Expiring::default();
            let mut plain: Vec<(u8, i64)> = Vec::new();
            let mut now = 1_700_000_000_000;
            for (key, span, is_removed, pause) in steps {
                plain.retain(|(other, _)| *other != key);
                if is_removed {
                    table.remove(&key);
                } else {
                    table.insert(key, now + span, now + span);
                    plain.push((key, now + span));
                }
                now += pause;
                let mut gone = Vec::new();
                table.expire(now, |key, due| { gone.push((*key, *due)); None });
                prop_assert!(gone.iter().all(|(_, due)| *due <= now));
                plain.retain(|entry| !gone.contains(entry));
                // What is due may wait for the end of its second, no longer.
                prop_assert!(plain.iter().all(|(_, due)| *due > now - 1000));
                prop_assert_eq!(table.len(), plain.len());
            }
        }
    }

    #[test]
    fn an_entry_can_stay_for_longer() {
        let mut table = Expiring::default();
        table.expire(0, |_: &u8, _: &mut ()| None);
        table.insert(1u8, (), 500);
        table.expire(2000, |_, ()| Some(9_000_000));
        assert_eq!(table.len(), 1);
        table.expire(8_999_000, |_, ()| panic!("too early"));
        table.expire(9_001_000, |_, ()| None);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn the_one_that_can_be_spared_is_found() {
        let mut table = Expiring::default();
        assert_eq!(table.sample_lowest(|v: &i32| Some(*v)), None::<u8>);
        table.insert(1u8, 7, 0);
        table.insert(2u8, 5, 0);
        assert_eq!(table.sample_lowest(|v| Some(*v)), Some(2));
        assert_eq!(table.sample_lowest(|v| (*v > 6).then_some(*v)), Some(1));
        assert_eq!(table.sample_lowest(|_| None::<i32>), None);
    }
}
