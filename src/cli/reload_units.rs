//! `switchhook reload-units`: PID 1 reads the unit files again; the difference is shown, before or with its effect.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::init::control::{Reply, Request, ask};
use crate::units::diff::{Change, Kind};

#[derive(Debug, Args)]
pub struct ReloadUnitsArgs {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// What there is to say, for programs.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether the changes are in force.
    applied: bool,
    changes: Vec<Change>,
    /// Services that still run as they were defined before.
    needs_restart: Vec<String>,
    /// What is ignored in the units, as `file:line: text`.
    findings: Vec<String>,
}

/// Exit code 0 when done, 78 when the units cannot be used (nothing is changed then), 2 without an answer.
pub fn run(args: &ReloadUnitsArgs) -> ExitCode {
    let out = Output::new(args.json);
    let request = Request::ReloadDefinitions {
        dry_run: args.dry_run,
    };
    let exit = match ask(&args.root.paths().control_socket(), &request, PATIENCE) {
        Ok(Reply::Definitions {
            changes,
            needs_restart,
            findings,
        }) => {
            let report = Report {
                applied: !args.dry_run,
                changes,
                needs_restart,
                findings,
            };
            if out.is_json() {
                out.json(&report);
            } else {
                out.text(&lines(&report));
            }
            Exit::Ok
        }
        Ok(Reply::Refused { reason }) => {
            out.problem(&reason, None);
            Exit::Configuration
        }
        Ok(_) => {
            out.problem("the exchange's answer does not fit the question", None);
            Exit::Failed
        }
        Err(error) => {
            out.problem(&error.to_string(), None);
            Exit::Failed
        }
    };
    out.finish(exit)
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&format!("note: {finding}\n"));
    }
    for change in &report.changes {
        let sign = match change.kind {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
        };
        text.push_str(&format!("{sign} {}\n", change.unit));
        for setting in &change.settings {
            let (name, old, new) = (&setting.name, &setting.old, &setting.new);
            if old == new {
                text.push_str(&format!("    {name}: {old} (with other values)\n"));
            } else {
                text.push_str(&format!("    {name}: {old} -> {new}\n"));
            }
        }
    }
    if report.changes.is_empty() {
        text.push_str("nothing differs\n");
    }
    let effect = if report.applied {
        "runs as it was defined before"
    } else {
        "would run on as it was defined before"
    };
    for service in &report.needs_restart {
        text.push_str(&format!(
            "{service} {effect}, until `switchhook restart {service}`\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::diff::Setting;

    #[test]
    fn a_change_reads_as_a_difference() {
        let report = Report {
            applied: true,
            changes: vec![Change {
                unit: "a.service".to_owned(),
                kind: Kind::Changed,
                settings: vec![Setting {
                    name: "Restart".to_owned(),
                    old: "No".to_owned(),
                    new: "Always".to_owned(),
                }],
            }],
            needs_restart: vec!["a".to_owned()],
            findings: vec![],
        };
        assert_eq!(
            lines(&report),
            "~ a.service\n    Restart: No -> Always\na runs as it was defined before, until `switchhook restart a`\n"
        );
    }
}
