//! What is answered when something is not done: a problem in the form of RFC 9457, of one sentence and, where it is known, a
//! hint.
//!
//! Pure. Invariant: it holds neither a text of a message nor a token.

use serde::Serialize;

pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why it is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    /// For programs; it keeps its meaning.
    pub code: &'static str,
    pub detail: String,
    pub hint: Option<String>,
    /// A header that goes along.
    pub header: Option<(&'static str, String)>,
}

#[derive(Serialize)]
struct Shape<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    #[must_use]
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            hint: None,
            header: None,
        }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Problem {
        Problem {
            hint: Some(hint.into()),
            ..self
        }
    }

    #[must_use]
    pub fn header(self, name: &'static str, value: impl Into<String>) -> Problem {
        Problem {
            header: Some((name, value.into())),
            ..self
        }
    }

    /// Our own trouble, or too much of theirs: come again.
    #[must_use]
    pub fn later(self, seconds: u32) -> Problem {
        self.header("retry-after", seconds.to_string())
    }

    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let shape = Shape {
            // Its meaning is that of the status; `code` says the rest.
            r#type: "about:blank",
            title: title(self.status),
            status: self.status,
            code: self.code,
            detail: &self.detail,
            hint: self.hint.as_deref(),
        };
        serde_json::to_vec(&shape).unwrap_or_default()
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_form() {
        let problem = Problem::new(422, "key-used", "the key was used")
            .hint("take another")
            .later(3);
        assert_eq!(
            String::from_utf8(problem.json()).unwrap(),
            r#"{"type":"about:blank","title":"Unprocessable Content","status":422,"code":"key-used","detail":"the key was used","hint":"take another"}"#
        );
        assert_eq!(problem.header, Some(("retry-after", "3".to_owned())));
    }
}
