//! Plivo's signatures: HMAC-SHA256 over the address and a nonce. The version stands in the header's name, as Plivo has it:
//! the second covers the address without its query, `...-V3` all fields as well.
//!
//! Pure. Invariant: with the second version nothing but the address is proved; the text of a message is not signed there.

use super::{Keys, Refused, header, secret, signed, url, wrong_signature};
use crate::websms::body::{form, query};
use crate::websms::profile::{Algorithm, Encoding};
use crate::websms::request::Request;

pub fn verify(
    name: &str,
    nonce_header: &str,
    request: &Request<'_>,
    keys: &Keys<'_>,
) -> Result<(), Refused> {
    let tags = signed::tags(request, name, "", Encoding::Base64)?;
    let nonce = header(request, nonce_header)?;
    let third = name.to_ascii_lowercase().contains("-v3");
    for url in url::candidates(request, keys)? {
        let bare = url.split('?').next().unwrap_or(&url);
        let text = match third {
            true => format!("{}.{nonce}", with_fields(bare, request)?),
            false => format!("{bare}{nonce}"),
        };
        if secret::any_hmac(Algorithm::Sha256, keys.secrets, text.as_bytes(), &tags) {
            return Ok(());
        }
    }
    Err(wrong_signature(name))
}

/// The address, the query in the order of its names, and the form in that of its own.
pub fn with_fields(bare: &str, request: &Request<'_>) -> Result<String, Refused> {
    let sorted = |mut fields: Vec<(String, String)>, between: &str, after: &str| {
        fields.sort();
        let one = |(name, value)| [name, between.to_owned(), value].concat();
        fields.into_iter().map(one).collect::<Vec<_>>().join(after)
    };
    let query = sorted(query::read(request.target)?, "=", "&");
    let fields = match request.body.is_empty() {
        true => Vec::new(),
        false if request.media_type() == form::MEDIA_TYPE => form::read(request.body)?,
        false => {
            return Err(Refused::new(
                "the body is no form, and the signature covers only forms",
            ));
        }
    };
    Ok(match (query.is_empty(), fields.is_empty()) {
        (true, true) => bare.to_owned(),
        (false, true) => format!("{bare}?{query}"),
        (true, false) => format!("{bare}?{}", sorted(fields, "", "")),
        (false, false) => format!("{bare}?{query}.{}", sorted(fields, "", "")),
    })
}
