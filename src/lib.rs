//! Switchhook, a telephone exchange in one container.
//!
//! Arrows between the rooms point down only. The pure rooms (`acl` but `store`, `units`, `config`, `health`, `phone`,
//! `asterisk::{ami, conf, directories, tasks}`, all of `websms` but `spool` and `daemon`, all of `mail` but `queue`, `send` and `daemon`, `web::{address, retry_after}`, all of `autoban` but `firewall` and `daemon`, all of `nat` but `ask`, `look`, `files` and `daemon`, all of `doctor` but `gather` and `mend`, `certs::acme::{leaf, names, schedule, settings, trouble}`, `seed::plan`, `migrate::plan`, `init::{service, order, events, flood, hooks,
//! shutdown}`, `logd::{syslog, asterisk_line, lines, fold,
//! queue, ring, query, style}`) import nothing
//! but each other.

#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

#[cfg(feature = "commands")]
pub mod acl;
pub mod asterisk;
#[cfg(feature = "services")]
pub mod autoban;
#[cfg(feature = "commands")]
pub mod certs;
#[cfg(feature = "commands")]
pub mod cli;
pub mod config;
#[cfg(feature = "commands")]
pub mod doctor;
pub mod health;
pub mod init;
pub mod logd;
#[cfg(feature = "services")]
pub mod mail;
#[cfg(feature = "commands")]
pub mod migrate;
#[cfg(feature = "commands")]
pub mod nat;
#[cfg(feature = "commands")]
pub mod phone;
#[cfg(feature = "commands")]
pub mod seed;
pub mod sys;
pub mod units;
#[cfg(feature = "services")]
pub mod web;
#[cfg(feature = "services")]
pub mod websms;
