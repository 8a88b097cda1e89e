//! Any set of unit texts is read without panic; what is usable has no error and holds what its readers promise.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use switchhook::units::spec::{Finding, Severity};
use switchhook::units::unit_file::Source;
use switchhook::units::{Origins, UnitText, read_all};
use switchhook::units::{service_file, socket_file, timer_file};

fn is_clean(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

// NUL separates a file from its drop-in.
fuzz_target!(|text: &str| {
    let sources: Vec<Source> = text
        .split('\0')
        .take(3)
        .map(|part| Source { file: "f".into(), text: part.into() })
        .collect();
    let (service, findings) = service_file::read("a", &sources);
    assert_eq!(service.is_some(), is_clean(&findings));
    if let Some(service) = service {
        assert!(!service.command.is_empty());
    }
    let (socket, findings) = socket_file::read("a", &sources);
    assert_eq!(socket.is_some(), is_clean(&findings));
    if let Some(socket) = socket {
        assert!(!socket.listeners.is_empty());
    }
    let (timer, findings) = timer_file::read("a", &sources);
    assert_eq!(timer.is_some(), is_clean(&findings));
    let units: Vec<UnitText> = ["a.service", "a.socket", "b.socket", "a.timer"]
        .iter()
        .map(|name| UnitText { file_name: (*name).into(), sources: sources.clone() })
        .collect();
    let _ = read_all(Origins { units: &units, runit: &BTreeMap::new() });
});
