//! What goes wrong between us and an authority: kinds of trouble, each with its hint.
//!
//! Pure. The kind decides how long we wait (`schedule`), the text and the hint are for people. Invariant: no text holds a
//! key or a password.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The authority wants us to wait.
    RateLimited,
    /// It could not see what it wanted to see at a name: connection, DNS, CAA, a wrong answer.
    Refused,
    /// It does not take the account, the profile or the order as it is.
    Rejected,
    /// It cannot be reached, hangs, or says that the trouble is its own.
    ServerDown,
    /// Something here: disk, port, hook program.
    Local,
    /// We were ended in the midst of it.
    Interrupted,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct AcmeError {
    pub kind: Kind,
    pub text: String,
    pub hint: Option<String>,
    /// How long the authority wants us to wait.
    pub retry_after: Option<Duration>,
}

impl AcmeError {
    pub fn new(kind: Kind, text: impl Into<String>) -> AcmeError {
        AcmeError {
            kind,
            text: text.into(),
            hint: None,
            retry_after: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> AcmeError {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn after(mut self, retry_after: Option<Duration>) -> AcmeError {
        self.retry_after = retry_after;
        self
    }

    /// The text with its hint on a line of its own.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}\nhint: {hint}", self.text),
            None => self.text.clone(),
        }
    }
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

/// The last word of an error's type (RFC 8555, 6.7).
#[must_use]
pub fn word(r#type: &str) -> &str {
    r#type.strip_prefix(PREFIX).unwrap_or(r#type)
}

/// The error that a problem document of the authority is.
#[must_use]
pub fn of_problem(r#type: Option<&str>, status: Option<u16>, detail: &str) -> AcmeError {
    let word = word(r#type.unwrap_or_default());
    let (kind, hint) = judge(word, status);
    let name = if word.is_empty() { "no type" } else { word };
    let error = AcmeError::new(kind, format!("the authority says: {detail} ({name})"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn judge(word: &str, status: Option<u16>) -> (Kind, Option<&'static str>) {
    match word {
        "rateLimited" => (
            Kind::RateLimited,
            Some(
                "nothing is to be done but to wait; try out settings with SWITCHHOOK_ACME_DIRECTORY=letsencrypt-staging",
            ),
        ),
        "connection" | "tls" => (
            Kind::Refused,
            Some(
                "the name must lead here, and the port must be open from the whole internet: 80 for http-01, 443 for tls-alpn-01",
            ),
        ),
        "incorrectResponse" | "unauthorized" => (
            Kind::Refused,
            Some(
                "something else answers at that name; a proxy in front must pass the request on, and AAAA records count as well",
            ),
        ),
        "dns" => (
            Kind::Refused,
            Some("check that the name exists and that its DNS servers answer"),
        ),
        "caa" => (
            Kind::Refused,
            Some(
                "the domain's CAA records name other authorities: add this one, or take another directory",
            ),
        ),
        "rejectedIdentifier" | "unsupportedIdentifier" => (
            Kind::Rejected,
            Some(
                "this authority gives no certificate for that name; addresses need the profile shortlived at Let's Encrypt",
            ),
        ),
        "externalAccountRequired" => (
            Kind::Rejected,
            Some(
                "this authority wants an account made elsewhere: set SWITCHHOOK_ACME_EAB_KID and SWITCHHOOK_ACME_EAB_KEY",
            ),
        ),
        "invalidContact" | "unsupportedContact" => {
            (Kind::Rejected, Some("check SWITCHHOOK_ACME_EMAIL"))
        }
        "invalidProfile" => (
            Kind::Rejected,
            Some("leave SWITCHHOOK_ACME_PROFILE out, or name one that the authority has"),
        ),
        "userActionRequired" => (
            Kind::Rejected,
            Some("the authority has new terms of service: read them at the address it names"),
        ),
        "serverInternal" | "badNonce" => (Kind::ServerDown, None),
        _ => match status {
            Some(429) => (Kind::RateLimited, None),
            Some(500..) => (Kind::ServerDown, None),
            _ => (Kind::Rejected, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_kind() {
        let kind =
            |word: &str, status| of_problem(Some(&format!("{PREFIX}{word}")), status, "x").kind;
        assert_eq!(kind("rateLimited", Some(429)), Kind::RateLimited);
        assert_eq!(kind("connection", Some(400)), Kind::Refused);
        assert_eq!(kind("serverInternal", Some(500)), Kind::ServerDown);
        assert_eq!(kind("malformed", Some(400)), Kind::Rejected);
        assert_eq!(kind("unknown", Some(503)), Kind::ServerDown);
        assert_eq!(kind("unknown", Some(429)), Kind::RateLimited);
        assert_eq!(
            of_problem(None, None, "x").text,
            "the authority says: x (no type)"
        );
        let caa = of_problem(Some("urn:ietf:params:acme:error:caa"), None, "no");
        assert!(
            caa.told().contains("\nhint: the domain's CAA"),
            "{}",
            caa.told()
        );
    }
}
