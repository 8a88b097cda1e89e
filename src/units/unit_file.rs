//! A unit file with its drop-ins, checked against the table of directives.
//!
//! Gives the readers of units one ordered list of assignments and collects what is to be said about the
//! rest. Ignored ones are passed on too, so that the spec is whole. Invariant: after `collect`, every
//! entry left stands in the table and is not refused.

use super::directives::{self, Treatment};
use super::spec::{Finding, Severity};
use super::syntax;

/// One text of a unit: the file itself, or a drop-in `NAME.service.d/*.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub file: String,
    pub text: String,
}

/// An assignment and where it stands.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub section: String,
    pub key: String,
    pub value: String,
    pub file: String,
    pub line: usize,
    /// The table says that it is honoured.
    pub obeyed: bool,
}

impl Assignment {
    /// An error about this assignment.
    pub fn error(&self, text: impl std::fmt::Display) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.line,
            severity: Severity::Error,
            text: format!("{}=: {text}", self.key),
        }
    }
}

/// Reads the sources in order and keeps the known assignments of `sections`.
pub fn collect(sources: &[Source], sections: &[&str]) -> (Vec<Assignment>, Vec<Finding>) {
    let mut kept = Vec::new();
    let mut findings = Vec::new();
    for source in sources {
        let finding = |line, severity, text: String| Finding {
            file: source.file.clone(),
            line,
            severity,
            text,
        };
        let parsed = match syntax::parse(&source.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                findings.extend(
                    errors
                        .into_iter()
                        .map(|e| finding(e.line, Severity::Error, e.text)),
                );
                continue;
            }
        };
        for section in parsed {
            if section.name.starts_with("X-") {
                continue;
            }
            if !sections.contains(&section.name.as_str()) {
                findings.push(finding(
                    section.line,
                    Severity::Ignored,
                    format!("section `[{}]` has no meaning here", section.name),
                ));
                continue;
            }
            for entry in section.entries {
                let (obeyed, text) = match directives::find(&section.name, &entry.key)
                    .map(|d| d.treatment)
                {
                    Some(Treatment::Honoured) => (true, String::new()),
                    Some(Treatment::Refused(what)) => {
                        let text = format!("`{}=` is refused: {what}", entry.key);
                        findings.push(finding(entry.line, Severity::Error, text));
                        continue;
                    }
                    Some(Treatment::Ignored(why)) => {
                        (false, format!("`{}=` is ignored: {why}", entry.key))
                    }
                    None if entry.key.starts_with("X-") => continue,
                    None => {
                        let text =
                            format!("`{}=` is not a directive that we know; ignored", entry.key);
                        findings.push(finding(entry.line, Severity::Ignored, text));
                        continue;
                    }
                };
                if !obeyed {
                    findings.push(finding(entry.line, Severity::Ignored, text));
                }
                kept.push(Assignment {
                    section: section.name.clone(),
                    key: entry.key,
                    value: entry.value.trim_end().to_owned(),
                    file: source.file.clone(),
                    line: entry.line,
                    obeyed,
                });
            }
        }
    }
    (kept, findings)
}
