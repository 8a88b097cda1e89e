//! From the first instruction to the supervisor's loop: environment, units, volume, certificate, sockets.
//!
//! Every mistake is told in one sentence with a hint, and ends the start before anything was changed
//! that the mistake could spoil.

use std::path::Path;

use super::control::Server;
use super::journal::Journal;
use super::supervise::{Setup, Supervisor};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, identity, sockets, unit_files};
use crate::asterisk::generate;
use crate::certs::self_signed;
use crate::config::paths::Paths;
use crate::config::{self, Config, LogFormat};
use crate::logd::syslog::{ERROR, NOTICE, WARNING};
use crate::seed;
use crate::sys::clock::{Stopwatch, unix_now};
use crate::sys::containment::Containment;
use crate::sys::file;
use crate::sys::process;
use crate::sys::signal::Signals;
use crate::sys::socket::bind_notify;
use crate::units::UnitSet;
use crate::units::spec::Severity;

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
    let signals = Signals::install().map_err(|e| {
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
    let volume = prepare_volume(&paths, journal)?;
    prepare_certificate(&paths, &config, journal);
    generate_units(&paths, &config, journal);
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
    let given = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
    ];
    let environment = environment
        .into_iter()
        .filter(|(name, _)| !given.contains(&name.as_str()))
        .collect();
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

/// The units that follow from the PBX's configuration. Without them the PBX binds its own sockets.
fn generate_units(paths: &Paths, config: &Config, journal: &mut Journal) {
    match generate::generate(paths, config.pbx) {
        Ok(generated) => {
            if !generated.promises.is_empty() {
                journal.say(NOTICE, &generated.promises);
            }
            for note in &generated.notes {
                journal.say(WARNING, note);
            }
        }
        Err(problem) => journal.say(ERROR, format!("the PBX's sockets are not held: {problem}")),
    }
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

fn prepare_volume(paths: &Paths, journal: &mut Journal) -> Result<String, Refusal> {
    let prepared = seed::prepare(paths).map_err(|e| {
        let code = match e {
            seed::apply::SeedError::Future(_) | seed::apply::SeedError::Schema { .. } => {
                EXIT_CONFIGURATION
            }
            _ => EXIT_FAILED,
        };
        refuse(journal, code, chain(&e))
    })?;
    journal.say(NOTICE, format!("/srv is {}", prepared.volume));
    if prepared.seeded > 0 {
        journal.say(
            NOTICE,
            format!(
                "a new volume: {} files of sample configuration were put there",
                prepared.seeded
            ),
        );
    }
    for warning in &prepared.warnings {
        journal.say(WARNING, warning);
    }
    Ok(prepared.volume.to_string())
}

/// An error with its causes. Where a text already ends in its cause nothing is repeated.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// TLS from the first start. Without a certificate the exchange still serves UDP and TCP.
fn prepare_certificate(paths: &Paths, config: &Config, journal: &mut Journal) {
    let host_name = config.host_name.clone().unwrap_or_else(|| {
        nix::unistd::gethostname().map_or_else(
            |_| "localhost".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    });
    let (uid, gid) = match identity::user(config.pbx.name()) {
        Ok(account) => (account.uid.as_raw(), account.gid.as_raw()),
        Err(_) => (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
        ),
    };
    let request = self_signed::Request {
        directory: &paths.certificates(),
        record: paths.state().join("self-signed"),
        host_name: &host_name,
        days: config.certificate_days,
        owner: file::Owner::Set {
            uid,
            gid,
            mode: 0o640,
        },
    };
    match self_signed::ensure(&request, unix_now()) {
        Ok(self_signed::Outcome::Kept) => {}
        Ok(_) => journal.say(
            NOTICE,
            format!("made a self-signed certificate for `{host_name}`"),
        ),
        Err(e) => journal.say(ERROR, format!("no certificate, so no TLS: {}", chain(&e))),
    }
}
