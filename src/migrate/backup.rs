//! The memory of a move: a manifest of how each path was, with copies of what may be replaced.
//!
//! Each move has a directory of its own below /srv/var/lib/switchhook/backup, for root alone: `manifest.jsonl`, an entry a
//! line, `files/` with the copies, and an empty file `complete` or `undone` for how far it came. Invariant: the manifest of
//! a move that was cut short keeps its entries; looking again never replaces what was seen before the first change.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::MigrateError;
use super::plan::Care;
use crate::config::paths::Paths;
use crate::sys::file::{Owner, make_directory, write_atomic};

const MANIFEST: &str = "manifest.jsonl";
const COMPLETE: &str = "complete";
const UNDONE: &str = "undone";
/// The largest file of which a copy is kept, in bytes; an astdb has a few hundred thousand.
const LARGEST: u64 = 256 << 20;

/// How a path was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Below the volume.
    pub path: String,
    pub was: Was,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Was {
    /// Only to whom it belonged and its mode; links have none.
    Owned {
        uid: u32,
        gid: u32,
        mode: u32,
    },
    /// A file, of which there is a copy in `files/`.
    File {
        uid: u32,
        gid: u32,
        mode: u32,
        copy: String,
        /// It is put back; else the copy is to look at.
        put_back: bool,
    },
    Link {
        uid: u32,
        gid: u32,
        target: String,
    },
    /// It was not there, and a file of this text was added.
    Missing {
        added: String,
    },
    /// It was not there; a directory was made, which may go when nothing is in it.
    NoPlace,
    /// It was not there, and what is there is ours.
    Nothing,
}

/// The record of one move.
#[derive(Debug)]
pub struct Record {
    pub directory: PathBuf,
    pub entries: Vec<Before>,
}

impl Record {
    /// Looks at the paths, keeps copies and writes the manifest. Where nothing is to be touched nothing is written.
    pub(super) fn begin(
        paths: &Paths,
        touched: &[(String, Care, Option<String>)],
    ) -> Result<Record, MigrateError> {
        let home = paths.backup();
        let cut_short = last(&home, |directory| {
            !directory.join(COMPLETE).exists() && !directory.join(UNDONE).exists()
        });
        let mut known: BTreeMap<String, Was> = BTreeMap::new();
        let directory = match cut_short {
            Some(directory) => {
                let entries = read(&directory)?;
                known.extend(entries.into_iter().map(|before| (before.path, before.was)));
                directory
            }
            None => home.join(format!(
                "{:04}-move-in",
                numbers(&home).last().unwrap_or(&0) + 1
            )),
        };
        if touched.is_empty() && known.is_empty() {
            return Ok(Record {
                directory,
                entries: Vec::new(),
            });
        }
        let files = directory.join("files");
        make_directory(&paths.state(), 0o755)?;
        make_directory(&home, 0o700)?;
        make_directory(&directory, 0o700)?;
        make_directory(&files, 0o700)?;
        for (path, care, text) in touched {
            if known.contains_key(path) {
                continue;
            }
            let name = format!("{:04}", known.len());
            let was = look(
                &paths.volume().join(path),
                *care,
                text.as_deref(),
                &files,
                &name,
            )?;
            if let Some(was) = was {
                known.insert(path.clone(), was);
            }
        }
        let entries: Vec<Before> = known
            .into_iter()
            .map(|(path, was)| Before { path, was })
            .collect();
        let lines = entries
            .iter()
            .filter_map(|before| serde_json::to_string(before).ok());
        let text: String = lines.map(|line| line + "\n").collect();
        write_atomic(&directory.join(MANIFEST), text.as_bytes(), roots(0o600))?;
        Ok(Record { directory, entries })
    }

    pub(super) fn complete(&self) -> Result<(), MigrateError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        Ok(write_atomic(
            &self.directory.join(COMPLETE),
            b"",
            roots(0o600),
        )?)
    }

    /// The last move that was not taken back; `None`: there is none.
    pub(super) fn to_undo(paths: &Paths) -> Result<Option<Record>, MigrateError> {
        let found = last(&paths.backup(), |directory| {
            !directory.join(UNDONE).exists()
        });
        let Some(directory) = found else {
            return Ok(None);
        };
        let entries = read(&directory)?;
        Ok(Some(Record { directory, entries }))
    }

    pub(super) fn undone(&self) -> Result<(), MigrateError> {
        Ok(write_atomic(
            &self.directory.join(UNDONE),
            b"",
            roots(0o600),
        )?)
    }

    /// A copy in this record.
    pub(super) fn copy(&self, name: &str) -> PathBuf {
        self.directory.join("files").join(name)
    }
}

/// Root's in the image, and ours in a test's root.
fn roots(mode: u32) -> Owner {
    Owner::Set {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        mode,
    }
}

fn look(
    path: &Path,
    care: Care,
    text: Option<&str>,
    files: &Path,
    name: &str,
) -> Result<Option<Was>, MigrateError> {
    let failed = |step: &'static str| {
        let path = path.to_owned();
        move |source| MigrateError::Step { step, path, source }
    };
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Ok(match care {
                Care::Added => Some(Was::Missing {
                    added: text.unwrap_or_default().to_owned(),
                }),
                Care::Place => Some(Was::NoPlace),
                Care::Ours => Some(Was::Nothing),
                // It went since it was looked for.
                Care::Owner | Care::Content | Care::Look => None,
            });
        }
        Err(e) => return Err(failed("look at")(e)),
    };
    let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let is_kept = matches!(care, Care::Content | Care::Look);
    if is_kept && metadata.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed("read"))?;
        return Ok(Some(Was::Link {
            uid,
            gid,
            target: target.to_string_lossy().into_owned(),
        }));
    }
    if is_kept && metadata.is_file() && metadata.len() <= LARGEST {
        let bytes = std::fs::read(path).map_err(failed("read"))?;
        let copy = files.join(name);
        write_atomic(&copy, &bytes, roots(0o600)).map_err(|source| MigrateError::Copy {
            path: files.to_owned(),
            source,
        })?;
        return Ok(Some(Was::File {
            uid,
            gid,
            mode,
            copy: name.to_owned(),
            put_back: care == Care::Content,
        }));
    }
    Ok(Some(Was::Owned { uid, gid, mode }))
}

/// The numbers of the moves, smallest first.
fn numbers(home: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.to_owned();
            name.strip_suffix("-move-in")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The last move whose manifest was written and of which this holds.
fn last(home: &Path, holds: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let directories = numbers(home)
        .into_iter()
        .rev()
        .map(|number| home.join(format!("{number:04}-move-in")));
    let mut written = directories.filter(|directory| directory.join(MANIFEST).exists());
    written.find(|directory| holds(directory))
}

fn read(directory: &Path) -> Result<Vec<Before>, MigrateError> {
    let path = directory.join(MANIFEST);
    let text = std::fs::read_to_string(&path).map_err(|source| MigrateError::Step {
        step: "read",
        path: path.clone(),
        source,
    })?;
    let lines = text.lines().enumerate();
    lines
        .map(|(at, line)| {
            serde_json::from_str(line).map_err(|source| MigrateError::Manifest {
                path: path.clone(),
                line: at + 1,
                source,
            })
        })
        .collect()
}
