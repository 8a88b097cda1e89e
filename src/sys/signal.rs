//! The signals that PID 1 listens to, as a readable descriptor for its event loop.
//!
//! Handlers and a socket pair (signal-hook), no signal mask: a mask would be inherited by every child. Only around a
//! fork signals wait, so that none runs PID 1's handler in a child, which would speak into PID 1's own pair.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// The signals that `Signals` handles.
pub const HANDLED: [i32; 5] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD];

/// What a signal asks of PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1.
    Dump,
    /// SIGCHLD.
    ChildEnded,
}

/// The installed handlers.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    pub fn install() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        SignalDelivery::with_pipe(read, write, SignalOnly, HANDLED).map(Signals)
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// Waits until a signal has come.
    pub fn wait(&self) {
        let readable = nix::poll::PollFlags::POLLIN;
        let mut fds = [nix::poll::PollFd::new(self.descriptor(), readable)];
        let _ = nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE);
    }

    /// What has come since the last call. Signals of one kind may have been merged by the kernel.
    pub fn pending(&mut self) -> Vec<Request> {
        // Empties the pair; the signals themselves are kept as flags.
        let emptied = self.0.poll_pending(&mut |stream: &mut UnixStream| {
            let mut buffer = [0u8; 64];
            loop {
                let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
                match nix::sys::socket::recv(
                    std::os::fd::AsRawFd::as_raw_fd(stream),
                    &mut buffer,
                    flags,
                ) {
                    Ok(0) => return Ok(false),
                    Ok(_) => {}
                    Err(_) => return Ok(true),
                }
            }
        });
        match emptied {
            Ok(Some(pending)) => pending.filter_map(request).collect(),
            Ok(None) | Err(_) => self.0.pending().filter_map(request).collect(),
        }
    }

    /// For a service's first thread: waits until the end is asked for, and calls `reload` for each SIGHUP before.
    pub fn until_stop(&mut self, mut reload: impl FnMut()) {
        loop {
            self.wait();
            for request in self.pending() {
                match request {
                    Request::Stop => return,
                    Request::Reload => reload(),
                    Request::Dump | Request::ChildEnded => {}
                }
            }
        }
    }
}

/// Lets signals wait as long as it is held; then those wait that waited before.
#[derive(Debug)]
pub struct Blocked(nix::sys::signal::SigSet);

impl Blocked {
    pub fn all() -> nix::Result<Blocked> {
        let all = nix::sys::signal::SigSet::all();
        all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)
            .map(Blocked)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.0.thread_set_mask();
    }
}

/// Lets signals wait: none is lost while another binary takes over and has no handlers yet.
pub fn block_all() {
    let _ = nix::sys::signal::SigSet::all().thread_block();
}

/// Lets them come again.
pub fn unblock_all() {
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
}

fn request(signal: i32) -> Option<Request> {
    match signal {
        SIGTERM | SIGINT => Some(Request::Stop),
        SIGHUP => Some(Request::Reload),
        SIGUSR1 => Some(Request::Dump),
        SIGCHLD => Some(Request::ChildEnded),
        _ => None,
    }
}
