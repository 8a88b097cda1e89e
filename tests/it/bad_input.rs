//! What the operator can get wrong: one sentence, a hint and an exit code each.

use crate::appliance::Root;

#[test]
fn every_mistake_in_the_environment_is_told_at_once() {
    let root = Root::new()
        .env("SWITCHHOOK_DRAIN_TIMOUT", "30")
        .env("SYSLOG_OPTIONS", "-X");
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    it.said_in_order(&[
        "SWITCHHOOK_DRAIN_TIMOUT is not a variable of this appliance",
        "hint: did you mean SWITCHHOOK_DRAIN_TIMEOUT?",
        "SYSLOG_OPTIONS=-X is not valid",
        "hint: leave it out",
    ]);
    assert!(!root.path("srv/var").exists(), "the volume was touched");
}

#[test]
fn a_broken_unit_is_told_with_file_and_line() {
    let root = Root::new();
    root.file(
        "srv/etc/units/x.service",
        "[Service]\nExecStart=/bin/true\nType=sometimes\nDynamicUser=yes\n",
    );
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    it.said_in_order(&[
        "x.service:4: `DynamicUser=` is refused: name a user with `User=`",
        "x.service:3: Type=: `sometimes` is not supported",
        "hint: repair them",
    ]);
}

#[test]
fn a_misspelt_directive_and_a_socket_without_service_are_named_at_every_level() {
    let root = Root::new().env("SYSLOG_LEVEL", "4");
    root.service("a", "[Service]\nRestrat=always", "exec sleep 1000");
    root.unit("lost.socket", "[Socket]\nListenStream=/run/lost.sock\n");
    let mut it = root.start();
    it.hears("`Restrat=` is not a directive that we know; ignored");
    it.hears("no service `lost` takes this socket; it is not bound");
    it.is_ready();
    assert!(!root.path("run/lost.sock").exists());
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_user_that_does_not_exist_is_told_before_anything_starts() {
    let root = Root::new();
    root.service(
        "a",
        "[Service]\nUser=nobody-of-this-name",
        "exec sleep 1000",
    );
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    assert!(
        it.has_said("a.service:2: user `nobody-of-this-name` does not exist"),
        "{:?}",
        it.heard
    );
}

#[test]
fn services_that_wait_for_each_other_are_named() {
    let root = Root::new();
    root.service("a", "[Unit]\nAfter=b.service", "exec sleep 1000");
    root.service("b", "[Unit]\nAfter=a.service", "exec sleep 1000");
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    it.said_in_order(&[
        "services wait for each other in a ring: a -> b -> a",
        "hint:",
    ]);
}

#[test]
fn a_socket_that_is_taken_is_told_and_the_exchange_runs_on() {
    let root = Root::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    root.unit("a.socket", &format!("[Socket]\nListenStream={address}\n"));
    root.service("a", "", "exec sleep 1000");
    let mut it = root.start();
    it.hears(&format!(
        "a.socket: cannot bind tcp {address}: Address already in use"
    ));
    it.is_ready();
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_client_that_talks_nonsense_gets_a_reason() {
    use std::io::{BufRead, Write};
    let root = Root::new();
    let mut it = root.start();
    it.is_ready();
    let mut stream =
        std::os::unix::net::UnixStream::connect(root.path("run/switchhook/control.sock")).unwrap();
    stream.write_all(b"{\"command\":\"explode\"}\n").unwrap();
    let mut answer = String::new();
    std::io::BufReader::new(&stream)
        .read_line(&mut answer)
        .unwrap();
    assert!(
        answer.contains("refused") && answer.contains("explode"),
        "{answer}"
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn usage_errors_have_their_own_exit_code() {
    let root = Root::new();
    assert_eq!(root.ask(&["frobnicate"]).0, 64);
    let (code, _, err) = root.ask(&["status"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("cannot reach the exchange") && err.contains("hint:"),
        "{err}"
    );
}
