//! How long we wait after a failure.
//!
//! Invariant: a wait is at least a minute and at most `LONGEST`, and without a word of the authority no shorter than the
//! one before it.

use super::{DAY, HOUR, LONGEST, MINUTE};
use crate::certs::acme::trouble::Kind;

/// The first wait and the longest one.
fn bounds(kind: Kind) -> (i64, i64) {
    match kind {
        // Most outages end soon, and nobody else is harmed by one question.
        Kind::ServerDown | Kind::Local => (MINUTE, HOUR),
        Kind::Interrupted => (5 * MINUTE, 6 * HOUR),
        // Authorities count failed proofs: Let's Encrypt takes five an hour for a name.
        Kind::Refused => (15 * MINUTE, 12 * HOUR),
        Kind::Rejected => (HOUR, DAY),
        Kind::RateLimited => (6 * HOUR, DAY),
    }
}

/// The wait after this failure, when so many came before it in a row; in seconds.
pub fn after(kind: Kind, failures: u32, retry_after: Option<i64>, dice: u64) -> i64 {
    let (first, most) = bounds(kind);
    let doubled = |first: i64| first.saturating_mul(1 << failures.min(20)).min(most);
    let pause = match (kind, retry_after) {
        // It is honoured as it is; one of a second, again and again, is not.
        (Kind::RateLimited, Some(told)) => told.max(doubled(MINUTE).min(HOUR)),
        (_, Some(told)) => told.clamp(0, DAY).max(doubled(first)),
        (_, None) => doubled(first),
    };
    let pause = pause.clamp(MINUTE, LONGEST);
    (pause + share(pause / 8, dice)).min(LONGEST)
}

/// A part of `whole` by chance, up to all of it.
pub fn share(whole: i64, dice: u64) -> i64 {
    let part = i128::from(whole.max(0)) * i128::from(dice) / i128::from(u64::MAX);
    i64::try_from(part).unwrap_or_default()
}
