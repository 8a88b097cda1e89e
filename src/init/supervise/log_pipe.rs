//! The pipe between a service and the one that takes its output (runit's `log/run`).
//!
//! PID 1 holds both ends, so that no line is lost when either is started again. While the taker is down for
//! good, what comes is moved on to the exchange's log, unread, so that the service never waits for it.
//! Invariant: a pipe is watched exactly while it is diverted.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::Supervisor;
use crate::logd::syslog::{NOTICE, WARNING};
use crate::sys::pipe::{Moved, pour};

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
    pub is_diverted: bool,
    nowhere: OwnedFd,
    /// Bytes that nobody took.
    pub lost: u64,
}

impl LogPipe {
    pub fn new() -> std::io::Result<LogPipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // A smaller pipe works as well.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(ROOM));
        LogPipe::resume(read, Some(write), 0)
    }

    /// One that an earlier binary of PID 1 made.
    pub fn resume(read: OwnedFd, write: Option<OwnedFd>, lost: u64) -> std::io::Result<LogPipe> {
        let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
        Ok(LogPipe {
            nowhere: nowhere.into(),
            read,
            write,
            is_diverted: false,
            lost,
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
            let (Some(pipe), Some(taker)) = (&unit.log_pipe, &unit.spec.log_service) else {
                continue;
            };
            let taker = self.units.iter().find(|unit| unit.spec.name == *taker);
            let is_away = taker.is_none_or(|taker| taker.life.is_away() && !taker.start_pending);
            if is_away == pipe.is_diverted {
                continue;
            }
            let fd = pipe.read.as_raw_fd();
            let changed = if is_away {
                self.watch(fd).is_ok()
            } else {
                let _ = self.epoll.delete(&pipe.read);
                true
            };
            if let Some(pipe) = self.units.get_mut(index).and_then(|u| u.log_pipe.as_mut()) {
                pipe.is_diverted = changed && is_away;
            }
            if is_away
                && !self.shutdown.is_stopping()
                && self
                    .units
                    .get(index)
                    .is_some_and(|unit| unit.life.is_alive())
            {
                let text = format!(
                    "{}: its own log service is down; what it says goes here",
                    self.name(index)
                );
                self.journal.say(NOTICE, text);
            }
        }
    }

    /// Moves what waits in a diverted pipe to the exchange's log; what cannot go there is dropped and counted.
    pub(super) fn pour_log(&mut self, fd: RawFd) -> bool {
        let is_it = |unit: &&mut super::Unit| {
            unit.log_pipe
                .as_ref()
                .is_some_and(|pipe| pipe.is_diverted && pipe.read.as_raw_fd() == fd)
        };
        let has_log = self.log_channel.is_some();
        let Some(unit) = self.units.iter_mut().find(is_it) else {
            return false;
        };
        let Some(pipe) = unit.log_pipe.as_mut() else {
            return false;
        };
        let before = pipe.lost;
        for _ in 0..TURNS {
            let moved = if has_log {
                pour(pipe.read.as_fd(), unit.stdout.write.as_fd())
            } else {
                Moved::Stuck
            };
            match moved {
                Moved::Bytes(_) => {}
                Moved::End => {
                    unit.log_pipe = None;
                    return true;
                }
                Moved::Stuck => match pour(pipe.read.as_fd(), pipe.nowhere.as_fd()) {
                    Moved::Bytes(bytes) => pipe.lost += bytes as u64,
                    Moved::Stuck => break,
                    Moved::End => {
                        unit.log_pipe = None;
                        return true;
                    }
                },
            }
        }
        if before == 0 && pipe.lost > 0 {
            let text = format!(
                "{}: nobody takes what it says; some of it is lost",
                unit.spec.name
            );
            self.journal.say(WARNING, text);
        }
        true
    }
}
