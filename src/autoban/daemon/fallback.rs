//! Bans by Asterisk's Named ACL, where the kernel's firewall is closed to us.
//!
//! It keeps one file of rules in step with the bans and has Asterisk read it: at once after a quiet second, else once a
//! second. It edits no file of the user and decides nothing. Invariants: whoever is off duty, or about to end, leaves no
//! rule that denies anybody, for rules have no end of their own; nothing waits here, for Asterisk or for a disk.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::setup::{reload_refused, whole_pjsip};
use super::voice::{ERROR, NOTICE, WARNING, say};
use crate::autoban::acl::{self, Missing, Rendered};
use crate::autoban::config::Manager;
use crate::autoban::key::{Change, Set};
use crate::config::paths::Paths;
use crate::sys::file::{FileError, Owner, read_text, write_unsynced};

/// The least time from one reload to the next.
const BETWEEN: Duration = Duration::from_secs(1);
/// When an answer that did not come is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a refused reload is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// Asterisk has what the file says.
    Done,
    Wanted,
    Asked(Instant),
    /// It said no.
    Refused(Instant),
}

#[derive(Debug)]
pub struct Fallback {
    paths: Paths,
    /// Bans belong here.
    on_duty: bool,
    /// Nothing may be written: a dry run.
    idle: bool,
    /// What the file holds, as far as that is known.
    text: Option<String>,
    /// The file may have to say something else.
    stale: bool,
    written: Option<Instant>,
    /// When the first of its bans is over, in milliseconds since 1970.
    until: Option<i64>,
    load: Load,
    missing: Option<Missing>,
    disk: Option<String>,
    refused: Option<String>,
    denied: usize,
    left_out: usize,
    loads: u64,
}

impl Fallback {
    pub fn new(paths: &Paths, idle: bool) -> Fallback {
        Fallback {
            paths: paths.clone(),
            on_duty: false,
            idle,
            text: None,
            stale: false,
            written: None,
            until: None,
            load: Load::Done,
            missing: None,
            disk: None,
            refused: None,
            denied: 0,
            left_out: 0,
            loads: 0,
        }
    }

    fn file(&self) -> PathBuf {
        self.paths.at(acl::FILE)
    }

    /// Bans belong here from now on, or not any more: then what an earlier process left goes, too.
    pub fn assign(&mut self, on_duty: bool) {
        if self.idle {
            return;
        }
        self.on_duty = on_duty;
        self.stale = true;
        self.look();
        if !on_duty {
            self.refused = None;
            self.written = None;
            if self.is_due(0) {
                self.write(0, Rendered::default());
            }
        }
    }

    /// Whether its rules reach Asterisk's hands, as far as anybody knows.
    pub fn works(&self) -> bool {
        self.missing.is_none() && self.disk.is_none() && self.refused.is_none()
    }

    /// Why nobody is banned, with a hint.
    pub fn problem(&self) -> Option<String> {
        let home = self.paths.asterisk_config().display().to_string();
        let missing = self.missing.map(|missing| {
            let words = missing.words(&home, &self.file().display().to_string());
            self.paths.pbx().rename(&words)
        });
        missing
            .or_else(|| self.disk.clone())
            .or_else(|| self.refused.clone())
    }

    /// Reads Asterisk's files again: what was missing may be there now, and the other way round.
    pub fn look(&mut self) {
        if self.idle {
            return;
        }
        let home = self.paths.asterisk_config();
        let acl = match read_text(&home.join("acl.conf")) {
            // What cannot be read is not judged.
            Err(error) if !error.is_not_found() => return,
            found => found.unwrap_or_default(),
        };
        let pjsip = whole_pjsip(&self.paths);
        let missing = acl::missing(&acl, &pjsip, &self.file().display().to_string());
        // Who bans nobody here needs nothing here, but may see that everybody is closed out.
        let missing = missing.filter(|missing| self.on_duty || *missing == Missing::List);
        if std::mem::replace(&mut self.missing, missing) == missing {
            return;
        }
        match self.problem() {
            Some(problem) if missing.is_some() => say(ERROR, &problem),
            _ if self.on_duty => say(NOTICE, "Asterisk's files have what bans need, now"),
            _ => {}
        }
        self.want();
    }

    /// Bans came or went.
    pub fn note(&mut self, changes: &[Change], all: bool) {
        let is_ours = |change: &Change| {
            !matches!(
                change,
                Change::Ban { set: Set::Weak, .. } | Change::Free { set: Set::Weak, .. }
            )
        };
        self.stale |= self.on_duty && (all || changes.iter().any(is_ours));
    }

    /// Whether the file is to be written now. `now` is the ledger's.
    pub fn is_due(&mut self, now: i64) -> bool {
        if let Load::Asked(at) = self.load
            && at.elapsed() > PATIENCE
        {
            say(WARNING, "Asterisk does not answer to `Reload`; asked again");
            self.load = Load::Wanted;
        }
        if let Load::Refused(at) = self.load
            && at.elapsed() > AGAIN
        {
            self.load = Load::Wanted;
        }
        self.stale |= self.on_duty && self.until.is_some_and(|until| until <= now);
        let is_early = self.written.is_some_and(|at| at.elapsed() < BETWEEN);
        self.stale && !is_early && !matches!(self.load, Load::Asked(_))
    }

    /// Writes the rules that were rendered at `now`; off duty none.
    pub fn write(&mut self, now: i64, rendered: Rendered) {
        self.stale = false;
        let rendered = match self.on_duty {
            true => rendered,
            false => Rendered::default(),
        };
        self.until = rendered
            .until_next
            .map(|left| now.saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)));
        if self.left_out == 0 && rendered.left_out > 0 {
            say(
                WARNING,
                &format!(
                    "Asterisk's list takes {} bans; {} that end before those are left out",
                    rendered.denied, rendered.left_out
                ),
            );
        }
        (self.denied, self.left_out) = (rendered.denied, rendered.left_out);
        match self.put(rendered.text) {
            Ok(true) => self.want(),
            Ok(false) => {}
            Err(error) => {
                let text = format!("nobody is banned: {error}: {}", source(&error));
                if self.disk.as_ref() != Some(&text) {
                    say(ERROR, &text);
                }
                self.disk = Some(text);
                // Again in a second.
                self.stale = true;
                self.written = Some(Instant::now());
            }
        }
    }

    /// Says whether the file has changed.
    fn put(&mut self, text: String) -> Result<bool, FileError> {
        let path = self.file();
        if self.text.is_none() {
            // A file that cannot be read is written anew.
            self.text = match read_text(&path) {
                Err(error) if !error.is_not_found() => None,
                found => Some(found.unwrap_or_default()),
            };
        }
        if self.text.as_ref() == Some(&text) {
            self.disk = None;
            return Ok(false);
        }
        // Of Asterisk's group, which reads it. Not brought to disk: after a power cut it may be empty, which denies nobody.
        use std::os::unix::fs::MetadataExt;
        let group = std::fs::metadata(self.paths.asterisk_config()).map(|meta| meta.gid());
        let owner = Owner::Set {
            uid: nix::unistd::geteuid().as_raw(),
            gid: group.unwrap_or_else(|_| nix::unistd::getegid().as_raw()),
            mode: 0o640,
        };
        write_unsynced(&path, text.as_bytes(), owner)?;
        self.text = Some(text);
        self.disk = None;
        self.written = Some(Instant::now());
        Ok(true)
    }

    fn want(&mut self) {
        if self.missing.is_none_or(Missing::is_read) {
            self.load = Load::Wanted;
        }
    }

    /// Whether Asterisk has yet to read the file.
    pub fn is_loading(&self) -> bool {
        self.load != Load::Done
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The order for a reload, once.
    pub fn order(&mut self) -> bool {
        let wanted = self.load == Load::Wanted;
        if wanted {
            self.load = Load::Asked(Instant::now());
        }
        wanted
    }

    /// The manager is there, again maybe: Asterisk may be another process.
    pub fn connected(&mut self) {
        self.refused = None;
        if self.on_duty || self.is_loading() {
            self.want();
        }
    }

    /// What was asked for gets no answer.
    pub fn lost(&mut self) {
        if matches!(self.load, Load::Asked(_)) {
            self.load = Load::Wanted;
        }
    }

    pub fn answered(&mut self, answer: Result<(), String>, manager: &Manager) {
        match answer {
            Ok(()) => {
                self.loads += 1;
                if matches!(self.load, Load::Asked(_)) {
                    self.load = Load::Done;
                }
                self.refused = None;
            }
            Err(why) => {
                let text = reload_refused(manager, &self.paths, &why);
                if self.refused.as_ref() != Some(&text) {
                    say(ERROR, &text);
                }
                self.refused = Some(text);
                // Who may not load anything has loaded nothing that must go.
                self.load = match self.on_duty {
                    true => Load::Refused(Instant::now()),
                    false => Load::Done,
                };
            }
        }
    }

    pub fn counters(&self) -> Vec<(String, u64)> {
        let named = |name: &str, count| (format!("acl {name}"), count);
        match self.on_duty {
            true => vec![
                named("denied", self.denied as u64),
                named("left out", self.left_out as u64),
                named("loads", self.loads),
            ],
            false => Vec::new(),
        }
    }
}

fn source(error: &FileError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}
