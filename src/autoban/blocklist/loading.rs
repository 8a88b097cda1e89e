//! Several lists as pieces for the kernel.
//!
//! Pure. Invariant: each entry comes once, with the time of the first list that has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BlockList;
use crate::autoban::ruleset::Key;

/// Lists, the longest-lasting first, and how far they have come.
#[derive(Debug)]
pub struct Loading {
    lists: Vec<Arc<BlockList>>,
    /// List, family, length, entries.
    blocks: Vec<(usize, Key, u8, usize)>,
    block: usize,
    offset: usize,
}

/// Networks of one family and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The list whose time they have.
    pub list: usize,
    pub key: Key,
    pub length: u8,
    pub values: Vec<u128>,
}

impl Loading {
    #[must_use]
    pub fn new(lists: Vec<Arc<BlockList>>) -> Loading {
        let of = |(index, list): (usize, &Arc<BlockList>)| {
            let block = move |(key, length, count)| (index, key, length, count);
            list.lengths().map(block).collect::<Vec<_>>()
        };
        Loading {
            blocks: lists.iter().enumerate().flat_map(of).collect(),
            lists,
            block: 0,
            offset: 0,
        }
    }

    /// Families and lengths in use, and room for all entries of each.
    #[must_use]
    pub fn lengths(&self) -> Vec<(Key, u8, usize)> {
        let mut rooms: BTreeMap<(bool, u8), (Key, usize)> = BTreeMap::new();
        for (_, key, length, count) in &self.blocks {
            let room = rooms.entry((*key != Key::V4, *length)).or_insert((*key, 0));
            room.1 += count;
        }
        let rooms = rooms.into_iter();
        rooms
            .map(|((_, length), (key, room))| (key, length, room))
            .collect()
    }

    /// The next piece, of at most so many entries; it may be empty. `None`: that was all.
    pub fn next(&mut self, most: usize) -> Option<Piece> {
        let (list, key, length, count) = *self.blocks.get(self.block)?;
        let mut values = self.lists.get(list)?.piece(key, length, self.offset, most);
        self.offset += most;
        if self.offset >= count {
            (self.block, self.offset) = (self.block + 1, 0);
        }
        let earlier = self.lists.get(..list).unwrap_or_default();
        values.retain(|value| !earlier.iter().any(|list| list.has(key, length, *value)));
        Some(Piece {
            list,
            key,
            length,
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::blocklist::parse;

    #[test]
    fn each_entry_comes_once_with_the_first_lists_time() {
        let list = |text: &str| parse(text.as_bytes(), &[]).unwrap().list;
        let first = list("192.0.2.1\n192.0.2.2\n192.0.2.3\n2001:db8::1");
        let second = list("192.0.2.2\n192.0.2.4\n192.0.2.0/24\n2001:db8::1");
        let mut loading = Loading::new(vec![first, second]);
        assert_eq!(
            loading.lengths(),
            [(Key::V4, 24, 1), (Key::V4, 32, 5), (Key::V6, 128, 2)]
        );
        let mut all = Vec::new();
        while let Some(piece) = loading.next(2) {
            assert!(piece.values.len() <= 2);
            let of = |value: u128| (piece.list, piece.length, value & 0xff);
            all.extend(piece.values.into_iter().map(of));
        }
        assert_eq!(
            all,
            [
                (0, 32, 1),
                (0, 32, 2),
                (0, 32, 3),
                (0, 128, 1),
                (1, 24, 0),
                (1, 32, 4)
            ]
        );
    }
}
