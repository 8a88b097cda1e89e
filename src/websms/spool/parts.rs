//! Long messages that a carrier did not put together.
//!
//! Each part is on disk before it is acknowledged; the message is made in the transaction in which the last part comes, or
//! later of what is there. Invariant: a part is in one message, and a repeat of it in none.

use rusqlite::{OptionalExtension, params};

use super::book::{Book, Done, Problem, media};
use super::{Id, New, SpoolError, Stored};
use crate::websms::delivery::{HOUR, Moment};
use crate::websms::message::Part;

/// A carrier uses a reference again, for another message; a repeat without an id comes within this time.
const REPEATS: i64 = HOUR;
/// Long messages that are made of what is there in one step.
const STEP: u32 = 100;

/// Numbers that make sense; otherwise the part is a message by itself.
pub fn is_of_many(part: &Part) -> bool {
    part.total > 1 && (1..=part.total).contains(&part.number)
}

pub fn store(book: &mut Book<'_>, new: &New, part: &Part) -> Done<Stored> {
    if let Some(known) = repeated(book, new, part)? {
        return Ok(known);
    }
    if book.memory.waiting >= book.limits.waiting {
        let waiting = book.memory.waiting;
        return Err(Problem::Order(SpoolError::Full { waiting }));
    }
    let (long, id) = match gathering(book, new, part)? {
        Some(found) => found,
        None => begin(book, new, part)?,
    };
    let mut insert = book.connection.prepare_cached(
        "INSERT INTO part (long, number, interface, provider_id, body, media) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![
        long,
        part.number,
        new.interface,
        new.provider_id,
        new.body,
        media(&new.media),
    ])?;
    let mut count = book
        .connection
        .prepare_cached("SELECT count(*) FROM part WHERE long = ?1")?;
    let count: u32 = count.query_row([long], |row| row.get(0))?;
    let is_whole = count >= u32::from(part.total);
    if is_whole {
        put_together(book, long, new.received)?;
    }
    Ok(Stored {
        id,
        is_new: true,
        is_whole,
    })
}

/// The same part, by the carrier's id or, of a carrier without ids, by its text.
fn repeated(book: &Book<'_>, new: &New, part: &Part) -> rusqlite::Result<Option<Stored>> {
    let found = |row: &rusqlite::Row<'_>| {
        Ok(Stored {
            id: row.get(0)?,
            is_new: false,
            is_whole: row.get(1)?,
        })
    };
    if let Some(provider_id) = &new.provider_id {
        let mut select = book.connection.prepare_cached(
            "SELECT long.id, long.done FROM part JOIN long ON long.number = part.long
             WHERE part.provider_id = ?1 AND part.interface = ?2",
        )?;
        let known = select
            .query_row([provider_id, &new.interface], found)
            .optional()?;
        return Ok(known);
    }
    let mut select = book.connection.prepare_cached(
        "SELECT long.id, long.done FROM long JOIN part ON part.long = long.number
         WHERE reference = ?1 AND sender = ?2 AND recipient = ?3 AND long.interface = ?4 AND total = ?5 AND first > ?6
         AND part.number = ?7 AND (part.body = ?8 OR (?9 AND long.done)) ORDER BY long.number DESC LIMIT 1",
    )?;
    let key = params![
        part.reference,
        new.from,
        new.to,
        new.interface,
        part.total,
        new.received.saturating_sub(REPEATS),
        part.number,
        new.body,
        // Their text is gone.
        book.limits.redact,
    ];
    select.query_row(key, found).optional()
}

/// The long message that this part is missing of.
fn gathering(book: &Book<'_>, new: &New, part: &Part) -> rusqlite::Result<Option<(i64, Id)>> {
    let mut select = book.connection.prepare_cached(
        "SELECT number, id FROM long
         WHERE reference = ?1 AND sender = ?2 AND recipient = ?3 AND interface = ?4 AND total = ?5 AND NOT done
         AND NOT EXISTS (SELECT 1 FROM part WHERE part.long = long.number AND part.number = ?6) ORDER BY number LIMIT 1",
    )?;
    let key = params![
        part.reference,
        new.from,
        new.to,
        new.interface,
        part.total,
        part.number,
    ];
    select
        .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn begin(book: &mut Book<'_>, new: &New, part: &Part) -> rusqlite::Result<(i64, Id)> {
    let id = book.memory.next_id(new.received);
    let mut insert = book.connection.prepare_cached(
        "INSERT INTO long (id, interface, sender, recipient, reference, total, first) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        id,
        new.interface,
        new.from,
        new.to,
        part.reference,
        part.total,
        new.received,
    ])?;
    Ok((book.connection.last_insert_rowid(), id))
}

/// Makes the message of the parts that are there.
fn put_together(book: &mut Book<'_>, long: i64, now: Moment) -> rusqlite::Result<()> {
    let mut select = book
        .connection
        .prepare_cached("SELECT id, interface, sender, recipient FROM long WHERE number = ?1")?;
    let (id, mut new) = select.query_row([long], |row| {
        let new = New {
            direction: super::Direction::In,
            interface: row.get(1)?,
            provider_id: None,
            key: None,
            from: row.get(2)?,
            to: row.get(3)?,
            body: String::new(),
            media: Vec::new(),
            received: now,
            part: None,
        };
        Ok((row.get::<_, Id>(0)?, new))
    })?;
    drop(select);
    let mut select = book
        .connection
        .prepare_cached("SELECT body, media FROM part WHERE long = ?1 ORDER BY number")?;
    let mut rows = select.query([long])?;
    while let Some(row) = rows.next()? {
        new.body.push_str(row.get_ref(0)?.as_str()?);
        let addresses: Option<String> = row.get(1)?;
        let addresses = addresses.and_then(|text| serde_json::from_str::<Vec<String>>(&text).ok());
        new.media.extend(addresses.unwrap_or_default());
    }
    drop(rows);
    drop(select);
    let addresses = media(&new.media);
    book.insert(id, &new, &new.body, addresses)?;
    let mut done = book
        .connection
        .prepare_cached("UPDATE long SET done = 1 WHERE number = ?1")?;
    done.execute([long])?;
    if book.limits.redact {
        let mut clear = book
            .connection
            .prepare_cached("UPDATE part SET body = '', media = NULL WHERE long = ?1")?;
        clear.execute([long])?;
    }
    Ok(())
}

/// Makes messages of what has waited too long for the rest; how many.
pub fn give_up_waiting(book: &mut Book<'_>, now: Moment) -> rusqlite::Result<usize> {
    let mut select = book.connection.prepare_cached(
        "SELECT number FROM long WHERE NOT done AND first <= ?1 ORDER BY number LIMIT ?2",
    )?;
    let before = now.saturating_sub(book.limits.parts);
    let found = select.query_map(params![before, STEP], |row| row.get(0))?;
    let found: Vec<i64> = found.collect::<Result<_, _>>()?;
    drop(select);
    for long in &found {
        put_together(book, *long, now)?;
    }
    Ok(found.len())
}
