//! What is old is erased, in small steps that no message waits for.
//!
//! Invariant: nothing that is still to be done is erased, and no id before a carrier has stopped repeating.

use rusqlite::params;

use super::book::Book;
use super::{Id, SHORTEST_HISTORY, journal, media, parts};
use crate::websms::delivery::Moment;

/// Rows in one step.
const STEP: i64 = 200;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tended {
    /// There are messages that nobody waited for: long ones that are not whole.
    pub has_new: bool,
    pub has_more: bool,
}

/// One step. `redacted` is how far texts have been erased.
pub fn step(
    book: &mut Book<'_>,
    redacted: &mut Option<Id>,
    now: Moment,
) -> rusqlite::Result<Tended> {
    let made = parts::give_up_waiting(book, now)?;
    let limits = book.limits;
    let history = limits.history.max(SHORTEST_HISTORY);
    let old = Id::first_of(now.saturating_sub(history));
    let stale = now.saturating_sub(SHORTEST_HISTORY);
    let mut erased = 0;
    let mut delete = book.connection.prepare_cached(
        "DELETE FROM message WHERE number IN (SELECT number FROM message WHERE id < ?1 AND next IS NULL ORDER BY id LIMIT ?2)",
    )?;
    erased = erased.max(delete.execute(params![old, STEP])?);
    let mut delete = book.connection.prepare_cached(
        "DELETE FROM long WHERE number IN (SELECT number FROM long WHERE done AND first < ?1 ORDER BY number LIMIT ?2)",
    )?;
    erased = erased.max(delete.execute(params![stale, STEP])?);
    let mut delete = book
        .connection
        .prepare_cached("DELETE FROM receipt WHERE at < ?1")?;
    delete.execute([now.saturating_sub(limits.receipts)])?;
    // Who asked is somebody's address, too.
    let mut delete = book
        .connection
        .prepare_cached("DELETE FROM request WHERE at < ?1")?;
    delete.execute([now.saturating_sub(history)])?;
    let is_long = journal::erase(book.connection, now)?;
    if limits.redact {
        erased = erased.max(redact(book, redacted, Id::first_of(stale))?);
        erased = erased.max(media::erase(book.connection, Id::first_of(stale), STEP)?);
    }
    Ok(Tended {
        has_new: made > 0,
        has_more: is_long || erased as i64 >= STEP,
    })
}

/// Erases all messages from and to these, open ones too, and the parts of long ones; how many messages.
pub fn number(book: &mut Book<'_>, names: &[String]) -> rusqlite::Result<u64> {
    let mut count = 0;
    for name in names {
        let mut open = book.connection.prepare_cached(
            "SELECT count(*) FROM message WHERE (sender = ?1 OR recipient = ?1) AND next IS NOT NULL",
        )?;
        let open: u32 = open.query_row([name], |row| row.get(0))?;
        book.memory.waiting = book.memory.waiting.saturating_sub(open.into());
        let mut delete = book
            .connection
            .prepare_cached("DELETE FROM message WHERE sender = ?1 OR recipient = ?1")?;
        count += delete.execute([name])? as u64;
        let mut delete = book
            .connection
            .prepare_cached("DELETE FROM long WHERE sender = ?1 OR recipient = ?1")?;
        delete.execute([name])?;
    }
    Ok(count)
}

/// Erases the texts of messages at rest, from where the last step ended.
fn redact(book: &Book<'_>, redacted: &mut Option<Id>, before: Id) -> rusqlite::Result<usize> {
    let from = redacted.unwrap_or(Id::first_of(0));
    let mut update = book.connection.prepare_cached(
        "UPDATE message SET body = '', media = NULL, print = NULL WHERE number IN
         (SELECT number FROM message WHERE id >= ?1 AND id < ?2 AND next IS NULL AND body <> '' ORDER BY id LIMIT ?3)",
    )?;
    let count = update.execute(params![from, before, STEP])?;
    if (count as i64) < STEP {
        // What is open still loses its text when it comes to rest.
        *redacted = Some(before);
    }
    Ok(count)
}
