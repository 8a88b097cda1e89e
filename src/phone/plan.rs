//! From a wish (add, remove, new password) to the text that `pjsip_endpoint.conf` shall have.
//!
//! Pure: it writes nothing. It refuses to touch a trunk, a template or a file that Asterisk would not load.
//! Invariant: a plan changes lines of the one phone it is about, and no other line.

use thiserror::Error;

use super::{DisplayName, Name, Number, Password, Role, TEMPLATES, is_secret, key, phones, role};
use crate::asterisk::conf::{Document, EditError};
use crate::phone::diff;

/// What shall change.
#[derive(Debug, Clone)]
pub enum Change {
    Add {
        name: Name,
        number: Number,
        display: Option<DisplayName>,
        password: Password,
    },
    Remove {
        name: String,
    },
    SetPassword {
        name: String,
        password: Password,
    },
}

/// The file as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The phone's name as the file has it.
    pub name: String,
    pub document: Document,
    /// What changes, with every secret shown as `***`; empty if nothing does.
    pub diff: String,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    #[error("the name `{name}` is taken: line {line} has a section of that name")]
    NameTaken { name: String, line: usize },
    #[error("the number {number} is taken: it is that of `{by}`")]
    NumberTaken { number: String, by: String },
    #[error("there is no phone `{0}`")]
    NoSuchPhone(String),
    #[error("`{0}` is a trunk, not a phone")]
    Trunk(String),
    #[error("`{0}` is not a phone")]
    NotPhone(String),
    #[error("there is no template `{}` for a phone", TEMPLATES[0])]
    NoTemplate,
    #[error("Asterisk cannot load the file: line {line} has {what}")]
    Broken { line: usize, what: &'static str },
    #[error("the file cannot be edited safely")]
    Edit(#[from] EditError),
}

impl PlanError {
    /// Whether the wish was understood and the answer is no; otherwise the configuration is at fault.
    #[must_use]
    pub fn is_no(&self) -> bool {
        match self {
            Self::NameTaken { .. }
            | Self::NumberTaken { .. }
            | Self::NoSuchPhone(_)
            | Self::Trunk(_)
            | Self::NotPhone(_) => true,
            Self::NoTemplate | Self::Broken { .. } | Self::Edit(_) => false,
        }
    }

    /// The next step.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NameTaken { .. } => "choose another name; `switchhook phone list` shows the phones".into(),
            Self::NumberTaken { by, .. } => format!("choose another number, or first `switchhook phone remove {by}`"),
            Self::NoSuchPhone(_) | Self::NotPhone(_) => "`switchhook phone list` shows the phones".into(),
            Self::Trunk(_) => "edit trunks in the file itself".into(),
            Self::NoTemplate => {
                "define `[tpl_phone](!,tpl_softphone)` in pjsip_endpoint.conf, as the sample configuration does".into()
            }
            Self::Broken { .. } => "mend that line first".into(),
            Self::Edit(_) => "a block comment (`;--` ... `--;`) stands in the way; edit the file by hand".into(),
        }
    }
}

/// Plans a change of `document`. `including` is the text of the files that include it, where templates can be, too.
///
/// # Errors
/// If the change is not possible; see [`PlanError`].
pub fn plan(
    document: &Document,
    including: &[Document],
    change: &Change,
) -> Result<Plan, PlanError> {
    if let Some(problem) = document.problems().first() {
        return Err(PlanError::Broken {
            line: problem.line,
            what: problem.what,
        });
    }
    let mut edited = document.clone();
    let name = match change {
        Change::Add {
            name,
            number,
            display,
            password,
        } => {
            check_free(document, including, name, number)?;
            let template = template(document, including).ok_or(PlanError::NoTemplate)?;
            let caller_id = format!(
                "{} <{number}>",
                display.as_ref().map_or(name.as_str(), DisplayName::as_str)
            );
            let entries = [
                (key::NUMBER, number.as_str()),
                (key::CALLER_ID, caller_id.as_str()),
                (key::USERNAME, name.as_str()),
                (key::PASSWORD, password.reveal()),
            ];
            edited.append_section(name.as_str(), &[template], &entries)?;
            name.as_str().to_owned()
        }
        Change::Remove { name } => {
            let name = existing(document, name)?;
            edited.remove_section(&name)?;
            name
        }
        Change::SetPassword { name, password } => {
            let name = existing(document, name)?;
            edited.set(&name, key::PASSWORD, password.reveal())?;
            name
        }
    };
    let diff = diff::diff_masked(document, &edited, is_secret);
    Ok(Plan {
        name,
        document: edited,
        diff,
    })
}

fn check_free(
    document: &Document,
    including: &[Document],
    name: &Name,
    number: &Number,
) -> Result<(), PlanError> {
    for document in std::iter::once(document).chain(including) {
        if let Some(there) = document
            .sections()
            .find(|s| s.name().eq_ignore_ascii_case(name.as_str()))
        {
            return Err(PlanError::NameTaken {
                name: there.name().to_owned(),
                line: there.line(),
            });
        }
        let taken = phones(document)
            .into_iter()
            .find(|phone| phone.number.as_deref() == Some(number.as_str()));
        if let Some(phone) = taken {
            return Err(PlanError::NumberTaken {
                number: number.to_string(),
                by: phone.name,
            });
        }
    }
    Ok(())
}

fn template(document: &Document, including: &[Document]) -> Option<&'static str> {
    let known = |name: &&str| {
        let mut documents = std::iter::once(document).chain(including);
        documents.any(|document| document.section(name).is_some())
    };
    TEMPLATES.into_iter().find(known)
}

fn existing(document: &Document, name: &str) -> Result<String, PlanError> {
    let section = document
        .section(name)
        .ok_or_else(|| PlanError::NoSuchPhone(name.to_owned()))?;
    let found = section.name().to_owned();
    match role(document, section) {
        Role::Phone => Ok(found),
        Role::Trunk => Err(PlanError::Trunk(found)),
        Role::Template | Role::Other => Err(PlanError::NotPhone(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phone::tests::OLD_VOLUME;

    fn password() -> Password {
        Password::new("not-to-be-seen").unwrap()
    }

    fn add(name: &str, number: &str) -> Change {
        Change::Add {
            name: name.parse().unwrap(),
            number: number.parse().unwrap(),
            display: Some("Ann; Smith".parse().unwrap()),
            password: password(),
        }
    }

    fn planned(change: &Change) -> Plan {
        plan(&Document::parse(OLD_VOLUME), &[], change).unwrap()
    }

    fn refused(change: &Change) -> PlanError {
        plan(&Document::parse(OLD_VOLUME), &[], change).unwrap_err()
    }

    #[test]
    fn adding_a_phone_appends_its_section() {
        let plan = planned(&add("ann", "101"));
        assert!(plan.document.to_string().starts_with(OLD_VOLUME));
        insta::assert_snapshot!(plan.diff);
        assert_eq!(
            plan.document.to_string().strip_prefix(OLD_VOLUME).unwrap(),
            "\n[ann](tpl_phone)\nhint_exten = 101\nendpoint/callerid = Ann\\; Smith <101>\n\
             inbound_auth/username = ann\ninbound_auth/password = not-to-be-seen\n"
        );
    }

    #[test]
    fn removing_a_phone_removes_its_lines() {
        let plan = planned(&Change::Remove {
            name: "JOHN.DOE".into(),
        });
        assert_eq!(plan.name, "john.doe");
        insta::assert_snapshot!(plan.diff);
    }

    #[test]
    fn a_new_password_shows_as_a_changed_line_without_its_value() {
        let change = Change::SetPassword {
            name: "john.doe".into(),
            password: password(),
        };
        let plan = planned(&change);
        insta::assert_snapshot!(plan.diff);
        let again = super::plan(&plan.document, &[], &change).unwrap();
        assert_eq!(again.diff, "");
    }

    #[test]
    fn names_and_numbers_are_unique_and_trunks_are_safe() {
        assert_eq!(
            refused(&add("John.Doe", "101")),
            PlanError::NameTaken {
                name: "john.doe".into(),
                line: 9
            }
        );
        assert_eq!(
            refused(&add("ann", "+12025550183")),
            PlanError::NumberTaken {
                number: "+12025550183".into(),
                by: "jane.doe".into()
            }
        );
        assert_eq!(
            refused(&Change::Remove {
                name: "trunk:itsp".into()
            }),
            PlanError::Trunk("trunk:itsp".into())
        );
        assert_eq!(
            refused(&Change::Remove {
                name: "tpl_phone".into()
            }),
            PlanError::NotPhone("tpl_phone".into())
        );
        assert_eq!(
            refused(&Change::Remove { name: "bob".into() }),
            PlanError::NoSuchPhone("bob".into())
        );
    }

    #[test]
    fn a_template_may_come_from_the_including_file_but_must_come_from_somewhere() {
        let empty = Document::parse("");
        assert_eq!(
            plan(&empty, &[], &add("ann", "101")).unwrap_err(),
            PlanError::NoTemplate
        );
        let wizard =
            Document::parse("[tpl_softphone](!)\ntype = wizard\n#include pjsip_endpoint.conf\n");
        let plan = plan(&empty, &[wizard], &add("ann", "101")).unwrap();
        assert!(
            plan.document
                .to_string()
                .starts_with("[ann](tpl_softphone)\n")
        );
    }

    #[test]
    fn a_file_that_asterisk_refuses_is_not_edited() {
        let broken = Document::parse("[tpl_phone](!)\n[open\n");
        assert_eq!(
            plan(&broken, &[], &add("ann", "101")).unwrap_err(),
            PlanError::Broken {
                line: 2,
                what: "no closing `]`"
            }
        );
    }
}
