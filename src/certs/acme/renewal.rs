//! Certificates ordered when it is time: the schedule, with a clock, a disk and an authority.
//!
//! Whoever calls [`Renewal::turn`] again after the moment it names, or sooner, does all that is to be done; it never blocks
//! longer than one order. Invariant: no attempt is made that could not be written down before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::schedule::{Event, Facts, Next, Schedule, StateError};
use super::trouble::{AcmeError, Kind};
use super::{Have, Pair, Place, Wanted, hex, leaf, local, obtain, seconds, window};
use crate::certs::key::KeyKind;
use crate::sys::clock::unix_now;
use crate::sys::file::{Owner, make_directory, read_text, write_atomic};
use crate::sys::say::{NOTICE, WARNING, say};

const FILE: Owner = Owner::Keep {
    new_file_mode: 0o600,
};

/// What a turn brought; moments are seconds since 1970.
#[derive(Debug)]
pub enum Turn {
    /// Nothing is to be done until then.
    Rest(i64),
    /// New pairs.
    Issued(Vec<Pair>),
    /// Nothing came; it is tried again at this moment.
    Failed(AcmeError, i64),
}

/// What is wanted, and when.
#[derive(Debug)]
pub struct Renewal {
    wanted: Wanted,
    place: Place,
    schedule: Schedule,
    file: PathBuf,
}

impl Renewal {
    /// Reads what was remembered.
    ///
    /// # Errors
    /// If it is of a later version, or cannot be read. What is damaged is forgotten, with an hour's wait.
    pub fn open(wanted: Wanted, place: Place) -> Result<Renewal, AcmeError> {
        let file = place.state.join("schedule.json");
        let schedule = match read_text(&file) {
            Ok(text) => match Schedule::parse(&text) {
                Ok(schedule) => schedule,
                Err(error @ StateError::Future(_)) => {
                    let text = format!("cannot use `{}`: {error}", file.display());
                    return Err(AcmeError::new(Kind::Local, text)
                        .hint("this volume was used by a later version; go back to that one"));
                }
                Err(error) => {
                    say(
                        WARNING,
                        &format!("`{}` is begun anew: {error}", file.display()),
                    );
                    Schedule::after_loss(unix_now())
                }
            },
            Err(error) if error.is_not_found() => Schedule::new(),
            Err(error) => return Err(local(&error)),
        };
        Ok(Renewal {
            wanted,
            place,
            schedule,
            file,
        })
    }

    /// What went wrong last, and when a certificate of a kind is to be renewed, is asked of it.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Somebody has changed something that nobody sees from here, an open port say: the next turn does not wait, unless the
    /// authority itself wants that.
    pub fn forgive(&mut self) {
        self.schedule.forgive();
    }

    /// Does what is to be done now. `have`: the chains in use.
    pub async fn turn(&mut self, have: &Have) -> Turn {
        loop {
            let now = unix_now();
            let facts = facts(have);
            let directory = &self.wanted.settings.directory;
            let subject = self.wanted.fingerprint();
            self.schedule.see(&subject, directory, &facts, now, dice());
            let kinds: Vec<String> = self
                .wanted
                .keys
                .iter()
                .map(|kind| kind.name().to_owned())
                .collect();
            match self.schedule.next(&kinds, now) {
                Next::Rest(until) => return Turn::Rest(until),
                Next::AskWindows(kinds) => {
                    self.ask_windows(&kinds, have).await;
                    // That is told again by the authority; losing it costs one question.
                    let _ = self.keep();
                }
                Next::Order(kinds) => return self.order(&kinds, have).await,
            }
        }
    }

    async fn order(&mut self, kinds: &[String], have: &Have) -> Turn {
        let kinds: Vec<KeyKind> = self.of(kinds).collect();
        self.schedule.step(Event::Began, unix_now(), dice());
        if let Err(error) = self.keep() {
            return self.fail(error);
        }
        let names: Vec<String> = self.wanted.names.iter().map(ToString::to_string).collect();
        say(
            NOTICE,
            &format!(
                "a certificate for {} is ordered of {}",
                names.join(", "),
                self.wanted.settings.directory
            ),
        );
        match obtain(&self.wanted, &kinds, have, &self.place).await {
            Ok(pairs) => {
                let now = unix_now();
                for pair in &pairs {
                    if let Some(facts) = facts_of(&pair.chain) {
                        self.schedule.step(
                            Event::Issued(pair.kind.name().to_owned(), facts),
                            now,
                            dice(),
                        );
                    }
                }
                // The pairs lie on the shelf, and are handed over again after a restart that does not know of them.
                if let Err(error) = self.keep() {
                    say(WARNING, &error.told());
                }
                Turn::Issued(pairs)
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: AcmeError) -> Turn {
        let now = unix_now();
        let event = Event::Failed {
            kind: error.kind,
            retry_after: error.retry_after.map(seconds),
            text: error.text.clone(),
        };
        self.schedule.step(event, now, dice());
        let _ = self.keep();
        let until = match self.schedule.next(&[String::new()], now) {
            Next::Rest(until) => until,
            Next::AskWindows(_) | Next::Order(_) => now,
        };
        Turn::Failed(error, until)
    }

    async fn ask_windows(&mut self, kinds: &[String], have: &Have) {
        let kinds: Vec<KeyKind> = self.of(kinds).collect();
        for kind in kinds {
            let name = kind.name().to_owned();
            let chain = have.get(&kind).map(String::as_str).unwrap_or_default();
            let event = match window(&self.wanted, chain, &self.place).await {
                Ok(Some((window, again))) => Event::Told(name, window, again),
                Ok(None) => Event::NotTold(name, Some(super::schedule::DAY)),
                Err(error) => Event::NotTold(name, error.retry_after.map(seconds)),
            };
            self.schedule.step(event, unix_now(), dice());
        }
    }

    fn of(&self, names: &[String]) -> impl Iterator<Item = KeyKind> {
        let kinds = self.wanted.keys.iter().copied();
        kinds.filter(|kind| names.iter().any(|name| name == kind.name()))
    }

    fn keep(&self) -> Result<(), AcmeError> {
        let written = make_directory(&self.place.state, 0o700)
            .and_then(|()| write_atomic(&self.file, self.schedule.text().as_bytes(), FILE));
        written.map_err(|e| local(&e))
    }
}

fn facts(have: &Have) -> BTreeMap<String, Facts> {
    let read = have
        .iter()
        .filter_map(|(kind, chain)| Some((kind.name().to_owned(), facts_of(chain)?)));
    read.collect()
}

fn facts_of(chain: &str) -> Option<Facts> {
    let leaf = leaf::of_pem(chain)?;
    Some(Facts {
        id: format!(
            "{}.{}",
            hex(&leaf.authority.unwrap_or_default()),
            hex(&leaf.serial)
        ),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
    })
}

/// A number by chance. Without one everything works, only all at one time.
fn dice() -> u64 {
    let mut bytes = [0; 8];
    let _ = getrandom::getrandom(&mut bytes);
    u64::from_ne_bytes(bytes)
}
