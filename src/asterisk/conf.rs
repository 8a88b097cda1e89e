//! Asterisk configuration text, read and written without loss.
//!
//! A [`Document`] keeps every line as it was read; an edit replaces, adds or removes lines and touches no other. It reads no
//! file and follows no `#include`: one document is one file's text.
//! Invariant: `Document::parse(text).to_string() == text` for any text, and an edit that Asterisk would not read back as
//! asked for is refused and leaves the document as it was.
//!
//! The format is that of Asterisk's main/config.c; `conf/scan.rs` says which rules were taken from there.

mod edit;
mod full;
mod resolve;
mod scan;

use std::fmt;
use std::ops::Range;

pub use edit::EditError;
pub use full::{FullEntry, FullSection};
pub use scan::{Directive, Operator};
use scan::{Header, HeaderOption, Kind};

/// One configuration file's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    lines: Vec<Line>,
    /// The number of the line at which a block comment begins that nothing ends.
    open_comment: Option<usize>,
}

#[derive(Clone, PartialEq, Eq)]
struct Line {
    /// The line as it was read, its line end included.
    raw: String,
    kind: Kind,
}

/// A section: the lines from its header to the next header.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    document: &'a Document,
    header: &'a Header,
    /// Index of the header's line.
    at: usize,
}

/// A `key = value` line of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a str,
    /// The value with `\;` already turned into `;`.
    pub value: &'a str,
    pub operator: Operator,
    /// Line number, from 1.
    pub line: usize,
}

/// A place for which Asterisk refuses the whole file, or after which it reads nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// Line number, from 1.
    pub line: usize,
    pub what: &'static str,
}

impl Document {
    /// Reads any text; what is no Asterisk syntax is kept as it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::from_lines(text.split_inclusive('\n').map(str::to_owned))
    }

    fn from_lines(raw_lines: impl Iterator<Item = String>) -> Self {
        let mut depth = 0;
        let mut open_comment = None;
        let mut lines = Vec::new();
        for (index, raw) in raw_lines.enumerate() {
            let before = depth;
            let kind = scan::classify(&raw, &mut depth);
            if depth == 0 {
                open_comment = None;
            } else if before == 0 {
                open_comment = Some(index + 1);
            }
            lines.push(Line { raw, kind });
        }
        Self {
            lines,
            open_comment,
        }
    }

    /// The sections in the order of the file, templates and additions (`(+)`) included.
    pub fn sections(&self) -> impl Iterator<Item = Section<'_>> {
        self.lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| match &line.kind {
                Kind::Header(header) => Some(Section {
                    document: self,
                    header,
                    at,
                }),
                _ => None,
            })
    }

    /// The first section of that name. Asterisk compares names without regard to case, and so does this.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<Section<'_>> {
        self.sections()
            .find(|section| section.name().eq_ignore_ascii_case(name) && !section.is_addition())
    }

    /// The `#` lines with their line numbers.
    pub fn directives(&self) -> impl Iterator<Item = (usize, &Directive)> {
        self.lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| match &line.kind {
                Kind::Directive(directive) => Some((at + 1, directive)),
                _ => None,
            })
    }

    /// What makes Asterisk refuse the file or stop reading it; empty for a sound file.
    ///
    /// A template that is not in this document is no problem here: it can come from an including file.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self
            .lines
            .iter()
            .enumerate()
            .filter_map(|(at, line)| match line.kind {
                Kind::Fatal(what) => Some(Problem { line: at + 1, what }),
                _ => None,
            })
            .collect();
        if let Some(line) = self.open_comment {
            problems.push(Problem {
                line,
                what: "a block comment that does not end",
            });
        }
        problems
    }

    /// The text with the values of the chosen keys replaced by `***`, for eyes and logs.
    ///
    /// Comments may hold anything, an old secret too, so a comment that looks like such an entry is masked as well.
    #[must_use]
    pub fn masked(&self, is_secret: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for line in &self.lines {
            match &line.kind {
                Kind::Entry(entry) if is_secret(&entry.key) => {
                    text.push_str(&replace(&line.raw, entry.value_at.clone(), "***"));
                }
                Kind::Entry(_) | Kind::Header(_) | Kind::Directive(_) | Kind::Blank => {
                    text.push_str(&line.raw)
                }
                Kind::Comment | Kind::Ignored(_) | Kind::Fatal(_) => {
                    text.push_str(&mask_words(&line.raw, &is_secret))
                }
            }
        }
        text
    }

    /// The line end that new lines get: that of the first line, or a plain line feed.
    fn line_end(&self) -> &'static str {
        match self.lines.first() {
            Some(line) if line.raw.ends_with("\r\n") => "\r\n",
            _ => "\n",
        }
    }
}

fn replace(raw: &str, range: Range<usize>, with: &str) -> String {
    let mut text = String::with_capacity(raw.len() + with.len());
    text.push_str(raw.get(..range.start).unwrap_or_default());
    text.push_str(with);
    text.push_str(raw.get(range.end..).unwrap_or_default());
    text
}

fn mask_words(raw: &str, is_secret: &impl Fn(&str) -> bool) -> String {
    let Some((left, _)) = raw.split_once('=') else {
        return raw.to_owned();
    };
    let key = left
        .trim_start_matches(|c: char| c == ';' || c == '-' || c.is_whitespace())
        .trim_end();
    if !is_secret(key) {
        return raw.to_owned();
    }
    let end = raw.get(raw.trim_end().len()..).unwrap_or_default();
    format!("{left}= ***{end}")
}

impl<'a> Section<'a> {
    /// The name between the brackets.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.header.name
    }

    /// The line number of the header, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.at + 1
    }

    /// Whether it is a template, `(!)`.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.header.options.contains(&HeaderOption::Template)
    }

    /// Whether it adds to an earlier section, `(+)`.
    #[must_use]
    pub fn is_addition(&self) -> bool {
        self.header
            .options
            .iter()
            .any(|option| matches!(option, HeaderOption::Append { .. }))
    }

    /// The sections that it inherits from, as they are named in its header.
    pub fn inherits(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.header
            .options
            .iter()
            .filter_map(|option| match option {
                HeaderOption::Inherit(name) => Some(name.as_str()),
                HeaderOption::Template | HeaderOption::Append { .. } => None,
            })
    }

    /// Its own entries, without those of its templates.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let after = self.at + 1;
        let body = self.document.lines.get(after..).unwrap_or_default();
        body.iter()
            .take_while(|line| !matches!(line.kind, Kind::Header(_)))
            .enumerate()
            .filter_map(move |(offset, line)| match &line.kind {
                Kind::Entry(entry) => Some(Entry {
                    key: &entry.key,
                    value: &entry.value,
                    operator: entry.operator,
                    line: after + offset + 1,
                }),
                _ => None,
            })
    }

    /// The last value that the section itself gives to a key.
    #[must_use]
    pub fn own(&self, key: &str) -> Option<&'a str> {
        self.entries()
            .filter(|entry| entry.key.eq_ignore_ascii_case(key))
            .last()
            .map(|entry| entry.value)
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines
            .iter()
            .try_for_each(|line| f.write_str(&line.raw))
    }
}

/// Shows the outline only: a configuration file holds secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.sections().map(|section| section.name()).collect();
        f.debug_struct("Document")
            .field("lines", &self.lines.len())
            .field("sections", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "; phones\r\n[tpl](!,base)\r\na = 1\r\n\r\n[x](tpl)\r\nb => 2 ; two\r\njunk\r\n#include \"y.conf\"\r\n[x](+)\r\nc = 3";

    #[test]
    fn sections_and_entries_carry_their_line_numbers() {
        let document = Document::parse(SAMPLE);
        let found: Vec<_> = document
            .sections()
            .map(|s| (s.name(), s.line(), s.is_template(), s.is_addition()))
            .collect();
        assert_eq!(
            found,
            [
                ("tpl", 2, true, false),
                ("x", 5, false, false),
                ("x", 9, false, true)
            ]
        );
        let x = document.section("X").unwrap();
        let entries: Vec<_> = x.entries().map(|e| (e.key, e.value, e.line)).collect();
        assert_eq!(entries, [("b", "2", 6)]);
        assert_eq!(x.inherits().collect::<Vec<_>>(), ["tpl"]);
        assert_eq!(
            document
                .directives()
                .map(|(line, d)| (line, d.argument.as_str()))
                .collect::<Vec<_>>(),
            [(8, "y.conf")]
        );
    }

    #[test]
    fn problems_are_named_with_their_lines() {
        let document = Document::parse("[a]\nb = 1\n[c\n;-- open\n");
        let found: Vec<_> = document
            .problems()
            .iter()
            .map(|p| (p.line, p.what))
            .collect();
        assert_eq!(
            found,
            [
                (3, "no closing `]`"),
                (4, "a block comment that does not end")
            ]
        );
    }

    #[test]
    fn masking_reaches_entries_and_commented_entries() {
        let document = Document::parse("[a]\npassword = x;y\nname = n\n;password = old\n");
        assert_eq!(
            document.masked(|key| key == "password"),
            "[a]\npassword = ***;y\nname = n\n;password = ***\n"
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Document::parse("[a]\npassword = x9y\n"));
        assert!(!shown.contains("x9y"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_printed_as_it_was_read(text in "\\PC*|[\\[\\]()!+,;\\\\=>#\\-a \t\r\n\0]{0,80}") {
            prop_assert_eq!(Document::parse(&text).to_string(), text);
        }
    }
}
