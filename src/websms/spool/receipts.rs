//! Which message a receipt is about, and receipts that come before anybody can tell.
//!
//! Invariant: a parked receipt is taken into account once, in the transaction in which the carrier's id becomes known.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Id;
use crate::websms::delivery::{Moment, State};
use crate::websms::message::{Receipt, ReceiptState};

/// What must be known of a message to change it.
#[derive(Debug)]
pub struct Known {
    pub number: i64,
    pub id: Id,
    pub interface: String,
    pub state: State,
}

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let word: String = row.get(3)?;
    Ok(Known {
        number: row.get(0)?,
        id: row.get(1)?,
        interface: row.get(2)?,
        state: State::of_word(&word).unwrap_or(State::Unknown),
    })
}

pub fn of_id(connection: &Connection, id: Id) -> rusqlite::Result<Option<Known>> {
    let mut select = connection
        .prepare_cached("SELECT number, id, interface, state FROM message WHERE id = ?1")?;
    select.query_row([id], known).optional()
}

pub fn of_provider_id(
    connection: &Connection,
    interface: &str,
    id: &str,
) -> rusqlite::Result<Option<Known>> {
    let mut select = connection.prepare_cached(
        "SELECT number, id, interface, state FROM message WHERE provider_id = ?1 AND direction = 'out' AND interface = ?2",
    )?;
    select.query_row([id, interface], known).optional()
}

const WORDS: [(ReceiptState, &str); 4] = [
    (ReceiptState::Accepted, "accepted"),
    (ReceiptState::Sent, "sent"),
    (ReceiptState::Delivered, "delivered"),
    (ReceiptState::Failed, "failed"),
];

/// Keeps a receipt until its message is known.
pub fn park(
    connection: &Connection,
    interface: &str,
    receipt: &Receipt,
    at: Moment,
) -> rusqlite::Result<()> {
    let word = WORDS.iter().find(|(state, _)| *state == receipt.state);
    let word = word.map_or("", |(_, word)| word);
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO receipt (interface, provider_id, state, detail, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![interface, receipt.id, word, receipt.detail, at])?;
    Ok(())
}

/// Takes out what is parked for this id, the oldest first.
pub fn take(
    connection: &Connection,
    interface: &str,
    id: &str,
) -> rusqlite::Result<Vec<(ReceiptState, String)>> {
    let mut select = connection.prepare_cached(
        "SELECT state, detail FROM receipt WHERE provider_id = ?1 AND interface = ?2 ORDER BY at",
    )?;
    let rows = select.query_map([id, interface], |row| {
        Ok((row.get::<_, String>(0)?, row.get(1)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (word, detail) = row?;
        if let Some((state, _)) = WORDS.iter().find(|(_, of)| *of == word) {
            found.push((*state, detail));
        }
    }
    if !found.is_empty() {
        let mut delete = connection
            .prepare_cached("DELETE FROM receipt WHERE provider_id = ?1 AND interface = ?2")?;
        delete.execute([id, interface])?;
    }
    Ok(found)
}
