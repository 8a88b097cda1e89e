//! What a service is, once parsed: a valid value that the supervisor can run without asking again.
//!
//! Holds no text that still needs interpretation. Invariant: `command` of a service is never empty.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::exit::ExitSet;
use super::signal;

/// The grace between SIGTERM and SIGKILL when a unit names none.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The time a service may take to become ready when a unit names none.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How a service says that it is ready (systemd.service(5), `Type=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Ready as soon as the program runs (`simple` and `exec`).
    Exec,
    /// Ready at its own `READY=1` (sd_notify(3)).
    Notify,
    /// Done when it exits with success.
    Oneshot,
    /// Ready when its `check` succeeds (sv(8)).
    Check,
}

/// One command of a list such as `ExecStartPre=`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    pub words: Vec<String>,
    /// A leading `-`: its failure counts as success.
    pub may_fail: bool,
}

/// Asks the service on its own socket, or by a command, whether it lives (`X-Probe=`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSpec {
    /// A unix stream socket that greets whoever connects, as Asterisk's console does.
    pub path: String,
    /// Instead of the socket: it exits with 0 if the service lives.
    #[serde(default)]
    pub command: Vec<String>,
    /// From one question to the next; also the time to answer.
    pub interval: Duration,
    /// So many unanswered questions in a row mean that it does not live.
    pub failures: u32,
}

/// When an ended service is started again (systemd.service(5), `Restart=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    No,
    Always,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnAbort,
}

/// Whose notifications count (systemd.service(5), `NotifyAccess=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotifyAccess {
    None,
    Main,
    /// The main process and the commands that the supervisor runs for the service.
    Exec,
    /// Every process of the service.
    All,
}

/// Which processes a stop reaches (systemd.kill(5), `KillMode=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillMode {
    /// The process group of the main process gets the stop signal, all that remain get SIGKILL.
    ControlGroup,
    /// The main process gets the stop signal, all that remain get SIGKILL.
    Mixed,
    /// The main process alone.
    Process,
}

/// A file of variables, read at each start (systemd.exec(5), `EnvironmentFile=`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentFile {
    pub path: String,
    /// A leading `-`: it may be missing.
    pub optional: bool,
}

/// What becomes of a service that cannot be kept up (`X-CrashLoop=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashLoop {
    /// Tried again every few minutes.
    Retry,
    /// Left down; the exchange is degraded.
    Stop,
    /// The container ends, so that whoever runs it can act.
    Exit,
}

/// Where an output stream of a service goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    Log,
    Null,
}

/// A resource limit; the values of getrlimit(2). `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub resource: LimitResource,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// The limits that units may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitResource {
    Core,
    OpenFiles,
    Processes,
    LockedMemory,
    AddressSpace,
    Stack,
}

/// A directory below /run that the service owns while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeDirectory {
    pub name: String,
    pub mode: u32,
}

/// One service, ready to be run. In its serialised form a field has the name of its directive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ServiceSpec {
    /// Unit name without its suffix: `asterisk`.
    pub name: String,
    pub description: String,
    #[serde(rename = "Type")]
    pub readiness: Readiness,
    /// Program and arguments; the program is an absolute path or a name to be found on PATH.
    #[serde(rename = "ExecStart")]
    pub command: Vec<String>,
    /// The failure of `command` counts as success.
    pub may_fail: bool,
    /// The further commands of a oneshot, run one after the other.
    #[serde(rename = "ExecStart (further)")]
    pub then: Vec<CommandLine>,
    /// `$VARIABLE` in commands stands for its value.
    pub expands: bool,
    #[serde(rename = "ExecStartPre")]
    pub before_start: Vec<CommandLine>,
    #[serde(rename = "ExecStartPost")]
    pub after_start: Vec<CommandLine>,
    #[serde(rename = "ExecStop")]
    pub stop: Vec<CommandLine>,
    /// Run after each end, `finish` before them.
    #[serde(rename = "ExecStopPost")]
    pub after_end: Vec<CommandLine>,
    #[serde(rename = "ExecReload")]
    pub reload: Option<Vec<String>>,
    /// `X-Drain=`: asks the service to take no new work and to end when its work has ended.
    #[serde(rename = "X-Drain")]
    pub drain: Option<Vec<String>>,
    /// `X-Role=log`: gets the services' output from PID 1 and is stopped last.
    #[serde(rename = "X-Role")]
    pub is_log: bool,
    pub user: Option<String>,
    pub group: Option<String>,
    pub supplementary_groups: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<String>,
    #[serde(rename = "RuntimeDirectory")]
    pub runtime_directories: Vec<RuntimeDirectory>,
    pub restart: Restart,
    /// A fixed pause before each restart; without it the supervisor's own back-off holds.
    #[serde(rename = "RestartSec")]
    pub restart_pause: Option<Duration>,
    #[serde(rename = "TimeoutStartSec")]
    pub start_timeout: Option<Duration>,
    #[serde(rename = "TimeoutStopSec")]
    pub stop_timeout: Duration,
    /// From SIGABRT after a missed watchdog to SIGKILL; as `stop_timeout` unless given.
    #[serde(rename = "TimeoutAbortSec")]
    pub abort_timeout: Option<Duration>,
    #[serde(rename = "Limit")]
    pub limits: Vec<Limit>,
    pub no_new_privileges: bool,
    /// Capabilities that the service keeps, by number (capabilities(7)); all others are dropped.
    #[serde(rename = "AmbientCapabilities")]
    pub capabilities: Vec<u8>,
    /// `CapabilityBoundingSet=`; without it a user of its own keeps nothing but `capabilities`.
    #[serde(rename = "CapabilityBoundingSet")]
    pub bounding_set: Option<Vec<u8>>,
    #[serde(rename = "UMask")]
    pub umask: Option<u32>,
    #[serde(rename = "StandardOutput")]
    pub stdout: Output,
    #[serde(rename = "StandardError")]
    pub stderr: Output,
    /// Names of services, without suffix. `Before=` of the others is in it once the set is read.
    pub after: Vec<String>,
    pub before: Vec<String>,
    pub requires: Vec<String>,
    /// Socket units that it takes, by name without suffix.
    pub sockets: Vec<String>,
    /// Started with the appliance; otherwise only by an order, its timer or a connection.
    pub starts: bool,
    /// Its file has an `[Install]` section: it starts with the appliance even when it has sockets.
    pub is_installed: bool,
    /// Started by the first connection or datagram on one of its sockets.
    pub on_demand: bool,
    /// `RemainAfterExit=`: counts as up after its program has ended with success.
    pub remain_after_exit: bool,
    /// Ends that are a success besides exit code 0 (`SuccessExitStatus=`).
    #[serde(rename = "SuccessExitStatus")]
    pub success_exit: ExitSet,
    /// Ends after which it is never restarted (`RestartPreventExitStatus=`); wins over `force_restart`.
    #[serde(rename = "RestartPreventExitStatus")]
    pub prevent_restart: ExitSet,
    /// Ends after which it is always restarted (`RestartForceExitStatus=`).
    #[serde(rename = "RestartForceExitStatus")]
    pub force_restart: ExitSet,
    /// The longest silence between two `WATCHDOG=1`; also told to it as `WATCHDOG_USEC`.
    #[serde(rename = "WatchdogSec")]
    pub watchdog: Option<Duration>,
    pub notify_access: NotifyAccess,
    /// The signal that asks it to stop; SIGTERM unless named.
    pub kill_signal: i32,
    pub kill_mode: KillMode,
    /// Read in order at each start, after `environment`; later names win.
    #[serde(rename = "EnvironmentFile")]
    pub environment_files: Vec<EnvironmentFile>,
    /// Variables of PID 1 that it gets; empty means all.
    pub pass_environment: Vec<String>,
    /// Taken out last: `NAME`, or `NAME=value` for that value only.
    pub unset_environment: Vec<String>,
    /// -1000 to 1000 (proc(5), oom_score_adj).
    #[serde(rename = "OOMScoreAdjust")]
    pub oom_score_adjust: Option<i16>,
    /// -20 to 19 (setpriority(2)).
    pub nice: Option<i8>,
    /// More starts than `start_limit_burst` within this time are too many; `None` leaves it to the back-off.
    #[serde(rename = "StartLimitIntervalSec")]
    pub start_limit_interval: Option<Duration>,
    pub start_limit_burst: Option<u32>,
    #[serde(rename = "X-CrashLoop")]
    pub crash_loop: CrashLoop,
    /// Tested before each start; one that does not hold skips the start without failure.
    #[serde(rename = "Condition")]
    pub conditions: Vec<Condition>,
    /// How many descriptors it may store with PID 1 (`FileDescriptorStoreMax=`).
    #[serde(rename = "FileDescriptorStoreMax")]
    pub descriptor_store: u32,
    /// A command that succeeds when the service is ready (runit's `check`).
    #[serde(rename = "check")]
    pub check: Option<Vec<String>>,
    /// A command to run after each end (runit's `finish`), with `exit::finish_arguments` appended.
    #[serde(rename = "finish")]
    pub finish: Option<Vec<String>>,
    /// The service whose standard input is this one's standard output (runit's `log/run`).
    #[serde(rename = "log")]
    pub log_service: Option<String>,
    /// runit's `control/`: the command that stands in for the signal of this letter (runsv(8)).
    #[serde(rename = "control")]
    pub control: Vec<(char, Vec<String>)>,
    /// The descriptor on which it writes a newline when it is ready (s6's `notification-fd`).
    #[serde(rename = "X-NotificationFd")]
    pub notification_descriptor: Option<i32>,
    #[serde(rename = "X-Probe")]
    pub probe: Option<ProbeSpec>,
    /// SIGHUP follows the stop signal at once.
    #[serde(rename = "SendSIGHUP")]
    pub sends_hangup: bool,
}

impl Default for ServiceSpec {
    fn default() -> Self {
        ServiceSpec::new("", Vec::new())
    }
}

impl ServiceSpec {
    /// A service that runs `command`, with systemd's defaults.
    pub fn new(name: &str, command: Vec<String>) -> ServiceSpec {
        ServiceSpec {
            name: name.to_owned(),
            description: name.to_owned(),
            readiness: Readiness::Exec,
            command,
            may_fail: false,
            then: Vec::new(),
            expands: false,
            before_start: Vec::new(),
            after_start: Vec::new(),
            stop: Vec::new(),
            after_end: Vec::new(),
            reload: None,
            drain: None,
            is_log: false,
            user: None,
            group: None,
            supplementary_groups: Vec::new(),
            environment: Vec::new(),
            working_directory: None,
            runtime_directories: Vec::new(),
            restart: Restart::No,
            restart_pause: None,
            start_timeout: Some(START_TIMEOUT),
            stop_timeout: STOP_TIMEOUT,
            abort_timeout: None,
            limits: Vec::new(),
            no_new_privileges: false,
            capabilities: Vec::new(),
            bounding_set: None,
            umask: None,
            stdout: Output::Log,
            stderr: Output::Log,
            after: Vec::new(),
            before: Vec::new(),
            requires: Vec::new(),
            sockets: Vec::new(),
            starts: true,
            is_installed: false,
            on_demand: false,
            remain_after_exit: false,
            success_exit: ExitSet::default(),
            prevent_restart: ExitSet::default(),
            force_restart: ExitSet::default(),
            watchdog: None,
            notify_access: NotifyAccess::Main,
            kill_signal: signal::TERM,
            kill_mode: KillMode::ControlGroup,
            environment_files: Vec::new(),
            pass_environment: Vec::new(),
            unset_environment: Vec::new(),
            oom_score_adjust: None,
            nice: None,
            start_limit_interval: None,
            start_limit_burst: None,
            crash_loop: CrashLoop::Retry,
            conditions: Vec::new(),
            descriptor_store: 0,
            check: None,
            finish: None,
            log_service: None,
            control: Vec::new(),
            notification_descriptor: None,
            probe: None,
            sends_hangup: false,
        }
    }
}

/// The kind of a listening socket (systemd.socket(5)). A name that begins with `@` instead of `/` is of the
/// abstract namespace (unix(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    UnixStream(String),
    UnixDatagram(String),
    UnixSequential(String),
    Tcp(std::net::SocketAddr),
    Udp(std::net::SocketAddr),
}

/// One socket unit: listeners that PID 1 binds and passes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SocketSpec {
    pub name: String,
    /// The service that takes it, without suffix.
    pub service: String,
    #[serde(rename = "Listen")]
    pub listeners: Vec<Listen>,
    #[serde(rename = "SocketUser")]
    pub user: Option<String>,
    #[serde(rename = "SocketGroup")]
    pub group: Option<String>,
    #[serde(rename = "SocketMode")]
    pub mode: u32,
    pub free_bind: bool,
    pub backlog: u32,
    /// SO_REUSEPORT (socket(7)).
    pub reuse_port: bool,
    /// Unix sockets are unlinked when the socket unit is closed.
    pub remove_on_stop: bool,
    /// The name in `LISTEN_FDNAMES`; the unit's own unless given.
    #[serde(rename = "FileDescriptorName")]
    pub descriptor_name: Option<String>,
    /// More than `trigger_burst` starts by its connections within this time are too many; zero is no limit.
    pub trigger_interval: Duration,
    pub trigger_burst: u32,
    /// `X-Role=pbx`: made from the PBX's own configuration. It never starts the service, and its spelling of an
    /// address is the one that the PBX recognises.
    pub is_generated: bool,
}

impl Listen {
    /// The path or abstract name of a unix socket.
    pub fn path(&self) -> Option<&str> {
        match self {
            Listen::UnixStream(path)
            | Listen::UnixDatagram(path)
            | Listen::UnixSequential(path) => Some(path),
            Listen::Tcp(_) | Listen::Udp(_) => None,
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::UnixStream(path)
            | Listen::UnixDatagram(path)
            | Listen::UnixSequential(path) => f.write_str(path),
            Listen::Tcp(address) => write!(f, "tcp {address}"),
            Listen::Udp(address) => write!(f, "udp {address}"),
        }
    }
}

/// How serious a finding about a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Not honoured, without harm; named at start.
    Ignored,
    /// The unit cannot be used.
    Error,
}

/// Something to say about a unit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
