//! The files of users and groups. What they say is `config::accounts`' business.

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use crate::config::accounts::{self, Account};

/// The largest file that is read, in bytes: some ten thousand entries.
const LARGEST: u64 = 1 << 20;

/// The user of `name` in /etc/passwd; `None` when there is none.
///
/// # Errors
/// If the file is there and cannot be read, is no plain file, or is larger than 1 MiB.
pub fn user(name: &str) -> io::Result<Option<Account>> {
    Ok(accounts::user(&read("/etc/passwd")?, name))
}

/// The number of the group `name` in /etc/group; `None` when there is none.
///
/// # Errors
/// As `user`.
pub fn group(name: &str) -> io::Result<Option<u32>> {
    Ok(accounts::group(&read("/etc/group")?, name))
}

/// A file that is missing is an empty one.
fn read(path: &str) -> io::Result<Vec<u8>> {
    // Not blocking: a pipe in the place of the file must not stop us.
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(refused(path, &e.to_string())),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refused(path, "it is no plain file"));
    }
    // One byte more than a small file holds spares the reader a second buffer.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(LARGEST)).unwrap_or(0) + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(refused(path, "it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn refused(path: &str, why: &str) -> io::Error {
    io::Error::other(format!("`{path}`: {why}"))
}
