//! Of a certificate (RFC 5280) what ordering its successor needs: times, serial number, key, and whose key signed it.
//!
//! Pure. It reads no more than that, checks no signature, and refuses lengths that are not written in the one way DER has.
//! Invariant: nothing outside the given bytes is read, whatever lengths they tell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version, which old certificates leave out.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// keyIdentifier of AuthorityKeyIdentifier (RFC 5280, 4.2.1.1).
const KEY_IDENTIFIER: u8 = 0x80;
/// id-ce-authorityKeyIdentifier, 2.5.29.35.
const AUTHORITY_KEY: [u8; 5] = [0x06, 3, 0x55, 0x1d, 35];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

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
    pub authority: Option<Vec<u8>>,
}

/// The certificates of a chain, in DER and in their order. `None`: one is cut or no base64, or there is none.
#[must_use]
pub fn chain(pem: &str) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (inside, after) = after.split_once(END)?;
        let bare: String = inside.split_ascii_whitespace().collect();
        certificates.push(STANDARD.decode(bare).ok()?);
        rest = after;
    }
    (!certificates.is_empty()).then_some(certificates)
}

/// A chain in PEM: what else a server wrote around it is gone.
#[must_use]
pub fn pem(chain: &[Vec<u8>]) -> String {
    let mut out = String::new();
    for der in chain {
        out.push_str(BEGIN);
        out.push('\n');
        let text = STANDARD.encode(der);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
            out.push_str(line);
            out.push('\n');
            rest = after;
        }
        out.push_str(END);
        out.push('\n');
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
    let (certificate, _) = value(der, SEQUENCE)?;
    let (signed, _) = value(certificate, SEQUENCE)?;
    let rest = match signed.first() {
        Some(&VERSION) => value(signed, VERSION)?.1,
        _ => signed,
    };
    let (serial, rest) = value(rest, INTEGER)?;
    let (_signed_with, rest) = value(rest, SEQUENCE)?;
    let (_issuer, rest) = value(rest, SEQUENCE)?;
    let (validity, rest) = value(rest, SEQUENCE)?;
    let (_subject, rest) = value(rest, SEQUENCE)?;
    let after_key = value(rest, SEQUENCE)?.1;
    let public_key = rest.get(..rest.len() - after_key.len())?;
    let (not_before, validity) = moment(validity)?;
    let (not_after, _) = moment(validity)?;
    Some(Leaf {
        not_before,
        not_after,
        serial: serial.to_vec(),
        public_key: public_key.to_vec(),
        authority: extensions(after_key).and_then(authority),
    })
}

/// The list of extensions; what may stand before it is skipped.
fn extensions(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let tag = *rest.first()?;
        let (inside, after) = value(rest, tag)?;
        if tag == EXTENSIONS {
            return Some(value(inside, SEQUENCE)?.0);
        }
        rest = after;
    }
}

fn authority(mut list: &[u8]) -> Option<Vec<u8>> {
    while !list.is_empty() {
        let (extension, after) = value(list, SEQUENCE)?;
        if let Some(rest) = extension.strip_prefix(&AUTHORITY_KEY) {
            let (octets, _) = value(rest, OCTET_STRING)?;
            let (inside, _) = value(octets, SEQUENCE)?;
            return Some(value(inside, KEY_IDENTIFIER)?.0.to_vec());
        }
        list = after;
    }
    None
}

/// The content of the value that begins here, and what follows it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            let is_short = length < 0x80 || digits.first() == Some(&0);
            (!is_short).then_some((length, rest))?
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn moment(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let tag = *bytes.first()?;
    let (text, rest) = value(bytes, tag)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (year.parse().ok()?, text)
        }
        _ => return None,
    };
    let mut digits = text.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        text.parse::<u8>().ok()
    });
    let mut next = || digits.next().flatten();
    let month = time::Month::try_from(next()?).ok()?;
    let date = time::Date::from_calendar_date(year, month, next()?).ok()?;
    let clock = time::Time::from_hms(next()?, next()?, next()?).ok()?;
    let moment = time::PrimitiveDateTime::new(date, clock).assume_utc();
    Some((moment.unix_timestamp(), rest))
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
        let text = format!("# a comment\r\n{}-----BEGIN X-----\n", pem(&certificates));
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
