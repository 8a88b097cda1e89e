//! The edits of a [`Document`]: set a key, add a section, remove a section.
//!
//! An edit moves whole lines or replaces the bytes of one value; it never reformats. Comments stay where they are.
//! Invariant: after an edit every line that the edit did not name means what it meant before. This is checked on the result,
//! by reading it again; where it does not hold (an entry in the middle of a block comment, say) the edit is refused.

mod entries;

use super::scan::{Kind, MAX_LINE};
use super::{Document, Line, replace};
use thiserror::Error;

/// Why an edit was refused. The document is then unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    #[error("`{0}` cannot be the name of a section")]
    BadName(String),
    #[error("`{0}` cannot be a key")]
    BadKey(String),
    /// The value itself is not repeated: it may be a secret.
    #[error("the value of `{key}` {why}")]
    BadValue { key: String, why: &'static str },
    #[error("there is no section `[{0}]`")]
    NoSection(String),
    #[error("there is a section `[{name}]` already, at line {line}")]
    SectionExists { name: String, line: usize },
    #[error("line {line} is no entry of that section")]
    NoEntry { line: usize },
    #[error("the edit would change what line {line} means")]
    Entangled { line: usize },
}

/// A line of the document to be: taken over from the old one, or new.
struct Draft {
    from: Option<usize>,
    raw: String,
}

impl Document {
    /// Gives `key` in `section` a value: in the last line that sets it, else in a new line behind the section's last entry.
    ///
    /// # Errors
    /// If the section does not exist, if the format cannot hold key or value, or if other lines would change their meaning.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), EditError> {
        check_key(key)?;
        check_value(key, value)?;
        let first = self
            .section(section)
            .ok_or_else(|| EditError::NoSection(section.to_owned()))?;
        let same = self
            .sections()
            .filter(|s| s.name().eq_ignore_ascii_case(section));
        let place = same
            .flat_map(|s| s.entries())
            .filter(|entry| entry.key.eq_ignore_ascii_case(key))
            .last()
            .map(|entry| entry.line - 1);
        let behind = first
            .entries()
            .last()
            .map_or(first.line() - 1, |entry| entry.line - 1);
        let mut drafts = self.drafts();
        match place.and_then(|at| Some((at, drafts.get_mut(at)?, self.lines.get(at)?))) {
            Some((_, draft, line)) => {
                *draft = Draft {
                    from: None,
                    raw: with_value(line, value),
                };
            }
            None => insert_lines(
                &mut drafts,
                behind + 1,
                &[format!("{key} = {}", escape(value))],
                self.line_end(),
            ),
        }
        let edited = self.checked(drafts)?;
        if edited.effective(section, key).as_deref() != Some(value) {
            return Err(EditError::Entangled {
                line: place.unwrap_or(behind) + 1,
            });
        }
        *self = edited;
        Ok(())
    }

    /// Adds a section at the end, with a blank line before it.
    ///
    /// # Errors
    /// If there is such a section, if the format cannot hold a name, key or value, or if the file ends inside a comment.
    pub fn append_section(
        &mut self,
        name: &str,
        templates: &[&str],
        entries: &[(&str, &str)],
    ) -> Result<(), EditError> {
        for word in templates.iter().chain([&name]) {
            check_name(word)?;
        }
        if let Some(there) = self
            .sections()
            .find(|s| s.name().eq_ignore_ascii_case(name))
        {
            return Err(EditError::SectionExists {
                name: there.name().to_owned(),
                line: there.line(),
            });
        }
        let options = if templates.is_empty() {
            String::new()
        } else {
            format!("({})", templates.join(","))
        };
        let mut new = Vec::new();
        if self
            .lines
            .last()
            .is_some_and(|line| line.kind != Kind::Blank)
        {
            new.push(String::new());
        }
        new.push(format!("[{name}]{options}"));
        for (key, value) in entries {
            check_key(key)?;
            check_value(key, value)?;
            new.push(format!("{key} = {}", escape(value)));
        }
        let mut drafts = self.drafts();
        let end = drafts.len();
        insert_lines(&mut drafts, end, &new, self.line_end());
        let edited = self.checked(drafts)?;
        let held = edited.section(name).is_some_and(|section| {
            section
                .entries()
                .map(|e| (e.key, e.value))
                .eq(entries.iter().copied())
                && section.inherits().eq(templates.iter().copied())
        });
        if !held {
            return Err(EditError::Entangled { line: end + 1 });
        }
        *self = edited;
        Ok(())
    }

    /// Removes a section and its additions: for each, the lines from its header to its last entry.
    ///
    /// What stands behind the last entry stays, for such comments mostly speak of the section that follows; so do
    /// `#include` lines. One of two blank lines that would meet is removed.
    ///
    /// # Errors
    /// If the section does not exist, or if other lines would change their meaning.
    pub fn remove_section(&mut self, name: &str) -> Result<(), EditError> {
        let mut gone = vec![false; self.lines.len()];
        for section in self
            .sections()
            .filter(|s| s.name().eq_ignore_ascii_case(name))
        {
            let header = section.line() - 1;
            let last = section
                .entries()
                .last()
                .map_or(header, |entry| entry.line - 1);
            let end = self.end_of_comment(last);
            for (at, flag) in gone.iter_mut().enumerate().take(end + 1).skip(header) {
                *flag = !matches!(self.kind(at), Some(Kind::Directive(_)));
            }
            let blank = |at: usize| matches!(self.kind(at), Some(Kind::Blank));
            let behind_blank = end + 1 >= self.lines.len() || blank(end + 1);
            if let Some(before) = header
                .checked_sub(1)
                .filter(|at| blank(*at) && behind_blank)
                && let Some(flag) = gone.get_mut(before)
            {
                *flag = true;
            }
        }
        if !gone.contains(&true) {
            return Err(EditError::NoSection(name.to_owned()));
        }
        let drafts = self
            .drafts()
            .into_iter()
            .zip(gone)
            .filter(|(_, gone)| !gone)
            .map(|(draft, _)| draft)
            .collect();
        *self = self.checked(drafts)?;
        Ok(())
    }

    fn kind(&self, at: usize) -> Option<&Kind> {
        self.lines.get(at).map(|line| &line.kind)
    }

    /// The line in which the block comments that line `at` leaves open are closed; `at` itself if it leaves none open.
    fn end_of_comment(&self, at: usize) -> usize {
        let mut depth = 0;
        for (index, line) in self.lines.iter().enumerate() {
            super::scan::classify(&line.raw, &mut depth);
            if index >= at && depth == 0 {
                return index;
            }
        }
        at
    }

    fn drafts(&self) -> Vec<Draft> {
        let lines = self.lines.iter().enumerate();
        lines
            .map(|(at, line)| Draft {
                from: Some(at),
                raw: line.raw.clone(),
            })
            .collect()
    }

    /// Reads the draft and compares each line that was taken over with what it was.
    fn checked(&self, drafts: Vec<Draft>) -> Result<Self, EditError> {
        let origins: Vec<Option<usize>> = drafts.iter().map(|draft| draft.from).collect();
        let edited = Self::from_lines(drafts.into_iter().map(|draft| draft.raw));
        for (line, origin) in edited.lines.iter().zip(origins) {
            let Some(at) = origin else { continue };
            if self.kind(at) != Some(&line.kind) {
                return Err(EditError::Entangled { line: at + 1 });
            }
        }
        match edited.open_comment {
            Some(line) if self.open_comment.is_none() => Err(EditError::Entangled { line }),
            _ => Ok(edited),
        }
    }
}

fn insert_lines(drafts: &mut Vec<Draft>, at: usize, new: &[String], line_end: &str) {
    if let Some(before) = at.checked_sub(1).and_then(|before| drafts.get_mut(before))
        && !before.raw.ends_with('\n')
    {
        before.raw.push_str(line_end);
    }
    let new: Vec<Draft> = new
        .iter()
        .map(|text| Draft {
            from: None,
            raw: format!("{text}{line_end}"),
        })
        .collect();
    let at = at.min(drafts.len());
    drafts.splice(at..at, new);
}

/// The line with another value. A blank is put where the new neighbours would otherwise be read as one token.
fn with_value(line: &Line, value: &str) -> String {
    let Kind::Entry(entry) = &line.kind else {
        return line.raw.clone();
    };
    let before = line.raw.get(..entry.value_at.start).unwrap_or_default();
    let after = line.raw.get(entry.value_at.end..).unwrap_or_default();
    let mut text = escape(value);
    if before.ends_with('=') && (text.starts_with('>') || entry.value.is_empty()) {
        text.insert(0, ' ');
    }
    if after.starts_with(';') {
        text.push(' ');
    }
    replace(&line.raw, entry.value_at.clone(), &text)
}

fn escape(value: &str) -> String {
    value.replace(';', "\\;")
}

fn has_edge_blank(text: &str) -> bool {
    let blank = |byte: Option<&u8>| byte.is_some_and(|b| *b < 33);
    blank(text.as_bytes().first()) || blank(text.as_bytes().last())
}

fn has_line_break(text: &str) -> bool {
    text.contains(['\n', '\r', '\0'])
}

fn check_name(name: &str) -> Result<(), EditError> {
    let bad = name.is_empty()
        || name.starts_with(['!', '+'])
        || name.contains(['[', ']', '(', ')', ',', ';', '\\'])
        || name.chars().any(char::is_control)
        || has_edge_blank(name);
    if bad {
        Err(EditError::BadName(name.escape_debug().to_string()))
    } else {
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), EditError> {
    let bad = key.is_empty()
        || key.starts_with(['[', '#', '\\'])
        || key.ends_with('+')
        || key.contains(['=', ';'])
        || has_line_break(key)
        || has_edge_blank(key);
    if bad {
        Err(EditError::BadKey(key.escape_debug().to_string()))
    } else {
        Ok(())
    }
}

fn check_value(key: &str, value: &str) -> Result<(), EditError> {
    let why = if has_line_break(value) {
        "holds a line break or a zero byte"
    } else if has_edge_blank(value) {
        "begins or ends with a blank"
    } else if key.len() + 2 * value.len() + 16 > MAX_LINE {
        "is too long for one line"
    } else {
        return Ok(());
    };
    Err(EditError::BadValue {
        key: key.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "; head\n[a](t)\nk=1;one\nk2 =>  2\n; of b\n\n[b]\nk = 3\n\n; of c\n[c]\nk = 4";

    fn edited(text: &str, edit: impl FnOnce(&mut Document) -> Result<(), EditError>) -> String {
        let mut document = Document::parse(text);
        edit(&mut document).unwrap();
        document.to_string()
    }

    #[test]
    fn a_value_is_replaced_in_its_place() {
        assert_eq!(
            edited(TEXT, |d| d.set("a", "k", "x\\")),
            TEXT.replace("k=1;one", "k=x\\ ;one")
        );
        assert_eq!(
            edited(TEXT, |d| d.set("a", "k2", "y;z")),
            TEXT.replace("=>  2", "=>  y\\;z")
        );
        assert_eq!(
            edited("[a]\nk=\n", |d| d.set("a", "k", ">x")),
            "[a]\nk= >x\n"
        );
    }

    #[test]
    fn a_missing_key_gets_a_line_behind_the_last_entry() {
        assert_eq!(
            edited(TEXT, |d| d.set("A", "new", "1")),
            TEXT.replace("=>  2\n", "=>  2\nnew = 1\n")
        );
        assert_eq!(
            edited("[a]\r\nk = 1", |d| d.set("a", "n", "2")),
            "[a]\r\nk = 1\r\nn = 2\r\n"
        );
        assert_eq!(edited("[a]", |d| d.set("a", "n", "2")), "[a]\nn = 2\n");
    }

    #[test]
    fn a_new_section_stands_at_the_end_after_a_blank_line() {
        let text = edited(TEXT, |d| {
            d.append_section("n", &["t", "u"], &[("x", "1;2")])
        });
        assert_eq!(text, format!("{TEXT}\n\n[n](t,u)\nx = 1\\;2\n"));
        assert_eq!(edited("", |d| d.append_section("n", &[], &[])), "[n]\n");
        assert_eq!(
            Document::parse(TEXT).append_section("B", &[], &[]),
            Err(EditError::SectionExists {
                name: "b".into(),
                line: 7
            })
        );
    }

    #[test]
    fn a_removed_section_leaves_the_comments_of_the_next_one() {
        assert_eq!(
            edited(TEXT, |d| d.remove_section("a")),
            "; head\n; of b\n\n[b]\nk = 3\n\n; of c\n[c]\nk = 4"
        );
        assert_eq!(
            edited(TEXT, |d| d.remove_section("b")),
            "; head\n[a](t)\nk=1;one\nk2 =>  2\n; of b\n\n; of c\n[c]\nk = 4"
        );
        assert_eq!(
            edited("[a]\nk = 1\n\n[b]\n#include x\nk = 2\n", |d| d
                .remove_section("b")),
            "[a]\nk = 1\n#include x\n"
        );
    }

    #[test]
    fn a_block_comment_that_begins_in_a_removed_section_goes_with_it() {
        let text = "[a]\nk = 1 ;-- long\n story --;\n[b]\nk = 2\n";
        assert_eq!(edited(text, |d| d.remove_section("a")), "[b]\nk = 2\n");
    }

    #[test]
    fn edits_that_would_be_read_otherwise_are_refused() {
        let open = "[a]\nk = 1\n;-- no end\n";
        assert!(matches!(
            Document::parse(open).append_section("b", &[], &[]),
            Err(EditError::Entangled { .. })
        ));
        let comment_first = ";-- x\n--; [a]\nk = 1\n[b]\nk = 2\n";
        assert!(matches!(
            Document::parse(comment_first).remove_section("a"),
            Err(EditError::Entangled { .. })
        ));
        for value in ["a\nb", "a\0", " a", "a\t"] {
            let mut document = Document::parse(TEXT);
            assert!(
                matches!(
                    document.set("a", "k", value),
                    Err(EditError::BadValue { .. })
                ),
                "{value:?}"
            );
            assert_eq!(document.to_string(), TEXT);
        }
    }

    fn conf_text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "\\[[a-c]\\](\\((!|\\+|[a-c])(,[a-c])?\\))?( ;.{0,5})?",
            "[k-m] ?(=|=>|\\+=) ?[a-z;\\\\>-]{0,6}( ;.{0,5})?",
            "(;--|--;|;)? ?[ -~]{0,8}",
            "#include [a-z]{1,3}",
            Just(String::new()),
        ];
        (
            proptest::collection::vec(line, 0..14),
            prop_oneof![Just("\n"), Just("\r\n")],
            any::<bool>(),
        )
            .prop_map(|(lines, end, last)| lines.join(end) + if last { end } else { "" })
    }

    /// Asterisk reads up to the line feed and takes the bytes below 33 off both ends: a carriage return at the end says
    /// nothing, and belongs to the line end.
    fn lines(text: &str) -> Vec<&str> {
        let lines = text.split_inclusive('\n');
        lines
            .map(|line| line.trim_end_matches(['\r', '\n']))
            .collect()
    }

    #[test]
    fn a_carriage_return_at_the_end_of_the_text_stays_in_its_line() {
        let after = edited("[a] ;\r", |d| d.append_section("z", &["a"], &[("k", "")]));
        assert_eq!(after, "[a] ;\r\n\n[z](a)\nk = \n");
        let again = Document::parse(&after);
        assert_eq!(again.effective("z", "k").as_deref(), Some(""));
        assert_eq!(lines(&after)[0], lines("[a] ;\r")[0]);
    }

    proptest! {
        #[test]
        fn an_edit_touches_no_other_line(text in conf_text(), value in "[ -~]{0,10}", pick in 0..3usize) {
            let mut document = Document::parse(&text);
            let before = document.clone();
            let done = match pick {
                0 => document.set("a", "k", &value),
                1 => document.append_section("z", &["a"], &[("k", &value)]),
                _ => document.remove_section("b"),
            };
            if done.is_err() {
                prop_assert_eq!(document.to_string(), text);
                return Ok(());
            }
            let after = document.to_string();
            let (old, new) = (lines(&text), lines(&after));
            match pick {
                0 => {
                    prop_assert_eq!(document.effective("a", "k"), Some(value));
                    let same = old.iter().filter(|line| new.contains(line)).count();
                    prop_assert!(old.len() - same <= 1);
                    prop_assert!(new.len() - old.len() <= 1);
                }
                1 => prop_assert!(new.starts_with(&old)),
                _ => {
                    prop_assert!(!document.lines.iter().any(|l| matches!(&l.kind, Kind::Header(h) if h.name.eq_ignore_ascii_case("b"))));
                    let kept: Vec<_> = before.sections().filter(|s| s.name() != "b").collect();
                    let left: Vec<_> = document.sections().collect();
                    prop_assert_eq!(kept.len(), left.len());
                    for (kept, left) in kept.iter().zip(&left) {
                        prop_assert_eq!(kept.name(), left.name());
                    }
                }
            }
            prop_assert_eq!(Document::parse(&after).to_string(), after);
        }

        #[test]
        fn adding_then_removing_leaves_the_text(text in conf_text()) {
            let mut document = Document::parse(&text);
            if document.append_section("z", &[], &[("k", "v")]).is_ok() {
                document.remove_section("z").unwrap();
                let after = document.to_string();
                prop_assert_eq!(after.trim_end(), text.trim_end());
            }
        }
    }
}
