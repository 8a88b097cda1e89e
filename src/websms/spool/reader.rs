//! What the spool holds, for the deliverer, the API and people. Each reader has a connection of its own that cannot write.
//!
//! Invariant: a page is bounded, whatever is asked.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{Direction, Id, Request};
use crate::websms::delivery::{Leg, LegState, Moment, State};

/// The most messages of one answer.
pub const LARGEST_PAGE: u32 = 1000;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: Id,
    pub direction: Direction,
    pub interface: String,
    pub provider_id: Option<String>,
    pub key: Option<String>,
    pub from: String,
    pub to: String,
    pub body: String,
    pub media: Vec<String>,
    pub received: Moment,
    pub endpoint: Option<String>,
    pub state: State,
    pub changed: Moment,
    pub next: Option<Moment>,
    pub tries: u32,
    pub detail: String,
}

/// One line of a message's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub at: Moment,
    pub what: String,
    pub detail: String,
}

/// Which messages; what is not given does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub direction: Option<Direction>,
    pub interface: Option<String>,
    pub state: Option<State>,
    pub endpoint: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// From or to.
    pub number: Option<String>,
    /// From or to is one of these.
    pub scope: Option<Vec<String>>,
    /// And one of these, too.
    pub spellings: Option<Vec<String>>,
    /// Older than this: the last of the page before.
    pub before: Option<Id>,
    /// At most so many, of `LARGEST_PAGE`.
    pub limit: u32,
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open, incoming.
    pub waiting_in: u32,
    /// Open, outgoing.
    pub waiting_out: u32,
}

/// A connection for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    file: (u64, u64),
}

const COLUMNS: &str = "id, direction, interface, provider_id, key, sender, recipient, body, media, received, endpoint, state, changed, next, tries, detail";

impl Reader {
    pub fn open(path: &Path) -> rusqlite::Result<Reader> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = identity(path).unwrap_or_default();
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "cache_size", -512)?;
        Ok(Reader { connection, file })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The file was not replaced since.
    pub fn is_of(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|file| file == self.file)
    }

    pub fn get(&self, id: Id) -> rusqlite::Result<Option<Message>> {
        let sql = format!("SELECT {COLUMNS} FROM message WHERE id = ?1");
        let mut select = self.connection.prepare_cached(&sql)?;
        select.query_row([id], message).optional()
    }

    /// What is still to be done, in the order of arrival; for the start, page by page.
    pub fn unfinished(&self, after: Option<Id>, limit: u32) -> rusqlite::Result<Vec<Message>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM message WHERE next IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?2"
        );
        let mut select = self.connection.prepare_cached(&sql)?;
        let after = after.unwrap_or(Id::first_of(0));
        let rows = select.query_map(params![after, limit.min(LARGEST_PAGE)], message)?;
        rows.collect()
    }

    /// Open messages of a direction that were put in after the one of this place, with their places, in that order. A long
    /// message is put in when it is whole, under the id of its first part.
    pub fn arrivals(
        &self,
        direction: Direction,
        after: i64,
        limit: u32,
    ) -> rusqlite::Result<Vec<(i64, Message)>> {
        let sql = format!(
            "SELECT {COLUMNS}, number FROM message WHERE number > ?1 AND direction = ?2 AND next IS NOT NULL ORDER BY number LIMIT ?3"
        );
        let mut select = self.connection.prepare_cached(&sql)?;
        let values = params![after, direction.word(), limit.min(LARGEST_PAGE)];
        let rows = select.query_map(values, |row| Ok((row.get("number")?, message(row)?)))?;
        rows.collect()
    }

    /// What is due at this moment, the longest due first.
    pub fn due(&self, now: Moment, limit: u32) -> rusqlite::Result<Vec<Message>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM message WHERE next <= ?1 ORDER BY next, number LIMIT ?2"
        );
        let mut select = self.connection.prepare_cached(&sql)?;
        let rows = select.query_map(params![now, limit.min(LARGEST_PAGE)], message)?;
        rows.collect()
    }

    /// The newest first.
    pub fn list(&self, filter: &Filter) -> rusqlite::Result<Vec<Message>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM message WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR direction = ?2)
             AND (?3 IS NULL OR interface = ?3 OR (?3 = 'websms' AND interface = '')) AND (?4 IS NULL OR state = ?4) AND (?5 IS NULL OR endpoint = ?5)
             AND (?6 IS NULL OR sender = ?6) AND (?7 IS NULL OR recipient = ?7)
             AND (?8 IS NULL OR sender = ?8 OR recipient = ?8)
             AND (?10 IS NULL OR sender IN (SELECT value FROM json_each(?10)) OR recipient IN (SELECT value FROM json_each(?10)))
             AND (?11 IS NULL OR sender IN (SELECT value FROM json_each(?11)) OR recipient IN (SELECT value FROM json_each(?11)))
             ORDER BY id DESC LIMIT ?9"
        );
        let list = |numbers: &Option<Vec<String>>| {
            let numbers = numbers.as_ref()?;
            Some(serde_json::Value::from(numbers.as_slice()).to_string())
        };
        let mut select = self.connection.prepare_cached(&sql)?;
        let values = params![
            filter.before,
            filter.direction.map(Direction::word),
            filter.interface,
            filter.state.map(State::word),
            filter.endpoint,
            filter.from,
            filter.to,
            filter.number,
            filter.limit.min(LARGEST_PAGE),
            list(&filter.scope),
            list(&filter.spellings),
        ];
        let rows = select.query_map(values, message)?;
        rows.collect()
    }

    /// The legs that ended: who has had a copy or refused it.
    pub fn legs(&self, id: Id) -> rusqlite::Result<Vec<Leg>> {
        let mut select = self.connection.prepare_cached(
            "SELECT contact, leg.state, code, leg.tries FROM leg JOIN message ON number = message
             WHERE id = ?1 AND leg.state IN ('taken', 'refused') ORDER BY contact",
        )?;
        let rows = select.query_map([id], |row| {
            let word: String = row.get(1)?;
            let code: Option<u16> = row.get(2)?;
            let refused = (word == "refused").then_some(code).flatten();
            Ok(Leg {
                contact: row.get(0)?,
                state: refused.map_or(LegState::Taken, |code| LegState::Refused { code }),
                tries: row.get(3)?,
                tried: None,
                there: false,
            })
        })?;
        rows.collect()
    }

    pub fn history(&self, id: Id) -> rusqlite::Result<Vec<History>> {
        let mut select = self.connection.prepare_cached(
            "SELECT at, what, event.detail FROM event JOIN message ON message.number = message
             WHERE id = ?1 ORDER BY event.number",
        )?;
        let rows = select.query_map([id], |row| {
            Ok(History {
                at: row.get(0)?,
                what: row.get(1)?,
                detail: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    /// The last requests of carriers, the newest first.
    pub fn requests(&self, limit: u32) -> rusqlite::Result<Vec<Request>> {
        let mut select = self.connection.prepare_cached(
            "SELECT at, interface, peer, method, path, status, reason FROM request ORDER BY at DESC, slot DESC LIMIT ?1",
        )?;
        let rows = select.query_map([limit.min(LARGEST_PAGE)], |row| {
            Ok(Request {
                at: row.get(0)?,
                interface: row.get(1)?,
                peer: row.get(2)?,
                method: row.get(3)?,
                path: row.get(4)?,
                status: row.get(5)?,
                reason: row.get(6)?,
            })
        })?;
        rows.collect()
    }

    /// The messages from and to a number, in each of these spellings.
    pub fn of_number(&self, names: &[String]) -> rusqlite::Result<Vec<(Id, Direction, State)>> {
        let mut found = Vec::new();
        let sql = format!("SELECT {COLUMNS} FROM message WHERE sender = ?1 OR recipient = ?1");
        let mut select = self.connection.prepare_cached(&sql)?;
        for name in names {
            for row in select.query_map([name], message)? {
                let message = row?;
                found.push((message.id, message.direction, message.state));
            }
        }
        found.sort_unstable_by_key(|(id, ..)| *id);
        found.dedup_by_key(|(id, ..)| *id);
        Ok(found)
    }

    pub fn counts(&self) -> rusqlite::Result<Counts> {
        let mut select = self.connection.prepare_cached(
            "SELECT count(*) FILTER (WHERE direction = 'in'), count(*) FILTER (WHERE direction = 'out') FROM message WHERE next IS NOT NULL",
        )?;
        select.query_row([], |row| {
            Ok(Counts {
                waiting_in: row.get(0)?,
                waiting_out: row.get(1)?,
            })
        })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let of = fs::metadata(path)?;
    Ok((of.dev(), of.ino()))
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let state: String = row.get(11)?;
    let media: Option<String> = row.get(8)?;
    let media = media.and_then(|text| serde_json::from_str(&text).ok());
    Ok(Message {
        id: row.get(0)?,
        direction: match row.get_ref(1)?.as_str()? {
            "out" => Direction::Out,
            _ => Direction::In,
        },
        interface: row.get(2)?,
        provider_id: row.get(3)?,
        key: row.get(4)?,
        from: row.get(5)?,
        to: row.get(6)?,
        body: row.get(7)?,
        media: media.unwrap_or_default(),
        received: row.get(9)?,
        endpoint: row.get(10)?,
        state: State::of_word(&state).unwrap_or(State::Unknown),
        changed: row.get(12)?,
        next: row.get(13)?,
        tries: row.get(14)?,
        detail: row.get(15)?,
    })
}
