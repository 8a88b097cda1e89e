//! What people look at: `status`, `tree` and `top` of a running exchange.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::appliance::{BINARY, Root, wait_for};

/// A service with a socket, a timer, a child that stays and one that escaped.
fn busy_root() -> Root {
    let root = Root::new();
    root.service(
        "first",
        "[Install]\nWantedBy=multi-user.target\n[Unit]\nDescription=The first",
        "sleep 1001 & (setsid sleep 1002 &) ; echo born; wait",
    );
    let socket = root.path("run/first.sock");
    root.unit("first.socket", "[Socket]\nListenStream=/run/first.sock\n");
    assert!(socket.is_absolute());
    root.service("second", "[Unit]\nAfter=first.service", "exec sleep 1003");
    root.service("timed", "", "exit 0");
    root.unit("timed.timer", "[Timer]\nOnBootSec=1h\n");
    root
}

#[test]
fn the_tree_shows_services_sockets_timers_and_all_their_processes() {
    let root = busy_root();
    let mut it = root.start();
    it.is_ready();
    it.hears("info first: born");
    let tree = wait_for(
        || {
            let (code, out, err) = root.ask(&["tree", "--json"]);
            assert_eq!(code, 0, "{err}");
            let tree: serde_json::Value = serde_json::from_str(&out).unwrap();
            let first = tree["services"]
                .as_array()
                .unwrap()
                .iter()
                .find(|service| service["name"] == "first")?
                .clone();
            // The shell, its child, and the one that went away from it.
            (first["processes"].as_array().unwrap().len() == 3).then_some(first)
        },
        "not all processes of the service are found",
    );
    assert_eq!(tree["sockets"][0]["name"], "first");
    let address = tree["sockets"][0]["address"].as_str().unwrap();
    assert!(
        address.starts_with("unix /") && address.ends_with("first.sock"),
        "{address}"
    );
    // A child of the shell is the shell until it has become its program.
    let text = wait_for(
        || Some(root.ask(&["tree"]).1).filter(|text| text.contains("sleep 1002")),
        "the tree never shows what the service runs",
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for wanted in [
        "─ first  running",
        "socket first",
        "sleep 1002",
        "timer timed  due in",
        "─ second  running",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
    assert!(!text.contains('\x1b'), "colour without a terminal");
    assert_eq!(it.stops(), 0);
}

#[test]
fn status_shows_reasons_sockets_timers_and_containment() {
    let root = busy_root();
    let mut it = root.start();
    it.is_ready();
    let (code, text, _) = root.ask(&["status"]);
    assert_eq!(code, 0);
    assert!(text.contains("containment by "), "{text}");
    assert!(
        text.contains("1 timer\n") && text.contains("due in 59m"),
        "{text}"
    );
    let (code, text, _) = root.ask(&["status", "first"]);
    assert_eq!(code, 0);
    for wanted in [
        "first: running for",
        "The first",
        "ago: boot",
        "first.sock",
        "last event",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
    let (code, out, _) = root.ask(&["status", "second", "--json"]);
    let second: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &second["schema"]), (0, &1.into()));
    assert_eq!(second["waits_for"], serde_json::json!(["first"]));
    let (code, _, err) = root.ask(&["status", "third"]);
    assert_eq!(code, 1);
    assert!(err.contains("hint: there are "), "{err}");
    assert_eq!(root.ask(&["status", "timed"]).0, 1);
    let whole = root.status();
    assert_eq!(whole["timers"][0]["name"], "timed");
    assert_eq!(whole["pid"], it.pid().as_raw());
    assert_eq!(it.stops(), 0);
}

#[test]
fn top_prints_one_frame_into_a_pipe() {
    let root = busy_root();
    let mut it = root.start();
    it.is_ready();
    let (code, text, err) = root.ask(&["top", "--once"]);
    assert_eq!(code, 0, "{err}");
    let first = text
        .lines()
        .find(|line| line.starts_with("first "))
        .unwrap();
    assert!(first.contains("running"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let (code, _, err) = root.ask(&["top"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("no terminal") && err.contains("--once"),
        "{err}"
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn top_stops_a_service_by_a_key_and_leaves_the_terminal_as_it_was() {
    let root = busy_root();
    let mut it = root.start();
    it.is_ready();
    let command = format!("{BINARY} top --root {}; stty -a", root.dir.path().display());
    let mut session = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = session.stdin.take().unwrap();
    let mut screen = session.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |text: &str| {
        let mut buffer = [0u8; 4096];
        while !seen.contains(text) {
            let length = screen.read(&mut buffer).unwrap();
            assert!(length > 0, "never drew `{text}`: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        std::mem::take(&mut seen)
    };
    until("second");
    let place = root.status()["services"]
        .as_array()
        .unwrap()
        .iter()
        .position(|service| service["name"] == "second")
        .unwrap();
    keys.write_all("\x1b[B".repeat(place).as_bytes()).unwrap();
    keys.write_all(b"s").unwrap();
    until("stop second? y/n");
    keys.write_all(b"y").unwrap();
    wait_for(
        || (root.service_status("second")["state"] == "stopped").then_some(()),
        "the key stopped nothing",
    );
    keys.write_all(b"q").unwrap();
    // The shell that ran it says how the terminal is now; its last word is `extproc`.
    let after = until("extproc");
    assert!(after.contains("\x1b[?1049l"), "the screen is not put back");
    for setting in ["isig", "icanon", "echo"] {
        assert!(
            after.split_whitespace().any(|word| word == setting),
            "{after}"
        );
    }
    drop(keys);
    assert!(session.wait().unwrap().success());
    assert_eq!(it.stops(), 0);
}
