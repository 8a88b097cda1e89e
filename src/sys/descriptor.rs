//! Descriptors that go through execve(2), and the memory file that says what they are.
//!
//! Everything that PID 1 holds closes on exec; what its next binary needs is taken out of that, by number.
//! Invariant: a number is taken over at most once, by whoever reads the list of them.

use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Lets the descriptor stay open over an exec; the value is the number that the next program knows it by.
pub fn keep_over_exec(fd: impl AsFd) -> io::Result<RawFd> {
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(fd.as_fd().as_raw_fd())
}

/// Makes it close on exec again, after an exec that failed. A number that is not open is no error.
pub fn close_on_exec(fd: RawFd) {
    let _ = fcntl(
        super::socket::borrow(fd),
        FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC),
    );
}

/// Whether the number is open.
pub fn is_open(fd: RawFd) -> bool {
    fcntl(super::socket::borrow(fd), FcntlArg::F_GETFD).is_ok()
}

/// Takes a descriptor over that came through an exec; from now on it closes on exec again.
///
/// # Errors
/// When the number is not open, or is one of the standard streams.
pub fn take_over(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= libc::STDERR_FILENO {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fcntl(
        super::socket::borrow(fd),
        FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC),
    )?;
    // SAFETY: it is open, and the list that names it is read once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file in memory with this content, at its beginning; it stays open over an exec.
pub fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"switchhook-state", MFdFlags::empty())?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// The whole of such a file, whoever read it before.
pub fn read_memory_file(fd: impl AsFd) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::from(fd.as_fd().try_clone_to_owned()?);
    file.rewind()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_is_read_as_often_as_wanted() {
        let fd = memory_file(b"what is known").unwrap();
        assert_eq!(read_memory_file(&fd).unwrap(), b"what is known");
        assert_eq!(read_memory_file(&fd).unwrap(), b"what is known");
    }

    #[test]
    fn a_number_that_is_not_open_is_not_taken_over() {
        assert!(take_over(9_999).is_err());
        assert!(take_over(0).is_err());
    }
}
