//! One mail for one recipient, and what becomes of it.
//!
//! Pure. A file of the queue is a line of JSON, the letter, and behind it the mail as the server gets it; what has happened so
//! far stands in a file of its own, so that a try never writes the mail again. Invariant: only `Verdict::Taken` ends a letter;
//! whatever else a server says, it waits or lies aside.

use serde::{Deserialize, Serialize};

use super::route::Route;

/// The number of the shape of both files.
pub const SCHEMA: u32 = 1;

const FIRST_PAUSE: i64 = 10;
const LONGEST_PAUSE: i64 = 30 * 60;
/// So long a server may be away: RFC 5321, 4.5.4.1 asks for four or five days.
const PATIENCE: i64 = 5 * 24 * 3600;

/// Who writes to whom, and by which server. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub schema: u32,
    pub id: String,
    pub taken: i64,
    /// The sender of the envelope; empty: none, as for a mail that is not to be answered.
    pub from: String,
    /// Empty: there was none in the header, so that nobody can be sent it.
    pub to: String,
    pub subject: String,
    /// None: the command line that handed it in was not understood.
    pub route: Option<Route>,
}

/// What has happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub schema: u32,
    pub tries: u32,
    /// Not before this second.
    pub next: i64,
    /// No try is made until a person says so.
    pub aside: bool,
    /// What the last try met.
    pub reason: String,
    pub hint: Option<String>,
}

impl State {
    /// Of a letter that nobody can send as it is.
    #[must_use]
    pub fn aside(reason: impl Into<String>) -> State {
        State {
            schema: SCHEMA,
            aside: true,
            reason: reason.into(),
            ..State::default()
        }
    }
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The server has it; its words.
    Taken(String),
    Later(Trouble),
    /// The same again would end the same way.
    Never(Trouble),
}

/// Why it was not taken, in a sentence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    pub hint: Option<String>,
    /// It is the server's or the way to it: every letter of this route has it.
    pub is_common: bool,
}

/// The state after a try that was no success. `jitter` is -20..=20 percent.
#[must_use]
pub fn after(state: &State, verdict: &Verdict, taken: i64, now: i64, jitter: i8) -> State {
    let (trouble, is_final) = match verdict {
        Verdict::Taken(_) => return state.clone(),
        Verdict::Later(trouble) => (trouble, false),
        Verdict::Never(trouble) => (trouble, true),
    };
    let tries = state.tries.saturating_add(1);
    // A clock that was set back makes a letter young, not old.
    let is_old = now.saturating_sub(taken) >= PATIENCE;
    let reason = match is_old && !is_final {
        true => format!("{} (given up after five days)", trouble.reason),
        false => trouble.reason.clone(),
    };
    State {
        schema: SCHEMA,
        tries,
        next: now.saturating_add(pause(tries, jitter)),
        aside: is_final || is_old,
        reason,
        hint: trouble.hint.clone(),
    }
}

/// Seconds to wait after so many failed tries: 10, doubled each time, half an hour at most.
fn pause(tries: u32, jitter: i8) -> i64 {
    let doublings = tries.saturating_sub(1).min(16);
    let percent = 100 + i64::from(jitter.clamp(-20, 20));
    (FIRST_PAUSE << doublings).min(LONGEST_PAUSE) * percent / 100
}

/// The bytes of the letter's file.
///
/// # Errors
/// If the letter is no JSON; a text of ours always is.
pub fn encode(letter: &Letter, mail: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(letter)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(mail);
    Ok(bytes)
}

/// The letter of a file's first line.
///
/// # Errors
/// With what is wrong.
pub fn decode(line: &[u8]) -> Result<Letter, String> {
    let letter: Letter = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    match letter.schema {
        SCHEMA => Ok(letter),
        other => Err(format!(
            "it has schema {other}, this version knows {SCHEMA}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trouble(reason: &str) -> Trouble {
        Trouble {
            reason: reason.into(),
            hint: None,
            is_common: false,
        }
    }

    #[test]
    fn pauses_grow_and_end_after_five_days() {
        let mut state = State::default();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            state = after(&state, &Verdict::Later(trouble("away")), 0, 100, 0);
            pauses.push(state.next - 100);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        assert!(!state.aside);
        let old = after(&state, &Verdict::Later(trouble("away")), 0, PATIENCE, 0);
        assert!(old.aside);
        assert_eq!(old.reason, "away (given up after five days)");
    }

    #[test]
    fn what_is_refused_for_good_lies_aside_with_its_reason() {
        let state = after(
            &State::default(),
            &Verdict::Never(trouble("550 no")),
            0,
            1,
            0,
        );
        assert!(state.aside);
        assert_eq!((state.reason.as_str(), state.tries), ("550 no", 1));
    }

    #[test]
    fn a_letter_of_another_version_is_not_guessed_at() {
        let letter = Letter {
            schema: 2,
            id: "1".into(),
            taken: 0,
            from: String::new(),
            to: "a@b".into(),
            subject: String::new(),
            route: None,
        };
        let bytes = encode(&letter, b"").unwrap();
        assert!(decode(&bytes).unwrap_err().contains("schema 2"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(to in "\\PC{0,30}", subject in any::<String>(), mail in proptest::collection::vec(any::<u8>(), 0..100)) {
            let letter = Letter { schema: SCHEMA, id: "x".into(), taken: 5, from: "f@x".into(), to, subject, route: None };
            let bytes = encode(&letter, &mail).unwrap();
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            prop_assert_eq!(decode(&bytes[..end]).unwrap(), letter);
            prop_assert_eq!(&bytes[end + 1..], &mail[..]);
        }

        #[test]
        fn no_line_breaks_it(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&line);
        }

        #[test]
        fn a_pause_is_never_nothing(tries in any::<u32>(), jitter in any::<i8>()) {
            prop_assert!((8..=2160).contains(&pause(tries, jitter)));
        }
    }
}
