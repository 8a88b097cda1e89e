//! A SQLite database that Asterisk has open as well.

use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection as Handle, ErrorCode, OpenFlags};

use super::table::{Connection, Fields};
use super::{PATIENCE, StoreError};

pub(super) struct Sqlite {
    handle: Handle,
    path: PathBuf,
}

impl Sqlite {
    /// Opens a database that is there; it makes none.
    pub(super) fn open(path: &Path, to_write: bool) -> Result<Sqlite, StoreError> {
        let failed = |error: &rusqlite::Error| failure(path, error);
        if !path.exists() {
            return Err(StoreError::new(
                format!("there is no database `{}`", path.display()),
                "make it with the table that docs/reference/acl.md shows, owned by asterisk",
            ));
        }
        let access = match to_write {
            true => OpenFlags::SQLITE_OPEN_READ_WRITE,
            false => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let handle = Handle::open_with_flags(path, flags).map_err(|error| failed(&error))?;
        let waits = handle.busy_timeout(PATIENCE);
        waits.map_err(|error| failed(&error))?;
        Ok(Sqlite {
            handle,
            path: path.to_owned(),
        })
    }
}

impl Connection for Sqlite {
    fn query(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Fields>, StoreError> {
        let run = || -> rusqlite::Result<Vec<Fields>> {
            let mut statement = self.handle.prepare(&sql.replace('$', "?"))?;
            let columns = statement.column_count();
            let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let mut fields = Vec::new();
                for column in 0..columns {
                    fields.push(text(row.get_ref(column)?));
                }
                found.push(fields);
            }
            Ok(found)
        };
        run().map_err(|error| failure(&self.path, &error))
    }

    fn begin(&mut self, _table: &str) -> Result<(), StoreError> {
        self.query("BEGIN IMMEDIATE", &[]).map(|_| ())
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

fn failure(path: &Path, error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "somebody holds it; where that is Asterisk, res_config_sqlite3.conf has to say `batch = 0`"
        }
        Some(ErrorCode::ReadOnly) => {
            "give asterisk its file and directory, on a volume that can be written"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "see that the file can be read and its directory written"
        }
        Some(ErrorCode::DiskFull) => "free some space on that file system and try again",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            "put the file of a backup in its place"
        }
        Some(ErrorCode::ConstraintViolation) => "the table forbids such a row",
        _ if text.contains("no such table") || text.contains("no such column") => {
            "docs/reference/acl.md shows the table that Asterisk looks for"
        }
        _ => "see whether the file is Asterisk's database",
    };
    StoreError::new(
        format!("cannot use the database `{}`: {text}", path.display()),
        hint,
    )
}
