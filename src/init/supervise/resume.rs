//! Replacing the binary of PID 1 while everything runs: the children stay its own, because its pid stays.
//!
//! A trial run of the new binary reads the state first; only what it understands is handed over. An exec that fails
//! leaves everything as it was, and a binary that fails after it gives back to the old one.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::held::{Listener, Probe};
use super::log_pipe::LogPipe;
use super::stages::StageRun;
use super::timers::Timer;
use super::unit::{OutputPipe, Unit, duplicate};
use super::{Aside, OWN_NAME, Role, Setup, Supervisor};
use crate::init::control::Reply;
use crate::init::resume::{
    AsideState, ListenerState, LogPipeState, PipeState, SCHEMA, StageState, State, StateError,
    UNDERSTOOD, UnitState,
};
use crate::init::service::{Exit, Service};
use crate::init::shutdown::{Phase, Shutdown};
use crate::init::sockets::Bound;
use crate::logd::syslog::{ERROR, INFO, NOTICE};
use crate::sys::descriptor::{close_on_exec, keep_over_exec, memory_file, take_over};
use crate::sys::process::{self, Launch, ProcessHandle};
use crate::sys::signal;

/// How long the trial run of a new binary may take.
const TRIAL_LIMIT: Duration = Duration::from_secs(5);

/// A new binary that is being tried.
#[derive(Debug)]
pub struct Successor {
    program: PathBuf,
    /// The client that waits for the answer.
    asker: RawFd,
    /// Where the trial run says that it understood the state: any program may end with 0.
    verdict: OwnedFd,
}

impl Supervisor {
    /// Tries the new binary with the state as it is; the answer to `asker` comes when that is known.
    pub(super) fn try_successor(&mut self, program: Option<String>, asker: RawFd) -> Option<Reply> {
        let refuse = |reason: String| Some(Reply::Refused { reason });
        if self.shutdown.phase() != Phase::Serving {
            return refuse("the exchange is not in service: it starts or stops".to_owned());
        }
        if self.successor.is_some() {
            return refuse("another binary is being tried already".to_owned());
        }
        let program = match program {
            Some(program) => PathBuf::from(program),
            None => own_program(),
        };
        match self.launch_trial(&program) {
            Ok((child, verdict)) => {
                let until = self.now().saturating_add(TRIAL_LIMIT);
                self.remember(child, Role::Trial, until);
                self.successor = Some(Successor {
                    program,
                    asker,
                    verdict,
                });
                None
            }
            Err(problem) => refuse(format!(
                "`{}` cannot be tried: {problem}",
                program.display()
            )),
        }
    }

    fn launch_trial(&self, program: &Path) -> Result<(process::Child, OwnedFd), String> {
        if !program.is_absolute() {
            return Err("its path must begin with `/`".to_owned());
        }
        let state = memory_file(&self.state(None).text()).map_err(|e| e.to_string())?;
        let (verdict, told) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .map_err(|e| format!("cannot open a pipe: {e}"))?;
        let launch = Launch {
            program: program.to_owned(),
            arguments: vec!["--try-resume=3".to_owned()],
            environment: self.environment.clone(),
            listeners: vec![("state".to_owned(), state)],
            stderr: Some(duplicate(&self.own_pipe.write)?),
            stdout: Some(told),
            ..Launch::default()
        };
        let child = process::spawn(&launch).map_err(|e| e.to_string())?;
        Ok((child, verdict))
    }

    /// The trial run has ended.
    pub(super) fn trial_ended(&mut self, exit: Exit) {
        let Some(successor) = self.successor.take() else {
            return;
        };
        let program = successor.program.display().to_string();
        let mut said = [0u8; UNDERSTOOD.len()];
        let is_understood = nix::unistd::read(&successor.verdict, &mut said).is_ok()
            && said == *UNDERSTOOD.as_bytes();
        let reason = if exit.is_success() && is_understood {
            // Comes back only when it failed.
            let error = self.become_successor(&successor);
            format!("`{program}` cannot be executed: {error}")
        } else {
            format!(
                "`{program}` cannot go on from here: its trial run ended with {exit}\n\
                 hint: is it a switchhook-init for this machine? the log may say more"
            )
        };
        self.journal
            .say(ERROR, format!("reexec: {reason}; nothing has changed"));
        self.control
            .reply(successor.asker, &Reply::Refused { reason });
    }

    /// Does what the signals ask that have come.
    pub(super) fn hear_signals(&mut self) {
        for request in self.signals.pending() {
            match request {
                signal::Request::Stop => self.stop_ordered(),
                signal::Request::Reload => self.reload_all(),
                signal::Request::Dump => self.dump(),
                signal::Request::ChildEnded => self.more_to_reap = true,
            }
        }
    }

    fn become_successor(&mut self, successor: &Successor) -> std::io::Error {
        // From here on they wait for the successor; what the handlers have heard until now would go with them.
        signal::block_all();
        self.hear_signals();
        if self.shutdown.is_stopping() {
            signal::unblock_all();
            return std::io::Error::other("a stop was ordered meanwhile");
        }
        let program = successor.program.display().to_string();
        let text = format!("going on as `{program}`; the services are not touched");
        self.journal.say(NOTICE, text);
        let asker = self
            .control
            .client(successor.asker)
            .map(|_| successor.asker);
        let state = self.state(asker);
        let kept = state.descriptors();
        let outcome = self.hand_over(successor, &state);
        kept.into_iter().for_each(close_on_exec);
        signal::unblock_all();
        outcome
    }

    /// Executes the successor. Signals wait meanwhile: for PID 1 one without a handler would be lost (signal(7)).
    fn hand_over(&self, successor: &Successor, state: &State) -> std::io::Error {
        let prepared = || -> std::io::Result<(OwnedFd, OwnedFd)> {
            let fallback: OwnedFd = File::open("/proc/self/exe")?.into();
            keep_over_exec(&fallback)?;
            for fd in state.descriptors() {
                keep_over_exec(crate::sys::socket::borrow(fd))?;
            }
            Ok((memory_file(&state.text())?, fallback))
        };
        let (memory, fallback) = match prepared() {
            Ok(prepared) => prepared,
            Err(error) => return error,
        };
        let arguments: Vec<OsString> = vec![
            format!("--root={}", self.paths.root().display()).into(),
            format!("--resume={}", memory.as_raw_fd()).into(),
            format!("--fallback={}", fallback.as_raw_fd()).into(),
        ];
        process::replace(&successor.program, &arguments)
    }

    /// Everything that a next binary needs.
    fn state(&self, asker: Option<RawFd>) -> State {
        let aside = |(pid, aside): (&i32, &Aside)| {
            let role = *self.roles.get(pid)?;
            (role != Role::Trial).then_some(AsideState {
                pid: *pid,
                role,
                until: aside.until,
            })
        };
        State {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: self.clock.began(),
            booted: crate::sys::clock::to_nanos(self.booted),
            ready_after: self.ready_after,
            volume: self.volume.clone(),
            containment: self.containment.clone(),
            orphans_reaped: self.orphans_reaped,
            exit_code: self.exit_code,
            environment: self.environment.clone(),
            definitions: self.definitions.clone(),
            events: self.events.clone(),
            units: self.units.iter().map(unit_state).collect(),
            timers: self.timers.iter().map(Timer::state).collect(),
            asides: self.asides.iter().filter_map(aside).collect(),
            notify: self.notify.as_raw_fd(),
            control: self.control.listener().as_raw_fd(),
            asker,
            own_pipe: pipe_state(&self.own_pipe),
            hook_pipe: pipe_state(&self.hook_pipe),
            log_channel: self.log_channel.as_ref().map(AsRawFd::as_raw_fd),
        }
    }

    /// Goes on from where an earlier binary was. The descriptors of `setup` are those of `state`.
    pub fn resume(setup: Setup, state: State) -> Result<Supervisor, StateError> {
        let pipe = |pipe: PipeState, speaker: &str, severity| {
            Ok::<_, std::io::Error>(OutputPipe {
                speaker: speaker.to_owned(),
                severity,
                read: take_over(pipe.read)?,
                write: take_over(pipe.write)?,
            })
        };
        let mut units = Vec::new();
        for (index, unit) in state.units.into_iter().enumerate() {
            let stdout = pipe(unit.stdout, &unit.spec.name, INFO)?;
            let stderr = pipe(unit.stderr, &unit.spec.name, ERROR)?;
            units.push(resume_unit(index, unit, stdout, stderr)?);
        }
        let own_pipe = pipe(state.own_pipe, OWN_NAME, NOTICE)?;
        let hook_pipe = pipe(state.hook_pipe, "hook", NOTICE)?;
        let mut supervisor = Supervisor::assemble(setup, units, own_pipe, hook_pipe)?;
        for index in 0..supervisor.units.len() {
            supervisor.know_again(index);
        }
        for aside in state.asides {
            let pid = Pid::from_raw(aside.pid);
            supervisor.roles.insert(aside.pid, aside.role);
            let aside = Aside {
                until: aside.until,
                _handle: ProcessHandle::open(pid)?,
            };
            supervisor.asides.insert(pid.as_raw(), aside);
        }
        supervisor.wait_anew();
        supervisor.resume_timers(&state.timers);
        supervisor.booted = crate::sys::clock::from_nanos(state.booted);
        supervisor.events = state.events;
        supervisor.ready_after = state.ready_after;
        supervisor.orphans_reaped = state.orphans_reaped;
        supervisor.exit_code = state.exit_code;
        supervisor.shutdown = Shutdown::in_service();
        if let Some(channel) = state.log_channel {
            supervisor.log_channel = Some(take_over(channel)?);
            if let Ok(pipe) = duplicate(&supervisor.own_pipe.write) {
                supervisor.journal.switch_to(pipe);
            }
        }
        let text = format!(
            "goes on as {} after {}",
            env!("CARGO_PKG_VERSION"),
            state.version
        );
        supervisor.journal.say(NOTICE, text);
        if let Some(asker) = state.asker {
            let stream = std::os::unix::net::UnixStream::from(take_over(asker)?);
            if supervisor.control.adopt(stream) {
                supervisor.watch(asker)?;
                supervisor.control.reply(asker, &Reply::Done);
            }
        }
        // What ended meanwhile is a zombie, and its signal may have come before the handler.
        supervisor.more_to_reap = true;
        crate::sys::memory::give_back();
        signal::unblock_all();
        Ok(supervisor)
    }

    /// A client that waited for an answer has gone; its number may become another's.
    pub(super) fn asker_gone(&mut self, client: RawFd) {
        if let Some(successor) = &mut self.successor
            && successor.asker == client
        {
            successor.asker = -1;
        }
    }

    /// Who a unit's process is, and whether it was executed.
    fn know_again(&mut self, index: usize) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        if let Some((pid, _)) = &unit.process {
            self.roles.insert(pid.as_raw(), Role::Main(index));
        }
        if let Some(fd) = unit.outcome.as_ref().map(AsRawFd::as_raw_fd) {
            self.outcomes.insert(fd, index);
            let _ = self.watch(fd);
        }
        let notification = self.units.get(index).and_then(|u| u.notification.as_ref());
        if let Some(fd) = notification.map(AsRawFd::as_raw_fd) {
            let _ = self.watch(fd);
        }
    }
}

/// Gives back to the binary that handed over. Comes back only when that failed.
pub fn fall_back(fallback: RawFd, root: &Path, state: RawFd) -> std::io::Error {
    let arguments: Vec<OsString> = vec![
        format!("--root={}", root.display()).into(),
        format!("--resume={state}").into(),
    ];
    process::replace(Path::new(&format!("/proc/self/fd/{fallback}")), &arguments)
}

/// Where our own binary is; its file may have been replaced since (proc(5), /proc/PID/exe).
fn own_program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_default();
    let text = path.to_string_lossy().into_owned();
    PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text))
}

fn pipe_state(pipe: &OutputPipe) -> PipeState {
    PipeState {
        read: pipe.read.as_raw_fd(),
        write: pipe.write.as_raw_fd(),
    }
}

fn unit_state(unit: &Unit) -> UnitState {
    // Every field by name: one that is added later must be thought of here.
    let Unit {
        spec,
        waits_for: _,
        index: _,
        life,
        retired,
        start_pending,
        next_start,
        last_start,
        process,
        outcome,
        stdout,
        stderr,
        log_pipe,
        notification,
        stage,
        probe: _,
        listeners,
        demand,
        store,
        changed_at,
        status,
        trouble,
        last_reload,
    } = unit;
    // Whether a listener is used is asked anew.
    let listener = |Listener { bound, .. }: &Listener| ListenerState {
        unit: bound.unit.clone(),
        address: bound.address.clone(),
        name: bound.name.clone(),
        fd: bound.fd.as_raw_fd(),
        activates: bound.activates,
        trigger_interval: bound.trigger_interval,
        trigger_burst: bound.trigger_burst,
        remove: bound.remove.clone(),
    };
    let stored = |(name, fd): &(String, OwnedFd)| (name.clone(), fd.as_raw_fd());
    UnitState {
        spec: spec.clone(),
        life: life.clone(),
        retired: *retired,
        start_pending: *start_pending,
        next_start: next_start.clone(),
        last_start: last_start.clone(),
        pid: process.as_ref().map(|(pid, _)| pid.as_raw()),
        outcome: outcome.as_ref().map(AsRawFd::as_raw_fd),
        stdout: pipe_state(stdout),
        stderr: pipe_state(stderr),
        log_pipe: log_pipe.as_ref().map(|pipe| LogPipeState {
            read: pipe.read.as_raw_fd(),
            write: pipe.write.as_ref().map(AsRawFd::as_raw_fd),
        }),
        notification: notification.as_ref().map(AsRawFd::as_raw_fd),
        stage: stage.as_ref().map(|run| StageState {
            stage: run.stage,
            end: run.end,
            position: run.position,
            pid: run.process.map(Pid::as_raw),
            result: run.result,
        }),
        listeners: listeners.iter().map(listener).collect(),
        demand: demand.clone(),
        store: store.iter().map(stored).collect(),
        changed_at: *changed_at,
        status: status.clone(),
        trouble: trouble.clone(),
        last_reload: last_reload.clone(),
    }
}

fn resume_unit(
    index: usize,
    state: UnitState,
    stdout: OutputPipe,
    stderr: OutputPipe,
) -> std::io::Result<Unit> {
    let process = match state.pid.map(Pid::from_raw) {
        // Ours and not reaped, so the number is still its own.
        Some(pid) => Some((pid, ProcessHandle::open(pid)?)),
        None => None,
    };
    let mut listeners = Vec::new();
    for listener in state.listeners {
        listeners.push(Listener::new(Bound {
            service: state.spec.name.clone(),
            unit: listener.unit,
            address: listener.address,
            name: listener.name,
            fd: take_over(listener.fd)?,
            activates: listener.activates,
            trigger_interval: listener.trigger_interval,
            trigger_burst: listener.trigger_burst,
            remove: listener.remove,
        }));
    }
    let mut store = Vec::new();
    for (name, fd) in state.store {
        store.push((name, take_over(fd)?));
    }
    let log_pipe = match state.log_pipe {
        Some(pipe) => {
            let write = pipe.write.map(take_over).transpose()?;
            Some(LogPipe::resume(take_over(pipe.read)?, write)?)
        }
        None => None,
    };
    let probe = state.spec.probe.as_ref().map(Probe::new);
    let life: Service = state.life;
    Ok(Unit {
        spec: state.spec,
        waits_for: Vec::new(),
        index,
        life,
        retired: state.retired,
        start_pending: state.start_pending,
        next_start: state.next_start,
        last_start: state.last_start,
        process,
        outcome: state.outcome.map(take_over).transpose()?,
        stdout,
        stderr,
        log_pipe,
        notification: state.notification.map(take_over).transpose()?,
        stage: state.stage.map(|run| StageRun {
            stage: run.stage,
            end: run.end,
            position: run.position,
            process: run.pid.map(Pid::from_raw),
            result: run.result,
        }),
        // The question that was open is put again.
        probe,
        listeners,
        demand: state.demand,
        store,
        changed_at: state.changed_at,
        status: state.status,
        trouble: state.trouble,
        last_reload: state.last_reload,
    })
}
