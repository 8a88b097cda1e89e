//! A word to the sender whose message did not go out: a text from `websms`, by the way of every message for phones.
//!
//! Invariant: a notice is a message that came in, and what comes in is never answered by a notice.

use crate::sys::clock;
use crate::sys::say::{WARNING, say};
use crate::websms::daemon::Office;
use crate::websms::spool::{Direction, Id, New};

/// Who speaks.
const SENDER: &str = "websms";

/// Tells the sender of a message how it ended.
pub async fn send(office: &Office, id: Id) {
    let found = office.spool.read(move |reader| reader.get(id)).await;
    let Ok(Some(message)) = found else {
        return;
    };
    let stored = office.spool.store(New {
        direction: Direction::In,
        interface: message.interface,
        provider_id: None,
        // The same end is told once; another one, after another try, again.
        key: Some(format!("notice:{id}:{}", message.changed)),
        from: SENDER.to_owned(),
        body: text(&message.to, &message.detail),
        to: message.from,
        media: Vec::new(),
        received: clock::unix_millis(),
        part: None,
    });
    if let Err(error) = stored.await {
        say(
            WARNING,
            &format!("the sender of message {id} is not told of its end: {error}"),
        );
    }
}

fn text(to: &str, reason: &str) -> String {
    match reason {
        "" => format!("Your message to {to} could not be sent."),
        reason => format!("Your message to {to} could not be sent: {reason}"),
    }
}
