//! `switchhook verify`: the units as the start would read them, without starting anything.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::config::{self, registry};
use crate::init::unit_files::{self, Checked, Found};
use crate::sys::environment;
use crate::units::spec::{Finding, Severity};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A unit file, a directory of unit files or of runit services, or one runit service [default: the exchange's own places]
    path: Option<PathBuf>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// What there is to say, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// Names in start order; empty when there is none.
    services: Vec<&'a str>,
    sockets: Vec<&'a str>,
    timers: Vec<&'a str>,
    errors: usize,
    findings: Vec<Line<'a>>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a str,
    /// Not there when it is about the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    severity: &'static str,
    text: &'a str,
}

/// Exit code 0 when the exchange would start with these units, 78 when not, 2 when there are none.
pub fn run(args: &VerifyArgs) -> ExitCode {
    let out = Output::new(args.json);
    let (found, only) = match &args.path {
        None => (own_places(args), None),
        Some(path) => match look(path) {
            Ok(found) => found,
            Err(problem) => {
                out.problem(&problem, None);
                return out.finish(Exit::Failed);
            }
        },
    };
    let is_about = |finding: &Finding| only.as_ref().is_none_or(|only| only.covers(&finding.file));
    if found.units.is_empty() && found.runit.is_empty() && found.findings.is_empty() {
        let place = match &args.path {
            Some(path) => format!("in `{}`", path.display()),
            None => "in the exchange's places".to_owned(),
        };
        out.problem(&format!("there are no units {place}"), None);
        return out.finish(Exit::Failed);
    }
    let mut checked = unit_files::check(&found);
    checked.findings.retain(is_about);
    if args.path.is_none() {
        checked
            .findings
            .extend(super::acl::findings(&args.root.paths()));
    }
    if out.is_json() {
        out.json(&report(&checked));
    } else {
        out.text(&lines(&checked, only.is_some()));
    }
    out.finish(if checked.has_errors() {
        Exit::Configuration
    } else {
        Exit::Ok
    })
}

fn own_places(args: &VerifyArgs) -> Found {
    let paths = args.root.paths();
    let default = registry::find("SVDIR").map(|variable| variable.default.to_owned());
    let service_dir = config::read(&environment::all())
        .map(|config| config.service_dir)
        .unwrap_or_else(|_| default.unwrap_or_default());
    unit_files::find(&paths.units(), Some(&paths.at(&service_dir)), paths.root())
}

/// One unit among those of its directory.
#[derive(Debug)]
struct Only {
    file: String,
    drop_ins: String,
}

impl Only {
    fn covers(&self, file: &str) -> bool {
        file == self.file || file.starts_with(&self.drop_ins)
    }
}

/// What lies at a path that somebody gave. A single unit is read together with its neighbours, which may be
/// the other half of a pair.
fn look(path: &Path) -> Result<(Found, Option<Only>), String> {
    let cannot = |e| format!("cannot read `{}`: {e}", path.display());
    let path = std::path::absolute(path).map_err(cannot)?;
    let meta = std::fs::metadata(&path).map_err(cannot)?;
    let root = Path::new("/");
    if meta.is_dir() {
        if path.join("run").exists() {
            return Ok((unit_files::find_service_directory(&path, root), None));
        }
        return Ok((
            unit_files::find(std::slice::from_ref(&path), Some(&path), root),
            None,
        ));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parent = path.parent().unwrap_or(root);
    if name == "run" {
        return Ok((unit_files::find_service_directory(parent, root), None));
    }
    let parent_name = parent.file_name().unwrap_or_default().to_string_lossy();
    let unit = match parent_name.strip_suffix(".d") {
        Some(unit) if unit_files::is_unit_name(unit) => parent.parent().unwrap_or(root).join(unit),
        _ if unit_files::is_unit_name(&name) => path.clone(),
        _ => {
            return Err(format!(
                "`{}` is no unit: its name ends in none of .service, .socket and .timer",
                path.display()
            ));
        }
    };
    let directory = unit.parent().unwrap_or(root).to_owned();
    let found = unit_files::find(&[directory], None, root);
    let only = Only {
        file: unit.display().to_string(),
        drop_ins: format!("{}.d/", unit.display()),
    };
    Ok((found, Some(only)))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Ignored => "note",
    }
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    let of_this = |finding: &&Finding| finding.severity == severity;
    findings.iter().filter(of_this).count()
}

fn report(checked: &Checked) -> Report<'_> {
    let set = &checked.set;
    let services = checked
        .order
        .iter()
        .filter_map(|index| set.services.get(*index));
    let line = |finding: &'_ Finding| (finding.line > 0).then_some(finding.line);
    Report {
        services: services.map(|service| service.name.as_str()).collect(),
        sockets: set
            .sockets
            .iter()
            .map(|socket| socket.name.as_str())
            .collect(),
        timers: set.timers.iter().map(|timer| timer.name.as_str()).collect(),
        errors: count(&checked.findings, Severity::Error),
        findings: checked
            .findings
            .iter()
            .map(|finding| Line {
                file: &finding.file,
                line: line(finding),
                severity: word(finding.severity),
                text: &finding.text,
            })
            .collect(),
    }
}

/// Every finding on a line, and what it comes to; without totals of the set for a single unit.
fn lines(checked: &Checked, is_one_unit: bool) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        text.push_str(&format!("{}: {finding}\n", word(finding.severity)));
    }
    let many = |count: usize, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    };
    let errors = many(count(&checked.findings, Severity::Error), "error");
    let notes = many(count(&checked.findings, Severity::Ignored), "note");
    if !is_one_unit {
        let set = &checked.set;
        text.push_str(&format!(
            "{}, {}, {}: ",
            many(set.services.len(), "service"),
            many(set.sockets.len(), "socket unit"),
            many(set.timers.len(), "timer")
        ));
    }
    text.push_str(&format!("{errors}, {notes}\n"));
    text
}
