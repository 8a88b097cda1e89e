//! What others do to our table: a flush, a deletion, an element by hand.
//!
//! The kernel tells everybody who asks of every change. Our own are refused before they reach the socket, so that a restore
//! of 100,000 bans does not overrun it; changes of other tables are read and passed over.

use std::io;

use super::protocol::{
    ATTRIBUTE_ELEMENTS, ATTRIBUTE_GENERATION_PROGRAM, ATTRIBUTE_TABLE, DELSETELEM, GROUP, NEWGEN,
    NEWSETELEM, inet_body, kind_of,
};
use crate::autoban::ruleset::{LIST_TABLES, TABLE};
use crate::sys::netlink::message::{attribute, attributes, messages, text};
use crate::sys::netlink::{Received, Socket};

/// What happened to the table since the last question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByOthers {
    /// The program that did it last, by the kernel's word; printable ASCII only.
    pub program: Option<String>,
    /// The table, a chain, a rule, a set or a counter was made, changed or removed.
    pub structure: bool,
    /// Elements that were added, or given another time.
    pub added: usize,
    pub removed: usize,
    /// The table of the block lists lost something, or another one has its name.
    pub lists: bool,
    /// More happened than could be told.
    pub lost: bool,
}

impl ByOthers {
    /// Whether listed addresses may be missing, so that the block lists must be loaded again.
    pub fn needs_lists(&self) -> bool {
        self.lists || self.lost
    }

    /// Whether bans may be missing, so that the table must be rebuilt from memory.
    pub fn needs_repair(&self) -> bool {
        self.structure || self.removed > 0 || self.lost
    }
}

#[derive(Debug)]
pub struct Watch {
    pub socket: Socket,
    buffer: Vec<u8>,
    /// Something of ours was changed in the transaction that is being told.
    touched: bool,
}

impl Watch {
    /// Told of everything but what the socket of port `ours` does.
    pub fn open(ours: u32) -> io::Result<Watch> {
        let socket = Socket::open()?;
        socket.resize(1 << 20)?;
        socket.ignore(ours)?;
        socket.join(GROUP)?;
        Ok(Watch {
            socket,
            buffer: vec![0; 1 << 16],
            touched: false,
        })
    }

    /// Takes all that waits.
    pub fn read(&mut self) -> io::Result<ByOthers> {
        let mut seen = ByOthers::default();
        loop {
            match self.socket.receive(&mut self.buffer)? {
                Received::Nothing => return Ok(seen),
                Received::Lost => seen.lost = true,
                Received::Datagram(length) => {
                    let datagram = self.buffer.get(..length).unwrap_or_default();
                    note(datagram, &mut self.touched, &mut seen);
                }
            }
        }
    }
}

/// Adds one datagram to what was seen.
fn note(datagram: &[u8], touched: &mut bool, seen: &mut ByOthers) {
    for message in messages(datagram) {
        let Some(kind) = kind_of(message.kind) else {
            continue;
        };
        // The last message of each transaction.
        if kind == NEWGEN {
            if std::mem::take(touched) {
                let body = message.body.get(4..).unwrap_or_default();
                seen.program = attribute(body, ATTRIBUTE_GENERATION_PROGRAM).map(printable);
            }
            continue;
        }
        let Some(body) = inet_body(message.body) else {
            continue;
        };
        let table = attribute(body, ATTRIBUTE_TABLE)
            .map(text)
            .unwrap_or_default();
        let is_lists = LIST_TABLES.contains(&table.as_str());
        if table != TABLE && !is_lists {
            continue;
        }
        *touched = true;
        if is_lists {
            seen.lists |= kind != NEWSETELEM;
            continue;
        }
        let elements =
            || attribute(body, ATTRIBUTE_ELEMENTS).map_or(0, |list| attributes(list).count());
        match kind {
            NEWSETELEM => seen.added += elements(),
            DELSETELEM => seen.removed += elements(),
            _ => seen.structure = true,
        }
    }
}

fn printable(name: &[u8]) -> String {
    let shown = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    text(name).chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{self, DELTABLE, message};
    use super::*;
    use crate::autoban::ruleset::Key;
    use crate::sys::netlink::message::Writer;

    fn seen(write: impl FnOnce(&mut Writer)) -> ByOthers {
        let (mut writer, mut seen) = (Writer::default(), ByOthers::default());
        write(&mut writer);
        note(writer.as_bytes(), &mut false, &mut seen);
        seen
    }

    fn by(writer: &mut Writer, program: &str) {
        message(writer, NEWGEN, 0, 0, |w| {
            w.text(ATTRIBUTE_GENERATION_PROGRAM, program)
        });
    }

    #[test]
    fn the_program_that_removed_the_table_is_named() {
        let seen = seen(|w| {
            protocol::table(w, DELTABLE, 0, 0, TABLE);
            by(w, "nft\x1b[2J");
            by(w, "another");
        });
        assert!(seen.needs_repair());
        assert_eq!(seen.program.as_deref(), Some("nft?[2J"));
    }

    #[test]
    fn other_tables_are_none_of_ours() {
        let seen = seen(|w| {
            protocol::table(w, DELTABLE, 0, 0, "filter");
            by(w, "dockerd");
        });
        assert_eq!(seen, ByOthers::default());
    }

    #[test]
    fn the_table_of_the_lists_is_told_apart() {
        let seen = seen(|w| {
            protocol::table(w, DELTABLE, 0, 0, LIST_TABLES[1]);
            by(w, "nft");
        });
        assert!(seen.needs_lists() && !seen.needs_repair());
        assert_eq!(seen.program.as_deref(), Some("nft"));
    }

    #[test]
    fn an_element_that_was_added_needs_no_repair_and_one_that_was_removed_does() {
        let element = ("jail4", Key::V4, 1);
        let added = seen(|w| protocol::name_element(w, (NEWSETELEM, 0), 0, TABLE, element));
        assert_eq!((added.added, added.needs_repair()), (1, false));
        let removed = seen(|w| protocol::name_element(w, (DELSETELEM, 0), 0, TABLE, element));
        assert_eq!((removed.removed, removed.needs_repair()), (1, true));
    }
}
