//! `switchhook autoban run`: the daemon.

use std::process::ExitCode;

use clap::Args;

use crate::autoban::daemon::{self, DaemonError, Options};
use crate::cli::RootArgs;
use crate::cli::output::{Exit, Output};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Score and tell, but ban nobody and write nothing down
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    root: RootArgs,
}

pub fn run(args: &RunArgs) -> ExitCode {
    let options = Options {
        paths: args.root.paths(),
        dry_run: args.dry_run,
    };
    let out = Output::new(false);
    match daemon::run(&options) {
        Ok(()) => out.finish(Exit::Ok),
        Err(error) => {
            let hint = match &error {
                DaemonError::Running(_) => None,
                DaemonError::System { .. } => Some("start it by PID 1, as its unit says"),
            };
            out.problem(&error.to_string(), hint);
            out.finish(Exit::Failed)
        }
    }
}
