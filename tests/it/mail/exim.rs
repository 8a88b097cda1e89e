//! A real mail server: Debian's Exim, in the foreground, with STARTTLS, TLS from the first byte, AUTH PLAIN, and files for mails.
//!
//! Over TLS it wants a password, without TLS none. It knows nobody by the name of `nobody`, and asks for patience in the name
//! of `later` until it is told to take those, too.

#![allow(dead_code, reason = "two suites use it, and neither all of it")]

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing of it takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub const USER: &str = "voice";
pub const PASSWORD: &str = "hunter2 'and' $more";

/// A mail server that listens for as long as it is held.
pub struct Exim {
    directory: tempfile::TempDir,
    address: String,
    /// For plain SMTP and STARTTLS.
    pub port: u16,
    /// For TLS from the first byte on.
    pub tls_port: u16,
    process: Option<Child>,
}

impl Exim {
    /// Not running yet. Its certificate is for `names`, as in `IP:127.0.0.1,DNS:mx.test`.
    pub fn new(address: &str, names: &str) -> Exim {
        let directory = tempfile::tempdir().unwrap();
        let [port, tls_port] = [free_port(address), free_port(address)];
        let exim = Exim {
            directory,
            address: address.to_owned(),
            port,
            tls_port,
            process: None,
        };
        certify(exim.directory.path(), names);
        std::fs::create_dir(exim.path("box")).unwrap();
        std::fs::write(exim.path("exim.conf"), exim.configuration()).unwrap();
        if let Some((user, group)) = account() {
            // Not its configuration: Exim reads none but root's.
            for name in ["", "box", "server.pem", "server.key"] {
                chown(exim.path(name), Some(user), Some(group)).unwrap();
            }
        }
        exim
    }

    /// As `new`, and it runs.
    pub fn start(address: &str, names: &str) -> Exim {
        let mut exim = Exim::new(address, names);
        exim.go_on();
        exim
    }

    pub fn go_on(&mut self) {
        let log = std::fs::File::create(self.path("said")).unwrap();
        let process = Command::new("/usr/sbin/exim4")
            .arg("-C")
            .arg(self.path("exim.conf"))
            .arg("-bdf")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run exim4, is exim4-daemon-light installed? {e}"));
        self.process = Some(process);
        for port in [self.port, self.tls_port] {
            let deadline = Instant::now() + PATIENCE;
            while std::net::TcpStream::connect((self.address.as_str(), port)).is_err() {
                assert!(
                    Instant::now() < deadline,
                    "Exim does not listen:\n{}",
                    self.said()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// From now on it takes mail for `later`.
    pub fn be_patient_no_more(&self) {
        std::fs::write(self.path("open"), "").unwrap();
    }

    /// The authority that signed its certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The mails that it has delivered.
    pub fn mails(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("box")).unwrap().flatten();
        let files =
            entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("temp."));
        let texts = files.filter_map(|entry| std::fs::read(entry.path()).ok());
        texts
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// Waits for the first mail.
    pub fn wait_mail(&self) -> String {
        let deadline = Instant::now() + 3 * PATIENCE;
        loop {
            if let Some(mail) = self.mails().pop() {
                return mail;
            }
            assert!(Instant::now() < deadline, "no mail comes:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it wrote into its logs.
    pub fn said(&self) -> String {
        let names = ["said", "mainlog", "rejectlog", "paniclog"];
        let texts = names.map(|name| std::fs::read_to_string(self.path(name)).unwrap_or_default());
        texts.join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configuration(&self) -> String {
        let place = self.directory.path().display();
        let (address, port, tls_port) = (&self.address, self.port, self.tls_port);
        let owner = match account() {
            Some((user, group)) => format!("exim_user = {user}\nexim_group = {group}"),
            None => format!(
                "exim_user = {}\nexim_group = {}",
                nix::unistd::getuid(),
                nix::unistd::getgid()
            ),
        };
        let password = PASSWORD.replace('$', "\\$");
        format!(
            "primary_hostname = mx.test
keep_environment =
{owner}
deliver_drop_privilege = true
spool_directory = {place}/spool
log_file_path = {place}/%slog
pid_file_path = {place}/pid
local_interfaces = {address}
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {place}/server.pem
tls_privatekey = {place}/server.key
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 0
acl_smtp_rcpt = rcpt
acl_smtp_data = all

begin acl
rcpt:
  deny    message = nobody lives here
          local_parts = nobody
  defer   message = come again
          local_parts = later
          condition = ${{if !exists{{{place}/open}}}}
  accept  authenticated = *
  accept  condition = ${{if eq{{$tls_in_cipher}}{{}}}}
  deny    message = who are you
all:
  accept

begin routers
all:
  driver = accept
  transport = keep

begin transports
keep:
  driver = appendfile
  directory = {place}/box
  envelope_to_add
  return_path_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"
        )
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Exim said\n{}\n---", self.said());
        }
        self.stop();
    }
}

/// Debian's account for it, which root's Exim becomes; nobody else becomes another.
fn account() -> Option<(u32, u32)> {
    if !nix::unistd::getuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("Debian-exim").unwrap();
    let user = user.expect("there is no Debian-exim, is exim4-daemon-light installed?");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

fn free_port(address: &str) -> u16 {
    let listener = std::net::TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// An authority, and a certificate of it for the server.
fn certify(place: &Path, names: &str) {
    let openssl = |arguments: &str| {
        let out = Command::new("openssl")
            .current_dir(place)
            .args(arguments.split(' '))
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!(
        "{new} -keyout ca.key -out ca.pem -subj /CN=authority -addext basicConstraints=critical,CA:TRUE"
    ));
    openssl(&format!(
        "{new} -CA ca.pem -CAkey ca.key -keyout server.key -out server.pem -subj /CN=mx.test -addext basicConstraints=critical,CA:FALSE -addext subjectAltName={names}"
    ));
}
