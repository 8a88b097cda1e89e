//! The mail server of a letter, and how it is spoken to.
//!
//! Pure. The names of the protocols and the meaning of `HOST[:PORT]` are those of the predecessor's `minivm-send`. Invariant:
//! neither `Debug` nor `Display` shows a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Not at all.
    #[default]
    Smtp,
    /// TLS from the first byte on (RFC 8314, 3.3).
    Smtps,
    /// TLS after the server has offered it (RFC 3207); without the offer nothing is sent.
    Starttls,
}

impl Protocol {
    /// The port when none is named: RFC 5321, 4.5.4.2; RFC 6409, 3.1; RFC 8314, 7.3.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Protocol::Smtp => 25,
            Protocol::Starttls => 587,
            Protocol::Smtps => 465,
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        match text.to_ascii_lowercase().as_str() {
            "smtp" => Ok(Protocol::Smtp),
            "smtps" | "tls" => Ok(Protocol::Smtps),
            "starttls" => Ok(Protocol::Starttls),
            _ => Err("it must be smtp, smtps, tls or starttls".to_owned()),
        }
    }
}

/// A host, and a port if one was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: Option<u16>,
}

impl FromStr for Server {
    type Err = String;

    /// `mx.example.com`, `mx.example.com:587`, `192.0.2.1:25`, `[2001:db8::1]:25`, `2001:db8::1`.
    fn from_str(text: &str) -> Result<Server, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or("`]` is missing")?;
                match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if rest.is_empty() => (host, None),
                    None => {
                        return Err("after `]` there may be a port, as in `[::1]:25`".to_owned());
                    }
                }
            }
            None => match text.split_once(':') {
                // More than one colon is an address of IPv6.
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let is_sound = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(is_sound) {
            return Err(
                "it must be a host, and may have a port, as in `mx.example.com:587`".to_owned(),
            );
        }
        let port = match port {
            None => None,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => Some(port),
                _ => return Err(format!("`{port}` is no port")),
            },
        };
        Ok(Server {
            host: host.to_owned(),
            port,
        })
    }
}

/// A password; it is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the password is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Password {
    /// It was given, and lies with the letter.
    Given(Secret),
    /// In a file, read at each try.
    File(PathBuf),
    /// In the environment of the service, or in a file that this names.
    Environment,
}

/// The way to a mail server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
    /// Who we are there; without it we say nothing of us.
    pub user: Option<String>,
    pub password: Option<Password>,
    /// Authorities beside the system's, in PEM.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        let of = |text: &str| {
            let server: Result<Server, String> = text.parse();
            server.map(|server| (server.host, server.port))
        };
        let ok = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(of("mx.example.com"), ok("mx.example.com", None));
        assert_eq!(of("mx.example.com:587"), ok("mx.example.com", Some(587)));
        assert_eq!(of("192.0.2.1:25"), ok("192.0.2.1", Some(25)));
        assert_eq!(of("[2001:db8::1]:25"), ok("2001:db8::1", Some(25)));
        assert_eq!(of("2001:db8::1"), ok("2001:db8::1", None));
        for bad in [
            "", ":25", "mx:0", "mx:x", "mx:99999", "[::1", "[::1]25", "a b:25", "a\r\nb",
        ] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_predecessors_words_are_protocols() {
        let of = |text: &str| text.parse::<Protocol>().map(Protocol::port);
        assert_eq!(
            ["smtp", "smtps", "tls", "STARTTLS"].map(of),
            [Ok(25), Ok(465), Ok(465), Ok(587)]
        );
        assert!(of("ssl").is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let route = Route {
            host: "mx".into(),
            port: 25,
            protocol: Protocol::Smtp,
            user: Some("u".into()),
            password: Some(Password::Given(Secret::new("hunter2"))),
            ca_file: None,
        };
        assert!(!format!("{route:?} {route}").contains("hunter2"));
    }
}
