//! Asterisk's manager interface (AMI) as text: what comes in, what goes out.
//!
//! Pure but for `client`, which holds the connection. [`frame`] cuts the stream, [`event`] reads a security event out of a frame, [`address`] reads its addresses, and
//! [`action`] writes what we ask for. Values come from SIP and are hostile: a frame that is not exactly as Asterisk writes it
//! is evidence, never data. Invariant: no event is made of bytes that a header's value brought along.

pub mod action;
pub mod address;
#[cfg(feature = "services")]
pub mod client;
pub mod event;
pub mod frame;
pub mod lines;
pub mod md5;
