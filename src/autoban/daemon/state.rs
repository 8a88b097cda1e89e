//! All that the daemon knows, and what it does at each wake-up.
//!
//! Invariant: facts and kernel changes of a wake-up leave together, in the order in which they came about.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::time::Instant;

use super::books::{self, Books};
use super::enforcement::{Enforcement, settings};
use super::errands::Errands;
use super::fallback::Fallback;
use super::herald;
use super::lists::Lists;
use super::manager::News;
use super::surroundings::{self, Contacts};
use super::voice::{ERROR, NOTICE, Voice, WARNING, say};
use super::{DaemonError, Options, cannot, setup};
use crate::asterisk::ami::event::{Name, SecurityEvent, Service};
use crate::asterisk::ami::frame::Hostile;
use crate::autoban::acl;
use crate::autoban::cidr::Cidr;
use crate::autoban::config::Config;
use crate::autoban::evidence::{Meaning, weigh, weigh_hostile};
use crate::autoban::journal;
use crate::autoban::ledger::{Ledger, List, Note, Outcome};
use crate::sys::clock::{Stopwatch, unix_millis};
use crate::sys::notify;

mod others;
mod report;
mod witnessed;

use witnessed::Witness;

/// How often addresses, gateways and trunks are read again, in seconds.
const REFRESH: u64 = 30;

/// Counters that are there from the start, so that a monitor sees their zero; those of events come with the first event.
const COUNTERS: [&str; 17] = [
    "banned by hand",
    "block lists fetched",
    "block lists not fetched",
    "evicted",
    "freed by hand",
    "gap milliseconds",
    "gaps",
    "hidden sources",
    "hostile frames",
    "jailed",
    "kernel repairs",
    "networks jailed",
    "not banned for want of room",
    "pardoned",
    "released",
    "trusted suspects",
    "weak bans",
];

pub struct State {
    options: Options,
    pub config: Rc<Config>,
    off: Option<String>,
    ledger: Ledger,
    pub enforcement: Enforcement,
    fallback: Fallback,
    books: Option<Books>,
    voice: Voice,
    contacts: Contacts,
    trunks: Vec<Cidr>,
    own: Vec<Cidr>,
    witness: Witness,
    /// When the clock was started, in milliseconds since 1970, and since then.
    began: i64,
    clock: Stopwatch,
    /// The moment of this wake-up.
    now: i64,
    /// What came about in this wake-up.
    outcome: Outcome,
    contacts_changed: bool,
    connected: bool,
    /// Since when the manager is away.
    away: Instant,
    /// It was connected at least once, or never.
    was_connected: bool,
    /// The last complaint about the manager, so that it is told once.
    complaint: Option<String>,
    disk: Option<String>,
    ready: bool,
    told: String,
    ticks: u64,
    events: HashMap<(Name, &'static str), u64>,
    counters: BTreeMap<&'static str, u64>,
    pub errands: Errands,
    pub lists: Lists,
}

impl State {
    /// Reads what there is, and enforces it.
    pub fn open(options: &Options) -> Result<State, DaemonError> {
        let found = setup::read(&options.paths);
        setup::tell_mistakes(&found);
        let mut state = State {
            ledger: Ledger::new(found.config.policy.clone()),
            config: Rc::new(found.config),
            off: found.off,
            options: options.clone(),
            enforcement: Enforcement::Off,
            fallback: Fallback::new(&options.paths, options.dry_run),
            books: None,
            voice: Voice::default(),
            contacts: Contacts::default(),
            trunks: Vec::new(),
            own: Vec::new(),
            witness: Witness::default(),
            began: unix_millis(),
            clock: Stopwatch::start(),
            now: 0,
            outcome: Outcome::default(),
            contacts_changed: false,
            connected: false,
            away: Instant::now(),
            was_connected: false,
            complaint: None,
            disk: None,
            ready: false,
            told: String::new(),
            ticks: 0,
            events: HashMap::new(),
            counters: COUNTERS.iter().map(|name| (*name, 0)).collect(),
            errands: Errands::default(),
            lists: Lists::default(),
        };
        state.wake();
        let journal = state.remember()?;
        state.wake();
        state.ledger.step(Meaning::Nothing, state.now);
        state.take_lists();
        state.look_around();
        match &state.off {
            Some(why) => {
                say(
                    NOTICE,
                    &format!(
                        "AutoBan is off: {why}\nhint: an autoban.conf with `[autoban]` and `enabled = yes` switches it on, then `switchhook reload autoban`"
                    ),
                );
                state.fallback.assign(false);
                state.be_ready();
            }
            None => state.switch_on(),
        }
        // The bans come first: a journal of many is written for a while.
        if let Some(directory) = journal {
            state.begin_books(&directory)?;
        }
        state.send_errands();
        Ok(state)
    }

    /// Reads the journal, or else what the predecessor left. Says where the next one is to be written, if it is.
    fn remember(&mut self) -> Result<Option<PathBuf>, DaemonError> {
        let directory = self.options.paths.state().join("autoban");
        if !self.options.dry_run {
            std::fs::create_dir_all(&directory).map_err(cannot("make the state directory"))?;
        }
        let text = match books::read(&directory) {
            Ok(text) => text,
            Err(error) => {
                let problem = format!(
                    "cannot read the journal in `{}`: {error}",
                    directory.display()
                );
                say(ERROR, &problem);
                self.disk = Some(problem);
                return Ok(None);
            }
        };
        let is_first = text.is_empty();
        match journal::replay(&mut self.ledger, &text) {
            Ok(found) => {
                // The clock of a machine without one may be behind.
                self.began = self.began.max(found.last.unwrap_or(0));
                if found.damaged > 0 || found.torn {
                    let torn = if found.torn {
                        ", its last line is torn"
                    } else {
                        ""
                    };
                    say(
                        WARNING,
                        &format!(
                            "the journal has {} damaged lines{torn}; all others hold",
                            found.damaged
                        ),
                    );
                }
            }
            Err(foreign) => {
                say(
                    ERROR,
                    &format!("{foreign}\nhint: until then nothing is written down"),
                );
                self.disk = Some(foreign.to_string());
                return Ok(None);
            }
        }
        if is_first {
            self.carry_over();
        }
        if self.options.dry_run {
            return Ok(None);
        }
        Ok(Some(directory))
    }

    /// Begins the journal anew with all that is known.
    fn begin_books(&mut self, directory: &Path) -> Result<(), DaemonError> {
        self.wake();
        let books = Books::open(directory, self.ledger.facts(), self.now);
        self.books = Some(books.map_err(cannot("start the journal's writer"))?);
        Ok(())
    }

    fn carry_over(&mut self) {
        match setup::predecessor(&self.options.paths, &self.config) {
            None => {}
            Some(Err(problem)) => say(ERROR, &problem),
            Some(Ok((facts, misread))) => {
                let count = facts.len();
                for fact in facts {
                    self.ledger.apply(fact, self.now);
                }
                let not = match misread {
                    0 => String::new(),
                    n => format!("; {n} could not be read"),
                };
                say(
                    NOTICE,
                    &format!("carried over {count} entries of autoban.nft{not}"),
                );
            }
        }
    }

    /// Takes the moment of a wake-up. It never goes back.
    pub fn wake(&mut self) {
        let elapsed = i64::try_from(self.clock.elapsed().as_millis()).unwrap_or(0);
        self.now = self.now.max(self.began + elapsed);
    }

    pub fn is_on(&self) -> bool {
        self.off.is_none()
    }

    fn switch_on(&mut self) {
        if self.options.dry_run {
            self.enforcement = Enforcement::DryRun;
            say(NOTICE, "dry run: bans are told and not done");
            return;
        }
        let bans = self.ledger.project(self.now);
        let count = bans.len();
        self.enforcement = Enforcement::open(&self.settings(), bans);
        if let Enforcement::Acl(why) = &self.enforcement {
            say(ERROR, &why.to_string());
            say(
                WARNING,
                "bans are given to Asterisk's ACL instead, which covers SIP alone and nobody who was seen over UDP only",
            );
        }
        self.fallback.assign(self.enforcement.is_acl());
        if count > 0 {
            say(NOTICE, &format!("{count} bans are in force again"));
        }
    }

    /// Whom no list may close out, the own addresses too.
    fn never(&self) -> Vec<Cidr> {
        let mut never = self.ledger.listed(List::White);
        never.extend_from_slice(&self.own);
        never
    }

    /// The kernel's fixed lists hold the own addresses too: what is banned by hand around them spares them.
    fn settings(&self) -> crate::autoban::ruleset::Settings {
        settings(
            &self.config,
            &self.never(),
            &self.ledger.listed(List::Black),
        )
    }

    fn rebuild(&mut self) {
        let bans = self.ledger.project(self.now);
        let settings = self.settings();
        self.enforcement.rebuild(&settings, bans);
        self.fallback.note(&[], true);
        self.lists.spare(&mut self.enforcement, &settings.white);
    }

    fn take_lists(&mut self) {
        let white = self.config.whitelist.iter().copied();
        self.ledger.set_configured(List::White, white);
        let black = self.config.blacklist.iter().copied();
        self.ledger.set_configured(List::Black, black);
    }

    /// Addresses, gateways, trunks. Says whether the kernel's lists must change.
    fn look_around(&mut self) -> bool {
        let addresses = surroundings::own_addresses();
        let gateways = crate::nat::look::gateways();
        self.ledger.set_own(&addresses);
        self.ledger.set_gateways(&gateways);
        self.trunks = surroundings::trunks(&self.options.paths.asterisk_config());
        self.look_at_transports();
        self.name_friends();
        let own = addresses
            .iter()
            .chain(&gateways)
            .map(|a| Cidr::host(*a))
            .collect();
        std::mem::replace(&mut self.own, own) != self.own
    }

    fn name_friends(&mut self) {
        let trunks = self.trunks.iter().copied();
        self.ledger
            .set_named(trunks.chain(self.contacts.addresses()));
    }

    /// Reads autoban.conf again. Says whether the manager is another one.
    pub fn reconfigure(&mut self) -> bool {
        notify::send("RELOADING=1");
        let found = setup::read(&self.options.paths);
        setup::tell_mistakes(&found);
        let manager_changed = found.config.manager != self.config.manager;
        let was_on = self.is_on();
        self.config = Rc::new(found.config);
        self.off = found.off;
        self.ledger.set_policy(self.config.policy.clone());
        self.take_lists();
        self.look_around();
        self.complaint = None;
        match (was_on, &self.off) {
            (true, Some(why)) => {
                self.enforcement.take_down();
                self.fallback.assign(false);
                say(
                    NOTICE,
                    &format!("AutoBan is off from now on: {why}; nobody is banned"),
                );
            }
            (false, None) => self.switch_on(),
            // What was missing may be there now.
            (true, None) if self.enforcement.is_acl() => self.switch_on(),
            (true, None) => self.rebuild(),
            (false, Some(_)) => {}
        }
        self.send_errands();
        say(NOTICE, "autoban.conf was read again");
        notify::send("READY=1");
        // A login keeps the rights that it began with. Before it goes off, Asterisk has to free everybody.
        let is_done = !self.needs_manager();
        manager_changed || self.fallback.is_refused() || (was_on != self.is_on() && is_done)
    }

    /// Whether a connection to the manager is of use.
    pub fn needs_manager(&self) -> bool {
        self.is_on() || self.fallback.is_loading()
    }

    /// The connection was given up by order.
    pub fn disconnected(&mut self) {
        if std::mem::take(&mut self.connected) {
            self.away = Instant::now();
        }
    }

    /// Whether the manager is to have Asterisk read its lists again; once for each time.
    pub fn wants_reload(&mut self) -> bool {
        self.connected && self.fallback.order()
    }

    /// Whom Asterisk denies is free again, for nobody is left to end his ban.
    pub fn retire(&mut self) {
        if self.enforcement.is_acl() {
            self.fallback.assign(false);
        }
    }

    /// Whether Asterisk has yet to hear of that, and can.
    pub fn is_retiring(&self) -> bool {
        self.connected && self.fallback.is_loading()
    }

    /// What the manager has to tell.
    pub fn hear(&mut self, news: News<'_>) {
        match news {
            News::Security(_) | News::Hostile(_) if !self.is_on() => {}
            News::Security(event) => self.security(&event),
            News::Hostile(hostile) => self.hostile(&hostile),
            News::Other(lines) => self.contacts_changed |= self.contacts.take(&lines),
            News::Connected => self.connected(),
            News::Lost(why) => self.lost(&why),
            News::Denied(why) => {
                let text = setup::denied(&self.config.manager, &self.options.paths, &why);
                self.complain(ERROR, text);
                self.be_ready();
            }
            News::Reloaded(answer) => self.fallback.answered(answer, &self.config.manager),
        }
    }

    fn security(&mut self, event: &SecurityEvent<'_>) {
        let meaning = weigh(event);
        let grade = match &meaning {
            Meaning::Against(evidence) => match evidence.grade {
                crate::autoban::evidence::Grade::Strong => " strong",
                crate::autoban::evidence::Grade::Weak => " weak",
            },
            _ => "",
        };
        *self.events.entry((event.name, grade)).or_default() += 1;
        if event.service == Service::Pjsip && matches!(meaning, Meaning::Against(_)) {
            self.witness.expect();
        }
        self.step(meaning);
    }

    fn hostile(&mut self, hostile: &Hostile) {
        *self.counters.entry("hostile frames").or_default() += 1;
        if let Some(evidence) = weigh_hostile(hostile) {
            self.step(Meaning::Against(evidence));
        }
    }

    fn step(&mut self, meaning: Meaning) {
        let out = self.ledger.step(meaning, self.now);
        self.merge(out);
    }

    fn merge(&mut self, out: Outcome) {
        for note in &out.notes {
            let counter = match note {
                Note::Jailed { .. } => "jailed",
                Note::WeakBanned { .. } => "weak bans",
                Note::NetworkBanned { .. } => "networks jailed",
                Note::Released { .. } => "released",
                Note::Pardoned { .. } => "pardoned",
                Note::TrustedSuspect { .. } => "trusted suspects",
                Note::SourceHidden { .. } => "hidden sources",
                Note::Evicted { .. } => "evicted",
                Note::Full { .. } => "not banned for want of room",
                Note::Skipped { .. } => continue,
            };
            *self.counters.entry(counter).or_default() += 1;
        }
        self.outcome.changes.extend(out.changes);
        self.outcome.notes.extend(out.notes);
        self.outcome.facts.extend(out.facts);
        self.outcome.lists |= out.lists;
    }

    fn connected(&mut self) {
        let gap = self.away.elapsed();
        let config = &self.config.manager;
        let mut text = format!(
            "listening to security events of {}:{}",
            config.server, config.port
        );
        if self.was_connected {
            let millis = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            *self.counters.entry("gap milliseconds").or_default() += millis;
            *self.counters.entry("gaps").or_default() += 1;
            text.push_str(&format!(
                " again, after a gap of {}.{:03} s",
                gap.as_secs(),
                gap.subsec_millis()
            ));
        }
        say(NOTICE, &text);
        (self.connected, self.was_connected, self.complaint) = (true, true, None);
        self.fallback.connected();
        self.be_ready();
    }

    fn lost(&mut self, why: &str) {
        self.fallback.lost();
        if std::mem::take(&mut self.connected) {
            self.away = Instant::now();
            // They come again with the PBX, if it has them still.
            self.contacts.forget();
            self.contacts_changed = true;
            // No warning: the PBX may have been restarted or stopped by order, and its return is told too.
            say(
                NOTICE,
                &format!("lost the manager, and what happens until it is back: {why}"),
            );
        } else if self.complaint.is_none() {
            self.complain(NOTICE, format!("waiting for Asterisk's manager: {why}"));
        }
        self.be_ready();
    }

    fn complain(&mut self, level: u8, text: String) {
        if self.complaint.as_ref() != Some(&text) {
            say(level, &text);
        }
        self.complaint = Some(text);
    }

    fn be_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            notify::send_surely("READY=1");
        }
    }

    /// A second went by.
    pub fn tick(&mut self) {
        self.ticks += 1;
        self.step(Meaning::Nothing);
        self.voice.breathe();
        self.check_witness();
        if self.ticks.is_multiple_of(REFRESH) {
            if self.look_around() {
                self.rebuild();
            }
            self.fallback.look();
        }
        self.load_lists();
        if let Some(books) = &mut self.books {
            match books.news() {
                Some(Some(problem)) => {
                    let text = format!("cannot write the journal: {problem}");
                    if self.disk.as_ref() != Some(&text) {
                        say(
                            ERROR,
                            &format!(
                                "{text}\nhint: until that is mended, bans are forgotten at the end of this process"
                            ),
                        );
                    }
                    self.disk = Some(text);
                }
                Some(None) => self.disk = None,
                None => {}
            }
            if books.wants_snapshot() {
                books.snapshot(self.ledger.facts(), self.now);
            }
        }
        let status = self.line();
        let mut word = String::new();
        if self.ticks.is_multiple_of(5) {
            word.push_str("WATCHDOG=1\n");
        }
        if status != self.told {
            word.push_str(&format!("STATUS={status}\n"));
            self.told = status;
        }
        if !word.is_empty() {
            notify::send(&word);
        }
    }

    /// Ends a wake-up: one batch for the kernel, then the log and the journal.
    pub fn settle(&mut self) {
        if std::mem::take(&mut self.contacts_changed) {
            self.name_friends();
        }
        let out = std::mem::take(&mut self.outcome);
        match out.lists {
            true => self.rebuild(),
            false => self.enforcement.apply(&out.changes),
        }
        self.fallback.note(&out.changes, out.lists);
        let (ledger, now) = (&self.ledger, self.now);
        self.enforcement.mend(|| ledger.project(now));
        if self.fallback.is_due(now) {
            let black = ledger.listed(List::Black);
            let rendered = acl::render(&ledger.project(now), &black, &self.never(), acl::MOST);
            self.fallback.write(now, rendered);
        }
        self.lists.advance(&mut self.enforcement, self.now);
        let prefix = match self.options.dry_run {
            true => "dry run: ",
            false => "",
        };
        self.voice.tell(&out.notes, prefix);
        for note in &out.notes {
            if let Some(event) = herald::of(note, self.config.webhook.weak, self.now) {
                self.errands.tell(event);
            }
        }
        if let Some(books) = &mut self.books {
            books.append(out.facts, self.now);
        }
    }

    /// The last words for the journal. The kernel keeps its bans.
    pub fn close(mut self) {
        self.wake();
        self.settle();
        if let Some(books) = self.books {
            books.close(self.ledger.facts(), self.now);
        }
    }
}
