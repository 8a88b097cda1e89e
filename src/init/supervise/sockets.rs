//! Watching the services' sockets: a service that is down is started by a connection, and one that leaves
//! connections waiting is told of.
//!
//! Every watch is for one event; nothing is asked again and again. Invariant: a descriptor is in the epoll set
//! exactly while its listener's `watch` says so.

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::Supervisor;
use super::held::{Listener, Watch};
use super::unit::Unit;
use crate::init::demand::{Demand, Knock, Use};
use crate::init::events::{Reason, What};
use crate::init::service::{Moment, State};
use crate::init::shutdown::Phase;
use crate::logd::syslog::{INFO, NOTICE, WARNING};
use crate::sys::socket::{borrow, is_waiting};
use crate::units::spec::{CrashLoop, Restart};

impl Unit {
    /// Down, and a connection on one of its sockets starts it.
    pub fn is_listening(&self) -> bool {
        self.listeners
            .iter()
            .any(|listener| listener.watch == Watch::Demand)
    }

    /// Where no socket could be bound, nobody could ever knock: it starts with the rest and binds its own.
    pub fn open_without_a_door(&mut self) {
        let has_door = self.listeners.iter().any(|held| held.bound.activates);
        if self.spec.on_demand && !has_door {
            self.spec.on_demand = false;
            self.spec.starts = true;
        }
    }

    /// Its process is gone; a failing one is not knocked up at once again.
    pub fn demand_sees_end(&mut self, now: Moment) {
        if let State::Finished { ok } = self.life.state() {
            let ran_for = now.saturating_sub(self.life.started_at());
            self.demand.ended(ok, ran_for, now);
            // What its unit leaves down after a crash loop, only an order starts again.
            let gave_up = !ok && self.spec.restart != Restart::No;
            self.demand.is_closed |= gave_up && self.spec.crash_loop != CrashLoop::Retry;
        }
    }

    fn wanted_watch(&self, listener: &Listener, is_serving: bool, now: Moment) -> Watch {
        match self.life.state() {
            _ if !is_serving => Watch::Nothing,
            State::Running { .. } if listener.used == Use::Unknown => Watch::Use,
            State::Idle | State::Finished { .. }
                if self.spec.on_demand
                    && listener.bound.activates
                    && !self.start_pending
                    && self.demand.hears(now) =>
            {
                Watch::Demand
            }
            _ => Watch::Nothing,
        }
    }
}

impl Supervisor {
    /// Watches what the services' states ask for, and no more.
    pub(super) fn arrange_sockets(&mut self) {
        let is_serving = self.shutdown.phase() == Phase::Serving;
        let now = self.now();
        for unit in &mut self.units {
            if unit.listeners.is_empty() {
                continue;
            }
            let is_running = matches!(unit.life.state(), State::Running { .. });
            let wanted: Vec<Watch> = unit
                .listeners
                .iter()
                .map(|listener| unit.wanted_watch(listener, is_serving, now))
                .collect();
            for (listener, wanted) in unit.listeners.iter_mut().zip(wanted) {
                if !is_running {
                    listener.used = Use::Unknown;
                }
                if listener.watch == wanted {
                    continue;
                }
                let fd = listener.bound.fd.as_raw_fd();
                if listener.watch != Watch::Nothing {
                    let _ = self.epoll.delete(borrow(fd));
                }
                listener.watch = wanted;
                if wanted != Watch::Nothing {
                    let key = u64::try_from(fd).unwrap_or(0);
                    let event =
                        EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key);
                    if let Err(e) = self.epoll.add(borrow(fd), event) {
                        listener.watch = Watch::Nothing;
                        let text = format!("{}: cannot be watched: {e}", listener.bound.address);
                        self.journal.say(WARNING, text);
                    }
                }
            }
        }
    }

    /// Something waits on a listener that is watched.
    pub(super) fn socket_readable(&mut self, fd: RawFd) {
        let now = self.now();
        let found = self.units.iter_mut().find_map(|unit| {
            let is_it = |listener: &Listener| {
                listener.bound.fd.as_raw_fd() == fd && listener.watch != Watch::Nothing
            };
            let place = unit.listeners.iter().position(is_it)?;
            Some((unit, place))
        });
        let Some((unit, place)) = found else { return };
        let Some(listener) = unit.listeners.get_mut(place) else {
            return;
        };
        let watched = std::mem::replace(&mut listener.watch, Watch::Nothing);
        let _ = self.epoll.delete(borrow(fd));
        if watched == Watch::Use {
            listener.used = Use::knocked(now);
            return;
        }
        let bound = &listener.bound;
        let name = &unit.spec.name;
        match unit
            .demand
            .knock(now, bound.trigger_interval, bound.trigger_burst)
        {
            Knock::Start => {
                unit.start_pending = true;
                unit.next_start = Reason::Socket(bound.address.to_string());
                let text = format!("{name}: started by a connection on {}", bound.address);
                self.journal.say(INFO, text);
            }
            Knock::TooMany { pause } => {
                let text = format!(
                    "{name}: connections on {} start it more than {} times in {} s, so it does not take them; \
                     they are not heard for {} s",
                    bound.address,
                    bound.trigger_burst,
                    bound.trigger_interval.as_secs(),
                    pause.as_secs()
                );
                self.journal.say(WARNING, text);
            }
        }
    }

    /// When a socket has to be looked at.
    pub(super) fn sockets_deadline(&self) -> Option<Moment> {
        if self.shutdown.phase() != Phase::Serving {
            return None;
        }
        let now = self.now();
        let uses = self.units.iter().flat_map(|unit| &unit.listeners);
        let uses = uses.filter_map(|listener| listener.used.deadline());
        let demands = self.units.iter().filter(|unit| unit.spec.on_demand);
        uses.chain(demands.filter_map(|unit| unit.demand.deadline(now)))
            .min()
    }

    /// Looks at the sockets on which somebody knocked some seconds ago.
    pub(super) fn look_at_sockets(&mut self) {
        let now = self.now();
        let mut unused = Vec::new();
        for (index, unit) in self.units.iter_mut().enumerate() {
            for listener in &mut unit.listeners {
                if listener.used.deadline().is_none_or(|at| at > now) {
                    continue;
                }
                let is_waiting = is_waiting(listener.bound.fd.as_raw_fd());
                listener.used = listener.used.looked_at(is_waiting, now);
                if listener.used == Use::Unused {
                    let (name, socket) = (&unit.spec.name, &listener.bound);
                    let text = format!(
                        "{name}: connections wait on {} ({}.socket) and {name} does not take them\n\
                         hint: its own configuration must name this very address, or take the socket unit away",
                        socket.address, socket.unit
                    );
                    self.journal.say(WARNING, text);
                    unused.push((
                        index,
                        format!("nobody takes what waits on {}", socket.address),
                    ));
                }
            }
        }
        for (index, text) in unused {
            self.record(Some(index), What::Socket, &text);
        }
    }

    /// An order about a service opens or closes its door.
    pub(super) fn order_demand(&mut self, index: usize, is_open: bool) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        unit.demand = Demand::default();
        unit.demand.is_closed = !is_open;
        if !is_open && unit.spec.on_demand && !unit.listeners.is_empty() {
            let text = format!(
                "{}: its sockets are held, and its connections wait until `switchhook start`",
                unit.spec.name
            );
            self.journal.say(NOTICE, text);
        }
    }

    /// Closes the listeners of which `is_gone` says so. A service that runs still holds its copies, so that the
    /// watch does not end by itself.
    pub(super) fn close_listeners(&mut self, index: usize, is_gone: impl Fn(&Listener) -> bool) {
        let Some(unit) = self.units.get_mut(index) else {
            return;
        };
        for listener in unit.listeners.extract_if(.., |listener| is_gone(listener)) {
            if listener.watch != Watch::Nothing {
                let _ = self.epoll.delete(&listener.bound.fd);
            }
            if let Some(path) = &listener.bound.remove {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Unlinks the paths of which their units ask for it; at the very end.
    pub(super) fn remove_sockets(&self) {
        let listeners = self.units.iter().flat_map(|unit| &unit.listeners);
        for path in listeners.filter_map(|listener| listener.bound.remove.as_ref()) {
            let _ = std::fs::remove_file(path);
        }
    }
}
