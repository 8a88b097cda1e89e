//! The only printer of the commands: answers to stdout, errors and hints to stderr, text for people or JSON for programs.
//!
//! It decides nothing of what is said. Control characters in text never reach a terminal: configuration files are not ours.
//! Invariant: with `--json` stdout carries exactly one JSON value, and stdout carries nothing else in any mode.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

/// The number of the JSON's shape; it grows when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// The question has the answer no.
    No = 1,
    Failed = 2,
    Usage = 64,
    Configuration = 78,
}

/// Where a command prints.
#[derive(Debug)]
pub struct Output {
    json: bool,
    colour: bool,
    unicode: bool,
    broken: Cell<bool>,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: u32,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// For this process's stdout and environment.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            colour: io::stdout().is_terminal()
                && !no_colour
                && variable("TERM").as_deref() != Some("dumb"),
            unicode: speaks_utf8(variable),
            broken: Cell::new(false),
        }
    }

    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Nobody reads stdout any more: a command without an end ends.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Whether escape sequences may be printed.
    #[must_use]
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Whether more than ASCII may be printed.
    #[must_use]
    pub fn unicode(&self) -> bool {
        self.unicode
    }

    /// Prints a value as JSON with its schema number, on one line.
    pub fn json<T: Serialize>(&self, value: &T) {
        match serde_json::to_string(&Versioned {
            schema: SCHEMA,
            value,
        }) {
            Ok(text) => self.write(&format!("{text}\n")),
            Err(_) => self.broken.set(true),
        }
    }

    /// Prints text for people, with a line end; other control characters are shown, not sent.
    pub fn text(&self, text: &str) {
        self.write(&format!("{}\n", visible(text.trim_end_matches('\n'))));
    }

    /// Prints a picture that we drew ourselves, escape sequences included.
    pub fn picture(&self, picture: &str) {
        self.write(picture);
    }

    /// Tells an error with all its causes, once each, and what to do next.
    pub fn error(&self, error: &dyn Error, hint: Option<&str>) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.problem(&text, hint);
    }

    /// Tells what another program's users expect on stderr, without our name before it.
    pub fn complain(&self, text: &str) {
        let _ = io::stderr().write_all(format!("{}\n", visible(text)).as_bytes());
    }

    /// Tells an error that has no type of its own.
    pub fn problem(&self, text: &str, hint: Option<&str>) {
        let mut lines = format!("switchhook: {}\n", visible(text));
        if let Some(hint) = hint {
            lines.push_str(&format!("hint: {}\n", visible(hint)));
        }
        // Nobody is left to tell if stderr fails.
        let _ = io::stderr().write_all(lines.as_bytes());
    }

    /// The exit code; an answer that could not be printed is a failure.
    #[must_use]
    pub fn finish(&self, exit: Exit) -> ExitCode {
        let exit = if self.broken.get() && exit == Exit::Ok {
            Exit::Failed
        } else {
            exit
        };
        ExitCode::from(exit as u8)
    }

    fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        if stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            self.broken.set(true);
        }
    }
}

/// By the locale variables in their order. A container without a locale is mostly looked at through a UTF-8 terminal, so
/// only a locale that says otherwise counts as no.
fn speaks_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| variable(name))
        .find(|value| !value.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

fn visible(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            c.escape_default().collect()
        } else {
            String::from(c)
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let with = |pairs: &'static [(&str, &str)]| {
            speaks_utf8(move |name| {
                pairs
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[]));
        assert!(with(&[("LANG", "de_DE.UTF-8")]));
        assert!(with(&[("LC_ALL", ""), ("LANG", "C.utf8")]));
        assert!(!with(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
    }

    #[test]
    fn escape_sequences_in_text_are_shown() {
        assert_eq!(visible("a\x1b[31mb\nc"), "a\\u{1b}[31mb\nc");
    }
}
