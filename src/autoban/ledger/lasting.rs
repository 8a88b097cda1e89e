//! What outlives the process: facts are carried out, listed for a snapshot, and projected for the kernel.
//!
//! Pure. Invariant: nothing that lasts changes but by [`Ledger::commit`].

use super::expiring::Expiring;
use super::{Fact, Ledger, Offender, Outcome, between, family, forget_proven, millis};
use crate::autoban::key::{Change, Set, Source};

impl Ledger {
    /// Carries out a fact that a journal holds. Its moment is that of the record.
    pub fn apply(&mut self, fact: Fact, at: i64) {
        let mut out = Outcome::default();
        self.expire(at, &mut out);
        self.commit(fact, at, &mut out);
    }

    /// The one way in which anything that lasts changes.
    pub(super) fn commit(&mut self, fact: Fact, now: i64, out: &mut Outcome) {
        out.facts.push(fact.clone());
        match fact {
            Fact::Offender { source, record } => self.put_offender(source, record, now, out),
            Fact::Free { source } => {
                let offenders = self.offenders.get_mut(family(source));
                let old = offenders.and_then(|table| table.remove(&source));
                if old.is_some_and(|record| record.until > now) {
                    out.changes.push(Change::Free {
                        set: Set::Jail,
                        source,
                    });
                }
            }
            Fact::Weak { source, record } => {
                if let Some(change) = ban(Set::Weak, source, record.since, record.until, now) {
                    out.changes.push(change);
                }
                if let Some(weak) = self.weak.get_mut(family(source)) {
                    let due = record.until;
                    weak.insert(source, record, due);
                }
            }
            Fact::WeakFree { source } => {
                let weak = self.weak.get_mut(family(source));
                if weak.is_some_and(|weak| weak.remove(&source).is_some()) {
                    out.changes.push(Change::Free {
                        set: Set::Weak,
                        source,
                    });
                }
            }
            Fact::Network { network, record } => {
                out.changes.push(Change::BanNetwork {
                    network,
                    timeout: between(record.since, record.until),
                    left: between(now, record.until),
                });
                let due = record.until;
                self.networks.insert(network, record, due);
            }
            Fact::NetworkFree { network } => {
                if self.networks.remove(&network).is_some() {
                    out.changes.push(Change::FreeNetwork { network });
                }
            }
            Fact::Trust { source, until } => self.put_proven(source, until),
            Fact::List {
                list,
                cidr,
                comment,
            } => {
                if let Some(set) = self.listed.get_mut(list as usize) {
                    set.insert(cidr);
                }
                self.comments.insert((list, cidr), comment);
                out.lists = true;
            }
            Fact::Unlist { list, cidr } => {
                if let Some(set) = self.listed.get_mut(list as usize) {
                    set.remove(&cidr);
                }
                self.comments.remove(&(list, cidr));
                out.lists = true;
            }
        }
    }

    fn put_offender(&mut self, source: Source, record: Offender, now: i64, out: &mut Outcome) {
        let was_jailed = self.offender(source).is_some_and(|old| old.until > now);
        match ban(Set::Jail, source, record.since, record.until, now) {
            Some(change) => out.changes.push(change),
            None if was_jailed => out.changes.push(Change::Free {
                set: Set::Jail,
                source,
            }),
            None => {}
        }
        if record.aggregates {
            let network = source.network();
            let most = self.policy.aggregatecount.max(1) as usize;
            let mut recent = self.recent.remove(&network).unwrap_or_default();
            recent.retain(|(other, _)| *other != source);
            recent.push((source, record.since));
            if recent.len() > most {
                recent.remove(0);
            }
            if self.recent.len() >= self.policy.maxjail as usize
                && let Some(spared) = self.recent.sample_lowest(|recent| Some(recent.len()))
            {
                self.recent.remove(&spared);
            }
            let due = record.since + millis(self.policy.aggregatetime);
            self.recent.insert(network, recent, due);
        }
        // First the end of the sentence, then that of the parole.
        let due = if record.until > now {
            record.until
        } else {
            record.parole_until
        };
        if let Some(offenders) = self.offenders.get_mut(family(source)) {
            offenders.insert(source, record, due);
        }
    }

    fn put_proven(&mut self, source: Source, until: i64) {
        if self.proven.len() >= self.policy.maxjail as usize
            && self.proven.get(&source).is_none()
            && let Some(spared) = self.proven.sample_lowest(|until| Some(*until))
        {
            self.proven.remove(&spared);
            forget_proven(&mut self.proven_in, spared);
        }
        if self.proven.insert(source, until, until).is_none() {
            *self.proven_in.entry(source.network()).or_default() += 1;
        }
    }

    /// Everything that lasts, as facts in a fixed order: the snapshot. Applied to an empty ledger it gives this one.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let offenders = self.offenders.iter().flat_map(Expiring::iter);
        let weak = self.weak.iter().flat_map(Expiring::iter);
        let lists = self
            .comments
            .iter()
            .map(|((list, cidr), comment)| Fact::List {
                list: *list,
                cidr: *cidr,
                comment: comment.clone(),
            });
        let mut facts: Vec<Fact> = offenders
            .map(|(source, record)| Fact::Offender {
                source: *source,
                record: record.clone(),
            })
            .chain(weak.map(|(source, record)| Fact::Weak {
                source: *source,
                record: record.clone(),
            }))
            .chain(self.networks.iter().map(|(network, record)| Fact::Network {
                network: *network,
                record: record.clone(),
            }))
            .chain(self.proven.iter().map(|(source, until)| Fact::Trust {
                source: *source,
                until: *until,
            }))
            .chain(lists)
            .collect();
        facts.sort_unstable();
        facts
    }

    /// Every running ban, for a kernel that has none of them.
    #[must_use]
    pub fn project(&self, now: i64) -> Vec<Change> {
        let offenders = self.offenders.iter().flat_map(Expiring::iter);
        let weak = self.weak.iter().flat_map(Expiring::iter);
        let networks = self
            .networks
            .iter()
            .filter(|(_, record)| record.until > now);
        offenders
            .filter_map(|(source, r)| ban(Set::Jail, *source, r.since, r.until, now))
            .chain(weak.filter_map(|(source, r)| ban(Set::Weak, *source, r.since, r.until, now)))
            .chain(networks.map(|(network, record)| Change::BanNetwork {
                network: *network,
                timeout: between(record.since, record.until),
                left: between(now, record.until),
            }))
            .collect()
    }
}

fn ban(set: Set, source: Source, since: i64, until: i64, now: i64) -> Option<Change> {
    (until > now).then(|| Change::Ban {
        set,
        source,
        timeout: between(since, until),
        left: between(now, until),
    })
}
