//! The program `switchhook-init`: arguments to exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::arguments::{self, Wanted};
use super::journal::print_direct;
use super::{EXIT_FAILED, EXIT_USAGE, boot, handover};

const HELP: &str = "\
PID 1 of the exchange. The image starts it; its settings are environment variables, which
`switchhook init --help` lists.

Usage: switchhook-init [--root DIR] [--version] [--help]";

/// Runs what the arguments ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = match arguments::read(arguments) {
        Ok(Wanted::Run(root)) => boot::run(&root),
        Ok(Wanted::TryResume(state)) => handover::try_resume(state),
        Ok(Wanted::Resume {
            root,
            state,
            fallback,
        }) => handover::resume(&root, state, fallback),
        Ok(Wanted::Version) => answer(concat!("switchhook-init ", env!("CARGO_PKG_VERSION"))),
        Ok(Wanted::Help) => answer(HELP),
        Err(problem) => {
            print_direct(&format!("switchhook-init: {problem}"));
            print_direct("hint: `switchhook-init --help` lists the arguments");
            EXIT_USAGE
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

fn answer(text: &str) -> i32 {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => 0,
        Err(_) => EXIT_FAILED,
    }
}
