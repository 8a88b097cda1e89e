//! The children of PID 1: starting them, hearing how they became their program, reaping them.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::unistd::Pid;

use super::unit::{self, Surroundings};
use super::{Aside, HELPER_LIMIT, REAP_BATCH, Role, Supervisor};
use crate::init::events::What;
use crate::init::service::{Event, Exit, Moment, State};
use crate::logd::syslog::{DEBUG, ERROR, WARNING, parse_line};
use crate::sys::containment::Containment;
use crate::sys::process;
use crate::units::spec::KillMode;

impl Supervisor {
    /// The stop signal; the log service is told by the end of its channel instead, which it hears even when it
    /// had no time yet to listen for signals, and after everything that was said before.
    pub(super) fn terminate(&mut self, index: usize) {
        if self.units.get(index).is_some_and(|unit| unit.spec.is_log) {
            self.log_channel = None;
        } else if !self.ends_input(index) {
            let spec = self.units.get(index).map(|unit| &unit.spec);
            let signal = spec.map_or(libc::SIGTERM, |spec| spec.kill_signal);
            let sends_hangup = spec.is_some_and(|spec| spec.sends_hangup);
            let has_stand_in =
                spec.is_some_and(|spec| spec.control.iter().any(|(letter, _)| *letter == 't'));
            if has_stand_in {
                self.order_signal(index, signal);
                return;
            }
            self.stop_signal(index, signal);
            if sends_hangup {
                self.stop_signal(index, libc::SIGHUP);
            }
            self.tell_down(index);
        }
    }

    /// A signal that reaches as far as `KillMode=` says. The group is reached at once, its leader included;
    /// a main process that leads none gets it alone.
    fn stop_signal(&mut self, index: usize, signal: i32) {
        let group = self.units.get(index).and_then(|unit| {
            let (pid, _) = unit.process.as_ref()?;
            (unit.spec.kill_mode == KillMode::ControlGroup).then_some(*pid)
        });
        if !group.is_some_and(|pid| process::signal_group(pid, signal)) {
            self.signal(index, signal);
            // One that is paused hears it only when it goes on (systemd.kill(5), runsv(8)).
            self.signal(index, libc::SIGCONT);
        }
    }

    /// SIGKILL, to the whole group unless `KillMode=` spares it.
    pub(super) fn kill(&mut self, index: usize) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        if let Some((pid, _)) = &unit.process
            && unit.spec.kill_mode != KillMode::Process
        {
            process::signal_group(*pid, libc::SIGKILL);
        }
        self.signal(index, libc::SIGKILL);
    }

    pub(super) fn signal(&mut self, index: usize, signal: i32) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        if let Some((_, handle)) = &unit.process
            && let Err(e) = handle.signal(signal)
        {
            let text = format!("{}: cannot send signal {signal}: {e}", unit.spec.name);
            self.journal.say(ERROR, text);
        }
    }

    pub(super) fn spawn(&mut self, index: usize) {
        let has_log = self.log_unit().is_some();
        let around = Surroundings {
            paths: &self.paths,
            environment: &self.environment,
            has_log,
            containment: &self.containment,
        };
        let input = self.input(index);
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        unit.start_pending = false;
        match unit.spawn(input, &around) {
            Ok(channel) => {
                if let Some((pid, _)) = &unit.process {
                    self.roles.insert(pid.as_raw(), Role::Main(index));
                }
                if let Some(fd) = unit.outcome.as_ref().map(AsRawFd::as_raw_fd) {
                    self.outcomes.insert(fd, index);
                    let _ = self.watch(fd);
                }
                if let Some(fd) = self.notification(index) {
                    let _ = self.watch(fd);
                }
                if let Some(channel) = channel {
                    self.connect_log(channel);
                }
                self.record_start(index);
                self.timers_see_start(index);
            }
            Err(problem) => {
                let text = format!("{}: cannot be started: {problem}", unit.spec.name);
                self.record(Some(index), What::NotStarted, &problem);
                let Some(unit) = self.units.get_mut(index) else {
                    return;
                };
                unit.trouble = Some(problem);
                self.journal.say(ERROR, text);
                self.feed(index, Event::ExecFailed);
                self.feed(
                    index,
                    Event::Exited {
                        exit: Exit::Code(127),
                        jitter: 0,
                    },
                );
            }
        }
    }

    /// Gives a fresh log service every pipe, and speaks through it from now on.
    pub(super) fn connect_log(&mut self, channel: OwnedFd) {
        let pipes = self
            .units
            .iter()
            .flat_map(|unit| [&unit.stdout, &unit.stderr]);
        for pipe in pipes.chain([&self.hook_pipe, &self.own_pipe]) {
            if let Err(e) = pipe.announce(&channel) {
                self.journal.say(
                    ERROR,
                    format!("cannot connect the output of {}: {e}", pipe.speaker),
                );
            }
        }
        self.log_channel = Some(channel);
        if let Ok(pipe) = unit::duplicate(&self.own_pipe.write) {
            self.journal.switch_to(pipe);
        }
    }

    /// Keeps track of a hook or helper until it is reaped; at `until` it is killed.
    pub(super) fn remember(&mut self, child: process::Child, role: Role, until: Moment) {
        let aside = Aside {
            until,
            _handle: child.handle,
        };
        self.roles.insert(child.pid.as_raw(), role);
        self.asides.insert(child.pid.as_raw(), aside);
    }

    /// Runs the unit's drain or reload command beside it.
    pub(super) fn run_helper(&mut self, index: usize, role: Role) {
        let around = self.surroundings();
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let command = match role {
            Role::Drain(_) => unit.spec.drain.clone(),
            _ => unit.spec.reload.clone(),
        };
        let Some(command) = command else { return };
        match unit.spawn_helper(&command, Vec::new(), false, &around) {
            Ok(child) => {
                // A drain command may wait for the work to end; the service's own budget bounds that.
                let limit = match role {
                    Role::Drain(_) => self.config.drain_timeout.saturating_add(HELPER_LIMIT),
                    _ => HELPER_LIMIT,
                };
                self.remember(child, role, self.now().saturating_add(limit));
            }
            Err(problem) => {
                let text = format!(
                    "{}: `{}` cannot be run: {problem}",
                    unit.spec.name,
                    command.join(" ")
                );
                self.journal.say(ERROR, text);
                self.helper_ended(role, Exit::Code(127));
            }
        }
    }

    /// Whether a reload command of a service runs.
    pub(super) fn reloads(&self, index: usize) -> bool {
        let is_it = |role: &Role| matches!(role, Role::Reload(of) if *of == index);
        self.roles.values().any(is_it)
    }

    pub(super) fn helper_ended(&mut self, role: Role, exit: Exit) {
        if let Role::Reload(index) = role
            && let Some(unit) = self.units.get_mut(index)
        {
            unit.last_reload = Some(if exit.is_success() {
                "done".to_owned()
            } else {
                exit.to_string()
            });
        }
        if exit.is_success() {
            return;
        }
        match role {
            Role::Drain(index) => {
                let name = self.name(index);
                self.journal.say(
                    WARNING,
                    format!("{name}: the drain command failed with {exit}; stopping it now"),
                );
                self.record(Some(index), What::DrainFailed, &exit.to_string());
                self.feed(index, Event::Stop);
            }
            Role::Reload(index) => {
                let name = self.name(index);
                self.journal.say(
                    ERROR,
                    format!("{name}: the reload command failed with {exit}"),
                );
                self.record(Some(index), What::ReloadFailed, &exit.to_string());
            }
            Role::Main(_)
            | Role::Hook
            | Role::Trial
            | Role::Stage(_)
            | Role::Check(_)
            | Role::Control { .. }
            | Role::Cut => {}
        }
    }

    pub(super) fn read_outcome(&mut self, index: usize) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(outcome) = &unit.outcome else { return };
        let Some(result) = process::read_outcome(outcome.as_fd()) else {
            return;
        };
        // Before it is closed: a child that was forked meanwhile holds it until it executes, and as long
        // the epoll would report it again and again (epoll(7), questions and answers).
        let _ = self.epoll.delete(outcome);
        self.outcomes.remove(&outcome.as_raw_fd());
        unit.outcome = None;
        match result {
            Ok(()) => self.feed(index, Event::Executed),
            Err(problem) => {
                unit.trouble = Some(problem.to_string());
                let program = unit.command().first().cloned().unwrap_or_default();
                let text = format!("{}: cannot run `{program}`: {problem}", unit.spec.name);
                self.journal.say(ERROR, text);
                self.record(Some(index), What::NotStarted, &problem.to_string());
                self.feed(index, Event::ExecFailed);
            }
        }
    }

    /// Reaps what has ended: peek, tell the owner, take away.
    pub(super) fn reap_batch(&mut self) {
        for _ in 0..REAP_BATCH {
            let Some((pid, exit)) = process::peek_ended() else {
                return;
            };
            match self.roles.remove(&pid.as_raw()) {
                Some(role) => {
                    self.asides.remove(&pid.as_raw());
                    let spares = |index| {
                        let unit: Option<&super::Unit> = self.units.get(index);
                        unit.is_some_and(|unit| unit.spec.kill_mode == KillMode::Process)
                    };
                    if matches!(role, Role::Main(index) if spares(index)) {
                        process::reap(pid);
                    } else {
                        // What it left behind in its group goes with it; the number is still its own.
                        process::signal_group(pid, libc::SIGKILL);
                        process::reap(pid);
                        if let Role::Main(index) = role {
                            self.sweep(index);
                        }
                    }
                    self.ended(role, exit);
                }
                None => {
                    process::reap(pid);
                    self.orphans_reaped += 1;
                    self.journal
                        .say(DEBUG, format!("reaped orphan {pid} ({exit})"));
                }
            }
        }
        self.more_to_reap = true;
    }

    /// Kills what escaped from a service whose main process has ended. Its orphans are our children by
    /// now, so that nothing needs to be looked for when there is no stranger among these.
    fn sweep(&mut self, index: usize) {
        let known = |pid: Pid| self.roles.contains_key(&pid.as_raw());
        let has_strangers = process::children().into_iter().any(|pid| !known(pid));
        let is_cgroup = matches!(self.containment, Containment::Cgroup(_));
        if !has_strangers && !is_cgroup {
            return;
        }
        let name = self.name(index);
        let killed = self.containment.kill_all(index, &name, &known);
        if killed > 0 {
            self.journal.say(
                WARNING,
                format!("{name}: killed {killed} processes that it left behind"),
            );
        }
    }

    pub(super) fn ended(&mut self, role: Role, exit: Exit) {
        match role {
            Role::Main(index) => {
                self.read_outcome(index);
                self.close_notification(index);
                let mut is_unheard = self.shutdown.is_stopping();
                if let Some(unit) = self.units.get_mut(index) {
                    is_unheard |= matches!(unit.life.state(), State::Starting { .. });
                    unit.process = None;
                    if let Some(outcome) = unit.outcome.take() {
                        let _ = self.epoll.delete(&outcome);
                        self.outcomes.remove(&outcome.as_raw_fd());
                    }
                    if unit.spec.is_log {
                        self.log_channel = None;
                        self.journal.switch_to_direct();
                        if is_unheard {
                            self.print_what_is_left();
                        }
                    }
                }
                let jitter = self.jitter();
                self.feed(index, Event::Exited { exit, jitter });
                self.timers_see_end(index);
            }
            Role::Hook => self.hook_ended(exit),
            Role::Trial => self.trial_ended(exit),
            Role::Stage(index) => self.stage_command_ended(index, exit),
            Role::Check(index) => {
                let ok = exit.is_success();
                self.feed(index, Event::Checked { ok });
            }
            Role::Control { .. } => self.control_ended(role, exit),
            Role::Cut => {}
            helper => self.helper_ended(helper, exit),
        }
    }

    /// Prints what waits in the pipes when the log service is gone for good, or never came to read them.
    fn print_what_is_left(&mut self) {
        let pipes = self
            .units
            .iter()
            .flat_map(|unit| [&unit.stdout, &unit.stderr]);
        for pipe in pipes.chain([&self.hook_pipe, &self.own_pipe]) {
            let text = pipe.take_all();
            for line in text
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let record = parse_line(&pipe.speaker, pipe.severity, line);
                self.journal.relay(&record, self.config.log_level);
            }
        }
    }
}
