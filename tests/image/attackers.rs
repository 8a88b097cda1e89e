//! Every kind of attacker, with the real Asterisk and the real kernel: what comes over which transport, from whom, and in
//! whose name.

use std::collections::BTreeSet;

use crate::outside::Outside;
use crate::street::Street;
use crate::talk::{Carrier, Register, Talk};

/// Guesses until `maxcount`, and is closed at exactly that.
fn guesses(street: &Street, from: &str, carrier: Carrier) {
    let who = format!("{from} over {carrier:?}");
    street.outside.move_in(from);
    let mut talk = street.talk(from, carrier).expect(&who);
    for n in 1..=9 {
        assert_eq!(talk.knock(), Some(401), "{who}: {n}");
    }
    let (grade, other) = match carrier {
        Carrier::Udp => ("weak_events", "strong_events"),
        _ => ("strong_events", "weak_events"),
    };
    let why = street.counted(from, grade, 9);
    assert_eq!(
        (&why[other], &why["jail"], &why["weak"]),
        (&0.into(), &().into(), &().into()),
        "{who}: {why}"
    );
    assert_eq!(talk.knock(), Some(401), "{who}: 10");
    let source = match from.rsplit_once("::") {
        Some((network, _)) => format!("{network}::/64"),
        None => from.to_owned(),
    };
    let log = &street.exchange.log;
    match carrier {
        Carrier::Udp => log.wait_for(&format!(
            "closed SIP over UDP to {source} for 2m: unknown account"
        )),
        _ => log.wait_for(&format!("jailed {source} for 20m: unknown account")),
    };
    // Its own connection, which was there before the ban, and a new one.
    assert_eq!(talk.knock(), None, "{who}: 11");
    assert!(!street.answers(from, carrier), "{who}: anew");
    assert_eq!(
        street.answers(from, Carrier::Tcp),
        carrier == Carrier::Udp,
        "{who}"
    );
}

#[test]
fn every_transport_of_both_families_is_closed_at_exactly_maxcount() {
    let street = Street::with_websockets("");
    std::thread::scope(|scope| {
        for (n, carrier) in (1..).zip(Carrier::ALL) {
            for from in [format!("198.18.1.{n}"), format!("fd5b:1:2:{n}::66")] {
                let street = &street;
                scope.spawn(move || guesses(street, &from, carrier));
            }
        }
    });
    // The jail of IPv6 is the /64; nobody else's.
    for (neighbour, is_open) in [
        ("fd5b:1:2:2::77", false),
        ("fd5b:1:2:2:ffff:ffff:ffff:ffff", false),
        ("fd5b:1:2:77::66", true),
        ("198.18.1.77", true),
    ] {
        street.outside.move_in(neighbour);
        assert_eq!(
            street.answers(neighbour, Carrier::Tcp),
            is_open,
            "{neighbour}"
        );
    }
    assert_eq!(street.counter("hostile frames"), 0);
}

#[test]
fn an_office_behind_one_address_keeps_calling_with_a_stale_password_in_it() {
    let street = Street::with("");
    let (office, exchange) = ("198.18.2.1", &street.exchange);
    street.outside.move_in(office);
    let added = exchange.exec(&["switchhook", "phone", "add", "carol", "--number", "103"]);
    assert_eq!(added.code, 0, "{}", added.text);
    let [alice, bob] = ["alice", "bob"].map(|phone| exchange.password(phone));
    let calls = |user: &str, password: &str, carrier| {
        let mut talk = street.talk(office, carrier).expect("a connection");
        talk.register(user, password)
    };
    assert_eq!(calls("alice", &alice, Carrier::Tcp), Some(200));
    assert_eq!(calls("bob", &bob, Carrier::Udp), Some(200));
    for carrier in [Carrier::Tcp, Carrier::Udp] {
        let mut stale = street.talk(office, carrier).expect("a connection");
        // More than three times maxcount, had each repeat a quarter of an event's weight.
        for n in 1..=130 {
            assert_eq!(
                stale.register("carol", "stale"),
                Some(401),
                "{carrier:?}: {n}"
            );
        }
    }
    exchange.log.wait_for(&format!(
        "{office} is trusted and is not banned, but comes up with: wrong password"
    ));
    street.wait_counter("ChallengeResponseFailed strong", 130);
    street.wait_counter("ChallengeResponseFailed weak", 130);
    for carrier in [Carrier::Tcp, Carrier::Udp] {
        assert_eq!(calls("alice", &alice, carrier), Some(200));
        assert_eq!(calls("bob", &bob, carrier), Some(200));
    }
    let why = street.why(office);
    assert_eq!(
        (&why["standing"], &why["verdict"]),
        (&"trusted".into(), &"free".into()),
        "{why}"
    );
    // Somebody who goes through the accounts is jailed all the same.
    let mut guesser = street.talk(office, Carrier::Tcp).expect("a connection");
    let answered =
        (0..40).take_while(|n| guesser.ask(&Register::of(&format!("1{n:02}"))).is_some());
    // Carol was the first; the fifteenth more is too much, and one may be on its way.
    let answered = answered.count();
    assert!((15..=16).contains(&answered), "{answered}");
    exchange.log.wait_for(&format!(
        "jailed {office} for 20m: unknown account, although it is trusted"
    ));
}

#[test]
fn the_white_list_wins_in_a_banned_network() {
    let street = Street::with("");
    let address = |n: u32| format!("198.18.3.{n}");
    (1..=11).for_each(|n| street.outside.move_in(&address(n)));
    for n in 1..=8 {
        let mut talk = street
            .talk(&address(n), Carrier::Tcp)
            .expect("a connection");
        (0..10).for_each(|_| assert_eq!(talk.knock(), Some(401)));
        street
            .exchange
            .log
            .wait_for(&format!("jailed {} for", address(n)));
    }
    street
        .exchange
        .log
        .wait_for("jailed the network 198.18.3.0/24 for 20m");
    // The ninth never did anything.
    assert!(!street.answers(&address(9), Carrier::Tcp));
    let words = ["autoban", "add", "whitelist", "=", &address(9), &address(1)];
    assert_eq!(street.exchange.exec(&words).code, 0);
    let open: BTreeSet<u32> = [1, 2, 9, 10]
        .into_iter()
        .filter(|n| street.answers(&address(*n), Carrier::Tcp))
        .collect();
    assert_eq!(open, BTreeSet::from([1, 9]));
    assert!(street.answers(&address(9), Carrier::Udp));
    // By hand, and both ways of writing it.
    let words = ["autoban", "add", "jail", "=", "198.19.4.0/24"];
    assert_eq!(street.exchange.exec(&words).code, 0);
    street.outside.move_in("198.19.4.1");
    street.outside.move_in("198.19.4.2");
    assert!(!street.answers("198.19.4.1", Carrier::Tcp));
    let words = ["autoban", "add", "whitelist", "=", "198.19.4.1"];
    assert_eq!(street.exchange.exec(&words).code, 0);
    assert!(street.answers("198.19.4.1", Carrier::Tcp));
    assert!(!street.answers("198.19.4.2", Carrier::Tcp));
}

/// Somebody of whose requests the manager is not told.
fn untold(n: u32) -> Register {
    Register {
        call_id: [format!("c{n}").as_bytes(), b"\xff\xfe@test"].concat(),
        ..Register::of("nobody")
    }
}

#[test]
fn who_sends_no_text_is_counted_by_the_log_and_a_forger_costs_nobody_more_than_before() {
    let street = Street::with("");
    let forger = Outside::in_network(&street.network.name);
    let [over_tcp, over_udp, victim] = ["198.18.7.1", "198.18.7.2", "198.18.7.3"];
    for address in [over_tcp, over_udp, victim] {
        street.outside.move_in(address);
    }
    let log = &street.exchange.log;
    let closed = |who: &str| {
        log.wait_for(&format!(
            "closed SIP over UDP to {who} for 2m: unknown account"
        ));
    };
    // A stranger with a connection, and packets in his name.
    let mut connection = street.talk(victim, Carrier::Tcp).expect("a connection");
    assert_eq!(connection.knock(), Some(401));
    let to = std::net::SocketAddr::new(street.exchange_for(victim), 5060);
    let mut forged = Talk::over(forger.forger(victim, to));
    (0..60).for_each(|n| forged.say(&untold(n)));
    closed(victim);
    // Over UDP it is exact.
    let mut talk = street.talk(over_udp, Carrier::Udp).unwrap();
    for n in 1..=9 {
        assert!(talk.ask(&untold(n)).is_some(), "{n}");
    }
    street.counted(over_udp, "weak_events", 9);
    assert!(talk.ask(&untold(10)).is_some());
    closed(over_udp);
    assert!(talk.ask(&untold(11)).is_none());
    assert!(street.answers(over_udp, Carrier::Tcp));
    // Over a connection it is exact, too: the kernel knows what came over it.
    let mut talk = street.talk(over_tcp, Carrier::Tcp).unwrap();
    for n in 1..=9 {
        assert!(talk.ask(&untold(n)).is_some(), "{n}");
    }
    street.counted(over_tcp, "strong_events", 9);
    assert!(talk.ask(&untold(10)).is_some());
    log.wait_for(&format!("jailed {over_tcp} for 20m: unknown account"));
    assert!(!street.answers(over_tcp, Carrier::Tcp));
    // As long after the forged packets their like brings about nothing: the kernel drops them.
    let seen = street.counter("witnessed lines strong");
    (0..60).for_each(|n| forged.say(&untold(n)));
    assert_eq!(connection.knock(), Some(401));
    street.counted(victim, "strong_events", 2);
    assert_eq!(street.counter("witnessed lines strong"), seen);
    for (address, jail) in [(victim, false), (over_udp, false), (over_tcp, true)] {
        let why = street.why(address);
        assert_eq!(!why["jail"].is_null(), jail, "{why}");
    }
    assert_eq!(street.counter("networks jailed"), 0);
}

/// Packets in somebody's name, from elsewhere.
fn forge(street: &Street, forger: &Outside, victim: &str, times: usize) {
    let to = std::net::SocketAddr::new(street.exchange_for(victim), 5060);
    let mut forged = Talk::over(forger.forger(victim, to));
    for n in 0..times {
        forged.say(&Register::of(&format!("forged{n}")));
    }
}

#[test]
fn a_forged_sender_costs_a_victim_sip_over_udp_for_minutes_or_nothing() {
    let street = Street::with("weaktime = 5m");
    let forger = Outside::in_network(&street.network.name);
    // Another machine than the victim's, which has no such address.
    let [phone, stranger] = ["198.18.5.1", "198.18.5.2"];
    street.outside.move_in(phone);
    street.outside.move_in(stranger);
    let alice = street.exchange.password("alice");
    let mut talk = street.talk(phone, Carrier::Udp).unwrap();
    assert_eq!(talk.register("alice", &alice), Some(200));
    forge(&street, &forger, phone, 60);
    street
        .exchange
        .log
        .wait_for(&format!("{phone} is trusted and is not banned"));
    street.counted(phone, "weak_events", 60);
    assert_eq!(talk.register("alice", &alice), Some(200));
    assert!(street.answers(phone, Carrier::Tcp));
    // Of the other nothing is known.
    forge(&street, &forger, stranger, 60);
    street
        .exchange
        .log
        .wait_for(&format!("closed SIP over UDP to {stranger} for 5m"));
    assert!(!street.answers(stranger, Carrier::Udp));
    assert!(street.answers(stranger, Carrier::Tcp));
    let why = street.why(stranger);
    assert_eq!(
        (&why["jail"], &why["parole"]),
        (&().into(), &().into()),
        "{why}"
    );
    let left = why["weak"]["left_s"].as_u64().unwrap();
    assert!(left <= 300, "{why}");
    assert_eq!(
        street.counter("jailed") + street.counter("networks jailed"),
        0
    );
    // Longer than that is not to be had.
    street.exchange.shell("sed -i 's/^weaktime = 5m/weaktime = 1h/' /srv/etc/asterisk/autoban.conf; switchhook reload autoban");
    street.exchange.log.wait_for("weaktime = 1h");
}
