//! What a timer is, and when it is due: pure arithmetic over what the supervisor remembers.
//!
//! Invariant: `due` asks nobody; the clock, the local offset and the dice are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};

use super::calendar::Calendar;

/// One timer unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TimerSpec {
    /// Unit name without its suffix.
    pub name: String,
    /// The service that it starts, without suffix.
    #[serde(rename = "Unit")]
    pub service: String,
    #[serde(rename = "OnCalendar")]
    pub calendars: Vec<Calendar>,
    /// After the appliance's start (`OnBootSec=`, `OnStartupSec=`, `OnActiveSec=`); once each.
    #[serde(rename = "OnBootSec")]
    pub after_boot: Vec<Duration>,
    /// After the service's last start (`OnUnitActiveSec=`).
    #[serde(rename = "OnUnitActiveSec")]
    pub after_start: Vec<Duration>,
    /// After the service's last end (`OnUnitInactiveSec=`).
    #[serde(rename = "OnUnitInactiveSec")]
    pub after_end: Vec<Duration>,
    /// Each elapse is put off by a random time up to this.
    #[serde(rename = "RandomizedDelaySec")]
    pub random_delay: Duration,
    /// A calendar moment that passed while the appliance was down is made up for.
    pub persistent: bool,
}

/// What the supervisor remembers when it asks for the next moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    pub now: OffsetDateTime,
    /// When PID 1 started.
    pub booted: OffsetDateTime,
    /// When the timer's service was last started; may be before `booted` if it was kept in the volume.
    pub last_start: Option<OffsetDateTime>,
    /// When its last run since `booted` ended; `None` while it runs or when it never ran.
    pub last_end: Option<OffsetDateTime>,
}

impl TimerSpec {
    /// When the service is to be started next; a moment that has passed means now. `random` of
    /// `u32::MAX` gives the whole `random_delay`. `None`: never again by itself.
    ///
    /// To be asked when the appliance starts and after each start and end of the service, never in between:
    /// every answer draws its own delay.
    pub fn due(&self, history: &History, local: UtcOffset, random: u32) -> Option<OffsetDateTime> {
        let History {
            now,
            booted,
            last_start,
            last_end,
        } = *history;
        let this_life = last_start.filter(|start| *start >= booted);
        let calendar_base = if self.persistent {
            last_start.map_or(now, |start| start.min(now))
        } else {
            now
        };
        let calendars = self
            .calendars
            .iter()
            .filter_map(|calendar| calendar.next_after(calendar_base, local))
            // A missed moment is made up for after the start, with the delay counted from there.
            .map(|moment| moment.max(booted));
        let once = self
            .after_boot
            .iter()
            .filter_map(|span| later(booted, *span))
            .filter(|moment| this_life.is_none_or(|start| start < *moment));
        let again = |base: Option<OffsetDateTime>, spans: &[Duration]| {
            let spans = spans.to_vec();
            spans.into_iter().filter_map(move |span| later(base?, span))
        };
        let next = calendars
            .chain(once)
            .chain(again(this_life, &self.after_start))
            .chain(again(last_end, &self.after_end))
            .min()?;
        later(next, self.delay(random))
    }

    fn delay(&self, random: u32) -> Duration {
        let whole = self.random_delay.as_millis();
        let part = whole * u128::from(random) / u128::from(u32::MAX);
        Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

fn later(moment: OffsetDateTime, span: Duration) -> Option<OffsetDateTime> {
    moment.checked_add(time::Duration::try_from(span).ok()?)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::units::calendar;

    fn timer(expression: &str) -> TimerSpec {
        TimerSpec {
            name: "t".into(),
            service: "t".into(),
            calendars: vec![calendar::parse(expression).unwrap()],
            after_boot: vec![],
            after_start: vec![],
            after_end: vec![],
            random_delay: Duration::ZERO,
            persistent: false,
        }
    }

    fn fresh(booted: OffsetDateTime) -> History {
        History {
            now: booted,
            booted,
            last_start: None,
            last_end: None,
        }
    }

    #[test]
    fn a_calendar_moment_is_put_off_by_the_dice() {
        let mut timer = timer("00:15");
        timer.random_delay = Duration::from_secs(3600);
        let history = fresh(datetime!(2026-01-01 12:00 UTC));
        let due = |random| timer.due(&history, UtcOffset::UTC, random);
        assert_eq!(due(0), Some(datetime!(2026-01-02 00:15 UTC)));
        assert_eq!(due(u32::MAX), Some(datetime!(2026-01-02 01:15 UTC)));
    }

    #[test]
    fn only_a_persistent_timer_makes_up_for_what_it_missed() {
        let mut timer = timer("00:15");
        let history = History {
            last_start: Some(datetime!(2025-12-30 00:20 UTC)),
            ..fresh(datetime!(2026-01-01 12:00 UTC))
        };
        let tomorrow = Some(datetime!(2026-01-02 00:15 UTC));
        assert_eq!(timer.due(&history, UtcOffset::UTC, 0), tomorrow);
        timer.persistent = true;
        assert_eq!(timer.due(&history, UtcOffset::UTC, 0), Some(history.booted));
        let caught_up = History {
            last_start: Some(history.booted),
            ..history
        };
        assert_eq!(timer.due(&caught_up, UtcOffset::UTC, 0), tomorrow);
        let first_ever = fresh(history.booted);
        assert_eq!(timer.due(&first_ever, UtcOffset::UTC, 0), tomorrow);
    }

    #[test]
    fn spans_count_from_the_start_and_from_the_service() {
        let mut timer = timer("2000-01-01");
        timer.after_boot = vec![Duration::from_secs(60)];
        timer.after_start = vec![Duration::from_secs(600)];
        let history = fresh(datetime!(2026-01-01 12:00 UTC));
        let first = datetime!(2026-01-01 12:01 UTC);
        assert_eq!(timer.due(&history, UtcOffset::UTC, 0), Some(first));
        let ran = History {
            now: first,
            last_start: Some(first),
            ..history
        };
        assert_eq!(
            timer.due(&ran, UtcOffset::UTC, 0),
            Some(datetime!(2026-01-01 12:11 UTC))
        );
        timer.after_start.clear();
        assert_eq!(timer.due(&ran, UtcOffset::UTC, 0), None);
    }
}
