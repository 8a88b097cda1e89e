//! The volume and the certificate before the start, done by a child: PID 1 waits for it and keeps listening.
//!
//! What the child needs (sample configuration, secrets, keys) is a large part of the whole program and of no use
//! afterwards, so that it is no part of PID 1's. It is started first of all: loading it takes as long as reading the
//! units. Invariant: an order to stop is obeyed while the child runs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};

use super::journal::Journal;
use super::programs::{COMMAND_PROGRAM, beside};
use super::report::{Line, Lines};
use super::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::logd::syslog::{ERROR, NOTICE, WARNING};
use crate::sys::process::{self, Child, Launch};
use crate::sys::signal::{Request, Signals};
use crate::units::exit::Exit;

/// What the child has left.
#[derive(Debug)]
pub struct Prepared {
    /// What /srv is, for `status`.
    pub volume: String,
    /// The volume got files, so that what was read of it before may no longer hold.
    pub is_seeded: bool,
    /// The child, when its work is done and its end still to come.
    pub child: Option<Child>,
}

/// A child that waits for the word. Without it, it ends when this is dropped, and touches nothing.
#[derive(Debug)]
pub struct Ready {
    program: PathBuf,
    child: Child,
    word: OwnedFd,
    output: OwnedFd,
}

/// Starts `switchhook prepare`, which gets ready and waits for the word.
///
/// # Errors
/// With what is to be told when the child is needed.
pub fn begin(root: &Path, environment: &[(String, String)]) -> Result<Ready, String> {
    let program = beside(COMMAND_PROGRAM);
    spawn(program, root, environment).map_err(|problem| format!("cannot prepare /srv: {problem}"))
}

impl Ready {
    /// Gives the word.
    pub fn go(self) -> Preparation {
        // One that has ended already is seen by its end.
        let _ = nix::unistd::write(&self.word, b"\n");
        Preparation {
            program: self.program,
            child: self.child,
            output: Some(self.output),
            lines: Lines::default(),
            volume: String::new(),
            is_seeded: false,
            is_done: false,
            is_stopping: false,
        }
    }
}

fn spawn(program: PathBuf, root: &Path, environment: &[(String, String)]) -> Result<Ready, String> {
    let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|e| e.to_string())?;
    // The child's end waits for us as any pipe does.
    nix::fcntl::fcntl(&input, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty()))
        .map_err(|e| e.to_string())?;
    let (wait, word) = pipe2(OFlag::O_CLOEXEC).map_err(|e| e.to_string())?;
    let own = std::io::stderr().as_fd().try_clone_to_owned();
    let root = root.to_str().ok_or("the root's name is no UTF-8")?;
    let launch = Launch {
        program,
        arguments: ["prepare", "--on-word", "--root", root]
            .map(str::to_owned)
            .to_vec(),
        environment: environment.to_vec(),
        stdin: Some(wait),
        stdout: Some(input),
        stderr: own.ok(),
        ..Launch::default()
    };
    let child = process::spawn(&launch).map_err(|e| e.to_string())?;
    Ok(Ready {
        program: launch.program,
        child,
        word,
        output,
    })
}

/// The child while it works.
#[derive(Debug)]
pub struct Preparation {
    program: PathBuf,
    child: Child,
    /// Until the end of the pipe.
    output: Option<OwnedFd>,
    lines: Lines,
    volume: String,
    is_seeded: bool,
    is_done: bool,
    is_stopping: bool,
}

impl Preparation {
    /// Waits until everything is prepared, and tells what the child tells.
    ///
    /// # Errors
    /// With the exit code of the appliance, after the reason was told: the child's own (2 or 78), or 0 when a stop was
    /// ordered meanwhile, 2 when a second order came before the child had ended.
    pub fn finish(mut self, signals: &mut Signals, journal: &mut Journal) -> Result<Prepared, i32> {
        let exit = self.watch(signals, journal)?;
        if self.is_stopping {
            journal.say(NOTICE, "stopped before anything was started");
            return Err(0);
        }
        let child = match exit {
            None => Some(self.child),
            Some(Exit::Code(0)) => None,
            Some(Exit::Code(code)) if code == EXIT_FAILED || code == EXIT_CONFIGURATION => {
                return Err(code);
            }
            Some(other) => {
                let problem = match process::read_outcome(self.child.outcome.as_fd()) {
                    Some(Err(setup)) => format!(
                        "cannot prepare /srv: cannot run `{}`: {setup}\n\
                         hint: switchhook-init needs the program `{COMMAND_PROGRAM}` in its own directory",
                        self.program.display()
                    ),
                    _ => format!(
                        "cannot prepare /srv: `{COMMAND_PROGRAM} prepare` ended with {other}"
                    ),
                };
                journal.say(ERROR, problem);
                return Err(EXIT_FAILED);
            }
        };
        Ok(Prepared {
            volume: self.volume,
            is_seeded: self.is_seeded,
            child,
        })
    }

    /// Waits for the child's last word (`None`) or its end; an error is the exit code after a second order to stop.
    fn watch(&mut self, signals: &mut Signals, journal: &mut Journal) -> Result<Option<Exit>, i32> {
        loop {
            {
                let mut wanted = vec![PollFd::new(signals.descriptor(), PollFlags::POLLIN)];
                let output = self.output.iter();
                wanted.extend(output.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
                // A failure is an interruption by a signal, which is then pending.
                let _ = poll(&mut wanted, PollTimeout::NONE);
            }
            self.listen(journal);
            if self.is_done && !self.is_stopping {
                // Its end takes time, and is nobody's matter: what has come meanwhile is the supervisor's.
                return Ok(None);
            }
            for request in signals.pending() {
                match request {
                    Request::Stop => self.stop(journal)?,
                    Request::ChildEnded => {
                        if let Some(exit) = reap(self.child.pid) {
                            // What it said last is in the pipe by now.
                            self.listen(journal);
                            return Ok(Some(exit));
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
                    Line::Seeded => self.is_seeded = true,
                    Line::Done => self.is_done = true,
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
