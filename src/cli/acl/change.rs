//! `acl add`, `acl remove` and `acl reload`: lock, read, plan, write; then reload and verify, for all who wait for it.
//!
//! Invariant: it is written and reloaded under one lock, that of acl.conf, also for a database: writers at once lose no rule, and
//! nothing is written between a reload and its proof.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::live::{self, Effect};
use super::shared;
use super::show::{ShownRule, find, rules};
use super::{AclError, SenseWord, World};
use crate::acl::consumers::Consumer;
use crate::acl::list::{List, Origin, Rule, Store};
use crate::acl::plan::{self, Change, PlanError};
use crate::acl::rule::Sense;
use crate::asterisk::conf::Document;
use crate::cli::output::{Exit, Output};
use crate::config::paths::Paths;
use crate::sys::file::{self, Lock, Owner};

/// How long other writers are waited for: each takes some tenths of a second.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
const NEW_FILE_MODE: u32 = 0o640;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct AddArgs {
    name: String,
    sense: SenseWord,
    /// [!]ADDRESS[/LENGTH|/NETMASK], several with commas between them
    rule: String,
    /// Put it before the rule of this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<usize>,
    /// Make the list, which is not there yet
    #[arg(long)]
    new: bool,
    /// Make the new list in the database
    #[arg(long, requires = "new")]
    database: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RemoveArgs {
    name: String,
    #[arg(requires = "rule")]
    sense: Option<SenseWord>,
    /// The rule as `acl show` shows it
    rule: Option<String>,
    /// Remove the rule of this number
    #[arg(long, value_name = "NUMBER", conflicts_with = "sense")]
    number: Option<usize>,
    /// Remove the whole list
    #[arg(long, conflicts_with_all = ["sense", "number"])]
    list: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What `add` and `remove` answer.
#[derive(Serialize)]
struct Changed<'a> {
    command: &'static str,
    name: &'a str,
    store: Store,
    effect: Effect,
    /// The rules as they are now; null where the list is gone.
    rules: Option<Vec<ShownRule<'a>>>,
}

/// What is to be done, and to which list.
struct Job<'a> {
    command: &'static str,
    name: &'a str,
    change: Change,
    new: bool,
    database: bool,
    dry_run: bool,
}

pub(super) fn add(paths: &Paths, args: &AddArgs, output: &Output) -> Result<Exit, AclError> {
    let job = Job {
        command: "add",
        name: &args.name,
        change: Change::Add {
            sense: args.sense.into(),
            rule: args.rule.clone(),
            before: args.before,
        },
        new: args.new,
        database: args.database,
        dry_run: args.dry_run,
    };
    let sense = Sense::from(args.sense);
    plan::check_rule(sense, &args.rule).map_err(AclError::No)?;
    if args.new {
        plan::check_name(&args.name).map_err(AclError::No)?;
    }
    run(paths, output, |_| Ok(job))
}

pub(super) fn remove(paths: &Paths, args: &RemoveArgs, output: &Output) -> Result<Exit, AclError> {
    run(paths, output, |world| {
        let change = match (args.number, args.sense, &args.rule) {
            _ if args.list => {
                in_use(world, &args.name)?;
                Change::RemoveList
            }
            (Some(number), ..) => Change::Remove { number },
            (None, Some(sense), Some(rule)) => {
                let list = find(world, &args.name)?;
                let list =
                    list.ok_or_else(|| AclError::No(PlanError::NoList(args.name.clone())))?;
                let sense = Sense::from(sense);
                let is_it = |known: &Rule| known.sense == sense && known.text == *rule;
                let Some(at) = list.rules.iter().position(is_it) else {
                    return Err(AclError::Refused {
                        problem: format!("`{}` has no rule `{sense} {rule}`", args.name),
                        hint: format!("`switchhook acl show {}` shows the rules", args.name),
                    });
                };
                Change::Remove { number: at + 1 }
            }
            _ => {
                return Err(AclError::Usage {
                    problem: "it is not said what to remove".to_owned(),
                    hint: "name a rule (`deny 192.0.2.0/24`), its `--number`, or say `--list` for all of it".to_owned(),
                });
            }
        };
        Ok(Job {
            command: "remove",
            name: &args.name,
            change,
            new: false,
            database: false,
            dry_run: args.dry_run,
        })
    })
}

/// Refuses to remove a list that somebody is held to.
fn in_use(world: &World, name: &str) -> Result<(), AclError> {
    let Some(user) = world.users(name).next() else {
        return Ok(());
    };
    let (words, file, line) = (user.words(), &user.file, user.line);
    Err(AclError::Refused {
        problem: format!(
            "{words} uses `{name}` ({file}:{line}), and a list that is not there keeps everybody out"
        ),
        hint: "take it out there first, and reload that part; or add a rule that lets in whom it shall".to_owned(),
    })
}

/// The lock of acl.conf.
pub(super) fn lock(paths: &Paths) -> Result<Lock, AclError> {
    let path = paths.asterisk_config().join(crate::acl::FILE);
    // Before the lock, which makes a file: it must not make one where no configuration is.
    if !paths.asterisk_config().is_dir() || !path.exists() {
        return Err(AclError::NoFile(path));
    }
    Ok(file::lock_beside(&path, LOCK_PATIENCE)?)
}

fn run<'a>(
    paths: &Paths,
    output: &Output,
    plan: impl FnOnce(&World) -> Result<Job<'a>, AclError>,
) -> Result<Exit, AclError> {
    let about_to_write = shared::about_to_write(paths);
    let lock = lock(paths)?;
    let world = World::look(paths);
    let job = plan(&world)?;
    world.safe_to_reload()?;
    let known = find(&world, job.name)?;
    if let (true, Some(list)) = (job.new, &known) {
        let count = many(list.rules.len());
        return Err(AclError::Refused {
            problem: format!("there is a list `{}` already, with {count}", job.name),
            hint: "without `--new` the rule is added to it".to_owned(),
        });
    }
    let store = match &known {
        Some(list) => {
            plan::check(list, &job.change).map_err(AclError::No)?;
            // Without rows there is no list.
            let is_last = matches!(job.change, Change::Remove { .. }) && list.rules.len() == 1;
            if is_last && list.store == Store::Database {
                in_use(&world, job.name)?;
            }
            list.store
        }
        None if job.new && job.database => Store::Database,
        None if job.new => Store::File,
        None => return Err(AclError::No(PlanError::NoList(job.name.to_owned()))),
    };
    let removed = match job.change {
        Change::Remove { number } => rule_of(known.as_ref(), number),
        Change::Add { .. } | Change::RemoveList => None,
    };
    match store {
        Store::File => change_file(&world, &job, known.as_ref())?,
        Store::Database => change_table(&world, &job, known.as_ref())?,
    }
    let world = match job.dry_run {
        true => world,
        false => World::look(paths),
    };
    let now = match job.dry_run {
        true => sketched(known, &job),
        false => find(&world, job.name)?,
    };
    let effect = match job.dry_run {
        true => Effect::DryRun,
        false => {
            let ticket = shared::note(paths, job.name);
            drop((lock, about_to_write));
            let consumers: Vec<&Consumer> = world.users(job.name).collect();
            shared::carry(paths, job.name, ticket, &consumers)?
        }
    };
    let gone = removed.as_deref();
    tell(output, &job, store, (now.as_ref(), gone), effect)
}

/// A rule as the command is told it.
fn rule_of(list: Option<&List>, number: usize) -> Option<String> {
    let rule = list?.rules.get(number.checked_sub(1)?)?;
    Some(format!("{} {}", rule.sense, rule.text))
}

/// The list as it would be.
fn sketched(known: Option<List>, job: &Job<'_>) -> Option<List> {
    let mut list = known.unwrap_or(List {
        name: job.name.to_owned(),
        store: match job.database {
            true => Store::Database,
            false => Store::File,
        },
        rules: Vec::new(),
    });
    match &job.change {
        Change::Add {
            sense,
            rule,
            before,
        } => {
            let origin = Origin::Database { rule_order: 0 };
            let rule = Rule::new(*sense, rule, origin).ok()?;
            let at = before.map_or(list.rules.len(), |number| number.saturating_sub(1));
            list.rules.insert(at.min(list.rules.len()), rule);
        }
        Change::Remove { number } => {
            list.rules.remove(number.saturating_sub(1));
        }
        Change::RemoveList => return None,
    }
    Some(list)
}

/// Changes the file in which the rule stands, or shall stand.
fn change_file(world: &World, job: &Job<'_>, known: Option<&List>) -> Result<(), AclError> {
    let number = match &job.change {
        Change::Add { before, .. } => *before,
        Change::Remove { number } => Some(*number),
        Change::RemoveList => None,
    };
    let rule = number.and_then(|number| known?.rules.get(number.checked_sub(1)?));
    let (path, line) = match rule.map(|rule| &rule.origin) {
        Some(Origin::File { file, line, .. }) => (PathBuf::from(file), Some(*line)),
        _ => (home_of(world, known, job.name)?, None),
    };
    let before = file::read_text(&path)?;
    let document = Document::parse(&before);
    let edited = match (&job.change, known) {
        (Change::Add { sense, rule, .. }, None) => plan::create(&document, job.name, *sense, rule),
        (change, _) => plan::edit(&document, job.name, change, line),
    };
    let edited = edited.map_err(|source| match source.is_no() {
        true => AclError::No(source),
        false => AclError::Plan {
            path: path.clone(),
            source,
        },
    })?;
    if job.dry_run {
        return Ok(());
    }
    let owner = Owner::Keep {
        new_file_mode: NEW_FILE_MODE,
    };
    let text = edited.to_string();
    file::write_atomic(&path, text.as_bytes(), owner)?;
    // Files that include each other can put a line elsewhere than it looks.
    let now = World::look(&world.paths);
    let wanted = sketched(known.cloned(), job);
    let is_so = now.of_file(job.name).map(written) == wanted.as_ref().map(written);
    if is_so && now.file.mistakes.is_empty() {
        return Ok(());
    }
    file::write_atomic(&path, before.as_bytes(), owner)?;
    Err(AclError::Refused {
        problem: format!(
            "the list `{}` is spread over files, so that the change would mean something else",
            job.name
        ),
        hint: "edit the files by hand, then `switchhook acl reload`".to_owned(),
    })
}

/// The rules as they are written, in order.
fn written(list: &List) -> Vec<(Sense, &str)> {
    let rules = list.rules.iter();
    rules.map(|rule| (rule.sense, rule.text.as_str())).collect()
}

/// The file in which a list goes on last; acl.conf for a new one.
fn home_of(world: &World, known: Option<&List>, name: &str) -> Result<PathBuf, AclError> {
    let last = known.and_then(|list| list.rules.last());
    if let Some(Origin::File {
        file,
        inherited: false,
        ..
    }) = last.map(|rule| &rule.origin)
        && !PathBuf::from(file).starts_with(world.paths.runtime())
    {
        return Ok(PathBuf::from(file));
    }
    let mut home = world.path();
    for path in &world.file.files {
        // What the daemon writes is nobody else's.
        if path.starts_with(world.paths.runtime()) {
            continue;
        }
        let document = Document::parse(&file::read_text(path)?);
        let mut sections = document.sections().filter(|section| !section.is_template());
        if sections.any(|section| section.name() == name) {
            home.clone_from(path);
        }
    }
    Ok(home)
}

#[cfg(feature = "services")]
fn change_table(world: &World, job: &Job<'_>, known: Option<&List>) -> Result<(), AclError> {
    let Some(mut table) = world.table(true)? else {
        return Err(AclError::Refused {
            problem: "there is no database of lists: extconfig.conf does not name one".to_owned(),
            hint: "docs/reference/acl.md shows the lines; without `--database` the list is made in acl.conf".to_owned(),
        });
    };
    if job.dry_run {
        return Ok(());
    }
    table.begin()?;
    let order = |number: usize| {
        let rule = number.checked_sub(1).and_then(|at| known?.rules.get(at));
        match rule.map(|rule| &rule.origin) {
            Some(Origin::Database { rule_order }) => Some(*rule_order),
            _ => None,
        }
    };
    // Somebody else than this command may have written meanwhile.
    let rows = table.rows(job.name)?;
    let changed = AclError::Refused {
        problem: format!("somebody else has just changed `{}`", job.name),
        hint: "look at it again".to_owned(),
    };
    let now =
        crate::acl::list::of_rows(&table.shown, job.name, &rows).map_err(AclError::Mistake)?;
    match &job.change {
        Change::Add {
            sense,
            rule,
            before,
        } => {
            if before.is_some() && now.as_ref() != known {
                return Err(changed);
            }
            table.add(job.name, (*sense, rule), before.and_then(order))?;
        }
        Change::Remove { number } => {
            if now.as_ref() != known {
                return Err(changed);
            }
            let mut sorted = rows.clone();
            sorted.sort_by_key(|row| row.rule_order);
            let row = number.checked_sub(1).and_then(|at| sorted.get(at));
            let Some(row) = row else {
                return Err(changed);
            };
            table.remove(job.name, Some(row))?;
        }
        Change::RemoveList => table.remove(job.name, None)?,
    }
    Ok(table.commit()?)
}

#[cfg(not(feature = "services"))]
fn change_table(world: &World, _: &Job<'_>, _: Option<&List>) -> Result<(), AclError> {
    world.of_database().map(|_| ())
}

/// `now` is the list as it is, or would be, and the rule that it has no more.
fn tell(
    output: &Output,
    job: &Job<'_>,
    store: Store,
    (now, gone): (Option<&List>, Option<&str>),
    effect: Effect,
) -> Result<Exit, AclError> {
    let exit = exit_of(&effect);
    let reason = match &effect {
        Effect::Unproved { reason } => Some(reason.clone()),
        _ => None,
    };
    if output.is_json() {
        output.json(&Changed {
            command: job.command,
            name: job.name,
            store,
            effect,
            rules: now.map(rules),
        });
    } else {
        let would = if job.dry_run { "would be " } else { "" };
        let (name, count) = (job.name, now.map_or(0, |list| list.rules.len()));
        let mut text = match &job.change {
            Change::Add {
                sense,
                rule,
                before,
            } => {
                let number = before.unwrap_or(count);
                format!("{would}added to {name}: {sense} {rule}, rule {number} of {count}\n")
            }
            Change::Remove { .. } => {
                let (gone, left) = (gone.unwrap_or("a rule"), many(count));
                format!("{would}removed from {name}: {gone}; it has {left}\n")
            }
            Change::RemoveList => format!("{would}removed: {name}\n"),
        };
        if now.is_some_and(|list| !list.denies_anybody()) {
            text.push_str("no rule of it denies anybody: it lets everybody in\n");
        }
        text.push_str(&match (&job.change, &effect) {
            (Change::RemoveList, Effect::Live { consumers }) if consumers.is_empty() => {
                "Asterisk has it no more\n".to_owned()
            }
            _ => told(&effect),
        });
        output.text(&text);
    }
    if let Some(reason) = reason {
        output.problem(
            &format!("it is written, but Asterisk has not taken it: {reason}"),
            Some("`switchhook acl reload` tries again, and Asterisk's log tells why not"),
        );
    }
    Ok(exit)
}

fn many(rules: usize) -> String {
    match rules {
        1 => "1 rule".to_owned(),
        rules => format!("{rules} rules"),
    }
}

fn exit_of(effect: &Effect) -> Exit {
    match effect {
        Effect::Unproved { .. } => Exit::Failed,
        Effect::Live { .. } | Effect::NextStart | Effect::DryRun => Exit::Ok,
    }
}

/// Who took it and what goes on.
fn told(effect: &Effect) -> String {
    let consumers = match effect {
        Effect::Live { consumers } => consumers,
        Effect::NextStart => {
            return "Asterisk does not run: this takes effect at the next start\n".to_owned();
        }
        Effect::DryRun | Effect::Unproved { .. } => return String::new(),
    };
    let mut text = String::new();
    for taken in consumers {
        let how = match taken.proven {
            true => "has it",
            false => "has not taken it",
        };
        text.push_str(&format!("{} {how}: {}\n", taken.words, taken.goes_on));
    }
    if consumers.is_empty() {
        text.push_str("Asterisk has it; nobody uses the list\n");
    }
    text
}

#[derive(Serialize)]
struct Reloaded {
    command: &'static str,
    lists: usize,
    effect: Effect,
}

/// Lets Asterisk take everything again.
pub(super) fn reload(paths: &Paths, output: &Output) -> Result<Exit, AclError> {
    let _lock = lock(paths)?;
    let world = World::look(paths);
    let needed = world.safe_to_reload()?;
    let kept = match world.of_database() {
        Ok(kept) => kept.unwrap_or_default().0,
        // Nobody in force is held to it, or it would have been refused above.
        Err(_) => Vec::new(),
    };
    let hidden = |list: &&List| world.of_file(&list.name).is_none();
    let lists: Vec<&List> = world
        .file
        .lists
        .iter()
        .chain(kept.iter().filter(hidden))
        .collect();
    let wanted: Vec<_> = lists
        .iter()
        .map(|list| (list.name.as_str(), Some(*list)))
        .collect();
    let consumers: Vec<&Consumer> = world.consumers.iter().collect();
    let done = live::apply(paths, &needed, &wanted, &consumers);
    shared::end(paths, done.is_ok());
    let effect = match done {
        Ok(()) => Effect::Live {
            consumers: live::taken(paths, &consumers),
        },
        Err(effect) => effect,
    };
    let exit = exit_of(&effect);
    if let Effect::Unproved { reason } = &effect {
        output.problem(
            &format!("Asterisk has not taken the lists: {reason}"),
            Some("Asterisk's log tells why not"),
        );
    }
    if output.is_json() {
        output.json(&Reloaded {
            command: "reload",
            lists: lists.len(),
            effect,
        });
    } else if exit == Exit::Ok {
        let count = lists.len();
        let lists = if count == 1 { "list" } else { "lists" };
        output.text(&format!("{count} {lists}\n{}", told(&effect)));
    }
    Ok(exit)
}
