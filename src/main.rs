//! Arguments to role to exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "switchhook", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add, list, show and remove phones
    Phone(switchhook::cli::phone::PhoneArgs),
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli {
            command: Command::Phone(args),
        }) => switchhook::cli::phone::run(args),
        Err(error) => {
            let usage = error.use_stderr();
            let _ = error.print();
            ExitCode::from(if usage { 64 } else { 0 })
        }
    }
}
