//! Traefik's store as a source: read again whenever it may have changed, and only our own pair taken out of it.
//!
//! Traefik writes in place, without a lock and without a rename, so that a read can come in the middle: then what was read
//! before stays for a minute without a word. Invariant: nothing of the store is written anywhere, and no name in it
//! becomes the name of a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::survey::{Have, Origin, Request};
use crate::certs::acme_json::{self, LARGEST, StoreError};
use crate::certs::choose::{Choice, choose};
use crate::certs::pair::{Pair, Source, hex};
use crate::certs::validate::examine;

/// So long a store may be cut off before that is told, in seconds.
const PATIENCE: i64 = 60;

/// Traefik's store.
#[derive(Debug)]
pub struct Traefik {
    path: PathBuf,
    /// It was named, and is not only looked for at the usual place.
    is_asked_for: bool,
    /// SHA-256 of the bytes that the candidates are from.
    seen: Option<String>,
    candidates: Vec<Pair>,
    /// Entries that no listener may have, with the reason.
    odd: Vec<String>,
    cut_off_since: Option<i64>,
    is_stale: bool,
}

impl Traefik {
    pub fn new(path: PathBuf, is_asked_for: bool) -> Traefik {
        Traefik {
            path,
            is_asked_for,
            seen: None,
            candidates: Vec::new(),
            odd: Vec::new(),
            cut_off_since: None,
            is_stale: false,
        }
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        // Not blocking: a pipe in the place of the file must not stop us.
        let mut open = File::options();
        open.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = open.open(&self.path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.is_stale = meta.nlink() == 0;
        let mut bytes = Vec::new();
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, store: acme_json::Store) {
        self.candidates.clear();
        self.odd = store.odd;
        for entry in store.entries {
            match examine(&entry.chain, &entry.key) {
                Ok(mut pair) => {
                    pair.facts.is_staging |= entry.is_staging;
                    self.candidates.push(pair);
                }
                Err(refusal) => {
                    let name = entry.asked.first().map_or("?", String::as_str);
                    self.odd.push(format!("the entry `{name}`: {refusal}"));
                }
            }
        }
    }

    fn unreadable(&self, error: &io::Error) -> Have {
        let path = self.path.display();
        let why = match error.kind() {
            io::ErrorKind::NotFound if !self.is_asked_for => return Have::NotSetUp,
            io::ErrorKind::NotFound => format!("there is no `{path}` yet"),
            io::ErrorKind::IsADirectory => format!(
                "`{path}` is a directory: Docker makes one where the host has no such file; mount Traefik's directory instead"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "`{path}` cannot be read: Traefik keeps it for its own user; give the container that user's file, or `cap_add: [DAC_READ_SEARCH]`"
            ),
            _ => format!("cannot read `{path}`: {error}"),
        };
        Have::Nothing(why)
    }

    fn choose(&self, request: &Request<'_>) -> Have {
        let facts: Vec<_> = self
            .candidates
            .iter()
            .map(|pair| pair.facts.clone())
            .collect();
        let names: Vec<&str> = request.wanted.iter().map(|name| name.as_str()).collect();
        let wanted = names.join(", ");
        match choose(request.wanted, &facts, request.now) {
            Choice::Chosen(at) => {
                Have::Pairs(self.candidates.get(at).cloned().into_iter().collect())
            }
            Choice::OutOfTime { why } => Have::Nothing(why),
            Choice::NoMatch { others } if others.is_empty() && self.odd.is_empty() => {
                Have::Nothing("Traefik has no certificate yet".to_owned())
            }
            Choice::NoMatch { others } if others.is_empty() => {
                Have::Nothing(format!("no sound certificate: {}", self.odd.join("; ")))
            }
            Choice::NoMatch { others } => Have::Nothing(format!(
                "it has no certificate for {wanted}, but for {}; Traefik asks for a name when a router has it",
                others.join(", ")
            )),
        }
    }
}

impl Origin for Traefik {
    fn source(&self) -> Source {
        Source::Traefik
    }

    fn look(&mut self, request: &Request<'_>) -> Have {
        let bytes = match self.read() {
            Ok(bytes) => bytes,
            Err(error) => return self.unreadable(&error),
        };
        let sum = hex(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
        if self.seen.as_ref() == Some(&sum) {
            self.cut_off_since = None;
            return self.choose(request);
        }
        match acme_json::read(&bytes) {
            Ok(store) => {
                self.take(store);
                (self.seen, self.cut_off_since) = (Some(sum), None);
                self.choose(request)
            }
            Err(error) if error.may_pass() => {
                let since = *self.cut_off_since.get_or_insert(request.now);
                // A clock that was set back must not make it wait for ever.
                let waited = request.now.saturating_sub(since);
                let is_over = !(0..PATIENCE).contains(&waited);
                match (self.candidates.is_empty(), is_over) {
                    (false, false) => self.choose(request),
                    _ => Have::Nothing(format!("`{}`: {error}", self.path.display())),
                }
            }
            Err(StoreError::Empty) if !self.is_asked_for => Have::NotSetUp,
            Err(error) => Have::Nothing(format!("`{}`: {error}", self.path.display())),
        }
    }

    fn watched(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.odd.clone();
        if self.is_stale {
            notes.insert(
                0,
                format!(
                    "the mount of `{}` is stale: the file on the host was replaced, and this container sees the old one for ever; mount Traefik's directory, not the file, and make the container anew",
                    self.path.display()
                ),
            );
        }
        notes
    }

    fn is_waiting(&self) -> bool {
        self.cut_off_since.is_some()
    }
}

#[cfg(test)]
mod tests;
