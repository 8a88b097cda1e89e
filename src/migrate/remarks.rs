//! What else somebody who moves in should know: what is different at each start, and what is theirs to look at.
//!
//! Nothing is changed here, but for a directory in memory that is made to be looked at and removed.

use std::path::Path;

use crate::asterisk::arrange;
use crate::asterisk::conf::Document;
use crate::asterisk::directories::MODULES;
use crate::asterisk::generate::includes::Includes;
use crate::config::paths::Paths;
use crate::sys::file::read_text;

/// Sentences, those on each start first.
pub fn remarks(paths: &Paths) -> Vec<String> {
    let etc = paths.asterisk_config();
    let main = Includes::at(paths, &etc).read(&paths.pbx().main_file());
    let mut all = Vec::new();
    let shown = paths.arranged().with_extension("shown");
    match arrange::arrange(paths, paths.pbx(), &etc, main.as_deref(), &shown) {
        Ok(arranged) => {
            let is_rewritten = arranged.drop_in.is_some();
            if !arranged.left_out.is_empty() {
                all.push(format!(
                    "at each start: modules that modules.conf does not name and that could only report errors are not loaded: {}",
                    arranged.left_out.join(", ")
                ));
            }
            all.extend(
                arranged
                    .notes
                    .into_iter()
                    .map(|note| format!("at each start: {note}")),
            );
            if is_rewritten {
                all.push(format!(
                    "at each start: {} is read through one in memory, which puts the directories of this image before it; it stays as it is",
                    paths.pbx().main_file()
                ));
            }
        }
        Err(problem) => all.push(format!(
            "cannot tell what is different at each start: {problem}"
        )),
    }
    let _ = std::fs::remove_dir_all(shown);
    all.extend(mail_program(paths, &etc));
    all.extend(missing_modules(paths, &etc));
    all.extend(manager_user(&etc));
    if paths.at("srv/etc/nftables.d/autoban.nft").exists() {
        all.push(
            "AutoBan takes over who is banned in etc/nftables.d/autoban.nft at its first start; the file stays".to_owned(),
        );
    }
    all
}

fn read(etc: &Path, name: &str) -> Option<Document> {
    Some(Document::parse(&read_text(&etc.join(name)).ok()?))
}

/// A mail program that the container does not have.
fn mail_program(paths: &Paths, etc: &Path) -> Option<String> {
    let command = read(etc, "minivm.conf")?.effective("general", "mailcmd")?;
    let program = command.split_whitespace().next()?;
    let places = ["usr/local/bin", "usr/bin", "usr/sbin", "bin"];
    let is_there = match program.starts_with('/') {
        true => paths.at(program).exists(),
        false => places
            .iter()
            .any(|place| paths.at(place).join(program).exists()),
    };
    (!is_there).then(|| {
        format!("for you: minivm.conf sends voicemail with `{program}`, which this image does not have; voicemail is recorded and not sent")
    })
}

/// Modules that are asked for by name and are not there: Asterisk reports each as an error.
fn missing_modules(paths: &Paths, etc: &Path) -> Option<String> {
    let document = read(etc, "modules.conf")?;
    let home = paths.at(MODULES);
    if !home.is_dir() {
        return None;
    }
    let sections = document.sections();
    let entries = sections
        .filter(|section| section.name().eq_ignore_ascii_case("modules"))
        .flat_map(|section| section.entries().collect::<Vec<_>>());
    let asked = entries.filter(|entry| ["load", "preload", "require"].contains(&entry.key));
    let missing: Vec<String> = asked
        .map(|entry| entry.value.trim_end_matches(".so").to_owned())
        .filter(|module| !home.join(format!("{module}.so")).exists())
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "for you: modules.conf loads modules that this image does not have: {}",
            missing.join(", ")
        )
    })
}

/// AutoBan hears nothing without a user of the manager interface.
fn manager_user(etc: &Path) -> Option<String> {
    let has_user = read(etc, "manager.conf")?
        .sections()
        .any(|section| section.name().eq_ignore_ascii_case("autoban"));
    (!has_user).then(|| {
        "for you: manager.conf has no user [autoban], so AutoBan hears of no attack; take it from the sample".to_owned()
    })
}
