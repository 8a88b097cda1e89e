//! The real binary in a temporary root: supervision, hooks, volume, log and bad input, without a container.

#![allow(
    clippy::disallowed_methods,
    reason = "the tests run the binary as a child of theirs"
)]

mod acl;
mod acme;
mod appliance;
mod autoban;
mod autoban_command;
mod bad_input;
mod control;
mod definitions;
mod docs;
mod doctor;
mod events;
mod firewall;
mod hooks;
mod log;
mod machine;
mod mail;
mod migrate;
mod nat;
mod notify;
mod phone;
mod prepare;
mod random;
mod readiness;
mod reexec;
mod rescue;
mod rooms;
mod runit;
mod sample_units;
mod sockets;
mod stages;
mod supervision;
mod sv;
mod timers;
mod verify;
mod views;
mod volume;
mod web;
mod websms;
mod websms_api;
mod websms_send;
mod websms_sms;
mod websms_spool;
