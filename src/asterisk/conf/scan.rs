//! Reads one line of an Asterisk configuration file the way Asterisk reads it.
//!
//! It says what is visible once comments are gone, and what the visible text is. It never changes a line, and it knows
//! nothing of the lines around it but the depth of the block comment that is open.
//! Invariant: every visible byte knows its offset in the raw line, so an editor can replace exactly those bytes.
//!
//! The rules are those of `config_text_file_load` and `process_text_line` in Asterisk's main/config.c (read at commit
//! 0071bcf8b2): `;` begins a comment unless a backslash stands before it; `;--` (not `;---`) opens a block comment, which
//! nests; `--;` closes it; all bytes below 33 are trimmed at both ends; a line of 8191 bytes or more is skipped.

use std::ops::Range;

/// The depth of block comments after which Asterisk opens no further one (`MAX_NESTED_COMMENTS`).
const MAX_NESTED: i32 = 128;

/// The longest line that Asterisk reads, its line feed included (`buf[8192]` without the terminator, and one to spare).
pub(super) const MAX_LINE: usize = 8190;

/// What one line says, as Asterisk sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing but blanks.
    Blank,
    /// Nothing visible but a comment, or inside a block comment.
    Comment,
    /// `[name](options)`.
    Header(Header),
    /// `key = value`.
    Entry(EntryLine),
    /// `#include`, `#tryinclude`, `#exec` or something like them.
    Directive(Directive),
    /// A line that Asterisk warns of and steps over.
    Ignored(&'static str),
    /// A line for which Asterisk refuses the whole file.
    Fatal(&'static str),
}

/// A section's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub name: String,
    pub options: Vec<HeaderOption>,
}

/// One word between the parentheses of a header. Asterisk acts on them from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderOption {
    /// `!`: a template, no object of its own.
    Template,
    /// `+`, or `+filter`: adds to a section that exists.
    Append { templates_too: bool },
    /// The name of a section to inherit from.
    Inherit(String),
}

/// A `key = value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryLine {
    pub key: String,
    pub value: String,
    pub operator: Operator,
    /// Where the value stands in the raw line; empty, and just behind the operator, if there is no value.
    pub value_at: Range<usize>,
}

/// How a key is joined to its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Assign,
    /// `=>`; Asterisk treats it as `=` nearly everywhere.
    Object,
    /// `+=`: appends to the last value of that key.
    Append,
}

/// A `#` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The word behind `#`, as it is written.
    pub word: String,
    /// The argument without its quotes.
    pub argument: String,
}

/// The bytes of a line that are no comment, with their places in the raw line.
struct Visible {
    bytes: Vec<u8>,
    /// For each byte the raw bytes it came from: two for an escaped `;`.
    places: Vec<Range<usize>>,
}

impl Visible {
    fn text(&self, range: Range<usize>) -> String {
        let bytes = self.bytes.get(range).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Where the bytes of a range stand in the raw line; for an empty range, the place behind the byte before it.
    fn raw_range(&self, range: Range<usize>) -> Range<usize> {
        let first = self
            .places
            .get(range.start..range.end)
            .and_then(<[_]>::first);
        let last = range
            .end
            .checked_sub(1)
            .and_then(|at| self.places.get(at))
            .map_or(0, |place| place.end);
        first.map_or(last, |place| place.start)..last
    }

    fn find(&self, byte: u8, from: usize) -> Option<usize> {
        find(&self.bytes, byte, from)
    }

    /// The range without bytes below 33 at its ends, as `ast_strip` does it.
    fn strip(&self, range: Range<usize>) -> Range<usize> {
        let bytes = self.bytes.get(range.clone()).unwrap_or_default();
        let Some(first) = bytes.iter().position(|b| *b > 32) else {
            return range.start..range.start;
        };
        let last = bytes.iter().rposition(|b| *b > 32).unwrap_or(first);
        range.start + first..range.start + last + 1
    }
}

fn find(bytes: &[u8], wanted: u8, from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.iter().position(|b| *b == wanted).map(|at| from + at)
}

/// Classifies a raw line (with its line end, if it has one) and moves `depth` on to what holds behind the line.
pub(super) fn classify(raw: &str, depth: &mut i32) -> Kind {
    if raw.bytes().all(|b| b < 33 && b != 0) {
        return Kind::Blank;
    }
    if raw.len() > MAX_LINE {
        return Kind::Ignored("the line is longer than Asterisk reads");
    }
    match visible(raw, depth) {
        Some(visible) if !visible.bytes.is_empty() => interpret(&visible),
        _ => Kind::Comment,
    }
}

/// Follows Asterisk's loop byte for byte; a zero byte ends the text there as it does in C.
fn visible(raw: &str, depth: &mut i32) -> Option<Visible> {
    let mut buf: Vec<u8> = raw.bytes().take_while(|b| *b != 0).collect();
    let mut places: Vec<Range<usize>> = (0..buf.len()).map(|at| at..at + 1).collect();
    let byte = |buf: &[u8], at: usize| buf.get(at).copied().unwrap_or(0);
    let mut start = if *depth == 0 { Some(0) } else { None };
    let mut new = 0;
    while let Some(p) = find_before_zero(&buf, b';', new) {
        if p > new && byte(&buf, p - 1) == b'\\' {
            buf.remove(p - 1);
            let backslash = places.remove(p - 1);
            if let Some(place) = places.get_mut(p - 1) {
                place.start = backslash.start;
            }
            new = p;
        } else if byte(&buf, p + 1) == b'-'
            && byte(&buf, p + 2) == b'-'
            && byte(&buf, p + 3) != b'-'
        {
            if *depth < MAX_NESTED {
                cut(&mut buf, p);
                new = p + 3;
                *depth += 1;
            } else {
                new = p + 1;
            }
        } else if p >= new + 2 && byte(&buf, p - 1) == b'-' && byte(&buf, p - 2) == b'-' {
            // Asterisk counts a stray `--;` too, and is then below zero: all lines are comments until the next `;--`.
            *depth -= 1;
            new = p + 1;
            if *depth == 0 {
                match start {
                    Some(from) => {
                        let end = end_of_text(&buf, from);
                        if end < new {
                            buf.drain(end..new);
                            places.drain(end..new);
                            new = end;
                        }
                    }
                    None => start = Some(new),
                }
            }
        } else if *depth == 0 {
            cut(&mut buf, p);
            new = p;
        } else {
            new = p + 1;
        }
    }
    let start = start?;
    buf.truncate(end_of_text(&buf, start));
    let whole = Visible { bytes: buf, places };
    let range = whole.strip(start..whole.bytes.len());
    Some(Visible {
        bytes: whole.bytes.get(range.clone()).unwrap_or_default().to_vec(),
        places: whole.places.get(range).unwrap_or_default().to_vec(),
    })
}

fn cut(buf: &mut [u8], at: usize) {
    if let Some(byte) = buf.get_mut(at) {
        *byte = 0;
    }
}

fn find_before_zero(buf: &[u8], wanted: u8, from: usize) -> Option<usize> {
    let at = find(buf, wanted, from)?;
    (end_of_text(buf, from) > at).then_some(at)
}

fn end_of_text(buf: &[u8], from: usize) -> usize {
    find(buf, 0, from).unwrap_or(buf.len())
}

fn interpret(line: &Visible) -> Kind {
    match line.bytes.first() {
        Some(b'[') => header(line),
        Some(b'#') => directive(line),
        _ => entry(line),
    }
}

fn header(line: &Visible) -> Kind {
    let Some(close) = line.find(b']', 0) else {
        return Kind::Fatal("no closing `]`");
    };
    let name = line.text(1..close);
    let mut options = Vec::new();
    if line.bytes.get(close + 1) == Some(&b'(') {
        let Some(end) = line.find(b')', close + 2) else {
            return Kind::Fatal("no closing `)`");
        };
        for word in line.text(close + 2..end).split(',') {
            options.push(match word.strip_prefix('+') {
                _ if word == "!" => HeaderOption::Template,
                Some(filter) => HeaderOption::Append {
                    templates_too: filter.trim().eq_ignore_ascii_case("TEMPLATES=include"),
                },
                None => HeaderOption::Inherit(word.to_owned()),
            });
        }
    }
    Kind::Header(Header { name, options })
}

fn directive(line: &Visible) -> Kind {
    let text = line.text(1..line.bytes.len());
    let (word, rest) = text
        .split_once(|c: char| c <= ' ')
        .unwrap_or((text.as_str(), ""));
    let rest = rest.trim_matches(|c: char| c <= ' ');
    let argument = ["\"\"", "<>"]
        .iter()
        .find_map(|pair| {
            let (open, close) = pair.split_at(1);
            rest.strip_prefix(open)?.strip_suffix(close)
        })
        .unwrap_or(rest);
    Kind::Directive(Directive {
        word: word.to_owned(),
        argument: argument.to_owned(),
    })
}

fn entry(line: &Visible) -> Kind {
    let escaped = usize::from(line.bytes.first() == Some(&b'\\'));
    if escaped == 1 && line.bytes.get(1).is_none_or(|b| *b < 33) {
        return Kind::Fatal("a backslash with nothing behind it");
    }
    let Some(equals) = line.find(b'=', escaped * 2) else {
        return Kind::Ignored("no `=`");
    };
    let before = equals.checked_sub(1).filter(|at| *at >= escaped * 2);
    let (operator, key_end, value_start) =
        if before.and_then(|at| line.bytes.get(at)) == Some(&b'+') {
            (Operator::Append, equals - 1, equals + 1)
        } else if line.bytes.get(equals + 1) == Some(&b'>') {
            (Operator::Object, equals, equals + 2)
        } else {
            (Operator::Assign, equals, equals + 1)
        };
    let key = line.text(line.strip(escaped..key_end));
    if key.is_empty() {
        return Kind::Ignored("no name before `=`");
    }
    let value = line.strip(value_start..line.bytes.len());
    let value_at = line.raw_range(value.clone());
    Kind::Entry(EntryLine {
        key,
        value: line.text(value),
        operator,
        value_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(raw: &str) -> Kind {
        classify(raw, &mut 0)
    }

    fn value(raw: &str) -> String {
        match one(raw) {
            Kind::Entry(entry) => entry.value,
            other => panic!("{raw:?} is {other:?}"),
        }
    }

    #[test]
    fn a_semicolon_begins_a_comment_unless_it_is_escaped() {
        assert_eq!(value("a = b ; c\n"), "b");
        assert_eq!(value("a = b\\; c ; d\n"), "b; c");
        assert_eq!(value("a = b\\\\;c\n"), "b\\;c");
        assert_eq!(one("; a = b"), Kind::Comment);
    }

    #[test]
    fn block_comments_nest_and_may_stand_inside_a_line() {
        assert_eq!(value("a = 1;-- x ;-- y --; z --;2\r\n"), "12");
        let mut depth = 0;
        assert!(matches!(
            classify("a = 1 ;--\n", &mut depth),
            Kind::Entry(_)
        ));
        assert_eq!(depth, 1);
        assert_eq!(classify("[b]\n", &mut depth), Kind::Comment);
        assert!(matches!(classify("x --; c = 2\n", &mut depth), Kind::Entry(e) if e.key == "c"));
        assert_eq!(depth, 0);
    }

    #[test]
    fn a_ruler_of_dashes_is_a_plain_comment() {
        let mut depth = 0;
        assert_eq!(
            classify(";------- phones -------\n", &mut depth),
            Kind::Comment
        );
        assert_eq!(depth, 0);
    }

    #[test]
    fn a_stray_end_of_a_block_comment_swallows_what_follows() {
        let mut depth = 0;
        assert!(matches!(
            classify("a = b --; c\n", &mut depth),
            Kind::Entry(_)
        ));
        assert_eq!(depth, -1);
        assert_eq!(classify("d = e\n", &mut depth), Kind::Comment);
    }

    #[test]
    fn the_span_of_a_value_is_its_bytes_in_the_raw_line() {
        for (raw, wanted) in [
            ("a = b c ; d\n", "b c"),
            ("a=>b\r\n", "b"),
            ("a += b", "b"),
            ("a =\n", ""),
            ("\\#a = \\;b", "\\;b"),
        ] {
            let Kind::Entry(entry) = one(raw) else {
                panic!("{raw:?}")
            };
            assert_eq!(raw.get(entry.value_at), Some(wanted), "{raw:?}");
        }
    }

    #[test]
    fn headers_name_their_templates() {
        let Kind::Header(header) = one("[a b](!,tpl,+)\n") else {
            panic!()
        };
        assert_eq!(header.name, "a b");
        assert_eq!(
            header.options,
            [
                HeaderOption::Template,
                HeaderOption::Inherit("tpl".into()),
                HeaderOption::Append {
                    templates_too: false
                }
            ]
        );
        assert_eq!(one("[a"), Kind::Fatal("no closing `]`"));
        assert_eq!(one("[a](b"), Kind::Fatal("no closing `)`"));
    }

    #[test]
    fn directives_lose_their_quotes() {
        for raw in [
            "#include \"a.conf\"\n",
            "#include <a.conf>",
            "#include a.conf ; why",
        ] {
            assert_eq!(
                one(raw),
                Kind::Directive(Directive {
                    word: "include".into(),
                    argument: "a.conf".into()
                })
            );
        }
    }
}
