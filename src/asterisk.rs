//! What we know of the PBX: its configuration files, its listeners and its control socket.

#[cfg(feature = "commands")]
pub mod ami;
#[cfg(feature = "services")]
pub mod ari;
pub mod arrange;
#[cfg(feature = "commands")]
pub mod codecs;
pub mod conf;
pub mod control;
pub mod directories;
pub mod generate;
pub mod listeners;
#[cfg(feature = "commands")]
pub mod reload;
#[cfg(feature = "commands")]
pub mod tasks;
