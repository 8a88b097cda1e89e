//! `switchhook autoban check`: reads autoban.conf as the daemon would, and tells every mistake with its line.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::autoban::config::{self, Config};
use crate::autoban::daemon::take_named_lists;
use crate::cli::output::{Exit, Output};
use crate::config::paths::Paths;
use crate::sys::file;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file to read [default: the exchange's autoban.conf]
    file: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    enabled: bool,
    mistakes: Vec<Mistake>,
}

#[derive(Debug, Serialize)]
struct Mistake {
    file: String,
    /// Not there when it is about the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    text: String,
    hint: String,
}

/// Exit code 0 when every line says something, 78 when not, 2 when the file cannot be read.
pub fn run(args: &CheckArgs, paths: &Paths, out: &Output) -> Exit {
    let own = paths.asterisk_config().join("autoban.conf");
    let path = args.file.clone().unwrap_or(own);
    let text = match file::read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            let hint = match error.is_not_found() {
                true => Some(
                    "without autoban.conf AutoBan is off; docs/reference/autoban-conf.md tells its keys",
                ),
                false => error.hint(),
            };
            out.error(&error, hint);
            return match error.is_not_found() {
                true => Exit::Configuration,
                false => Exit::Failed,
            };
        }
    };
    let name = path.display().to_string();
    let (mut config, mut mistakes) = config::read(&name, &text);
    mistakes.extend(take_named_lists(&mut config, &name, paths));
    let mut mistakes: Vec<Mistake> = mistakes
        .into_iter()
        .map(|mistake| Mistake {
            file: mistake.file,
            line: Some(mistake.line),
            text: mistake.problem,
            hint: mistake.hint,
        })
        .collect();
    let manager = path.with_file_name("manager.conf");
    mistakes.extend(refused_secret(&config, &name, &manager));
    let exit = match mistakes.is_empty() {
        true => Exit::Ok,
        false => Exit::Configuration,
    };
    let enabled = config.enabled;
    if out.is_json() {
        out.json(&Report {
            file: name,
            enabled,
            mistakes,
        });
    } else {
        out.text(&lines(&name, enabled, &mistakes));
    }
    exit
}

/// Asterisk refuses another secret than its own. Only where manager.conf lies beside and names the user can that be known.
fn refused_secret(config: &Config, name: &str, manager: &Path) -> Option<Mistake> {
    let ours = config.manager.secret.as_ref()?;
    let user = &config.manager.username;
    let theirs = config::secret_of(&file::read_text(manager).ok()?, user)?;
    (*ours != theirs).then(|| Mistake {
        file: name.to_owned(),
        line: None,
        text: format!(
            "the secret is not that of [{}] in `{}`; Asterisk will refuse it",
            user.escape_debug(),
            manager.display()
        ),
        hint: "leave `secret` out of autoban.conf: then the one of manager.conf is taken"
            .to_owned(),
    })
}

fn lines(name: &str, enabled: bool, mistakes: &[Mistake]) -> String {
    let mut text = String::new();
    for mistake in mistakes {
        let line = mistake
            .line
            .map_or(String::new(), |line| format!(":{line}"));
        text.push_str(&format!(
            "{}{line}: {}\nhint: {}\n",
            mistake.file, mistake.text, mistake.hint
        ));
    }
    let is = match enabled {
        true => "AutoBan is on",
        false => "AutoBan is off: `enabled = no`",
    };
    match mistakes.len() {
        0 => text.push_str(&format!("{name}: no mistakes; {is}\n")),
        1 => text.push_str(&format!("1 mistake; {is}\n")),
        many => text.push_str(&format!("{many} mistakes; {is}\n")),
    }
    text
}
