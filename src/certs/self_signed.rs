//! Certificates that we sign ourselves, so that TLS works from the first start.
//!
//! Made of names, times and a key, with all names as subject alternative names: clients refuse a common name alone. It
//! decides neither when nor where. Invariant: a certificate is no authority and signs nothing but itself.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::generation::Text;
use super::private_key::PrivateKey;

/// The longest common name that X.509 knows (RFC 5280, ub-common-name).
const LONGEST_COMMON: usize = 64;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Names and addresses, the host's own first.
    pub names: &'a [String],
    /// Seconds since 1970.
    pub now: i64,
    pub days: u32,
}

/// With a new key on P-256.
///
/// # Errors
/// If the system has no random numbers, or a name is none.
pub fn with_new_key(request: &Request<'_>) -> Result<Text, rcgen::Error> {
    sign(request, &KeyPair::generate()?)
}

/// With this key.
///
/// # Errors
/// If a name is none.
pub fn sign(request: &Request<'_>, key: &KeyPair) -> Result<Text, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let local = "localhost".to_owned();
    let names = request.names.iter().chain([&local]);
    for name in names {
        let name = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    if let Some(host) = request
        .names
        .first()
        .filter(|host| host.len() <= LONGEST_COMMON)
    {
        params
            .distinguished_name
            .push(DnType::CommonName, host.as_str());
    }
    let from = OffsetDateTime::from_unix_timestamp(request.now);
    let from = from.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    // For phones whose clock is slow.
    params.not_before = from - Duration::hours(1);
    params.not_after = from + Duration::days(i64::from(request.days));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.self_signed(key)?;
    Ok(Text {
        chain: certificate.pem(),
        key: PrivateKey::new(key.serialize_pem()),
    })
}

#[cfg(all(test, feature = "services"))]
mod tests {
    use super::*;
    use crate::certs::pair::Algorithm;
    use crate::certs::testing::{DAY, NOW};
    use crate::certs::validate::{examine, in_time};

    fn request(names: &[String]) -> Request<'_> {
        Request {
            names,
            now: NOW,
            days: 30,
        }
    }

    #[test]
    fn it_is_sound_has_every_name_and_lasts_as_long_as_asked() {
        let names = ["pbx.example.com", "example.com", "192.0.2.1"].map(str::to_owned);
        let made = with_new_key(&request(&names)).unwrap();
        let facts = examine(&made.chain, &made.key).unwrap().facts;
        let all = ["pbx.example.com", "example.com", "192.0.2.1", "localhost"];
        assert_eq!(facts.names, all);
        assert!(facts.is_self_signed && facts.notes.is_empty(), "{facts:?}");
        assert_eq!(facts.not_after, NOW + 30 * DAY);
        assert_eq!(in_time(&facts, NOW), Ok(()));
    }

    #[test]
    fn an_rsa_key_signs_too() {
        let key = KeyPair::from_pem(include_str!("../../tests/certs/rsa2048.pkcs8.pem")).unwrap();
        let names = ["tele".to_owned()];
        let made = sign(&request(&names), &key).unwrap();
        let facts = examine(&made.chain, &made.key).unwrap().facts;
        assert_eq!((facts.algorithm, facts.bits), (Algorithm::Rsa, 2048));
    }

    #[test]
    fn a_host_with_a_very_long_name_gets_one_too() {
        let names = [format!("{0}.{0}.example.com", "a".repeat(60))];
        let made = with_new_key(&request(&names)).unwrap();
        let facts = examine(&made.chain, &made.key).unwrap().facts;
        assert_eq!(facts.names[0], names[0]);
    }
}
