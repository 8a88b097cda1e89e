//! PHP's dialect of INI files, in which websms.conf was always written.
//!
//! Pure. It refuses nothing: where PHP would give up the whole file, compute with bits or put in one of its constants, the
//! text holds as it stands, and a warning says so. A warning never repeats a value: it can be a secret.
//!
//! Invariant: where PHP reads a text that somebody can have meant, the same is read here.

use std::fmt;

mod value;

/// A file: what stands before any section, then the sections in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ini {
    pub loose: Vec<Key>,
    pub sections: Vec<Section>,
    pub warnings: Vec<Warning>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    /// From 1.
    pub line: usize,
    pub keys: Vec<Key>,
}

/// A key and what it ends up with. Its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub name: String,
    /// Where the value that holds was written; of an array, where it began.
    pub line: usize,
    pub value: Value,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.name)
    }
}

/// `key = value`, or `key [index] = value` any number of times.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    One(String),
    Many(Vec<Item>),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    pub index: String,
    pub line: usize,
    pub value: String,
}

/// What PHP would read otherwise, or what is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub line: usize,
    pub problem: String,
    pub hint: String,
}

/// Words that PHP does not take as the name of a key.
const RESERVED: [&str; 8] = ["true", "on", "yes", "false", "off", "no", "none", "null"];

/// What cannot stand in the name of a key.
const NO_NAME: &str = "&|^$~(){}!\"\0";

impl Ini {
    /// Reads a text. `variable` gives the value of `${NAME}`.
    #[must_use]
    pub fn parse(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Ini {
        let mut parser = Parser {
            text: text.trim_start_matches('\u{feff}'),
            at: 0,
            line: 1,
            counted: 0,
            variable,
            ini: Ini::default(),
        };
        parser.run();
        parser.ini
    }

    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The line at `counted`.
    line: usize,
    counted: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
    ini: Ini,
}

impl<'a> Parser<'a> {
    fn run(&mut self) {
        loop {
            self.blanks();
            self.count();
            match self.rest().bytes().next() {
                None => return,
                Some(b'\n' | b'\r') => self.at += 1,
                // PHP knows no such comment: it drops the line, or takes it for a key that nobody reads.
                Some(b';' | b'#') => self.at = self.line_end(),
                Some(b'[') => self.section(),
                Some(_) => self.entry(),
            }
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let blanks = |b: &u8| matches!(b, b' ' | b'\t');
        self.at += self.rest().bytes().take_while(blanks).count();
    }

    /// Brings the line's number up to the place.
    fn count(&mut self) {
        let passed = self.text.get(self.counted..self.at).unwrap_or_default();
        let pairs = passed.matches("\r\n").count();
        self.line += passed.matches(['\n', '\r']).count() - pairs;
        self.counted = self.at;
        // A CRLF that the place cuts in two is counted with its second half.
        if passed.ends_with('\r') && self.rest().starts_with('\n') {
            self.line -= 1;
        }
    }

    fn line_end(&self) -> usize {
        let rest = self.rest();
        self.at + rest.find(['\n', '\r']).unwrap_or(rest.len())
    }

    /// From the place to the end of the line.
    fn line_text(&self) -> &'a str {
        self.text.get(self.at..self.line_end()).unwrap_or_default()
    }

    fn warn(&mut self, problem: impl Into<String>, hint: impl Into<String>) {
        self.ini.warnings.push(Warning {
            line: self.line,
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    /// At `[`.
    fn section(&mut self) {
        let name = match value::bracketed(self.text, self.at + 1, self.variable) {
            Ok(scanned) => {
                self.at = scanned.end;
                self.tell_unset(&scanned.unset);
                scanned.text
            }
            Err(_) => {
                let line = self.line_text();
                let name = line.strip_prefix('[').unwrap_or(line);
                let name = name.split([';', ']']).next().unwrap_or_default().trim();
                self.at = self.line_end();
                self.warn(
                    "the section's name does not end; PHP would lose the whole file",
                    "write it as [websms]",
                );
                name.to_owned()
            }
        };
        let line = self.line;
        if let Some(before) = self.ini.loose.iter().position(|key| key.name == name) {
            self.ini.loose.remove(before);
        }
        match self.ini.sections.iter_mut().find(|s| s.name == name) {
            // As PHP does: the second one takes the place of the first.
            Some(section) => {
                let first = std::mem::replace(&mut section.line, line);
                section.keys.clear();
                // The keys that follow belong to it, so it comes last here.
                self.ini.sections.sort_by_key(|s| s.name == name);
                self.warn(
                    format!(
                        "[{}] was already there in line {first}; nothing of that one holds",
                        name.escape_debug()
                    ),
                    "write all keys below one of them",
                );
            }
            None => self.ini.sections.push(Section {
                name,
                line,
                keys: Vec::new(),
            }),
        }
    }

    /// At the name of a key.
    fn entry(&mut self) {
        let line = self.line_text();
        let length = line.find(['=', '[', ';']).unwrap_or(line.len());
        let name = line.get(..length).unwrap_or_default().trim_end().to_owned();
        let shown = name.escape_debug().to_string();
        self.at += length;
        if name.contains(|c| NO_NAME.contains(c)) || name.is_empty() {
            self.warn(
                format!("`{shown}` is no name of a key; PHP would lose the whole file"),
                "write `key = value`, and ; before a comment",
            );
        } else if RESERVED.iter().any(|word| word.eq_ignore_ascii_case(&name)) {
            self.warn(
                format!("`{shown}` is no name of a key for PHP, which would lose the whole file"),
                "use another name",
            );
        }
        match self.rest().bytes().next() {
            Some(b'=') => {
                self.at += 1;
                let value = self.value(&shown);
                self.set(name, None, value);
            }
            Some(b'[') => {
                if let Some(index) = self.index(&shown) {
                    let value = self.value(&shown);
                    self.set(name, Some(index), value);
                }
            }
            _ => {
                if !name.contains(|c| NO_NAME.contains(c)) {
                    self.warn(
                        format!("`{shown}` is no `key = value`; the line is left out"),
                        "write `key = value`, and ; before a comment",
                    );
                }
                self.at = self.line_end();
            }
        }
    }

    /// At `[`; goes on after `=`. `None` if there is none, with a warning; an empty index is to be the next number.
    fn index(&mut self, name: &str) -> Option<String> {
        if let Ok(scanned) = value::bracketed(self.text, self.at + 1, self.variable) {
            let rest = self.text.get(scanned.end..).unwrap_or_default();
            let after = rest.trim_start_matches([' ', '\t']);
            if after.starts_with('=') {
                self.at = scanned.end + (rest.len() - after.len()) + 1;
                self.tell_unset(&scanned.unset);
                let trimmed = scanned.text.trim_start_matches([' ', '\t']);
                return Some(match (scanned.quoted, trimmed) {
                    (true, _) => scanned.text,
                    (false, word) if is_word(word, &["null", "false"]) => String::new(),
                    (false, word) if is_word(word, &["true"]) => "1".to_owned(),
                    (false, word) => word.to_owned(),
                });
            }
        }
        let line = self.line_text();
        self.warn(
            format!("the index of `{name}` is not followed by `=`; PHP would lose the whole file"),
            "write `key [index] = value`",
        );
        let found = line
            .split_once(']')
            .and_then(|(index, rest)| Some((index, rest.find('=')?)));
        match found {
            Some((index, equals)) => {
                self.at += index.len() + 1 + equals + 1;
                Some(index.trim_start_matches('[').trim().to_owned())
            }
            None => {
                self.at = self.line_end();
                None
            }
        }
    }

    /// After `=`; goes on at the end of the line on which the value ends.
    fn value(&mut self, name: &str) -> String {
        self.blanks();
        match value::read(self.text, self.at, self.variable) {
            Ok(scanned) => {
                if scanned.constant {
                    self.warn(
                        format!("the value of `{name}` may be a constant of PHP; here it is the text as it stands"),
                        "put the value into quotation marks",
                    );
                }
                self.tell_unset(&scanned.unset);
                self.at = scanned.end;
                scanned.text
            }
            Err(why) => {
                let text = value::literal(self.line_text());
                self.warn(
                    format!("the value of `{name}` {why}; here it is the text as it stands"),
                    "put the value into quotation marks",
                );
                self.at = self.line_end();
                text
            }
        }
    }

    fn tell_unset(&mut self, unset: &[String]) {
        for name in unset {
            self.warn(
                format!(
                    "the environment has no {}; nothing stands for it",
                    name.escape_debug()
                ),
                "set the variable, or write a $ in single quotation marks",
            );
        }
    }

    fn set(&mut self, name: String, index: Option<String>, value: String) {
        let line = self.line;
        let keys = match self.ini.sections.last_mut() {
            Some(section) => &mut section.keys,
            None => &mut self.ini.loose,
        };
        let place = keys.iter().position(|key| key.name == name);
        let known = place.and_then(|place| keys.get_mut(place));
        let first = match (known, index) {
            (None, None) => {
                keys.push(Key {
                    name,
                    line,
                    value: Value::One(value),
                });
                return;
            }
            (None, Some(index)) => {
                let items = vec![item(index, line, value, &[])];
                keys.push(Key {
                    name,
                    line,
                    value: Value::Many(items),
                });
                return;
            }
            (Some(key), None) => {
                key.value = Value::One(value);
                std::mem::replace(&mut key.line, line)
            }
            (Some(key), Some(index)) => match &mut key.value {
                Value::Many(items) => {
                    let item = item(index, line, value, items);
                    match items.iter_mut().find(|known| known.index == item.index) {
                        Some(known) => std::mem::replace(known, item).line,
                        None => {
                            items.push(item);
                            return;
                        }
                    }
                }
                Value::One(_) => {
                    key.value = Value::Many(vec![item(index, line, value, &[])]);
                    std::mem::replace(&mut key.line, line)
                }
            },
        };
        self.warn(
            format!(
                "`{}` was already given in line {first}",
                name.escape_debug()
            ),
            "remove one of them; this one holds",
        );
    }
}

fn is_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// An empty index is the number after the largest.
fn item(index: String, line: usize, value: String, before: &[Item]) -> Item {
    let index = match index.is_empty() {
        false => index,
        true => before
            .iter()
            .filter_map(|item| whole(&item.index))
            .max()
            .map_or(0, |largest| largest.saturating_add(1).max(0))
            .to_string(),
    };
    Item { index, line, value }
}

/// The number that PHP makes of an index: `7`, but neither `07` nor `-0`.
fn whole(index: &str) -> Option<i64> {
    index
        .parse::<i64>()
        .ok()
        .filter(|number| number.to_string() == index)
}

#[cfg(test)]
#[path = "ini_tests.rs"]
mod tests;
