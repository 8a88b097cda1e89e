//! The door with TLS, by the certificate that is in use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use switchhook::certs::generation::{Content, Place, Text};
use switchhook::certs::self_signed::{Request, with_new_key};
use switchhook::certs::source::Source;

use super::CONF;
use super::bridge::Bridge;
use crate::appliance::PATIENCE;

/// Makes a certificate and puts it in use.
fn renew(place: &Place) -> Text {
    let request = Request {
        names: &["pbx.example.com".to_owned()],
        now: switchhook::sys::clock::unix_now(),
        days: 30,
    };
    let text = with_new_key(&request).unwrap();
    let content = Content {
        source: Source::SelfSigned,
        first: text.clone(),
        second: None,
    };
    let name = place.stage(&content, request.now).unwrap();
    place.switch(&name).unwrap();
    text
}

/// A carrier that trusts this certificate and no other.
fn carrier(bridge: &Bridge, trusted: &Text) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(trusted.chain.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("pbx.example.com").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(bridge.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(session, stream)
}

/// Hands a message in; the status line of the answer.
fn post(
    line: &mut StreamOwned<ClientConnection, TcpStream>,
    text: &str,
) -> std::io::Result<String> {
    let body = format!("To=1&From=2&Body={text}");
    write!(
        line,
        "POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    let mut byte = [0];
    while !answer.ends_with("\r\n\r\ntaken") {
        line.read_exact(&mut byte)?;
        answer.push(char::from(byte[0]));
    }
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn a_renewal_is_served_at_the_next_handshake_and_ends_no_connection() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("srv/etc/ssl/asterisk");
    let place = Place::new(place, nix::unistd::getegid().as_raw());
    let old = renew(&place);
    std::fs::create_dir_all(root.path().join("srv/etc/asterisk")).unwrap();
    std::fs::write(root.path().join("srv/etc/asterisk/websms.conf"), CONF).unwrap();
    let bridge = Bridge::by(root, "tls");
    let mut early = carrier(&bridge, &old);
    assert_eq!(post(&mut early, "one").unwrap(), "HTTP/1.1 200 OK");
    let new = renew(&place);
    let mut late = carrier(&bridge, &new);
    assert_eq!(post(&mut late, "two").unwrap(), "HTTP/1.1 200 OK");
    assert!(
        post(&mut carrier(&bridge, &old), "none").is_err(),
        "the old one is still served"
    );
    assert_eq!(post(&mut early, "three").unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(bridge.messages().len(), 3);
}
