//! Log records: parsing what arrives, the level filter, folding of repeats, and the printed line.
//!
//! Pure. Hostile input is expected: control characters never reach the output. Invariant: one record
//! becomes exactly one line.

use crate::config::LogFormat;

/// Severities of RFC 5424, section 6.2.1; the smaller, the worse.
pub const EMERGENCY: u8 = 0;
pub const ERROR: u8 = 3;
pub const WARNING: u8 = 4;
pub const NOTICE: u8 = 5;
pub const INFO: u8 = 6;
pub const DEBUG: u8 = 7;

const NAMES: [&str; 8] = [
    "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug",
];

/// The longest text of one line, in bytes; the rest is cut and marked.
const LONGEST: usize = 8 * 1024;

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub service: String,
    pub severity: u8,
    pub text: String,
}

/// Reads a datagram of /dev/log: `<PRI>` and then, in the form of RFC 3164, an optional date and a tag.
pub fn parse_datagram(bytes: &[u8]) -> Record {
    let raw = String::from_utf8_lossy(bytes);
    let (severity, rest) = take_priority(raw.trim_end_matches(['\0', '\n']));
    let rest = skip_date(rest);
    let (service, text) = match rest.split_once(": ") {
        Some((tag, text)) if is_tag(tag) => (tag.split('[').next().unwrap_or(tag), text),
        _ => ("syslog", rest),
    };
    Record {
        service: service.to_owned(),
        severity: severity.unwrap_or(NOTICE),
        text: text.to_owned(),
    }
}

/// Reads a line that a service printed; `<N>` in front sets the severity (sd-daemon(3)).
pub fn parse_line(service: &str, default_severity: u8, line: &[u8]) -> Record {
    let raw = String::from_utf8_lossy(line);
    let (severity, rest) = take_priority(raw.trim_end_matches(['\r', '\n']));
    Record {
        service: service.to_owned(),
        severity: severity.unwrap_or(default_severity),
        text: rest.to_owned(),
    }
}

/// Splits `<N>` off; the facility part of N is dropped.
fn take_priority(text: &str) -> (Option<u8>, &str) {
    let parsed = text
        .strip_prefix('<')
        .and_then(|rest| rest.split_once('>'))
        .filter(|(digits, _)| (1..=3).contains(&digits.len()))
        .and_then(|(digits, rest)| Some((digits.parse::<u16>().ok()?, rest)));
    match parsed {
        Some((number, rest)) if number < 192 => (u8::try_from(number % 8).ok(), rest),
        _ => (None, text),
    }
}

/// Skips `Mmm dd hh:mm:ss ` as written by syslog(3).
fn skip_date(text: &str) -> &str {
    let Some((date, rest)) = text.split_at_checked(16) else {
        return text;
    };
    let shape = |(index, c): (usize, char)| match index {
        0 => c.is_ascii_uppercase(),
        1 | 2 => c.is_ascii_lowercase(),
        3 | 6 | 15 => c == ' ',
        9 | 12 => c == ':',
        4 => c == ' ' || c.is_ascii_digit(),
        _ => c.is_ascii_digit(),
    };
    if date.chars().enumerate().all(shape) {
        rest
    } else {
        text
    }
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= 64
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '[' | ']'))
}

/// Whether a record is shown at `SYSLOG_LEVEL`: only severities below the level are.
pub fn is_shown(record: &Record, level: u8) -> bool {
    record.severity < level
}

/// The printed line, without its end.
pub fn render(record: &Record, format: LogFormat, time: &str) -> String {
    let level = NAMES
        .get(usize::from(record.severity))
        .copied()
        .unwrap_or("debug");
    match format {
        LogFormat::Text => format!(
            "{level} {}: {}",
            clean(&record.service),
            clean(&record.text)
        ),
        LogFormat::Json => serde_json::json!({
            "time": time,
            "service": clean(&record.service),
            "level": level,
            "message": clean(&record.text),
        })
        .to_string(),
    }
}

/// Control characters become `\xNN`, so that no text can forge a line or move a terminal.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if out.len() >= LONGEST {
            out.push_str(" [cut]");
            break;
        }
        if c.is_control() && c != '\t' {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Folds a record that repeats the one before it.
#[derive(Debug, Default)]
pub struct Folder {
    last: Option<Record>,
    repeats: u64,
}

impl Folder {
    /// What is to be printed for `record`: nothing while it repeats.
    pub fn take(&mut self, record: Record) -> Vec<Record> {
        if self.last.as_ref() == Some(&record) {
            self.repeats += 1;
            return vec![];
        }
        let mut out = self.flush();
        self.last = Some(record.clone());
        out.push(record);
        out
    }

    /// Tells of repeats that were held back. Called on silence and at the end.
    pub fn flush(&mut self) -> Vec<Record> {
        let repeats = std::mem::take(&mut self.repeats);
        match &self.last {
            Some(last) if repeats > 0 => {
                let text = format!(
                    "the last line came {repeats} more time{}",
                    if repeats == 1 { "" } else { "s" }
                );
                vec![Record {
                    service: last.service.clone(),
                    severity: last.severity,
                    text,
                }]
            }
            _ => vec![],
        }
    }

    pub fn holds_repeats(&self) -> bool {
        self.repeats > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_syslog_are_understood() {
        let r = parse_datagram(b"<131>Nov 22 02:03:04 asterisk[17]: ERROR[17]: a.c: it failed\n");
        assert_eq!(
            r,
            Record {
                service: "asterisk".into(),
                severity: ERROR,
                text: "ERROR[17]: a.c: it failed".into()
            }
        );
        let r = parse_datagram(b"no priority, no tag");
        assert_eq!((r.service.as_str(), r.severity), ("syslog", NOTICE));
        assert_eq!(parse_datagram(b"<999>x: y").severity, NOTICE);
    }

    #[test]
    fn the_level_shows_what_is_worse_than_it() {
        let shown = |severity, level| {
            is_shown(
                &Record {
                    service: "a".into(),
                    severity,
                    text: String::new(),
                },
                level,
            )
        };
        assert!(shown(ERROR, 4));
        assert!(!shown(WARNING, 4));
        assert!(shown(DEBUG, 8));
        assert!(!shown(EMERGENCY, 0));
    }

    #[test]
    fn a_service_cannot_forge_a_line_or_a_colour() {
        let r = parse_line("web", INFO, b"<3>one\nerror other: \x1b[31mtwo");
        assert_eq!(
            render(&r, LogFormat::Text, ""),
            "error web: one\\x0aerror other: \\x1b[31mtwo"
        );
    }

    #[test]
    fn json_is_one_object() {
        let r = parse_line("web", INFO, b"say \"hi\"");
        let line = render(&r, LogFormat::Json, "2026-01-01T00:00:00.000Z");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "say \"hi\"");
        assert_eq!(value["level"], "info");
    }

    #[test]
    fn repeats_are_folded_and_counted() {
        let mut folder = Folder::default();
        let r = parse_line("a", INFO, b"x");
        assert_eq!(folder.take(r.clone()).len(), 1);
        assert_eq!(folder.take(r.clone()), []);
        assert_eq!(folder.take(r.clone()), []);
        let out = folder.take(parse_line("a", INFO, b"y"));
        assert_eq!(out[0].text, "the last line came 2 more times");
        assert_eq!(out[1].text, "y");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_one_line(bytes: Vec<u8>) {
            for record in [parse_datagram(&bytes), parse_line("s", INFO, &bytes)] {
                for format in [LogFormat::Text, LogFormat::Json] {
                    proptest::prop_assert!(!render(&record, format, "").contains('\n'));
                }
            }
        }
    }
}
