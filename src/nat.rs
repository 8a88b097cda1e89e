//! Our address as others see it, and the ports of sound: found out, followed, and written where the PBX includes them.
//!
//! `stun`, `choose`, `follow`, `text`, `transports`, `surroundings` and `routes` are pure; `ask` and `look` ask the network
//! and the kernel, `files` writes, `daemon` does it all for as long as the exchange runs. It refuses to edit a user's file.
//! Invariant: what the user's own files say comes before what is written here.

pub mod ask;
pub mod choose;
pub mod daemon;
pub mod files;
pub mod follow;
pub mod look;
pub mod routes;
pub mod stun;
pub mod surroundings;
pub mod text;
pub mod transports;
