//! The unit files that Asterisk and GABpbx ship as samples, unmodified: the fixtures follow their contrib/systemd.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use switchhook::units::spec::{Finding, Listen, Output, Readiness, Restart, Severity};
use switchhook::units::unit_file::Source;
use switchhook::units::{Origins, UnitSet, UnitText, read_all};

/// Reads fixture directories, for Asterisk or with its name replaced.
fn read(directories: &[&str], pbx: &str) -> (UnitSet, Vec<Finding>) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/units");
    let renamed = |text: &str| text.replace("asterisk", pbx);
    let mut units = BTreeMap::new();
    for directory in directories {
        for entry in std::fs::read_dir(fixtures.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let file_name = renamed(&path.file_name().unwrap().to_string_lossy());
            let source = Source {
                file: file_name.clone(),
                text: renamed(&std::fs::read_to_string(&path).unwrap()),
            };
            let unit = UnitText {
                file_name: file_name.clone(),
                sources: vec![source],
            };
            units.insert(file_name, unit);
        }
    }
    let units: Vec<UnitText> = units.into_values().collect();
    read_all(Origins {
        units: &units,
        runit: &BTreeMap::new(),
    })
}

fn no_errors(findings: &[Finding]) {
    assert!(
        findings.iter().all(|f| f.severity == Severity::Ignored),
        "{findings:?}"
    );
}

#[test]
fn the_service_is_what_it_says() {
    for pbx in ["asterisk", "gabpbx"] {
        let (set, findings) = read(&["service"], pbx);
        no_errors(&findings);
        let service = &set.services[0];
        assert_eq!(service.name, pbx);
        assert_eq!(service.readiness, Readiness::Notify);
        let config = format!("/etc/{pbx}/{pbx}.conf");
        let program = format!("/usr/sbin/{pbx}");
        assert_eq!(service.command, [&program, "-mqf", "-C", &config]);
        assert_eq!(
            service.reload.as_ref().unwrap(),
            &[program.as_str(), "-rx", "core reload"]
        );
        assert_eq!(service.user.as_deref(), Some(pbx));
        assert_eq!(service.group.as_deref(), Some(pbx));
        let home = format!("/var/lib/{pbx}");
        assert_eq!(service.environment, [("HOME".to_owned(), home.clone())]);
        assert_eq!(service.working_directory, Some(home));
        assert_eq!(service.limits[0].hard, None);
        assert_eq!(service.restart, Restart::Always);
        assert_eq!(service.restart_pause, Some(Duration::from_secs(4)));
        assert_eq!(service.stdout, Output::Null);
        assert!(service.after.is_empty(), "network.target is no unit here");
    }
}

#[test]
fn one_socket_unit_and_five_give_the_same_listeners() {
    let addresses = |directory, pbx| {
        let (set, findings) = read(&["service", directory], pbx);
        no_errors(&findings);
        assert!(set.sockets.iter().all(|socket| socket.service == pbx));
        assert_eq!(set.services[0].sockets.len(), set.sockets.len());
        let mut all: Vec<String> = Vec::new();
        for socket in &set.sockets {
            for listener in &socket.listeners {
                if let Listen::UnixStream(path) = listener {
                    assert_eq!(*path, format!("/var/run/{pbx}/{pbx}.ctl"));
                    assert_eq!(socket.mode, 0o660);
                    assert_eq!(socket.user.as_deref(), Some(pbx));
                    assert_eq!(socket.group.as_deref(), Some(pbx));
                } else {
                    assert!(socket.free_bind);
                }
                all.push(format!("{listener:?}"));
            }
        }
        all.sort();
        all
    };
    for pbx in ["asterisk", "gabpbx"] {
        let one = addresses("one-socket", pbx);
        assert_eq!(one.len(), 5);
        assert_eq!(one, addresses("five-sockets", pbx));
    }
}

#[test]
fn both_ways_at_once_bind_every_address_once() {
    let (set, findings) = read(&["service", "one-socket", "five-sockets"], "asterisk");
    no_errors(&findings);
    let listeners: usize = set
        .sockets
        .iter()
        .map(|socket| socket.listeners.len())
        .sum();
    assert_eq!(listeners, 5);
    let twice = findings
        .iter()
        .filter(|finding| finding.text.contains("listens there already"));
    assert_eq!(twice.count(), 5);
}

#[test]
fn the_timer_says_when_its_service_is_due() {
    let (set, findings) = read(&["service", "timer"], "asterisk");
    no_errors(&findings);
    let timer = &set.timers[0];
    assert_eq!(timer.service, "asterisk-malloc-trim");
    assert_eq!(timer.calendars[0].to_string(), "*-*-* 00:15:00");
    assert_eq!(timer.random_delay, Duration::from_secs(3600));
    assert!(timer.persistent);
    let started: Vec<&str> = set
        .services
        .iter()
        .filter(|service| service.starts)
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(started, ["asterisk"]);
}
