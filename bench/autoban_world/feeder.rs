//! A manager interface that speaks what Asterisk 22 speaks: recorded frames with other numbers, as fast as they are read.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whom a frame is about.
#[derive(Clone, Copy)]
pub enum From {
    /// Over UDP, each number from an address of its own: half of them IPv4, half /64.
    Forged(u64),
    /// Over UDP, each number from a /64 of its own.
    V6(u64),
    /// Over TCP, from this IPv4 address.
    Proven(u32),
}

pub struct Feeder {
    pub port: u16,
    client: Arc<Mutex<Option<TcpStream>>>,
    connections: Arc<AtomicUsize>,
}

/// One event as it was recorded.
pub fn frame(text: &mut String, number: u64, from: From) {
    let remote = match from {
        From::Forged(n) if n % 2 == 0 => {
            let n = (n / 2) as u32;
            format!(
                "IPV4/UDP/{}/5071",
                std::net::Ipv4Addr::from_bits(0x2d00_0000 + n)
            )
        }
        From::Forged(n) | From::V6(n) => {
            format!("IPV6/UDP/2a01:{:x}:{:x}:7::5/5071", n >> 16, n & 0xffff)
        }
        From::Proven(bits) => format!("IPV4/TCP/{}/40222", std::net::Ipv4Addr::from_bits(bits)),
    };
    let _ = write!(
        text,
        "Event: InvalidAccountID\r\nPrivilege: security,all\r\nEventTV: 2026-08-05T10:11:12.345+0000\r\nSeverity: Error\r\nService: PJSIP\r\nEventVersion: 1\r\nAccountID: 100\r\nSessionID: 1-{number}@192.0.2.7\r\nLocalAddress: IPV4/UDP/192.0.2.1/5060\r\nRemoteAddress: {remote}\r\n\r\n"
    );
}

impl Feeder {
    pub fn start() -> Feeder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let feeder = Feeder {
            port: listener.local_addr().expect("an address").port(),
            client: Arc::default(),
            connections: Arc::default(),
        };
        let (client, connections) = (feeder.client.clone(), feeder.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // As Asterisk's own sessions: an event does not wait for the answer to the one before.
                let _ = stream.set_nodelay(true);
                connections.fetch_add(1, Ordering::SeqCst);
                converse(stream, &client);
            }
        });
        feeder
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Sends whole frames; it waits for the reader as Asterisk does.
    pub fn send(&self, text: &str) {
        let mut client = self.client.lock().expect("no panic");
        let stream = client.as_mut().expect("AutoBan is connected");
        stream.write_all(text.as_bytes()).expect("AutoBan reads");
    }

    /// `rate` events a second for so long; how far it was behind its time at the worst and at the end.
    pub fn flood(
        &self,
        rate: u64,
        time: Duration,
        first: u64,
        mut each: impl FnMut(u64),
    ) -> [Duration; 2] {
        let began = Instant::now();
        let step = Duration::from_millis(5);
        let share = rate / 200;
        let turns = time.as_millis() as u64 / 5;
        let (mut text, mut worst) = (String::new(), Duration::ZERO);
        let mut behind = Duration::ZERO;
        for turn in 0..turns {
            text.clear();
            for number in first + turn * share..first + (turn + 1) * share {
                frame(&mut text, number, From::Forged(number));
            }
            self.send(&text);
            each(turn);
            let due = step * (turn + 1) as u32;
            match due.checked_sub(began.elapsed()) {
                Some(left) => {
                    behind = Duration::ZERO;
                    std::thread::sleep(left);
                }
                None => behind = began.elapsed() - due,
            }
            worst = worst.max(behind);
        }
        [worst, behind]
    }
}

/// Lets the client in, answers its pings, and holds its stream for the events until it goes.
fn converse(mut stream: TcpStream, client: &Mutex<Option<TcpStream>>) {
    let _ = stream.write_all(b"Asterisk Call Manager/11.0.0\r\n");
    let reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let (mut action, mut id) = (String::new(), String::new());
    for line in reader.lines().map_while(Result::ok) {
        if let Some(name) = line.strip_prefix("Action: ") {
            name.clone_into(&mut action);
        } else if let Some(value) = line.strip_prefix("ActionID: ") {
            value.clone_into(&mut id);
        } else if line.is_empty() {
            let more = match action.as_str() {
                "Challenge" => "Challenge: 315219784\r\n",
                "Login" => "Message: Authentication accepted\r\n",
                _ => "Ping: Pong\r\n",
            };
            let answer = format!("Response: Success\r\nActionID: {id}\r\n{more}\r\n");
            let mut held = client.lock().expect("no panic");
            let _ = stream.write_all(answer.as_bytes());
            if action == "Login" {
                *held = stream.try_clone().ok();
            }
        }
    }
    *client.lock().expect("no panic") = None;
}
