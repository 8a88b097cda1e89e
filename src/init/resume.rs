//! What PID 1 hands to the binary that replaces it: everything that it cannot ask the kernel for again.
//!
//! Pure shapes. Descriptors are the numbers under which they come through the exec. A field that a later version
//! adds has a default, so that it can read what an earlier one wrote; a shape that it cannot read is refused while
//! the old binary still runs. Invariant: every descriptor stands in it once.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::init::demand::Demand;
use crate::init::events::{Events, Reason};
use crate::init::service::{Exit, Moment, Service, Stage};
use crate::sys::containment::Containment;
use crate::units::UnitSet;
use crate::units::spec::{Listen, ServiceSpec};

/// The version of these shapes; it grows when one changes its meaning.
pub const SCHEMA: u32 = 1;

/// What the trial run of a binary prints when it could go on from the state.
pub const UNDERSTOOD: &str = "understood";

/// PID 1 as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    pub schema: u32,
    /// Of the binary that wrote it.
    pub version: String,
    /// When PID 1 started, on the monotonic clock (clock_gettime(2)).
    pub began: Duration,
    /// The same in nanoseconds since 1970.
    pub booted: i64,
    pub ready_after: Option<Moment>,
    pub volume: String,
    pub containment: Containment,
    pub orphans_reaped: u64,
    pub exit_code: i32,
    /// With what hooks passed on.
    pub environment: Vec<(String, String)>,
    pub definitions: UnitSet,
    pub events: Events,
    pub units: Vec<UnitState>,
    pub timers: Vec<TimerState>,
    pub asides: Vec<AsideState>,
    pub notify: RawFd,
    pub control: RawFd,
    /// The client that ordered it and waits for its answer.
    pub asker: Option<RawFd>,
    pub own_pipe: PipeState,
    pub hook_pipe: PipeState,
    pub log_channel: Option<RawFd>,
}

/// A pipe by both ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct PipeState {
    pub read: RawFd,
    pub write: RawFd,
}

/// One service.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnitState {
    pub spec: ServiceSpec,
    pub life: Service,
    pub retired: bool,
    pub start_pending: bool,
    pub next_start: Reason,
    pub last_start: Option<(Reason, Moment)>,
    pub pid: Option<i32>,
    pub outcome: Option<RawFd>,
    pub stdout: PipeState,
    pub stderr: PipeState,
    pub log_pipe: Option<LogPipeState>,
    pub notification: Option<RawFd>,
    pub stage: Option<StageState>,
    pub listeners: Vec<ListenerState>,
    pub demand: Demand,
    pub store: Vec<(String, RawFd)>,
    pub changed_at: Moment,
    pub status: Option<String>,
    pub trouble: Option<String>,
    #[serde(default)]
    pub last_reload: Option<String>,
}

/// The pipe to a service that takes the output.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogPipeState {
    pub read: RawFd,
    pub write: Option<RawFd>,
}

/// The commands around a service's program that run.
#[derive(Debug, Serialize, Deserialize)]
pub struct StageState {
    pub stage: Stage,
    pub end: Option<Exit>,
    pub position: usize,
    pub pid: Option<i32>,
    pub result: Exit,
}

/// One bound listener.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListenerState {
    pub unit: String,
    pub address: Listen,
    pub name: String,
    pub fd: RawFd,
    pub activates: bool,
    pub trigger_interval: Duration,
    pub trigger_burst: u32,
    pub remove: Option<PathBuf>,
}

/// One timer by the name of its unit; moments in nanoseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
pub struct TimerState {
    pub name: String,
    pub due: Option<i64>,
    pub last_start: Option<i64>,
    pub last_end: Option<i64>,
}

/// A helper that runs beside a service.
#[derive(Debug, Serialize, Deserialize)]
pub struct AsideState {
    pub pid: i32,
    pub role: Role,
    pub until: Moment,
}

/// Whose child a process is; services by their place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Main(usize),
    Drain(usize),
    Reload(usize),
    /// A command of the stage that runs.
    Stage(usize),
    Check(usize),
    /// The program that stands in for a signal (0: for none) to the process `target`.
    Control {
        index: usize,
        letter: char,
        signal: i32,
        target: i32,
    },
    /// Its service does not wait for it any more.
    Cut,
    Hook,
    /// The trial run of a binary that is to replace ours.
    Trial,
}

/// Why a state cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the state cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the state is not understood: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("the state has schema {0}, and this binary knows {SCHEMA}")]
    Schema(u32),
}

impl State {
    /// Reads what an earlier binary wrote.
    pub fn parse(text: &[u8]) -> Result<State, StateError> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_slice(text)?;
        if head.schema != SCHEMA {
            return Err(StateError::Schema(head.schema));
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// As it is written.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Every descriptor in it.
    pub fn descriptors(&self) -> Vec<RawFd> {
        let pipe = |pipe: PipeState| [pipe.read, pipe.write];
        let mut all = vec![self.notify, self.control];
        all.extend(self.asker);
        all.extend(self.log_channel);
        all.extend(pipe(self.own_pipe));
        all.extend(pipe(self.hook_pipe));
        for unit in &self.units {
            all.extend(pipe(unit.stdout));
            all.extend(pipe(unit.stderr));
            all.extend(unit.outcome);
            all.extend(unit.notification);
            all.extend(unit.log_pipe.iter().map(|pipe| pipe.read));
            all.extend(unit.log_pipe.iter().filter_map(|pipe| pipe.write));
            all.extend(unit.listeners.iter().map(|listener| listener.fd));
            all.extend(unit.store.iter().map(|(_, fd)| *fd));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_schema_and_nonsense_are_refused() {
        let refused = |text: &str| State::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"schema":99}"#),
            "the state has schema 99, and this binary knows 1"
        );
        assert!(refused("").starts_with("the state is not understood"));
        assert!(refused(r#"{"schema":1}"#).contains("missing field"));
    }
}
