//! The image suite: the real image, the real Asterisk, real SIP clients.
//!
//! Needs a Docker engine, the images `switchhook:full` and `switchhook:mini`, sipp and baresip. See README.md beside.

// Tests run programs and wait for them; the rules for PID 1 do not hold here.
#![allow(clippy::disallowed_methods)]

mod abroad;
mod demo;
mod docker;
mod exchange;
#[path = "../it/mail/exim.rs"]
mod exim;
mod lines;
mod media;
mod outside;
#[allow(dead_code, reason = "the process suite needs more of it")]
#[path = "../authority/pebble.rs"]
mod pebble;
mod phone;
mod rtp;
mod sip;
mod speech;
mod store;
mod street;
mod talk;

mod acl;
mod attackers;
mod autoban;
mod bad_input;
mod calls;
mod certs;
mod certs_ordered;
mod codecs;
mod confinement;
mod doctor;
mod events;
mod first_start;
mod gabpbx;
mod hooks;
mod hostile;
mod household;
mod kill;
mod liveness;
mod move_in;
mod nat;
mod papers;
mod reexec;
mod registration;
mod reload;
mod sockets;
mod sound;
mod stop;
mod trunk;
mod voicemail;
mod websms;
