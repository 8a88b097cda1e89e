//! A message on its way to a carrier, as an HTTP request, and what the carrier's answer means.
//!
//! Pure. It refuses what the carrier cannot take, by a reason for people. Text goes into JSON by a writer of JSON and into a
//! form by an encoder, never by pasting.
//!
//! Invariant: nothing that a phone sent changes where a request goes, its headers, or any field but those of the message.

use std::fmt;

use super::config::{Interface, Outbound, Style};
use super::message::Sent;
use super::number::{self, NoNumber};

mod answer;
mod authorization;
mod keys;
mod php;
mod template;
mod verdict;

pub use verdict::{Verdict, verdict};

/// What is to be sent. `Debug` shows neither headers nor body nor query: they hold secrets and text.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        write!(f, "{} {url} ({} bytes)", self.method, self.body.len())
    }
}

/// Why a message cannot go out by an interface; trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error("the interface does not send")]
    NoOutgoing,
    #[error("the receiver cannot be written for this carrier: {0}")]
    Receiver(NoNumber),
    #[error("the sender cannot be written for this carrier: {0}")]
    Sender(NoNumber),
    #[error("this interface sends no pictures")]
    NoMedia,
    #[error("the text has {length} characters, and this carrier takes {longest}")]
    TooLong { length: usize, longest: u32 },
}

/// The request for a message. `id` is our own, the same at each repetition.
///
/// # Errors
/// If it cannot go out by this interface.
pub fn request(interface: &Interface, sent: &Sent, id: &str) -> Result<Request, Unsendable> {
    let Some(outbound) = &interface.outgoing else {
        return Err(Unsendable::NoOutgoing);
    };
    number::checked(&sent.to).map_err(Unsendable::Receiver)?;
    number::checked(&sent.from).map_err(Unsendable::Sender)?;
    match &outbound.style {
        Style::Keys(_) if !sent.media.is_empty() => Err(Unsendable::NoMedia),
        Style::Keys(keys) => Ok(keys::request(outbound, keys, sent)),
        Style::Profile { .. } => template::request(outbound, sent, id),
    }
}

/// Whether a request may go out again when nobody knows if the carrier took it: only with a header by which the carrier knows
/// it again.
#[must_use]
pub fn repeatable(outbound: &Outbound) -> bool {
    match &outbound.style {
        Style::Keys(_) => false,
        Style::Profile { named, .. } => {
            let outgoing = named.profile.outgoing.as_ref();
            outgoing.is_some_and(|outgoing| outgoing.idempotency_header.is_some())
        }
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
