//! The commands: one file per command, and `output` as the only printer.

pub mod output;
pub mod phone;
