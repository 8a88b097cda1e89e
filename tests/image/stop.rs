//! Stopping: calls end when their parties end them, writes last, and nothing is left.

use crate::calls::{ALICE, BOB, alice, as_alice, bob, call};
use crate::docker::{Network, Volume, ok};
use crate::exchange::Recipe;
use crate::lines::until;
use crate::media::assert_hears;
use crate::sip;

/// Longer than the suite's patience: a stop that waits for it fails the test.
const ENDLESS: &str = "10min";

#[test]
fn a_stop_lets_the_call_end_and_refuses_new_ones() {
    let (network, volume) = (Network::new(), Volume::new());
    let mut exchange = Recipe::of("mini")
        .volume(&volume)
        .network(&network)
        .variable("SWITCHHOOK_DRAIN_TIMEOUT", ENDLESS)
        .start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    exchange.keep("during", "call");

    let name = exchange.name.clone();
    let stop = std::thread::spawn(move || ok(&["stop", "--time", "120", &name]));
    exchange.log.wait_for("notice switchhook: stop: draining");
    // Before the drain an unknown number is 404. Once it has begun, every new call is 503.
    let password = exchange.password("alice");
    until("new calls to be refused", || {
        let scenario = sip::CALL_REFUSED.replace("@STATUS@", "503");
        sip::play(&exchange, &network, &as_alice(&password, "199"), &scenario)
    });
    let scenario = sip::CALL_REFUSED.replace("@STATUS@", "503");
    let refused = sip::play(&exchange, &network, &as_alice(&password, "102"), &scenario);
    refused.unwrap_or_else(|trace| panic!("{trace}"));
    assert_eq!(exchange.exec(&["switchhook", "health"]).code, 1);
    assert_eq!(exchange.exec(&["switchhook", "health", "--live"]).code, 0);
    // The call goes on and is heard, for longer than any helper of the stop may run (reports come every 5 s).
    for _ in 0..8 {
        alice.wait_sound();
    }
    bob.wait_sound();
    assert_eq!(exchange.inspect("{{.State.Running}}"), "true");
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    assert_eq!(exchange.wait_exit(), 0);
    stop.join().unwrap();
    assert_hears(&alice.recording(), BOB, ALICE);
    assert_hears(&bob.recording(), ALICE, BOB);
    exchange.log.wait_for("asterisk: its work has ended");

    exchange.start_again();
    let kept = exchange.asterisk("database get test during");
    assert_eq!(kept, "Value: call");
}

#[test]
fn a_second_order_to_stop_does_not_wait_for_the_call() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .network(&network)
        .variable("SWITCHHOOK_DRAIN_TIMEOUT", ENDLESS)
        .start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    exchange.signal("TERM");
    exchange.log.wait_for("notice switchhook: stop: draining");
    exchange.signal("TERM");
    assert_eq!(exchange.wait_exit(), 0);
    exchange
        .log
        .wait_for("second order to stop: not waiting for running work");
    let log = exchange.log_text();
    assert!(!log.contains("drain command failed"), "another reason");
    // Asterisk itself said good-bye: the parties are not left hanging.
    alice.wait_event(0, "CALL_CLOSED");
    bob.wait_event(0, "CALL_CLOSED");
}

#[test]
fn a_spent_drain_budget_ends_the_call() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .network(&network)
        .variable("SWITCHHOOK_DRAIN_TIMEOUT", "1s")
        .start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    assert_eq!(exchange.stop(), 0);
    bob.wait_event(0, "CALL_CLOSED");
}

/// A count from the environment, for a quick look or a long night.
pub fn count(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|e| panic!("{name}={text}: {e}"))
    })
}

fn stops_lose_no_write(stops: usize) {
    let volume = Volume::new();
    let mut exchange = Recipe::of("mini").volume(&volume).start();
    for stop in 0..stops {
        if stop > 0 {
            ok(&["start", &exchange.name]);
        }
        // One script: asking from outside costs more than all else. The stop comes right behind the write, so that only
        // an orderly end can save it.
        let answer = exchange.shell(&format!(
            "until switchhook health >/dev/null; do sleep 0.05; done; \
             asterisk -rx 'database put test key{stop} value{stop}'"
        ));
        assert!(answer.contains("Updated database successfully"), "{answer}");
        assert_eq!(exchange.stop(), 0, "stop {stop}");
    }
    exchange.start_again();
    let kept = exchange.asterisk("database show test");
    for stop in 0..stops {
        let wanted = |line: &str| {
            let pair = line.split_once(':');
            pair.is_some_and(|(key, value)| {
                key.trim() == format!("/test/key{stop}") && value.trim() == format!("value{stop}")
            })
        };
        assert!(kept.lines().any(wanted), "write {stop} is lost:\n{kept}");
    }
    assert_eq!(exchange.stop(), 0);
}

#[test]
fn a_hundred_stops_lose_no_write_and_none_gets_stuck() {
    let stops = count("SWITCHHOOK_TEST_STOPS", 100);
    let lanes = 2.min(stops);
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let share = stops / lanes + usize::from(lane < stops % lanes);
            scope.spawn(move || stops_lose_no_write(share));
        }
    });
}

#[test]
fn a_stop_during_the_start_is_obeyed() {
    let volume = Volume::new();
    let mut exchange = Recipe::of("mini").volume(&volume).launch();
    // Each word of the log is another moment of the start.
    for moment in [
        "logd: started",
        "asterisk: started",
        "Asterisk PBX Core Initializing",
        "modules will be loaded",
        "res_srtp_init",
        "asterisk: ready",
    ] {
        exchange.log.wait_for(moment);
        assert_eq!(exchange.stop(), 0, "at `{moment}`");
        exchange.start_again_early();
    }
    exchange.wait_ready();
    assert_eq!(exchange.stop(), 0);
}
