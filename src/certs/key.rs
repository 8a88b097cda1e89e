//! Private keys of certificates: made here, shown nowhere.
//!
//! ECDSA P-256 by ring, RSA by the image's `openssl`, because ring makes none (docs/decisions/0016-rsa-keys.md). It refuses
//! other sizes and curves than phones are known to take. Invariant: a key that was made can sign, and it comes through a
//! pipe: no file and no argument ever holds it.

use std::time::Duration;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::private_key::PrivateKey;
use super::program;

/// How long OpenSSL may look for primes.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// The smallest size that is made and not below this one; beyond all, the largest.
    #[must_use]
    pub fn at_least(number: usize) -> Bits {
        [Bits::B2048, Bits::B3072]
            .into_iter()
            .find(|bits| bits.number() >= number)
            .unwrap_or(Bits::B4096)
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

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no RSA key could be made: {0}")]
    Rsa(String),
    #[error("no key could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Makes a key. An RSA key takes from a tenth of a second to several: not for a thread that others wait for.
///
/// # Errors
/// If the system gives no random numbers, or there is no `openssl`.
pub fn make(kind: KeyKind) -> Result<KeyPair, KeyError> {
    match kind {
        KeyKind::P256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        KeyKind::Rsa(bits) => rsa(bits),
    }
}

fn rsa(bits: Bits) -> Result<KeyPair, KeyError> {
    let bits = format!("rsa_keygen_bits:{}", bits.number());
    let arguments = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", &bits];
    let ended = program::run("openssl", &arguments, &[], PATIENCE).map_err(KeyError::Rsa)?;
    if !ended.exit.is_success() {
        let said = ended.lines.first().cloned().unwrap_or_default();
        return Err(KeyError::Rsa(format!(
            "openssl ended with {}: {said}",
            ended.exit
        )));
    }
    Ok(KeyPair::from_pem(&ended.lines.join("\n"))?)
}

/// The key in PEM.
#[must_use]
pub fn pem(key: &KeyPair) -> PrivateKey {
    PrivateKey::new(key.serialize_pem())
}

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
                    .expose()
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
    fn a_size_that_is_not_made_is_rounded_up() {
        let sizes =
            [1024, 2048, 2049, 3072, 4096, 16_384].map(|number| Bits::at_least(number).number());
        assert_eq!(sizes, [2048, 2048, 3072, 3072, 4096, 4096]);
    }
}
