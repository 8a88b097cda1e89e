//! The start of a binary that takes over from an earlier one in the same process, and its trial run.
//!
//! What can be refused is refused before a descriptor is touched, so that the earlier binary can still go on.

use std::io::Write;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::control::Server;
use super::journal::Journal;
use super::resume::{State, StateError, UNDERSTOOD};
use super::supervise::resume::fall_back;
use super::supervise::{Setup, Supervisor};
use super::{EXIT_CONFIGURATION, EXIT_FAILED};
use crate::config::paths::Paths;
use crate::config::{self, Config, LogFormat};
use crate::logd::syslog::ERROR;
use crate::sys::clock::Stopwatch;
use crate::sys::descriptor::{is_open, read_memory_file, take_over};
use crate::sys::signal::Signals;
use crate::sys::socket::borrow;

/// Why this binary cannot go on from the state that it was given.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the environment is not valid for this binary: {0}")]
    Environment(String),
    #[error("descriptor {0} of the state did not come through")]
    Missing(RawFd),
}

/// The trial run: says on stdout when `resume` could go on from the state in the memory file `state`. Changes nothing;
/// the value is an exit code.
pub fn try_resume(state: RawFd) -> i32 {
    match understand(state) {
        Ok(_) => match writeln!(std::io::stdout(), "{UNDERSTOOD}") {
            Ok(()) => 0,
            Err(_) => EXIT_FAILED,
        },
        Err(problem) => {
            Journal::direct(4, LogFormat::Text).say(ERROR, format!("reexec: {problem}"));
            EXIT_CONFIGURATION
        }
    }
}

/// Goes on as PID 1 from the state in the memory file `state`. When that cannot be, the binary behind `fallback` does;
/// the value is the container's exit code.
pub fn resume(root: &Path, state: RawFd, fallback: Option<RawFd>) -> i32 {
    let mut journal = Journal::direct(4, LogFormat::Text);
    match take_state(root, state) {
        Ok(supervisor) => {
            // Neither is needed any more.
            let _ = take_over(state);
            let _ = fallback.map(take_over);
            supervisor.go_on()
        }
        Err(problem) => {
            journal.say(ERROR, format!("reexec: {problem}"));
            if let Some(fallback) = fallback {
                let error = fall_back(fallback, root, state);
                journal.say(ERROR, format!("reexec: cannot give back: {error}"));
            }
            EXIT_FAILED
        }
    }
}

fn understand(state: RawFd) -> Result<(State, Config), Problem> {
    let text = read_memory_file(borrow(state)).map_err(StateError::Read)?;
    let state = State::parse(&text)?;
    let config = config::read(&crate::sys::environment::all()).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Problem::Environment(texts.join("; "))
    })?;
    Ok((state, config))
}

fn take_state(root: &Path, state: RawFd) -> Result<Supervisor, Problem> {
    let (mut state, config) = understand(state)?;
    if let Some(missing) = state.descriptors().into_iter().find(|fd| !is_open(*fd)) {
        return Err(Problem::Missing(missing));
    }
    let signals = Signals::install().map_err(StateError::Read)?;
    let notify = take_over(state.notify).map_err(StateError::Read)?;
    let control = take_over(state.control).map_err(StateError::Read)?;
    let setup = Setup {
        clock: Stopwatch::since(state.began),
        journal: Journal::direct(config.log_level, config.log_format),
        paths: Paths::under(root).of_pbx(config.pbx),
        config,
        signals,
        units: std::mem::take(&mut state.definitions),
        order: Vec::new(),
        listeners: Vec::new(),
        environment: std::mem::take(&mut state.environment),
        volume: std::mem::take(&mut state.volume),
        preparation: None,
        containment: state.containment.clone(),
        notify,
        control: Server::resume(UnixListener::from(control)),
    };
    Ok(Supervisor::resume(setup, state)?)
}
