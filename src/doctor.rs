//! What is wrong with a set-up, and what to do about it: a table of checks over evidence that was gathered before.
//!
//! `gather` looks and `mend` repairs; everything else is pure, and a check is a function from evidence to findings. It
//! guesses nothing: what cannot be known from inside a container is told as not known. Invariant: every finding has its
//! evidence and its remedy.

pub mod configuration;
pub mod console;
pub mod evidence;
pub mod gather;
pub mod machine;
pub mod mend;
pub mod network;
pub mod pbx;
pub mod volume;

use serde::Serialize;

use evidence::Evidence;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing is wrong by it alone.
    Note,
    /// Something does not work, or will not for everybody.
    Warning,
    /// Something does not work for anybody, or will be lost.
    Error,
}

/// What can be repaired without losing anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fix {
    /// The file or directory becomes this account's, with these bits added to its mode.
    Own {
        path: String,
        uid: u32,
        gid: u32,
        bits: u32,
    },
}

impl std::fmt::Display for Fix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fix::Own {
                path,
                uid,
                gid,
                bits,
            } => write!(
                f,
                "give `{path}` to user {uid} and group {gid}, and add {bits:04o} to its mode"
            ),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub issue: String,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub remedy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        issue: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            severity,
            issue: issue.into(),
            evidence: evidence.into(),
            remedy: remedy.into(),
            fix: None,
        }
    }
}

/// What a check comes to: what it found, or why it cannot know.
pub type Answer = Result<Vec<Finding>, String>;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, for programs.
    pub name: &'static str,
    /// What it looks at.
    pub title: &'static str,
    pub judge: fn(&Evidence) -> Answer,
}

const fn check(name: &'static str, title: &'static str, judge: fn(&Evidence) -> Answer) -> Check {
    Check { name, title, judge }
}

/// All checks, in the order in which they are told: what hides other things comes first.
pub const CHECKS: &[Check] = &[
    check("environment", "the variables", configuration::environment),
    check("pbx", "the PBX runs", pbx::runs),
    check(
        "syntax",
        "configuration that Asterisk refuses",
        configuration::syntax,
    ),
    check(
        "includes",
        "files and contexts that are included",
        configuration::includes,
    ),
    check("modules", "modules of Asterisk", pbx::modules),
    check("nat", "our address, as others are told it", network::nat),
    check("rtp", "the ports of sound", network::rtp),
    check("sources", "whose packets come from where", network::sources),
    check("names", "names in pjsip's files", configuration::names),
    check("lists", "named lists of addresses", configuration::lists),
    check("tls", "certificates and listeners", pbx::tls),
    check("volume", "what /srv is", volume::kind),
    check("disk", "room in /srv", volume::disk),
    check(
        "permissions",
        "whose the files in /srv are",
        volume::permissions,
    ),
    check("capabilities", "rights of PID 1", machine::capabilities),
    check(
        "descriptors",
        "the limit of open files",
        machine::descriptors,
    ),
    check("clock", "the clock", machine::clock),
    check("zone", "the time zone", machine::zone),
];

/// A check with what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    pub name: &'static str,
    pub title: &'static str,
    pub answer: Answer,
}

/// Runs every check.
#[must_use]
pub fn examine(evidence: &Evidence) -> Vec<Examined> {
    let run = |check: &Check| Examined {
        name: check.name,
        title: check.title,
        answer: (check.judge)(evidence),
    };
    CHECKS.iter().map(run).collect()
}

/// Whether something has to be done.
#[must_use]
pub fn is_well(examined: &[Examined]) -> bool {
    let all = examined.iter().filter_map(|one| one.answer.as_ref().ok());
    !all.flatten()
        .any(|finding| finding.severity > Severity::Note)
}

/// The table of the checks in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| Check | Looks at |\n| --- | --- |\n");
    for check in CHECKS {
        out.push_str(&format!("| `{}` | {} |\n", check.name, check.title));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_of_checks_are_unique() {
        let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
    }

    #[test]
    fn without_evidence_nothing_is_found() {
        let examined = examine(&Evidence::default());
        assert!(is_well(&examined));
        let found: Vec<&Examined> = examined
            .iter()
            .filter(|one| one.answer.as_ref().is_ok_and(|found| !found.is_empty()))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn a_note_is_no_trouble() {
        let with = |severity| Examined {
            name: "x",
            title: "x",
            answer: Ok(vec![Finding::new(severity, "", "", "")]),
        };
        assert!(is_well(&[with(Severity::Note)]));
        assert!(!is_well(&[with(Severity::Note), with(Severity::Warning)]));
    }
}
