//! An Asterisk that hangs: it runs, its sockets are there, and nobody answers.

use crate::docker::Volume;
use crate::exchange::Recipe;
use crate::lines::until;

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
        .wait_for("asterisk: no answer on `/run/asterisk/asterisk.ctl`; asking again");
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
