//! Certificates that were issued, each with its key, until whoever ordered them has them.
//!
//! A pair is kept here before it is handed over, so that one that was lost on the way, by a power cut say, is not ordered
//! again: authorities count those. Invariant: certificate and key lie in one file, whole, with mode 0600.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::trouble::AcmeError;
use super::{Pair, leaf, local};
use crate::certs::key::KeyKind;
use crate::certs::private_key::PrivateKey;
use crate::sys::file::{FileError, Owner, make_directory, read_text, write_atomic};

/// The version of the file's shape.
const SCHEMA: u32 = 1;
const SECRET: Owner = Owner::Keep {
    new_file_mode: 0o600,
};

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    /// Names, directory, profile and key: what it was ordered as.
    subject: String,
    chain: String,
    key: String,
}

/// Where pairs lie.
pub struct Shelf(PathBuf);

impl Shelf {
    pub fn below(state: &Path) -> Shelf {
        Shelf(state.join("issued"))
    }

    fn path(&self, kind: KeyKind) -> PathBuf {
        self.0.join(format!("{}.json", kind.name()))
    }

    /// Keeps a pair in the place of the one before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, subject: &str, pair: &Pair) -> Result<(), AcmeError> {
        let kept = Kept {
            schema: SCHEMA,
            subject: subject.to_owned(),
            chain: pair.chain.clone(),
            key: pair.key.expose().to_owned(),
        };
        let text = serde_json::to_string_pretty(&kept).unwrap_or_default();
        let written = make_directory(&self.0, 0o700)
            .and_then(|()| write_atomic(&self.path(pair.kind), text.as_bytes(), SECRET));
        written.map_err(|e| local(&e))
    }

    /// The pair of this kind that was ordered as the same and is newer than `than`, and not over at `now`.
    #[must_use]
    pub fn newer(
        &self,
        kind: KeyKind,
        subject: &str,
        than: Option<&str>,
        now: i64,
    ) -> Option<Pair> {
        let text = read_text(&self.path(kind)).ok()?;
        let kept: Kept = serde_json::from_str(&text).ok()?;
        let leaf = leaf::of_pem(&kept.chain)?;
        let other = than.and_then(leaf::of_pem);
        // Half of its life is over: what holds it must have had it, or does not want it.
        let half = leaf.not_before + (leaf.not_after - leaf.not_before) / 2;
        let is_newer = other.is_none_or(|other| {
            leaf.not_before > other.not_before || leaf.not_after > other.not_after
        });
        let fits = kept.schema == SCHEMA && kept.subject == subject && is_newer && now < half;
        fits.then(|| Pair {
            kind,
            chain: kept.chain,
            key: PrivateKey::new(kept.key),
        })
    }

    /// Takes a pair away that nobody is to get again, because what it is for does not take it.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn discard(&self, kind: KeyKind) -> Result<(), AcmeError> {
        match std::fs::remove_file(self.path(kind)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let step = crate::sys::file::Step::Write;
                let path = self.path(kind);
                Err(local(&FileError::Io {
                    step,
                    path,
                    source: error,
                }))
            }
            _ => Ok(()),
        }
    }
}
