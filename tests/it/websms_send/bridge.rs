//! The real daemon on a volume of the test's, and the ways to hand a message in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::appliance::{BINARY, PATIENCE};

pub struct Bridge {
    root: tempfile::TempDir,
    child: Option<Child>,
    lines: Receiver<String>,
    pub heard: Vec<String>,
    pub agi: u16,
}

impl Bridge {
    /// A volume with this websms.conf; nothing runs yet.
    pub fn volume(conf: &str) -> Bridge {
        let agi = TcpListener::bind("127.0.0.1:0").unwrap();
        let bridge = Bridge {
            root: tempfile::tempdir().unwrap(),
            child: None,
            lines: channel().1,
            heard: Vec::new(),
            agi: agi.local_addr().unwrap().port(),
        };
        bridge.file("srv/etc/asterisk/websms.conf", conf);
        bridge
    }

    pub fn started(conf: &str) -> Bridge {
        let mut bridge = Bridge::volume(conf);
        bridge.start();
        bridge
    }

    pub fn file(&self, below: &str, text: &str) {
        let path = self.root.path().join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn path(&self, below: &str) -> std::path::PathBuf {
        self.root.path().join(below)
    }

    /// Starts the daemon and waits for its own word.
    pub fn start(&mut self) {
        let ready = self.path("notify");
        let _ = std::fs::remove_file(&ready);
        let socket = UnixDatagram::bind(&ready).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(BINARY);
        command
            .args(["websms", "serve", "--root"])
            .arg(self.root.path())
            .args(["--agi", &format!("127.0.0.1:{}", self.agi)])
            .env("NOTIFY_SOCKET", &ready)
            .stderr(Stdio::piped());
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy);
            command.env_remove(proxy.to_ascii_uppercase());
        }
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        self.child = Some(child);
        self.lines = lines;
        let mut words = [0; 256];
        let count = match socket.recv(&mut words) {
            Ok(count) => count,
            Err(error) => panic!(
                "not ready: {error}: {:?}",
                self.lines.try_iter().collect::<Vec<_>>()
            ),
        };
        assert_eq!(&words[..count], b"READY=1");
    }

    /// Power off.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The next line that holds this.
    pub fn hears(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn line(&mut self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("silence after {:#?}", self.heard));
        self.heard.push(line.clone());
        line
    }

    pub fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.path("run/websms/control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    }

    /// One request over the control socket, and its answer.
    pub fn ask(&self, request: &Value) -> Value {
        say(&mut self.connect(), request)
    }

    /// Hands a message in; its id.
    pub fn send(&self, index: &str, body: &str) -> String {
        let reply = self.ask(&message(index, body));
        assert_eq!(reply["result"], "queued", "{reply}");
        reply["id"].as_str().unwrap().to_owned()
    }

    pub fn show(&self, id: &str) -> Value {
        let shown = self.ask(&json!({"command": "show", "id": id}));
        shown["message"].clone()
    }

    /// The messages for phones.
    pub fn notices(&self) -> Vec<Value> {
        let list = self.ask(&json!({"command": "list", "direction": "in"}));
        list["messages"].as_array().unwrap().clone()
    }

    pub fn waiting(&self) -> u64 {
        self.ask(&json!({"command": "status"}))["waiting_out"]
            .as_u64()
            .unwrap()
    }

    /// The command `websms` with these words behind the root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command
            .arg0("/usr/local/bin/websms")
            .arg("--root")
            .arg(self.root.path())
            .args(words);
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn message(index: &str, body: &str) -> Value {
    json!({"command": "send", "to": "+46701234567", "from": "+46707654321", "body": body, "index": index})
}

pub fn say(stream: &mut BufReader<UnixStream>, request: &Value) -> Value {
    stream
        .get_mut()
        .write_all(format!("{request}\n").as_bytes())
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}
