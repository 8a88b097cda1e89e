//! How much is said of what others can repeat at will: so many lines in a time, then one that says that it is enough.
//!
//! Pure. PID 1's own pipe to the log is small: without this a flood of notifications would cost the lines that matter.

use std::time::Duration;

use super::service::Moment;

/// So many lines are said ...
pub const MOST_LINES: u32 = 20;
/// ... in this time.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What to do with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Say,
    /// The first one too many: say that there are too many.
    SayEnough,
    Silence,
}

/// The lines of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flood {
    since: Moment,
    lines: u32,
}

impl Flood {
    pub fn judge(&mut self, now: Moment) -> Verdict {
        if now.saturating_sub(self.since) >= WINDOW {
            self.since = now;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        match self.lines.cmp(&(MOST_LINES + 1)) {
            std::cmp::Ordering::Less => Verdict::Say,
            std::cmp::Ordering::Equal => Verdict::SayEnough,
            std::cmp::Ordering::Greater => Verdict::Silence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_in_a_window() {
        let mut flood = Flood::default();
        let at = Duration::from_secs;
        let verdicts: Vec<Verdict> = (0..10_000).map(|_| flood.judge(at(5))).collect();
        let count = |verdict| verdicts.iter().filter(|v| **v == verdict).count();
        assert_eq!(count(Verdict::Say), 20);
        assert_eq!(count(Verdict::SayEnough), 1);
        assert_eq!(flood.judge(at(9)), Verdict::Silence);
        assert_eq!(flood.judge(at(10)), Verdict::Say);
    }
}
