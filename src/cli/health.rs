//! `switchhook health`: the image's HEALTHCHECK. Gathers the facts; `crate::health` gives the verdict.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::RootArgs;
use super::output::{Exit, Output};
use super::reach::PATIENCE;
use crate::asterisk::control as cli_socket;
use crate::config::pbx::Pbx;
use crate::health::{Facts, Question, verdict};
use crate::init::control::{Reply, Request, ask};
use crate::sys::file;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Only whether a restart would help
    #[arg(long, conflicts_with = "ready")]
    live: bool,
    /// Whether calls may be sent here (the default)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// How long the PBX may take to answer on its control socket.
const PBX_PATIENCE: Duration = Duration::from_secs(2);

/// Exit code 0 or 1, and one line of reason.
pub fn run(args: &HealthArgs) -> ExitCode {
    let out = Output::new(false);
    let paths = args.root.paths();
    let mut facts = Facts::default();
    match ask(&paths.control_socket(), &Request::Status, PATIENCE) {
        Ok(Reply::Status(status)) => facts.status = Some(status),
        Ok(_) => facts.no_status = "it gave an unexpected answer".to_owned(),
        Err(error) => {
            facts.no_status = error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
    let has_pbx = facts.status.as_ref().is_some_and(|s| {
        s.services
            .iter()
            .any(|s| Pbx::WORDS.contains(&s.name.as_str()) && s.up)
    });
    if has_pbx
        && let Err(error) =
            cli_socket::run(&paths.asterisk_control(), "core show uptime", PBX_PATIENCE)
    {
        facts.pbx_silent = Some(error.to_string());
    }
    facts.volume_free = file::free_space(&paths.volume());
    let question = if args.live {
        Question::Live
    } else {
        Question::Ready
    };
    let verdict = verdict(&facts, question);
    out.text(&verdict.reason);
    out.finish(if verdict.healthy { Exit::Ok } else { Exit::No })
}
