//! The parts that know Asterisk: the shape of its files and the ways to talk to it.
//!
//! Nothing here decides what a phone, a trunk or a ban is; the rooms above do.

pub mod conf;
pub mod control;
