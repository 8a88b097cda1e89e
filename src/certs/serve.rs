//! The certificate in use, for listeners of our own.
//!
//! Each handshake looks where the link of the generation in use leads, which costs a microsecond; when it leads elsewhere
//! the files are read. So a switch needs no word from the keeper, and connections that are open go on. Invariant: while a
//! new generation cannot be read, the one before is served.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::generation::Place;

/// A configuration that serves whatever is in use below `root`, the place of the certificates.
///
/// # Errors
/// If the provider has no protocol version.
pub fn config(root: &Path) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(InUse::of(root)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What is in use.
#[derive(Debug)]
struct InUse {
    place: Place,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    link: Option<PathBuf>,
    keys: Vec<Arc<CertifiedKey>>,
}

impl InUse {
    fn of(root: &Path) -> InUse {
        InUse {
            // It only reads: owners do not matter.
            place: Place::new(root, 0),
            loaded: Mutex::default(),
        }
    }

    fn choose(&self, schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let link = std::fs::read_link(self.place.live_directory()).ok();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.link != link
            && let Some(keys) = self.load()
        {
            *loaded = Loaded { link, keys };
        }
        let mut keys = loaded.keys.iter();
        keys.find(|key| key.key.choose_scheme(schemes).is_some())
            .cloned()
    }

    /// ECDSA first: it is the faster one for who knows both.
    fn load(&self) -> Option<Vec<Arc<CertifiedKey>>> {
        let (content, _) = self.place.read(&self.place.live()?).ok()?;
        let provider = rustls::crypto::ring::default_provider();
        let texts = content.second.iter().chain(std::iter::once(&content.first));
        texts
            .map(|text| {
                let chain = CertificateDer::pem_slice_iter(text.chain.as_bytes());
                let chain: Result<Vec<_>, _> = chain.collect();
                let key = PrivateKeyDer::from_pem_slice(text.key.expose().as_bytes()).ok()?;
                let key = CertifiedKey::from_der(chain.ok()?, key, &provider).ok()?;
                Some(Arc::new(key))
            })
            .collect()
    }
}

impl ResolvesServerCert for InUse {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::generation::{Content, Text};
    use crate::certs::source::Source;
    use crate::certs::testing::{Authority, Issued, rsa};
    use rustls::SignatureScheme;

    fn text(issued: &Issued) -> Text {
        Text {
            chain: issued.chain.clone(),
            key: issued.private_key(),
        }
    }

    #[test]
    fn a_switch_is_served_at_the_next_handshake_and_a_damaged_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let gid = nix::unistd::getegid().as_raw();
        let place = Place::new(directory.path(), gid);
        let in_use = InUse::of(directory.path());
        let (new, old) = (
            &[SignatureScheme::ECDSA_NISTP256_SHA256][..],
            &[SignatureScheme::RSA_PSS_SHA256][..],
        );
        let served = |schemes| in_use.choose(schemes).map(|key| key.cert[0].to_vec());
        assert_eq!(served(new), None);
        let authority = Authority::new("Test");
        let content = |second: Option<Text>| Content {
            source: Source::Traefik,
            first: text(&authority.issue_with(&rsa(), &["pbx.example.com"], -1, 89)),
            second,
        };
        let both = content(Some(text(&authority.issue(&["pbx.example.com"], -1, 89))));
        place.switch(&place.stage(&both, 1).unwrap()).unwrap();
        let (first, second) = (served(old).unwrap(), served(new).unwrap());
        assert_ne!(first, second);
        place
            .switch(&place.stage(&content(None), 2).unwrap())
            .unwrap();
        assert_ne!(served(old).unwrap(), first);
        assert_eq!(served(new), None, "ECDSA is gone");
        let before = served(old);
        let mut damaged = content(None);
        damaged.first.chain = "nothing".to_owned();
        place.switch(&place.stage(&damaged, 3).unwrap()).unwrap();
        assert_eq!(served(old), before);
    }
}
