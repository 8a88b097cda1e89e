//! Conditions for a start (systemd.unit(5), "Conditions and Asserts"): their text to a value.
//!
//! Who tests them asks the system; here is only what is to be asked and what the answers mean.

use serde::{Deserialize, Serialize};

use super::value;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// `ConditionPathExists=`: something is at this absolute path.
    PathExists(String),
    /// `ConditionEnvironment=`: the variable is set, to this value if one is given.
    Environment { name: String, value: Option<String> },
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub question: Question,
    /// `!`: the answer must be no.
    pub negated: bool,
    /// `|`: of all conditions with this sign one must hold.
    pub triggering: bool,
}

impl Condition {
    /// Reads `[|][!]text`.
    fn read(
        text: &str,
        question: impl FnOnce(&str) -> Result<Question, String>,
    ) -> Result<Condition, String> {
        let (triggering, text) = strip(text, '|');
        let (negated, text) = strip(text, '!');
        Ok(Condition {
            question: question(text)?,
            negated,
            triggering,
        })
    }

    /// The value of `ConditionPathExists=`.
    pub fn path_exists(text: &str) -> Result<Condition, String> {
        Condition::read(text, |path| {
            if path.starts_with('/') {
                Ok(Question::PathExists(path.to_owned()))
            } else {
                Err(format!("`{path}` is not an absolute path"))
            }
        })
    }

    /// The value of `ConditionEnvironment=`.
    pub fn environment(text: &str) -> Result<Condition, String> {
        Condition::read(text, |text| {
            let (name, wanted) = match text.split_once('=') {
                Some((name, wanted)) => (name, Some(wanted.to_owned())),
                None => (text, None),
            };
            if value::is_variable_name(name) {
                Ok(Question::Environment {
                    name: name.to_owned(),
                    value: wanted,
                })
            } else {
                Err(format!("`{text}` is not NAME or NAME=value"))
            }
        })
    }
}

fn strip(text: &str, sign: char) -> (bool, &str) {
    match text.strip_prefix(sign) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// The first condition that forbids the start, by `answer`; `None` when all is well.
pub fn unmet(conditions: &[Condition], answer: impl Fn(&Question) -> bool) -> Option<&Condition> {
    let holds = |condition: &Condition| answer(&condition.question) != condition.negated;
    let (triggering, plain): (Vec<_>, Vec<_>) = conditions.iter().partition(|c| c.triggering);
    if let Some(condition) = plain.into_iter().find(|condition| !holds(condition)) {
        return Some(condition);
    }
    if triggering.iter().any(|condition| holds(condition)) {
        return None;
    }
    triggering.into_iter().next()
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let not = if self.negated { "not " } else { "" };
        match &self.question {
            Question::PathExists(path) => write!(f, "`{path}` must {not}exist"),
            Question::Environment { name, value: None } => write!(f, "{name} must {not}be set"),
            Question::Environment {
                name,
                value: Some(value),
            } => write!(f, "{name} must {not}be `{value}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_in_systemds_order() {
        let condition = Condition::path_exists("|!/srv/x").unwrap();
        assert!(condition.negated && condition.triggering);
        assert_eq!(condition.to_string(), "`/srv/x` must not exist");
        assert!(Condition::path_exists("x").is_err());
        let condition = Condition::environment("WEBSMSD_PORT=80").unwrap();
        assert_eq!(condition.to_string(), "WEBSMSD_PORT must be `80`");
        assert!(Condition::environment("=80").is_err());
    }

    #[test]
    fn all_plain_ones_and_one_of_the_triggering_must_hold() {
        let read = |texts: &[&str]| -> Vec<Condition> {
            texts
                .iter()
                .map(|text| Condition::path_exists(text).unwrap())
                .collect()
        };
        let only_a = |question: &Question| *question == Question::PathExists("/a".into());
        assert_eq!(unmet(&[], only_a), None);
        assert_eq!(unmet(&read(&["/a", "!/b"]), only_a), None);
        assert!(unmet(&read(&["/a", "/b"]), only_a).is_some());
        assert_eq!(unmet(&read(&["|/b", "|/a"]), only_a), None);
        assert!(unmet(&read(&["|/b", "|!/a"]), only_a).is_some());
        assert!(unmet(&read(&["/b", "|/a"]), only_a).is_some());
    }
}
