//! Of a certificate (RFC 5280) what ordering its successor needs: times, serial number, key, and whose key signed it.
//!
//! Pure. It checks no signature. Invariant: a chain is given whole or not at all.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::certs::pem::armour;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// In seconds since 1970, both within.
    pub not_before: i64,
    pub not_after: i64,
    /// As DER has it, with its sign octet (RFC 9773, 4.1).
    pub serial: Vec<u8>,
    /// The SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// keyIdentifier of AuthorityKeyIdentifier (RFC 5280, 4.2.1.1).
    pub authority: Option<Vec<u8>>,
}

/// The certificates of a chain, in DER and in their order. `None`: one is cut or no base64, or there is none.
#[must_use]
pub fn chain(pem: &str) -> Option<Vec<Vec<u8>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.ok().filter(|chain| !chain.is_empty())?;
    Some(read.iter().map(|der| der.to_vec()).collect())
}

/// A chain in PEM: what else a server wrote around it is gone.
#[must_use]
pub fn pem(chain: &[Vec<u8>]) -> String {
    let mut out = String::new();
    for der in chain {
        armour(&mut out, "CERTIFICATE", der);
    }
    out
}

/// The first certificate of a chain in PEM.
#[must_use]
pub fn of_pem(pem: &str) -> Option<Leaf> {
    read(chain(pem)?.first()?)
}

/// Reads a certificate in DER.
#[must_use]
pub fn read(der: &[u8]) -> Option<Leaf> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let authority =
        certificate
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(known) => known.key_identifier.as_ref(),
                _ => None,
            });
    Some(Leaf {
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        serial: certificate.raw_serial().to_vec(),
        public_key: certificate.public_key().raw.to_vec(),
        authority: authority.map(|key| key.0.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, PublicKeyData, SerialNumber};

    use super::*;

    fn certificate(names: &[&str]) -> (Vec<u8>, KeyPair) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![0xc0, 0xff, 0xee]);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(&[0xca, 0xfe]));
        params.use_authority_key_identifier_extension = true;
        params.not_before = time::macros::datetime!(2026-01-02 03:04:05 UTC);
        params.not_after = time::macros::datetime!(2061-01-02 03:04:05 UTC);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        (der, key)
    }

    #[test]
    fn what_was_put_in_is_read() {
        let (der, key) = certificate(&["pbx.example.org"]);
        let leaf = read(&der).unwrap();
        assert_eq!(leaf.not_before, 1_767_323_045);
        // Beyond 2049 the other form of time is used.
        assert_eq!(leaf.not_after, 2_871_860_645);
        assert_eq!(leaf.serial, [0, 0xca, 0xfe]);
        assert_eq!(
            leaf.authority.as_deref(),
            Some([0xc0, 0xff, 0xee].as_slice())
        );
        assert_eq!(leaf.public_key, key.subject_public_key_info());
    }

    #[test]
    fn a_chain_comes_back_and_nothing_around_it() {
        let certificates = vec![certificate(&["a.example"]).0, certificate(&["b.example"]).0];
        let text = format!("# a comment\r\n{}and an end\n", pem(&certificates));
        assert_eq!(chain(&text).unwrap(), certificates);
        assert_eq!(chain(&pem(&certificates)).unwrap(), certificates);
        assert_eq!(chain("nothing"), None);
        assert_eq!(chain(&text[..200]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_cut_or_changed_is_read_or_refused(at in 0usize..400, with: u8, cut: bool) {
            let (mut der, _) = certificate(&["pbx.example.org"]);
            let at = at % der.len();
            match cut {
                true => {
                    der.truncate(at);
                    prop_assert_eq!(read(&der), None);
                }
                false => {
                    der[at] = with;
                    let _ = read(&der);
                }
            }
        }
    }
}
