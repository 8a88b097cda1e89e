//! What we know of the PBX: its configuration files, its listeners and its control socket.

#[cfg(feature = "commands")]
pub mod ami;
#[cfg(feature = "services")]
pub mod ari;
#[cfg(feature = "commands")]
pub mod codecs;
pub mod conf;
pub mod control;
pub mod generate;
pub mod listeners;
#[cfg(feature = "commands")]
pub mod reload;
