//! A message for the phones of an endpoint, with a leg for each contact that is there.
//!
//! Pure. It does not know which contacts exist: `Came` means that one is there and free for this message. Invariant: what a
//! phone took is delivered, whatever the others say; one contact has one copy in flight at most.

use serde::{Deserialize, Serialize};

use super::{Answer, Effect, Event, LINGER, Moment, SILENCE, State, Terms, meaning_of, pause};

/// A phone that comes and goes is not tried more often than this, in milliseconds.
const SOONEST: i64 = 5_000;

/// When a message for several phones is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// When one phone has it; the others still get it while they are there.
    #[default]
    Any,
    /// When each phone that is there has it or refused it.
    All,
}

/// One contact's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    pub contact: String,
    pub state: LegState,
    pub tries: u32,
    /// When it was tried last.
    pub tried: Option<Moment>,
    /// The contact is there.
    pub there: bool,
}

/// Where a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum LegState {
    /// To be sent from this moment on.
    Waiting {
        from: Moment,
    },
    /// The phone is silent when this moment has passed.
    Sending {
        until: Moment,
    },
    Taken,
    /// By this response.
    Refused {
        code: u16,
    },
}

impl Leg {
    fn waits(&self) -> bool {
        matches!(self.state, LegState::Waiting { .. })
    }

    fn flies(&self) -> bool {
        matches!(self.state, LegState::Sending { .. })
    }

    /// A try or an answer may come.
    fn is_open(&self) -> bool {
        self.flies() || (self.waits() && self.there)
    }

    /// Not now, and after a pause if it is still there.
    fn failed(&mut self, jitter: i8, asked: Option<i64>, now: Moment) {
        let pause = pause(self.tries, jitter, asked);
        self.state = LegState::Waiting {
            from: now.saturating_add(pause),
        };
    }

    /// The soonest that it may be tried again, whatever comes and goes.
    fn soonest(&self, now: Moment) -> Moment {
        let tried = self.tried.map(|tried| tried.saturating_add(SOONEST));
        tried.map_or(now, |soonest| soonest.max(now))
    }
}

/// One incoming message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    state: State,
    rule: Rule,
    /// How long it is good for, from a new try by hand.
    validity: i64,
    expires: Moment,
    has_turn: bool,
    legs: Vec<Leg>,
    /// When the first phone took it.
    delivered: Option<Moment>,
}

impl Incoming {
    /// One that was received at this moment.
    pub fn new(terms: &Terms, received: Moment) -> Incoming {
        Incoming {
            state: State::Received,
            rule: terms.rule,
            validity: terms.incoming,
            expires: received.saturating_add(terms.incoming),
            has_turn: false,
            legs: Vec::new(),
            delivered: None,
        }
    }

    /// One that a former process left in this state. A copy that was in flight then may have arrived: it is sent again under
    /// the same id. Who has had it already, or refused it, is not asked again.
    pub fn resume(terms: &Terms, received: Moment, state: State, legs: Vec<Leg>) -> Incoming {
        let ended = legs.into_iter().filter(|leg| !leg.waits() && !leg.flies());
        let state = match state {
            State::Sending | State::Held => State::Routed,
            other => other,
        };
        Incoming {
            state,
            legs: ended.collect(),
            ..Incoming::new(terms, received)
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Neither a try nor an answer is to come.
    pub fn is_over(&self) -> bool {
        !self.state.is_open() && !self.legs.iter().any(Leg::is_open)
    }

    /// This contact may still get a copy.
    pub fn may_reach(&self, contact: &str) -> bool {
        let leg = self.legs.iter().find(|leg| leg.contact == contact);
        match leg {
            Some(leg) => leg.is_open(),
            None => self.state.is_open(),
        }
    }

    /// When `Event::Clock` is due.
    pub fn deadline(&self) -> Option<Moment> {
        let legs = self.legs.iter().filter_map(|leg| match leg.state {
            LegState::Waiting { from } => (self.has_turn && leg.there).then_some(from),
            LegState::Sending { until } => Some(until),
            LegState::Taken | LegState::Refused { .. } => None,
        });
        let in_flight = self.state == State::Sending;
        let expires = Some(self.expires).filter(|_| self.state.is_open() && !in_flight);
        let linger = self.delivered.map(|at| at.saturating_add(LINGER));
        let linger = linger.filter(|_| self.legs.iter().any(Leg::waits));
        legs.chain(expires).chain(linger).min()
    }

    /// Takes one event and says what to do, in order.
    pub fn step(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = self.state;
        match event {
            Event::Routed => {
                if self.state == State::Received {
                    self.state = State::Routed;
                }
            }
            Event::Turn => self.has_turn = true,
            Event::Came(contact) => self.came(contact, now),
            Event::Went(contact) => self.went(&contact, now),
            Event::HandedOver(contact) => {
                if let Some(leg) = self.in_flight(&contact) {
                    leg.state = LegState::Sending {
                        until: now.saturating_add(SILENCE),
                    };
                }
            }
            Event::NotHandedOver { contact, jitter } => {
                if let Some(leg) = self.in_flight(&contact) {
                    leg.failed(jitter, None, now);
                }
            }
            Event::Answered {
                contact,
                code,
                retry_after,
                jitter,
            } => match meaning_of(code) {
                Answer::Taken => self.taken(contact, &mut effects),
                Answer::Later => {
                    if let Some(leg) = self.in_flight(&contact) {
                        leg.failed(jitter, retry_after, now);
                    }
                }
                Answer::Never => {
                    if let Some(leg) = self.in_flight(&contact) {
                        leg.state = LegState::Refused { code };
                        effects.push(Effect::Write(contact));
                    }
                }
                Answer::Nothing => {}
            },
            Event::Retry => self.retry(now),
            Event::Cancel => {
                // What is on the wire cannot be called back.
                if self.state.is_open() && self.state != State::Sending {
                    self.state = State::Cancelled;
                    self.legs.retain(|leg| !leg.waits());
                }
            }
            Event::Clock { jitter } => {
                for leg in &mut self.legs {
                    if matches!(leg.state, LegState::Sending { until } if until <= now) {
                        leg.failed(jitter, None, now);
                    }
                }
            }
            // A carrier's words are about outgoing messages.
            Event::Verdict { .. } | Event::Receipt(_) => {}
        }
        self.settle(now, &mut effects);
        if self.state != before {
            effects.push(Effect::Become(self.state));
        }
        effects
    }

    fn came(&mut self, contact: String, now: Moment) {
        let known = self.legs.iter_mut().find(|leg| leg.contact == contact);
        match known {
            Some(leg) => {
                // It is back: no reason to wait out a pause.
                if leg.waits() && !leg.there {
                    leg.state = LegState::Waiting {
                        from: leg.soonest(now),
                    };
                }
                leg.there = true;
            }
            None if self.state.is_open() => self.legs.push(Leg {
                contact,
                state: LegState::Waiting { from: now },
                tries: 0,
                tried: None,
                there: true,
            }),
            None => {}
        }
    }

    /// A copy in flight may still be answered, or its silence is noticed in time.
    fn went(&mut self, contact: &str, now: Moment) {
        for leg in self.legs.iter_mut().filter(|leg| leg.contact == contact) {
            leg.there = false;
        }
        self.forget_away(now);
    }

    /// Legs of contacts that are away are kept only as long as they hold back a try.
    fn forget_away(&mut self, now: Moment) {
        let is_of_use = |leg: &Leg| leg.there || !leg.waits() || leg.soonest(now) > now;
        self.legs.retain(is_of_use);
    }

    fn in_flight(&mut self, contact: &str) -> Option<&mut Leg> {
        let mut legs = self.legs.iter_mut();
        legs.find(|leg| leg.contact == contact && leg.flies())
    }

    fn taken(&mut self, contact: String, effects: &mut Vec<Effect>) {
        match self.legs.iter_mut().find(|leg| leg.contact == contact) {
            // Also when it was thought silent.
            Some(leg) if leg.waits() || leg.flies() => leg.state = LegState::Taken,
            Some(_) => return,
            // A copy of a former process, or of a contact that went.
            None if self.state.is_open() => self.legs.push(Leg {
                contact: contact.clone(),
                state: LegState::Taken,
                tries: 1,
                tried: None,
                there: false,
            }),
            None => return,
        }
        effects.push(Effect::Write(contact));
    }

    fn retry(&mut self, now: Moment) {
        if self.state.may_be_retried() {
            self.state = State::Routed;
            self.has_turn = false;
            self.legs.clear();
        } else if self.state == State::Held {
            for leg in self.legs.iter_mut().filter(|leg| leg.waits()) {
                leg.state = LegState::Waiting {
                    from: leg.soonest(now),
                };
            }
        }
        if self.state.is_open() {
            self.expires = self.expires.max(now.saturating_add(self.validity));
        }
    }

    /// Sends what is due and finds the state that follows from the legs.
    fn settle(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let is_late = match self.delivered {
            Some(at) => now.saturating_sub(at) >= LINGER,
            None => now >= self.expires,
        };
        if is_late {
            self.legs.retain(|leg| !leg.waits());
        }
        self.forget_away(now);
        let may_send = self.has_turn && (self.state.is_open() || self.state == State::Delivered);
        for leg in self.legs.iter_mut().filter(|leg| may_send && leg.there) {
            if matches!(leg.state, LegState::Waiting { from } if from <= now) {
                leg.tries = leg.tries.saturating_add(1);
                leg.tried = Some(now);
                leg.state = LegState::Sending {
                    until: now.saturating_add(SILENCE),
                };
                effects.push(Effect::SendTo(leg.contact.clone()));
            }
        }
        if self.state.is_open() {
            self.state = self.outcome(now);
        }
        if self.state == State::Delivered {
            self.delivered.get_or_insert(now);
        }
    }

    fn outcome(&self, now: Moment) -> State {
        let has_open = self.legs.iter().any(Leg::is_open);
        let has_taken = self.legs.iter().any(|leg| leg.state == LegState::Taken);
        let is_late = now >= self.expires;
        // Before its turn it does not know who is there.
        let all_have_it = !has_open && (self.has_turn || is_late);
        if has_taken && (self.rule == Rule::Any || all_have_it) {
            return State::Delivered;
        }
        if self.legs.iter().any(Leg::flies) {
            return State::Sending;
        }
        if is_late {
            return State::Expired;
        }
        if !self.has_turn {
            return self.state;
        }
        let has_refused = |leg: &Leg| matches!(leg.state, LegState::Refused { .. });
        if !has_open && self.legs.iter().any(has_refused) {
            return State::Rejected;
        }
        State::Held
    }
}
