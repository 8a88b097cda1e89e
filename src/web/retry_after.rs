//! The header Retry-After (RFC 9110, 10.2.3): how long a server wants to be left alone.
//!
//! Pure. Invariant: no text makes it fail, and no wait is negative.

/// What a header Retry-After says (RFC 9110, 10.2.3), in milliseconds from `now`: seconds, or a date.
#[must_use]
pub fn retry_after(text: &str, now: i64) -> Option<i64> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(i64::from(seconds) * 1000);
    }
    Some((date(text)? - now).max(0))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in milliseconds since 1970.
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.trim().split([' ', ':']).skip(1);
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = (1u8..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let year = words.next()?.parse().ok()?;
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(year, month, day).ok()?;
    let mut part = || words.next()?.parse().ok();
    let clock = time::Time::from_hms(part()?, part()?, part()?).ok()?;
    let moment = time::PrimitiveDateTime::new(date, clock).assume_utc();
    moment.unix_timestamp().checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_that_the_other_side_asks_for() {
        let at = 784_111_777_000;
        assert_eq!(retry_after("120", at), Some(120_000));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, at - 5000), Some(5000));
        assert_eq!(retry_after(date, at + 5000), Some(0));
        for text in [
            "",
            "soon",
            "-1",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994",
        ] {
            assert_eq!(retry_after(text, at), None, "{text}");
        }
    }
}
