//! What a phone is: a section of `pjsip_endpoint.conf` that lets a device register and be called.
//!
//! Pure: it reads a [`Document`] and checks what people give; it opens no file and talks to no Asterisk.
//! Invariant: a value of one of these types can be written into the file, the dialplan and a SIP header as it is.

pub mod diff;
pub mod plan;
pub mod qr;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::asterisk::conf::{Document, Section};
use crate::seed::secret;

/// The keys of a phone's section.
pub mod key {
    pub const NUMBER: &str = "hint_exten";
    pub const CALLER_ID: &str = "endpoint/callerid";
    pub const USERNAME: &str = "inbound_auth/username";
    pub const PASSWORD: &str = "inbound_auth/password";
}

/// The templates that make a phone, in the order in which they are preferred.
pub const TEMPLATES: [&str; 2] = ["tpl_phone", "tpl_softphone"];

const MAX_NAME: usize = 40;
const MAX_DISPLAY: usize = 80;
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=80;

/// Why something that was given cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    #[error(
        "a name has 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ - and does not begin with `tpl_`"
    )]
    Name,
    #[error("a number has 2 to 20 of the characters 0-9 * #, with or without a `+` before them")]
    Number,
    #[error(
        "a display name has 1 to {MAX_DISPLAY} characters, none of them \" < > or a control character, and no blank at its ends"
    )]
    Display,
    #[error("a password has {} to {} visible ASCII characters, and no blank", PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end())]
    Password,
    #[error("a host is a name or an address with letters, digits, `.`, `-` and `:`")]
    Host,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $invalid:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(Invalid::$invalid) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_type!(
    /// The name of the section, of the endpoint and of the account: what the device calls itself.
    Name,
    Name,
    |text| {
        (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !text.to_ascii_lowercase().starts_with("tpl_")
    }
);
text_type!(
    /// The number that others dial.
    Number,
    Number,
    |text| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        (2..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'))
    }
);
text_type!(
    /// The name that others see.
    DisplayName,
    Display,
    |text| {
        (1..=MAX_DISPLAY).contains(&text.chars().count())
            && text.trim() == text
            && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '<' | '>'))
    }
);
text_type!(
    /// Where phones find the exchange.
    Host,
    Host,
    |text| {
        (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_'))
    }
);

/// A phone's password. It shows itself only through [`Password::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// How long a generated password is.
    pub const GENERATED: usize = secret::LENGTH;

    /// Takes a password that someone chose.
    ///
    /// # Errors
    /// If it is too short or too long, or holds a blank or anything but visible ASCII.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits =
            PASSWORD_LENGTH.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::Password)
        }
    }

    /// Makes a password of 24 letters and digits (142 bits) from random bytes; `None` if there are too few usable ones.
    #[must_use]
    pub fn from_random(bytes: &[u8]) -> Option<Self> {
        secret::text_from(bytes).map(Self)
    }

    /// The password itself, for the file and for the eyes of who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A phone as the file has it; the file may be years old, so nothing here is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    pub name: String,
    pub number: Option<String>,
    pub display: Option<String>,
    pub username: Option<String>,
    pub password: Option<Password>,
    /// What the section inherits from, as its header says.
    pub templates: Vec<String>,
    /// The line of the section's header, from 1.
    pub line: usize,
}

/// What a section is to this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Phone,
    /// A line to a provider: never listed, never changed.
    Trunk,
    Template,
    /// Anything else, and additions to a section.
    Other,
}

/// Tells what a section is.
///
/// A trunk is what sends its own credentials or names remote hosts, what is called `trunk:…` or `itsp:…`, or what inherits
/// from a template with `trunk` in its name. Of the rest, a phone is what has a number or a user of its own, or inherits
/// from `tpl_phone` or `tpl_softphone`.
#[must_use]
pub fn role(document: &Document, section: Section<'_>) -> Role {
    if section.is_template() {
        return Role::Template;
    }
    if section.is_addition() {
        return Role::Other;
    }
    let ancestors = document.ancestors(section.name());
    let lower = section.name().to_ascii_lowercase();
    let sends = |key: &str| {
        key.starts_with("outbound_auth/") || key == "remote_hosts" || key == "sends_registrations"
    };
    let trunk = lower.starts_with("trunk:")
        || lower.starts_with("itsp:")
        || section
            .entries()
            .any(|entry| sends(&entry.key.to_ascii_lowercase()))
        || ancestors
            .iter()
            .any(|name| name.to_ascii_lowercase().contains("trunk"));
    if trunk {
        return Role::Trunk;
    }
    let inherits = ancestors.iter().any(|name| {
        TEMPLATES
            .iter()
            .any(|template| template.eq_ignore_ascii_case(name))
    });
    if inherits || section.own(key::USERNAME).is_some() || section.own(key::NUMBER).is_some() {
        Role::Phone
    } else {
        Role::Other
    }
}

/// The phones in the order of the file.
#[must_use]
pub fn phones(document: &Document) -> Vec<Phone> {
    let sections = document
        .sections()
        .filter(|section| role(document, *section) == Role::Phone);
    sections.map(|section| read(section)).collect()
}

/// The phone of that name, compared without regard to case, as Asterisk does.
#[must_use]
pub fn phone(document: &Document, name: &str) -> Option<Phone> {
    phones(document)
        .into_iter()
        .find(|phone| phone.name.eq_ignore_ascii_case(name))
}

fn read(section: Section<'_>) -> Phone {
    Phone {
        name: section.name().to_owned(),
        number: section.effective(key::NUMBER),
        display: section
            .effective(key::CALLER_ID)
            .as_deref()
            .and_then(display_of),
        username: section.effective(key::USERNAME),
        password: section.effective(key::PASSWORD).map(Password),
        templates: section.inherits().map(str::to_owned).collect(),
        line: section.line(),
    }
}

/// The name in `Ann Smith <101>` or `"Ann Smith" <101>`.
fn display_of(caller_id: &str) -> Option<String> {
    let (name, _) = caller_id.split_once('<').unwrap_or((caller_id, ""));
    let name = name.trim().trim_matches('"').trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether the value of a key must not be shown.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["password", "secret", "md5_cred", "token"]
        .iter()
        .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A volume of the predecessor, trunk and all.
    pub(super) const OLD_VOLUME: &str = "\
[tpl_phone](!,tpl_softphone)
endpoint/language = en

[trunk:itsp](tpl_trunk)
remote_hosts = sip.itsp.com
outbound_auth/username = username
outbound_auth/password = hunter2hunter2

[john.doe](tpl_phone)
hint_exten = +12025550160
endpoint/callerid = John Doe <+12025550160>
endpoint/mailboxes = john.doe@example.com
inbound_auth/username = john.doe
inbound_auth/password = correct-horse

[provider](tpl_trunkin)
inbound_auth/username = them

[jane.doe](tpl_phone)
hint_exten = +12025550183
endpoint/callerid = \"Jane Doe\" <+12025550183>
inbound_auth/username = jane.doe
inbound_auth/password = battery-staple
";

    #[test]
    fn phones_of_an_old_volume_are_recognised_and_trunks_are_not() {
        let document = Document::parse(OLD_VOLUME);
        let found = phones(&document);
        let shown: Vec<_> = found
            .iter()
            .map(|p| {
                (
                    p.name.as_str(),
                    p.number.as_deref(),
                    p.display.as_deref(),
                    p.line,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("john.doe", Some("+12025550160"), Some("John Doe"), 9),
                ("jane.doe", Some("+12025550183"), Some("Jane Doe"), 19)
            ]
        );
        for trunk in ["trunk:itsp", "provider"] {
            assert_eq!(
                role(&document, document.section(trunk).unwrap()),
                Role::Trunk
            );
        }
    }

    #[test]
    fn a_password_does_not_show_itself() {
        let document = Document::parse(OLD_VOLUME);
        let shown = format!("{:?}", phones(&document));
        assert!(!shown.contains("correct-horse"), "{shown}");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for name in ["", "tpl_x", "a b", "a]", "\u{e9}", "x;y", &"x".repeat(41)] {
            assert_eq!(name.parse::<Name>(), Err(Invalid::Name), "{name}");
        }
        for number in [
            "",
            "1",
            "+",
            "+1",
            "12a",
            "1 2",
            "++12",
            "123456789012345678901",
        ] {
            assert_eq!(number.parse::<Number>(), Err(Invalid::Number), "{number}");
        }
        for display in ["", " x", "a\"b", "a<b", "a\nb", "a\u{7f}"] {
            assert_eq!(
                display.parse::<DisplayName>(),
                Err(Invalid::Display),
                "{display}"
            );
        }
        for password in ["short", "with blank", "p\u{e4}ssw\u{f6}rter", ""] {
            assert_eq!(
                Password::new(password),
                Err(Invalid::Password),
                "{password}"
            );
        }
        assert!("*21#".parse::<Number>().is_ok());
        assert!("Zo\u{eb}; the 2nd".parse::<DisplayName>().is_ok());
    }

    proptest! {
        #[test]
        fn a_generated_password_is_one_that_could_be_chosen(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(password) = Password::from_random(&bytes) {
                prop_assert_eq!(password.reveal().len(), Password::GENERATED);
                prop_assert!(password.reveal().bytes().all(|b| b.is_ascii_alphanumeric()));
                prop_assert_eq!(Password::new(password.reveal()), Ok(password));
            } else {
                prop_assert!(bytes.iter().filter(|b| **b < 248).count() < Password::GENERATED);
            }
        }
    }
}
