//! Messages and what happened to them, in the shapes that the API and the hooks give them.
//!
//! Times are RFC 3339. The interface without index is called `websms` in both directions. Invariant: who is not to have the text
//! has neither it nor the addresses of pictures.

use serde::Serialize;
use serde_json::Value;

use crate::sys::clock::rfc3339;
use crate::websms::segments;
use crate::websms::spool::{Happening, History, Message, Request};

/// What the interface without index is called.
pub const BARE: &str = "websms";

#[derive(Serialize)]
pub struct MessageShape {
    pub id: String,
    pub direction: &'static str,
    pub interface: String,
    pub from: String,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Vec<String>>,
    pub segments: usize,
    pub state: &'static str,
    pub detail: String,
    pub received: String,
    pub changed: String,
    /// When the next step is due.
    pub next: Option<String>,
    pub tries: u32,
    /// The carrier's id.
    pub provider_id: Option<String>,
}

impl MessageShape {
    pub fn new(of: Message, with_text: bool) -> MessageShape {
        let interface = match of.interface.is_empty() {
            true => BARE.to_owned(),
            false => of.interface,
        };
        MessageShape {
            id: of.id.to_string(),
            direction: of.direction.word(),
            interface,
            from: of.from,
            to: of.to,
            segments: segments::count(&of.body).count,
            body: with_text.then_some(of.body),
            media: with_text.then_some(of.media),
            state: of.state.word(),
            detail: of.detail,
            received: rfc3339(of.received),
            changed: rfc3339(of.changed),
            next: of.next.map(rfc3339),
            tries: of.tries,
            provider_id: of.provider_id,
        }
    }
}

#[derive(Serialize)]
pub struct HistoryShape {
    at: String,
    state: String,
    detail: String,
}

impl HistoryShape {
    pub fn new(of: History) -> HistoryShape {
        HistoryShape {
            at: rfc3339(of.at),
            state: of.what,
            detail: of.detail,
        }
    }
}

#[derive(Serialize)]
pub struct RequestShape {
    at: String,
    interface: Option<String>,
    from: String,
    method: String,
    path: String,
    status: u16,
    reason: String,
}

impl RequestShape {
    pub fn new(of: Request) -> RequestShape {
        RequestShape {
            at: rfc3339(of.at),
            interface: of.interface,
            from: of.peer,
            method: of.method,
            path: of.path,
            status: of.status,
            reason: of.reason,
        }
    }
}

#[derive(Serialize)]
struct Event {
    id: String,
    r#type: String,
    timestamp: String,
    data: Value,
}

/// The name of an event, the same whoever hears of it and however often.
pub fn event_id(of: &Happening) -> String {
    format!("evt_{}", of.number)
}

/// What happened, as JSON on one line. The state is that of then; the rest is the message's as it is now.
pub fn event(of: &Happening, message: Option<Message>, with_text: bool) -> String {
    let data = match message {
        Some(message) => {
            let now = Message {
                state: of.state,
                detail: of.detail.clone(),
                changed: of.at,
                ..message
            };
            serde_json::to_value(MessageShape::new(now, with_text)).unwrap_or_default()
        }
        // It was erased since.
        None => serde_json::json!({
            "id": of.message.to_string(),
            "state": of.state.word(),
            "detail": of.detail,
        }),
    };
    let event = Event {
        id: event_id(of),
        r#type: format!("message.{}", of.state.word()),
        timestamp: rfc3339(of.at),
        data,
    };
    serde_json::to_string(&event).unwrap_or_default()
}
