//! What was seen, before anybody judges it.
//!
//! Pure shapes. What was not looked at, or could not be seen, is `None`. Invariant: nothing here holds a secret's value but
//! the texts of configuration files, of which a finding shows names and line numbers alone.

use std::net::IpAddr;

use crate::acl::review::Note;
use crate::asterisk::generate::includes::Included;
use crate::config::external::{External, Known};
use crate::config::ports::Ports;
use crate::nat::surroundings::Surroundings;
use crate::nat::transports::Transport;
use crate::seed::volume::Volume;

#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Why PID 1 does not answer: this is no running exchange, or not for this user to ask.
    pub no_init: Option<String>,
    /// What is wrong with the variables.
    pub mistakes: Vec<String>,
    pub reach: Reach,
    pub around: Surroundings,
    pub pbx: Pbx,
    pub files: Files,
    /// What is amiss with the named lists; `None` when they were not looked at.
    pub lists: Option<Vec<Note>>,
    pub tls: Option<Result<Tls, String>>,
    pub volume: Option<Volume>,
    pub disk: Option<Disk>,
    /// Below /srv; `None` when it was not walked.
    pub obstacles: Option<Vec<Obstacle>>,
    /// Of PID 1: what it has and may pass on.
    pub capabilities: Option<u64>,
    pub limits: Vec<Limit>,
    /// Seconds since 1970: now, and when the program was built.
    pub clock: Option<(i64, i64)>,
    pub zone: Option<Zone>,
}

/// What was asked for, and what STUN servers say.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    pub external: Option<External>,
    /// `None` when they were not asked.
    pub stun: Option<Result<Known, String>>,
    /// The addresses of the name that was given.
    pub named: Option<Result<Known, String>>,
    /// The range that was named, or the default.
    pub ports: Option<Ports>,
    pub ports_given: bool,
}

/// What the running PBX says.
#[derive(Debug, Clone, Default)]
pub struct Pbx {
    /// `None` when it was not asked; why it does not answer.
    pub answers: Option<Result<(), String>>,
    /// The ports of sound that it uses.
    pub ports: Option<Ports>,
    pub contacts: Option<Vec<Contact>>,
    pub modules: Option<Modules>,
    /// Contexts of the dialplan that are there.
    pub contexts: Option<Vec<String>>,
    /// Ports of UDP sockets of others, unconnected.
    pub foreign_ports: Vec<(u16, u32)>,
}

/// Where a phone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    pub account: String,
    pub address: IpAddr,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    /// Named by `load`, `preload` or `require`, and not running.
    pub wanted: Vec<String>,
    /// Files that autoload should have loaded.
    pub absent: Vec<String>,
    /// Loaded, and declined to run.
    pub declined: Vec<String>,
}

/// The configuration.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Name and text of every file that is read.
    pub texts: Vec<(String, String)>,
    pub includes: Vec<Included>,
    pub transports: Option<Vec<Transport>>,
    /// Of rtp.conf.
    pub ports: Option<Ports>,
    pub unresolved: Option<Vec<Unresolved>>,
}

/// A name that has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    pub file: String,
    pub line: usize,
    pub key: String,
    pub name: String,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub is_critical: bool,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub free: u64,
    pub total: u64,
    pub inodes_free: u64,
    /// 0 where the file system does not count them.
    pub inodes: u64,
}

/// A file or directory that its service cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    pub path: String,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    /// Who cannot, and its numbers.
    pub account: String,
    pub wanted_uid: u32,
    pub wanted_gid: u32,
    pub need: Need,
}

/// What somebody must be able to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    ReadFile,
    /// To read what is in it.
    EnterDirectory,
    WriteDirectory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub who: String,
    pub soft: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    /// There is such a file in the image.
    pub has_file: bool,
}
