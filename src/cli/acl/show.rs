//! What `acl list`, `acl show` and `acl test` say.

use std::net::IpAddr;

use serde::Serialize;

use super::live::in_force;
use super::{AclError, World};
use crate::acl::consumers::Consumer;
use crate::acl::list::{List, Mistake, Origin, Store, names};
use crate::acl::plan::PlanError;
use crate::acl::rule::Sense;
use crate::cli::output::{Exit, Output};

#[derive(Serialize)]
struct Lists<'a> {
    command: &'static str,
    lists: Vec<Line<'a>>,
    mistakes: &'a [Mistake],
    /// Why the lists of the database are not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    database_error: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    store: Store,
    rules: usize,
    users: usize,
}

/// Exit code 0; 78 where a file or row has a mistake, 2 where the database does not answer.
pub(super) fn list(world: &World, output: &Output) -> Result<Exit, AclError> {
    let (kept, database_error) = match world.of_database() {
        Ok(kept) => (kept.unwrap_or_default(), None),
        Err(error) => (Default::default(), Some(error)),
    };
    let hidden = |list: &&List| world.of_file(&list.name).is_none();
    let all = world.file.lists.iter().chain(kept.0.iter().filter(hidden));
    let lines: Vec<Line<'_>> = all
        .map(|list| Line {
            name: &list.name,
            store: list.store,
            rules: list.rules.len(),
            users: world.users(&list.name).count(),
        })
        .collect();
    let mistakes: Vec<Mistake> = world.file.mistakes.iter().chain(&kept.1).cloned().collect();
    if output.is_json() {
        output.json(&Lists {
            command: "list",
            lists: lines,
            mistakes: &mistakes,
            database_error: database_error.as_ref().map(ToString::to_string),
        });
    } else if lines.is_empty() {
        output.text("no lists; `switchhook acl add NAME deny 0.0.0.0/0,::/0 --new` begins one");
    } else {
        output.text(&table(&lines));
    }
    for mistake in &mistakes {
        output.problem(&mistake.to_string(), Some(&mistake.hint));
    }
    if let Some(error) = database_error {
        return Err(error);
    }
    Ok(match mistakes.is_empty() {
        true => Exit::Ok,
        false => Exit::Configuration,
    })
}

fn table(lines: &[Line<'_>]) -> String {
    let widest = lines.iter().map(|line| line.name.chars().count()).max();
    let width = widest.unwrap_or(0).max(4);
    let mut text = format!("{:width$}  KEPT IN   RULES  USED BY\n", "NAME");
    for line in lines {
        let store = match line.store {
            Store::File => "acl.conf",
            Store::Database => "database",
        };
        let users = match line.users {
            0 => "nobody".to_owned(),
            users => users.to_string(),
        };
        let (name, rules) = (line.name, line.rules);
        text.push_str(&format!("{name:width$}  {store}  {rules:>5}  {users}\n"));
    }
    text
}

#[derive(Serialize)]
struct Shown<'a> {
    command: &'static str,
    name: &'a str,
    store: Store,
    rules: Vec<ShownRule<'a>>,
    used_by: Vec<&'a Consumer>,
    /// Whether Asterisk shows the list as it is written; null where it does not run.
    in_force: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct ShownRule<'a> {
    number: usize,
    sense: Sense,
    rule: &'a str,
    #[serde(flatten)]
    origin: &'a Origin,
}

pub(super) fn rules(list: &List) -> Vec<ShownRule<'_>> {
    let rules = list.rules.iter().enumerate();
    rules
        .map(|(at, rule)| ShownRule {
            number: at + 1,
            sense: rule.sense,
            rule: &rule.text,
            origin: &rule.origin,
        })
        .collect()
}

/// The list of that name, wherever it is.
pub(super) fn find(world: &World, name: &str) -> Result<Option<List>, AclError> {
    if let Some(list) = world.of_file(name) {
        return Ok(Some(list.clone()));
    }
    let Some((lists, mistakes)) = world.of_database()? else {
        return Ok(None);
    };
    if let Some(mistake) = mistakes.into_iter().find(|mistake| mistake.list == name) {
        return Err(AclError::Mistake(mistake));
    }
    Ok(lists.into_iter().find(|list| list.name == name))
}

pub(super) fn show(world: &World, name: &str, output: &Output) -> Result<Exit, AclError> {
    world.sound()?;
    let list = find(world, name)?;
    let list = list.ok_or_else(|| AclError::No(PlanError::NoList(name.to_owned())))?;
    let used_by: Vec<&Consumer> = world.users(name).collect();
    let in_force = in_force(&world.paths, &list);
    if output.is_json() {
        output.json(&Shown {
            command: "show",
            name: &list.name,
            store: list.store,
            rules: rules(&list),
            used_by,
            in_force,
        });
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    for (at, rule) in list.rules.iter().enumerate() {
        let (number, sense, written) = (at + 1, rule.sense.word(), &rule.text);
        text.push_str(&format!(
            "{number:>4}  {sense:6}  {written:30}  {}\n",
            place(&rule.origin)
        ));
    }
    if list.rules.is_empty() {
        text.push_str("no rules: it lets everybody in\n");
    } else if !list.denies_anybody() {
        text.push_str("no rule denies anybody: who matches none is let in\n");
    }
    for consumer in &used_by {
        let (file, line) = (&consumer.file, consumer.line);
        text.push_str(&format!("used by {}  {file}:{line}\n", consumer.words()));
    }
    if used_by.is_empty() {
        text.push_str("used by nobody\n");
    }
    text.push_str(match in_force {
        Some(true) => "Asterisk has it as it is written\n",
        Some(false) => "Asterisk has it otherwise: `switchhook acl reload` lets it take this\n",
        None => "Asterisk does not run, or does not answer\n",
    });
    output.text(&text);
    Ok(Exit::Ok)
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::File {
            file,
            line,
            inherited,
            ..
        } => {
            let from = if *inherited { ", of a template" } else { "" };
            format!("{file}:{line}{from}")
        }
        Origin::Database { rule_order } => format!("rule_order {rule_order}"),
    }
}

#[derive(Serialize)]
struct Tested<'a> {
    command: &'static str,
    address: IpAddr,
    verdict: Sense,
    lists: Vec<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    name: &'a str,
    verdict: Sense,
    /// It is not there, and so keeps everybody out.
    undefined: bool,
    /// The number of the rule that decided, from 1.
    number: Option<usize>,
    sense: Option<Sense>,
    rule: Option<String>,
}

/// Exit code 0 when all let in, 1 when one does not.
pub(super) fn test(
    world: &World,
    address: IpAddr,
    asked: &str,
    output: &Output,
) -> Result<Exit, AclError> {
    world.sound()?;
    let mut judged = Vec::new();
    for name in names(asked) {
        let Some(list) = find(world, name)? else {
            judged.push(Judged {
                name,
                verdict: Sense::Deny,
                undefined: true,
                number: None,
                sense: None,
                rule: None,
            });
            continue;
        };
        let decision = list.decide(address);
        judged.push(Judged {
            name,
            verdict: decision.sense,
            undefined: false,
            number: decision.by.map(|(number, _)| number),
            sense: decision.by.map(|(_, rule)| rule.sense),
            rule: decision.by.map(|(_, rule)| rule.text.clone()),
        });
    }
    if judged.is_empty() {
        return Err(AclError::Usage {
            problem: "no list is named".to_owned(),
            hint: "`switchhook acl list` shows the lists".to_owned(),
        });
    }
    let keeps_out = |judged: &Judged<'_>| judged.verdict == Sense::Deny;
    let verdict = match judged.iter().any(keeps_out) {
        true => Sense::Deny,
        false => Sense::Permit,
    };
    if output.is_json() {
        output.json(&Tested {
            command: "test",
            address,
            verdict,
            lists: judged,
        });
    } else {
        let mut text = format!("{verdict}\n");
        for judged in &judged {
            let why = match (judged.number, judged.sense, &judged.rule) {
                (Some(number), Some(sense), Some(rule)) => format!("rule {number}, {sense} {rule}"),
                _ if judged.undefined => "is not there, which keeps everybody out".to_owned(),
                _ => "no rule matches".to_owned(),
            };
            let (name, verdict) = (judged.name, judged.verdict);
            text.push_str(&format!("{name}: {verdict}, {why}\n"));
        }
        output.text(&text);
    }
    Ok(match verdict {
        Sense::Permit => Exit::Ok,
        Sense::Deny => Exit::No,
    })
}
