//! What happened, when and why: the ring of events and its followers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::appliance::{BINARY, Root, wait_for};

const SLEEP: &str = "exec sleep 1000";

fn events(root: &Root, arguments: &[&str]) -> Vec<serde_json::Value> {
    let words = [&["events", "--json"], arguments].concat();
    let (code, out, err) = root.ask(&words);
    assert_eq!(code, 0, "{err}");
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The reasons of all starts of a service.
fn reasons(root: &Root, service: &str) -> Vec<String> {
    let started = events(root, &[service]);
    let started = started.iter().filter(|event| event["event"] == "started");
    started
        .map(|event| event["detail"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_start_shows_its_reason() {
    let root = Root::new();
    root.service("a", "[Service]\nRestart=always", SLEEP);
    root.service("timed", "", "exit 0");
    root.unit("timed.timer", "[Timer]\nOnBootSec=10ms\n");
    let mut it = root.start();
    it.is_ready();
    it.hears("timed: ended with");
    let pid = root.service_status("a")["pid"].as_i64().unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    it.hears("a: ready after");
    it.hears("a: ready after");
    assert_eq!(root.ask(&["restart", "a"]).0, 0);
    assert_eq!(root.ask(&["kill", "a"]).0, 0);
    assert_eq!(root.ask(&["stop", "a"]).0, 0);
    assert_eq!(root.ask(&["start", "a"]).0, 0);
    let found = reasons(&root, "a");
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[..2], ["boot", "restart after signal 9"]);
    let uid = nix::unistd::geteuid();
    let by_order = format!("order by uid {uid} (pid ");
    assert!(
        found[2..].iter().all(|r| r.starts_with(&by_order)),
        "{found:?}"
    );
    assert_eq!(reasons(&root, "timed"), ["timer timed"]);
    assert_eq!(reasons(&root, "logd"), ["boot"]);
    let status = root.service_status("a");
    assert!(
        status["start_reason"]
            .as_str()
            .unwrap()
            .starts_with(&by_order)
    );
    assert_eq!(status["last_event"]["event"], "ready");
    let all = events(&root, &[]);
    let numbers: Vec<u64> = all
        .iter()
        .map(|e| e["sequence"].as_u64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert!(
        all.iter()
            .any(|e| e["event"] == "phase" && e["detail"] == "serving")
    );
    assert!(
        all.iter()
            .all(|e| e["schema"] == 1 && e["time"].is_string())
    );
    assert_eq!(events(&root, &["-n", "3"]).len(), 3);
    assert_eq!(events(&root, &["-n", "2", "a"])[1]["event"], "ready");
}

#[test]
fn an_ordered_service_takes_what_it_requires_with_it() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    root.service("b", "[Unit]\nRequires=a.service", SLEEP);
    root.service("c", "[Unit]\nRequires=b.service", SLEEP);
    let mut it = root.start();
    it.is_ready();
    for service in ["c", "b", "a"] {
        assert_eq!(root.ask(&["stop", service]).0, 0);
    }
    let (code, _, err) = root.ask(&["start", "c"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(reasons(&root, "a")[1..], ["needed by b"]);
    assert_eq!(reasons(&root, "b")[1..], ["needed by c"]);
    assert!(reasons(&root, "c")[1].starts_with("order by"));
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_follower_hears_what_happens_and_ends_with_the_exchange() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let mut follower = Command::new(BINARY)
        .args(["events", "-f", "-n", "0", "--root"])
        .arg(root.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Told before it asks, or told as it happens: `-n 0` shows only what comes later.
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let restarted = wait_for(
        || {
            assert_eq!(root.ask(&["restart", "a"]).0, 0);
            heard
                .try_iter()
                .find(|line| line.contains("] started: order by uid"))
        },
        "the follower hears nothing",
    );
    assert!(restarted.contains("(pid "), "{restarted}");
    assert_eq!(it.stops(), 0);
    assert_eq!(follower.wait().unwrap().code(), Some(2));
    let rest: Vec<String> = heard.iter().collect();
    assert!(
        rest.iter()
            .any(|line| line.contains("exchange phase: stopping")),
        "{rest:?}"
    );
}

#[test]
fn a_follower_that_does_not_read_is_dropped_and_counted() {
    let root = Root::new();
    root.service("a", "", SLEEP);
    let mut it = root.start();
    it.is_ready();
    let socket = root.path("run/switchhook/control.sock");
    let mut lazy = UnixStream::connect(&socket).unwrap();
    lazy.write_all(b"{\"command\":\"events\",\"last\":0,\"follow\":true}\n")
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(lazy.try_clone().unwrap());
    reader.read_line(&mut first).unwrap();
    assert!(first.contains("\"events\":[]"), "{first}");
    let mut orders = UnixStream::connect(&socket).unwrap();
    let mut answers = BufReader::new(orders.try_clone().unwrap());
    wait_for(
        || {
            for _ in 0..100 {
                orders
                    .write_all(b"{\"command\":\"signal\",\"service\":\"a\",\"signal\":18}\n")
                    .unwrap();
                let mut answer = String::new();
                answers.read_line(&mut answer).unwrap();
                assert_eq!(answer, "{\"result\":\"done\"}\n");
            }
            (root.status()["followers_dropped"] == 1).then_some(())
        },
        "the follower is never dropped",
    );
    // Others follow on, and nothing that it missed is hidden: the ring goes on counting.
    let status = root.status();
    assert!(status["events"].as_u64().unwrap() > 100);
    assert_eq!(events(&root, &["-n", "1"])[0]["sequence"], status["events"]);
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_crash_loop_can_be_read_afterwards() {
    let root = Root::new();
    root.service(
        "a",
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=60\n[Service]\nRestart=always\nX-CrashLoop=stop",
        "exit 3",
    );
    let mut it = root.start();
    it.hears("a: fails again and again");
    let found = events(&root, &["a"]);
    let kinds: Vec<&str> = found.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(
        &kinds[kinds.len() - 2..],
        ["crash-loop", "given-up"],
        "{kinds:?}"
    );
    assert!(
        found.iter().any(|e| e["event"] == "restarting"),
        "{kinds:?}"
    );
    assert!(reasons(&root, "a").contains(&"restart after exit code 3".to_owned()));
}
