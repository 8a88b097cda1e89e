//! An Asterisk that hangs: it runs, its sockets are there, and nobody answers.

use crate::calls::alice;
use crate::docker::{Network, Volume};
use crate::exchange::Recipe;
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
    // Who calls has one of SIP's threads open a pipe that nobody reads; nothing else asks for SIP meanwhile.
    exchange.shell("mkfifo -m 666 /run/asterisk/unread");
    edit(
        &exchange,
        "pjsip_endpoint.conf",
        "/^\\[tpl_phone\\](!/a\\\nendpoint/set_var = FILE(/run/asterisk/unread)=waits",
    );
    exchange.shell("switchhook reload asterisk");
    let mut caller = alice(&exchange, &network);
    caller.command("dial", "102");
    exchange
        .log
        .wait_for("the PBX has had SIP work waiting for");
    exchange
        .log
        .wait_for("asterisk: gives no sign of life; ending it");
    exchange.shell("rm /run/asterisk/unread");
    until("another Asterisk", || {
        let pid = exchange.pid_of("asterisk").filter(|pid| *pid != first);
        pid.ok_or_else(|| format!("{}", exchange.status()))
    });
    exchange.wait_healthy();
    register(&exchange, &network);
}
