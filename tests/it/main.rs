//! The real binary in a temporary root: supervision, hooks, volume, log and bad input, without a container.

#![allow(
    clippy::disallowed_methods,
    reason = "the tests run the binary as a child of theirs"
)]

mod appliance;
mod bad_input;
mod definitions;
mod docs;
mod firewall;
mod hooks;
mod log;
mod notify;
mod phone;
mod prepare;
mod reexec;
mod rescue;
mod rooms;
mod sample_units;
mod supervision;
mod timers;
mod verify;
mod volume;
