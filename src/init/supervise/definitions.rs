//! Taking over changed unit files while everything runs: what differs is told, and only that is touched.
//!
//! A service keeps its place in the list for as long as PID 1 lives, because processes are marked with it. What was
//! taken out stops, and its place is free for another once nothing of it runs.

use super::Supervisor;
use super::held::{Listener, Probe};
use super::log_pipe::LogPipe;
use super::timers::Timer;
use super::unit::Unit;
use crate::init::control::Reply;
use crate::init::events::{Reason, What};
use crate::init::service::Event;
use crate::init::{order, sockets, unit_files};
use crate::logd::syslog::{ERROR, NOTICE, WARNING};
use crate::units::UnitSet;
use crate::units::diff::{self, Change, Kind};
use crate::units::spec::{Finding, ServiceSpec, Severity, SocketSpec};

impl Supervisor {
    /// Reads the units again and goes over to them, or with `dry_run` only tells what would change. With a
    /// mistake in any of them nothing changes.
    pub(super) fn reload_definitions(&mut self, dry_run: bool) -> Reply {
        let directory = self.paths.at(&self.config.service_dir);
        let found = unit_files::find(&self.paths.units(), Some(&directory), self.paths.root());
        let checked = unit_files::check(&found);
        let texts = |severity: Severity| {
            let of_this = |finding: &&Finding| finding.severity == severity;
            let findings = checked.findings.iter().filter(of_this);
            findings.map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut errors = texts(Severity::Error);
        if log_name(&checked.set.services) != log_name(&self.definitions.services) {
            errors.push("another log service can only be taken at a start of the exchange".into());
        }
        if !errors.is_empty() {
            let hint = "hint: nothing was changed; `switchhook verify` tells all that is found";
            errors.push(hint.to_owned());
            return Reply::Refused {
                reason: errors.join("\n"),
            };
        }
        let changes = diff::between(&self.definitions, &checked.set);
        let findings = texts(Severity::Ignored);
        let needs_restart = self.running_with_old(&changes, &checked.set.sockets);
        if !dry_run {
            self.take_over(checked.set, &changes);
        }
        Reply::Definitions {
            changes,
            needs_restart,
            findings,
        }
    }

    fn take_over(&mut self, new: UnitSet, changes: &[Change]) {
        let changed = |unit: String| changes.iter().any(|change| change.unit == unit);
        for change in changes {
            let text = match change.kind {
                Kind::Added => format!("{}: is new", change.unit),
                Kind::Removed => format!("{}: was taken out", change.unit),
                Kind::Changed => format!("{}: has changed", change.unit),
            };
            self.journal.say(NOTICE, &text);
            self.record(None, What::Definitions, &text);
        }
        for index in 0..self.units.len() {
            let Some(name) = self.units.get(index).map(|unit| unit.spec.name.clone()) else {
                continue;
            };
            if !new.services.iter().any(|spec| spec.name == name) {
                self.retire(index);
            }
        }
        for spec in &new.services {
            if !changed(format!("{}.service", spec.name)) {
                continue;
            }
            match self.place_of(&spec.name) {
                Some(index) => self.redefine(index, spec),
                None => self.add(spec),
            }
        }
        self.wait_anew();
        let old = std::mem::replace(&mut self.definitions, new);
        self.change_sockets(&old.sockets, changed);
        self.change_timers();
    }

    /// The services that stay and whose process was started from an old definition, of their own or of a socket
    /// of theirs.
    fn running_with_old(&self, changes: &[Change], sockets: &[SocketSpec]) -> Vec<String> {
        let is_changed = |unit: String| {
            let stays = |change: &Change| change.unit == unit && change.kind != Kind::Removed;
            changes.iter().any(stays)
        };
        let runs_with_old = |unit: &&Unit| {
            let name = &unit.spec.name;
            let mut taken = sockets.iter().filter(|socket| socket.service == *name);
            let is_old = is_changed(format!("{name}.service"))
                || taken.any(|socket| is_changed(format!("{}.socket", socket.name)));
            is_old && !unit.is_retired() && unit.life.is_alive()
        };
        let old = self.units.iter().filter(runs_with_old);
        old.map(|unit| unit.spec.name.clone()).collect()
    }

    /// The place of a service that is defined.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        let is_it = |unit: &Unit| unit.spec.name == name && !unit.is_retired();
        self.units.iter().position(is_it)
    }

    fn retire(&mut self, index: usize) {
        if let Some(unit) = self.units.get_mut(index) {
            unit.retired = true;
            unit.start_pending = false;
            unit.store.clear();
        }
        self.close_listeners(index, |_| true);
        self.feed(index, Event::Stop);
    }

    fn redefine(&mut self, index: usize, spec: &ServiceSpec) {
        if let Some(unit) = self.units.get_mut(index) {
            unit.life.redefine(spec);
            if unit.spec.probe != spec.probe {
                unit.probe = spec.probe.as_ref().map(Probe::new);
            }
            if spec.log_service.is_some() && unit.log_pipe.is_none() {
                unit.log_pipe = LogPipe::new().ok();
            }
            unit.spec = spec.clone();
            // What failed as it was defined before is tried again at once.
            unit.next_start = Reason::Definition;
            unit.start_pending |=
                unit.life.is_wanted() && !unit.life.is_up() && !unit.life.is_alive();
            // It may come back while its old process still stops.
            if std::mem::take(&mut unit.retired) {
                unit.start_pending = spec.starts;
            }
        }
    }

    fn add(&mut self, spec: &ServiceSpec) {
        let free = |unit: &Unit| unit.retired && !unit.life.is_alive();
        let same = |unit: &Unit| unit.retired && unit.spec.name == spec.name;
        if let Some(index) = self.units.iter().position(same) {
            self.redefine(index, spec);
            return;
        }
        let index = self.units.iter().position(free);
        let index = index.unwrap_or(self.units.len());
        let mut unit = match Unit::new(index, spec.clone(), Vec::new()) {
            Ok(unit) => unit,
            Err(e) => {
                let text = format!("{}: cannot be added: {e}", spec.name);
                self.journal.say(ERROR, text);
                return;
            }
        };
        unit.start_pending = spec.starts;
        unit.next_start = Reason::Definition;
        unit.changed_at = self.now();
        if let Some(channel) = &self.log_channel {
            for pipe in [&unit.stdout, &unit.stderr] {
                if let Err(e) = pipe.announce(channel) {
                    let text = format!("cannot connect the output of {}: {e}", pipe.speaker);
                    self.journal.say(ERROR, text);
                }
            }
        }
        match self.units.get_mut(index) {
            Some(place) => *place = unit,
            None => self.units.push(unit),
        }
    }

    /// Who waits for whom, after services came or went.
    pub(super) fn wait_anew(&mut self) {
        let specs: Vec<ServiceSpec> = self.units.iter().map(|unit| unit.spec.clone()).collect();
        let retired: Vec<bool> = self.units.iter().map(Unit::is_retired).collect();
        let is_there = |index: &usize| !retired.get(*index).copied().unwrap_or(true);
        for unit in &mut self.units {
            unit.waits_for = order::waits_for(&specs, &unit.spec);
            unit.waits_for.retain(is_there);
        }
    }

    /// Binds what is new and closes what went; what stayed the same is not touched, so that no connection is refused.
    fn change_sockets(&mut self, old: &[SocketSpec], changed: impl Fn(String) -> bool) {
        let is_changed = |name: &str| changed(format!("{name}.socket"));
        for index in 0..self.units.len() {
            let gone = |listener: &Listener| {
                let unit = &listener.bound.unit;
                is_changed(unit) && old.iter().any(|socket| socket.name == *unit)
            };
            self.close_listeners(index, gone);
        }
        let new: Vec<SocketSpec> = self.definitions.sockets.clone();
        let new: Vec<_> = new.into_iter().filter(|s| is_changed(&s.name)).collect();
        let (bound, problems) = sockets::bind_all(&new, &self.paths);
        for problem in problems {
            self.journal.say(WARNING, problem);
        }
        self.hand_out(bound);
        for unit in &mut self.units {
            let starts = unit.spec.starts;
            unit.open_without_a_door();
            unit.start_pending |= unit.spec.starts && !starts;
        }
    }

    fn change_timers(&mut self) {
        let specs = self.definitions.timers.clone();
        let old = std::mem::take(&mut self.timers);
        for spec in specs {
            let Some(service) = self.place_of(&spec.service) else {
                continue;
            };
            match old.iter().find(|timer| timer.is_defined_by(&spec)) {
                Some(same) => self.timers.push(same.moved_to(service)),
                None => {
                    self.timers.push(Timer::new(spec, service));
                    self.begin_timer(self.timers.len() - 1);
                }
            }
        }
    }
}

fn log_name(services: &[ServiceSpec]) -> Option<&str> {
    let log = services.iter().find(|spec| spec.is_log);
    log.map(|spec| spec.name.as_str())
}
