//! Switchhook: the house.

pub mod asterisk;
pub mod cli;
pub mod phone;
pub mod sys;
