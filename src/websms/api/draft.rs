//! A message to be sent, as a client of the API writes it.
//!
//! Pure. It refuses what nobody knows, so that a slip in a field's name is not a message without it. Invariant: two drafts
//! have the same print only if they are the same.

use serde::{Deserialize, Serialize};

use crate::websms::verify::secret::sha256_hex;

/// Pictures of one message, and the longest of their addresses in bytes.
const MOST_MEDIA: usize = 10;
const LONGEST_ADDRESS: usize = 2048;
/// Of an idempotency key, in bytes.
const LONGEST_KEY: usize = 200;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub interface: Option<String>,
    #[serde(default)]
    pub media: Vec<String>,
}

/// Its text is nobody's business.
impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to, length) = (&self.from, &self.to, self.body.len());
        write!(f, "{from} -> {to} ({length} bytes)")
    }
}

/// Why it is no message, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDraft {
    #[error("the body is no JSON: {0}")]
    NoJson(String),
    #[error("the body is no message: {0}")]
    NoMessage(String),
    #[error("a message has {MOST_MEDIA} addresses in `media` at most")]
    TooManyMedia,
    #[error("`media` holds what is no address")]
    NoAddress,
}

impl Draft {
    pub fn read(bytes: &[u8]) -> Result<Draft, NoDraft> {
        let draft: Draft = serde_json::from_slice(bytes).map_err(|error| {
            // Without line and column: clients write on one line.
            let text = error.to_string();
            let text = text
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            match error.is_data() {
                true => NoDraft::NoMessage(text),
                false => NoDraft::NoJson(text),
            }
        })?;
        if draft.media.len() > MOST_MEDIA {
            return Err(NoDraft::TooManyMedia);
        }
        let is_address = |text: &String| {
            let is_web = text.starts_with("https://") || text.starts_with("http://");
            let is_plain = text.chars().all(|c| c.is_ascii_graphic());
            is_web && is_plain && text.len() <= LONGEST_ADDRESS
        };
        match draft.media.iter().all(is_address) {
            true => Ok(draft),
            false => Err(NoDraft::NoAddress),
        }
    }

    /// A digest of all of it.
    #[must_use]
    pub fn print(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The key under which the spool knows a client's idempotency key: clients do not share theirs. `None`: it is none.
#[must_use]
pub fn key(client: &str, key: &str) -> Option<String> {
    let is_plain = key.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    let fits = (1..=LONGEST_KEY).contains(&key.len()) && is_plain;
    // With its length no name can pass for another's beginning.
    fits.then(|| format!("api/{}/{client}/{key}", client.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Draft, String> {
        Draft::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_message_is_refused_in_a_sentence() {
        for (text, why) in [
            ("", "the body is no JSON: EOF"),
            ("{", "the body is no JSON: EOF"),
            ("[]", "the body is no message"),
            (r#"{"from":"1"}"#, "missing field `to`"),
            (
                r#"{"from":"1","to":"2","text":"x"}"#,
                "unknown field `text`",
            ),
            (r#"{"from":1,"to":"2"}"#, "invalid type"),
            (r#"{"from":"1","to":"2","media":["ftp://x"]}"#, "no address"),
            (
                r#"{"from":"1","to":"2","media":["http://x y"]}"#,
                "no address",
            ),
            ("\u{feff}{}", "no JSON"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(why) && !error.contains(" at line "),
                "{text}: {error}"
            );
        }
        let many = ["\"https://example.org/1\""; 11].join(",");
        let error = read(&format!(r#"{{"from":"1","to":"2","media":[{many}]}}"#)).unwrap_err();
        assert!(error.contains("10 addresses"), "{error}");
    }

    #[test]
    fn every_field_makes_another_print() {
        let one = read(r#"{"from":"1","to":"2","body":"x"}"#).unwrap();
        assert_eq!(
            read(r#" {"to":"2","body":"\u0078","from":"1"}"#)
                .unwrap()
                .print(),
            one.print()
        );
        for text in [
            r#"{"from":"12","to":"","body":"x"}"#,
            r#"{"from":"1","to":"2","body":"x "}"#,
            r#"{"from":"1","to":"2","body":"x","interface":"1"}"#,
            r#"{"from":"1","to":"2","body":"x","media":["https://a"]}"#,
        ] {
            assert_ne!(read(text).unwrap().print(), one.print(), "{text}");
        }
    }

    #[test]
    fn keys_are_each_clients_own() {
        assert_eq!(key("crm", "k 1").as_deref(), Some("api/3/crm/k 1"));
        assert_ne!(key("a/b", "c"), key("a", "b/c"));
        for bad in ["", "å", "a\n", &"k".repeat(201)] {
            assert_eq!(key("crm", bad), None, "{bad:?}");
        }
    }
}
