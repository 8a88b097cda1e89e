//! autoban.conf: the predecessor's file as it is, and our keys in the same style.
//!
//! Pure. The predecessor read it as a PHP ini file: `key = value`, values bare or in quotation marks, comments after `;`.
//! Invariant: whatever the text is there is a configuration; each mistake is told with its line, and the default holds.

mod value;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::cidr::Cidr;
use super::policy::{LONGEST, LONGEST_WEAK, Policy};
use crate::web::address::Address;
pub use value::seconds;
use value::{
    address, bad, boolean, import, key_of, names, networks, number, ports, thousandths, time,
};

/// How the manager is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Manager {
    pub server: String,
    pub port: u16,
    pub username: String,
    /// None: that of manager.conf ([`secret_of`]).
    pub secret: Option<String>,
}

/// Shows no secret.
impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("secret", &self.secret.as_ref().map(|_| "***"))
            .finish()
    }
}

/// Where a block list comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    Web(Address),
    /// An absolute path.
    File(String),
}

/// Without what is secret.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Web(address) => f.write_str(&address.with_path()),
            Origin::File(path) => f.write_str(path),
        }
    }
}

/// A block list that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub from: Origin,
    /// How long an entry holds after it was last seen.
    pub time: Duration,
}

/// What a webhook's requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    Given(String),
    /// The path of a file that holds it.
    InFile(String),
}

/// Shows no secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Given(_) => f.write_str("***"),
            Key::InFile(path) => write!(f, "in {path}"),
        }
    }
}

/// Where bans are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhook {
    pub to: Option<Address>,
    pub key: Option<Key>,
    /// Weak bans are told, too.
    pub weak: bool,
}

/// A named list of Asterisk's that is taken as a white or black list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclUse {
    pub name: String,
    pub white: bool,
    /// Of autoban.conf, from 1.
    pub line: usize,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub enabled: bool,
    pub policy: Policy,
    pub whitelist: Vec<Cidr>,
    pub blacklist: Vec<Cidr>,
    pub acls: Vec<AclUse>,
    pub webhook: Webhook,
    pub imports: Vec<Import>,
    /// The UDP ports that a weak ban closes.
    pub sipports: Vec<u16>,
    pub manager: Manager,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: true,
            policy: Policy::default(),
            whitelist: Vec::new(),
            blacklist: Vec::new(),
            acls: Vec::new(),
            webhook: Webhook::default(),
            imports: Vec::new(),
            sipports: vec![5060],
            manager: Manager {
                server: "127.0.0.1".to_owned(),
                port: 5038,
                username: "autoban".to_owned(),
                secret: None,
            },
        }
    }
}

/// One mistake; what is said holds instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}\nhint: {hint}")]
pub struct Mistake {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub problem: String,
    pub hint: String,
}

/// The keys of `[autoban]`: name, form, what it is. The order is that of the reference.
pub const KEYS: &[(&str, &str, &str)] = &[
    ("enabled", "yes or no", "whether AutoBan watches at all"),
    (
        "maxcount",
        "1 to 1000",
        "this many events within `watchtime` are enough",
    ),
    (
        "watchtime",
        "time",
        "how long an event counts, and how long parole lasts after jail",
    ),
    ("jailtime", "time", "the first sentence"),
    (
        "repeatmult",
        "1 to 1000",
        "how many times longer each further sentence is",
    ),
    (
        "weaktime",
        "time, at most 5m",
        "how long forgeable evidence closes SIP over UDP",
    ),
    (
        "trusttime",
        "time",
        "how long a login makes its source trusted",
    ),
    (
        "aggregatecount",
        "2 to 256",
        "this many sentences ban the /24 or /48 around them",
    ),
    ("aggregatetime", "time", "the time within which they count"),
    (
        "maxwatch",
        "1000 to 4194304",
        "the most sources that are watched",
    ),
    (
        "maxjail",
        "100 to 1048576",
        "the most sources of each family in jail or on parole",
    ),
    ("whitelist", "networks", "never banned"),
    ("blacklist", "networks", "always dropped"),
    (
        "whitelist_acl",
        "names",
        "lists of acl.conf: whom a rule of theirs permits is never banned",
    ),
    (
        "blacklist_acl",
        "names",
        "lists of acl.conf: whom a rule of theirs denies is always dropped",
    ),
    (
        "webhook",
        "address",
        "where bans are told, by a POST with JSON",
    ),
    (
        "webhooksecret",
        "text",
        "signs what the webhook is told (HMAC-SHA256)",
    ),
    (
        "webhooksecret_file",
        "path",
        "a file that holds it, in its place",
    ),
    (
        "webhookweak",
        "yes or no",
        "whether weak bans are told there, too",
    ),
    (
        "import",
        "address or path, time",
        "a block list and how long its entries hold after each fetch; up to 16 lines",
    ),
    ("sipports", "ports", "the UDP ports of SIP"),
];

/// Keys whose value may be secret, so that no mistake repeats it.
const SECRET_KEYS: &[&str] = &["webhook", "webhooksecret", "import"];
/// The most block lists.
const MOST_IMPORTS: usize = 16;

const MANAGER_KEYS: &[&str] = &["server", "port", "username", "secret"];

/// Sections of the predecessor that say nothing here.
const IGNORED: &[&str] = &["nftables"];

/// Reads autoban.conf. `file` is its name for the mistakes.
#[must_use]
pub fn read(file: &str, text: &str) -> (Config, Vec<Mistake>) {
    let mut reader = Reader {
        file,
        line: 0,
        config: Config::default(),
        mistakes: Vec::new(),
        seen: HashMap::new(),
    };
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        reader.line = index + 1;
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with(';') || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            match rest.split_once(']') {
                Some((name, _)) => {
                    section = name.trim().to_ascii_lowercase();
                    reader.section(&section);
                }
                None => reader.tell("the section's name does not end", "write it as [autoban]"),
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            reader.tell(
                format!("`{}` is no `key = value`", line.escape_debug()),
                "write for example `maxcount = 10`, comments after `;`",
            );
            continue;
        };
        let (key, value) = (key.trim(), bare(value));
        match section.as_str() {
            "autoban" => reader.autoban(key, &value),
            "asmanager" => reader.manager(key, &value),
            "" => reader.tell(
                format!("`{}` stands before any section", key.escape_debug()),
                "put it below [autoban]",
            ),
            _ => {}
        }
    }
    (reader.config, reader.mistakes)
}

/// The value without comment and quotation marks.
fn bare(value: &str) -> String {
    let value = value.trim_start_matches('>').trim();
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote))
        {
            return inner.to_owned();
        }
    }
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

struct Reader<'a> {
    file: &'a str,
    line: usize,
    config: Config,
    mistakes: Vec<Mistake>,
    /// The line of each key that can stand once.
    seen: HashMap<String, usize>,
}

impl Reader<'_> {
    fn tell(&mut self, problem: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line: self.line,
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    fn section(&mut self, name: &str) {
        let known = ["autoban", "asmanager"];
        if !known.contains(&name) && !IGNORED.contains(&name) {
            let hint = nearest(name, known.into_iter()).map_or(
                "the sections are [autoban] and [asmanager]".to_owned(),
                |known| format!("did you mean [{known}]?"),
            );
            self.tell(
                format!("[{}] is no section of AutoBan", name.escape_debug()),
                hint,
            );
        }
    }

    fn unknown(&mut self, key: &str, known: &[&str]) {
        let hint = nearest(key, known.iter().copied()).map_or_else(
            || format!("the keys are {}", known.join(", ")),
            |known| format!("did you mean {known}?"),
        );
        self.tell(
            format!("`{}` is no key of this section", key.escape_debug()),
            hint,
        );
    }

    /// Says so if a key stands a second time; the last one holds.
    fn repeated(&mut self, key: &str) {
        if let Some(first) = self.seen.insert(key.to_owned(), self.line) {
            self.tell(
                format!("`{key}` was already given in line {first}"),
                "remove one of them; this one holds",
            );
        }
    }

    fn autoban(&mut self, key: &str, value: &str) {
        let key = key.to_ascii_lowercase();
        if !KEYS.iter().any(|(name, ..)| *name == key) {
            let known: Vec<&str> = KEYS.iter().map(|(name, ..)| *name).collect();
            return self.unknown(&key, &known);
        }
        if !matches!(
            key.as_str(),
            "import" | "whitelist" | "blacklist" | "whitelist_acl" | "blacklist_acl"
        ) {
            self.repeated(&key);
        }
        let mut config = self.config.clone();
        let policy = &mut config.policy;
        let longest = LONGEST.as_secs();
        let result = match key.as_str() {
            "enabled" => boolean(value).map(|on| config.enabled = on),
            "maxcount" => number(value, 1, 1000).map(|n| policy.maxcount = n),
            "watchtime" => time(value, 1, longest / 2).map(|t| policy.watchtime = t),
            "jailtime" => time(value, 1, longest / 2).map(|t| policy.jailtime = t),
            "repeatmult" => thousandths(value).map(|n| policy.repeatmult = n),
            "weaktime" => time(value, 1, LONGEST_WEAK.as_secs()).map(|t| policy.weaktime = t),
            "trusttime" => time(value, 0, longest).map(|t| policy.trusttime = t),
            "aggregatecount" => number(value, 2, 256).map(|n| policy.aggregatecount = n),
            "aggregatetime" => time(value, 1, 86_400 * 7).map(|t| policy.aggregatetime = t),
            "maxwatch" => number(value, 1000, 4_194_304).map(|n| policy.maxwatch = n),
            "maxjail" => number(value, 100, 1_048_576).map(|n| policy.maxjail = n),
            "whitelist" => networks(value).map(|list| config.whitelist.extend(list)),
            "blacklist" => networks(value).map(|list| config.blacklist.extend(list)),
            "whitelist_acl" | "blacklist_acl" => {
                let white = key == "whitelist_acl";
                let line = self.line;
                names(value).map(|names| {
                    config
                        .acls
                        .extend(names.into_iter().map(|name| AclUse { name, white, line }));
                })
            }
            "webhook" => address(value).map(|to| config.webhook.to = to),
            "webhooksecret" => key_of(&config.webhook, Key::Given(value.to_owned()))
                .map(|key| config.webhook.key = key),
            "webhooksecret_file" => key_of(&config.webhook, Key::InFile(value.to_owned()))
                .map(|key| config.webhook.key = key),
            "webhookweak" => boolean(value).map(|on| config.webhook.weak = on),
            "import" if config.imports.len() == MOST_IMPORTS => bad(
                format!("there are {MOST_IMPORTS} block lists already"),
                "join some of them",
            ),
            "import" => import(value).map(|import| config.imports.push(import)),
            _ => ports(value).map(|ports| config.sipports = ports),
        };
        match result {
            Ok(()) => self.config = config,
            Err(bad) => {
                let keeps = match key.as_str() {
                    "whitelist" | "blacklist" | "whitelist_acl" | "blacklist_acl" | "import" => {
                        "the line is left out".to_owned()
                    }
                    "webhooksecret" | "webhooksecret_file" => "the line is left out".to_owned(),
                    _ => "the default holds".to_owned(),
                };
                let shown = match SECRET_KEYS.contains(&key.as_str()) {
                    true => "***".to_owned(),
                    false => value.escape_debug().to_string(),
                };
                self.tell(
                    format!("{key} = {shown}: {}; {keeps}", bad.problem),
                    bad.hint,
                );
            }
        }
    }

    /// No value is repeated here: one of them is the secret.
    fn manager(&mut self, key: &str, value: &str) {
        let key = key.to_ascii_lowercase();
        if !MANAGER_KEYS.contains(&key.as_str()) {
            return self.unknown(&key, MANAGER_KEYS);
        }
        self.repeated(&format!("asmanager {key}"));
        if value.chars().any(char::is_control) {
            return self.tell(format!("{key} holds a control character"), "write it anew");
        }
        let manager = &mut self.config.manager;
        match key.as_str() {
            "server" if !value.is_empty() => value.clone_into(&mut manager.server),
            "username" if !value.is_empty() => value.clone_into(&mut manager.username),
            "secret" if !value.is_empty() => manager.secret = Some(value.to_owned()),
            "port" => match value.parse().ok().filter(|port| *port != 0) {
                Some(port) => manager.port = port,
                None => self.tell(
                    format!("port = {} is no port; 5038 holds", value.escape_debug()),
                    "write the `port` of manager.conf, for example 5038",
                ),
            },
            _ => self.tell(
                format!("{key} is empty; the default holds"),
                "write a value or remove the line",
            ),
        }
    }
}

/// The known name that looks most alike.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) = known.map(|known| (distance(name, known), known)).min()?;
    (distance <= best.len().div_ceil(3)).then_some(best)
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.chars().enumerate() {
            let at = |j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let left = next.last().copied().unwrap_or(0);
            let replaced = at(j) + usize::from(x != y);
            next.push(replaced.min(left + 1).min(at(j + 1).saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// The secret that manager.conf has for a user.
#[must_use]
pub fn secret_of(manager_conf: &str, user: &str) -> Option<String> {
    let document = crate::asterisk::conf::Document::parse(manager_conf);
    document
        .effective(user, "secret")
        .filter(|secret| !secret.is_empty())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
