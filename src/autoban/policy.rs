//! How much is enough, and how long it costs.
//!
//! Pure. Invariant: weak evidence never costs more than [`LONGEST_WEAK`], and no sentence is longer than [`LONGEST`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest that sentence and parole last together; the predecessor's `TIME_MAXSEC`.
pub const LONGEST: Duration = Duration::from_secs(99_999_999);

/// The longest that weak evidence closes SIP over UDP.
pub const LONGEST_WEAK: Duration = Duration::from_secs(300);

/// What decides. The defaults are the predecessor's where it had them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// This many events within `watchtime` are enough.
    pub maxcount: u32,
    pub watchtime: Duration,
    pub jailtime: Duration,
    /// In thousandths: how many times longer each further sentence is.
    pub repeatmult: u32,
    /// How long weak evidence closes SIP over UDP.
    pub weaktime: Duration,
    /// How long a success makes a source trusted.
    pub trusttime: Duration,
    /// This many strong sentences within `aggregatetime` ban the network around them.
    pub aggregatecount: u32,
    pub aggregatetime: Duration,
    /// The most sources that are watched.
    pub maxwatch: u32,
    /// The most sources of each family in jail or on parole, and as many with weak bans.
    pub maxjail: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            maxcount: 10,
            watchtime: Duration::from_secs(20 * 60),
            jailtime: Duration::from_secs(20 * 60),
            repeatmult: 6000,
            weaktime: Duration::from_secs(2 * 60),
            trusttime: Duration::from_secs(24 * 3600),
            aggregatecount: 8,
            aggregatetime: Duration::from_secs(3600),
            maxwatch: 262_144,
            maxjail: 65_536,
        }
    }
}

/// A trusted source needs this many times the evidence.
pub const TRUSTED_FACTOR: u32 = 3;

impl Policy {
    /// The time in jail of a level, from 1.
    #[must_use]
    pub fn sentence(&self, level: u8) -> Duration {
        let most = LONGEST.saturating_sub(self.parole_after());
        let mut time = u64::try_from(self.jailtime.as_millis()).unwrap_or(u64::MAX);
        for _ in 1..level {
            time = time.saturating_mul(u64::from(self.repeatmult)) / 1000;
            if u128::from(time) > most.as_millis() {
                return most;
            }
        }
        Duration::from_millis(time).min(most)
    }

    /// How long a source stays on parole after its sentence.
    #[must_use]
    pub fn parole_after(&self) -> Duration {
        self.watchtime.min(LONGEST / 2)
    }

    /// The time of a weak ban, whatever was asked for.
    #[must_use]
    pub fn weak_sentence(&self) -> Duration {
        self.weaktime.min(LONGEST_WEAK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_grow_as_the_predecessors() {
        let policy = Policy::default();
        let minutes: Vec<u64> = (1..=4).map(|l| policy.sentence(l).as_secs() / 60).collect();
        assert_eq!(minutes, [20, 120, 720, 4320]);
        assert_eq!(policy.sentence(255), LONGEST - policy.watchtime);
    }

    #[test]
    fn a_weak_ban_is_short_whatever_is_asked() {
        let policy = Policy {
            weaktime: Duration::from_secs(86_400),
            ..Policy::default()
        };
        assert_eq!(policy.weak_sentence(), LONGEST_WEAK);
    }
}
