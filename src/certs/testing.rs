//! Certificates for the tests of these rooms: an authority of our own, and what it signs.

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::pair::PrivateKey;

/// The present of these tests: 2026-11-01.
pub const NOW: i64 = 1_793_491_200;
pub const DAY: i64 = 86_400;

/// A root and an intermediate that signs.
pub struct Authority {
    pub root: String,
    pub intermediate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Text of a chain and of its key.
#[derive(Clone)]
pub struct Issued {
    pub leaf: String,
    pub chain: String,
    pub key: String,
}

impl Issued {
    pub fn private_key(&self) -> PrivateKey {
        PrivateKey::new(self.key.clone())
    }
}

fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn named(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = moment(NOW) - Duration::days(1000);
    params.not_after = moment(NOW) + Duration::days(1000);
    params
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = named(&format!("{name} Root"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = named(&format!("{name} R1"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let intermediate = params.signed_by(&key, &root).unwrap().pem();
        Authority {
            root: root.pem(),
            intermediate,
            issuer: Issuer::new(params, key),
        }
    }

    /// For these names, from so many days before now until so many after.
    pub fn issue(&self, names: &[&str], from: i64, until: i64) -> Issued {
        self.issue_with(&KeyPair::generate().unwrap(), names, from, until)
    }

    pub fn issue_with(&self, key: &KeyPair, names: &[&str], from: i64, until: i64) -> Issued {
        let mut params = named(names.first().unwrap_or(&"nobody"));
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        params.not_before = moment(NOW + from * DAY);
        params.not_after = moment(NOW + until * DAY);
        let leaf = params.signed_by(key, &self.issuer).unwrap().pem();
        Issued {
            chain: format!("{leaf}{}", self.intermediate),
            leaf,
            key: key.serialize_pem(),
        }
    }
}

/// The 2048-bit key of tests/certs, which ring cannot make.
pub fn rsa() -> KeyPair {
    KeyPair::from_pem(include_str!("../../tests/certs/rsa2048.pkcs8.pem")).unwrap()
}

/// What Traefik calls `[]byte`.
pub fn bytes(text: &str) -> Value {
    json!(base64::engine::general_purpose::STANDARD.encode(text))
}

/// An entry of a store as Traefik writes it since v2.
pub fn entry(main: &str, sans: &[&str], issued: &Issued) -> Value {
    let mut domain = json!({ "main": main });
    if !sans.is_empty() {
        domain["sans"] = json!(sans);
    }
    json!({ "domain": domain, "certificate": bytes(&issued.chain), "key": bytes(&issued.key), "Store": "default" })
}

/// An account as Traefik writes it since v2; its key is never read.
pub fn account(uri: &str) -> Value {
    json!({ "Email": "a@example.com", "Registration": { "body": { "status": "valid" }, "uri": uri },
        "PrivateKey": bytes("an account's key"), "KeyType": "4096" })
}

/// A store with one resolver, `le`.
pub fn store(entries: &[Value]) -> Vec<u8> {
    let account = account("https://acme-v02.api.letsencrypt.org/acme/acct/1");
    serde_json::to_vec_pretty(&json!({ "le": { "Account": account, "Certificates": entries } }))
        .unwrap()
}
