//! From the first instruction to the supervisor's loop: environment, units, preparation of the volume, sockets.
//!
//! Every mistake is told in one sentence with a hint, and ends the start before anything was changed
//! that the mistake could spoil.

use std::path::Path;

use super::control::Server;
use super::journal::Journal;
use super::supervise::{Setup, Supervisor};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, prepare, sockets, unit_files};
use crate::config::paths::Paths;
use crate::config::{self, Config, LogFormat};
use crate::logd::syslog::{ERROR, NOTICE};
use crate::sys::clock::Stopwatch;
use crate::sys::containment::Containment;
use crate::sys::process;
use crate::sys::signal::Signals;
use crate::sys::socket::bind_notify;
use crate::units::UnitSet;
use crate::units::spec::Severity;

/// Meant for PID 1 alone (sd_notify(3), sd_listen_fds(3)).
const GIVEN: [&str; 4] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Why the start ends: an exit code and what was already told.
struct Refusal(i32);

/// Runs the appliance below `root`; the value is the exit code.
pub fn run(root: &Path) -> i32 {
    let clock = Stopwatch::start();
    let mut journal = Journal::direct(4, LogFormat::Text);
    match start(root, clock, &mut journal) {
        Ok(supervisor) => supervisor.run(),
        Err(Refusal(code)) => code,
    }
}

fn start(root: &Path, clock: Stopwatch, journal: &mut Journal) -> Result<Supervisor, Refusal> {
    process::restore_defaults();
    let mut signals = Signals::install().map_err(|e| {
        refuse(
            journal,
            EXIT_FAILED,
            format!("cannot install signal handlers: {e}"),
        )
    })?;
    if std::process::id() != 1 {
        process::adopt_orphans();
    }
    let environment = crate::sys::environment::all();
    let config = config::read(&environment).map_err(|mistakes| {
        for mistake in &mistakes {
            journal.say(ERROR, mistake.to_string());
        }
        Refusal(EXIT_CONFIGURATION)
    })?;
    *journal = Journal::direct(config.log_level, config.log_format);
    let paths = Paths::under(root).of_pbx(config.pbx);
    refuse_broken_units(&paths, &config, journal)?;
    prepare_runtime(&paths).map_err(|e| {
        let hint = "hint: with a read-only root mount memory there: `--tmpfs /run --tmpfs /tmp`";
        refuse(
            journal,
            EXIT_CONFIGURATION,
            format!("cannot use /run: {e}\n{hint}"),
        )
    })?;
    let environment: Vec<_> = environment
        .into_iter()
        .filter(|(name, _)| !GIVEN.contains(&name.as_str()))
        .collect();
    let volume = prepare::run(&paths, &environment, &mut signals, journal).map_err(Refusal)?;
    let (units, order) = load_units(&paths, &config, journal)?;
    let (listeners, told) = sockets::bind_all(&units.sockets, &paths);
    for line in told {
        journal.say(ERROR, line);
    }
    let failed = |what: &str, e: std::io::Error, journal: &mut Journal| {
        refuse(journal, EXIT_FAILED, format!("cannot {what}: {e}"))
    };
    let notify = bind_notify(&paths.notify_socket())
        .map_err(|e| failed("bind the notify socket", e, journal))?;
    let control = Server::bind(&paths.control_socket())
        .map_err(|e| failed("bind the control socket", e, journal))?;
    let setup = Setup {
        clock,
        journal: Journal::direct(config.log_level, config.log_format),
        config,
        paths,
        signals,
        units,
        order,
        listeners,
        environment,
        volume,
        containment: Containment::detect(Path::new("/sys/fs/cgroup")),
        notify,
        control,
    };
    Supervisor::new(setup).map_err(|e| failed("start supervising", e, journal))
}

fn refuse(journal: &mut Journal, code: i32, text: impl AsRef<str>) -> Refusal {
    journal.say(ERROR, text);
    Refusal(code)
}

fn prepare_runtime(paths: &Paths) -> std::io::Result<()> {
    if let Some(directory) = paths.control_socket().parent() {
        std::fs::create_dir_all(directory)?;
    }
    for directory in ["run/lock", "tmp"] {
        std::fs::create_dir_all(paths.at(directory))?;
    }
    Ok(())
}

/// The units of the image and the volume must be sound before anything is touched.
fn refuse_broken_units(
    paths: &Paths,
    config: &Config,
    journal: &mut Journal,
) -> Result<(), Refusal> {
    let [image, _, volume] = paths.units();
    let service_directory = paths.at(&config.service_dir);
    let found = unit_files::find(&[image, volume], Some(&service_directory), paths.root());
    if unit_files::check(&found).has_errors() {
        return load_units(paths, config, journal).map(|_| ());
    }
    Ok(())
}

/// Reads and checks every unit; the volume's units replace the image's of the same name.
fn load_units(
    paths: &Paths,
    config: &Config,
    journal: &mut Journal,
) -> Result<(UnitSet, Vec<usize>), Refusal> {
    let service_directory = paths.at(&config.service_dir);
    let found = unit_files::find(&paths.units(), Some(&service_directory), paths.root());
    let checked = unit_files::check(&found);
    for finding in &checked.findings {
        let severity = if finding.severity == Severity::Error {
            ERROR
        } else {
            // Shown at every level: a misspelt directive must not pass in silence.
            NOTICE
        };
        journal.say(severity, finding.to_string());
    }
    if checked.has_errors() {
        let hint =
            "the units above cannot be used\nhint: repair them or take them out of /srv/etc/units";
        return Err(refuse(journal, EXIT_CONFIGURATION, hint));
    }
    Ok((checked.set, checked.order))
}
