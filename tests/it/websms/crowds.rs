//! Who costs without sending anything of use: slow ones, large ones, many.

use super::CONF;
use super::bridge::{Bridge, form};

#[test]
fn a_head_that_dawdles_is_ended_and_holds_nobody_up() {
    let bridge = Bridge::with(CONF);
    let mut slow = bridge.connect();
    slow.send(b"POST /hook HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let silent = bridge.connect();
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
    slow.ends();
    silent.ends();
}

#[test]
fn a_body_that_dawdles_is_told_so_and_is_no_message() {
    let bridge = Bridge::with(CONF);
    let mut slow = bridge.connect();
    slow.send(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 30\r\n\r\nTo=1&From=2&Body=");
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
    assert_eq!(slow.answer().status, 408);
    assert_eq!(bridge.messages().len(), 1);
}

#[test]
fn d12_a_body_that_says_it_is_a_terabyte_is_not_waited_for() {
    let bridge = Bridge::with(CONF);
    let mut large = bridge.connect();
    large.send(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000000000000\r\n\r\nT");
    assert_eq!(large.answer().status, 413);
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
}

#[test]
fn d15_a_body_that_grows_too_large_on_its_way_is_cut_off() {
    let bridge = Bridge::with(CONF);
    let mut large = bridge.connect();
    large.send(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n");
    // One chunk more than is taken; whoever has had the answer may be cut off.
    for _ in 0..17 {
        large.send(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes());
    }
    assert_eq!(large.answer().status, 413);
    // All that is taken is not all that is a message.
    let whole = form("1", "2", &"a".repeat(60_000));
    assert_eq!(bridge.post("/hook", &whole).status, 200);
    assert_eq!(bridge.messages()[0].body.len(), 60_000);
}

#[test]
fn a_head_without_end_is_refused() {
    let bridge = Bridge::with(CONF);
    let mut large = bridge.connect();
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: x\r\nX-Large: {}",
        "x".repeat(20_000)
    );
    large.send(head.as_bytes());
    assert_eq!(large.answer().status, 431);
    let many: Vec<(String, String)> = (0..70)
        .map(|n| (format!("X-{n}"), "1".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(bridge.ask("POST", "/hook", &many, b"").status, 431);
}

#[test]
fn d13_eleven_hundred_idle_connections_hinder_nobody() {
    let bridge = Bridge::with(CONF);
    let idle: Vec<_> = (0..1100).map(|_| bridge.connect()).collect();
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
    drop(idle);
    assert_eq!(bridge.post("/hook", &form("1", "2", "a")).status, 200);
}

/// A proxy brings everybody's requests by its own address.
#[test]
fn eleven_hundred_idle_connections_of_a_proxy_hinder_nobody() {
    let bridge = Bridge::with("[websmsd]\nremt_addr = 192.0.2.7\nprox_addr = 127.0.0.1\n");
    let forwarded = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Forwarded-For", "192.0.2.7"),
    ];
    let body = form("1", "2", "a");
    let idle: Vec<_> = (0..1100)
        .map(|_| {
            let mut line = bridge.connect();
            line.ask("POST", "/", &forwarded, body.as_bytes());
            assert_eq!(line.hears_answer().status, 200);
            line
        })
        .collect();
    assert_eq!(
        bridge.ask("POST", "/", &forwarded, body.as_bytes()).status,
        200
    );
    assert_eq!(bridge.messages().len(), 1101);
    // The one that has rested longest made room for the thousand and first.
    idle.into_iter().next().unwrap().ends();
}
