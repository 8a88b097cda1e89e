//! `[api]` and `[hooks]`: who may ask, and who is told.
//!
//! Pure. A client or a hook is a name that an array of its section has; a mistake in one of its keys leaves it out, and no
//! other. Invariant: of a token nothing but its digest leaves this room.

use super::interface::Side;
use super::values::{self, Read, bad};
use super::{Interface, Reader};
use crate::web::address::Address;
use crate::websms::api::access::{Client, Digest, Rights, Scope};
use crate::websms::api::route;
use crate::websms::delivery::State;
use crate::websms::hook::{Hook, Key};
use crate::websms::ini::Value;

/// Requests a second to a hook, unless it says something else.
const RATE: f64 = 20.0;

impl<'a> Reader<'a> {
    /// The names that the arrays of a section have, in the order of the file.
    fn named(&self, section: &str) -> Vec<String> {
        let keys = self.ini.section(section);
        let keys = keys.map_or(&[][..], |section| &section.keys);
        let mut names: Vec<String> = Vec::new();
        for key in keys {
            let Value::Many(items) = &key.value else {
                continue;
            };
            for item in items {
                let name = item.index.trim().to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Whether anybody is meant to follow what happens, be it by a mistake in vain.
    pub(super) fn listens(&self) -> bool {
        ["api", "hooks"]
            .iter()
            .any(|section| !self.named(section).is_empty())
    }

    pub(super) fn clients(&mut self) -> Vec<Client> {
        let mut clients: Vec<Client> = Vec::new();
        for name in self.named("api") {
            let Some(client) = self.client(name) else {
                continue;
            };
            match clients.iter().find(|known| known.token == client.token) {
                None => clients.push(client),
                Some(known) => {
                    let shown = known.name.escape_debug().to_string();
                    let mut side = self.side("api", &client.name, CLIENT);
                    let line = side.first_line(&TOKENS);
                    side.stop(
                        line,
                        &format!("the token is that of [{shown}]"),
                        "give each client a token of its own",
                    );
                }
            }
        }
        clients
    }

    fn side(
        &mut self,
        section: &'static str,
        name: &str,
        consequence: &'static str,
    ) -> Side<'_, 'a> {
        let mut side = self.plain(section);
        side.index = Some(name.to_owned());
        side.consequence = consequence;
        side
    }

    fn client(&mut self, name: String) -> Option<Client> {
        let mut side = self.side("api", &name, CLIENT);
        let scope = side.scope();
        let rights = side.listed_as("rights", rights);
        let token = side.token();
        let broken = side.broken;
        token.filter(|_| !broken).map(|token| Client {
            name,
            token,
            rights: rights.unwrap_or_default(),
            scope,
        })
    }

    pub(super) fn hooks(&mut self) -> Vec<Hook> {
        let names = self.named("hooks");
        names
            .into_iter()
            .filter_map(|name| self.hook(name))
            .collect()
    }

    fn hook(&mut self, name: String) -> Option<Hook> {
        let mut side = self.side("hooks", &name, HOOK);
        let to = side.listed_as("url", address);
        if to.is_none() && !side.broken {
            side.missing("url", "write it, as https://crm.example.org/sms");
        }
        let keys = side.signing_keys();
        let states = side.listed_as("events", states);
        let scope = side.scope();
        let text = side.listed_as("body", values::boolean);
        let rate = side.listed_as("rate", values::rate);
        let broken = side.broken;
        to.filter(|_| !broken).map(|to| Hook {
            name,
            to,
            keys,
            states: states.flatten(),
            scope,
            text: text.unwrap_or(true),
            rate: rate.unwrap_or(RATE),
        })
    }

    /// A path of a carrier's that lies where the API is goes on being the carrier's; that is told.
    pub(super) fn paths_of_the_api(&mut self, interfaces: &[Interface]) {
        for interface in interfaces {
            let paths = interface.incoming.as_ref().and_then(|i| i.paths.as_ref());
            let ours = |path: &&String| route::is_ours(path.split('?').next().unwrap_or_default());
            let Some(path) = paths.into_iter().flatten().find(ours) else {
                continue;
            };
            let index = interface.index.as_deref();
            let line = self.given("websmsd", "url_path", index);
            let line = line.map_or(1, |given| given.line);
            self.tell(
                line,
                format!(
                    "url_path: {} lies where the API is; it stays the carrier's",
                    path.escape_debug()
                ),
                "choose one that does not begin with /v1/ if you need the API there",
            );
        }
    }
}

const CLIENT: &str = "this client is left out";
const HOOK: &str = "this hook is left out";
const TOKENS: [&str; 3] = ["token", "token_file", "token_sha256"];

impl Side<'_, '_> {
    /// The value of a name's own, even an empty one: `no` and `none` are read as nothing at all, and must not become the
    /// default, which is everything.
    fn listed_as<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Read<T>) -> Option<T> {
        let key = self.reader.key(self.section, name)?;
        let given = self
            .stated(name)
            .filter(|_| matches!(key.value, Value::Many(_)))?;
        self.judge(name, given.line, read(given.text))
    }

    fn scope(&mut self) -> Option<Scope> {
        let numbers = self.listed_as("numbers", numbers)?;
        Some(Scope::new(&numbers))
    }

    /// Of the first of these keys that is there, or of the section.
    fn first_line(&self, names: &[&str]) -> usize {
        let mut given = names.iter().filter_map(|name| self.listed(name));
        let line = self.reader.line(self.section);
        given.next().map_or(line, |given| given.line)
    }

    fn missing(&mut self, name: &str, hint: &str) {
        let line = self.reader.line(self.section);
        let shown = self.shown(name);
        self.stop(line, &format!("{shown} is missing"), hint);
    }

    fn token(&mut self) -> Option<Digest> {
        let [token, file, digest] = TOKENS.map(|name| self.listed(name));
        let given = [token, file, digest];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (None, _) => {
                self.missing("token", "write it, or token_file, or token_sha256");
                return None;
            }
            (Some(_), Some(second)) => {
                self.stop(second.line, "there are two tokens", "give one of them");
                return None;
            }
            (Some(_), None) => {}
        }
        if let Some(digest) = digest {
            let read = Digest::read(digest.text).map_or_else(
                || {
                    bad(
                        "that is no SHA-256 digest",
                        "write its 64 digits: printf %s \"$TOKEN\" | sha256sum",
                    )
                },
                Ok,
            );
            return self.judge("token_sha256", digest.line, read);
        }
        let (text, line) = match (token, file) {
            (Some(token), _) => (token.text.to_owned(), token.line),
            (None, Some(file)) => {
                let secret = self.secrets_of("token_file", file)?.into_iter().next()?;
                (secret.expose().to_owned(), file.line)
            }
            (None, None) => return None,
        };
        if text.len() < 16 {
            self.stop(
                line,
                "the token is shorter than 16 signs",
                "make one with: openssl rand -hex 24",
            );
            return None;
        }
        Some(Digest::of(&text))
    }

    /// What a hook's requests are signed with.
    fn signing_keys(&mut self) -> Vec<Key> {
        const HINT: &str = "make one with: echo whsec_$(openssl rand -base64 32)";
        let secrets = match (self.listed("secret"), self.listed("secret_file")) {
            (Some(_), Some(file)) => {
                let both: Read<()> = bad("secret is there, too", "give one of them");
                self.judge("secret_file", file.line, both);
                return Vec::new();
            }
            (Some(secret), None) => vec![(secret.text.to_owned(), secret.line)],
            (None, Some(file)) => {
                let secrets = self.secrets_of("secret_file", file).unwrap_or_default();
                let secrets = secrets.iter();
                secrets
                    .map(|secret| (secret.expose().to_owned(), file.line))
                    .collect()
            }
            (None, None) => {
                self.missing("secret", HINT);
                return Vec::new();
            }
        };
        let mut keys = Vec::new();
        for (text, line) in secrets {
            match Key::read(&text) {
                Some(key) => keys.push(key),
                None => {
                    let problem = "a secret of a hook is `whsec_` and 24 to 64 bytes in base64";
                    self.stop(line, problem, HINT);
                }
            }
        }
        keys
    }
}

fn numbers(text: &str) -> Read<Vec<String>> {
    match values::numbers(text)? {
        numbers if numbers.is_empty() => bad("it names no number", "leave the key out for all"),
        numbers => Ok(numbers),
    }
}

fn rights(text: &str) -> Read<Rights> {
    let mut rights = Rights {
        send: false,
        read: false,
    };
    for word in values::list(text) {
        match word.to_ascii_lowercase().as_str() {
            "send" => rights.send = true,
            "read" => rights.read = true,
            _ => return bad("that is no right", "write send, read, or both"),
        }
    }
    match rights.send || rights.read {
        true => Ok(rights),
        false => bad("it names no right", "write send, read, or both"),
    }
}

fn address(text: &str) -> Read<Address> {
    let address = values::address(text)?;
    Address::parse(&address).map_or_else(
        || {
            bad(
                "that is no address",
                "write for example https://crm.example.org/sms",
            )
        },
        Ok,
    )
}

/// Words of states; `all` is all of them.
fn states(text: &str) -> Read<Option<Vec<State>>> {
    let mut states = Vec::new();
    for word in values::list(text) {
        let word = word.to_ascii_lowercase();
        let word = word.strip_prefix("message.").unwrap_or(&word);
        if word == "all" {
            return Ok(None);
        }
        match State::of_word(word) {
            Some(state) => states.push(state),
            None => {
                return bad(
                    "that is no state of a message",
                    "write for example received, delivered, failed; or all",
                );
            }
        }
    }
    match states.is_empty() {
        false => Ok(Some(states)),
        true => bad("it names no state", "write for example received, or all"),
    }
}
