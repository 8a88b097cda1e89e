//! Writing to an output that is shared with other processes, without ever waiting for its reader.
//!
//! O_NONBLOCK belongs to the open file description (open(2), fcntl(2)): set on the container's stdout it would
//! make the writes of PID 1, and of whoever holds the other end of a terminal, fail with EAGAIN. So each
//! write says for itself that it must not wait:
//! - a socket by `MSG_DONTWAIT`;
//! - a pipe by `RWF_NOWAIT` (pwritev2(2); pipes take it since Linux 6.4, "pipe: set FMODE_NOWAIT on pipes").
//!   Older kernels answer EOPNOTSUPP; then poll(2) is asked first: it reports POLLOUT while a whole page of the
//!   pipe is free (`pipe_poll` in fs/pipe.c), and a write of at most PIPE_BUF bytes needs no more. Only
//!   another writer between the two calls could make that one wait;
//! - a terminal through a description of its own, opened by /proc/self/fd, where the user may do so
//!   (a pipe of another user may not be opened, hence not this way for pipes); else as for old pipes, in small pieces;
//! - a file just so: a disk does not wait for a reader.
//!
//! Invariant: the flags of the shared description are never changed.

use std::io::IsTerminal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

/// The most that one write takes; pipes keep that much together (pipe(7)).
pub const LARGEST_WRITE: usize = libc::PIPE_BUF;

/// What a terminal that may not be opened anew takes at once.
const SMALL_WRITE: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    /// `RWF_NOWAIT`, until the kernel says that it does not know it.
    NoWait,
    /// poll(2), then at most so many bytes.
    PollFirst(usize),
    Plain,
}

/// What came of a write.
#[derive(Debug)]
pub enum Written {
    /// So many bytes were taken.
    Some(usize),
    /// Nothing fits now; POLLOUT tells when it does.
    Full,
    /// There is no reader any more.
    Gone,
    /// Something else: a full disk, say. May pass.
    Failed(nix::Error),
}

/// The output.
#[derive(Debug)]
pub struct SharedOutput {
    fd: OwnedFd,
    way: Way,
}

impl SharedOutput {
    pub fn new(fd: BorrowedFd<'_>) -> std::io::Result<SharedOutput> {
        let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
        let way = match kind {
            SFlag::S_IFSOCK => Way::Socket,
            SFlag::S_IFIFO => Way::NoWait,
            SFlag::S_IFCHR if fd.is_terminal() => match own_description(fd) {
                Some(own) => {
                    return Ok(SharedOutput {
                        fd: own,
                        way: Way::Plain,
                    });
                }
                None => Way::PollFirst(SMALL_WRITE),
            },
            _ => Way::Plain,
        };
        Ok(SharedOutput {
            fd: fd.try_clone_to_owned()?,
            way,
        })
    }

    /// Writes what fits, at most `LARGEST_WRITE` bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Written {
        let bytes = bytes.get(..LARGEST_WRITE).unwrap_or(bytes);
        let result = match self.way {
            Way::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.fd.as_raw_fd(), bytes, flags)
            }
            Way::NoWait => match write_without_waiting(self.fd.as_fd(), bytes) {
                Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS | nix::Error::EINVAL) => {
                    self.way = Way::PollFirst(LARGEST_WRITE);
                    return self.write(bytes);
                }
                result => result,
            },
            Way::PollFirst(most) => {
                if !self.has_room() {
                    return Written::Full;
                }
                nix::unistd::write(&self.fd, bytes.get(..most).unwrap_or(bytes))
            }
            Way::Plain => nix::unistd::write(&self.fd, bytes),
        };
        match result {
            Ok(count) => Written::Some(count),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Written::Full,
            Err(
                nix::Error::EPIPE | nix::Error::EBADF | nix::Error::ECONNRESET | nix::Error::EIO,
            ) => Written::Gone,
            Err(errno) => Written::Failed(errno),
        }
    }

    /// For poll(2).
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Also true when the reader is gone: the write then says so.
    fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }
}

/// The same terminal, opened anew: flags set on this description are ours alone.
fn own_description(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .ok()
        .map(OwnedFd::from)
}

fn write_without_waiting(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: one vector over a live slice, which the kernel only reads; offset -1 means "as write(2)".
    let count = unsafe { libc::pwritev2(fd.as_raw_fd(), &part, 1, -1, libc::RWF_NOWAIT) };
    usize::try_from(count).map_err(|_| nix::Error::last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn fill(output: &mut SharedOutput) -> usize {
        let mut total = 0;
        loop {
            match output.write(&[b'x'; 3000]) {
                Written::Some(count) => total += count,
                Written::Full => return total,
                other => panic!("{other:?}"),
            }
        }
    }

    fn never_waits_and_goes_on(way: Option<Way>) {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut output = SharedOutput::new(writer.as_fd()).unwrap();
        if let Some(way) = way {
            output.way = way;
        }
        let total = fill(&mut output);
        assert!(total >= 32 * 1024);
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "the shared flags are changed");
        let mut buffer = vec![0; 8192];
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0);
        assert!(fill(&mut output) > 0);
        drop(reader);
        assert!(matches!(output.write(b"x"), Written::Gone));
    }

    #[test]
    fn a_full_pipe_is_told_and_not_waited_for() {
        never_waits_and_goes_on(None);
    }

    #[test]
    fn so_it_is_on_kernels_that_cannot_write_without_waiting() {
        never_waits_and_goes_on(Some(Way::PollFirst(LARGEST_WRITE)));
    }

    #[test]
    fn a_full_socket_is_told_and_not_waited_for() {
        let (_reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut output = SharedOutput::new(writer.as_fd()).unwrap();
        assert!(fill(&mut output) > 0);
    }
}
