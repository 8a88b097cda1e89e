//! Whether a request that the log speaks of can have come over a connection, by the kernel's word.
//!
//! It looks at all connections at once, and then not for twenty times as long: the lines that came meanwhile wait in the log
//! service, and share a look. Invariant: a look is younger than each line for which it is used.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::autoban::daemon::voice::{NOTICE, say};
use crate::autoban::witness::Witnessed;
use crate::autoban::witness::received::{Received, Seen};
use crate::sys::clock::{Stopwatch, pause, rfc3339, unix_millis};
use crate::sys::netlink::connections::Connections;

/// Between two looks at the least.
const PAUSE: Duration = Duration::from_millis(50);
/// As many times as long as a look took, but no longer than that: who is jailed now should be jailed soon.
const SHARE: u32 = 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A look is not used for longer than this, whatever becomes of the wall clock.
const OLDEST: Duration = Duration::from_secs(1);

/// What was seen last.
struct Look {
    /// When it began, as the log service writes it and by our own clock.
    moment: String,
    since: Stopwatch,
    took: Duration,
    connections: HashMap<SocketAddr, Seen>,
}

pub struct Sight {
    kernel: Option<Connections>,
    last: Option<Look>,
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
            received: Received::default(),
            clock: Stopwatch::start(),
            is_told: false,
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
            sender.has_sent = look.connections.get(&sender.place).is_some_and(|seen| {
                self.received
                    .claim(sender.place, *seen, witnessed.bytes, moment)
            });
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
        self.last = Some(Look {
            moment,
            took: since.elapsed(),
            since,
            connections: seen.collect(),
        });
    }
}
