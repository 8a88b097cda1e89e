//! Orders that succeed.

use switchhook::certs::acme::renewal::{Renewal, Turn};
use switchhook::certs::acme::settings::{Binding, Challenge, Door};
use switchhook::certs::acme::trouble::Kind;
use switchhook::certs::acme::{CHALLENGE_PATH, Tokens, discard, leaf, obtain, window};

use super::pebble::{BINDING, Manner, Pebble};
use super::{ECC, Exchange, RSA, by_http, have, run, serves, settings, wanted};
use crate::web::server::{Server, Told};

#[test]
fn a_port_of_our_own_proves_names_and_addresses_for_both_kinds_of_key() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let wanted = wanted(
            by_http(&pebble),
            &["pbx.example.org", "sip.example.org", "127.0.0.1"],
            &[RSA, ECC],
        );
        let pairs = obtain(&wanted, &wanted.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        let root = pebble.root().await;
        assert_eq!(
            pairs.iter().map(|pair| pair.kind).collect::<Vec<_>>(),
            [RSA, ECC]
        );
        for pair in &pairs {
            serves(
                pair,
                &root,
                &["pbx.example.org", "sip.example.org", "127.0.0.1"],
            );
            assert!(!format!("{pair:?}").contains("PRIVATE KEY"));
        }
        exchange.is_tidy();
    });
    // The port is free again.
    std::net::TcpListener::bind(("127.0.0.1", pebble.ports.http)).unwrap();
}

#[test]
fn another_web_server_answers_from_the_files_of_tokens() {
    let exchange = Exchange::new();
    let tokens = Tokens::at(exchange.tokens());
    let server = Server::start(None, move |asked| match tokens.answer(&asked.path) {
        Some(answer) => Some(Told::ok(&answer)),
        None => Some(Told::status(404)),
    });
    let pebble = Pebble::with_http_port(Manner::default(), Some(server.port));
    run(async {
        let settings = settings(
            &pebble.url(),
            &pebble.authority_file(),
            Challenge::Http(Door::Websms),
        );
        let wanted = wanted(settings, &["pbx.example.org"], &[ECC]);
        let pairs = obtain(&wanted, &wanted.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        serves(&pairs[0], &pebble.root().await, &["pbx.example.org"]);
        exchange.is_tidy();
    });
    assert!(server.next().path.starts_with(CHALLENGE_PATH));
}

#[test]
fn tls_alpn_proves_names_and_addresses() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let challenge = Challenge::TlsAlpn {
            port: pebble.ports.tls,
        };
        let settings = settings(&pebble.url(), &pebble.authority_file(), challenge);
        let names = ["pbx.example.org", "sip.example.org", "127.0.0.1"];
        let wanted = wanted(settings, &names, &[ECC]);
        let pairs = obtain(&wanted, &wanted.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        serves(&pairs[0], &pebble.root().await, &names);
        exchange.is_tidy();
    });
}

#[test]
fn a_program_that_sets_records_proves_a_wildcard_and_its_domain() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    let calls = exchange.0.path().join("calls");
    // The DNS server's own interface; a value is added to those that are there.
    let script = format!(
        r#"#!/bin/bash
set -e
echo "$@" >> {calls}
case $1 in
    present) path=/set-txt body="{{\"host\":\"$3\",\"value\":\"$4\"}}" ;;
    cleanup) path=/clear-txt body="{{\"host\":\"$3\"}}" ;;
esac
exec 3<>/dev/tcp/127.0.0.1/{port}
printf 'POST %s HTTP/1.0\r\nContent-Length: %s\r\n\r\n%s' "$path" ${{#body}} "$body" >&3
read -r _ status _ <&3
echo "status $status"
[ "$status" = 200 ]
"#,
        calls = calls.display(),
        port = pebble.ports.dns_management,
    );
    let hook = program(&exchange, &script);
    run(async {
        let challenge = Challenge::Dns {
            hook,
            wait: std::time::Duration::ZERO,
        };
        let settings = settings(&pebble.url(), &pebble.authority_file(), challenge);
        let wanted = wanted(settings, &["*.example.org", "example.org"], &[ECC]);
        let pairs = obtain(&wanted, &wanted.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        serves(
            &pairs[0],
            &pebble.root().await,
            &["example.org", "pbx.example.org"],
        );
        exchange.is_tidy();
    });
    let calls = std::fs::read_to_string(calls).unwrap();
    let mut lines: Vec<&str> = calls.lines().collect();
    assert_eq!(lines.len(), 4, "{calls}");
    let cleanups = lines.split_off(2);
    for (present, cleanup) in lines.iter().zip(&cleanups) {
        assert!(
            present.starts_with("present example.org _acme-challenge.example.org. "),
            "{present}"
        );
        assert_eq!(present.replacen("present", "cleanup", 1), **cleanup);
    }
    assert_ne!(lines[0], lines[1]);
}

/// An executable file.
pub fn program(exchange: &Exchange, script: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = exchange.0.path().join("hook");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn an_account_made_elsewhere_is_bound_and_without_one_nothing_is_ordered() {
    let pebble = Pebble::start(Manner {
        wants_binding: true,
        ..Manner::default()
    });
    let exchange = Exchange::new();
    run(async {
        let mut settings = by_http(&pebble);
        let order = async |settings| {
            let wanted = wanted(settings, &["pbx.example.org"], &[ECC]);
            obtain(&wanted, &wanted.keys, &have(&[]), &exchange.place()).await
        };
        let refused = order(settings.clone()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Rejected, "{refused:?}");
        assert!(
            refused.told().contains("SWITCHHOOK_ACME_EAB_KID"),
            "{refused:?}"
        );
        let variables = [
            ("SWITCHHOOK_ACME_ACCEPT_TOS", "yes"),
            ("SWITCHHOOK_ACME_EAB_KID", BINDING.0),
            ("SWITCHHOOK_ACME_EAB_KEY", BINDING.1),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let names = wanted(settings.clone(), &["pbx.example.org"], &[]).names;
        let no_file = |_: &str| Err(String::new());
        let read = switchhook::certs::acme::settings::read(&variables.into(), &names, &no_file);
        let binding: Option<Binding> = read.unwrap().unwrap().account_binding;
        settings.account_binding = binding;
        let pairs = order(settings).await.unwrap();
        serves(&pairs[0], &pebble.root().await, &["pbx.example.org"]);
        exchange.is_tidy();
    });
}

#[test]
fn a_renewal_is_by_the_account_that_is_there_and_brings_another_certificate() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
        let place = exchange.place();
        let first = obtain(&order, &order.keys, &have(&[]), &place)
            .await
            .unwrap();
        let account = exchange.account();
        // As long as nobody has it, it is handed over again, and nothing is ordered.
        let same = obtain(&order, &order.keys, &have(&[]), &place)
            .await
            .unwrap();
        assert_eq!(same, first);
        // Whoever did not take it can do without.
        discard(ECC, &place).unwrap();
        let second = obtain(&order, &order.keys, &have(&first), &place)
            .await
            .unwrap();
        let serial = |pairs: &[_]| {
            let pair: &switchhook::certs::acme::Pair = &pairs[0];
            leaf::of_pem(&pair.chain).unwrap().serial
        };
        assert_ne!(serial(&second), serial(&first));
        assert_ne!(second[0].key, first[0].key);
        assert_eq!(exchange.account(), account);
        // The same certificate is replaced again, as after a restore from a backup: the authority does not like that.
        discard(ECC, &place).unwrap();
        let third = obtain(&order, &order.keys, &have(&first), &place)
            .await
            .unwrap();
        assert_ne!(serial(&third), serial(&second));
        // Other names are another order.
        let other = wanted(
            by_http(&pebble),
            &["pbx.example.org", "sip.example.org"],
            &[ECC],
        );
        let fourth = obtain(&other, &other.keys, &have(&[]), &place)
            .await
            .unwrap();
        serves(&fourth[0], &pebble.root().await, &["sip.example.org"]);
        exchange.is_tidy();
    });
}

#[test]
fn an_authority_that_has_forgotten_our_account_gets_another_one() {
    let mut pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
        let first = obtain(&order, &order.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        let account = exchange.account();
        pebble.stop();
        pebble.go_on();
        discard(ECC, &exchange.place()).unwrap();
        let second = obtain(&order, &order.keys, &have(&first), &exchange.place())
            .await
            .unwrap();
        serves(&second[0], &pebble.root().await, &["pbx.example.org"]);
        assert_ne!(exchange.account()["credentials"], account["credentials"]);
    });
}

/// Half of all requests are refused once: the crate alone gives up on two of three orders.
#[test]
fn refused_nonces_do_not_fail_an_order() {
    for (refused_nonces, orders) in [(15, 4), (50, 4)] {
        let pebble = Pebble::start(Manner {
            refused_nonces,
            ..Manner::default()
        });
        for _ in 0..orders {
            let exchange = Exchange::new();
            run(async {
                let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
                let pairs = obtain(&order, &order.keys, &have(&[]), &exchange.place()).await;
                serves(
                    &pairs.unwrap()[0],
                    &pebble.root().await,
                    &["pbx.example.org"],
                );
            });
        }
    }
}

#[test]
fn an_authority_that_takes_its_time_is_waited_for() {
    let pebble = Pebble::start(Manner {
        is_slow: true,
        ..Manner::default()
    });
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
        let pairs = obtain(&order, &order.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        serves(&pairs[0], &pebble.root().await, &["pbx.example.org"]);
    });
}

#[test]
fn the_window_of_the_authority_is_asked_for_where_it_tells_one() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
        let pairs = obtain(&order, &order.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        let chain = &pairs[0].chain;
        let told = window(&order, chain, &exchange.place()).await.unwrap();
        assert_eq!(told.is_some(), pebble.tells_windows().await);
        if let Some((window, again)) = told {
            let leaf = leaf::of_pem(chain).unwrap();
            assert!(
                leaf.not_before < window.start && window.end < leaf.not_after,
                "{window:?}"
            );
            assert!(again > 0);
        }
    });
}

#[test]
fn a_turn_orders_what_is_missing_and_then_rests_over_restarts() {
    let pebble = Pebble::start(Manner::default());
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[RSA, ECC]);
        let open = || Renewal::open(order.clone(), exchange.place()).unwrap();
        let Turn::Issued(pairs) = open().turn(&have(&[])).await else {
            panic!("nothing is issued");
        };
        assert_eq!(pairs.len(), 2);
        let mut again = open();
        let rests = again.turn(&have(&pairs)).await;
        let now = switchhook::sys::clock::unix_now();
        assert!(
            matches!(rests, Turn::Rest(until) if until > now),
            "{rests:?}"
        );
        let renew_at = again.schedule().renew_at("rsa").unwrap();
        assert!(renew_at > now + 50 * 86_400 && renew_at < now + 75 * 86_400);
        // One of them was lost on the way: it lies here still, and nothing is ordered. The pace is kept all the same.
        let mut lost = have(&pairs);
        lost.remove(&ECC);
        let Turn::Issued(found) = open().turn(&lost).await else {
            panic!("it is not handed over again");
        };
        assert_eq!(found[0], pairs[1]);
        exchange.is_tidy();
    });
}

#[test]
fn a_certificate_that_is_due_is_renewed_before_its_end() {
    // It is to be renewed at its half, one second after it was made, and somewhat earlier by chance.
    let pebble = Pebble::start(Manner {
        life: 2,
        ..Manner::default()
    });
    let exchange = Exchange::new();
    run(async {
        let order = wanted(by_http(&pebble), &["pbx.example.org"], &[ECC]);
        let first = obtain(&order, &order.keys, &have(&[]), &exchange.place())
            .await
            .unwrap();
        let leaf = leaf::of_pem(&first[0].chain).unwrap();
        while switchhook::sys::clock::unix_now() <= leaf.not_after {
            std::thread::yield_now();
        }
        let mut renewal = Renewal::open(order, exchange.place()).unwrap();
        let Turn::Issued(second) = renewal.turn(&have(&first)).await else {
            panic!("nothing is issued");
        };
        assert_ne!(second[0].chain, first[0].chain);
        // Such a short life would mean an order after the other: it is not taken for well.
        let turn = renewal.turn(&have(&second)).await;
        let now = switchhook::sys::clock::unix_now();
        assert!(matches!(turn, Turn::Rest(until) if until > now), "{turn:?}");
        assert_eq!(renewal.schedule().trouble().unwrap().kind, Kind::Refused);
    });
}
