//! `switchhook migrate`: what a volume from mlan/docker-asterisk needs, the doing of it, and the way back.
//!
//! Invariant: `--dry-run` changes nothing on the volume, and names every step that is done without it.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::config::paths::Paths;
use crate::migrate::{self, Extent, Undone};
use crate::seed;
use crate::seed::apply::SeedError;
use crate::sys::environment;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Only say what would be done, and why
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Put everything back as it was before the volume moved in; the exchange must be stopped
    #[arg(long)]
    undo: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// What there is to say, for programs.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether it was done.
    done: bool,
    steps: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WayBack {
    restored: usize,
    /// Paths that were changed since, and stay.
    kept: Vec<String>,
}

/// Exit code 0 when it is done or there is nothing to do, 1 when there is nothing to take back or the exchange runs, 2 when
/// it failed, 78 when the volume is of a newer version.
pub fn run(args: &MigrateArgs) -> ExitCode {
    let out = Output::new(args.json);
    let paths = args.root.paths();
    if args.undo {
        return undo(&out, &paths);
    }
    if args.dry_run {
        return dry_run(&out, &paths);
    }
    // By hand it is a wish, whatever the environment says.
    let extent = match Extent::of(environment::all().get("MIGRATE_CONFIG").map(String::as_str)) {
        Extent::OwnersOnly => Extent::OwnersOnly,
        Extent::Once | Extent::EachStart => Extent::EachStart,
    };
    match seed::prepare(&paths, extent) {
        Ok(prepared) => {
            for warning in &prepared.warnings {
                out.problem(warning, None);
            }
            let report = Report {
                done: true,
                steps: prepared.moved,
                remarks: Vec::new(),
            };
            say(&out, &report, "");
            out.finish(Exit::Ok)
        }
        Err(error) => {
            out.problem(&error.to_string(), None);
            out.finish(match error {
                SeedError::Future(_) | SeedError::Schema { .. } => Exit::Configuration,
                _ => Exit::Failed,
            })
        }
    }
}

fn dry_run(out: &Output, paths: &Paths) -> ExitCode {
    match migrate::find(paths, Extent::EachStart) {
        Ok(steps) => {
            let report = Report {
                done: false,
                steps: steps.iter().map(|step| step.text(false)).collect(),
                remarks: migrate::remarks(paths),
            };
            say(out, &report, "would ");
            out.finish(Exit::Ok)
        }
        Err(error) => failed(out, &error),
    }
}

fn say(out: &Output, report: &Report, prefix: &str) {
    if out.is_json() {
        out.json(report);
        return;
    }
    if report.steps.is_empty() {
        out.text("nothing to do: the volume is as this exchange needs it");
    }
    for step in &report.steps {
        out.text(&format!("{prefix}{step}"));
    }
    for remark in &report.remarks {
        out.text(remark);
    }
}

fn undo(out: &Output, paths: &Paths) -> ExitCode {
    if UnixStream::connect(paths.control_socket()).is_ok() {
        out.problem(
            "the exchange runs on this volume",
            Some(
                "stop the container, then `docker run --rm -v VOLUME:/srv --entrypoint switchhook IMAGE migrate --undo`",
            ),
        );
        return out.finish(Exit::No);
    }
    match migrate::undo(paths) {
        Ok(None) => {
            out.problem("there is no move to take back", None);
            out.finish(Exit::No)
        }
        Ok(Some(Undone { restored, kept })) => {
            if out.is_json() {
                out.json(&WayBack { restored, kept });
                return out.finish(Exit::Ok);
            }
            out.text(&format!(
                "{restored} files and directories are as they were"
            ));
            for path in kept {
                out.text(&format!("/srv/{path} was changed since, and stays"));
            }
            out.finish(Exit::Ok)
        }
        Err(error) => failed(out, &error),
    }
}

fn failed(out: &Output, error: &dyn Error) -> ExitCode {
    out.error(
        error,
        Some("look at the volume; what was done so far is in /srv/var/lib/switchhook/backup"),
    );
    out.finish(Exit::Failed)
}
