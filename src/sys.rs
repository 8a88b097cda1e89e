//! The thin ring around the operating system. Only here is unsafe code allowed.

pub mod account;
#[allow(unsafe_code)]
pub mod clock;
pub mod containment;
#[allow(unsafe_code)]
pub mod descriptor;
pub mod environment;
pub mod file;
#[allow(unsafe_code)]
pub mod memory;
#[cfg(feature = "commands")]
#[allow(unsafe_code)]
pub mod name;
#[cfg(feature = "commands")]
#[allow(unsafe_code)]
pub mod netlink;
pub mod notify;
#[allow(unsafe_code)]
pub mod output;
#[allow(unsafe_code)]
pub mod pipe;
#[allow(unsafe_code)]
pub mod process;
#[cfg(feature = "services")]
pub mod program;
#[cfg(feature = "commands")]
pub mod say;
pub mod signal;
#[allow(unsafe_code)]
pub mod socket;
#[allow(unsafe_code)]
pub mod terminal;
