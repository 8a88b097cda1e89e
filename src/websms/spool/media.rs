//! Media of messages, in the books: what is still to be fetched, what is kept, and under which token.
//!
//! A row is made in the transaction that stores its message, and goes with it. The files are somebody else's. Invariant: what
//! has a token has a file, unless its message is gone.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Id;
use super::reader::Reader;
use crate::websms::delivery::Moment;
use crate::websms::media::MOST;

/// The step of the schema to number 3.
pub const STEP: &str = r"
CREATE TABLE media (
    message INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    place INTEGER NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next INTEGER,
    token TEXT,
    kind TEXT,
    bytes INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX media_open ON media (next) WHERE next IS NOT NULL;
CREATE UNIQUE INDEX media_token ON media (token) WHERE token IS NOT NULL;
";

/// Where one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaState {
    /// To be fetched.
    Waiting,
    /// On our disk.
    Stored,
    /// With the carrier: its own link is handed on.
    Left,
}

impl MediaState {
    pub fn word(self) -> &'static str {
        match self {
            MediaState::Waiting => "waiting",
            MediaState::Stored => "stored",
            MediaState::Left => "left",
        }
    }
}

/// One of a message's media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// From 1, in the carrier's order.
    pub place: u32,
    /// The carrier's address; empty if it was erased.
    pub source: String,
    pub state: MediaState,
    pub tries: u32,
    pub token: Option<String>,
    pub kind: Option<String>,
    pub bytes: u64,
    pub detail: String,
}

/// One that is to be fetched now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub id: Id,
    pub interface: String,
    pub media: Media,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaChange {
    pub id: Id,
    pub at: Moment,
    /// The next try of one that waits.
    pub next: Option<Moment>,
    pub media: Media,
}

/// Writes the media of a new message down.
pub fn insert(
    connection: &Connection,
    message: i64,
    sources: &[String],
    now: Moment,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO media (message, place, source, state, next) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (place, source) in (1u32..).zip(sources) {
        let is_taken = usize::try_from(place).is_ok_and(|place| place <= MOST);
        let state = match is_taken {
            true => MediaState::Waiting,
            false => MediaState::Left,
        };
        let next = is_taken.then_some(now);
        insert.execute(params![message, place, source, state.word(), next])?;
    }
    Ok(())
}

/// Writes down what became of one. Its message may be gone.
pub fn change(connection: &Connection, change: &MediaChange) -> rusqlite::Result<()> {
    let of = &change.media;
    let mut update = connection.prepare_cached(
        "UPDATE media SET state = ?3, tries = ?4, next = ?5, token = ?6, kind = ?7, bytes = ?8, detail = ?9
         WHERE message = (SELECT number FROM message WHERE id = ?1) AND place = ?2",
    )?;
    let bytes = i64::try_from(of.bytes).unwrap_or(i64::MAX);
    let is_waiting = of.state == MediaState::Waiting;
    update.execute(params![
        change.id,
        of.place,
        of.state.word(),
        of.tries,
        is_waiting.then_some(change.next.unwrap_or(change.at)),
        of.token,
        of.kind,
        bytes,
        of.detail,
    ])?;
    Ok(())
}

/// Forgets the carrier's addresses of a message.
pub fn redact(connection: &Connection, message: i64) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare_cached("UPDATE media SET source = '' WHERE message = ?1")?;
    update.execute([message])?;
    Ok(())
}

/// Erases a step of the media of messages at rest that are older than this one; how many.
pub fn erase(connection: &Connection, before: Id, step: i64) -> rusqlite::Result<usize> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM media WHERE (message, place) IN (SELECT message, place FROM media
         JOIN message ON number = message WHERE id < ?1 AND message.next IS NULL LIMIT ?2)",
    )?;
    delete.execute(params![before, step])
}

const COLUMNS: &str = "place, source, media.state, media.tries, token, kind, bytes, media.detail";

fn media(row: &Row<'_>) -> rusqlite::Result<Media> {
    let bytes: i64 = row.get(6)?;
    Ok(Media {
        place: row.get(0)?,
        source: row.get(1)?,
        state: match row.get_ref(2)?.as_str()? {
            "waiting" => MediaState::Waiting,
            "stored" => MediaState::Stored,
            _ => MediaState::Left,
        },
        tries: row.get(3)?,
        token: row.get(4)?,
        kind: row.get(5)?,
        bytes: u64::try_from(bytes).unwrap_or(0),
        detail: row.get(7)?,
    })
}

impl Reader {
    /// A message's media, in order.
    pub fn media(&self, id: Id) -> rusqlite::Result<Vec<Media>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM media JOIN message ON number = message WHERE id = ?1 ORDER BY place"
        );
        let mut select = self.connection().prepare_cached(&sql)?;
        select.query_map([id], media)?.collect()
    }

    /// Whether some of a message's media are still to be fetched.
    pub fn waits_for_media(&self, id: Id) -> rusqlite::Result<bool> {
        let mut select = self.connection().prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM media JOIN message ON number = message WHERE id = ?1 AND media.next IS NOT NULL)",
        )?;
        select.query_row([id], |row| row.get(0))
    }

    /// What is to be fetched now, of messages that wait for it; the longest due first.
    pub fn media_due(&self, now: Moment, limit: u32) -> rusqlite::Result<Vec<Due>> {
        let sql = format!(
            "SELECT {COLUMNS}, id, interface FROM media JOIN message ON number = message
             WHERE media.next <= ?1 AND message.next IS NOT NULL ORDER BY media.next, number, place LIMIT ?2"
        );
        let mut select = self.connection().prepare_cached(&sql)?;
        let rows = select.query_map(params![now, limit], |row| {
            Ok(Due {
                id: row.get(8)?,
                interface: row.get(9)?,
                media: media(row)?,
            })
        })?;
        rows.collect()
    }

    /// When the next of them is due.
    pub fn media_next(&self) -> rusqlite::Result<Option<Moment>> {
        let mut select = self.connection().prepare_cached(
            "SELECT min(media.next) FROM media JOIN message ON number = message
             WHERE media.next IS NOT NULL AND message.next IS NOT NULL",
        )?;
        select.query_row([], |row| row.get(0))
    }

    /// What is kept under a token, and whose it is.
    pub fn media_of_token(&self, token: &str) -> rusqlite::Result<Option<(Id, Media)>> {
        let sql = format!(
            "SELECT {COLUMNS}, id FROM media JOIN message ON number = message WHERE token = ?1"
        );
        let mut select = self.connection().prepare_cached(&sql)?;
        let found = |row: &Row<'_>| Ok((row.get(8)?, media(row)?));
        select.query_row([token], found).optional()
    }

    /// Whether a message has files.
    pub fn has_files(&self, id: Id) -> rusqlite::Result<bool> {
        let mut select = self.connection().prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM media JOIN message ON number = message
             WHERE id = ?1 AND (token IS NOT NULL OR media.next IS NOT NULL))",
        )?;
        select.query_row([id], |row| row.get(0))
    }

    /// The bytes of all files.
    pub fn media_bytes(&self) -> rusqlite::Result<u64> {
        let mut select = self
            .connection()
            .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM media WHERE token IS NOT NULL")?;
        let bytes: i64 = select.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}
