//! How certificates are ordered: the variables `SWITCHHOOK_ACME_*`, from raw text to valid settings.
//!
//! Pure: variables and files arrive as arguments. All mistakes are told at once. It refuses to order anything as long as
//! the terms of service are not accepted. Invariant: with [`Settings`] every wanted name can be proven by the chosen
//! challenge, and `Debug` shows no key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::names::{MOST, Name};
use crate::units::value;
use crate::web::address::Address;

pub const DIRECTORY: &str = "SWITCHHOOK_ACME_DIRECTORY";
pub const EMAIL: &str = "SWITCHHOOK_ACME_EMAIL";
pub const EAB_KID: &str = "SWITCHHOOK_ACME_EAB_KID";
pub const EAB_KEY: &str = "SWITCHHOOK_ACME_EAB_KEY";
pub const EAB_KEY_FILE: &str = "SWITCHHOOK_ACME_EAB_KEY_FILE";
pub const PROFILE: &str = "SWITCHHOOK_ACME_PROFILE";
pub const CHALLENGE: &str = "SWITCHHOOK_ACME_CHALLENGE";
pub const HTTP_PORT: &str = "SWITCHHOOK_ACME_HTTP_PORT";
pub const TLS_PORT: &str = "SWITCHHOOK_ACME_TLS_PORT";
pub const DNS_HOOK: &str = "SWITCHHOOK_ACME_DNS_HOOK";
pub const DNS_WAIT: &str = "SWITCHHOOK_ACME_DNS_WAIT";
pub const CA_FILE: &str = "SWITCHHOOK_ACME_CA_FILE";
pub const ACCEPT_TOS: &str = "SWITCHHOOK_ACME_ACCEPT_TOS";
const WEBSMS_PORT: &str = "WEBSMSD_PORT";

/// The words of `SWITCHHOOK_ACME_CHALLENGE`.
pub const CHALLENGES: &[&str] = &["http-01", "tls-alpn-01", "dns-01"];

/// Directories that have a short name.
const KNOWN: &[(&str, &str)] = &[
    (
        "letsencrypt",
        "https://acme-v02.api.letsencrypt.org/directory",
    ),
    (
        "letsencrypt-staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
];

/// Valid settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the authority's directory is.
    pub directory: String,
    /// `mailto:...`
    pub contact: Option<String>,
    pub account_binding: Option<Binding>,
    pub profile: Option<String>,
    pub challenge: Challenge,
    /// The certificate by which the directory's own HTTPS is trusted, beside the system's.
    pub authority: Option<PathBuf>,
}

/// An account that was made elsewhere (RFC 8555, 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    pub id: String,
    pub key: Vec<u8>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({}, ***)", self.id)
    }
}

/// How the authority sees that a name is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Http(Door),
    TlsAlpn { port: u16 },
    Dns { hook: PathBuf, wait: Duration },
}

/// Who answers HTTP-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A listener of our own, for as long as an order runs.
    Own(u16),
    /// WebSMS, whose port it is.
    Websms,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}\nhint: {hint}")]
pub struct Mistake {
    pub variable: &'static str,
    pub problem: String,
    pub hint: String,
}

/// Reads the settings; `names` are those that the certificate is to have. `None`: no certificate is to be ordered.
///
/// # Errors
/// With all mistakes.
pub fn read(
    environment: &BTreeMap<String, String>,
    names: &[Name],
    file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Option<Settings>, Vec<Mistake>> {
    let mut reader = Reader {
        environment,
        mistakes: Vec::new(),
    };
    let wanted = [
        DIRECTORY,
        EMAIL,
        EAB_KID,
        EAB_KEY,
        EAB_KEY_FILE,
        PROFILE,
        CHALLENGE,
        HTTP_PORT,
        TLS_PORT,
        DNS_HOOK,
        DNS_WAIT,
        CA_FILE,
    ];
    let accepted = reader.text(ACCEPT_TOS);
    if accepted != Some("yes") {
        if let Some(variable) = wanted.iter().find(|name| reader.text(name).is_some()) {
            reader.mistake(
                ACCEPT_TOS,
                format!("it must be `yes` before anything is ordered, and {variable} is set"),
                "read the authority's terms of service, then set SWITCHHOOK_ACME_ACCEPT_TOS=yes",
            );
        }
        return reader.end(None);
    }
    let settings = Settings {
        directory: reader.directory(),
        contact: reader.contact(),
        account_binding: reader.binding(file),
        profile: reader.profile(),
        challenge: reader.challenge(),
        authority: reader.path(CA_FILE),
    };
    reader.names(names, &settings.challenge);
    reader.end(Some(settings))
}

struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn end(self, settings: Option<Settings>) -> Result<Option<Settings>, Vec<Mistake>> {
        match self.mistakes.is_empty() {
            true => Ok(settings),
            false => Err(self.mistakes),
        }
    }

    /// An empty value counts as not set.
    fn text(&self, name: &str) -> Option<&'a str> {
        let text = self.environment.get(name)?.trim();
        (!text.is_empty()).then_some(text)
    }

    fn mistake(&mut self, variable: &'static str, problem: impl Into<String>, hint: &str) {
        self.mistakes.push(Mistake {
            variable,
            problem: problem.into(),
            hint: hint.to_owned(),
        });
    }

    fn directory(&mut self) -> String {
        let text = self.text(DIRECTORY).unwrap_or("letsencrypt");
        if let Some((_, url)) = KNOWN.iter().find(|(name, _)| *name == text) {
            return (*url).to_owned();
        }
        if !text.starts_with("https://") || Address::parse(text).is_none() {
            let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
            self.mistake(
                DIRECTORY,
                format!(
                    "`{text}` is neither a known name nor an address that begins with https://"
                ),
                &format!("known names are {}", names.join(", ")),
            );
        }
        text.to_owned()
    }

    fn contact(&mut self) -> Option<String> {
        let text = self.text(EMAIL)?;
        let is_address = text.split_once('@').is_some_and(|(user, host)| {
            let is_plain = |c: char| c.is_ascii_graphic() && !"@,;<>?#%&".contains(c);
            !user.is_empty()
                && host.contains('.')
                && [user, host].iter().all(|part| part.chars().all(is_plain))
        });
        if !is_address {
            self.mistake(
                EMAIL,
                format!("`{text}` is not one mail address"),
                "for example admin@example.org; it may be left out",
            );
        }
        Some(format!("mailto:{text}"))
    }

    fn binding(&mut self, file: &dyn Fn(&str) -> Result<String, String>) -> Option<Binding> {
        let id = self.text(EAB_KID);
        let (given, path) = (self.text(EAB_KEY), self.text(EAB_KEY_FILE));
        let key = match (given, path) {
            (Some(_), Some(_)) => {
                self.mistake(
                    EAB_KEY,
                    "it is given twice, by SWITCHHOOK_ACME_EAB_KEY_FILE too",
                    "leave one of them out",
                );
                return None;
            }
            (Some(key), None) => Some(key.to_owned()),
            (None, Some(path)) => match file(path) {
                Ok(text) => Some(text.trim().to_owned()),
                Err(why) => {
                    self.mistake(EAB_KEY_FILE, why, "the file must hold the key alone");
                    return None;
                }
            },
            (None, None) => None,
        };
        match (id, key) {
            (None, None) => None,
            (Some(id), Some(key)) => match decode(&key) {
                Some(key) => Some(Binding {
                    id: id.to_owned(),
                    key,
                }),
                None => {
                    self.mistake(
                        EAB_KEY,
                        "the key is not in base64url",
                        "copy it as the authority shows it, with nothing around it",
                    );
                    None
                }
            },
            (Some(_), None) => {
                self.mistake(
                    EAB_KID,
                    "the key that belongs to it is missing",
                    "set SWITCHHOOK_ACME_EAB_KEY as well",
                );
                None
            }
            (None, Some(_)) => {
                self.mistake(
                    EAB_KEY,
                    "the id that belongs to it is missing",
                    "set SWITCHHOOK_ACME_EAB_KID as well",
                );
                None
            }
        }
    }

    fn profile(&mut self) -> Option<String> {
        let text = self.text(PROFILE)?;
        if !text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            self.mistake(
                PROFILE,
                format!("`{text}` is no name of a profile"),
                "for example classic, tlsserver or shortlived; it may be left out",
            );
        }
        Some(text.to_owned())
    }

    fn challenge(&mut self) -> Challenge {
        let text = self.text(CHALLENGE).unwrap_or("http-01");
        if !CHALLENGES.contains(&text) {
            self.mistake(
                CHALLENGE,
                format!("`{text}` is none that is known here"),
                &format!("it is one of {}", CHALLENGES.join(", ")),
            );
        }
        // Read in any case, so that all mistakes are told.
        let http = self.port(HTTP_PORT, 80);
        let tls = self.port(TLS_PORT, 443);
        let hook = self.path(DNS_HOOK);
        let wait = self.wait();
        match text {
            "tls-alpn-01" => Challenge::TlsAlpn { port: tls },
            "dns-01" => {
                if hook.is_none() {
                    self.mistake(
                        DNS_HOOK,
                        "it is needed with SWITCHHOOK_ACME_CHALLENGE=dns-01",
                        "name the program that sets the record; docs/reference/acme.md says how it is called",
                    );
                }
                let hook = hook.unwrap_or_default();
                Challenge::Dns { hook, wait }
            }
            _ => Challenge::Http(
                match self
                    .text(WEBSMS_PORT)
                    .and_then(|port| port.parse::<u16>().ok())
                {
                    Some(port) if port == http => Door::Websms,
                    _ => Door::Own(http),
                },
            ),
        }
    }

    fn port(&mut self, variable: &'static str, default: u16) -> u16 {
        match self.text(variable).map(str::parse) {
            None => default,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => {
                self.mistake(
                    variable,
                    "it is no port",
                    &format!("a number from 1 to 65535; left out it is {default}"),
                );
                default
            }
        }
    }

    fn wait(&mut self) -> Duration {
        let text = self.text(DNS_WAIT).unwrap_or("30s");
        match value::time_span(text) {
            Ok(Some(wait)) if wait <= Duration::from_secs(3600) => wait,
            _ => {
                self.mistake(
                    DNS_WAIT,
                    format!("`{text}` is no time up to an hour"),
                    "for example 30s or 2min",
                );
                Duration::ZERO
            }
        }
    }

    fn path(&mut self, variable: &'static str) -> Option<PathBuf> {
        let text = self.text(variable)?;
        if !text.starts_with('/') {
            self.mistake(
                variable,
                format!("`{text}` is no absolute path"),
                "it begins with a slash",
            );
        }
        Some(PathBuf::from(text))
    }

    fn names(&mut self, names: &[Name], challenge: &Challenge) {
        let is_dns = matches!(challenge, Challenge::Dns { .. });
        let unfit = names.iter().find(|name| match name {
            Name::Ip(_) => is_dns,
            Name::Dns(_) => name.is_wildcard() && !is_dns,
        });
        if let Some(name) = unfit {
            let hint = match name {
                Name::Ip(_) => "addresses are proven by http-01 or tls-alpn-01",
                Name::Dns(_) => "wildcards are proven by dns-01 alone",
            };
            self.mistake(CHALLENGE, format!("it cannot prove `{name}`"), hint);
        }
        if names.is_empty() {
            self.mistake(
                ACCEPT_TOS,
                "there is no name to order a certificate for",
                "set HOSTNAME to the exchange's full name, pbx.example.org",
            );
        }
        if names.len() > MOST {
            self.mistake(
                ACCEPT_TOS,
                format!("{} names are too many for one certificate", names.len()),
                "100 is the most",
            );
        }
    }
}

/// base64url or base64, with or without padding: authorities show keys in all of these.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn no_file(_: &str) -> Result<String, String> {
        Err("there is no such file".to_owned())
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names
            .iter()
            .map(|name| Name::parse(name).unwrap())
            .collect()
    }

    fn of(pairs: &[(&str, &str)]) -> Settings {
        let mut all = vec![(ACCEPT_TOS, "yes")];
        all.extend(pairs);
        let read = read(&environment(&all), &names(&["pbx.example.org"]), &no_file);
        read.unwrap().unwrap()
    }

    #[test]
    fn nothing_is_ordered_before_the_terms_are_accepted() {
        let read = |pairs| read(&environment(pairs), &[], &no_file);
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ACCEPT_TOS, "no"), (EMAIL, " ")]), Ok(None));
        let mistakes = read(&[(EMAIL, "a@example.org")]).unwrap_err();
        assert_eq!(mistakes[0].variable, ACCEPT_TOS);
        assert!(read(&[(EMAIL, "a@example.org"), (ACCEPT_TOS, "no")]).is_err());
    }

    #[test]
    fn the_defaults_are_letsencrypt_by_a_port_of_our_own() {
        let settings = of(&[]);
        assert_eq!(
            settings.directory,
            "https://acme-v02.api.letsencrypt.org/directory"
        );
        assert_eq!(settings.challenge, Challenge::Http(Door::Own(80)));
        assert_eq!((settings.contact, settings.account_binding), (None, None));
    }

    #[test]
    fn a_port_that_is_websmss_is_answered_by_websms() {
        let door = |pairs: &[_]| of(pairs).challenge;
        let websms = Challenge::Http(Door::Websms);
        assert_eq!(door(&[("WEBSMSD_PORT", "80")]), websms);
        assert_eq!(
            door(&[("WEBSMSD_PORT", "8080"), (HTTP_PORT, "8080")]),
            websms
        );
        assert_eq!(
            door(&[("WEBSMSD_PORT", "8080")]),
            Challenge::Http(Door::Own(80))
        );
        assert_eq!(
            door(&[("WEBSMSD_PORT", "off")]),
            Challenge::Http(Door::Own(80))
        );
    }

    #[test]
    fn the_key_of_a_binding_comes_from_text_or_file_and_is_never_shown() {
        for key in ["_-8h", "/+8h", "_-8h\n"] {
            let read = |_: &str| Ok(key.to_owned());
            let all = environment(&[
                (ACCEPT_TOS, "yes"),
                (EAB_KID, "kid-1"),
                (EAB_KEY_FILE, "/run/secrets/eab"),
            ]);
            let settings = super::read(&all, &names(&["a.example"]), &read)
                .unwrap()
                .unwrap();
            let binding = settings.account_binding.clone().unwrap();
            assert_eq!(binding.key, [255, 239, 33]);
            assert!(format!("{settings:?}").contains("Binding(kid-1, ***)"));
        }
        assert_eq!(
            of(&[(EAB_KID, "k"), (EAB_KEY, "_-8h")])
                .account_binding
                .unwrap()
                .id,
            "k"
        );
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_a_hint() {
        let all = environment(&[
            (ACCEPT_TOS, "yes"),
            (DIRECTORY, "http://ca.example/"),
            (EMAIL, "me"),
            (EAB_KID, "kid"),
            (EAB_KEY, "hunter2!"),
            (PROFILE, "a b"),
            (CHALLENGE, "dns-01"),
            (HTTP_PORT, "0"),
            (TLS_PORT, "x"),
            (DNS_WAIT, "infinity"),
            (CA_FILE, "ca.pem"),
        ]);
        let mistakes = read(&all, &names(&["192.0.2.1"]), &no_file).unwrap_err();
        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(!text.concat().contains("hunter2"));
        insta::assert_snapshot!(text.join("\n"), @r"
        SWITCHHOOK_ACME_DIRECTORY: `http://ca.example/` is neither a known name nor an address that begins with https://
        hint: known names are letsencrypt, letsencrypt-staging, zerossl
        SWITCHHOOK_ACME_EMAIL: `me` is not one mail address
        hint: for example admin@example.org; it may be left out
        SWITCHHOOK_ACME_EAB_KEY: the key is not in base64url
        hint: copy it as the authority shows it, with nothing around it
        SWITCHHOOK_ACME_PROFILE: `a b` is no name of a profile
        hint: for example classic, tlsserver or shortlived; it may be left out
        SWITCHHOOK_ACME_HTTP_PORT: it is no port
        hint: a number from 1 to 65535; left out it is 80
        SWITCHHOOK_ACME_TLS_PORT: it is no port
        hint: a number from 1 to 65535; left out it is 443
        SWITCHHOOK_ACME_DNS_WAIT: `infinity` is no time up to an hour
        hint: for example 30s or 2min
        SWITCHHOOK_ACME_DNS_HOOK: it is needed with SWITCHHOOK_ACME_CHALLENGE=dns-01
        hint: name the program that sets the record; docs/reference/acme.md says how it is called
        SWITCHHOOK_ACME_CA_FILE: `ca.pem` is no absolute path
        hint: it begins with a slash
        SWITCHHOOK_ACME_CHALLENGE: it cannot prove `192.0.2.1`
        hint: addresses are proven by http-01 or tls-alpn-01
        ");
    }

    #[test]
    fn names_that_the_challenge_cannot_prove_are_refused() {
        let read = |challenge, name| {
            let all = [
                (ACCEPT_TOS, "yes"),
                (CHALLENGE, challenge),
                (DNS_HOOK, "/bin/true"),
            ];
            read(&environment(&all), &names(&[name]), &no_file).map_err(|m| m.len())
        };
        assert_eq!(read("http-01", "*.example.org"), Err(1));
        assert_eq!(read("tls-alpn-01", "*.example.org"), Err(1));
        assert_eq!(read("dns-01", "192.0.2.1"), Err(1));
        assert!(read("dns-01", "*.example.org").is_ok() && read("http-01", "192.0.2.1").is_ok());
    }

    #[test]
    fn a_key_given_twice_or_half_is_a_mistake() {
        for pairs in [
            &[(EAB_KEY, "_-8h"), (EAB_KEY_FILE, "/x"), (EAB_KID, "k")][..],
            &[(EAB_KEY, "_-8h")],
            &[(EAB_KID, "k")],
            &[(EAB_KID, "k"), (EAB_KEY_FILE, "/missing")],
        ] {
            let mut all = vec![(ACCEPT_TOS, "yes")];
            all.extend(pairs);
            let mistakes = read(&environment(&all), &names(&["a.example"]), &no_file).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{pairs:?}");
        }
    }
}
