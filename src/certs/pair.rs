//! A certificate chain with its private key, and what is known of it.
//!
//! Pure. A `Pair` is made by `validate` alone, so that whoever holds one holds a key that fits. Invariant: no key is ever
//! shown, neither by `Debug` nor in a report.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::Name;
pub use super::private_key::PrivateKey;
pub use super::source::Source;

/// The kind of a key, which decides who can use it: old phones know RSA alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    Rsa,
    Ecdsa,
    Ed25519,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Rsa => "RSA",
            Algorithm::Ecdsa => "ECDSA",
            Algorithm::Ed25519 => "Ed25519",
        })
    }
}

/// What a certificate says of itself, and what its chain looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// SHA-256 of the certificate, in hexadecimal digits: what a listener is recognised by.
    pub fingerprint: String,
    pub algorithm: Algorithm,
    /// The size of the key, in bits.
    pub bits: usize,
    /// Its names in one form; a certificate without any has its common name here.
    pub names: Vec<String>,
    pub issuer: String,
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub is_self_signed: bool,
    /// Of an authority for tests, which nobody trusts.
    pub is_staging: bool,
    /// The subjects of the chain, the certificate's own first.
    pub chain: Vec<String>,
    /// What may trouble some phones, in words.
    pub notes: Vec<String>,
}

impl Facts {
    pub fn lifetime(&self) -> i64 {
        (self.not_after - self.not_before).max(1)
    }

    /// What is left of its lifetime, in thousandths; 0 when it is over.
    pub fn left(&self, now: i64) -> i64 {
        let left = self.not_after.saturating_sub(now).max(0);
        (left.saturating_mul(1000) / self.lifetime()).min(1000)
    }

    pub fn covers(&self, wanted: &Name) -> bool {
        let mut names = self.names.iter().filter_map(|name| Name::read(name));
        names.any(|name| name.covers(wanted))
    }
}

/// A chain and its key, both in the form in which they are written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub facts: Facts,
    /// Leaf, then intermediates, in PEM; no root.
    pub chain: String,
    pub key: PrivateKey,
}

/// What is to be served: one pair, or one for each algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub source: Source,
    /// The first is for everybody; a second one is ECDSA beside RSA.
    pub pairs: Vec<Pair>,
}

impl Offer {
    /// Names this offer: the chains, and with them the keys, for a key fits one certificate only.
    pub fn digest(&self) -> String {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for pair in &self.pairs {
            context.update(pair.chain.as_bytes());
        }
        hex(context.finish().as_ref())
    }

    pub fn facts(&self) -> Vec<Facts> {
        self.pairs.iter().map(|pair| pair.facts.clone()).collect()
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
