//! Whole sections as Asterisk builds them: what the templates give first, then their own lines and additions, in order.
//!
//! It looks at one document only: a template that is not there counts as empty.
//! Invariant: every entry knows the line that gave it, so an editor can tell its own lines from a template's.
//!
//! As main/config.c does it: `ast_category_inherit` copies what the template holds when the header is read, so later
//! additions to the template do not count; `+=` (`process_text_line`) joins with the last entry of that key in the section.

use super::Document;
use super::scan::{HeaderOption, Kind, Operator};

/// More entries than any file needs; it bounds what templates of templates can make of a hostile file.
const MOST: usize = 200_000;

/// A section with everything that counts in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullSection {
    pub name: String,
    /// Whether it is a template, `(!)`, and so no object of its own.
    pub template: bool,
    /// The line of its first header, from 1.
    pub line: usize,
    pub entries: Vec<FullEntry>,
}

/// One key of a section and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullEntry {
    pub key: String,
    pub value: String,
    /// Line number, from 1; with `+=` that of the last piece.
    pub line: usize,
    /// It is copied from a template.
    pub inherited: bool,
    /// It was put together by `+=`.
    pub joined: bool,
}

impl FullSection {
    /// The values of a key, in order.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a FullEntry> {
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// The last value of a key.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&str> {
        let mut entries = self.entries.iter();
        let found = entries.rfind(|entry| entry.key.eq_ignore_ascii_case(key))?;
        Some(&found.value)
    }
}

impl Document {
    /// All sections, templates too, in the order of their first headers.
    #[must_use]
    pub fn full_sections(&self) -> Vec<FullSection> {
        let mut built: Vec<FullSection> = Vec::new();
        let mut current: Option<usize> = None;
        let mut left = MOST;
        for (at, line) in self.lines.iter().enumerate() {
            match &line.kind {
                Kind::Header(header) => {
                    current = open(&mut built, &header.name, &header.options, at + 1, &mut left);
                }
                Kind::Entry(entry) => {
                    let Some(section) = current.and_then(|at| built.get_mut(at)) else {
                        continue;
                    };
                    let same = |known: &FullEntry| known.key.eq_ignore_ascii_case(&entry.key);
                    let before = match entry.operator {
                        Operator::Append => section.entries.iter().rposition(same),
                        _ => None,
                    };
                    let mut new = FullEntry {
                        key: entry.key.clone(),
                        value: entry.value.clone(),
                        line: at + 1,
                        inherited: false,
                        joined: false,
                    };
                    if let Some(before) = before {
                        let known = section.entries.remove(before);
                        new.value = format!("{}{}", known.value, new.value);
                        new.joined = true;
                        section.entries.insert(before, new);
                    } else if left > 0 {
                        left -= 1;
                        section.entries.push(new);
                    }
                }
                _ => {}
            }
        }
        built
    }
}

fn open(
    built: &mut Vec<FullSection>,
    name: &str,
    options: &[HeaderOption],
    line: usize,
    left: &mut usize,
) -> Option<usize> {
    let mut new = FullSection {
        name: name.to_owned(),
        template: false,
        line,
        entries: Vec::new(),
    };
    let mut existing = None;
    let mut adds = false;
    for option in options {
        match option {
            HeaderOption::Template => new.template = true,
            HeaderOption::Append { templates_too } => {
                adds = true;
                existing = built.iter().position(|known| {
                    known.name.eq_ignore_ascii_case(name) && (*templates_too || !known.template)
                });
            }
            HeaderOption::Inherit(base) => {
                let base = built
                    .iter()
                    .find(|known| known.name.eq_ignore_ascii_case(base));
                let entries = base.map(|base| base.entries.clone()).unwrap_or_default();
                let heir = existing
                    .and_then(|at| built.get_mut(at))
                    .unwrap_or(&mut new);
                for mut entry in entries.into_iter().take(*left) {
                    *left -= 1;
                    entry.inherited = true;
                    heir.entries.push(entry);
                }
            }
        }
    }
    if adds {
        return existing;
    }
    built.push(new);
    Some(built.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, and of each entry value, line and whether it is inherited.
    type Found = Vec<(String, Vec<(String, usize, bool)>)>;

    fn full(text: &str) -> Found {
        let sections = Document::parse(text).full_sections();
        let objects = sections.into_iter().filter(|section| !section.template);
        objects
            .map(|section| {
                let entries = section.entries.into_iter();
                let entries = entries.map(|e| (e.value, e.line, e.inherited)).collect();
                (section.name, entries)
            })
            .collect()
    }

    #[test]
    fn templates_come_first_and_additions_last() {
        let text = "[a](!)\nk=1\n[b](!,a)\nk=2\n[x](b)\nk=3\n[a](+TEMPLATES=include)\nk=9\n[x](+)\nk=4\n[x](+,a)\nk=5\n";
        let entry = |value: &str, line, inherited| (value.to_owned(), line, inherited);
        assert_eq!(
            full(text),
            [(
                "x".to_owned(),
                vec![
                    entry("1", 2, true),
                    entry("2", 4, true),
                    entry("3", 6, false),
                    entry("4", 10, false),
                    entry("1", 2, true),
                    entry("9", 8, true),
                    entry("5", 12, false),
                ]
            )]
        );
    }

    #[test]
    fn pieces_are_joined() {
        let text = "[x]\nk=1\nl=2\nk+=,3\n";
        assert_eq!(
            full(text),
            [(
                "x".to_owned(),
                vec![("1,3".to_owned(), 4, false), ("2".to_owned(), 3, false)]
            )]
        );
    }

    #[test]
    fn templates_of_templates_are_bounded() {
        let mut text = String::from("[t0](!)\nk=1\n");
        for at in 1..200 {
            let before = at - 1;
            text.push_str(&format!("[t{at}](!,t{before},t{before})\n"));
        }
        let sections = Document::parse(&text).full_sections();
        let count: usize = sections.iter().map(|section| section.entries.len()).sum();
        assert!(count <= MOST, "{count}");
    }
}
