//! What the ledger tells an operator.
//!
//! Pure.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Expiring, Ledger, List, Offender, SetName, Span, Standing, between, family};
use crate::autoban::cidr::Cidr;
use crate::autoban::evidence::Kind;
use crate::autoban::key::Source;
use crate::autoban::score::ONE;

/// One entry of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub cidr: Cidr,
    /// What remains of it; `None` for what has no end of its own.
    pub left: Option<Duration>,
    /// Events in the watch list, sentences in jail and on parole.
    pub count: u32,
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// How many entries each set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub watch: usize,
    /// In jail and on parole.
    pub offenders: usize,
    pub weak: usize,
    pub networks: usize,
    pub trusted: usize,
    pub white: usize,
    pub black: usize,
    /// Sources that the watch list had to forget.
    pub forgotten: u64,
}

/// All that is known of an address. Displayed, it is lines for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    pub address: IpAddr,
    /// As it is counted.
    pub source: Source,
    pub standing: Standing,
    pub white: Option<Cidr>,
    pub black: Option<Cidr>,
    /// Strong and weak events that count now, and how many accounts and failures were told apart in the strong ones.
    pub strong: u32,
    pub weak: u32,
    pub accounts: usize,
    /// How often a trusted source came up with the same again, within one watch time at most.
    pub repeats: u32,
    /// How many are enough.
    pub enough: u32,
    pub offender: Option<Offender>,
    pub weak_ban: Option<Span>,
    pub network: Option<Span>,
    pub trusted_until: Option<i64>,
    /// The moment that this was true.
    pub now: i64,
}

impl Ledger {
    /// What is held against an address, and what for it.
    #[must_use]
    pub fn why(&self, address: IpAddr, now: i64) -> Why {
        let source = Source::of(address);
        let score = self.watch.get(&source);
        let standing = self.standing(address, now);
        let factor = match standing {
            Standing::Trusted => super::TRUSTED_FACTOR,
            _ => 1,
        };
        let one = u32::from(ONE);
        let weak_ban = self
            .weak
            .get(family(source))
            .and_then(|weak| weak.get(&source));
        Why {
            address,
            source,
            standing,
            white: self.find_listed(List::White, address),
            black: self.find_listed(List::Black, address),
            strong: score.map_or(0, |score| score.strong() / one),
            weak: score.map_or(0, |score| score.weak() / one),
            accounts: score.map_or(0, |score| score.accounts()),
            repeats: score.map_or(0, |score| score.repeats()),
            enough: self.policy.maxcount * factor,
            offender: self
                .offender(source)
                .filter(|r| r.parole_until > now)
                .cloned(),
            weak_ban: weak_ban.filter(|record| record.until > now).cloned(),
            network: self
                .networks
                .get(&source.network())
                .filter(|record| record.until > now)
                .cloned(),
            trusted_until: self
                .proven
                .get(&source)
                .copied()
                .filter(|until| *until > now),
            now,
        }
    }

    /// The entries of a set, in order.
    #[must_use]
    pub fn rows(&self, set: SetName, now: i64) -> Vec<Row> {
        let mut rows: Vec<Row> = match set {
            SetName::Watch => self
                .watch
                .iter()
                .map(|(source, score)| Row {
                    cidr: source.into(),
                    left: None,
                    count: (score.strong() + score.weak()) / u32::from(ONE),
                    kind: None,
                    comment: String::new(),
                })
                .collect(),
            SetName::Jail => self
                .offender_rows(set, now, |record| record.until)
                .chain(
                    self.networks
                        .iter()
                        .map(|(network, r)| row((*network).into(), r, now)),
                )
                .collect(),
            SetName::Parole => self
                .offender_rows(set, now, |record| record.parole_until)
                .collect(),
            SetName::Weak => self
                .weak
                .iter()
                .flat_map(Expiring::iter)
                .map(|(source, record)| row((*source).into(), record, now))
                .collect(),
            SetName::White => self.list_rows(List::White),
            SetName::Black => self.list_rows(List::Black),
        };
        rows.retain(|row| row.left != Some(Duration::ZERO));
        rows.sort_unstable_by_key(|row| row.cidr);
        rows
    }

    fn offender_rows(
        &self,
        set: SetName,
        now: i64,
        end: impl Fn(&Offender) -> i64,
    ) -> impl Iterator<Item = Row> {
        let offenders = self.offenders.iter().flat_map(Expiring::iter);
        let is_shown =
            move |record: &Offender| set == SetName::Jail || record.parole_until > record.until;
        let offenders = offenders.filter(move |(_, record)| is_shown(record));
        offenders.map(move |(source, record)| Row {
            cidr: (*source).into(),
            left: Some(between(now, end(record))),
            count: u32::from(record.level),
            kind: Some(record.kind),
            comment: record.comment.clone(),
        })
    }

    fn list_rows(&self, list: List) -> Vec<Row> {
        let entries = self.listed(list).into_iter();
        entries
            .map(|cidr| Row {
                cidr,
                left: None,
                count: 0,
                kind: None,
                comment: self
                    .comments
                    .get(&(list, cidr))
                    .cloned()
                    .unwrap_or_default(),
            })
            .collect()
    }

    /// How many entries there are, in O(1).
    #[must_use]
    pub fn counts(&self) -> Counts {
        let [white, black] = [0, 1].map(|list| {
            [&self.configured, &self.listed]
                .iter()
                .filter_map(|sets| sets.get(list))
                .map(|set| set.len())
                .sum()
        });
        Counts {
            watch: self.watch.len(),
            offenders: self.offenders.iter().map(Expiring::len).sum(),
            weak: self.weak.iter().map(Expiring::len).sum(),
            networks: self.networks.len(),
            trusted: self.proven.len(),
            white,
            black,
            forgotten: self.watch.forgotten(),
        }
    }
}

fn row(cidr: Cidr, record: &Span, now: i64) -> Row {
    Row {
        cidr,
        left: Some(between(now, record.until)),
        count: 1,
        kind: Some(record.kind),
        comment: record.comment.clone(),
    }
}

/// A time in the words of the configuration: `1d2h3m4s`.
pub(super) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        (seconds / 86_400, 'd'),
        (seconds / 3600 % 24, 'h'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |until: i64| words(between(self.now, until));
        writeln!(f, "{} counts as {}", self.address, self.source)?;
        match self.standing {
            Standing::Stranger => {}
            Standing::Trusted => match self.trusted_until {
                Some(until) => writeln!(f, "trusted for {}: it logged in", left(until))?,
                None => writeln!(f, "trusted: a registered contact or a trunk")?,
            },
            Standing::Whitelisted => {}
            Standing::Own => writeln!(f, "never banned: an address of this host")?,
            Standing::Gateway => writeln!(f, "never banned: the default gateway")?,
        }
        if let Some(cidr) = self.white {
            writeln!(f, "never banned: {cidr} is on the white list")?;
        }
        if let Some(cidr) = self.black {
            writeln!(f, "dropped: {cidr} is on the black list")?;
        }
        if let Some(record) = &self.offender {
            let (kind, level) = (record.kind.words(), record.level);
            match record.until > self.now {
                true => writeln!(
                    f,
                    "in jail for {} (sentence {level}, {kind})",
                    left(record.until)
                )?,
                false => writeln!(
                    f,
                    "on parole for {} (after sentence {level}, {kind})",
                    left(record.parole_until)
                )?,
            }
            if !record.comment.is_empty() {
                writeln!(f, "comment: {}", record.comment.escape_debug())?;
            }
        }
        if let Some(record) = &self.network {
            let network = self.source.network();
            writeln!(
                f,
                "{network} is in jail for {} ({})",
                left(record.until),
                record.kind.words()
            )?;
        }
        if let Some(record) = &self.weak_ban {
            let (left, kind) = (left(record.until), record.kind.words());
            writeln!(
                f,
                "SIP over UDP is closed for {left} ({kind}, which can be forged)"
            )?;
        }
        if self.strong + self.weak > 0 {
            writeln!(
                f,
                "watched: {} proven and {} forgeable events, {} are enough",
                self.strong, self.weak, self.enough
            )?;
        }
        if self.repeats > 0 {
            writeln!(
                f,
                "an account failed {} times more as it had before, as with a stale password; up to once a second that weighs nothing",
                self.repeats
            )?;
        }
        Ok(())
    }
}
