//! `switchhook cert`, also `certs`: what is served, until when, and orders to the keeper.
//!
//! It asks the keeper, and says what lies on the disk when that does not run. Invariant: no key is ever printed.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::certs::control::{Reply, Request};
use crate::certs::daemon::{self, Books};
use crate::certs::keeper::{Outcome, Record, What};
use crate::certs::metrics::metrics;
use crate::certs::report::{Level, Report};
use crate::config;
use crate::config::paths::Paths;
use crate::sys::clock::rfc3339;
use crate::sys::environment;

/// A renewal waits for handshakes, a slow PBX and a hook.
const PATIENCE: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
pub struct CertArgs {
    /// One JSON object (schema 1)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Verb {
    /// Show the certificate and what each listener serves; also without any verb
    Show,
    /// Look for a new one now, also for one that was refused before
    Renew {
        /// Order or sign a new one, though the present one is good; authorities count these
        #[arg(long)]
        anew: bool,
    },
    /// Look and make a handshake with each listener now: exit code 0 if all is well, 1 if not
    Check,
    /// Show what was put in place, refused and put back
    History,
    /// Tell the state in numbers, as Prometheus reads them
    Metrics,
    /// Run the keeper (started by PID 1)
    Run,
}

/// Exit codes: 0 well, 1 not well, 2 failed, 78 configuration.
pub fn run(args: &CertArgs) -> ExitCode {
    let out = Output::new(args.json);
    let paths = args.root.paths();
    let exit = match args.verb.unwrap_or(Verb::Show) {
        Verb::Run => keep(&paths, &out),
        Verb::History => history(&paths, &out),
        Verb::Metrics => numbers(&paths, &out),
        Verb::Show => show(&paths, &out, Request::Show),
        Verb::Check => show(&paths, &out, Request::Check),
        Verb::Renew { anew } => show(&paths, &out, Request::Renew { anew }),
    };
    out.finish(exit)
}

fn keep(paths: &Paths, out: &Output) -> Exit {
    let config = match config::read(&environment::all()) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                out.problem(&mistake.to_string(), None);
            }
            return Exit::Configuration;
        }
    };
    match daemon::run(paths, &config) {
        Ok(()) => Exit::Ok,
        Err(error) => {
            out.problem(
                &error.to_string(),
                Some("another keeper may run: `switchhook status certs`"),
            );
            Exit::Failed
        }
    }
}

fn show(paths: &Paths, out: &Output, request: Request) -> Exit {
    let report = match daemon::ask(paths, request, PATIENCE) {
        Ok(Reply::Report(report)) => *report,
        Ok(Reply::Refused { reason }) => {
            out.problem(&reason, None);
            return Exit::Failed;
        }
        Err(error) if request == Request::Show => {
            daemon::report_of_disk(paths, &format!("the keeper does not answer: {error}"))
        }
        Err(error) => {
            out.problem(
                &format!("the keeper does not answer: {error}"),
                Some("`switchhook status certs` and `switchhook logs certs` say why"),
            );
            return Exit::Failed;
        }
    };
    match out.is_json() {
        true => out.json(&report),
        false => out.text(&text(&report)),
    }
    match report.level {
        Level::Critical => Exit::No,
        Level::Warning if request == Request::Check => Exit::No,
        Level::Ok | Level::Warning => Exit::Ok,
    }
}

fn numbers(paths: &Paths, out: &Output) -> Exit {
    let report = match daemon::ask(paths, Request::Show, PATIENCE) {
        Ok(Reply::Report(report)) => *report,
        Ok(Reply::Refused { reason }) => daemon::report_of_disk(paths, &reason),
        Err(error) => {
            daemon::report_of_disk(paths, &format!("the keeper does not answer: {error}"))
        }
    };
    out.text(metrics(&report, &Books::of(paths).history()).trim_end());
    Exit::Ok
}

/// A report for people.
fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    let source = report
        .source
        .map_or("none".to_owned(), |source| source.to_string());
    let generation = report.generation.as_deref().unwrap_or("-");
    lines.push(format!("source      {source} ({generation})"));
    if !report.wanted.is_empty() {
        lines.push(format!("wanted      {}", report.wanted.join(", ")));
    }
    for one in &report.certificates {
        let facts = &one.facts;
        lines.push(format!(
            "{:<11} {} bits, {} days left, until {}",
            facts.algorithm.to_string(),
            facts.bits,
            one.days_left,
            rfc3339(facts.not_after.saturating_mul(1000))
        ));
        lines.push(format!("  names     {}", facts.names.join(", ")));
        lines.push(format!("  issuer    {}", facts.issuer));
        lines.push(format!("  chain     {}", facts.chain.join(" < ")));
        lines.push(format!("  sha256    {}", facts.fingerprint));
    }
    for proof in &report.listeners {
        let asked = proof
            .asked
            .map_or("any".to_owned(), |asked| asked.to_string());
        let shown = match &proof.outcome {
            Outcome::Closed => "closed".to_owned(),
            Outcome::Failed(why) => format!("no handshake: {why}"),
            Outcome::Shown(print) => {
                let known = report.certificates.iter();
                match known.clone().any(|one| one.facts.fingerprint == *print) {
                    true => format!("serves it ({}...)", print.get(..16).unwrap_or(print)),
                    false => format!("serves another one: {print}"),
                }
            }
        };
        lines.push(format!(
            "{:<11} {} {asked}: {shown}",
            proof.what, proof.address
        ));
    }
    if !report.watching.is_empty() {
        lines.push(format!("watching    {}", report.watching));
    }
    for refused in &report.refused {
        let at = rfc3339(refused.at.saturating_mul(1000));
        lines.push(format!("refused     {at}: {}", refused.why));
    }
    lines.extend(
        report
            .notes
            .iter()
            .map(|note| format!("note        {note}")),
    );
    lines.extend(
        report
            .problems
            .iter()
            .map(|problem| format!("problem     {problem}")),
    );
    lines.join("\n")
}

#[derive(Serialize)]
struct History {
    history: Vec<Record>,
}

fn history(paths: &Paths, out: &Output) -> Exit {
    let history = Books::of(paths).history();
    if out.is_json() {
        out.json(&History { history });
        return Exit::Ok;
    }
    for record in history {
        let what = match record.what {
            What::Proven => "in use",
            What::Switched => "in use, unproven",
            What::RolledBack => "refused, put back",
            What::Kept => "not served",
            What::Failed => "failed",
            What::Healed => "healed",
        };
        let why = record.why.map(|why| format!(": {why}")).unwrap_or_default();
        out.text(&format!(
            "{}  {what}  {} {}  {}{why}",
            rfc3339(record.at.saturating_mul(1000)),
            record.source,
            record.generation.as_deref().unwrap_or("-"),
            record.names.join(", ")
        ));
    }
    Exit::Ok
}
