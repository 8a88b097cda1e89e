//! What differs between two sets of units, in the words of the unit files.
//!
//! Pure. Invariant: values of `Environment=` never appear, for they may be secret; only their names do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::UnitSet;

/// What became of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Added,
    Removed,
    Changed,
}

/// One unit that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// With its suffix: `asterisk.service`.
    pub unit: String,
    pub kind: Kind,
    /// Empty unless `kind` is `Changed`.
    pub settings: Vec<Setting>,
}

/// One setting with its two values, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The directive, or what stands for it.
    pub name: String,
    pub old: String,
    pub new: String,
}

/// Every difference, in order of the units' names.
pub fn between(old: &UnitSet, new: &UnitSet) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(compare(&old.services, &new.services, "service"));
    changes.extend(compare(&old.sockets, &new.sockets, "socket"));
    changes.extend(compare(&old.timers, &new.timers, "timer"));
    changes.sort_by(|a, b| a.unit.cmp(&b.unit));
    changes
}

fn compare<T: Serialize>(old: &[T], new: &[T], suffix: &str) -> Vec<Change> {
    let fields = |unit: &T| match serde_json::to_value(unit) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let name = |fields: &serde_json::Map<String, Value>| {
        let name = fields.get("Name").and_then(Value::as_str);
        format!("{}.{suffix}", name.unwrap_or_default())
    };
    let old: Vec<_> = old.iter().map(fields).collect();
    let new: Vec<_> = new.iter().map(fields).collect();
    let mut changes = Vec::new();
    for before in &old {
        let unit = name(before);
        match new.iter().find(|after| name(after) == unit) {
            None => changes.push(Change {
                unit,
                kind: Kind::Removed,
                settings: Vec::new(),
            }),
            Some(after) if after != before => changes.push(Change {
                unit,
                kind: Kind::Changed,
                settings: settings(before, after),
            }),
            Some(_) => {}
        }
    }
    for after in &new {
        let unit = name(after);
        if !old.iter().any(|before| name(before) == unit) {
            changes.push(Change {
                unit,
                kind: Kind::Added,
                settings: Vec::new(),
            });
        }
    }
    changes
}

fn settings(
    before: &serde_json::Map<String, Value>,
    after: &serde_json::Map<String, Value>,
) -> Vec<Setting> {
    let null = Value::Null;
    let differs = |(name, new): (&String, &Value)| {
        let old = before.get(name).unwrap_or(&null);
        (old != new).then(|| Setting {
            name: name.clone(),
            old: text(name, old),
            new: text(name, new),
        })
    };
    after.iter().filter_map(differs).collect()
}

/// A value for people: durations in seconds, lists with blanks, nothing of what variables hold.
fn text(name: &str, value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) if name == "Environment" => {
            let names = items.iter().filter_map(|pair| pair.get(0)?.as_str());
            names.collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => {
            let texts = items.iter().map(|item| text(name, item));
            texts.collect::<Vec<_>>().join(" ")
        }
        Value::Object(fields) => {
            if let (Some(secs), Some(nanos)) = (fields.get("secs"), fields.get("nanos")) {
                let seconds =
                    secs.as_f64().unwrap_or_default() + nanos.as_f64().unwrap_or_default() / 1e9;
                return format!("{seconds} s");
            }
            let texts = fields.iter().map(|(key, field)| match name {
                "X-Probe" => format!("{key} {}", text(name, field)),
                _ => text(name, field),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::service_file;
    use crate::units::unit_file::Source;

    fn set(units: &[(&str, &str)]) -> UnitSet {
        let read = |(name, text): &(&str, &str)| {
            let source = Source {
                file: (*name).to_owned(),
                text: (*text).to_owned(),
            };
            service_file::read(name, &[source]).0.unwrap()
        };
        UnitSet {
            services: units.iter().map(read).collect(),
            ..UnitSet::default()
        }
    }

    #[test]
    fn the_same_units_differ_in_nothing() {
        let one = set(&[("a", "[Service]\nExecStart=/bin/a\n")]);
        assert_eq!(between(&one, &one.clone()), []);
    }

    #[test]
    fn a_changed_setting_is_told_by_its_directive() {
        let old = set(&[("a", "[Service]\nExecStart=/bin/a\nRestart=no\n")]);
        let new = set(&[(
            "a",
            "[Service]\nExecStart=/bin/a -v\nRestart=always\nRestartSec=1500ms\nX-Probe=unix:/a\n",
        )]);
        let changes = between(&old, &new);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].unit, "a.service");
        let told: Vec<String> = changes[0]
            .settings
            .iter()
            .map(|s| format!("{}: {} -> {}", s.name, s.old, s.new))
            .collect();
        assert_eq!(
            told,
            [
                "ExecStart: /bin/a -> /bin/a -v",
                "Restart: No -> Always",
                "RestartSec: unset -> 1.5 s",
                "X-Probe: unset -> command  failures 3 interval 10 s path /a"
            ]
        );
    }

    #[test]
    fn units_come_and_go() {
        let old = set(&[("a", "[Service]\nExecStart=/bin/a\n")]);
        let new = set(&[("b", "[Service]\nExecStart=/bin/b\n")]);
        let kinds: Vec<(String, Kind)> = between(&old, &new)
            .into_iter()
            .map(|change| (change.unit, change.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("a.service".to_owned(), Kind::Removed),
                ("b.service".to_owned(), Kind::Added)
            ]
        );
    }

    #[test]
    fn what_a_variable_holds_is_not_told() {
        let old = set(&[("a", "[Service]\nExecStart=/bin/a\nEnvironment=PASS=one\n")]);
        let new = set(&[("a", "[Service]\nExecStart=/bin/a\nEnvironment=PASS=two\n")]);
        let text = format!("{:?}", between(&old, &new));
        assert!(text.contains("PASS"), "{text}");
        assert!(!text.contains("one") && !text.contains("two"), "{text}");
    }
}
