//! A defect of PID 1's own costs the turn in which it shows, not the exchange.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::appliance::{Root, is_alive, wait_for};

/// Orders panics on one connection; the answer is what comes before the connection is closed.
fn panics(root: &Root, times: usize) {
    for _ in 0..times {
        let socket = root.path("run/switchhook/control.sock");
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"{\"command\":\"panic\"}\n").unwrap();
    }
}

#[test]
fn a_defect_is_told_and_the_exchange_goes_on() {
    let root = Root::new();
    root.service("one", "", "exec sleep 1000");
    let mut exchange = root.start();
    exchange.is_ready();
    let pid = root.service_status("one")["pid"].clone();
    panics(&root, 1);
    let line = exchange.hears("a defect of switchhook");
    assert!(line.contains("by order"), "{line}");
    assert_eq!(root.service_status("one")["pid"], pid);
    assert_eq!(root.ask(&["restart", "one"]).0, 0);
    assert_eq!(exchange.stops(), 0);
}

#[test]
fn what_fails_turn_after_turn_still_lets_the_services_live_and_stop() {
    let root = Root::new();
    let up = root.path("up");
    // A stop that meets the second process before it has become `sleep` would be lost on it.
    let script = format!(
        "trap 'exit 0' TERM; sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done; touch {}; wait",
        up.display()
    );
    root.service("one", "", &script);
    let mut exchange = root.start();
    exchange.is_ready();
    wait_for(|| up.exists().then_some(()), "the service never came up");
    let pid = root.service_status("one")["pid"].as_i64().unwrap();
    // All in one line of turns: nothing else happens between them.
    let socket = root.path("run/switchhook/control.sock");
    let mut streams: Vec<UnixStream> = (0..16)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    for stream in &mut streams {
        // Answered, so taken: what is taken later would be a good turn between the bad ones.
        stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
    }
    nix::sys::signal::kill(exchange.pid(), nix::sys::signal::SIGSTOP).unwrap();
    for stream in &mut streams {
        stream.write_all(b"{\"command\":\"panic\"}\n").unwrap();
    }
    nix::sys::signal::kill(exchange.pid(), nix::sys::signal::SIGCONT).unwrap();
    exchange.hears("no more orders can be taken");
    assert!(is_alive(pid));
    assert_eq!(exchange.stops(), 2);
    wait_for(|| (!is_alive(pid)).then_some(()), "the service lives on");
    let mut rest = Vec::new();
    let _ = streams.remove(0).read_to_end(&mut rest);
}
