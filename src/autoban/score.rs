//! What is held against one source within the watch time.
//!
//! Pure, and O(1): two windows of one watch time each, the running one and the one before it, are summed. So no event of the
//! last watch time is ever missed, and none counts after two. Invariant: for a stranger each event weighs the same, so it is
//! jailed at exactly the configured count.

use super::evidence::{Evidence, Grade, Kind};

/// Weights are quarters of one event.
pub const ONE: u16 = 4;

/// Weights that a trusted source's strong evidence has: a phone with a stale password repeats itself, a guesser does not.
const REPEATED: u16 = 1;
const ANOTHER_ACCOUNT: u16 = 8;

/// The counters of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// When the running window began, in milliseconds.
    began: i64,
    /// The running window and the one before, in quarters.
    strong: [u16; 2],
    weak: [u16; 2],
    /// The accounts and failures that came last; 0 is none.
    seen: [u16; 4],
}

impl Score {
    #[must_use]
    pub fn new(now: i64) -> Score {
        Score {
            began: now,
            ..Score::default()
        }
    }

    /// Counts one event.
    pub fn add(&mut self, evidence: &Evidence, is_trusted: bool, now: i64, window: i64) {
        self.roll(now, window);
        let mark = mark(evidence.account, evidence.kind);
        let is_repeated = self.seen.contains(&mark);
        let weight = match (is_trusted, is_repeated) {
            (false, _) => ONE,
            (true, true) => REPEATED,
            (true, false) if self.seen == [0; 4] => ONE,
            (true, false) => ANOTHER_ACCOUNT,
        };
        if !is_repeated {
            self.seen.rotate_right(1);
            self.seen[0] = mark;
        }
        match evidence.grade {
            Grade::Strong => self.strong[0] = self.strong[0].saturating_add(weight),
            Grade::Weak => self.weak[0] = self.weak[0].saturating_add(ONE),
        }
    }

    fn roll(&mut self, now: i64, window: i64) {
        let age = now - self.began;
        if age < window {
            return;
        }
        let is_next = age < window.saturating_mul(2);
        for counter in [&mut self.strong, &mut self.weak] {
            *counter = [0, if is_next { counter[0] } else { 0 }];
        }
        self.began = if is_next { self.began + window } else { now };
    }

    /// The strong sum, in quarters.
    #[must_use]
    pub fn strong(&self) -> u32 {
        self.strong.iter().map(|n| u32::from(*n)).sum()
    }

    /// The weak sum, in quarters.
    #[must_use]
    pub fn weak(&self) -> u32 {
        self.weak.iter().map(|n| u32::from(*n)).sum()
    }

    /// How many accounts and failures were told apart, up to 4.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.seen.iter().filter(|mark| **mark != 0).count()
    }

    pub fn forget_weak(&mut self) {
        self.weak = [0; 2];
    }

    /// Whether nothing of it counts any more.
    #[must_use]
    pub fn is_over(&self, now: i64, window: i64) -> bool {
        now - self.began >= window.saturating_mul(2)
    }
}

/// An account and a failure in 16 bits, never 0.
fn mark(account: u32, kind: Kind) -> u16 {
    let mixed = (account ^ (kind as u32)).wrapping_mul(0x9e37_79b1);
    ((mixed >> 16) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 1000;

    fn evidence(grade: Grade, account: u32) -> Evidence {
        Evidence {
            address: [192, 0, 2, 7].into(),
            grade,
            kind: Kind::WrongPassword,
            account,
        }
    }

    #[test]
    fn a_strangers_events_weigh_the_same() {
        let mut score = Score::new(0);
        for n in 1..=9u32 {
            score.add(
                &evidence(Grade::Strong, n % 2),
                false,
                i64::from(n) * 100,
                WINDOW,
            );
            assert_eq!(score.strong(), n * 4);
        }
        // Within one watch time of the tenth, whichever window they fell into.
        score.add(&evidence(Grade::Strong, 1), false, 1099, WINDOW);
        assert_eq!(score.strong(), 40);
    }

    #[test]
    fn old_events_are_forgotten() {
        let mut score = Score::new(0);
        score.add(&evidence(Grade::Weak, 1), false, 0, WINDOW);
        score.add(&evidence(Grade::Weak, 1), false, 1500, WINDOW);
        assert_eq!(score.weak(), 8);
        score.add(&evidence(Grade::Weak, 1), false, 2500, WINDOW);
        assert_eq!(score.weak(), 8);
        assert!(!score.is_over(3999, WINDOW));
        assert!(score.is_over(4000, WINDOW));
        score.add(&evidence(Grade::Weak, 1), false, 9000, WINDOW);
        assert_eq!((score.weak(), score.strong()), (4, 0));
    }

    #[test]
    fn a_stale_phone_weighs_less_and_a_guesser_more_where_somebody_is_trusted() {
        let mut phone = Score::new(0);
        for _ in 0..10 {
            phone.add(&evidence(Grade::Strong, 1), true, 0, WINDOW);
        }
        assert_eq!(phone.strong(), 4 + 9);
        let mut guesser = Score::new(0);
        for account in 1..=10 {
            guesser.add(&evidence(Grade::Strong, account), true, 0, WINDOW);
        }
        assert_eq!(guesser.strong(), 4 + 9 * 8);
        assert_eq!(guesser.accounts(), 4);
    }
}
