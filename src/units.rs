//! What a service is: systemd unit files and runit directories to specs, as pure functions from texts to values.
//!
//! Reads no file and asks no system; `init::unit_files` brings the texts. Invariant: a set holds each name once.

pub mod calendar;
pub mod capability;
pub mod condition;
pub mod diff;
pub mod directives;
pub mod exit;
pub mod expand;
pub mod runit;
pub mod service_file;
pub mod set;
pub mod signal;
pub mod socket_file;
pub mod spec;
pub mod syntax;
pub mod timer;
pub mod timer_file;
pub mod unit_file;
pub mod value;

use serde::{Deserialize, Serialize};

use spec::{ServiceSpec, SocketSpec};
use timer::TimerSpec;
use unit_file::Source;

pub use set::{Origins, read_all};

/// A unit as found: its file name (`asterisk.service`), the file first, then its drop-ins in name order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitText {
    pub file_name: String,
    pub sources: Vec<Source>,
}

/// All units of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitSet {
    pub services: Vec<ServiceSpec>,
    pub sockets: Vec<SocketSpec>,
    pub timers: Vec<TimerSpec>,
}
