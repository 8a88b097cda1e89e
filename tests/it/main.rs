//! The real binary in a temporary root: supervision, hooks, volume, log and bad input, without a container.

mod appliance;
mod bad_input;
mod hooks;
mod log;
mod phone;
mod rooms;
mod supervision;
mod volume;
