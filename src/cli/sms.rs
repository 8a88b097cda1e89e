//! `switchhook sms`: the messages, for people: what came, what went, what became of it, and why a carrier was refused.
//!
//! It asks the daemon over its socket and decides nothing. Invariant: what strangers wrote is never printed unescaped.

mod client;
mod send;
mod table;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::client::AskError;
use super::output::{Exit, Output};
use crate::sys::{clock, terminal};
use crate::websms::control::{Asked, Delivery, Happened, Kept, Reply, Request, Row, SOCKET};

const EXAMPLES: &str = "\
Examples:
  switchhook sms list --in --number +46701234567       what this number sent
  switchhook sms show 1HHHP1Z800000                    one message, and what became of it
  switchhook sms send --from +46707654321 --to +46701234567 --wait 'Dinner is ready'
  switchhook sms requests                              why was a webhook refused?
  switchhook sms test-webhook 1                        would the next one be taken?";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SmsArgs {
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
    /// List messages, the newest first
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show a message, its history, and what the phones and the carrier said
    Show(IdArgs),
    /// Hand a message in for the carrier, and print its id
    Send(send::SendArgs),
    /// Try a message again that ended badly, or that waits
    Retry(IdArgs),
    /// Take a message back that waits
    Cancel(IdArgs),
    /// List the last requests of carriers, with verdict and reason
    Requests(RequestsArgs),
    /// Send ourselves a webhook as a carrier would, or judge one that was written down
    TestWebhook(webhook::WebhookArgs),
    /// Erase all messages from and to a number
    Erase(EraseArgs),
    /// Show how the bridge does, and its interfaces
    Status,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Only messages from carriers
    #[arg(long = "in", conflicts_with = "out")]
    incoming: bool,
    /// Only messages to carriers
    #[arg(long)]
    out: bool,
    /// Only those in this state, such as held or dead
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those from or to this number
    #[arg(long, value_name = "NUMBER")]
    number: Option<String>,
    /// Only those of this interface
    #[arg(long, value_name = "INDEX")]
    interface: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those that came before this one: the last of the page before
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

#[derive(Debug, Args)]
struct IdArgs {
    /// The message's id
    id: String,
}

#[derive(Debug, Args)]
struct RequestsArgs {
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Only those that were not taken
    #[arg(long)]
    refused: bool,
}

#[derive(Debug, Args)]
struct EraseArgs {
    /// The number, with its country
    #[arg(long, value_name = "NUMBER")]
    number: String,
    /// Do it; without this the messages are only counted
    #[arg(long)]
    yes: bool,
}

/// Runs the command. Exit codes: 0 ok, 1 no, 2 failed, 64 usage.
pub fn run(args: &SmsArgs) -> ExitCode {
    let out = Output::new(args.json);
    let asking = Asking {
        socket: args.root.join(SOCKET),
        out: &out,
    };
    let asked = match &args.verb {
        Verb::List(list) => asking.list(list),
        Verb::Show(show) => asking.show(&show.id),
        Verb::Send(send) => send::run(send, &asking.socket, &out),
        Verb::Retry(of) => asking.order(Request::Retry { id: of.id.clone() }),
        Verb::Cancel(of) => asking.order(Request::Cancel { id: of.id.clone() }),
        Verb::Requests(requests) => asking.requests(requests),
        Verb::TestWebhook(test) => webhook::run(test, &asking.socket, &out),
        Verb::Erase(erase) => asking.erase(erase),
        Verb::Status => asking.status(),
    };
    let exit = asked.unwrap_or_else(|error| {
        out.error(&error, error.hint());
        match error {
            AskError::Refused { .. } => Exit::No,
            _ => Exit::Failed,
        }
    });
    out.finish(exit)
}

type Answered = Result<Exit, AskError>;

/// Where the daemon is asked, and where its answers go.
struct Asking<'a> {
    socket: PathBuf,
    out: &'a Output,
}

impl Asking<'_> {
    fn ask(&self, request: &Request) -> Result<Reply, AskError> {
        client::ask(&self.socket, request)
    }

    fn width() -> usize {
        terminal::size().map_or(table::WIDTH, |(columns, _)| columns.max(80))
    }

    fn list(&self, args: &ListArgs) -> Answered {
        #[derive(Serialize)]
        struct Messages {
            messages: Vec<Row>,
            /// What `--before` takes for the next page; null on the last.
            before: Option<String>,
        }
        let direction = match (args.incoming, args.out) {
            (true, _) => Some("in"),
            (_, true) => Some("out"),
            _ => None,
        };
        let request = Request::List {
            direction: direction.map(str::to_owned),
            state: args.state.clone(),
            number: args.number.clone(),
            interface: args.interface.clone(),
            before: args.before.clone(),
            limit: Some(args.limit),
        };
        let Reply::List { messages } = self.ask(&request)? else {
            return Err(AskError::Shape);
        };
        let is_full = messages.len() >= args.limit as usize;
        let before = messages.last().map(|last| last.id.clone());
        let before = before.filter(|_| is_full);
        if self.out.is_json() {
            self.out.json(&Messages { messages, before });
            return Ok(Exit::Ok);
        }
        let mut text = table::messages(&messages, Self::width(), &clock::local_offset);
        if let Some(before) = before {
            text.push_str(&format!("older ones: --before {before}\n"));
        }
        self.out.text(&text);
        Ok(Exit::Ok)
    }

    fn show(&self, id: &str) -> Answered {
        #[derive(Serialize)]
        struct Shown {
            message: Box<Row>,
            history: Vec<Happened>,
            deliveries: Vec<Delivery>,
            media: Vec<Kept>,
        }
        let request = Request::Show { id: id.to_owned() };
        let Reply::Show {
            message,
            history,
            deliveries,
            media,
        } = self.ask(&request)?
        else {
            return Err(AskError::Shape);
        };
        if self.out.is_json() {
            self.out.json(&Shown {
                message,
                history,
                deliveries,
                media,
            });
        } else {
            let of = table::Life {
                history: &history,
                deliveries: &deliveries,
                media: &media,
            };
            let text = table::message(&message, &of, &clock::local_offset);
            self.out.text(&text);
        }
        Ok(Exit::Ok)
    }

    fn order(&self, request: Request) -> Answered {
        #[derive(Serialize)]
        struct Done {
            state: String,
        }
        let Reply::Done { state } = self.ask(&request)? else {
            return Err(AskError::Shape);
        };
        match self.out.is_json() {
            true => self.out.json(&Done { state }),
            false => self.out.text(&table::shown(&state)),
        }
        Ok(Exit::Ok)
    }

    fn requests(&self, args: &RequestsArgs) -> Answered {
        #[derive(Serialize)]
        struct Requests {
            requests: Vec<Asked>,
        }
        // The daemon keeps the last 500; those that are wanted may be the oldest of them.
        let request = Request::Requests { limit: Some(500) };
        let Reply::Requests { mut requests } = self.ask(&request)? else {
            return Err(AskError::Shape);
        };
        requests.retain(|asked| !args.refused || asked.status >= 300);
        requests.truncate(args.limit as usize);
        match self.out.is_json() {
            true => self.out.json(&Requests { requests }),
            // The reason is what people look for: it is never cut.
            false => {
                let text = table::requests(&requests, usize::MAX, &clock::local_offset);
                self.out.text(&text);
            }
        }
        Ok(Exit::Ok)
    }

    /// 0 when it is done, or there is nothing to do; 1 when `--yes` is missing.
    fn erase(&self, args: &EraseArgs) -> Answered {
        #[derive(Serialize)]
        struct Erased {
            messages: u64,
            erased: bool,
        }
        let request = Request::Erase {
            number: args.number.clone(),
            dry: !args.yes,
        };
        let Reply::Erased { messages } = self.ask(&request)? else {
            return Err(AskError::Shape);
        };
        let is_left = !args.yes && messages > 0;
        let plural = if messages == 1 { "" } else { "s" };
        if self.out.is_json() {
            self.out.json(&Erased {
                messages,
                erased: args.yes,
            });
        } else if args.yes {
            self.out.text(&format!("{messages} message{plural} erased"));
        } else {
            self.out
                .text(&format!("{messages} message{plural} would be erased"));
        }
        if is_left {
            self.out.problem(
                "nothing was erased",
                Some("there is no way back; do it with --yes"),
            );
            return Ok(Exit::No);
        }
        Ok(Exit::Ok)
    }

    /// 0 when all is well, 1 when it does less than it should.
    fn status(&self) -> Answered {
        let Reply::Status(status) = self.ask(&Request::Status)? else {
            return Err(AskError::Shape);
        };
        match self.out.is_json() {
            // It carries its schema number itself, as on the socket.
            true => {
                let text = serde_json::to_string(&status).map_err(|_| AskError::Shape)?;
                self.out.text(&text);
            }
            false => self.out.text(&table::status(&status)),
        }
        Ok(match status.problems.is_empty() {
            true => Exit::Ok,
            false => Exit::No,
        })
    }
}
