//! All units together: who takes which socket, what a timer starts, what stands in each other's way.
//!
//! Pure. Invariant: in the set each service name, each socket name and each listener stands once.

use std::collections::BTreeMap;

use super::runit::{self, RunitDirectory};
use super::spec::{Finding, Listen, Severity};
use super::unit_file::Source;
use super::{UnitSet, UnitText, service_file, socket_file, syntax, timer_file};

/// Where units were read, to say `file:line` about them later.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    pub units: &'a [UnitText],
    pub runit: &'a BTreeMap<String, RunitDirectory>,
}

impl Origins<'_> {
    /// Whether something defines the service `name`, usable or not.
    fn define(&self, name: &str) -> bool {
        let file_name = format!("{name}.service");
        self.runit.contains_key(name) || self.units.iter().any(|unit| unit.file_name == file_name)
    }

    /// A finding about the assignment of one of `keys` that names `word` in the unit `file_name`, or about
    /// the unit as a whole when there is none.
    pub fn finding(
        &self,
        file_name: &str,
        keys: &[&str],
        word: &str,
        severity: Severity,
        text: String,
    ) -> Finding {
        let sources = self
            .units
            .iter()
            .find(|unit| unit.file_name == file_name)
            .map(|unit| unit.sources.as_slice())
            .unwrap_or_default();
        let place = sources
            .iter()
            .rev()
            .find_map(|source| Some((source.file.clone(), line_of(source, keys, word)?)));
        let whole = || {
            let name = file_name
                .rsplit_once('.')
                .map_or(file_name, |(name, _)| name);
            let directory = self.runit.get(name).map(|directory| directory.path.clone());
            let first = sources.first().map(|source| source.file.clone());
            (
                first.or(directory).unwrap_or_else(|| file_name.to_owned()),
                0,
            )
        };
        let (file, line) = place.unwrap_or_else(whole);
        Finding {
            file,
            line,
            severity,
            text,
        }
    }
}

/// The last line that assigns `word` to one of `keys`, alone or in a list of unit names.
fn line_of(source: &Source, keys: &[&str], word: &str) -> Option<usize> {
    let names = |value: &str| {
        let suffixes = ["", ".service", ".socket"];
        let is_name = |part: &str| suffixes.iter().any(|s| part.strip_suffix(s) == Some(word));
        value.trim() == word || value.split_whitespace().any(is_name)
    };
    syntax::parse(&source.text)
        .ok()?
        .iter()
        .flat_map(|section| &section.entries)
        .filter(|entry| keys.contains(&entry.key.as_str()) && names(&entry.value))
        .map(|entry| entry.line)
        .next_back()
}

/// Parses every unit. Units with errors are left out of the set; their findings say why.
pub fn read_all(origins: Origins<'_>) -> (UnitSet, Vec<Finding>) {
    let mut set = UnitSet::default();
    let mut findings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for unit in origins.units {
        if seen.contains(&unit.file_name.as_str()) {
            let text = "a unit of this name was read before".to_owned();
            findings.push(origins.finding(&unit.file_name, &[], "", Severity::Error, text));
            continue;
        }
        seen.push(&unit.file_name);
        if let Some(name) = unit.file_name.strip_suffix(".service") {
            let (spec, found) = service_file::read(name, &unit.sources);
            set.services.extend(spec);
            findings.extend(found);
        } else if let Some(name) = unit.file_name.strip_suffix(".socket") {
            let (spec, found) = socket_file::read(name, &unit.sources);
            set.sockets.extend(spec);
            findings.extend(found);
        } else if let Some(name) = unit.file_name.strip_suffix(".timer") {
            let (spec, found) = timer_file::read(name, &unit.sources);
            set.timers.extend(spec);
            findings.extend(found);
        }
    }
    read_directories(origins, &mut set, &mut findings);
    join_sockets(origins, &mut set, &mut findings);
    spell_as_the_pbx(origins, &mut set, &mut findings);
    bind_once(origins, &mut set, &mut findings);
    join_demand(&mut set);
    join_order(origins, &mut set, &mut findings);
    join_timers(origins, &mut set, &mut findings);
    (set, findings)
}

fn read_directories(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    for (name, directory) in origins.runit {
        let (mut spec, found) = runit::read(name, directory);
        findings.extend(found);
        let log = runit::read_log(name, directory);
        let mut specs = Vec::new();
        if let Some((log, found)) = log {
            findings.extend(found);
            // Without it the output goes to the exchange's log.
            if log.is_none()
                && let Some(spec) = &mut spec
            {
                spec.log_service = None;
            }
            specs.extend(log);
        }
        specs.extend(spec);
        for spec in specs {
            if let Some(other) = taken(origins, set, &spec.name) {
                findings.push(Finding {
                    file: directory.path.clone(),
                    line: 0,
                    severity: Severity::Error,
                    text: format!(
                        "the service `{}` is also defined by `{other}`; keep one of them",
                        spec.name
                    ),
                });
            } else {
                set.services.push(spec);
            }
        }
    }
}

/// Who defines the service `name` already, usable or not.
fn taken(origins: Origins<'_>, set: &UnitSet, name: &str) -> Option<String> {
    let file_name = format!("{name}.service");
    if let Some(unit) = origins
        .units
        .iter()
        .find(|unit| unit.file_name == file_name)
    {
        return Some(unit.sources.first().map_or(file_name, |s| s.file.clone()));
    }
    set.services
        .iter()
        .any(|service| service.name == name)
        .then(|| format!("{name}, another directory"))
}

fn join_sockets(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    for service in &mut set.services {
        for name in &service.sockets {
            if !set.sockets.iter().any(|socket| socket.name == *name) {
                let text = format!("there is no socket unit `{name}`");
                let file = format!("{}.service", service.name);
                findings.push(origins.finding(&file, &["Sockets"], name, Severity::Ignored, text));
            }
        }
        let own = set
            .sockets
            .iter()
            .filter(|socket| socket.service == service.name);
        for socket in own {
            if !service.sockets.contains(&socket.name) {
                service.sockets.push(socket.name.clone());
            }
        }
    }
    for socket in &set.sockets {
        // A service that cannot be used has been told of.
        if !origins.define(&socket.service) && !socket.is_generated {
            let text = format!(
                "no service `{}` takes this socket; it is not bound",
                socket.service
            );
            let file = format!("{}.socket", socket.name);
            let word = &socket.service;
            findings.push(origins.finding(&file, &["Service"], word, Severity::Ignored, text));
        }
    }
    let services = &set.services;
    set.sockets.retain(|socket| {
        services
            .iter()
            .any(|service| service.name == socket.service)
    });
}

/// What the PBX's own configuration says of its sockets goes over what a unit says: the PBX takes no other.
fn spell_as_the_pbx(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    let generated: Vec<(String, Listen)> = set
        .sockets
        .iter()
        .filter(|socket| socket.is_generated)
        .flat_map(|socket| {
            socket
                .listeners
                .iter()
                .map(|l| (socket.service.clone(), l.clone()))
        })
        .collect();
    let mut covered = Vec::new();
    for socket in set.sockets.iter_mut().filter(|socket| !socket.is_generated) {
        let file = format!("{}.socket", socket.name);
        let service = &socket.service;
        socket.listeners.retain_mut(|listener| {
            let own = generated.iter().filter(|(of, _)| of == service);
            for (_, wanted) in own {
                if resolved(listener) == resolved(wanted) {
                    covered.push(wanted.clone());
                    if listener != wanted {
                        let text = format!(
                            "bound as `{wanted}`, for `{service}` takes its socket by that name only"
                        );
                        let word = written(listener);
                        let finding =
                            origins.finding(&file, LISTEN_KEYS, &word, Severity::Ignored, text);
                        findings.push(finding);
                        *listener = wanted.clone();
                    }
                } else if overlap(listener, wanted) {
                    let text = format!(
                        "not bound: by its configuration `{service}` listens on `{wanted}`, and takes no other"
                    );
                    let word = written(listener);
                    findings.push(origins.finding(&file, LISTEN_KEYS, &word, Severity::Ignored, text));
                    return false;
                }
            }
            true
        });
    }
    for socket in set.sockets.iter_mut().filter(|socket| socket.is_generated) {
        socket
            .listeners
            .retain(|listener| !covered.contains(listener));
    }
}

/// Two addresses that the kernel does not let listen side by side.
fn overlap(a: &Listen, b: &Listen) -> bool {
    match (a, b) {
        (Listen::Tcp(a), Listen::Tcp(b)) => {
            a.port() == b.port() && (a.ip().is_unspecified() || b.ip().is_unspecified())
        }
        _ => false,
    }
}

/// A service that somebody has to knock for: it has sockets, and nothing says that it starts with the rest.
fn join_demand(set: &mut UnitSet) {
    for service in &mut set.services {
        let own = set
            .sockets
            .iter()
            .any(|socket| socket.service == service.name && !socket.is_generated);
        if own && !service.is_installed && !service.is_log {
            service.on_demand = true;
            service.starts = false;
        }
    }
}

/// Two units that listen on the same address: the first one has it.
fn bind_once(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    let mut bound: Vec<(Listen, String)> = Vec::new();
    for socket in &mut set.sockets {
        let (name, keys) = (&socket.name, LISTEN_KEYS);
        socket.listeners.retain(|listener| {
            let address = resolved(listener);
            match bound.iter().find(|(known, _)| *known == address) {
                Some((_, first)) => {
                    let text = format!("`{first}.socket` listens there already; ignored");
                    let file = format!("{name}.socket");
                    let word = written(listener);
                    findings.push(origins.finding(&file, keys, &word, Severity::Ignored, text));
                    false
                }
                None => {
                    bound.push((address, name.clone()));
                    true
                }
            }
        });
    }
    set.sockets.retain(|socket| !socket.listeners.is_empty());
    let sockets = &set.sockets;
    for service in &mut set.services {
        service
            .sockets
            .retain(|name| sockets.iter().any(|socket| socket.name == *name));
    }
}

const LISTEN_KEYS: &[&str] = &["ListenStream", "ListenDatagram", "ListenSequentialPacket"];

/// /var/run is a link to /run (Filesystem Hierarchy Standard 3.0, section 5.13).
fn resolved(listener: &Listen) -> Listen {
    let place = |path: &str| match path.strip_prefix("/var/run/") {
        Some(rest) => format!("/run/{rest}"),
        None => path.to_owned(),
    };
    match listener {
        Listen::UnixStream(path) | Listen::UnixDatagram(path) | Listen::UnixSequential(path) => {
            Listen::UnixStream(place(path))
        }
        net => net.clone(),
    }
}

fn written(listener: &Listen) -> String {
    match listener {
        Listen::Tcp(address) | Listen::Udp(address) => address.to_string(),
        unix => unix.path().unwrap_or_default().to_owned(),
    }
}

fn join_order(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    let before: Vec<(String, String)> = set
        .services
        .iter()
        .flat_map(|s| s.before.iter().map(|later| (later.clone(), s.name.clone())))
        .collect();
    for (later, earlier) in before {
        if let Some(service) = set.services.iter_mut().find(|s| s.name == later)
            && !service.after.contains(&earlier)
        {
            service.after.push(earlier);
        }
    }
    for service in &set.services {
        for name in &service.requires {
            let exists = set.services.iter().any(|other| other.name == *name)
                || set.sockets.iter().any(|socket| socket.name == *name);
            if !exists {
                let text = format!("it requires `{name}`, which does not exist or cannot be used");
                let file = format!("{}.service", service.name);
                findings.push(origins.finding(&file, &["Requires"], name, Severity::Ignored, text));
            }
        }
    }
}

fn join_timers(origins: Origins<'_>, set: &mut UnitSet, findings: &mut Vec<Finding>) {
    for timer in &set.timers {
        let service = set.services.iter_mut().find(|s| s.name == timer.service);
        match service {
            Some(service) => service.starts = false,
            None if origins.define(&timer.service) => {}
            None => {
                let text = format!("there is no service `{}` for it to start", timer.service);
                let file = format!("{}.timer", timer.name);
                let word = &timer.service;
                findings.push(origins.finding(&file, &["Unit"], word, Severity::Ignored, text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
