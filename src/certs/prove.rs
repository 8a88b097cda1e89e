//! A TLS handshake with ourselves: which certificate does a listener show?
//!
//! It trusts nobody and asks nobody: any certificate is taken, and its fingerprint told, once the listener has proved that
//! it has the key. Invariant: all handshakes together end within `PATIENCE`.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
};

use super::keeper::{Door, Outcome, Proof};
use super::pair::{Algorithm, hex};
use crate::sys::clock;

/// For all listeners together.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A listener that has shown something before is asked so often again when it shows nothing: one that is being opened
/// anew resets whom it has not let in yet.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(30);

/// Asks each listener what it shows; where both algorithms are served, a client of each kind asks. `before`: what they
/// showed last.
pub fn prove(doors: &[Door], algorithms: &[Algorithm], name: &str, before: &[Proof]) -> Vec<Proof> {
    let end = Instant::now() + PATIENCE;
    let mut proofs = Vec::new();
    for door in doors {
        let asked: Vec<Option<Algorithm>> = match door.is_dual && algorithms.len() > 1 {
            true => algorithms.iter().copied().map(Some).collect(),
            false => vec![None],
        };
        for asked in asked {
            let mut proof = Proof {
                what: door.what.clone(),
                address: door.address,
                asked,
                outcome: shake_hands(door.address, asked, name, end),
            };
            let had_shown = |earlier: &Proof| {
                earlier.is_same_question(&proof) && matches!(earlier.outcome, Outcome::Shown(_))
            };
            if before.iter().any(had_shown) {
                for _ in 0..TRIES {
                    if matches!(proof.outcome, Outcome::Shown(_)) {
                        break;
                    }
                    clock::pause(PAUSE);
                    proof.outcome = shake_hands(door.address, asked, name, end);
                }
            }
            proofs.push(proof);
        }
    }
    proofs
}

/// One handshake; `asked`: by a client that knows this algorithm alone.
pub fn shake_hands(
    address: SocketAddr,
    asked: Option<Algorithm>,
    name: &str,
    end: Instant,
) -> Outcome {
    let left = || end.saturating_duration_since(Instant::now());
    let late = || Outcome::Failed("no answer in time".to_owned());
    if left().is_zero() {
        return late();
    }
    let mut stream = match TcpStream::connect_timeout(&address, left()) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return late(),
        // Also an address that this container does not have, such as one of IPv6.
        Err(_) => return Outcome::Closed,
    };
    let witness = Arc::new(Witness::new(asked));
    let Ok(config) = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()
    else {
        return Outcome::Failed("this client has no protocol in common with itself".to_owned());
    };
    let config = config
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as _)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned())
        .unwrap_or_else(|_| ServerName::IpAddress(address.ip().into()));
    let mut session = match ClientConnection::new(Arc::new(config), server) {
        Ok(session) => session,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let mut trouble = None;
    while session.is_handshaking() && trouble.is_none() {
        let Some(left) = Some(left()).filter(|left| !left.is_zero()) else {
            return late();
        };
        let timed = stream
            .set_read_timeout(Some(left))
            .and_then(|()| stream.set_write_timeout(Some(left)));
        match timed.and_then(|()| session.complete_io(&mut stream)) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return late();
            }
            Err(error) => trouble = Some(error.to_string()),
        }
    }
    session.send_close_notify();
    let _ = session.write_tls(&mut stream);
    match (witness.seen(), trouble) {
        // A listener that wants a certificate of its client has shown its own by then.
        (Some(shown), _) => Outcome::Shown(shown),
        (None, trouble) => {
            Outcome::Failed(trouble.unwrap_or("it showed no certificate".to_owned()))
        }
    }
}

/// Takes any certificate, and remembers the one whose key the listener has.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    shown: Mutex<Option<String>>,
    has_key: Mutex<bool>,
}

impl Witness {
    fn new(asked: Option<Algorithm>) -> Witness {
        let mut provider = rustls::crypto::ring::default_provider();
        let mut schemes = provider
            .signature_verification_algorithms
            .supported_schemes();
        if let Some(asked) = asked {
            schemes.retain(|scheme| algorithm_of(*scheme) == Some(asked));
            // TLS 1.2 says it in the suite, too.
            provider.cipher_suites.retain(|suite| {
                let name = format!("{:?}", suite.suite());
                let of_rsa = name.contains("_RSA_");
                let of_ecdsa = name.contains("_ECDSA_");
                is_of_13(suite.suite())
                    || match asked {
                        Algorithm::Rsa => of_rsa,
                        Algorithm::Ecdsa | Algorithm::Ed25519 => of_ecdsa,
                    }
            });
        }
        Witness {
            provider: Arc::new(provider),
            schemes,
            shown: Mutex::default(),
            has_key: Mutex::default(),
        }
    }

    fn seen(&self) -> Option<String> {
        let has_key = *self.has_key.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone().filter(|_| has_key)
    }

    fn vouch(
        &self,
        valid: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        *self.has_key.lock().unwrap_or_else(PoisonError::into_inner) = valid.is_ok();
        valid
    }
}

fn is_of_13(suite: CipherSuite) -> bool {
    format!("{suite:?}").starts_with("TLS13_")
}

fn algorithm_of(scheme: SignatureScheme) -> Option<Algorithm> {
    let name = format!("{scheme:?}");
    match name.split('_').next() {
        Some("RSA") => Some(Algorithm::Rsa),
        Some("ECDSA") => Some(Algorithm::Ecdsa),
        Some("ED25519") => Some(Algorithm::Ed25519),
        _ => None,
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let print = ring::digest::digest(&ring::digest::SHA256, end_entity);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(hex(print.as_ref()));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.vouch(verify_tls12_signature(
            message,
            certificate,
            signed,
            algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.vouch(verify_tls13_signature(
            message,
            certificate,
            signed,
            algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::testing::{Authority, Issued, rsa};
    use crate::certs::validate::examine;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::ResolvesServerCert;
    use rustls::sign::CertifiedKey;
    use rustls::{ServerConfig, ServerConnection};
    use std::io::Write;
    use std::net::TcpListener;

    /// RSA for who knows no other, as Asterisk's listeners do it.
    #[derive(Debug)]
    struct Both(Vec<Arc<CertifiedKey>>);

    impl ResolvesServerCert for Both {
        fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            let schemes = hello.signature_schemes();
            let mut keys = self.0.iter();
            keys.find(|key| key.key.choose_scheme(schemes).is_some())
                .cloned()
        }
    }

    fn serve(issued: &[Issued]) -> SocketAddr {
        serve_after(0, issued)
    }

    /// One that resets the first so many.
    fn serve_after(resets: usize, issued: &[Issued]) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let keys = issued.iter().map(|one| {
            let chain = CertificateDer::pem_slice_iter(one.chain.as_bytes()).map(Result::unwrap);
            let key = PrivateKeyDer::from_pem_slice(one.key.as_bytes()).unwrap();
            Arc::new(CertifiedKey::from_der(chain.collect(), key, &provider).unwrap())
        });
        let keys = keys.collect();
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Both(keys)));
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().skip(resets) {
                let mut stream = stream.unwrap();
                let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
                while session.is_handshaking() && session.complete_io(&mut stream).is_ok() {}
            }
        });
        address
    }

    fn end() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_listener_shows_each_client_the_certificate_of_its_algorithm() {
        let authority = Authority::new("Test");
        let both = [
            authority.issue(&["pbx.example.com"], -1, 89),
            authority.issue_with(&rsa(), &["pbx.example.com"], -1, 89),
        ];
        let prints: Vec<String> = both
            .iter()
            .map(|one| {
                examine(&one.chain, &one.private_key())
                    .unwrap()
                    .facts
                    .fingerprint
            })
            .collect();
        let address = serve(&both);
        let door = Door {
            what: "sips".to_owned(),
            address,
            is_dual: true,
        };
        let proofs = prove(
            &[door],
            &[Algorithm::Rsa, Algorithm::Ecdsa],
            "pbx.example.com",
            &[],
        );
        let outcomes: Vec<&Outcome> = proofs.iter().map(|proof| &proof.outcome).collect();
        let shown = |print: &String| Outcome::Shown(print.clone());
        assert_eq!(outcomes, [&shown(&prints[1]), &shown(&prints[0])]);
        let any = shake_hands(address, None, "tele", end());
        assert_eq!(any, shown(&prints[0]));
        // One that has RSA alone has nothing for who knows ECDSA alone.
        let alone = serve(&both[1..]);
        let none = shake_hands(alone, Some(Algorithm::Ecdsa), "tele", end());
        assert!(matches!(none, Outcome::Failed(_)), "{none:?}");
    }

    #[test]
    fn nobody_one_who_resets_and_one_who_talks_something_else_are_told_apart() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        assert_eq!(shake_hands(address, None, "tele", end()), Outcome::Closed);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = other.accept().unwrap();
            stream.write_all(b"220 mail.example.com ESMTP\r\n").unwrap();
            let (stream, _) = other.accept().unwrap();
            drop(stream);
        });
        for _ in 0..2 {
            let outcome = shake_hands(address, None, "tele", end());
            assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        }
    }

    #[test]
    fn who_has_shown_something_before_is_asked_again_while_it_is_opened_anew() {
        let issued = [Authority::new("Test").issue(&["pbx.example.com"], -1, 89)];
        let pair = examine(&issued[0].chain, &issued[0].private_key()).unwrap();
        let door = Door {
            what: "sips".to_owned(),
            address: serve_after(2, &issued),
            is_dual: false,
        };
        let ask = |before: &[Proof]| {
            let doors = std::slice::from_ref(&door);
            let mut proofs = prove(doors, &[Algorithm::Ecdsa], "tele", before);
            proofs.remove(0)
        };
        let first = ask(&[]);
        assert!(matches!(first.outcome, Outcome::Failed(_)), "{first:?}");
        let before = Proof {
            outcome: Outcome::Shown("old".to_owned()),
            ..first
        };
        let shown = Outcome::Shown(pair.facts.fingerprint);
        assert_eq!(ask(&[before]).outcome, shown);
    }

    #[test]
    fn one_who_is_silent_costs_no_more_than_the_time_for_all() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let end = Instant::now() + Duration::from_millis(50);
        let outcome = shake_hands(address, None, "tele", end);
        assert_eq!(outcome, Outcome::Failed("no answer in time".to_owned()));
    }
}
