//! What to do when our address outside was looked at: write it, have the PBX read it, say it.
//!
//! Pure: a machine of what holds. It asks nobody and knows no time. Invariant: the PBX is told to read again when what is
//! written has changed, or when it could not be told the last time, and never else.

use crate::config::external::Known;

/// What came of a look, or of an order to the PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Addresses before a router, and those that are our own, where nothing has to be translated.
    Found { outside: Known, own: Known },
    /// Nobody answered; why.
    Nothing(String),
    /// The PBX has read it.
    Taken,
    /// It does not run yet or starts, and will read it by itself; to be sure it is told again.
    Absent,
    /// It could not be told, and will be told again.
    NotTaken(String),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Write(Known),
    Reload,
    /// A change, for people.
    Notice(String),
    Warning(String),
    /// In one line, for the supervisor.
    Status(String),
}

/// What holds.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    outside: Known,
    own: Known,
    has_answer: bool,
    is_reload_due: bool,
    /// Why there is no answer; said once.
    silence: Option<String>,
    /// Why the PBX has not read it; said once.
    refusal: Option<String>,
    status: String,
}

impl Follower {
    /// The addresses that hold.
    pub fn outside(&self) -> Known {
        self.outside
    }

    /// Whether it should be looked at again soon.
    pub fn is_troubled(&self) -> bool {
        self.silence.is_some() || self.is_reload_due
    }

    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Found { outside, own } => self.found(outside, own, &mut effects),
            Event::Nothing(why) => {
                let text = format!("our address outside is not known: {why}");
                complain(&mut self.silence, text, &mut effects);
                if self.is_reload_due {
                    effects.push(Effect::Reload);
                }
            }
            Event::Taken => {
                self.is_reload_due = false;
                self.refusal = None;
            }
            Event::Absent => self.is_reload_due = true,
            Event::NotTaken(why) => {
                self.is_reload_due = true;
                let text = format!("the PBX has not read our address: {why}");
                complain(&mut self.refusal, text, &mut effects);
            }
        }
        let status = self.line();
        if status != self.status {
            effects.push(Effect::Status(status.clone()));
            self.status = status;
        }
        effects
    }

    fn found(&mut self, outside: Known, own: Known, effects: &mut Vec<Effect>) {
        // What one family did not say today is no change; what has become our own is one.
        let mut now = self.outside.updated(outside);
        if own.v4.is_some() {
            now.v4 = None;
        }
        if own.v6.is_some() {
            now.v6 = None;
        }
        if now != self.outside || !self.has_answer {
            effects.push(Effect::Write(now));
            effects.push(Effect::Reload);
            let was = match self.outside.is_empty() {
                true => String::new(),
                false => format!(", it was {}", self.outside),
            };
            let is = match (now.is_empty(), own.is_empty()) {
                (true, false) => format!("{own}, which is our own: there is no NAT"),
                _ => now.to_string(),
            };
            effects.push(Effect::Notice(format!("our address outside is {is}{was}")));
        } else if self.is_reload_due {
            effects.push(Effect::Reload);
        }
        self.outside = now;
        self.own = own;
        self.has_answer = true;
        self.silence = None;
    }

    fn line(&self) -> String {
        if let Some(trouble) = self.silence.as_ref().or(self.refusal.as_ref()) {
            let holds = match self.outside.is_empty() {
                true => String::new(),
                false => format!("; {} holds", self.outside),
            };
            return format!("degraded: {trouble}{holds}");
        }
        match (self.outside.is_empty(), self.own.is_empty()) {
            (false, _) => self.outside.to_string(),
            (true, false) => format!("{}, no NAT", self.own),
            (true, true) => "looking".to_owned(),
        }
    }
}

fn complain(known: &mut Option<String>, text: String, effects: &mut Vec<Effect>) {
    if known.as_ref() != Some(&text) {
        effects.push(Effect::Warning(text.clone()));
        *known = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(texts: &[&str]) -> Known {
        let add = |known: Known, text: &&str| known.with(text.parse().unwrap());
        texts.iter().fold(Known::default(), add)
    }

    fn found(texts: &[&str]) -> Event {
        Event::Found {
            outside: known(texts),
            own: Known::default(),
        }
    }

    #[test]
    fn a_change_is_written_read_and_told_once() {
        let mut follower = Follower::default();
        let one = known(&["203.0.113.7"]);
        assert_eq!(
            follower.step(found(&["203.0.113.7"])),
            [
                Effect::Write(one),
                Effect::Reload,
                Effect::Notice("our address outside is 203.0.113.7".to_owned()),
                Effect::Status("203.0.113.7".to_owned())
            ]
        );
        assert_eq!(follower.step(Event::Taken), []);
        assert_eq!(follower.step(found(&["203.0.113.7"])), []);
        let effects = follower.step(found(&["203.0.113.8"]));
        assert!(effects.contains(&Effect::Notice(
            "our address outside is 203.0.113.8, it was 203.0.113.7".to_owned()
        )));
    }

    #[test]
    fn a_family_that_is_silent_keeps_its_address() {
        let mut follower = Follower::default();
        follower.step(found(&["203.0.113.7", "2001:db8::7"]));
        assert_eq!(follower.step(found(&["203.0.113.7"])), []);
        assert_eq!(follower.outside(), known(&["203.0.113.7", "2001:db8::7"]));
    }

    #[test]
    fn silence_keeps_what_holds_and_is_told_once() {
        let mut follower = Follower::default();
        follower.step(found(&["203.0.113.7"]));
        let silence = || Event::Nothing("no server answers".to_owned());
        let effects = follower.step(silence());
        assert_eq!(
            effects,
            [
                Effect::Warning("our address outside is not known: no server answers".to_owned()),
                Effect::Status(
                    "degraded: our address outside is not known: no server answers; 203.0.113.7 holds"
                        .to_owned()
                )
            ]
        );
        assert!(follower.is_troubled());
        assert_eq!(follower.step(silence()), []);
        assert_eq!(
            follower.step(found(&["203.0.113.7"])),
            [Effect::Status("203.0.113.7".to_owned())]
        );
    }

    #[test]
    fn a_pbx_that_was_down_is_told_again() {
        let mut follower = Follower::default();
        follower.step(found(&["203.0.113.7"]));
        follower.step(Event::NotTaken("it does not run".to_owned()));
        assert!(follower.is_troubled());
        assert!(
            follower
                .step(found(&["203.0.113.7"]))
                .contains(&Effect::Reload)
        );
        let healed = [Effect::Status("203.0.113.7".to_owned())];
        assert_eq!(follower.step(Event::Taken), healed);
        assert_eq!(follower.step(found(&["203.0.113.7"])), []);
    }

    #[test]
    fn an_address_of_our_own_needs_no_translation() {
        let mut follower = Follower::default();
        follower.step(found(&["203.0.113.7"]));
        let effects = follower.step(Event::Found {
            outside: Known::default(),
            own: known(&["198.51.100.2"]),
        });
        assert_eq!(effects.first(), Some(&Effect::Write(Known::default())));
        assert!(effects.contains(&Effect::Status("198.51.100.2, no NAT".to_owned())));
    }
}
