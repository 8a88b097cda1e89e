//! `switchhook autoban`, also under the name `autoban`: who is banned and why, and orders by hand.
//!
//! The predecessor's verbs and set algebra over the daemon's socket. It decides nothing: the daemon keeps the books.
//! Invariant: what comes from the network (names by DNS) or from a file is never printed unescaped.

mod check;
mod client;
mod entry;
pub mod run;
mod table;
mod words;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use self::client::AskError;
use self::entry::{Facts, Listed, Verdict};
use super::output::{Exit, Output};
use crate::autoban::control::{Reply, Request, SOCKET};
use crate::autoban::ledger::Manual;
use crate::config::paths::Paths;
use crate::config::pbx::Pbx;
use crate::sys::{environment, name};

/// As many names are looked up at most; a scanner's list can have more addresses than a resolver has patience.
const MOST_NAMES: usize = 256;
/// So long is waited for all names together.
const NAMES_PATIENCE: Duration = Duration::from_secs(4);

const EXAMPLES: &str = "\
Sets: watch, parole, jail, white, black, weak (SIP over UDP closed), and all. whitelist and blacklist
are known, too. A set on the right of = stands for what is in it.

Examples:
  autoban list jail                                   who is in jail
  autoban why 192.0.2.7                               why, and for how long
  autoban del all = 192.0.2.7                         free it and forget all that was held against it
  autoban add whitelist = 203.0.113.0/24 --comment 'the office'
  autoban add jail parole = watch                     all who are watched
  autoban add jail = 192.0.2.7 2001:db8::/48 for 1d2h
  autoban del all = all                               forget everything, the white list too";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AutobanArgs {
    /// One JSON object (schema 1)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Look for everything below this directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide = true
    )]
    root: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add addresses to sets: add SET... = SET|ADDRESS... [for TIME] [# COMMENT]
    #[command(visible_alias = "a")]
    Add(AddArgs),
    /// Delete addresses from sets: del SET... = SET|ADDRESS...
    #[command(visible_aliases = ["delete", "d"])]
    Del(DelArgs),
    /// List the entries of sets
    #[command(visible_aliases = ["ls", "l"])]
    List(ListArgs),
    /// Show how AutoBan does; also without any verb
    #[command(visible_alias = "s")]
    Show,
    /// Say whether an address is kept out, why and for how long
    Why(WhyArgs),
    /// Read autoban.conf and print its mistakes
    Check(check::CheckArgs),
    /// Run the daemon: security events in, bans out (started by PID 1)
    Run(run::RunArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Without `=`, all goes to the black list
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
    /// How long, such as 1d2h3m4s [default: jailtime]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// A remark that `list` and `why` show
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(Debug, Args)]
struct DelArgs {
    /// Without `=`, it is deleted from every set
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only these sets
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// A table, as on a terminal; otherwise the addresses alone
    #[arg(long)]
    long: bool,
    /// Look up the addresses' names
    #[arg(long)]
    dns: bool,
}

#[derive(Debug, Args)]
struct WhyArgs {
    address: IpAddr,
    /// Look up the address's name
    #[arg(long)]
    dns: bool,
}

/// `autoban VERB ...`
#[derive(Debug, Parser)]
#[command(
    name = "autoban",
    version,
    max_term_width = 100,
    about = "Show who is banned and why, ban and free by hand"
)]
struct Alone {
    #[command(flatten)]
    args: AutobanArgs,
}

/// Runs it under its own name, with all the words of the command line.
pub fn run_alone(words: impl Iterator<Item = OsString>) -> ExitCode {
    super::alone(words, |alone: &Alone| run(&alone.args))
}

/// Runs the command. Exit codes: 0 ok, 1 no, 2 failed, 64 usage, 78 configuration.
pub fn run(args: &AutobanArgs) -> ExitCode {
    if let Some(Verb::Run(args)) = &args.verb {
        return run::run(args);
    }
    let out = Output::new(args.json);
    let paths = Paths::under(&args.root).of_pbx(Pbx::chosen(&environment::all()));
    let asked = match &args.verb {
        None | Some(Verb::Show | Verb::Run(_)) => show(&paths, &out),
        Some(Verb::Add(add)) => {
            let order = words::add(&add.words, add.time.as_deref(), add.comment.as_deref());
            manual(order, &paths, &out)
        }
        Some(Verb::Del(del)) => manual(words::delete(&del.words), &paths, &out),
        Some(Verb::List(list)) => self::list(list, &paths, &out),
        Some(Verb::Why(why)) => self::why(why, &paths, &out),
        Some(Verb::Check(args)) => Ok(check::run(args, &paths, &out)),
    };
    let exit = asked.unwrap_or_else(|failure| failure.tell(&out));
    out.finish(exit)
}

/// What ends a verb early.
enum Failure {
    Words(words::Misread),
    Ask(AskError),
}

impl From<words::Misread> for Failure {
    fn from(error: words::Misread) -> Failure {
        Failure::Words(error)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        Failure::Ask(error)
    }
}

impl Failure {
    fn tell(&self, out: &Output) -> Exit {
        match self {
            Failure::Words(error) => {
                let text = error.to_string();
                let (problem, hint) = match text.split_once("\nhint: ") {
                    Some((problem, hint)) => (problem, Some(hint)),
                    None => (text.as_str(), None),
                };
                out.problem(problem, hint);
                Exit::Usage
            }
            Failure::Ask(error) => {
                out.error(error, error.hint());
                match error {
                    AskError::Refused(_) => Exit::No,
                    _ => Exit::Failed,
                }
            }
        }
    }
}

fn ask(paths: &Paths, request: &Request) -> Result<Reply, AskError> {
    client::ask(&paths.at(SOCKET), request)
}

/// 0 when it does all that its configuration says, 1 when it does less.
fn show(paths: &Paths, out: &Output) -> Result<Exit, Failure> {
    let Reply::Status(status) = ask(paths, &Request::Status)? else {
        return Err(AskError::Shape.into());
    };
    match out.is_json() {
        // It carries its schema number itself, as on the socket.
        true => out.text(&serde_json::to_string(&status).unwrap_or_default()),
        false => out.text(&table::status(&status)),
    }
    let is_off = status.enforcement == "off";
    let is_well = status.connected && status.problems.is_empty() && status.hidden_behind.is_none();
    Ok(match is_off || is_well {
        true => Exit::Ok,
        false => Exit::No,
    })
}

/// 0 when all of it could be done, whether it changed something or not; 1 when a part could not.
fn manual(
    order: Result<Manual, words::Misread>,
    paths: &Paths,
    out: &Output,
) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Done {
        changed: usize,
        notes: Vec<String>,
    }
    let order = order?;
    let Reply::Done { changed, notes } = ask(paths, &Request::Manual { order })? else {
        return Err(AskError::Shape.into());
    };
    let exit = match notes.is_empty() {
        true => Exit::Ok,
        false => Exit::No,
    };
    match out.is_json() {
        true => out.json(&Done { changed, notes }),
        false => out.text(&table::done(changed, &notes)),
    }
    Ok(exit)
}

fn list(args: &ListArgs, paths: &Paths, out: &Output) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Lists {
        sets: Vec<Listed>,
    }
    let sets = words::sets(&args.sets)?;
    let Reply::List { sets } = ask(paths, &Request::List { sets })? else {
        return Err(AskError::Shape.into());
    };
    let sets = sets.into_iter().map(|(set, rows)| Listed::read(set, rows));
    let sets: Option<Vec<Listed>> = sets.collect();
    let mut sets = sets.ok_or(AskError::Shape)?;
    if args.dns {
        let entries = || sets.iter().flat_map(|listed| &listed.entries);
        let mut addresses: Vec<IpAddr> = entries().filter_map(|entry| entry.host()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MOST_NAMES);
        let names: HashMap<IpAddr, String> = name::names_of(&addresses, NAMES_PATIENCE);
        for entry in sets.iter_mut().flat_map(|listed| &mut listed.entries) {
            entry.name = entry.host().and_then(|host| names.get(&host).cloned());
        }
    }
    if out.is_json() {
        out.json(&Lists { sets });
    } else if args.long || args.dns || io::stdout().is_terminal() {
        out.text(&table::sets(&sets));
    } else {
        out.text(&table::addresses(&sets));
    }
    Ok(Exit::Ok)
}

/// 0 when something of it is dropped, 1 when nothing is.
fn why(args: &WhyArgs, paths: &Paths, out: &Output) -> Result<Exit, Failure> {
    let address = args.address;
    let Reply::Why { facts, text } = ask(paths, &Request::Why { address })? else {
        return Err(AskError::Shape.into());
    };
    let facts: Facts = serde_json::from_value(facts).map_err(|_| AskError::Shape)?;
    let name = match args.dns {
        true => name::names_of(&[address], NAMES_PATIENCE).remove(&address),
        false => None,
    };
    let exit = match facts.verdict() {
        Verdict::Free => Exit::No,
        Verdict::Banned | Verdict::SipOverUdp => Exit::Ok,
    };
    match out.is_json() {
        true => out.json(&facts.report(name)),
        false => out.text(&table::why(&text, name.as_deref())),
    }
    Ok(exit)
}
