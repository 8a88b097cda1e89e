//! Whether a request that the log speaks of can have come over a connection, by the kernel's word.
//!
//! It looks at all connections at once, and then not for twenty times as long: the lines that came meanwhile wait in the log
//! service, and share a look. Where nothing is asked it looks from time to time, to know later what was there before.
//! Invariant: a look is younger than each line for which it is used.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::autoban::daemon::voice::{NOTICE, say};
use crate::autoban::witness::Witnessed;
use crate::autoban::witness::received::{LATE, Received, Seen};
use crate::sys::clock::{Stopwatch, pause, rfc3339, unix_millis};
use crate::sys::netlink::connections::Connections;

/// Between two looks at the least.
const PAUSE: Duration = Duration::from_millis(5);
/// As many times as long as a look took, but no longer than that: who is jailed now should be jailed soon.
const SHARE: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A look is not used for longer than this, whatever becomes of the wall clock.
const OLDEST: Duration = Duration::from_secs(1);

/// It looks so often where nothing is asked, and keeps what it saw from then on: half the time that a line may be late.
pub const REST: Duration = Duration::from_millis(LATE as u64 / 2);

type Connected = HashMap<SocketAddr, Seen>;

/// What was seen last.
struct Look {
    /// When it began, as the log service writes it and by our own clock.
    moment: String,
    since: Stopwatch,
    took: Duration,
    connections: Connected,
}

pub struct Sight {
    kernel: Option<Connections>,
    last: Option<Look>,
    /// What was there one to two rests ago, and up to one; since when.
    before: [Option<Connected>; 2],
    turned: Stopwatch,
    received: Received,
    /// Since it began to see.
    clock: Stopwatch,
    /// That the kernel tells nothing was told.
    is_told: bool,
}

impl Sight {
    pub fn new() -> Sight {
        Sight {
            kernel: None,
            last: None,
            before: [None, None],
            turned: Stopwatch::start(),
            received: Received::default(),
            clock: Stopwatch::start(),
            is_told: false,
        }
    }

    /// Looks, if it has not for a while.
    pub fn rest(&mut self) {
        let is_fresh = |look: &Look| look.since.elapsed() < REST;
        if !self.last.as_ref().is_some_and(is_fresh) {
            self.look();
        }
    }

    /// Marks the senders over whose connection it can have come. The line is of this moment.
    pub fn mark(&mut self, witnessed: &mut Witnessed, line: &str) {
        let is_of_use = |look: &Look| look.moment.as_str() > line && look.since.elapsed() < OLDEST;
        if !self.last.as_ref().is_some_and(is_of_use) {
            self.look();
        }
        let Some(look) = &self.last else {
            return;
        };
        let moment = look.since.began().saturating_sub(self.clock.began());
        let moment = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
        for sender in &mut witnessed.senders {
            let Some(seen) = look.connections.get(&sender.place) else {
                continue;
            };
            let [before, _] = &self.before;
            // Who was not there has sent all of it since.
            let received = |before: &Connected| {
                let same = before.get(&sender.place);
                let same = same.filter(|same| same.cookie == seen.cookie);
                same.map_or(0, |same| same.received)
            };
            let before = before.as_ref().map(received);
            let (place, bytes) = (sender.place, witnessed.bytes);
            sender.has_sent = self.received.claim(place, *seen, before, bytes, moment);
        }
    }

    fn look(&mut self) {
        if let Some(last) = self.last.take() {
            let rest = (last.took * SHARE).clamp(PAUSE, LONGEST_PAUSE);
            pause(rest.saturating_sub(last.since.elapsed()));
        }
        // The line's own millisecond is not over yet, perhaps: one more is.
        pause(Duration::from_millis(1));
        let (since, moment) = (Stopwatch::start(), rfc3339(unix_millis()));
        let found = match &mut self.kernel {
            Some(kernel) => kernel.look(),
            none => Connections::open().and_then(|kernel| none.insert(kernel).look()),
        };
        let found = found.unwrap_or_else(|why| {
            self.kernel = None;
            if !std::mem::replace(&mut self.is_told, true) {
                say(
                    NOTICE,
                    &format!(
                        "cannot ask the kernel for connections: {why}\nhint: who sends bytes that are no text over TCP is closed out later, or over UDP only, until the kernel has `tcp_diag`"
                    ),
                );
            }
            Vec::new()
        });
        let seen = found.into_iter().map(|connection| {
            let seen = Seen {
                cookie: connection.cookie,
                received: connection.received,
                idle: connection.idle,
            };
            (connection.peer, seen)
        });
        let connections: Connected = seen.collect();
        self.turn(&connections);
        self.last = Some(Look {
            moment,
            took: since.elapsed(),
            since,
            connections,
        });
    }

    /// Keeps what is there now, for later.
    fn turn(&mut self, now: &Connected) {
        let age = self.turned.elapsed();
        if age < REST && self.before[1].is_some() {
            return;
        }
        let [_, newer] = std::mem::take(&mut self.before);
        // After a gap nobody knows what came when.
        let older = newer.filter(|_| age < REST * 2);
        self.before = [older.or_else(|| Some(now.clone())), Some(now.clone())];
        self.turned = Stopwatch::start();
    }
}
