//! The second witness: Asterisk's log, by the real log service, and a stand-in for who writes to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Guard, SECRET};
use crate::appliance::{BINARY, PATIENCE, Root, wait_for};
use crate::autoban::pbx::Pbx;
use crate::firewall::wire::{INSIDE, in_namespace, in_namespace_of, run};

/// That the last request of a thread has no event.
const MISSING: &str = "ERROR[40]: security_events.c:1236 in ast_security_event_report: Failed to issue security event of type InvalidAccountID.";
/// What a stranger's text could make of a line on a pipe.
const PRINTED: &str = "NOTICE[40]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'A' from 'b' failed for '198.51.100.7:1' (callid: c) - No matching endpoint found";

/// With the socket as the image has it, but for its owner.
fn with_evidence() -> Root {
    let root = Root::new();
    let unit = include_str!("../../../docker/units/logd-evidence.socket");
    let own = unit.replace("SocketUser=autoban\n", "");
    assert_ne!(own, unit);
    root.unit("logd-evidence.socket", &own);
    root.unit(
        "logd-query.socket",
        include_str!("../../../docker/units/logd-query.socket"),
    );
    root
}

/// Runs `test` in a network of its own, with the place of an exchange that runs outside of it: PID 1 changes groups, which a
/// namespace of one user does not allow.
fn beside_a_log(name: &str, prints: bool, test: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let root = std::env::current_dir().unwrap();
        return in_namespace(name, || test(&root));
    }
    let root = with_evidence();
    if prints {
        let gate = root.path("gate");
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let script = format!(
            "read x < {}; echo \"{PRINTED}\"; echo \"{MISSING}\"; exec sleep 1000",
            gate.display()
        );
        root.service("asterisk", "", &script);
    }
    let mut appliance = root.start();
    appliance.is_ready();
    in_namespace_of(
        name,
        &["-Urn", &format!("--wd={}", root.path("").display())],
    );
    assert_eq!(appliance.stops(), 0);
}

/// The log service's process.
fn log_service(root: &Path) -> Pid {
    let out = Command::new(BINARY)
        .args(["status", "--json", "--root"])
        .arg(root)
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&out.stdout).unwrap();
    let services = status["services"].as_array().unwrap();
    let logd = services.iter().find(|service| service["name"] == "logd");
    Pid::from_raw(logd.unwrap()["pid"].as_i64().unwrap() as i32)
}

/// A daemon that follows this log.
fn guard(root: &Path, pbx: &Pbx, conf: &str) -> Guard {
    let guard = Guard::volume(pbx, conf);
    let run = guard.root.path().join("run");
    std::fs::create_dir_all(&run).unwrap();
    std::os::unix::fs::symlink(root.join("run/switchhook"), run.join("switchhook")).unwrap();
    guard
}

struct Log {
    socket: UnixDatagram,
    place: PathBuf,
}

impl Log {
    fn of(root: &Path) -> Log {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Log {
            socket,
            place: root.join("dev/log"),
        }
    }

    fn say(&self, level: u8, text: &[u8]) {
        let head = format!("<{}>Nov 22 10:11:49 asterisk[9]: ", 128 + level);
        let datagram = [head.as_bytes(), text].concat();
        self.socket.send_to(&datagram, &self.place).unwrap();
    }

    /// A request failed.
    fn failed(&self, from: &str, call_id: &[u8]) {
        let head = format!(
            "NOTICE[40]: res_pjsip/pjsip_distributor.c:688 in log_failed_request: Request 'REGISTER' from '<sip:a@b>' failed for '{from}' (callid: "
        );
        let tail = b") - No matching endpoint found";
        self.say(5, &[head.as_bytes(), call_id, tail].concat());
    }

    /// And of the last one there is no event.
    fn missing(&self) {
        self.say(3, MISSING.as_bytes());
    }

    /// As one with a second sender in what is a stranger's.
    fn decoyed(&self, from: &str, decoy: &str) {
        let call_id = format!("' failed for '{decoy}' (callid: x");
        self.failed(from, &[b"\xff", call_id.as_bytes()].concat());
        self.missing();
    }

    fn attack(&self, from: &str) {
        self.failed(from, b"a\xff\xfeb");
        self.missing();
    }
}

fn listens(guard: &Guard) {
    let is_listening = || {
        let status = guard.ask(r#"{"command":"status"}"#);
        (status["witness"] == "listening").then_some(())
    };
    wait_for(is_listening, "never listened to the log");
}

#[test]
fn the_log_speaks_where_the_manager_is_silent() {
    beside_a_log(
        "autoban::witness::the_log_speaks_where_the_manager_is_silent",
        true,
        |root| {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = guard(root, &pbx, "maxcount = 5");
            guard.start(&[]);
            let mut session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            listens(&guard);
            let log = Log::of(root);
            std::fs::write(root.join("gate"), "go\n").unwrap();
            let is_printed = || {
                let mut logs = Command::new(BINARY);
                logs.args(["logs", "asterisk", "--root"]).arg(root);
                let out = logs.output().unwrap().stdout;
                String::from_utf8_lossy(&out)
                    .contains("Failed to issue")
                    .then_some(())
            };
            wait_for(is_printed, "the pipe's lines never came");
            for _ in 0..4 {
                log.attack("192.0.2.7:5060");
                log.attack("[fd5b:1:2:3::7]:5060");
                // Of these the manager tells.
                log.failed("192.0.2.8:5060", b"c1@test");
                session.unknown("TCP", "192.0.2.8");
            }
            for _ in 0..3 {
                // Two senders can be read.
                log.decoyed("192.0.2.10:5060", "198.51.100.7:1");
            }
            for _ in 0..20 {
                // Nobody said that it failed.
                log.missing();
            }
            guard.counts("log lines without a sender", 20);
            guard.counts("log lines with several senders", 3);
            guard.counts("witnessed lines weak", 14);
            guard.counts("InvalidAccountID strong", 4);
            guard.counts("log lines of failed requests", 15);
            let watched = guard.ask(r#"{"command":"list","sets":["watch"]}"#);
            let rows = watched["sets"][0][1].as_array().unwrap();
            let mut rows: Vec<String> = rows
                .iter()
                .map(|row| format!("{} {}", row["cidr"], row["count"]))
                .collect();
            rows.sort();
            assert_eq!(
                rows,
                [
                    "\"192.0.2.10\" 3",
                    "\"192.0.2.7\" 4",
                    "\"192.0.2.8\" 4",
                    "\"198.51.100.7\" 3",
                    "\"fd5b:1:2:3::/64\" 4"
                ],
                "{watched}"
            );
            // Anybody can have sent it, so that it closes what he can have sent it by.
            log.attack("192.0.2.7:5060");
            guard.hears("closed SIP over UDP to 192.0.2.7 for 2m: unknown account");
            assert!(super::elements("weak4").contains_key("192.0.2.7"));
            // What still comes, when no packet can be on its way any more, has a connection.
            log.attack("192.0.2.7:40000");
            let is_strong = || {
                log.attack("192.0.2.7:40000");
                let status = guard.ask(r#"{"command":"status"}"#);
                let counters = status["counters"].as_array().unwrap();
                let mut found = counters.iter();
                found
                    .any(|pair| pair[0] == "witnessed lines strong")
                    .then_some(())
            };
            wait_for(is_strong, "it never became strong");
            (0..5).for_each(|_| log.attack("192.0.2.7:40000"));
            guard.hears("jailed 192.0.2.7 for 20m: unknown account");
            assert_eq!(
                super::elements("jail4").into_keys().collect::<Vec<_>>(),
                ["192.0.2.7"]
            );
            // A log service that ends comes back, and is listened to.
            kill(log_service(root), Signal::SIGKILL).unwrap();
            guard.hears("cannot follow Asterisk's log, and goes on without: the log service ended");
            guard.hears("following Asterisk's log again");
            log.attack("192.0.2.9:5060");
            let is_seen = || {
                let why = guard.ask(r#"{"command":"why","address":"192.0.2.9"}"#);
                (why["facts"]["weak"] == 1).then_some(())
            };
            wait_for(is_seen, "192.0.2.9 was never counted");
            assert!(guard.stops());
        },
    );
}

/// A connection from an address that is no interface's own.
fn connection(from: &str, to: &TcpListener) -> (TcpStream, TcpStream) {
    let inet = |place: SocketAddr| match place {
        SocketAddr::V4(v4) => SockaddrIn::from(v4),
        SocketAddr::V6(_) => panic!("{place}"),
    };
    let kind = SockType::Stream;
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    bind(fd.as_raw_fd(), &inet(from)).unwrap();
    connect(fd.as_raw_fd(), &inet(to.local_addr().unwrap())).unwrap();
    (fd.into(), to.accept().unwrap().0)
}

#[test]
fn who_has_a_connection_is_held_to_what_came_over_it() {
    beside_a_log(
        "autoban::witness::who_has_a_connection_is_held_to_what_came_over_it",
        false,
        |root| {
            for network in ["192.0.2.0/24", "198.51.100.0/24"] {
                run("ip", &["route", "add", "local", network, "dev", "lo"]);
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = guard(root, &pbx, "maxcount = 5\nwhitelist = 192.0.2.9");
            guard.start(&[]);
            let _session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            listens(&guard);
            let log = Log::of(root);
            // Somebody who says little, and in whose name others speak.
            let (mut quiet, mut quiets) = connection("192.0.2.8", &listener);
            let quiet_place = quiet.local_addr().unwrap().to_string();
            for n in 0..6 {
                quiet.write_all(b"\r\n\r\n").unwrap();
                quiets.read_exact(&mut [0; 4]).unwrap();
                log.decoyed(&format!("198.51.100.{n}:5060"), &quiet_place);
            }
            guard.hears("closed SIP over UDP to 192.0.2.8 for 2m: unknown account");
            guard.counts("log lines with several senders", 6);
            // Somebody who hides behind others: strangers, the white list, and a connection that says nothing.
            let (mut loud, mut louds) = connection("192.0.2.7", &listener);
            let loud_place = loud.local_addr().unwrap().to_string();
            let decoys = ["198.51.100.77:5060", "192.0.2.9:5060", &quiet_place];
            for n in 0..5 {
                loud.write_all(&[b'x'; 400]).unwrap();
                louds.read_exact(&mut [0; 400]).unwrap();
                log.decoyed(&loud_place, decoys[n % 3]);
            }
            guard.counts("witnessed lines strong", 5);
            guard.hears("jailed 192.0.2.7 for 20m: unknown account");
            assert_eq!(
                super::elements("jail4").into_keys().collect::<Vec<_>>(),
                ["192.0.2.7"]
            );
            let weak: Vec<_> = super::elements("weak4").into_keys().collect();
            assert_eq!(weak, ["192.0.2.8"]);
            for (address, expected) in [("192.0.2.9", 0), ("198.51.100.77", 0), ("198.51.100.1", 1)]
            {
                let ask = format!(r#"{{"command":"why","address":"{address}"}}"#);
                let why = guard.ask(&ask);
                assert_eq!(why["facts"]["weak"], expected, "{why}");
            }
            assert!(guard.stops());
        },
    );
}

#[test]
fn without_a_log_it_says_so_once_and_goes_on() {
    in_namespace(
        "autoban::witness::without_a_log_it_says_so_once_and_goes_on",
        || {
            let (mut guard, _pbx, mut session) = super::started("maxcount = 3");
            let is_away = || {
                let status = guard.ask(r#"{"command":"status"}"#);
                let word = status["witness"].as_str()?.to_owned();
                word.starts_with("away: No such file").then_some(())
            };
            wait_for(is_away, "never said that there is no log");
            (0..3).for_each(|_| session.unknown("TCP", "192.0.2.7"));
            guard.hears("jailed 192.0.2.7 for 20m");
            assert!(guard.stops());
            while let Ok(line) = guard.lines.recv() {
                guard.heard.push(line);
            }
            let told = guard.heard.iter().filter(|line| line.contains("log"));
            let told: Vec<_> = told.collect();
            assert_eq!(told.len(), 1, "{told:?}");
        },
    );
}

#[test]
fn a_log_that_tells_nothing_is_noticed() {
    beside_a_log(
        "autoban::witness::a_log_that_tells_nothing_is_noticed",
        false,
        |root| {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = guard(root, &pbx, "maxcount = 1000");
            guard.start(&[]);
            let mut session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            listens(&guard);
            (0..10).for_each(|_| session.unknown("TCP", "192.0.2.7"));
            guard.hears("the second witness is silent: Asterisk's log does not tell");
            assert!(guard.stops());
        },
    );
}
