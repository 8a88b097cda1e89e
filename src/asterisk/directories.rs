//! In which directories the PBX lives here, where its asterisk.conf comes from another distribution.
//!
//! Debian and Alpine compile in different places for prompts, documentation and modules, and ship different modules. So
//! that a configuration stays as it is, the PBX is started with an asterisk.conf of ours which includes the user's own:
//! Asterisk takes the first section of a name (`ast_variable_browse` in main/config.c, seen with 22.10.1), and ours stand
//! first. Pure. Invariant: a configuration that fits as it is gets no file of ours.

pub mod modules;

use super::listeners::Settings;

/// Where the image keeps the PBX's data, by what Debian compiled in.
pub const DATA: &str = "/usr/share/asterisk";
/// Where Alpine keeps it, which is on the volume.
pub const VOLUME_DATA: &str = "/var/lib/asterisk";
/// The module directory of both, in the image a link.
pub const MODULES: &str = "/usr/lib/asterisk/modules";

/// Directories of data that a user may have filled; by them data on the volume are told from none.
pub const KINDS_OF_DATA: [&str; 7] = [
    "firmware",
    "images",
    "keys",
    "moh",
    "phoneprov",
    "sounds",
    "static-http",
];

/// What was found around a configuration.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// `KINDS_OF_DATA` are in the directory that the configuration means by its data.
    pub has_own_data: bool,
    /// There are AGI programs in `VOLUME_DATA`/agi-bin.
    pub has_own_agi: bool,
    /// The account as which the PBX runs.
    pub account: String,
}

/// Where the PBX is to look, in place of what its configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay<'a> {
    /// The directory of merged data.
    pub data: Option<&'a str>,
    /// The directory of links to modules.
    pub modules: Option<&'a str>,
}

/// The entries of two sections of asterisk.conf, as the PBX would read them.
#[derive(Debug, Clone, Default)]
pub struct Main {
    /// There is such a file.
    exists: bool,
    directories: Settings,
    options: Settings,
}

impl Main {
    /// `text`: asterisk.conf with what it includes.
    pub fn read(text: Option<&str>) -> Main {
        Main {
            exists: text.is_some(),
            directories: Settings::read(text.unwrap_or_default(), "directories"),
            options: Settings::read(text.unwrap_or_default(), "options"),
        }
    }

    /// The user's directory of data: prompts, music, pictures.
    pub fn data(&self) -> &str {
        self.directories
            .last(&["astdatadir"])
            .unwrap_or(VOLUME_DATA)
    }

    /// The user's own directory of modules; `None`: those of the image.
    pub fn own_modules(&self) -> Option<&str> {
        let named = self.directories.last(&["astmoddir"])?;
        (named.trim_end_matches('/') != MODULES && !named.ends_with("/asterisk/modules"))
            .then_some(named)
    }

    /// Whether data must be merged: those that the configuration means are not the image's.
    pub fn merges_data(&self, found: &Found) -> bool {
        match self.directories.last(&["astdatadir"]) {
            Some(named) => named.trim_end_matches('/') != DATA,
            None => found.has_own_data,
        }
    }

    /// The asterisk.conf with which the PBX is to be started, which includes `path`; `None`: the user's fits as it is.
    pub fn rewritten(&self, path: &str, overlay: &Overlay<'_>, found: &Found) -> Option<String> {
        let mut directories: Vec<(&str, &str)> = self.directories.entries().collect();
        let names_agi = self.directories.last(&["astagidir"]).is_some();
        let agi = (found.has_own_agi && !names_agi).then_some("/var/lib/asterisk/agi-bin");
        // Asterisk wants a directory `keys` there, which merged data have.
        let names_keys = self.directories.last(&["astkeydir"]) == Some(self.data());
        let keys = overlay.data.filter(|_| names_keys);
        let places = [
            ("astagidir", agi),
            ("astdatadir", overlay.data),
            ("astmoddir", overlay.modules),
            ("astkeydir", keys),
        ];
        for (key, value) in places {
            if let Some(value) = value {
                directories.retain(|(given, _)| *given != key);
                directories.push((key, value));
            }
        }
        // It runs as its account from its first instruction on; told to become it, it complains of capabilities, and told
        // to become another it ends.
        let changes_user = ["runuser", "rungroup"]
            .iter()
            .any(|key| self.options.last(&[key]).is_some());
        let is_same = agi.is_none() && overlay.data.is_none() && overlay.modules.is_none();
        if is_same && !changes_user && self.exists {
            return None;
        }
        let mut text = format!(
            "; Made at each start: what {path} says, with the directories of this image.\n[directories]\n"
        );
        push(&mut text, directories.into_iter());
        if changes_user {
            text.push_str("\n[options]\n");
            let kept = self.options.entries();
            push(
                &mut text,
                kept.filter(|(key, _)| !["runuser", "rungroup"].contains(key)),
            );
        }
        text.push_str(&format!("\n#tryinclude \"{path}\"\n"));
        Some(text)
    }

    /// The account that the configuration asks for, where it is another than ours.
    pub fn other_user(&self, account: &str) -> Option<&str> {
        self.options
            .last(&["runuser"])
            .filter(|user| !user.is_empty() && *user != account)
    }
}

fn push<'a>(text: &mut String, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    for (key, value) in entries {
        text.push_str(&format!("{key} => {}\n", value.replace(';', "\\;")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Overlay<'static> = Overlay {
        data: None,
        modules: None,
    };

    fn rewritten(text: &str, overlay: &Overlay<'_>, found: &Found) -> Option<String> {
        Main::read(Some(text)).rewritten("/etc/asterisk/asterisk.conf", overlay, found)
    }

    #[test]
    fn a_configuration_that_fits_is_left_alone() {
        let text = "[directories]\nastrundir => /run/asterisk\n[options]\nverbose = 3\n";
        assert_eq!(rewritten(text, &NONE, &Found::default()), None);
        assert!(!Main::read(Some(text)).merges_data(&Found::default()));
    }

    #[test]
    fn directories_of_ours_stand_before_the_users_own() {
        let text = "[directories](!)\nastdatadir => /nowhere\n[directories]\nastrundir => /var/run/asterisk\nastdatadir => /var/lib/asterisk\nastkeydir => /var/lib/asterisk\n";
        let main = Main::read(Some(text));
        assert_eq!(main.data(), "/var/lib/asterisk");
        assert!(main.merges_data(&Found::default()));
        let overlay = Overlay {
            data: Some("/run/x/data"),
            modules: Some("/run/x/modules"),
        };
        insta::assert_snapshot!(rewritten(text, &overlay, &Found::default()).unwrap(), @r#"
        ; Made at each start: what /etc/asterisk/asterisk.conf says, with the directories of this image.
        [directories]
        astrundir => /var/run/asterisk
        astdatadir => /run/x/data
        astmoddir => /run/x/modules
        astkeydir => /run/x/data

        #tryinclude "/etc/asterisk/asterisk.conf"
        "#);
    }

    #[test]
    fn it_never_becomes_another_user() {
        let text = "[options]\nrunuser = root\nverbose = 3\nrungroup = root\n";
        let shown = rewritten(text, &NONE, &Found::default()).unwrap();
        assert!(shown.contains("[options]\nverbose => 3\n\n#"), "{shown}");
        assert_eq!(Main::read(Some(text)).other_user("asterisk"), Some("root"));
    }

    #[test]
    fn a_missing_file_and_programs_on_the_volume_are_enough() {
        let main = Main::read(None);
        let path = "/etc/asterisk/asterisk.conf";
        assert!(main.rewritten(path, &NONE, &Found::default()).is_some());
        let found = Found {
            has_own_agi: true,
            has_own_data: true,
            ..Found::default()
        };
        assert!(main.merges_data(&found));
        let shown = rewritten("", &NONE, &found).unwrap();
        assert!(
            shown.contains("astagidir => /var/lib/asterisk/agi-bin\n"),
            "{shown}"
        );
        let named = "[directories]\nastagidir => /opt/agi\n";
        assert_eq!(rewritten(named, &NONE, &found), None);
    }

    #[test]
    fn modules_of_somebodys_own_are_told_from_the_images() {
        let own = |dir: &str| {
            let main = Main::read(Some(&format!("[directories]\nastmoddir => {dir}\n")));
            main.own_modules().map(str::to_owned)
        };
        assert_eq!(own("/usr/lib/asterisk/modules"), None);
        assert_eq!(own("/usr/lib/aarch64-linux-gnu/asterisk/modules"), None);
        assert_eq!(own("/srv/modules").as_deref(), Some("/srv/modules"));
    }
}
