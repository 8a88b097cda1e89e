//! The commands that PID 1 runs around a service's program: before and after its start, at its stop, after
//! its end, to check its readiness, and in place of a signal.
//!
//! Invariant: a service has at most one command of a stage at a time, and each has a time limit, its own or
//! the machine's.

use std::time::Duration;

use nix::unistd::Pid;

use super::{HELPER_LIMIT, Role, Supervisor};
use crate::init::service::{Event, Exit, Stage};
use crate::logd::syslog::{DEBUG, ERROR};
use crate::sys::process;
use crate::units::exit::{finish_arguments, result_variables};
use crate::units::spec::{CommandLine, ServiceSpec};

/// How long one check for readiness may take.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// A stage that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRun {
    pub stage: Stage,
    /// How the program ended, for the commands that are told.
    pub end: Option<Exit>,
    /// The place of the running command in the stage's list.
    pub position: usize,
    pub process: Option<Pid>,
    /// Success, or the first failure.
    pub result: Exit,
}

/// What is to be run in a stage, in order.
fn commands(spec: &ServiceSpec, stage: Stage, end: Option<Exit>) -> Vec<CommandLine> {
    match stage {
        Stage::Before => spec.before_start.clone(),
        Stage::After => spec.after_start.clone(),
        Stage::Stop => spec.stop.clone(),
        Stage::Finish => {
            let finish = spec.finish.iter().map(|words| {
                let mut words = words.clone();
                words.extend(end.into_iter().flat_map(finish_arguments));
                // runsv goes on whatever it says (runsv(8)).
                CommandLine {
                    words,
                    may_fail: true,
                }
            });
            finish.chain(spec.after_end.iter().cloned()).collect()
        }
    }
}

/// The letter of `control/` that stands in for a signal (runsv(8)).
fn letter(signal: i32) -> Option<char> {
    Some(match signal {
        libc::SIGTERM => 't',
        libc::SIGKILL => 'k',
        libc::SIGSTOP => 'p',
        libc::SIGCONT => 'c',
        libc::SIGHUP => 'h',
        libc::SIGALRM => 'a',
        libc::SIGINT => 'i',
        libc::SIGQUIT => 'q',
        libc::SIGUSR1 => '1',
        libc::SIGUSR2 => '2',
        _ => return None,
    })
}

impl Supervisor {
    pub(super) fn run_stage(&mut self, index: usize, stage: Stage, end: Option<Exit>) {
        if let Some(unit) = self.units.get_mut(index) {
            unit.stage = Some(StageRun {
                stage,
                end,
                position: 0,
                process: None,
                result: Exit::Code(0),
            });
        }
        self.run_stage_command(index);
    }

    /// Runs the next command of the stage, or reports its end.
    fn run_stage_command(&mut self, index: usize) {
        let around = self.surroundings();
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let Some(run) = unit.stage.clone() else {
            return;
        };
        let all = commands(&unit.spec, run.stage, run.end);
        let next = all.get(run.position);
        let Some(command) = next.filter(|_| run.result.is_success()) else {
            if let Some(unit) = self.units.get_mut(index) {
                unit.stage = None;
            }
            let jitter = self.jitter();
            let exit = run.result;
            self.feed(index, Event::StageEnded { exit, jitter });
            return;
        };
        let variables = run.end.map(result_variables).unwrap_or_default();
        let spawned = unit.spawn_helper(&command.words, variables, false, &around);
        // The machine bounds the other stages.
        let limit = match run.stage {
            Stage::Finish => unit.spec.stop_timeout,
            Stage::Before | Stage::After | Stage::Stop => Duration::MAX,
        };
        let name = unit.spec.name.clone();
        match spawned {
            Ok(child) => {
                let pid = child.pid;
                self.remember(child, Role::Stage(index), self.now().saturating_add(limit));
                if let Some(run) = self.stage_mut(index) {
                    run.process = Some(pid);
                }
            }
            Err(problem) => {
                let text = format!(
                    "{name}: `{}` cannot be run: {problem}",
                    command.words.join(" ")
                );
                self.journal.say(ERROR, text);
                self.stage_command_ended(index, Exit::Code(127));
            }
        }
    }

    fn stage_mut(&mut self, index: usize) -> Option<&mut StageRun> {
        self.units.get_mut(index)?.stage.as_mut()
    }

    pub(super) fn stage_command_ended(&mut self, index: usize, exit: Exit) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let Some(run) = unit.stage.as_mut() else {
            return;
        };
        let all = commands(&unit.spec, run.stage, run.end);
        let may_fail = all.get(run.position).is_some_and(|line| line.may_fail);
        if !exit.is_success() && may_fail {
            let words = all.get(run.position).map(|line| line.words.join(" "));
            let text = format!(
                "{}: `{}` ended with {exit}",
                unit.spec.name,
                words.unwrap_or_default()
            );
            self.journal.say(DEBUG, text);
        } else if !exit.is_success() {
            run.result = exit;
        }
        run.position += 1;
        run.process = None;
        self.run_stage_command(index);
    }

    pub(super) fn run_check(&mut self, index: usize) {
        let around = self.surroundings();
        let spawned = self.units.get(index).and_then(|unit| {
            let command = unit.spec.check.as_ref()?;
            // As under sv(8), what a check prints is nobody's.
            Some(unit.spawn_helper(command, Vec::new(), true, &around))
        });
        match spawned {
            Some(Ok(child)) => {
                let until = self.now().saturating_add(CHECK_LIMIT);
                self.remember(child, Role::Check(index), until);
            }
            Some(Err(problem)) => {
                let text = format!("{}: `check` cannot be run: {problem}", self.name(index));
                self.journal.say(ERROR, text);
                self.feed(index, Event::Checked { ok: false });
            }
            None => {}
        }
    }

    /// Kills the commands of the service that still run; what becomes of them is nobody's matter any more.
    pub(super) fn cut_helpers(&mut self, index: usize) {
        if let Some(unit) = self.units.get_mut(index) {
            unit.stage = None;
        }
        for (pid, role) in &mut self.roles {
            if matches!(*role, Role::Stage(of) | Role::Check(of) if of == index) {
                *role = Role::Cut;
                process::signal_group(Pid::from_raw(*pid), libc::SIGKILL);
            }
        }
    }

    /// Sends a signal to the service, unless its `control/` has a program for it that takes its place.
    pub(super) fn order_signal(&mut self, index: usize, signal: i32) {
        let stands_in =
            letter(signal).is_some_and(|letter| self.run_control(index, letter, signal));
        if !stands_in {
            self.signal(index, signal);
        }
    }

    /// After the stop signal of a stop for good: `control/d`, whose result means nothing.
    pub(super) fn tell_down(&mut self, index: usize) {
        let is_down = self
            .units
            .get(index)
            .is_some_and(|unit| !unit.life.is_wanted());
        if is_down {
            self.run_control(index, 'd', 0);
        }
    }

    /// Whether there is a program for the letter; it is started then, or runs already.
    fn run_control(&mut self, index: usize, letter: char, signal: i32) -> bool {
        let is_it = |role: &Role| matches!(role, Role::Control { index: of, letter: running, .. } if *of == index && *running == letter);
        if self.roles.values().any(is_it) {
            return true;
        }
        let around = self.surroundings();
        let Some(unit) = self.units.get(index) else {
            return false;
        };
        let command = unit.spec.control.iter().find(|(known, _)| *known == letter);
        let (Some((_, command)), Some((target, _))) = (command, &unit.process) else {
            return false;
        };
        let role = Role::Control {
            index,
            letter,
            signal,
            target: target.as_raw(),
        };
        match unit.spawn_helper(command, Vec::new(), false, &around) {
            Ok(child) => {
                self.remember(child, role, self.now().saturating_add(HELPER_LIMIT));
                true
            }
            Err(problem) => {
                let text = format!(
                    "{}: `control/{letter}` cannot be run: {problem}",
                    unit.spec.name
                );
                self.journal.say(ERROR, text);
                false
            }
        }
    }

    /// The program for a signal has ended: unless it did well, the process that it was for gets the signal.
    pub(super) fn control_ended(&mut self, role: Role, exit: Exit) {
        let Role::Control {
            index,
            letter,
            signal,
            target,
        } = role
        else {
            return;
        };
        let process = self.units.get(index).and_then(|unit| unit.process.as_ref());
        let is_same = process.is_some_and(|(pid, _)| pid.as_raw() == target);
        if !is_same {
            return;
        }
        if signal != 0 && !exit.is_success() {
            self.signal(index, signal);
        }
        if letter == 't' {
            self.tell_down(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_comes_before_the_commands_after_the_end_and_is_told_of_it() {
        let mut spec = ServiceSpec::new("a", vec!["/bin/a".to_owned()]);
        spec.finish = Some(vec!["/a/finish".to_owned()]);
        spec.after_end = vec![CommandLine {
            words: vec!["/bin/b".to_owned()],
            may_fail: false,
        }];
        let all = commands(&spec, Stage::Finish, Some(Exit::Signal(9)));
        let words: Vec<_> = all.iter().map(|line| line.words.join(" ")).collect();
        assert_eq!(words, ["/a/finish -1 9", "/bin/b"]);
    }
}
