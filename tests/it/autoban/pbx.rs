//! The manager's side of a conversation, with frames as Asterisk 22 wrote them. A stand-in only because the real one is in
//! the image suite.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use switchhook::asterisk::ami::md5;

use crate::appliance::PATIENCE;

const CHALLENGE: &str = "840415273";

/// Listens as Asterisk does.
pub struct Pbx {
    listener: TcpListener,
    secret: String,
    /// `write = system`, as it is when a connection begins.
    pub may_reload: bool,
}

/// One connection that has logged in.
pub struct Session {
    stream: TcpStream,
    pings: Receiver<()>,
    reloads: Receiver<()>,
}

impl Pbx {
    pub fn with_secret(secret: &str) -> Pbx {
        Pbx {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            secret: secret.to_owned(),
            may_reload: true,
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Takes the next connection, and lets it in if it knows the secret.
    pub fn accept(&self) -> Option<Session> {
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .write_all(b"Asterisk Call Manager/11.0.0\r\n")
            .unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let challenge = action(&mut lines)?;
        assert_eq!(challenge.get("Action"), "Challenge");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "Response: Success\r\nActionID: {}\r\nChallenge: {CHALLENGE}\r\n\r\n",
            challenge.get("ActionID")
        )
        .unwrap();
        let login = action(&mut lines)?;
        let key = md5::hex(format!("{CHALLENGE}{}", self.secret).as_bytes());
        let id = login.get("ActionID");
        if login.get("Key") != key {
            write!(
                stream,
                "Response: Error\r\nActionID: {id}\r\nMessage: Authentication failed\r\n\r\n"
            )
            .unwrap();
            return None;
        }
        assert!(!login.0.iter().any(|line| line.contains(&self.secret)));
        write!(
            stream,
            "Response: Success\r\nActionID: {id}\r\nMessage: Authentication accepted\r\n\r\n\
             Event: FullyBooted\r\nPrivilege: system,all\r\nStatus: Fully Booted\r\nUptime: 7\r\nLastReload: 7\r\n\r\n"
        )
        .unwrap();
        stream.set_read_timeout(None).unwrap();
        let (pinged, pings) = channel();
        let (reloaded, reloads) = channel();
        let may_reload = self.may_reload;
        let mut answers = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            while let Some(action) = action(&mut lines) {
                let id = action.get("ActionID");
                if action.get("Action") == "Ping" {
                    let _ = pinged.send(());
                    let _ = write!(
                        answers,
                        "Response: Success\r\nActionID: {id}\r\nPing: Pong\r\nTimestamp: 1800000000.000000\r\n\r\n"
                    );
                }
                if action.get("Action") == "Reload" {
                    assert_eq!(action.get("Module"), "acl");
                    let answer = match may_reload {
                        true => "Response: Success\r\nMessage: Module Reloaded",
                        false => "Response: Error\r\nMessage: Permission denied",
                    };
                    let (first, rest) = answer.split_once("\r\n").unwrap();
                    let _ = reloaded.send(());
                    // In one piece, for the test writes to the same socket.
                    let text = format!("{first}\r\nActionID: {id}\r\n{rest}\r\n\r\n");
                    let _ = answers.write_all(text.as_bytes());
                }
            }
        });
        Some(Session {
            stream,
            pings,
            reloads,
        })
    }
}

struct Action(Vec<String>);

impl Action {
    fn get(&self, header: &str) -> &str {
        let of = |line: &'_ String| {
            line.strip_prefix(header)
                .is_some_and(|r| r.starts_with(": "))
        };
        let line = self.0.iter().find(|line| of(line));
        line.map_or("", |line| &line[header.len() + 2..])
    }
}

fn action(lines: &mut impl BufRead) -> Option<Action> {
    let mut all = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(Action(all)),
            text => all.push(text.to_owned()),
        }
    }
}

impl Session {
    pub fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next ping came.
    pub fn is_pinged(&self) {
        self.pings.recv_timeout(PATIENCE).expect("a ping");
    }

    /// The access lists were to be read again.
    pub fn is_reloaded(&self) {
        self.reloads.recv_timeout(PATIENCE).expect("a reload");
    }

    /// How often more that was so until now.
    pub fn reloads(&self) -> usize {
        self.reloads.try_iter().count()
    }

    /// An unknown account came up from here.
    pub fn unknown(&mut self, transport: &str, address: &str) {
        self.say(&event("InvalidAccountID", "Error", transport, address, ""));
    }

    pub fn wrong_password(&mut self, transport: &str, address: &str) {
        let extra = "Challenge: \r\nResponse: \r\nExpectedResponse: \r\n";
        self.say(&event(
            "ChallengeResponseFailed",
            "Error",
            transport,
            address,
            extra,
        ));
    }

    pub fn success(&mut self, transport: &str, address: &str) {
        let extra = "UsingPassword: 1\r\n";
        self.say(&event(
            "SuccessfulAuth",
            "Informational",
            transport,
            address,
            extra,
        ));
    }
}

fn event(name: &str, severity: &str, transport: &str, address: &str, extra: &str) -> String {
    let family = if address.contains(':') {
        "IPV6"
    } else {
        "IPV4"
    };
    format!(
        "Event: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T07:04:44.123+0000\r\nSeverity: {severity}\r\n\
         Service: PJSIP\r\nEventVersion: 1\r\nAccountID: 100\r\nSessionID: 1-77@127.0.0.1\r\n\
         LocalAddress: {family}/{transport}/{local}/5060\r\nRemoteAddress: {family}/{transport}/{address}/5071\r\n{extra}\r\n",
        local = if family == "IPV6" { "::1" } else { "127.0.0.1" },
    )
}

impl Session {
    /// As when Asterisk ends.
    pub fn stream_ends(self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }
}
