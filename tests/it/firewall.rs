//! AutoBan's table in the real kernel: packets over a veth pair, and nft(8) as the witness of what stands there.
//!
//! Each test runs again in a user and network namespace of its own (unshare(1), no root needed) and fails when the machine
//! does not allow that.

mod lists;
pub mod wire;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use switchhook::autoban::firewall::{Firewall, FirewallError};
use switchhook::autoban::key::{Change, Set, Source};
use switchhook::autoban::ruleset::{Caps, Ruleset, Settings};

use wire::{INSIDE, Wire, in_namespace, in_namespace_of, run};

const HOUR: Duration = Duration::from_secs(3600);

fn nft(command: &str) -> String {
    run("nft", &[command])
}

/// Everything that stands in the kernel, without counts and remaining times.
fn standing() -> String {
    run("nft", &["-s", "list", "ruleset"])
}

/// The elements of a set by nft's word, each with its whole time and what is left, in seconds.
fn elements(set: &str) -> Vec<(String, u64, u64)> {
    let text = run("nft", &["-j", "list", "set", "inet", "autoban", set]);
    let json: Value = serde_json::from_str(&text).expect("nft's JSON");
    let set = json["nftables"].as_array().expect("a list").iter();
    let found = set.filter_map(|item| item["set"]["elem"].as_array());
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    found
        .flatten()
        .map(|item| &item["elem"])
        .map(|elem| {
            let name = elem["val"].as_str().unwrap_or("?").to_owned();
            (name, number(&elem["timeout"]), number(&elem["expires"]))
        })
        .collect()
}

fn names(set: &str) -> BTreeSet<String> {
    elements(set).into_iter().map(|(name, ..)| name).collect()
}

fn source(address: &str) -> Source {
    Source::of(address.parse().expect("an address"))
}

fn ban_in(set: Set, address: &str, timeout: Duration, left: Duration) -> Change {
    Change::Ban {
        set,
        source: source(address),
        timeout,
        left,
    }
}

fn ban(address: &str) -> Change {
    ban_in(Set::Jail, address, HOUR, HOUR)
}

fn free(address: &str) -> Change {
    Change::Free {
        set: Set::Jail,
        source: source(address),
    }
}

fn ban_network(address: &str) -> Change {
    Change::BanNetwork {
        network: source(address).network(),
        timeout: HOUR,
        left: HOUR,
    }
}

fn settings() -> Settings {
    let block = |text: &str| text.parse().expect("a block");
    Settings {
        sip_ports: BTreeSet::from([5060, 5160]),
        white: ["127.0.0.0/8", "192.0.2.77", "::1", "2001:db8:1:77::/64"]
            .map(block)
            .to_vec(),
        black: ["198.51.100.128/25", "2001:db8:bad::/48"]
            .map(block)
            .to_vec(),
        ..Settings::default()
    }
}

/// The table as it stands with the settings, and nobody banned.
fn fresh(settings: &Settings) -> Firewall {
    let mut firewall = Firewall::open(settings).unwrap_or_else(|e| panic!("{e}"));
    firewall.restore([]).unwrap_or_else(|e| panic!("{e}"));
    firewall
}

fn apply(firewall: &mut Firewall, changes: &[Change]) -> usize {
    let outcome = firewall.apply(changes).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(outcome.refused, []);
    outcome.applied
}

fn dropped(firewall: &mut Firewall, counter: &str) -> u64 {
    firewall.counters().expect("counters")[counter].packets
}

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

#[test]
fn our_messages_make_the_table_that_nft_makes_of_our_text() {
    in_namespace(
        "our_messages_make_the_table_that_nft_makes_of_our_text",
        || {
            let settings = settings();
            let firewall = fresh(&settings);
            let ours = standing();
            drop(firewall);
            nft("flush ruleset");
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), Ruleset::new(&settings).to_string()).expect("the text");
            run("nft", &["-f", &file.path().display().to_string()]);
            assert!(
                ours.contains("@net4 counter name \"net4\" drop"),
                "no readable rules: {ours}"
            );
            assert_eq!(ours, standing());
        },
    );
}

#[test]
fn a_ban_drops_its_source_and_nobody_else() {
    in_namespace("a_ban_drops_its_source_and_nobody_else", || {
        // The two after the first are the neighbours of its /64, and of its address.
        let all = [
            "192.0.2.7",
            "192.0.2.8",
            "2001:db8:1:2::1",
            "2001:db8:1:2:ffff::9",
            "2001:db8:1:3::1",
        ];
        let mut firewall = fresh(&settings());
        let wire = Wire::to(&all);
        assert_eq!(wire.through(7000, &all), addresses(&all));
        apply(&mut firewall, &[ban("192.0.2.7"), ban("2001:db8:1:2::1")]);
        assert_eq!(
            wire.through(7000, &all),
            addresses(&["192.0.2.8", "2001:db8:1:3::1"])
        );
        assert_eq!(dropped(&mut firewall, "jail4"), 1);
        assert!(dropped(&mut firewall, "jail6") >= 2);
        apply(&mut firewall, &[free("192.0.2.7"), free("2001:db8:1:2::5")]);
        assert_eq!(wire.through(7000, &all), addresses(&all));
    });
}

#[test]
fn a_banned_network_drops_its_neighbours_and_the_white_list_wins_inside() {
    in_namespace(
        "a_banned_network_drops_its_neighbours_and_the_white_list_wins_inside",
        || {
            let all = [
                "192.0.2.7",
                "192.0.2.77",
                "192.0.3.7",
                "2001:db8:1:2::1",
                "2001:db8:1:77::1",
                "2001:db8:2:2::1",
            ];
            let mut firewall = fresh(&settings());
            let wire = Wire::to(&all);
            assert_eq!(wire.through(7000, &all), addresses(&all));
            // The white list wins over a ban of the very address, too.
            apply(
                &mut firewall,
                &[
                    ban_network("192.0.2.200"),
                    ban_network("2001:db8:1:9::"),
                    ban("192.0.2.77"),
                    ban("2001:db8:1:77::1"),
                ],
            );
            let rest = [
                "192.0.2.77",
                "192.0.3.7",
                "2001:db8:1:77::1",
                "2001:db8:2:2::1",
            ];
            assert_eq!(wire.through(7000, &all), addresses(&rest));
            assert_eq!(dropped(&mut firewall, "net4"), 1);
            assert_eq!(dropped(&mut firewall, "jail4"), 0);
            let free = |address: &str| Change::FreeNetwork {
                network: source(address).network(),
            };
            apply(&mut firewall, &[free("192.0.2.1"), free("2001:db8:1::1")]);
            assert_eq!(wire.through(7000, &all), addresses(&all));
        },
    );
}

#[test]
fn the_black_list_drops() {
    in_namespace("the_black_list_drops", || {
        let all = [
            "198.51.100.127",
            "198.51.100.128",
            "198.51.100.255",
            "192.0.2.9",
            "2001:db8:bad:1::1",
            "2001:db8:bae::1",
        ];
        let _firewall = fresh(&settings());
        let wire = Wire::to(&all);
        let all_but_black = ["198.51.100.127", "192.0.2.9", "2001:db8:bae::1"];
        assert_eq!(wire.through(7000, &all), addresses(&all_but_black));
    });
}

#[test]
fn a_weak_ban_closes_sip_over_udp_and_nothing_else() {
    in_namespace("a_weak_ban_closes_sip_over_udp_and_nothing_else", || {
        let all = ["192.0.2.7", "192.0.2.8", "2001:db8:1:2::1"];
        let mut firewall = fresh(&settings());
        let wire = Wire::to(&all);
        assert_eq!(wire.through(5060, &all), addresses(&all));
        let weak = |address| ban_in(Set::Weak, address, HOUR, HOUR);
        apply(&mut firewall, &[weak("192.0.2.7"), weak("2001:db8:1:2::9")]);
        for port in [5060, 5160] {
            assert_eq!(wire.through(port, &all), addresses(&["192.0.2.8"]));
        }
        assert_eq!(wire.through(5061, &all), addresses(&all));
        let (mut theirs, mut ours) = wire.connect("192.0.2.7", 5060);
        theirs.write_all(b"hello").expect("sent");
        let mut heard = [0; 5];
        ours.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"hello");
    });
}

#[test]
fn an_established_connection_of_a_banned_source_stalls() {
    in_namespace(
        "an_established_connection_of_a_banned_source_stalls",
        || {
            let mut firewall = fresh(&settings());
            let wire = Wire::to(&["192.0.2.7"]);
            let (mut theirs, mut ours) = wire.connect("192.0.2.7", 5061);
            let mut heard = [0; 1];
            theirs.write_all(b"1").expect("sent");
            ours.read_exact(&mut heard).expect("heard");
            apply(&mut firewall, &[ban("192.0.2.7")]);
            theirs.write_all(b"2").expect("sent");
            // The markers came after it, so that it was dropped by then.
            wire.through(7000, &[]);
            ours.set_nonblocking(true).expect("a socket");
            let error = ours.read(&mut heard).expect_err("it was let through");
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            assert!(dropped(&mut firewall, "jail4") >= 1);
            // Stalled, not reset: what was sent arrives when the ban is over.
            apply(&mut firewall, &[free("192.0.2.7")]);
            ours.set_nonblocking(false).expect("a socket");
            ours.read_exact(&mut heard).expect("heard");
            assert_eq!(&heard, b"2");
        },
    );
}

#[test]
fn a_ban_ends_by_itself_and_not_before_its_time() {
    in_namespace("a_ban_ends_by_itself_and_not_before_its_time", || {
        let mut firewall = fresh(&settings());
        let wire = Wire::to(&["192.0.2.7"]);
        let left = Duration::from_secs(1);
        apply(&mut firewall, &[ban_in(Set::Jail, "192.0.2.7", HOUR, left)]);
        let since = Instant::now();
        while wire.through(7000, &["192.0.2.7"]).is_empty() {}
        // The kernel counts in ticks of up to ten milliseconds.
        assert!(since.elapsed() + Duration::from_millis(20) >= left);
    });
}

/// Whole and remaining times that a restart has to keep.
fn times() -> [Change; 5] {
    let seconds = Duration::from_secs;
    let ban = |set, address, timeout, left| ban_in(set, address, seconds(timeout), seconds(left));
    [
        ban(Set::Jail, "192.0.2.7", 1200, 600),
        ban(Set::Jail, "192.0.2.8", 86_400, 86_399),
        ban(Set::Jail, "2001:db8:1:2::1", 7200, 1020),
        // Eternity, as far as the kernel can count, and one whose time is over.
        ban(Set::Weak, "192.0.2.7", u64::MAX, u64::MAX),
        ban(Set::Weak, "192.0.2.8", 300, 0),
    ]
}

/// Compares what is left with what was asked at `asked`, however long the test took meanwhile.
fn is_left(expires: u64, left: u64, asked: Instant) {
    // nft shows whole seconds, rounded down.
    let least = left.saturating_sub(asked.elapsed().as_secs() + 2);
    assert!(
        (least..=left).contains(&expires),
        "{expires} of {left} s left, {:?} later",
        asked.elapsed()
    );
}

fn times_are_exact(asked: Instant) {
    let near = |set: &str, name: &str, timeout: u64, left: u64| {
        let found = elements(set);
        let one = found.iter().find(|(found, ..)| found == name);
        let (_, whole, expires) = one.unwrap_or_else(|| panic!("no {name} in {found:?}"));
        assert_eq!(*whole, timeout, "{name}");
        is_left(*expires, left, asked);
    };
    near("jail4", "192.0.2.7", 1200, 600);
    near("jail4", "192.0.2.8", 86_400, 86_399);
    near("jail6", "2001:db8:1:2::", 7200, 1020);
    let century = 100 * 365 * 86_400;
    near("weak4", "192.0.2.7", century, century);
    assert_eq!(elements("weak4").len(), 1);
}

#[test]
fn the_remaining_times_are_restored_exactly() {
    in_namespace("the_remaining_times_are_restored_exactly", || {
        let mut firewall = fresh(&settings());
        let asked = Instant::now();
        firewall.restore(times()).expect("a restore");
        times_are_exact(asked);
        // The same by single changes, in an empty table and over what stands there.
        firewall.restore([]).expect("a restore");
        for _ in 0..2 {
            let asked = Instant::now();
            apply(&mut firewall, &times());
            times_are_exact(asked);
        }
    });
}

#[test]
fn a_second_ban_of_a_source_sets_its_time_anew() {
    in_namespace("a_second_ban_of_a_source_sets_its_time_anew", || {
        // As the kernel can do it, and as kernels before 6.12 could.
        for old_kernel in [false, true] {
            let mut firewall = fresh(&settings());
            if old_kernel {
                firewall = firewall.without_updates();
            }
            let minutes = |n| Duration::from_secs(60 * n);
            let again = |timeout, left| {
                [
                    ban_in(Set::Jail, "192.0.2.7", minutes(timeout), minutes(left)),
                    ban_in(
                        Set::Jail,
                        "2001:db8:1:2::1",
                        minutes(timeout),
                        minutes(left),
                    ),
                ]
            };
            for (timeout, left) in [(20, 20), (120, 120), (120, 60), (120, 120), (20, 10)] {
                let asked = Instant::now();
                assert_eq!(apply(&mut firewall, &again(timeout, left)), 2);
                for set in ["jail4", "jail6"] {
                    let found = elements(set);
                    let [(_, whole, expires)] = found.as_slice() else {
                        panic!("{found:?}");
                    };
                    assert_eq!(*whole, 60 * timeout, "old kernel: {old_kernel}");
                    is_left(*expires, 60 * left, asked);
                }
            }
        }
    });
}

#[test]
fn a_missing_source_does_not_undo_the_rest_of_its_batch() {
    in_namespace(
        "a_missing_source_does_not_undo_the_rest_of_its_batch",
        || {
            let mut firewall = fresh(&settings());
            apply(&mut firewall, &[ban("192.0.2.1")]);
            let changes = [
                free("192.0.2.99"),
                ban("192.0.2.2"),
                free("192.0.2.1"),
                free("2001:db8::1"),
                ban("192.0.2.3"),
                ban("192.0.2.4"),
                free("192.0.2.4"),
            ];
            assert_eq!(apply(&mut firewall, &changes), changes.len());
            let expected = ["192.0.2.2", "192.0.2.3"].map(str::to_owned);
            assert_eq!(names("jail4"), BTreeSet::from(expected));
            // More than the socket's buffer holds of answers, and more than one batch.
            let many: Vec<Change> = (0..5000)
                .map(|n| Change::Free {
                    set: Set::Jail,
                    source: Source::V4(n),
                })
                .chain([ban("192.0.2.5")])
                .collect();
            assert_eq!(apply(&mut firewall, &many), many.len());
            assert!(names("jail4").contains("192.0.2.5"));
        },
    );
}

#[test]
fn a_full_set_refuses_by_name_and_takes_the_rest() {
    in_namespace("a_full_set_refuses_by_name_and_takes_the_rest", || {
        let caps = Caps {
            jail: 2,
            ..Caps::default()
        };
        for old_kernel in [false, true] {
            let mut firewall = fresh(&Settings { caps, ..settings() });
            if old_kernel {
                firewall = firewall.without_updates();
            }
            let changes = [
                ban("192.0.2.1"),
                ban("192.0.2.2"),
                ban("192.0.2.3"),
                ban("2001:db8::1"),
                ban_in(Set::Weak, "192.0.2.4", HOUR, HOUR),
                ban("192.0.2.5"),
            ];
            let outcome = firewall.apply(&changes).expect("applied");
            assert_eq!(outcome.refused, [ban("192.0.2.3"), ban("192.0.2.5")]);
            assert_eq!(outcome.applied, 4);
            assert_eq!(names("jail4").len(), 2);
            assert_eq!((names("jail6").len(), names("weak4").len()), (1, 1));
            // Room is made within one batch, and a time is set anew in a full set.
            let in_place = [free("192.0.2.1"), ban("192.0.2.3"), ban("192.0.2.2")];
            assert_eq!(apply(&mut firewall, &in_place), 3);
            let expected = ["192.0.2.2", "192.0.2.3"].map(str::to_owned);
            assert_eq!(names("jail4"), BTreeSet::from(expected));
            // A restore knows the room beforehand.
            let outcome = firewall.restore(changes).expect("restored");
            assert_eq!(outcome.refused, [ban("192.0.2.3"), ban("192.0.2.5")]);
            assert_eq!(names("jail4").len(), 2);
        }
    });
}

#[test]
fn what_others_remove_is_noticed_and_repaired() {
    in_namespace("what_others_remove_is_noticed_and_repaired", || {
        let mut firewall = fresh(&settings());
        let bans = [ban("192.0.2.7"), ban("2001:db8:1:2::1")];
        firewall.restore(bans).expect("restored");
        apply(&mut firewall, &[ban("192.0.2.8"), free("192.0.2.8")]);
        // Our own changes are no news.
        assert!(!readable(&firewall));
        let before = standing();
        for foreign in [
            "flush ruleset",
            "delete table inet autoban",
            "flush set inet autoban jail4",
            "flush chain inet autoban prerouting",
            "delete element inet autoban jail4 { 192.0.2.7 }",
            "add table inet autoban { flags dormant; }",
        ] {
            nft(foreign);
            assert!(readable(&firewall), "{foreign}");
            let seen = firewall.changed_by_others().expect("an answer");
            assert!(seen.needs_repair(), "{foreign}: {seen:?}");
            assert!(!seen.lost);
            assert_eq!(seen.program.as_deref(), Some("nft"), "{foreign}");
            firewall.restore(bans).expect("restored");
            assert_eq!(names("jail4"), BTreeSet::from(["192.0.2.7".to_owned()]));
            assert_eq!(standing(), before);
            assert!(!readable(&firewall), "{foreign}");
        }
        // What others do elsewhere, and what they add, takes nothing away.
        nft("add table inet another");
        let seen = firewall.changed_by_others().expect("an answer");
        assert!(!seen.needs_repair() && seen.program.is_none(), "{seen:?}");
        nft("add element inet autoban jail4 { 192.0.2.66 }");
        let seen = firewall.changed_by_others().expect("an answer");
        assert!(!seen.needs_repair() && seen.added == 1, "{seen:?}");
    });
}

/// So many bans of IPv4 addresses.
fn many(count: u32) -> impl Iterator<Item = Change> {
    (0..count).map(|n| Change::Ban {
        set: Set::Jail,
        source: Source::V4(0x0a00_0000 + n),
        timeout: HOUR,
        left: HOUR,
    })
}

fn readable(firewall: &Firewall) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(firewall.watched(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).expect("poll") == 1
}

#[test]
fn a_flush_of_more_than_can_be_told_is_noticed() {
    in_namespace("a_flush_of_more_than_can_be_told_is_noticed", || {
        let mut firewall = fresh(&settings());
        let bans = || many(30_000);
        let outcome = firewall.restore(bans()).expect("restored");
        assert_eq!((outcome.applied, outcome.refused.len()), (30_000, 0));
        assert!(!readable(&firewall));
        nft("flush set inet autoban jail4");
        let seen = firewall.changed_by_others().expect("an answer");
        assert!(seen.lost && seen.needs_repair(), "{seen:?}");
        assert_eq!(firewall.restore(bans()).expect("restored").applied, 30_000);
        assert_eq!(elements("jail4").len(), 30_000);
    });
}

#[test]
fn a_restore_that_is_too_long_for_one_piece_comes_in_pieces() {
    in_namespace(
        "a_restore_that_is_too_long_for_one_piece_comes_in_pieces",
        || {
            let mut firewall = fresh(&settings()).in_pieces_of(1);
            let outcome = firewall.restore(many(3500).chain([ban("2001:db8::1")]));
            assert_eq!(outcome.expect("restored").applied, 3501);
            assert_eq!(elements("jail4").len(), 3500);
            assert_eq!(elements("jail6").len(), 1);
            assert!(standing().contains("counter name \"jail4\" drop"));
        },
    );
}

#[test]
fn without_its_table_a_ban_says_so() {
    in_namespace("without_its_table_a_ban_says_so", || {
        let mut firewall = fresh(&settings());
        nft("flush ruleset");
        let error = firewall.apply(&[ban("192.0.2.7")]).expect_err("applied");
        assert!(matches!(error, FirewallError::Gone), "{error}");
        firewall.restore([ban("192.0.2.7")]).expect("restored");
        assert_eq!(names("jail4").len(), 1);
        firewall.take_down().expect("taken down");
        firewall.take_down().expect("taken down again");
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn a_new_process_leaves_the_old_table_dropping_until_it_restores() {
    in_namespace(
        "a_new_process_leaves_the_old_table_dropping_until_it_restores",
        || {
            let mut old = fresh(&settings());
            let wire = Wire::to(&["192.0.2.7"]);
            apply(&mut old, &[ban("192.0.2.7")]);
            drop(old);
            let mut firewall = Firewall::open(&settings()).expect("opened");
            assert_eq!(wire.through(7000, &["192.0.2.7"]), BTreeSet::new());
            // The self-test leaves nothing behind.
            assert_eq!(nft("list tables"), "table inet autoban\n");
            firewall.restore([ban("192.0.2.7")]).expect("restored");
            assert_eq!(wire.through(7000, &["192.0.2.7"]), BTreeSet::new());
            // What was counted before counts on.
            assert_eq!(dropped(&mut firewall, "jail4"), 2);
        },
    );
}

#[test]
fn without_net_admin_the_error_names_the_capability() {
    let name = "without_net_admin_the_error_names_the_capability";
    if std::env::var_os(INSIDE).is_none() {
        // A user of its own, but no network of its own: no privilege over the one it is in.
        return in_namespace_of(name, &["-Ur"]);
    }
    let error = Firewall::open(&settings()).expect_err("opened");
    assert!(matches!(error, FirewallError::NoPrivilege), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("NET_ADMIN is missing\nhint: start the container with"),
        "{text}"
    );
}
