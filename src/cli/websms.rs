//! `switchhook websms`: the bridge between carriers and phones.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::RootArgs;
use crate::cli::output::{Exit, Output};
use crate::websms::daemon::{self, DaemonError, Options};

#[derive(Debug, Args)]
pub struct WebsmsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the bridge (started by PID 1)
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Listen here when PID 1 has passed no socket
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the dialplan hands texts in by FastAGI
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4573")]
    agi: SocketAddr,
    #[command(flatten)]
    root: RootArgs,
}

pub fn run(args: &WebsmsArgs) -> ExitCode {
    match &args.verb {
        Verb::Serve(args) => serve(args),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let options = Options {
        paths: args.root.paths(),
        listen: args.listen,
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
