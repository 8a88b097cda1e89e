//! An interface in the predecessor's manner: three keys, found wherever they are in a form or in JSON.
//!
//! A key that is the path of something is taken at its word. Else it is looked for at any depth, and what lies nearest the
//! top counts: further down others may have written.
//!
//! Pure. It refuses a request without the two numbers; the predecessor said yes to it and forgot it. JSON within a text is
//! opened in the fields that are named as containers, and in no other.
//!
//! Invariant: what stands in the fields of the text and of the numbers is text, whatever it looks like.

use super::{check, unwrap};
use crate::websms::body::{self, Malformed, form};
use crate::websms::document::Document;
use crate::websms::message::{Heard, Received};
use crate::websms::path::Path;
use crate::websms::profile::Format;
use crate::websms::request::Request;

/// The keys of websms.conf, `[websmsd]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub to: String,
    pub from: String,
    pub body: String,
    /// The field of a query whose value is answered; none if empty.
    pub echo: String,
    /// Fields at the top whose text is a document.
    pub containers: Vec<String>,
}

impl Default for Keys {
    /// The predecessor's defaults. It opened every field; of the carriers that it was made for one needs it, and calls the
    /// field `result`.
    fn default() -> Keys {
        Keys {
            to: "To".to_owned(),
            from: "From".to_owned(),
            body: "Body".to_owned(),
            echo: String::new(),
            containers: vec!["result".to_owned()],
        }
    }
}

impl Keys {
    /// What a request says: one message, or a test of the address.
    pub fn hear(&self, request: &Request<'_>) -> Result<Heard, Malformed> {
        if let Some(echo) = check::echo(Some(&self.echo), request)? {
            return Ok(Heard::Echo(echo));
        }
        let methods = ["POST".to_owned(), "GET".to_owned()];
        if !methods.iter().any(|method| method == request.method) {
            return Err(check::no_method(request.method, &methods));
        }
        let mut document = match body::format(Format::Auto, request)? {
            Format::Json => body::read(Format::Json, request)?,
            other => form::nested(body::fields(other, request)?),
        };
        for container in &self.containers {
            if let Ok(path) = container.parse::<Path>()
                && !self.has(container)
            {
                unwrap(&path, &mut document)?;
            }
        }
        let said = |key: &str| {
            find(&document, key)
                .filter(|value| !matches!(value, Document::Null) && value.text() != Some(""))
        };
        Ok(Heard::Messages(vec![Received {
            to: check::number(said(&self.to), &missing(&self.to, "to whom it is"))?,
            from: check::number(said(&self.from), &missing(&self.from, "from whom it is"))?,
            body: said(&self.body)
                .map(check::text)
                .transpose()?
                .unwrap_or_default(),
            ..Received::default()
        }]))
    }
}

impl Keys {
    /// Whether a container's name is a key's: to open it would be to open the text of a message.
    fn has(&self, container: &str) -> bool {
        container.split(['.', '"', '[', ']']).any(|name| {
            [&self.to, &self.from, &self.body]
                .into_iter()
                .any(|key| key == name)
        })
    }
}

fn missing(key: &str, what: &str) -> String {
    format!("{what} (key {})", key.escape_debug())
}

/// The value of a key: at its path, else the one nearest the top, of those the first.
fn find<'d>(document: &'d Document, key: &str) -> Option<&'d Document> {
    if let Some(found) = key.parse::<Path>().ok().and_then(|p| p.first(document)) {
        return Some(found);
    }
    let mut level = vec![document];
    while !level.is_empty() {
        if let Some(found) = level.iter().find_map(|node| node.get(key)) {
            return Some(found);
        }
        level = level.iter().flat_map(|node| node.children()).collect();
    }
    None
}

#[cfg(test)]
mod tests;
