//! What the preparing child tells PID 1 through a pipe, a line for each thing: both ends of it.
//!
//! Pure. The child is our own program, yet a line that is not understood is passed on as text, not dropped.

use std::fmt;

use crate::logd::syslog::ERROR;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// What /srv is, as `status` shows it.
    Volume(String),
    /// The volume got files: what was read of it before may no longer hold.
    Seeded,
    /// Everything is prepared; only the child's own end is still to come.
    Done,
    /// A line for the log; the severity is syslog's (RFC 5424, 0 to 7).
    Say { severity: u8, text: String },
}

impl fmt::Display for Line {
    /// `volume TEXT`, `seeded`, `done`, or `<SEVERITY>TEXT` as in syslog, without the line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Volume(text) => write!(f, "volume {text}"),
            Line::Seeded => f.write_str("seeded"),
            Line::Done => f.write_str("done"),
            Line::Say { severity, text } => write!(f, "<{severity}>{text}"),
        }
    }
}

impl Line {
    /// The lines of a text that may have several.
    pub fn all(severity: u8, text: &str) -> impl Iterator<Item = Line> {
        text.lines().map(move |line| Line::Say {
            severity,
            text: line.to_owned(),
        })
    }

    fn parse(line: &str) -> Line {
        if let Some(text) = line.strip_prefix("volume ") {
            return Line::Volume(text.to_owned());
        }
        match line {
            "seeded" => return Line::Seeded,
            "done" => return Line::Done,
            _ => {}
        }
        let said = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        match said.and_then(|(digit, text)| Some((digit.parse().ok()?, text))) {
            Some((severity @ 0..=7, text)) => Line::Say {
                severity,
                text: text.to_owned(),
            },
            _ => Line::Say {
                severity: ERROR,
                text: line.to_owned(),
            },
        }
    }
}

/// Puts lines together from the pieces that come out of the pipe.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

/// The most of a line without an end that is kept.
const LONGEST: usize = 16 * 1024;

impl Lines {
    /// Takes a piece, gives the lines that are whole now.
    pub fn take(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut out = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(part);
            if self.0.ends_with(b"\n") || self.0.len() > LONGEST {
                out.extend(self.rest());
            }
        }
        out
    }

    /// What is left when the pipe has ended.
    pub fn rest(&mut self) -> Option<Line> {
        let bytes = std::mem::take(&mut self.0);
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches('\n');
        (!line.is_empty()).then(|| Line::parse(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let said: Vec<Line> = Line::all(4, "no room\nhint: make some").collect();
        let volume = Line::Volume("named volume `a b`".into());
        let expected = [vec![volume, Line::Seeded], said, vec![Line::Done]].concat();
        let mut text = String::new();
        for line in &expected {
            text += &format!("{line}\n");
        }
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let got: Vec<Line> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|c| lines.take(c))
                .collect();
            assert_eq!(got, expected, "in pieces of {size}");
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_still_told() {
        for odd in ["<9>x", "<>x", "<4", "thread panicked", "volume"] {
            let mut lines = Lines::default();
            assert_eq!(lines.take(odd.as_bytes()), []);
            let text = odd.to_owned();
            assert_eq!(
                lines.rest(),
                Some(Line::Say {
                    severity: ERROR,
                    text
                })
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_grows_without_end(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut lines = Lines::default();
            for piece in pieces {
                lines.take(&piece);
                prop_assert!(lines.0.len() <= LONGEST + 1);
            }
        }

        #[test]
        fn a_line_that_is_printed_is_read_back(severity in 0..8u8, text in "[^\n\r]{0,40}") {
            let line = Line::Say { severity, text };
            prop_assert_eq!(Line::parse(&line.to_string()), line);
        }
    }
}
