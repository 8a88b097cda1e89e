//! Asking a service on its own socket, or by a command beside it, whether it lives.
//!
//! A connection is no answer: PID 1 may hold the listening socket itself, and the kernel connects whoever
//! asks. Asterisk's console greets everybody who connects with one line (`netconsole` in its main/asterisk.c),
//! so its first byte is the answer; it is not looked at. Invariant: nothing here waits.

use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::Epoll;
use nix::unistd::Pid;

use super::held::Probe;
use super::unit::Unit;
use super::{Role, Supervisor};
use crate::init::pulse::{Action, Event as Beat};
use crate::init::service::{Event, Exit, Moment, State};
use crate::logd::syslog::{NOTICE, WARNING};
use crate::sys::process;
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
                        unit.spec.name,
                        probe.whom()
                    );
                    self.journal.say(WARNING, text);
                }
                self.ask_for_life(index, now);
            }
            Some(Action::Withdraw) => {
                close(&self.epoll, probe);
                self.cut_probe(index);
            }
            Some(Action::Dead) => {
                close(&self.epoll, probe);
                self.cut_probe(index);
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
        if !probe.command.is_empty() {
            self.run_probe(index);
            return;
        }
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
            Err(problem) => self.not_asked(index, &problem.to_string(), now),
        }
    }

    /// The question could not be put; the reason is told once.
    fn not_asked(&mut self, index: usize, problem: &str, now: Moment) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(probe) = &mut unit.probe else {
            return;
        };
        if probe.problem.as_deref() != Some(problem) {
            let line = format!(
                "{}: cannot be asked on `{}` whether it lives: {problem}",
                unit.spec.name,
                probe.whom()
            );
            self.journal.say(WARNING, line);
            probe.problem = Some(problem.to_owned());
        }
        self.beat(index, Beat::NotAsked, now);
    }

    /// Runs the command that asks, as the service's user.
    fn run_probe(&mut self, index: usize) {
        self.cut_probe(index);
        let around = self.surroundings();
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let Some(probe) = &unit.probe else {
            return;
        };
        let spawned = unit.spawn_helper(&probe.command, Vec::new(), false, &around);
        let now = self.now();
        match spawned {
            // Its time is that of the question; who is silent longer is cut.
            Ok(child) => self.remember(child, Role::Probe(index), Moment::MAX),
            Err(problem) => self.not_asked(index, &problem, now),
        }
    }

    /// The command that asks has ended.
    pub(super) fn probe_ended(&mut self, index: usize, exit: Exit) {
        let now = self.now();
        match exit {
            // The codes of a program that cannot be run, which says nothing about the service.
            Exit::Code(126 | 127) => self.not_asked(index, &exit.to_string(), now),
            _ if exit.is_success() => {
                let unit = self.units.get_mut(index);
                if let Some(probe) = unit.and_then(|unit| unit.probe.as_mut()) {
                    probe.problem = None;
                }
                self.beat(index, Beat::Answered, now);
            }
            _ => {}
        }
    }

    /// Kills the command that asks, if it runs; what it says is nobody's matter any more.
    fn cut_probe(&mut self, index: usize) {
        for (pid, role) in &mut self.roles {
            if *role == Role::Probe(index) {
                *role = Role::Cut;
                process::signal_group(Pid::from_raw(*pid), libc::SIGKILL);
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
