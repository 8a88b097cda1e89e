//! Sockets that PID 1 holds: starts by a connection, sockets that nobody takes, names, and bad luck.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};

use crate::appliance::{PATIENCE, Root, wait_for};

/// A service that answers each connection on descriptor 3 with a line: its name for it, and its own pid.
const ANSWERS: &str = r#"exec perl -MIO::Handle -MSocket -e '
    open(my $l, "+<&=", 3) or die; $| = 1; print "up\n";
    while (accept(my $c, $l)) { $c->autoflush(1); print $c "$ENV{LISTEN_FDNAMES} $$\n"; close $c; }'"#;

fn ask(path: &std::path::Path) -> String {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// A port of the loopback that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn a_service_without_an_install_section_starts_at_the_first_connection() {
    let root = Root::new();
    root.service("door", "[Unit]\nDescription=d", ANSWERS);
    let port = free_port();
    root.unit(
        "door.socket",
        &format!("[Socket]\nListenStream=/run/door\nListenStream=127.0.0.1:{port}\nFileDescriptorName=front\n"),
    );
    let mut exchange = root.start();
    exchange.is_ready();
    let status = root.service_status("door");
    assert_eq!(status["state"], "listening");
    assert_eq!(status["pid"], serde_json::Value::Null);
    assert_eq!(status["sockets"][0]["address"], "unix /run/door");
    assert_eq!(root.ask(&["health"]).0, 0, "it is meant to be down");

    let answer = ask(&root.path("run/door"));
    assert!(answer.starts_with("front:front "), "{answer}");
    exchange.hears("door: started by a connection on /run/door");
    assert_eq!(root.service_status("door")["state"], "running");

    // Stopped by order it stays down, whoever knocks; the order to start is heard again.
    root.ask(&["stop", "door"]);
    wait_for(
        || (root.service_status("door")["state"] == "stopped").then_some(()),
        "it was not stopped",
    );
    let waiting = UnixStream::connect(root.path("run/door")).unwrap();
    assert_eq!(root.service_status("door")["state"], "stopped");
    root.ask(&["start", "door"]);
    let mut line = String::new();
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(waiting).read_line(&mut line).unwrap();
    assert!(line.starts_with("front:front "), "{line}");
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn an_installed_service_starts_with_the_rest() {
    let root = Root::new();
    root.service("door", "[Install]\nWantedBy=multi-user.target", ANSWERS);
    root.unit("door.socket", "[Socket]\nListenStream=/run/door\n");
    let mut exchange = root.start();
    exchange.hears("door: up");
    assert_eq!(exchange.stops(), 0);
    assert!(!exchange.has_said("started by a connection"));
}

#[test]
fn a_datagram_and_a_connection_by_the_abstract_name_start_too() {
    let root = Root::new();
    let name = format!("switchhook-test-{}", std::process::id());
    for (service, listen) in [
        ("post", "ListenDatagram=/run/post".to_owned()),
        ("air", format!("ListenStream=@{name}")),
        ("row", "ListenSequentialPacket=/run/row".to_owned()),
    ] {
        root.service(service, "", "echo up; exec sleep 1000");
        root.unit(
            &format!("{service}.socket"),
            &format!("[Socket]\n{listen}\n"),
        );
    }
    let mut exchange = root.start();
    exchange.is_ready();
    UnixDatagram::unbound()
        .unwrap()
        .send_to(b"x", root.path("run/post"))
        .unwrap();
    exchange.hears("post: started by a connection on /run/post");
    exchange.hears("post: up");
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let _held = UnixStream::connect_addr(&address).unwrap();
    exchange.hears("air: up");
    assert_eq!(root.service_status("row")["state"], "listening");
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_runit_service_that_is_down_starts_at_the_first_connection() {
    let root = Root::new();
    root.script("etc/service/door/run", ANSWERS);
    root.file("etc/service/door/down", "");
    root.unit("door.socket", "[Socket]\nListenStream=/run/door\n");
    let mut exchange = root.start();
    exchange.is_ready();
    assert_eq!(root.service_status("door")["state"], "listening");
    assert!(ask(&root.path("run/door")).starts_with("door "));
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn connections_that_nobody_takes_do_not_start_a_service_without_end() {
    let root = Root::new();
    root.service("deaf", "", "exit 0");
    root.unit(
        "deaf.socket",
        "[Socket]\nListenStream=/run/deaf\nTriggerLimitBurst=5\nTriggerLimitIntervalSec=1h\n",
    );
    let mut exchange = root.start();
    exchange.is_ready();
    let _waiting = UnixStream::connect(root.path("run/deaf")).unwrap();
    exchange.hears("deaf: connections on /run/deaf start it more than 5 times in 3600 s");
    assert_eq!(exchange.stops(), 0);
    let starts = exchange
        .heard
        .iter()
        .filter(|line| line.contains("started by a connection"));
    assert_eq!(starts.count(), 5);
}

#[test]
fn a_service_that_fails_at_each_start_is_given_pauses() {
    let root = Root::new();
    root.service("sick", "", "exit 1");
    root.unit(
        "sick.socket",
        "[Socket]\nListenStream=/run/sick\nTriggerLimitBurst=0\n",
    );
    let mut exchange = root.start();
    exchange.is_ready();
    let began = std::time::Instant::now();
    let _waiting = UnixStream::connect(root.path("run/sick")).unwrap();
    for _ in 0..6 {
        exchange.hears("sick: started by a connection");
    }
    // The pauses before the third to the sixth start are 0.1, 0.2, 0.4 and 0.8 s: a lower bound, not a race.
    assert!(began.elapsed().as_millis() >= 1500, "{:?}", began.elapsed());
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn a_socket_that_a_running_service_does_not_take_is_told() {
    let root = Root::new();
    root.service("busy", "[Install]\nWantedBy=x", "exec sleep 1000");
    root.unit("busy.socket", "[Socket]\nListenStream=/run/busy\n");
    root.service("good", "[Install]\nWantedBy=x", ANSWERS);
    root.unit("good.socket", "[Socket]\nListenStream=/run/good\n");
    let mut exchange = root.start();
    exchange.is_ready();
    assert!(ask(&root.path("run/good")).starts_with("good "));
    let _waiting = UnixStream::connect(root.path("run/busy")).unwrap();
    exchange.hears("busy: connections wait on /run/busy (busy.socket) and busy does not take them");
    assert_eq!(root.service_status("busy")["sockets"][0]["unused"], true);
    assert_eq!(root.service_status("good")["sockets"][0]["unused"], false);
    let (_, table, _) = root.ask(&["status"]);
    assert!(
        table.contains("busy: connections wait on unix /run/busy (busy.socket)"),
        "{table}"
    );
    assert_eq!(exchange.stops(), 0);
    assert!(!exchange.has_said("good: connections wait"));
}

#[test]
fn a_taken_address_costs_one_line_and_no_service() {
    let root = Root::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    root.service("door", "[Install]\nWantedBy=x", ANSWERS);
    root.unit(
        "door.socket",
        &format!("[Socket]\nListenStream=127.0.0.1:{port}\nListenStream=/run/door\nRemoveOnStop=yes\nReusePort=yes\n"),
    );
    let mut exchange = root.start();
    let line = exchange.hears("door.socket: cannot bind tcp 127.0.0.1:");
    assert!(line.contains("Address already in use"), "{line}");
    exchange.is_ready();
    // The other one works, by the name of its unit.
    assert!(ask(&root.path("run/door")).starts_with("door "));
    assert_eq!(exchange.stops(), 0);
    assert!(
        !root.path("run/door").exists(),
        "RemoveOnStop= takes the path away"
    );
}

#[test]
fn a_path_through_a_link_is_bound_as_it_is_written() {
    let root = Root::new();
    std::fs::create_dir_all(root.path("run/asterisk")).unwrap();
    std::fs::create_dir_all(root.path("var")).unwrap();
    std::os::unix::fs::symlink("../run", root.path("var/run")).unwrap();
    let name = r#"perl -MSocket -e 'open(my $l, "+<&=", 3); print unpack_sockaddr_un(getsockname($l)), "\n"'; exec sleep 1000"#;
    root.service("asterisk", "[Install]\nWantedBy=x", name);
    root.unit(
        "asterisk.socket",
        "[Socket]\nListenStream=/var/run/asterisk/asterisk.ctl\n",
    );
    let mut exchange = root.start();
    // Services compare the name byte by byte.
    exchange.hears("/var/run/asterisk/asterisk.ctl");
    exchange.is_ready();
    UnixStream::connect(root.path("run/asterisk/asterisk.ctl")).unwrap();
    assert_eq!(exchange.stops(), 0);

    // By the PBX's own configuration it is the other name.
    root.file(
        "etc/asterisk/asterisk.conf",
        "[directories]\nastrundir => /run/asterisk\n",
    );
    let mut exchange = root.start();
    exchange.hears("asterisk.socket:2: bound as `/run/asterisk/asterisk.ctl`, for `asterisk` takes its socket by that name only");
    let line = exchange.hears("asterisk: /");
    assert!(
        line.ends_with("/run/asterisk/asterisk.ctl") && !line.contains("/var/run/"),
        "{line}"
    );
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn the_pbx_sockets_follow_its_configuration_and_are_held_over_its_restarts() {
    let root = Root::new();
    let port = free_port();
    root.file("etc/asterisk/asterisk.conf", "");
    let manager = format!("[general]\nenabled = yes\nbindaddr = 127.0.0.1\nport = {port}\n");
    root.file("etc/asterisk/manager.conf", &manager);
    // Descriptor 3 is the manager interface: units are in name order.
    root.service("asterisk", "", ANSWERS);
    let mut exchange = root.start();
    exchange.hears("asterisk: up");
    exchange.is_ready();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let pid = root.service_status("asterisk")["pid"].as_i64();
        root.ask(&["kill", "asterisk"]);
        let mut answer = String::new();
        // Never refused; one that the dying process had taken already may see its end.
        while answer.is_empty() {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(b"x");
            let _ = stream.read_to_string(&mut answer);
        }
        seen.insert(answer.clone());
        wait_for(
            || (root.service_status("asterisk")["pid"].as_i64() != pid).then_some(()),
            "it was not started again",
        );
    }
    assert!(seen.len() > 1, "{seen:?}");
    // A later start forgets what is no longer configured.
    assert_eq!(exchange.stops(), 0);
    root.file("etc/asterisk/manager.conf", "[general]\nenabled = no\n");
    let mut exchange = root.start();
    exchange.is_ready();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(exchange.stops(), 0);
}
