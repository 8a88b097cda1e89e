//! What a unit holds beside its process: its listeners, and the question whether it lives.

use std::os::fd::OwnedFd;

use crate::init::demand::Use;
use crate::init::pulse::Pulse;
use crate::init::sockets::Bound;
use crate::units::spec::ProbeSpec;

/// A listener of a service and what is known of it.
#[derive(Debug)]
pub struct Listener {
    pub bound: Bound,
    pub(super) watch: Watch,
    pub used: Use,
}

/// What PID 1 waits for on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Nothing,
    /// A connection starts the service.
    Demand,
    /// The first connection begins the question whether the service takes it.
    Use,
}

impl Listener {
    pub fn new(bound: Bound) -> Listener {
        Listener {
            bound,
            watch: Watch::Nothing,
            used: Use::Unknown,
        }
    }
}

/// The questions to a service and the open one.
#[derive(Debug)]
pub struct Probe {
    pub(super) path: String,
    /// Who is asked instead of the socket.
    pub(super) command: Vec<String>,
    pub(super) pulse: Pulse,
    pub(super) connection: Option<OwnedFd>,
    /// Why the last question could not be put; told once.
    pub(super) problem: Option<String>,
}

impl Probe {
    /// Whom it asks, for people.
    pub(super) fn whom(&self) -> String {
        match self.command.is_empty() {
            true => self.path.clone(),
            false => self.command.join(" "),
        }
    }

    pub fn new(spec: &ProbeSpec) -> Probe {
        Probe {
            path: spec.path.clone(),
            command: spec.command.clone(),
            pulse: Pulse::new(spec.interval, spec.failures),
            connection: None,
            problem: None,
        }
    }
}
