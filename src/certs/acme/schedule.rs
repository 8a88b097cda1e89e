//! When to order, and when to leave the authority alone.
//!
//! Pure: moments are seconds since 1970, chance arrives as a number. A certificate is renewed in the window that the
//! authority names for it (ARI, RFC 9773), else when a third of its life is left, of a short one a half. After a failure we
//! wait, by its kind, and longer each time.
//!
//! It refuses haste: whatever fails, restarts or changes, and however often, there is an end to the orders of an hour and of
//! a day. An attempt is written down before it is made, so that one that we did not survive counts as well.
//! Invariants: no more than [`MOST_PER_HOUR`] and [`MOST_PER_DAY`] attempts; no wait is longer than [`LONGEST`], whatever a
//! clock or an authority says.

mod pause;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::trouble::Kind;

pub const MINUTE: i64 = 60;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// The version of the file's shape.
const SCHEMA: u32 = 1;
pub const MOST_PER_HOUR: usize = 6;
pub const MOST_PER_DAY: usize = 32;
/// Let's Encrypt's longest limits count a week.
pub const LONGEST: i64 = 7 * DAY;
/// A certificate that lives shorter than this is renewed at its half.
const SHORT_LIFE: i64 = 10 * DAY;
/// How long nothing is looked at, at most: a clock that was set is then noticed.
const LONGEST_REST: i64 = 6 * HOUR;
/// Between two questions for a window when the authority does not say.
const WINDOW_PAUSE: i64 = 6 * HOUR;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What names it, its serial number for one.
    pub id: String,
    pub not_before: i64,
    pub not_after: i64,
}

/// The window that an authority suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub start: i64,
    pub end: i64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing until then.
    Rest(i64),
    /// Ask for the windows of the certificates of these kinds.
    AskWindows(Vec<String>),
    /// Order certificates of these kinds.
    Order(Vec<String>),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An attempt begins now; to be kept on disk before it does.
    Began,
    /// A certificate of this kind has come.
    Issued(String, Facts),
    Failed {
        kind: Kind,
        /// In seconds.
        retry_after: Option<i64>,
        text: String,
    },
    /// The authority has told a window, and when to ask again.
    Told(String, Window, i64),
    /// It has not; asked again after this, or in some hours.
    NotTold(String, Option<i64>),
}

/// One certificate that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    id: String,
    not_before: i64,
    not_after: i64,
    renew_at: i64,
    window: Option<Window>,
    ask_at: i64,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: Kind,
    pub at: i64,
    pub text: String,
}

/// All that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    schema: u32,
    /// What is ordered, and of whom: names, profile, directory, account.
    subject: String,
    directory: String,
    held: BTreeMap<String, Held>,
    /// Nothing is ordered before.
    not_before: i64,
    /// In a row.
    failures: u32,
    trouble: Option<Trouble>,
    /// When attempts began, of the last day.
    attempts: Vec<i64>,
}

/// Why what was kept cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("it has schema {0}, and this version knows up to {SCHEMA}")]
    Future(u32),
    #[error("it cannot be read: {0}")]
    Broken(String),
}

impl Schedule {
    #[must_use]
    pub fn new() -> Schedule {
        Schedule {
            schema: SCHEMA,
            subject: String::new(),
            directory: String::new(),
            held: BTreeMap::new(),
            not_before: 0,
            failures: 0,
            trouble: None,
            attempts: Vec::new(),
        }
    }

    /// One that knows nothing of what was before: it waits, so that losing the file again and again makes no haste.
    #[must_use]
    pub fn after_loss(now: i64) -> Schedule {
        Schedule {
            not_before: now + HOUR,
            ..Schedule::new()
        }
    }

    /// Reads what [`Schedule::text`] wrote.
    ///
    /// # Errors
    /// If it is of a later version, or is damaged.
    pub fn parse(text: &str) -> Result<Schedule, StateError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let broken = |e: serde_json::Error| StateError::Broken(e.to_string());
        let version: Version = serde_json::from_str(text).map_err(broken)?;
        if version.schema > SCHEMA {
            return Err(StateError::Future(version.schema));
        }
        serde_json::from_str(text).map_err(broken)
    }

    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// When the certificate of this kind is to be renewed.
    #[must_use]
    pub fn renew_at(&self, kind: &str) -> Option<i64> {
        self.held.get(kind).map(|held| held.renew_at)
    }

    /// Takes what is wanted and what is there. `dice` is any number by chance.
    pub fn see(
        &mut self,
        subject: &str,
        directory: &str,
        have: &BTreeMap<String, Facts>,
        now: i64,
        dice: u64,
    ) {
        if self.subject != subject {
            // Perhaps what was wrong has been changed.
            if self.directory != directory && !self.subject.is_empty() {
                (self.not_before, self.failures) = (0, 0);
            } else if !self.subject.is_empty() {
                self.forgive();
            }
            subject.clone_into(&mut self.subject);
            directory.clone_into(&mut self.directory);
        }
        self.held
            .retain(|kind, held| have.get(kind).is_some_and(|facts| facts.id == held.id));
        for (kind, facts) in have {
            if !self.held.contains_key(kind) {
                self.held.insert(kind.clone(), Held::new(facts, now, dice));
            }
        }
    }

    /// The wait after a failure is over. What the authority said holds all the same.
    pub fn forgive(&mut self) {
        let is_told = self
            .trouble
            .as_ref()
            .is_some_and(|trouble| trouble.kind == Kind::RateLimited);
        if !is_told {
            (self.not_before, self.failures) = (0, 0);
        }
    }

    /// What is to be done now, for certificates of the kinds `wanted`.
    #[must_use]
    pub fn next(&self, wanted: &[String], now: i64) -> Next {
        let is_due = |kind: &&String| self.held.get(*kind).is_none_or(|held| held.renew_at <= now);
        let due: Vec<String> = wanted.iter().filter(is_due).cloned().collect();
        let free_at = self.free_at(now);
        if !due.is_empty() && free_at <= now {
            return Next::Order(due);
        }
        let held = || {
            wanted
                .iter()
                .filter_map(|kind| Some((kind, self.held.get(kind)?)))
        };
        let ask: Vec<String> = held()
            .filter(|(_, held)| held.ask_at(now) <= now)
            .map(|(kind, _)| kind.clone())
            .collect();
        if !ask.is_empty() {
            return Next::AskWindows(ask);
        }
        let moments = held().flat_map(|(_, held)| [held.renew_at, held.ask_at(now)]);
        let first = moments.filter(|moment| *moment > now).min();
        let first = first.unwrap_or(i64::MAX);
        let first = if due.is_empty() {
            first
        } else {
            first.min(free_at)
        };
        Next::Rest(first.min(now + LONGEST_REST))
    }

    /// Takes what happened.
    pub fn step(&mut self, event: Event, now: i64, dice: u64) {
        match event {
            Event::Began => {
                self.attempts.retain(|at| *at > now - DAY && *at <= now);
                self.attempts.push(now);
                self.fail(
                    Kind::Interrupted,
                    None,
                    "it was ended in the midst of an order",
                    now,
                    dice,
                );
            }
            Event::Issued(kind, facts) => {
                let held = Held::new(&facts, now, dice);
                // A clock that is wrong, here or there: ordering again at once would bring the same.
                let is_due = held.renew_at <= now + 10 * MINUTE;
                self.held.insert(kind, held);
                self.failures = self.failures.saturating_sub(1);
                match is_due {
                    true => self.fail(
                        Kind::Refused,
                        None,
                        "the authority gave a certificate that would have to be renewed within minutes: is the clock right?",
                        now,
                        dice,
                    ),
                    false => (self.not_before, self.failures, self.trouble) = (0, 0, None),
                }
            }
            Event::Failed {
                kind,
                retry_after,
                text,
            } => {
                // The attempt itself was counted when it began.
                self.failures = self.failures.saturating_sub(1);
                self.fail(kind, retry_after, &text, now, dice);
            }
            Event::Told(kind, window, again) => {
                if let Some(held) = self.held.get_mut(&kind) {
                    held.take(window, now, dice);
                    held.ask_at = now + again.clamp(MINUTE, DAY);
                }
            }
            Event::NotTold(kind, again) => {
                if let Some(held) = self.held.get_mut(&kind) {
                    held.ask_at = now + again.unwrap_or(WINDOW_PAUSE).clamp(HOUR, DAY);
                }
            }
        }
    }

    fn fail(&mut self, kind: Kind, retry_after: Option<i64>, text: &str, now: i64, dice: u64) {
        let pause = pause::after(kind, self.failures, retry_after, dice);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
        self.trouble = Some(Trouble {
            kind,
            at: now,
            text: text.to_owned(),
        });
    }

    /// From when on an order is allowed. A moment beyond all waits was written under another clock, and counts no more.
    fn free_at(&self, now: i64) -> i64 {
        let mut free = match self.not_before > now + LONGEST {
            true => now,
            false => self.not_before,
        };
        for (most, within) in [(MOST_PER_HOUR, HOUR), (MOST_PER_DAY, DAY)] {
            let mut recent = self
                .attempts
                .iter()
                .filter(|at| **at > now - within && **at <= now);
            let count = recent.clone().count();
            if count >= most
                && let Some(at) = recent.nth(count - most)
            {
                free = free.max(at + within);
            }
        }
        free
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::new()
    }
}

impl Held {
    fn new(facts: &Facts, now: i64, dice: u64) -> Held {
        let life = (facts.not_after - facts.not_before).max(0);
        let part = if life < SHORT_LIFE {
            life / 2
        } else {
            life / 3
        };
        // Not all exchanges that were set up in one night are to ask in another.
        let early = pause::share(life / 50, dice);
        Held {
            id: facts.id.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            renew_at: facts.not_after - part - early,
            window: None,
            ask_at: now,
        }
    }

    /// A moment by chance within the window; but with a sixth of its life left a certificate is renewed anyhow.
    fn take(&mut self, window: Window, _now: i64, dice: u64) {
        if window.end < window.start || self.window == Some(window) {
            return;
        }
        let last = self.not_after - (self.not_after - self.not_before).max(0) / 6;
        let chosen = window
            .start
            .saturating_add(pause::share(window.end - window.start, dice));
        self.renew_at = chosen.min(last);
        self.window = Some(window);
    }

    /// As with `free_at`, a moment that is too far away was written under another clock.
    fn ask_at(&self, now: i64) -> i64 {
        if self.ask_at > now + DAY {
            now
        } else {
            self.ask_at
        }
    }
}
