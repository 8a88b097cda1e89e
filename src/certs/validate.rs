//! From text to a pair that may be served, or the reason why not.
//!
//! Pure. A mismatched, cut-off, reversed or foreign pair makes the PBX's listener refuse every handshake while its reload
//! reports success (Asterisk 22.10.1, res_pjsip and main/http.c), so all of it is found out before. It does not ask
//! whether anybody trusts the issuer: that is the phones' affair. Invariant: a `Pair` has a key that fits its first
//! certificate, and each certificate is issued by the next one.

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::names::Name;
use super::pair::{Algorithm, Facts, Pair, PrivateKey, hex};
use super::pem::armour;

/// As many certificates may stand in a chain.
const LONGEST_CHAIN: usize = 10;
/// A certificate of the future is taken when our clock may be this slow, in seconds.
pub const TOLERANCE: i64 = 86_400;

/// Why a pair is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no certificate in it")]
    NoCertificate,
    #[error("the certificate's text is cut off or damaged")]
    BrokenChain,
    #[error("certificate {0} of the chain is none that can be read")]
    NotX509(usize),
    #[error("the chain has more than {LONGEST_CHAIN} certificates")]
    LongChain,
    #[error("the chain is in the wrong order: the host's own certificate must come first")]
    Reversed,
    #[error("certificate {0} of the chain has not issued the one before it")]
    Foreign(usize),
    #[error("there is no private key in it")]
    NoKey,
    #[error("the private key is encrypted; nobody is there to type its password")]
    EncryptedKey,
    #[error("the private key's text is cut off or damaged")]
    BrokenKey,
    #[error(
        "a key of this kind is not served: {0}; use RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384"
    )]
    KeyKind(String),
    #[error("the private key belongs to another certificate")]
    KeyMismatch,
    #[error("it has expired")]
    Expired { not_after: i64 },
    #[error("it is not valid yet")]
    NotYetValid { not_before: i64 },
}

impl Refusal {
    /// The clock decides, not the pair.
    pub fn is_of_time(&self) -> bool {
        matches!(self, Refusal::Expired { .. } | Refusal::NotYetValid { .. })
    }
}

/// Reads and checks a pair, whatever the time.
///
/// # Errors
/// With the first thing that is wrong.
pub fn examine(chain: &str, key: &PrivateKey) -> Result<Pair, Refusal> {
    let mut certificates = read_chain(chain)?;
    let facts = facts(&certificates)?;
    if facts.chain.len() < certificates.len() {
        // The root is at home in the phones, and only makes the handshake longer.
        certificates.truncate(facts.chain.len());
    }
    let key = read_key(key)?;
    let kind = || format!("{} of {} bits", facts.algorithm, facts.bits);
    if facts.algorithm == Algorithm::Rsa && !(2048..=4096).contains(&facts.bits) {
        return Err(Refusal::KeyKind(kind()));
    }
    let Ok(signer) = any_supported_type(&key) else {
        return Err(match is_other_kind(&key, facts.algorithm) {
            true => Refusal::KeyMismatch,
            false => Refusal::KeyKind(kind()),
        });
    };
    let (_, leaf) = X509Certificate::from_der(certificates.first().ok_or(Refusal::NoCertificate)?)
        .map_err(|_| Refusal::NotX509(1))?;
    if signer.public_key().as_deref() != Some(leaf.public_key().raw) {
        return Err(Refusal::KeyMismatch);
    }
    let mut text = String::new();
    for certificate in &certificates {
        armour(&mut text, "CERTIFICATE", certificate);
    }
    let mut secret = String::new();
    let (label, der) = match &key {
        PrivateKeyDer::Pkcs1(der) => ("RSA PRIVATE KEY", der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => ("EC PRIVATE KEY", der.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(der) => ("PRIVATE KEY", der.secret_pkcs8_der()),
        _ => return Err(Refusal::BrokenKey),
    };
    armour(&mut secret, label, der);
    Ok(Pair {
        facts,
        chain: text,
        key: PrivateKey::new(secret),
    })
}

/// Whether a pair is within its time; a clock that is a little slow does not count.
///
/// # Errors
/// With the moment that has passed, or that has not come.
pub fn in_time(facts: &Facts, now: i64) -> Result<(), Refusal> {
    if now >= facts.not_after {
        return Err(Refusal::Expired {
            not_after: facts.not_after,
        });
    }
    if now < facts.not_before.saturating_sub(TOLERANCE) {
        return Err(Refusal::NotYetValid {
            not_before: facts.not_before,
        });
    }
    Ok(())
}

fn read_chain(text: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = read.map_err(|_| Refusal::BrokenChain)?;
    match certificates.len() {
        0 => Err(Refusal::NoCertificate),
        1..=LONGEST_CHAIN => Ok(certificates),
        _ => Err(Refusal::LongChain),
    }
}

fn read_key(key: &PrivateKey) -> Result<PrivateKeyDer<'static>, Refusal> {
    let text = key.expose();
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    {
        return Err(Refusal::EncryptedKey);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => Refusal::NoKey,
        _ => Refusal::BrokenKey,
    })
}

/// A key in a form that tells its kind, and it is not the certificate's.
fn is_other_kind(key: &PrivateKeyDer<'_>, algorithm: Algorithm) -> bool {
    match key {
        PrivateKeyDer::Pkcs1(_) => algorithm != Algorithm::Rsa,
        PrivateKeyDer::Sec1(_) => algorithm != Algorithm::Ecdsa,
        _ => false,
    }
}

fn facts(certificates: &[CertificateDer<'_>]) -> Result<Facts, Refusal> {
    let mut read = Vec::new();
    for (number, der) in certificates.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => read.push(certificate),
            _ => return Err(Refusal::NotX509(number + 1)),
        }
    }
    let issued = |of: &X509Certificate<'_>, by: &X509Certificate<'_>| {
        of.issuer().as_raw() == by.subject().as_raw()
    };
    for (at, two) in read.windows(2).enumerate() {
        if let [one, next] = two
            && !issued(one, next)
        {
            let is_reversed = read
                .windows(2)
                .all(|two| matches!(two, [one, next] if issued(next, one)));
            return Err(match is_reversed {
                true => Refusal::Reversed,
                false => Refusal::Foreign(at + 2),
            });
        }
    }
    if let (true, Some(root)) = (read.len() > 1, read.last())
        && root.issuer().as_raw() == root.subject().as_raw()
    {
        read.pop();
    }
    let (Some(leaf), Some(der)) = (read.first(), certificates.first()) else {
        return Err(Refusal::NoCertificate);
    };
    let (algorithm, bits) = key_of(leaf)?;
    let common = |certificate: &X509Certificate<'_>| {
        let mut names = certificate.subject().iter_common_name();
        names
            .next()
            .and_then(|name| Some(name.as_str().ok()?.to_owned()))
    };
    let (names, has_san) = names_of(leaf, common(leaf));
    let issuer = leaf.issuer().to_string();
    let is_self_signed = leaf.issuer().as_raw() == leaf.subject().as_raw();
    let is_staging = issuer.to_ascii_uppercase().contains("STAGING");
    let mut notes = Vec::new();
    if !has_san {
        notes.push(
            "it has only a common name and no subject alternative name: many clients refuse it"
                .to_owned(),
        );
    }
    if read.len() == 1 && !is_self_signed {
        notes.push(
            "the chain lacks the issuer's certificate: phones that do not fetch it refuse it"
                .to_owned(),
        );
    }
    Ok(Facts {
        fingerprint: hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref()),
        algorithm,
        bits,
        names,
        issuer,
        serial: hex(leaf.raw_serial()),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        is_self_signed,
        is_staging,
        chain: read
            .iter()
            .map(|certificate| common(certificate).unwrap_or(certificate.subject().to_string()))
            .collect(),
        notes,
    })
}

/// The names of a certificate, and whether they are subject alternative names. What is no name, such as a path, is none.
fn names_of(leaf: &X509Certificate<'_>, common: Option<String>) -> (Vec<String>, bool) {
    let mut names = Vec::new();
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            let name = match name {
                GeneralName::DNSName(name) => Name::read(name),
                GeneralName::IPAddress(bytes) => address(bytes),
                _ => None,
            };
            names.extend(name.map(|name| name.to_string()));
        }
    }
    if !names.is_empty() {
        return (names, true);
    }
    let name = common.and_then(|common| Name::read(&common));
    (Vec::from_iter(name.map(|name| name.to_string())), false)
}

fn address(bytes: &[u8]) -> Option<Name> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Name::read(&std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Name::read(&std::net::Ipv6Addr::from(sixteen).to_string())
}

fn key_of(leaf: &X509Certificate<'_>) -> Result<(Algorithm, usize), Refusal> {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => Ok((Algorithm::Rsa, key.key_size())),
        // Of P-521's 66 bytes only the lowest bit of the first counts.
        Ok(PublicKey::EC(point)) => Ok((
            Algorithm::Ecdsa,
            match point.key_size() {
                528 => 521,
                bits => bits,
            },
        )),
        Ok(_) if leaf.public_key().algorithm.algorithm.to_id_string() == "1.3.101.112" => {
            Ok((Algorithm::Ed25519, 256))
        }
        _ => Err(Refusal::KeyKind(
            leaf.public_key().algorithm.algorithm.to_id_string(),
        )),
    }
}

#[cfg(test)]
mod tests;
