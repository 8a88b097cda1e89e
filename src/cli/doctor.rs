//! `switchhook doctor`: gathers, judges, tells, and repairs where that was asked for and loses nothing.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::doctor::gather::gather;
use crate::doctor::mend::mend;
use crate::doctor::{Examined, Finding, Fix, Severity, examine, is_well};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON object (schema 1)
    #[arg(long)]
    json: bool,
    /// Repair what can be repaired without losing anything, each said before it is done; then look again
    #[arg(long)]
    fix: bool,
    /// Ask nobody over the network: no STUN server, no name server
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// All of it, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// There is no warning and no error.
    well: bool,
    checks: Vec<Row<'a>>,
    /// What `--fix` did.
    fixed: &'a [Fixed],
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    title: &'a str,
    /// `ok`, `found` or `unknown`.
    state: &'static str,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    findings: &'a [Finding],
}

#[derive(Debug, Serialize)]
struct Fixed {
    #[serde(flatten)]
    fix: Fix,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// Exit code 0 when nothing has to be done, 1 when something has.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let out = Output::new(args.json);
    let paths = args.root.paths();
    let look = || {
        let mut evidence = gather(&paths, args.offline);
        evidence.lists = Some(super::acl::notes(&paths));
        examine(&evidence)
    };
    let mut examined = look();
    let mut fixed = Vec::new();
    if args.fix {
        fixed = repair(&examined, &out);
        if !fixed.is_empty() {
            examined = look();
        }
    }
    let well = is_well(&examined);
    if out.is_json() {
        out.json(&Report {
            well,
            checks: examined.iter().map(row).collect(),
            fixed: &fixed,
        });
    } else {
        out.text(&text(&examined));
    }
    out.finish(if well { Exit::Ok } else { Exit::No })
}

fn repair(examined: &[Examined], out: &Output) -> Vec<Fixed> {
    let findings = examined.iter().filter_map(|one| one.answer.as_ref().ok());
    let fixes = findings
        .flatten()
        .filter_map(|finding| finding.fix.as_ref());
    fixes
        .map(|fix| {
            if !out.is_json() {
                out.text(&format!("fix: {fix}"));
            }
            let failed = mend(fix).err().map(|error| error.to_string());
            if let (Some(why), false) = (&failed, out.is_json()) {
                out.problem(&format!("this could not be done: {why}"), None);
            }
            Fixed {
                fix: fix.clone(),
                failed,
            }
        })
        .collect()
}

fn row(one: &Examined) -> Row<'_> {
    let (state, why, findings) = match &one.answer {
        Ok(found) if found.is_empty() => ("ok", None, &[][..]),
        Ok(found) => ("found", None, found.as_slice()),
        Err(why) => ("unknown", Some(why.as_str()), &[][..]),
    };
    Row {
        name: one.name,
        title: one.title,
        state,
        why,
        findings,
    }
}

/// A line for each check, what was found below it, and what it comes to.
fn text(examined: &[Examined]) -> String {
    let mut text = String::new();
    let mut counts = [0usize; 3];
    for one in examined {
        let state = match &one.answer {
            Ok(found) => match found.iter().map(|finding| finding.severity).max() {
                None => "ok",
                Some(severity) => word(severity),
            },
            Err(_) => "-",
        };
        text.push_str(&format!("{state:<8} {:<13} {}", one.name, one.title));
        if let Err(why) = &one.answer {
            text.push_str(&format!(": {why}"));
        }
        text.push('\n');
        for finding in one.answer.iter().flatten() {
            let place = match finding.severity {
                Severity::Error => 0,
                Severity::Warning => 1,
                Severity::Note => 2,
            };
            if let Some(count) = counts.get_mut(place) {
                *count += 1;
            }
            text.push_str(&format!(
                "  {}: {}\n    seen: {}\n    hint: {}\n",
                word(finding.severity),
                finding.issue,
                finding.evidence,
                finding.remedy
            ));
        }
    }
    let many = |count: usize, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    };
    let [errors, warnings, notes] = counts;
    text.push_str(&format!(
        "{}, {}, {}",
        many(errors, "error"),
        many(warnings, "warning"),
        many(notes, "note")
    ));
    text
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_read() {
        let finding = Finding {
            severity: Severity::Warning,
            issue: "the moon is in the way".to_owned(),
            evidence: "it is dark".to_owned(),
            remedy: "wait".to_owned(),
            fix: None,
        };
        let one = |name, answer| Examined {
            name,
            title: "what it is",
            answer,
        };
        let examined = [
            one("nat", Ok(Vec::new())),
            one("sky", Ok(vec![finding])),
            one("sea", Err("nobody was there".to_owned())),
        ];
        insta::assert_snapshot!(text(&examined), @r"
        ok       nat           what it is
        warning  sky           what it is
          warning: the moon is in the way
            seen: it is dark
            hint: wait
        -        sea           what it is: nobody was there
        0 errors, 1 warning, 0 notes
        ");
    }
}
