//! The daemon under measurement: the real binary below a root of its own, asked over its socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use switchhook::autoban::cidr::Cidr;
use switchhook::autoban::control::{Reply, Request, SOCKET, Status};
use switchhook::autoban::ledger::{Item, Manual, SetName};

/// Nothing here takes so long; what does, hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A root with autoban.conf; the state in it outlives a daemon.
pub struct Home {
    pub directory: tempfile::TempDir,
}

impl Home {
    /// `more` are lines of `[autoban]`.
    pub fn new(port: u16, more: &str) -> Home {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = directory.path().join("srv/etc/asterisk");
        std::fs::create_dir_all(&place).expect("a directory");
        std::fs::create_dir_all(directory.path().join("run/autoban")).expect("a directory");
        let text = format!(
            "[asmanager]\nserver = 127.0.0.1\nport = {port}\nusername = autoban\nsecret = bench\n\n[autoban]\nenabled = yes\nmaxcount = 10\n{more}\n"
        );
        std::fs::write(place.join("autoban.conf"), text).expect("autoban.conf");
        Home { directory }
    }
}

pub struct Daemon {
    child: Child,
    socket: PathBuf,
    line: Option<BufReader<UnixStream>>,
}

impl Daemon {
    /// Starts it and waits for READY=1; with it the time that this took.
    pub fn start(home: &Home) -> (Daemon, Duration) {
        let root = home.directory.path();
        let notify = root.join("notify");
        let _ = std::fs::remove_file(&notify);
        let listener = UnixDatagram::bind(&notify).expect("a notify socket");
        listener.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let log = std::fs::File::create(root.join("log")).expect("a log");
        let began = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_switchhook"))
            .args(["autoban", "run", "--root"])
            .arg(root)
            .env("NOTIFY_SOCKET", &notify)
            .stdout(Stdio::from(log.try_clone().expect("a log")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the daemon");
        let mut daemon = Daemon {
            child,
            socket: root.join(SOCKET),
            line: None,
        };
        let mut buffer = [0u8; 4096];
        loop {
            let length = listener.recv(&mut buffer).unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == "READY=1") {
                return (daemon, began.elapsed());
            }
            if length == 0 || daemon.child.try_wait().expect("a state").is_some() {
                let log = std::fs::read_to_string(root.join("log")).unwrap_or_default();
                panic!("the daemon is not ready:\n{log}");
            }
        }
    }

    pub fn ask(&mut self, request: &Request) -> Reply {
        let line = self.line.get_or_insert_with(|| {
            let stream = UnixStream::connect(&self.socket).expect("the daemon listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
            BufReader::new(stream)
        });
        let mut text = serde_json::to_vec(request).expect("a request");
        text.push(b'\n');
        line.get_mut().write_all(&text).expect("it reads");
        let mut answer = String::new();
        line.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).expect("an answer")
    }

    pub fn status(&mut self) -> Status {
        match self.ask(&Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// The sum of the counters whose names begin like this.
    pub fn counted(&mut self, prefix: &str) -> u64 {
        let counters = self.status().counters.into_iter();
        let of_these = counters.filter(|(name, _)| name.starts_with(prefix));
        of_these.map(|(_, count)| count).sum()
    }

    /// The facts of `why`.
    pub fn why(&mut self, address: &str) -> Value {
        let address = address.parse().expect("an address");
        match self.ask(&Request::Why { address }) {
            Reply::Why { facts, .. } => facts,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for what an answer must say; the time until then.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&mut Daemon) -> bool) -> Duration {
        let began = Instant::now();
        while !is_so(self) {
            assert!(began.elapsed() < PATIENCE, "never: {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
        began.elapsed()
    }

    /// Jails so many by hand, from the number on: IPv4 addresses, or /64.
    pub fn jail(&mut self, first: u32, count: u32, is_v6: bool) {
        let cidr = |number: u32| -> Cidr {
            let text = match is_v6 {
                false => std::net::Ipv4Addr::from_bits(first + number).to_string(),
                true => format!("2001:db8:{:x}:{:x}::/64", number >> 16, number & 0xffff),
            };
            text.parse().expect("an address")
        };
        for start in (0..count).step_by(1500) {
            let numbers = start..count.min(start + 1500);
            let order = Manual::Add {
                to: vec![SetName::Jail, SetName::Parole],
                what: numbers.map(|number| Item::Cidr(cidr(number))).collect(),
                time: Some(Duration::from_secs(7 * 86_400)),
                comment: String::new(),
            };
            match self.ask(&Request::Manual { order }) {
                Reply::Done { notes, .. } => assert!(notes.is_empty(), "{:?}", notes.first()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A field of /proc/PID/status, in MB.
    pub fn memory(&self, field: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.expect("a number") / 1024.0
    }

    /// The processor's time that it has used.
    pub fn used(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).expect("it lives");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
        let ticks = |at: usize| {
            fields
                .get(at)
                .and_then(|t| t.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Duration::from_millis((ticks(12) + ticks(13)) * 10)
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it lived");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
