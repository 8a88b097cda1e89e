//! Calls and texts between two phones.

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::media::assert_hears;
use crate::phone::{Family, Phone, Settings, Transport};
use crate::sip::{self, Request};

/// The tones by which the phones are told apart.
pub const ALICE: f64 = 440.0;
pub const BOB: f64 = 1000.0;

pub fn alice(exchange: &Exchange, network: &Network) -> Phone {
    let password = exchange.password("alice");
    let settings = Settings {
        user: "alice",
        password: &password,
        transport: Transport::Udp,
        family: Family::Four,
        tone: ALICE,
    };
    Phone::register(exchange, network, &settings)
}

/// Bob comes by another transport and another version of IP than Alice.
pub fn bob(exchange: &Exchange, network: &Network) -> Phone {
    let password = exchange.password("bob");
    let settings = Settings {
        user: "bob",
        password: &password,
        transport: Transport::Tls,
        family: Family::Six,
        tone: BOB,
    };
    Phone::register(exchange, network, &settings)
}

/// What sipp does with Alice's account.
pub fn as_alice<'a>(password: &'a str, to: &'a str) -> Request<'a> {
    Request {
        user: "alice",
        password,
        to,
        transport: Transport::Udp,
        family: Family::Four,
    }
}

/// Alice calls Bob, and sound goes both ways.
pub fn call(alice: &mut Phone, bob: &Phone) {
    alice.command("dial", "102");
    alice.wait_event(0, "CALL_ESTABLISHED");
    bob.wait_event(0, "CALL_ESTABLISHED");
    alice.wait_sound();
    bob.wait_sound();
}

#[test]
fn a_call_carries_sound_both_ways() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    let (incoming, _) = bob.wait_event(0, "CALL_ESTABLISHED");
    assert!(
        incoming["peeruri"]
            .as_str()
            .is_some_and(|peer| peer.contains("101@")),
        "{incoming}"
    );
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    alice.wait_event(0, "CALL_CLOSED");
    assert_hears(&alice.recording(), BOB, ALICE);
    assert_hears(&bob.recording(), ALICE, BOB);
}

#[test]
fn a_number_rings_its_phone_and_the_call_ends_on_both_sides() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let bob = bob(&exchange, &network);
    let password = exchange.password("alice");
    let played = sip::play(&exchange, &network, &as_alice(&password, "102"), sip::CALL);
    played.unwrap_or_else(|trace| panic!("{trace}"));
    for kind in ["CALL_ESTABLISHED", "CALL_CLOSED"] {
        bob.wait_event(0, kind);
    }
    until("no channel to be left", || {
        let channels = exchange.asterisk("core show channels count");
        if channels.contains("0 active channels") {
            Ok(())
        } else {
            Err(channels)
        }
    });
}

#[test]
fn an_unknown_number_and_an_absent_phone_are_refused() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let password = exchange.password("alice");
    // 404: no such number (RFC 3261, 21.4.5); 480: a number whose phone is away (21.4.18).
    for (number, status) in [("199", "404"), ("102", "480")] {
        let scenario = sip::CALL_REFUSED.replace("@STATUS@", status);
        let played = sip::play(&exchange, &network, &as_alice(&password, number), &scenario);
        played.unwrap_or_else(|trace| panic!("{number}: {trace}"));
    }
}

#[test]
fn a_text_arrives_as_it_was_written() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let bob = bob(&exchange, &network);
    let password = exchange.password("alice");
    let text = "Grüße, 你好 \u{260e} \"quoted\", 50% & co; $x";
    let scenario = sip::TEXT.replace("@TEXT@", text);
    let played = sip::play(&exchange, &network, &as_alice(&password, "102"), &scenario);
    played.unwrap_or_else(|trace| panic!("{trace}"));
    let line = bob.console.wait_for("Grüße");
    assert!(line.contains(text), "{line}");
    assert!(line.contains("101@"), "the sender is no number: {line}");
}

#[test]
fn the_echo_test_sends_the_callers_sound_back() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("full").volume(&volume).network(&network).start();
    let mut alice = alice(&exchange, &network);
    alice.command("dial", "6");
    alice.wait_event(0, "CALL_ESTABLISHED");
    until("the announcement to end", || {
        let channels = exchange.asterisk("core show channels concise");
        if channels.contains("!Echo!") {
            Ok(())
        } else {
            Err(channels)
        }
    });
    alice.wait_sound();
    alice.command("hangup", "");
    alice.wait_event(0, "CALL_CLOSED");
    assert_hears(&alice.recording(), ALICE, BOB);
}
