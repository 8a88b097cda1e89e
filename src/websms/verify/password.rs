//! Proofs that are a secret itself: HTTP Basic (RFC 7617), and a token in the query or in a header.
//!
//! Pure. Invariant: such a secret proves who calls and nothing of what is said; it needs TLS.

use super::{Keys, Refused, header, secret};
use crate::websms::body::query;
use crate::websms::request::Request;

pub fn basic(request: &Request<'_>, keys: &Keys<'_>) -> Result<(), Refused> {
    let given = header(request, "Authorization")?;
    let given = match given.split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("Basic") => {
            secret::unbase64(text.trim())
        }
        _ => None,
    };
    let given =
        given.ok_or_else(|| Refused::new("the header Authorization is none of HTTP Basic"))?;
    let right = |secret: &&str| {
        let wanted = format!("{}:{secret}", keys.user);
        secret::same(wanted.as_bytes(), &given)
    };
    match keys.secrets.iter().any(right) {
        true => Ok(()),
        false => Err(Refused::new("user or password is not right")),
    }
}

pub fn token(
    in_query: Option<&str>,
    in_header: Option<&str>,
    request: &Request<'_>,
    keys: &Keys<'_>,
) -> Result<(), Refused> {
    let mut given = Vec::new();
    if let Some(field) = in_query {
        let fields = query::read(request.target)?;
        let value = fields.into_iter().find(|(name, _)| name == field);
        given.extend(value.map(|(_, value)| value));
    }
    given.extend(in_header.and_then(|name| request.header(name).map(str::to_owned)));
    if given.is_empty() {
        return Err(Refused::new("the request brings no token"));
    }
    let right = |secret: &&str| {
        let mut given = given.iter();
        given.any(|token| secret::same(secret.as_bytes(), token.as_bytes()))
    };
    match keys.secrets.iter().any(right) {
        true => Ok(()),
        false => Err(Refused::new("the token is not right")),
    }
}
