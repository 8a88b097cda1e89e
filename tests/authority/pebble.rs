//! Pebble, Let's Encrypt's small authority for tests, and its DNS server: real ones, on free ports, ended by their id.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use switchhook::web::{Client, Patience};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it is to behave.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Per cent of the requests whose nonce it refuses.
    pub refused_nonces: u8,
    /// It takes no account without a binding to one made elsewhere.
    pub wants_binding: bool,
    /// It takes its time before it looks at a proof: up to 15 s.
    pub is_slow: bool,
    /// How long its certificates live, in seconds.
    pub life: i64,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            refused_nonces: 0,
            wants_binding: false,
            is_slow: false,
            life: 90 * 86_400,
        }
    }
}

/// The id and the key of the account that was made elsewhere.
pub const BINDING: (&str, &str) = (
    "kid-1",
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
);

/// An authority for as long as it is held.
pub struct Pebble {
    directory: tempfile::TempDir,
    authority: Option<Running>,
    manner: Manner,
    /// Where all of it listens.
    host: String,
    _names: Running,
    pub ports: Ports,
}

/// Where everybody listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    acme: u16,
    management: u16,
    dns: u16,
    pub dns_management: u16,
    /// Where the authority looks for proofs.
    pub http: u16,
    pub tls: u16,
}

impl Pebble {
    pub fn start(manner: Manner) -> Pebble {
        Pebble::with_http_port(manner, None)
    }

    /// One that looks for HTTP-01 at a port where somebody listens already.
    pub fn with_http_port(manner: Manner, http: Option<u16>) -> Pebble {
        let [free, tls] = free_ports("127.0.0.1");
        Pebble::at(
            "127.0.0.1",
            "127.0.0.1",
            [http.unwrap_or(free), tls],
            manner,
        )
    }

    /// One that listens at an address of this host, and looks for proofs of all names at another one, at ports 80 and 443.
    pub fn across(host: &str, exchange: &str) -> Pebble {
        Pebble::at(host, exchange, [80, 443], Manner::default())
    }

    fn at(host: &str, exchange: &str, [http, tls]: [u16; 2], manner: Manner) -> Pebble {
        let [acme, management, dns, dns_management] = free_ports(host);
        let ports = Ports {
            acme,
            management,
            dns,
            dns_management,
            http,
            tls,
        };
        let directory = tempfile::tempdir().unwrap();
        certify(directory.path(), host);
        let names = serve_names(host, exchange, &ports);
        let mut pebble = Pebble {
            directory,
            authority: None,
            manner,
            host: host.to_owned(),
            _names: names,
            ports,
        };
        pebble.go_on();
        pebble
    }

    /// The authority is gone; its ports stay its own.
    pub fn stop(&mut self) {
        self.authority = None;
    }

    /// It comes back, and has forgotten everything.
    pub fn go_on(&mut self) {
        let path = self.directory.path().join("pebble.json");
        std::fs::write(&path, self.config()).unwrap();
        let mut command = Command::new("pebble");
        command
            .arg("-config")
            .arg(&path)
            .args(["-dnsserver", &self.address(self.ports.dns), "-strict"])
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                self.manner.refused_nonces.to_string(),
            )
            .env("PEBBLE_AUTHZREUSE", "0");
        if !self.manner.is_slow {
            command.env("PEBBLE_VA_NOSLEEP", "1");
        }
        let running = Running::start(command);
        running.wait_for("ACME directory available");
        connect(&self.address(self.ports.acme));
        connect(&self.address(self.ports.management));
        self.authority = Some(running);
    }

    fn config(&self) -> String {
        let (id, key) = BINDING;
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        let profile =
            serde_json::json!({ "description": "the usual", "validityPeriod": self.manner.life });
        serde_json::json!({ "pebble": {
            "listenAddress": self.address(self.ports.acme),
            "managementListenAddress": self.address(self.ports.management),
            "certificate": at("server.pem"),
            "privateKey": at("server.key"),
            "httpPort": self.ports.http,
            "tlsPort": self.ports.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.manner.wants_binding,
            "externalAccountMACKeys": { id: key },
            "certificateValidityPeriod": self.manner.life,
            "profiles": { "classic": profile },
        }})
        .to_string()
    }

    pub fn url(&self) -> String {
        format!("https://{}/dir", self.address(self.ports.acme))
    }

    fn address(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }

    /// Where the certificate is by which its HTTPS is trusted.
    pub fn authority_file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// The root of what it issues, in PEM; another one after each start.
    pub async fn root(&self) -> String {
        String::from_utf8(
            self.get(&format!(
                "https://{}/roots/0",
                self.address(self.ports.management)
            ))
            .await,
        )
        .unwrap()
    }

    /// Whether it tells when to renew: later versions than Debian 12's do.
    pub async fn tells_windows(&self) -> bool {
        let text = String::from_utf8(self.get(&self.url()).await).unwrap();
        text.contains("renewalInfo")
    }

    async fn get(&self, url: &str) -> Vec<u8> {
        let authority = std::fs::read(self.authority_file()).unwrap();
        let client = Client::trusting(Patience::default(), &authority).unwrap();
        let request = hyper::Request::get(url).body(Vec::new()).unwrap();
        client.send(request, 1 << 20).await.unwrap().into_body()
    }
}

/// A program that is ended when it is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: is Debian's package pebble installed?"));
        let (sender, lines) = channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Running { child, lines }
    }

    fn wait_for(&self, word: &str) {
        let mut heard = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(word) {
                return;
            }
            heard.push(line);
        }
        panic!("nothing was said of `{word}`: {heard:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The DNS server: every name leads to the exchange.
fn serve_names(host: &str, exchange: &str, ports: &Ports) -> Running {
    let help = Command::new("pebble-challtestsrv").arg("-help").output();
    let help = help.unwrap_or_else(|e| {
        panic!("pebble-challtestsrv: {e}: is Debian's package pebble installed?")
    });
    let help = String::from_utf8_lossy(&help.stderr).into_owned();
    let mut command = Command::new("pebble-challtestsrv");
    command.args([
        "-defaultIPv4",
        exchange,
        "-defaultIPv6",
        "",
        "-http01",
        "",
        "-https01",
        "",
        "-tlsalpn01",
        "",
    ]);
    // Later versions call it by another name, and offer DNS over HTTPS.
    command.arg(if help.contains("-dnsserver") {
        "-dnsserver"
    } else {
        "-dns01"
    });
    command.arg(format!("{host}:{}", ports.dns));
    if help.contains("-doh") {
        command.args(["-doh", ""]);
    }
    command.args(["-management", &format!("{host}:{}", ports.dns_management)]);
    let running = Running::start(command);
    connect(&format!("{host}:{}", ports.dns_management));
    let socket = UdpSocket::bind((host, 0)).unwrap();
    socket.connect((host, ports.dns)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    // Who has the address of `a`?
    let question = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";
    let began = Instant::now();
    loop {
        let _ = socket.send(question);
        if socket.recv(&mut [0; 512]).is_ok() {
            return running;
        }
        assert!(began.elapsed() < PATIENCE, "the DNS server does not answer");
    }
}

/// Waits until somebody listens there.
fn connect(address: &str) {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody listens at {address}");
        std::thread::yield_now();
    }
}

/// Ports that were free a moment ago, all different. Not those that the kernel gives to others meanwhile
/// (`net.ipv4.ip_local_port_range`), but some by chance below them.
fn free_ports<const N: usize>(host: &str) -> [u16; N] {
    let mut held: Vec<TcpListener> = Vec::new();
    while held.len() < N {
        let chance = RandomState::new().build_hasher().finish();
        let port = 12_000 + u16::try_from(chance % 20_000).unwrap();
        held.extend(TcpListener::bind((host, port)));
    }
    std::array::from_fn(|index| held[index].local_addr().unwrap().port())
}

/// The certificate of the authority's own HTTPS.
fn certify(directory: &Path, host: &str) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: &str| {
        let mut file = std::fs::File::create(directory.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write("authority.pem", &issuer.pem());
    write("server.pem", &certificate.pem());
    write("server.key", &key.serialize_pem());
}
