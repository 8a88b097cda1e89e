//! One service with its process, pipes and listeners: from its spec to a running child.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, pipe2};

use super::held::{Listener, Probe};
use super::log_pipe::LogPipe;
use super::stages::StageRun;
use crate::config::paths::Paths;
use crate::init::demand::Demand;
use crate::init::events::Reason;
use crate::init::identity;
use crate::init::service::{Moment, Service};
use crate::logd::syslog::{ERROR, INFO};
use crate::sys::containment::{self, Containment};
use crate::sys::process::{self, Child, Identity, Launch, ProcessHandle};
use crate::sys::socket::send_with_descriptor;
use crate::units::condition::{self, Question};
use crate::units::expand::expand;
use crate::units::spec::{EnvironmentFile, Output, ServiceSpec};
use crate::units::value;

/// A pipe that outlives the processes which write into it, so that no line is lost between two of them.
#[derive(Debug)]
pub struct OutputPipe {
    pub speaker: String,
    pub severity: u8,
    pub read: OwnedFd,
    pub write: OwnedFd,
}

impl OutputPipe {
    pub fn new(speaker: &str, severity: u8) -> std::io::Result<OutputPipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(OutputPipe {
            speaker: speaker.to_owned(),
            severity,
            read,
            write,
        })
    }

    /// Everything that waits in it; never blocks.
    pub fn take_all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0u8; 4096];
        let nonblocking = nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
        if nix::fcntl::fcntl(&self.read, nonblocking).is_ok() {
            while let Ok(length @ 1..) = nix::unistd::read(&self.read, &mut buffer) {
                all.extend_from_slice(buffer.get(..length).unwrap_or_default());
            }
        }
        all
    }

    /// Hands the reading end to the log service.
    pub fn announce(&self, channel: &OwnedFd) -> std::io::Result<()> {
        let text = format!("{} {}", self.speaker, self.severity);
        send_with_descriptor(
            channel.as_raw_fd(),
            text.as_bytes(),
            Some(self.read.as_raw_fd()),
        )
    }
}

/// A service under supervision.
#[derive(Debug)]
pub struct Unit {
    pub spec: ServiceSpec,
    /// The services (by their place in the list) that must be up before it and down after it.
    pub waits_for: Vec<usize>,
    /// Its place in the list of services.
    pub index: usize,
    pub life: Service,
    /// Its definition was taken out; it stops, and then its place is free.
    pub retired: bool,
    /// Its start was ordered and waits for what it depends on.
    pub start_pending: bool,
    pub process: Option<(Pid, ProcessHandle)>,
    /// Tells whether the child became its program.
    pub outcome: Option<OwnedFd>,
    pub stdout: OutputPipe,
    pub stderr: OutputPipe,
    /// To the service that takes its standard output, if it has one of its own.
    pub log_pipe: Option<LogPipe>,
    /// Where a newline says that it is ready.
    pub notification: Option<OwnedFd>,
    /// The commands around it that run now.
    pub stage: Option<StageRun>,
    pub probe: Option<Probe>,
    pub listeners: Vec<Listener>,
    /// How its connections may start it.
    pub demand: Demand,
    /// Descriptors that it asked us to keep over its restarts (FDSTORE=1).
    pub store: Vec<(String, OwnedFd)>,
    /// Since when its life is in its present state.
    pub changed_at: Moment,
    /// Its own word on how it does (STATUS=).
    pub status: Option<String>,
    /// The exit that was not asked for, for health and status.
    pub trouble: Option<String>,
    /// How its last reload went.
    pub last_reload: Option<String>,
    /// Why it is started next.
    pub next_start: Reason,
    /// Why and when it was started last.
    pub last_start: Option<(Reason, Moment)>,
}

/// What every child of PID 1 shares.
pub struct Surroundings<'a> {
    pub paths: &'a Paths,
    pub environment: &'a [(String, String)],
    /// Whether a log service reads the pipes; otherwise outputs are PID 1's own.
    pub has_log: bool,
    pub containment: &'a Containment,
}

impl Unit {
    pub fn new(index: usize, spec: ServiceSpec, waits_for: Vec<usize>) -> std::io::Result<Unit> {
        Ok(Unit {
            waits_for,
            index,
            life: Service::new(&spec),
            retired: false,
            start_pending: false,
            process: None,
            outcome: None,
            stdout: OutputPipe::new(&spec.name, INFO)?,
            stderr: OutputPipe::new(&spec.name, ERROR)?,
            log_pipe: spec
                .log_service
                .as_ref()
                .map(|_| LogPipe::new())
                .transpose()?,
            notification: None,
            stage: None,
            probe: spec.probe.as_ref().map(Probe::new),
            listeners: Vec::new(),
            demand: Demand::default(),
            store: Vec::new(),
            changed_at: Moment::ZERO,
            status: None,
            trouble: None,
            last_reload: None,
            next_start: Reason::Boot,
            last_start: None,
            spec,
        })
    }

    /// Neither shown nor counted any more, unless something of it still runs.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// Starts the service's program with `input` as its standard input. For the log service the channel's
    /// near end comes back too.
    pub fn spawn(
        &mut self,
        input: Option<OwnedFd>,
        around: &Surroundings<'_>,
    ) -> Result<Option<OwnedFd>, String> {
        let mut launch = self.launch(self.command(), &[], around)?;
        launch.stdin = input;
        self.make_runtime_directories(around, &launch)?;
        let held = self
            .listeners
            .iter()
            .map(|held| (&held.bound.name, &held.bound.fd));
        for (name, fd) in held.chain(self.store.iter().map(|(name, fd)| (name, fd))) {
            launch.listeners.push((name.clone(), duplicate(fd)?));
        }
        let mut near = None;
        if self.spec.is_log {
            let (ours, theirs) = socketpair(
                AddressFamily::Unix,
                SockType::SeqPacket,
                None,
                SockFlag::SOCK_CLOEXEC,
            )
            .map_err(|e| format!("cannot make the log channel: {e}"))?;
            launch.listeners.push(("channel".to_owned(), theirs));
            near = Some(ours);
        }
        self.notification = None;
        if let Some(number) = self.spec.notification_descriptor {
            let first_free = launch.listeners.len() + 3;
            if usize::try_from(number).is_ok_and(|number| number < first_free) {
                return Err(format!(
                    "its notification descriptor {number} is taken by a socket; {first_free} is free"
                ));
            }
            let problem = |e| format!("cannot make the notification pipe: {e}");
            let (read, write) = pipe2(OFlag::O_CLOEXEC).map_err(problem)?;
            // Our end alone: the flag belongs to each end, and the service's stays as it expects.
            let nonblocking = nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK);
            nix::fcntl::fcntl(&read, nonblocking).map_err(problem)?;
            launch.notification = Some((number, write));
            self.notification = Some(read);
        }
        let Child {
            pid,
            handle,
            outcome,
        } = process::spawn(&launch).map_err(|e| e.to_string())?;
        self.process = Some((pid, handle));
        self.outcome = Some(outcome);
        Ok(near)
    }

    /// The command of the program that runs or is to be run.
    pub fn command(&self) -> &[String] {
        let position = self.life.position();
        let later = position.checked_sub(1).and_then(|i| self.spec.then.get(i));
        later.map_or(&self.spec.command, |line| &line.words)
    }

    /// Runs a command beside the service, as the service's user and with `MAINPID` and `more` in its
    /// environment. What a silent one prints goes nowhere.
    pub fn spawn_helper(
        &self,
        command: &[String],
        mut more: Vec<(String, String)>,
        is_silent: bool,
        around: &Surroundings<'_>,
    ) -> Result<Child, String> {
        if let Some((pid, _)) = &self.process {
            more.push(("MAINPID".to_owned(), pid.to_string()));
        }
        let mut launch = self.launch(command, &more, around)?;
        if is_silent {
            launch.stdout = None;
        }
        process::spawn(&launch).map_err(|e| e.to_string())
    }

    fn launch(
        &self,
        command: &[String],
        more: &[(String, String)],
        around: &Surroundings<'_>,
    ) -> Result<Launch, String> {
        let spec = &self.spec;
        let mut identity = identity::of(spec)?;
        if let Some(mark) = around.containment.group(self.index) {
            // Root's own services are marked too.
            let root = || Identity {
                uid: 0,
                gid: 0,
                groups: vec![0],
            };
            identity.get_or_insert_with(root).groups.push(mark);
        }
        let mut environment = self.inherited(around);
        if let Some(user) = &spec.user {
            let account = identity::user(user)?;
            set(&mut environment, "USER", user);
            set(&mut environment, "LOGNAME", user);
            set(&mut environment, "HOME", &account.home);
        }
        for (key, value) in &spec.environment {
            set(&mut environment, key, value);
        }
        for file in &spec.environment_files {
            for (key, value) in read_environment(file, around.paths)? {
                set(&mut environment, &key, &value);
            }
        }
        if let Some(interval) = spec.watchdog {
            set(
                &mut environment,
                "WATCHDOG_USEC",
                &interval.as_micros().to_string(),
            );
        }
        for unwanted in &spec.unset_environment {
            let is_it = |(name, value): &(String, String)| match unwanted.split_once('=') {
                Some((n, v)) => name == n && value == v,
                None => name == unwanted,
            };
            environment.retain(|pair| !is_it(pair));
        }
        for (name, value) in more {
            set(&mut environment, name, value);
        }
        set(&mut environment, containment::VARIABLE, &spec.name);
        set(
            &mut environment,
            "NOTIFY_SOCKET",
            &around.paths.notify_socket().to_string_lossy(),
        );
        let value = |wanted: &str| {
            let found = environment.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        let command = if spec.expands {
            expand(command, &value)
        } else {
            command.to_vec()
        };
        let (name, arguments) = command.split_first().ok_or("there is no command")?;
        let path = environment
            .iter()
            .find(|(key, _)| key == "PATH")
            .map_or(PATH, |(_, value)| value.as_str());
        let program = process::resolve(name, path)
            .ok_or_else(|| format!("program `{name}` is not on PATH"))?;
        let output = |wanted, pipe: &OutputPipe, own: std::os::fd::BorrowedFd<'_>| match wanted {
            Output::Null => Ok(None),
            // The log service itself prints, and without one everybody does.
            Output::Log if spec.is_log || !around.has_log => own
                .try_clone_to_owned()
                .map(Some)
                .map_err(|e| e.to_string()),
            Output::Log => duplicate(&pipe.write).map(Some),
        };
        Ok(Launch {
            program,
            arguments: arguments.to_vec(),
            working_directory: spec
                .working_directory
                .as_ref()
                .map(|dir| around.paths.at(dir)),
            identity,
            limits: spec.limits.clone(),
            umask: spec.umask,
            nice: spec.nice,
            oom_score_adjust: spec.oom_score_adjust,
            no_new_privileges: spec.no_new_privileges,
            cgroup: around
                .containment
                .entrance(&spec.name)
                .map_err(|e| format!("cannot make its cgroup: {e}"))?,
            capabilities: spec.capabilities.clone(),
            bounding_set: spec.bounding_set.clone(),
            stdin: None,
            stdout: match &self.log_pipe {
                Some(LogPipe {
                    write: Some(write), ..
                }) if spec.log_service.is_some() => Some(duplicate(write)?),
                _ => output(spec.stdout, &self.stdout, std::io::stdout().as_fd())?,
            },
            stderr: output(spec.stderr, &self.stderr, std::io::stderr().as_fd())?,
            environment,
            listeners: Vec::new(),
            notification: None,
        })
    }

    /// What of PID 1's environment the service gets.
    fn inherited(&self, around: &Surroundings<'_>) -> Vec<(String, String)> {
        let passed = &self.spec.pass_environment;
        let is_passed =
            |name: &String| passed.is_empty() || passed.contains(name) || name == "PATH";
        let all = around.environment.iter();
        all.filter(|(name, _)| is_passed(name)).cloned().collect()
    }

    /// Why the unit's conditions say that it is not to be started now; `None` when they hold.
    pub fn unmet_condition(&self, around: &Surroundings<'_>) -> Option<String> {
        let answer = |question: &Question| match question {
            Question::PathExists(path) => around.paths.at(path).exists(),
            Question::Environment { name, value } => around
                .environment
                .iter()
                .any(|(n, v)| n == name && value.as_ref().is_none_or(|value| value == v)),
        };
        condition::unmet(&self.spec.conditions, answer).map(ToString::to_string)
    }

    fn make_runtime_directories(
        &self,
        around: &Surroundings<'_>,
        launch: &Launch,
    ) -> Result<(), String> {
        use std::os::unix::fs::{PermissionsExt, chown};
        for directory in &self.spec.runtime_directories {
            let path = around.paths.runtime().join(&directory.name);
            let made = std::fs::create_dir_all(&path)
                .and_then(|()| {
                    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(directory.mode))
                })
                .and_then(|()| match &launch.identity {
                    Some(identity) => chown(&path, Some(identity.uid), Some(identity.gid)),
                    None => Ok(()),
                });
            made.map_err(|e| format!("cannot make `{}`: {e}", path.display()))?;
        }
        Ok(())
    }
}

fn read_environment(
    file: &EnvironmentFile,
    paths: &Paths,
) -> Result<Vec<(String, String)>, String> {
    let path = paths.at(&file.path);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            value::environment_file(&text).map_err(|e| format!("`{}`: {e}", path.display()))
        }
        Err(_) if file.optional => Ok(Vec::new()),
        Err(e) => Err(format!("cannot read `{}`: {e}", path.display())),
    }
}

/// Where programs are looked for when the environment does not say.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn set(environment: &mut Vec<(String, String)>, name: &str, value: &str) {
    environment.retain(|(known, _)| known != name);
    environment.push((name.to_owned(), value.to_owned()));
}

pub fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, String> {
    fd.try_clone()
        .map_err(|e| format!("cannot duplicate a descriptor: {e}"))
}
