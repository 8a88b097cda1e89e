//! The program `switchhook-init`: arguments to exit code.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::arguments::{self, Wanted};
use super::journal::print_direct;
use super::{EXIT_FAILED, EXIT_USAGE, boot, handover};

/// The file name of PID 1's program.
pub const INIT_PROGRAM: &str = "switchhook-init";
/// The file name of the program with the commands, which lies in the same directory.
pub const COMMAND_PROGRAM: &str = "switchhook";

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

/// The program of this name in the directory of the running one (proc(5), /proc/self/exe).
pub fn beside(name: &str) -> PathBuf {
    match std::env::current_exe() {
        Ok(this) => this.with_file_name(name),
        Err(_) => Path::new("/usr/bin").join(name),
    }
}
