//! The line syntax of systemd unit files (systemd.syntax(7)): sections, assignments, comments and
//! continuation lines.
//!
//! Knows nothing of what a directive means. Invariant: every entry carries the line on which its key stands.

/// One `Key=Value`, with the 1-based line of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// One `[Section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub line: usize,
    pub entries: Vec<Entry>,
}

/// A line that is no unit syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct SyntaxError {
    pub line: usize,
    pub text: String,
}

/// Splits `text` into sections. All bad lines are reported, not only the first.
pub fn parse(text: &str) -> Result<Vec<Section>, Vec<SyntaxError>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut errors = Vec::new();
    for (line, logical) in logical_lines(text) {
        let trimmed = logical.trim();
        if let Some(rest) = trimmed.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(name) if !name.is_empty() && !name.contains(['[', ']']) => {
                    sections.push(Section {
                        name: name.to_owned(),
                        line,
                        entries: Vec::new(),
                    })
                }
                _ => errors.push(SyntaxError {
                    line,
                    text: format!("`{trimmed}` is not a section header such as `[Service]`"),
                }),
            }
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            errors.push(SyntaxError {
                line,
                text: format!("`{trimmed}` is neither a section nor `Key=Value`"),
            });
            continue;
        };
        let key = key.trim_end();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            errors.push(SyntaxError {
                line,
                text: format!("`{key}` is not a directive name"),
            });
            continue;
        }
        match sections.last_mut() {
            Some(section) => section.entries.push(Entry {
                key: key.to_owned(),
                value: value.trim_start().to_owned(),
                line,
            }),
            None => errors.push(SyntaxError {
                line,
                text: format!("`{key}=` stands before the first section"),
            }),
        }
    }
    if errors.is_empty() {
        Ok(sections)
    } else {
        Err(errors)
    }
}

/// Joins continuation lines (a trailing backslash becomes a space) and drops blanks and comments.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let is_comment = raw.trim_start().starts_with(['#', ';']);
        if is_comment || (pending.is_none() && raw.trim().is_empty()) {
            // A comment inside a continued line is skipped and does not end it.
            continue;
        }
        let (number, mut joined) = pending.take().unwrap_or((index + 1, String::new()));
        match raw.strip_suffix('\\') {
            Some(head) => {
                joined.push_str(head);
                joined.push(' ');
                pending = Some((number, joined));
            }
            None => {
                joined.push_str(raw);
                lines.push((number, joined));
            }
        }
    }
    lines.extend(pending);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_entries_and_lines_are_kept() {
        let got = parse(
            "# head\n[Unit]\nAfter=a.service\n\n[Service]\nExecStart = /bin/a \\\n# no\n  -b\n",
        )
        .unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!(got[1].entries[0].line, 6);
        assert_eq!(got[1].entries[0].key, "ExecStart");
        assert_eq!(got[1].entries[0].value, "/bin/a    -b");
    }

    #[test]
    fn every_bad_line_is_reported() {
        let errors = parse("Key=1\n[Unit\nnonsense\n[Service]\nA B=1\n").unwrap_err();
        let lines: Vec<usize> = errors.iter().map(|e| e.line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_errs_without_panic(text in "\\PC*(\n\\PC*){0,8}") {
            let _ = parse(&text);
        }
    }
}
