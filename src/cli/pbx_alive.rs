//! `switchhook pbx-alive`: whether the PBX answers on its console, and does not stand still over SIP requests. The unit's
//! `X-Probe=`; what it prints goes into the log.
//!
//! It keeps between two runs what it has seen, in a file beside the console; a file that cannot be used is as none.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::asterisk::control::{self, CtlError};
use crate::asterisk::tasks::{Standstill, is_sip, tasks};
use crate::sys::clock::Stopwatch;
use crate::sys::file::{Owner, write_unsynced};

#[derive(Debug, Args)]
pub struct PbxAliveArgs {
    /// For how many seconds it may have SIP work waiting and finish nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    #[command(flatten)]
    root: RootArgs,
}

const ANSWER: Duration = Duration::from_secs(5);

/// Exit code 0, 1 when it stands still, 2 when it does not answer.
pub fn run(args: &PbxAliveArgs) -> ExitCode {
    let out = Output::new(false);
    match standstill(&args.root.paths().asterisk_control()) {
        Ok(lasted) if lasted >= Duration::from_secs(args.patience) => {
            out.problem(
                &format!(
                    "the PBX has had SIP work waiting for {} s and finishes nothing",
                    lasted.as_secs()
                ),
                None,
            );
            out.finish(Exit::No)
        }
        Ok(_) => out.finish(Exit::Ok),
        Err(error) => {
            out.error(&error, None);
            out.finish(Exit::Failed)
        }
    }
}

fn standstill(console: &Path) -> Result<Duration, CtlError> {
    let mut sip = tasks(&control::run(console, "core show taskprocessors", ANSWER)?);
    sip.retain(is_sip);
    let seen = console.with_file_name("standstill.json");
    let pid = std::env::var("MAINPID").ok();
    let pid = pid.and_then(|pid| pid.parse().ok()).unwrap_or_default();
    let now = Stopwatch::start().began();
    let before = std::fs::read(&seen).ok();
    let before = before.and_then(|text| serde_json::from_slice::<Standstill>(&text).ok());
    let state = before.unwrap_or_default().look(pid, &sip, now);
    if before != Some(state) {
        let text = serde_json::to_vec(&state).unwrap_or_default();
        let owner = Owner::Keep {
            new_file_mode: 0o640,
        };
        // Without it a standstill is seen later, which nobody is told every ten seconds.
        let _ = write_unsynced(&seen, &text, owner);
    }
    Ok(state.lasts(now))
}
