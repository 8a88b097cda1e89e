//! How a process ended, as restart policies look at it.

use serde::{Deserialize, Serialize};

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// The exit code that a shell would show: the code itself, or 128 and the signal's number.
    pub fn as_code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Ends that a unit lists by exit code or signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitSet {
    pub codes: Vec<i32>,
    pub signals: Vec<i32>,
}

/// Exit codes that units may name (systemd.exec(5), "Process Exit Codes"; sysexits.h).
const CODES: [(&str, i32); 19] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("CONFIG", 78),
];

impl ExitSet {
    pub fn contains(&self, exit: Exit) -> bool {
        match exit {
            Exit::Code(code) => self.codes.contains(&code),
            Exit::Signal(signal) => self.signals.contains(&signal),
        }
    }

    /// Adds exit codes, their names and names of signals, separated by white space; nothing empties the set.
    pub fn extend(&mut self, text: &str) -> Result<(), String> {
        if text.trim().is_empty() {
            *self = ExitSet::default();
        }
        for word in text.split_whitespace() {
            if let Ok(code) = word.parse::<u8>() {
                self.codes.push(i32::from(code));
            } else if let Some((_, code)) = CODES.iter().find(|(name, _)| *name == word) {
                self.codes.push(*code);
            } else {
                let number = super::signal::number(word)
                    .ok()
                    .filter(|_| word.starts_with(|c: char| c.is_ascii_uppercase()));
                self.signals.push(number.ok_or_else(|| {
                    format!("`{word}` is neither an exit code from 0 to 255 nor a signal")
                })?);
            }
        }
        Ok(())
    }
}

/// What runit's `finish` gets: the exit code, or -1 after a signal; and the signal's number, or 0
/// (runsv(8)).
pub fn finish_arguments(exit: Exit) -> [String; 2] {
    match exit {
        Exit::Code(code) => [code.to_string(), "0".to_owned()],
        Exit::Signal(signal) => ["-1".to_owned(), signal.to_string()],
    }
}

/// What `ExecStopPost=` finds in its environment (systemd.exec(5), `$SERVICE_RESULT`).
pub fn result_variables(exit: Exit) -> Vec<(String, String)> {
    let (result, code, status) = match exit {
        Exit::Code(0) => ("success", "exited", "0".to_owned()),
        Exit::Code(code) => ("exit-code", "exited", code.to_string()),
        Exit::Signal(number) => ("signal", "killed", super::signal::name(number)),
    };
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair("SERVICE_RESULT", result.to_owned()),
        pair("EXIT_CODE", code.to_owned()),
        pair("EXIT_STATUS", status),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_takes_codes_names_and_signals() {
        let mut set = ExitSet::default();
        set.extend("3 TEMPFAIL SIGKILL").unwrap();
        for inside in [Exit::Code(3), Exit::Code(75), Exit::Signal(9)] {
            assert!(set.contains(inside), "{inside}");
        }
        assert!(!set.contains(Exit::Code(9)));
        assert!(set.extend("256").is_err());
        assert!(set.extend("sometimes").is_err());
        set.extend("").unwrap();
        assert_eq!(set, ExitSet::default());
    }

    #[test]
    fn commands_after_the_end_are_told_as_by_systemd() {
        let told = |exit| -> Vec<String> {
            let all = result_variables(exit).into_iter();
            all.map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(
            told(Exit::Signal(9)),
            [
                "SERVICE_RESULT=signal",
                "EXIT_CODE=killed",
                "EXIT_STATUS=KILL"
            ]
        );
        assert_eq!(
            told(Exit::Code(3)),
            [
                "SERVICE_RESULT=exit-code",
                "EXIT_CODE=exited",
                "EXIT_STATUS=3"
            ]
        );
    }

    #[test]
    fn finish_is_told_as_by_runsv() {
        assert_eq!(finish_arguments(Exit::Code(7)), ["7", "0"]);
        assert_eq!(finish_arguments(Exit::Signal(15)), ["-1", "15"]);
    }
}
