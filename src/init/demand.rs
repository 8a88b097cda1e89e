//! How often connections may start a service, and whether a service takes what waits on its sockets.
//!
//! Pure: moments are durations since PID 1 started. Invariant: a service that fails at each start is started by its
//! connections no faster than the back-off allows, however many of them wait.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::service::Moment;

/// The first pause after a second failure in a row; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so long in service earlier failures are forgotten.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How long a connection may wait on a socket of a service that is in service.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// A busy service may have just another one waiting: it is looked at once more.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What a knock leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    Start,
    /// More than the trigger limit allows; nobody is heard for this long.
    TooMany {
        pause: Duration,
    },
}

/// The knocking at the door of one service.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Demand {
    /// Ordered down: connections wait until an order starts it again.
    pub is_closed: bool,
    knocks: Vec<Moment>,
    failures: u32,
    deaf_until: Option<Moment>,
}

impl Demand {
    /// A connection waits while the service is down.
    pub fn knock(&mut self, now: Moment, interval: Duration, burst: u32) -> Knock {
        self.knocks.push(now);
        self.knocks
            .retain(|knock| now.saturating_sub(*knock) <= interval);
        let count = u32::try_from(self.knocks.len()).unwrap_or(u32::MAX);
        if burst == 0 || interval.is_zero() || count <= burst {
            return Knock::Start;
        }
        self.knocks.clear();
        self.deaf_until = Some(now.saturating_add(LONGEST_PAUSE));
        Knock::TooMany {
            pause: LONGEST_PAUSE,
        }
    }

    /// The service has ended without an order.
    pub fn ended(&mut self, is_success: bool, ran_for: Duration, now: Moment) {
        if is_success || ran_for >= STABLE_AFTER {
            self.failures = 0;
        }
        if is_success {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures > 1 {
            let doublings = (self.failures - 2).min(16);
            let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
            self.deaf_until = Some(now.saturating_add(pause));
        }
    }

    /// Whether a connection is heard now.
    pub fn hears(&self, now: Moment) -> bool {
        !self.is_closed && self.deaf_until.is_none_or(|until| until <= now)
    }

    /// When `hears` will change.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        self.deaf_until
            .filter(|until| *until > now && !self.is_closed)
    }
}

/// What is known of one socket while its service is in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Nobody has knocked yet.
    Unknown,
    /// Somebody knocked; looked at again at `until`.
    Waiting { until: Moment, is_second: bool },
    /// The service takes what comes.
    Taken,
    /// Connections wait and the service takes none.
    Unused,
}

impl Use {
    /// The first connection.
    pub fn knocked(now: Moment) -> Use {
        Use::Waiting {
            until: now.saturating_add(TAKEN_WITHIN),
            is_second: false,
        }
    }

    /// At its deadline: does something wait there still?
    pub fn looked_at(self, is_waiting: bool, now: Moment) -> Use {
        match self {
            Use::Waiting { .. } if !is_waiting => Use::Taken,
            Use::Waiting {
                is_second: true, ..
            } => Use::Unused,
            Use::Waiting { .. } => Use::Waiting {
                until: now.saturating_add(SECOND_LOOK),
                is_second: true,
            },
            known => known,
        }
    }

    pub fn deadline(self) -> Option<Moment> {
        match self {
            Use::Waiting { until, .. } => Some(until),
            Use::Unknown | Use::Taken | Use::Unused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_of_knocks_is_heard_and_then_no_more() {
        let mut demand = Demand::default();
        for _ in 0..3 {
            assert_eq!(demand.knock(SECOND, 2 * SECOND, 3), Knock::Start);
        }
        let pause = LONGEST_PAUSE;
        assert_eq!(
            demand.knock(SECOND, 2 * SECOND, 3),
            Knock::TooMany { pause }
        );
        assert!(!demand.hears(SECOND * 30));
        assert_eq!(demand.deadline(SECOND * 30), Some(SECOND * 31));
        assert!(demand.hears(SECOND * 31));
        assert_eq!(demand.knock(SECOND * 31, 2 * SECOND, 3), Knock::Start);
    }

    #[test]
    fn knocks_apart_are_never_too_many_and_zero_is_no_limit() {
        let mut demand = Demand::default();
        for at in 0..100 {
            assert_eq!(demand.knock(SECOND * 3 * at, 2 * SECOND, 1), Knock::Start);
        }
        for _ in 0..100 {
            assert_eq!(demand.knock(SECOND * 500, 2 * SECOND, 0), Knock::Start);
        }
    }

    #[test]
    fn a_service_that_fails_at_each_start_is_started_in_ever_longer_intervals() {
        let mut demand = Demand::default();
        let mut now = SECOND;
        let mut starts = 0;
        while now < SECOND * 3600 {
            assert!(demand.hears(now));
            assert_eq!(demand.knock(now, 2 * SECOND, 20), Knock::Start);
            starts += 1;
            demand.ended(false, Duration::from_millis(1), now);
            now = demand.deadline(now).unwrap_or(now);
        }
        assert!((110..140).contains(&starts), "{starts}");
        demand.ended(true, Duration::ZERO, now);
        demand.ended(false, Duration::ZERO, now + LONGEST_PAUSE);
        assert!(
            demand.hears(now + LONGEST_PAUSE),
            "a success forgets the failures"
        );
    }

    #[test]
    fn an_order_to_stop_closes_the_door() {
        let demand = Demand {
            is_closed: true,
            ..Demand::default()
        };
        assert!(!demand.hears(SECOND));
    }

    #[test]
    fn a_socket_is_unused_only_when_something_waits_at_both_looks() {
        let knocked = Use::knocked(SECOND);
        assert_eq!(knocked.deadline(), Some(SECOND * 6));
        assert_eq!(knocked.looked_at(false, SECOND * 6), Use::Taken);
        let second = knocked.looked_at(true, SECOND * 6);
        assert_eq!(second.deadline(), Some(SECOND * 7));
        assert_eq!(second.looked_at(false, SECOND * 7), Use::Taken);
        assert_eq!(second.looked_at(true, SECOND * 7), Use::Unused);
        assert_eq!(Use::Taken.looked_at(true, SECOND * 9), Use::Taken);
    }
}
