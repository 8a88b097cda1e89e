//! The block lists' tables in the real kernel.

use switchhook::autoban::blocklist::loading::Loading;
use switchhook::autoban::blocklist::parse;
use switchhook::autoban::firewall::{Firewall, PIECE};
use switchhook::autoban::ruleset::{Key, LIST_TABLES, Ruleset};

use super::wire::{Wire, in_namespace, run};
use super::{HOUR, addresses, ban, dropped, fresh, nft, settings, standing};

/// Fills the lists' table with these networks, and lets it take its place.
fn load(firewall: &mut Firewall, networks: &[&str]) {
    let parsed = parse(networks.join("\n").as_bytes(), &[]).expect("a list");
    let mut loading = Loading::new(vec![parsed.list]);
    let white = settings().white;
    firewall
        .fill_lists(&white, &loading.lengths())
        .expect("begun");
    while let Some(piece) = loading.next(PIECE) {
        let kind = (piece.key, piece.length);
        firewall
            .add_to_lists(kind, &piece.values, HOUR, HOUR)
            .expect("added");
    }
    firewall.switch_lists().expect("switched");
}

#[test]
fn a_list_drops_and_the_white_list_wins_inside() {
    in_namespace(
        "firewall::lists::a_list_drops_and_the_white_list_wins_inside",
        || {
            let all = [
                "192.0.2.9",
                "192.0.2.77",
                "192.0.3.1",
                "198.51.100.7",
                "2001:db8:1:9::1",
                "2001:db8:1:77::1",
                "2001:db8:2::1",
            ];
            let mut firewall = fresh(&settings());
            let wire = Wire::to(&all);
            load(
                &mut firewall,
                &["192.0.2.0/24", "198.51.100.7", "2001:db8:1::/48"],
            );
            let white = ["192.0.2.77", "2001:db8:1:77::1"];
            let free = ["192.0.3.1", "2001:db8:2::1"];
            assert_eq!(wire.through(7000, &all), addresses(&[white, free].concat()));
            assert_eq!(dropped(&mut firewall, "list4"), 2);
            assert!(dropped(&mut firewall, "list6") >= 1);
            // Another white list counts at once.
            firewall
                .spare_in_lists(&["192.0.2.9".parse().expect("an address")])
                .expect("spared");
            let spared = ["192.0.2.9", "192.0.3.1", "2001:db8:2::1"];
            assert_eq!(wire.through(7000, &all), addresses(&spared));
            // A restore of the bans leaves the lists alone, and other lists leave the bans.
            firewall.restore([ban("192.0.3.1")]).expect("restored");
            assert_eq!(
                wire.through(7000, &all),
                addresses(&["192.0.2.9", "2001:db8:2::1"])
            );
            load(&mut firewall, &["2001:db8:2::/64"]);
            let rest = [
                "192.0.2.9",
                "192.0.2.77",
                "198.51.100.7",
                "2001:db8:1:9::1",
                "2001:db8:1:77::1",
            ];
            assert_eq!(wire.through(7000, &all), addresses(&rest));
            assert!(dropped(&mut firewall, "list4") >= 5);
            assert_eq!(
                nft("list tables"),
                "table inet autoban\ntable inet autoban_lists_2\n"
            );
            firewall.remove_lists().expect("removed");
            assert_eq!(nft("list tables"), "table inet autoban\n");
        },
    );
}

#[test]
fn lists_drop_on_while_the_next_ones_are_loaded_and_after_a_restart() {
    in_namespace(
        "firewall::lists::lists_drop_on_while_the_next_ones_are_loaded_and_after_a_restart",
        || {
            let all = ["192.0.2.9", "192.0.2.10"];
            let mut firewall = fresh(&settings());
            let wire = Wire::to(&all);
            load(&mut firewall, &["192.0.2.9"]);
            let one = [(Key::V4, 32, 1)];
            firewall.fill_lists(&[], &one).expect("begun");
            firewall
                .add_to_lists((Key::V4, 32), &[0xc000_020a], HOUR, HOUR)
                .expect("added");
            assert_eq!(wire.through(7000, &all), addresses(&["192.0.2.10"]));
            // The process ends here; what it had begun is left lying, and is no harm to the next.
            drop(firewall);
            let mut firewall = Firewall::open(&settings()).expect("opened");
            assert_eq!(wire.through(7000, &all), addresses(&["192.0.2.10"]));
            firewall.fill_lists(&[], &one).expect("begun");
            assert_eq!(wire.through(7000, &all), addresses(&["192.0.2.10"]));
            firewall
                .add_to_lists((Key::V4, 32), &[0xc000_020a], HOUR, HOUR)
                .expect("added");
            firewall.switch_lists().expect("switched");
            assert_eq!(wire.through(7000, &all), addresses(&["192.0.2.9"]));
            assert_eq!(dropped(&mut firewall, "list4"), 4);
        },
    );
}

#[test]
fn our_table_of_lists_is_the_one_that_nft_makes_of_our_text() {
    in_namespace(
        "firewall::lists::our_table_of_lists_is_the_one_that_nft_makes_of_our_text",
        || {
            let mut firewall = Firewall::open(&settings()).expect("opened");
            let lengths = [(Key::V4, 20, 7), (Key::V4, 32, 9), (Key::V6, 48, 1)];
            let white = settings().white;
            firewall.fill_lists(&white, &lengths).expect("begun");
            firewall.switch_lists().expect("switched");
            let ours = standing();
            nft("flush ruleset");
            let seen = firewall.changed_by_others().expect("an answer");
            assert!(seen.needs_lists() && !seen.needs_repair(), "{seen:?}");
            let file = tempfile::NamedTempFile::new().expect("a file");
            let text = Ruleset::of_lists(LIST_TABLES[0], &white, &lengths).to_string();
            std::fs::write(file.path(), text).expect("the text");
            run("nft", &["-f", &file.path().display().to_string()]);
            assert!(
                ours.contains("@list4_20 counter name \"list4\" drop"),
                "{ours}"
            );
            assert_eq!(ours, standing());
        },
    );
}
