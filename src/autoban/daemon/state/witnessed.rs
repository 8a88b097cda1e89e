//! What the log says of requests of which the manager is not told, and how much it proves.
//!
//! A line names no transport, and one forged packet over UDP can make it: alone it is weak. It is strong against who has a
//! connection over which it can have come ([`verdict`](crate::autoban::witness::verdict)). And `maxcount` weak ones close
//! SIP over UDP to the source, as ever: what still comes after that, and can be nobody else's, has not come over UDP, for the
//! kernel drops that before Asterisk sees it.
//!
//! Invariant: while it is not certain that the kernel drops all SIP over UDP of a source, nothing that the log says of it is
//! strong without a connection. Packets that were on their way when it began to are waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::State;
use crate::autoban::daemon::bystander::{Heard, Tally};
use crate::autoban::daemon::setup;
use crate::autoban::daemon::surroundings::udp_ports;
use crate::autoban::daemon::voice::{NOTICE, WARNING, say};
use crate::autoban::evidence::{Grade, Meaning};
use crate::autoban::witness::verdict::judge;
use tokio::time::Instant;

/// How long a packet may be on its way: in Asterisk's queues, and what it says of it in those of its log.
const ON_ITS_WAY: Duration = Duration::from_secs(5);
/// So many events of which the log said nothing mean that it never does.
const UNTOLD: u64 = 10;

/// How the second witness does.
#[derive(Debug, Default)]
pub struct Witness {
    tally: Option<Arc<Tally>>,
    /// Since when it listens without an interruption.
    since: Option<Instant>,
    /// Why it does not.
    deaf: Option<String>,
    expected: Expected,
    /// The log does not tell of requests that fail.
    is_mute: bool,
    /// A transport of UDP that `sipports` does not name.
    uncovered: Option<u16>,
}

/// Events since it listens of which the log must have said something.
#[derive(Debug, Default)]
struct Expected {
    /// Those since the last tick; a line may be on its way.
    newest: u64,
    before: u64,
}

impl Witness {
    /// An event came of which the log says something, too.
    pub fn expect(&mut self) {
        self.expected.newest += 1;
    }

    /// How it does, in words.
    pub fn word(&self) -> String {
        match (&self.deaf, self.since, self.is_mute) {
            (Some(why), ..) => format!("away: {why}"),
            (None, None, _) => "away: not there yet".to_owned(),
            (None, Some(_), true) => "silent: Asterisk's log does not tell of requests that fail; \
                 logger.conf needs `notice` and `error` on a syslog channel"
                .to_owned(),
            (None, Some(_), false) => "listening".to_owned(),
        }
    }

    pub fn counters(&self) -> Vec<(String, u64)> {
        let Some(tally) = &self.tally else {
            return Vec::new();
        };
        let pairs = [
            ("log lines of failed requests", &tally.failed),
            ("log lines with several senders", &tally.several),
            ("log lines without a sender", &tally.nobody),
            ("log lines lost", &tally.lost),
        ];
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl State {
    /// Takes the numbers of who follows the log.
    pub fn attend(&mut self, tally: Arc<Tally>) {
        self.witness.tally = Some(tally);
    }

    /// What the log has to tell.
    pub fn overhear(&mut self, heard: Heard) {
        match heard {
            Heard::Listening => {
                self.witness.since = Some(Instant::now());
                self.witness.expected = Expected::default();
                self.witness.is_mute = false;
                if self.witness.deaf.take().is_some() {
                    say(NOTICE, "following Asterisk's log again");
                }
            }
            Heard::Deaf(why) => {
                self.witness.since = None;
                say(
                    NOTICE,
                    &format!(
                        "cannot follow Asterisk's log, and goes on without: {why}\nhint: who sends bytes that are no text is not counted until then"
                    ),
                );
                self.witness.deaf = Some(why);
            }
            Heard::Against { .. } if !self.is_on() => {}
            Heard::Against {
                witnessed,
                is_young,
            } => {
                let all = judge(
                    &witnessed,
                    |address| self.ledger.is_free(address, self.now),
                    |address| is_young && self.is_closed(address),
                );
                for evidence in all {
                    let counter = match evidence.grade {
                        Grade::Strong => "witnessed lines strong",
                        Grade::Weak => "witnessed lines weak",
                    };
                    *self.counters.entry(counter).or_default() += 1;
                    self.step(Meaning::Against(evidence));
                }
            }
        }
    }

    /// Whether no packet over UDP from there can be what the log speaks of.
    fn is_closed(&self, address: std::net::IpAddr) -> bool {
        let moment = self.now - i64::try_from(ON_ITS_WAY.as_millis()).unwrap_or(i64::MAX);
        let is_steady = |since: Instant| since.elapsed() >= ON_ITS_WAY;
        self.witness.uncovered.is_none()
            && self.witness.since.is_some_and(is_steady)
            && self.enforcement.is_whole_for(ON_ITS_WAY)
            && self.ledger.is_closed_since(address, moment, self.now)
    }

    /// Whether the kernel closes every port of SIP over UDP when it closes one.
    pub(super) fn look_at_transports(&mut self) {
        let ports = udp_ports(&setup::whole_pjsip(&self.options.paths));
        let uncovered = ports
            .into_iter()
            .find(|port| !self.config.sipports.contains(port));
        if uncovered != self.witness.uncovered
            && let Some(port) = uncovered
        {
            say(
                WARNING,
                &format!(
                    "pjsip.conf has SIP over UDP on port {port}, which AutoBan does not close\nhint: add it to `sipports` in autoban.conf"
                ),
            );
        }
        self.witness.uncovered = uncovered;
    }

    /// A second went by: does the log tell of what the manager tells?
    pub(super) fn check_witness(&mut self) {
        let witness = &mut self.witness;
        let is_told = |tally: &Arc<Tally>| tally.failed.load(Ordering::Relaxed) > 0;
        let expected = &mut witness.expected;
        let is_mute = expected.before >= UNTOLD
            && witness.since.is_some()
            && !witness.tally.as_ref().is_some_and(is_told);
        expected.before += std::mem::take(&mut expected.newest);
        if is_mute != std::mem::replace(&mut witness.is_mute, is_mute) && is_mute {
            say(NOTICE, &format!("the second witness is {}", witness.word()));
        }
    }
}
