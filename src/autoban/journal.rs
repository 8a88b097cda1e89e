//! The journal's text: every lasting change as one line, and how a ledger comes back from it.
//!
//! Pure; somebody else reads and writes the file. The first line names the format. Each further line is the CRC-32 of what
//! follows in eight hexadecimal digits, a space, and a JSON object with the moment and the fact. A snapshot is the same:
//! the facts of [`Ledger::facts`]. Invariant: a line that is torn or damaged is counted and left out, and never keeps
//! another one from being read.

use serde::{Deserialize, Serialize};

use super::ledger::{Fact, Ledger};

/// The first line, with the version of the format.
pub const HEADER: &str = "switchhook-autoban 1\n";

/// The longest line that is read, in bytes.
const MAX_LINE: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Record<F> {
    at: i64,
    #[serde(flatten)]
    fact: F,
}

/// What was found in a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Lines that were applied.
    pub applied: u64,
    /// Lines that were damaged and left out.
    pub damaged: u64,
    /// The last line has no end: it was being written when the writer stopped.
    pub torn: bool,
    /// The moment of the last record.
    pub last: Option<i64>,
}

/// A journal that this program does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal begins with `{0}`, not with `switchhook-autoban 1`\nhint: a later version wrote it; move it away to begin anew"
)]
pub struct Foreign(String);

/// Appends facts that came about at a moment.
pub fn write(out: &mut Vec<u8>, facts: &[Fact], at: i64) {
    for fact in facts {
        let Ok(text) = serde_json::to_string(&Record { at, fact }) else {
            continue;
        };
        out.extend_from_slice(format!("{:08x} {text}\n", crc32(text.as_bytes())).as_bytes());
    }
}

/// A whole journal that says what the ledger knows at a moment.
#[must_use]
pub fn snapshot(ledger: &Ledger, at: i64) -> Vec<u8> {
    let mut out = HEADER.as_bytes().to_vec();
    write(&mut out, &ledger.facts(), at);
    out
}

/// Applies a journal to a ledger, in general an empty one. Step it with the present moment afterwards: what is over goes
/// then, and [`Ledger::project`] says what remains.
///
/// # Errors
/// The text is not empty and begins otherwise than a journal of this version.
pub fn replay(ledger: &mut Ledger, text: &[u8]) -> Result<Replayed, Foreign> {
    let mut found = Replayed::default();
    let Some(body) = text.strip_prefix(HEADER.as_bytes()) else {
        // Torn within its first line.
        if HEADER.as_bytes().starts_with(text) {
            found.torn = !text.is_empty();
            return Ok(found);
        }
        let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let first = first.get(..40).unwrap_or(first);
        return Err(Foreign(first.escape_ascii().to_string()));
    };
    for line in body.split_inclusive(|b| *b == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else {
            found.torn = true;
            break;
        };
        match read(line) {
            Some(record) => {
                ledger.apply(record.fact, record.at);
                found.applied += 1;
                found.last = Some(record.at);
            }
            None => found.damaged += 1,
        }
    }
    Ok(found)
}

fn read(line: &[u8]) -> Option<Record<Fact>> {
    if line.len() > MAX_LINE {
        return None;
    }
    let (sum, text) = (line.get(..8)?, line.get(8..)?.strip_prefix(b" ")?);
    if !sum.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (crc32(text) == sum).then(|| serde_json::from_slice(text).ok())?
}

/// CRC-32 as in gzip (RFC 1952, 8), four bits at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, nibble: u8| {
        let index = usize::from((crc as u8 ^ nibble) & 15);
        (crc >> 4) ^ NIBBLES.get(index).copied().unwrap_or(0)
    };
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| step(step(crc, byte & 15), byte >> 4))
}

const NIBBLES: [u32; 16] = nibbles();

#[allow(clippy::indexing_slicing, reason = "computed when it is compiled")]
const fn nibbles() -> [u32; 16] {
    let mut table = [0; 16];
    let mut at = 0;
    while at < 16 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xedb8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::autoban::evidence::Meaning;
    use crate::autoban::ledger::laws::{any_doing, perform, small};

    const START: i64 = 1_800_000_000_000;

    #[test]
    fn the_check_value_of_the_polynomial() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_lines_are_these() {
        let mut ledger = Ledger::new(small());
        let ban = super::super::ledger::Manual::ban("192.0.2.7".parse().unwrap(), None, "a\nb");
        let out = ledger.manual(&ban, START);
        let mut text = Vec::new();
        write(&mut text, &out.facts[..1], START);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "613adda5 {\"at\":1800000000000,\"op\":\"offender\",\"source\":{\"V4\":3221225991},\"kind\":\"Manual\",\"level\":1,\"since\":1800000000000,\"until\":1800001200000,\"parole_until\":1800001200000,\"aggregates\":false,\"comment\":\"a\\nb\"}\n"
        );
    }

    #[test]
    fn an_empty_or_a_foreign_file() {
        let mut ledger = Ledger::new(small());
        assert_eq!(replay(&mut ledger, b""), Ok(Replayed::default()));
        assert!(replay(&mut ledger, b"switchhook-a").unwrap().torn);
        assert!(replay(&mut ledger, b"switchhook-autoban 2\n").is_err());
        assert!(replay(&mut ledger, b"flush ruleset\n").is_err());
    }

    /// A ledger that lived through some doings, and its journal.
    fn lived(doings: Vec<(crate::autoban::ledger::laws::Doing, i64)>) -> (Ledger, Vec<u8>, i64) {
        let mut ledger = Ledger::new(small());
        let mut text = HEADER.as_bytes().to_vec();
        let mut now = START;
        for (doing, pause) in doings {
            now += pause;
            let out = perform(&mut ledger, &doing, now);
            write(&mut text, &out.facts, now);
        }
        (ledger, text, now)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_replayed_journal_is_the_ledger(
            doings in prop::collection::vec(any_doing(), 1..200),
            pause in 0i64..10_000_000,
        ) {
            let (mut ledger, text, now) = lived(doings);
            let later = now + pause;
            ledger.step(Meaning::Nothing, later);
            let mut again = Ledger::new(small());
            let found = replay(&mut again, &text).unwrap();
            again.step(Meaning::Nothing, later);
            prop_assert_eq!(found.damaged, 0);
            prop_assert_eq!(again.facts(), ledger.facts());
            let mut from_snapshot = Ledger::new(small());
            replay(&mut from_snapshot, &snapshot(&ledger, later)).unwrap();
            from_snapshot.step(Meaning::Nothing, later);
            prop_assert_eq!(from_snapshot.facts(), ledger.facts());
            let key = |change: &crate::autoban::key::Change| format!("{change:?}");
            let (mut a, mut b) = (from_snapshot.project(later), ledger.project(later));
            a.sort_by_key(key);
            b.sort_by_key(key);
            prop_assert_eq!(a, b);
        }

        #[test]
        fn damage_costs_only_what_is_damaged(
            doings in prop::collection::vec(any_doing(), 1..60),
            place in any::<prop::sample::Index>(),
            bit in 0u8..8,
            cut in any::<prop::sample::Index>(),
        ) {
            let (_, text, _) = lived(doings);
            let body = HEADER.len();
            prop_assume!(text.len() > body);
            let whole = replay(&mut Ledger::new(small()), &text).unwrap().applied;
            let mut flipped = text.clone();
            let at = body + place.index(text.len() - body);
            flipped[at] ^= 1 << bit;
            let found = replay(&mut Ledger::new(small()), &flipped).unwrap();
            // A line end that is made or unmade touches two lines.
            prop_assert!(found.applied + 2 >= whole && found.applied < whole, "{:?}", found);
            prop_assert!(found.damaged > 0 || found.torn);
            let length = body + cut.index(text.len() - body);
            let found = replay(&mut Ledger::new(small()), &text[..length]).unwrap();
            prop_assert_eq!(found.torn, text[length - 1] != b'\n');
            prop_assert_eq!(found.damaged, 0);
        }
    }
}
