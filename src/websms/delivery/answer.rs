//! What a phone's final response to a MESSAGE means.
//!
//! Pure. Invariant: only a 2xx says that the phone has it.

/// What follows from a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The phone has it.
    Taken,
    /// Not now: busy, away, out of order.
    Later,
    /// Never: a repetition cannot change it.
    Never,
    /// Not a final response.
    Nothing,
}

/// By the classes of RFC 3261, 21.
pub fn meaning_of(code: u16) -> Answer {
    match code {
        0..200 => Answer::Nothing,
        200..300 => Answer::Taken,
        // Timeout, flood control, away, terminated while ringing, busy, undecipherable, pending, busy everywhere.
        408 | 429 | 430 | 480 | 486 | 487 | 491 | 493 | 600 => Answer::Later,
        // The phone does not know the method, the version, or such long messages.
        501 | 505 | 513 => Answer::Never,
        500..600 => Answer::Later,
        // 300..500, and from 600 on: declined, unacceptable, no such user.
        _ => Answer::Never,
    }
}
