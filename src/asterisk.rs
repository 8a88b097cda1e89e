//! What we know of the PBX: its configuration files, its listeners and its control socket.

pub mod conf;
pub mod control;
pub mod generate;
pub mod listeners;
