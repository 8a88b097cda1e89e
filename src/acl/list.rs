//! A named list: its rules in order, and what they decide.
//!
//! Pure. As Asterisk does it (main/acl.c, main/named_acl.c, checked against 22.10.1): each rule is asked, the last one that
//! matches decides, and who matches none is let in. Of several lists each must let in; one that is not there keeps everybody out.
//! Invariant: a list that Asterisk would not take is never returned as one; it is a mistake with its place.

use std::net::IpAddr;

use serde::Serialize;

use super::rule::{self, BadRule, Clause, Sense};
use crate::asterisk::conf::FullSection;

/// The longest name that Asterisk tells apart (`ACL_NAME_LENGTH` less its end).
pub const LONGEST_NAME: usize = 79;

/// Where lists are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// acl.conf and what it includes.
    File,
    /// The table of `acls` in extconfig.conf.
    Database,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "store", rename_all = "snake_case")]
pub enum Origin {
    File {
        file: String,
        /// From 1.
        line: usize,
        /// A template gave it.
        inherited: bool,
        /// It was put together of several lines by `+=`.
        joined: bool,
    },
    Database {
        rule_order: i64,
    },
}

/// One rule as it is written, with what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub sense: Sense,
    pub text: String,
    pub origin: Origin,
    pub clauses: Vec<Clause>,
}

/// A list that Asterisk takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    pub name: String,
    pub store: Store,
    pub rules: Vec<Rule>,
}

/// What keeps Asterisk from taking a list: in acl.conf the whole file, in a database that list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Mistake {
    /// `file:line`, or the row.
    pub place: String,
    /// The list that it is in.
    pub list: String,
    pub problem: String,
    pub hint: String,
}

/// What a list says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    pub sense: Sense,
    /// The rule that decided and its number, from 1; none where no rule matched.
    pub by: Option<(usize, &'a Rule)>,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub rule_order: i64,
    pub sense: String,
    pub rule: String,
}

impl List {
    #[must_use]
    pub fn decide(&self, address: IpAddr) -> Decision<'_> {
        let mut decision = Decision {
            sense: Sense::Permit,
            by: None,
        };
        for (at, rule) in self.rules.iter().enumerate() {
            for clause in rule.clauses.iter().filter(|clause| clause.matches(address)) {
                decision = Decision {
                    sense: clause.sense,
                    by: Some((at + 1, rule)),
                };
            }
        }
        decision
    }

    /// Whether somebody is kept out at all.
    #[must_use]
    pub fn denies_anybody(&self) -> bool {
        let mut clauses = self.rules.iter().flat_map(|rule| &rule.clauses);
        clauses.any(|clause| clause.sense == Sense::Deny)
    }

    /// As Asterisk's `acl show NAME` prints the rules, without their numbers.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let clauses = self.rules.iter().flat_map(|rule| &rule.clauses);
        clauses
            .map(|clause| {
                let word = match clause.sense {
                    Sense::Permit => "allow",
                    Sense::Deny => "deny",
                };
                format!("{word} - {}", clause.shown())
            })
            .collect()
    }
}

impl Rule {
    /// # Errors
    /// If Asterisk would not take it.
    pub fn new(sense: Sense, text: &str, origin: Origin) -> Result<Rule, BadRule> {
        Ok(Rule {
            sense,
            text: text.to_owned(),
            origin,
            clauses: rule::parse(sense, text)?,
        })
    }
}

/// The lists of acl.conf. `origin` says where a line of the text that they were read from really stands.
///
/// With a mistake Asterisk takes nothing of the file: what it had before stays in force, and after a start it has no list at all.
#[must_use]
pub fn of_file(
    sections: &[FullSection],
    origin: impl Fn(usize) -> (String, usize),
) -> (Vec<List>, Vec<Mistake>) {
    let mut lists: Vec<List> = Vec::new();
    let mut mistakes = Vec::new();
    let objects = sections.iter().filter(|section| !section.template);
    for section in objects.filter(|section| section.name != "general") {
        // A second section of that very name goes on with the list.
        let known = lists.iter().position(|list| list.name == section.name);
        let at = known.unwrap_or(lists.len());
        if known.is_none() {
            lists.push(List {
                name: section.name.clone(),
                store: Store::File,
                rules: Vec::new(),
            });
        }
        for entry in &section.entries {
            let (file, line) = origin(entry.line);
            let mut wrong = |problem: String, hint: &str| {
                mistakes.push(Mistake {
                    place: format!("{file}:{line}"),
                    list: section.name.clone(),
                    problem,
                    hint: hint.to_owned(),
                });
            };
            let sense = match entry.key.to_ascii_lowercase().as_str() {
                "permit" => Sense::Permit,
                "deny" => Sense::Deny,
                _ => {
                    let key = entry.key.escape_debug();
                    wrong(
                        format!("`{key}` is no key of a list"),
                        "a list has the keys permit and deny only",
                    );
                    continue;
                }
            };
            let place = Origin::File {
                file: file.clone(),
                line,
                inherited: entry.inherited,
                joined: entry.joined,
            };
            match Rule::new(sense, &entry.value, place) {
                Ok(rule) => {
                    if let Some(list) = lists.get_mut(at) {
                        list.rules.push(rule);
                    }
                }
                Err(error) => wrong(error.to_string(), error.hint),
            }
        }
    }
    (lists, mistakes)
}

/// A list of the database; `None` where no row has its name: for Asterisk it is not there then.
///
/// # Errors
/// With the first row that Asterisk would not take; the list counts as not there then.
pub fn of_rows(table: &str, name: &str, rows: &[Row]) -> Result<Option<List>, Mistake> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| row.rule_order);
    let mut rules = Vec::new();
    for row in sorted {
        let origin = Origin::Database {
            rule_order: row.rule_order,
        };
        let rule = Rule::new(Sense::of(&row.sense), &row.rule, origin);
        rules.push(rule.map_err(|error| Mistake {
            place: format!("{table}, rule_order {}", row.rule_order),
            list: name.to_owned(),
            problem: error.to_string(),
            hint: error.hint.to_owned(),
        })?);
    }
    Ok((!rules.is_empty()).then(|| List {
        name: name.to_owned(),
        store: Store::Database,
        rules,
    }))
}

/// A rule as Asterisk's `acl show` prints it, without its number, in the spelling of [`List::shown`]: the C library writes
/// `::a00:1` as `::10.0.0.1`.
#[must_use]
pub fn respelt(shown: &str) -> String {
    let parsed = || {
        let (sense, rest) = shown.split_once(" - ")?;
        let (address, mask) = rest.split_once('/')?;
        let (address, mask): (IpAddr, IpAddr) = (address.parse().ok()?, mask.parse().ok()?);
        Some(format!("{} - {address}/{mask}", sense.trim()))
    };
    parsed().unwrap_or_else(|| shown.trim().to_owned())
}

/// The names of a comma list, as consumers give it.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asterisk::conf::Document;

    fn read(text: &str) -> (Vec<List>, Vec<Mistake>) {
        let sections = Document::parse(text).full_sections();
        of_file(&sections, |line| ("acl.conf".to_owned(), line))
    }

    fn decide(text: &str, address: &str) -> (Sense, Option<usize>) {
        let (lists, mistakes) = read(text);
        assert_eq!(mistakes, []);
        let decision = lists[0].decide(address.parse().unwrap());
        (decision.sense, decision.by.map(|(number, _)| number))
    }

    #[test]
    fn the_last_match_decides_and_the_default_is_to_let_in() {
        let text = "[a]\ndeny=0.0.0.0/0\npermit=10.0.0.0/8,!10.1.0.0/16\n";
        assert_eq!(decide(text, "10.2.0.1"), (Sense::Permit, Some(2)));
        assert_eq!(decide(text, "10.1.0.1"), (Sense::Deny, Some(2)));
        assert_eq!(decide(text, "192.0.2.1"), (Sense::Deny, Some(1)));
        assert_eq!(decide(text, "2001:db8::1"), (Sense::Permit, None));
        assert_eq!(decide("[a]\n", "10.2.0.1"), (Sense::Permit, None));
        let text = "[a]\npermit=10.0.0.0/8\ndeny=0.0.0.0/0\n";
        assert_eq!(decide(text, "10.2.0.1"), (Sense::Deny, Some(2)));
    }

    #[test]
    fn templates_are_no_lists_and_their_rules_come_first() {
        let text = "[base](!)\ndeny=0.0.0.0/0\n[general]\nx=1\n[a](base)\npermit=10.0.0.1\n[a]\npermit=10.0.0.2\n[A]\n";
        let (lists, mistakes) = read(text);
        assert_eq!(mistakes, []);
        let names: Vec<_> = lists.iter().map(|list| list.name.as_str()).collect();
        assert_eq!(names, ["a", "A"]);
        assert_eq!(
            lists[0].shown(),
            [
                "deny - 0.0.0.0/0.0.0.0",
                "allow - 10.0.0.1/255.255.255.255",
                "allow - 10.0.0.2/255.255.255.255"
            ]
        );
    }

    #[test]
    fn what_asterisk_prints_is_compared_as_addresses() {
        assert_eq!(respelt(" deny - ::10.0.0.1/::"), "deny - ::a00:1/::");
        assert_eq!(
            respelt("allow - 10.0.0.0/255.0.0.0"),
            "allow - 10.0.0.0/255.0.0.0"
        );
    }

    #[test]
    fn mistakes_have_their_place() {
        let (_, mistakes) = read("[a]\nallow=1.2.3.4\npermit=office\n");
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "acl.conf:2: `allow` is no key of a list",
                "acl.conf:3: `office` is no address: names and ports are not taken"
            ]
        );
    }

    #[test]
    fn rows_are_sorted_and_one_bad_row_costs_the_list() {
        let row = |rule_order, sense: &str, rule: &str| Row {
            rule_order,
            sense: sense.to_owned(),
            rule: rule.to_owned(),
        };
        let rows = [row(2, "Permit", "10.0.0.0/8"), row(1, "deny", "0.0.0.0/0")];
        let list = of_rows("acls", "a", &rows).unwrap().unwrap();
        assert_eq!(
            list.shown(),
            ["deny - 0.0.0.0/0.0.0.0", "allow - 10.0.0.0/255.0.0.0"]
        );
        assert_eq!(of_rows("acls", "a", &[]), Ok(None));
        let error = of_rows("acls", "a", &[row(1, "deny", "x")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "acls, rule_order 1: `x` is no address: names and ports are not taken"
        );
    }
}
