//! What an operator does by hand: the predecessor's set algebra, `add jail parole = watch 192.0.2.7`, on this ledger.
//!
//! Pure. A set named on the right stands for what is in it at that moment. Invariant: nothing that is protected is jailed or
//! blacklisted by hand; the white list wins.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fact, Ledger, List, Note, Offender, Outcome, Span, between, family, millis};
use crate::autoban::cidr::Cidr;
use crate::autoban::evidence::Kind;
use crate::autoban::key::{Network, Set, Source};
use crate::autoban::score::Score;

/// A set as an operator names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetName {
    Watch,
    Parole,
    /// Sources and networks.
    Jail,
    White,
    Black,
    /// Sources whose SIP over UDP is closed.
    Weak,
}

impl SetName {
    /// The predecessor's sets and ours.
    pub const ALL: [SetName; 6] = [
        SetName::Watch,
        SetName::Parole,
        SetName::Jail,
        SetName::White,
        SetName::Black,
        SetName::Weak,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SetName::Watch => "watch",
            SetName::Parole => "parole",
            SetName::Jail => "jail",
            SetName::White => "white",
            SetName::Black => "black",
            SetName::Weak => "weak",
        }
    }

    /// The set of that name; `whitelist` and `blacklist` are the predecessor's.
    #[must_use]
    pub fn parse(word: &str) -> Option<SetName> {
        let word = word.strip_suffix("list").unwrap_or(word);
        Self::ALL.into_iter().find(|set| set.name() == word)
    }
}

/// What stands on the right of `=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    All,
    Set(SetName),
    Cidr(Cidr),
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manual {
    Add {
        to: Vec<SetName>,
        what: Vec<Item>,
        /// Instead of `jailtime`.
        time: Option<Duration>,
        comment: String,
    },
    Delete {
        from: Vec<SetName>,
        what: Vec<Item>,
    },
}

/// A word that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misread {
    #[error(
        "`{0}` is no set, no address and no network\nhint: sets are watch, parole, jail, white, black, weak and all; addresses such as 192.0.2.7, 192.0.2.0/24, 2001:db8::/48"
    )]
    Word(String),
    #[error("there is nothing to add or delete\nhint: for example `add jail = 192.0.2.7`")]
    Nothing,
}

fn items(words: &[&str]) -> Result<Vec<Item>, Misread> {
    let read = |word: &&str| match SetName::parse(word) {
        Some(set) => Ok(Item::Set(set)),
        None if *word == "all" => Ok(Item::All),
        None => word
            .parse()
            .map(Item::Cidr)
            .map_err(|_| Misread::Word(word.escape_debug().to_string())),
    };
    match words.is_empty() {
        true => Err(Misread::Nothing),
        false => words.iter().map(read).collect(),
    }
}

fn sets(words: &[&str]) -> Result<Vec<SetName>, Misread> {
    if words.contains(&"all") {
        return Ok(SetName::ALL.to_vec());
    }
    let read =
        |word: &&str| SetName::parse(word).ok_or(Misread::Word(word.escape_debug().to_string()));
    words.iter().map(read).collect()
}

/// Both sides of `=`; without one, the words are the right side.
fn sides<'a>(words: &'a [&'a str]) -> (&'a [&'a str], &'a [&'a str]) {
    match words
        .iter()
        .position(|word| matches!(*word, "=" | ":" | "+" | "-"))
    {
        Some(at) => (
            words.get(..at).unwrap_or_default(),
            words.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], words),
    }
}

impl Manual {
    /// Reads the words after `add`. Without a left side it is the black list, as the predecessor had it.
    pub fn add(words: &[&str]) -> Result<Manual, Misread> {
        let (left, right) = sides(words);
        let to = match left {
            [] => vec![SetName::Black],
            left => sets(left)?,
        };
        Ok(Manual::Add {
            to,
            what: items(right)?,
            time: None,
            comment: String::new(),
        })
    }

    /// Reads the words after `del`. Without a left side it is every set.
    pub fn delete(words: &[&str]) -> Result<Manual, Misread> {
        let (left, right) = sides(words);
        let from = match left {
            [] => SetName::ALL.to_vec(),
            left => sets(left)?,
        };
        Ok(Manual::Delete {
            from,
            what: items(right)?,
        })
    }

    /// Jails, with parole after it.
    #[must_use]
    pub fn ban(cidr: Cidr, time: Option<Duration>, comment: &str) -> Manual {
        Manual::Add {
            to: vec![SetName::Jail, SetName::Parole],
            what: vec![Item::Cidr(cidr)],
            time,
            comment: comment.to_owned(),
        }
    }

    /// Forgets all that is held against it; the black list too.
    #[must_use]
    pub fn free(cidr: Cidr) -> Manual {
        let from = SetName::ALL
            .into_iter()
            .filter(|set| *set != SetName::White);
        Manual::Delete {
            from: from.collect(),
            what: vec![Item::Cidr(cidr)],
        }
    }

    #[must_use]
    pub fn allow(cidr: Cidr, comment: &str) -> Manual {
        Manual::list(SetName::White, cidr, comment)
    }

    #[must_use]
    pub fn deny(cidr: Cidr, comment: &str) -> Manual {
        Manual::list(SetName::Black, cidr, comment)
    }

    fn list(set: SetName, cidr: Cidr, comment: &str) -> Manual {
        Manual::Add {
            to: vec![set],
            what: vec![Item::Cidr(cidr)],
            time: None,
            comment: comment.to_owned(),
        }
    }
}

impl Ledger {
    /// Carries out an operation.
    pub fn manual(&mut self, operation: &Manual, now: i64) -> Outcome {
        let mut out = Outcome::default();
        self.expire(now, &mut out);
        match operation {
            Manual::Add {
                to,
                what,
                time,
                comment,
            } => {
                for cidr in self.resolve(what, now) {
                    for set in to {
                        if let Err(why) = self.add(*set, cidr, *time, comment, now, &mut out) {
                            out.notes.push(Note::Skipped { cidr, why });
                        }
                    }
                }
            }
            Manual::Delete { from, what } => {
                let everything = what.contains(&Item::All);
                let cidrs = match everything {
                    true => vec![],
                    false => self.resolve(what, now),
                };
                for set in from {
                    match everything {
                        true => {
                            for row in self.rows(*set, now) {
                                self.remove(*set, row.cidr, now, &mut out);
                            }
                        }
                        false => {
                            for cidr in &cidrs {
                                self.remove(*set, *cidr, now, &mut out);
                            }
                        }
                    }
                }
            }
        }
        out
    }

    fn resolve(&self, what: &[Item], now: i64) -> Vec<Cidr> {
        let mut cidrs = Vec::new();
        for item in what {
            match item {
                Item::Cidr(cidr) => cidrs.push(*cidr),
                Item::Set(set) => cidrs.extend(self.rows(*set, now).iter().map(|row| row.cidr)),
                Item::All => {
                    for set in SetName::ALL {
                        cidrs.extend(self.rows(set, now).iter().map(|row| row.cidr));
                    }
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        cidrs.retain(|cidr| seen.insert(*cidr));
        cidrs
    }

    fn add(
        &mut self,
        set: SetName,
        cidr: Cidr,
        time: Option<Duration>,
        comment: &str,
        now: i64,
        out: &mut Outcome,
    ) -> Result<(), &'static str> {
        const NO_SOURCE: &str =
            "the set holds addresses, /64, and in jail /24 and /48; use the black list";
        if set != SetName::White && self.standing(cidr.address(), now).is_protected() {
            return Err("it is on the white list, or it is this host or its gateway");
        }
        let time = millis(time.unwrap_or(self.policy.jailtime));
        match set {
            SetName::Watch => {
                let source = cidr.source().ok_or(NO_SOURCE)?;
                let window = millis(self.policy.watchtime);
                self.watch.touch(source, now, window, |_: &mut Score| {});
            }
            SetName::Jail | SetName::Parole => match (cidr.source(), cidr.network()) {
                (Some(source), _) => self.add_offender(set, source, time, comment, now, out)?,
                (None, Some(network)) if set == SetName::Jail => {
                    self.add_network(network, time, comment, now, out);
                }
                // A network has no parole; it is in jail all the same.
                (None, Some(_)) => {}
                (None, None) => return Err(NO_SOURCE),
            },
            SetName::Weak => {
                let source = cidr.source().ok_or(NO_SOURCE)?;
                if self
                    .weak
                    .get(family(source))
                    .is_some_and(|weak| weak.len() >= self.policy.maxjail as usize)
                {
                    return Err("the set is full");
                }
                let record = Span {
                    kind: Kind::Manual,
                    since: now,
                    until: now + time.min(millis(self.policy.weak_sentence())),
                    comment: comment.to_owned(),
                };
                self.commit(Fact::Weak { source, record }, now, out);
            }
            SetName::White => {
                self.list(List::White, cidr, comment, now, out);
                for set in [
                    SetName::Jail,
                    SetName::Parole,
                    SetName::Weak,
                    SetName::Watch,
                ] {
                    self.remove_within(set, cidr, now, out);
                }
            }
            SetName::Black => {
                let gateway = self
                    .gateways
                    .iter()
                    .any(|gateway| cidr.contains(gateway.address));
                if gateway || self.own.overlaps(&cidr) {
                    return Err("this host or its gateway is in it");
                }
                self.list(List::Black, cidr, comment, now, out);
            }
        }
        Ok(())
    }

    fn list(&mut self, list: List, cidr: Cidr, comment: &str, now: i64, out: &mut Outcome) {
        let comment = comment.to_owned();
        let is_there = self.comments.get(&(list, cidr)) == Some(&comment);
        if !is_there {
            self.commit(
                Fact::List {
                    list,
                    cidr,
                    comment,
                },
                now,
                out,
            );
        }
    }

    fn add_offender(
        &mut self,
        set: SetName,
        source: Source,
        time: i64,
        comment: &str,
        now: i64,
        out: &mut Outcome,
    ) -> Result<(), &'static str> {
        if !self.room_for_offender(source, now, out) {
            out.notes.push(Note::Full {
                source,
                set: Set::Jail,
            });
            return Err("the jail is full");
        }
        let old = self
            .offender(source)
            .filter(|record| record.parole_until > now)
            .cloned();
        let mut record = old.unwrap_or(Offender {
            kind: Kind::Manual,
            level: 1,
            since: now,
            until: now,
            parole_until: now,
            aggregates: false,
            comment: String::new(),
        });
        match set {
            SetName::Jail => {
                if record.until <= now {
                    record.since = now;
                }
                record.kind = Kind::Manual;
                record.until = record.until.max(now + time);
                self.watch.remove(&source);
            }
            _ => {
                let end = record.until.max(now) + millis(self.policy.parole_after());
                record.parole_until = record.parole_until.max(end);
            }
        }
        record.parole_until = record.parole_until.max(record.until);
        // It was counted when it was sentenced.
        record.aggregates = false;
        if !comment.is_empty() {
            comment.clone_into(&mut record.comment);
        }
        self.commit(Fact::Offender { source, record }, now, out);
        Ok(())
    }

    fn add_network(
        &mut self,
        network: Network,
        time: i64,
        comment: &str,
        now: i64,
        out: &mut Outcome,
    ) {
        let old = self
            .networks
            .get(&network)
            .filter(|record| record.until > now);
        let record = Span {
            kind: Kind::Manual,
            since: old.map_or(now, |record| record.since),
            until: old.map_or(0, |record| record.until).max(now + time),
            comment: comment.to_owned(),
        };
        self.commit(Fact::Network { network, record }, now, out);
    }

    /// Takes an address out, or everything within a network.
    fn remove(&mut self, set: SetName, cidr: Cidr, now: i64, out: &mut Outcome) {
        let list = match set {
            SetName::White => List::White,
            SetName::Black => List::Black,
            _ => return self.remove_within(set, cidr, now, out),
        };
        let is_in = |&(of, other): &(List, Cidr)| {
            of == list && other.overlaps(&cidr) && other.length() >= cidr.length()
        };
        let found: Vec<Cidr> = self
            .comments
            .keys()
            .filter(|key| is_in(key))
            .map(|key| key.1)
            .collect();
        for cidr in found {
            self.commit(Fact::Unlist { list, cidr }, now, out);
        }
    }

    fn remove_within(&mut self, set: SetName, cidr: Cidr, now: i64, out: &mut Outcome) {
        if set == SetName::Jail {
            let networks: Vec<Network> = self
                .networks
                .iter()
                .map(|(network, _)| *network)
                .filter(|network| Cidr::from(*network).overlaps(&cidr))
                .filter(|network| Cidr::from(*network).length() >= cidr.length())
                .collect();
            for network in networks {
                self.commit(Fact::NetworkFree { network }, now, out);
            }
        }
        let sources = match cidr.source() {
            Some(source) => vec![source],
            None => {
                let within = |source: &Source| Cidr::from(*source).overlaps(&cidr);
                let rows = self.sources(set);
                rows.into_iter().filter(within).collect()
            }
        };
        for source in sources {
            self.remove_source(set, source, now, out);
        }
    }

    fn sources(&self, set: SetName) -> Vec<Source> {
        match set {
            SetName::Watch => self.watch.iter().map(|(source, _)| source).collect(),
            SetName::Jail | SetName::Parole => {
                let tables = self.offenders.iter().flat_map(|table| table.iter());
                tables.map(|(source, _)| *source).collect()
            }
            SetName::Weak => {
                let tables = self.weak.iter().flat_map(|table| table.iter());
                tables.map(|(source, _)| *source).collect()
            }
            SetName::White | SetName::Black => vec![],
        }
    }

    fn remove_source(&mut self, set: SetName, source: Source, now: i64, out: &mut Outcome) {
        let fact = match set {
            SetName::Watch => {
                self.watch.remove(&source);
                return;
            }
            SetName::Weak => match self
                .weak
                .get(family(source))
                .and_then(|weak| weak.get(&source))
            {
                Some(_) => Fact::WeakFree { source },
                None => return,
            },
            _ => {
                let Some(old) = self.offender(source) else {
                    return;
                };
                let mut record = old.clone();
                match set {
                    // Without parole it is free at once.
                    SetName::Jail if record.parole_until <= record.until => {
                        record.parole_until = now;
                    }
                    SetName::Jail => record.until = record.until.min(now),
                    _ => record.parole_until = record.until,
                }
                // It was counted when it was sentenced.
                record.aggregates = false;
                match between(now, record.parole_until).is_zero() {
                    true => Fact::Free { source },
                    false => Fact::Offender { source, record },
                }
            }
        };
        self.commit(fact, now, out);
    }
}
