//! websms.conf: the predecessor's file as it is, and our keys in the same style.
//!
//! Pure: the environment, the files of secrets and the profiles are handed in. A bad value stops the side of the interface
//! that it concerns, in or out, and nothing else; a bad list of addresses lets nobody in.
//!
//! Invariant: whatever the text is there is a configuration, each mistake is told with its line, and none of them repeats a
//! secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::api::access::Client;
use super::hook::Hook;
use super::ini::{Ini, Key, Value};
use super::media::Allow;
use super::profile::Profile;
use super::profiles::Profiles;
use crate::autoban::cidr::Cidr;
pub use crate::autoban::config::Mistake;
use crate::autoban::config::nearest;
pub use secret::Secret;

mod check;
mod clients;
mod incoming;
mod interface;
pub mod keys;
mod outgoing;
mod secret;
mod sections;
mod values;

pub use check::{Auth, Check, Unicode};

/// What the file may ask for.
pub struct World<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The text of a file, or why it cannot be read.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
    pub profiles: &'a Profiles,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    pub interfaces: Vec<Interface>,
    /// The indexes of those that receive nothing because of a mistake.
    pub closed: Vec<Option<String>>,
    /// Whose word on the sender's address is taken.
    pub proxies: Vec<Cidr>,
    /// The header in which they give it, in small letters.
    pub proxy_header: String,
    pub queue: AstQueue,
    pub store: Store,
    pub clients: Vec<Client>,
    pub hooks: Vec<Hook>,
    /// Somebody is to be told of what happens, now or when a mistake is corrected.
    pub listens: bool,
    pub mistakes: Vec<Mistake>,
}

/// One carrier's interface.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    /// None: that of keys without index.
    pub index: Option<String>,
    pub incoming: Option<Inbound>,
    pub outgoing: Option<Outbound>,
    /// Our numbers at this carrier.
    pub numbers: Vec<String>,
    /// The country of numbers without one, in digits.
    pub country: Option<String>,
    /// The index of the interface that takes over.
    pub failover: Option<String>,
    /// Messages a second.
    pub rate: Option<f64>,
}

impl Interface {
    /// What it is called in the spool and to people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.index.as_deref().unwrap_or("websms")
    }
}

/// A profile by its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub name: String,
    pub profile: Arc<Profile>,
}

/// How an interface receives.
#[derive(Debug, Clone, PartialEq)]
pub struct Inbound {
    /// None: anybody.
    pub addresses: Option<Vec<Cidr>>,
    /// None: any path.
    pub paths: Option<Vec<String>>,
    /// None: by the keys.
    pub profile: Option<Named>,
    pub key_to: String,
    pub key_from: String,
    pub key_body: String,
    pub key_echo: Option<String>,
    /// What is answered to a request without profile that was taken.
    pub resp_ack: String,
    /// Whether the profile's signature is asked for.
    pub verify: bool,
    pub verify_user: String,
    /// Any of them will do.
    pub verify_secrets: Vec<Secret>,
    pub public_url: Option<String>,
    /// From where its media may be fetched.
    pub media_allow: Allow,
}

impl Inbound {
    /// Whether a request for this target, path and query, is for it. A path of the configuration that has a query must be
    /// met with its query, as it was for the predecessor; others are compared without. Nothing is decoded.
    #[must_use]
    pub fn takes(&self, target: &str) -> bool {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        self.paths.as_ref().is_none_or(|paths| {
            paths.iter().any(|known| match known.contains('?') {
                true => known == target,
                false => known == path,
            })
        })
    }
}

/// How an interface sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    pub user: String,
    pub secret: Option<Secret>,
    /// The country of numbers without one.
    pub country: Option<String>,
    pub style: Style,
}

/// By what a request is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Style {
    Keys(Keys),
    Profile {
        named: Named,
        parameters: BTreeMap<String, String>,
        public_url: Option<String>,
        /// Scheme, host and port in place of the carrier's own.
        host: Option<String>,
        path: Option<String>,
    },
}

/// The predecessor's keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    pub url_host: String,
    pub url_path: String,
    pub auth: Auth,
    pub to: String,
    pub from: String,
    pub body: String,
    pub user: String,
    pub secret: String,
    pub statics: Vec<(String, String)>,
    pub unicode: Unicode,
    /// Whether a leading + and then a leading 00 go.
    pub strip: bool,
    pub check: Check,
}

/// How messages reach the phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deliver {
    /// One by one, with the phones' own answers.
    #[default]
    Direct,
    /// By the predecessor's call files.
    Dialplan,
}

/// What `[astqueue]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AstQueue {
    pub deliver: Deliver,
    pub context: String,
    pub channel_context: String,
    pub priority: String,
    /// Whether the text is percent-encoded for the dialplan.
    pub encode: bool,
    pub outgoingdir: String,
    pub stagingdir: String,
    pub waittime: u32,
    pub maxretries: u32,
    pub retrytime: u32,
    pub archive: bool,
    pub account: Option<String>,
    pub application: Option<String>,
    pub data: Option<String>,
}

impl Default for AstQueue {
    fn default() -> AstQueue {
        AstQueue {
            deliver: Deliver::Direct,
            context: "default".to_owned(),
            channel_context: "default".to_owned(),
            priority: "1".to_owned(),
            encode: true,
            outgoingdir: "/var/spool/asterisk/outgoing".to_owned(),
            stagingdir: "/var/spool/asterisk/staging".to_owned(),
            waittime: 45,
            maxretries: 0,
            retrytime: 300,
            archive: false,
            account: None,
            application: None,
            data: None,
        }
    }
}

/// How long messages are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub retention: Duration,
    pub hold: Duration,
    pub validity: Duration,
    /// Whether texts go as soon as nobody needs them.
    pub redact: bool,
    /// Where the world finds what is kept of media; none: it stays with the carriers.
    pub media_url: Option<String>,
    /// Bytes of all media that are kept.
    pub media_quota: u64,
}

impl Default for Store {
    fn default() -> Store {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Store {
            retention: days(30),
            hold: days(7),
            validity: days(1),
            redact: false,
            media_url: None,
            media_quota: 1 << 30,
        }
    }
}

/// Reads websms.conf; `text` is none if there is no such file. `file` is its name for the mistakes.
#[must_use]
pub fn read(file: &str, text: Option<&str>, world: &World<'_>) -> Config {
    let ini = Ini::parse(text.unwrap_or_default(), world.variable);
    let mut reader = Reader {
        file,
        ini: &ini,
        world,
        mistakes: Vec::new(),
        closed: Vec::new(),
    };
    if text.is_none() {
        reader.tell(
            1,
            "there is no such file; nothing is let in and nothing goes out",
            "copy the sample and fill in what your carrier told you",
        );
    }
    for warning in &ini.warnings {
        reader.tell(warning.line, warning.problem.clone(), warning.hint.clone());
    }
    reader.names();
    let (proxies, proxy_header) = reader.proxies();
    let queue = reader.queue();
    let store = reader.store();
    let clients = reader.clients();
    let hooks = reader.hooks();
    let listens = reader.listens();
    let interfaces = reader.interfaces();
    if !clients.is_empty() {
        reader.paths_of_the_api(&interfaces);
    }
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    Config {
        interfaces,
        closed: reader.closed,
        proxies,
        proxy_header,
        queue,
        store,
        clients,
        hooks,
        listens,
        mistakes: reader.mistakes,
    }
}

struct Reader<'a> {
    file: &'a str,
    ini: &'a Ini,
    world: &'a World<'a>,
    mistakes: Vec<Mistake>,
    closed: Vec<Option<String>>,
}

/// A value and its line.
#[derive(Clone, Copy)]
struct Given<'a> {
    text: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn tell(&mut self, line: usize, problem: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line,
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    fn key(&self, section: &str, name: &str) -> Option<&'a Key> {
        let section = self.ini.section(section)?;
        section.keys.iter().find(|key| key.name == name)
    }

    /// Where a section, or the file, begins.
    fn line(&self, section: &str) -> usize {
        self.ini.section(section).map_or(1, |section| section.line)
    }

    /// The value for an index: that of the array, or the one for all.
    fn given(&self, section: &str, name: &str, index: Option<&str>) -> Option<Given<'a>> {
        let key = self.key(section, name)?;
        match &key.value {
            Value::One(text) => Some(Given {
                text,
                line: key.line,
            }),
            Value::Many(items) => items
                .iter()
                .find(|item| Some(item.index.trim()) == index)
                .map(|item| Given {
                    text: &item.value,
                    line: item.line,
                }),
        }
    }

    /// Tells of sections and keys that nobody knows, and of indexes where none can stand.
    fn names(&mut self) {
        let ini = self.ini;
        for key in &ini.loose {
            self.tell(
                key.line,
                format!("`{}` stands before any section", key.name.escape_debug()),
                "put it below [websms] or [websmsd]",
            );
        }
        for section in &ini.sections {
            let name = section.name.as_str();
            if !keys::SECTIONS.iter().any(|(known, _)| *known == name) {
                let hint = nearest(name, keys::SECTIONS.iter().map(|(known, _)| *known)).map_or(
                    "the sections are [websms], [websmsd], [astqueue], [store], [api] and [hooks]"
                        .to_owned(),
                    |known| format!("did you mean [{known}]?"),
                );
                let shown = name.escape_debug();
                self.tell(
                    section.line,
                    format!("[{shown}] is no section of WebSMS"),
                    hint,
                );
                continue;
            }
            for key in &section.keys {
                self.name(name, key);
            }
        }
    }

    fn name(&mut self, section: &str, key: &Key) {
        let shown = key.name.escape_debug();
        if keys::UNUSED.contains(&(section, key.name.as_str())) {
            return;
        }
        let Some(known) = keys::find(section, &key.name) else {
            let names = || {
                keys::KEYS
                    .iter()
                    .filter(|known| known.section == section)
                    .map(|known| known.name)
            };
            let elsewhere = keys::SECTIONS
                .iter()
                .map(|(other, _)| *other)
                .find(|other| keys::find(other, &key.name).is_some());
            let hint = match (elsewhere, nearest(&key.name, names())) {
                (Some(other), _) => format!("it belongs below [{other}]"),
                (None, Some(known)) => format!("did you mean {known}?"),
                (None, None) => format!("the keys are {}", names().collect::<Vec<_>>().join(", ")),
            };
            return self.tell(
                key.line,
                format!("`{shown}` is no key of [{section}]"),
                hint,
            );
        };
        match (known.index, &key.value) {
            (keys::Index::No, Value::Many(_)) => self.tell(
                key.line,
                format!("`{shown}` takes no index; it is left out"),
                format!("write it as {shown} = value"),
            ),
            (keys::Index::Client, Value::One(_)) => self.tell(
                key.line,
                format!("`{shown}` names no client; it is left out"),
                format!("write it as {shown} [name] = value"),
            ),
            (keys::Index::Hook, Value::One(_)) => self.tell(
                key.line,
                format!("`{shown}` names no hook; it is left out"),
                format!("write it as {shown} [name] = value"),
            ),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
