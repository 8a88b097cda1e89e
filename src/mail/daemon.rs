//! The mail service: sends what lies in the queue, at once what is new, and later what could not be sent.
//!
//! One thread sends, one letter after another, and decides when the next is due; another tells it of new files, and the first
//! listens to signals. Invariant: a letter leaves the queue only after a server's answer that it has it, so that a crash at any
//! point can send a letter twice, in the moment between that answer and the disk, but never lose one.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ::notify::event::ModifyKind;
use ::notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::letter::{self, State, Trouble, Verdict};
use super::queue::{PLACE, Queue, Waiting};
use super::route::Route;
use super::send::{World, send};
use crate::config::Config;
use crate::config::paths::Paths;
use crate::sys::clock::unix_now;
use crate::sys::say::{ERROR, NOTICE, WARNING, say};
use crate::sys::signal::Signals;
use crate::sys::{environment, file, notify};

/// The longest sleep: the clock may be set, and not every file system tells of new files.
const ROUND: Duration = Duration::from_secs(30);
/// So long a letter that is being sent when the end comes may take.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct DaemonError {
    doing: &'static str,
    source: io::Error,
}

fn cannot(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError { doing, source }
}

#[derive(Debug, Clone, Copy)]
enum Wake {
    Look,
    Stop,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot listen to signals.
pub fn run(paths: &Paths, config: &Config) -> Result<(), DaemonError> {
    let mut signals = Signals::install().map_err(cannot("listen to signals"))?;
    let queue = Queue::at(paths.at(PLACE));
    // In the image it is there; a failure shows at the first look.
    let _ = file::make_directory(queue.directory(), 0o770);
    queue.sweep();
    let (to, wakes) = channel();
    let (ended, end) = channel();
    let (directory, hints) = (queue.directory().to_owned(), to.clone());
    std::thread::spawn(move || watch(&directory, &hints));
    let mut postman = Postman {
        queue,
        host_name: config
            .host_name
            .clone()
            .unwrap_or_else(environment::host_name),
        told: Vec::new(),
        sent: Vec::new(),
        unwritten: BTreeMap::new(),
        status: String::new(),
    };
    std::thread::spawn(move || {
        postman.work(&wakes);
        let _ = ended.send(());
    });
    notify::send_surely("READY=1");
    signals.until_stop(|| {
        let _ = to.send(Wake::Look);
    });
    notify::send("STOPPING=1");
    let _ = to.send(Wake::Stop);
    let _ = end.recv_timeout(FAREWELL);
    Ok(())
}

/// Tells of files that come and go. Where it cannot, every half minute must do.
fn watch(directory: &Path, to: &Sender<Wake>) {
    let (tell, told) = channel();
    let Ok(mut watcher) = RecommendedWatcher::new(tell, ::notify::Config::default()) else {
        return;
    };
    if watcher
        .watch(directory, RecursiveMode::NonRecursive)
        .is_err()
    {
        return;
    }
    // What came before the watch did.
    let _ = to.send(Wake::Look);
    for event in told {
        // Opening and reading is what we do ourselves; an error means that the kernel has lost some.
        let is_change = event.map_or(true, |event| {
            let is_of_names = matches!(
                event.kind,
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            );
            is_of_names || event.need_rescan()
        });
        if is_change && to.send(Wake::Look).is_err() {
            return;
        }
    }
}

struct Postman {
    queue: Queue,
    host_name: String,
    /// What was said of files that are no letters.
    told: Vec<String>,
    /// Letters that a server has, and that the disk does not let go.
    sent: Vec<String>,
    /// States that the disk does not take: without them a letter would be tried without a pause.
    unwritten: BTreeMap<String, State>,
    status: String,
}

impl Postman {
    fn work(&mut self, wakes: &Receiver<Wake>) {
        loop {
            let next = match self.round(wakes) {
                Some(next) => next,
                None => return,
            };
            let wait = u64::try_from(next.saturating_sub(unix_now())).unwrap_or(0);
            match wakes.recv_timeout(Duration::from_secs(wait).min(ROUND)) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Tries what is due. The value is when the next is; none if the end has come.
    fn round(&mut self, wakes: &Receiver<Wake>) -> Option<i64> {
        let mut away: Vec<(Route, Trouble)> = Vec::new();
        for waiting in self.look() {
            while let Ok(wake) = wakes.try_recv() {
                if matches!(wake, Wake::Stop) {
                    return None;
                }
            }
            if waiting.state.aside || waiting.state.next > unix_now() {
                continue;
            }
            let known = away
                .iter()
                .find(|(route, _)| Some(route) == waiting.letter.route.as_ref());
            let verdict = match known {
                // One that is away is away for all.
                Some((_, trouble)) => Verdict::Later(trouble.clone()),
                None => self.try_one(&waiting),
            };
            if let (Verdict::Later(trouble), Some(route)) = (&verdict, &waiting.letter.route)
                && trouble.is_common
                && known.is_none()
            {
                away.push((route.clone(), trouble.clone()));
            }
            self.settle(&waiting, &verdict);
        }
        let left = self.look();
        self.tell_status(&left);
        let due = left.iter().filter(|one| !one.state.aside);
        Some(due.map(|one| one.state.next).min().unwrap_or(i64::MAX))
    }

    fn look(&mut self) -> Vec<Waiting> {
        let (found, bad) = match self.queue.list() {
            Ok(found) => found,
            Err(error) => (Vec::new(), vec![error]),
        };
        let queue = &self.queue;
        self.sent.retain(|id| queue.remove(id).is_err());
        let mut found = found;
        found.retain(|one| !self.sent.contains(&one.letter.id));
        for one in &mut found {
            if let Some(state) = self.unwritten.get(&one.letter.id) {
                one.state.clone_from(state);
            }
        }
        let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
        for problem in bad.iter().filter(|problem| !self.told.contains(problem)) {
            say(ERROR, problem);
        }
        self.told = bad;
        found
    }

    fn try_one(&self, waiting: &Waiting) -> Verdict {
        let id = &waiting.letter.id;
        let mail = match self.queue.mail(id) {
            Ok(Some(mail)) => mail,
            Ok(None) => return Verdict::Taken("it was removed".to_owned()),
            Err(error) => {
                return Verdict::Later(Trouble {
                    reason: error.to_string(),
                    hint: error.hint().map(ToOwned::to_owned),
                    is_common: false,
                });
            }
        };
        let environment = environment::all();
        let variable = |name: &str| {
            let value = environment.get(name);
            value.filter(|value| !value.is_empty()).cloned()
        };
        let world = World {
            host_name: &self.host_name,
            variable: &variable,
        };
        send(&waiting.letter, &mail, &world)
    }

    fn settle(&mut self, waiting: &Waiting, verdict: &Verdict) {
        let letter = &waiting.letter;
        let name = format!("mail {} for {}", letter.id, letter.to);
        if let Verdict::Taken(words) = verdict {
            if let Err(error) = self.queue.remove(&letter.id) {
                say(
                    ERROR,
                    &format!("{name} is sent, and stays in the queue: {error}"),
                );
                self.sent.push(letter.id.clone());
            }
            let server = letter
                .route
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            return say(NOTICE, &format!("{name} is sent by {server}: {words}"));
        }
        let now = unix_now();
        let state = letter::after(&waiting.state, verdict, letter.taken, now, jitter());
        match self.queue.note(&letter.id, &state) {
            Ok(()) => drop(self.unwritten.remove(&letter.id)),
            Err(error) => {
                say(ERROR, &error.to_string());
                self.unwritten.insert(letter.id.clone(), state.clone());
            }
        }
        let hint = state.hint.iter().map(|hint| format!("\nhint: {hint}"));
        let hint: String = hint.collect();
        match state.aside {
            true => say(
                ERROR,
                &format!(
                    "{name} lies aside: {}{hint}\nhint: `switchhook mail show {}`, and then `retry` or `remove`",
                    state.reason, letter.id
                ),
            ),
            false => say(
                WARNING,
                &format!(
                    "{name} waits {} s: {}{hint}",
                    state.next - now,
                    state.reason
                ),
            ),
        }
    }

    fn tell_status(&mut self, left: &[Waiting]) {
        let aside = left.iter().filter(|one| one.state.aside).count();
        let status = format!("{} wait, {aside} lie aside", left.len() - aside);
        if status != self.status {
            notify::send(&format!("STATUS={status}"));
            self.status = status;
        }
    }
}

/// -20..=20, so that many exchanges do not come to one server together.
fn jitter() -> i8 {
    let mut byte = [0];
    let _ = getrandom::getrandom(&mut byte);
    i8::try_from(byte[0] % 41).unwrap_or(20) - 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_jitter_is_out_of_bounds() {
        for _ in 0..1000 {
            assert!((-20..=20).contains(&jitter()));
        }
    }

    #[test]
    fn a_state_that_is_new_is_due() {
        assert!(State::default().next <= unix_now());
    }
}
