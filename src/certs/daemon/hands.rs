//! The keeper's hands: what the machine asks for is done here, one thing after the other.
//!
//! It decides nothing. Invariant: only what `validate` has found sound is staged.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::books::Books;
use super::exchange;
use crate::certs::generation::{CERTIFICATE, Content, Names, PRIVATE_KEY, Place, Text};
use crate::certs::keeper::{Door, Effect, Event, Found, Keeper, Live, Proof, Record, What};
use crate::certs::names::Name;
use crate::certs::pair::{Offer, Pair, PrivateKey, Source};
use crate::certs::program;
use crate::certs::prove;
use crate::certs::source::survey::{Request, Survey};
use crate::certs::validate::{examine, in_time};
use crate::config::paths::Paths;
use crate::sys::clock::unix_now;
use crate::sys::say::{ERROR, NOTICE, WARNING, say};

/// What the hands work with.
pub struct Hands {
    pub paths: Paths,
    pub place: Place,
    pub books: Books,
    pub survey: Survey,
    pub wanted: Vec<Name>,
    /// The port of WebSMS with TLS, which serves whatever is in use.
    pub websms: Option<u16>,
    pub hook: Option<String>,
    pub hook_patience: Duration,
    /// The offer that was looked at last.
    pub offer: Option<Offer>,
}

impl Hands {
    /// Does it, and says how it went where the machine waits for that.
    pub fn work(&mut self, effect: Effect, keeper: &Keeper) -> Option<Event> {
        match effect {
            Effect::Look => Some(Event::Looked(self.look(keeper.live()))),
            Effect::Stage => Some(Event::Staged(self.stage())),
            Effect::Switch(generation) => Some(Event::Switched(self.switch(&generation))),
            Effect::Reload { heal } => Some(Event::Reloaded(exchange::reload(&self.paths, heal))),
            Effect::Prove => Some(Event::Proved(self.prove(keeper))),
            Effect::RunHook => {
                self.run_hook(keeper.live());
                None
            }
            Effect::Record(record) => {
                tell(&record);
                if let Err(error) = self.books.add(&record) {
                    say(WARNING, &format!("the history is not kept: {error}"));
                }
                None
            }
            Effect::KeepRefused => {
                if let Err(error) = self.books.keep_refused(keeper.refused()) {
                    say(WARNING, &format!("what was refused is not kept: {error}"));
                }
                None
            }
        }
    }

    fn look(&mut self, live: Option<&Live>) -> Result<Found, String> {
        self.tidy(live);
        let request = Request {
            wanted: &self.wanted,
            now: unix_now(),
        };
        let offer = self.survey.look(&request, live)?;
        let found = Found {
            source: offer.source,
            digest: offer.digest(),
            facts: offer.facts(),
        };
        self.offer = Some(offer);
        Ok(found)
    }

    /// The predecessor's self-signed pair is never renewed by anybody: once it has expired ours takes its names.
    fn tidy(&self, live: Option<&Live>) {
        if live.is_none() || self.place.owner_of_names() == Names::Ours {
            return;
        }
        let read = |name: &str| std::fs::read_to_string(self.place.root().join(name)).ok();
        let chain = read(CERTIFICATE).unwrap_or_default();
        let key = read(PRIVATE_KEY).unwrap_or_default();
        let is_over = examine(&chain, &PrivateKey::new(key)).is_ok_and(|pair| {
            pair.facts.is_self_signed && in_time(&pair.facts, unix_now()).is_err()
        });
        if !is_over {
            return;
        }
        match self
            .place
            .set_aside()
            .and_then(|()| self.place.link_names())
        {
            Ok(()) => say(
                NOTICE,
                "the self-signed certificate at cert.pem has expired; it is cert.pem.before now, and ours is in its place",
            ),
            Err(error) => say(ERROR, &error.text()),
        }
    }

    fn stage(&mut self) -> Result<String, String> {
        let offer = self.offer.as_ref().ok_or("there is no offer")?;
        let text = |pair: &Pair| Text {
            chain: pair.chain.clone(),
            key: pair.key.clone(),
        };
        let first = offer.pairs.first().map(text).ok_or("the offer is empty")?;
        let content = Content {
            source: offer.source,
            first,
            second: offer.pairs.get(1).map(text),
        };
        self.place
            .stage(&content, unix_now())
            .map_err(|error| error.text())
    }

    fn switch(&self, generation: &str) -> Result<(), String> {
        self.place
            .switch(generation)
            .and_then(|()| self.place.link_names())
            .map_err(|error| error.text())
    }

    fn prove(&self, keeper: &Keeper) -> Vec<Proof> {
        let facts = keeper.live().into_iter().flat_map(|live| &live.found.facts);
        let algorithms: Vec<_> = facts.map(|facts| facts.algorithm).collect();
        let name = self.wanted.first().map_or("localhost", Name::as_str);
        let mut doors = exchange::listeners(&self.paths);
        doors.extend(self.websms.map(|port| Door {
            what: "websms".to_owned(),
            address: (Ipv4Addr::LOCALHOST, port).into(),
            is_dual: true,
        }));
        prove::prove(&doors, &algorithms, name, keeper.proofs())
    }

    fn run_hook(&self, live: Option<&Live>) {
        let (Some(hook), Some(live)) = (&self.hook, live) else {
            return;
        };
        // It may restart the PBX, which our own signature is not worth, least of all in the first seconds.
        if live.found.source == Source::SelfSigned {
            return;
        }
        let variables = [
            (
                "SWITCHHOOK_CERT_SOURCE".to_owned(),
                live.found.source.to_string(),
            ),
            (
                "CERT_DIR".to_owned(),
                self.place.live_directory().display().to_string(),
            ),
        ];
        match program::run("sh", &["-c", hook], &variables, self.hook_patience) {
            Ok(ended) if ended.exit.is_success() => {
                say(NOTICE, "ACME_POSTHOOK was run");
            }
            Ok(ended) => say(
                ERROR,
                &format!(
                    "ACME_POSTHOOK ended with {}: {}",
                    ended.exit,
                    ended
                        .lines
                        .first()
                        .map_or("it said nothing", String::as_str)
                ),
            ),
            Err(why) => say(ERROR, &format!("ACME_POSTHOOK: {why}")),
        }
    }
}

/// The generation in use, if it can be read and is sound.
pub fn live(place: &Place) -> Option<(Live, Vec<Pair>)> {
    let generation = place.live()?;
    let (content, _) = place.read(&generation).ok()?;
    let texts = std::iter::once(&content.first).chain(&content.second);
    let pairs: Result<Vec<Pair>, _> = texts.map(|text| examine(&text.chain, &text.key)).collect();
    let offer = Offer {
        source: content.source,
        pairs: pairs.ok()?,
    };
    let found = Found {
        source: offer.source,
        digest: offer.digest(),
        facts: offer.facts(),
    };
    Some((Live { generation, found }, offer.pairs))
}

/// Says what has happened.
fn tell(record: &Record) {
    let names = record.names.join(", ");
    let from = format!("the certificate for {names} ({})", record.source);
    let why = record.why.as_deref().unwrap_or_default();
    let (level, text) = match record.what {
        What::Proven => (
            NOTICE,
            format!("{from} is in use, and every listener shows it"),
        ),
        What::Switched => (
            NOTICE,
            format!("{from} is in use; nobody listens yet who could show it"),
        ),
        What::RolledBack => (
            ERROR,
            format!(
                "{from} was refused by the PBX, and the one before is in use again: {why}\nhint: `switchhook cert renew` tries it again"
            ),
        ),
        What::Kept => (ERROR, format!("{from} is not served by the PBX: {why}")),
        What::Failed => (
            ERROR,
            format!("{from} could not be put in place, what was in use stays: {why}"),
        ),
        What::Healed => (
            NOTICE,
            format!("a listener had lost {from} and shows it again"),
        ),
    };
    say(level, &text);
}
