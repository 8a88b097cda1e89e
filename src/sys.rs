//! What talks to the operating system.

pub mod file;
