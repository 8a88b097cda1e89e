use super::*;
use crate::autoban::key::Change;

mod office;

const START: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn source(text: &str) -> Source {
    Source::of(address(text))
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn against(from: &str, grade: Grade, account: u32) -> Meaning {
    Meaning::Against(Evidence {
        address: address(from),
        grade,
        kind: Kind::UnknownAccount,
        account,
    })
}

fn success(from: &str) -> Meaning {
    Meaning::Success {
        address: address(from),
        account: 7,
    }
}

/// Events until something is banned; how many it took, and what came of it.
fn until_banned(
    ledger: &mut Ledger,
    meaning: Meaning,
    now: i64,
    most: usize,
) -> Option<(usize, Outcome)> {
    (1..=most).find_map(|n| {
        let out = ledger.step(meaning, now);
        (!out.changes.is_empty()).then_some((n, out))
    })
}

fn jail(text: &str, seconds: u64) -> Change {
    Change::Ban {
        set: Set::Jail,
        source: source(text),
        timeout: Duration::from_secs(seconds),
        left: Duration::from_secs(seconds),
    }
}

#[test]
fn a_stranger_is_jailed_at_exactly_the_count() {
    for from in ["192.0.2.7", "2001:db8:1:2::9"] {
        let mut ledger = Ledger::new(Policy::default());
        let (count, out) =
            until_banned(&mut ledger, against(from, Grade::Strong, 1), START, 99).unwrap();
        assert_eq!(count, 10);
        assert_eq!(out.changes, [jail(from, 1200)]);
        assert!(matches!(
            out.notes[..],
            [Note::Jailed { trusted: false, .. }]
        ));
        assert_eq!(ledger.counts().watch, 0);
        // What was still under way changes nothing.
        assert_eq!(
            ledger.step(against(from, Grade::Strong, 1), START + 5),
            Outcome::default()
        );
        assert_eq!(
            ledger.step(against(from, Grade::Weak, 1), START + 5),
            Outcome::default()
        );
    }
}

#[test]
fn ipv6_is_counted_by_64() {
    let mut ledger = Ledger::new(Policy::default());
    for n in 1..10 {
        let from = format!("2001:db8:1:2::{n}");
        assert_eq!(
            ledger.step(against(&from, Grade::Strong, 1), START).changes,
            []
        );
    }
    let out = ledger.step(against("2001:db8:1:2:ffff::", Grade::Strong, 1), START);
    assert_eq!(out.changes, [jail("2001:db8:1:2::", 1200)]);
}

#[test]
fn one_event_on_parole_is_a_longer_sentence() {
    let mut ledger = Ledger::new(Policy::default());
    let strong = against("192.0.2.7", Grade::Strong, 1);
    until_banned(&mut ledger, strong, START, 10).unwrap();
    let mut now = START;
    for seconds in [7_200, 43_200, 259_200] {
        let until = ledger.offender(source("192.0.2.7")).unwrap().until;
        now = until + MINUTE;
        let released = ledger.step(Meaning::Nothing, now);
        assert!(matches!(released.notes[..], [Note::Released { .. }]));
        // What can be forged does not lengthen it.
        for _ in 0..9 {
            assert_eq!(
                ledger
                    .step(against("192.0.2.7", Grade::Weak, 1), now)
                    .changes,
                []
            );
        }
        assert_eq!(
            ledger.step(strong, now).changes,
            [jail("192.0.2.7", seconds)]
        );
    }
    // After the parole everything is forgotten.
    now += 259_200_000 + 21 * MINUTE;
    ledger.step(Meaning::Nothing, now);
    assert_eq!(ledger.counts().offenders, 0);
    let (count, out) = until_banned(&mut ledger, strong, now, 99).unwrap();
    assert_eq!((count, out.changes), (10, vec![jail("192.0.2.7", 1200)]));
}

#[test]
fn weak_evidence_closes_sip_over_udp_for_minutes_and_never_more() {
    let mut ledger = Ledger::new(Policy {
        weaktime: Duration::from_secs(86_400),
        ..Policy::default()
    });
    let weak = against("192.0.2.7", Grade::Weak, 1);
    for round in 0..5 {
        let now = START + round * 6 * MINUTE;
        let (count, out) = until_banned(&mut ledger, weak, now, 99).unwrap();
        assert_eq!(count, 10);
        let time = Duration::from_secs(300);
        let source = source("192.0.2.7");
        assert_eq!(
            out.changes,
            [Change::Ban {
                set: Set::Weak,
                source,
                timeout: time,
                left: time
            }]
        );
    }
    assert_eq!(ledger.counts().offenders, 0);
}

#[test]
fn a_success_makes_trusted_and_trust_ends() {
    let mut ledger = Ledger::new(Policy::default());
    until_banned(&mut ledger, against("192.0.2.7", Grade::Weak, 1), START, 10).unwrap();
    let out = ledger.step(success("192.0.2.7"), START);
    assert_eq!(
        out.changes,
        [Change::Free {
            set: Set::Weak,
            source: source("192.0.2.7")
        }]
    );
    // The next one a minute later is not worth a record.
    assert_eq!(ledger.step(success("192.0.2.7"), START + MINUTE).facts, []);
    assert_eq!(
        until_banned(
            &mut ledger,
            against("192.0.2.7", Grade::Weak, 1),
            START,
            1000
        ),
        None
    );
    let later = START + 24 * 60 * MINUTE + MINUTE;
    assert_eq!(
        ledger.standing(address("192.0.2.7"), later),
        Standing::Stranger
    );
    assert!(until_banned(&mut ledger, against("192.0.2.7", Grade::Weak, 1), later, 10).is_some());
}

#[test]
fn a_trusted_source_needs_three_times_the_evidence() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.set_named([cidr("198.51.100.0/28")]);
    let mut told = 0;
    let mut guesser = None;
    for n in 1..=100 {
        let out = ledger.step(against("198.51.100.3", Grade::Strong, n), START);
        told += out
            .notes
            .iter()
            .filter(|n| matches!(n, Note::TrustedSuspect { .. }))
            .count();
        if !out.changes.is_empty() {
            guesser = Some((n, out));
            break;
        }
    }
    // Other accounts each time weigh double: 1 + 2 * 15 > 30.
    let (count, out) = guesser.unwrap();
    assert_eq!((count, told), (16, 1));
    assert!(matches!(
        out.notes[..],
        [Note::Jailed { trusted: true, .. }]
    ));
    assert_eq!(ledger.recent.len(), 0);
}

#[test]
fn whoever_is_protected_is_not_even_watched() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.set_configured(List::White, [cidr("192.0.2.0/24"), cidr("2001:db8::5")]);
    ledger.set_own(&[address("203.0.113.1")]);
    for from in [
        "192.0.2.7",
        "2001:db8::5",
        "203.0.113.1",
        "127.0.0.11",
        "::1",
    ] {
        assert_eq!(
            until_banned(&mut ledger, against(from, Grade::Strong, 1), START, 100),
            None,
            "{from}"
        );
    }
    assert_eq!(ledger.counts().watch, 0);
    // Its neighbour within the /64 is not whitelisted.
    assert!(
        until_banned(
            &mut ledger,
            against("2001:db8::6", Grade::Strong, 1),
            START,
            10
        )
        .is_some()
    );
}

#[test]
fn a_gateway_that_hides_its_clients_is_told_and_never_banned() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.set_gateways(&[address("172.17.0.1")]);
    assert_eq!(
        until_banned(
            &mut ledger,
            against("172.17.0.1", Grade::Strong, 1),
            START,
            100
        ),
        None
    );
    assert_eq!(ledger.hidden_behind(), None);
    let out = ledger.step(against("172.17.0.1", Grade::Strong, 2), START);
    assert_eq!(
        out.notes,
        [Note::SourceHidden {
            gateway: address("172.17.0.1")
        }]
    );
    assert_eq!(
        ledger
            .step(against("172.17.0.1", Grade::Strong, 3), START)
            .notes,
        []
    );
    assert_eq!(ledger.hidden_behind(), Some(address("172.17.0.1")));

    let mut ledger = Ledger::new(Policy::default());
    ledger.set_gateways(&[address("172.17.0.1")]);
    let out = ledger.step(success("172.17.0.1"), START);
    assert_eq!(
        out.notes,
        [Note::SourceHidden {
            gateway: address("172.17.0.1")
        }]
    );
    // It is the same gateway after the addresses were read again.
    ledger.set_gateways(&[address("172.17.0.1")]);
    assert!(ledger.hidden_behind().is_some());
}

/// Jails this many neighbours; the networks that were banned on the way.
fn neighbours(
    ledger: &mut Ledger,
    name: impl Fn(u16) -> String,
    count: u16,
    grade: Grade,
) -> Vec<Network> {
    let mut networks = Vec::new();
    for n in 1..=count {
        for _ in 0..10 {
            let out = ledger.step(against(&name(n), grade, 1), START);
            networks.extend(out.changes.iter().filter_map(|change| match change {
                Change::BanNetwork { network, .. } => Some(*network),
                _ => None,
            }));
        }
    }
    networks
}

#[test]
fn eight_sentences_ban_the_network_around_them() {
    let mut ledger = Ledger::new(Policy::default());
    let v4 = |n| format!("192.0.2.{n}");
    let v6 = |n| format!("2001:db8:1:{n}::1");
    assert_eq!(neighbours(&mut ledger, v4, 7, Grade::Strong), []);
    assert_eq!(
        neighbours(&mut ledger, v4, 9, Grade::Strong),
        [source("192.0.2.1").network()]
    );
    assert_eq!(
        neighbours(&mut ledger, v6, 12, Grade::Strong),
        [source("2001:db8:1::").network()]
    );
    // Who logs in from there opens it again.
    let out = ledger.step(success("192.0.2.200"), START);
    assert_eq!(
        out.changes,
        [Change::FreeNetwork {
            network: source("192.0.2.0").network()
        }]
    );
}

#[test]
fn a_network_with_a_friend_in_it_is_not_banned() {
    let v4 = |n| format!("192.0.2.{n}");
    let mut trusting = Ledger::new(Policy::default());
    trusting.step(success("192.0.2.200"), START);
    let mut named = Ledger::new(Policy::default());
    named.set_named([cidr("192.0.2.200")]);
    let mut white = Ledger::new(Policy::default());
    white.set_configured(List::White, [cidr("192.0.2.200")]);
    for mut ledger in [trusting, named, white] {
        assert_eq!(neighbours(&mut ledger, v4, 20, Grade::Strong), []);
        assert_eq!(ledger.counts().offenders, 20);
    }
    let mut forged = Ledger::new(Policy::default());
    assert_eq!(neighbours(&mut forged, v4, 20, Grade::Weak), []);
}

#[test]
fn a_flood_hides_no_attacker() {
    let mut ledger = Ledger::new(Policy {
        maxwatch: 1000,
        ..Policy::default()
    });
    let mut number = 0u32;
    for n in 1..=10 {
        for _ in 0..5000 {
            number += 1;
            let from = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
            ledger.step(against(&from.to_string(), Grade::Weak, number), START);
        }
        let out = ledger.step(against("192.0.2.7", Grade::Strong, n), START);
        assert_eq!(out.changes.is_empty(), n < 10);
    }
    assert!(ledger.counts().watch <= 1000);
}

#[test]
fn a_full_jail_spares_the_repeated_and_says_so() {
    let mut ledger = Ledger::new(Policy {
        maxjail: 2,
        maxcount: 1,
        ..Policy::default()
    });
    let strong = |n: u8| against(&format!("192.0.2.{n}"), Grade::Strong, 1);
    ledger.step(strong(1), START);
    ledger.step(strong(1), START + 21 * MINUTE);
    ledger.step(strong(2), START + 21 * MINUTE);
    let out = ledger.step(strong(3), START + 21 * MINUTE);
    assert_eq!(
        out.changes[0],
        Change::Free {
            set: Set::Jail,
            source: source("192.0.2.2")
        }
    );
    assert!(matches!(
        out.notes[..],
        [Note::Evicted { .. }, Note::Jailed { .. }]
    ));
    ledger.manual(
        &Manual::ban(cidr("192.0.2.3"), None, ""),
        START + 21 * MINUTE,
    );
    let out = ledger.step(strong(4), START + 21 * MINUTE);
    assert_eq!(
        out.notes,
        [Note::Full {
            source: source("192.0.2.4"),
            set: Set::Jail
        }]
    );
    // Its score stays: it is next when there is room.
    assert_eq!(out.changes, []);
}

fn names(ledger: &Ledger, set: SetName, now: i64) -> Vec<String> {
    ledger
        .rows(set, now)
        .iter()
        .map(|row| row.cidr.to_string())
        .collect()
}

#[test]
fn the_predecessors_set_algebra() {
    let mut ledger = Ledger::new(Policy::default());
    let add = |words: &str| Manual::add(&words.split(' ').collect::<Vec<_>>()).unwrap();
    let delete = |words: &str| Manual::delete(&words.split(' ').collect::<Vec<_>>()).unwrap();
    ledger.step(against("192.0.2.7", Grade::Weak, 1), START);
    ledger.step(against("192.0.2.8", Grade::Weak, 1), START);
    let out = ledger.manual(&add("jail parole = watch"), START);
    assert_eq!(out.changes.len(), 4, "{out:?}");
    assert_eq!(
        names(&ledger, SetName::Jail, START),
        ["192.0.2.7", "192.0.2.8"]
    );
    assert_eq!(
        names(&ledger, SetName::Parole, START),
        ["192.0.2.7", "192.0.2.8"]
    );
    assert_eq!(names(&ledger, SetName::Watch, START), Vec::<String>::new());
    let out = ledger.manual(&add("203.0.113.0/24 jail"), START);
    assert!(out.lists);
    assert_eq!(
        names(&ledger, SetName::Black, START),
        ["192.0.2.7", "192.0.2.8", "203.0.113.0/24"]
    );
    let out = ledger.manual(&delete("jail parole = 192.0.2.7 203.0.113.0/24"), START);
    assert!(out.changes.contains(&Change::Free {
        set: Set::Jail,
        source: source("192.0.2.7")
    }));
    assert_eq!(names(&ledger, SetName::Jail, START), ["192.0.2.8"]);
    ledger.manual(&delete("all = 192.0.2.8"), START);
    assert_eq!(names(&ledger, SetName::Jail, START), Vec::<String>::new());
    ledger.manual(
        &add("jail = 198.51.100.0/24 2001:db8:9::/48 2001:db8::1 10.0.0.0/8"),
        START,
    );
    assert_eq!(
        names(&ledger, SetName::Jail, START),
        ["198.51.100.0/24", "2001:db8::/64", "2001:db8:9::/48"]
    );
    ledger.manual(&delete("all = all"), START);
    for set in SetName::ALL {
        assert_eq!(names(&ledger, set, START), Vec::<String>::new(), "{set:?}");
    }
    assert!(Manual::add(&["jail", "=", "ten"]).is_err());
    assert!(Manual::add(&["prison", "=", "192.0.2.7"]).is_err());
    assert!(Manual::delete(&[]).is_err());
}

#[test]
fn the_white_list_wins_over_every_operation() {
    let mut ledger = Ledger::new(Policy::default());
    until_banned(
        &mut ledger,
        against("192.0.2.7", Grade::Strong, 1),
        START,
        10,
    )
    .unwrap();
    let out = ledger.manual(&Manual::allow(cidr("192.0.2.0/24"), "the office"), START);
    assert!(out.lists);
    assert_eq!(
        out.changes,
        [Change::Free {
            set: Set::Jail,
            source: source("192.0.2.7")
        }]
    );
    let out = ledger.manual(&Manual::ban(cidr("192.0.2.7"), None, ""), START);
    assert!(out.changes.is_empty() && matches!(out.notes[0], Note::Skipped { .. }));
    let mut here = Ledger::new(Policy::default());
    here.set_gateways(&[address("10.0.0.1")]);
    let out = here.manual(&Manual::deny(cidr("10.0.0.0/8"), ""), START);
    assert!(!out.lists && matches!(out.notes[0], Note::Skipped { .. }));
}

#[test]
fn why_explains() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.step(success("192.0.2.7"), START);
    ledger.step(against("192.0.2.7", Grade::Weak, 1), START);
    let why = ledger.why(address("192.0.2.7"), START + MINUTE);
    assert_eq!(
        why.to_string(),
        "192.0.2.7 counts as 192.0.2.7\ntrusted for 23h59m: it logged in\nwatched: 0 proven and 1 forgeable events, 30 are enough\n"
    );
    for _ in 0..3 {
        ledger.step(against("192.0.2.7", Grade::Strong, 1), START);
    }
    let repeats = ledger.why(address("192.0.2.7"), START).to_string();
    assert!(
        repeats.ends_with("an account failed 2 times more as it had before, as with a stale password; up to once a second that weighs nothing\n"),
        "{repeats}"
    );
    until_banned(
        &mut ledger,
        against("2001:db8::9", Grade::Strong, 1),
        START,
        10,
    )
    .unwrap();
    let jailed = ledger
        .why(address("2001:db8::9"), START + MINUTE)
        .to_string();
    assert_eq!(
        jailed,
        "2001:db8::9 counts as 2001:db8::/64\nin jail for 19m (sentence 1, unknown account)\n"
    );
    let parole = ledger
        .why(address("2001:db8::9"), START + 21 * MINUTE)
        .to_string();
    assert!(
        parole.contains("on parole for 19m (after sentence 1, unknown account)"),
        "{parole}"
    );
}

#[test]
fn the_kernel_gets_what_remains() {
    let mut ledger = Ledger::new(Policy::default());
    until_banned(
        &mut ledger,
        against("192.0.2.7", Grade::Strong, 1),
        START,
        10,
    )
    .unwrap();
    assert_eq!(
        ledger.project(START + 5 * MINUTE),
        [Change::Ban {
            set: Set::Jail,
            source: source("192.0.2.7"),
            timeout: Duration::from_secs(1200),
            left: Duration::from_secs(900),
        }]
    );
    assert_eq!(ledger.project(START + 20 * MINUTE), []);
}

#[test]
fn this_host_is_never_banned_and_its_neighbours_are() {
    let mut ledger = Ledger::new(Policy {
        maxcount: 1,
        ..Policy::default()
    });
    ledger.set_own(&["2001:db8:1:2::5".parse().unwrap(), [192, 0, 2, 5].into()]);
    for own in [
        "2001:db8:1:2::5",
        "fe80::1",
        "169.254.1.1",
        "192.0.2.5",
        "127.0.0.11",
    ] {
        let standing = ledger.standing(own.parse().unwrap(), 0);
        assert_eq!(standing, Standing::Own, "{own}");
    }
    for other in ["2001:db8:1:2::77", "2001:db8:1:3::77", "192.0.2.6"] {
        let standing = ledger.standing(other.parse().unwrap(), 0);
        assert_eq!(standing, Standing::Stranger, "{other}");
    }
    let gateway = "2001:db8:1:2::1".parse().unwrap();
    ledger.set_gateways(&[gateway]);
    assert_eq!(ledger.standing(gateway, 0), Standing::Gateway);
}
