//! What the daemon's answers hold, as the command shows it: entries of sets, and the facts of an address.
//!
//! Pure. The daemon sends the ledger's own shapes; a field that a later one adds is passed over.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::autoban::cidr::Cidr;
use crate::autoban::evidence::Kind;
use crate::autoban::ledger::{Offender, SetName, Span};

/// `ledger::Row`, read back.
#[derive(Debug, Deserialize)]
struct Row {
    cidr: Cidr,
    #[serde(default)]
    left: Option<Duration>,
    #[serde(default)]
    count: u32,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    comment: String,
}

/// One entry of a set, as `--json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub address: Cidr,
    /// Its name by reverse DNS; not there unless it was asked for and has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Seconds that are left; null for what has no end of its own.
    pub left_s: Option<u64>,
    /// Events in the watch list, sentences elsewhere.
    pub count: u32,
    /// What for; null where nothing was held against it.
    pub why: Option<&'static str>,
    pub comment: String,
}

/// A set with its entries, as `--json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub set: SetName,
    pub entries: Vec<Entry>,
}

impl Listed {
    /// Reads one set of the answer to `list`; `None` if it is not the shape that we know.
    pub fn read(set: SetName, rows: Vec<Value>) -> Option<Listed> {
        let entry = |row: Value| {
            let row: Row = serde_json::from_value(row).ok()?;
            Some(Entry {
                address: row.cidr,
                name: None,
                left_s: row.left.map(|left| left.as_secs()),
                count: row.count,
                why: row.kind.map(Kind::words),
                comment: row.comment,
            })
        };
        let entries: Option<Vec<Entry>> = rows.into_iter().map(entry).collect();
        Some(Listed {
            set,
            entries: entries?,
        })
    }
}

impl Entry {
    /// The address if it is a single one, so that it can have a name.
    pub fn host(&self) -> Option<IpAddr> {
        let address = self.address.address();
        (self.address == Cidr::host(address)).then_some(address)
    }
}

/// `ledger::Why`, read back as far as the command needs it.
#[derive(Debug, Deserialize)]
pub struct Facts {
    pub address: IpAddr,
    standing: String,
    #[serde(default)]
    white: Option<Cidr>,
    #[serde(default)]
    black: Option<Cidr>,
    #[serde(default)]
    strong: u32,
    #[serde(default)]
    weak: u32,
    #[serde(default)]
    enough: u32,
    #[serde(default)]
    offender: Option<Offender>,
    #[serde(default)]
    weak_ban: Option<Span>,
    #[serde(default)]
    network: Option<Span>,
    #[serde(default)]
    trusted_until: Option<i64>,
    #[serde(default)]
    lists: Vec<OnList>,
    #[serde(default)]
    now: i64,
}

/// An imported block list that holds the address.
#[derive(Debug, Deserialize)]
struct OnList {
    from: String,
    entry: Cidr,
    until: i64,
}

/// What `why --json` prints.
#[derive(Debug, Serialize)]
pub struct Why {
    pub address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub verdict: Verdict,
    /// `stranger`, `trusted`, `whitelisted`, `own` or `gateway`.
    standing: String,
    /// The entry of the white and of the black list that holds it.
    white: Option<Cidr>,
    black: Option<Cidr>,
    jail: Option<Sentence>,
    parole: Option<Sentence>,
    /// The /24 or /48 around it.
    network: Option<Sentence>,
    /// SIP over UDP is closed.
    weak: Option<Sentence>,
    /// Events that count now, proven and forgeable, and how many of either are enough.
    strong_events: u32,
    weak_events: u32,
    enough: u32,
    trusted_for_s: Option<u64>,
    /// The imported block lists that hold it.
    lists: Vec<Listing>,
}

/// An imported block list, as `--json` has it.
#[derive(Debug, Serialize)]
struct Listing {
    from: String,
    entry: Cidr,
    left_s: u64,
}

/// One ban, as `--json` has it.
#[derive(Debug, Serialize)]
struct Sentence {
    left_s: u64,
    /// How many sentences it is, where that is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u8>,
    why: &'static str,
    comment: String,
}

/// What happens to the packets of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All are dropped.
    Banned,
    /// SIP over UDP is dropped.
    SipOverUdp,
    Free,
}

impl Facts {
    /// What happens to its packets; the white list wins.
    pub fn verdict(&self) -> Verdict {
        let is_in_jail = self.offender.as_ref().is_some_and(|o| o.until > self.now);
        // This host and its gateway are on the kernel's white list, too.
        let is_spared = matches!(self.standing.as_str(), "own" | "gateway");
        let is_listed = !self.lists.is_empty() && !is_spared;
        let is_banned = is_in_jail || self.network.is_some() || self.black.is_some() || is_listed;
        match (is_banned, self.weak_ban.is_some()) {
            _ if self.white.is_some() => Verdict::Free,
            (true, _) => Verdict::Banned,
            (false, true) => Verdict::SipOverUdp,
            (false, false) => Verdict::Free,
        }
    }

    /// In the shape of `--json`.
    pub fn report(self, name: Option<String>) -> Why {
        let now = self.now;
        let left = |until: i64| u64::try_from(until.saturating_sub(now) / 1000).unwrap_or(0);
        let span = |span: &Span| Sentence {
            left_s: left(span.until),
            number: None,
            why: span.kind.words(),
            comment: span.comment.clone(),
        };
        let offence = |record: &Offender, until: i64| Sentence {
            left_s: left(until),
            number: Some(record.level),
            why: record.kind.words(),
            comment: record.comment.clone(),
        };
        let (jailed, paroled) = match &self.offender {
            Some(record) if record.until > now => (Some(offence(record, record.until)), None),
            Some(record) => (None, Some(offence(record, record.parole_until))),
            None => (None, None),
        };
        let verdict = self.verdict();
        let listing = |list: OnList| Listing {
            left_s: left(list.until),
            from: list.from,
            entry: list.entry,
        };
        Why {
            lists: self.lists.into_iter().map(listing).collect(),
            address: self.address,
            name,
            verdict,
            jail: jailed,
            parole: paroled,
            network: self.network.as_ref().map(span),
            weak: self.weak_ban.as_ref().map(span),
            standing: self.standing,
            white: self.white,
            black: self.black,
            strong_events: self.strong,
            weak_events: self.weak,
            enough: self.enough,
            trusted_for_s: self.trusted_until.map(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoban::ledger::{Ledger, Manual};
    use crate::autoban::policy::Policy;

    const NOW: i64 = 1_800_000_000_000;

    /// What an address comes to after these orders, through the daemon's own shapes.
    fn verdict(orders: &[Manual], address: &str) -> Verdict {
        let mut ledger = Ledger::new(Policy::default());
        for order in orders {
            ledger.manual(order, NOW);
        }
        let facts = serde_json::to_value(ledger.why(address.parse().unwrap(), NOW)).unwrap();
        let facts: Facts = serde_json::from_value(facts).unwrap();
        facts.verdict()
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn the_verdict_is_the_kernels() {
        let ban = |text: &str| Manual::ban(cidr(text), None, "");
        let weak = Manual::add(&["weak", "=", "192.0.2.7"]).unwrap();
        let parole = Manual::add(&["parole", "=", "192.0.2.7"]).unwrap();
        let of = |orders: &[Manual]| verdict(orders, "192.0.2.7");
        assert_eq!(of(&[]), Verdict::Free);
        assert_eq!(of(&[ban("192.0.2.7")]), Verdict::Banned);
        assert_eq!(of(&[ban("192.0.2.0/24")]), Verdict::Banned);
        assert_eq!(
            of(&[Manual::deny(cidr("192.0.0.0/16"), "")]),
            Verdict::Banned
        );
        assert_eq!(of(&[weak]), Verdict::SipOverUdp);
        assert_eq!(of(&[parole]), Verdict::Free);
        let inside = [ban("192.0.2.0/24"), Manual::allow(cidr("192.0.2.7"), "")];
        assert_eq!(of(&inside), Verdict::Free);
        assert_eq!(
            verdict(&[ban("2001:db8::1")], "2001:db8::ffff"),
            Verdict::Banned
        );
    }

    #[test]
    fn who_is_on_a_block_list_is_banned_unless_it_is_spared() {
        let of = |standing: &str, white: Option<&str>| {
            let list = serde_json::json!({"from": "/x", "entry": "192.0.2.0/24", "until": NOW});
            let facts = serde_json::json!({
                "address": "192.0.2.7", "standing": standing, "white": white, "lists": [list]
            });
            let facts: Facts = serde_json::from_value(facts).unwrap();
            facts.verdict()
        };
        assert_eq!(of("stranger", None), Verdict::Banned);
        assert_eq!(of("trusted", None), Verdict::Banned);
        assert_eq!(of("whitelisted", Some("192.0.2.7")), Verdict::Free);
        assert_eq!(of("own", None), Verdict::Free);
        assert_eq!(of("gateway", None), Verdict::Free);
    }

    #[test]
    fn a_row_that_is_no_row_is_refused() {
        assert_eq!(Listed::read(SetName::Jail, vec![Value::Null]), None);
        let row = serde_json::json!({"cidr": "2001:db8::/64", "later": 1});
        let listed = Listed::read(SetName::Jail, vec![row]).unwrap();
        assert_eq!(listed.entries[0].host(), None);
    }
}
