//! A signed token in `Authorization` (RFC 7519) that holds the digest of the body.
//!
//! Pure. It refuses every algorithm but HS256, whatever the token says of itself, a token without the digest, and one that is
//! past its end; one that has no end counts for five minutes from when it was made.
//!
//! Invariant: what the token says is looked at only once its signature is right.

use super::{Keys, Refused, TOLERANCE, header, in_time, secret};
use crate::websms::body::json;
use crate::websms::document::Document;
use crate::websms::profile::Algorithm;
use crate::websms::request::Request;

pub fn verify(request: &Request<'_>, keys: &Keys<'_>, now: u64) -> Result<(), Refused> {
    let given = header(request, "Authorization")?;
    let token = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
        _ => return Err(Refused::new("the header Authorization bears no token")),
    };
    let no_token = || Refused::new("the token in Authorization is no signed token");
    let (signed, tag) = token.rsplit_once('.').ok_or_else(no_token)?;
    let (head, claims) = signed.split_once('.').ok_or_else(no_token)?;
    let tag = secret::unbase64_url(tag).ok_or_else(no_token)?;
    let open = |part: &str| -> Result<Document, Refused> {
        let bytes = secret::unbase64_url(part).ok_or_else(no_token)?;
        json::read(&bytes).map_err(|_| no_token())
    };
    let head = open(head)?;
    if head.get("alg").and_then(Document::text) != Some("HS256") || head.get("crit").is_some() {
        return Err(Refused::new("the token is not signed with HS256"));
    }
    let tags = std::slice::from_ref(&tag);
    if !secret::any_hmac(Algorithm::Sha256, keys.secrets, signed.as_bytes(), tags) {
        return Err(Refused::new("the token's signature is not right"));
    }
    let claims = open(claims)?;
    in_its_time(&claims, now)?;
    let digest = claims
        .get("payload_hash")
        .and_then(Document::text)
        .ok_or_else(|| Refused::new("the token does not cover the body"))?;
    let body = secret::sha256_hex(request.body);
    match secret::same(digest.to_ascii_lowercase().as_bytes(), body.as_bytes()) {
        true => Ok(()),
        false => Err(Refused::new("the body is not the one of the token")),
    }
}

fn in_its_time(claims: &Document, now: u64) -> Result<(), Refused> {
    let end = moment(claims, "exp")?;
    if end.is_some_and(|end| now >= end) {
        return Err(Refused::new("the token is past its end"));
    }
    if moment(claims, "nbf")?.is_some_and(|begin| now.saturating_add(TOLERANCE) < begin) {
        return Err(Refused::new("the token does not count yet"));
    }
    match (end, moment(claims, "iat")?) {
        (Some(_), _) => Ok(()),
        (None, Some(made)) => in_time(made, now, TOLERANCE),
        (None, None) => Err(Refused::new("the token does not tell its time")),
    }
}

/// A time of the token, in seconds and perhaps a fraction; `None` if it is not there.
fn moment(claims: &Document, name: &str) -> Result<Option<u64>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Document::Number(text)) => {
            let whole = text.split('.').next().unwrap_or(text);
            let parsed = whole.parse().ok().filter(|_| !text.contains(['e', 'E']));
            parsed.map(Some).ok_or_else(|| no_time(name))
        }
        Some(_) => Err(no_time(name)),
    }
}

fn no_time(name: &str) -> Refused {
    Refused::new(format!("the token's {name} is no time"))
}
