//! A certificate store as Traefik writes it, and an authority that signs what is in it.

use std::path::Path;

use base64::Engine;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use switchhook::certs::private_key::PrivateKey;
use switchhook::certs::validate::examine;
use time::{Duration as Days, OffsetDateTime};

/// An authority that the store's certificates come from.
pub struct Authority {
    pub intermediate: String,
    issuer: Issuer<'static, KeyPair>,
}

pub struct Issued {
    pub leaf: String,
    pub chain: String,
    pub key: String,
}

fn named(common: &str, from: i64, until: i64) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = now + Days::days(from);
    params.not_after = now + Days::days(until);
    params
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = named("Test Root", -100, 1000);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = named("Test R1", -100, 1000);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let intermediate = params.signed_by(&key, &root).unwrap().pem();
        Authority {
            intermediate,
            issuer: Issuer::new(params, key),
        }
    }

    pub fn issue(&self, name: &str, from: i64, until: i64) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name, from, until);
        params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued {
            chain: format!("{leaf}{}", self.intermediate),
            leaf,
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    pub fn fingerprint(&self) -> String {
        let key = PrivateKey::new(self.key.clone());
        examine(&self.chain, &key).unwrap().facts.fingerprint
    }

    pub fn entry(&self, name: &str) -> Value {
        entry(name, &self.chain, &self.key)
    }
}

pub fn entry(name: &str, chain: &str, key: &str) -> Value {
    let bytes = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    json!({ "domain": { "main": name }, "certificate": bytes(chain), "key": bytes(key), "Store": "default" })
}

pub fn store(entries: &[Value]) -> Vec<u8> {
    let account = json!({ "Email": "a@example.com", "Registration": { "body": { "status": "valid" },
        "uri": "https://acme-v02.api.letsencrypt.org/acme/acct/1" }, "PrivateKey": "c2VjcmV0", "KeyType": "4096" });
    serde_json::to_vec_pretty(&json!({ "le": { "Account": account, "Certificates": entries } }))
        .unwrap()
}

/// Writes as Traefik does: in place, for its own user alone.
pub fn write(directory: &Path, bytes: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(directory.join("acme.json"))
        .unwrap();
    file.write_all(bytes).unwrap();
}
