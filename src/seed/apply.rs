//! Carrying out a seed plan on the disk.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::plan::{Action, CONFIGURATION, Found, FromTheFuture, Owner, PLACES};
use super::secret::Secrets;
use crate::config::paths::Paths;
use crate::migrate::{self, MigrateError, Move};
use crate::sys::file::{self, FileError, sync_around, write_atomic, write_unsynced};

/// The account of the log service.
const LOG_ACCOUNT: &str = "log";
/// The account of AutoBan's daemon.
const AUTOBAN_ACCOUNT: &str = "autoban";
const WEBSMS_ACCOUNT: &str = "websms";

/// Why the volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error(transparent)]
    Future(#[from] FromTheFuture),
    #[error(
        "cannot read `{path}`: {source}\nhint: the volume's schema file must hold one number; restore it, or ask for help with a copy of the volume"
    )]
    Schema { path: PathBuf, source: io::Error },
    #[error("cannot write to the volume /srv: {source}\nhint: {}", write_hint(.source))]
    NotWritable { source: io::Error },
    #[error("cannot {step} `{path}`: {source}\nhint: {}", write_hint(.source))]
    Step {
        step: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{error}: {}\nhint: {}", cause(.error), file_hint(.error))]
    Write { error: FileError },
    #[error("{error}{}\nhint: look at the host's storage behind /srv; `switchhook migrate --undo` goes back", causes(.error))]
    Move { error: MigrateError },
    #[error("no random numbers from the kernel: {0}")]
    Random(getrandom::Error),
}

impl SeedError {
    /// The disk is full, nothing else is wrong.
    pub fn is_full(&self) -> bool {
        matches!(self, SeedError::NotWritable { source } if source.kind() == io::ErrorKind::StorageFull)
    }
}

impl From<FileError> for SeedError {
    fn from(error: FileError) -> SeedError {
        SeedError::Write { error }
    }
}

impl From<MigrateError> for SeedError {
    fn from(error: MigrateError) -> SeedError {
        SeedError::Move { error }
    }
}

/// All causes of an error, each behind a colon.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn cause(error: &FileError) -> String {
    std::error::Error::source(error).map_or_else(String::new, ToString::to_string)
}

fn file_hint(error: &FileError) -> &'static str {
    match error {
        FileError::Io { source, .. } => write_hint(source),
        other => other.hint().unwrap_or("look at the volume"),
    }
}

fn write_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; free some space, nothing was lost"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount a writable volume, as in `-v tele-conf:/srv` (without `:ro`)"
        }
        io::ErrorKind::PermissionDenied => {
            "the container needs CHOWN, DAC_OVERRIDE and FOWNER, or a volume that root may write to"
        }
        _ => "look at the host's storage behind /srv",
    }
}

fn step(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SeedError {
    move |source| SeedError::Step {
        step,
        path: path.to_owned(),
        source,
    }
}

/// The seed files, as paths below the volume, in name order.
fn list_seeds(seed: &Path) -> Result<Vec<String>, SeedError> {
    let mut out = Vec::new();
    let mut pending = vec![seed.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(step("read", &directory)(e)),
        };
        for entry in entries {
            let entry = entry.map_err(step("read", &directory))?;
            let path = entry.path();
            // The directory knows what its entries are, but not what a link leads to.
            let kind = entry.file_type().map_err(step("read", &directory))?;
            if kind.is_dir() || kind.is_symlink() && path.is_dir() {
                pending.push(path);
            } else if let Ok(below) = path.strip_prefix(seed) {
                out.push(below.to_string_lossy().into_owned());
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Looks at the volume. The seed files, as paths below it, are listed and looked for only where a new volume needs them.
pub fn look(paths: &Paths) -> Result<(Found, Vec<String>), SeedError> {
    let schema_file = paths.state().join("schema");
    let schema = match std::fs::read_to_string(&schema_file) {
        Ok(text) => {
            let parsed = text.trim().parse().map_err(|_| SeedError::Schema {
                path: schema_file,
                source: io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("`{}` is no number", text.trim()),
                ),
            });
            Some(parsed?)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(SeedError::Schema {
                path: schema_file,
                source,
            });
        }
    };
    let exists = |below: &str| place(paths, below).symlink_metadata().is_ok();
    // An empty seed file is what a power cut leaves of one that had not reached the disk.
    let has_content = |below: &str| {
        let found = place(paths, below).symlink_metadata();
        found.is_ok_and(|metadata| !metadata.is_file() || metadata.len() > 0)
    };
    let places = PLACES
        .iter()
        .map(|place| place.path.to_owned())
        .filter(|path| exists(path));
    let configuration = place(paths, CONFIGURATION);
    let is_empty = match std::fs::read_dir(&configuration) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => true,
        Err(e) => return Err(step("read", &configuration)(e)),
    };
    let seeding = paths.state().join("seeding").exists();
    let seeds = if is_empty || seeding {
        list_seeds(&paths.seed())?
    } else {
        Vec::new()
    };
    let files = seeds.iter().filter(|seed| has_content(seed)).cloned();
    let found = Found {
        schema,
        places: places.collect(),
        files: files.collect::<BTreeSet<_>>(),
        is_empty,
        seeding,
    };
    Ok((found, seeds))
}

/// Makes and removes a small file at the top of the volume.
pub fn check_writable(paths: &Paths) -> Result<(), SeedError> {
    let volume = paths.volume();
    let probe = volume.join(".switchhook-write-test");
    let written = std::fs::create_dir_all(&volume).and_then(|()| take_room(&probe));
    let _ = std::fs::remove_file(&probe);
    written.map_err(|source| SeedError::NotWritable { source })
}

/// Allocates a block, which tells at once that a disk is full or a quota used up. Where the file system cannot do that
/// (fallocate(2)), only bringing bytes to disk tells; it takes milliseconds at every start.
fn take_room(probe: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create(probe)?;
    match fallocate(&file, FallocateFlags::empty(), 0, 4096) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            file.write_all(&[0u8; 4096])?;
            file.sync_all()
        }
        result => Ok(result?),
    }
}

/// Does what was planned; returns the number of files seeded. `moving` is the move that a volume from elsewhere has begun.
pub fn apply(
    paths: &Paths,
    actions: &[Action],
    moving: Option<&Move>,
    warnings: &mut Vec<String>,
) -> Result<usize, SeedError> {
    if actions.is_empty() {
        return Ok(0);
    }
    // In a test's root there may be no such account; then everything stays ours.
    let ids = |name: &str| {
        let account = crate::sys::account::user(name).ok().flatten()?;
        Some((account.uid, account.gid))
    };
    let (pbx, log) = (ids(paths.pbx().name()), ids(LOG_ACCOUNT));
    let (autoban, websms) = (ids(AUTOBAN_ACCOUNT), ids(WEBSMS_ACCOUNT));
    let owner = |owner: Owner| match owner {
        Owner::Asterisk => pbx,
        Owner::Log => log,
        Owner::Autoban => autoban,
        Owner::Websms => websms,
        Owner::Root => None,
    };
    let volume = paths.volume();
    let marker = paths.state().join("seeding");
    let mut secrets = Secrets::default();
    let mut seeded = 0;
    for action in actions {
        match action {
            Action::MakePlace(place) => {
                let path = self::place(paths, place.path);
                std::fs::create_dir_all(&path).map_err(step("make", &path))?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(place.mode))
                    .map_err(step("set the mode of", &path))?;
                if let Some((uid, gid)) = owner(place.owner) {
                    chown(&path, Some(uid), Some(gid))
                        .map_err(step("change the owner of", &path))?;
                }
            }
            Action::AdoptOwner => {
                if let Some(moving) = moving {
                    migrate::apply(paths, moving, warnings)?;
                }
            }
            Action::BeginSeeding => {
                if let Ok(text) = std::fs::read_to_string(&marker) {
                    secrets = Secrets::from_text(&text);
                }
                write_atomic(&marker, secrets.to_text().as_bytes(), ours(0o600))?;
            }
            Action::Seed(below) => {
                let source = paths.seed().join(below);
                let bytes = std::fs::read(&source).map_err(step("read", &source))?;
                let bytes = match String::from_utf8(bytes) {
                    Ok(text) => {
                        let text = paths.pbx().rename(&text);
                        let before = secrets.clone();
                        let filled = secrets
                            .fill(&text, &mut |buffer: &mut [u8]| getrandom::getrandom(buffer));
                        let filled = filled.map_err(SeedError::Random)?;
                        if secrets != before {
                            // Kept first: an interrupted seeding must go on with the same secrets.
                            write_atomic(&marker, secrets.to_text().as_bytes(), ours(0o600))?;
                        }
                        filled.into_bytes()
                    }
                    Err(binary) => binary.into_bytes(),
                };
                let target = place(paths, below);
                if let Some(parent) = target.parent() {
                    std::fs::create_dir_all(parent).map_err(step("make", parent))?;
                }
                let (uid, gid) = owner(Owner::Asterisk).unwrap_or_else(own_ids);
                write_unsynced(
                    &target,
                    &bytes,
                    file::Owner::Set {
                        uid,
                        gid,
                        mode: 0o640,
                    },
                )?;
                seeded += 1;
            }
            Action::EndSeeding => {
                sync_around(&volume)?;
                std::fs::remove_file(&marker).map_err(step("remove", &marker))?;
            }
            Action::WriteSchema(schema) => {
                let path = paths.state().join("schema");
                write_atomic(&path, format!("{schema}\n").as_bytes(), ours(0o644))?;
            }
        }
    }
    Ok(seeded)
}

/// A place of the volume; the plan names Asterisk's.
fn place(paths: &Paths, below: &str) -> PathBuf {
    paths.volume().join(paths.pbx().rename(below))
}

/// A file of PID 1's own.
fn ours(mode: u32) -> file::Owner {
    let (uid, gid) = own_ids();
    file::Owner::Set { uid, gid, mode }
}

fn own_ids() -> (u32, u32) {
    (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    )
}
