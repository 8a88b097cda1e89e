//! What a field of a message must be, whichever way it was found.
//!
//! Pure. It refuses a number with anything but letters, digits, `+`, `.`, `_`, `-` and blanks, and an id or an address with
//! control characters. The text of a message is free.
//!
//! Invariant: a reason names the field and what is wrong with it, and never holds the text of a message.

use crate::websms::body::{Malformed, query};
use crate::websms::document::Document;
use crate::websms::request::Request;

/// The longest number or name of a sender.
const LONGEST_NUMBER: usize = 32;
const LONGEST_ID: usize = 256;
const LONGEST_ADDRESS: usize = 2048;
const LONGEST_ECHO: usize = 1024;
const LONGEST_DETAIL: usize = 256;
/// More pictures than a message has.
pub const MOST_MEDIA: usize = 32;

/// A number, or a sender's name, as the carrier wrote it.
pub fn number(value: Option<&Document>, what: &str) -> Result<String, Malformed> {
    let Some(value) = value else {
        return Err(Malformed::new(format!("the message does not tell {what}")));
    };
    let text = value
        .text()
        .ok_or_else(|| Malformed::new(format!("the message tells {what} by no text")))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+._- ".contains(c);
    if !text.chars().all(allowed) || !text.contains(|c: char| c.is_ascii_alphanumeric()) {
        let shown: String = text.chars().take(LONGEST_NUMBER).collect();
        return Err(Malformed::new(format!(
            "the message tells {what} as `{}`, which is no number and no name",
            shown.escape_debug()
        )));
    }
    if text.len() > LONGEST_NUMBER {
        return Err(Malformed::new(format!(
            "the message tells {what} in more than {LONGEST_NUMBER} signs"
        )));
    }
    Ok(text.to_owned())
}

/// The text of a message, byte for byte; null is empty.
pub fn text(value: &Document) -> Result<String, Malformed> {
    match (value.text(), value) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Document::Null) => Ok(String::new()),
        (None, _) => Err(Malformed::new("the text of the message is no text")),
    }
}

/// An id, of a message or of the parts of one.
pub fn id(value: &Document) -> Result<String, Malformed> {
    let text = value
        .text()
        .ok_or_else(|| Malformed::new("the id is no text"))?;
    match text.len() <= LONGEST_ID && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(format!(
            "the id is longer than {LONGEST_ID} bytes or holds a control character"
        ))),
    }
}

/// An address that can be fetched.
pub fn address(value: &Document, what: &str) -> Result<String, Malformed> {
    let text = value.text().unwrap_or("");
    let web = ["https://", "http://"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let plain = text.chars().all(|c| !c.is_control() && c != ' ');
    match web && plain && text.len() <= LONGEST_ADDRESS {
        true => Ok(text.to_owned()),
        false => Err(Malformed::new(format!(
            "the address of {what} is none of the web, or longer than {LONGEST_ADDRESS} bytes"
        ))),
    }
}

/// A carrier's word for people, cut and in one line.
#[must_use]
pub fn detail(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(LONGEST_DETAIL).collect()
}

/// What a test of the address wants to hear, if the request is one. It is to be answered as text, never as a page.
pub fn echo(field: Option<&str>, request: &Request<'_>) -> Result<Option<String>, Malformed> {
    let Some(field) = field.filter(|field| !field.is_empty() && request.method == "GET") else {
        return Ok(None);
    };
    let fields = query::read(request.target)?;
    match fields.into_iter().find(|(name, _)| name == field) {
        Some((_, value)) if value.len() > LONGEST_ECHO => Err(Malformed::new(format!(
            "the test of the address wants to hear more than {LONGEST_ECHO} bytes"
        ))),
        found => Ok(found.map(|(_, value)| value)),
    }
}

/// A method that the interface does not take.
#[must_use]
pub fn no_method(method: &str, methods: &[String]) -> Malformed {
    Malformed::with_status(
        405,
        format!(
            "the interface takes {}, not `{}`",
            methods.join(", "),
            method.chars().take(32).collect::<String>().escape_debug()
        ),
    )
}
