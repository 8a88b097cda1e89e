//! SIP by hand: requests byte for byte as a test wants them, over every transport that the exchange offers.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use switchhook::asterisk::ami::md5;

use crate::outside::Outside;

/// What carries the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Carrier {
    pub const ALL: [Carrier; 5] = [
        Carrier::Udp,
        Carrier::Tcp,
        Carrier::Tls,
        Carrier::Ws,
        Carrier::Wss,
    ];

    fn port(self) -> u16 {
        match self {
            Carrier::Udp | Carrier::Tcp => 5060,
            Carrier::Tls => 5061,
            Carrier::Ws => 8088,
            Carrier::Wss => 8089,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Carrier::Udp => "UDP",
            Carrier::Tcp => "TCP",
            Carrier::Tls => "TLS",
            Carrier::Ws => "WS",
            Carrier::Wss => "WSS",
        }
    }
}

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

enum Wire {
    Datagrams(UdpSocket),
    Stream(Box<dyn Both>),
    /// Frames of RFC 6455 within.
    Web(Box<dyn Both>),
}

/// A REGISTER, in the parts that a stranger chooses.
#[derive(Clone)]
pub struct Register {
    pub display: Vec<u8>,
    pub user: Vec<u8>,
    /// The user of `To`, if it is another one.
    pub to: Option<Vec<u8>>,
    pub call_id: Vec<u8>,
    pub agent: Vec<u8>,
    /// The value of `Contact`, if it is not that of an ordinary phone.
    pub contact: Option<String>,
    pub authorization: Option<Vec<u8>>,
}

static COUNT: AtomicU32 = AtomicU32::new(1);

fn number() -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed)
}

impl Register {
    pub fn of(user: &str) -> Register {
        Register {
            display: vec![],
            user: user.into(),
            to: None,
            call_id: format!("c{}@test", number()).into(),
            agent: b"test".to_vec(),
            contact: None,
            authorization: None,
        }
    }
}

/// One client at one address. It waits for the answer to each request before the next.
pub struct Talk {
    wire: Wire,
    carrier: Carrier,
    host: String,
    sequence: u32,
    /// What came and was not taken yet.
    left: Vec<u8>,
}

impl Talk {
    /// `None` if nobody takes the connection.
    pub fn open(outside: &Outside, from: &str, to: IpAddr, carrier: Carrier) -> Option<Talk> {
        let to = SocketAddr::new(to, carrier.port());
        let host = match to.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let wire = match carrier {
            Carrier::Udp => Wire::Datagrams(outside.udp(from, to)),
            Carrier::Tcp => Wire::Stream(Box::new(outside.tcp(from, to)?)),
            Carrier::Tls => Wire::Stream(Box::new(tls(outside.tcp(from, to)?))),
            Carrier::Ws => Wire::Web(upgraded(Box::new(outside.tcp(from, to)?), &host)),
            Carrier::Wss => Wire::Web(upgraded(Box::new(tls(outside.tcp(from, to)?)), &host)),
        };
        Some(Talk {
            wire,
            carrier,
            host,
            sequence: 0,
            left: vec![],
        })
    }

    /// Over a socket that was made for it.
    pub fn over(socket: UdpSocket) -> Talk {
        Talk {
            host: socket.peer_addr().unwrap().ip().to_string(),
            wire: Wire::Datagrams(socket),
            carrier: Carrier::Udp,
            sequence: 0,
            left: vec![],
        }
    }

    /// Sends a REGISTER and does not wait.
    pub fn say(&mut self, register: &Register) {
        self.sequence += 1;
        let (host, transport) = (&self.host, self.carrier.name());
        let lower = transport.to_lowercase();
        let to = register.to.as_ref().unwrap_or(&register.user);
        let branch = number();
        let usual = format!("<sip:phone{branch}@192.0.2.1:5060;transport={lower}>");
        let contact = register.contact.as_ref().unwrap_or(&usual);
        let mut out = Vec::new();
        let mut put = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        put(&[format!("REGISTER sip:{host} SIP/2.0").as_bytes()]);
        put(&[
            format!("Via: SIP/2.0/{transport} 192.0.2.1:5060;rport;branch=z9hG4bK{branch}")
                .as_bytes(),
        ]);
        put(&[b"Max-Forwards: 70"]);
        put(&[
            b"From: ",
            &register.display,
            b"<sip:",
            &register.user,
            b"@",
            host.as_bytes(),
            b">;tag=t1",
        ]);
        put(&[b"To: <sip:", to, b"@", host.as_bytes(), b">"]);
        put(&[b"Call-ID: ", &register.call_id]);
        put(&[format!("CSeq: {} REGISTER", self.sequence).as_bytes()]);
        put(&[b"Contact: ", contact.as_bytes()]);
        put(&[b"User-Agent: ", &register.agent]);
        if let Some(authorization) = &register.authorization {
            put(&[b"Authorization: ", authorization]);
        }
        put(&[b"Expires: 3600\r\nContent-Length: 0\r\n"]);
        // Where the other side is gone, there is no answer either.
        let _ = self.send(&out);
    }

    /// Sends a REGISTER; the value is the status and the text of its answer, `None` if there is none.
    pub fn ask(&mut self, register: &Register) -> Option<(u16, String)> {
        self.say(register);
        loop {
            let text = self.message()?;
            // Before the first answer the exchange may have something to ask for itself.
            if let Some(rest) = text.strip_prefix("SIP/2.0 ") {
                let status = rest.split(' ').next().and_then(|word| word.parse().ok());
                return Some((status.unwrap_or_else(|| panic!("{text}")), text));
            }
        }
    }

    /// The status of the answer to somebody whom the exchange does not know.
    pub fn knock(&mut self) -> Option<u16> {
        Some(self.ask(&Register::of("nobody"))?.0)
    }

    /// Registers with a password, and the status of the last answer.
    pub fn register(&mut self, user: &str, password: &str) -> Option<u16> {
        Some(self.register_as(&Register::of(user), user, password)?.0)
    }

    pub fn register_as(
        &mut self,
        register: &Register,
        user: &str,
        password: &str,
    ) -> Option<(u16, String)> {
        let (status, challenge) = self.ask(register)?;
        if status != 401 {
            return Some((status, challenge));
        }
        let part = |name: &str| {
            let start = challenge
                .find(&format!("{name}=\""))
                .unwrap_or_else(|| panic!("{challenge}"));
            let rest = &challenge[start + name.len() + 2..];
            rest[..rest.find('"').unwrap()].to_owned()
        };
        let (realm, nonce) = (part("realm"), part("nonce"));
        let uri = format!("sip:{}", self.host);
        let first = md5::hex(format!("{user}:{realm}:{password}").as_bytes());
        let second = md5::hex(format!("REGISTER:{uri}").as_bytes());
        let response = md5::hex(format!("{first}:{nonce}:00000001:c0:auth:{second}").as_bytes());
        let opaque = match challenge.contains("opaque=\"") {
            true => format!(", opaque=\"{}\"", part("opaque")),
            false => String::new(),
        };
        let authorization = format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm=MD5, cnonce=\"c0\", qop=auth, nc=00000001{opaque}"
        );
        self.ask(&Register {
            authorization: Some(authorization.into_bytes()),
            ..register.clone()
        })
    }

    fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        match &mut self.wire {
            Wire::Datagrams(socket) => socket.send(message).map(|_| ()),
            Wire::Stream(stream) => stream.write_all(message).and_then(|()| stream.flush()),
            Wire::Web(stream) => {
                let mut frame = vec![0x81];
                match u16::try_from(message.len()) {
                    Ok(length) if length < 126 => frame.push(0x80 | length as u8),
                    Ok(length) => {
                        frame.push(0x80 | 126);
                        frame.extend(length.to_be_bytes());
                    }
                    Err(_) => panic!("too long for this frame"),
                }
                let mask = [0x5a, 0x17, 0xc3, 0x08];
                frame.extend(mask);
                frame.extend(message.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
                stream.write_all(&frame).and_then(|()| stream.flush())
            }
        }
    }

    /// The next message; `None` when nothing comes or the connection is gone.
    pub fn message(&mut self) -> Option<String> {
        loop {
            if let Some(message) = self.take() {
                return Some(String::from_utf8_lossy(&message).into_owned());
            }
            let mut buffer = [0; 65536];
            let count = match &mut self.wire {
                Wire::Datagrams(socket) => socket.recv(&mut buffer),
                Wire::Stream(stream) | Wire::Web(stream) => stream.read(&mut buffer),
            };
            match count {
                Ok(count) if count > 0 => self.left.extend_from_slice(&buffer[..count]),
                _ => return None,
            }
        }
    }

    /// One whole message of what came, if it is there.
    fn take(&mut self) -> Option<Vec<u8>> {
        match &self.wire {
            Wire::Datagrams(_) if self.left.is_empty() => None,
            Wire::Datagrams(_) => Some(std::mem::take(&mut self.left)),
            Wire::Stream(_) => {
                // Kept-alive connections get empty lines.
                let blank = self.left.iter().take_while(|b| b"\r\n".contains(b)).count();
                self.left.drain(..blank);
                let head = find(&self.left, b"\r\n\r\n")? + 4;
                let text = String::from_utf8_lossy(&self.left[..head]).to_lowercase();
                let (_, rest) = text.split_once("content-length:").unwrap();
                let body: usize = rest.lines().next().unwrap().trim().parse().unwrap();
                (self.left.len() >= head + body).then(|| self.left.drain(..head + body).collect())
            }
            Wire::Web(_) => {
                let (start, length) = match *self.left.get(1)? & 0x7f {
                    126 => (
                        4,
                        usize::from(u16::from_be_bytes([*self.left.get(2)?, *self.left.get(3)?])),
                    ),
                    length if length < 126 => (2, usize::from(length)),
                    _ => panic!("a frame of more than 64 KiB"),
                };
                (self.left.len() >= start + length)
                    .then(|| self.left.drain(..start + length).skip(start).collect())
            }
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Asks for WebSocket (RFC 6455) with SIP in it (RFC 7118).
fn upgraded(mut stream: Box<dyn Both>, host: &str) -> Box<dyn Both> {
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains(" 101 "), "{answer}");
    stream
}

fn tls(stream: std::net::TcpStream) -> impl Both {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("exchange.invalid").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(client, stream)
}

/// Takes the exchange's self-signed certificate, as an attacker does.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

mod verifier {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    impl ServerCertVerifier for super::AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = self.0.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = self.0.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
