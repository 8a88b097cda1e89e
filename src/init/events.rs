//! The last events of the exchange: what happened to which service, when and why, in a ring of bounded size.
//!
//! Pure: times and senders are arguments, nobody is told from here. Invariant: sequence numbers begin with 1 and have no
//! gap, so that a reader who was too slow sees how many events it missed. The ring never holds more than
//! [`MOST_EVENTS`] events of at most [`LONGEST_DETAIL`] bytes of detail each: with names of 64 bytes about 100 KiB.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How many events are kept.
pub const MOST_EVENTS: usize = 256;
/// The longest detail of one event, in bytes; longer ones are cut.
pub const LONGEST_DETAIL: usize = 200;

/// Why a service was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// With the exchange.
    #[default]
    Boot,
    Order(Peer),
    /// A timer was due; its name.
    Timer(String),
    /// Another service needs it; that one's name.
    Dependency(String),
    /// It had ended, and its `Restart=` says so; how it had ended.
    Restart(String),
    /// Somebody connected to one of its sockets; the socket's name.
    Socket(String),
    /// Its definition was changed.
    Definition,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Boot => write!(f, "boot"),
            Reason::Order(peer) => write!(f, "order by {peer}"),
            Reason::Timer(name) => write!(f, "timer {name}"),
            Reason::Dependency(name) => write!(f, "needed by {name}"),
            Reason::Restart(exit) => write!(f, "restart after {exit}"),
            Reason::Socket(name) => write!(f, "socket {name}"),
            Reason::Definition => write!(f, "new definition"),
        }
    }
}

/// Who spoke on the control socket, by the kernel's word (unix(7), SO_PEERCRED).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub uid: u32,
    pub pid: i32,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} (pid {})", self.uid, self.pid)
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The exchange enters a phase; the detail names it.
    Phase,
    /// An order came over the control socket, or by signal; the detail says which and by whom.
    Ordered,
    /// A process was started; the detail is the reason.
    Started,
    /// It was not started: its conditions do not hold, or the process could not be made.
    NotStarted,
    /// Of a service: in service. Of the exchange: all services are up for the first time.
    Ready,
    NotReadyInTime,
    Ended,
    /// It waits before its next start.
    Restarting,
    CrashLoop,
    GivenUp,
    DrainedOut,
    DrainBudgetSpent,
    /// It did not end in its grace and gets SIGKILL.
    Killed,
    WatchdogMissed,
    /// A command around the service's program has failed.
    CommandFailed,
    ReloadFailed,
    DrainFailed,
    /// Something that concerns one of its sockets.
    Socket,
    /// The definitions were read again.
    Definitions,
}

impl What {
    /// The word that is printed and sent.
    pub fn name(self) -> &'static str {
        match self {
            What::Phase => "phase",
            What::Ordered => "ordered",
            What::Started => "started",
            What::NotStarted => "not-started",
            What::Ready => "ready",
            What::NotReadyInTime => "not-ready-in-time",
            What::Ended => "ended",
            What::Restarting => "restarting",
            What::CrashLoop => "crash-loop",
            What::GivenUp => "given-up",
            What::DrainedOut => "drained-out",
            What::DrainBudgetSpent => "drain-budget-spent",
            What::Killed => "killed",
            What::WatchdogMissed => "watchdog-missed",
            What::CommandFailed => "command-failed",
            What::ReloadFailed => "reload-failed",
            What::DrainFailed => "drain-failed",
            What::Socket => "socket",
            What::Definitions => "definitions",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub time_ms: i64,
    /// The service that it is about; `None`: the exchange.
    pub service: Option<String>,
    #[serde(rename = "event")]
    pub what: What,
    /// In words, at most [`LONGEST_DETAIL`] bytes; may be empty.
    pub detail: String,
    /// Its main process, where there is one.
    pub pid: Option<i32>,
}

/// An event that has not been given its number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    pub time_ms: i64,
    pub service: Option<String>,
    pub what: What,
    pub detail: String,
    pub pid: Option<i32>,
}

/// The ring.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Events {
    kept: VecDeque<Event>,
    last: u64,
}

impl Events {
    /// Keeps an event under the next number; the oldest one goes when the ring is full.
    pub fn push(&mut self, occurrence: Occurrence) {
        let Occurrence {
            time_ms,
            service,
            what,
            mut detail,
            pid,
        } = occurrence;
        if detail.len() > LONGEST_DETAIL {
            let mut end = LONGEST_DETAIL - '…'.len_utf8();
            while !detail.is_char_boundary(end) {
                end -= 1;
            }
            detail.truncate(end);
            detail.push('…');
        }
        if self.kept.len() >= MOST_EVENTS {
            self.kept.pop_front();
        }
        self.last += 1;
        self.kept.push_back(Event {
            sequence: self.last,
            time_ms,
            service,
            what,
            detail,
            pid,
        });
    }

    /// The last event.
    pub fn newest(&self) -> Option<&Event> {
        self.kept.back()
    }

    /// How many events there have been.
    pub fn count(&self) -> u64 {
        self.last
    }

    /// The newest `most` events with a greater number than `after`, oldest first.
    pub fn since(&self, after: u64, most: usize) -> impl Iterator<Item = &Event> {
        let of_interest = self
            .kept
            .iter()
            .filter(move |event| event.sequence > after)
            .count();
        let skipped = self.kept.len() - of_interest.min(most);
        self.kept.iter().skip(skipped)
    }

    /// What happened last to a service.
    pub fn last_of(&self, service: &str) -> Option<&Event> {
        let is_its = |event: &&Event| event.service.as_deref() == Some(service);
        self.kept.iter().rev().find(is_its)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(service: &str, detail: String) -> Occurrence {
        Occurrence {
            time_ms: 0,
            service: Some(service.to_owned()),
            what: What::Ended,
            detail,
            pid: None,
        }
    }

    #[test]
    fn numbers_have_no_gap_and_the_oldest_event_goes() {
        let mut events = Events::default();
        for _ in 0..MOST_EVENTS + 10 {
            events.push(about("a", String::new()));
        }
        let kept: Vec<u64> = events
            .since(0, usize::MAX)
            .map(|event| event.sequence)
            .collect();
        assert_eq!(kept.len(), MOST_EVENTS);
        assert_eq!(kept.first(), Some(&11));
        assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(events.count(), 266);
    }

    #[test]
    fn a_reader_gets_the_newest_after_what_it_knows() {
        let mut events = Events::default();
        for n in 1..=5 {
            events.push(about("a", n.to_string()));
        }
        let details = |after, most| -> Vec<String> {
            events
                .since(after, most)
                .map(|event| event.detail.clone())
                .collect()
        };
        assert_eq!(details(0, 2), ["4", "5"]);
        assert_eq!(details(3, 100), ["4", "5"]);
        assert_eq!(details(5, 100), Vec::<String>::new());
        assert_eq!(details(0, 0), Vec::<String>::new());
        assert_eq!(details(99, 9), Vec::<String>::new());
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let mut events = Events::default();
        events.push(about("a", "ü".repeat(1000)));
        let event = events.newest().unwrap();
        assert!(event.detail.len() <= LONGEST_DETAIL, "{}", event.detail);
        assert!(event.detail.ends_with("ü…"));
    }

    #[test]
    fn the_last_event_of_a_service_is_its_own() {
        let mut events = Events::default();
        events.push(about("a", "1".into()));
        events.push(about("b", "2".into()));
        assert_eq!(
            events.last_of("a").map(|event| event.detail.as_str()),
            Some("1")
        );
        assert_eq!(events.last_of("c"), None);
    }

    #[test]
    fn reasons_are_words_for_people() {
        let peer = Peer { uid: 0, pid: 7 };
        assert_eq!(Reason::Order(peer).to_string(), "order by uid 0 (pid 7)");
        assert_eq!(
            Reason::Restart("exit code 3".into()).to_string(),
            "restart after exit code 3"
        );
        let name = serde_json::to_string(&What::CrashLoop).unwrap();
        assert_eq!(name, format!("\"{}\"", What::CrashLoop.name()));
    }
}
