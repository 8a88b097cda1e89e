//! Moving what waits in a pipe without looking at it.
//!
//! Invariant: never blocks, whatever is at the other end.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most that one call moves: a pipe's usual size (pipe(7)).
const AT_ONCE: usize = 64 * 1024;

/// How far a move came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    Bytes(usize),
    /// Everybody who could write has gone.
    End,
    /// Nothing waits, or the target takes nothing now.
    Stuck,
}

/// Whether something waits in it, or its end.
pub fn is_readable(from: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(from, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Moves bytes from one pipe to another (splice(2)).
pub fn pour(from: BorrowedFd<'_>, into: BorrowedFd<'_>) -> Moved {
    // SAFETY: splice(2) between two descriptors that the borrows keep open; null offsets, as pipes demand.
    let moved = unsafe {
        libc::splice(
            from.as_raw_fd(),
            std::ptr::null_mut(),
            into.as_raw_fd(),
            std::ptr::null_mut(),
            AT_ONCE,
            libc::SPLICE_F_NONBLOCK,
        )
    };
    match usize::try_from(moved) {
        Ok(0) => Moved::End,
        Ok(bytes) => Moved::Bytes(bytes),
        Err(_) => Moved::Stuck,
    }
}
