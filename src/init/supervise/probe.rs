//! Asking a service on its own socket whether it lives.
//!
//! A connection is no answer: PID 1 may hold the listening socket itself, and the kernel connects whoever
//! asks. Asterisk's console greets everybody who connects with one line (`netconsole` in its main/asterisk.c),
//! so its first byte is the answer; it is not looked at. Invariant: nothing here waits.

use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::Epoll;

use super::Supervisor;
use super::held::Probe;
use super::unit::Unit;
use crate::init::pulse::{Action, Event as Beat};
use crate::init::service::{Event, Moment, State};
use crate::logd::syslog::{NOTICE, WARNING};
use crate::sys::socket::{Connected, connect_unix};

impl Unit {
    /// When the probe is due.
    pub fn probe_deadline(&self) -> Option<Moment> {
        self.probe.as_ref()?.pulse.deadline()
    }
}

impl Supervisor {
    /// Tells the probes how their services do, and the time.
    pub(super) fn probes_due(&mut self, now: Moment) {
        for index in 0..self.units.len() {
            let Some(unit) = self.units.get_mut(index) else {
                continue;
            };
            let in_service = matches!(unit.life.state(), State::Running { .. });
            if unit.probe.is_some() {
                self.beat(index, Beat::InService(in_service), now);
                self.beat(index, Beat::Time, now);
            }
        }
    }

    fn beat(&mut self, index: usize, beat: Beat, now: Moment) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(probe) = &mut unit.probe else {
            return;
        };
        let was_silent = probe.pulse.missed() > 0;
        let action = probe.pulse.step(beat, now);
        if beat == Beat::Answered && was_silent {
            let text = format!("{}: answers again", unit.spec.name);
            self.journal.say(NOTICE, text);
        }
        match action {
            Some(Action::Ask) => {
                if probe.pulse.missed() > 0 {
                    let text = format!(
                        "{}: no answer on `{}`; asking again",
                        unit.spec.name, probe.path
                    );
                    self.journal.say(WARNING, text);
                }
                self.ask_for_life(index, now);
            }
            Some(Action::Withdraw) => close(&self.epoll, probe),
            Some(Action::Dead) => {
                close(&self.epoll, probe);
                self.feed(index, Event::WatchdogFailed);
            }
            None => {}
        }
    }

    fn ask_for_life(&mut self, index: usize, now: Moment) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(probe) = &mut unit.probe else {
            return;
        };
        close(&self.epoll, probe);
        match connect_unix(&self.paths.at(&probe.path)) {
            Ok(Connected::Yes(fd)) => {
                probe.problem = None;
                let number = fd.as_raw_fd();
                probe.connection = Some(fd);
                let _ = self.watch(number);
            }
            // So many wait to be heard that no more can: nobody takes them.
            Ok(Connected::QueueFull) => {}
            Err(problem) => {
                let text = problem.to_string();
                if probe.problem.as_ref() != Some(&text) {
                    let line = format!(
                        "{}: cannot be asked on `{}` whether it lives: {text}",
                        unit.spec.name, probe.path
                    );
                    self.journal.say(WARNING, line);
                    probe.problem = Some(text);
                }
                self.beat(index, Beat::NotAsked, now);
            }
        }
    }

    /// The service has said something, or hung up without a word.
    pub(super) fn read_probe(&mut self, fd: RawFd) -> bool {
        let is_it = |unit: &Unit| {
            let connection = unit
                .probe
                .as_ref()
                .and_then(|probe| probe.connection.as_ref());
            connection.is_some_and(|connection| connection.as_raw_fd() == fd)
        };
        let Some(index) = self.units.iter().position(is_it) else {
            return false;
        };
        let mut first = [0u8; 1];
        let probe = self
            .units
            .get_mut(index)
            .and_then(|unit| unit.probe.as_mut());
        let Some(probe) = probe else {
            return false;
        };
        let connection = probe.connection.as_ref();
        match connection.map(|fd| nix::unistd::read(fd, &mut first)) {
            Some(Ok(1..)) => {
                let now = self.now();
                self.beat(index, Beat::Answered, now);
            }
            // Seen for an earlier descriptor of this number.
            Some(Err(Errno::EAGAIN | Errno::EINTR)) => {}
            _ => close(&self.epoll, probe),
        }
        true
    }
}

/// Gives the open question up. Taken out of the epoll first, as `read_outcome` says.
fn close(epoll: &Epoll, probe: &mut Probe) {
    if let Some(connection) = probe.connection.take() {
        let _ = epoll.delete(connection);
    }
}
