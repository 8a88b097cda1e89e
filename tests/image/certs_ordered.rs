//! Certificates that the exchange orders itself, in the real image, of a real authority: Pebble.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use switchhook::certs::keeper::Outcome;
use switchhook::certs::pair::Algorithm;
use switchhook::certs::prove::shake_hands;

use crate::calls::{alice, bob, call};
use crate::certs::{compose, report};
use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::pebble::Pebble;

const HOST: &str = "pbx.example.com";

/// An exchange at an address that the authority knows before it starts.
fn ordering(network: &Network, volume: &Volume, pebble: &Pebble, address: &str) -> Recipe {
    let authority = pebble.authority_file();
    Recipe::of("full")
        .volume(volume)
        .network(network)
        .option(&format!("--ip={address}"))
        .option(&format!("--hostname={HOST}"))
        .option(&format!(
            "--volume={}:/authority.pem:ro",
            authority.display()
        ))
        .variable("SWITCHHOOK_ACME_ACCEPT_TOS", "yes")
        .variable("SWITCHHOOK_ACME_DIRECTORY", &pebble.url())
        .variable("SWITCHHOOK_ACME_CA_FILE", "/authority.pem")
}

/// Both kinds of the certificate in use, once they were ordered and every listener shows them; `unlike` is what was before.
fn wait_ordered(exchange: &Exchange, unlike: &[String]) -> Vec<String> {
    until("an ordered certificate", || {
        let report = report(exchange, "check");
        let prints = fingerprints(&report);
        let is_new = prints.len() == 2 && prints.iter().all(|print| !unlike.contains(print));
        let is_served = report["source"] == "acme" && report["level"] == "ok";
        (is_new && is_served)
            .then_some(prints)
            .ok_or(report.to_string())
    })
}

fn fingerprints(report: &Value) -> Vec<String> {
    let certificates = report["certificates"].as_array().unwrap();
    let prints = certificates
        .iter()
        .map(|one| one["fingerprint"].as_str().unwrap().to_owned());
    prints.collect()
}

fn shown(exchange: &Exchange, asked: Algorithm) -> Outcome {
    let address: SocketAddr = format!("{}:5061", exchange.address4()).parse().unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    shake_hands(address, Some(asked), HOST, end)
}

/// WebSMS answers the authority at its port 80. What was ordered survives the container, is renewed by itself when it is time,
/// and no call notices.
#[test]
fn rsa_and_ecdsa_are_ordered_kept_over_a_restart_and_renewed_unattended_while_a_call_goes_on() {
    let (network, volume) = (Network::new(), Volume::new());
    let address = format!("{}77", network.host4.trim_end_matches('1'));
    let pebble = Pebble::across(&network.host4, &address);
    let mut exchange = ordering(&network, &volume, &pebble, &address).start();
    let first = wait_ordered(&exchange, &[]);
    assert_eq!(
        shown(&exchange, Algorithm::Rsa),
        Outcome::Shown(first[0].clone())
    );
    assert_eq!(
        shown(&exchange, Algorithm::Ecdsa),
        Outcome::Shown(first[1].clone())
    );
    let state = "/srv/var/lib/switchhook/certs/acme";
    let modes = exchange.shell(&format!(
        "find {state} -type f -exec stat -c '%a %U' {{}} + | sort -u"
    ));
    assert_eq!(modes, "600 root");

    // Nothing is ordered anew by a restart.
    assert_eq!(exchange.stop(), 0);
    exchange.start_again();
    assert_eq!(wait_ordered(&exchange, &[]), first);
    let ordered = |exchange: &Exchange| {
        let log = exchange.log_text();
        log.lines()
            .filter(|line| line.contains("is ordered of"))
            .count()
    };
    assert_eq!(ordered(&exchange), 0);

    // Two months pass while it is away: the schedule says that it is time.
    assert_eq!(exchange.stop(), 0);
    volume.shell(&format!(
        r#"sed -i 's/"renew_at": [0-9]*/"renew_at": 1000000000/' {state}/schedule.json"#
    ));
    exchange.start_again();
    let second = wait_ordered(&exchange, &first);
    assert_eq!(ordered(&exchange), 1);

    // By order, while a call goes on.
    let (mut alice, bob) = (alice(&exchange, &network), bob(&exchange, &network));
    call(&mut alice, &bob);
    let asked = exchange.exec(&["switchhook", "cert", "renew", "--anew"]);
    assert_eq!(asked.code, 0, "{}", asked.text);
    wait_ordered(&exchange, &second);
    let events = bob.events.all();
    assert!(!events.iter().any(|event| event.contains("CALL_CLOSED")));
    alice.command("hangup", "");
    bob.wait_event(0, "CALL_CLOSED");
    let history = report(&exchange, "history");
    let records = history["history"].as_array().unwrap();
    let proven = |record: &&Value| record["source"] == "acme" && record["what"] == "proven";
    assert_eq!(records.iter().filter(proven).count(), 3, "{history}");
    let refused = |record: &Value| record["what"] == "rolled-back";
    assert!(!records.iter().any(refused), "{history}");
}

#[test]
fn an_authority_that_is_away_is_told_and_the_self_signed_certificate_serves_until_it_comes() {
    let (network, volume) = (Network::new(), Volume::new());
    let address = format!("{}77", network.host4.trim_end_matches('1'));
    let mut pebble = Pebble::across(&network.host4, &address);
    pebble.stop();
    let exchange = ordering(&network, &volume, &pebble, &address).start();
    let told = until("the complaint", || {
        let report = report(&exchange, "show");
        let is_told = report["problems"].to_string().contains("acme:");
        (is_told && report["source"] == "self-signed")
            .then_some(report.clone())
            .ok_or(report.to_string())
    });
    assert!(
        told["problems"].to_string().contains("tried again at"),
        "{told}"
    );
    assert!(matches!(
        shown(&exchange, Algorithm::Rsa),
        Outcome::Shown(_)
    ));
    pebble.go_on();
    // Somebody who cannot wait for the next attempt.
    exchange.shell("switchhook cert renew");
    wait_ordered(&exchange, &[]);
}

#[test]
fn the_demo_without_a_proxy_is_a_sound_compose_file() {
    let text = compose("docker-compose.acme.yml");
    for wanted in [
        "SWITCHHOOK_ACME_ACCEPT_TOS: 'no'",
        "SWITCHHOOK_ACME_DIRECTORY: letsencrypt",
    ] {
        let is_there = text.contains(wanted) || text.contains(&wanted.replace('\'', "\""));
        assert!(is_there, "{wanted} in {text}");
    }
}
