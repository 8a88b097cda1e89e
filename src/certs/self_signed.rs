//! A self-signed certificate, so that TLS works from the first start.
//!
//! Makes the pair when there is none, and renews only a pair that this module made itself. Keys are
//! ECDSA P-256. Invariant: a pair that came from elsewhere is never overwritten.

use std::path::{Path, PathBuf};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::sys::file::{FileError, Owner, write_atomic};

/// The names under which the PBX's configuration refers to the pair.
pub const CERTIFICATE: &str = "cert.pem";
pub const PRIVATE_KEY: &str = "priv_key.pem";

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Write(#[from] FileError),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Kept,
    Made,
    Renewed,
}

/// What is needed to decide and to make.
#[derive(Debug)]
pub struct Request<'a> {
    /// Directory of the pair.
    pub directory: &'a Path,
    /// Where we remember which certificate is ours.
    pub record: PathBuf,
    pub host_name: &'a str,
    pub days: u32,
    pub owner: Owner,
}

/// Sees to it that there is a pair; `now` in seconds since 1970.
pub fn ensure(request: &Request<'_>, now: i64) -> Result<Outcome, SelfSignedError> {
    let certificate = request.directory.join(CERTIFICATE);
    let key = request.directory.join(PRIVATE_KEY);
    let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.len() > 0);
    let outcome = if !is_there(&certificate) && !is_there(&key) {
        Outcome::Made
    } else if is_ours_and_due(&certificate, &request.record, now) {
        Outcome::Renewed
    } else {
        return Ok(Outcome::Kept);
    };
    let from = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let until = from + Duration::days(i64::from(request.days));
    let (certificate_pem, key_pem) = make(request.host_name, from - Duration::hours(1), until)?;
    let renew_at = now + i64::from(request.days) * 86_400 * 2 / 3;
    let record = format!("{renew_at}\n{certificate_pem}");
    write_atomic(&key, key_pem.as_bytes(), request.owner)?;
    write_atomic(&certificate, certificate_pem.as_bytes(), request.owner)?;
    write_atomic(&request.record, record.as_bytes(), request.owner)?;
    Ok(outcome)
}

/// The record holds the moment of renewal and the certificate that we made.
fn is_ours_and_due(certificate: &Path, record: &Path, now: i64) -> bool {
    let (Ok(record), Ok(installed)) = (
        std::fs::read_to_string(record),
        std::fs::read_to_string(certificate),
    ) else {
        return false;
    };
    let Some((renew_at, ours)) = record.split_once('\n') else {
        return false;
    };
    ours == installed && renew_at.parse().is_ok_and(|at: i64| now >= at)
}

fn make(
    host_name: &str,
    from: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(vec![host_name.to_owned(), "localhost".to_owned()])?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, host_name);
    params.distinguished_name = name;
    params.not_before = from;
    params.not_after = until;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(directory: &Path) -> Request<'_> {
        Request {
            directory,
            record: directory.join("record"),
            host_name: "pbx.example.org",
            days: 30,
            owner: Owner::Keep {
                new_file_mode: 0o640,
            },
        }
    }

    #[test]
    fn a_pair_is_made_once_and_renewed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let r = request(dir.path());
        assert_eq!(ensure(&r, 1_000_000).unwrap(), Outcome::Made);
        assert_eq!(ensure(&r, 1_000_000 + 19 * 86_400).unwrap(), Outcome::Kept);
        assert_eq!(
            ensure(&r, 1_000_000 + 21 * 86_400).unwrap(),
            Outcome::Renewed
        );
    }

    #[test]
    fn a_pair_from_elsewhere_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let r = request(dir.path());
        ensure(&r, 1_000_000).unwrap();
        std::fs::write(dir.path().join(CERTIFICATE), "bought elsewhere").unwrap();
        assert_eq!(ensure(&r, 9_000_000_000).unwrap(), Outcome::Kept);
        assert_eq!(
            std::fs::read_to_string(dir.path().join(CERTIFICATE)).unwrap(),
            "bought elsewhere"
        );
    }
}
