//! The incoming side of an interface.
//!
//! Pure. It fails closed: what cannot be read lets nobody in. Invariant: a side with a profile that signs has a secret to
//! check by, or the admin switched the check off.

use super::interface::Side;
use super::values::{self, bad};
use super::{Inbound, Reader, Secret};
use crate::websms::ini::Value;
use crate::websms::profile::Verify;

/// Keys that make an interface of an index.
const DOORS: [&str; 5] = [
    "remt_addr",
    "url_path",
    "profile",
    "verify_secret",
    "verify_secret_file",
];

impl Reader<'_> {
    pub(super) fn incoming(&mut self, index: Option<String>) -> Option<Inbound> {
        self.ini.section("websmsd")?;
        let doors = DOORS
            .iter()
            .filter_map(|name| match &self.key("websmsd", name)?.value {
                Value::Many(items) => Some(items),
                Value::One(_) => None,
            });
        let mut named = doors.flatten().map(|item| Some(item.index.trim()));
        let is_there = match index.as_deref() {
            // Indexed doors leave none for the others.
            None => named.next().is_none(),
            index => named.any(|named| named == index),
        };
        if !is_there {
            return None;
        }
        let mut side = Side {
            reader: self,
            section: "websmsd",
            index,
            consequence: "nothing is received by it",
            broken: false,
        };
        let addresses = side.addresses();
        let paths = side
            .stated("url_path")
            .and_then(|given| side.judge("url_path", given.line, values::paths(given.text)));
        let profile = side.profile();
        // `no` without quotation marks is an empty value.
        let verify = side
            .stated("verify")
            .and_then(|given| side.judge("verify", given.line, values::boolean(given.text)));
        let public_url = side.read("public_url", values::address);
        let media_allow = side.read("media_allow", values::allow);
        let verify_secrets = side.verify_secrets();
        let inbound = Inbound {
            addresses,
            paths,
            key_to: side.text("key_to", "To"),
            key_from: side.text("key_from", "From"),
            key_body: side.text("key_body", "Body"),
            key_echo: side.given("key_echo").map(|given| given.text.to_owned()),
            resp_ack: side.text("resp_ack", ""),
            verify: verify.unwrap_or(true),
            verify_user: side.text("verify_user", ""),
            verify_secrets,
            public_url,
            media_allow: media_allow.unwrap_or_default(),
            profile,
        };
        side.is_safe(&inbound);
        match side.broken {
            false => Some(inbound),
            true => {
                let index = side.index.clone();
                self.closed.push(index);
                None
            }
        }
    }
}

impl Side<'_, '_> {
    /// A list that leaves this index out lets nobody in, as it was for the predecessor.
    fn addresses(&mut self) -> Option<Vec<crate::autoban::cidr::Cidr>> {
        let Some(given) = self.stated("remt_addr") else {
            if let Some(key) = self.reader.key("websmsd", "remt_addr") {
                let shown = self.shown("remt_addr");
                self.stop(
                    key.line,
                    &format!("{shown} is missing"),
                    "name the addresses of this interface, too; 0.0.0.0/0, ::/0 is everybody",
                );
            }
            return None;
        };
        self.judge("remt_addr", given.line, values::networks(given.text))
    }

    fn verify_secrets(&mut self) -> Vec<Secret> {
        let (text, file) = (
            self.given("verify_secret"),
            self.given("verify_secret_file"),
        );
        match (text, file) {
            (Some(_), Some(file)) => {
                let both = bad::<()>("verify_secret is there, too", "give one of them");
                self.judge("verify_secret_file", file.line, both);
                Vec::new()
            }
            (Some(text), None) => vec![Secret::new(text.text)],
            (None, Some(file)) => {
                let secrets = self.secrets_of("verify_secret_file", file);
                secrets.unwrap_or_default()
            }
            (None, None) => Vec::new(),
        }
    }

    /// The lines of a file of secrets.
    pub fn secrets_of(&mut self, name: &str, file: super::Given<'_>) -> Option<Vec<Secret>> {
        let secrets = match (self.reader.world.file)(file.text) {
            Err(reason) => bad(
                format!("the file cannot be read: {reason}"),
                "give its path, and see that the user websms may read it",
            ),
            Ok(text) => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let secrets: Vec<Secret> = lines.map(Secret::new).collect();
                match secrets.is_empty() {
                    false => Ok(secrets),
                    true => bad("the file is empty", "write the secret on its first line"),
                }
            }
        };
        self.judge(name, file.line, secrets)
    }

    /// Tells what would let anybody in.
    fn is_safe(&mut self, inbound: &Inbound) {
        let line = DOORS
            .iter()
            .find_map(|name| self.stated(name))
            .map_or_else(|| self.reader.line("websmsd"), |given| given.line);
        let kind = inbound
            .profile
            .as_ref()
            .map_or(&Verify::None, |named| &named.profile.verify);
        let signs = inbound.verify && *kind != Verify::None;
        if signs && *kind != Verify::Sns && inbound.verify_secrets.is_empty() && !self.broken {
            let shown = self.shown("verify_secret");
            self.stop(
                line,
                &format!("{shown} is missing, and this carrier signs what it sends"),
                "write its secret, or `verify = no` to take what is not signed",
            );
        }
        if signs
            && matches!(kind, Verify::Twilio { .. } | Verify::Plivo { .. })
            && inbound.public_url.is_none()
            && !self.broken
        {
            let shown = self.shown("public_url");
            self.stop(line, &format!("{shown} is missing, and this carrier's signature is made over it"), "write the address that the carrier has, for example https://pbx.example.org/hook/1");
        }
        if !signs && inbound.addresses.is_none() && inbound.paths.is_none() && !self.broken {
            self.reader.tell(
                line,
                "whoever reaches the port can send messages to your phones",
                "set remt_addr to the carrier's addresses, or url_path to a path that nobody guesses",
            );
        }
    }
}
