//! The text, and what Asterisk makes of it by its own rule.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::autoban::key::Source;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn ban(set: Set, address: &str, left: u64) -> Change {
    Change::Ban {
        set,
        source: Source::of(address.parse().unwrap()),
        timeout: Duration::from_secs(7200),
        left: Duration::from_secs(left),
    }
}

fn network(address: &str, left: u64) -> Change {
    Change::BanNetwork {
        network: Source::of(address.parse().unwrap()).network(),
        timeout: Duration::from_secs(7200),
        left: Duration::from_secs(left),
    }
}

/// As `ast_apply_ha`: everybody is let in, and the last rule that matches decides.
fn lets_in(text: &str, address: IpAddr) -> bool {
    let document = Document::parse(text);
    let entries = document.sections().flat_map(|section| section.entries());
    entries.fold(true, |is_in, entry| {
        match cidr(entry.value).contains(address) {
            true => entry.key == "permit",
            false => is_in,
        }
    })
}

#[test]
fn bans_are_denied_and_whom_nothing_may_close_out_comes_last() {
    let bans = [
        ban(Set::Jail, "192.0.2.7", 60),
        ban(Set::Weak, "192.0.2.8", 60),
        ban(Set::Jail, "2001:db8:1:2::7", 30),
        network("198.51.100.0", 90),
        ban(Set::Jail, "198.51.100.9", 900),
    ];
    let never = [cidr("198.51.100.4"), cidr("10.0.0.0/8")];
    let rendered = render(&bans, &[cidr("203.0.113.0/25")], &never, MOST);
    insta::assert_snapshot!(rendered.text, @r"
    ; AutoBan writes this file anew whenever a ban begins or ends.
    [autoban](+)
    deny = 198.51.100.0/24
    deny = 203.0.113.0/25
    deny = 192.0.2.7
    deny = 2001:db8:1:2::/64
    permit = 198.51.100.4
    ");
    assert_eq!(
        (rendered.denied, rendered.left_out, rendered.until_next),
        (4, 0, Some(Duration::from_secs(30)))
    );
}

#[test]
fn nobody_denied_is_an_empty_file() {
    let never = [cidr("127.0.0.0/8")];
    let weak = [ban(Set::Weak, "192.0.2.8", 60)];
    assert_eq!(render(&weak, &[], &never, MOST), Rendered::default());
}

#[test]
fn those_that_end_last_stay() {
    let bans = [
        ban(Set::Jail, "192.0.2.1", 10),
        ban(Set::Jail, "192.0.2.2", 30),
        ban(Set::Jail, "192.0.2.3", 20),
    ];
    let rendered = render(&bans, &[cidr("192.0.2.9")], &[], 3);
    let held = |address: &str| !lets_in(&rendered.text, address.parse().unwrap());
    assert!(held("192.0.2.9") && held("192.0.2.2") && held("192.0.2.3"));
    assert!(!held("192.0.2.1"));
    assert_eq!((rendered.denied, rendered.left_out), (3, 1));
    // The one that has no room must not set the clock.
    assert_eq!(rendered.until_next, Some(Duration::from_secs(20)));
}

const ACL: &str = "[home]\npermit = 10.0.0.0/8\n[autoban]\n#tryinclude /run/autoban/acl.conf\n";
const PJSIP: &str = "[t](!)\ntype = acl\n[x](t)\nacl = home, autoban\n";

fn lacks(acl: &str, pjsip: &str) -> Option<Missing> {
    missing(acl, pjsip, "/run/autoban/acl.conf")
}

#[test]
fn what_asterisks_files_lack_is_found() {
    assert_eq!(lacks(ACL, PJSIP), None);
    assert_eq!(lacks("", ""), Some(Missing::Section));
    assert_eq!(lacks("", PJSIP), Some(Missing::List));
    let template = ACL.replace("[autoban]", "[autoban](!)");
    assert_eq!(lacks(&template, ""), Some(Missing::Section));
    let strict = ACL.replace("#tryinclude", "#include");
    assert_eq!(lacks(&strict, PJSIP), Some(Missing::Include(3)));
    let early = "#tryinclude /run/autoban/acl.conf\n[autoban]\n";
    assert_eq!(lacks(early, PJSIP), Some(Missing::Include(2)));
    for pjsip in [
        "",
        "[x]\ntype = endpoint\nacl = autoban\n",
        "[x]\ntype = acl\nacl = autobahn\n",
        "[x](!)\ntype = acl\nacl = autoban\n",
    ] {
        assert_eq!(lacks(ACL, pjsip), Some(Missing::Rule), "{pjsip}");
    }
}

#[test]
fn what_is_missing_is_said_with_its_place_and_remedy() {
    for (missing, place, remedy) in [
        (Missing::List, "/acl.conf`", "module reload acl"),
        (
            Missing::Section,
            "/acl.conf`",
            "#tryinclude /run/autoban/acl.conf",
        ),
        (
            Missing::Include(7),
            "/acl.conf:7`",
            "#tryinclude /run/autoban/acl.conf",
        ),
        (Missing::Rule, "/pjsip.conf`", "`type = acl`"),
    ] {
        let words = missing.words("/srv/etc/asterisk", "/run/autoban/acl.conf");
        let (what, hint) = words.split_once("\nhint: ").unwrap();
        assert!(what.contains(place) && hint.contains(remedy), "{words}");
    }
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..4u8, any::<u8>()).prop_map(|(c, d)| IpAddr::from([192, 0, c, d])),
        (0..3u16, 0..3u16, any::<u16>())
            .prop_map(|(c, d, h)| IpAddr::from([0x2001, 0xdb8, c, d, 0, 0, 0, h])),
    ]
}

fn networks() -> impl Strategy<Value = Cidr> {
    (addresses(), 0..=128u8)
        .prop_filter_map("too long", |(address, length)| Cidr::new(address, length))
}

fn bans() -> impl Strategy<Value = Vec<Change>> {
    let one = (addresses(), 1..1000u64, 0..4).prop_map(|(address, left, kind)| match kind {
        0 => network(&address.to_string(), left),
        1 => ban(Set::Weak, &address.to_string(), left),
        _ => ban(Set::Jail, &address.to_string(), left),
    });
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn the_white_list_always_wins(
        bans in bans(),
        black in prop::collection::vec(networks(), 0..4),
        white in prop::collection::vec(networks(), 0..4),
        asked in prop::collection::vec(addresses(), 20),
    ) {
        let rendered = render(&bans, &black, &white, MOST);
        let jailed = render(&bans, &black, &[], MOST);
        for address in asked {
            let is_white = white.iter().any(|cidr| cidr.contains(address));
            let is_in = lets_in(&rendered.text, address);
            prop_assert_eq!(is_in, is_white || lets_in(&jailed.text, address));
        }
    }

    #[test]
    fn everybody_in_jail_is_denied_and_nobody_else(bans in bans(), asked in prop::collection::vec(addresses(), 20)) {
        let rendered = render(&bans, &[], &[], MOST);
        for address in asked {
            let is_banned = bans.iter().any(|ban| match ban {
                Change::Ban { set: Set::Jail, source, .. } => Cidr::from(*source).contains(address),
                Change::BanNetwork { network, .. } => Cidr::from(*network).contains(address),
                _ => false,
            });
            prop_assert_eq!(lets_in(&rendered.text, address), !is_banned);
        }
    }

    #[test]
    fn it_never_holds_more_than_it_may(bans in bans(), black in prop::collection::vec(networks(), 0..4), most in 0..10usize) {
        let rendered = render(&bans, &black, &[], most);
        let lines = rendered.text.matches("deny = ").count();
        prop_assert!(lines <= most);
        prop_assert_eq!(lines, rendered.denied);
        prop_assert!(rendered.left_out == 0 || lines > 0 || most == 0);
    }
}
