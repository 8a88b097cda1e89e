//! `switchhook mail`: what waits for the mail server, for people; and the service that sends it.
//!
//! It works on the queue's files, whether or not the service runs. Invariant: no password is printed, and what others wrote is
//! never printed unescaped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::minivm_send::Alone;
use super::output::{Exit, Output};
use crate::asterisk::conf::Document;
use crate::cli::RootArgs;
use crate::config;
use crate::config::paths::Paths;
use crate::mail::daemon;
use crate::mail::queue::{PLACE, Queue, QueueError, Waiting};
use crate::mail::route::Route;
use crate::mail::words::of_minivm_send;
use crate::sys::file::read_text;
use crate::sys::{clock, environment};

#[derive(Debug, Args)]
pub struct MailArgs {
    /// One JSON object (schema 1)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
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
    /// List the letters that are not sent yet, the oldest first
    #[command(visible_alias = "ls")]
    List,
    /// Show a letter and why it is not sent
    Show {
        /// The letter's id
        id: String,
        /// Print the mail itself, as the server would get it, and nothing else
        #[arg(long)]
        raw: bool,
    },
    /// Try letters at once, by the server that minivm.conf names now; without an id all of them
    Retry {
        /// The letters' ids
        ids: Vec<String>,
    },
    /// Take a letter away, unsent
    Remove {
        /// The letter's id
        id: String,
    },
    /// Send what waits, for ever (started by PID 1)
    Run,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: &'a str,
    taken: String,
    from: &'a str,
    to: &'a str,
    subject: &'a str,
    server: Option<String>,
    tries: u32,
    /// When it is tried again; none if it lies aside.
    next: Option<String>,
    aside: bool,
    reason: &'a str,
    hint: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(one: &'a Waiting) -> Shown<'a> {
        let time = |seconds: i64| clock::rfc3339(seconds.saturating_mul(1000));
        Shown {
            id: &one.letter.id,
            taken: time(one.letter.taken),
            from: &one.letter.from,
            to: &one.letter.to,
            subject: &one.letter.subject,
            server: one.letter.route.as_ref().map(ToString::to_string),
            tries: one.state.tries,
            next: (!one.state.aside).then(|| time(one.state.next.max(one.letter.taken))),
            aside: one.state.aside,
            reason: &one.state.reason,
            hint: one.state.hint.as_deref(),
        }
    }

    fn standing(&self) -> String {
        match (&self.next, self.tries) {
            (None, _) => "lies aside".to_owned(),
            (Some(_), 0) => "is to be sent".to_owned(),
            (Some(next), 1) => format!("tried once, next at {next}"),
            (Some(next), tries) => format!("tried {tries} times, next at {next}"),
        }
    }
}

#[derive(Serialize)]
struct Letters<'a> {
    letters: Vec<Shown<'a>>,
}

/// Runs the command. Exit codes: 0 ok, 1 no such letter, 2 failed, 64 usage.
pub fn run(args: &MailArgs) -> ExitCode {
    let out = Output::new(args.json);
    let queue = Queue::at(args.root.join(PLACE));
    let done = match &args.verb {
        Verb::List => list(&queue, &out),
        Verb::Show { id, raw: false } => show(&queue, id, &out),
        Verb::Show { id, raw: true } => raw(&queue, id, &out),
        Verb::Retry { ids } => retry(&queue, ids, &args.root, &out),
        Verb::Remove { id } => remove(&queue, id, &out),
        Verb::Run => return serve(&args.root, &out),
    };
    let exit = done.unwrap_or_else(|error| {
        out.error(&error, error.hint());
        Exit::Failed
    });
    out.finish(exit)
}

fn list(queue: &Queue, out: &Output) -> Result<Exit, QueueError> {
    let (found, bad) = queue.list()?;
    for error in &bad {
        out.error(error, error.hint());
    }
    let letters: Vec<Shown<'_>> = found.iter().map(Shown::of).collect();
    if out.is_json() {
        out.json(&Letters { letters });
        return Ok(Exit::Ok);
    }
    if letters.is_empty() {
        out.text("Nothing waits.");
    }
    for one in &letters {
        let reason = match one.reason {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        out.text(&format!(
            "{}  {}  {}{reason}",
            one.id,
            one.to,
            one.standing()
        ));
    }
    Ok(Exit::Ok)
}

fn show(queue: &Queue, id: &str, out: &Output) -> Result<Exit, QueueError> {
    let Some(one) = queue.get(id)? else {
        return Ok(unknown(id, out));
    };
    let shown = Shown::of(&one);
    if out.is_json() {
        out.json(&shown);
        return Ok(Exit::Ok);
    }
    let size = queue.mail(id)?.map_or(0, |mail| mail.len());
    let server = shown.server.as_deref().unwrap_or("not known");
    let mut text = format!(
        "id       {}\ntaken    {}\nfrom     {}\nto       {}\nsubject  {}\nsize     {size} bytes\nserver   {server}\nstate    {}",
        shown.id,
        shown.taken,
        shown.from,
        shown.to,
        shown.subject,
        shown.standing()
    );
    for (name, value) in [("reason", Some(shown.reason)), ("hint", shown.hint)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("\n{name:<9}{value}"));
        }
    }
    out.text(&text);
    Ok(Exit::Ok)
}

fn raw(queue: &Queue, id: &str, out: &Output) -> Result<Exit, QueueError> {
    let Some(mail) = queue.mail(id)? else {
        return Ok(unknown(id, out));
    };
    out.text(&String::from_utf8_lossy(&mail).replace('\r', ""));
    Ok(Exit::Ok)
}

fn retry(queue: &Queue, ids: &[String], root: &Path, out: &Output) -> Result<Exit, QueueError> {
    let mut meant = Vec::new();
    for id in ids {
        match queue.get(id)? {
            Some(one) => meant.push(one),
            None => return Ok(unknown(id, out)),
        }
    }
    if ids.is_empty() {
        meant = queue.list()?.0;
    }
    let root = root.to_owned();
    let route = route_of_minivm(&RootArgs { root }.paths());
    let (mut count, mut exit) = (0, Exit::Ok);
    for mut one in meant {
        if one.letter.to.is_empty() {
            out.problem(
                &format!("{} has no recipient: nobody can be sent it", one.letter.id),
                Some("`switchhook mail show --raw` prints it"),
            );
            exit = Exit::No;
            continue;
        }
        if route.is_some() && route != one.letter.route {
            one.letter.route.clone_from(&route);
            let mail = queue.mail(&one.letter.id)?.unwrap_or_default();
            queue.put(&one.letter, &mail, None)?;
        }
        queue.renew(&one.letter.id)?;
        count += 1;
    }
    out.text(&match count {
        0 => "Nothing is to be tried.".to_owned(),
        1 => "One letter is tried now; the log tells how it goes.".to_owned(),
        count => format!("{count} letters are tried now; the log tells how it goes."),
    });
    Ok(exit)
}

/// The server that minivm.conf names, if a `minivm-send` of ours is its program.
fn route_of_minivm(paths: &Paths) -> Option<Route> {
    let text = read_text(&paths.asterisk_config().join("minivm.conf")).ok()?;
    let line = Document::parse(&text)
        .section("general")?
        .effective("mailcmd")?;
    let words = of_minivm_send(&line)?;
    let words = ["minivm-send".to_owned()].into_iter().chain(words);
    Some(Alone::try_parse_from(words).ok()?.args.route())
}

fn remove(queue: &Queue, id: &str, out: &Output) -> Result<Exit, QueueError> {
    if queue.get(id)?.is_none() {
        return Ok(unknown(id, out));
    }
    queue.remove(id)?;
    out.text("It is removed, unsent.");
    Ok(Exit::Ok)
}

fn unknown(id: &str, out: &Output) -> Exit {
    out.problem(
        &format!("there is no letter `{id}`"),
        Some("`switchhook mail list` lists them; what was sent is gone"),
    );
    Exit::No
}

fn serve(root: &Path, out: &Output) -> ExitCode {
    let root = RootArgs {
        root: root.to_owned(),
    };
    // PID 1 has refused a bad environment before it started us.
    let Ok(config) = config::read(&environment::all()) else {
        return ExitCode::from(78);
    };
    match daemon::run(&root.paths(), &config) {
        Ok(()) => out.finish(Exit::Ok),
        Err(error) => {
            out.problem(
                &error.to_string(),
                Some("start it by PID 1, as its unit says"),
            );
            out.finish(Exit::Failed)
        }
    }
}
