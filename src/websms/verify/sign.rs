//! The carrier's side of a proof: signs a request as the carrier would, to test what we make of it.
//!
//! Pure: the time and the nonce are handed in. It refuses what only the carrier can do: sign with a private key. Invariant:
//! what was signed here is right by `Verifier::verify` with the same keys, and is right for the first secret.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{Keys, Refused, Verifier, plivo, secret, twilio, url, vonage};
use crate::websms::body;
use crate::websms::document::Document;
use crate::websms::profile::{Algorithm, Encoding, Verify};
use crate::websms::request::Request;

/// A request that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    #[error(
        "the carrier signs with a private key (Ed25519) of which we have the public half: only the carrier can make this signature"
    )]
    PrivateKey,
    #[error(
        "Amazon signs with the key of its certificate: only a message of your topic can be proved"
    )]
    Amazon,
    #[error("no secret is configured")]
    NoSecret,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Draft {
    /// Its headers, as a request borrows them.
    #[must_use]
    pub fn head(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    #[must_use]
    pub fn request<'a>(&'a self, head: &'a [(&'a str, &'a str)]) -> Request<'a> {
        Request {
            method: &self.method,
            target: &self.target,
            headers: head,
            body: &self.body,
        }
    }

    fn header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Adds a field to the query.
    pub fn query(&mut self, name: &str, value: &str) {
        let before = if self.target.contains('?') { '&' } else { '?' };
        self.target
            .push_str(&format!("{before}{name}={}", percent(value)));
    }

    /// Adds a field where the others are: to the form, or to the query.
    fn field(&mut self, name: &str, value: &str) {
        if self.body.is_empty() {
            self.query(name, value);
        } else {
            let field = format!("&{name}={}", percent(value));
            self.body.extend_from_slice(field.as_bytes());
        }
    }
}

/// Percent-encoded, but for letters, digits and `-._~`.
#[must_use]
pub fn percent(text: &str) -> String {
    let sign = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(sign).collect()
}

impl Verifier {
    /// Signs a request. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If only the carrier can, or something that is signed is missing.
    pub fn sign(
        &self,
        draft: &mut Draft,
        keys: &Keys<'_>,
        now: u64,
        nonce: &str,
    ) -> Result<(), Unsigned> {
        let known = keys.secrets.iter().find(|secret| !secret.is_empty());
        let secret = || known.copied().ok_or(Unsigned::NoSecret);
        match &self.rule {
            Verify::None => {}
            Verify::Ed25519 { .. } => return Err(Unsigned::PrivateKey),
            Verify::Sns => return Err(Unsigned::Amazon),
            Verify::Basic => {
                let pair = format!("{}:{}", keys.user, secret()?);
                draft.header("Authorization", format!("Basic {}", STANDARD.encode(pair)));
            }
            Verify::Token { query, header } => match (query, header) {
                (Some(field), _) => draft.query(field, secret()?),
                (None, Some(name)) => draft.header(name, secret()?),
                (None, None) => {}
            },
            Verify::Jwt => {
                let token = token(secret()?, &draft.body, now);
                draft.header("Authorization", format!("Bearer {token}"));
            }
            Verify::Twilio { header } => {
                let tag = self.twilio(draft, keys, secret()?)?;
                draft.header(header, tag);
            }
            Verify::Plivo {
                header,
                nonce_header,
            } => {
                let tag = plivo_tag(header, nonce, draft, keys, secret()?)?;
                draft.header(nonce_header, nonce);
                draft.header(header, tag);
            }
            Verify::VonageSms => self.vonage(draft, secret()?, now)?,
            Verify::Hmac {
                algorithm,
                header,
                encoding,
                prefix,
                timestamp_header,
                nonce_header,
                ..
            } => {
                if let Some(name) = timestamp_header {
                    draft.header(name, now.to_string());
                }
                if let Some(name) = nonce_header {
                    draft.header(name, nonce);
                }
                let tag = self.hmac(draft, keys, (*algorithm, secret()?), now)?;
                let tag = secret::encoded(*encoding, &tag);
                draft.header(header, format!("{prefix}{tag}"));
            }
        }
        Ok(())
    }

    fn hmac(
        &self,
        draft: &Draft,
        keys: &Keys<'_>,
        (algorithm, key): (Algorithm, &str),
        now: u64,
    ) -> Result<Vec<u8>, Refused> {
        let head = draft.head();
        let over = self.over.as_ref();
        let texts = match over {
            Some(over) => over.texts(&draft.request(&head), keys, self.format, now)?,
            None => Vec::new(),
        };
        let text = texts.into_iter().next().unwrap_or_default();
        Ok(secret::tag(algorithm, key.as_bytes(), &text))
    }

    fn twilio(&self, draft: &Draft, keys: &Keys<'_>, key: &str) -> Result<String, Refused> {
        let head = draft.head();
        let request = draft.request(&head);
        let address = first(url::candidates(&request, keys)?);
        let text = address + &twilio::fields(&request)?;
        let tag = secret::tag(Algorithm::Sha1, key.as_bytes(), text.as_bytes());
        Ok(secret::encoded(Encoding::Base64, &tag))
    }

    /// Its time and its signature are fields like the others.
    fn vonage(&self, draft: &mut Draft, key: &str, now: u64) -> Result<(), Refused> {
        draft.field("timestamp", &now.to_string());
        let head = draft.head();
        let Document::Object(members) = body::read(self.format, &draft.request(&head))? else {
            return Err(Refused::new("the request has no fields"));
        };
        let fields = members.iter();
        let mut fields: Vec<(&str, &str)> = fields
            .filter_map(|(name, value)| Some((name.as_str(), value.text()?)))
            .collect();
        let text = vonage::signed_text(&mut fields);
        let tag = secret::tag(Algorithm::Sha256, key.as_bytes(), text.as_bytes());
        draft.field("sig", &secret::hex(&tag));
        Ok(())
    }
}

fn first(urls: Vec<String>) -> String {
    urls.into_iter().next().unwrap_or_default()
}

fn plivo_tag(
    header: &str,
    nonce: &str,
    draft: &Draft,
    keys: &Keys<'_>,
    key: &str,
) -> Result<String, Refused> {
    let head = draft.head();
    let request = draft.request(&head);
    let address = first(url::candidates(&request, keys)?);
    let bare = address.split('?').next().unwrap_or(&address);
    let text = match header.to_ascii_lowercase().contains("-v3") {
        true => format!("{}.{nonce}", plivo::with_fields(bare, &request)?),
        false => format!("{bare}{nonce}"),
    };
    let tag = secret::tag(Algorithm::Sha256, key.as_bytes(), text.as_bytes());
    Ok(secret::encoded(Encoding::Base64, &tag))
}

/// A token over the body (RFC 7519, HS256).
fn token(key: &str, body: &[u8], now: u64) -> String {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims = format!(
        r#"{{"iat":{now},"payload_hash":"{}"}}"#,
        secret::sha256_hex(body)
    );
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = secret::tag(Algorithm::Sha256, key.as_bytes(), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}
