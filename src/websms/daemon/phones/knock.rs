//! Whether copies can be handed over at all, and when to try again when they cannot.
//!
//! Pure. A closed door is nobody's message's fault: all wait, and the door alone is tried, not each of them. Invariant: while it
//! is shut there is a moment at which it is tried, or a try is under way.

use crate::websms::delivery::Moment;

/// Before the first try, in milliseconds; then twice as long each time.
const FIRST: i64 = 500;
const LONGEST: i64 = 15_000;

/// The state of the door.
#[derive(Debug, Default)]
pub struct Knock {
    /// How long the last pause was; none: it is open.
    pause: Option<i64>,
    at: Option<Moment>,
}

impl Knock {
    pub fn is_shut(&self) -> bool {
        self.pause.is_some()
    }

    /// When to try.
    pub fn deadline(&self) -> Option<Moment> {
        self.at
    }

    /// It is shut. Whether that is news.
    pub fn shut(&mut self, now: Moment) -> bool {
        let is_news = !self.is_shut();
        if is_news {
            self.pause = Some(FIRST);
            self.at = Some(now + FIRST);
        }
        is_news
    }

    /// Whether to try now; then the outcome is to be told.
    pub fn try_now(&mut self, now: Moment) -> bool {
        let is_due = self.at.is_some_and(|at| at <= now);
        if is_due {
            self.at = None;
        }
        is_due
    }

    /// Something happened that may have opened it: try soon.
    pub fn hurry(&mut self, now: Moment) {
        if self.at.is_some() {
            self.at = Some(now);
        }
    }

    /// It was tried, and is shut still.
    pub fn refused(&mut self, now: Moment) {
        let pause = self.pause.map_or(FIRST, |pause| (pause * 2).min(LONGEST));
        self.pause = Some(pause);
        self.at = Some(now + pause);
    }

    pub fn opened(&mut self) {
        *self = Knock::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_door_is_tried_less_and_less_often_and_never_given_up() {
        let mut knock = Knock::default();
        assert!(!knock.is_shut() && !knock.try_now(1_000_000));
        assert!(knock.shut(0));
        assert!(!knock.shut(1), "it was shut before");
        let mut pauses = Vec::new();
        let mut now = 0;
        for _ in 0..8 {
            let at = knock.deadline().expect("a moment");
            assert!(!knock.try_now(at - 1));
            assert!(knock.try_now(at));
            assert!(!knock.try_now(at), "one try at a time");
            pauses.push(at - now);
            now = at;
            knock.refused(now);
        }
        assert_eq!(
            pauses,
            [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]
        );
        knock.hurry(now);
        assert!(knock.try_now(now));
        knock.opened();
        assert!(!knock.is_shut() && knock.deadline().is_none());
        // The next time begins anew.
        knock.shut(now);
        assert_eq!(knock.deadline(), Some(now + FIRST));
    }
}
