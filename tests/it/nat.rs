//! The address outside and the ports of sound: asked of a real STUN server, and written where the PBX includes them.

use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use switchhook::config::external::Server;
use switchhook::nat::ask::{Family, ask, ask_all};

use crate::appliance::{BINARY, Root, wait_for};

/// coturn on the loopback interface, for as long as the value lives.
struct Turnserver(Child, Server);

impl Turnserver {
    fn start() -> Turnserver {
        // A port that was free a moment ago; the socket must be gone before the server binds it.
        let port = {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.local_addr().unwrap().port()
        };
        let arguments = format!(
            "--stun-only -n --no-tls --no-dtls --no-cli -L 127.0.0.1 -p {port} --log-file stdout --pidfile /dev/null -b /dev/null"
        );
        let child = Command::new("turnserver")
            .args(arguments.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run turnserver, is coturn installed? {e}"));
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let turnserver = Turnserver(child, server);
        // It says so nowhere: what it prints comes when its buffer is full.
        wait_for(|| ask(&turnserver.1, Family::Four).ok(), "the STUN server");
        turnserver
    }
}

impl Drop for Turnserver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_server_sees_us() {
    let turnserver = Turnserver::start();
    let own: IpAddr = [127, 0, 0, 1].into();
    assert_eq!(ask(&turnserver.1, Family::Four), Ok(own));
    let wrong = ask(&turnserver.1, Family::Six).unwrap_err();
    assert!(wrong.contains("no address of this kind"), "{wrong}");
}

#[test]
fn who_does_not_answer_is_named_beside_those_who_do() {
    let turnserver = Turnserver::start();
    // Bound and never read: it takes the question, and says nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = Server {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
    };
    let (answers, troubles) = ask_all(&[silent, turnserver.1.clone()], Family::Four);
    assert_eq!(answers.len(), 1);
    assert!(
        troubles.len() == 1 && troubles[0].starts_with("127.0.0.1:"),
        "{troubles:?}"
    );
}

#[test]
fn the_follower_ends_at_once_while_a_server_is_silent() {
    let root = Root::bare();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut child = Command::new(BINARY)
        .args(["natd", "--root"])
        .arg(root.dir.path())
        .env_clear()
        .env("SWITCHHOOK_EXTERNAL_ADDRESS", "auto")
        .env(
            "SWITCHHOOK_STUN_SERVERS",
            silent.local_addr().unwrap().to_string(),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    silent.recv(&mut [0; 100]).unwrap();
    let began = Instant::now();
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // It would wait for the server for seconds more.
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

fn prepare(root: &Root, variables: &[(&str, &str)]) -> (i32, String) {
    let out = Command::new(BINARY)
        .args(["prepare", "--root"])
        .arg(root.dir.path())
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (out.status.code().unwrap(), text)
}

#[test]
fn addresses_and_ports_are_written_where_the_pbx_includes_them() {
    let root = Root::bare();
    let named = ("SWITCHHOOK_EXTERNAL_ADDRESS", "203.0.113.7,2001:db8::7");
    let (code, out) = prepare(&root, &[named, ("SWITCHHOOK_RTP_PORTS", "20000-20099")]);
    assert_eq!(code, 0, "{out}");
    let four = root.read("run/switchhook/nat/ipv4.conf");
    assert!(
        four.contains("external_media_address = 203.0.113.7\n") && !four.contains("2001:"),
        "{four}"
    );
    let six = root.read("run/switchhook/nat/ipv6.conf");
    assert!(
        six.contains("external_signaling_address = 2001:db8::7\n"),
        "{six}"
    );
    let rtp = root.read("run/switchhook/rtp.conf");
    assert!(rtp.contains("rtpstart = 20000\nrtpend = 20099\n"), "{rtp}");
    assert_eq!(root.read("run/switchhook/units/nat.service"), "");
    // The next start forgets what no longer holds.
    let (code, _) = prepare(&root, &[]);
    assert_eq!(code, 0);
    let four = root.read("run/switchhook/nat/ipv4.conf");
    assert!(!four.contains("203.0.113.7"), "{four}");
    let rtp = root.read("run/switchhook/rtp.conf");
    assert!(rtp.contains("rtpstart = 10000\n"), "{rtp}");
}

#[test]
fn an_address_that_may_change_gets_a_service() {
    let root = Root::bare();
    for wish in ["auto", "pbx.example.com"] {
        let (code, out) = prepare(&root, &[("SWITCHHOOK_EXTERNAL_ADDRESS", wish)]);
        assert_eq!(code, 0, "{out}");
        let unit = root.read("run/switchhook/units/nat.service");
        assert!(
            unit.contains("ExecStart=/usr/bin/switchhook natd\n"),
            "{unit}"
        );
        let (code, text, _) = root.ask(&["verify"]);
        assert!(code == 0 && text.contains("1 service"), "{text}");
    }
}

#[test]
fn mistakes_end_the_start() {
    let root = Root::bare();
    for (name, value, why) in [
        ("SWITCHHOOK_RTP_PORTS", "10000-10000", "above its beginning"),
        ("SWITCHHOOK_RTP_PORTS", "5000-5099", "SIP's"),
        (
            "SWITCHHOOK_EXTERNAL_ADDRESS",
            "127.0.0.1",
            "that others can reach",
        ),
        ("SWITCHHOOK_STUN_SERVERS", "a:b", "is no server"),
    ] {
        let (code, out) = prepare(&root, &[(name, value)]);
        assert!(code == 78 && out.contains(why), "{code} {out}");
    }
}

#[test]
fn what_the_users_files_say_otherwise_is_told() {
    let root = Root::bare();
    root.file(
        "srv/etc/asterisk/rtp.conf",
        "[general]\nrtpstart=30000\nrtpend=30099\n",
    );
    root.file(
        "srv/etc/asterisk/pjsip.conf",
        "[udp]\ntype=transport\nprotocol=udp\nbind=0.0.0.0\n",
    );
    let (_, out) = prepare(&root, &[]);
    assert!(!out.contains("does not hold"), "{out}");
    let (_, out) = prepare(
        &root,
        &[
            ("SWITCHHOOK_RTP_PORTS", "10000-10099"),
            ("SWITCHHOOK_EXTERNAL_ADDRESS", "203.0.113.7"),
        ],
    );
    for name in [
        "SWITCHHOOK_RTP_PORTS=10000-10099",
        "SWITCHHOOK_EXTERNAL_ADDRESS",
    ] {
        assert!(out.contains(&format!("{name} does not hold")), "{out}");
    }
}
