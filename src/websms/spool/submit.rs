//! Messages with a key, whose repeats are known and whose key serves for nothing else.
//!
//! Invariant: of all that come with one key, at once or years apart, one is stored; another text with the same key is refused.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Problem};
use super::reader::Reader;
use super::{Id, New, SpoolError, Stored};

/// Stores it unless one with its key is there. `print` is a digest of all that makes it the same.
pub fn store(book: &mut Book<'_>, new: &New, print: &str) -> Done<Stored> {
    let mut select = book
        .connection
        .prepare_cached("SELECT id, print FROM message WHERE key = ?1")?;
    let found: Option<(Id, Option<String>)> = select
        .query_row([&new.key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    drop(select);
    if let Some((id, known)) = found {
        return match is_same(known.as_deref(), print) {
            true => Ok(Stored {
                id,
                is_new: false,
                is_whole: true,
            }),
            false => Err(Problem::Order(SpoolError::KeyUsed)),
        };
    }
    let stored = book.store(new)?;
    let mut update = book
        .connection
        .prepare_cached("UPDATE message SET print = ?2 WHERE id = ?1")?;
    update.execute(params![stored.id, print])?;
    Ok(stored)
}

/// Whose text was erased cannot be compared any more.
fn is_same(known: Option<&str>, print: &str) -> bool {
    known.is_none_or(|known| known == print)
}

impl Reader {
    /// The message of a key, and whether it came with this print.
    pub fn of_key(&self, key: &str, print: &str) -> rusqlite::Result<Option<(Id, bool)>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT id, print FROM message WHERE key = ?1")?;
        let found = select.query_row([key], |row| {
            let known: Option<String> = row.get(1)?;
            Ok((row.get(0)?, is_same(known.as_deref(), print)))
        });
        found.optional()
    }
}
