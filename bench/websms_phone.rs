//! From a carrier's POST to the SIP MESSAGE at the phone, in the real image, each message on disk before it is answered. Beside
//! it the floor: the same text given to Asterisk's REST interface (ARI), without a disk and without us. Both in turns, over
//! connections that are kept, to a phone in the container's own network.
//!
//! BENCH_IMAGE (switchhook:full), BENCH_TURNS (300).

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement runs other programs"
)]

mod report;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use report::{Report, percentile};

const PATIENCE: Duration = Duration::from_secs(30);
const CONF: &str = "[websmsd]\nprox_addr = \"\"\nremt_addr = 127.0.0.1\nurl_path = /hook\n";

fn docker(arguments: &[&str]) -> String {
    let out = Command::new("docker").args(arguments).output();
    let out = out.expect("docker cannot be run");
    assert!(
        out.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Taken away however the measurement ends.
struct Container(String);

impl Container {
    fn start(image: &str) -> Container {
        let name = format!("switchhook-bench-{}", std::process::id());
        docker(&["run", "--detach", "--name", &name, "--tmpfs", "/tmp", image]);
        let container = Container(name);
        container.wait_ready();
        container
    }

    fn shell(&self, script: &str) -> String {
        docker(&["exec", &self.0, "sh", "-c", script])
    }

    fn wait_ready(&self) {
        self.shell("until switchhook health --ready >/dev/null; do sleep 0.05; done");
    }

    /// From here on this program's sockets are in the container's network.
    fn enter(&self) {
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &self.0]);
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("a network");
        // SAFETY: the descriptor is open, and no other thread is there.
        let done = unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let arguments = ["rm", "--force", "--volumes", &self.0];
        let _ = Command::new("docker").args(arguments).output();
    }
}

struct Phone(UdpSocket);

impl Phone {
    /// Waits for this text and takes it; the moment at which it came.
    fn take(&self, text: &str) -> Instant {
        let mut buffer = [0; 65536];
        loop {
            let (count, from) = self.0.recv_from(&mut buffer).expect("a text");
            let came = Instant::now();
            let packet = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let (head, body) = packet.split_once("\r\n\r\n").unwrap_or_default();
            let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
            for name in ["Via:", "From:", "To:", "Call-ID:", "CSeq:"] {
                let line = head.lines().find(|line| line.starts_with(name));
                answer.push_str(&format!("{}\r\n", line.unwrap_or_default()));
            }
            answer.push_str("Content-Length: 0\r\n\r\n");
            self.0.send_to(answer.as_bytes(), from).expect("an answer");
            if head.starts_with("MESSAGE ") && body == text {
                return came;
            }
        }
    }
}

struct Line(BufReader<TcpStream>);

impl Line {
    fn open(port: u16) -> Line {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Line(BufReader::new(stream))
    }

    fn say(&mut self, request: &str) {
        let stream = self.0.get_mut();
        stream.write_all(request.as_bytes()).expect("it is sent");
    }

    /// Reads the answer, which must be good.
    fn hear(&mut self) {
        let (mut length, mut first) = (0, String::new());
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("an answer");
            if first.is_empty() {
                first.clone_from(&line);
            }
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).expect("an answer");
        assert!(first.contains(" 20"), "{first}");
    }
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

fn main() -> ExitCode {
    let image = std::env::var("BENCH_IMAGE").unwrap_or_else(|_| "switchhook:full".to_owned());
    let turns = std::env::var("BENCH_TURNS").ok();
    let turns = turns.and_then(|text| text.parse().ok()).unwrap_or(300);
    let container = Container::start(&image);
    container.enter();
    let phone = Phone(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    phone.0.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let contact = format!("sip:alice@{}", phone.0.local_addr().expect("an address"));
    // A phone that need not register.
    container.shell(&format!(
        "printf '{}' >/srv/etc/asterisk/websms.conf; \
         sed -i '/^inbound_auth.username = alice/a aor/contact = {contact}' /srv/etc/asterisk/pjsip_endpoint.conf; \
         asterisk -rx 'module reload res_pjsip.so' >/dev/null; switchhook restart websms",
        CONF.replace('\n', "\\n").replace('"', "\\\"")
    ));
    let password = container.shell("sed -n 's/^password *= *//p' /srv/etc/asterisk/ari.conf");
    let login = STANDARD.encode(format!("websms:{password}"));
    let target = format!(
        "/ari/endpoints/sendMessage?to=pjsip%3Aalice%2F{}&from=sip%3A462%40pbx",
        contact.replace(':', "%3A").replace('@', "%40")
    );
    let (mut carrier, mut rest) = (Line::open(80), Line::open(8088));
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for turn in 0..turns + 10 {
        let text = format!("Your code is {turn}");
        let form = format!("To=101&From=%2B462&Body={}", text.replace(' ', "+"));
        let begin = Instant::now();
        carrier.say(&format!(
            "POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ));
        let time = milliseconds(begin, phone.take(&text));
        carrier.hear();
        let text = format!("Straight {turn}");
        let body = format!("{{\"body\":\"{text}\"}}");
        let begin = Instant::now();
        rest.say(&format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let alone = milliseconds(begin, phone.take(&text));
        rest.hear();
        // The first ones find out who has the number.
        if turn >= 10 {
            ours.push(time);
            floor.push(alone);
        }
    }
    for (name, times) in [("POST to phone", &ours), ("ARI to phone", &floor)] {
        println!(
            "{name}: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms",
            percentile(times, 50.0),
            percentile(times, 90.0),
            percentile(times, 99.0)
        );
    }
    let mut report = Report::new("websms_phone");
    report.note("peer", "Asterisk's REST interface alone".into());
    report.bar("webhook_to_phone", "ms", &ours, Some(&floor), 3.0);
    report.finish()
}
