//! Where lines go: the ring, the container's output and the log file.
//!
//! The ring takes all of them, output and file what SYSLOG_LEVEL shows; repeats are folded before each. What AutoBan
//! reads has a ring of its own, unfolded.
//! Invariant: nothing here waits, but for the end.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::evidence;
use super::file::FileWriter;
use super::fold::{Folder, Said};
use super::intake::{DEVLOG, Sources};
use super::ring::Ring;
use super::sink::Sink;
use super::style::{self, Style};
use super::syslog::{NOTICE, OWN_NAME, is_shown};
use crate::config::Config;
use crate::sys::clock::{rfc3339, unix_millis};
use crate::sys::output::{SharedOutput, Written};

/// What is shown of PID 1's own lines at the least: notices and worse.
const OWN_LEVEL: u8 = NOTICE + 1;

/// What `switchhook logs` can look back at.
const RING_LINES: usize = 10_000;
const RING_BYTES: usize = 4 << 20;

/// What AutoBan can be behind.
const EVIDENCE_LINES: usize = 4_000;
const EVIDENCE_BYTES: usize = 2 << 20;

/// Repeats are told after so much silence, and at the latest after so long.
pub const SILENCE: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How long the last lines may take to be printed and written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The way to one place: its repeats and since when they are held back.
#[derive(Default)]
struct Fold {
    folder: Folder,
    since: Option<Instant>,
}

impl Fold {
    fn take(&mut self, folds: bool, said: Said, print: impl FnMut(Said)) {
        if folds {
            self.folder.take(said, print);
            if !self.folder.holds_repeats() {
                self.since = None;
            } else if self.since.is_none() {
                self.since = Some(Instant::now());
            }
        } else {
            let mut print = print;
            print(said);
        }
    }

    fn due(&mut self, silent: bool) -> Option<Said> {
        let since = self.since?;
        if !silent && since.elapsed() < LONGEST_SILENCE {
            return None;
        }
        self.since = None;
        self.folder.flush()
    }
}

/// The places.
pub struct Outputs {
    pub ring: Ring,
    /// Lines of the PBX that may speak against somebody.
    pub evidence: Ring,
    pub sink: Sink,
    pub file: Option<FileWriter>,
    level: u8,
    style: Style,
    folds: bool,
    to_ring: Fold,
    to_output: Fold,
    /// The time of this turn.
    now: i64,
    now_text: String,
}

impl Outputs {
    pub fn new(config: &Config, sink: Sink, file: Option<FileWriter>) -> Outputs {
        let host = || match &config.host_name {
            Some(name) => name.clone(),
            None => nix::unistd::gethostname()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
        };
        Outputs {
            ring: Ring::new(RING_LINES, RING_BYTES),
            evidence: Ring::new(EVIDENCE_LINES, EVIDENCE_BYTES),
            sink,
            file,
            level: config.log_level,
            style: Style {
                format: config.log_format,
                host: config.log_stamps.then(host),
            },
            folds: config.fold_repeats,
            to_ring: Fold::default(),
            to_output: Fold::default(),
            now: 0,
            now_text: String::new(),
        }
    }

    /// A new turn: all lines of one turn bear one time.
    pub fn begin_turn(&mut self) {
        self.now = unix_millis();
        self.now_text = rfc3339(self.now);
    }

    /// Takes a line.
    pub fn take(&mut self, sources: &Sources, said: Said) {
        let level = if said.record.service == OWN_NAME && self.level > 0 {
            self.level.max(OWN_LEVEL)
        } else {
            self.level
        };
        let is_shown = is_shown(&said.record, level);
        if is_shown {
            let mut fold = std::mem::take(&mut self.to_output);
            fold.take(self.folds, said.clone(), |said| self.print(sources, &said));
            self.to_output = fold;
        }
        // A pipe's line can end within a stranger's text, and the next one is then his; a datagram is whole.
        if evidence::is_wanted(&said.record) && sources.name(said.source) == DEVLOG {
            self.evidence.push(self.now, said.record.clone());
        }
        let (ring, now) = (&mut self.ring, self.now);
        self.to_ring
            .take(self.folds, said, |said| ring.push(now, said.record));
    }

    /// Repeats are held back, and want to be told after a while.
    pub fn holds_repeats(&self) -> bool {
        self.to_ring.since.is_some() || self.to_output.since.is_some()
    }

    /// Tells repeats that are due, writes what fits, hands the file its lines.
    pub fn end_turn(&mut self, sources: &Sources, silent: bool) {
        if let Some(said) = self.to_ring.due(silent) {
            self.ring.push(self.now, said.record);
        }
        if let Some(said) = self.to_output.due(silent) {
            self.print(sources, &said);
        }
        self.drain(sources);
        if let Some(file) = &mut self.file {
            file.send();
        }
    }

    /// Prints everything, with the number of all lost lines, as far as that goes within `PATIENCE`. What does not
    /// is told on standard error, whose reader may be another.
    pub fn finish(&mut self, sources: &mut Sources) {
        let own = sources.find_or_add(OWN_NAME);
        let until = Instant::now() + PATIENCE;
        self.end_turn(sources, true);
        self.flush(sources, until);
        let lost = self.sink.queue.lost_in_all();
        if lost > 0 && self.level > 0 {
            let record = style::lost_in_all(lost);
            let said = Said {
                source: own,
                weight: 0,
                record,
            };
            self.print(sources, &said);
            self.flush(sources, until);
        }
        if let Some(file) = &mut self.file {
            file.finish(PATIENCE);
        }
        if !self.sink.queue.is_empty() {
            self.sink.queue.lose_all();
            let record = style::lost_in_all(self.sink.queue.lost_in_all());
            let line = self.style.output(&record, &self.now_text);
            if let Ok(mut other) = SharedOutput::new(std::io::stderr().as_fd()) {
                let _: Written = other.write(line.as_bytes());
            }
        }
    }

    /// Prints what waits, until then at the latest.
    fn flush(&mut self, sources: &Sources, until: Instant) {
        self.drain(sources);
        while let Some(output) = self.sink.waits_for() {
            let rest = until.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(output, PollFlags::POLLOUT)];
            let _ = poll(&mut fds, timeout);
            self.drain(sources);
            if rest.is_zero() {
                return;
            }
        }
    }

    fn print(&mut self, sources: &Sources, said: &Said) {
        let (style, now) = (&self.style, self.now_text.as_str());
        self.sink
            .push(said, style.output(&said.record, now), |lost| {
                style
                    .output(&style::lost(sources.name(said.source), lost), now)
                    .into_bytes()
            });
        if let Some(file) = &mut self.file {
            file.add(&style.file(&said.record, now));
        }
    }

    fn drain(&mut self, sources: &Sources) {
        let (style, now) = (&self.style, self.now_text.as_str());
        self.sink.drain(|source, lost| {
            style
                .output(&style::lost(sources.name(source), lost), now)
                .into_bytes()
        });
    }
}
