//! What is amiss with lists and their use: names that nobody defines, lists that nobody uses, rules that cannot be read.
//!
//! Pure. Invariant: a list of which it is not known whether it is there is called neither undefined nor fine.

use super::consumers::Consumer;
use super::list::{List, Mistake};

/// One thing to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub file: String,
    /// From 1; 0 where it is about the whole file.
    pub line: usize,
    pub text: String,
    /// Somebody is kept out by it, or may be.
    pub is_trouble: bool,
}

/// What is known of the lists of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// There is no database of lists.
    None,
    /// These are there.
    Lists(&'a [List]),
    /// It could not be asked.
    Unknown,
}

/// Looks at the lists of `file` (its path), of the database, and at who uses them.
#[must_use]
pub fn review(
    file: &str,
    lists: &[List],
    mistakes: &[Mistake],
    database: Known<'_>,
    consumers: &[Consumer],
) -> Vec<Note> {
    let mut notes = Vec::new();
    for mistake in mistakes {
        let (place, line) = match mistake.place.rsplit_once(':') {
            Some((place, line)) => (place, line.parse().unwrap_or(0)),
            None => (mistake.place.as_str(), 0),
        };
        notes.push(Note {
            file: place.to_owned(),
            line,
            text: format!(
                "{}: Asterisk takes nothing of its lists from the file while it says that, and at a start it has none: who uses one is closed to everybody",
                mistake.problem
            ),
            is_trouble: true,
        });
    }
    let kept = match database {
        Known::Lists(kept) => kept,
        Known::None | Known::Unknown => &[],
    };
    let mut told: Vec<&str> = Vec::new();
    for consumer in consumers {
        for name in &consumer.lists {
            let is_there = lists.iter().chain(kept).any(|list| list.name == *name);
            if is_there || database == Known::Unknown || told.contains(&name.as_str()) {
                continue;
            }
            told.push(name);
            notes.push(Note {
                file: consumer.file.clone(),
                line: consumer.line,
                text: format!(
                    "{} uses the list `{name}`, which is not there: it keeps everybody out",
                    consumer.words()
                ),
                is_trouble: true,
            });
        }
    }
    for list in lists {
        if !consumers.iter().any(|consumer| consumer.uses(&list.name)) {
            notes.push(Note {
                file: file.to_owned(),
                line: 0,
                text: format!("nobody uses the list `{}`", list.name),
                is_trouble: false,
            });
        }
    }
    for list in kept {
        if lists.iter().any(|hiding| hiding.name == list.name) {
            notes.push(Note {
                file: file.to_owned(),
                line: 0,
                text: format!("its list `{}` hides the one of the database", list.name),
                is_trouble: true,
            });
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::consumers::{Subject, of_file as consumers_of};
    use crate::acl::list::of_file;
    use crate::asterisk::conf::Document;

    #[test]
    fn what_is_amiss_is_told_once() {
        let acl = Document::parse("[a]\npermit=x\n[b]\ndeny=::/0\n").full_sections();
        let (lists, mistakes) = of_file(&acl, |line| ("/srv/acl.conf".to_owned(), line));
        let users = Document::parse("[u]\nacl=b,c\n[v]\nacl=c,d\n").full_sections();
        let users = consumers_of(Subject::Manager, &users, |line| ("m".to_owned(), line));
        let kept = [List {
            name: "d".to_owned(),
            ..lists[1].clone()
        }];
        let told = |database| -> Vec<String> {
            let notes = review("/srv/acl.conf", &lists, &mistakes, database, &users);
            let notes = notes.iter();
            notes
                .map(|n| {
                    format!(
                        "{}:{} {}",
                        n.file,
                        n.line,
                        n.text.chars().take(60).collect::<String>()
                    )
                })
                .collect()
        };
        assert_eq!(
            told(Known::Lists(&kept)),
            [
                "/srv/acl.conf:2 `x` is no address: names and ports are not taken: Asterisk t",
                "m:2 manager user [u] uses the list `c`, which is not there: it k",
                "/srv/acl.conf:0 nobody uses the list `a`"
            ]
        );
        assert_eq!(told(Known::Unknown).len(), 2);
        assert_eq!(told(Known::None).len(), 4);
    }
}
