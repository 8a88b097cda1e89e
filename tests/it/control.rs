//! The control and notify sockets under fire: whatever one client does, the others are answered.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

use crate::appliance::{BINARY, Root, wait_for};

const SLEEP: &str = "exec sleep 1000";

fn connect(root: &Root) -> UnixStream {
    UnixStream::connect(root.path("run/switchhook/control.sock")).unwrap()
}

fn line(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn answers(root: &Root) {
    let (code, out, err) = root.ask(&["status"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn garbage_gets_a_reason_and_half_a_line_waits() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let mut half = connect(&root);
    half.write_all(b"{\"command\":\"sta").unwrap();
    let mut garbage = connect(&root);
    for bytes in [
        &b"\x00\xff\xfe\n"[..],
        b"\n",
        b"[]\n",
        b"{\"command\":\"explode\"}\n",
    ] {
        garbage.write_all(bytes).unwrap();
        let answer = line(&garbage);
        assert!(answer.contains("the request is not understood"), "{answer}");
    }
    for request in [
        r#"{"command":"signal","service":"a","signal":0}"#,
        r#"{"command":"signal","service":"a","signal":-9}"#,
        r#"{"command":"signal","service":"a","signal":65}"#,
    ] {
        garbage
            .write_all(format!("{request}\n").as_bytes())
            .unwrap();
        let answer = line(&garbage);
        assert!(answer.contains("is not a signal"), "{answer}");
    }
    answers(&root);
    half.write_all(b"tus\"}\n").unwrap();
    assert!(line(&half).starts_with("{\"result\":\"status\""));
    assert!(!it.has_said("signal 0 was ordered"));
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_line_of_a_megabyte_is_refused_and_its_client_disconnected() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let mut client = connect(&root);
    let long = vec![b'x'; 1024 * 1024];
    // It is cut off while it still talks.
    let sent = client.write_all(&long);
    assert!(sent.is_err(), "a megabyte was taken");
    let mut told = String::new();
    let _ = client.read_to_string(&mut told);
    assert!(told.contains("longer than 4096 bytes"), "{told}");
    answers(&root);
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let idle: Vec<UnixStream> = (0..1000).map(|_| connect(&root)).collect();
    answers(&root);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", it.pid())).unwrap();
    assert!(descriptors.count() < 100, "PID 1 keeps what it is given");
    drop(idle);
    answers(&root);
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_client_that_never_reads_is_disconnected() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let mut deaf = connect(&root);
    let request = b"{\"command\":\"status\"}\n".repeat(100);
    wait_for(
        || deaf.write_all(&request).is_err().then_some(()),
        "it is served for ever",
    );
    answers(&root);
    assert_eq!(it.stops(), 0);
}

#[test]
fn only_root_and_our_own_user_are_heard() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become somebody else");
        return;
    }
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    for below in ["", "run", "run/switchhook"] {
        std::fs::set_permissions(root.path(below), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let binary = root.path("switchhook");
    std::fs::copy(BINARY, &binary).unwrap();
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        let out = command
            .arg(&binary)
            .args(["stop", "a", "--root"])
            .arg(root.dir.path())
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    // The socket's mode keeps strangers out, and its peer check those that come by another way.
    let (code, said) = as_nobody();
    assert_eq!(code, Some(2));
    assert!(said.contains("hint: only root gives orders"), "{said}");
    let socket = root.path("run/switchhook/control.sock");
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let (code, said) = as_nobody();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("only root may speak here"), "{said}");
    assert_eq!(root.service_status("a")["state"], "running");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_flood_of_notifications_keeps_nobody_waiting() {
    let root = Root::new();
    // From a process of the service's own, and of nobody's: 10,000 each.
    let script = "exec perl -MIO::Socket::UNIX -e '\
        my $s = IO::Socket::UNIX->new(Type=>SOCK_DGRAM(), Peer=>$ENV{NOTIFY_SOCKET}); \
        $s->send(\"STATUS=$_\\nWATCHDOG=1\\nRELOADING=1\") for 1..10000; \
        $s->send(\"READY=1\\nSTATUS=through\"); sleep 1000'";
    root.service("a", "[Service]\nType=notify", script);
    let mut it = root.start();
    let flood = root.path("run/switchhook/notify.sock");
    wait_for(|| flood.exists().then_some(()), "no notify socket");
    let stranger = std::thread::spawn(move || {
        let socket = UnixDatagram::unbound().unwrap();
        for _ in 0..10_000 {
            socket.send_to(b"READY=1\nMAINPID=1\n", &flood).unwrap();
        }
    });
    for _ in 0..20 {
        root.status();
    }
    stranger.join().unwrap();
    it.is_ready();
    assert_eq!(root.service_status("a")["status"], "through");
    // One clear line, and room for the others.
    it.hears("the notify socket is flooded");
    assert!(!it.has_said("lines of this process were lost"));
    assert_eq!(it.stops(), 0);
}
