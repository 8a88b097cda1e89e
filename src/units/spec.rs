//! What a service is, once parsed: a valid value that the supervisor can run without asking again.
//!
//! Holds no text that still needs interpretation. Invariant: `command` of a service is never empty.

use std::time::Duration;

/// How a service says that it is ready (systemd.service(5), `Type=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Ready as soon as the program runs (`simple` and `exec`).
    Exec,
    /// Ready at its own `READY=1` (sd_notify(3)).
    Notify,
    /// Done when it exits with success.
    Oneshot,
}

/// When an ended service is started again (systemd.service(5), `Restart=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    No,
    Always,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnAbort,
}

/// Where an output stream of a service goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Log,
    Null,
}

/// A resource limit; the values of getrlimit(2). `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub resource: LimitResource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// The limits that units may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitResource {
    Core,
    OpenFiles,
    Processes,
    LockedMemory,
    AddressSpace,
    Stack,
}

/// A directory below /run that the service owns while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDirectory {
    pub name: String,
    pub mode: u32,
}

/// One service, ready to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Unit name without its suffix: `asterisk`.
    pub name: String,
    pub description: String,
    pub readiness: Readiness,
    /// Program and arguments; the program is an absolute path or a name to be found on PATH.
    pub command: Vec<String>,
    pub reload: Option<Vec<String>>,
    /// `X-Drain=`: asks the service to take no new work and to end when its work has ended.
    pub drain: Option<Vec<String>>,
    /// `X-Role=log`: gets the services' output from PID 1 and is stopped last.
    pub is_log: bool,
    pub user: Option<String>,
    pub group: Option<String>,
    pub supplementary_groups: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<String>,
    pub runtime_directories: Vec<RuntimeDirectory>,
    pub restart: Restart,
    /// A fixed pause before each restart; without it the supervisor's own back-off holds.
    pub restart_pause: Option<Duration>,
    pub start_timeout: Option<Duration>,
    pub stop_timeout: Duration,
    pub limits: Vec<Limit>,
    pub no_new_privileges: bool,
    /// Capabilities that the service keeps, by number (capabilities(7)); all others are dropped.
    pub capabilities: Vec<u8>,
    /// `CapabilityBoundingSet=`; without it a user of its own keeps nothing but `capabilities`.
    pub bounding_set: Option<Vec<u8>>,
    pub umask: Option<u32>,
    pub stdout: Output,
    pub stderr: Output,
    /// Names of services, without suffix.
    pub after: Vec<String>,
    pub requires: Vec<String>,
    /// Socket units that it takes, by name without suffix.
    pub sockets: Vec<String>,
}

/// The kind of a listening socket (systemd.socket(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    UnixStream(String),
    UnixDatagram(String),
    Tcp(std::net::SocketAddr),
    Udp(std::net::SocketAddr),
}

/// One socket unit: listeners that PID 1 binds and passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSpec {
    pub name: String,
    /// The service that takes it, without suffix.
    pub service: String,
    pub listeners: Vec<Listen>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub mode: u32,
    pub free_bind: bool,
    pub backlog: u32,
}

/// How serious a finding about a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Not honoured, without harm; named at start.
    Ignored,
    /// The unit cannot be used.
    Error,
}

/// Something to say about a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    /// 1-based; 0 when the finding is about the file as a whole.
    pub line: usize,
    pub severity: Severity,
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.text)
        } else {
            write!(f, "{}:{}: {}", self.file, self.line, self.text)
        }
    }
}
