//! Log records: parsing what arrives, the level filter, and the printed line.
//!
//! Pure. Hostile input is expected: control characters never reach the output. Invariant: one record
//! becomes exactly one line.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::asterisk_line;
use super::lines::{CUT, LONGEST_LINE};
pub use super::severity::{DEBUG, EMERGENCY, ERROR, INFO, NOTICE, WARNING};
use crate::config::LogFormat;

/// The service name under which PID 1 itself speaks.
pub const OWN_NAME: &str = "switchhook";

/// Their names, from the worst.
pub const NAMES: [&str; 8] = [
    "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug",
];

/// Names that syslog.conf(5) and Asterisk use beside ours.
const OTHER_NAMES: &[(&str, u8)] = &[
    ("emergency", EMERGENCY),
    ("panic", EMERGENCY),
    ("critical", 2),
    ("err", ERROR),
    ("warn", WARNING),
    ("information", INFO),
];

/// What becomes of a time that the speaker itself put in front (`-t` of SYSLOG_OPTIONS strips it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTime {
    Strip,
    /// It stays where it is, as part of the message.
    Keep,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub service: String,
    pub severity: u8,
    pub text: String,
}

impl Record {
    fn new(service: &str, severity: u8, text: &str) -> Record {
        Record {
            service: service.to_owned(),
            severity,
            text: cut(text),
        }
    }
}

/// Reads a datagram of /dev/log: `<PRI>` and then, in the form of RFC 3164, an optional date and a tag.
pub fn parse_datagram(bytes: &[u8], time: ClientTime) -> Record {
    let raw = String::from_utf8_lossy(bytes);
    let (severity, rest) = take_priority(raw.trim_end_matches(['\0', '\n']));
    let severity = severity.unwrap_or(NOTICE);
    let (date, rest) = split_date(rest);
    // Whoever can write to /dev/log must not speak with the voice of PID 1, whose notices are always shown.
    let tagged = rest
        .split_once(": ")
        .filter(|(tag, _)| is_tag(tag) && name_of(tag) != OWN_NAME);
    let (service, text) = match tagged {
        Some((tag, text)) => (name_of(tag), text),
        None => ("syslog", rest),
    };
    match time {
        ClientTime::Strip => Record::new(service, severity, text),
        ClientTime::Keep => Record::new(service, severity, &format!("{date}{text}")),
    }
}

/// Reads a line that a service printed; `<N>` in front sets the severity (sd-daemon(3)), and so does the level in
/// one that Asterisk printed for its console.
pub fn parse_line(service: &str, default_severity: u8, line: &[u8]) -> Record {
    read_line(service, default_severity, line, ClientTime::Strip)
}

/// `parse_line` with a choice about the speaker's own time.
pub fn read_line(service: &str, default_severity: u8, line: &[u8], time: ClientTime) -> Record {
    let raw = String::from_utf8_lossy(line);
    let (severity, rest) = take_priority(raw.trim_end_matches(['\r', '\n']));
    if let Some(severity) = severity {
        return Record::new(service, severity, rest);
    }
    let plain = asterisk_line::without_colours(rest);
    match (asterisk_line::read(&plain), time) {
        (Some((severity, text)), ClientTime::Strip) => Record::new(service, severity, text),
        (Some((severity, _)), ClientTime::Keep) => Record::new(service, severity, &plain),
        (None, _) => Record::new(service, default_severity, rest),
    }
}

/// The severity of a name or a number from 0 to 7.
pub fn severity(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    let known = NAMES.iter().position(|known| *known == name);
    known
        .and_then(|index| u8::try_from(index).ok())
        .or_else(|| name.parse().ok().filter(|number| *number <= DEBUG))
        .or_else(|| {
            let (_, severity) = OTHER_NAMES.iter().find(|(other, _)| *other == name)?;
            Some(*severity)
        })
}

/// The name of a severity.
pub fn level_name(severity: u8) -> &'static str {
    NAMES.get(usize::from(severity)).copied().unwrap_or("debug")
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

/// Splits off `Mmm dd hh:mm:ss ` as written by syslog(3).
fn split_date(text: &str) -> (&str, &str) {
    let Some((date, rest)) = text.split_at_checked(16) else {
        return ("", text);
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
        (date, rest)
    } else {
        ("", text)
    }
}

/// The tag without its `[pid]`.
fn name_of(tag: &str) -> &str {
    tag.split('[').next().unwrap_or(tag)
}

/// At most `LONGEST_LINE` bytes and a mark.
fn cut(text: &str) -> String {
    // One that was cut as bytes has its mark already.
    if text.len() <= LONGEST_LINE + CUT.len() {
        return text.to_owned();
    }
    let end = (0..=LONGEST_LINE)
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    let (kept, _) = text.split_at(end);
    format!("{kept}{CUT}")
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
    match format {
        LogFormat::Text => render_text(record, ""),
        LogFormat::Json => render_json(record, time, None),
    }
}

/// `PREFIX LEVEL SERVICE: TEXT`; the prefix comes with its own space.
pub fn render_text(record: &Record, prefix: &str) -> String {
    format!(
        "{prefix}{} {}: {}",
        level_name(record.severity),
        clean(&record.service),
        clean(&record.text)
    )
}

/// One JSON object.
pub fn render_json(record: &Record, time: &str, host: Option<&str>) -> String {
    let mut object = serde_json::json!({
        "time": time,
        "service": clean(&record.service),
        "level": level_name(record.severity),
        "message": clean(&record.text),
    });
    if let (Some(host), Some(fields)) = (host, object.as_object_mut()) {
        fields.insert("host".to_owned(), host.into());
    }
    object.to_string()
}

/// Control characters become `\xNN`, so that no text can forge a line or move a terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || c == '\t';
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_syslog_are_understood() {
        let r = parse_datagram(
            b"<131>Nov 22 02:03:04 asterisk[17]: ERROR[17]: a.c: it failed\n",
            ClientTime::Strip,
        );
        assert_eq!(
            r,
            Record {
                service: "asterisk".into(),
                severity: ERROR,
                text: "ERROR[17]: a.c: it failed".into()
            }
        );
        let r = parse_datagram(b"no priority, no tag", ClientTime::Strip);
        assert_eq!((r.service.as_str(), r.severity), ("syslog", NOTICE));
        assert_eq!(
            parse_datagram(b"<999>x: y", ClientTime::Strip).severity,
            NOTICE
        );
    }

    #[test]
    fn a_time_of_the_speaker_goes_or_stays_with_the_message() {
        let datagram = b"<14>Nov 22 02:03:04 web[1]: hello";
        let keep = parse_datagram(datagram, ClientTime::Keep);
        assert_eq!(keep.text, "Nov 22 02:03:04 hello");
        assert_eq!(keep.service, "web");
        let line = b"[Nov 22 02:03:04] WARNING[9]: a.c: x";
        assert_eq!(
            parse_line("pbx", INFO, line),
            Record::new("pbx", WARNING, "WARNING[9]: a.c: x")
        );
        let keep = read_line("pbx", INFO, line, ClientTime::Keep);
        assert_eq!(keep.text.as_bytes(), line);
        assert_eq!(keep.severity, WARNING);
    }

    #[test]
    fn nobody_speaks_with_the_voice_of_pid_1() {
        let r = parse_datagram(b"<13>switchhook[1]: ready", ClientTime::Strip);
        assert_eq!(
            (r.service.as_str(), r.text.as_str()),
            ("syslog", "switchhook[1]: ready")
        );
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

    proptest::proptest! {
        #[test]
        fn any_bytes_make_one_line(bytes: Vec<u8>) {
            for record in [parse_datagram(&bytes, ClientTime::Strip), parse_line("s", INFO, &bytes)] {
                for format in [LogFormat::Text, LogFormat::Json] {
                    proptest::prop_assert!(!render(&record, format, "").contains('\n'));
                }
            }
        }
    }
}
