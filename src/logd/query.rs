//! The words of the log service's query socket: one JSON request line, then JSON lines.
//!
//! Pure. `{"command":"logs","service":"asterisk","level":"warning","lines":100,"follow":true}` is answered by a `start`,
//! then a `line` for each line, a `lost` wherever lines are missing, and the end of the connection (never,
//! when following). `{"command":"stats"}` is answered by one `stats`. Invariant: a field that is
//! left out means "all".

use serde::{Deserialize, Serialize};

use super::syslog::{self, Record};

/// The version of the shapes below; it grows when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// How many lines are sent when the request does not say.
pub const DEFAULT_LINES: usize = 100;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    Logs(Selection),
    Stats,
}

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A severity by name or number: it and what is worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<usize>,
    #[serde(default)]
    pub follow: bool,
    /// Goes on behind this line instead of counting back from the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
}

/// A line of one life of the log service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// From the `start` message.
    pub start: i64,
    pub sequence: u64,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// Comes first; `start` names this life of the log service: sequence numbers are its own.
    Start {
        schema: u32,
        start: i64,
    },
    Line(Line),
    /// So many lines of all services fell out of memory before this reader took them.
    Lost {
        lines: u64,
    },
    Stats(Stats),
    Refused {
        reason: String,
    },
}

/// One line that a service said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sequence: u64,
    /// RFC 3339, in UTC, with milliseconds.
    pub time: String,
    pub service: String,
    pub level: String,
    pub message: String,
}

/// What the log service has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub schema: u32,
    /// Milliseconds since 1970.
    pub start: i64,
    pub sources: Vec<SourceStats>,
    /// Bytes that wait for the container's output.
    pub waiting_bytes: u64,
    /// Lines that the container's output lost, of all sources.
    pub lost: u64,
    pub ring_lines: u64,
    pub ring_bytes: u64,
    /// Lines that could not be written to the log file; absent without one.
    pub file_lost: Option<u64>,
    pub readers: u64,
    /// Lines that slow readers of this socket missed.
    pub readers_lost: u64,
}

/// One service's pipes, or /dev/log as `syslog`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStats {
    pub service: String,
    pub lines: u64,
    pub bytes: u64,
    /// Lines that found no room on the way to the container's output.
    pub lost: u64,
}

/// A selection that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    service: Option<String>,
    /// The least severe that is wanted.
    severity: u8,
}

impl Filter {
    pub fn new(selection: &Selection) -> Result<Filter, String> {
        let severity = match &selection.level {
            None => syslog::DEBUG,
            Some(name) => syslog::severity(name).ok_or_else(|| {
                format!(
                    "`{name}` is not a level\nhint: there are {}",
                    syslog::NAMES.join(", ")
                )
            })?,
        };
        Ok(Filter {
            service: selection.service.clone(),
            severity,
        })
    }

    pub fn accepts(&self, record: &Record) -> bool {
        record.severity <= self.severity
            && self
                .service
                .as_ref()
                .is_none_or(|service| *service == record.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_and_what_is_left_out_means_all() {
        let request: Request = serde_json::from_str(r#"{"command":"logs"}"#).unwrap();
        assert_eq!(request, Request::Logs(Selection::default()));
        let request: Request =
            serde_json::from_str(r#"{"command":"logs","service":"a","lines":3,"follow":true}"#)
                .unwrap();
        let Request::Logs(selection) = request else {
            panic!()
        };
        assert_eq!((selection.lines, selection.follow), (Some(3), true));
        assert!(serde_json::from_str::<Request>(r#"{"command":"explode"}"#).is_err());
    }

    #[test]
    fn a_level_shows_itself_and_what_is_worse() {
        let accepts = |level: &str, severity| {
            let selection = Selection {
                level: Some(level.into()),
                ..Selection::default()
            };
            let record = Record {
                service: "a".into(),
                severity,
                text: String::new(),
            };
            Filter::new(&selection).unwrap().accepts(&record)
        };
        assert!(accepts("warning", syslog::WARNING) && accepts("warn", syslog::ERROR));
        assert!(!accepts("warning", syslog::NOTICE));
        assert!(accepts("7", syslog::DEBUG));
        assert!(
            Filter::new(&Selection {
                level: Some("loud".into()),
                ..Selection::default()
            })
            .is_err()
        );
    }
}
