//! PID 1: the start, the supervision of the services and the ordered stop.
//!
//! `service`, `order`, `events`, `hooks` and `shutdown` decide and are pure; the rest carries out.

pub mod arguments;
pub mod boot;
pub mod command;
pub mod control;
pub mod demand;
pub mod events;
pub mod flood;
pub mod handover;
pub mod hooks;
pub mod identity;
pub mod journal;
pub mod notify;
pub mod order;
pub mod prepare;
pub mod programs;
pub mod pulse;
pub mod report;
pub mod resume;
pub mod service;
pub mod shutdown;
pub mod sockets;
pub mod supervise;
pub mod unit_files;

/// Something failed: the start, or a service that had to be killed at the stop.
pub const EXIT_FAILED: i32 = 2;
/// The arguments cannot be used (sysexits, EX_USAGE).
pub const EXIT_USAGE: i32 = 64;
/// The configuration, a unit or the volume cannot be used as it is (sysexits, EX_CONFIG).
pub const EXIT_CONFIGURATION: i32 = 78;
