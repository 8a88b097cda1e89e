//! The API over HTTP, as far as it can be judged without a connection: who asks, for what, and what a refusal looks like.
//!
//! Pure. `access` knows clients by digests of their tokens and the numbers that are theirs, `attempts` bounds the tries of
//! those who have none, `route` finds what a path means, `draft` reads a message to be sent, `problem` is what is answered
//! when something is not done (RFC 9457). `openapi.json` describes all of it. Invariant: nothing here holds a token.

pub mod access;
pub mod attempts;
pub mod draft;
pub mod problem;
pub mod route;

/// The description, as it is served.
pub const OPENAPI: &str = include_str!("api/openapi.json");
