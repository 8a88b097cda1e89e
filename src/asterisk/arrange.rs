//! Lays out, in memory, the directories that the PBX is shown where its configuration comes from another distribution.
//!
//! `directories` decides; here links are made. Nothing of the volume is changed. Invariant: every entry of the merged
//! directory of data is a directory of ours or a link to one file or directory, the user's before the image's, but for what
//! belongs to the program itself (its documentation).

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::directories::modules::Wanted;
use super::directories::{DATA, Found, KINDS_OF_DATA, MODULES, Main, Overlay};
use super::generate::includes::{Includes, read_plain};
use super::generate::write;
use crate::config::paths::Paths;
use crate::config::pbx::Pbx;

/// What the program itself reads must be of its version.
const PROGRAMS_OWN: [&str; 2] = ["documentation", "rest-api"];
/// How deep two directories of the same name are merged; below, the user's is taken whole.
const DEEPEST: usize = 6;
/// More links than any set of prompts needs.
const MOST_LINKS: usize = 50_000;

/// What the PBX's unit needs, and what the operator should know.
#[derive(Debug, Default)]
pub struct Arranged {
    /// The text of a drop-in for the PBX's unit; `None`: it is started as ever.
    pub drop_in: Option<String>,
    /// Sentences on what is different and why.
    pub notes: Vec<String>,
    /// Modules that are not shown, each with the reason.
    pub left_out: Vec<String>,
}

/// Arranges in `home` what `etc`, the configuration directory with this text of asterisk.conf, asks for.
pub fn arrange(
    paths: &Paths,
    pbx: Pbx,
    etc: &Path,
    main: Option<&str>,
    home: &Path,
) -> Result<Arranged, String> {
    match std::fs::remove_dir_all(home) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("cannot empty `{}`: {e}", home.display()));
        }
        _ => {}
    }
    let mut arranged = Arranged::default();
    // Another PBX brings directories of its own.
    if pbx != Pbx::default() {
        return Ok(arranged);
    }
    let Some(command) = command(paths, pbx) else {
        return Ok(arranged);
    };
    let settings = Main::read(main);
    let found = found(paths, &settings, pbx);
    let data = home.join("data");
    let mut has_data = false;
    if settings.merges_data(&found) {
        let mut left = MOST_LINKS;
        let theirs = paths.at(settings.data());
        merge(&theirs, &paths.at(DATA), &data, 0, &mut left)
            .map_err(|e| format!("cannot lay out `{}`: {e}", data.display()))?;
        has_data = true;
        arranged.notes.push(format!(
            "prompts, music and other data are read from {} before the image's own; what is added to a directory that \
             both have is seen after the next start",
            settings.data()
        ));
    }
    let modules = home.join("modules");
    let mut has_modules = false;
    if settings
        .own_modules()
        .is_none_or(|own| !paths.at(own).is_dir())
    {
        has_modules = lay_out_modules(paths, etc, &modules, &mut arranged.left_out)
            .map_err(|e| format!("cannot lay out `{}`: {e}", modules.display()))?;
    }
    if let Some(user) = settings.other_user(&found.account) {
        arranged.notes.push(format!(
            "{}: runuser = {user} is passed over: the exchange's account is {}",
            pbx.main_file(),
            found.account
        ));
    }
    let (data, modules) = (data.to_string_lossy(), modules.to_string_lossy());
    let overlay = Overlay {
        data: has_data.then_some(&*data),
        modules: has_modules.then_some(&*modules),
    };
    let path = etc.join(pbx.main_file());
    if let Some(text) = settings.rewritten(&path.to_string_lossy(), &overlay, &found) {
        let ours = home.join(pbx.main_file());
        write(&ours, &text)?;
        arranged.drop_in = Some(format!(
            "# Made at each start: a drop-in of yours that sorts behind it wins.\n[Service]\nExecStart=\nExecStart={command} -C {}\n",
            ours.display()
        ));
    }
    Ok(arranged)
}

/// How the image starts the PBX. Somebody's own unit is whole, and starts it as it likes.
fn command(paths: &Paths, pbx: Pbx) -> Option<String> {
    let [image, _, volume] = paths.units();
    let name = format!("{}.service", pbx.name());
    if volume.join(&name).exists() {
        return None;
    }
    let text = read_plain(&image.join(&name)).ok()?;
    let mut commands = text
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let command = commands.next_back()?.trim();
    // A script, or something else that does not take the word.
    command
        .starts_with(&format!("/{}", pbx.program().trim_start_matches('/')))
        .then(|| command.to_owned())
}

fn found(paths: &Paths, settings: &Main, pbx: Pbx) -> Found {
    let theirs = paths.at(settings.data());
    let has_entries =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    Found {
        has_own_data: KINDS_OF_DATA
            .iter()
            .any(|kind| has_entries(&theirs.join(kind))),
        has_own_agi: has_entries(&paths.at("var/lib/asterisk/agi-bin")),
        account: pbx.name().to_owned(),
    }
}

/// Links to all modules but those that could only complain; whether there are any of those.
fn lay_out_modules(
    paths: &Paths,
    etc: &Path,
    directory: &Path,
    told: &mut Vec<String>,
) -> std::io::Result<bool> {
    let Some(conf) = Includes::at(paths, etc).read("modules.conf") else {
        return Ok(false);
    };
    let Ok(home) = paths.at(MODULES).canonicalize() else {
        return Ok(false);
    };
    let mut present = BTreeSet::new();
    for entry in std::fs::read_dir(&home)? {
        let name = entry?.file_name();
        if let Some(module) = name.to_str().and_then(|name| name.strip_suffix(".so")) {
            present.insert(module.to_owned());
        }
    }
    let left_out = Wanted::read(&conf).left_out(&present, &|file| etc.join(file).exists());
    if left_out.is_empty() {
        return Ok(false);
    }
    std::fs::create_dir_all(directory)?;
    let shown = present
        .iter()
        .filter(|module| !left_out.contains_key(module.as_str()));
    for module in shown {
        let file = format!("{module}.so");
        symlink(home.join(&file), directory.join(&file))?;
    }
    let list = left_out.iter();
    told.extend(list.map(|(module, reason)| format!("{module} ({reason})")));
    Ok(true)
}

/// Fills `target` with links to what is in `theirs` and `ours`.
fn merge(
    theirs: &Path,
    ours: &Path,
    target: &Path,
    depth: usize,
    left: &mut usize,
) -> std::io::Result<()> {
    std::fs::create_dir_all(target)?;
    let (mine, own) = (names(theirs), names(ours));
    for name in mine.union(&own) {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other("there are too many files"))?;
        let (user, image) = (theirs.join(name), ours.join(name));
        let (to, is_programs) = (
            target.join(name),
            depth == 0 && PROGRAMS_OWN.contains(&name.as_str()),
        );
        if is_programs && own.contains(name) {
            symlink(image, to)?;
        } else if !own.contains(name) {
            symlink(user, to)?;
        } else if !mine.contains(name) {
            symlink(image, to)?;
        } else if depth < DEEPEST && user.is_dir() && image.is_dir() && !leads_into(&image, theirs)
        {
            merge(&user, &image, &to, depth + 1, left)?;
        } else {
            symlink(user, to)?;
        }
    }
    Ok(())
}

/// Whether a directory of the image is but a link to one of the user's.
fn leads_into(image: &Path, theirs: &Path) -> bool {
    match (image.canonicalize(), theirs.canonicalize()) {
        (Ok(image), Ok(theirs)) => image.starts_with(theirs),
        _ => false,
    }
}

/// The names in a directory that lead somewhere.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.exists())
        .filter_map(|path: PathBuf| Some(path.file_name()?.to_str()?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[&str]) -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        for name in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let unit = directory
            .path()
            .join("usr/lib/switchhook/units/asterisk.service");
        std::fs::create_dir_all(unit.parent().unwrap()).unwrap();
        std::fs::write(unit, "[Service]\nExecStart=/usr/sbin/asterisk -f -n\n").unwrap();
        let paths = Paths::under(directory.path());
        (directory, paths)
    }

    fn arranged(paths: &Paths, main: Option<&str>) -> Arranged {
        let etc = paths.at("etc/asterisk");
        arrange(paths, Pbx::Asterisk, &etc, main, &paths.arranged()).unwrap()
    }

    #[test]
    fn a_configuration_of_this_image_is_started_as_ever() {
        let (_directory, paths) = root(&["usr/share/asterisk/sounds/en/a.gsm"]);
        let arranged = arranged(&paths, Some("[options]\n"));
        assert_eq!((arranged.drop_in, arranged.notes.len()), (None, 0));
        assert!(!paths.arranged().exists());
    }

    #[test]
    fn data_of_the_volume_come_first_and_the_image_fills_the_gaps() {
        let (_directory, paths) = root(&[
            "usr/share/asterisk/sounds/en/a.gsm",
            "usr/share/asterisk/sounds/en/b.gsm",
            "usr/share/asterisk/moh/m.gsm",
            "usr/share/asterisk/documentation/core-en_US.xml",
            "var/lib/asterisk/sounds/en/a.gsm",
            "var/lib/asterisk/sounds/mine/c.gsm",
            "var/lib/asterisk/documentation/core-en_US.xml",
            "var/lib/asterisk/astdb.sqlite3",
        ]);
        let arranged = arranged(
            &paths,
            Some("[directories]\nastdatadir => /var/lib/asterisk\n"),
        );
        let data = paths.arranged().join("data");
        let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
        assert_eq!(read("sounds/en/a.gsm"), "var/lib/asterisk/sounds/en/a.gsm");
        assert_eq!(
            read("sounds/en/b.gsm"),
            "usr/share/asterisk/sounds/en/b.gsm"
        );
        assert_eq!(
            read("sounds/mine/c.gsm"),
            "var/lib/asterisk/sounds/mine/c.gsm"
        );
        assert_eq!(read("moh/m.gsm"), "usr/share/asterisk/moh/m.gsm");
        let documentation = "documentation/core-en_US.xml";
        assert!(read(documentation).starts_with("usr/share"));
        // What only the user has is a link, so that new files are seen at once.
        assert!(data.join("sounds/mine").is_symlink());
        let drop_in = arranged.drop_in.unwrap();
        assert!(
            drop_in.contains("ExecStart=/usr/sbin/asterisk -f -n -C "),
            "{drop_in}"
        );
    }

    #[test]
    fn somebodys_own_unit_starts_as_it_likes() {
        let (_directory, paths) = root(&["srv/etc/units/asterisk.service"]);
        let text = "[directories]\nastdatadir => /var/lib/asterisk\n";
        assert_eq!(arranged(&paths, Some(text)).drop_in, None);
    }

    #[test]
    fn modules_that_could_only_complain_are_not_shown() {
        let (_directory, paths) = root(&[
            "usr/lib/asterisk/modules/res_odbc.so",
            "usr/lib/asterisk/modules/app_dial.so",
        ]);
        let conf = paths.at("etc/asterisk/modules.conf");
        std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
        std::fs::write(conf, "[modules]\nautoload = yes\n").unwrap();
        let arranged = arranged(&paths, Some(""));
        let modules = paths.arranged().join("modules");
        assert!(modules.join("app_dial.so").exists() && !modules.join("res_odbc.so").exists());
        assert!(arranged.left_out == ["res_odbc (there is no res_odbc.conf)"]);
    }
}
