//! `.timer` files to `TimerSpec` (systemd.timer(5), the subset of `directives`).
//!
//! Pure. Invariant: a spec says at least one moment.

use std::time::Duration;

use super::spec::{Finding, Severity};
use super::timer::TimerSpec;
use super::unit_file::{self, Assignment, Source};
use super::{calendar, value};

/// Reads the timer unit `name` (without suffix) from its file and drop-ins.
pub fn read(name: &str, sources: &[Source]) -> (Option<TimerSpec>, Vec<Finding>) {
    let (assignments, mut findings) = unit_file::collect(sources, &["Unit", "Timer", "Install"]);
    let mut spec = TimerSpec {
        name: name.to_owned(),
        service: name.to_owned(),
        calendars: Vec::new(),
        after_boot: Vec::new(),
        after_start: Vec::new(),
        after_end: Vec::new(),
        random_delay: Duration::ZERO,
        persistent: false,
    };
    for assignment in assignments.iter().filter(|a| a.section == "Timer") {
        if let Err(text) = assign(&mut spec, assignment) {
            findings.push(assignment.error(text));
        }
    }
    let says_no_moment = spec.calendars.is_empty()
        && [&spec.after_boot, &spec.after_start, &spec.after_end]
            .iter()
            .all(|spans| spans.is_empty());
    if says_no_moment && !findings.iter().any(|f| f.severity == Severity::Error) {
        findings.push(Finding {
            file: sources.first().map(|s| s.file.clone()).unwrap_or_default(),
            line: 0,
            severity: Severity::Error,
            text: "no `OnCalendar=` or other `On...=`: it is never due".to_owned(),
        });
    }
    let usable = !findings.iter().any(|f| f.severity == Severity::Error);
    (usable.then_some(spec), findings)
}

fn assign(spec: &mut TimerSpec, a: &Assignment) -> Result<(), String> {
    let text = value::specifiers(&a.value, &spec.name, ".timer")?;
    let text = text.as_str();
    match a.key.as_str() {
        // An empty assignment takes back every moment, as in systemd.
        key if key.starts_with("On") && text.is_empty() => {
            spec.calendars.clear();
            for spans in [
                &mut spec.after_boot,
                &mut spec.after_start,
                &mut spec.after_end,
            ] {
                spans.clear();
            }
        }
        "OnCalendar" => spec.calendars.push(calendar::parse(text)?),
        "OnBootSec" | "OnStartupSec" | "OnActiveSec" => spec.after_boot.push(span(text)?),
        "OnUnitActiveSec" => spec.after_start.push(span(text)?),
        "OnUnitInactiveSec" => spec.after_end.push(span(text)?),
        "RandomizedDelaySec" => spec.random_delay = span(text)?,
        "Persistent" => spec.persistent = value::boolean(text)?,
        "Unit" => {
            let Some(service) = text.strip_suffix(".service") else {
                return Err(format!(
                    "`{text}` is not a service; a timer starts nothing else"
                ));
            };
            spec.service = service.to_owned();
        }
        _ => {}
    }
    Ok(())
}

fn span(text: &str) -> Result<Duration, String> {
    value::time_span(text)?.ok_or_else(|| "`infinity` is never due".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(lines: &str) -> (Option<TimerSpec>, Vec<Finding>) {
        let source = Source {
            file: "x.timer".into(),
            text: format!("[Timer]\n{lines}"),
        };
        read("x", &[source])
    }

    #[test]
    fn moments_of_every_kind() {
        let (spec, _) = one(
            "OnCalendar=daily\nOnCalendar=Mon 03:00\nOnBootSec=1min\nOnUnitActiveSec=1h\n\
             RandomizedDelaySec=3600\nPersistent=yes\nUnit=y.service\n",
        );
        let spec = spec.unwrap();
        assert_eq!(spec.calendars.len(), 2);
        assert_eq!(spec.after_boot, [Duration::from_secs(60)]);
        assert_eq!(spec.random_delay, Duration::from_secs(3600));
        assert!(spec.persistent && spec.service == "y");
    }

    #[test]
    fn a_drop_in_takes_back_the_moments() {
        let (spec, _) = one("OnCalendar=daily\nOnCalendar=\nOnCalendar=weekly\n");
        assert_eq!(spec.unwrap().calendars.len(), 1);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (lines, wanted) in [
            (
                "OnCalendar=25:00\n",
                "x.timer:2: OnCalendar=: the hour `25` is not from 0 to 23",
            ),
            (
                "OnBootSec=infinity\n",
                "x.timer:2: OnBootSec=: `infinity` is never due",
            ),
            (
                "OnBootSec=1\nUnit=y.socket\n",
                "x.timer:3: Unit=: `y.socket` is not a service",
            ),
            ("Persistent=yes\n", "x.timer: no `OnCalendar=`"),
        ] {
            let (spec, findings) = one(lines);
            assert!(spec.is_none());
            let last = findings.last().unwrap().to_string();
            assert!(last.starts_with(wanted), "{last}");
        }
    }
}
