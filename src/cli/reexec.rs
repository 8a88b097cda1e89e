//! `switchhook reexec`: PID 1 goes on as another binary, with the same pid, the same children and the same sockets.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::init::control::{AskError, Reply, Request, Status, ask};

/// The trial run of the new binary is given five seconds by PID 1.
const TRIAL: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct ReexecArgs {
    /// The new binary [default: what is now where PID 1's own was]
    program: Option<String>,
    #[command(flatten)]
    root: RootArgs,
}

/// Exit code 0 when PID 1 runs the new binary, 1 when it stayed with its own, 2 without an answer.
pub fn run(args: &ReexecArgs) -> ExitCode {
    let out = Output::new(false);
    let socket = args.root.paths().control_socket();
    let look = || match ask(&socket, &Request::Status, PATIENCE)? {
        Reply::Status(status) => Ok(status),
        _ => Ok(Status::default()),
    };
    let outcome = (|| -> Result<Exit, AskError> {
        let before = look()?;
        let program = args.program.clone();
        match ask(&socket, &Request::Reexec { program }, TRIAL)? {
            Reply::Done => {
                let after = look()?;
                out.text(&format!(
                    "PID 1 was {} and is {} now; its services run on\n",
                    before.version, after.version
                ));
                Ok(Exit::Ok)
            }
            Reply::Refused { reason } => {
                out.problem(&reason, None);
                Ok(Exit::No)
            }
            _ => {
                out.problem("the exchange's answer does not fit the question", None);
                Ok(Exit::Failed)
            }
        }
    })();
    match outcome {
        Ok(exit) => out.finish(exit),
        Err(error) => {
            out.problem(&error.to_string(), None);
            out.finish(Exit::Failed)
        }
    }
}
