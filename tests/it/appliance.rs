//! A harness that runs PID 1 below a temporary root and waits for what it says.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long an event may take before a test gives up. Nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const BINARY: &str = env!("CARGO_BIN_EXE_switchhook");
/// PID 1; it looks for the other in its own directory.
pub const INIT: &str = env!("CARGO_BIN_EXE_switchhook-init");

/// A temporary root, laid out as the image is.
pub struct Root {
    pub dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Root {
    /// With a log service that shows everything.
    pub fn new() -> Root {
        let root = Root::bare();
        root.unit(
            "logd.service",
            &format!(
                "[Service]\nType=notify\nExecStart={BINARY} logd\nRestart=always\nX-Role=log\n"
            ),
        );
        root.unit(
            "logd.socket",
            "[Socket]\nService=logd.service\nListenDatagram=/dev/log\n",
        );
        root
    }

    pub fn bare() -> Root {
        let dir = tempfile::tempdir().unwrap();
        for below in [
            "usr/lib/switchhook/units",
            "usr/lib/switchhook/entry.d",
            "usr/lib/switchhook/exit.d",
            "srv",
        ] {
            std::fs::create_dir_all(dir.path().join(below)).unwrap();
        }
        Root {
            dir,
            environment: vec![("SYSLOG_LEVEL".into(), "8".into())],
        }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub fn env(mut self, name: &str, value: &str) -> Root {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn file(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn unit(&self, name: &str, text: &str) {
        self.file(&format!("usr/lib/switchhook/units/{name}"), text);
    }

    /// A service whose program is this shell script.
    pub fn service(&self, name: &str, directives: &str, script: &str) {
        let program = self.script(&format!("bin/{name}"), script);
        self.unit(
            &format!("{name}.service"),
            &format!("{directives}\n[Service]\nExecStart={}\n", program.display()),
        );
    }

    pub fn script(&self, below: &str, text: &str) -> PathBuf {
        let path = self.file(below, &format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn seed(&self, below: &str, text: &str) {
        self.file(&format!("usr/share/switchhook/seed-config/{below}"), text);
    }

    pub fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap_or_default()
    }

    pub fn start(&self) -> Appliance<'_> {
        self.start_by(Command::new(INIT))
    }

    /// By the word `switchhook init`.
    pub fn start_by_command(&self) -> Appliance<'_> {
        let mut command = Command::new(BINARY);
        command.arg("init");
        self.start_by(command)
    }

    /// Started by somebody without any privilege.
    pub fn start_unprivileged(&self) -> Appliance<'_> {
        let mut pending = vec![self.dir.path().to_owned()];
        while let Some(path) = pending.pop() {
            std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
            if path.is_dir() {
                pending.extend(
                    std::fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
        // The test's own build directory may be closed to others.
        let binary = self.path("switchhook-init");
        std::fs::copy(INIT, &binary).unwrap();
        std::fs::copy(BINARY, self.path("switchhook")).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(binary);
        self.start_by(command)
    }

    fn start_by(&self, mut command: Command) -> Appliance<'_> {
        let mut child = command
            .arg("--root")
            .arg(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = child.stdout.take().unwrap();
        let err = child.stderr.take().unwrap();
        for stream in [
            Box::new(out) as Box<dyn std::io::Read + Send>,
            Box::new(err),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Appliance {
            _root: std::marker::PhantomData,
            child,
            lines,
            heard: Vec::new(),
            waited_for: Vec::new(),
        }
    }

    /// Runs a command of the binary against this root: exit code, stdout, stderr.
    pub fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let out = Command::new(BINARY)
            .args(arguments)
            .arg("--root")
            .arg(self.dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            out.status.code().unwrap_or(-1),
            text(&out.stdout),
            text(&out.stderr),
        )
    }

    /// `switchhook status --json`, once the exchange answers.
    pub fn status(&self) -> serde_json::Value {
        let began = Instant::now();
        loop {
            let (_, out, _) = self.ask(&["status", "--json"]);
            if let Ok(value) = serde_json::from_str(&out) {
                return value;
            }
            assert!(began.elapsed() < PATIENCE, "the exchange does not answer");
            std::thread::yield_now();
        }
    }

    pub fn service_status(&self, name: &str) -> serde_json::Value {
        let status = self.status();
        let services = status["services"].as_array().unwrap();
        services
            .iter()
            .find(|service| service["name"] == name)
            .unwrap()
            .clone()
    }
}

/// A running exchange. Killed when it is dropped.
pub struct Appliance<'a> {
    _root: std::marker::PhantomData<&'a Root>,
    child: Child,
    lines: Receiver<String>,
    pub heard: Vec<String>,
    waited_for: Vec<usize>,
}

impl Appliance<'_> {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for a line that contains `text` and was not waited for before. Lines of different services
    /// may come in another order than they were said.
    pub fn hears(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let known = (0..self.heard.len())
                .find(|i| !self.waited_for.contains(i) && self.heard[*i].contains(text));
            if let Some(index) = known {
                self.waited_for.push(index);
                return self.heard[index].clone();
            }
            match self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.heard.push(line),
                Err(_) => panic!("never said `{text}`; it said:\n{}", self.heard.join("\n")),
            }
        }
    }

    pub fn is_ready(&mut self) {
        self.hears("switchhook: ready after");
    }

    /// Waits for the end; everything said is then in `heard`.
    pub fn ends(&mut self) -> i32 {
        let status: ExitStatus = wait_for(
            || self.child.try_wait().unwrap(),
            "the exchange never ended",
        );
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(2)) {
            self.heard.push(line);
        }
        status.code().unwrap_or_else(|| panic!("ended by {status}"))
    }

    pub fn stops(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.ends()
    }

    pub fn has_said(&self, text: &str) -> bool {
        self.heard.iter().any(|line| line.contains(text))
    }

    /// Asserts that all of `texts` were said in this order.
    pub fn said_in_order(&self, texts: &[&str]) {
        let mut from = 0;
        for text in texts {
            match self.heard[from..]
                .iter()
                .position(|line| line.contains(text))
            {
                Some(at) => from += at + 1,
                None => panic!(
                    "`{text}` is missing or too early in:\n{}",
                    self.heard.join("\n")
                ),
            }
        }
    }
}

impl Drop for Appliance<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // A first order drains, a third one kills: nothing of the test is left behind.
            for _ in 0..3 {
                let _ = kill(self.pid(), Signal::SIGTERM);
                std::thread::yield_now();
            }
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until && self.child.try_wait().is_ok_and(|s| s.is_none()) {
                std::thread::yield_now();
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Asks again until there is an answer.
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>, problem: &str) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "{problem}");
        std::thread::yield_now();
    }
}

/// Whether a process with this number exists and is no zombie.
pub fn is_alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|text| !text.contains(") Z "))
}

/// A shell line that says READY=1 on the notify socket (perl is Essential in Debian).
pub const NOTIFY_AND_SLEEP: &str = "exec perl -MIO::Socket::UNIX -e \
    'IO::Socket::UNIX->new(Type=>SOCK_DGRAM(),Peer=>$ENV{NOTIFY_SOCKET})->send(\"READY=1\"); sleep 1000'";
