//! The pipe between a service and the one that takes its output (runit's `log/run`).
//!
//! PID 1 holds both ends, so that no line is lost when either is started again. While the taker is down for
//! good, what comes is moved on to the exchange's log, unread, so that the service waits for it no more than
//! for that log. Invariant: a pipe is watched exactly while it is diverted.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::unistd::pipe2;

use super::Supervisor;
use crate::logd::syslog::NOTICE;
use crate::sys::pipe::{Moved, is_readable, pour};

/// Lines that come while the taker is started again wait in it; the most that an unprivileged pipe may hold.
const ROOM: i32 = 1 << 20;
/// How often one pipe is moved on before other events get their turn.
const TURNS: usize = 16;

/// A pipe whose ends PID 1 keeps.
#[derive(Debug)]
pub struct LogPipe {
    pub read: OwnedFd,
    /// Given up at the exchange's stop: the taker then reads to the end and ends by itself.
    pub write: Option<OwnedFd>,
    pub diversion: Diversion,
    nowhere: OwnedFd,
}

/// Where PID 1 is with moving a pipe's bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diversion {
    /// The taker reads.
    None,
    /// Something may come.
    Waits,
    /// The exchange's log takes nothing now.
    Full,
}

impl LogPipe {
    pub fn new() -> std::io::Result<LogPipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // A smaller pipe works as well.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(ROOM));
        LogPipe::resume(read, Some(write))
    }

    /// One that an earlier binary of PID 1 made.
    pub fn resume(read: OwnedFd, write: Option<OwnedFd>) -> std::io::Result<LogPipe> {
        let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
        Ok(LogPipe {
            nowhere: nowhere.into(),
            read,
            write,
            diversion: Diversion::None,
        })
    }
}

impl Supervisor {
    /// The service whose output the service at `index` takes.
    fn speaker_for(&self, index: usize) -> Option<usize> {
        let name = &self.units.get(index)?.spec.name;
        let is_it = |unit: &super::Unit| unit.spec.log_service.as_ref() == Some(name);
        self.units.iter().position(is_it)
    }

    /// The end from which the service at `index` reads, if it takes another's output.
    pub(super) fn input(&self, index: usize) -> Option<OwnedFd> {
        let speaker = self.units.get(self.speaker_for(index)?)?;
        let pipe = speaker.log_pipe.as_ref()?;
        pipe.read.try_clone().ok()
    }

    /// At the exchange's stop a taker whose speaker has ended reads what is left, to the end of the pipe.
    pub(super) fn ends_input(&mut self, index: usize) -> bool {
        if !self.shutdown.is_stopping() {
            return false;
        }
        let Some(speaker) = self.speaker_for(index) else {
            return false;
        };
        let speaker = self.units.get_mut(speaker);
        let Some(speaker) = speaker.filter(|unit| !unit.life.is_alive()) else {
            return false;
        };
        let pipe = speaker.log_pipe.as_mut();
        pipe.and_then(|pipe| pipe.write.take()).is_some()
    }

    /// Begins and ends diversions, as the takers come and go.
    pub(super) fn divert_logs(&mut self) {
        for index in 0..self.units.len() {
            let Some(unit) = self.units.get(index) else {
                continue;
            };
            let Some(pipe) = &unit.log_pipe else {
                continue;
            };
            // A new definition may have taken the taker away from the process that runs.
            let taker = unit.spec.log_service.as_ref();
            let taker = self
                .units
                .iter()
                .find(|unit| taker == Some(&unit.spec.name));
            let is_away = taker.is_none_or(|taker| taker.life.is_away() && !taker.start_pending);
            let is_alive = unit.life.is_alive();
            match (is_away, pipe.diversion) {
                (true, Diversion::None) => {
                    self.divert(index, Diversion::Waits);
                    if is_alive && !self.shutdown.is_stopping() {
                        let name = self.name(index);
                        let text =
                            format!("{name}: its own log service is down; what it says goes here");
                        self.journal.say(NOTICE, text);
                    }
                }
                (false, Diversion::Waits | Diversion::Full) => self.divert(index, Diversion::None),
                (true, Diversion::Waits | Diversion::Full) | (false, Diversion::None) => {}
            }
        }
    }

    /// Watches what the new step of the diversion waits for, and nothing else.
    fn divert(&mut self, index: usize, next: Diversion) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(pipe) = unit.log_pipe.as_mut() else {
            return;
        };
        let (read, write) = (pipe.read.as_fd(), unit.stdout.write.as_fd());
        let _ = match pipe.diversion {
            Diversion::None => Ok(()),
            Diversion::Waits => self.epoll.delete(read),
            Diversion::Full => self.epoll.delete(write),
        };
        let watched = |fd: BorrowedFd<'_>, flags| {
            let key = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
            self.epoll.add(fd, EpollEvent::new(flags, key)).is_ok()
        };
        let is_watched = match next {
            Diversion::None => true,
            Diversion::Waits => watched(read, EpollFlags::EPOLLIN),
            Diversion::Full => watched(write, EpollFlags::EPOLLOUT),
        };
        pipe.diversion = if is_watched { next } else { Diversion::None };
    }

    /// Moves what waits in a diverted pipe to the exchange's log, or nowhere when there is no log at all.
    pub(super) fn pour_log(&mut self, fd: RawFd) -> bool {
        let is_it = |unit: &super::Unit| {
            let watched = unit
                .log_pipe
                .as_ref()
                .and_then(|pipe| match pipe.diversion {
                    Diversion::None => None,
                    Diversion::Waits => Some(pipe.read.as_raw_fd()),
                    Diversion::Full => Some(unit.stdout.write.as_raw_fd()),
                });
            watched == Some(fd)
        };
        let Some(index) = self.units.iter().position(is_it) else {
            return false;
        };
        let has_log = self.log_unit().is_some();
        for _ in 0..TURNS {
            let Some(unit) = self.units.get(index) else {
                break;
            };
            let Some(pipe) = &unit.log_pipe else {
                break;
            };
            let into = if has_log {
                &unit.stdout.write
            } else {
                &pipe.nowhere
            };
            let was_full = pipe.diversion == Diversion::Full;
            match pour(pipe.read.as_fd(), into.as_fd()) {
                // Room was made: what comes next is to be waited for again.
                Moved::Bytes(_) if was_full => self.divert(index, Diversion::Waits),
                Moved::Bytes(_) => {}
                // Something waits, or we would not be here, so it is the target that takes nothing.
                Moved::Stuck if is_readable(pipe.read.as_fd()) => {
                    self.divert(index, Diversion::Full);
                    break;
                }
                Moved::Stuck => {
                    if was_full {
                        self.divert(index, Diversion::Waits);
                    }
                    break;
                }
                Moved::End => {
                    self.divert(index, Diversion::None);
                    if let Some(unit) = self.units.get_mut(index) {
                        unit.log_pipe = None;
                    }
                    break;
                }
            }
        }
        true
    }
}
