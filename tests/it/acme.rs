//! Certificates ordered from a real authority: Pebble, with every challenge, and with all that goes wrong.
//!
//! What Pebble cannot be made to do, refuse by 429 or hang, a small HTTPS server of the test's own does in its place.

mod orders;
#[allow(dead_code, reason = "the image suite needs more of it")]
#[path = "../authority/pebble.rs"]
mod pebble;
mod trouble;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use switchhook::certs::acme::names::Name;
use switchhook::certs::acme::settings::{Challenge, Door, Settings};
use switchhook::certs::acme::{Have, Pair, Place, Tokens, Wanted};
use switchhook::certs::key::{Bits, KeyKind};

use pebble::Pebble;

const RSA: KeyKind = KeyKind::Rsa(Bits::B2048);
const ECC: KeyKind = KeyKind::P256;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limit = Duration::from_secs(240);
        tokio::time::timeout(limit, work)
            .await
            .expect("it comes to no end")
    })
}

/// The directories of one exchange.
struct Exchange(tempfile::TempDir);

impl Exchange {
    fn new() -> Exchange {
        Exchange(tempfile::tempdir().unwrap())
    }

    fn place(&self) -> Place {
        Place {
            state: self.0.path().join("state"),
            tokens: Tokens::at(self.tokens()),
        }
    }

    fn tokens(&self) -> PathBuf {
        self.0.path().join("tokens")
    }

    fn state(&self, below: &str) -> PathBuf {
        self.0.path().join("state").join(below)
    }

    /// Nothing that was shown is left, and nobody else can read what is kept.
    fn is_tidy(&self) {
        let left = std::fs::read_dir(self.tokens()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "answers are left");
        let mut pending = vec![self.state("")];
        while let Some(directory) = pending.pop() {
            let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", directory.display());
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let mode = std::fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
        }
    }

    /// The only file of accounts.
    fn account(&self) -> serde_json::Value {
        let files = std::fs::read_dir(self.state("accounts"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> = files
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        assert_eq!(files.len(), 1);
        serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap()
    }
}

fn settings(url: &str, authority: &Path, challenge: Challenge) -> Settings {
    Settings {
        directory: url.to_owned(),
        contact: Some("mailto:admin@example.org".to_owned()),
        account_binding: None,
        profile: None,
        challenge,
        authority: Some(authority.to_owned()),
    }
}

/// Certificates of this authority by our own port.
fn by_http(pebble: &Pebble) -> Settings {
    let challenge = Challenge::Http(Door::Own(pebble.ports.http));
    settings(&pebble.url(), &pebble.authority_file(), challenge)
}

fn wanted(settings: Settings, names: &[&str], keys: &[KeyKind]) -> Wanted {
    let names = names
        .iter()
        .map(|name| Name::parse(name).unwrap())
        .collect();
    Wanted::new(settings, names, keys.to_vec())
}

fn have(pairs: &[Pair]) -> Have {
    pairs
        .iter()
        .map(|pair| (pair.kind, pair.chain.clone()))
        .collect::<BTreeMap<_, _>>()
}

/// Serves TLS with the pair, and lets a client that trusts `root` alone connect to each of the names.
fn serves(pair: &Pair, root: &str, names: &[&str]) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pair.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    assert!(chain.len() >= 2, "the issuer's certificate is missing");
    let key = PrivateKeyDer::from_pem_slice(pair.key.expose().as_bytes()).unwrap();
    let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).unwrap();
    certified.keys_match().unwrap();
    let is_rsa = certified.key.algorithm() == rustls::SignatureAlgorithm::RSA;
    assert_eq!(is_rsa, pair.kind == RSA);
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (server, client) = (Arc::new(server), Arc::new(client));
    let connect = |name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok::<_, rustls::Error>(())
    };
    for name in names {
        connect(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(connect("another.example.net").is_err());
}
