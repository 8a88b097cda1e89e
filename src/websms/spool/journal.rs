//! The journal: what happened to all messages, in one order, for whoever follows; and how far each hook has followed.
//!
//! It is kept only while somebody may follow, for `SHORTEST_HISTORY`. Its numbers are ids, so that each tells its time and none
//! is given twice. Invariant: a line is in the same transaction as what it tells, and the order of the lines is that of the
//! commits.

use rusqlite::{Connection, OptionalExtension, params};

use super::book::Book;
use super::reader::{LARGEST_PAGE, Reader};
use super::{Id, SHORTEST_HISTORY};
use crate::websms::delivery::{Moment, State};

/// Lines that are erased in one step.
const STEP: i64 = 2000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub number: Id,
    pub message: Id,
    pub at: Moment,
    pub state: State,
    pub detail: String,
}

/// How far a hook has followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub name: String,
    /// A digest of its address: another one is another receiver.
    pub address: String,
    /// The last line that it was told.
    pub position: Id,
    /// It wants to hear no more.
    pub gone: bool,
}

/// The last number that was given.
pub fn end(connection: &Connection) -> rusqlite::Result<Option<Id>> {
    let sql = "SELECT max(n) FROM (SELECT max(number) AS n FROM journal UNION ALL SELECT max(position) FROM hook)";
    let number: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(number.map(Id::of_number))
}

/// Adds a line.
pub fn write(
    book: &mut Book<'_>,
    message: Id,
    at: Moment,
    state: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    if !book.keeps_journal {
        return Ok(());
    }
    let number = Id::after(book.memory.journal, at);
    let mut insert = book.connection.prepare_cached(
        "INSERT INTO journal (number, message, at, state, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![number.number(), message, at, state, detail])?;
    book.memory.journal = Some(number);
    Ok(())
}

pub fn mark(connection: &Connection, mark: &Mark) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO hook (name, address, position, gone) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let position = mark.position.number();
    upsert.execute(params![mark.name, mark.address, position, mark.gone])?;
    Ok(())
}

/// Erases a step of what is old; whether there may be more.
pub fn erase(connection: &Connection, now: Moment) -> rusqlite::Result<bool> {
    let old = Id::first_of(now.saturating_sub(SHORTEST_HISTORY)).number();
    let mut delete = connection.prepare_cached(
        "DELETE FROM journal WHERE number IN (SELECT number FROM journal WHERE number < ?1 ORDER BY number LIMIT ?2)",
    )?;
    Ok(delete.execute(params![old, STEP])? as i64 >= STEP)
}

impl Reader {
    /// The lines after this one, in their order.
    pub fn journal(&self, after: Id, limit: u32) -> rusqlite::Result<Vec<Happening>> {
        let mut select = self.connection.prepare_cached(
            "SELECT number, message, at, state, detail FROM journal WHERE number > ?1 ORDER BY number LIMIT ?2",
        )?;
        let values = params![after.number(), limit.min(LARGEST_PAGE)];
        let rows = select.query_map(values, |row| {
            let state: String = row.get(3)?;
            Ok(Happening {
                number: Id::of_number(row.get(0)?),
                message: row.get(1)?,
                at: row.get(2)?,
                state: State::of_word(&state).unwrap_or(State::Unknown),
                detail: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    pub fn hook(&self, name: &str) -> rusqlite::Result<Option<Mark>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT name, address, position, gone FROM hook WHERE name = ?1")?;
        let mark = select.query_row([name], |row| {
            Ok(Mark {
                name: row.get(0)?,
                address: row.get(1)?,
                position: Id::of_number(row.get(2)?),
                gone: row.get(3)?,
            })
        });
        mark.optional()
    }
}
