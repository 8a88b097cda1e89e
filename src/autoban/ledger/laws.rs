use proptest::prelude::*;

use super::*;
use crate::autoban::key::Change;

const START: i64 = 1_800_000_000_000;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[derive(Debug, Clone)]
pub(in crate::autoban) enum Doing {
    Event(Meaning),
    Manual(Manual),
}

/// A few neighbours, so that they meet.
fn any_address() -> impl Strategy<Value = IpAddr> {
    (0u8..3, 0u8..12).prop_map(|(net, host)| match net {
        0 => IpAddr::from([192, 0, 2, host]),
        1 => IpAddr::from([198, 51, 100, host]),
        _ => IpAddr::from([0x2001, 0xdb8, 1, u16::from(host), 0, 0, 0, 1]),
    })
}

pub(in crate::autoban) fn any_doing() -> impl Strategy<Value = (Doing, i64)> {
    let evidence =
        (any_address(), any::<bool>(), 0u32..3).prop_map(|(address, strong, account)| {
            Doing::Event(Meaning::Against(Evidence {
                address,
                grade: if strong { Grade::Strong } else { Grade::Weak },
                kind: Kind::WrongPassword,
                account,
            }))
        });
    let success = any_address().prop_map(|address| {
        Doing::Event(Meaning::Success {
            address,
            account: 1,
        })
    });
    let manual = (any_address(), 0u8..6, 0usize..6).prop_map(|(address, what, set)| {
        let cidr = Cidr::host(address);
        Doing::Manual(match what {
            0 => Manual::ban(cidr, None, "by hand"),
            1 => Manual::free(cidr),
            2 => Manual::deny(cidr, ""),
            3 => Manual::Delete {
                from: vec![SetName::ALL[set]],
                what: vec![Item::All],
            },
            4 => Manual::Delete {
                from: vec![SetName::White],
                what: vec![Item::Cidr(cidr)],
            },
            _ => Manual::allow(cidr, "friend"),
        })
    });
    let doing = prop_oneof![30 => evidence, 1 => success, 2 => manual];
    (doing, prop_oneof![9 => 0i64..2_000, 1 => 0i64..2_000_000])
}

pub(in crate::autoban) fn small() -> Policy {
    Policy {
        maxcount: 3,
        maxwatch: 8,
        maxjail: 6,
        aggregatecount: 3,
        ..Policy::default()
    }
}

pub(in crate::autoban) fn perform(ledger: &mut Ledger, doing: &Doing, now: i64) -> Outcome {
    match doing {
        Doing::Event(meaning) => ledger.step(*meaning, now),
        Doing::Manual(manual) => ledger.manual(manual, now),
    }
}

fn ends(ledger: &Ledger) -> HashMap<Cidr, i64> {
    let tables = ledger.offenders.iter().flat_map(Expiring::iter);
    let networks = ledger
        .networks
        .iter()
        .map(|(network, record)| ((*network).into(), record.until));
    tables
        .map(|(source, record)| ((*source).into(), record.until))
        .chain(networks)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_ban_never_shortens_by_more_evidence(doings in prop::collection::vec(any_doing(), 1..150)) {
        let mut ledger = Ledger::new(Policy { maxjail: 1000, ..small() });
        let mut now = START;
        for (doing, pause) in doings {
            now += pause;
            let before = ends(&ledger);
            perform(&mut ledger, &doing, now);
            let Doing::Event(Meaning::Against(_)) = doing else { continue };
            let after = ends(&ledger);
            for (cidr, end) in before.iter().filter(|(_, end)| **end > now) {
                prop_assert!(after.get(cidr).is_some_and(|later| later >= end), "{}", cidr);
            }
        }
    }

    #[test]
    fn no_table_outgrows_its_bound(doings in prop::collection::vec(any_doing(), 1..300)) {
        let mut ledger = Ledger::new(small());
        let mut now = START;
        for (doing, pause) in doings {
            now += pause;
            perform(&mut ledger, &doing, now);
            prop_assert!(ledger.watch.len() <= 8);
            for table in 0..2 {
                prop_assert!(ledger.offenders[table].len() <= 6 && ledger.weak[table].len() <= 6);
            }
            prop_assert!(ledger.networks.len() <= 6 && ledger.recent.len() <= 6 && ledger.proven.len() <= 6);
            prop_assert!(ledger.proven_in.values().sum::<u32>() as usize == ledger.proven.len());
        }
    }

    #[test]
    fn the_white_list_always_wins(doings in prop::collection::vec(any_doing(), 1..200)) {
        let mut ledger = Ledger::new(small());
        ledger.set_configured(List::White, [cidr("192.0.2.0/24")]);
        let mut now = START;
        for (doing, pause) in doings {
            now += pause;
            for change in perform(&mut ledger, &doing, now).changes {
                let is_white = match change {
                    Change::Ban { source, .. } => source.network() == Network::V4(0xc000_0200),
                    Change::BanNetwork { network, .. } => network == Network::V4(0xc000_0200),
                    _ => false,
                };
                prop_assert!(!is_white, "{:?}", change);
            }
        }
    }

    #[test]
    fn weak_evidence_never_escalates(doings in prop::collection::vec(any_doing(), 1..200)) {
        let mut ledger = Ledger::new(small());
        let mut now = START;
        for (doing, pause) in doings {
            let Doing::Event(Meaning::Against(evidence)) = doing else { continue };
            now += pause;
            let weak = Evidence { grade: Grade::Weak, ..evidence };
            let out = ledger.step(Meaning::Against(weak), now);
            for change in out.changes {
                let is_short = matches!(change, Change::Free { set: Set::Weak, .. } | Change::Ban { set: Set::Weak, .. })
                    && !matches!(change, Change::Ban { timeout, .. } if timeout > Duration::from_secs(300));
                prop_assert!(is_short, "{:?}", change);
            }
        }
        prop_assert_eq!(ledger.counts().offenders + ledger.counts().networks, 0);
    }

    #[test]
    fn stale_passwords_never_ban_an_office(
        events in prop::collection::vec((0u32..15, any::<bool>(), 1_000i64..90_000, 0u32..1000), 1..600),
    ) {
        let office = IpAddr::from([203, 0, 113, 9]);
        let mut ledger = Ledger::new(Policy::default());
        let mut now = START;
        for (account, is_forged, pause, forged) in events {
            now += pause;
            ledger.step(Meaning::Success { address: office, account: 99 }, now);
            // One kind of failure for each; what anybody can forge comes in between.
            let kind = if account % 2 == 0 { Kind::WrongPassword } else { Kind::UnknownAccount };
            let strong = Evidence { address: office, grade: Grade::Strong, kind, account };
            let weak = Evidence { grade: Grade::Weak, account: forged, ..strong };
            for evidence in [Some(strong), is_forged.then_some(weak)].into_iter().flatten() {
                let out = ledger.step(Meaning::Against(evidence), now);
                prop_assert_eq!(out.changes, []);
            }
        }
    }

    #[test]
    fn who_goes_through_accounts_is_jailed_at_three_times_the_count(
        maxcount in 1u32..40,
        order in prop::collection::vec(any::<bool>(), 200),
    ) {
        let office = IpAddr::from([203, 0, 113, 9]);
        let mut ledger = Ledger::new(Policy { maxcount, ..Policy::default() });
        ledger.step(Meaning::Success { address: office, account: 99 }, START);
        let mut account = 0;
        let jailed = order.iter().find_map(|is_first_forged| {
            account += 1;
            let strong = Evidence { address: office, grade: Grade::Strong, kind: Kind::WrongPassword, account };
            let weak = Evidence { grade: Grade::Weak, ..strong };
            if *is_first_forged {
                ledger.step(Meaning::Against(weak), START);
            }
            let out = ledger.step(Meaning::Against(strong), START);
            (!out.changes.is_empty()).then_some(account)
        });
        // One for the first and two for each other.
        prop_assert_eq!(jailed, Some((3 * maxcount - 1).div_ceil(2) + 1));
    }
}
