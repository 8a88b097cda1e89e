//! What a carrier's answer means: taken, refused for good, or to be tried again.
//!
//! Pure. The status counts first: what is no 2xx is never a success, whatever the body says. A rule of the profile or of
//! `resp_check` must hold, too.
//!
//! Invariant: what people are told of an answer is one line, short, and without control characters.

use std::time::Duration;

use time::{Date, Month, PrimitiveDateTime, Time};

use super::answer::Answer;
use crate::websms::config::{Check, Outbound, Style};
use crate::websms::profile::{Condition, Success};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The carrier has it, under this id if it told one.
    Taken { id: Option<String> },
    /// Trying again does not help.
    Refused { why: String },
    /// To be tried again, not before this time if the carrier said so.
    Later {
        after: Option<Duration>,
        why: String,
    },
}

/// No carrier makes us wait longer.
const LONGEST: u64 = 86_400;

/// Judges an answer. `headers` are names in any case with their values; `now` is seconds since 1970.
#[must_use]
pub fn verdict(
    outbound: &Outbound,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
    now: u64,
) -> Verdict {
    let text = String::from_utf8_lossy(body);
    let answer = Answer::of(&text);
    let why = || told(status, &text);
    let header = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let after = header("retry-after").and_then(|value| retry_after(value, now));
    match status {
        200..=299 => {}
        300..=399 => {
            let why = format!(
                "HTTP {status}: the carrier's address has moved; redirects are not followed, correct the address"
            );
            return Verdict::Refused { why };
        }
        408 | 425 | 429 | 500..=599 => return Verdict::Later { after, why: why() },
        _ => return Verdict::Refused { why: why() },
    }
    match &outbound.style {
        Style::Keys(keys) => match holds(&keys.check, &answer, &text) {
            true => Verdict::Taken { id: None },
            false => Verdict::Refused { why: why() },
        },
        Style::Profile { named, .. } => {
            let Some(outgoing) = &named.profile.outgoing else {
                return Verdict::Refused { why: why() };
            };
            let success = &outgoing.success;
            if !success.later.is_empty()
                && success
                    .later
                    .iter()
                    .all(|condition| meets(condition, &answer))
            {
                return Verdict::Later { after, why: why() };
            }
            if !is_success(success, status, &answer) {
                return Verdict::Refused { why: why() };
            }
            let mut ids = outgoing.id.iter().flat_map(|path| answer.texts(path));
            Verdict::Taken {
                id: ids.find(|id| !id.is_empty()).map(str::to_owned),
            }
        }
    }
}

fn is_success(success: &Success, status: u16, answer: &Answer) -> bool {
    let status = status.to_string();
    let counts = |known: &String| match known.strip_suffix("xx") {
        Some(class) => status.starts_with(class),
        None => *known == status,
    };
    (success.status.is_empty() || success.status.iter().any(counts))
        && success
            .when
            .iter()
            .all(|condition| meets(condition, answer))
}

/// There is a value, and every one is among those named.
fn meets(condition: &Condition, answer: &Answer) -> bool {
    let found = answer.texts(&condition.path);
    let named = |value: &&str| {
        condition.values.is_empty() || condition.values.iter().any(|known| known == value)
    };
    !found.is_empty() && found.iter().all(named)
}

/// A pattern is matched with the text of a JSON string, else with the answer as it stands.
fn holds(check: &Check, answer: &Answer, text: &str) -> bool {
    match check {
        Check::None => true,
        Check::Field(name, value) => answer.last(name) == Some(value),
        Check::Pattern(pattern) => pattern.is_match(answer.text().unwrap_or(text)),
    }
}

/// One short line for people.
fn told(status: u16, text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    match line.is_empty() {
        true => format!("HTTP {status}"),
        false => format!("HTTP {status}: {line}"),
    }
}

/// Seconds, or a date in the one form that is still written (RFC 9110, 5.6.7 and 10.2.3).
fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => u64::try_from(date(value)?).ok()?.saturating_sub(now),
    };
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as seconds since 1970.
fn date(text: &str) -> Option<i64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = match words.next()? {
        "Jan" => Month::January,
        "Feb" => Month::February,
        "Mar" => Month::March,
        "Apr" => Month::April,
        "May" => Month::May,
        "Jun" => Month::June,
        "Jul" => Month::July,
        "Aug" => Month::August,
        "Sep" => Month::September,
        "Oct" => Month::October,
        "Nov" => Month::November,
        "Dec" => Month::December,
        _ => return None,
    };
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let time = Time::from_hms(clock.next()??, clock.next()??, clock.next()??).ok()?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Some(
        PrimitiveDateTime::new(date, time)
            .assume_utc()
            .unix_timestamp(),
    )
}
