//! Where extconfig.conf says that the lists of the database are: `acls => DRIVER,DATABASE,TABLE`.
//!
//! Pure. It knows SQLite (res_config_sqlite3) and PostgreSQL (res_config_pgsql), with the defaults of their source.
//! Invariant: a mapping that we cannot follow is an error, never taken for none.

use std::fmt;

use crate::asterisk::conf::{Document, FullSection};

/// The family of the lists (`ACL_FAMILY` in main/named_acl.c).
const FAMILY: &str = "acls";
/// Where SQLite's databases are for who does not say.
pub const HOME: &str = "/srv/var/lib/asterisk";

/// The database of the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub place: Place,
    pub table: String,
    /// The name of this system in asterisk.conf; Asterisk asks for rows with it only (`systemname`).
    pub system: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Sqlite {
        /// As res_config_sqlite3.conf has it.
        file: String,
        /// How long Asterisk keeps a transaction open, in milliseconds; anything but 0 locks others out for ever.
        batch: u64,
        /// The section of res_config_sqlite3.conf.
        section: String,
    },
    Postgres(Server),
}

/// A PostgreSQL server, as res_pgsql.conf has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// A host, or the directory of a socket if it begins with `/`.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: String,
}

/// Shows no password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host, port, database) = (&self.user, &self.host, self.port, &self.database);
        write!(
            f,
            "PostgreSQL `{database}` on {host}, port {port}, as `{user}`"
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Sqlite { file, .. } => write!(f, "SQLite `{file}`"),
            Place::Postgres(server) => write!(f, "{server}"),
        }
    }
}

/// Why a mapping cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadMapping {
    pub problem: String,
    pub hint: String,
}

fn bad<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, BadMapping> {
    Err(BadMapping {
        problem: problem.into(),
        hint: hint.into(),
    })
}

/// The texts that say where the lists are, with what they include; `None` for a file that is not there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    pub extconfig: Option<&'a str>,
    pub sqlite: Option<&'a str>,
    pub postgres: Option<&'a str>,
    pub asterisk: Option<&'a str>,
}

/// Reads the mapping; `None` where extconfig.conf has none.
///
/// # Errors
/// If there is one that cannot be followed.
pub fn read(texts: Texts<'_>) -> Result<Option<Mapping>, BadMapping> {
    let settings = section(texts.extconfig, "settings");
    let mut found: Vec<(u32, &str)> = Vec::new();
    for entry in settings.iter().flat_map(|section| section.values(FAMILY)) {
        let priority = entry.value.split(',').nth(3);
        let priority = priority.and_then(|word| word.trim().parse().ok());
        found.push((priority.unwrap_or(1), &entry.value));
    }
    // Asterisk asks them in this order; the first is what is written to.
    found.sort_by_key(|(priority, _)| *priority);
    let Some((_, value)) = found.first() else {
        return Ok(None);
    };
    let mut words = value.split(',').map(|word| word.trim().trim_matches('"'));
    let driver = words.next().unwrap_or_default();
    let database = words.next().unwrap_or_default();
    let table = words.next().filter(|table| !table.is_empty());
    let place = match driver.to_ascii_lowercase().as_str() {
        "sqlite3" => sqlite(texts.sqlite, database)?,
        "pgsql" => Place::Postgres(postgres(texts.postgres)?),
        _ => {
            return bad(
                format!(
                    "extconfig.conf has the lists in `{}`, which this command does not speak",
                    driver.escape_debug()
                ),
                "it speaks sqlite3 and pgsql; rules in acl.conf are changed as ever, where the list is there",
            );
        }
    };
    let system = section(texts.asterisk, "options");
    let system = system.and_then(|options| options.last("systemname").map(str::to_owned));
    Ok(Some(Mapping {
        place,
        table: table.unwrap_or(FAMILY).to_owned(),
        system: system.filter(|name| !name.is_empty()),
    }))
}

fn section(text: Option<&str>, name: &str) -> Option<FullSection> {
    let sections = Document::parse(text?).full_sections();
    let mut sections = sections.into_iter();
    sections.find(|section| !section.template && section.name.eq_ignore_ascii_case(name))
}

fn sqlite(text: Option<&str>, database: &str) -> Result<Place, BadMapping> {
    let hint = format!(
        "write there `[{database}]`, `dbfile = {HOME}/{database}.sqlite3` and `batch = 0`, and load res_config_sqlite3.so"
    );
    let Some(found) = section(text, database) else {
        return bad(
            format!(
                "res_config_sqlite3.conf has no database [{database}], which extconfig.conf names"
            ),
            hint,
        );
    };
    let Some(file) = found.last("dbfile").filter(|file| !file.is_empty()) else {
        return bad(
            format!("res_config_sqlite3.conf says no `dbfile` for [{database}]"),
            hint,
        );
    };
    // 100 ms where nothing is said (`new_realtime_sqlite3_db`).
    let batch = found.last("batch").map_or(100, milliseconds);
    Ok(Place::Sqlite {
        file: file.to_owned(),
        batch,
        section: found.name.clone(),
    })
}

/// A number of milliseconds, or with `s`, `m`, `h` behind it (`ast_app_parse_timelen`).
fn milliseconds(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().unwrap_or(100);
    match unit.trim() {
        "s" => count.saturating_mul(1000),
        "m" => count.saturating_mul(60_000),
        "h" => count.saturating_mul(3_600_000),
        _ => count,
    }
}

fn postgres(text: Option<&str>) -> Result<Server, BadMapping> {
    let Some(found) = section(text, "general") else {
        return bad(
            "extconfig.conf has the lists in PostgreSQL, and there is no res_pgsql.conf that says where",
            "write there [general] with dbhost, dbport, dbname, dbuser and dbpass",
        );
    };
    // The defaults of `parse_config` in res/res_config_pgsql.c.
    let value = |key: &str, default: &str| found.last(key).unwrap_or(default).to_owned();
    let host = match value("dbhost", "") {
        host if host.is_empty() => value("dbsock", "/tmp"),
        host => host,
    };
    let port = value("dbport", "5432");
    let Ok(port) = port.parse() else {
        return bad(
            format!(
                "res_pgsql.conf: dbport = {} is no port",
                port.escape_debug()
            ),
            "PostgreSQL's own is 5432",
        );
    };
    Ok(Server {
        host,
        port,
        database: value("dbname", "asterisk"),
        user: value("dbuser", "asterisk"),
        password: value("dbpass", "asterisk"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_line_there_is_no_database() {
        assert_eq!(read(Texts::default()), Ok(None));
        let texts = Texts {
            extconfig: Some("[settings]\nqueues => odbc,asterisk\n"),
            ..Texts::default()
        };
        assert_eq!(read(texts), Ok(None));
    }

    #[test]
    fn sqlite_with_its_trap() {
        fn texts(sqlite: &str) -> Texts<'_> {
            Texts {
                extconfig: Some("[settings]\nacls => sqlite3,pbx,acltable\n"),
                sqlite: Some(sqlite),
                asterisk: Some("[options]\nsystemname = a2\n"),
                ..Texts::default()
            }
        }
        let mapping = read(texts("[pbx]\ndbfile => /srv/x.db\n"))
            .unwrap()
            .unwrap();
        assert_eq!(
            mapping,
            Mapping {
                place: Place::Sqlite {
                    file: "/srv/x.db".to_owned(),
                    batch: 100,
                    section: "pbx".to_owned()
                },
                table: "acltable".to_owned(),
                system: Some("a2".to_owned()),
            }
        );
        let batch = |text: &str| match read(texts(text)).unwrap().unwrap().place {
            Place::Sqlite { batch, .. } => batch,
            Place::Postgres(_) => panic!(),
        };
        assert_eq!(batch("[pbx]\ndbfile => /x\nbatch => 0\n"), 0);
        assert_eq!(batch("[pbx]\ndbfile => /x\nbatch = 2s\n"), 2000);
        assert!(read(texts("[other]\n")).is_err());
        assert!(read(texts("[pbx]\n")).is_err());
    }

    #[test]
    fn postgres_with_the_defaults_of_its_driver() {
        let texts = |postgres| Texts {
            extconfig: Some("[settings]\nacls => odbc,x,y,2\nacls => pgsql,general\n"),
            postgres,
            ..Texts::default()
        };
        let mapping = read(texts(Some(
            "[general]\ndbhost = 192.0.2.1\ndbpass=s3cret\n",
        )))
        .unwrap()
        .unwrap();
        assert_eq!(
            mapping.place.to_string(),
            "PostgreSQL `asterisk` on 192.0.2.1, port 5432, as `asterisk`"
        );
        assert_eq!(mapping.table, "acls");
        assert!(!format!("{mapping:?}").contains("s3cret"));
        assert!(read(texts(None)).is_err());
        assert!(read(texts(Some("[general]\ndbport=x\n"))).is_err());
    }
}
