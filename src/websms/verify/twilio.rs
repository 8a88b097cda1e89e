//! Twilio's signature, and that of those who sign like it: HMAC over the address and the fields of the form in the order of
//! their names; for other bodies the body's digest stands in the query and so in the address.
//!
//! Pure. It refuses a body that neither covers. Invariant: every byte of a body that means something is signed.

use super::{Keys, Refused, header, secret, url, wrong_signature};
use crate::websms::body::form;
use crate::websms::body::query;
use crate::websms::profile::Algorithm;
use crate::websms::request::Request;

/// The field of the query with the body's digest.
const DIGEST: &str = "bodySHA256";

pub fn verify(name: &str, request: &Request<'_>, keys: &Keys<'_>) -> Result<(), Refused> {
    let tag = secret::unbase64(header(request, name)?)
        .ok_or_else(|| Refused::new(format!("the header {name} holds no signature")))?;
    // The newer signature is told by its length. Both are of the same secret, and nobody can make either without it.
    let algorithm = match tag.len() {
        32 => Algorithm::Sha256,
        _ => Algorithm::Sha1,
    };
    let fields = fields(request)?;
    url::candidates(request, keys)?
        .into_iter()
        .map(|url| url + &fields)
        .any(|text| {
            let tags = std::slice::from_ref(&tag);
            secret::any_hmac(algorithm, keys.secrets, text.as_bytes(), tags)
        })
        .then_some(())
        .ok_or_else(|| wrong_signature(name))
}

/// What follows the address in the signed text.
pub fn fields(request: &Request<'_>) -> Result<String, Refused> {
    if request.body.is_empty() {
        return Ok(String::new());
    }
    if request.media_type() == form::MEDIA_TYPE {
        let mut fields = form::read(request.body)?;
        fields.sort();
        fields.dedup();
        let text = |(name, value)| [name, value].concat();
        return Ok(fields.into_iter().map(text).collect());
    }
    let digest = query::read(request.target)?
        .into_iter()
        .find(|(name, _)| name == DIGEST)
        .map(|(_, digest)| digest.to_ascii_lowercase())
        .ok_or_else(|| {
            Refused::new(format!(
                "the body is no form, and the query has no {DIGEST} that would cover it"
            ))
        })?;
    match secret::same(
        digest.as_bytes(),
        secret::sha256_hex(request.body).as_bytes(),
    ) {
        true => Ok(String::new()),
        false => Err(Refused::new(format!("the body is not the one of {DIGEST}"))),
    }
}
