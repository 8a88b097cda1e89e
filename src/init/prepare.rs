//! The volume and the certificate before the start, done by a child: PID 1 waits for it and keeps listening.
//!
//! What the child needs (sample configuration, secrets, keys) is a large part of the whole program and of no use
//! afterwards, so that it is no part of PID 1's. Invariant: an order to stop is obeyed while the child runs.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};

use super::command::{COMMAND_PROGRAM, beside};
use super::journal::Journal;
use super::report::{Line, Lines};
use super::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::paths::Paths;
use crate::logd::syslog::{ERROR, NOTICE, WARNING};
use crate::sys::process::{self, Child, Launch};
use crate::sys::signal::{Request, Signals};
use crate::units::exit::Exit;

/// Runs `switchhook prepare` and tells what it tells. The value is what /srv is, for `status`.
///
/// # Errors
/// With the exit code of the appliance, after the reason was told: the child's own (2 or 78), or 0 when a stop was
/// ordered meanwhile, 2 when a second order came before the child had ended.
pub fn run(
    paths: &Paths,
    environment: &[(String, String)],
    signals: &mut Signals,
    journal: &mut Journal,
) -> Result<String, i32> {
    let program = beside(COMMAND_PROGRAM);
    let (child, output) = match spawn(&program, paths, environment) {
        Ok(started) => started,
        Err(problem) => {
            journal.say(ERROR, format!("cannot prepare /srv: {problem}"));
            return Err(EXIT_FAILED);
        }
    };
    let mut preparation = Preparation {
        child,
        output: Some(output),
        lines: Lines::default(),
        volume: String::new(),
        is_stopping: false,
    };
    let exit = preparation.watch(signals, journal)?;
    if preparation.is_stopping {
        journal.say(NOTICE, "stopped before anything was started");
        return Err(0);
    }
    match exit {
        Exit::Code(0) => Ok(preparation.volume),
        Exit::Code(code) if code == EXIT_FAILED || code == EXIT_CONFIGURATION => Err(code),
        other => {
            let problem = match process::read_outcome(preparation.child.outcome.as_fd()) {
                Some(Err(setup)) => format!(
                    "cannot prepare /srv: cannot run `{}`: {setup}\n\
                     hint: switchhook-init needs the program `{COMMAND_PROGRAM}` in its own directory",
                    program.display()
                ),
                _ => format!("cannot prepare /srv: `{COMMAND_PROGRAM} prepare` ended with {other}"),
            };
            journal.say(ERROR, problem);
            Err(EXIT_FAILED)
        }
    }
}

fn spawn(
    program: &std::path::Path,
    paths: &Paths,
    environment: &[(String, String)],
) -> Result<(Child, OwnedFd), String> {
    let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|e| e.to_string())?;
    // The child's end waits for us as any pipe does.
    nix::fcntl::fcntl(&input, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty()))
        .map_err(|e| e.to_string())?;
    let own = std::io::stderr().as_fd().try_clone_to_owned();
    let root = paths.root().to_str().ok_or("the root's name is no UTF-8")?;
    let launch = Launch {
        program: program.to_owned(),
        arguments: vec!["prepare".into(), "--root".into(), root.to_owned()],
        environment: environment.to_vec(),
        stdout: Some(input),
        stderr: own.ok(),
        ..Launch::default()
    };
    let child = process::spawn(&launch).map_err(|e| e.to_string())?;
    Ok((child, output))
}

/// The child while it runs.
struct Preparation {
    child: Child,
    /// Until the end of the pipe.
    output: Option<OwnedFd>,
    lines: Lines,
    volume: String,
    is_stopping: bool,
}

impl Preparation {
    /// Waits for the end of the child; an error is the exit code after a second order to stop.
    fn watch(&mut self, signals: &mut Signals, journal: &mut Journal) -> Result<Exit, i32> {
        loop {
            {
                let mut wanted = vec![PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
                let output = self.output.iter();
                wanted.extend(output.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
                // A failure is an interruption by a signal, which is then pending.
                let _ = poll(&mut wanted, PollTimeout::NONE);
            }
            self.listen(journal);
            for request in signals.pending() {
                match request {
                    Request::Stop => self.stop(journal)?,
                    Request::ChildEnded => {
                        if let Some(exit) = reap(self.child.pid) {
                            // What it said last is in the pipe by now.
                            self.listen(journal);
                            return Ok(exit);
                        }
                    }
                    // No service runs that could reload, and there is no status yet.
                    Request::Reload | Request::Dump => {}
                }
            }
        }
    }

    /// Passes on what the child has said.
    fn listen(&mut self, journal: &mut Journal) {
        let mut piece = [0u8; 4096];
        while let Some(pipe) = &self.output {
            let lines = match nix::unistd::read(pipe, &mut piece) {
                Ok(0) => {
                    self.output = None;
                    Vec::from_iter(self.lines.rest())
                }
                Ok(length) => self.lines.take(piece.get(..length).unwrap_or_default()),
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            for line in lines {
                match line {
                    Line::Volume(volume) => self.volume = volume,
                    Line::Say { severity, text } => journal.say(severity, text),
                }
            }
        }
    }

    fn stop(&mut self, journal: &mut Journal) -> Result<(), i32> {
        if self.is_stopping {
            let _ = self.child.handle.signal(libc::SIGKILL);
            journal.say(
                WARNING,
                "second order to stop: not waiting for the preparation of /srv",
            );
            return Err(EXIT_FAILED);
        }
        self.is_stopping = true;
        journal.say(NOTICE, "stop: ending the preparation of /srv");
        let _ = self.child.handle.signal(libc::SIGTERM);
        Ok(())
    }
}

/// Reaps everything that has ended; how `child` ended, if it is among it.
fn reap(child: Pid) -> Option<Exit> {
    let mut found = None;
    while let Some((pid, exit)) = process::peek_ended() {
        process::reap(pid);
        if pid == child {
            found = Some(exit);
        }
    }
    found
}
