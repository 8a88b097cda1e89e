//! What is held against one source within the watch time.
//!
//! Pure, and O(1): two windows of one watch time each, the running one and the one before it, are summed. So no event of the
//! last watch time is ever missed, and none counts after two. Invariant: for a stranger each event weighs the same, so it is
//! jailed at exactly the configured count.

use super::evidence::{Evidence, Grade, Kind};

/// Weights are quarters of one event.
pub const ONE: u16 = 4;

/// Weights that a trusted source's strong evidence has: a phone with a stale password repeats itself, a guesser does not.
const ANOTHER_ACCOUNT: u16 = 8;
/// A repeat that comes too fast for a phone.
const HURRIED: u16 = 1;

/// What one phone repeats within this time weighs nothing, so often as it fits into the watch time.
const PHONES_PAUSE: i64 = 1000;

/// The accounts and failures that are told apart. By default the sixteenth is too much for a trusted source, so before
/// that none of them is taken for a new one twice.
const MARKS: usize = 15;

/// The counters of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// When the running window began, in milliseconds.
    began: i64,
    /// The running window and the one before, in quarters.
    strong: [u16; 2],
    weak: [u16; 2],
    /// How often the running window has seen what it knew, while trusted.
    repeats: u16,
    /// The accounts and failures that came last; 0 is none. Only strong evidence is noted: what can be forged makes no
    /// account known, and crowds out none.
    seen: [u16; MARKS],
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
        match evidence.grade {
            Grade::Strong => {
                let weight = self.weight(mark(evidence.account, evidence.kind), is_trusted, window);
                self.strong[0] = self.strong[0].saturating_add(weight);
            }
            Grade::Weak => self.weak[0] = self.weak[0].saturating_add(ONE),
        }
    }

    /// What strong evidence weighs; its account and failure are known from then on.
    fn weight(&mut self, mark: u16, is_trusted: bool, window: i64) -> u16 {
        let (is_first, is_repeated) = (self.seen == [0; MARKS], self.seen.contains(&mark));
        if !is_repeated {
            self.seen.rotate_right(1);
            self.seen[0] = mark;
        }
        match (is_trusted, is_repeated) {
            (true, true) => {
                self.repeats = self.repeats.saturating_add(1);
                // The counter ends where it would no longer tell.
                let most = (window / PHONES_PAUSE).min(i64::from(u16::MAX) - 1);
                match i64::from(self.repeats) > most {
                    true => HURRIED,
                    false => 0,
                }
            }
            (true, false) if !is_first => ANOTHER_ACCOUNT,
            _ => ONE,
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
        self.repeats = 0;
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

    /// How often a trusted source came up with what was known of it, in the running window.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        u32::from(self.repeats)
    }

    /// How many accounts and failures were told apart in strong evidence, up to 15.
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
            phone.add(&evidence(Grade::Strong, 1), true, 0, 9 * WINDOW);
        }
        assert_eq!((phone.strong(), phone.repeats()), (4, 9));
        // More often than once a second.
        phone.add(&evidence(Grade::Strong, 1), true, 0, 9 * WINDOW);
        assert_eq!((phone.strong(), phone.repeats()), (5, 10));
        phone.add(&evidence(Grade::Strong, 1), true, 9 * WINDOW, 9 * WINDOW);
        assert_eq!((phone.strong(), phone.repeats()), (5, 1));
        let mut guesser = Score::new(0);
        for account in 1..=20 {
            guesser.add(&evidence(Grade::Strong, account), true, 0, WINDOW);
        }
        assert_eq!(guesser.strong(), 4 + 19 * 8);
        assert_eq!(guesser.accounts(), MARKS);
    }

    #[test]
    fn what_can_be_forged_leaves_no_mark() {
        let mut score = Score::new(0);
        for account in 0..100 {
            score.add(&evidence(Grade::Weak, account), true, 0, WINDOW);
        }
        assert_eq!(score.accounts(), 0);
        score.add(&evidence(Grade::Strong, 7), true, 0, WINDOW);
        assert_eq!((score.strong(), score.repeats()), (4, 0));
    }
}
