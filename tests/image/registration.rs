//! Phones come in by every transport and both versions of IP, with the right password only.

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::phone::{Family, Phone, Settings, Transport};
use crate::sip::{self, Request};

fn with_exchange(test: impl Fn(&Exchange, &Network)) {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    test(&exchange, &network);
}

fn contact_of_alice(exchange: &Exchange) -> String {
    exchange.asterisk("database show registrar/contact")
}

fn registers_by_sipp(transport: Transport, family: Family) {
    with_exchange(|exchange, network| {
        let password = exchange.password("alice");
        let request = |password| Request {
            user: "alice",
            password,
            to: "alice",
            transport,
            family,
        };
        let wrong = sip::play(exchange, network, &request("wrong"), sip::REGISTER_REFUSED);
        wrong.unwrap_or_else(|trace| panic!("a wrong password: {trace}"));
        assert!(!contact_of_alice(exchange).contains("alice"));
        // The scenario looks for the contact in the answer: with TCP it lasts no longer than the connection.
        let right = sip::play(exchange, network, &request(&password), sip::REGISTER);
        right.unwrap_or_else(|trace| panic!("the right password: {trace}"));
    });
}

fn registers_by_phone(transport: Transport, family: Family) {
    with_exchange(|exchange, network| {
        let password = exchange.password("alice");
        let settings = |password| Settings {
            user: "alice",
            password,
            transport,
            family,
            tone: 440.0,
        };
        let wrong = Phone::start(exchange, network, &settings("wrong"));
        let answer = wrong.answer_to_register();
        assert!(
            answer.contains(": 401 ") || answer.contains(": 403 "),
            "{answer}"
        );
        assert!(!contact_of_alice(exchange).contains("alice"));
        drop(wrong);
        let _phone = Phone::register(exchange, network, &settings(&password));
        assert!(contact_of_alice(exchange).contains("alice"));
    });
}

#[test]
fn a_phone_registers_over_udp_and_ipv4() {
    registers_by_sipp(Transport::Udp, Family::Four);
}

#[test]
fn a_phone_registers_over_udp_and_ipv6() {
    registers_by_sipp(Transport::Udp, Family::Six);
}

#[test]
fn a_phone_registers_over_tcp_and_ipv4() {
    registers_by_sipp(Transport::Tcp, Family::Four);
}

#[test]
fn a_phone_registers_over_tcp_and_ipv6() {
    registers_by_sipp(Transport::Tcp, Family::Six);
}

#[test]
fn a_phone_registers_over_tls_and_ipv4() {
    registers_by_phone(Transport::Tls, Family::Four);
}

#[test]
fn a_phone_registers_over_tls_and_ipv6() {
    registers_by_phone(Transport::Tls, Family::Six);
}
