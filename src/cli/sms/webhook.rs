//! `sms test-webhook`: whether a carrier's webhook gets through, and where it does not.
//!
//! Invariant: a test without `--deliver` reaches no phone.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::client::{self, AskError};
use super::table::shown;
use crate::cli::output::{Exit, Output};
use crate::websms::control::{Checked, Reply, Request, Trial};

#[derive(Debug, Args)]
pub struct WebhookArgs {
    /// The interface of websms.conf; without it the only one that receives
    #[arg(value_name = "INTERFACE", conflicts_with = "from_file")]
    interface: Option<String>,
    /// Let the message go on to the phones
    #[arg(long, conflicts_with = "from_file")]
    deliver: bool,
    /// For this number; without it the interface's own
    #[arg(long, value_name = "NUMBER", conflicts_with = "from_file")]
    to: Option<String>,
    /// Judge this request, head and body as they came, without any effect
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The address from which that request came
    #[arg(long, value_name = "ADDRESS", requires = "from_file")]
    peer: Option<IpAddr>,
    /// When it came, in seconds since 1970
    #[arg(long, value_name = "SECONDS", requires = "from_file")]
    at: Option<u64>,
}

/// 0 when no step failed, 1 when one did.
pub fn run(args: &WebhookArgs, socket: &Path, out: &Output) -> Result<Exit, AskError> {
    let request = match &args.from_file {
        None => Request::TestWebhook {
            interface: args.interface.clone(),
            to: args.to.clone(),
            deliver: args.deliver,
        },
        Some(path) => match std::fs::read(path) {
            Ok(bytes) => Request::Replay {
                request: STANDARD.encode(bytes),
                peer: args.peer,
                at: args.at,
            },
            Err(error) => {
                out.problem(&format!("cannot read `{}`: {error}", path.display()), None);
                return Ok(Exit::Failed);
            }
        },
    };
    let Reply::Trial(trial) = client::ask(socket, &request)? else {
        return Err(AskError::Shape);
    };
    match out.is_json() {
        true => out.json(&trial),
        false => out.text(&text(&trial)),
    }
    let fails = |step: &Checked| step.passed == Some(false);
    Ok(match trial.steps.iter().any(fails) {
        true => Exit::No,
        false => Exit::Ok,
    })
}

fn text(trial: &Trial) -> String {
    let mut text = match &trial.interface {
        Some(name) => format!("interface {}\n", shown(name)),
        None => String::new(),
    };
    for step in &trial.steps {
        let word = match step.passed {
            Some(true) => "ok",
            Some(false) => "FAILED",
            None => "-",
        };
        let mut parts = step.detail.split("; hint: ");
        let detail = shown(parts.next().unwrap_or_default());
        text.push_str(&format!("{:<10} {word:<7} {detail}\n", shown(&step.step)));
        if let Some(hint) = parts.next() {
            text.push_str(&format!("{:<18} hint: {}\n", "", shown(hint)));
        }
    }
    if let Some(answer) = &trial.answer {
        let body = match answer.body.trim() {
            "" => "an empty body".to_owned(),
            body => format!("`{}`", shown(body)),
        };
        text.push_str(&format!(
            "the listener at {} answered {} with {body}\n",
            shown(&answer.at),
            answer.status
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websms::control::Answered;

    #[test]
    fn each_step_is_told() {
        let step = |step: &str, passed, detail: &str| Checked {
            step: step.to_owned(),
            passed,
            detail: detail.to_owned(),
        };
        let trial = Trial {
            interface: Some("1".to_owned()),
            steps: vec![
                step("sender", None, "it counts as 192.0.2.1"),
                step("door", Some(true), "/hook is of 1"),
                step(
                    "signature",
                    Some(false),
                    "it is not right; hint: check the secret",
                ),
            ],
            answer: Some(Answered {
                at: "127.0.0.1:80".to_owned(),
                status: 403,
                body: "no\u{1b}[2J\n".to_owned(),
                reason: "no".to_owned(),
            }),
        };
        insta::assert_snapshot!(text(&trial));
    }
}
