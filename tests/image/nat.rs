//! The address outside and the ports of sound, in the real image: found out, told to strangers, followed while a call goes on.

use crate::abroad::Abroad;
use crate::calls::{alice, bob, call};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::outside::Outside;
use crate::talk::{Carrier, Talk};

const FIRST: &str = "203.0.113.7";
const SECOND: &str = "203.0.113.99";
/// Somebody who is in no network of the exchange's.
const STRANGER: &str = "198.18.0.7";

/// The exchange registers a phone abroad, asks it whether it is there, and calls it; the value is that question, and the
/// invitation.
fn what_a_stranger_is_told(outside: &Outside, exchange: &Exchange) -> (String, String) {
    let own = exchange.address4().parse().unwrap();
    let password = exchange.password("alice");
    let mut talk = Talk::open(outside, STRANGER, own, Carrier::Udp).unwrap();
    assert_eq!(talk.register("alice", &password), Some(200));
    let mut next = |method: &str| {
        until(method, || match talk.message() {
            Some(text) if text.starts_with(method) => Ok(text),
            other => Err(format!("{other:?}")),
        })
    };
    let question = next("OPTIONS ");
    let phone = question.split([' ', ';']).nth(1).unwrap();
    // Another phone may have this account, too.
    exchange.asterisk(&format!(
        "channel originate PJSIP/alice/{phone} application Echo"
    ));
    (question, next("INVITE "))
}

/// The stranger is told this address for signaling and for sound, and no other.
fn tells(question: &str, invitation: &str, address: &str) {
    for message in [question, invitation] {
        let told = fields(message, &["Via", "Contact"]);
        assert!(
            told.len() == 2 && told.iter().all(|value| value.contains(address)),
            "{message}"
        );
    }
    let sound = format!("c=IN IP4 {address}");
    let mut lines = invitation.lines().filter(|line| line.starts_with("c="));
    assert!(lines.all(|line| line == sound), "{invitation}");
    assert!(invitation.contains(&sound), "{invitation}");
}

fn let_the_stranger_in(exchange: &Exchange, outside: &Outside) {
    outside.move_in(STRANGER);
    Outside::within(exchange).ip("route add 198.18.0.0/15 dev eth0");
}

/// The values of these header fields.
fn fields<'a>(message: &'a str, names: &[&str]) -> Vec<&'a str> {
    let fields = message.lines().filter_map(|line| line.split_once(": "));
    fields
        .filter(|(name, _)| names.contains(name))
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn the_address_is_found_out_told_and_followed_while_a_call_goes_on() {
    let abroad = Abroad::new();
    let volume = Volume::new();
    let exchange = Recipe::of("full")
        .volume(&volume)
        .network(&abroad.network)
        .variable("SWITCHHOOK_EXTERNAL_ADDRESS", "auto")
        .variable("SWITCHHOOK_EXTERNAL_INTERVAL", "1s")
        .variable("SWITCHHOOK_STUN_SERVERS", &abroad.server())
        .start();
    // There is no router yet.
    exchange.log.wait_for("which is our own: there is no NAT");
    let router = abroad.router(&exchange);
    router.translate_to(FIRST);
    exchange
        .log
        .wait_for(&format!("our address outside is {FIRST}"));
    let (mut alice, bob) = (
        alice(&exchange, &abroad.network),
        bob(&exchange, &abroad.network),
    );
    call(&mut alice, &bob);
    let pbx = exchange.pid_of("asterisk");
    router.translate_to(SECOND);
    exchange
        .log
        .wait_for(&format!("our address outside is {SECOND}, it was {FIRST}"));
    for transport in ["udp", "tcp", "tls"] {
        until("the transport's new address", || {
            let shown = exchange.asterisk(&format!("pjsip show transport {transport}"));
            let lines = shown.lines().filter(|line| line.contains("external_"));
            match lines.filter(|line| line.contains(SECOND)).count() {
                2 => Ok(()),
                _ => Err(shown),
            }
        });
    }
    // The call went on, with sound, and so did the PBX.
    alice.wait_sound();
    bob.wait_sound();
    assert_eq!(exchange.pid_of("asterisk"), pbx);
    let channels = exchange.asterisk("core show channels count");
    assert!(channels.contains("2 active channels"), "{channels}");
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    // A stranger is told the new address.
    let_the_stranger_in(&exchange, &abroad.outside);
    let (question, invitation) = what_a_stranger_is_told(&abroad.outside, &exchange);
    tells(&question, &invitation, SECOND);
    let status = exchange.exec(&["switchhook", "status", "nat"]);
    assert!(status.out.contains(SECOND), "{}", status.text);
}

#[test]
fn an_address_that_was_named_is_told_to_strangers_and_to_nobody_else() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .network(&network)
        .variable("SWITCHHOOK_EXTERNAL_ADDRESS", "203.0.113.7, 2001:db8::7")
        .start();
    let shown = |transport: &str| exchange.asterisk(&format!("pjsip show transport {transport}"));
    let (udp, udp6) = (shown("udp"), shown("udp6"));
    assert!(udp.contains(FIRST) && !udp.contains("2001:db8::7"), "{udp}");
    assert!(
        udp6.contains("2001:db8::7") && !udp6.contains(FIRST),
        "{udp6}"
    );
    // Behind an engine's bridge nobody but our own network reaches us inside.
    assert!(!udp.contains("192.168.0.0"), "{udp}");
    let outside = Outside::in_network(&network.name);
    let_the_stranger_in(&exchange, &outside);
    let (question, invitation) = what_a_stranger_is_told(&outside, &exchange);
    tells(&question, &invitation, FIRST);
    // Nothing changes here, so that nobody watches.
    assert_eq!(exchange.pid_of("nat"), None);
}

#[test]
fn the_ports_of_sound_are_those_of_the_variable() {
    let volume = Volume::new();
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_RTP_PORTS", "20000-20199")
        .start();
    let shown = exchange.asterisk("rtp show settings");
    let words: Vec<&str> = shown.split_whitespace().collect();
    let has = |wanted: &[&str]| words.windows(wanted.len()).any(|found| found == wanted);
    assert!(
        has(&["start:", "20000"]) && has(&["end:", "20199"]),
        "{shown}"
    );
}

#[test]
fn a_range_too_large_for_the_engine_is_refused() {
    let volume = Volume::new();
    let ended = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_RTP_PORTS", "10000-11999")
        .run_to_end();
    assert_eq!(ended.code, 78, "{}", ended.text);
    assert!(
        ended
            .text
            .contains("has 2000 ports, and this container is behind an engine's bridge")
            && ended
                .text
                .contains("hint: 1000 ports are enough for 250 calls"),
        "{}",
        ended.text
    );
}

#[test]
fn a_users_own_ports_and_transports_come_first_and_that_is_told() {
    let volume = Volume::new();
    let first = Recipe::of("mini").volume(&volume).start();
    first.shell(
        "cd /srv/etc/asterisk; sed -i '/tryinclude/d' rtp.conf pjsip_transport.conf; \
         printf 'rtpstart = 30000\\nrtpend = 30099\\n' >>rtp.conf",
    );
    assert_eq!(first.stop(), 0);
    drop(first);
    let exchange = Recipe::of("mini")
        .volume(&volume)
        .variable("SWITCHHOOK_RTP_PORTS", "10000-10099")
        .variable("SWITCHHOOK_EXTERNAL_ADDRESS", FIRST)
        .start();
    exchange
        .log
        .wait_for("so that SWITCHHOOK_RTP_PORTS=10000-10099 does not hold");
    exchange
        .log
        .wait_for("so that SWITCHHOOK_EXTERNAL_ADDRESS does not hold");
    let shown = exchange.asterisk("rtp show settings");
    assert!(shown.contains("30000"), "{shown}");
}
