//! Paths into a document: `To`, `data.payload.to[0].phone_number`, `media[*].url`, `$[*]`, `MediaUrl#`, `"a.b"[0]`.
//!
//! A name goes into an object, `[0]` into an array, `[*]` into each of its items, `$` is the whole. `MediaUrl#` stands for
//! MediaUrl0, MediaUrl1 and so on, as long as there is one; they may begin at 1. A name with a dot, a bracket or a `#` of
//! its own stands in double quotes.
//!
//! Pure. Invariant: a path is read once, at start; one that was taken never fails, it merely finds nothing.

use std::fmt;
use std::str::FromStr;

use super::document::Document;

/// More numbered fields than any carrier sends.
const MOST_NUMBERED: usize = 100;

/// A path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    /// The name, and from 0 or 1 on its number.
    Numbered(String),
    Item(usize),
    Each,
}

/// What is wrong with a path, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path `{path}` is wrong at character {column}: {what}")]
pub struct PathError {
    path: String,
    /// From 1.
    pub column: usize,
    what: &'static str,
}

impl Path {
    /// The first value that is there.
    #[must_use]
    pub fn first<'d>(&self, document: &'d Document) -> Option<&'d Document> {
        self.all(document).into_iter().next()
    }

    /// All values that are there, in order.
    #[must_use]
    pub fn all<'d>(&self, document: &'d Document) -> Vec<&'d Document> {
        let mut found = vec![document];
        for step in &self.0 {
            found = found.into_iter().flat_map(|node| step.take(node)).collect();
        }
        found
    }

    /// This path in a place where it may not stand.
    #[must_use]
    pub fn misplaced(&self, what: &'static str) -> PathError {
        PathError {
            path: self.to_string(),
            column: 1,
            what,
        }
    }

    /// Puts a value here, and makes the branches that lead here. Of several places it is the first.
    pub fn put(&self, document: &mut Document, value: Document) {
        put(&self.0, document, value);
    }

    /// The value itself, to open it in its place. Paths of several values have no such place.
    pub fn place<'d>(&self, document: &'d mut Document) -> Option<&'d mut Document> {
        self.0.iter().try_fold(document, |node, step| match step {
            Step::Name(name) => node.get_mut(name),
            Step::Item(index) => node.at_mut(*index),
            Step::Numbered(_) | Step::Each => None,
        })
    }
}

fn put(steps: &[Step], node: &mut Document, value: Document) {
    match steps.split_first() {
        None => *node = value,
        Some((Step::Name(name), rest)) => put_member(node, name, rest, value),
        Some((Step::Numbered(name), rest)) => put_member(node, &format!("{name}0"), rest, value),
        Some((Step::Item(index), rest)) => put_item(node, *index, rest, value),
        Some((Step::Each, rest)) => put_item(node, 0, rest, value),
    }
}

fn put_member(node: &mut Document, name: &str, rest: &[Step], value: Document) {
    if node.get(name).is_none() {
        if !matches!(node, Document::Object(_)) {
            *node = Document::Object(Vec::new());
        }
        if let Document::Object(members) = node {
            members.push((name.to_owned(), Document::Null));
        }
    }
    if let Some(member) = node.get_mut(name) {
        put(rest, member, value);
    }
}

fn put_item(node: &mut Document, index: usize, rest: &[Step], value: Document) {
    if !matches!(node, Document::Array(_)) {
        *node = Document::Array(Vec::new());
    }
    if let Document::Array(items) = node
        && index < MOST_NUMBERED
        && items.len() <= index
    {
        items.resize(index + 1, Document::Null);
    }
    if let Some(item) = node.at_mut(index) {
        put(rest, item, value);
    }
}

impl Step {
    fn take<'d>(&self, node: &'d Document) -> Vec<&'d Document> {
        match self {
            Step::Name(name) => node.get(name).into_iter().collect(),
            Step::Item(index) => node.at(*index).into_iter().collect(),
            Step::Each => match node {
                Document::Array(items) => items.iter().collect(),
                _ => Vec::new(),
            },
            Step::Numbered(name) => {
                let numbered = |number: usize| node.get(&format!("{name}{number}"));
                let first = usize::from(numbered(0).is_none());
                (first..MOST_NUMBERED).map_while(numbered).collect()
            }
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        let mut reader = Reader {
            text,
            rest: text,
            steps: Vec::new(),
        };
        match reader.rest.strip_prefix('$') {
            Some(rest) => {
                reader.rest = rest;
                if !rest.is_empty() && !rest.starts_with(['[', '.']) {
                    return reader.wrong("after `$` comes `[` or `.`");
                }
            }
            None => reader.name()?,
        }
        while !reader.rest.is_empty() {
            if let Some(rest) = reader.rest.strip_prefix('.') {
                reader.rest = rest;
                reader.name()?;
            } else if let Some(rest) = reader.rest.strip_prefix('[') {
                reader.rest = rest;
                reader.index()?;
            } else {
                return reader.wrong("here comes `.` or `[`");
            }
        }
        Ok(Path(reader.steps))
    }
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    steps: Vec<Step>,
}

impl<'t> Reader<'t> {
    fn name(&mut self) -> Result<(), PathError> {
        let (name, rest) = match self.rest.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some(parts) => parts,
                None => return self.wrong("the quotes are not closed"),
            },
            None => {
                let end = self.rest.find(['.', '[', '#']).unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                match name.find([']', '"', '$', '*']) {
                    Some(at) => {
                        self.rest = name.get(at..).unwrap_or("");
                        // What follows the name counts for the position, too.
                        return self
                            .wrong_before(rest.len(), "a name with this sign needs double quotes");
                    }
                    None => (name, rest),
                }
            }
        };
        if name.is_empty() {
            return self.wrong("a name is missing");
        }
        match rest.strip_prefix('#') {
            Some(rest) => {
                self.rest = rest;
                self.steps.push(Step::Numbered(name.to_owned()));
            }
            None => {
                self.rest = rest;
                self.steps.push(Step::Name(name.to_owned()));
            }
        }
        Ok(())
    }

    fn index(&mut self) -> Result<(), PathError> {
        let Some((inside, rest)) = self.rest.split_once(']') else {
            return self.wrong("the bracket is not closed");
        };
        let step = match inside {
            "*" => Step::Each,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
                Ok(index) => Step::Item(index),
                Err(_) => return self.wrong("between brackets stands a number or `*`"),
            },
            _ => return self.wrong("between brackets stands a number or `*`"),
        };
        self.steps.push(step);
        self.rest = rest;
        Ok(())
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, PathError> {
        self.wrong_before(0, what)
    }

    fn wrong_before<T>(&self, after: usize, what: &'static str) -> Result<T, PathError> {
        let read = self.text.len() - (self.rest.len() + after).min(self.text.len());
        let column = self.text.get(..read).unwrap_or("").chars().count() + 1;
        Err(PathError {
            path: self.text.escape_debug().to_string(),
            column,
            what,
        })
    }
}

/// As it can be read again.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.0.first(), Some(Step::Name(_) | Step::Numbered(_))) {
            f.write_str("$")?;
        }
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match step {
                Step::Name(name) => write!(f, "{dot}{}", Quoted(name))?,
                Step::Numbered(name) => write!(f, "{dot}{}#", Quoted(name))?,
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

struct Quoted<'n>(&'n str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(['.', '[', ']', '#', '$', '*']) {
            true => write!(f, "\"{}\"", self.0),
            false => f.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websms::body::json;

    fn found(path: &str, document: &str) -> Vec<String> {
        let document = json::read(document.as_bytes()).unwrap();
        let path: Path = path.parse().unwrap();
        let all = path.all(&document);
        all.iter()
            .map(|value| value.text().unwrap_or("-").to_owned())
            .collect()
    }

    #[test]
    fn a_path_finds_what_it_names() {
        let telnyx = r#"{"data":{"payload":{"to":[{"phone_number":"+1"},{"phone_number":"+2"}]}}}"#;
        assert_eq!(found("data.payload.to[0].phone_number", telnyx), ["+1"]);
        assert_eq!(
            found("data.payload.to[*].phone_number", telnyx),
            ["+1", "+2"]
        );
        assert_eq!(found("$.data.payload.to[1].phone_number", telnyx), ["+2"]);
        assert_eq!(found("data.payload.to[2].phone_number", telnyx), [""; 0]);
        assert_eq!(found("data.payload.to.phone_number", telnyx), [""; 0]);
        assert_eq!(found("$[*].id", r#"[{"id":1},{},{"id":"b"}]"#), ["1", "b"]);
        assert_eq!(found("$", "0"), ["0"]);
        assert_eq!(found("concat-ref", r#"{"concat-ref":"x"}"#), ["x"]);
        assert_eq!(found(r#""a.b"[0]"#, r#"{"a.b":["x"]}"#), ["x"]);
        assert_eq!(found("a", r#"{"a":1,"a":2}"#), ["1"]);
    }

    #[test]
    fn numbered_fields_are_told_until_one_is_missing() {
        let three = r#"{"U0":"a","U1":"b","U3":"d"}"#;
        assert_eq!(found("U#", three), ["a", "b"]);
        assert_eq!(found("U#", r#"{"U1":"a","U2":"b"}"#), ["a", "b"]);
        assert_eq!(found("U#", r#"{"U2":"b"}"#), [""; 0]);
        assert_eq!(
            found("m[*].U#", r#"{"m":[{"U0":"a"},{"U1":"b"}]}"#),
            ["a", "b"]
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (path, column, what) in [
            ("", 1, "a name is missing"),
            ("a..b", 3, "a name is missing"),
            ("a[", 3, "the bracket is not closed"),
            ("a[x]", 3, "between brackets"),
            ("a[]", 3, "between brackets"),
            ("a[99999999999999999999]", 3, "between brackets"),
            ("a[0]b", 5, "here comes"),
            ("å.b]c.d", 4, "double quotes"),
            ("a#b", 3, "here comes"),
            ("$x", 2, "after `$`"),
            ("\"a", 1, "not closed"),
        ] {
            let error = path.parse::<Path>().unwrap_err();
            assert_eq!(error.column, column, "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_read_prints_as_what_reads_the_same(text in r#"[ab.$#*"\[\]01]{0,12}"#) {
            if let Ok(path) = text.parse::<Path>() {
                let shown = path.to_string();
                proptest::prop_assert_eq!(shown.parse::<Path>(), Ok(path), "{}", shown);
            }
        }
    }
}
