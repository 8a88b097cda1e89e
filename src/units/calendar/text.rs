//! Calendar expressions as text: `[weekdays] [date] [time] [UTC]` and the shorthands.

use std::fmt;

use super::field::Field;
use super::{Calendar, FIRST_YEAR, LAST_YEAR, WEEKDAYS};

const SHORTHANDS: [(&str, &str); 9] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

const EVERY_DAY: u8 = 0x7f;

/// Reads one expression.
pub fn parse(text: &str) -> Result<Calendar, String> {
    let given = text.trim();
    let mut words: Vec<&str> = given.split_whitespace().collect();
    let utc = words
        .last()
        .is_some_and(|word| word.eq_ignore_ascii_case("utc"));
    if utc {
        words.pop();
    }
    if let [word] = words.as_slice()
        && let Some((_, meaning)) = SHORTHANDS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
    {
        words = meaning.split_whitespace().collect();
    }
    let mut rest = words.as_slice();
    let mut weekdays = EVERY_DAY;
    let mut calendar = midnights();
    if rest.is_empty() {
        return Err("an empty expression says no time; write for example `daily`".to_owned());
    }
    if let [first, tail @ ..] = rest
        && first.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        weekdays = read_weekdays(first)?;
        rest = tail;
    }
    if let [first, tail @ ..] = rest
        && !first.contains(':')
    {
        read_date(&mut calendar, first)?;
        rest = tail;
    }
    if let [first, tail @ ..] = rest
        && first.contains(':')
    {
        read_time(&mut calendar, first)?;
        rest = tail;
    }
    if let [first, ..] = rest {
        return Err(
            if first.contains('/') && first.contains(|c: char| c.is_alphabetic()) {
                format!("time zones such as `{first}` are not supported; write local time or `UTC`")
            } else {
                format!("`{first}` is out of place; the order is weekdays, date, time, `UTC`")
            },
        );
    }
    Ok(Calendar {
        weekdays,
        utc,
        ..calendar
    })
}

fn midnights() -> Calendar {
    Calendar {
        weekdays: EVERY_DAY,
        year: Field::default(),
        month: Field::default(),
        day: Field::default(),
        from_end: false,
        hour: Field::only(0),
        minute: Field::only(0),
        second: Field::only(0),
        utc: false,
    }
}

/// `Mon,Wed..Fri`; a comma at the end is allowed, as in systemd.
fn read_weekdays(text: &str) -> Result<u8, String> {
    let number = |name: &str| {
        WEEKDAYS
            .iter()
            .position(|(day, short)| {
                name.eq_ignore_ascii_case(short) || name.eq_ignore_ascii_case(&day.to_string())
            })
            .ok_or_else(|| {
                format!("`{name}` is neither a weekday such as `Mon` nor a word such as `daily`")
            })
    };
    let mut bits = 0;
    for part in text.strip_suffix(',').unwrap_or(text).split(',') {
        let range = part.split_once("..").or_else(|| part.split_once('-'));
        let (first, last) = match range {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(format!(
                "the range `{part}` ends before it begins; a week begins with Monday"
            ));
        }
        bits |= (first..=last).fold(0, |bits, day| bits | 1 << day);
    }
    Ok(bits)
}

/// `[year-]month-day`, or `[year-]month~day` from the end of the month.
fn read_date(calendar: &mut Calendar, text: &str) -> Result<(), String> {
    let bad = || format!("`{text}` is not a date such as `*-*-01`, nor a time such as `03:00`");
    let (rest, day) = match text.split_once('~') {
        Some((rest, day)) => {
            calendar.from_end = true;
            (rest, day)
        }
        None => text.rsplit_once('-').ok_or_else(bad)?,
    };
    let (year, month) = rest.rsplit_once('-').unwrap_or(("*", rest));
    let (first, last) = (FIRST_YEAR.unsigned_abs(), LAST_YEAR.unsigned_abs());
    let bounds = u16::try_from(first).ok().zip(u16::try_from(last).ok());
    let (first, last) = bounds.ok_or_else(bad)?;
    calendar.year = Field::read(year, "year", first, last)?;
    calendar.month = Field::read(month, "month", 1, 12)?;
    calendar.day = if calendar.from_end {
        Field::read_from_end(day)?
    } else {
        Field::read(day, "day", 1, 31)?
    };
    Ok(())
}

/// `hour:minute[:second]`.
fn read_time(calendar: &mut Calendar, text: &str) -> Result<(), String> {
    let mut parts = text.split(':');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (hour, minute, second) = (part(), part(), part());
    let (Some(hour), Some(minute)) = (hour, minute) else {
        return Err(format!(
            "`{text}` is not a time such as `03:00` or `*:0/15`"
        ));
    };
    if text.split(':').count() > 3 || (text.split(':').count() == 3 && second.is_none()) {
        return Err(format!("`{text}` is not hours, minutes and seconds"));
    }
    if let Some(second) = second {
        if second.replace("..", "").contains('.') {
            return Err(format!(
                "`{second}` has a fraction of a second; whole ones only"
            ));
        }
        calendar.second = Field::read(second, "second", 0, 59)?;
    }
    calendar.hour = Field::read(hour, "hour", 0, 23)?;
    calendar.minute = Field::read(minute, "minute", 0, 59)?;
    Ok(())
}

/// The full form, which reads back as the same value.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.weekdays != EVERY_DAY {
            write!(f, "{} ", weekday_list(self.weekdays))?;
        }
        write!(
            f,
            "{}-{}{}{} {}:{}:{}",
            self.year.show(4),
            self.month.show(2),
            if self.from_end { '~' } else { '-' },
            self.day.show(2),
            self.hour.show(2),
            self.minute.show(2),
            self.second.show(2)
        )?;
        if self.utc {
            f.write_str(" UTC")?;
        }
        Ok(())
    }
}

/// Three and more days in a row are a range.
fn weekday_list(bits: u8) -> String {
    let mut runs: Vec<Vec<&str>> = Vec::new();
    let mut previous_set = false;
    for (index, (_, name)) in WEEKDAYS.iter().enumerate() {
        let set = bits & 1 << index != 0;
        match runs.last_mut() {
            Some(run) if set && previous_set => run.push(name),
            _ if set => runs.push(vec![name]),
            _ => {}
        }
        previous_set = set;
    }
    let texts: Vec<String> = runs
        .iter()
        .map(|run| match run.as_slice() {
            [first, _, .., last] => format!("{first}..{last}"),
            few => few.join(","),
        })
        .collect();
    texts.join(",")
}
