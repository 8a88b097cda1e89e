//! Certificates ordered from an authority (ACME, RFC 8555): Let's Encrypt, ZeroSSL, a company's own.
//!
//! [`obtain`] orders once, [`renewal::Renewal`] orders when it is time. Pure are `settings` (what is wanted), `schedule` (when),
//! `trouble` (whose trouble it is), `names` and `leaf`; `order` talks to the authority over `http`, `challenge` shows it
//! that the names are ours, `account` and `shelf` keep on disk what must last.
//!
//! It does not decide who gets a certificate, and installs none. It refuses to order without accepted terms of service.
//! Invariant: a private key is in files of mode 0600 and in a [`Pair`], never in a log, an argument or `Debug`.

mod account;
mod challenge;
mod http;
pub mod leaf;
pub mod names;
mod order;
pub mod renewal;
pub mod schedule;
pub mod settings;
mod shelf;
pub mod trouble;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use account::Accounts;
pub use challenge::tokens::{PREFIX as CHALLENGE_PATH, Tokens};
use http::Http;
use instant_acme::Account;
use names::Name;
use order::{Clerk, Failure};
use ring::digest::{SHA256, digest as sha256};
use schedule::Window;
use settings::Settings;
use shelf::Shelf;
use trouble::{AcmeError, Kind};

use super::key::KeyKind;
use super::private_key::PrivateKey;
use crate::sys::clock::unix_now;
use crate::sys::file::{FileError, Lock, lock_beside, make_directory};
use crate::web::Patience;

/// What is wanted of an authority.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub settings: Settings,
    /// Sorted, each once.
    pub names: Vec<Name>,
    /// One certificate for each.
    pub keys: Vec<KeyKind>,
    /// For one question to the authority.
    pub patience: Patience,
}

/// Where things lie.
#[derive(Debug, Clone)]
pub struct Place {
    /// Accounts, issued pairs and the schedule; ours alone.
    pub state: PathBuf,
    /// The answers of HTTP-01, which others may read.
    pub tokens: Tokens,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub kind: KeyKind,
    /// The certificate and those of its issuers, in PEM.
    pub chain: String,
    pub key: PrivateKey,
}

/// The chain in PEM that is in use for a kind of key: what is replaced.
pub type Have = BTreeMap<KeyKind, String>;

impl Wanted {
    #[must_use]
    pub fn new(settings: Settings, mut names: Vec<Name>, keys: Vec<KeyKind>) -> Wanted {
        names.sort_unstable();
        names.dedup();
        Wanted {
            settings,
            names,
            keys,
            patience: http::PATIENCE,
        }
    }

    /// What names an order: the same when nothing that it brings would differ.
    fn subject(&self, kind: KeyKind) -> String {
        let profile = self.settings.profile.as_deref().unwrap_or_default();
        let mut parts = vec![
            format!("{kind:?}"),
            self.settings.directory.clone(),
            profile.to_owned(),
        ];
        parts.extend(self.names.iter().map(ToString::to_string));
        digest(&parts)
    }

    /// What names all that somebody may have changed to make an order succeed.
    fn fingerprint(&self) -> String {
        let binding = self.settings.account_binding.as_ref();
        let key = binding.map(|binding| digest(&[&hex(&binding.key)]));
        digest(&[
            format!("{:?}", self.settings),
            format!("{:?} {key:?}", self.names),
        ])
    }
}

/// Gives a pair for each kind of key: ordered now, or issued before and never handed over. `have`: those in use, which the
/// new ones replace.
///
/// # Errors
/// With the first failure. What was issued before it is kept, and given the next time.
pub async fn obtain(
    wanted: &Wanted,
    keys: &[KeyKind],
    have: &Have,
    place: &Place,
) -> Result<Vec<Pair>, AcmeError> {
    let _lock = lock(place)?;
    let shelf = Shelf::below(&place.state);
    let mut pairs = Vec::new();
    let mut missing = Vec::new();
    for &kind in keys {
        let used = have.get(&kind).map(String::as_str);
        match shelf.newer(kind, &wanted.subject(kind), used, unix_now()) {
            Some(pair) => pairs.push(pair),
            None => missing.push(kind),
        }
    }
    if missing.is_empty() {
        return Ok(pairs);
    }
    let http = Http::new(wanted.settings.authority.as_deref(), wanted.patience)?;
    let accounts = Accounts {
        state: &place.state,
        settings: &wanted.settings,
        http: &http,
    };
    let mut account = accounts.open().await?;
    for kind in missing {
        let replaces = have
            .get(&kind)
            .and_then(|chain| leaf::chain(chain)?.into_iter().next());
        let clerk = |account: &Account| Clerk {
            account: account.clone(),
            http: &http,
            settings: &wanted.settings,
            names: &wanted.names,
            tokens: &place.tokens,
        };
        let ordered = match clerk(&account).order(kind, replaces.as_deref()).await {
            Err(Failure {
                no_account: true, ..
            }) => {
                accounts.put_aside()?;
                account = accounts.open().await?;
                clerk(&account).order(kind, None).await
            }
            other => other,
        };
        let pair = ordered.map_err(|failure| failure.error)?;
        shelf.put(&wanted.subject(kind), &pair)?;
        pairs.push(pair);
    }
    Ok(pairs)
}

/// The window that the authority suggests for a certificate's renewal, and in how many seconds to ask again. `None`: it
/// suggests none.
///
/// # Errors
/// If it cannot be asked.
pub async fn window(
    wanted: &Wanted,
    chain: &str,
    place: &Place,
) -> Result<Option<(Window, i64)>, AcmeError> {
    let Some(id) = leaf::of_pem(chain).as_ref().and_then(order::certificate_id) else {
        return Ok(None);
    };
    let http = Http::new(wanted.settings.authority.as_deref(), wanted.patience)?;
    let accounts = Accounts {
        state: &place.state,
        settings: &wanted.settings,
        http: &http,
    };
    // Without an account nothing was ordered there.
    let Some(account) = accounts.existing().await? else {
        return Ok(None);
    };
    match account.renewal_info(&id).await {
        Ok((info, again)) => {
            let window = Window {
                start: info.suggested_window.start.unix_timestamp(),
                end: info.suggested_window.end.unix_timestamp(),
            };
            Ok(Some((window, seconds(again))))
        }
        Err(instant_acme::Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(http::trouble(&error, http.told())),
    }
}

/// What was issued for this kind of key is not given again: what it is for does not take it.
///
/// # Errors
/// If it cannot be removed.
pub fn discard(kind: KeyKind, place: &Place) -> Result<(), AcmeError> {
    Shelf::below(&place.state).discard(kind)
}

/// Two who order at once would order twice.
fn lock(place: &Place) -> Result<Lock, AcmeError> {
    make_directory(&place.state, 0o700)
        .and_then(|()| lock_beside(&place.state.join("order"), Duration::ZERO))
        .map_err(|e| match e {
            FileError::Busy { .. } => {
                AcmeError::new(Kind::Local, "another process orders a certificate just now")
            }
            e => local(&e),
        })
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A file's trouble as ours.
fn local(error: &FileError) -> AcmeError {
    let told = AcmeError::new(Kind::Local, chain_of(error));
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// An error with its causes.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        out.push_str(&format!(": {source}"));
        next = source.source();
    }
    out
}

/// A short name of these parts, fit for a file's.
fn digest<T: AsRef<str>>(parts: &[T]) -> String {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(part.as_ref().as_bytes());
        all.push(0);
    }
    let digest = sha256(&SHA256, &all);
    hex(digest.as_ref().get(..8).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
