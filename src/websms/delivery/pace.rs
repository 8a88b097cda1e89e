//! How soon: the pause before a repetition, and a carrier's pace.
//!
//! Pure. Invariant: a pause grows with each try, to an hour; no burst is larger than the bucket.

use super::{HOUR, Moment};

const FIRST: i64 = 5_000;

/// The pause in milliseconds after so many failed tries: 5 s, doubled each time, an hour at most. `jitter` is -20..=20
/// percent. Who was asked to wait longer waits longer.
pub fn pause(tries: u32, jitter: i8, asked: Option<i64>) -> i64 {
    let doublings = tries.saturating_sub(1).min(16);
    let percent = 100 + i64::from(jitter.clamp(-20, 20));
    let own = ((FIRST << doublings).min(HOUR) * percent / 100).min(HOUR);
    // A carrier cannot hold a message for ever: its validity counts on.
    own.max(asked.unwrap_or(0).min(24 * HOUR))
}

/// Tokens that come at a steady rate; a message takes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    /// Milliseconds for one token; none if there is no limit.
    interval: Option<f64>,
    size: f64,
    tokens: f64,
    at: Moment,
}

impl Bucket {
    /// A full bucket: `rate` messages a second, no limit without one. It holds one second's worth, and at least one.
    pub fn new(rate: Option<f64>, now: Moment) -> Bucket {
        let rate = rate.filter(|rate| rate.is_finite() && *rate > 0.0);
        let size = rate.unwrap_or(1.0).max(1.0);
        Bucket {
            interval: rate.map(|rate| 1000.0 / rate),
            size,
            tokens: size,
            at: now,
        }
    }

    /// Takes one token. Otherwise says when there will be one.
    pub fn take(&mut self, now: Moment) -> Result<(), Moment> {
        let Some(interval) = self.interval else {
            return Ok(());
        };
        // A clock that was set back gives nothing, and takes nothing.
        let passed = (now - self.at).max(0) as f64;
        self.at = now;
        self.tokens = (self.tokens + passed / interval).min(self.size);
        // What the sum of small times lacks for a whole token is no reason to wait again.
        if self.tokens >= 1.0 - 1e-6 {
            self.tokens = (self.tokens - 1.0).max(0.0);
            return Ok(());
        }
        let missing = ((1.0 - self.tokens) * interval).ceil();
        Err(now.saturating_add((missing as i64).max(1)))
    }
}
