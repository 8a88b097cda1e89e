//! Whether a request is the carrier's: what its profile says of signatures, over the bytes as they came.
//!
//! Pure: the secrets, the time and Amazon's certificate come as arguments. It refuses whatever it cannot prove: without a
//! secret nothing but `none` is passed. Secrets and signatures are compared in a time that does not tell where they differ.
//!
//! Several secrets are tried in turn, so that one can follow another without a gap. What is signed with an address is signed
//! with the one that the carrier was given: it is configured, and no header of the request changes it.
//!
//! Invariant: a reason names what is wrong and holds no secret, no signature that would be right, and no text of a message.

use super::body::Malformed;
use super::profile::{Format, Verify};
use super::request::Request;

mod certificate;
mod jwt;
mod password;
mod plivo;
pub mod secret;
pub mod sign;
mod signed;
pub mod sns;
mod twilio;
mod url;
mod vonage;

/// How old a request may be that says when it was signed, in seconds, where nothing else is said.
const TOLERANCE: u64 = 300;
/// For carriers that send again for a day what was signed once. What comes twice is known by its id.
const LONG_TOLERANCE: u64 = 25 * 60 * 60;

/// What a request is held against. It has no `Debug`: it holds secrets.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// Shared secrets or public keys; empty ones count for nothing.
    pub secrets: &'a [&'a str],
    pub user: &'a str,
    /// The address that the carrier was given: either whole, or up to the path.
    pub public_url: Option<&'a str>,
    /// The certificate that `Verifier::certificate_url` asked for, in PEM or DER.
    pub certificate: Option<&'a [u8]>,
    /// The SNS topics that are ours, as ARNs. Anybody can have a topic of their own and it is signed as well.
    pub topics: &'a [&'a str],
}

/// Why a request is not believed, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    fn new(reason: impl Into<String>) -> Refused {
        Refused(reason.into())
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Refused {
        Refused(malformed.to_string())
    }
}

/// A profile's way to prove a request, with what it signs read.
#[derive(Debug, Clone, PartialEq)]
pub struct Verifier {
    rule: Verify,
    format: Format,
    over: Option<signed::Over>,
}

impl Verifier {
    /// The format is that in which the profile reads the body, so that what is proved and what is heard are one.
    pub fn new(rule: &Verify, format: Format) -> Result<Verifier, String> {
        let over = match rule {
            Verify::Hmac {
                over,
                timestamp_header,
                nonce_header,
                tolerance,
                ..
            } => Some(signed::Over::new(
                over,
                timestamp_header.as_deref(),
                nonce_header.as_deref(),
                *tolerance,
            )?),
            Verify::Ed25519 {
                over,
                timestamp_header,
                tolerance,
                ..
            } => Some(signed::Over::new(
                over,
                timestamp_header.as_deref(),
                None,
                *tolerance,
            )?),
            Verify::Token {
                query: None,
                header: None,
            } => {
                return Err(
                    "a token stands in a field of the query or in a header; hint: name one"
                        .to_owned(),
                );
            }
            _ => None,
        };
        Ok(Verifier {
            rule: rule.clone(),
            format,
            over,
        })
    }

    /// The address of a certificate that is needed to judge this request. It was found to be Amazon's own.
    pub fn certificate_url(&self, request: &Request<'_>) -> Result<Option<String>, Refused> {
        match self.rule {
            Verify::Sns => sns::certificate_url(request).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether an address that a proven request wants fetched is the carrier's own. Without this a request could have us
    /// fetch what stands in the house.
    #[must_use]
    pub fn confirms(&self, url: &str) -> bool {
        matches!(self.rule, Verify::Sns) && sns::confirms(url)
    }

    /// Whether the request is the carrier's. `now` is in seconds since 1970.
    pub fn verify(&self, request: &Request<'_>, keys: &Keys<'_>, now: u64) -> Result<(), Refused> {
        // An empty secret would be right for everybody who knows how the carrier signs.
        let secrets: Vec<&str> = keys
            .secrets
            .iter()
            .copied()
            .filter(|secret| !secret.is_empty())
            .collect();
        let keys = &Keys {
            secrets: &secrets,
            ..*keys
        };
        let needs_secret = !matches!(self.rule, Verify::None | Verify::Sns);
        if needs_secret && secrets.is_empty() {
            return Err(Refused::new(
                "the profile wants a proof and no secret is configured; hint: give the interface its secret",
            ));
        }
        match (&self.rule, &self.over) {
            (Verify::None, _) => Ok(()),
            (Verify::Twilio { header }, _) => twilio::verify(header, request, keys),
            (
                Verify::Hmac {
                    algorithm,
                    header,
                    encoding,
                    prefix,
                    ..
                },
                Some(over),
            ) => {
                let tags = signed::tags(request, header, prefix, *encoding)?;
                over.texts(request, keys, self.format, now)?
                    .iter()
                    .any(|text| secret::any_hmac(*algorithm, keys.secrets, text, &tags))
                    .then_some(())
                    .ok_or_else(|| wrong_signature(header))
            }
            (Verify::Ed25519 { header, .. }, Some(over)) => {
                let texts = over.texts(request, keys, self.format, now)?;
                signed::ed25519(header, request, keys, &texts)
            }
            // Without what is signed there is nothing to be right; `new` gives it to both.
            (Verify::Hmac { header, .. } | Verify::Ed25519 { header, .. }, None) => {
                Err(wrong_signature(header))
            }
            (
                Verify::Plivo {
                    header,
                    nonce_header,
                },
                _,
            ) => plivo::verify(header, nonce_header, request, keys),
            (Verify::Jwt, _) => jwt::verify(request, keys, now),
            (Verify::Basic, _) => password::basic(request, keys),
            (Verify::Token { query, header }, _) => {
                password::token(query.as_deref(), header.as_deref(), request, keys)
            }
            (Verify::VonageSms, _) => vonage::verify(self.format, request, keys, now),
            (Verify::Sns, _) => sns::verify(request, keys, now),
        }
    }
}

fn wrong_signature(header: &str) -> Refused {
    Refused::new(format!(
        "the signature in {header} is not right; hint: check the secret and the public address"
    ))
}

/// A header that must be there, once.
fn header<'a>(request: &Request<'a>, name: &str) -> Result<&'a str, Refused> {
    request
        .header(name)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Refused::new(format!("the request has no header {name}, or two of them")))
}

/// Whether a time of signing is near enough.
fn in_time(signed: u64, now: u64, tolerance: u64) -> Result<(), Refused> {
    match now.abs_diff(signed) <= tolerance {
        true => Ok(()),
        false => Err(Refused::new(format!(
            "it was signed {} seconds {}; hint: {tolerance} are allowed, check the clock",
            now.abs_diff(signed),
            if signed < now { "ago" } else { "from now" },
        ))),
    }
}

#[cfg(test)]
mod tests;
