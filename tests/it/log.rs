//! What the services say, printed by the log service.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::appliance::Root;

#[test]
fn levels_hide_what_is_less_severe_and_our_own_notices_stay() {
    let root = Root::new().env("SYSLOG_LEVEL", "4");
    root.service(
        "a",
        "",
        "echo hidden information; echo '<3>shown error'; echo shown complaint >&2; exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("error a: shown");
    it.hears("error a: shown");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("hidden information"));
}

#[test]
fn syslog_datagrams_are_printed_with_service_and_level() {
    let root = Root::new();
    let mut it = root.start();
    it.is_ready();
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket
        .send_to(
            b"<132>Nov 22 02:03:04 asterisk[17]: careful",
            root.path("dev/log"),
        )
        .unwrap();
    it.hears("warning asterisk: careful");
    assert_eq!(it.stops(), 0);
}

#[test]
fn json_lines_are_objects_with_fixed_names() {
    let root = Root::new().env("SWITCHHOOK_LOG_FORMAT", "json");
    root.service("a", "", "echo hello; exec sleep 1000");
    let mut it = root.start();
    let line = it.hears("hello");
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (value["service"].as_str(), value["level"].as_str()),
        (Some("a"), Some("info"))
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn no_line_is_lost_when_the_log_service_is_killed() {
    let root = Root::new().env("SYSLOG_OPTIONS", "-S");
    let go = root.path("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    root.service(
        "a",
        "",
        &format!(
            "read x < {}; for i in 1 2 3 4 5; do echo line $i; done; exec sleep 1000",
            go.display()
        ),
    );
    let mut it = root.start();
    it.is_ready();
    let pid = root.service_status("logd")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    std::fs::write(&go, "go\n").unwrap();
    for i in 1..=5 {
        it.hears(&format!("info a: line {i}"));
    }
    assert_eq!(it.stops(), 0);
}

#[test]
fn the_reason_is_told_when_the_log_service_itself_cannot_run() {
    let root = Root::bare();
    root.unit(
        "logd.service",
        "[Service]\nType=notify\nExecStart=/nowhere/logd\nRestart=always\nX-Role=log\n",
    );
    let mut it = root.start();
    it.hears("logd: cannot run `/nowhere/logd`: failed at executing its program");
    it.stops();
}

#[test]
fn what_was_said_last_is_printed_before_the_end() {
    let root = Root::new();
    root.service(
        "a",
        "",
        "trap 'echo last words; exit 0' TERM; echo armed; while :; do sleep 0.05; done",
    );
    let mut it = root.start();
    it.hears("info a: armed");
    it.is_ready();
    assert_eq!(it.stops(), 0);
    assert!(it.has_said("info a: last words"), "{:?}", it.heard);
}
