//! autoban.nft of mlan/docker-asterisk: what its sets hold, to be carried over once.
//!
//! Pure. The file is a ruleset as nft(8) prints it. Of the table `ip autoban` (or `inet autoban`) the sets `jail`, `parole`,
//! `whitelist` and `blacklist` are read; the watch list is not, as its counts are seconds within timeouts. All other tables and
//! every rule are passed over. Invariant: what is not exactly an element as nft prints it is counted, never guessed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::cidr::Cidr;
use super::evidence::Kind;
use super::key::Source;
use super::ledger::{Fact, List, Offender};
use super::policy::{LONGEST, Policy};

/// The most elements that are read of one file.
const MOST: usize = 262_144;

/// What stands behind each entry that was carried over.
const COMMENT: &str = "carried over from autoban.nft";

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legacy {
    /// What remains of the time in jail.
    pub jail: BTreeMap<Source, Duration>,
    /// What remains until parole is over.
    pub parole: BTreeMap<Source, Duration>,
    pub white: Vec<Cidr>,
    pub black: Vec<Cidr>,
    /// Elements that are none.
    pub misread: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Jail,
    Parole,
    White,
    Black,
}

/// Reads the text.
#[must_use]
pub fn read(text: &str) -> Legacy {
    let mut legacy = Legacy::default();
    let mut tokens = tokens(text);
    // The names of the blocks that are open.
    let mut open: Vec<Vec<&str>> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let mut count = 0;
    while let Some(token) = tokens.next() {
        match token {
            "{" if words.ends_with(&["elements", "="]) || words.ends_with(&["elements="]) => {
                let set = set_of(&open);
                for element in elements(&mut tokens) {
                    count += 1;
                    if let Some(set) = set.filter(|_| count <= MOST) {
                        legacy.take(set, &element);
                    }
                }
                words.clear();
            }
            "{" => {
                // A hostile nesting is cut; its inner sets are no sets of ours.
                if open.len() < 16 {
                    open.push(std::mem::take(&mut words));
                } else {
                    return legacy;
                }
            }
            "}" => {
                open.pop();
                words.clear();
            }
            "\n" | ";" => words.clear(),
            word if words.len() < 16 => words.push(word),
            _ => {}
        }
    }
    legacy
}

/// Words, braces, commas, and the ends of lines and statements; comments are left out.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let code = line.split('#').next().unwrap_or_default();
        let mut rest = code;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches([' ', '\t', '\r']);
            let first = rest.chars().next()?;
            let end = if "{},;".contains(first) {
                1
            } else {
                let stop = |c: char| c.is_whitespace() || "{},;".contains(c);
                rest.find(stop).unwrap_or(rest.len())
            };
            let (token, after) = rest.split_at(end);
            rest = after;
            Some(token)
        })
        .chain(std::iter::once("\n"))
    })
}

/// The elements up to the closing brace, as words.
fn elements<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut all = Vec::new();
    let mut one: Vec<&str> = Vec::new();
    for token in tokens {
        match token {
            "}" | "," => {
                if !one.is_empty() {
                    all.push(std::mem::take(&mut one));
                }
                if token == "}" || all.len() > MOST {
                    break;
                }
            }
            "\n" => {}
            word if one.len() < 8 => one.push(word),
            _ => {}
        }
    }
    all
}

fn set_of(open: &[Vec<&str>]) -> Option<Set> {
    let [table, set] = open else { return None };
    let is_ours = matches!(table.as_slice(), ["table", "ip" | "inet", "autoban"]);
    match set.as_slice() {
        ["set", name] if is_ours => Some(match *name {
            "jail" => Set::Jail,
            "parole" => Set::Parole,
            "whitelist" => Set::White,
            "blacklist" => Set::Black,
            _ => return None,
        }),
        _ => None,
    }
}

impl Legacy {
    fn take(&mut self, set: Set, words: &[&str]) {
        let taken = match (set, words) {
            (Set::White | Set::Black, [cidr]) => cidr.parse().ok().map(|cidr: Cidr| match set {
                Set::White => self.white.push(cidr),
                _ => self.black.push(cidr),
            }),
            (Set::Jail | Set::Parole, [address, times @ ..]) => {
                let source = address.parse().ok().map(|a: IpAddr| Source::of(a));
                source.zip(remaining(times)).map(|(source, left)| {
                    let table = match set {
                        Set::Jail => &mut self.jail,
                        _ => &mut self.parole,
                    };
                    table.insert(source, left);
                })
            }
            _ => None,
        };
        self.misread += usize::from(taken.is_none());
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let lone = |source: &&Source| !self.jail.contains_key(source);
        self.jail.len()
            + self.parole.keys().filter(lone).count()
            + self.white.len()
            + self.black.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same as facts for a ledger. The times run from `written`, the moment of the file, in milliseconds since 1970.
    /// The predecessor's level of a sentence was in its length: each was `repeatmult` times the one before.
    #[must_use]
    pub fn facts(&self, policy: &Policy, written: i64) -> Vec<Fact> {
        let after = |left: Duration| {
            let left = left.min(LONGEST).as_millis();
            written.saturating_add(i64::try_from(left).unwrap_or(0))
        };
        let mut sources: Vec<Source> = self
            .jail
            .keys()
            .chain(self.parole.keys())
            .copied()
            .collect();
        sources.sort_unstable();
        sources.dedup();
        let offenders = sources.into_iter().map(|source| {
            let until = self.jail.get(&source).map_or(written, |left| after(*left));
            let parole_until = self.parole.get(&source).map_or(until, |left| after(*left));
            let record = Offender {
                kind: Kind::UnknownAccount,
                level: level(policy, self.jail.get(&source).copied().unwrap_or_default()),
                since: written,
                until,
                parole_until: parole_until.max(until),
                aggregates: false,
                comment: COMMENT.to_owned(),
            };
            Fact::Offender { source, record }
        });
        let lists = [(List::White, &self.white), (List::Black, &self.black)];
        let listed = lists.into_iter().flat_map(|(list, cidrs)| {
            cidrs.iter().map(move |cidr| Fact::List {
                list,
                cidr: *cidr,
                comment: COMMENT.to_owned(),
            })
        });
        offenders.chain(listed).collect()
    }
}

/// The level whose sentence comes nearest from above; at least 1.
fn level(policy: &Policy, time: Duration) -> u8 {
    let fits = |level: &u8| policy.sentence(*level) >= time;
    (1..=16).find(fits).unwrap_or(16)
}

/// `timeout 20m expires 19m59s200ms`: what remains.
fn remaining(words: &[&str]) -> Option<Duration> {
    match words {
        ["timeout", whole] => duration(whole),
        ["timeout", _, "expires", left] | ["expires", left] => duration(left),
        _ => None,
    }
}

/// A time as nft prints it: `1d2h3m4s5ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(letters);
        let unit: u64 = match unit {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "#!/usr/sbin/nft -f\nflush ruleset\ntable ip nat {\n\tset jail {\n\t\ttype ipv4_addr\n\t\telements = { 9.9.9.9 timeout 1h }\n\t}\n\tchain DOCKER { type nat hook output priority dstnat; ip daddr { 1.1.1.1, 2.2.2.2 } accept; }\n}\ntable ip autoban {\n\tset watch {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 192.0.2.9 timeout 20m3s }\n\t}\n\tset jail {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 192.0.2.7 timeout 20m, 192.0.2.8 timeout 2h expires 1h59m59s500ms,\n\t\t\t     nonsense timeout 1h, 192.0.2.10 timeout 1x }\n\t}\n\tset parole {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t\telements = { 192.0.2.7 timeout 40m, 192.0.2.8 timeout 2h20m expires 2h19m59s, 192.0.2.11 timeout 20m expires 3m }\n\t}\n\tset whitelist {\n\t\ttype ipv4_addr\n\t\telements = { 198.51.100.1 }\n\t}\n\tset blacklist {\n\t\ttype ipv4_addr\n\t\telements = { 198.51.100.2, 198.51.100.3 }\n\t}\n\tchain incoming {\n\t\ttype filter hook input priority security; policy accept;\n\t\tip saddr @whitelist accept\n\t}\n}\n";

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn the_predecessors_file_is_read() {
        let found = read(FILE);
        let minutes = |m: u64| Duration::from_secs(m * 60);
        assert_eq!(found.jail.get(&source("192.0.2.7")), Some(&minutes(20)));
        assert_eq!(
            found.jail.get(&source("192.0.2.8")),
            Some(&(minutes(120) - Duration::from_millis(500)))
        );
        assert_eq!((found.jail.len(), found.parole.len()), (2, 3));
        assert_eq!((found.white.len(), found.black.len()), (1, 2));
        assert_eq!((found.misread, found.len()), (2, 6));
    }

    #[test]
    fn it_becomes_facts_with_its_levels() {
        let facts = read(FILE).facts(&Policy::default(), 1000);
        let record = |text: &str| {
            facts.iter().find_map(|fact| match fact {
                Fact::Offender { source: s, record } if *s == source(text) => Some(record),
                _ => None,
            })
        };
        let first = record("192.0.2.7").unwrap();
        assert_eq!((first.level, first.until), (1, 1000 + 1_200_000));
        assert_eq!(first.parole_until, 1000 + 2_400_000);
        assert_eq!(record("192.0.2.8").unwrap().level, 2);
        let paroled = record("192.0.2.11").unwrap();
        assert_eq!((paroled.until, paroled.parole_until), (1000, 181_000));
        assert_eq!(facts.len(), 6);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[ -~\n\t{},;=#]{0,200}") {
            let _ = read(&text);
        }

        #[test]
        fn no_damage_breaks_it(cut in 0..FILE.len(), byte in any::<char>()) {
            if FILE.is_char_boundary(cut) {
                let (a, b) = FILE.split_at(cut);
                let found = read(&format!("{a}{byte}{b}"));
                prop_assert!(found.len() <= 7);
                prop_assert!(!found.jail.contains_key(&source("9.9.9.9")));
            }
        }
    }
}
