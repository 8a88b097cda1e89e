//! The bridge on a volume of its own, with the socket and the notify socket that PID 1 would give it, and its clients.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::appliance::{BINARY, PATIENCE};

pub struct Bridge {
    root: tempfile::TempDir,
    door: TcpListener,
    /// The name by which the socket is passed.
    name: &'static str,
    notices: UnixDatagram,
    child: Option<Child>,
    lines: Receiver<String>,
    heard: Vec<String>,
    told: RefCell<Vec<String>>,
    environment: Vec<(&'static str, std::path::PathBuf)>,
}

/// A message as it is on disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub interface: String,
    pub provider_id: Option<String>,
    pub to: String,
    pub from: String,
    pub body: String,
    pub media: Option<String>,
}

/// What a request led to, as it is on disk.
#[derive(Debug)]
pub struct Asked {
    pub interface: Option<String>,
    pub peer: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
}

impl Bridge {
    pub fn empty() -> Bridge {
        let root = tempfile::tempdir().unwrap();
        Bridge::at(root)
    }

    pub fn with(conf: &str) -> Bridge {
        let root = tempfile::tempdir().unwrap();
        write(&root, "srv/etc/asterisk/websms.conf", conf);
        Bridge::at(root)
    }

    pub fn at(root: tempfile::TempDir) -> Bridge {
        Bridge::by(root, "websms.socket")
    }

    /// Whose socket is passed by this name.
    pub fn by(root: tempfile::TempDir, name: &'static str) -> Bridge {
        let notices = UnixDatagram::bind(root.path().join("notify")).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bridge = Bridge {
            root,
            door: TcpListener::bind("127.0.0.1:0").unwrap(),
            name,
            notices,
            child: None,
            lines: channel().1,
            heard: Vec::new(),
            told: RefCell::default(),
            environment: Vec::new(),
        };
        bridge.start();
        bridge
    }

    /// Starts anew, with this in its environment.
    pub fn restart_with(&mut self, name: &'static str, value: std::path::PathBuf) {
        self.environment.push((name, value));
        self.is_killed();
        self.start();
    }

    /// A place on its volume.
    pub fn path(&self, below: &str) -> std::path::PathBuf {
        self.root.path().join(below)
    }

    /// `switchhook sms` with these words.
    pub fn sms(&self, words: &[&str]) -> std::process::Output {
        self.sms_command(words).output().unwrap()
    }

    pub fn sms_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .args(["sms", "--root"])
            .arg(self.root.path())
            .args(words)
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// What it prints as JSON, when it ends with this code.
    pub fn sms_json(&self, code: i32, words: &[&str]) -> serde_json::Value {
        let out = self.sms(&[&["--json"], words].concat());
        let errors = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{words:?}: {errors}");
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], 1);
        value
    }

    pub fn start(&mut self) {
        // The socket becomes descriptor 3, as the contract of LISTEN_FDS says.
        let script = "exec 3<&0 </dev/null; ulimit -n 4096; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", BINARY, "websms", "serve", "--root"])
            .arg(self.root.path())
            .env("LISTEN_FDNAMES", self.name)
            .env("NOTIFY_SOCKET", self.root.path().join("notify"))
            .envs(self.environment.iter().cloned())
            .stdin(OwnedFd::from(self.door.try_clone().unwrap()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let errors = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        (self.child, self.lines) = (Some(child), lines);
        self.is_told("READY=1");
    }

    pub fn configure(&self, conf: &str) {
        write(&self.root, "srv/etc/asterisk/websms.conf", conf);
    }

    pub fn file(&self, below: &str, text: &str) {
        write(&self.root, below, text);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    pub fn reload(&mut self) {
        self.signal(Signal::SIGHUP);
        self.is_told("RELOADING=1");
        self.is_told("READY=1");
    }

    pub fn is_killed(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for its end by itself; whether it was a good one.
    pub fn ends(&mut self) -> bool {
        self.child.take().unwrap().wait().unwrap().success()
    }

    /// Waits until the supervisor is told this, in these words; what it was told before is forgotten.
    pub fn is_told(&self, text: &str) -> String {
        let mut told = self.told.borrow_mut();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = told.iter().position(|known| known.contains(text)) {
                return told.drain(..=at).next_back().unwrap_or_default();
            }
            let mut buffer = [0; 4096];
            let length = self.notices.recv(&mut buffer);
            let length = length.unwrap_or_else(|e| panic!("never told `{text}` ({e}): {told:?}"));
            // Its sign of life comes sooner than the socket's patience ends.
            assert!(Instant::now() < until, "never told `{text}`: {told:?}");
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }

    /// Waits for a line with this text, said from now on or before.
    pub fn says(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.heard.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("never said `{text}`; it said:\n{}", self.heard.join("\n")),
            }
        }
    }

    /// All that was said; the bridge ends.
    pub fn all_that_was_said(&mut self) -> Vec<String> {
        self.signal(Signal::SIGTERM);
        assert!(self.ends());
        self.heard.extend(self.lines.iter());
        self.heard.clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.door.local_addr().unwrap()
    }

    pub fn connect(&self) -> Line {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Line(BufReader::new(stream))
    }

    /// A form, by a connection of its own.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.begin(path, body).answer()
    }

    /// The same, before its answer.
    pub fn begin(&self, path: &str, body: &str) -> Line {
        let mut line = self.connect();
        line.post(path, body);
        line
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut line = self.connect();
        line.ask(method, path, headers, body);
        line.answer()
    }

    pub fn root(&self) -> &std::path::Path {
        self.root.path()
    }

    pub fn database(&self) -> rusqlite::Connection {
        let path = self
            .root
            .path()
            .join("srv/var/lib/switchhook/websms/spool.db");
        rusqlite::Connection::open(path).unwrap()
    }

    /// In the order in which they came.
    pub fn messages(&self) -> Vec<Row> {
        let database = self.database();
        let mut select = database
            .prepare("SELECT interface, provider_id, recipient, sender, body, media FROM message ORDER BY number")
            .unwrap();
        let rows = select.query_map([], |row| {
            Ok(Row {
                interface: row.get(0)?,
                provider_id: row.get(1)?,
                to: row.get(2)?,
                from: row.get(3)?,
                body: row.get(4)?,
                media: row.get(5)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Waits until so many requests are written down; the newest last.
    pub fn requests(&self, count: usize) -> Vec<Asked> {
        let database = self.database();
        let mut select = database
            .prepare("SELECT interface, peer, path, status, reason FROM request ORDER BY slot")
            .unwrap();
        let mut read = || {
            let rows = select.query_map([], |row| {
                Ok(Asked {
                    interface: row.get(0)?,
                    peer: row.get(1)?,
                    path: row.get(2)?,
                    status: row.get(3)?,
                    reason: row.get(4)?,
                })
            });
            let rows: Vec<Asked> = rows.unwrap().map(Result::unwrap).collect();
            (rows.len() >= count).then_some(rows)
        };
        crate::appliance::wait_for(&mut read, "the requests are not written down")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write(root: &tempfile::TempDir, below: &str, text: &str) {
    let path = root.path().join(below);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A form with the predecessor's three fields.
pub fn form(to: &str, from: &str, text: &str) -> String {
    format!(
        "To={}&From={}&Body={}",
        encoded(to),
        encoded(from),
        encoded(text)
    )
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// A connection.
pub struct Line(BufReader<TcpStream>);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Line {
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    pub fn post(&mut self, path: &str, body: &str) {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        self.ask("POST", path, &[kind], body.as_bytes());
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: pbx.example.org\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = body.len();
        head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        self.send(&[head.as_bytes(), body].concat());
    }

    /// The next line has this text.
    pub fn hears(&mut self, text: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.contains(text), "{line}");
        if text.starts_with("100") {
            self.0.read_line(&mut line).unwrap();
        }
    }

    /// An answer, and no more.
    pub fn answer(mut self) -> Answer {
        self.hears_answer()
    }

    /// A line without its end; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn hears_answer(&mut self) -> Answer {
        let mut answer = self.hears_head();
        let length = answer.header("content-length");
        let length = length.map_or(0, |value| value.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// An answer without its body.
    pub fn hears_head(&mut self) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1);
        let status = status.unwrap_or_else(|| panic!("no answer: `{line}`"));
        let status = status.parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        Answer {
            status,
            headers,
            body: String::new(),
        }
    }

    /// Waits until the other side ends it, without a word.
    pub fn ends(mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let read = self.0.read_to_end(&mut rest);
        let is_over = read.as_ref().map_or_else(
            |error| error.kind() == std::io::ErrorKind::ConnectionReset,
            |_| true,
        );
        assert!(is_over, "{read:?}");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
