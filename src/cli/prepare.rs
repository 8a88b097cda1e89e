//! `switchhook prepare`: the volume and the certificate, before the services. PID 1 starts it and reads its report.
//!
//! PID 1 starts it first of all, so that both get ready at once, and gives the word when it has found environment and
//! units sound. Invariant: before the word nothing is touched.

use std::io::Read;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use super::RootArgs;
use super::output::{Exit, Output};
use crate::asterisk::generate;
use crate::certs::first;
use crate::certs::generation::Place;
use crate::config::paths::Paths;
use crate::config::{self, Config};
use crate::init::identity;
use crate::init::report::Line;
use crate::logd::syslog::{ERROR, NOTICE, WARNING};
use crate::migrate::Extent;
use crate::seed::{self, apply::SeedError};
use crate::sys::clock::unix_now;
use crate::sys::environment;

/// The arguments of `prepare`.
#[derive(Debug, clap::Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    root: RootArgs,
    /// Begin when a byte comes on standard input; without one do nothing
    #[arg(long, hide = true)]
    on_word: bool,
    /// Only find out anew which sockets the configuration asks for
    #[arg(long, hide = true)]
    sockets: bool,
}

/// Prepares everything below the root.
pub fn run(args: &PrepareArgs) -> ExitCode {
    // The second time only what is not well is worth a word.
    let least = if args.sockets { WARNING } else { NOTICE };
    let report = Report(Output::new(false), least);
    let config = config::read(&environment::all());
    if args.on_word && std::io::stdin().read_exact(&mut [0]).is_err() {
        return report.0.finish(Exit::Ok);
    }
    let config = match config {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                report.say(ERROR, &mistake.to_string());
            }
            return report.0.finish(Exit::Configuration);
        }
    };
    let paths = args.root.paths().of_pbx(config.pbx);
    if args.sockets {
        generate_units(&paths, &config, &report);
        return report.0.finish(Exit::Ok);
    }
    let extent = Extent::of(config.migrate.as_deref());
    if let Err(error) = prepare_volume(&paths, extent, &report) {
        report.say(ERROR, &chain(&error));
        return report.0.finish(match error {
            SeedError::Future(_) | SeedError::Schema { .. } => Exit::Configuration,
            _ => Exit::Failed,
        });
    }
    prepare_certificate(&paths, &config, &report);
    generate_units(&paths, &config, &report);
    report.0.text(&Line::Done.to_string());
    report.0.finish(Exit::Ok)
}

/// Tells PID 1, a line for each thing that is at least so severe.
struct Report(Output, u8);

impl Report {
    fn say(&self, severity: u8, text: &str) {
        if severity > self.1 {
            return;
        }
        for line in Line::all(severity, text) {
            self.0.text(&line.to_string());
        }
    }
}

fn prepare_volume(paths: &Paths, extent: Extent, report: &Report) -> Result<(), SeedError> {
    let prepared = seed::prepare(paths, extent)?;
    let volume = Line::Volume(prepared.volume.to_string());
    report.0.text(&volume.to_string());
    report.say(NOTICE, &format!("/srv is {}", prepared.volume));
    if prepared.seeded > 0 {
        report.0.text(&Line::Seeded.to_string());
        report.say(
            NOTICE,
            &format!(
                "a new volume: {} files of sample configuration were put there",
                prepared.seeded
            ),
        );
    }
    if !prepared.moved.is_empty() {
        report.say(
            NOTICE,
            "the volume moves in; `switchhook migrate --undo` is the way back",
        );
    }
    for text in &prepared.moved {
        report.say(NOTICE, text);
    }
    for warning in &prepared.warnings {
        report.say(WARNING, warning);
    }
    Ok(())
}

/// The units that follow from the PBX's configuration. Without them the PBX binds its own sockets.
fn generate_units(paths: &Paths, config: &Config, report: &Report) {
    match generate::generate(paths, config.pbx) {
        Ok(generated) => {
            report.say(NOTICE, &generated.promises);
            for note in &generated.arranged {
                report.say(NOTICE, note);
            }
            for note in &generated.notes {
                report.say(WARNING, note);
            }
        }
        Err(problem) => report.say(ERROR, &format!("the PBX's sockets are not held: {problem}")),
    }
    #[cfg(feature = "services")]
    for (port, name, more) in [
        (config.websms_port, "websms.socket", ""),
        (
            config.websms_tls_port,
            "websms-tls.socket",
            "FileDescriptorName=tls\n",
        ),
    ] {
        if let Some(port) = port
            && let Err(problem) = generate::add(paths, name, &socket_of_websms(port, more))
        {
            report.say(ERROR, &format!("WebSMS has no socket: {problem}"));
        }
    }
}

/// The carriers' door. A webhook that comes while WebSMS restarts waits in the socket.
#[cfg(feature = "services")]
fn socket_of_websms(port: u16, more: &str) -> String {
    format!(
        "# Made at each start from the environment; a file of the same name in /srv/etc/units replaces it.\n\
         [Socket]\nService=websms.service\nListenStream={port}\nBacklog=1024\n{more}"
    )
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
fn prepare_certificate(paths: &Paths, config: &Config, report: &Report) {
    // Key, certificate and record belong together: an order to stop waits until all are written.
    let stop = SigSet::from_iter([Signal::SIGTERM]);
    let _ = stop.thread_block();
    let host_name = config
        .host_name
        .clone()
        .unwrap_or_else(environment::host_name);
    let account = identity::user(config.pbx.name());
    let gid = account.map_or_else(|_| nix::unistd::getegid().as_raw(), |account| account.gid);
    let place = Place::new(paths.certificates(), gid);
    let wish = first::Wish {
        place: &place,
        record: paths.state().join("self-signed"),
        names: std::slice::from_ref(&host_name),
        days: config.certificate_days,
        // From the image base on the keeper does it, while calls go on.
        renews: !cfg!(feature = "services"),
    };
    match first::ensure(&wish, unix_now()) {
        Ok(first::Outcome::Kept | first::Outcome::MovedIn) => {}
        Ok(_) => report.say(
            NOTICE,
            &format!("made a self-signed certificate for `{host_name}`"),
        ),
        Err(e) => report.say(ERROR, &format!("no certificate, so no TLS: {}", chain(&e))),
    }
}
