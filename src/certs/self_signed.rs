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
    /// Where we remember which certificates are ours.
    pub record: PathBuf,
    pub host_name: &'a str,
    pub days: u32,
    pub owner: Owner,
}

/// Sees to it that there is a pair; `now` in seconds since 1970.
pub fn ensure(request: &Request<'_>, now: i64) -> Result<Outcome, SelfSignedError> {
    let Some((outcome, ours)) = judge(request, now) else {
        return Ok(Outcome::Kept);
    };
    for (path, text) in plan(request, now, outcome, ours)? {
        write_atomic(&path, text.as_bytes(), request.owner)?;
    }
    Ok(outcome)
}

/// What is to be done, with the installed certificate when that is one of ours; `None` when all may stay.
fn judge(request: &Request<'_>, now: i64) -> Option<(Outcome, String)> {
    let is_there = |name: &str| {
        let found = std::fs::metadata(request.directory.join(name));
        found.is_ok_and(|m| m.len() > 0)
    };
    let has_key = is_there(PRIVATE_KEY);
    if !is_there(CERTIFICATE) {
        return (!has_key).then_some((Outcome::Made, String::new()));
    }
    let record = std::fs::read_to_string(&request.record).ok()?;
    let installed = std::fs::read_to_string(request.directory.join(CERTIFICATE)).ok()?;
    let (renew_at, ours) = record.split_once('\n')?;
    if !has_key && ours.contains(&installed) {
        return Some((Outcome::Made, installed));
    }
    // The newest is the first; the other is what an interrupted renewal has left in place.
    let is_due = if ours.starts_with(&installed) {
        renew_at.parse().is_ok_and(|at: i64| now >= at)
    } else {
        ours.contains(&installed)
    };
    is_due.then_some((Outcome::Renewed, installed))
}

/// The files to write, in their order. The record holds the moment of renewal, the certificate that will be ours and the
/// one that is, so that both are known as ours wherever it ends: a new pair gets its key last, and a certificate without
/// key is made anew; a renewed one gets its certificate last, and the old one in its place is renewed again.
fn plan(
    request: &Request<'_>,
    now: i64,
    outcome: Outcome,
    ours: String,
) -> Result<[(PathBuf, String); 3], SelfSignedError> {
    let from = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let until = from + Duration::days(i64::from(request.days));
    let (certificate, key) = make(request.host_name, from - Duration::hours(1), until)?;
    let renew_at = now + i64::from(request.days) * 86_400 * 2 / 3;
    let record = (
        request.record.clone(),
        format!("{renew_at}\n{certificate}{ours}"),
    );
    let certificate = (request.directory.join(CERTIFICATE), certificate);
    let key = (request.directory.join(PRIVATE_KEY), key);
    Ok(match outcome {
        Outcome::Renewed => [record, key, certificate],
        Outcome::Made | Outcome::Kept => [record, certificate, key],
    })
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

    /// The pair as it lies there.
    fn pair(directory: &Path) -> [String; 2] {
        [CERTIFICATE, PRIVATE_KEY]
            .map(|name| std::fs::read_to_string(directory.join(name)).unwrap_or_default())
    }

    #[test]
    fn a_pair_that_was_interrupted_anywhere_is_made_whole_and_renewed_in_time() {
        const DAY: i64 = 86_400;
        for (steps, age) in (0..=3).flat_map(|steps| [(steps, None), (steps, Some(21 * DAY))]) {
            let dir = tempfile::tempdir().unwrap();
            let r = request(dir.path());
            let mut now = 1_000_000;
            if let Some(age) = age {
                ensure(&r, now).unwrap();
                now += age;
            }
            let old = pair(dir.path());
            let (outcome, ours) = judge(&r, now).unwrap();
            let planned = plan(&r, now, outcome, ours).unwrap();
            for (path, text) in planned.iter().take(steps) {
                write_atomic(path, text.as_bytes(), r.owner).unwrap();
            }
            let found = ensure(&r, now + DAY).unwrap();
            assert_eq!(
                found == Outcome::Kept,
                steps == 3,
                "after {steps} of {age:?}"
            );
            let new = pair(dir.path());
            // Both of one making: neither is the old one's nor the interrupted one's.
            assert!((0..2).all(|i| !new[i].is_empty() && new[i] != old[i]));
            let begun = planned.iter().filter(|(_, text)| new.contains(text));
            assert_eq!(begun.count(), if steps == 3 { 2 } else { 0 });
            assert_eq!(ensure(&r, now + 2 * DAY).unwrap(), Outcome::Kept);
            assert_eq!(ensure(&r, now + 22 * DAY).unwrap(), Outcome::Renewed);
        }
    }

    #[test]
    fn a_key_from_elsewhere_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let r = request(dir.path());
        std::fs::write(dir.path().join(PRIVATE_KEY), "somebody's").unwrap();
        assert_eq!(ensure(&r, 1_000_000).unwrap(), Outcome::Kept);
        assert_eq!(pair(dir.path()), ["", "somebody's"]);
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
