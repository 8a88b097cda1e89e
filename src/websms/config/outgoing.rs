//! The outgoing side of an interface.
//!
//! Pure. Invariant: a side with a profile has all that its templates name.

use super::interface::Side;
use super::values::{self, bad};
use super::{Auth, Check, Keys, Outbound, Reader, Secret, Style, Unicode, check};
use crate::websms::ini::Value;
use crate::websms::profile::{Auth as ProfileAuth, Outgoing};
use crate::websms::profiles;

impl Reader<'_> {
    pub(super) fn outgoing(
        &mut self,
        index: Option<String>,
        country: Option<String>,
    ) -> Option<Outbound> {
        // `profile` can stand in [websmsd], too.
        let by_index = |name: &str| {
            ["websms", "websmsd"].into_iter().any(|section| {
                let key = self.key(section, name);
                matches!(key.map(|key| &key.value), Some(Value::Many(_)))
            })
        };
        let has = |section: &str, name: &str| self.given(section, name, index.as_deref()).is_some();
        let named = has("websms", "profile") || has("websmsd", "profile");
        let is_there = match &index {
            None => {
                named
                    || (self.ini.section("websms").is_some()
                        && !self.is_array("url_host")
                        && !by_index("profile"))
            }
            Some(_) => named || has("websms", "url_host"),
        };
        if !is_there {
            return None;
        }
        let mut side = Side {
            reader: self,
            section: "websms",
            index,
            consequence: "nothing is sent by it",
            broken: false,
        };
        let profile = side.profile();
        if side.broken {
            return None;
        }
        let secret = side.secret();
        let user = side.text("auth_user", "");
        let style = match profile {
            None => Style::Keys(side.keys(&user, secret.as_ref())),
            Some(named) => {
                let outgoing = named.profile.outgoing.as_ref()?;
                let parameters = side.profile_parameters(outgoing, &user, secret.as_ref());
                let index = side.index.clone();
                let public_url = side.reader.given("websmsd", "public_url", index.as_deref());
                let public_url = public_url.and_then(|given| values::address(given.text).ok());
                let host = side.read("url_host", values::host).map(|(host, _)| host);
                let path = side.path();
                Style::Profile {
                    named,
                    parameters,
                    public_url,
                    host,
                    path,
                }
            }
        };
        let outbound = Outbound {
            user,
            secret,
            country,
            style,
        };
        (!side.broken).then_some(outbound)
    }

    fn is_array(&self, name: &str) -> bool {
        let key = self.key("websms", name);
        matches!(key.map(|key| &key.value), Some(Value::Many(_)))
    }
}

impl Side<'_, '_> {
    fn secret(&mut self) -> Option<Secret> {
        match (self.given("auth_secret"), self.given("auth_secret_file")) {
            (Some(_), Some(file)) => {
                let both = bad("auth_secret is there, too", "give one of them");
                self.judge("auth_secret_file", file.line, both)
            }
            (Some(text), None) => Some(Secret::new(text.text)),
            (None, Some(file)) => self
                .secrets_of("auth_secret_file", file)?
                .into_iter()
                .next(),
            (None, None) => None,
        }
    }

    fn path(&mut self) -> Option<String> {
        self.read("url_path", |text| {
            match text.starts_with('/') && values::address(&format!("http://h{text}")).is_ok() {
                true => Ok(text.to_owned()),
                false => bad("that is no path", "write for example /sms/send/"),
            }
        })
    }

    fn keys(&mut self, user: &str, secret: Option<&Secret>) -> Keys {
        let host = self.read("url_host", values::host);
        let (url_host, bare) = host.unwrap_or_else(|| ("http://localhost".to_owned(), false));
        if bare && let Some(given) = self.given("url_host") {
            let shown = self.shown("url_host");
            self.reader.tell(
                given.line,
                format!("{shown} has no scheme; http is used, where all can read along"),
                "write https://...",
            );
        }
        let stated = self.stated("auth_method");
        let auth = match stated {
            Some(given) => self.judge("auth_method", given.line, check::auth(given.text)),
            None => Some(Auth::Basic),
        };
        let keys = Keys {
            url_host,
            url_path: self.path().unwrap_or_else(|| "/".to_owned()),
            auth: auth.unwrap_or(Auth::None),
            to: self.text("key_to", "To"),
            from: self.text("key_from", "From"),
            body: self.text("key_body", "Body"),
            user: self.text("key_user", ""),
            secret: self.text("key_secret", ""),
            // Not trimmed: a blank before a field was part of its name.
            statics: self.read("val_static", check::statics).unwrap_or_default(),
            unicode: self
                .read("val_unicode", check::unicode)
                .unwrap_or(Unicode::AsItIs),
            strip: self.read("val_numform", check::numform).unwrap_or(false),
            check: self.read("resp_check", check::check).unwrap_or(Check::None),
        };
        self.can_authenticate(keys, user, secret, stated.map(|given| given.line))
    }

    /// Without what it takes a request goes out without proof, as it did for the predecessor; if it was asked for, that is
    /// told.
    fn can_authenticate(
        &mut self,
        mut keys: Keys,
        user: &str,
        secret: Option<&Secret>,
        line: Option<usize>,
    ) -> Keys {
        let missing = match keys.auth {
            Auth::None => None,
            _ if user.is_empty() => Some("auth_user"),
            _ if secret.is_none() => Some("auth_secret"),
            Auth::Plain if keys.user.is_empty() => Some("key_user"),
            Auth::Plain if keys.secret.is_empty() => Some("key_secret"),
            _ => None,
        };
        let Some(missing) = missing else { return keys };
        let something = !user.is_empty() || secret.is_some();
        keys.auth = Auth::None;
        if let Some(line) = line.or(something.then(|| self.reader.line("websms")))
            && !self.broken
        {
            let shown = self.shown(missing);
            self.reader.tell(
                line,
                format!("{shown} is missing; requests go out without proof of who you are"),
                "write it, or `auth_method = none`",
            );
        }
        keys
    }

    /// The parameters with the profile's defaults; tells what its templates miss.
    fn profile_parameters(
        &mut self,
        outgoing: &Outgoing,
        user: &str,
        secret: Option<&Secret>,
    ) -> std::collections::BTreeMap<String, String> {
        let mut parameters = outgoing.defaults.clone();
        parameters.extend(self.reader.parameters(self.index.as_deref()));
        let line = self
            .given("profile")
            .map_or_else(|| self.reader.line("websms"), |given| given.line);
        for name in profiles::parameters(outgoing) {
            if !parameters.contains_key(&name) {
                let shown = self.shown(&format!("param_{name}"));
                self.stop(
                    line,
                    &format!("{shown} is missing, which the profile asks for"),
                    "the comment at the beginning of the profile says what it is",
                );
            }
        }
        let in_fields = |name: &str| {
            outgoing
                .fields
                .values()
                .any(|template| template.contains(name))
        };
        let proves = matches!(outgoing.auth, ProfileAuth::Basic | ProfileAuth::Zadarma);
        if secret.is_none()
            && !self.broken
            && (outgoing.auth != ProfileAuth::None || in_fields("{secret}"))
        {
            let shown = self.shown("auth_secret");
            self.stop(
                line,
                &format!("{shown} is missing"),
                "write it, or auth_secret_file",
            );
        }
        if user.is_empty() && !self.broken && (proves || in_fields("{user}")) {
            let shown = self.shown("auth_user");
            self.stop(
                line,
                &format!("{shown} is missing"),
                "the comment at the beginning of the profile says what it is",
            );
        }
        parameters
    }
}
