//! The keeper: looks after the certificate for as long as the exchange runs.
//!
//! One thread owns the machine and does its work; others bring it hints of changed files and clients, and the first waits
//! for signals. Invariant: it does one thing at a time, and an end at any point leaves a whole certificate in use.

mod books;
mod desk;
mod exchange;
mod hands;
mod orders;
mod watch;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel};
use std::time::{Duration, Instant};

use super::control::{Request, SOCKET};
use super::generation::Place;
use super::keeper::{Effect, Event, Keeper};
use super::key::Bits;
use super::names;
use super::pair::Source;
use super::report::{Report, State, report};
use super::source::files::Files;
use super::source::ordered::{Counter, Ordered};
use super::source::own::Own;
use super::source::survey::{Origin, Survey};
use super::source::traefik::Traefik;
use crate::config::Config;
use crate::config::paths::Paths;
use crate::sys::clock::unix_now;
use crate::sys::environment;
use crate::sys::notify;
use crate::sys::say::{NOTICE, WARNING, say};
use crate::sys::signal::Signals;
pub use books::Books;
use hands::Hands;
use watch::Mode;

/// After the first hint so long is waited for more: a store is written in pieces.
const SETTLE: Duration = Duration::from_millis(200);
/// After an incomplete read.
const AGAIN: Duration = Duration::from_millis(250);
/// The longest sleep: the clock may be set meanwhile.
const ROUND: Duration = Duration::from_secs(30);

/// How long a handshake or a slow PBX may hold up the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("cannot {doing}: {source}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
}

fn cannot(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { doing, source }
}

/// What wakes it.
#[derive(Debug, Clone)]
pub enum Wake {
    /// A file may have changed.
    Hint,
    Look,
    Stop,
    Ask(Request, SyncSender<Report>),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot listen to signals or on its socket.
pub fn run(paths: &Paths, config: &Config) -> Result<(), DaemonError> {
    let (to, wakes) = channel();
    let mut signals = Signals::install().map_err(cannot("listen to signals"))?;
    let desk = desk::open(&paths.at(SOCKET)).map_err(cannot("listen on the control socket"))?;
    let mut keeping = Keeping::new(paths, config, &to);
    let files = keeping.hands.survey.watched();
    let mode = keeping.mode.clone();
    let hints = to.clone();
    std::thread::spawn(move || watch::watch(&files, &Wake::Hint, &hints, &mode));
    let asked = to.clone();
    std::thread::spawn(move || desk::serve(&desk, &asked));
    let (ended, end) = channel();
    std::thread::spawn(move || {
        keeping.keep(&wakes);
        let _ = ended.send(());
    });
    notify::send_surely("READY=1");
    signals.until_stop(|| {
        let _ = to.send(Wake::Look);
    });
    notify::send("STOPPING=1");
    let _ = to.send(Wake::Stop);
    // Whatever it does just now may be broken off.
    let _ = end.recv_timeout(FAREWELL);
    Ok(())
}

/// The machine and its hands.
struct Keeping {
    keeper: Keeper,
    hands: Hands,
    mode: Mode,
    told: String,
    level_said: Vec<String>,
}

impl Keeping {
    fn new(paths: &Paths, config: &Config, wakes: &Sender<Wake>) -> Keeping {
        let account = crate::sys::account::user(paths.pbx().name()).ok().flatten();
        let gid = account.map_or_else(|| nix::unistd::getegid().as_raw(), |account| account.gid);
        let place = Place::new(paths.certificates(), gid);
        let books = Books::of(paths);
        let found = hands::live(&place);
        let (live, pairs) = found.map_or((None, Vec::new()), |(live, pairs)| (Some(live), pairs));
        let of = |source: Source| match &live {
            Some(live) if live.found.source == source => pairs.clone(),
            _ => Vec::new(),
        };
        let wishes = &config.certificates;
        let host = config
            .host_name
            .clone()
            .unwrap_or_else(environment::host_name);
        let (wanted, bad) = names::wanted(&host, &wishes.names);
        for word in bad {
            say(
                WARNING,
                &format!("`{word}` is no name that a certificate can have"),
            );
        }
        let below = |path: &String| -> PathBuf { paths.at(path) };
        let named = wishes.file.as_ref().map(|file| {
            let key = wishes.key_file.as_ref().unwrap_or(file);
            (below(file), below(key))
        });
        let chosen = Source::chosen(&wishes.source);
        let bits = Bits::at_least(wishes.key_bits);
        if bits.number() != wishes.key_bits {
            say(
                WARNING,
                &format!(
                    "TLS_KEYBITS={} is a size that is not made; {} is",
                    wishes.key_bits,
                    bits.number()
                ),
            );
        }
        let counter = Arc::new(Counter::new(of(Source::Acme)));
        let ordered = Ordered::new(Arc::clone(&counter));
        let mut origins: Vec<Box<dyn Origin>> = vec![
            Box::new(Files::new(named, place.clone())),
            Box::new(Traefik::new(
                below(&wishes.acme_file),
                wishes.acme_file_given || chosen == Some(Source::Traefik),
            )),
        ];
        let is_asked = chosen.is_none_or(|one| one == Source::Acme);
        let (asked_for, _) = names::given(&host, &wishes.names);
        if is_asked && orders::start(paths, &asked_for, bits, &counter, wakes) {
            origins.push(Box::new(ordered));
        }
        let own = of(Source::SelfSigned);
        origins.push(Box::new(Own::new(config.certificate_days, bits, own)));
        Keeping {
            keeper: Keeper::new(live, books.refused()),
            hands: Hands {
                paths: paths.clone(),
                place,
                books,
                survey: Survey::new(origins, chosen),
                wanted,
                websms: config.websms_tls_port,
                hook: wishes.post_hook.clone(),
                // A hook may well restart the PBX, which drains first.
                hook_patience: config.hook_timeout.saturating_add(config.drain_timeout),
                offer: None,
            },
            mode: Mode::default(),
            told: String::new(),
            level_said: Vec::new(),
        }
    }

    fn keep(&mut self, wakes: &Receiver<Wake>) {
        let mut look_at: Option<Instant> = None;
        loop {
            self.drive(Event::Tick);
            self.publish();
            let now = Instant::now();
            if self.hands.survey.is_waiting() && look_at.is_none() {
                look_at = Some(now + AGAIN);
            }
            let until_tick = self.keeper.wakes_at().saturating_sub(unix_now()).max(0);
            let until_tick = Duration::from_secs(until_tick.unsigned_abs()).min(ROUND);
            let until_look = look_at.map_or(ROUND, |at| at.saturating_duration_since(now));
            match wakes.recv_timeout(until_tick.min(until_look)) {
                Ok(Wake::Hint) => look_at = Some(Instant::now() + SETTLE),
                Ok(Wake::Look) => look_at = Some(Instant::now()),
                Ok(Wake::Ask(request, reply)) => {
                    self.answer(request);
                    let _ = reply.send(self.report());
                }
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if look_at.is_some_and(|at| Instant::now() >= at) {
                look_at = None;
                self.drive(Event::Look);
            }
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Show => {}
            Request::Check => {
                self.drive(Event::Look);
                self.drive(Event::Check);
            }
            Request::Renew { anew } => {
                self.hands.survey.renew(anew);
                self.drive(Event::Forgive);
            }
        }
    }

    /// Takes an event in, and works until nothing is left to be done.
    fn drive(&mut self, event: Event) {
        let mut effects: VecDeque<Effect> = self.keeper.step(event, unix_now()).into();
        while let Some(effect) = effects.pop_front() {
            if let Some(event) = self.hands.work(effect, &self.keeper) {
                effects.extend(self.keeper.step(event, unix_now()));
            }
        }
    }

    fn report(&self) -> Report {
        let live = self.keeper.live();
        let facts = live
            .map(|live| live.found.facts.clone())
            .unwrap_or_default();
        let mut notes = self.hands.survey.notes();
        notes.extend(facts.iter().flat_map(|facts| facts.notes.clone()));
        let state = State {
            source: live.map(|live| live.found.source),
            generation: live.map(|live| live.generation.as_str()),
            wanted: self.hands.wanted.iter().map(ToString::to_string).collect(),
            facts: &facts,
            listeners: self.keeper.proofs(),
            nothing: self.keeper.nothing(),
            trouble: self.keeper.trouble(),
            lacks: self.hands.survey.lacks(),
            notes,
            watching: self.mode.text(),
            refused: self.keeper.refused(),
        };
        report(&state, unix_now())
    }

    /// Tells the supervisor, and people what is new.
    fn publish(&mut self) {
        let report = self.report();
        let line = report.line();
        if line != self.told {
            notify::send(&format!("STATUS={line}"));
            self.told = line;
        }
        for problem in &report.problems {
            if !self.level_said.contains(problem) {
                say(WARNING, problem);
            }
        }
        if report.problems.is_empty() && !self.level_said.is_empty() {
            say(NOTICE, "the certificate is well again");
        }
        self.level_said = report.problems;
    }
}

/// What is known without the keeper, when it does not run.
pub fn report_of_disk(paths: &Paths, why: &str) -> Report {
    let place = Place::new(paths.certificates(), 0);
    let found = hands::live(&place);
    let facts = found.as_ref().map(|(live, _)| live.found.facts.clone());
    let facts = facts.unwrap_or_default();
    let state = State {
        source: found.as_ref().map(|(live, _)| live.found.source),
        generation: found.as_ref().map(|(live, _)| live.generation.as_str()),
        facts: &facts,
        trouble: Some(why),
        ..State::default()
    };
    report(&state, unix_now())
}
