//! Calendar expressions (systemd.time(7), "Calendar Events"): when something is due.
//!
//! Pure date arithmetic: the moment and the local offset from UTC arrive as arguments. Time zones by name
//! and fractions of a second are refused. Invariant: every number of a `Calendar` is within its field.

mod field;
mod text;

use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset, Weekday};

use field::Field;
pub use text::parse;

/// The years that an expression may name, as in systemd.
const FIRST_YEAR: i32 = 1970;
const LAST_YEAR: i32 = 2199;

/// Moments that recur: all that match every field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Bit 0 is Monday; all seven mean any day.
    weekdays: u8,
    year: Field,
    month: Field,
    day: Field,
    /// `~`: days count from the end of the month, 1 is the last.
    from_end: bool,
    hour: Field,
    minute: Field,
    second: Field,
    /// Written with `UTC`; otherwise the fields mean local time.
    utc: bool,
}

impl Calendar {
    /// The first moment later than `moment` that matches. `None`: there is none until 2199.
    pub fn next_after(&self, moment: OffsetDateTime, local: UtcOffset) -> Option<OffsetDateTime> {
        let offset = if self.utc { UtcOffset::UTC } else { local };
        let there = moment.checked_to_offset(offset)?;
        let next = self.next_there(PrimitiveDateTime::new(there.date(), there.time()))?;
        Some(next.assume_offset(offset))
    }

    /// Whether the wall clock shows a moment that matches.
    pub fn matches(&self, there: PrimitiveDateTime) -> bool {
        let (hour, minute, second) = there.as_hms();
        there.nanosecond() == 0
            && self.has_date(there.date())
            && self.hour.has(hour.into())
            && self.minute.has(minute.into())
            && self.second.has(second.into())
    }

    fn next_there(&self, after: PrimitiveDateTime) -> Option<PrimitiveDateTime> {
        let from = after
            .replace_nanosecond(0)
            .ok()?
            .checked_add(time::Duration::SECOND)?;
        if self.has_date(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(PrimitiveDateTime::new(from.date(), time));
        }
        let date = self.date_from(from.date().next_day()?)?;
        let time = self.time_from(Time::MIDNIGHT)?;
        Some(PrimitiveDateTime::new(date, time))
    }

    fn has_date(&self, date: Date) -> bool {
        let wanted = 1 << date.weekday().number_days_from_monday();
        self.weekdays & wanted != 0
            && (FIRST_YEAR..=LAST_YEAR).contains(&date.year())
            && self.has_year(date.year())
            && self.month.has(u8::from(date.month()).into())
            && self.has_day(date)
    }

    fn has_year(&self, year: i32) -> bool {
        u16::try_from(year).is_ok_and(|year| self.year.has(year))
    }

    fn has_day(&self, date: Date) -> bool {
        if self.from_end {
            let last = date.month().length(date.year());
            self.day.has_from_end(date.day().into(), last.into())
        } else {
            self.day.has(date.day().into())
        }
    }

    /// The first date that matches, `date` included. Years and months that do not match are leapt over.
    fn date_from(&self, date: Date) -> Option<Date> {
        let mut date = if date.year() < FIRST_YEAR {
            Date::from_calendar_date(FIRST_YEAR, Month::January, 1).ok()?
        } else {
            date
        };
        while date.year() <= LAST_YEAR {
            if !self.has_year(date.year()) {
                date = Date::from_calendar_date(date.year() + 1, Month::January, 1).ok()?;
            } else if !self.month.has(u8::from(date.month()).into()) {
                let last = date.month().length(date.year());
                date = date.replace_day(last).ok()?.next_day()?;
            } else if self.has_date(date) {
                return Some(date);
            } else {
                date = date.next_day()?;
            }
        }
        None
    }

    /// The first time of a day that matches, `from` included.
    fn time_from(&self, from: Time) -> Option<Time> {
        let (first_hour, first_minute, first_second) = from.as_hms();
        for hour in (first_hour..24).filter(|hour| self.hour.has((*hour).into())) {
            let is_first = hour == first_hour;
            let minutes = if is_first { first_minute } else { 0 }..60;
            for minute in minutes.filter(|minute| self.minute.has((*minute).into())) {
                let is_first = is_first && minute == first_minute;
                let mut seconds = if is_first { first_second } else { 0 }..60;
                if let Some(second) = seconds.find(|second| self.second.has((*second).into())) {
                    return Time::from_hms(hour, minute, second).ok();
                }
            }
        }
        None
    }
}

/// Monday to Sunday, as they are written.
const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Mon"),
    (Weekday::Tuesday, "Tue"),
    (Weekday::Wednesday, "Wed"),
    (Weekday::Thursday, "Thu"),
    (Weekday::Friday, "Fri"),
    (Weekday::Saturday, "Sat"),
    (Weekday::Sunday, "Sun"),
];

#[cfg(test)]
mod tests;
