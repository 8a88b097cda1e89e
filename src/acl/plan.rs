//! From a wish to the text that a file of lists shall have.
//!
//! Pure: it writes nothing. Invariant: a plan touches no line but those of the rule that it is about.

use thiserror::Error;

use super::list::{LONGEST_NAME, List, Origin, Rule};
use super::rule::{self, BadRule, Sense};
use crate::asterisk::conf::{Document, EditError};

/// What shall change in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Add {
        sense: Sense,
        rule: String,
        /// The number, from 1, of the rule before which it goes; behind all of them where there is none.
        before: Option<usize>,
    },
    /// A rule by its number, from 1.
    Remove { number: usize },
    /// The whole list.
    RemoveList,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    #[error("there is no list `{0}`")]
    NoList(String),
    #[error("`{0}` cannot be the name of a list")]
    BadName(String),
    #[error("the rule cannot be used: {0}")]
    BadRule(BadRule),
    #[error("`{name}` has that rule already: it is number {number}")]
    Known { name: String, number: usize },
    #[error("`{name}` has no rule {number}: it has {count}")]
    NoRule {
        name: String,
        number: usize,
        count: usize,
    },
    #[error("rule {number} of `{name}` comes from a template, which other lists can use as well")]
    Inherited { name: String, number: usize },
    #[error("rule {number} of `{name}` is put together of several lines by `+=`")]
    Joined { name: String, number: usize },
    #[error(
        "rule {number} of `{name}` is in `{file}`, which AutoBan writes anew whenever a ban begins or ends"
    )]
    Generated {
        name: String,
        number: usize,
        file: String,
    },
    #[error("Asterisk cannot load the file: line {line} has {what}")]
    Broken { line: usize, what: &'static str },
    #[error("the file cannot be edited safely")]
    Edit(#[from] EditError),
}

impl PlanError {
    /// Whether the wish was understood and the answer is no; otherwise the configuration is at fault.
    #[must_use]
    pub fn is_no(&self) -> bool {
        !matches!(self, PlanError::Broken { .. } | PlanError::Edit(_))
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoList(_) => {
                "`switchhook acl list` shows the lists; `switchhook acl add` with `--new` makes one"
                    .into()
            }
            Self::BadName(_) => {
                format!("write at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`")
            }
            Self::BadRule(error) => error.hint.into(),
            Self::Known { .. } => {
                "the last rule that matches decides: to move it, remove it first".into()
            }
            Self::NoRule { name, .. } => {
                format!("`switchhook acl show {name}` shows the rules with their numbers")
            }
            Self::Inherited { .. } => {
                "change the template in the file itself, or add a rule behind it".into()
            }
            Self::Joined { .. } => "edit it in the file itself".into(),
            Self::Generated { .. } => "`autoban del ADDRESS` frees who is banned".into(),
            Self::Broken { .. } => "mend that line first".into(),
            Self::Edit(EditError::NoEntry { .. }) => {
                "it stands above any header of an included file: edit that file by hand".into()
            }
            Self::Edit(_) => {
                "a block comment (`;--` ... `--;`) stands in the way; edit the file by hand".into()
            }
        }
    }
}

/// Checks the name of a new list: one that every consumer's comma list can hold.
///
/// # Errors
/// If it cannot be one.
pub fn check_name(name: &str) -> Result<(), PlanError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_good = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(plain)
        && !name.eq_ignore_ascii_case("general");
    match is_good {
        true => Ok(()),
        false => Err(PlanError::BadName(name.escape_debug().to_string())),
    }
}

/// Checks a change of a list as it is now, whatever it is kept in.
///
/// # Errors
/// If it is not possible.
pub fn check(list: &List, change: &Change) -> Result<(), PlanError> {
    let name = || list.name.clone();
    let count = list.rules.len();
    match change {
        Change::Add {
            sense,
            rule,
            before,
        } => {
            check_rule(*sense, rule)?;
            let same = |known: &Rule| known.sense == *sense && known.text == *rule;
            if let Some(at) = list.rules.iter().position(same) {
                return Err(PlanError::Known {
                    name: name(),
                    number: at + 1,
                });
            }
            match before {
                Some(number) => changeable(list, *number),
                None => Ok(()),
            }
        }
        Change::Remove { number } => changeable(list, *number),
        Change::RemoveList => Ok(()),
    }
    .map_err(|error| match error {
        PlanError::NoRule { name, number, .. } => PlanError::NoRule {
            name,
            number,
            count,
        },
        other => other,
    })
}

/// # Errors
/// If Asterisk would not take the rule, or would take it for something that hardly anybody means.
pub fn check_rule(sense: Sense, rule: &str) -> Result<(), PlanError> {
    rule::parse(sense, rule).map_err(PlanError::BadRule)?;
    rule::plain(rule).map_err(PlanError::BadRule)
}

fn changeable(list: &List, number: usize) -> Result<(), PlanError> {
    let name = || list.name.clone();
    let rule = number.checked_sub(1).and_then(|at| list.rules.get(at));
    match rule.map(|rule| &rule.origin) {
        None => Err(PlanError::NoRule {
            name: name(),
            number,
            count: 0,
        }),
        Some(Origin::File {
            inherited: true, ..
        }) => Err(PlanError::Inherited {
            name: name(),
            number,
        }),
        Some(Origin::File { joined: true, .. }) => Err(PlanError::Joined {
            name: name(),
            number,
        }),
        Some(Origin::File { file, .. }) if file.contains("/run/autoban/") => {
            Err(PlanError::Generated {
                name: name(),
                number,
                file: file.clone(),
            })
        }
        Some(_) => Ok(()),
    }
}

/// Makes a change in the document of the file that is concerned. `line` is where the rule of that number stands there.
///
/// # Errors
/// If the change is not possible; see [`PlanError`].
pub fn edit(
    document: &Document,
    name: &str,
    change: &Change,
    line: Option<usize>,
) -> Result<Document, PlanError> {
    if let Some(problem) = document.problems().first() {
        return Err(PlanError::Broken {
            line: problem.line,
            what: problem.what,
        });
    }
    let mut edited = document.clone();
    match change {
        Change::Add { sense, rule, .. } => {
            edited.add_entry(name, sense.word(), rule, line)?;
        }
        Change::Remove { .. } => {
            edited.remove_entry(name, line.unwrap_or_default())?;
        }
        Change::RemoveList => edited.remove_section(name)?,
    }
    Ok(edited)
}

/// Adds a new list with its first rule at the end of the document.
///
/// # Errors
/// If the change is not possible; see [`PlanError`].
pub fn create(
    document: &Document,
    name: &str,
    sense: Sense,
    rule: &str,
) -> Result<Document, PlanError> {
    check_name(name)?;
    check_rule(sense, rule)?;
    if let Some(problem) = document.problems().first() {
        return Err(PlanError::Broken {
            line: problem.line,
            what: problem.what,
        });
    }
    let mut edited = document.clone();
    edited.append_section(name, &[], &[(sense.word(), rule)])?;
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::list::of_file;

    const TEXT: &str = "; lists\n[base](!)\ndeny = 0.0.0.0/0\n\n[a](base)  ; office\npermit = 10.0.0.0/8 ; LAN\npermit = 192.0.2.7\n\n; last\n";

    fn list() -> List {
        let sections = Document::parse(TEXT).full_sections();
        of_file(&sections, |line| ("acl.conf".to_owned(), line)).0[0].clone()
    }

    fn add(rule: &str, before: Option<usize>) -> Change {
        Change::Add {
            sense: Sense::Deny,
            rule: rule.to_owned(),
            before,
        }
    }

    #[test]
    fn one_line_comes_or_goes() {
        let document = Document::parse(TEXT);
        let text = |change: &Change, line| edit(&document, "a", change, line).unwrap().to_string();
        assert_eq!(
            text(&add("10.0.0.9", None), None),
            TEXT.replace("192.0.2.7\n", "192.0.2.7\ndeny = 10.0.0.9\n")
        );
        assert_eq!(
            text(&Change::Remove { number: 2 }, Some(6)),
            TEXT.replace("permit = 10.0.0.0/8 ; LAN\n", "")
        );
        let made = create(&document, "b", Sense::Deny, "0.0.0.0/0").unwrap();
        assert_eq!(made.to_string(), format!("{TEXT}\n[b]\ndeny = 0.0.0.0/0\n"));
    }

    #[test]
    fn what_cannot_be_done_says_why() {
        let refused = |change: &Change| check(&list(), change).unwrap_err();
        assert_eq!(
            refused(&Change::Remove { number: 1 }).to_string(),
            "rule 1 of `a` comes from a template, which other lists can use as well"
        );
        assert_eq!(
            refused(&Change::Remove { number: 9 }).to_string(),
            "`a` has no rule 9: it has 3"
        );
        assert!(matches!(
            refused(&add("10.1/8", None)),
            PlanError::BadRule(_)
        ));
        assert!(matches!(
            refused(&add("0.0.0.0/0", None)),
            PlanError::Known { number: 1, .. }
        ));
        for name in ["", "general", "a,b", "a b", &"x".repeat(80)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        let broken = Document::parse("[a]\n[b");
        assert_eq!(
            create(&broken, "c", Sense::Deny, "::/0"),
            Err(PlanError::Broken {
                line: 2,
                what: "no closing `]`"
            })
        );
    }
}
