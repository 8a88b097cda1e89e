//! What the running PBX and the keeper of certificates say of themselves.
//!
//! Pure. Invariant: a PBX that does not answer is one finding, and not one for each question that it leaves open.

use super::evidence::Evidence;
use super::{Answer, Finding, Severity};

/// The most modules that are named.
const MOST: usize = 12;

pub fn runs(evidence: &Evidence) -> Answer {
    match (&evidence.pbx.answers, &evidence.no_init) {
        (None, _) => Err("it was not asked".to_owned()),
        (Some(Ok(())), _) => Ok(Vec::new()),
        (Some(Err(_)), Some(why)) => Err(why.clone()),
        (Some(Err(why)), None) => Ok(vec![Finding::new(
            Severity::Error,
            "the PBX does not answer",
            why.clone(),
            "`switchhook status` says how its service does, `switchhook logs asterisk` what it said last",
        )]),
    }
}

pub fn modules(evidence: &Evidence) -> Answer {
    let Some(modules) = &evidence.pbx.modules else {
        return Err("the PBX does not answer".to_owned());
    };
    let mut found = Vec::new();
    if !modules.wanted.is_empty() {
        found.push(Finding::new(
            Severity::Error,
            "a module that modules.conf names does not run",
            format!("modules.conf loads {}, which Asterisk does not show as running", list(&modules.wanted)),
            "look for its name in `switchhook logs asterisk`; the image may not have it (`full` and `xtra` have more), or it wants a configuration",
        ));
    }
    if !modules.absent.is_empty() {
        found.push(Finding::new(
            Severity::Warning,
            "modules of the image could not be loaded",
            format!("{} are installed and not loaded", list(&modules.absent)),
            "`switchhook logs asterisk` says why; what is not needed is best named by `noload =` in modules.conf",
        ));
    }
    if !modules.declined.is_empty() {
        found.push(Finding::new(
            Severity::Warning,
            "modules were loaded and do not run",
            format!("{} are not running", list(&modules.declined)),
            "mostly their configuration is missing or wrong: `switchhook logs asterisk`; what is not needed is best named by `noload =` in modules.conf",
        ));
    }
    Ok(found)
}

fn list(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    let rest = names.len().saturating_sub(MOST);
    match rest {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

pub fn tls(evidence: &Evidence) -> Answer {
    let tls = match (&evidence.tls, &evidence.no_init) {
        (None, _) => return Err("this image has no keeper of certificates".to_owned()),
        (Some(Err(_)), Some(why)) => return Err(why.clone()),
        (Some(Err(why)), None) => {
            return Ok(vec![Finding::new(
                Severity::Error,
                "the keeper of certificates does not answer",
                why.clone(),
                "`switchhook status certs` and `switchhook logs certs` say why",
            )]);
        }
        (Some(Ok(tls)), _) => tls,
    };
    let severity = match tls.is_critical {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let found = tls.problems.iter().map(|problem| {
        Finding::new(
            severity,
            "TLS is not well",
            problem.clone(),
            "`switchhook cert` shows every certificate and listener; `switchhook cert check` looks again",
        )
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::evidence::{Modules, Tls};

    #[test]
    fn a_pbx_that_is_down_is_told_once() {
        let mut evidence = Evidence::default();
        assert!(runs(&evidence).is_err());
        evidence.pbx.answers = Some(Err("nobody listens".to_owned()));
        assert_eq!(runs(&evidence).unwrap().len(), 1);
        assert!(modules(&evidence).is_err());
        // Where there is no exchange, nobody is missing.
        evidence.no_init = Some("no PID 1".to_owned());
        evidence.tls = Some(Err("no such file".to_owned()));
        assert!(runs(&evidence).unwrap_err().contains("no PID 1"));
        assert!(tls(&evidence).is_err());
        evidence.pbx.answers = Some(Ok(()));
        assert!(runs(&evidence).unwrap().is_empty());
    }

    #[test]
    fn modules_are_told_by_how_they_fail() {
        let mut evidence = Evidence::default();
        let many = |count: usize| (0..count).map(|n| format!("m{n}.so")).collect();
        evidence.pbx.modules = Some(Modules {
            wanted: many(1),
            absent: many(14),
            declined: many(2),
        });
        let found = modules(&evidence).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[1].evidence.contains("m11.so and 2 more"), "{found:?}");
        evidence.pbx.modules = Some(Modules::default());
        assert!(modules(&evidence).unwrap().is_empty());
    }

    #[test]
    fn the_keepers_problems_are_ours() {
        let mut evidence = Evidence::default();
        assert!(tls(&evidence).is_err());
        evidence.tls = Some(Ok(Tls {
            is_critical: true,
            problems: vec!["it has expired".to_owned()],
        }));
        let found = tls(&evidence).unwrap();
        assert_eq!(
            (found[0].severity, found[0].evidence.as_str()),
            (Severity::Error, "it has expired")
        );
        evidence.tls = Some(Err("refused".to_owned()));
        assert_eq!(tls(&evidence).unwrap().len(), 1);
    }
}
