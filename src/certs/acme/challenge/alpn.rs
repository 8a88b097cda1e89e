//! TLS-ALPN-01 (RFC 8737): a certificate of our own making that holds the proof, shown to whoever asks by the protocol
//! `acme-tls/1`.
//!
//! It refuses every other handshake. Invariant: a certificate made here serves nothing but a proof, and its key is in no
//! file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Proof;
use super::listener::Listener;
use crate::certs::acme::settings::TLS_PORT;
use crate::certs::acme::trouble::{AcmeError, Kind};

const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates, by the name that is asked for.
#[derive(Default)]
struct Shown(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks = hello.alpn()?.any(|protocol| protocol == PROTOCOL);
        let name = hello.server_name()?.to_ascii_lowercase();
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&name).filter(|_| asks).cloned()
    }
}

/// Shows the certificates until it is dropped.
pub struct Stand {
    shown: Arc<Shown>,
    _listener: Listener,
}

impl Stand {
    /// # Errors
    /// If the port is taken.
    pub fn open(port: u16) -> Result<Stand, AcmeError> {
        let shown = Arc::new(Shown::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| failed(&e))?;
        let resolver = Arc::clone(&shown) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = Listener::open(port, TLS_PORT, move |stream| {
            shake_hands(acceptor.clone(), stream)
        })?;
        Ok(Stand {
            shown,
            _listener: listener,
        })
    }

    /// # Errors
    /// If no certificate can be made.
    pub fn show(&self, proof: &Proof) -> Result<(), AcmeError> {
        let certified = certify(proof)?;
        let name = proof.name.server_name();
        let mut shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert(name, Arc::new(certified));
        Ok(())
    }
}

fn failed(why: &dyn std::fmt::Display) -> AcmeError {
    AcmeError::new(
        Kind::Local,
        format!("cannot make the proof of tls-alpn-01: {why}"),
    )
}

/// The certificate that holds the proof. Its only name is the one that is proven, an address as an address (RFC 8738, 6).
fn certify(proof: &Proof) -> Result<CertifiedKey, AcmeError> {
    if proof.digest.len() != 32 {
        return Err(failed(&"its digest has a wrong length"));
    }
    let mut params =
        CertificateParams::new(vec![proof.name.to_string()]).map_err(|e| failed(&e))?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&proof.digest)];
    let key = KeyPair::generate().map_err(|e| failed(&e))?;
    let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| failed(&e))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// The handshake is all of it; the other side then closes.
async fn shake_hands(acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    acceptor.accept(stream).await?.shutdown().await
}
