//! Who is watched, jailed, on parole, trusted: what AutoBan knows, and what follows from one more event.
//!
//! Pure. Moments are milliseconds since 1970 that do not go backwards; the caller sees to that. Every lasting change is a
//! [`Fact`]: [`Ledger::step`] decides on facts and carries them out, and a journal of them, applied to an empty ledger,
//! gives the same bans with the same ends.
//!
//! Invariants: a ban never shortens by more evidence; a protected address is never counted; weak evidence never leads to
//! jail, to a longer sentence or to the ban of a network; no table grows beyond its bound.

mod expiring;
mod fact;
mod hash;
mod lasting;
mod manual;
mod report;
mod watch;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::cidr::{Cidr, CidrSet};
use super::evidence::{Evidence, Grade, Kind, Meaning};
use super::key::{Network, Set, Source};
use super::policy::{Policy, TRUSTED_FACTOR};
use super::score::{ONE, Score};
use expiring::Expiring;
pub use fact::{Fact, List, Note, Offender, Outcome, Span};
pub use manual::{Item, Manual, SetName};
pub use report::{Counts, Row, Why};
use watch::Watch;

/// Why an address is never counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Stranger,
    Trusted,
    Whitelisted,
    /// An address of this host.
    Own,
    Gateway,
}

impl Standing {
    /// Whether nothing ever counts against it.
    #[must_use]
    pub fn is_protected(self) -> bool {
        match self {
            Standing::Whitelisted | Standing::Own | Standing::Gateway => true,
            Standing::Stranger | Standing::Trusted => false,
        }
    }
}

#[derive(Debug)]
struct Gateway {
    address: IpAddr,
    account: Option<u32>,
    is_hidden: bool,
}

/// What is known, all of it bounded.
#[derive(Debug)]
pub struct Ledger {
    policy: Policy,
    watch: Watch,
    /// By family: IPv4, IPv6.
    offenders: [Expiring<Source, Offender>; 2],
    weak: [Expiring<Source, Span>; 2],
    networks: Expiring<Network, Span>,
    /// The sources sentenced of late in a network, as many as matter.
    recent: Expiring<Network, Vec<(Source, i64)>>,
    /// Who showed a password, and until when that counts.
    proven: Expiring<Source, i64>,
    proven_in: HashMap<Network, u32>,
    /// Registered contacts and identified trunks.
    named: CidrSet,
    own: CidrSet,
    gateways: Vec<Gateway>,
    /// By the configuration: white, black.
    configured: [CidrSet; 2],
    /// By hand: white, black.
    listed: [CidrSet; 2],
    comments: BTreeMap<(List, Cidr), String>,
}

fn family(source: Source) -> usize {
    match source {
        Source::V4(_) => 0,
        Source::V6(_) => 1,
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}

/// The time from one moment to another, none if that is before.
fn between(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

impl Ledger {
    /// An empty ledger. The loopback and the resolver of Docker (127.0.0.11) are its own addresses from the start.
    #[must_use]
    pub fn new(policy: Policy) -> Ledger {
        let mut ledger = Ledger {
            watch: Watch::new(policy.maxwatch as usize),
            policy,
            offenders: Default::default(),
            weak: Default::default(),
            networks: Expiring::default(),
            recent: Expiring::default(),
            proven: Expiring::default(),
            proven_in: HashMap::new(),
            named: CidrSet::default(),
            own: CidrSet::default(),
            gateways: Vec::new(),
            configured: Default::default(),
            listed: Default::default(),
            comments: BTreeMap::new(),
        };
        ledger.set_own(&[]);
        ledger
    }

    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Another policy; running bans keep their ends.
    pub fn set_policy(&mut self, policy: Policy) {
        self.watch.set_most(policy.maxwatch as usize);
        self.policy = policy;
    }

    /// The addresses of this host, as the kernel's white list has them. A neighbour in the same /64 can be an attacker, and
    /// its ban spares these; link-local addresses are spared all together, or the link itself would be cut off.
    pub fn set_own(&mut self, addresses: &[IpAddr]) {
        let always = [
            Cidr::new([127, 0, 0, 0].into(), 8),
            Cidr::new([169, 254, 0, 0].into(), 16),
            Cidr::new(std::net::Ipv6Addr::LOCALHOST.into(), 128),
            Cidr::new([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10),
        ];
        self.own = addresses
            .iter()
            .map(|address| Cidr::host(*address))
            .chain(always.into_iter().flatten())
            .collect();
    }

    /// The default gateways. What was found out about one that stays is kept.
    pub fn set_gateways(&mut self, addresses: &[IpAddr]) {
        let mut known = std::mem::take(&mut self.gateways);
        for address in addresses {
            let at = known.iter().position(|gateway| gateway.address == *address);
            self.gateways.push(match at {
                Some(at) => known.swap_remove(at),
                None => Gateway {
                    address: *address,
                    account: None,
                    is_hidden: false,
                },
            });
        }
    }

    /// The gateway that hides who the clients are, if one does.
    #[must_use]
    pub fn hidden_behind(&self) -> Option<IpAddr> {
        let hidden = self.gateways.iter().find(|gateway| gateway.is_hidden)?;
        Some(hidden.address)
    }

    /// Registered contacts and identified trunks, trusted as long as they are named here.
    pub fn set_named(&mut self, trusted: impl IntoIterator<Item = Cidr>) {
        self.named = trusted.into_iter().collect();
    }

    /// The configuration's own lists.
    pub fn set_configured(&mut self, list: List, cidrs: impl IntoIterator<Item = Cidr>) {
        if let Some(set) = self.configured.get_mut(list as usize) {
            *set = cidrs.into_iter().collect();
        }
    }

    /// Everything on a list, by the configuration and by hand, without repeats.
    #[must_use]
    pub fn listed(&self, list: List) -> Vec<Cidr> {
        let sets = [
            self.configured.get(list as usize),
            self.listed.get(list as usize),
        ];
        let mut all: Vec<Cidr> = sets.into_iter().flatten().flat_map(CidrSet::iter).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn find_listed(&self, list: List, address: IpAddr) -> Option<Cidr> {
        let sets = [
            self.configured.get(list as usize),
            self.listed.get(list as usize),
        ];
        sets.into_iter().flatten().find_map(|set| set.find(address))
    }

    /// How an address stands.
    #[must_use]
    pub fn standing(&self, address: IpAddr, now: i64) -> Standing {
        if self.find_listed(List::White, address).is_some() {
            Standing::Whitelisted
        } else if self
            .gateways
            .iter()
            .any(|gateway| gateway.address == address)
        {
            // Before the own addresses, for it can be link-local: who hides behind it must be found out.
            Standing::Gateway
        } else if self.own.find(address).is_some() {
            Standing::Own
        } else if self.named.find(address).is_some() || self.is_proven(Source::of(address), now) {
            Standing::Trusted
        } else {
            Standing::Stranger
        }
    }

    fn is_proven(&self, source: Source, now: i64) -> bool {
        self.proven.get(&source).is_some_and(|until| *until > now)
    }

    fn offender(&self, source: Source) -> Option<&Offender> {
        self.offenders.get(family(source))?.get(&source)
    }

    fn is_jailed(&self, source: Source, now: i64) -> bool {
        self.offender(source)
            .is_some_and(|record| record.until > now)
            || self
                .networks
                .get(&source.network())
                .is_some_and(|record| record.until > now)
    }

    fn is_weakly_banned(&self, source: Source, now: i64) -> bool {
        let weak = self
            .weak
            .get(family(source))
            .and_then(|weak| weak.get(&source));
        weak.is_some_and(|record| record.until > now)
    }

    /// Whether evidence counts against an address as against a stranger: who is banned already sends nothing any more.
    #[must_use]
    pub fn is_free(&self, address: IpAddr, now: i64) -> bool {
        self.standing(address, now) == Standing::Stranger
            && !self.is_jailed(Source::of(address), now)
            && self.find_listed(List::Black, address).is_none()
    }

    /// Whether SIP over UDP has been closed to a source at least since that moment, and still is: what comes from there now,
    /// and was no packet on its way then, came over a connection.
    #[must_use]
    pub fn is_closed_since(&self, address: IpAddr, moment: i64, now: i64) -> bool {
        let source = Source::of(address);
        let weak = self.weak.get(family(source));
        weak.and_then(|weak| weak.get(&source))
            .is_some_and(|record| record.since <= moment && record.until > now)
    }

    /// One event more, or with [`Meaning::Nothing`] only the time.
    pub fn step(&mut self, meaning: Meaning, now: i64) -> Outcome {
        let mut out = Outcome::default();
        self.expire(now, &mut out);
        match meaning {
            Meaning::Against(evidence) => self.against(&evidence, now, &mut out),
            Meaning::Success { address, .. } => self.success(address, now, &mut out),
            Meaning::Misconfigured { .. } | Meaning::Nothing => {}
        }
        out
    }

    fn against(&mut self, evidence: &Evidence, now: i64, out: &mut Outcome) {
        let source = evidence.source();
        let standing = self.standing(evidence.address, now);
        if standing == Standing::Gateway {
            self.seen_at_gateway(evidence.address, Some(evidence.account), out);
        }
        if standing.is_protected()
            || self.is_jailed(source, now)
            || self.find_listed(List::Black, evidence.address).is_some()
        {
            return;
        }
        let is_trusted = standing == Standing::Trusted;
        let is_strong = evidence.grade == Grade::Strong;
        if !is_strong && self.is_weakly_banned(source, now) {
            return;
        }
        let is_on_parole = self
            .offender(source)
            .is_some_and(|record| record.parole_until > now);
        if is_strong && !is_trusted && is_on_parole {
            return self.sentence(evidence, source, false, now, out);
        }
        let window = millis(self.policy.watchtime);
        // Only who is trusted gets a word before the ban.
        let before = is_trusted.then(|| self.watch.get(&source)).flatten();
        let score = self.watch.touch(source, now, window, |score| {
            score.add(evidence, is_trusted, now, window);
        });
        let enough = self.policy.maxcount * u32::from(ONE);
        let maxcount = self.policy.maxcount;
        let is_suspect = |score: &Score| score.strong() >= enough || score.repeats() >= maxcount;
        match evidence.grade {
            Grade::Strong if is_trusted => {
                if score.strong() >= enough * TRUSTED_FACTOR {
                    self.sentence(evidence, source, true, now, out);
                } else if is_suspect(&score) && !before.is_some_and(|before| is_suspect(&before)) {
                    out.notes.push(suspect(evidence));
                }
            }
            Grade::Strong if score.strong() >= enough => {
                self.sentence(evidence, source, false, now, out);
            }
            Grade::Weak if is_trusted && score.weak() == enough => {
                out.notes.push(suspect(evidence));
            }
            Grade::Weak if !is_trusted && score.weak() >= enough => {
                self.weak_ban(evidence, source, now, out);
            }
            Grade::Strong | Grade::Weak => {}
        }
    }

    fn sentence(
        &mut self,
        evidence: &Evidence,
        source: Source,
        trusted: bool,
        now: i64,
        out: &mut Outcome,
    ) {
        let parole = self
            .offender(source)
            .filter(|record| record.parole_until > now);
        let level = parole.map_or(0, |record| record.level).saturating_add(1);
        let until = now + millis(self.policy.sentence(level));
        let record = Offender {
            kind: evidence.kind,
            level,
            since: now,
            until,
            parole_until: until + millis(self.policy.parole_after()),
            aggregates: !trusted,
            comment: String::new(),
        };
        if !self.room_for_offender(source, now, out) {
            out.notes.push(Note::Full {
                source,
                set: Set::Jail,
            });
            return;
        }
        self.watch.remove(&source);
        out.notes.push(Note::Jailed {
            source,
            record: record.clone(),
            trusted,
        });
        self.commit(Fact::Offender { source, record }, now, out);
        if !trusted {
            self.aggregate(source.network(), evidence.kind, now, out);
        }
    }

    /// Bans a network in which enough sources were sentenced, if nobody in it is trusted.
    fn aggregate(&mut self, network: Network, kind: Kind, now: i64, out: &mut Outcome) {
        let since = now - millis(self.policy.aggregatetime);
        let count = self.recent.get(&network).map_or(0, |recent| {
            recent.iter().filter(|(_, moment)| *moment > since).count()
        });
        let is_full = self.networks.len() >= self.policy.maxjail as usize;
        if count < self.policy.aggregatecount as usize || self.has_friends(network) || is_full {
            return;
        }
        let record = Span {
            kind,
            since: now,
            until: now + millis(self.policy.jailtime),
            comment: String::new(),
        };
        out.notes.push(Note::NetworkBanned {
            network,
            record: record.clone(),
        });
        self.commit(Fact::Network { network, record }, now, out);
    }

    /// Whether a trusted or protected address lies within.
    fn has_friends(&self, network: Network) -> bool {
        let cidr = Cidr::from(network);
        let sets = [&self.named, &self.own];
        self.proven_in.contains_key(&network)
            || sets.iter().any(|set| set.overlaps(&cidr))
            || self
                .gateways
                .iter()
                .any(|gateway| cidr.contains(gateway.address))
            || self
                .configured
                .first()
                .is_some_and(|set| set.overlaps(&cidr))
            || self.listed.first().is_some_and(|set| set.overlaps(&cidr))
    }

    fn weak_ban(&mut self, evidence: &Evidence, source: Source, now: i64, out: &mut Outcome) {
        let most = self.policy.maxjail as usize;
        let Some(weak) = self.weak.get_mut(family(source)) else {
            return;
        };
        if weak.len() >= most
            && weak.get(&source).is_none()
            && let Some(spared) = weak.sample_lowest(|record| Some(record.until))
        {
            out.notes.push(Note::Evicted {
                source: spared,
                set: Set::Weak,
            });
            self.commit(Fact::WeakFree { source: spared }, now, out);
        }
        let window = millis(self.policy.watchtime);
        self.watch
            .touch(source, now, window, |score| score.forget_weak());
        let record = Span {
            kind: evidence.kind,
            since: now,
            until: now + millis(self.policy.weak_sentence()),
            comment: String::new(),
        };
        out.notes.push(Note::WeakBanned {
            source,
            record: record.clone(),
        });
        self.commit(Fact::Weak { source, record }, now, out);
    }

    /// Sees to it that one more offender fits; who was sentenced twice or more never goes for another.
    fn room_for_offender(&mut self, source: Source, now: i64, out: &mut Outcome) -> bool {
        let most = self.policy.maxjail as usize;
        let Some(offenders) = self.offenders.get_mut(family(source)) else {
            return false;
        };
        if offenders.len() < most || offenders.get(&source).is_some() {
            return true;
        }
        let spared = offenders.sample_lowest(|record| {
            let is_jailed = record.until > now;
            let is_firm = is_jailed && (record.level >= 2 || record.kind == Kind::Manual);
            (!is_firm).then_some((is_jailed, record.level, record.until))
        });
        let Some(spared) = spared else {
            return false;
        };
        if self.is_jailed(spared, now) {
            out.notes.push(Note::Evicted {
                source: spared,
                set: Set::Jail,
            });
        }
        self.commit(Fact::Free { source: spared }, now, out);
        true
    }

    fn success(&mut self, address: IpAddr, now: i64, out: &mut Outcome) {
        let source = Source::of(address);
        match self.standing(address, now) {
            Standing::Gateway => {
                self.seen_at_gateway(address, None, out);
                return;
            }
            Standing::Own | Standing::Whitelisted => return,
            Standing::Trusted | Standing::Stranger => {}
        }
        let trusttime = millis(self.policy.trusttime);
        let until = now + trusttime;
        // A phone registers every minute; the journal hears of it a few times a day.
        let known = self.proven.get(&source).copied().unwrap_or(i64::MIN);
        if until.saturating_sub(known) >= trusttime / 24 {
            self.commit(Fact::Trust { source, until }, now, out);
        }
        if self.is_weakly_banned(source, now) {
            self.commit(Fact::WeakFree { source }, now, out);
            out.notes.push(Note::Pardoned {
                cidr: source.into(),
            });
        }
        let network = source.network();
        let is_banned_by_evidence = self
            .networks
            .get(&network)
            .is_some_and(|record| record.kind != Kind::Manual && record.until > now);
        if is_banned_by_evidence {
            self.commit(Fact::NetworkFree { network }, now, out);
            out.notes.push(Note::Pardoned {
                cidr: network.into(),
            });
        }
    }

    /// Two accounts, or one that knows its password, at the gateway's address: it stands for others.
    fn seen_at_gateway(&mut self, address: IpAddr, account: Option<u32>, out: &mut Outcome) {
        let gateway = self
            .gateways
            .iter_mut()
            .find(|gateway| gateway.address == address);
        let Some(gateway) = gateway.filter(|gateway| !gateway.is_hidden) else {
            return;
        };
        let is_second = match (gateway.account, account) {
            (Some(first), Some(account)) => first != account,
            (_, None) => true,
            (None, Some(_)) => false,
        };
        gateway.account = gateway.account.or(account);
        if is_second {
            gateway.is_hidden = true;
            out.notes.push(Note::SourceHidden { gateway: address });
        }
    }

    /// Lets go of what is over.
    fn expire(&mut self, now: i64, out: &mut Outcome) {
        for offenders in &mut self.offenders {
            offenders.expire(now, |source, record| {
                if record.parole_until <= now {
                    return None;
                }
                out.notes.push(Note::Released {
                    source: *source,
                    parole_until: record.parole_until,
                });
                Some(record.parole_until)
            });
        }
        for weak in &mut self.weak {
            weak.expire(now, |_, _| None);
        }
        self.networks.expire(now, |_, _| None);
        self.recent.expire(now, |_, _| None);
        let proven_in = &mut self.proven_in;
        self.proven.expire(now, |source, _| {
            forget_proven(proven_in, *source);
            None
        });
    }
}

fn suspect(evidence: &Evidence) -> Note {
    Note::TrustedSuspect {
        source: evidence.source(),
        grade: evidence.grade,
        kind: evidence.kind,
    }
}

fn forget_proven(proven_in: &mut HashMap<Network, u32>, source: Source) {
    let network = source.network();
    if let Some(count) = proven_in.get_mut(&network) {
        *count -= 1;
        if *count == 0 {
            proven_in.remove(&network);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::autoban) mod laws;
