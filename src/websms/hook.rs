//! A hook: a web server that is told what happens to messages, in the form of Standard Webhooks.
//!
//! Pure. A hook hears of the states and numbers that it asks for; a request is signed with each of its secrets, so that one can
//! follow another. It refuses secrets that are short enough to be guessed. Invariant: what is signed is what is sent, with its
//! id and its time, and neither `Debug` nor a mistake shows a secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::api::access::Scope;
use super::delivery::{DAY, Moment, State, pause};
use super::verify::secret::unbase64;
use crate::web::address::Address;

/// How long an event is worth telling, in milliseconds: as long as the journal is kept.
pub const PATIENCE: i64 = 3 * DAY;
/// A receiver that refuses an event so often will never take it, and the next one has its turn.
const MOST_REFUSALS: u32 = 10;
/// Of a secret, in bytes.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// A key to sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// `whsec_` and 24 to 64 bytes in base64.
    #[must_use]
    pub fn read(text: &str) -> Option<Key> {
        let bytes = unbase64(text.trim().strip_prefix("whsec_")?)?;
        (SHORTEST..=LONGEST)
            .contains(&bytes.len())
            .then_some(Key(bytes))
    }

    fn sign(&self, text: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = STANDARD.encode(hmac::sign(&key, text));
        format!("v1,{tag}")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    pub name: String,
    pub to: Address,
    pub keys: Vec<Key>,
    /// None: of all.
    pub states: Option<Vec<State>>,
    /// None: of all.
    pub scope: Option<Scope>,
    /// Whether the text goes along.
    pub text: bool,
    /// Requests a second.
    pub rate: f64,
}

impl Hook {
    /// Whether it is told of a message that became this. Nothing is known of the numbers of one that was erased.
    #[must_use]
    pub fn wants(&self, state: State, numbers: Option<(&str, &str)>) -> bool {
        let of_state = self.states.as_ref().is_none_or(|all| all.contains(&state));
        let of_scope = self
            .scope
            .as_ref()
            .is_none_or(|scope| numbers.is_some_and(|(from, to)| scope.sees(from, to)));
        of_state && of_scope
    }

    /// The headers of a request; `at` in seconds since 1970.
    #[must_use]
    pub fn headers(&self, id: &str, at: i64, body: &[u8]) -> Vec<(&'static str, String)> {
        let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(&signed)).collect();
        vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ]
    }
}

/// What a receiver said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Taken,
    Status {
        code: u16,
        /// In milliseconds.
        retry_after: Option<i64>,
    },
    Nothing,
}

/// What is done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next event has its turn.
    Next,
    /// The same again after so many milliseconds.
    Again(i64),
    /// This one is not told; the next has its turn.
    GiveUp,
    /// The receiver wants to hear no more.
    Stop,
}

/// What is done after so many tries of an event, this one included, that happened at `at`.
#[must_use]
pub fn then(said: Said, tries: u32, at: Moment, now: Moment, jitter: i8) -> Then {
    let asked = match said {
        Said::Taken => return Then::Next,
        Said::Status { code: 410, .. } => return Then::Stop,
        // It was understood, and this one is not wanted: that will not change.
        Said::Status {
            code: 400 | 413 | 415 | 422,
            ..
        } if tries >= MOST_REFUSALS => return Then::GiveUp,
        Said::Status { retry_after, .. } => retry_after,
        Said::Nothing => None,
    };
    let pause = pause(tries, jitter, asked);
    match now.saturating_add(pause) > at.saturating_add(PATIENCE) {
        true => Then::GiveUp,
        false => Then::Again(pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = 1_800_000_000_000;

    fn hook() -> Hook {
        Hook {
            name: "crm".to_owned(),
            to: Address::parse("https://example.org/secret").unwrap(),
            keys: vec![Key::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()],
            states: None,
            scope: None,
            text: true,
            rate: 20.0,
        }
    }

    /// The vector that the specification's own libraries are tested with.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let headers = hook().headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            headers[3],
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned()
            )
        );
        let two = Hook {
            keys: [hook().keys, hook().keys].concat(),
            ..hook()
        };
        let both = two.headers("a", 1, b"").pop().unwrap().1;
        assert_eq!(both.split(' ').count(), 2);
        assert!(!format!("{:?}", hook()).contains("secret"));
    }

    #[test]
    fn what_is_no_secret() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_%%%%",
        ] {
            assert_eq!(Key::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_hook_hears_what_it_asks_for() {
        let all = hook();
        assert!(all.wants(State::Sending, None));
        let some = Hook {
            states: Some(vec![State::Received]),
            scope: Some(Scope::new(&["+46701234567".to_owned()])),
            ..hook()
        };
        assert!(some.wants(State::Received, Some(("1", "46701234567"))));
        assert!(!some.wants(State::Received, Some(("1", "2"))));
        assert!(!some.wants(State::Received, None));
        assert!(!some.wants(State::Sending, Some(("1", "46701234567"))));
    }

    #[test]
    fn patience_ends_with_the_journal() {
        let refused = |code| Said::Status {
            code,
            retry_after: None,
        };
        assert_eq!(then(Said::Taken, 1, NOW, NOW, 0), Then::Next);
        assert_eq!(then(refused(410), 1, NOW, NOW, 0), Then::Stop);
        assert_eq!(then(refused(500), 1, NOW, NOW, 0), Then::Again(5000));
        assert_eq!(then(refused(401), 30, NOW, NOW, 0), Then::Again(3_600_000));
        assert_eq!(then(refused(400), 9, NOW, NOW, 0), Then::Again(1_280_000));
        assert_eq!(then(refused(400), 10, NOW, NOW, 0), Then::GiveUp);
        assert_eq!(
            then(Said::Nothing, 50, NOW, NOW + PATIENCE, 0),
            Then::GiveUp
        );
        let busy = Said::Status {
            code: 429,
            retry_after: Some(7_200_000),
        };
        assert_eq!(then(busy, 1, NOW, NOW, 20), Then::Again(7_200_000));
        // However it goes, it ends.
        let (mut now, mut tries) = (NOW, 0);
        loop {
            tries += 1;
            match then(Said::Nothing, tries, NOW, now, 20) {
                Then::Again(pause) => now += pause,
                end => break assert_eq!(end, Then::GiveUp),
            }
        }
        assert!(now <= NOW + PATIENCE && now > NOW + PATIENCE - 2 * 3_600_000);
    }
}
