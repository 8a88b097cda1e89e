//! What a service is: systemd unit files to specs, as pure functions from texts to values.
//!
//! Reads no file and asks no system; `init::boot` brings the texts. Invariant: a set holds each name once.

pub mod calendar;
pub mod capability;
pub mod condition;
pub mod directives;
pub mod exit;
pub mod service_file;
pub mod signal;
pub mod socket_file;
pub mod spec;
pub mod syntax;
pub mod unit_file;
pub mod value;

use spec::{Finding, ServiceSpec, Severity, SocketSpec};
use unit_file::Source;

/// A unit as found: its file name (`asterisk.service`), the file first, then its drop-ins in name order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitText {
    pub file_name: String,
    pub sources: Vec<Source>,
}

/// All units of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitSet {
    pub services: Vec<ServiceSpec>,
    pub sockets: Vec<SocketSpec>,
}

/// Parses every unit. Units with errors are left out of the set; their findings say why.
pub fn read_all(units: &[UnitText]) -> (UnitSet, Vec<Finding>) {
    let mut set = UnitSet::default();
    let mut findings = Vec::new();
    for unit in units {
        if let Some(name) = unit.file_name.strip_suffix(".service") {
            let (spec, found) = service_file::read(name, &unit.sources);
            set.services.extend(spec);
            findings.extend(found);
        } else if let Some(name) = unit.file_name.strip_suffix(".socket") {
            let (spec, found) = socket_file::read(name, &unit.sources);
            set.sockets.extend(spec);
            findings.extend(found);
        }
    }
    for service in &mut set.services {
        for socket in set
            .sockets
            .iter()
            .filter(|socket| socket.service == service.name)
        {
            if !service.sockets.contains(&socket.name) {
                service.sockets.push(socket.name.clone());
            }
        }
    }
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
    for socket in &set.sockets {
        if !set
            .services
            .iter()
            .any(|service| service.name == socket.service)
        {
            findings.push(Finding {
                file: format!("{}.socket", socket.name),
                line: 0,
                severity: Severity::Ignored,
                text: format!(
                    "no service `{}` takes this socket; it is not bound",
                    socket.service
                ),
            });
        }
    }
    (set, findings)
}
