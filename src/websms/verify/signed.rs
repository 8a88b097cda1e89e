//! Signatures over text that a profile puts together: HMAC and Ed25519.
//!
//! Pure. It refuses, at start, a text with a name that is not known, one that covers nothing of the message, and a time that
//! is not part of it: a time that is not signed proves nothing.
//!
//! Invariant: the bytes of the body are signed as they came.

use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Keys, Refused, TOLERANCE, header, in_time, secret, url, wrong_signature};
use crate::websms::body;
use crate::websms::document::Document;
use crate::websms::path::Path;
use crate::websms::profile::{Encoding, Format};
use crate::websms::request::Request;

/// More signatures in one header than carriers send.
const MOST_TAGS: usize = 8;
/// What a public key is wrapped in (RFC 8410, 4): the key's bytes follow.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// What is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pieces: Vec<Piece>,
    timestamp: Option<String>,
    nonce: Option<String>,
    tolerance: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    Body,
    Url,
    Path,
    Timestamp,
    Nonce,
    Field(Path),
}

impl Over {
    pub fn new(
        text: &str,
        timestamp: Option<&str>,
        nonce: Option<&str>,
        tolerance: Option<u32>,
    ) -> Result<Over, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}` has a brace that is not closed"))?;
            pieces.push(Piece::Literal(literal.to_owned()));
            pieces.push(Piece::named(name)?);
            rest = after;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        let over = Over {
            pieces,
            timestamp: timestamp.map(str::to_owned),
            nonce: nonce.map(str::to_owned),
            tolerance: tolerance.map_or(TOLERANCE, u64::from),
        };
        let covers = over
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Body | Piece::Url | Piece::Field(_)));
        if !covers {
            return Err(format!(
                "`{text}` covers nothing of a message; hint: sign {{body}}"
            ));
        }
        for (piece, header, name) in [
            (Piece::Timestamp, timestamp, "timestamp"),
            (Piece::Nonce, nonce, "nonce"),
        ] {
            if over.pieces.contains(&piece) != header.is_some() {
                return Err(format!(
                    "`{text}` and the header of the {name} go together; hint: give both or none"
                ));
            }
        }
        if tolerance.is_some() && timestamp.is_none() {
            return Err("a tolerance needs the header of a timestamp".to_owned());
        }
        Ok(over)
    }

    /// What may have been signed: one text for each address that the carrier may have called.
    pub fn texts(
        &self,
        request: &Request<'_>,
        keys: &Keys<'_>,
        format: Format,
        now: u64,
    ) -> Result<Vec<Vec<u8>>, Refused> {
        let timestamp = match &self.timestamp {
            Some(name) => header(request, name)?,
            None => "",
        };
        if let Some(name) = &self.timestamp {
            let signed = seconds(timestamp)
                .ok_or_else(|| Refused::new(format!("the header {name} tells no time")))?;
            in_time(signed, now, self.tolerance)?;
        }
        let nonce = match &self.nonce {
            Some(name) => header(request, name)?,
            None => "",
        };
        let urls = match self.pieces.contains(&Piece::Url) {
            true => url::candidates(request, keys)?,
            false => vec![String::new()],
        };
        let wants_field = |piece: &Piece| matches!(piece, Piece::Field(_));
        let document = match self.pieces.iter().any(wants_field) {
            true => body::read(format, request)?,
            false => Document::Null,
        };
        let text = |url: &String| {
            let mut text = Vec::new();
            for piece in &self.pieces {
                text.extend_from_slice(match piece {
                    Piece::Literal(literal) => literal.as_bytes(),
                    Piece::Body => request.body,
                    Piece::Url => url.as_bytes(),
                    Piece::Path => request.path().as_bytes(),
                    Piece::Timestamp => timestamp.as_bytes(),
                    Piece::Nonce => nonce.as_bytes(),
                    Piece::Field(path) => path
                        .first(&document)
                        .and_then(Document::text)
                        .ok_or_else(|| {
                            Refused::new(format!("the field `{path}`, which is signed, is missing"))
                        })?
                        .as_bytes(),
                });
            }
            Ok(text)
        };
        urls.iter().map(text).collect()
    }
}

impl Piece {
    fn named(name: &str) -> Result<Piece, String> {
        match name {
            "body" => Ok(Piece::Body),
            "url" => Ok(Piece::Url),
            "path" => Ok(Piece::Path),
            "timestamp" => Ok(Piece::Timestamp),
            "nonce" => Ok(Piece::Nonce),
            _ => match name.strip_prefix("field:") {
                Some(path) => Ok(Piece::Field(path.parse().map_err(|e| format!("{e}"))?)),
                None => Err(format!(
                    "`{{{name}}}` is not known; hint: body, url, path, timestamp, nonce, field:NAME"
                )),
            },
        }
    }
}

/// A time in seconds; thirteen digits are milliseconds.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| text.parse().ok()).flatten()?;
    Some(match text.len() {
        13 => number / 1000,
        _ => number,
    })
}

/// The signatures of a header; there may be several with commas between them.
pub fn tags(
    request: &Request<'_>,
    name: &str,
    prefix: &str,
    encoding: Encoding,
) -> Result<Vec<Vec<u8>>, Refused> {
    let tags: Vec<Vec<u8>> = header(request, name)?
        .split(',')
        .take(MOST_TAGS)
        .filter_map(|tag| secret::decoded(encoding, tag.trim().strip_prefix(prefix)?))
        .filter(|tag| !tag.is_empty())
        .collect();
    match tags.is_empty() {
        true => Err(Refused::new(format!(
            "the header {name} holds no signature"
        ))),
        false => Ok(tags),
    }
}

/// Whether one of the public keys made the signature.
pub fn ed25519(
    name: &str,
    request: &Request<'_>,
    keys: &Keys<'_>,
    texts: &[Vec<u8>],
) -> Result<(), Refused> {
    let tag = header(request, name)?;
    let tag = secret::unbase64(tag)
        .filter(|tag| tag.len() == 64)
        .or_else(|| secret::unhex(tag))
        .ok_or_else(|| Refused::new(format!("the header {name} holds no signature")))?;
    for key in keys.secrets {
        let key = public_key(key).ok_or_else(|| {
            Refused::new(
                "the public key is none of Ed25519; hint: 32 bytes in base64 or hexadecimal",
            )
        })?;
        let key = UnparsedPublicKey::new(&ED25519, key);
        if texts.iter().any(|text| key.verify(text, &tag).is_ok()) {
            return Ok(());
        }
    }
    Err(wrong_signature(name))
}

/// The bytes of a key, bare or as OpenSSL writes it.
fn public_key(text: &str) -> Option<Vec<u8>> {
    let bare: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    let bytes = match bare.len() {
        64 => secret::unhex(&bare),
        _ => secret::unbase64(&bare),
    }?;
    let bytes = bytes.strip_prefix(SPKI.as_slice()).unwrap_or(&bytes);
    (bytes.len() == 32).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_judged_at_start() {
        let told = |text: &str, timestamp, nonce, tolerance| {
            Over::new(text, timestamp, nonce, tolerance).unwrap_err()
        };
        for (text, why) in [
            ("{body", "not closed"),
            ("{bdy}", "`{bdy}` is not known"),
            ("{field:a[}", "character 3"),
            ("{path}x", "covers nothing"),
            ("{timestamp}|{body}", "timestamp go together"),
            ("{body}{nonce}", "nonce go together"),
        ] {
            let reason = told(text, None, None, None);
            assert!(reason.contains(why), "{reason}");
        }
        // A time that is not signed could be anybody's.
        assert!(told("{body}", Some("X-Time"), None, Some(300)).contains("go together"));
        assert!(told("{body}", None, None, Some(300)).contains("tolerance"));
        assert!(Over::new("v0:{timestamp}:{body}", Some("X-Time"), None, None).is_ok());
    }

    #[test]
    fn a_time_is_digits() {
        assert_eq!(seconds("1700000000"), Some(1_700_000_000));
        assert_eq!(seconds("1700000000999"), Some(1_700_000_000));
        for text in ["", "-1", "+1", "1e9", " 1", "99999999999999999999999"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
