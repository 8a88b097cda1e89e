//! Answering the control socket: status and orders.

use std::os::fd::RawFd;

use nix::unistd::Pid;

use super::{Role, Supervisor};
use crate::init::control::{Incoming, Reply, Request, SCHEMA, ServiceStatus, SocketStatus, Status};
use crate::init::demand::Use;
use crate::init::events::{Peer, Reason, What};
use crate::init::service::{Event, Moment, State};
use crate::init::shutdown::Phase;
use crate::logd::syslog::{NOTICE, WARNING};

impl Supervisor {
    /// One of the control socket's descriptors is readable.
    pub(super) fn serve(&mut self, fd: RawFd) {
        match self.control.readable(fd) {
            Incoming::Nothing => {}
            Incoming::Connected(clients) => {
                for client in clients {
                    if self.watch(client).is_err() {
                        self.control.drop_client(client);
                    }
                }
            }
            Incoming::Gone => {
                self.control.drop_client(fd);
                self.asker_gone(fd);
            }
            Incoming::Requests(peer, requests) => {
                for request in requests {
                    let reply = match request {
                        Ok(Request::Events {
                            last,
                            after,
                            follow,
                        }) => Some(self.answer_events(fd, last, after, follow)),
                        Ok(Request::Reexec { program }) => {
                            let text = format!("reexec by {peer}");
                            self.record(None, What::Ordered, &text);
                            self.try_successor(program, fd)
                        }
                        request => Some(self.answer(request, peer)),
                    };
                    if let Some(reply) = reply {
                        self.control.reply(fd, &reply);
                    }
                }
            }
        }
    }

    /// Closes the clients that have gone. First they are taken out of the epoll: a child that was just forked holds them
    /// until it executes, and as long they would be reported, under a number that is another's by then (epoll(7)).
    pub(super) fn forget_clients(&mut self) {
        let epoll = &self.epoll;
        self.control.forget(|stream| {
            let _ = epoll.delete(stream);
        });
    }

    fn answer_events(&mut self, fd: RawFd, last: usize, after: u64, follow: bool) -> Reply {
        if follow && !self.control.follow(fd) {
            let reason = "there are too many followers of the events already".to_owned();
            return Reply::Refused { reason };
        }
        Reply::Events {
            schema: SCHEMA,
            events: self.events.since(after, last).cloned().collect(),
        }
    }

    fn answer(&mut self, request: Result<Request, String>, peer: Peer) -> Reply {
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
        if let Request::Signal { signal, .. } = request
            && !(1..=64).contains(&signal)
        {
            let reason = format!("{signal} is not a signal");
            return Reply::Refused { reason };
        }
        if self.shutdown.is_stopping() {
            return Reply::Refused {
                reason: "the exchange is stopping".to_owned(),
            };
        }
        let (service, order) = match &request {
            Request::Status | Request::Events { .. } => return Reply::Status(self.status()),
            #[cfg(debug_assertions)]
            #[allow(clippy::panic, reason = "ordered, and only in builds for tests")]
            Request::Panic => panic!("by order"),
            // Answered when its trial run has ended.
            Request::Reexec { .. } => return Reply::Done,
            Request::ReloadDefinitions { dry_run } => return self.reload_definitions(*dry_run),
            Request::Start { service } => (service, "start".to_owned()),
            Request::Stop { service } => (service, "stop".to_owned()),
            Request::Restart { service } => (service, "restart".to_owned()),
            Request::Reload { service } => (service, "reload".to_owned()),
            Request::Kill { service } => (service, "kill".to_owned()),
            Request::Once { service } => (service, "once".to_owned()),
            Request::Signal { service, signal } => (service, format!("signal {signal}")),
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
            .say(NOTICE, format!("{service}: {order} was ordered by {peer}"));
        self.record(Some(index), What::Ordered, &format!("{order} by {peer}"));
        let starts = matches!(
            request,
            Request::Start { .. }
                | Request::Restart { .. }
                | Request::Kill { .. }
                | Request::Once { .. }
        );
        if let Some(unit) = self.units.get_mut(index).filter(|_| starts) {
            unit.next_start = Reason::Order(peer);
        }
        if starts {
            self.start_required(index);
        }
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
            Request::Signal { signal, .. } => self.order_signal(index, signal),
            Request::Reload { .. } => self.run_helper(index, Role::Reload(index)),
            #[cfg(debug_assertions)]
            Request::Panic => {}
            Request::Status
            | Request::Events { .. }
            | Request::ReloadDefinitions { .. }
            | Request::Reexec { .. } => {}
        }
        Reply::Done
    }

    /// What a service requires is started with it, or it would wait for ever (systemd.unit(5), `Requires=`).
    /// Requirements have no cycles, and what is ordered already is not looked at again.
    fn start_required(&mut self, index: usize) {
        let Some(unit) = self.units.get(index) else {
            return;
        };
        let (name, required) = (unit.spec.name.clone(), unit.spec.requires.clone());
        for other in 0..self.units.len() {
            let Some(unit) = self.units.get_mut(other) else {
                continue;
            };
            let state = unit.life.state();
            let is_down = matches!(state, State::Idle | State::Finished { ok: false });
            if required.contains(&unit.spec.name) && is_down && !unit.start_pending {
                unit.start_pending = true;
                unit.next_start = Reason::Dependency(name.clone());
                self.start_required(other);
            }
        }
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
                self.record(Some(index), What::Ordered, "reload by signal");
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
            pid: nix::unistd::getpid().as_raw(),
            events: self.events.count(),
            followers_dropped: self.control.followers_dropped(),
            timers: self.timer_status(),
            services: self
                .units
                .iter()
                .filter(|unit| !unit.is_retired() || unit.life.is_alive())
                .map(|unit| {
                    let mut status = service_status(unit, self.now());
                    let waits_for = unit.waits_for.iter();
                    status.waits_for = waits_for.map(|index| self.name(*index)).collect();
                    if self.reloads(unit.index) {
                        status.reload = Some("running".to_owned());
                    }
                    status.last_event = self.events.last_of(&unit.spec.name).cloned();
                    status
                })
                .collect(),
        }
    }
}

fn socket_status(listener: &super::held::Listener) -> SocketStatus {
    SocketStatus {
        name: listener.bound.name.clone(),
        unit: listener.bound.unit.clone(),
        address: match listener.bound.address.path() {
            Some(path) => format!("unix {path}"),
            None => listener.bound.address.to_string(),
        },
        unused: listener.used == Use::Unused,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn service_status(unit: &super::Unit, now: Moment) -> ServiceStatus {
    let state = match unit.life.state() {
        State::Idle | State::Finished { .. } if unit.start_pending => "waiting",
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
        up: unit.life.is_up() && state != "waiting",
        wanted: unit.life.is_wanted() || unit.start_pending,
        pid: process.map(Pid::as_raw),
        by_order: !unit.spec.starts,
        state_for_ms: millis(now.saturating_sub(unit.changed_at)),
        restarts: unit.life.restarts(),
        last_exit: unit
            .trouble
            .clone()
            .or_else(|| unit.life.last_exit().map(|exit| exit.to_string())),
        reload: unit.last_reload.clone(),
        status: unit.status.clone(),
        description: unit.spec.description.clone(),
        waits_for: Vec::new(),
        start_reason: unit
            .last_start
            .as_ref()
            .map(|(reason, _)| reason.to_string()),
        started_ms: unit
            .last_start
            .as_ref()
            .map(|(_, at)| millis(now.saturating_sub(*at))),
        once: unit.life.is_once(),
        sockets: unit.listeners.iter().map(socket_status).collect(),
        stored_descriptors: unit.store.len(),
        watchdog_ms: unit.life.watchdog_deadline().map(|(most, _)| millis(most)),
        watchdog_due_in_ms: unit
            .life
            .watchdog_deadline()
            .map(|(_, due)| millis(due.saturating_sub(now))),
        log_service: unit.spec.log_service.clone(),
        last_event: None,
    }
}
