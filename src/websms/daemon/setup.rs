//! What the daemon reads from the volume: websms.conf, the user's own profiles, secrets; and where its spool is.

use std::path::PathBuf;

use crate::config::paths::Paths;
use crate::sys::environment;
use crate::sys::file::read_text;
use crate::sys::say::{ERROR, NOTICE, WARNING, say};
use crate::websms::config::{self, Config, World};
use crate::websms::profiles::Profiles;
use crate::websms::spool::{self, Handle, Limits, OpenError, Spool};

/// Reads the configuration, and tells its mistakes.
pub fn read(paths: &Paths) -> Config {
    let path = paths.asterisk_config().join("websms.conf");
    let name = path.display().to_string();
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            match error.is_not_found() {
                true => say(
                    NOTICE,
                    &format!("there is no `{name}`: no carrier is let in"),
                ),
                false => say(ERROR, &error.to_string()),
            }
            // What cannot be read may be an interface; its carrier is to come again.
            let closed = match error.is_not_found() {
                true => Vec::new(),
                false => vec![None],
            };
            return Config {
                // Who follows is not to miss what happens meanwhile.
                listens: !closed.is_empty(),
                closed,
                ..Config::default()
            };
        }
    };
    let own = own_profiles(paths);
    let own = own
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let (profiles, bad) = Profiles::load(own);
    for profile in bad {
        say(ERROR, &profile.to_string());
    }
    let environment = environment::all();
    let config = config::read(
        &name,
        Some(&text),
        &World {
            variable: &|name| environment.get(name).cloned(),
            file: &|path| read_text(path.as_ref()).map_err(|error| error.to_string()),
            profiles: &profiles,
        },
    );
    for mistake in &config.mistakes {
        say(ERROR, &mistake.to_string());
    }
    config
}

/// Name and text of each profile in websms.d beside websms.conf.
fn own_profiles(paths: &Paths) -> Vec<(String, String)> {
    let directory = paths.asterisk_config().join("websms.d");
    let Ok(entries) = std::fs::read_dir(&directory) else {
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    let mut profiles: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    profiles.sort();
    let text = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_ascii_lowercase();
        match read_text(&path) {
            Ok(text) => Some((name, text)),
            Err(error) => {
                say(ERROR, &error.to_string());
                None
            }
        }
    };
    profiles.into_iter().filter_map(text).collect()
}

/// How long messages at rest are kept, in milliseconds.
pub fn history(config: &Config) -> i64 {
    i64::try_from(config.store.retention.as_millis()).unwrap_or(i64::MAX)
}

/// Opens the spool on the volume.
pub fn open_spool(paths: &Paths, config: &Config) -> Result<(Spool, Handle), OpenError> {
    let directory = paths.state().join("websms");
    // In the image it is there and ours; a failure shows at the next step.
    let _ = std::fs::create_dir_all(&directory);
    let limits = Limits {
        history: history(config),
        redact: config.store.redact,
        ..Limits::default()
    };
    let tell = Box::new(|text: &str| say(WARNING, text));
    Spool::open(&directory.join(spool::NAME), limits, tell)
}
