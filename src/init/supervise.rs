//! PID 1's event loop: it turns what the kernel reports into events of the pure machines, and their
//! effects into system calls.
//!
//! One thread, one epoll, no sleep. Parses nothing that comes from outside the container. Invariant: a
//! child is in `roles` from its fork until it is reaped.

mod children;
mod control;
mod definitions;
mod events;
mod held;
mod hooks;
mod log_pipe;
mod notify;
mod phases;
mod probe;
mod rescue;
pub mod resume;
mod sockets;
mod stages;
mod timers;
pub mod unit;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;

use super::control::Server;
use super::events::{Events, What};
use super::flood::Flood;
use super::hooks::HookRun;
use super::journal::Journal;
use super::order;
pub(super) use super::resume::Role;
use super::service::{Effect, Event, Moment, Note, State};
use super::shutdown::{self, Phase, Shutdown};
use crate::config::Config;
use crate::config::paths::Paths;
use crate::logd::OWN_NAME;
use crate::logd::syslog::{DEBUG, ERROR, INFO, NOTICE, WARNING};
use crate::sys::clock::Stopwatch;
use crate::sys::containment::Containment;
use crate::sys::process::{self, Child, ProcessHandle};
use crate::sys::signal::Signals;
use crate::units::UnitSet;
use held::Listener;
use timers::Timer;
use unit::{OutputPipe, Surroundings, Unit};

/// How many ended children are reaped before other events get their turn.
const REAP_BATCH: usize = 64;
/// How long a reload or drain command may take.
const HELPER_LIMIT: Duration = Duration::from_secs(30);

/// A helper or hook that runs now.
struct Aside {
    until: Moment,
    _handle: ProcessHandle,
}

/// Everything that PID 1 holds.
pub struct Supervisor {
    clock: Stopwatch,
    config: Config,
    paths: Paths,
    journal: Journal,
    signals: Signals,
    epoll: Epoll,
    notify: OwnedFd,
    control: Server,
    /// What the units were read as; `units` holds the services of it and those that still stop.
    definitions: UnitSet,
    events: Events,
    notify_flood: Flood,
    units: Vec<Unit>,
    timers: Vec<Timer>,
    booted: time::OffsetDateTime,
    roles: HashMap<i32, Role>,
    asides: HashMap<i32, Aside>,
    outcomes: HashMap<RawFd, usize>,
    hooks: Option<HookRun>,
    successor: Option<resume::Successor>,
    hook_pipe: OutputPipe,
    own_pipe: OutputPipe,
    log_channel: Option<OwnedFd>,
    environment: Vec<(String, String)>,
    volume: String,
    containment: Containment,
    shutdown: Shutdown,
    leftovers_until: Option<Moment>,
    ready_after: Option<Moment>,
    orphans_reaped: u64,
    more_to_reap: bool,
    exit_code: i32,
}

/// What boot hands over.
pub struct Setup {
    pub clock: Stopwatch,
    pub config: Config,
    pub paths: Paths,
    pub journal: Journal,
    pub signals: Signals,
    pub units: UnitSet,
    /// Services in start order (indices into `units.services`).
    pub order: Vec<usize>,
    pub listeners: Vec<super::sockets::Bound>,
    pub environment: Vec<(String, String)>,
    pub volume: String,
    /// The child that prepared the volume, when its end is still to come.
    pub preparation: Option<Child>,
    pub containment: Containment,
    pub notify: OwnedFd,
    pub control: Server,
}

impl Supervisor {
    /// Takes everything over and starts the log service at once; nothing else runs yet.
    pub fn new(mut setup: Setup) -> std::io::Result<Supervisor> {
        let listeners = std::mem::take(&mut setup.listeners);
        let preparation = setup.preparation.take();
        let specs: Vec<_> = setup
            .order
            .iter()
            .filter_map(|index| setup.units.services.get(*index).cloned())
            .collect();
        let mut units = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let waits_for = order::waits_for(&specs, spec);
            units.push(Unit::new(index, spec.clone(), waits_for)?);
        }
        let place = |name: &str| specs.iter().position(|spec| spec.name == name);
        let timers = setup.units.timers.iter();
        let timers = timers
            .filter_map(|timer| Some(Timer::new(timer.clone(), place(&timer.service)?)))
            .collect();
        let own_pipe = OutputPipe::new(OWN_NAME, NOTICE)?;
        nix::fcntl::fcntl(
            &own_pipe.write,
            nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
        )?;
        let hook_pipe = OutputPipe::new("hook", NOTICE)?;
        let mut supervisor = Supervisor::assemble(setup, units, own_pipe, hook_pipe)?;
        supervisor.timers = timers;
        if let Some(child) = preparation {
            supervisor.remember(child, Role::Cut, Moment::MAX);
        }
        supervisor.hand_out(listeners);
        for unit in &mut supervisor.units {
            unit.open_without_a_door();
        }
        if let Some(index) = supervisor.log_unit() {
            supervisor.feed(index, Event::Start);
        }
        Ok(supervisor)
    }

    /// Puts the parts together and watches what speaks to PID 1; nothing is started.
    fn assemble(
        setup: Setup,
        units: Vec<Unit>,
        own_pipe: OutputPipe,
        hook_pipe: OutputPipe,
    ) -> std::io::Result<Supervisor> {
        let supervisor = Supervisor {
            clock: setup.clock,
            config: setup.config,
            paths: setup.paths,
            journal: setup.journal,
            signals: setup.signals,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            notify: setup.notify,
            control: setup.control,
            definitions: setup.units,
            events: Events::default(),
            notify_flood: Flood::default(),
            units,
            timers: Vec::new(),
            booted: crate::sys::clock::wall_now(),
            roles: HashMap::new(),
            asides: HashMap::new(),
            outcomes: HashMap::new(),
            hooks: None,
            hook_pipe,
            successor: None,
            own_pipe,
            log_channel: None,
            environment: setup.environment,
            volume: setup.volume,
            containment: setup.containment,
            shutdown: Shutdown::default(),
            leftovers_until: None,
            ready_after: None,
            orphans_reaped: 0,
            more_to_reap: false,
            exit_code: 0,
        };
        supervisor.watch(supervisor.signals.descriptor().as_raw_fd())?;
        supervisor.watch(supervisor.notify.as_raw_fd())?;
        supervisor.watch(supervisor.control.listener().as_raw_fd())?;
        Ok(supervisor)
    }

    /// Runs to the end; the value is the container's exit code.
    pub fn run(mut self) -> i32 {
        self.begin_entry_hooks();
        self.go_on()
    }

    /// One turn of the loop; the value is the exit code, at the end.
    fn turn(&mut self) -> Option<i32> {
        self.advance();
        if self.shutdown.phase() == Phase::Ended {
            self.remove_sockets();
            return Some(self.exit_code);
        }
        self.arrange_sockets();
        for fd in self.wait() {
            self.dispatch(fd);
        }
        if std::mem::take(&mut self.more_to_reap) {
            self.reap_batch();
        }
        self.deadlines();
        self.forget_clients();
        None
    }

    /// Gives each listener to the service that takes it.
    fn hand_out(&mut self, listeners: Vec<super::sockets::Bound>) {
        for bound in listeners {
            let taker = self.place_of(&bound.service);
            if let Some(unit) = taker.and_then(|index| self.units.get_mut(index)) {
                unit.listeners.push(Listener::new(bound));
            }
        }
    }

    fn now(&self) -> Moment {
        self.clock.elapsed()
    }

    fn log_unit(&self) -> Option<usize> {
        self.units.iter().position(|unit| unit.spec.is_log)
    }

    fn watch(&self, fd: RawFd) -> std::io::Result<()> {
        let key = u64::try_from(fd).unwrap_or(0);
        // SAFETY-free: epoll only reports the number; whoever owns the descriptor outlives the watch.
        let borrowed = crate::sys::socket::borrow(fd);
        Ok(self
            .epoll
            .add(borrowed, EpollEvent::new(EpollFlags::EPOLLIN, key))?)
    }

    /// Waits for the next descriptor or deadline.
    fn wait(&self) -> Vec<RawFd> {
        let mut events = [EpollEvent::empty(); 32];
        let timeout = self.time_to_next_deadline();
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => events
                .iter()
                .take(count)
                .filter_map(|event| RawFd::try_from(event.data()).ok())
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    fn time_to_next_deadline(&self) -> EpollTimeout {
        if self.more_to_reap {
            return EpollTimeout::ZERO;
        }
        let services = self.units.iter().filter_map(|unit| unit.life.deadline());
        let asides = self.asides.values().map(|aside| aside.until);
        let hook = self.hooks.iter().filter_map(HookRun::deadline);
        let probes = self.units.iter().filter_map(Unit::probe_deadline);
        let next = services
            .chain(asides)
            .chain(probes)
            .chain(hook)
            .chain(self.leftovers_until)
            .chain(self.sockets_deadline())
            .min();
        let to_deadline = next.map(|at| at.saturating_sub(self.now()));
        match to_deadline
            .into_iter()
            .chain(self.time_to_next_timer())
            .min()
        {
            None => EpollTimeout::NONE,
            Some(wait) => {
                // Rounded up, or the loop would spin through the last millisecond.
                let wait = wait.saturating_add(Duration::from_micros(999));
                let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
                EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::NONE)
            }
        }
    }

    fn dispatch(&mut self, fd: RawFd) {
        if fd == self.signals.descriptor().as_raw_fd() {
            self.hear_signals();
        } else if fd == self.notify.as_raw_fd() {
            self.read_notify();
        } else if let Some(index) = self.outcomes.get(&fd).copied() {
            self.read_outcome(index);
        } else if self.read_notification(fd) || self.pour_log(fd) || self.read_probe(fd) {
            // It was theirs.
        } else if self.control.owns(fd) {
            self.serve(fd);
        } else {
            self.socket_readable(fd);
        }
    }

    /// Feeds one event to a service and carries out what it asks for.
    fn feed(&mut self, index: usize, event: Event) {
        let now = self.now();
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let before = std::mem::discriminant(&unit.life.state());
        let effects = unit.life.step(event, now);
        if before != std::mem::discriminant(&unit.life.state()) {
            unit.changed_at = now;
        }
        if matches!(event, Event::Exited { .. }) {
            unit.demand_sees_end(now);
        }
        // A replacement comes before the lines on what it replaces. The log service's own end is told while it is away.
        let is_urgent = effects.contains(&Effect::Spawn) && self.log_unit() != Some(index);
        if is_urgent {
            self.journal.hold();
        }
        for effect in effects {
            self.carry_out(index, effect);
        }
        if is_urgent {
            self.journal.release();
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Spawn => self.spawn(index),
            Effect::Terminate => self.terminate(index),
            Effect::Abort => self.signal(index, libc::SIGABRT),
            Effect::EndAppliance => {
                self.exit_code = self.exit_code.max(super::EXIT_FAILED);
                self.stop_ordered();
            }
            Effect::Kill => self.kill(index),
            Effect::Run(stage) => {
                let state = self.units.get(index).map(|unit| unit.life.state());
                let end = match state {
                    Some(State::Finishing { exit }) => Some(exit),
                    _ => None,
                };
                self.run_stage(index, stage, end);
            }
            Effect::Check => self.run_check(index),
            Effect::CutHelpers => self.cut_helpers(index),
            Effect::Drain => self.run_helper(index, Role::Drain(index)),
            Effect::Note(note) => self.tell(index, note),
        }
    }

    fn name(&self, index: usize) -> String {
        self.units
            .get(index)
            .map(|unit| unit.spec.name.clone())
            .unwrap_or_default()
    }

    /// -20 to 20, from the clock's fast digits: only spreads restarts, nothing depends on it.
    fn jitter(&self) -> i8 {
        i8::try_from(self.now().subsec_nanos() % 41).unwrap_or(20) - 20
    }

    fn deadlines(&mut self) {
        let now = self.now();
        for index in 0..self.units.len() {
            let due = self
                .units
                .get(index)
                .and_then(|unit| unit.life.deadline())
                .is_some_and(|at| at <= now);
            if due {
                self.feed(index, Event::Deadline);
            }
        }
        let late: Vec<i32> = self
            .asides
            .iter()
            .filter(|(_, a)| a.until <= now)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in late {
            // Killed once; its end is then reported like any other.
            self.asides.remove(&pid);
            process::signal_group(Pid::from_raw(pid), libc::SIGKILL);
        }
        self.probes_due(now);
        self.timers_due();
        self.look_at_sockets();
        self.hook_deadline(now);
        self.leftovers_deadline(now);
    }

    /// Starts what is ordered and may start, and moves to the next phase when this one is done.
    fn advance(&mut self) {
        if self.shutdown.phase() == Phase::Serving {
            for index in 0..self.units.len() {
                if self.may_start(index) {
                    self.start(index);
                }
            }
            self.note_first_readiness();
        }
        self.advance_phase();
        self.divert_logs();
    }

    /// Starts a service, unless its conditions say that it is not for now.
    fn start(&mut self, index: usize) {
        let around = self.surroundings();
        let unmet = self
            .units
            .get(index)
            .and_then(|unit| unit.unmet_condition(&around));
        // Once: what fails before its program is even spawned is the machine's to start again.
        if let Some(unit) = self.units.get_mut(index) {
            unit.start_pending = false;
        }
        match unmet {
            None => self.feed(index, Event::Start),
            Some(reason) => {
                let name = self.name(index);
                self.journal
                    .say(INFO, format!("{name}: not started: {reason}"));
                self.record(Some(index), What::NotStarted, &reason);
                self.feed(index, Event::Skip);
            }
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            paths: &self.paths,
            environment: &self.environment,
            has_log: self.log_unit().is_some(),
            containment: &self.containment,
        }
    }

    fn may_start(&self, index: usize) -> bool {
        let Some(unit) = self.units.get(index) else {
            return false;
        };
        if !unit.start_pending {
            return false;
        }
        let is_up = |other: &usize| {
            self.units.get(*other).is_some_and(|other| {
                // Whoever needs a service that waits for its first connection connects to it, and what is said
                // to a service that takes the output waits for it.
                other.life.is_up()
                    || other.is_listening()
                    || unit.spec.log_service.as_ref() == Some(&other.spec.name)
            })
        };
        unit.waits_for.iter().all(is_up)
    }

    fn all_up(&self) -> bool {
        let is_fine = |unit: &Unit| {
            // A service that starts only by order is no trouble while nobody orders it.
            let is_waited_for = unit.spec.starts || unit.life.is_wanted() || unit.start_pending;
            unit.life.is_up() || !is_waited_for || unit.is_retired()
        };
        self.units.iter().all(is_fine)
    }

    fn note_first_readiness(&mut self) {
        if self.ready_after.is_none() && self.all_up() {
            let now = self.now();
            self.ready_after = Some(now);
            self.journal
                .say(NOTICE, format!("ready after {:.3} s", now.as_secs_f64()));
            let after = format!("after {:.3} s", now.as_secs_f64());
            self.record(None, What::Ready, &after);
            crate::sys::notify::send("READY=1\nSTATUS=ready");
            crate::sys::memory::give_back();
        }
    }

    fn tell(&mut self, index: usize, note: Note) {
        self.record_note(index, note);
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        let name = &unit.spec.name;
        let (severity, text) = match note {
            Note::Started => {
                let reason = unit.last_start.as_ref().map(|(reason, _)| reason);
                let why = reason.map_or(String::new(), |reason| format!(" ({reason})"));
                (DEBUG, format!("{name}: started{why}"))
            }
            Note::Ready { after } => {
                unit.trouble = None;
                (
                    NOTICE,
                    format!("{name}: ready after {:.3} s", after.as_secs_f64()),
                )
            }
            Note::Ended {
                exit,
                expected: true,
            } => {
                // A oneshot has no other way to say that all is well again.
                if unit.life.state() == (State::Finished { ok: true }) {
                    unit.trouble = None;
                }
                (NOTICE, format!("{name}: ended with {exit}"))
            }
            Note::Ended {
                exit,
                expected: false,
            } => {
                let text = format!("ended with {exit}");
                unit.trouble.get_or_insert_with(|| text.clone());
                (ERROR, format!("{name}: {text}, nobody asked for it"))
            }
            Note::Restarting { pause } => {
                let when = if pause.is_zero() {
                    "now".to_owned()
                } else {
                    format!("in {:.1} s", pause.as_secs_f64())
                };
                (NOTICE, format!("{name}: starts again {when}"))
            }
            Note::NotReadyInTime => (
                ERROR,
                format!("{name}: did not become ready in time; ending it"),
            ),
            Note::DrainedOut => (NOTICE, format!("{name}: its work has ended")),
            Note::DrainBudgetSpent => (
                WARNING,
                format!(
                    "{name}: work still ran when SWITCHHOOK_DRAIN_TIMEOUT was over; it is cut off"
                ),
            ),
            Note::Killing => {
                self.exit_code = self.exit_code.max(super::EXIT_FAILED);
                (
                    ERROR,
                    format!("{name}: did not end in its grace; killing it"),
                )
            }
            Note::WatchdogMissed => (ERROR, format!("{name}: gives no sign of life; ending it")),
            Note::StageFailed { stage, exit } => {
                let key = stage.name();
                let text = format!("{key} failed with {exit}");
                unit.trouble.get_or_insert_with(|| text.clone());
                (ERROR, format!("{name}: {text}"))
            }
            Note::CrashLoop => (
                ERROR,
                format!(
                    "{name}: fails again and again; see what it said, mend it, then `switchhook start {name}`"
                ),
            ),
            Note::GivenUp => (ERROR, format!("{name}: is not started again (Restart=)")),
        };
        self.journal.say(severity, text);
    }

    fn stop_ordered(&mut self) {
        if !self.shutdown.is_stopping() {
            crate::sys::notify::send("STOPPING=1");
        }
        self.phase_event(shutdown::Event::StopOrdered);
    }

    /// Every child but the log service, for the last phases.
    fn other_children(&self) -> Vec<Pid> {
        let log = self
            .log_unit()
            .and_then(|index| self.units.get(index)?.process.as_ref());
        let log = log.map(|(pid, _)| *pid);
        process::children()
            .into_iter()
            .filter(|pid| Some(*pid) != log)
            .collect()
    }
}
