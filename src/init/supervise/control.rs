//! Answering the control socket: status and orders.

use nix::unistd::Pid;

use super::{Role, Supervisor};
use crate::init::control::{Reply, Request, SCHEMA, ServiceStatus, SocketStatus, Status};
use crate::init::demand::Use;
use crate::init::service::{Event, Moment, State};
use crate::init::shutdown::Phase;
use crate::logd::syslog::{NOTICE, WARNING};

impl Supervisor {
    pub(super) fn answer(&mut self, request: Result<Request, String>) -> Reply {
        let request = match request {
            Ok(request) => request,
            Err(problem) => {
                return Reply::Refused {
                    reason: format!("the request is not understood: {problem}"),
                };
            }
        };
        if request == Request::Status {
            return Reply::Status(self.status());
        }
        if self.shutdown.is_stopping() {
            return Reply::Refused {
                reason: "the exchange is stopping".to_owned(),
            };
        }
        let (service, order) = match &request {
            Request::Status => return Reply::Status(self.status()),
            #[cfg(debug_assertions)]
            #[allow(clippy::panic, reason = "ordered, and only in builds for tests")]
            Request::Panic => panic!("by order"),
            // Answered when its trial run has ended.
            Request::Reexec { .. } => return Reply::Done,
            Request::ReloadDefinitions { dry_run } => return self.reload_definitions(*dry_run),
            Request::Start { service } => (service, "start"),
            Request::Stop { service } => (service, "stop"),
            Request::Restart { service } => (service, "restart"),
            Request::Reload { service } => (service, "reload"),
            Request::Kill { service } => (service, "kill"),
            Request::Once { service } => (service, "once"),
            Request::Signal { service, .. } => (service, "a signal"),
        };
        let Some(index) = self.place_of(service) else {
            let known: Vec<&str> = self
                .units
                .iter()
                .filter(|unit| !unit.is_retired())
                .map(|unit| unit.spec.name.as_str())
                .collect();
            let reason = format!(
                "there is no service `{service}`\nhint: there are {}",
                known.join(", ")
            );
            return Reply::Refused { reason };
        };
        let can_reload = self
            .units
            .get(index)
            .is_some_and(|unit| unit.spec.reload.is_some());
        if matches!(request, Request::Reload { .. }) && !can_reload {
            let reason = format!("`{service}` cannot be reloaded: its unit has no `ExecReload=`");
            return Reply::Refused { reason };
        }
        self.journal
            .say(NOTICE, format!("{service}: {order} was ordered"));
        match request {
            Request::Start { .. } => {
                self.order_demand(index, true);
                if let Some(unit) = self.units.get_mut(index) {
                    unit.start_pending = true;
                }
            }
            Request::Stop { .. } => {
                self.order_demand(index, false);
                if let Some(unit) = self.units.get_mut(index) {
                    unit.start_pending = false;
                }
                self.feed(index, Event::Stop);
            }
            Request::Restart { .. } => self.feed(index, Event::Restart),
            Request::Kill { .. } => self.feed(index, Event::Kill),
            Request::Once { .. } => self.feed(index, Event::Once),
            Request::Signal { signal, .. } => {
                if !(1..=64).contains(&signal) {
                    let reason = format!("{signal} is not a signal");
                    return Reply::Refused { reason };
                }
                self.order_signal(index, signal);
            }
            Request::Reload { .. } => self.run_helper(index, Role::Reload(index)),
            #[cfg(debug_assertions)]
            Request::Panic => {}
            Request::Status | Request::ReloadDefinitions { .. } | Request::Reexec { .. } => {}
        }
        Reply::Done
    }

    /// SIGHUP: every service that can reload does.
    pub(super) fn reload_all(&mut self) {
        for index in 0..self.units.len() {
            let running = self.units.get(index).is_some_and(|unit| {
                unit.spec.reload.is_some() && matches!(unit.life.state(), State::Running { .. })
            });
            if running {
                let name = self.name(index);
                self.journal
                    .say(NOTICE, format!("{name}: reload was ordered by signal"));
                self.run_helper(index, Role::Reload(index));
            }
        }
    }

    /// SIGUSR1: the state goes into the log.
    pub(super) fn dump(&mut self) {
        let text = serde_json::to_string(&self.status()).unwrap_or_default();
        self.journal.say(WARNING, text);
    }

    fn status(&self) -> Status {
        let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let phase = self.shutdown.phase();
        Status {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: phase.name().to_owned(),
            ready: phase == Phase::Serving && self.all_up(),
            uptime_ms: millis(self.now()),
            ready_after_ms: self.ready_after.map(millis),
            volume: self.volume.clone(),
            containment: self.containment.name().to_owned(),
            orphans_reaped: self.orphans_reaped,
            services: self
                .units
                .iter()
                .filter(|unit| !unit.is_retired() || unit.life.is_alive())
                .map(|unit| service_status(unit, self.now()))
                .collect(),
        }
    }
}

fn socket_status(listener: &super::sockets::Listener) -> SocketStatus {
    SocketStatus {
        unit: listener.bound.unit.clone(),
        address: listener.bound.address.to_string(),
        unused: listener.used == Use::Unused,
    }
}

fn service_status(unit: &super::Unit, now: Moment) -> ServiceStatus {
    let state = match unit.life.state() {
        State::Idle if unit.start_pending => "waiting",
        State::Idle | State::Finished { ok: true } if unit.is_listening() => "listening",
        State::Idle => "stopped",
        State::Preparing { .. } | State::Starting { .. } | State::Completing { .. } => "starting",
        State::Running { .. } => "running",
        State::Draining { .. } => "draining",
        State::Asking { .. } | State::Stopping { .. } | State::Killed | State::Finishing { .. } => {
            "stopping"
        }
        State::Pausing { .. } => "pausing",
        State::Finished { ok: true } => "done",
        State::Finished { ok: false } => "failed",
    };
    // Before the program and after it, the command that runs then is what there is.
    let main = unit.process.as_ref().map(|(pid, _)| *pid);
    let process = main.or(unit.stage.as_ref().and_then(|run| run.process));
    ServiceStatus {
        name: unit.spec.name.clone(),
        state: state.to_owned(),
        up: unit.life.is_up(),
        wanted: unit.life.is_wanted() || unit.start_pending,
        pid: process.map(Pid::as_raw),
        by_order: !unit.spec.starts,
        state_for_ms: u64::try_from(now.saturating_sub(unit.changed_at).as_millis())
            .unwrap_or(u64::MAX),
        restarts: unit.life.restarts(),
        last_exit: unit
            .trouble
            .clone()
            .or_else(|| unit.life.last_exit().map(|exit| exit.to_string())),
        status: unit.status.clone(),
        sockets: unit.listeners.iter().map(socket_status).collect(),
    }
}
