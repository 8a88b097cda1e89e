//! What a request says, whatever it is written in: form, multipart, JSON or query.
//!
//! Pure. It refuses what could be read in two ways: a body that is too large, text that is not UTF-8, a media type that is
//! not known, a boundary that is not the body's. Nothing is replaced, guessed or cut.
//!
//! Invariant: the document has every byte of every value that the request has, and no other.

use super::document::Document;
use super::profile::Format;
use super::request::{LARGEST_BODY, Request};

pub mod form;
pub mod json;
pub mod multipart;
pub mod query;

/// More fields than any carrier sends.
pub const MOST_FIELDS: usize = 512;

/// A request that cannot be read, and the status that says so to a carrier. The reason is for the log; it holds nothing of
/// the message's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    pub status: u16,
    reason: String,
}

impl Malformed {
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Malformed {
        Malformed {
            status: 400,
            reason: reason.into(),
        }
    }

    #[must_use]
    pub(super) fn with_status(status: u16, reason: impl Into<String>) -> Malformed {
        Malformed {
            status,
            reason: reason.into(),
        }
    }
}

/// How this body is written, by the profile's word or by the request's.
pub fn format(format: Format, request: &Request<'_>) -> Result<Format, Malformed> {
    if format != Format::Auto {
        return Ok(format);
    }
    // A body that is there counts, so that a query cannot stand in for it.
    if request.body.is_empty() {
        return Ok(Format::Query);
    }
    match request.media_type().as_str() {
        form::MEDIA_TYPE => Ok(Format::Form),
        multipart::MEDIA_TYPE => Ok(Format::Multipart),
        "application/json" | "text/json" => Ok(Format::Json),
        kind if kind.starts_with("application/") && kind.ends_with("+json") => Ok(Format::Json),
        "" => Err(Malformed::with_status(
            415,
            "the request does not say what its body is written in; hint: name the format in the profile",
        )),
        kind => Err(Malformed::with_status(
            415,
            format!(
                "a body of the type `{}` is not read; hint: form, multipart and JSON are",
                kind.escape_debug()
            ),
        )),
    }
}

/// What the request says. A form's fields are the names of one object, as they are written.
pub fn read(as_written: Format, request: &Request<'_>) -> Result<Document, Malformed> {
    Ok(match format(as_written, request)? {
        Format::Json => {
            within_limits(request)?;
            json::read(request.body)?
        }
        _ => object(fields(as_written, request)?),
    })
}

/// The fields of a form, of a multipart body or of a query, in their order. JSON has none.
pub fn fields(
    as_written: Format,
    request: &Request<'_>,
) -> Result<Vec<(String, String)>, Malformed> {
    within_limits(request)?;
    match format(as_written, request)? {
        Format::Form => form::read(request.body),
        Format::Multipart => {
            multipart::read(request.header("Content-Type").unwrap_or(""), request.body)
        }
        Format::Query | Format::Auto => query::read(request.target),
        Format::Json => Err(Malformed::new("a form is wanted, and JSON came")),
    }
}

/// These fields as one object.
#[must_use]
pub fn object(fields: Vec<(String, String)>) -> Document {
    let member = |(name, value)| (name, Document::Text(value));
    Document::Object(fields.into_iter().map(member).collect())
}

fn within_limits(request: &Request<'_>) -> Result<(), Malformed> {
    if request.body.len() > LARGEST_BODY {
        return Err(Malformed::with_status(
            413,
            format!("the body is larger than {LARGEST_BODY} bytes"),
        ));
    }
    let kind = request.header("Content-Type").unwrap_or("");
    match parameter(kind, "charset") {
        Some(charset) if !is_utf8(&charset) => Err(Malformed::with_status(
            415,
            format!(
                "the body is in the character set `{}`; hint: UTF-8 is read",
                charset.escape_debug()
            ),
        )),
        _ => Ok(()),
    }
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
}

/// A parameter of a header such as `form-data; name="To"`, without its quotes (RFC 9110, 5.6.6).
fn parameter(header: &str, name: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (found, after) = rest.split_once('=')?;
        // A parameter without a value is none; what follows it begins after its semicolon.
        let found = found.rsplit(';').next().unwrap_or(found);
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                (value.trim_end().to_owned(), after)
            }
        };
        if found.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// A quoted string up to its closing quote, and what follows.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut signs = quoted.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(signs.next()?.1),
            sign => value.push(sign),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_header() {
        let header = r#"form-data; name="a;b=\"c" ; filename=x.txt; Last"#;
        assert_eq!(parameter(header, "NAME").as_deref(), Some("a;b=\"c"));
        assert_eq!(parameter(header, "filename").as_deref(), Some("x.txt"));
        assert_eq!(parameter(header, "last"), None);
        assert_eq!(
            parameter("form-data; x; name=y", "name").as_deref(),
            Some("y")
        );
        assert_eq!(parameter("form-data; name=\"open", "name"), None);
    }

    fn read_as(content_type: &str, body: &[u8]) -> Result<Document, Malformed> {
        read(
            Format::Auto,
            &Request {
                method: "POST",
                target: "/hook?To=query",
                headers: &[("Content-Type", content_type)],
                body,
            },
        )
    }

    fn to(document: &Document) -> Option<&str> {
        document.get("To").and_then(Document::text)
    }

    #[test]
    fn a_body_is_read_as_its_type_says() {
        let form = "application/x-www-form-urlencoded; charset=UTF-8";
        assert_eq!(to(&read_as(form, b"To=form").unwrap()), Some("form"));
        assert_eq!(to(&read_as(form, b"").unwrap()), Some("query"));
        for kind in [
            "application/json",
            "Application/vnd.api+JSON; charset=utf-8",
        ] {
            let read = read_as(kind, br#"{"To":"json"}"#).unwrap();
            assert_eq!(to(&read), Some("json"));
        }
    }

    #[test]
    fn what_is_too_large_or_not_known_is_refused_with_its_status() {
        let large = vec![b'a'; LARGEST_BODY + 1];
        let form = "application/x-www-form-urlencoded";
        let status = |kind: &str, body: &[u8]| read_as(kind, body).map_err(|e| e.status);
        assert_eq!(status(form, &large), Err(413));
        assert!(status(form, &large[1..]).is_ok());
        assert_eq!(status("text/plain", b"To=1"), Err(415));
        assert_eq!(status("", b"To=1"), Err(415));
        assert_eq!(
            status("application/x-www-form-urlencoded; charset=latin1", b"To=1"),
            Err(415)
        );
    }

    #[test]
    fn a_body_of_seven_megabytes_is_refused_not_spooled() {
        let body = format!("To=1&From=2&Body={}", "x".repeat(7_000_000));
        let refused = read_as("application/x-www-form-urlencoded", body.as_bytes()).unwrap_err();
        assert_eq!(refused.status, 413);
        assert!(refused.to_string().contains("65536"), "{refused}");
    }
}
