//! A real phone: baresip with an account, a tone to speak, and a recording of what it hears.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::docker::Network;
use crate::exchange::Exchange;
use crate::lines::{Lines, until};
use crate::media::write_tone;

/// How a phone reaches the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

/// The version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Four,
    Six,
}

impl Family {
    /// The exchange's address in a SIP URI.
    pub fn host(self, exchange: &Exchange) -> String {
        match self {
            Family::Four => exchange.address4(),
            Family::Six => format!("[{}]", exchange.address6()),
        }
    }
}

/// What a phone is set up with.
pub struct Settings<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub transport: Transport,
    pub family: Family,
    /// The tone it speaks, in hertz.
    pub tone: f64,
}

/// How a phone behaves when it is called.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// It takes calls by itself; else it rings until somebody gives the command.
    pub answers: bool,
    /// More calls than that at a time meet a busy phone.
    pub calls: u32,
    /// How it encrypts sound; with nothing less it takes no call. Empty: not at all.
    pub encryption: &'static str,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            answers: true,
            calls: 4,
            encryption: "",
        }
    }
}

/// A running phone.
pub struct Phone {
    directory: tempfile::TempDir,
    process: Child,
    control: TcpStream,
    /// What it prints.
    pub output: Lines,
    /// What its console shows: texts that arrive.
    pub console: Lines,
    /// Its events, one JSON object a line.
    pub events: Lines,
}

impl Phone {
    /// Starts a phone and waits for the exchange's answer to its registration, whatever it is.
    pub fn start(exchange: &Exchange, network: &Network, settings: &Settings<'_>) -> Phone {
        Phone::with_manner(exchange, network, settings, Manner::default())
    }

    /// As `start`, for a phone that behaves in its own way.
    pub fn with_manner(
        exchange: &Exchange,
        network: &Network,
        settings: &Settings<'_>,
        manner: Manner,
    ) -> Phone {
        network.wait_usable();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        write_tone(&path("tone.wav"), settings.tone, 120);
        let [control_port, console_port] = [free_port(), free_port()];
        std::fs::write(
            path("config"),
            configuration(
                &directory,
                &network.interface,
                [control_port, console_port],
                manner,
            ),
        )
        .unwrap();
        std::fs::write(path("contacts"), "").unwrap();
        let account = format!(
            "<sip:{user}@{host};transport={transport}>;auth_user={user};auth_pass={password};answermode={answermode};regint=600{encryption}\n",
            user = settings.user,
            host = settings.family.host(exchange),
            transport = settings.transport.name(),
            password = settings.password,
            answermode = if manner.answers { "auto" } else { "manual" },
            encryption = match manner.encryption {
                "" => String::new(),
                name => format!(";mediaenc={name}"),
            },
        );
        std::fs::write(path("accounts"), account).unwrap();
        let mut process = Command::new("baresip")
            .arg("-f")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run baresip, is baresip-core installed? {e}"));
        let output = Lines::follow(process.stdout.take().unwrap());
        let control = until("baresip's control port", || {
            TcpStream::connect(("127.0.0.1", control_port)).map_err(|e| e.to_string())
        });
        // A console of baresip's own: without one it prints no texts.
        let console = TcpStream::connect(("127.0.0.1", console_port)).unwrap();
        let events = Lines::default();
        follow_events(control.try_clone().unwrap(), events.clone());
        let phone = Phone {
            directory,
            process,
            control,
            output,
            console: Lines::follow(console),
            events,
        };
        phone.answer_to_register();
        phone
    }

    /// Starts a phone that must be let in.
    pub fn register(exchange: &Exchange, network: &Network, settings: &Settings<'_>) -> Phone {
        let phone = Phone::start(exchange, network, settings);
        let answer = phone.answer_to_register();
        assert!(answer.contains(" 200 OK "), "{answer}");
        phone
    }

    pub fn answer_to_register(&self) -> String {
        self.output
            .wait_from(0, "an answer to REGISTER", is_answer_to_register)
            .0
    }

    /// Gives one of baresip's commands.
    pub fn command(&mut self, command: &str, parameters: &str) {
        let text = json!({"command": command, "params": parameters}).to_string();
        let message = format!("{}:{text},", text.len());
        self.control.write_all(message.as_bytes()).unwrap();
    }

    /// Waits for an event from number `start` on; the value is the event and the number of the next one.
    pub fn wait_event(&self, start: usize, kind: &str) -> (Value, usize) {
        let wanted = format!("\"type\":\"{kind}\"");
        let (line, next) = self
            .events
            .wait_from(start, kind, |line| line.contains(&wanted));
        (serde_json::from_str(&line).unwrap(), next)
    }

    /// Waits until sound arrives: a report on the call later than now that counts packets received.
    pub fn wait_sound(&self) {
        let mut next = self.events.count();
        loop {
            let (event, after) = self.wait_event(next, "CALL_RTCP");
            next = after;
            if event["rtcp_stats"]["rx"]["sent"]
                .as_u64()
                .is_some_and(|count| count > 100)
            {
                return;
            }
        }
    }

    /// Waits until two reports from event `start` on show that packets came in between them.
    pub fn wait_sound_goes_on(&self, start: usize) {
        let count = |event: &Value| event["rtcp_stats"]["rx"]["sent"].as_u64().unwrap_or(0);
        let (first, mut next) = self.wait_event(start, "CALL_RTCP");
        let before = count(&first);
        loop {
            let (event, after) = self.wait_event(next, "CALL_RTCP");
            next = after;
            // Fifty a second arrive; the report on sending comes with the same count.
            if count(&event) > before + 100 {
                return;
            }
        }
    }

    /// The recording of what the phone heard in its last call.
    pub fn recording(&self) -> PathBuf {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        files.retain(|file| file.to_string_lossy().ends_with("-dec.wav"));
        files.sort();
        files.pop().expect("the phone recorded nothing")
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut events = self.events.all();
            events.retain(|event| !event.contains("CALL_RTCP"));
            let (output, events) = (self.output.all().join("\n"), events.join("\n"));
            eprintln!("--- phone's console\n{}", self.console.all().join("\n"));
            eprintln!("--- phone printed\n{output}\n--- events\n{events}");
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As in `alice@172.31.7.2: {0/UDP/v4} 200 OK (Switchhook) [1 binding]`, or
/// `reg: sip:alice@172.31.7.2: 401 Unauthorized (Switchhook)`.
fn is_answer_to_register(line: &str) -> bool {
    let has_status = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let accepted = line
        .split_once("} ")
        .is_some_and(|(_, rest)| has_status(rest));
    let refused = line
        .split_once("reg: ")
        .and_then(|(_, rest)| rest.rsplit_once(": "))
        .is_some_and(|(_, rest)| has_status(rest));
    accepted || refused
}

fn configuration(
    directory: &tempfile::TempDir,
    interface: &str,
    ports: [u16; 2],
    manner: Manner,
) -> String {
    let calls = manner.calls;
    let encryption = match manner.encryption {
        "" => "",
        // The media and their reports through one port, so with one handshake.
        "dtls_srtp" => "rtcp_mux yes\nmodule dtls_srtp.so",
        _ => "module srtp.so",
    };
    let place = directory.path().display();
    let [control_port, console_port] = ports;
    format!(
        "poll_method epoll
sip_verify_server no
statmode_default off
call_local_timeout 120
call_max_calls {calls}
audio_player aubridge,sink
audio_source aufile,{place}/tone.wav
audio_alert aubridge,alert
audio_level no
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
rtp_ports 20000-24999
net_interface {interface}
snd_path {place}
ctrl_tcp_listen 127.0.0.1:{control_port}
module_path /usr/lib/baresip/modules
cons_listen 127.0.0.1:{console_port}
module cons.so
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
{encryption}
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"
    )
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Reads netstrings (`LENGTH:TEXT,`) and keeps those that are events.
fn follow_events(mut stream: TcpStream, events: Lines) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0u8; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..count]);
            while let Some(colon) = bytes.iter().position(|byte| *byte == b':') {
                let length: usize = String::from_utf8_lossy(&bytes[..colon]).parse().unwrap();
                let end = colon + 1 + length;
                if bytes.len() <= end {
                    break;
                }
                let text = String::from_utf8_lossy(&bytes[colon + 1..end]).into_owned();
                bytes.drain(..=end);
                if text.contains("\"event\":true") {
                    events.push(text);
                }
            }
        }
        events.end();
    });
}
