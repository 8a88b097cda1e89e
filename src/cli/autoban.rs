//! `switchhook autoban`: what guards the exchange against those who guess passwords.

pub mod run;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct AutobanArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: security events in, bans out (started by PID 1)
    Run(run::RunArgs),
}

pub fn run(args: AutobanArgs) -> ExitCode {
    match args.command {
        Command::Run(args) => run::run(&args),
    }
}
