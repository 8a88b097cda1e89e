//! The database's shape: opening, migrations, setting a damaged one aside.
//!
//! Invariant: nothing is deleted here; a damaged file gets another name, and one of a newer version is left alone.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// Each step and the number of the schema to which it leads; never changed once released.
const MIGRATIONS: [(i64, &str); 3] = [
    (1, MESSAGES),
    (2, include_str!("schema/2.sql")),
    (3, super::media::STEP),
];

const MESSAGES: &str = r"
CREATE TABLE message (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    direction TEXT NOT NULL CHECK (direction IN ('in', 'out')),
    interface TEXT NOT NULL,
    provider_id TEXT,
    key TEXT,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL,
    media TEXT,
    received INTEGER NOT NULL,
    endpoint TEXT,
    state TEXT NOT NULL,
    changed INTEGER NOT NULL,
    next INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX message_provider ON message (provider_id, direction, interface) WHERE provider_id IS NOT NULL;
CREATE UNIQUE INDEX message_key ON message (key) WHERE key IS NOT NULL;
CREATE INDEX message_open ON message (next) WHERE next IS NOT NULL;

CREATE TABLE leg (
    message INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    contact TEXT NOT NULL,
    state TEXT NOT NULL,
    code INTEGER,
    tries INTEGER NOT NULL,
    PRIMARY KEY (message, contact)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    message INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE long (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    interface TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    reference TEXT NOT NULL,
    total INTEGER NOT NULL,
    first INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX long_key ON long (reference, sender, recipient, interface, total);
CREATE TABLE part (
    long INTEGER NOT NULL REFERENCES long ON DELETE CASCADE,
    number INTEGER NOT NULL,
    interface TEXT NOT NULL,
    provider_id TEXT,
    body TEXT NOT NULL,
    media TEXT,
    PRIMARY KEY (long, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX part_provider ON part (provider_id, interface) WHERE provider_id IS NOT NULL;

CREATE TABLE receipt (
    interface TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (provider_id, interface, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    slot INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    interface TEXT,
    peer TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
";

/// The schema that this program writes.
pub const VERSION: i64 = 3;

/// Pages of the log after which the writer brings them into the database: a stall of some milliseconds each 16 MB.
const CHECKPOINT: u32 = 4000;

/// Why a database cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("it has schema {0}")]
    Newer(i64),
}

/// Opens the database for writing, and makes or migrates it.
pub fn open(path: &Path, redact: bool) -> Result<Connection, Failure> {
    // SQLite would make it readable for all; its log gets the same mode.
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o640);
    options.open(path)?;
    let connection = Connection::open(path)?;
    match prepare(&connection, redact)? {
        found if found > VERSION => Err(Failure::Newer(found)),
        _ => Ok(connection),
    }
}

/// The schema that was found; migrated unless it is newer.
fn prepare(connection: &Connection, redact: bool) -> rusqlite::Result<i64> {
    connection.busy_timeout(Duration::from_secs(5))?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Ok(found);
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.query_row(
        &format!("PRAGMA wal_autocheckpoint = {CHECKPOINT}"),
        [],
        |_| Ok(()),
    )?;
    connection.query_row("PRAGMA journal_size_limit = 33554432", [], |_| Ok(()))?;
    overwrite(connection, redact)?;
    connection.set_prepared_statement_cache_capacity(64);
    for (next, migration) in MIGRATIONS.iter().filter(|(next, _)| *next > found) {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {migration} PRAGMA user_version = {next}; COMMIT;"
        ))?;
    }
    Ok(found)
}

/// Whether what is erased is overwritten with zeros.
pub fn overwrite(connection: &Connection, is_wanted: bool) -> rusqlite::Result<()> {
    let secure = if is_wanted { "ON" } else { "OFF" };
    connection.query_row(&format!("PRAGMA secure_delete = {secure}"), [], |_| Ok(()))
}

/// The file is no sound database.
pub fn is_damage(error: &Failure) -> bool {
    matches!(error, Failure::Database(error) if is_damaged_by(error))
}

pub fn is_damaged_by(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Gives a damaged database another name, with its log; the new name.
pub fn set_aside(path: &Path, now: i64) -> io::Result<PathBuf> {
    let aside = with_suffix(path, &format!(".damaged-{now}"));
    for suffix in ["-wal", "-shm"] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A database as the first version left it, with a message.
#[cfg(test)]
pub fn make_first(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let (_, first) = MIGRATIONS.first().unwrap();
    connection
        .execute_batch(&format!(
            "BEGIN; {first} PRAGMA user_version = 1; COMMIT;
             INSERT INTO message (id, direction, interface, sender, recipient, body, received, state, changed)
             VALUES ('0D3V1C8Y00000', 'in', '1', '1', '2', 'x', 1, 'delivered', 1);"
        ))
        .unwrap();
}
