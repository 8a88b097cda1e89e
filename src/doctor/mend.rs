//! Repairs that lose nothing: whose a file is, and who may use it.
//!
//! It is root that does it, in directories that belong to services; so no link is followed on the way, and a file that has a
//! second name is left alone. Invariant: a file's content and its time are as before.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

use super::Fix;

/// Does it.
///
/// # Errors
/// If the kernel refuses, or it is no plain file or directory under one name.
pub fn mend(fix: &Fix) -> io::Result<()> {
    match fix {
        Fix::Own {
            path,
            uid,
            gid,
            bits,
        } => own(Path::new(path), *uid, *gid, *bits),
    }
}

fn own(path: &Path, uid: u32, gid: u32, bits: u32) -> io::Result<()> {
    let file = open(path)?;
    let stat = fstat(&file)?;
    let kind = stat.st_mode & libc::S_IFMT;
    let is_single = kind == libc::S_IFREG && stat.st_nlink == 1;
    if !is_single && kind != libc::S_IFDIR {
        return Err(io::Error::other("it is no plain file under one name alone"));
    }
    fchown(
        file.as_fd(),
        Some(Uid::from_raw(uid)),
        Some(Gid::from_raw(gid)),
    )?;
    let mode = Mode::from_bits_truncate((stat.st_mode & 0o7777) | bits);
    fchmod(file.as_fd(), mode)?;
    Ok(())
}

/// Goes down part by part, and through no link.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut at = nix::fcntl::open("/", flags | OFlag::O_DIRECTORY, Mode::empty())?;
    for part in path.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => at = openat(&at, name, flags, Mode::empty())?,
            _ => return Err(io::Error::other("it is no plain path")),
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn fix(path: &Path) -> Fix {
        Fix::Own {
            path: path.display().to_string(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            bits: 0o600,
        }
    }

    #[test]
    fn a_mode_is_added_to_and_the_content_stays() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let file = root.join("a");
        std::fs::write(&file, "x").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
        mend(&fix(&file)).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640);
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn links_and_second_names_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let file = root.join("a");
        std::fs::write(&file, "x").unwrap();
        symlink(&file, root.join("b")).unwrap();
        assert!(mend(&fix(&root.join("b"))).is_err());
        std::fs::create_dir(root.join("d")).unwrap();
        symlink(root.join("d"), root.join("e")).unwrap();
        std::fs::write(root.join("d/f"), "x").unwrap();
        assert!(mend(&fix(&root.join("e/f"))).is_err());
        mend(&fix(&root.join("d/f"))).unwrap();
        std::fs::hard_link(&file, root.join("c")).unwrap();
        assert!(mend(&fix(&file)).is_err());
    }
}
