//! How a line looks on the container's output and in the log file, and the words for lost lines.
//!
//! Pure. Invariant: one record becomes exactly one line, with its end.

use super::syslog::{OWN_NAME, Record, WARNING, render_json, render_text};
use crate::config::LogFormat;

/// The chosen form.
#[derive(Debug, Clone)]
pub struct Style {
    pub format: LogFormat,
    /// Set when text lines bear time and host, as without `-S`.
    pub host: Option<String>,
}

impl Style {
    /// A line of the container's output.
    pub fn output(&self, record: &Record, time: &str) -> String {
        let prefix = match &self.host {
            Some(host) => format!("{time} {host} "),
            None => String::new(),
        };
        self.line(record, time, &prefix)
    }

    /// A line of the log file: nobody else adds the time there.
    pub fn file(&self, record: &Record, time: &str) -> String {
        let prefix = match &self.host {
            Some(host) => format!("{time} {host} "),
            None => format!("{time} "),
        };
        self.line(record, time, &prefix)
    }

    fn line(&self, record: &Record, time: &str, prefix: &str) -> String {
        let mut line = match self.format {
            LogFormat::Text => render_text(record, prefix),
            LogFormat::Json => render_json(record, time, self.host.as_deref()),
        };
        line.push('\n');
        line
    }
}

/// Stands where `count` lines of `service` are missing.
pub fn lost(service: &str, count: u64) -> Record {
    own(format!(
        "{} of {service} lost here: the output was not read in time",
        lines(count)
    ))
}

/// Stands at the end.
pub fn lost_in_all(count: u64) -> Record {
    own(format!(
        "{} lost since the log service started: the output was not read in time",
        lines(count)
    ))
}

/// A warning in PID 1's name, which every level but 0 shows.
pub fn own(text: String) -> Record {
    Record {
        service: OWN_NAME.to_owned(),
        severity: WARNING,
        text,
    }
}

fn lines(count: u64) -> String {
    if count == 1 {
        "1 line".to_owned()
    } else {
        format!("{count} lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_host_stand_where_they_are_wanted() {
        let record = lost("web", 3);
        let mut style = Style {
            format: LogFormat::Text,
            host: None,
        };
        let time = "2026-11-22T03:41:43.000Z";
        let text =
            "warning switchhook: 3 lines of web lost here: the output was not read in time\n";
        assert_eq!(style.output(&record, time), text);
        assert_eq!(style.file(&record, time), format!("{time} {text}"));
        style.host = Some("tele".into());
        assert_eq!(style.output(&record, time), format!("{time} tele {text}"));
        style.format = LogFormat::Json;
        let value: serde_json::Value = serde_json::from_str(&style.output(&record, time)).unwrap();
        assert_eq!(
            (&value["host"], &value["time"]),
            (&"tele".into(), &time.into())
        );
    }
}
