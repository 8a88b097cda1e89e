//! Calls by a carrier: a second exchange of ours is the carrier, each asks the other for a password.

use crate::calls::{ALICE, BOB, alice};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::household::{append, bob, edit};
use crate::media::assert_hears;
use crate::phone::{Manner, Phone};

const HOME: &str = "home.test";
const CARRIER: &str = "itsp.test";
/// Alice's number, at home, and Bob's, at the carrier.
const ALICES: &str = "+4681010101";
const BOBS: &str = "+46701234567";

struct World {
    network: Network,
    home: Exchange,
    carrier: Exchange,
    _volumes: [Volume; 2],
}

impl World {
    /// Two exchanges that know each other; `more` is what is added to the templates of both trunks.
    fn new(more: &str, prepare: impl Fn(&Exchange, &Exchange)) -> World {
        let network = Network::new();
        let volumes = [Volume::new(), Volume::new()];
        let launch = |volume: &Volume, name: &str| {
            Recipe::of("full")
                .volume(volume)
                .network(&network)
                .option(&format!("--network-alias={name}"))
                .variable("HOSTNAME", name)
                .start()
        };
        let home = launch(&volumes[0], HOME);
        let carrier = launch(&volumes[1], CARRIER);
        for (exchange, other, ours, theirs) in [
            (
                &home,
                CARRIER,
                ["household", "out-pass"],
                ["itsp", "in-pass"],
            ),
            (
                &carrier,
                HOME,
                ["itsp", "in-pass"],
                ["household", "out-pass"],
            ),
        ] {
            append(
                exchange,
                "pjsip_endpoint.conf",
                &format!(
                    "[trunk:other](tpl_trunkout,tpl_trunkin{more})\nremote_hosts = {other}\n\
                 outbound_auth/username = {}\noutbound_auth/password = {}\n\
                 inbound_auth/username = {}\ninbound_auth/password = {}",
                    ours[0], ours[1], theirs[0], theirs[1]
                ),
            );
            edit(
                exchange,
                "pjsip_endpoint.conf",
                "s|TRUNK_ENDPOINT=$|TRUNK_ENDPOINT=trunk:other|",
            );
            edit(
                exchange,
                "extensions_local.conf",
                "s|^;COUNTRY_CODE|COUNTRY_CODE|",
            );
        }
        edit(
            &home,
            "pjsip_endpoint.conf",
            &format!("s|^hint_exten = 101|hint_exten = {ALICES}|\ns|<101>|<{ALICES}>|"),
        );
        edit(
            &carrier,
            "pjsip_endpoint.conf",
            &format!("s|^hint_exten = 102|hint_exten = {BOBS}|\ns|<102>|<{BOBS}>|"),
        );
        prepare(&home, &carrier);
        for exchange in [&home, &carrier] {
            exchange.shell("switchhook restart asterisk");
        }
        World {
            network,
            home,
            carrier,
            _volumes: volumes,
        }
    }

    fn phones(&self) -> (Phone, Phone) {
        let alice = alice(&self.home, &self.network);
        let bob = bob(&self.carrier, &self.network, Manner::default());
        (alice, bob)
    }
}

/// One calls the other; sound goes both ways; the other sees the caller's number.
fn call(caller: &mut Phone, called: &Phone, number: &str, shown: &str, tones: [f64; 2]) {
    let (own, other) = (caller.events.count(), called.events.count());
    caller.command("dial", number);
    caller.wait_event(own, "CALL_ESTABLISHED");
    let (incoming, _) = called.wait_event(other, "CALL_ESTABLISHED");
    let peer = incoming["peeruri"].as_str().unwrap();
    assert!(peer.contains(shown), "{peer}");
    caller.wait_sound();
    called.wait_sound();
    caller.command("hangup", "");
    caller.wait_event(own, "CALL_CLOSED");
    called.wait_event(other, "CALL_CLOSED");
    assert_hears(&caller.recording(), tones[1], tones[0]);
    assert_hears(&called.recording(), tones[0], tones[1]);
}

#[test]
fn calls_go_out_and_come_in_by_a_carrier_with_a_password() {
    let world = World::new("", |_, _| {});
    let (mut alice, mut bob) = world.phones();
    // A national number becomes an international one.
    call(&mut alice, &bob, "0701234567", ALICES, [ALICE, BOB]);
    call(&mut bob, &alice, ALICES, BOBS, [BOB, ALICE]);
    // With another password nobody is let in.
    for exchange in [&world.home, &world.carrier] {
        edit(
            exchange,
            "pjsip_endpoint.conf",
            "s|^outbound_auth/password = .*|outbound_auth/password = wrong|",
        );
        exchange.asterisk("pjsip reload");
    }
    for (phone, number) in [(&mut alice, BOBS), (&mut bob, ALICES)] {
        let start = phone.events.count();
        phone.command("dial", number);
        let (_, end) = phone.wait_event(start, "CALL_CLOSED");
        let events = &phone.events.all()[start..end];
        assert!(
            !events
                .iter()
                .any(|event| event.contains("CALL_ESTABLISHED")),
            "{events:?}"
        );
    }
}

#[test]
fn calls_go_out_and_come_in_by_a_carrier_over_tls_with_srtp() {
    // Each believes the other's certificate, and no other.
    let trust = |exchange: &Exchange, other: &Exchange| {
        let certificates = other.shell(
            "cat /srv/etc/ssl/asterisk/asterisk_rsa.pem /srv/etc/ssl/asterisk/asterisk_ecc.pem",
        );
        exchange.shell(&format!(
            "cat >/srv/etc/ssl/others.pem <<'END'\n{certificates}\nEND"
        ));
        edit(
            exchange,
            "pjsip_transport.conf",
            "s|^;ca_list_file = .*|ca_list_file = /srv/etc/ssl/others.pem|\ns|^;verify_server|verify_server|",
        );
    };
    let world = World::new(",tpl_tlstrunk", |home, carrier| {
        trust(home, carrier);
        trust(carrier, home);
    });
    let (mut alice, mut bob) = world.phones();
    for exchange in [&world.home, &world.carrier] {
        let endpoint = exchange.asterisk("pjsip show endpoint trunk:other");
        let has = |name: &str, value: &str| {
            endpoint.lines().any(|line| {
                line.split_once(':')
                    .is_some_and(|(key, found)| key.trim() == name && found.trim() == value)
            })
        };
        // So a call without SRTP is refused.
        assert!(
            has("media_encryption", "sdes") && has("media_encryption_optimistic", "false"),
            "{endpoint}"
        );
        assert!(has("transport", "tls"), "{endpoint}");
    }
    call(&mut alice, &bob, BOBS, ALICES, [ALICE, BOB]);
    call(&mut bob, &alice, ALICES, BOBS, [BOB, ALICE]);
    // A carrier with a certificate that is not on the list is not spoken to.
    world
        .home
        .shell("cat /srv/etc/ssl/asterisk/asterisk_rsa.pem >/srv/etc/ssl/others.pem");
    world.home.shell("switchhook restart asterisk");
    let mut alice = alice_again(alice, &world);
    let start = alice.events.count();
    alice.command("dial", BOBS);
    let (_, end) = alice.wait_event(start, "CALL_CLOSED");
    let events = &alice.events.all()[start..end];
    assert!(
        !events
            .iter()
            .any(|event| event.contains("CALL_ESTABLISHED")),
        "{events:?}"
    );
}

/// The exchange was restarted: the phone logs in anew.
fn alice_again(before: Phone, world: &World) -> Phone {
    drop(before);
    alice(&world.home, &world.network)
}
