//! Who is held to a failed request of which the log speaks, and how much that proves.
//!
//! Pure. Who is free to be counted is a stranger who is in no jail: nobody else can take a line upon himself. Invariants:
//! strong evidence is against such a one only, over whose connection the request can have come, or who alone can have sent
//! it while SIP over UDP is closed to him. Where several may have sent it, it costs who is trusted or protected nothing, and
//! at least one of those who may have is held to it, if one is free.

use std::net::IpAddr;

use super::Witnessed;
use crate::autoban::evidence::{Evidence, Grade};
use crate::autoban::key::Source;

/// What follows. `is_free` says whether evidence counts against an address as against a stranger, `is_closed` whether no
/// packet over UDP from there can have brought about the line.
#[must_use]
pub fn judge(
    witnessed: &Witnessed,
    is_free: impl Fn(IpAddr) -> bool,
    is_closed: impl Fn(IpAddr) -> bool,
) -> Vec<Evidence> {
    let evidence = |address, grade| Evidence {
        address,
        grade,
        kind: witnessed.kind,
        account: 0,
    };
    let senders = witnessed.senders.iter();
    let free: Vec<_> = senders.filter(|s| is_free(s.place.ip())).collect();
    // Of several connections each has sent as much: who opens a second one to hide loses both.
    let over_tcp = distinct(free.iter().filter(|s| s.has_sent).map(|s| s.place.ip()));
    if !over_tcp.is_empty() {
        let strong = over_tcp.into_iter();
        return strong
            .map(|address| evidence(address, Grade::Strong))
            .collect();
    }
    match (witnessed.is_alone, witnessed.senders.first()) {
        (true, Some(sender)) => {
            let address = sender.place.ip();
            // The ledger has its own words for one who is trusted.
            let grade = match is_free(address) && is_closed(address) {
                true => Grade::Strong,
                false => Grade::Weak,
            };
            vec![evidence(address, grade)]
        }
        _ => distinct(free.iter().map(|sender| sender.place.ip()))
            .into_iter()
            .map(|address| evidence(address, Grade::Weak))
            .collect(),
    }
}

/// One address of each source: a line counts once.
fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in addresses {
        let is_known = |other: &IpAddr| Source::of(*other) == Source::of(address);
        if !found.iter().any(is_known) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::autoban::evidence::{Kind, Meaning};
    use crate::autoban::ledger::laws::small;
    use crate::autoban::ledger::{Ledger, List, Standing};
    use crate::autoban::witness::Sender;

    const NOW: i64 = 1_800_000_000_000;

    fn witnessed(senders: &[(&str, bool)]) -> Witnessed {
        let senders: Vec<Sender> = senders
            .iter()
            .map(|(place, has_sent)| Sender {
                place: place.parse().unwrap(),
                has_sent: *has_sent,
            })
            .collect();
        Witnessed {
            is_alone: senders.len() == 1,
            senders,
            bytes: 100,
            kind: Kind::UnknownAccount,
        }
    }

    /// Where 203.0.113.0/24 is trusted, and UDP is closed to 192.0.2.0/24.
    fn words(senders: &[(&str, bool)]) -> String {
        let is_in = |network: [u8; 3]| {
            move |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.octets()[..3] == network,
                IpAddr::V6(_) => false,
            }
        };
        let is_trusted = is_in([203, 0, 113]);
        let found = judge(
            &witnessed(senders),
            |address| !is_trusted(address),
            is_in([192, 0, 2]),
        );
        let words: Vec<String> = found
            .iter()
            .map(|evidence| format!("{} {:?}", evidence.address, evidence.grade))
            .collect();
        words.join(", ")
    }

    #[test]
    fn who_alone_can_have_sent_it_is_held_to_it() {
        assert_eq!(words(&[("198.51.100.7:1", false)]), "198.51.100.7 Weak");
        assert_eq!(words(&[("198.51.100.7:1", true)]), "198.51.100.7 Strong");
        assert_eq!(words(&[("192.0.2.7:1", false)]), "192.0.2.7 Strong");
        // It is told of, and never more.
        assert_eq!(words(&[("203.0.113.7:1", true)]), "203.0.113.7 Weak");
    }

    #[test]
    fn where_several_can_have_sent_it_the_connection_decides() {
        let (a, b, trusted) = ("192.0.2.7:1", "198.51.100.7:1", "203.0.113.7:1");
        assert_eq!(
            words(&[(a, false), (b, false)]),
            "192.0.2.7 Weak, 198.51.100.7 Weak"
        );
        assert_eq!(words(&[(a, true), (b, false)]), "192.0.2.7 Strong");
        assert_eq!(
            words(&[(a, true), (b, true)]),
            "192.0.2.7 Strong, 198.51.100.7 Strong"
        );
        // Who is trusted takes nothing upon himself, and no line away from others.
        assert_eq!(words(&[(trusted, false), (b, false)]), "198.51.100.7 Weak");
        assert_eq!(words(&[(trusted, true), (b, false)]), "198.51.100.7 Weak");
        assert_eq!(words(&[(trusted, true), (trusted, false)]), "");
        // A source counts once.
        let neighbours = [("[2001:db8::1]:1", false), ("[2001:db8::2]:1", false)];
        assert_eq!(words(&neighbours), "2001:db8::1 Weak");
    }

    /// Strangers, a gateway, an own address, and neighbours that are trusted, on the white list or on the black one.
    fn any_address() -> impl Strategy<Value = IpAddr> {
        (0u8..4, 0u8..4).prop_map(|(net, host)| match net {
            0 => IpAddr::from([192, 0, 2, host]),
            1 => IpAddr::from([198, 51, 100, host]),
            2 => IpAddr::from([203, 0, 113, host]),
            _ => IpAddr::from([0x2001, 0xdb8, 1, u16::from(host), 0, 0, 0, 1]),
        })
    }

    fn town() -> Ledger {
        let mut ledger = Ledger::new(small());
        ledger.set_own(&[[203, 0, 113, 1].into()]);
        ledger.set_gateways(&[[203, 0, 113, 2].into()]);
        let cidr = |text: &str| [text.parse().unwrap()];
        ledger.set_configured(List::White, cidr("198.51.100.1/32"));
        ledger.set_configured(List::Black, cidr("198.51.100.2/32"));
        ledger.set_named(cidr("198.51.100.3/32"));
        ledger
    }

    proptest! {
        #[test]
        fn trust_wins_and_only_a_connection_makes_it_strong_where_there_are_several(
            lines in prop::collection::vec(
                (prop::collection::vec((any_address(), any::<bool>()), 1..6), any::<bool>(), 0i64..3_000),
                1..60,
            ),
        ) {
            let mut ledger = town();
            let mut now = NOW;
            let proven = IpAddr::from([192, 0, 2, 3]);
            ledger.step(Meaning::Success { address: proven, account: 1 }, now);
            for (named, is_alone, pause) in lines {
                now += pause;
                let senders: Vec<Sender> = named
                    .iter()
                    .map(|(address, has_sent)| Sender { place: (*address, 5060).into(), has_sent: *has_sent })
                    .collect();
                let is_alone = is_alone && senders.len() == 1;
                let line = Witnessed { senders, is_alone, bytes: 100, kind: Kind::WrongPassword };
                let found = judge(
                    &line,
                    |address| ledger.is_free(address, now),
                    |address| ledger.is_closed_since(address, now - 5_000, now),
                );
                let is_free = named.iter().any(|(address, _)| ledger.is_free(*address, now));
                prop_assert!(!found.is_empty() || !is_free);
                for evidence in found {
                    let same = |(address, _): &&(IpAddr, bool)| *address == evidence.address;
                    prop_assert!(named.iter().any(|named| same(&named)));
                    let standing = ledger.standing(evidence.address, now);
                    if !is_alone || evidence.grade == Grade::Strong {
                        prop_assert_eq!(standing, Standing::Stranger);
                    }
                    if !is_alone && evidence.grade == Grade::Strong {
                        prop_assert!(named.iter().filter(same).any(|(_, has_sent)| *has_sent));
                    }
                    ledger.step(Meaning::Against(evidence), now);
                }
                for address in [proven, [203, 0, 113, 1].into(), [203, 0, 113, 2].into(), [198, 51, 100, 1].into(), [198, 51, 100, 3].into()] {
                    let why = ledger.why(address, now);
                    prop_assert!(why.offender.is_none() && why.weak_ban.is_none(), "{}", why);
                }
                prop_assert_eq!(ledger.hidden_behind(), None);
            }
        }
    }
}
