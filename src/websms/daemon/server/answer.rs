//! What a carrier hears, and why.
//!
//! Invariant: a refusal is one plain line that holds neither a text nor a secret.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::websms::body::Malformed;
use crate::websms::profile::Answer;
use crate::websms::spool::SpoolError;

const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer, and its reason for people.
#[derive(Debug)]
pub struct Verdict {
    pub status: u16,
    pub reason: String,
    body: String,
    content_type: String,
    more: Option<More>,
}

/// What goes with a status.
#[derive(Debug)]
enum More {
    /// In seconds.
    Later(u32),
    /// The methods that are allowed.
    Methods(String),
}

impl Verdict {
    /// As the carrier wants to hear that it was taken.
    pub fn taken(answer: &Answer, reason: impl Into<String>) -> Verdict {
        Verdict {
            status: answer.status,
            reason: reason.into(),
            body: answer.body.clone(),
            content_type: answer.content_type.clone(),
            more: None,
        }
    }

    /// A test of the address.
    pub fn echo(text: String) -> Verdict {
        Verdict {
            status: 200,
            reason: "a test of the address".to_owned(),
            body: text,
            content_type: PLAIN.to_owned(),
            more: None,
        }
    }

    /// The first line of the reason is for the carrier, hints are for the admin.
    pub fn refused(status: u16, reason: impl Into<String>) -> Verdict {
        let reason = reason.into();
        let line = reason.split(['\n', ';']).next().unwrap_or_default();
        Verdict {
            status,
            body: format!("{line}\n"),
            reason,
            content_type: PLAIN.to_owned(),
            more: None,
        }
    }

    /// Strangers learn nothing of the house.
    pub fn closed(status: u16, reason: impl Into<String>) -> Verdict {
        let word = match status {
            404 => "there is nothing here",
            _ => "you may not",
        };
        Verdict {
            body: format!("{word}\n"),
            ..Verdict::refused(status, reason)
        }
    }

    /// Our own trouble: the carrier is to come again.
    pub fn later(seconds: u32, reason: impl Into<String>) -> Verdict {
        Verdict {
            body: "please try again later\n".to_owned(),
            more: Some(More::Later(seconds)),
            ..Verdict::refused(503, reason)
        }
    }

    pub fn no_method(malformed: &Malformed, allowed: String) -> Verdict {
        Verdict {
            more: Some(More::Methods(allowed)),
            ..Verdict::refused(malformed.status, malformed.to_string())
        }
    }

    pub fn of_spool(error: &SpoolError) -> Verdict {
        Verdict::later(error.retry_after().unwrap_or(30), error.to_string())
    }

    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        // A profile's status may be one that does not exist.
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        let value = HeaderValue::try_from(self.content_type);
        let value = value.unwrap_or(HeaderValue::from_static(PLAIN));
        headers.insert(header::CONTENT_TYPE, value);
        // What is echoed is a stranger's text: no browser is to take it for a page.
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        match self.more {
            Some(More::Later(seconds)) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Some(More::Methods(methods)) => {
                // A profile's methods may be none.
                let value = HeaderValue::try_from(methods).ok();
                headers.extend(value.map(|value| (header::ALLOW, value)));
            }
            None => {}
        }
        response
    }
}

impl From<Malformed> for Verdict {
    fn from(malformed: Malformed) -> Verdict {
        Verdict::refused(malformed.status, malformed.to_string())
    }
}
