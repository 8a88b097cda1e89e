//! `switchhook websms`, also under the name `websms`: the bridge between carriers and phones.
//!
//! Handing a message in (`hand_in`) is what dialplans and scripts do all day: it goes its own way, without the parser of the
//! other verbs.

pub mod hand_in;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cli::RootArgs;
use crate::cli::output::{Exit, Output};
use crate::websms::daemon::{self, DaemonError, Options};

const EXAMPLES: &str = "\
Examples:
  websms +46701234567 101 'Dinner is ready'        hand a message in for the carrier
  websms +46701234567 101 - 1 < text               its text from standard input, by interface [1]";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WebsmsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Hand a message in for the carrier; also `websms TO FROM BODY [INDEX]`
    Send(hand_in::SendArgs),
    /// Run the bridge (started by PID 1)
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Listen here when PID 1 has passed no socket
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// As --listen, with TLS by the certificate of the exchange
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen_tls: Option<SocketAddr>,
    /// Where the dialplan hands texts in by FastAGI
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4573")]
    agi: SocketAddr,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Parser)]
#[command(name = "websms", version, max_term_width = 100)]
struct Alone {
    #[command(flatten)]
    args: WebsmsArgs,
}

/// Runs as `websms`.
pub fn run_alone(words: impl Iterator<Item = OsString>) -> ExitCode {
    super::alone(words, |alone: &Alone| run(&alone.args))
}

pub fn run(args: &WebsmsArgs) -> ExitCode {
    match &args.verb {
        Verb::Send(args) => hand_in::run(args),
        Verb::Serve(args) => serve(args),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let options = Options {
        paths: args.root.paths(),
        listen: args.listen,
        listen_tls: args.listen_tls,
        agi: Some(args.agi),
    };
    let out = Output::new(false);
    match daemon::run(&options) {
        Ok(()) => out.finish(Exit::Ok),
        Err(error) => {
            let hint = match &error {
                DaemonError::Spool(_) => None,
                DaemonError::System { .. } => Some("start it by PID 1, as its unit says"),
            };
            out.problem(&error.to_string(), hint);
            out.finish(Exit::Failed)
        }
    }
}
