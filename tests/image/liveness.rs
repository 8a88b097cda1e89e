//! An Asterisk that hangs: it runs, its sockets are there, and nobody answers.

use std::net::UdpSocket;

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::household::edit;
use crate::lines::until;
use crate::reload::register;

/// The unit's own interval would make this a minute long.
const FASTER: &str = "[Service]\nX-ProbeIntervalSec=2\nTimeoutStopSec=2";

#[test]
fn a_frozen_asterisk_is_replaced_and_one_that_was_only_slow_is_not() {
    let volume = Volume::new();
    volume.write(
        "/srv/etc/units/asterisk.service.d/faster.conf",
        "644",
        FASTER,
    );
    let exchange = Recipe::of("mini").volume(&volume).start();
    let first = exchange.pid_of("asterisk").unwrap();

    exchange.shell(&format!("kill -STOP {first}"));
    exchange
        .log
        .wait_for("asterisk: no answer on `/usr/bin/switchhook pbx-alive`; asking again");
    exchange.shell(&format!("kill -CONT {first}"));
    exchange.log.wait_for("asterisk: answers again");
    assert_eq!(exchange.pid_of("asterisk"), Some(first));

    exchange.shell(&format!("kill -STOP {first}"));
    exchange
        .log
        .wait_for("asterisk: gives no sign of life; ending it");
    let second = until("another Asterisk", || {
        let pid = exchange.pid_of("asterisk").filter(|pid| *pid != first);
        pid.ok_or_else(|| format!("{}", exchange.status()))
    });
    exchange.wait_healthy();
    assert_eq!(exchange.pid_of("asterisk"), Some(second));
    assert!(exchange.asterisk("core show version").contains("Asterisk"));
}

/// Sends a SIP request of this number and waits for no answer.
fn ask(exchange: &Exchange, number: usize) {
    let request = format!(
        "OPTIONS sip:nobody@exchange SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{number}\r\n\
        From: <sip:somebody@outside>;tag=1\r\nTo: <sip:nobody@exchange>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n\
        Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    let exchange = (exchange.address4(), 5060);
    socket.send_to(request.as_bytes(), exchange).unwrap();
}

/// Its own patience with SIP would make this minutes long.
const HASTIER: &str = "[Service]\nX-Probe=exec:/usr/bin/switchhook pbx-alive --patience 3\nX-ProbeIntervalSec=1\nX-ProbeFailures=2\nTimeoutStopSec=2";

#[test]
fn an_asterisk_whose_console_answers_and_whose_sip_does_not_is_replaced() {
    let (network, volume) = (Network::new(), Volume::new());
    volume.write(
        "/srv/etc/units/asterisk.service.d/hastier.conf",
        "644",
        HASTIER,
    );
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    register(&exchange, &network);
    let first = exchange.pid_of("asterisk").unwrap();
    // Two of its reloads at once block each other and all of SIP (asterisk::reload tells how). Not every time.
    let mut codecs = ["alaw", "ulaw", "g722", "gsm"].iter().cycle().enumerate();
    edit(
        &exchange,
        "pjsip_endpoint.conf",
        "/^\\[tpl_phone\\](!/a\\\nendpoint/allow = !all,g722",
    );
    until("another Asterisk", || {
        let (number, codec) = codecs.next().unwrap();
        edit(
            &exchange,
            "pjsip_endpoint.conf",
            &format!("s/^endpoint\\/allow = .*/endpoint\\/allow = !all,{codec}/"),
        );
        exchange.shell("timeout 3 asterisk -rx 'core reload' || true");
        // Somebody must ask for something.
        ask(&exchange, number);
        let pid = exchange.pid_of("asterisk").filter(|pid| *pid != first);
        pid.ok_or_else(|| format!("{}", exchange.status()))
    });
    exchange
        .log
        .wait_for("the PBX has had SIP work waiting for");
    exchange
        .log
        .wait_for("asterisk: gives no sign of life; ending it");
    exchange.wait_healthy();
    register(&exchange, &network);
}
