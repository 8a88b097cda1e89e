//! What is written down: the history of switches, and which offers were refused.
//!
//! `/srv/var/lib/switchhook/certs/history.jsonl` has one object a line, the newest last, and `refused.json` a list. What
//! cannot be read counts as empty: a certificate matters more than its history. Invariant: the history has a bound.

use std::path::PathBuf;

use crate::certs::keeper::{Record, Refused};
use crate::config::paths::Paths;
use crate::sys::file::{FileError, Owner, make_directory, read_text, write_atomic};

/// As many lines are kept.
const LINES: usize = 500;
const OWNER: Owner = Owner::Keep {
    new_file_mode: 0o640,
};

/// The books of one exchange.
#[derive(Debug, Clone)]
pub struct Books(PathBuf);

impl Books {
    pub fn of(paths: &Paths) -> Books {
        Books(paths.state().join("certs"))
    }

    /// The history, oldest first. Lines of a later version that are not understood are left out.
    pub fn history(&self) -> Vec<Record> {
        let text = read_text(&self.0.join("history.jsonl")).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    pub fn add(&self, record: &Record) -> Result<(), FileError> {
        make_directory(&self.0, 0o750)?;
        let path = self.0.join("history.jsonl");
        let before = read_text(&path).unwrap_or_default();
        let mut lines: Vec<&str> = before.lines().collect();
        let line = serde_json::to_string(record).unwrap_or_default();
        lines.push(&line);
        let surplus = lines.len().saturating_sub(LINES);
        let text = lines.split_off(surplus).join("\n") + "\n";
        write_atomic(&path, text.as_bytes(), OWNER)
    }

    pub fn refused(&self) -> Vec<Refused> {
        let text = read_text(&self.0.join("refused.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub fn keep_refused(&self, refused: &[Refused]) -> Result<(), FileError> {
        make_directory(&self.0, 0o750)?;
        let text = serde_json::to_string(refused).unwrap_or_default();
        write_atomic(&self.0.join("refused.json"), text.as_bytes(), OWNER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::keeper::What;
    use crate::certs::pair::Source;

    fn record(at: i64) -> Record {
        Record {
            at,
            what: What::Proven,
            source: Source::Traefik,
            names: vec!["pbx.example.com".to_owned()],
            fingerprints: Vec::new(),
            not_after: None,
            generation: None,
            why: None,
        }
    }

    #[test]
    fn the_history_has_a_bound_and_bad_lines_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let books = Books(directory.path().join("certs"));
        assert_eq!(books.history(), []);
        books.add(&record(1)).unwrap();
        let path = directory.path().join("certs/history.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let many = "{\"of\": \"the future\"}\n".to_owned() + &text.repeat(LINES);
        std::fs::write(&path, many).unwrap();
        books.add(&record(2)).unwrap();
        let history = books.history();
        assert_eq!((history.len(), history.last()), (LINES, Some(&record(2))));
        let refused = vec![Refused {
            digest: "d".to_owned(),
            why: "w".to_owned(),
            at: 3,
        }];
        books.keep_refused(&refused).unwrap();
        assert_eq!(books.refused(), refused);
    }
}
