//! Vonage's signed webhooks of the SMS API: a digest, or an HMAC, over the fields in the order of their names.
//!
//! Pure. It refuses fields that hold more than text, and a request without its time.
//!
//! Invariant: all fields but the signature are covered, also those that are not read.

use super::{Keys, LONG_TOLERANCE, Refused, in_time, secret};
use crate::websms::body;
use crate::websms::document::Document;
use crate::websms::profile::{Algorithm, Format};
use crate::websms::request::Request;

pub fn verify(
    format: Format,
    request: &Request<'_>,
    keys: &Keys<'_>,
    now: u64,
) -> Result<(), Refused> {
    let Document::Object(members) = body::read(format, request)? else {
        return Err(Refused::new("the request has no fields"));
    };
    let mut fields = members
        .iter()
        .map(|(name, value)| Some((name.as_str(), value.text()?)))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Refused::new("a field of the request is no text"))?;
    let one = |wanted: &str| {
        let mut all = fields.iter().filter(|(name, _)| *name == wanted);
        let value = all.next().map(|(_, value)| *value);
        value.filter(|_| all.next().is_none())
    };
    let tag = one("sig")
        .and_then(secret::unhex)
        .ok_or_else(|| Refused::new("the request has no field sig with a signature"))?;
    let signed_at = one("timestamp")
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| Refused::new("the request has no field timestamp with a time"))?;
    fields.retain(|(name, _)| *name != "sig");
    let text = signed_text(&mut fields);
    let right = |key: &&str| is_right(&tag, key, &text);
    if !keys.secrets.iter().any(right) {
        return Err(Refused::new(
            "the signature in sig is not right; hint: it is made with the signature secret, not the API secret",
        ));
    }
    in_time(signed_at, now, LONG_TOLERANCE)
}

/// What is signed.
pub fn signed_text(fields: &mut [(&str, &str)]) -> String {
    fields.sort_unstable();
    fields
        .iter()
        .map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_")))
        .collect()
}

/// The method, which is a setting at the carrier's, is told by the length. All are of the one secret, and none can be made
/// without it.
fn is_right(tag: &[u8], key: &str, text: &str) -> bool {
    let hmac = |algorithm| secret::hmac(algorithm, key.as_bytes(), text.as_bytes(), tag);
    match tag.len() {
        16 => {
            let digest = secret::digest_md5(format!("{text}{key}").as_bytes());
            secret::same(&digest, tag) || hmac(Algorithm::Md5)
        }
        20 => hmac(Algorithm::Sha1),
        32 => hmac(Algorithm::Sha256),
        64 => hmac(Algorithm::Sha512),
        _ => false,
    }
}
