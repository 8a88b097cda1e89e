//! What a text message is, on its way in and on its way out, and what a carrier says became of one.
//!
//! Pure shapes. Invariant: ids are text, never numbers: a leading zero or a twentieth digit must not be lost.

use serde::{Deserialize, Serialize};

/// A message as a carrier's webhook brought it, before it is routed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Received {
    /// As the carrier wrote it.
    pub to: String,
    pub from: String,
    /// UTF-8, byte for byte.
    pub body: String,
    /// The carrier's id; what comes again with it is the same message.
    pub id: Option<String>,
    /// Addresses of pictures and the like.
    pub media: Vec<String>,
    /// One part of a message that the carrier did not put together.
    pub part: Option<Part>,
}

/// Which part of which long message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub reference: String,
    /// From 1.
    pub number: u8,
    pub total: u8,
}

/// A message on its way to a carrier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sent {
    pub to: String,
    pub from: String,
    pub body: String,
    pub media: Vec<String>,
}

/// What became of a sent message, by the carrier's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The carrier's id of the message.
    pub id: String,
    pub state: ReceiptState,
    /// The carrier's own word or code, for people.
    pub detail: String,
}

/// The states that all carriers have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptState {
    /// The carrier has it still.
    Accepted,
    /// It left the carrier.
    Sent,
    Delivered,
    Failed,
}

/// What one request of a carrier says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Messages(Vec<Received>),
    Receipts(Vec<Receipt>),
    /// A carrier that sends its news in heaps put both into one.
    Both(Vec<Received>, Vec<Receipt>),
    /// A test of the address: this text is to be the answer.
    Echo(String),
    /// A subscription that is confirmed by fetching this address.
    Confirm(String),
    /// A kind of news that is of no use here; answered as taken.
    Nothing,
}
