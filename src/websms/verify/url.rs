//! The address that the carrier called, as it signs it.
//!
//! Pure. It refuses to guess: the address is configured, since a proxy changes what the request says of it.
//!
//! Invariant: path and query are signed as they were sent; only the port may be there or not.

use super::{Keys, Refused};
use crate::websms::request::Request;

/// The addresses that the carrier may have signed: as configured, without a port, and with the port of its scheme.
pub fn candidates(request: &Request<'_>, keys: &Keys<'_>) -> Result<Vec<String>, Refused> {
    let url = keys.public_url.ok_or_else(|| {
        Refused::new(
            "the signature covers the address, and none is configured; hint: set public_url",
        )
    })?;
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| Refused::new("public_url is no address; hint: https://pbx.example.org"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // A bare address stands for all paths; one with a path is the hook itself, whatever a proxy made of the path.
    let target = match (path, request.query()) {
        ("" | "/", _) => request.target.to_owned(),
        (path, "") => path.to_owned(),
        (path, query) => format!("{path}?{query}"),
    };
    let standard = if scheme == "http" { "80" } else { "443" };
    let (host, port) = split_port(authority);
    let mut authorities = vec![authority.to_owned(), host.to_owned()];
    authorities.extend(port.is_none().then(|| format!("{host}:{standard}")));
    authorities.dedup();
    Ok(authorities
        .into_iter()
        .map(|authority| format!("{scheme}://{authority}{target}"))
        .collect())
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The last colon of `[::1]` begins no port.
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_there_or_not() {
        let all = |public_url: &str, target: &str| {
            let request = Request {
                method: "POST",
                target,
                headers: &[],
                body: b"",
            };
            let keys = Keys {
                public_url: Some(public_url),
                ..Keys::default()
            };
            candidates(&request, &keys).unwrap()
        };
        assert_eq!(
            all("https://pbx.example.org", "/a?b=1"),
            [
                "https://pbx.example.org/a?b=1",
                "https://pbx.example.org:443/a?b=1"
            ]
        );
        assert_eq!(
            all("http://u:p@[::1]:8080/", "/a"),
            ["http://u:p@[::1]:8080/a", "http://u:p@[::1]/a"]
        );
        assert_eq!(
            all("http://[::1]", "/a"),
            ["http://[::1]/a", "http://[::1]:80/a"]
        );
        // A proxy may cut the path; a path that is configured is the carrier's.
        assert_eq!(
            all("https://h/sms/hook?old#f", "/hook?x=1")
                .first()
                .unwrap(),
            "https://h/sms/hook?x=1"
        );
        assert_eq!(
            all("https://h/sms", "/hook").first().unwrap(),
            "https://h/sms"
        );
    }
}
