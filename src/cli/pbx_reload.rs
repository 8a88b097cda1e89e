//! `switchhook pbx-reload`: the PBX reads all of its configuration again. The unit's `ExecReload=`; what it prints goes
//! into the log.

use std::process::ExitCode;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::asterisk::reload;

#[derive(Debug, Args)]
pub struct PbxReloadArgs {
    #[command(flatten)]
    root: RootArgs,
}

/// Exit code 0, 1 when a module has refused its configuration, 2 when the PBX does not answer.
pub fn run(args: &PbxReloadArgs) -> ExitCode {
    let out = Output::new(false);
    match reload::all(&args.root.paths().asterisk_control()) {
        Ok(refusals) => {
            for refusal in &refusals {
                let hint = format!(
                    "it goes on with what it has read before; see its lines about {}",
                    refusal.module
                );
                out.problem(&refusal.said, Some(&hint));
            }
            out.finish(if refusals.is_empty() {
                Exit::Ok
            } else {
                Exit::No
            })
        }
        Err(error) => {
            out.error(&error, Some("see whether it runs: switchhook status"));
            out.finish(Exit::Failed)
        }
    }
}
