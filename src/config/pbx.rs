//! The two PBXs that the exchange can run, and every name in which they differ.
//!
//! GABpbx is a fork of Asterisk that renamed its files and kept its protocols. Pure. Invariant: no other module
//! spells a name that differs between them.

use std::collections::BTreeMap;

/// The variable that chooses one.
pub const VARIABLE: &str = "SWITCHHOOK_PBX";

/// Which PBX the exchange runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pbx {
    #[default]
    Asterisk,
    Gabpbx,
}

impl Pbx {
    /// The values of `SWITCHHOOK_PBX`.
    pub const WORDS: &'static [&'static str] = &["asterisk", "gabpbx"];

    /// What the environment chooses; anything else counts as the default and is an error elsewhere.
    pub fn chosen(environment: &BTreeMap<String, String>) -> Pbx {
        match environment.get(VARIABLE).map(|word| word.trim()) {
            Some("gabpbx") => Pbx::Gabpbx,
            _ => Pbx::Asterisk,
        }
    }

    /// Its unit, its account, and its part in file names.
    pub fn name(self) -> &'static str {
        match self {
            Pbx::Asterisk => "asterisk",
            Pbx::Gabpbx => "gabpbx",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Pbx::Asterisk => "Asterisk",
            Pbx::Gabpbx => "GABpbx",
        }
    }

    pub fn program(self) -> String {
        format!("/usr/sbin/{}", self.name())
    }

    /// Where its configuration lies when its main file does not say.
    pub fn configuration(self) -> String {
        format!("/etc/{}", self.name())
    }

    /// The file in it that names all other places.
    pub fn main_file(self) -> String {
        format!("{}.conf", self.name())
    }

    /// Its run directory when the main file names none: the string with which it was compiled, byte by byte.
    pub fn run_directory(self) -> String {
        format!("/var/run/{}", self.name())
    }

    /// The file name of its console socket.
    pub fn console(self) -> String {
        format!("{}.ctl", self.name())
    }

    /// Turns a text that names Asterisk's files, units and account into this PBX's.
    pub fn rename(self, text: &str) -> String {
        text.replace(Pbx::Asterisk.name(), self.name())
            .replace(Pbx::Asterisk.title(), self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_choice() {
        let environment = [(VARIABLE.to_owned(), "gabpbx".to_owned())].into();
        let pbx = Pbx::chosen(&environment);
        assert_eq!(pbx.main_file(), "gabpbx.conf");
        assert_eq!(
            pbx.rename("/usr/sbin/asterisk -C /etc/asterisk/asterisk.conf"),
            "/usr/sbin/gabpbx -C /etc/gabpbx/gabpbx.conf"
        );
        assert_eq!(Pbx::chosen(&BTreeMap::new()).name(), "asterisk");
        assert!(Pbx::WORDS.contains(&pbx.name()));
    }
}
