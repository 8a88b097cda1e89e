//! The life of the certificate in use: found, staged, switched to, reloaded, proven; or switched back.
//!
//! Pure: events in, effects out, one effect of work at a time. It does not know what a certificate looks like; offers come
//! checked. Invariant: what was proven is left only for what is sound, and an offer that the PBX refused is not tried
//! again until somebody says so or another one comes.

mod proof;

use serde::{Deserialize, Serialize};

use super::pair::{Facts, Source};
pub use proof::{Door, Outcome, Proof, Verdict, judge, lost};

/// Seconds between two looks at the sources, and between two proofs when all is well.
const LOOK: i64 = 30;
const PROVE: i64 = 600;
/// As many refused offers are remembered.
const MOST_REFUSED: usize = 32;

/// Something sound that a source has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub source: Source,
    /// What the offer is recognised by.
    pub digest: String,
    pub facts: Vec<Facts>,
}

/// What is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub generation: String,
    #[serde(flatten)]
    pub found: Found,
}

/// An offer that the PBX did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub digest: String,
    pub why: String,
    /// Seconds since 1970.
    pub at: i64,
}

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A file has changed, or somebody wants a look now.
    Look,
    /// The sources were looked at. `Err`: nothing to take, and why.
    Looked(Result<Found, String>),
    /// The offer is on disk, under this name.
    Staged(Result<String, String>),
    Switched(Result<(), String>),
    Reloaded(Reload),
    Proved(Vec<Proof>),
    /// Somebody wants to know what the listeners show.
    Check,
    /// What was refused may be tried again.
    Forgive,
}

/// How a reload went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    Done,
    /// It reads its files when it starts.
    PbxDown,
    Failed(String),
}

/// What is to be done. Each one of work is answered by the event of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Look,
    Stage,
    Switch(String),
    /// `heal`: let the PBX open again what a bad pair has closed.
    Reload {
        heal: bool,
    },
    Prove,
    /// What the user wants to be run after a proven switch.
    RunHook,
    /// To be told and written down.
    Record(Record),
    /// The refused offers have changed.
    KeepRefused,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970.
    pub at: i64,
    pub what: What,
    pub source: Source,
    pub names: Vec<String>,
    pub fingerprints: Vec<String>,
    pub not_after: Option<i64>,
    pub generation: Option<String>,
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// In use, and every listener showed it.
    Proven,
    /// In use; nobody listens yet who could show it.
    Switched,
    /// Refused by a listener, and the one before is in use again.
    RolledBack,
    /// Refused by a listener, with nothing to go back to.
    Kept,
    /// It could not be put in place.
    Failed,
    /// A listener that had lost its certificate has it again.
    Healed,
}

/// What goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Resting,
    Looking,
    /// What the listeners show before anything is touched.
    Comparing(Found),
    Staging(Found),
    Switching {
        to: Live,
        back: Option<Live>,
    },
    Reloading {
        change: Change,
        healing: bool,
    },
    Proving {
        change: Change,
        healing: bool,
    },
    /// An order to prove what is in use.
    Checking,
    /// What is in use is not shown by a listener: once, the PBX is told again.
    Mending,
    Remeasuring,
}

/// A switch that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    back: Option<Live>,
    /// It goes back, for this reason, from this one.
    refused: Option<(Live, String)>,
}

/// The keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeper {
    state: State,
    live: Option<Live>,
    /// What the listeners showed last.
    proofs: Vec<Proof>,
    refused: Vec<Refused>,
    /// Why there is nothing newer, and what went wrong last.
    nothing: Option<String>,
    trouble: Option<String>,
    look_at: i64,
    prove_at: i64,
    is_wanted: bool,
    is_mended: bool,
}

impl Keeper {
    /// Begins with what an earlier run has left.
    pub fn new(live: Option<Live>, refused: Vec<Refused>) -> Keeper {
        Keeper {
            state: State::Resting,
            live,
            proofs: Vec::new(),
            refused,
            nothing: None,
            trouble: None,
            look_at: i64::MIN,
            prove_at: i64::MIN,
            is_wanted: false,
            is_mended: false,
        }
    }

    pub fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    pub fn nothing(&self) -> Option<&str> {
        self.nothing.as_deref()
    }

    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub fn is_resting(&self) -> bool {
        self.state == State::Resting
    }

    /// When it next wants to be told that time has passed, in seconds since 1970.
    pub fn wakes_at(&self) -> i64 {
        match self.live {
            Some(_) => self.look_at.min(self.prove_at),
            None => self.look_at,
        }
    }

    /// Takes an event in; what is to be done comes in its order. `now` in seconds since 1970; a clock that was set back
    /// delays nothing for longer than it was to wait.
    pub fn step(&mut self, event: Event, now: i64) -> Vec<Effect> {
        self.look_at = self.look_at.min(now + LOOK);
        self.prove_at = self.prove_at.min(now + PROVE);
        match event {
            Event::Look => {
                self.is_wanted = true;
                self.rest(now)
            }
            Event::Forgive => {
                self.is_wanted = true;
                let had = !std::mem::take(&mut self.refused).is_empty();
                let mut effects = Vec::from_iter(had.then_some(Effect::KeepRefused));
                effects.extend(self.rest(now));
                effects
            }
            Event::Check => {
                self.prove_at = now;
                self.rest(now)
            }
            Event::Tick => self.rest(now),
            event => self.work(event, now),
        }
    }

    /// Begins what is due, if nothing is under way.
    fn rest(&mut self, now: i64) -> Vec<Effect> {
        if self.state != State::Resting {
            return Vec::new();
        }
        if self.is_wanted || now >= self.look_at {
            self.is_wanted = false;
            self.look_at = now + LOOK;
            self.state = State::Looking;
            return vec![Effect::Look];
        }
        if self.live.is_some() && now >= self.prove_at {
            self.state = State::Checking;
            return vec![Effect::Prove];
        }
        Vec::new()
    }

    fn work(&mut self, event: Event, now: i64) -> Vec<Effect> {
        let state = std::mem::replace(&mut self.state, State::Resting);
        match (state, event) {
            (State::Looking, Event::Looked(looked)) => self.looked(looked, now),
            (State::Comparing(found), Event::Proved(proofs)) => {
                self.proofs = proofs;
                self.state = State::Staging(found);
                vec![Effect::Stage]
            }
            (State::Staging(found), Event::Staged(Ok(generation))) => {
                let to = Live {
                    generation: generation.clone(),
                    found,
                };
                self.state = State::Switching {
                    to,
                    back: self.live.clone(),
                };
                vec![Effect::Switch(generation)]
            }
            (State::Staging(found), Event::Staged(Err(why))) => self.failed(&found, None, why, now),
            (State::Switching { to, back }, Event::Switched(Ok(()))) => {
                self.live = Some(to);
                self.state = State::Reloading {
                    change: Change {
                        back,
                        refused: None,
                    },
                    healing: false,
                };
                vec![Effect::Reload { heal: false }]
            }
            (State::Switching { to, .. }, Event::Switched(Err(why))) => {
                self.failed(&to.found, Some(to.generation), why, now)
            }
            (State::Reloading { change, healing }, Event::Reloaded(reload)) => {
                self.reloaded(change, healing, reload, now)
            }
            (state @ State::Reloading { .. }, Event::Switched(Err(why))) => {
                // On the way back. What lies there is seen at the next look.
                self.trouble = Some(why);
                self.state = state;
                Vec::new()
            }
            (State::Proving { change, healing }, Event::Proved(proofs)) => {
                self.proved(change, healing, proofs, now)
            }
            (State::Checking, Event::Proved(proofs)) => self.checked(proofs, now),
            (State::Mending, Event::Reloaded(_)) => {
                self.state = State::Remeasuring;
                vec![Effect::Prove]
            }
            (State::Remeasuring, Event::Proved(proofs)) => self.remeasured(proofs, now),
            // An answer that nobody waits for.
            (state, _) => {
                self.state = state;
                Vec::new()
            }
        }
    }

    fn looked(&mut self, looked: Result<Found, String>, now: i64) -> Vec<Effect> {
        let found = match looked {
            Ok(found) => found,
            Err(why) => {
                self.nothing = Some(why);
                return self.rest(now);
            }
        };
        self.nothing = None;
        if let Some(live) = &mut self.live
            && live.found.digest == found.digest
        {
            // The same by another way.
            live.found.source = found.source;
            return self.rest(now);
        }
        if let Some(refused) = self.refused.iter().find(|one| one.digest == found.digest) {
            self.nothing = Some(format!(
                "the newest certificate was refused before and is left aside: {}",
                refused.why
            ));
            return self.rest(now);
        }
        self.state = State::Comparing(found);
        vec![Effect::Prove]
    }

    fn reloaded(&mut self, change: Change, healing: bool, reload: Reload, now: i64) -> Vec<Effect> {
        match reload {
            Reload::PbxDown if change.refused.is_none() => {
                self.proofs.clear();
                self.trouble = None;
                self.prove_at = now + LOOK;
                let record = self.record(What::Switched, None, now);
                vec![record]
            }
            // Whatever it said, what the listeners show counts.
            _ => {
                self.state = State::Proving { change, healing };
                vec![Effect::Prove]
            }
        }
    }

    fn proved(
        &mut self,
        change: Change,
        healing: bool,
        proofs: Vec<Proof>,
        now: i64,
    ) -> Vec<Effect> {
        let new = self.fingerprints();
        let old = fingerprints(change.back.as_ref());
        let verdict = judge(&new, &old, &self.proofs, &proofs);
        if let Some((from, why)) = change.refused {
            self.proofs = proofs;
            self.prove_at = now + PROVE;
            let text = format!("refused by the PBX, the one before is in use again: {why}");
            self.trouble = Some(text);
            return vec![record(What::RolledBack, &from, Some(why), now)];
        }
        match verdict {
            Verdict::Good => {
                self.proofs = proofs;
                (self.trouble, self.is_mended) = (None, false);
                self.prove_at = now + PROVE;
                vec![self.record(What::Proven, None, now), Effect::RunHook]
            }
            Verdict::Silent => {
                self.proofs = proofs;
                self.trouble = None;
                self.prove_at = now + LOOK;
                vec![self.record(What::Switched, None, now)]
            }
            Verdict::Bad(_) if !healing => {
                let healing = true;
                self.state = State::Reloading { change, healing };
                vec![Effect::Reload { heal: true }]
            }
            Verdict::Bad(why) => self.go_back(change, why, proofs, now),
        }
    }

    fn go_back(
        &mut self,
        change: Change,
        why: String,
        proofs: Vec<Proof>,
        now: i64,
    ) -> Vec<Effect> {
        let Some(bad) = self.live.clone() else {
            return Vec::new();
        };
        self.refused.push(Refused {
            digest: bad.found.digest.clone(),
            why: why.clone(),
            at: now,
        });
        let surplus = self.refused.len().saturating_sub(MOST_REFUSED);
        self.refused.drain(..surplus);
        let Some(back) = change.back else {
            self.proofs = proofs;
            self.trouble = Some(format!("the PBX does not serve it: {why}"));
            self.prove_at = now + LOOK;
            return vec![
                Effect::KeepRefused,
                record(What::Kept, &bad, Some(why), now),
            ];
        };
        let generation = back.generation.clone();
        self.live = Some(back);
        self.state = State::Reloading {
            change: Change {
                back: None,
                refused: Some((bad, why)),
            },
            healing: true,
        };
        vec![
            Effect::KeepRefused,
            Effect::Switch(generation),
            Effect::Reload { heal: true },
        ]
    }

    /// What the listeners show from time to time. A listener that has lost its certificate is healed once for each loss.
    fn checked(&mut self, proofs: Vec<Proof>, now: i64) -> Vec<Effect> {
        let new = self.fingerprints();
        let verdict = judge(&new, &[], &proofs, &proofs);
        let lost = lost(&new, &proofs).cloned();
        self.prove_at = now + PROVE;
        match (verdict, lost) {
            (Verdict::Silent, _) => {
                self.prove_at = now + LOOK;
                self.proofs = proofs;
                self.rest(now)
            }
            (_, None) => {
                self.is_mended = false;
                self.proofs = proofs;
                self.trouble = None;
                self.rest(now)
            }
            (_, Some(_)) if !self.is_mended => {
                self.is_mended = true;
                self.proofs = proofs;
                self.state = State::Mending;
                vec![Effect::Reload { heal: true }]
            }
            (_, Some(lost)) => {
                self.trouble = Some(lost.complaint());
                self.proofs = proofs;
                self.rest(now)
            }
        }
    }

    fn remeasured(&mut self, proofs: Vec<Proof>, now: i64) -> Vec<Effect> {
        let new = self.fingerprints();
        let lost = lost(&new, &proofs).cloned();
        self.trouble = lost.as_ref().map(Proof::complaint);
        let is_healed = lost.is_none() && proofs.iter().any(|proof| proof.is_open());
        self.proofs = proofs;
        self.prove_at = now + PROVE;
        if !is_healed {
            return self.rest(now);
        }
        self.is_mended = false;
        vec![self.record(What::Healed, None, now)]
    }

    fn failed(
        &mut self,
        found: &Found,
        generation: Option<String>,
        why: String,
        now: i64,
    ) -> Vec<Effect> {
        // The same trouble each half minute is one line of the history.
        let is_new = self.trouble.as_ref() != Some(&why);
        self.trouble = Some(why.clone());
        let to = Live {
            generation: generation.clone().unwrap_or_default(),
            found: found.clone(),
        };
        let mut effects = Vec::new();
        if is_new {
            let Effect::Record(mut line) = record(What::Failed, &to, Some(why), now) else {
                return effects;
            };
            line.generation = generation;
            effects.push(Effect::Record(line));
        }
        effects
    }

    fn fingerprints(&self) -> Vec<String> {
        fingerprints(self.live.as_ref())
    }

    fn record(&self, what: What, why: Option<String>, now: i64) -> Effect {
        match &self.live {
            Some(live) => record(what, live, why, now),
            None => Effect::KeepRefused,
        }
    }
}

fn fingerprints(live: Option<&Live>) -> Vec<String> {
    let facts = live.into_iter().flat_map(|live| &live.found.facts);
    facts.map(|facts| facts.fingerprint.clone()).collect()
}

fn record(what: What, live: &Live, why: Option<String>, now: i64) -> Effect {
    let facts = live.found.facts.first();
    Effect::Record(Record {
        at: now,
        what,
        source: live.found.source,
        names: facts.map(|facts| facts.names.clone()).unwrap_or_default(),
        fingerprints: fingerprints(Some(live)),
        not_after: facts.map(|facts| facts.not_after),
        generation: Some(live.generation.clone()),
        why,
    })
}

#[cfg(test)]
mod tests;
