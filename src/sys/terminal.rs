//! The terminal of a command: its size, and reading keys one by one.
//!
//! Invariant: what `Keys` changed is put back when it goes, also after a panic.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

/// What a terminal has that does not say.
const USUAL: (usize, usize) = (80, 24);

/// Columns and rows of standard output's terminal; `None` when it is none.
pub fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    // SAFETY: the kernel fills the local structure that the pointer is to, and nothing else.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        let answer = libc::ioctl(stdout.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size);
        (answer == 0).then_some(size)?
    };
    if size.ws_col == 0 || size.ws_row == 0 {
        return Some(USUAL);
    }
    Some((size.ws_col.into(), size.ws_row.into()))
}

/// Standard input without echo and without waiting for the end of a line; Ctrl-C still signals.
#[derive(Debug)]
pub struct Keys {
    before: Termios,
}

impl Keys {
    /// Fails when standard input is no terminal.
    pub fn new() -> io::Result<Keys> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        for (place, value) in [
            (SpecialCharacterIndices::VMIN, 0),
            (SpecialCharacterIndices::VTIME, 0),
        ] {
            if let Some(slot) = raw.control_chars.get_mut(place as usize) {
                *slot = value;
            }
        }
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &raw)?;
        Ok(Keys { before })
    }

    /// What was typed since; empty when nothing was, `None` when the terminal is gone.
    pub fn read(&self, readable: BorrowedFd<'_>) -> Option<Vec<u8>> {
        let mut buffer = [0u8; 64];
        match nix::unistd::read(readable, &mut buffer) {
            Ok(0) => None,
            Ok(length) => Some(buffer.get(..length).unwrap_or_default().to_vec()),
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => Some(Vec::new()),
            Err(_) => None,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.before);
    }
}
