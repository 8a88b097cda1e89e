//! The level in a line that Asterisk printed for its console: `[Nov 22 03:41:43] WARNING[123][C-00000001]: ...`.
//!
//! Volumes of long standing have a `console` channel in logger.conf, and without a terminal its lines go to
//! standard output. Pure. Invariant: a line that is not of this form is left as it is.

use super::severity::{DEBUG, ERROR, INFO, NOTICE, WARNING};

/// The longest date in front, with its brackets; `dateformat` in logger.conf may make it of any form.
const LONGEST_DATE: usize = 48;

/// Severities as Asterisk's own syslog channel gives them (`main/syslog.c`, `logger_level_to_syslog_map`);
/// SECURITY has none there: it is what a banner waits for, thus a notice.
const LEVELS: &[(&str, u8)] = &[
    ("ERROR", ERROR),
    ("WARNING", WARNING),
    ("NOTICE", NOTICE),
    ("SECURITY", NOTICE),
    ("FAX", INFO),
    ("VERBOSE", DEBUG),
    ("DTMF", DEBUG),
    ("DEBUG", DEBUG),
    ("TRACE", DEBUG),
];

/// The severity and the text without its date; `None` for every other line.
pub fn read(line: &str) -> Option<(u8, &str)> {
    let rest = match line.strip_prefix('[') {
        Some(dated) => {
            let (date, rest) = dated.split_once("] ")?;
            if date.len() > LONGEST_DATE || !date.contains(|c: char| c.is_ascii_digit()) {
                return None;
            }
            rest
        }
        None => line,
    };
    let (word, number) = rest.split_once('[')?;
    let (_, severity) = LEVELS.iter().find(|(name, _)| *name == word)?;
    let (digits, _) = number.split_once(']')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((*severity, rest))
}

/// Without the colours that Asterisk puts into console lines when TERM says that it may.
pub fn without_colours(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains('\x1b') {
        return line.into();
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        out.push_str(before);
        let end = after.strip_prefix('[').and_then(|codes| {
            let end = codes.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            codes.get(end..)?.strip_prefix('m')
        });
        match end {
            Some(tail) => rest = tail,
            None => {
                out.push('\x1b');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_lines_have_their_own_level() {
        let text = "WARNING[123][C-00000001]: chan.c:12 dial: nobody";
        assert_eq!(
            read("[Nov 22 03:41:43] WARNING[123][C-00000001]: chan.c:12 dial: nobody"),
            Some((WARNING, text))
        );
        assert_eq!(read(text), Some((WARNING, text)));
        assert_eq!(
            read("[2026-11-22 03:41:43.123] ERROR[7]: a: b").map(|it| it.0),
            Some(ERROR)
        );
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            "[",
            "[]",
            "[x] WARNING[1]: the date has no digit",
            "WARNING: no number",
            "WARNING[]: no number",
            "WARNING[1a]: no number",
            "[1] something else[1]: x",
            "    -- Executing [100@phones:1] Dial(\"x\")",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn colours_go_and_other_escapes_stay() {
        assert_eq!(
            without_colours("\x1b[1;31mERROR\x1b[0m[7]: x"),
            "ERROR[7]: x"
        );
        assert_eq!(without_colours("a\x1b[2Jb\x1b"), "a\x1b[2Jb\x1b");
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(line: String) {
            let _ = read(&line);
            let _ = without_colours(&line);
        }
    }
}
