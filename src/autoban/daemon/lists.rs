//! The imported block lists: what they hold, how long, and their way into the kernel.
//!
//! They touch no ledger: who is on a list is neither watched nor jailed for it. Loading goes piece by piece between other
//! work. Invariant: a list that cannot be fetched holds until its time is over, and no longer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::enforcement::Enforcement;
use super::fetch::{Content, Fetched};
use super::voice::{ERROR, NOTICE, WARNING, say, span};
use crate::autoban::blocklist::loading::Loading;
use crate::autoban::blocklist::{BlockList, LeftOut, Parsed};
use crate::autoban::cidr::Cidr;
use crate::autoban::config::Import;
use crate::autoban::control::ImportStatus;
use crate::autoban::firewall::{FirewallError, PIECE};
use crate::sys::clock::{rfc3339, unix_millis};

/// Between attempts after the kernel refused something.
const BETWEEN: Duration = Duration::from_secs(1);

/// All imports of the configuration.
#[derive(Debug, Default)]
pub struct Lists {
    imports: Vec<Imported>,
    /// The kernel has something else.
    is_stale: bool,
    loading: Option<Load>,
    /// When the kernel refused something, and whether that was told.
    failed: Option<Instant>,
}

#[derive(Debug)]
struct Imported {
    import: Import,
    content: Option<Arc<Parsed>>,
    /// Until when it holds, and when it was fetched, by the daemon's clock and by the wall's.
    until: i64,
    fetched: Option<i64>,
    error: Option<String>,
}

/// What is on its way into the kernel.
#[derive(Debug)]
struct Load {
    loading: Loading,
    /// The whole time of each list, and its end.
    times: Vec<(Duration, i64)>,
}

/// Where an address is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnList {
    pub from: String,
    pub entry: Cidr,
    pub until: i64,
}

impl OnList {
    /// For `why`.
    pub fn line(&self, now: i64) -> String {
        let left = u64::try_from(self.until.saturating_sub(now) / 1000).unwrap_or(0);
        let (from, entry) = (&self.from, self.entry);
        format!("on the block list {from}: {entry}, for {}\n", span(left))
    }
}

impl Lists {
    /// Another configuration. What is known of an import that stays is kept.
    pub fn set(&mut self, imports: &[Import]) {
        let mut known = std::mem::take(&mut self.imports);
        for import in imports {
            let at = known.iter().position(|known| known.import == *import);
            self.imports.push(match at {
                Some(at) => known.swap_remove(at),
                None => Imported {
                    import: import.clone(),
                    content: None,
                    until: 0,
                    fetched: None,
                    error: None,
                },
            });
        }
        self.is_stale = true;
    }

    /// The kernel has lost them.
    pub fn load_again(&mut self) {
        (self.is_stale, self.loading) = (true, None);
    }

    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Takes what came of a fetch.
    pub fn take(&mut self, fetched: Fetched, now: i64) {
        let Fetched { import, result } = fetched;
        let found = self.imports.iter_mut().find(|known| known.import == import);
        let Some(known) = found else {
            return;
        };
        match result {
            // It is older than what is here.
            Ok(content) if content.is_copy && known.content.is_some() => {}
            Ok(content) => {
                known.take(content, now);
                self.is_stale = true;
            }
            Err(error) => known.fail(error, now),
        }
    }

    /// Drops what ran out.
    pub fn expire(&mut self, now: i64) {
        for known in &mut self.imports {
            if known.content.is_some() && known.until <= now {
                known.content = None;
                self.is_stale = true;
                let from = &known.import.from;
                say(
                    ERROR,
                    &format!(
                        "the block list {from} has run out: it could not be fetched in its time\nhint: `autoban show` tells what is wrong"
                    ),
                );
            }
        }
    }

    /// Whether the kernel should have something else, and nothing is on its way.
    pub fn is_due(&self) -> bool {
        let is_time = self.failed.is_none_or(|at| at.elapsed() >= BETWEEN);
        self.is_stale && self.loading.is_none() && is_time
    }

    /// Sends what there is on its way.
    pub fn begin(&mut self, enforcement: &mut Enforcement, white: &[Cidr], now: i64) {
        self.is_stale = false;
        let Some(firewall) = enforcement.firewall() else {
            return;
        };
        let mut lists: Vec<(Arc<Parsed>, Duration, i64)> = Vec::new();
        for known in self.imports.iter().filter(|known| known.until > now) {
            let content = known.content.iter().cloned();
            lists.extend(content.map(|content| (content, known.import.time, known.until)));
        }
        lists.retain(|(parsed, ..)| !parsed.list.is_empty());
        // An entry of several lists has the time of the first.
        lists.sort_by_key(|(.., until)| std::cmp::Reverse(*until));
        let begun = match lists.is_empty() {
            true => firewall.remove_lists(),
            false => {
                let times = lists
                    .iter()
                    .map(|(_, time, until)| (*time, *until))
                    .collect();
                let loading = Loading::new(lists.into_iter().map(list_of).collect());
                let begun = firewall.fill_lists(white, &loading.lengths());
                self.loading = begun.is_ok().then_some(Load { loading, times });
                begun
            }
        };
        self.settle(begun);
    }

    /// Loads one piece.
    pub fn advance(&mut self, enforcement: &mut Enforcement, now: i64) {
        let Some(load) = &mut self.loading else {
            return;
        };
        let Some(firewall) = enforcement.firewall() else {
            self.loading = None;
            return;
        };
        let done = match load.loading.next(PIECE) {
            Some(piece) => {
                let time = load.times.get(piece.list).copied();
                let (whole, until) = time.unwrap_or_default();
                let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
                let left = Duration::from_millis(left);
                firewall.add_to_lists((piece.key, piece.length), &piece.values, whole, left)
            }
            None => {
                self.loading = None;
                firewall.switch_lists()
            }
        };
        self.settle(done);
    }

    /// Another white list, at once.
    pub fn spare(&mut self, enforcement: &mut Enforcement, white: &[Cidr]) {
        // What is being loaded has the old one.
        let was_loading = self.loading.take().is_some();
        self.is_stale |= was_loading;
        if let Some(firewall) = enforcement.firewall() {
            let done = firewall.spare_in_lists(white);
            self.settle(done);
        }
    }

    fn settle(&mut self, result: Result<(), FirewallError>) {
        match result {
            Ok(()) => {
                if self.loading.is_none() {
                    self.failed = None;
                }
            }
            Err(error) => {
                if self.failed.is_none() {
                    say(ERROR, &error.to_string());
                }
                self.failed = Some(Instant::now());
                self.load_again();
            }
        }
    }

    /// The lists that an address is on now.
    pub fn find(&self, address: IpAddr, now: i64) -> Vec<OnList> {
        let valid = self.imports.iter().filter(|known| known.until > now);
        let on = |known: &Imported| {
            let entry = known.content.as_ref()?.list.find(address)?;
            Some(OnList {
                from: known.import.from.to_string(),
                entry,
                until: known.until,
            })
        };
        valid.filter_map(on).collect()
    }

    /// The lists that protect no longer, in words.
    pub fn problems(&self, now: i64) -> impl Iterator<Item = String> + '_ {
        let over = move |known: &&Imported| known.until <= now && known.error.is_some();
        self.imports.iter().filter(over).map(|known| {
            let error = known.error.as_deref().unwrap_or_default();
            format!("the block list {} is not there: {error}", known.import.from)
        })
    }

    pub fn status(&self, now: i64) -> Vec<ImportStatus> {
        let status = |known: &Imported| {
            let left = u64::try_from(known.until.saturating_sub(now) / 1000).unwrap_or(0);
            let parsed = known.content.as_ref();
            ImportStatus {
                from: known.import.from.to_string(),
                entries: parsed.map_or(0, |parsed| parsed.list.len()),
                left_out: parsed.map_or(0, |parsed| parsed.misread + parsed.refused),
                fetched: known.fetched.map(rfc3339),
                left_s: left,
                error: known.error.clone(),
            }
        };
        self.imports.iter().map(status).collect()
    }
}

fn list_of((parsed, ..): (Arc<Parsed>, Duration, i64)) -> Arc<BlockList> {
    Arc::clone(&parsed.list)
}

impl Imported {
    fn take(&mut self, content: Content, now: i64) {
        let from = &self.import.from;
        let parsed = content.parsed;
        if !content.is_unchanged || self.content.is_none() {
            let copy = match content.is_copy {
                true => ", from the copy that was kept",
                false => "",
            };
            let count = parsed.list.len();
            say(
                NOTICE,
                &format!("the block list {from} has {count} entries{copy}"),
            );
            tell_left_out(&from.to_string(), &parsed);
        }
        if self.error.take().is_some() && !content.is_copy {
            say(NOTICE, &format!("the block list {from} is fetched again"));
        }
        let age = i64::try_from(content.age.as_millis()).unwrap_or(i64::MAX);
        let time = i64::try_from(self.import.time.as_millis()).unwrap_or(i64::MAX);
        self.until = now.saturating_add(time.saturating_sub(age));
        self.fetched = Some(unix_millis().saturating_sub(age));
        self.content = Some(parsed);
    }

    fn fail(&mut self, error: String, now: i64) {
        if self.error.is_none() {
            let holds = match self.until > now {
                true => "; what it held before holds until its time is over",
                false => "",
            };
            let mut lines = error.lines();
            let first = lines.next().unwrap_or_default();
            let hint: String = lines.map(|line| format!("\n{line}")).collect();
            let from = &self.import.from;
            say(
                WARNING,
                &format!("cannot fetch the block list {from}: {first}{holds}{hint}"),
            );
        }
        self.error = Some(error.lines().next().unwrap_or_default().to_owned());
    }
}

/// Which lines were left out: how many, and the first.
fn tell_left_out(from: &str, parsed: &Parsed) {
    let tell = |count: usize, first: &Option<LeftOut>, what: &str| {
        if let Some(first) = first {
            let (line, word, why) = (first.line, &first.word, first.why);
            say(
                WARNING,
                &format!(
                    "the block list {from}: {count} {what}; the first is line {line}, `{word}`: {why}"
                ),
            );
        }
    };
    tell(
        parsed.misread,
        &parsed.first_misread,
        "lines are no address",
    );
    tell(
        parsed.refused,
        &parsed.first_refused,
        "entries are not blocked",
    );
}
