//! Our own ids: thirteen letters and digits that sort by the time of arrival.
//!
//! Invariant: each is larger than all before it, also when the clock is set back.

use std::fmt;
use std::str::FromStr;

use crate::websms::delivery::Moment;

/// Without I, L, O and U, which people take for others.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: u32 = 13;
/// Ids within one millisecond.
const COUNTER: u32 = 20;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u64);

impl Id {
    /// The smallest of this moment.
    pub fn first_of(moment: Moment) -> Id {
        Id(u64::try_from(moment).unwrap_or(0) << COUNTER)
    }

    /// As the database counts.
    pub fn number(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    pub fn of_number(number: i64) -> Id {
        Id(u64::try_from(number).unwrap_or(0))
    }

    /// When it was given, in milliseconds since 1970.
    pub fn moment(self) -> Moment {
        i64::try_from(self.0 >> COUNTER).unwrap_or(i64::MAX)
    }

    /// One for this moment, after `last`.
    pub fn after(last: Option<Id>, moment: Moment) -> Id {
        let first = Id::first_of(moment);
        match last {
            Some(last) if last >= first => Id(last.0.saturating_add(1)),
            _ => first,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..LENGTH).rev() {
            let digit = (self.0 >> (5 * place)) & 31;
            let digit = usize::try_from(digit).ok().and_then(|n| DIGITS.get(n));
            fmt::Write::write_char(f, char::from(*digit.unwrap_or(&b'0')))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is {LENGTH} letters and digits, as 0D3V1C8Y00000")]
pub struct NoId;

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Id, NoId> {
        if text.len() != LENGTH as usize {
            return Err(NoId);
        }
        let mut number: u64 = 0;
        for byte in text.bytes() {
            let byte = byte.to_ascii_uppercase();
            let digit = DIGITS.iter().position(|digit| *digit == byte).ok_or(NoId)?;
            let digit = u64::try_from(digit).map_err(|_| NoId)?;
            // Thirteen digits are 65 bits.
            number = number.checked_mul(32).ok_or(NoId)? | digit;
        }
        Ok(Id(number))
    }
}

impl rusqlite::ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl rusqlite::types::FromSql for Id {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Id> {
        let text = value.as_str()?;
        text.parse()
            .map_err(|error| rusqlite::types::FromSqlError::Other(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_text_as_they_came_and_are_read_again() {
        let mut last = None;
        let mut texts = vec![];
        for moment in [
            1_800_000_000_000,
            1_800_000_000_000,
            1_700_000_000_000,
            i64::MAX >> 21,
        ] {
            let id = Id::after(last, moment);
            assert_eq!(id.to_string().parse(), Ok(id));
            texts.push(id.to_string());
            last = Some(id);
        }
        assert!(texts.is_sorted_by(|a, b| a < b), "{texts:?}");
        assert!("0D3V1C8Y0000".parse::<Id>().is_err());
        assert!("ZZZZZZZZZZZZZ".parse::<Id>().is_err());
        assert!("0D3V1C8Y0000U".parse::<Id>().is_err());
    }
}
