//! A foreign web server: it notes what it is asked and answers what the test says, with or without TLS.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::appliance::PATIENCE;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The answer to one request.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The length that the header claims, if not the body's.
    pub claimed: Option<usize>,
}

impl Told {
    pub fn ok(body: &str) -> Told {
        Told {
            status: 200,
            body: body.as_bytes().to_vec(),
            ..Told::default()
        }
    }

    pub fn status(status: u16) -> Told {
        Told {
            status,
            ..Told::default()
        }
    }
}

/// A server on a port of the loopback, for as long as the test's process lives.
pub struct Server {
    pub port: u16,
    asked: Receiver<Asked>,
}

impl Server {
    /// `None` of `answer`: the connection is closed without one.
    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Asked) -> Option<Told> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = channel();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, answer, sender) = (tls.clone(), Arc::clone(&answer), sender.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    match tls {
                        Some(config) => {
                            let connection = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(connection, stream), &*answer, &sender);
                        }
                        None => serve(stream, &*answer, &sender),
                    }
                });
            }
        });
        Server { port, asked }
    }

    /// The next request, whose answer is on its way.
    pub fn next(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("no request came")
    }

    /// Whether a request is there that nobody took.
    pub fn is_quiet(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

fn serve(stream: impl Read + Write, answer: &dyn Fn(&Asked) -> Option<Told>, to: &Sender<Asked>) {
    let mut stream = BufReader::new(stream);
    // A client that turns away, as from a certificate it does not trust, is no failure of the server.
    let Some(asked) = read(&mut stream) else {
        return;
    };
    let told = answer(&asked);
    let _ = to.send(asked);
    let Some(told) = told else {
        return;
    };
    let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", told.status);
    let length = told.claimed.unwrap_or(told.body.len());
    head.push_str(&format!("Content-Length: {length}\r\n"));
    for (name, value) in told.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let stream = stream.get_mut();
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&told.body);
    let _ = stream.flush();
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let line = line()?;
        match line.split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Asked {
        method,
        path,
        headers,
        body,
    })
}

/// An authority of one's own: its certificate is written into `directory`; the server's is for `localhost`.
pub fn authority(directory: &Path) -> (PathBuf, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let path = directory.join("authority.pem");
    std::fs::write(&path, issuer.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (path, Arc::new(config))
}

/// A connection that is taken and never answered.
pub fn silent() -> (u16, std::thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (
        port,
        std::thread::spawn(move || listener.accept().unwrap().0),
    )
}
