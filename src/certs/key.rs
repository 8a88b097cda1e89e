//! Private keys of certificates: made here, shown nowhere.
//!
//! ECDSA P-256 by ring, RSA by the crate `rsa`, because ring makes none. It refuses other sizes and curves than phones are
//! known to take. Invariant: `Debug` shows no key, and a key that was made can sign.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use rsa::pkcs8::EncodePrivateKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// What a key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    Rsa(Bits),
    P256,
}

/// The sizes of an RSA key that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bits {
    B2048,
    B3072,
    B4096,
}

impl Bits {
    /// `None`: no key of this size is made.
    #[must_use]
    pub fn of(number: usize) -> Option<Bits> {
        [Bits::B2048, Bits::B3072, Bits::B4096]
            .into_iter()
            .find(|bits| bits.number() == number)
    }

    #[must_use]
    pub fn number(self) -> usize {
        match self {
            Bits::B2048 => 2048,
            Bits::B3072 => 3072,
            Bits::B4096 => 4096,
        }
    }
}

impl KeyKind {
    /// Short and fit for a file's name. RSA keys of all sizes have one: a PBX serves one of each algorithm.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::Rsa(_) => "rsa",
            KeyKind::P256 => "ecc",
        }
    }
}

/// A private key in PEM (PKCS#8).
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPem(String);

impl KeyPem {
    pub fn new(text: impl Into<String>) -> KeyPem {
        KeyPem(text.into())
    }

    #[must_use]
    pub fn exposed(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot make an RSA key: {0}")]
    Rsa(String),
    #[error("cannot make a key: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes a key. An RSA key takes from a tenth of a second to several: not for a thread that others wait for.
///
/// # Errors
/// If the system gives no random numbers.
pub fn make(kind: KeyKind) -> Result<KeyPair, KeyError> {
    match kind {
        KeyKind::P256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        KeyKind::Rsa(bits) => rsa(bits),
    }
}

/// Makes an RSA key (FIPS 186-5, exponent 65537).
///
/// # Errors
/// If the system gives no random numbers.
pub fn rsa(bits: Bits) -> Result<KeyPair, KeyError> {
    let failed = |e: &dyn fmt::Display| KeyError::Rsa(e.to_string());
    let mut source = Source(SystemRandom::new());
    let key = rsa::PrivateKey::new(&mut source, bits.number()).map_err(|e| failed(&e))?;
    let der = key.to_pkcs8_der().map_err(|e| failed(&e))?;
    let der = PrivatePkcs8KeyDer::from(der.as_bytes());
    Ok(KeyPair::from_pkcs8_der_and_sign_algo(
        &der,
        &PKCS_RSA_SHA256,
    )?)
}

/// The key in PEM.
#[must_use]
pub fn pem(key: &KeyPair) -> KeyPem {
    KeyPem(key.serialize_pem())
}

/// ring's random numbers in the form that `rsa` takes.
struct Source(SystemRandom);

#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
struct NoRandom;

impl TryRng for Source {
    type Error = NoRandom;

    fn try_next_u32(&mut self) -> Result<u32, NoRandom> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandom> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        self.0.fill(bytes).map_err(|_| NoRandom)
    }
}

impl TryCryptoRng for Source {}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, SigningKey};

    use super::*;

    #[test]
    fn each_kind_makes_a_key_that_signs_a_certificate_and_differs_from_the_last() {
        for kind in [KeyKind::P256, KeyKind::Rsa(Bits::B2048)] {
            let [one, other] = [make(kind).unwrap(), make(kind).unwrap()];
            assert_ne!(pem(&one), pem(&other));
            assert!(!one.sign(b"x").unwrap().is_empty());
            let params = CertificateParams::new(vec!["pbx.example.org".to_owned()]).unwrap();
            let certificate = params.self_signed(&one).unwrap();
            let read = crate::certs::acme::leaf::read(certificate.der()).unwrap();
            assert_eq!(read.public_key.len(), one_length(kind));
            assert!(
                pem(&one)
                    .exposed()
                    .starts_with("-----BEGIN PRIVATE KEY-----")
            );
            assert_eq!(format!("{:?}", pem(&one)), "***");
        }
    }

    /// Of the SubjectPublicKeyInfo in bytes: 65 of the point, 270 of modulus and exponent, and what DER puts around them.
    fn one_length(kind: KeyKind) -> usize {
        match kind {
            KeyKind::P256 => 91,
            KeyKind::Rsa(_) => 294,
        }
    }

    #[test]
    fn only_known_sizes_are_made() {
        assert_eq!(Bits::of(2048), Some(Bits::B2048));
        assert_eq!([1024, 2047, 8192].map(Bits::of), [None; 3]);
    }
}
