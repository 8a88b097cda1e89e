//! What the daemon reads from the volume: autoban.conf, the manager's secret, the predecessor's bans.

use std::path::PathBuf;

use super::manager::Door;
use super::voice::{ERROR, say};
use super::webhook::Hook;
use crate::asterisk::conf::Document;
use crate::asterisk::generate::includes::Includes;
use crate::autoban::config::{self, Config, Key, Mistake, Webhook};
use crate::autoban::ledger::Fact;
use crate::autoban::legacy;
use crate::autoban::named_lists;
use crate::config::paths::Paths;
use crate::sys::file::read_text;

/// autoban.conf as it was found.
pub struct Read {
    pub config: Config,
    pub mistakes: Vec<Mistake>,
    /// Why AutoBan is off, if it is.
    pub off: Option<String>,
}

pub fn autoban_conf(paths: &Paths) -> PathBuf {
    paths.asterisk_config().join("autoban.conf")
}

fn manager_conf(paths: &Paths) -> PathBuf {
    paths.asterisk_config().join("manager.conf")
}

/// Reads autoban.conf. Without it AutoBan is off, as it was with mlan/docker-asterisk.
pub fn read(paths: &Paths) -> Read {
    let path = autoban_conf(paths);
    let name = path.display().to_string();
    match read_text(&path) {
        Ok(text) => {
            let (mut config, mut mistakes) = config::read(&name, &text);
            mistakes.extend(take_named_lists(&mut config, &name, paths));
            let off = (!config.enabled).then(|| format!("`{name}` says enabled = no"));
            Read {
                config,
                mistakes,
                off,
            }
        }
        Err(error) => {
            let why = match error.is_not_found() {
                true => format!("there is no `{name}`"),
                false => error.to_string(),
            };
            Read {
                config: Config {
                    enabled: false,
                    ..Config::default()
                },
                mistakes: Vec::new(),
                off: Some(why),
            }
        }
    }
}

/// Adds the networks of the lists of acl.conf that autoban.conf names.
pub fn take_named_lists(config: &mut Config, name: &str, paths: &Paths) -> Vec<Mistake> {
    if config.acls.is_empty() {
        return Vec::new();
    }
    let found = crate::acl::store::file_lists(paths);
    named_lists::take(config, name, &found.lists, &found.mistakes)
}

/// Tells the mistakes of a configuration.
pub fn tell_mistakes(found: &Read) {
    for mistake in &found.mistakes {
        say(ERROR, &mistake.to_string());
    }
}

/// Where bans are told, and with which key. Nothing without an address, and nothing where its secret cannot be read: who
/// asks for signatures would refuse what has none.
pub fn hook(webhook: &Webhook, paths: &Paths) -> Option<Hook> {
    let key = match &webhook.key {
        None => None,
        Some(Key::Given(text)) => Some(text.as_bytes().to_vec()),
        Some(Key::InFile(path)) => match read_text(&paths.at(path)) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).as_bytes().to_vec()),
            Err(error) => {
                say(
                    ERROR,
                    &format!(
                        "{error}\nhint: until webhooksecret_file can be read, the webhook is not told"
                    ),
                );
                return None;
            }
        },
    };
    let to = webhook.to.clone()?;
    Some(Hook { to, key })
}

/// Where the manager is, and the secret: that of autoban.conf, else the one of manager.conf. Both are read anew for each
/// connection, so that a mistake is mended by mending it.
pub fn door(manager: &config::Manager, paths: &Paths) -> Result<Door, String> {
    let secret = match &manager.secret {
        Some(secret) => secret.clone(),
        None => {
            let path = manager_conf(paths);
            let text = read_text(&path).map_err(|error| error.to_string())?;
            config::secret_of(&text, &manager.username).ok_or_else(|| {
                let (path, user) = (path.display(), &manager.username);
                format!("`{path}` has no secret for a user [{user}]")
            })?
        }
    };
    Ok(Door {
        server: manager.server.clone(),
        port: manager.port,
        username: manager.username.clone(),
        secret,
        events: "security,system",
    })
}

/// What to do where the manager denies us: which line has the secret.
pub fn denied(manager: &config::Manager, paths: &Paths, why: &str) -> String {
    let user = &manager.username;
    let (path, section) = match manager.secret {
        Some(_) => (autoban_conf(paths), "asmanager"),
        None => (manager_conf(paths), user.as_str()),
    };
    let line = read_text(&path).ok().and_then(|text| {
        let document = Document::parse(&text);
        let found = document.section(section)?;
        let entry = found
            .entries()
            .find(|entry| entry.key.eq_ignore_ascii_case("secret"))?;
        Some(entry.line)
    });
    let place = match line {
        Some(line) => format!("{}:{line}: ", path.display()),
        None => String::new(),
    };
    let hint = match (&manager.secret, line) {
        (_, None) => format!(
            "manager.conf needs a section [{user}] with `secret`, `read = security,system`, and a `permit` for AutoBan"
        ),
        (Some(_), _) => format!(
            "write the secret that manager.conf has for [{user}], or remove the line: then that one is taken"
        ),
        (None, _) => format!(
            "let Asterisk read it again (`asterisk -rx 'manager reload'`), and see that [{user}] has `read = security,system` and permits this address"
        ),
    };
    format!("{place}the manager does not let in the user `{user}`: {why}\nhint: {hint}")
}

/// What to do where the manager does not have Asterisk read its lists again: which line says what the user may.
pub fn reload_refused(manager: &config::Manager, paths: &Paths, why: &str) -> String {
    let (user, path) = (&manager.username, manager_conf(paths));
    let text = read_text(&path).unwrap_or_default();
    let document = Document::parse(&text);
    let section = document.section(user);
    let write = section.and_then(|section| {
        let entries = section.entries();
        entries
            .filter(|entry| entry.key.eq_ignore_ascii_case("write"))
            .last()
    });
    let line = write
        .map(|entry| entry.line)
        .or_else(|| Some(section?.line()));
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let may = write.is_some_and(|entry| {
        let mut words = entry.value.split(',');
        words.any(|word| ["system", "all"].contains(&word.trim()))
    });
    let again = "`asterisk -rx 'manager reload'` and `switchhook reload autoban`";
    let hint = match may {
        true => format!("a login keeps the rights that it began with: {again}"),
        false => format!("write `write = system` there, then {again}"),
    };
    let text = format!(
        "nobody is banned: `{}{line}`: the user `{user}` cannot have the list of bans read: {why}
hint: {hint}",
        path.display()
    );
    paths.pbx().rename(&text)
}

/// pjsip.conf with all that it includes; nothing if it cannot be read.
pub fn whole_pjsip(paths: &Paths) -> String {
    let home = paths.asterisk_config();
    let text = Includes::at(paths, &home).read("pjsip.conf");
    text.unwrap_or_default()
}

/// The predecessor's bans, as facts, and how many elements could not be read. Nothing if there is no such file.
pub fn predecessor(paths: &Paths, config: &Config) -> Option<Result<(Vec<Fact>, usize), String>> {
    let path = paths.volume().join("etc/nftables.d/autoban.nft");
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(error) if error.is_not_found() => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let written = std::fs::metadata(&path)
        .and_then(|meta| meta.modified())
        .ok();
    let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let millis = i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0);
    let found = legacy::read(&text);
    Some(Ok((found.facts(&config.policy, millis), found.misread)))
}
