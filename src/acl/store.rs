//! Lists where they are kept: Asterisk's files, and the table of a database.
//!
//! It opens files and connections, decides nothing and reloads nothing. Every call ends: a database that is locked or silent is
//! waited for no longer than `PATIENCE`. Invariant: a change of a table is one transaction, so that writers at once lose no rule.

#[cfg(feature = "services")]
mod postgres;
#[cfg(feature = "services")]
mod scram;
#[cfg(feature = "services")]
mod sqlite;
#[cfg(feature = "services")]
mod table;
#[cfg(feature = "services")]
mod wire;

#[cfg(feature = "services")]
pub use table::Table;

#[cfg(feature = "services")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use super::consumers::{self, Consumer, Subject};
use super::list::{self, List, Mistake};
use super::mapping::{self, BadMapping, Mapping, Texts};
use crate::asterisk::conf::Document;
use crate::asterisk::generate::includes::{Includes, Whole};
use crate::config::paths::Paths;

/// How long a database may take for a connection, a lock or an answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why a database could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct StoreError {
    pub problem: String,
    pub hint: String,
    /// The configuration is at fault, not the moment.
    pub is_configuration: bool,
}

impl StoreError {
    #[cfg(feature = "services")]
    fn new(problem: impl Into<String>, hint: impl Into<String>) -> StoreError {
        StoreError {
            problem: problem.into(),
            hint: hint.into(),
            is_configuration: false,
        }
    }
}

/// What acl.conf and its includes hold.
#[derive(Debug, Clone, Default)]
pub struct FileLists {
    pub lists: Vec<List>,
    pub mistakes: Vec<Mistake>,
    /// The files that were read; the first is acl.conf.
    pub files: Vec<PathBuf>,
}

/// Reads them; nothing where there is no acl.conf.
#[must_use]
pub fn file_lists(paths: &Paths) -> FileLists {
    let home = paths.asterisk_config();
    let Some(whole) = Includes::at(paths, &home).whole(super::FILE) else {
        return FileLists::default();
    };
    let sections = Document::parse(&whole.text).full_sections();
    let (lists, mistakes) = list::of_file(&sections, |line| place(&whole, line));
    FileLists {
        lists,
        mistakes,
        files: whole.files,
    }
}

/// Who uses lists, by Asterisk's files.
#[must_use]
pub fn consumers(paths: &Paths) -> Vec<Consumer> {
    let home = paths.asterisk_config();
    let mut found = Vec::new();
    for (file, subject) in Subject::FILES {
        let Some(whole) = Includes::at(paths, &home).whole(file) else {
            continue;
        };
        let sections = Document::parse(&whole.text).full_sections();
        found.extend(consumers::of_file(subject, &sections, |line| {
            place(&whole, line)
        }));
    }
    #[cfg(feature = "services")]
    found.extend(autoban_uses(paths));
    found
}

#[cfg(feature = "services")]
fn autoban_uses(paths: &Paths) -> Vec<Consumer> {
    let path = paths.asterisk_config().join("autoban.conf");
    let file = path.display().to_string();
    let text = crate::sys::file::read_text(&path).unwrap_or_default();
    let (config, _) = crate::autoban::config::read(&file, &text);
    let uses = config.acls.into_iter().filter(|_| config.enabled);
    uses.map(|used| Consumer {
        kind: match used.white {
            true => consumers::Kind::AutobanWhite,
            false => consumers::Kind::AutobanBlack,
        },
        name: "autoban".to_owned(),
        lists: vec![used.name],
        file: file.clone(),
        line: used.line,
    })
    .collect()
}

fn place(whole: &Whole, line: usize) -> (String, usize) {
    let origin = whole.origin(line);
    origin.map_or_else(
        || (super::FILE.to_owned(), line),
        |(path, line)| (path.display().to_string(), line),
    )
}

/// Where the lists of the database are; `None` where there is no such database.
///
/// # Errors
/// If extconfig.conf says so and it cannot be followed.
pub fn mapping(paths: &Paths) -> Result<Option<Mapping>, BadMapping> {
    let home = paths.asterisk_config();
    let read = |name: &str| Includes::at(paths, &home).read(name);
    let (extconfig, sqlite, postgres, asterisk) = (
        read("extconfig.conf"),
        read("res_config_sqlite3.conf"),
        read("res_pgsql.conf"),
        read(&paths.pbx().main_file()),
    );
    mapping::read(Texts {
        extconfig: extconfig.as_deref(),
        sqlite: sqlite.as_deref(),
        postgres: postgres.as_deref(),
        asterisk: asterisk.as_deref(),
    })
}

/// Where a file of the mapping lies below this root.
#[cfg(feature = "services")]
fn below(paths: &Paths, file: &str) -> PathBuf {
    let place = match Path::new(file).is_absolute() {
        true => file.to_owned(),
        false => format!("{}/{file}", mapping::HOME),
    };
    // In the image this is a link; below another root only /srv is there.
    let rest = place.strip_prefix("/var/lib/asterisk/");
    let linked = paths.at(&place);
    match rest {
        Some(rest) if !linked.exists() => paths.at(mapping::HOME).join(rest),
        _ => linked,
    }
}
