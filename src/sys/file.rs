//! Bytes reach the disk here: the one place that writes a file which must be whole or unchanged.
//!
//! It does not decide what is written, makes no backup and creates no directory.
//! Invariant: whoever opens the path, at any time and after any crash, finds the old bytes or the new ones, never a mixture;
//! and never finds new bytes that a power cut can take back once the call returned.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Gid, Uid, fchown};
use thiserror::Error;

/// The largest text file that is read whole, in bytes. Asterisk's own files are a hundred times smaller.
const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// How often a name that is already taken is replaced by another one before we give up.
const NAME_ATTEMPTS: u32 = 16;

/// How many links in a row are followed, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// To whom the written file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// As the file that is replaced; a new file belongs to its directory's owner and group and gets this mode.
    Keep { new_file_mode: u32 },
    /// Exactly this, whatever was there.
    Set { uid: u32, gid: u32, mode: u32 },
}

/// What was being done when an operation failed; reads well after "cannot".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Read,
    Inspect,
    FollowLink,
    CreateTemporary,
    SetOwner,
    SetMode,
    Write,
    Sync,
    Rename,
    SyncDirectory,
    Lock,
}

/// A file operation that failed, with its path and step.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot {step} `{}`", path.display())]
    Io {
        step: Step,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot read `{}`: byte {offset} is no UTF-8 text", path.display())]
    NotText { path: PathBuf, offset: usize },
    #[error("cannot read `{}`: it is larger than {} MiB", path.display(), MAX_TEXT / 1024 / 1024)]
    TooLarge { path: PathBuf },
    #[error("cannot write `{}`: it is no regular file", path.display())]
    NotRegular { path: PathBuf },
    #[error("cannot lock `{}`: another command has held it for {} s", path.display(), waited.as_secs())]
    Busy { path: PathBuf, waited: Duration },
}

impl FileError {
    fn io(step: Step, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { step, path, source }
    }

    /// What the reader can do next, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => match source.raw_os_error()? {
                libc::ENOSPC | libc::EDQUOT => {
                    Some("free some space on that file system and try again")
                }
                libc::EROFS => Some("that file system is read-only: mount the volume writable"),
                libc::EACCES | libc::EPERM => Some("run the command as root"),
                _ => None,
            },
            Self::NotText { .. } => {
                Some("convert the file, for instance with `iconv -f latin1 -t utf-8`")
            }
            Self::TooLarge { .. } => Some("split the file with `#include`"),
            Self::NotRegular { .. } => None,
            Self::Busy { .. } => Some("wait for that command, or end it"),
        }
    }

    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Inspect => "look at",
            Self::FollowLink => "follow the link",
            Self::CreateTemporary => "create the temporary file",
            Self::SetOwner => "set the owner of",
            Self::SetMode => "set the mode of",
            Self::Write => "write",
            Self::Sync => "bring to disk",
            Self::Rename => "move the new file to",
            Self::SyncDirectory => "bring the directory to disk",
            Self::Lock => "lock",
        })
    }
}

/// Reads a whole text file, of at most 16 MiB.
///
/// # Errors
/// If it cannot be read, is too large, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = FileError::io(Step::Read, path);
    let mut bytes = Vec::new();
    // Not blocking: a pipe in the place of the file must not stop us.
    let flags = (OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    match opened.and_then(|file| file.take(MAX_TEXT + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 > MAX_TEXT => Err(FileError::TooLarge {
            path: path.to_owned(),
        }),
        Ok(_) => String::from_utf8(bytes).map_err(|error| FileError::NotText {
            path: path.to_owned(),
            offset: error.utf8_error().valid_up_to(),
        }),
        Err(error) => Err(failed(error)),
    }
}

/// Replaces a file's content, or creates the file: temporary file beside it, fsync, rename, fsync of the directory.
///
/// A symbolic link is followed and stays a link; the file that it leads to is replaced. Owner, group and mode are set before
/// the file gets its name. Extended attributes and POSIX ACLs of the old file are not carried over.
///
/// # Errors
/// With the step that failed. Until the rename the old file is untouched and the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8], owner: Owner) -> Result<(), FileError> {
    let target = replace(path, bytes, owner, true)?;
    let directory = parent(&target);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(FileError::io(Step::SyncDirectory, directory))
}

/// As `write_atomic`, but leaves it to a later `sync_around` to bring many files to disk at once. Until then a power cut
/// can leave the file missing or empty.
///
/// # Errors
/// With the step that failed.
pub fn write_unsynced(path: &Path, bytes: &[u8], owner: Owner) -> Result<(), FileError> {
    replace(path, bytes, owner, false).map(|_| ())
}

/// Brings everything of the file system that holds `path` to disk (syncfs(2)).
///
/// # Errors
/// If `path` cannot be opened or the disk does not take it.
pub fn sync_around(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| nix::unistd::syncfs(&directory).map_err(io::Error::from))
        .map_err(FileError::io(Step::Sync, path))
}

fn replace(path: &Path, bytes: &[u8], owner: Owner, sync: bool) -> Result<PathBuf, FileError> {
    let target = follow_links(path)?;
    let directory = parent(&target);
    let owner = resolve_owner(&target, directory, owner)?;
    let (mut file, temporary) = create_temporary(&target, directory)?;
    let written = fill(&mut file, &temporary, bytes, owner, sync).and_then(|()| {
        fs::rename(&temporary, &target).map_err(FileError::io(Step::Rename, &target))
    });
    if let Err(error) = written {
        // The first error is the one to tell; a temporary file that stays is found by its name.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(target)
}

/// The file that a path means once all symbolic links in its last component are followed; it need not exist.
///
/// # Errors
/// If a link cannot be read, or there are too many of them.
pub fn follow_links(path: &Path) -> Result<PathBuf, FileError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_symlink() => {
                let link =
                    fs::read_link(&target).map_err(FileError::io(Step::FollowLink, &target))?;
                target = parent(&target).join(link);
            }
            Ok(metadata) if metadata.is_file() => return Ok(target),
            Ok(_) => return Err(FileError::NotRegular { path: target }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(error) => return Err(FileError::io(Step::Inspect, &target)(error)),
        }
    }
    Err(FileError::io(Step::FollowLink, path)(
        io::Error::from_raw_os_error(libc::ELOOP),
    ))
}

/// Holds the lock of a file until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

/// Takes the lock that belongs to a file: `flock` on `.NAME.lock` beside it, which stays there, empty.
///
/// # Errors
/// If the lock file cannot be opened, or if another process holds the lock longer than `patience`.
pub fn lock_beside(path: &Path, patience: Duration) -> Result<Lock, FileError> {
    lock(path, patience, File::try_lock)
}

/// Takes the same lock beside others who share it: whoever wants it alone waits for all of them.
///
/// # Errors
/// As of [`lock_beside`].
pub fn share_beside(path: &Path, patience: Duration) -> Result<Lock, FileError> {
    lock(path, patience, File::try_lock_shared)
}

fn lock(
    path: &Path,
    patience: Duration,
    take: fn(&File) -> Result<(), TryLockError>,
) -> Result<Lock, FileError> {
    let target = follow_links(path)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let lock = parent(&target).join(format!(".{name}.lock"));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits())
        .open(&lock)
        .map_err(FileError::io(Step::Lock, &lock))?;
    let started = Instant::now();
    loop {
        match take(&file) {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) if started.elapsed() < patience => {
                crate::sys::clock::pause(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(FileError::Busy {
                    path: lock,
                    waited: patience,
                });
            }
            Err(TryLockError::Error(error)) => return Err(FileError::io(Step::Lock, &lock)(error)),
        }
    }
}

/// Creates a directory with this mode, whatever the umask, and its parents, if they are missing.
///
/// # Errors
/// If one of them cannot be created.
pub fn make_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(FileError::io(Step::Write, path))
}

/// Bytes that the file system of this path has left for those who are not root; `None` where it does not say.
pub fn free_space(path: &Path) -> Option<u64> {
    let found = statvfs(path).ok()?;
    Some(
        found
            .blocks_available()
            .saturating_mul(found.fragment_size()),
    )
}

#[derive(Clone, Copy)]
struct Resolved {
    uid: u32,
    gid: u32,
    mode: u32,
}

fn resolve_owner(target: &Path, directory: &Path, owner: Owner) -> Result<Resolved, FileError> {
    let new_file_mode = match owner {
        Owner::Set { uid, gid, mode } => return Ok(Resolved { uid, gid, mode }),
        Owner::Keep { new_file_mode } => new_file_mode,
    };
    match fs::symlink_metadata(target) {
        Ok(old) => Ok(Resolved {
            uid: old.uid(),
            gid: old.gid(),
            mode: old.mode() & 0o7777,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let around =
                fs::metadata(directory).map_err(FileError::io(Step::Inspect, directory))?;
            Ok(Resolved {
                uid: around.uid(),
                gid: around.gid(),
                mode: new_file_mode,
            })
        }
        Err(error) => Err(FileError::io(Step::Inspect, target)(error)),
    }
}

fn create_temporary(target: &Path, directory: &Path) -> Result<(File, PathBuf), FileError> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut error = io::Error::from(io::ErrorKind::AlreadyExists);
    let mut temporary = directory.to_owned();
    for attempt in 0..NAME_ATTEMPTS {
        temporary = directory.join(format!(".{name}.{}.{attempt}.tmp", std::process::id()));
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(&temporary);
        match opened {
            Ok(file) => return Ok((file, temporary)),
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => error = taken,
            Err(other) => return Err(FileError::io(Step::CreateTemporary, &temporary)(other)),
        }
    }
    Err(FileError::io(Step::CreateTemporary, &temporary)(error))
}

fn fill(
    file: &mut File,
    temporary: &Path,
    bytes: &[u8],
    owner: Resolved,
    sync: bool,
) -> Result<(), FileError> {
    let now = file
        .metadata()
        .map_err(FileError::io(Step::Inspect, temporary))?;
    if (now.uid(), now.gid()) != (owner.uid, owner.gid) {
        fchown(
            &*file,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )
        .map_err(|errno| FileError::io(Step::SetOwner, temporary)(errno.into()))?;
    }
    // After the owner: a change of owner clears set-id bits, and until here nobody else may read the file.
    fchmod(&*file, Mode::from_bits_truncate(owner.mode))
        .map_err(|errno| FileError::io(Step::SetMode, temporary)(errno.into()))?;
    file.write_all(bytes)
        .map_err(FileError::io(Step::Write, temporary))?;
    if !sync {
        return Ok(());
    }
    file.sync_all()
        .map_err(FileError::io(Step::Sync, temporary))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const KEEP: Owner = Owner::Keep {
        new_file_mode: 0o640,
    };

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn mode_and_owner_of_the_old_file_are_kept_and_nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.conf");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        write_atomic(&path, b"new", KEEP).unwrap();
        assert_eq!(read_text(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o604);
        assert_eq!(names(root.path()), ["a.conf"]);
    }

    #[test]
    fn a_new_file_gets_the_mode_asked_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.conf");
        write_atomic(&path, b"new", KEEP).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_link_stays_a_link() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("srv")).unwrap();
        fs::write(root.path().join("srv/a.conf"), "old").unwrap();
        let path = root.path().join("a.conf");
        symlink("srv/a.conf", &path).unwrap();
        write_atomic(&path, b"new", KEEP).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(root.path().join("srv/a.conf")).unwrap(),
            "new"
        );
    }

    #[test]
    fn a_loop_of_links_and_a_directory_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        symlink("a", &path).unwrap();
        assert!(matches!(
            write_atomic(&path, b"", KEEP),
            Err(FileError::Io {
                step: Step::FollowLink,
                ..
            })
        ));
        assert!(matches!(
            write_atomic(root.path(), b"", KEEP),
            Err(FileError::NotRegular { .. })
        ));
    }

    #[test]
    fn errors_carry_path_and_step() {
        let error = write_atomic(Path::new("/nonexistent/a.conf"), b"", KEEP).unwrap_err();
        assert_eq!(error.to_string(), "cannot look at `/nonexistent`");
        assert!(
            read_text(Path::new("/nonexistent/a.conf"))
                .unwrap_err()
                .is_not_found()
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_named_with_its_place() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.conf");
        fs::write(&path, b"ab\xe9").unwrap();
        assert!(matches!(
            read_text(&path),
            Err(FileError::NotText { offset: 2, .. })
        ));
    }

    #[test]
    fn a_second_lock_waits_and_then_gives_up() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.conf");
        let first = lock_beside(&path, Duration::ZERO).unwrap();
        assert!(matches!(
            lock_beside(&path, Duration::from_millis(30)),
            Err(FileError::Busy { .. })
        ));
        drop(first);
        lock_beside(&path, Duration::ZERO).unwrap();
    }
}
