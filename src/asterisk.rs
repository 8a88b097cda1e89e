//! What we know of the PBX: its configuration files and its control socket.

pub mod conf;
pub mod control;
