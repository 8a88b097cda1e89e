//! Does the steps of a move, and takes a move back.
//!
//! Invariant: each step can be done twice, and nothing is done through a link.

use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use super::MigrateError;
use super::backup::{Record, Was};
use super::plan::Step;
use crate::config::paths::Paths;
use crate::sys::file::{Owner, sync_around, write_atomic};

pub(super) fn apply(
    paths: &Paths,
    steps: &[Step],
    warnings: &mut Vec<String>,
) -> Result<(), MigrateError> {
    let volume = paths.volume();
    for step in steps {
        match step {
            Step::Own {
                paths: owned,
                to: (uid, gid),
                name,
                ..
            } => {
                let failures = owned
                    .iter()
                    .filter(|path| failed(lchown(volume.join(path), Some(*uid), Some(*gid))))
                    .count();
                if failures > 0 {
                    warnings.push(format!(
                        "{failures} files of /srv could not be given to the account `{name}`; it may be unable to read them"
                    ));
                }
            }
            Step::Keep {
                path, gid, mode, ..
            } => {
                let path = volume.join(path);
                if failed(lchown(&path, Some(0), Some(*gid)).and_then(|()| set_mode(&path, *mode)))
                {
                    warnings.push(format!(
                        "`{}` could not be given to root; the keeper of certificates may be unable to read it",
                        path.display()
                    ));
                }
            }
            Step::Open { path, mode } => {
                let path = volume.join(path);
                if failed(set_mode(&path, *mode)) {
                    warnings.push(format!(
                        "the mode of `{}` could not be set; texts for phones may not get through",
                        path.display()
                    ));
                }
            }
            Step::Add { path, text, owner } => {
                let owner = match owner {
                    Some((uid, gid)) => Owner::Set {
                        uid: *uid,
                        gid: *gid,
                        mode: 0o640,
                    },
                    None => Owner::Keep {
                        new_file_mode: 0o640,
                    },
                };
                write_atomic(&volume.join(path), text.as_bytes(), owner)?;
            }
        }
    }
    if !steps.is_empty() {
        sync_around(&volume)?;
    }
    Ok(())
}

fn failed(result: io::Result<()>) -> bool {
    // What is gone needs no owner.
    result.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    if path.symlink_metadata()?.is_symlink() {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// What a way back has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Paths that are as they were.
    pub restored: usize,
    /// Paths that somebody has changed since, and that stay.
    pub kept: Vec<String>,
}

/// Puts everything back as the last move found it; `None`: there is no move to take back. The exchange must not run.
pub fn undo(paths: &Paths) -> Result<Option<Undone>, MigrateError> {
    let Some(record) = Record::to_undo(paths)? else {
        return Ok(None);
    };
    let volume = paths.volume();
    let mut undone = Undone::default();
    // What lies in a directory before the directory.
    for before in record.entries.iter().rev() {
        let path = volume.join(&before.path);
        let step = |step: &'static str| {
            let path = path.clone();
            move |source| MigrateError::Step { step, path, source }
        };
        match &before.was {
            Was::Owned { uid, gid, mode } => {
                let back =
                    lchown(&path, Some(*uid), Some(*gid)).and_then(|()| set_mode(&path, *mode));
                if failed(back) {
                    undone.kept.push(before.path.clone());
                    continue;
                }
            }
            Was::File {
                put_back: false, ..
            } => continue,
            Was::File {
                uid,
                gid,
                mode,
                copy,
                put_back: true,
            } => {
                let copy = record.copy(copy);
                let bytes = std::fs::read(&copy).map_err(step("read the copy of"))?;
                // A link in its place is ours, and the file that it leads to as well.
                if path.is_symlink() {
                    std::fs::remove_file(&path).map_err(step("remove"))?;
                }
                let owner = Owner::Set {
                    uid: *uid,
                    gid: *gid,
                    mode: *mode,
                };
                if std::fs::read(&path).ok().as_deref() == Some(bytes.as_slice()) {
                    lchown(&path, Some(*uid), Some(*gid))
                        .and_then(|()| set_mode(&path, *mode))
                        .map_err(step("give back"))?;
                } else {
                    write_atomic(&path, &bytes, owner)?;
                }
                let _ = std::fs::remove_file(put_aside(&path));
            }
            Was::Link { uid, gid, target } => {
                if std::fs::read_link(&path).ok().as_deref() != Some(Path::new(target)) {
                    remove(&path).map_err(step("remove"))?;
                    symlink(target, &path).map_err(step("link"))?;
                }
                lchown(&path, Some(*uid), Some(*gid)).map_err(step("give back"))?;
                let _ = std::fs::remove_file(put_aside(&path));
            }
            Was::Missing { added } => match std::fs::read(&path) {
                Ok(bytes) if bytes == added.as_bytes() => {
                    std::fs::remove_file(&path).map_err(step("remove"))?;
                }
                Ok(_) => {
                    undone.kept.push(before.path.clone());
                    continue;
                }
                Err(_) => {}
            },
            // One that is gone, or in use, harms nobody.
            Was::NoPlace => {
                if let Err(error) = std::fs::remove_dir(&path)
                    && error.kind() == io::ErrorKind::DirectoryNotEmpty
                {
                    undone.kept.push(before.path.clone());
                    continue;
                }
            }
            // What somebody has put there himself is no link, and no directory.
            Was::Nothing if path.is_file() && !path.is_symlink() => {
                undone.kept.push(before.path.clone());
                continue;
            }
            Was::Nothing => remove(&path).map_err(step("remove"))?,
        }
        undone.restored += 1;
    }
    let schema = paths.state().join("schema");
    remove(&schema).map_err(|source| MigrateError::Step {
        step: "remove",
        path: schema,
        source,
    })?;
    sync_around(&volume)?;
    record.undone()?;
    Ok(Some(undone))
}

/// Where the keeper of certificates puts what it replaces.
fn put_aside(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

/// Removes whatever is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
