//! From the first instruction to the supervisor's loop: environment, units, preparation of the volume, sockets.
//!
//! Every mistake is told in one sentence with a hint, and ends the start before anything was changed
//! that the mistake could spoil.

use std::path::{Path, PathBuf};

use super::control::Server;
use super::journal::Journal;
use super::supervise::{Setup, Supervisor};
use super::unit_files::{self, Checked, Services, Shelf};
use super::{EXIT_CONFIGURATION, EXIT_FAILED, prepare, sockets};
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
    let passed: Vec<_> = environment
        .iter()
        .filter(|(name, _)| !GIVEN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // It waits for the word, which it gets when environment and units are sound.
    let preparation = prepare::begin(root, &passed);
    let config = config::read(&environment).map_err(|mistakes| {
        for mistake in &mistakes {
            journal.say(ERROR, mistake.to_string());
        }
        Refusal(EXIT_CONFIGURATION)
    })?;
    *journal = Journal::direct(config.log_level, config.log_format);
    let paths = Paths::under(root).of_pbx(config.pbx);
    let mut units = Units::read(&paths, &config);
    units.refuse_broken(journal)?;
    prepare_runtime(&paths).map_err(|e| {
        let hint = "hint: with a read-only root mount memory there: `--tmpfs /run --tmpfs /tmp`";
        refuse(
            journal,
            EXIT_CONFIGURATION,
            format!("cannot use /run: {e}\n{hint}"),
        )
    })?;
    let preparation = preparation.map_err(|problem| refuse(journal, EXIT_FAILED, problem))?;
    let preparation = preparation.go();
    // While it works, what does not wait for the volume.
    let failed = |what: &str, e: std::io::Error, journal: &mut Journal| {
        refuse(journal, EXIT_FAILED, format!("cannot {what}: {e}"))
    };
    let notify = bind_notify(&paths.notify_socket());
    let containment = Containment::detect(Path::new("/sys/fs/cgroup"));
    let prepared = preparation.finish(&mut signals, journal).map_err(Refusal)?;
    let (units, order) = units.load(prepared.is_seeded, journal)?;
    let (listeners, told) = sockets::bind_all(&units.sockets, &paths);
    for line in told {
        journal.say(ERROR, line);
    }
    let notify = notify.map_err(|e| failed("bind the notify socket", e, journal))?;
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
        environment: passed,
        volume: prepared.volume,
        preparation: prepared.child,
        containment,
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

/// The units, read before anything is touched: a broken one ends the start there.
struct Units<'a> {
    paths: &'a Paths,
    service_directory: PathBuf,
    image: Shelf,
    volume: Shelf,
    services: Services,
    checked: Checked,
}

impl<'a> Units<'a> {
    /// The units of the image and the volume. Generated ones are still an earlier start's.
    fn read(paths: &'a Paths, config: &Config) -> Units<'a> {
        let [image, _, volume] = paths.units();
        let service_directory = paths.at(&config.service_dir);
        let (image, volume) = (Shelf::read(&image), Shelf::read(&volume));
        let services = Services::read(Some(&service_directory), paths.root());
        let found = unit_files::assemble(&[&image, &volume], &services);
        Units {
            checked: unit_files::check(&found),
            paths,
            service_directory,
            image,
            volume,
            services,
        }
    }

    fn refuse_broken(&mut self, journal: &mut Journal) -> Result<(), Refusal> {
        if self.checked.has_errors() {
            self.check_all();
            return told(&self.checked, journal);
        }
        Ok(())
    }

    /// With the generated ones, which lie between the image's and the volume's.
    fn check_all(&mut self) {
        let [_, generated, _] = self.paths.units();
        let generated = Shelf::read(&generated);
        let found = unit_files::assemble(&[&self.image, &generated, &self.volume], &self.services);
        self.checked = unit_files::check(&found);
    }

    /// The units after the preparation, in start order. Only a volume that was seeded is read once more.
    fn load(
        mut self,
        is_seeded: bool,
        journal: &mut Journal,
    ) -> Result<(UnitSet, Vec<usize>), Refusal> {
        if is_seeded {
            let [_, _, volume] = self.paths.units();
            self.volume = Shelf::read(&volume);
            self.services = Services::read(Some(&self.service_directory), self.paths.root());
        }
        self.check_all();
        told(&self.checked, journal)?;
        Ok((self.checked.set, self.checked.order))
    }
}

/// Tells every finding; an error ends the start.
fn told(checked: &Checked, journal: &mut Journal) -> Result<(), Refusal> {
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
    Ok(())
}
