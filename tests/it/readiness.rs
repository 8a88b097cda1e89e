//! How services say that they are ready, and how PID 1 sees that they live.

use crate::appliance::{Root, wait_for};

#[test]
fn a_newline_on_the_notification_descriptor_is_readiness() {
    let root = Root::new();
    let go = root.path("go").display().to_string();
    nix::unistd::mkfifo(&root.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!("printf early >&5; read x < {go}; printf '\\nlate' >&5; exec sleep 1000");
    root.service(
        "unit",
        "[Service]\nX-NotificationFd=5\nRestart=always",
        &script,
    );
    root.script("etc/service/directory/run", "echo >&3; exec sleep 1000");
    root.file("etc/service/directory/notification-fd", "3\n");
    let mut it = root.start();
    it.hears("directory: ready after");
    let state = || root.service_status("unit")["state"].clone();
    wait_for(|| (state() == "starting").then_some(()), "never started");
    std::fs::write(root.path("go"), "go\n").unwrap();
    it.hears("unit: ready after");
    it.is_ready();
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_notification_descriptor_that_a_socket_has_is_told_of() {
    let root = Root::new();
    // Started with the exchange, not by a connection.
    let directives = "[Install]\nWantedBy=multi-user.target\n[Service]\nX-NotificationFd=3";
    root.service("a", directives, "exec sleep 1000");
    root.unit("a.socket", "[Socket]\nListenStream=/run/a.sock\n");
    let mut it = root.start();
    it.hears("a: cannot be started: its notification descriptor 3 is taken by a socket; 4 is free");
    it.stops();
}

/// Greets whoever connects as Asterisk's console does (perl is Essential in Debian).
const CONSOLE: &str = r#"exec perl -MIO::Socket::UNIX -e '
    unlink "SOCKET";
    my $l = IO::Socket::UNIX->new(Type => SOCK_STREAM(), Local => "SOCKET", Listen => 5);
    $| = 1; $SIG{PIPE} = "IGNORE"; my $n = 0; print "listening\n";
    while (my $c = $l->accept) { $n++; print "asked $n\n"; print $c "host/$$/22.10.1\n"; close $c }'"#;

fn console(root: &Root) -> String {
    CONSOLE.replace("SOCKET", &root.path("ctl").display().to_string())
}

fn signal(root: &Root, signal: nix::sys::signal::Signal) {
    let pid = root.service_status("pbx")["pid"].as_i64().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[test]
fn a_frozen_service_that_answers_no_probe_is_ended_and_started_again() {
    let root = Root::new();
    root.service(
        "pbx",
        "[Service]\nX-Probe=unix:/ctl\nX-ProbeIntervalSec=300ms\nX-ProbeFailures=2\nRestart=always\nTimeoutStopSec=300ms",
        &console(&root),
    );
    let mut it = root.start();
    it.hears("pbx: listening");
    it.hears("pbx: asked 1");
    it.hears("pbx: asked 2");
    // The kernel goes on connecting whoever asks.
    signal(&root, nix::sys::signal::Signal::SIGSTOP);
    it.hears("pbx: no answer on `/ctl`; asking again");
    it.hears("pbx: gives no sign of life; ending it");
    it.hears("pbx: listening");
    it.hears("pbx: asked 1");
    assert_eq!(it.stops(), 2, "it had to be killed");
    it.said_in_order(&["gives no sign of life", "pbx: starts again now"]);
}

#[test]
fn a_service_that_its_probe_finds_dead_is_ended_and_started_again() {
    let root = Root::new();
    let ill = root.path("ill");
    let script = root.path("ask");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\necho asked about $MAINPID by $$\ntest ! -e {}\n",
            ill.display()
        ),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    root.service(
        "pbx",
        &format!(
            "[Service]\nX-Probe=exec:{}\nX-ProbeIntervalSec=300ms\nX-ProbeFailures=2\nRestart=always",
            script.display()
        ),
        &format!("rm -f {}; echo well; exec sleep 1000", ill.display()),
    );
    let mut it = root.start();
    it.hears("pbx: well");
    it.hears("pbx: asked about");
    it.hears("pbx: asked about");
    std::fs::write(&ill, "").unwrap();
    it.hears(&format!(
        "pbx: no answer on `{}`; asking again",
        script.display()
    ));
    it.hears("pbx: gives no sign of life; ending it");
    it.hears("pbx: well");
    it.stops();
}

#[test]
fn a_probe_that_cannot_be_run_ends_nobody() {
    let root = Root::new();
    root.service(
        "pbx",
        "[Service]\nX-Probe=exec:/no/program\nX-ProbeIntervalSec=500ms\nX-ProbeFailures=1",
        "exec sleep 1000",
    );
    root.service(
        "clock",
        "[Service]\nType=oneshot\nRestart=on-failure\nRestartSec=150ms",
        "exit 1",
    );
    let mut it = root.start();
    it.hears("pbx: cannot be asked on `/no/program` whether it lives");
    for _ in 0..10 {
        it.hears("clock: starts again");
    }
    assert_eq!(root.service_status("pbx")["state"], "running");
    it.stops();
}

#[test]
fn a_service_that_answers_late_is_left_alone() {
    let root = Root::new();
    root.service(
        "pbx",
        "[Service]\nX-Probe=unix:/ctl\nX-ProbeIntervalSec=300ms\nX-ProbeFailures=1000\nRestart=always",
        &console(&root),
    );
    let mut it = root.start();
    it.hears("pbx: asked 1");
    signal(&root, nix::sys::signal::Signal::SIGSTOP);
    it.hears("pbx: no answer on `/ctl`; asking again");
    signal(&root, nix::sys::signal::Signal::SIGCONT);
    it.hears("pbx: answers again");
    assert_eq!(root.service_status("pbx")["restarts"], 0);
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_probe_that_cannot_be_made_ends_nobody() {
    let root = Root::new();
    root.service(
        "pbx",
        "[Service]\nX-Probe=unix:/nobody\nX-ProbeIntervalSec=10ms\nX-ProbeFailures=1",
        "exec sleep 1000",
    );
    root.service(
        "clock",
        "[Service]\nType=oneshot\nRestart=on-failure\nRestartSec=30ms",
        "exit 1",
    );
    let mut it = root.start();
    it.hears("pbx: cannot be asked on `/nobody` whether it lives");
    // Many intervals later.
    for _ in 0..10 {
        it.hears("clock: starts again");
    }
    assert_eq!(root.service_status("pbx")["state"], "running");
    it.stops();
    let told = it
        .heard
        .iter()
        .filter(|line| line.contains("cannot be asked"))
        .count();
    assert_eq!(told, 1);
}
