//! `switchhook acl`: Asterisk's named lists, shown, tried, changed and reloaded, in acl.conf and in a database.
//!
//! The decisions are in `crate::acl`; this room reads, locks, writes, reloads and tells.
//! Invariant: a reload is asked for only while every list in use can be read, for a list that Asterisk cannot find keeps
//! everybody out; until then the lists that it has stay in force.

mod change;
mod live;
mod shared;
mod show;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use thiserror::Error;

use super::output::{Exit, Output};
use crate::acl::consumers::Consumer;
use crate::acl::list::{List, Mistake};
use crate::acl::mapping::{BadMapping, Mapping};
use crate::acl::plan::PlanError;
use crate::acl::review::{Known, Note, review};
use crate::acl::rule::Sense;
use crate::acl::store::{self, FileLists, StoreError};
use crate::config::paths::Paths;
use crate::config::pbx::Pbx;
use crate::sys::file::FileError;
use crate::units::spec::{Finding, Severity};

/// Arguments of `switchhook acl`.
#[derive(Debug, Args)]
pub struct AclArgs {
    /// Print JSON (schema 1)
    #[arg(long, global = true)]
    json: bool,
    /// Look for all files below this directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    root: PathBuf,
    #[command(subcommand)]
    command: AclCommand,
}

#[derive(Debug, Subcommand)]
enum AclCommand {
    /// List the lists, where they are and how many use them
    List,
    /// Show the rules of a list with their numbers, and who uses it
    Show { name: String },
    /// Add a rule to a list, behind the others
    Add(change::AddArgs),
    /// Remove a rule from a list, or the whole list
    Remove(change::RemoveArgs),
    /// Say whether lists let an address in, and by which rule: exit code 0 or 1
    Test {
        address: IpAddr,
        /// One list, or several with commas between them: each must let in
        #[arg(value_name = "NAME[,NAME...]")]
        names: String,
    },
    /// Let Asterisk and its parts take the lists again, and see that they did
    Reload,
}

/// The word for what a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SenseWord {
    Permit,
    Deny,
}

impl From<SenseWord> for Sense {
    fn from(word: SenseWord) -> Sense {
        match word {
            SenseWord::Permit => Sense::Permit,
            SenseWord::Deny => Sense::Deny,
        }
    }
}

/// Whatever ends the command early.
#[derive(Debug, Error)]
enum AclError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Mapping(#[from] BadMapping),
    #[error(transparent)]
    No(PlanError),
    #[error("cannot change `{}`", path.display())]
    Plan { path: PathBuf, source: PlanError },
    #[error("{0}; Asterisk keeps the lists that it has")]
    Mistake(Mistake),
    #[error("there is no `{}`", .0.display())]
    NoFile(PathBuf),
    #[error("{problem}")]
    Refused { problem: String, hint: String },
    #[error("{problem}")]
    Usage { problem: String, hint: String },
}

impl AclError {
    fn exit(&self) -> Exit {
        match self {
            Self::File(error) if error.is_not_found() => Exit::Configuration,
            Self::File(
                FileError::NotText { .. }
                | FileError::TooLarge { .. }
                | FileError::NotRegular { .. },
            )
            | Self::Mapping(_)
            | Self::Plan { .. }
            | Self::Mistake(_)
            | Self::NoFile(_) => Exit::Configuration,
            Self::Store(error) if error.is_configuration => Exit::Configuration,
            Self::File(_) | Self::Store(_) => Exit::Failed,
            Self::No(PlanError::BadRule(_) | PlanError::BadName(_)) | Self::Usage { .. } => {
                Exit::Usage
            }
            Self::No(_) | Self::Refused { .. } => Exit::No,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint().map(str::to_owned),
            Self::Store(error) => Some(error.hint.clone()),
            Self::Mapping(error) => Some(error.hint.clone()),
            Self::No(error) | Self::Plan { source: error, .. } => Some(error.hint()),
            Self::Mistake(mistake) => Some(mistake.hint.clone()),
            Self::NoFile(_) => {
                Some("start the appliance once to seed its configuration, or give `--root`".into())
            }
            Self::Refused { hint, .. } | Self::Usage { hint, .. } => Some(hint.clone()),
        }
    }
}

/// The lists of a database, and what keeps others of it from being one.
type Kept = (Vec<List>, Vec<Mistake>);

/// Everything that there is to know before anything is done.
struct World {
    paths: Paths,
    file: FileLists,
    consumers: Vec<Consumer>,
    mapping: Result<Option<Mapping>, BadMapping>,
}

impl World {
    fn look(paths: &Paths) -> World {
        World {
            paths: paths.clone(),
            file: store::file_lists(paths),
            consumers: store::consumers(paths),
            mapping: store::mapping(paths),
        }
    }

    /// The main file of the lists.
    fn path(&self) -> PathBuf {
        self.paths.asterisk_config().join(crate::acl::FILE)
    }

    fn of_file(&self, name: &str) -> Option<&List> {
        self.file.lists.iter().find(|list| list.name == name)
    }

    /// Refuses to go on with a file of which Asterisk takes nothing.
    fn sound(&self) -> Result<(), AclError> {
        match self.file.mistakes.first() {
            Some(mistake) => Err(AclError::Mistake(mistake.clone())),
            None => Ok(()),
        }
    }

    /// Who uses a list.
    fn users<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Consumer> {
        let consumers = self.consumers.iter();
        consumers.filter(move |consumer| consumer.uses(name))
    }

    /// The names in use that only a database can have.
    fn wanted_of_database(&self) -> Vec<&str> {
        let names = self.consumers.iter().flat_map(|consumer| &consumer.lists);
        let mut names: Vec<&str> = names
            .map(String::as_str)
            .filter(|name| self.of_file(name).is_none())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The table of the lists, if there is one.
    #[cfg(feature = "services")]
    fn table(&self, to_write: bool) -> Result<Option<store::Table>, AclError> {
        let mapping = self.mapping.as_ref().map_err(|error| error.clone())?;
        let Some(mapping) = mapping else {
            return Ok(None);
        };
        Ok(Some(store::Table::open(&self.paths, mapping, to_write)?))
    }

    /// All lists of the database; those with a mistake are left out and told beside them.
    #[cfg(feature = "services")]
    fn of_database(&self) -> Result<Option<Kept>, AclError> {
        let Some(mut table) = self.table(false)? else {
            return Ok(None);
        };
        let (mut lists, mut mistakes) = (Vec::new(), Vec::new());
        for name in table.names()? {
            match table.list(&name)? {
                Ok(list) => lists.extend(list),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        Ok(Some((lists, mistakes)))
    }

    /// This program speaks no database.
    #[cfg(not(feature = "services"))]
    fn of_database(&self) -> Result<Option<Kept>, AclError> {
        match &self.mapping {
            Ok(None) => Ok(None),
            Ok(Some(_)) => Err(AclError::Refused {
                problem: "this image speaks no database".to_owned(),
                hint: "the image base and the larger ones do".to_owned(),
            }),
            Err(error) => Err(error.clone().into()),
        }
    }

    /// The lists of the database that are in use, when a reload leaves nobody out who is let in now: a list that Asterisk
    /// does not find keeps everybody out.
    fn safe_to_reload(&self) -> Result<Vec<List>, AclError> {
        self.sound()?;
        let wanted = self.wanted_of_database();
        if wanted.is_empty() || matches!(self.mapping, Ok(None)) {
            return Ok(Vec::new());
        }
        let Some((lists, mistakes)) = self.of_database()? else {
            return Ok(Vec::new());
        };
        let in_use = |mistake: &&Mistake| wanted.contains(&mistake.list.as_str());
        if let Some(mistake) = mistakes.iter().find(in_use) {
            return Err(AclError::Mistake(mistake.clone()));
        }
        let lists = lists.into_iter();
        Ok(lists
            .filter(|list| wanted.contains(&list.name.as_str()))
            .collect())
    }
}

/// What `switchhook verify` tells of the lists.
pub fn findings(paths: &Paths) -> Vec<Finding> {
    let told = notes(paths).into_iter().map(|told| Finding {
        file: told.file,
        line: told.line,
        severity: Severity::Ignored,
        text: told.text,
    });
    told.collect()
}

/// What is amiss with the lists; nothing where no acl.conf is.
pub fn notes(paths: &Paths) -> Vec<Note> {
    let world = World::look(paths);
    let file = world.path().display().to_string();
    if world.file.files.is_empty() {
        return Vec::new();
    }
    let note = |text| Note {
        file: file.clone(),
        line: 0,
        text,
        is_trouble: true,
    };
    let mut notes = Vec::new();
    let kept = world.of_database();
    let database = match &kept {
        Ok(None) => Known::None,
        Ok(Some((lists, mistakes))) => {
            notes.extend(mistakes.iter().map(|mistake| {
                let (list, mistake) = (&mistake.list, mistake.to_string());
                let text =
                    format!("{mistake}: the list `{list}` keeps everybody out at the next reload");
                note(text)
            }));
            Known::Lists(lists)
        }
        Err(error) => {
            let text = format!("the lists of the database are not known: {error}");
            notes.push(note(text));
            Known::Unknown
        }
    };
    notes.extend(review(
        &file,
        &world.file.lists,
        &world.file.mistakes,
        database,
        &world.consumers,
    ));
    notes
}

/// Runs the command. Exit codes: 0 done, or let in; 1 no, or kept out; 2 failed; 64 usage; 78 configuration.
#[must_use]
pub fn run(args: AclArgs) -> ExitCode {
    let output = Output::new(args.json);
    let paths = Paths::under(&args.root).of_pbx(Pbx::chosen(&crate::sys::environment::all()));
    let done = match &args.command {
        AclCommand::List => show::list(&World::look(&paths), &output),
        AclCommand::Show { name } => show::show(&World::look(&paths), name, &output),
        AclCommand::Test { address, names } => {
            show::test(&World::look(&paths), *address, names, &output)
        }
        AclCommand::Add(add) => change::add(&paths, add, &output),
        AclCommand::Remove(remove) => change::remove(&paths, remove, &output),
        AclCommand::Reload => change::reload(&paths, &output),
    };
    let exit = match done {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error, error.hint().as_deref());
            error.exit()
        }
    };
    output.finish(exit)
}
