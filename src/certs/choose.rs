//! Which of several certificates is ours.
//!
//! Pure. One that serves the most wanted name comes first; among equals the one for everybody before one that only tests
//! trust, then the newest. Invariant: what covers none of the wanted names is never chosen.

use super::names::Name;
use super::pair::Facts;
use super::validate::in_time;

/// Why none was chosen, or which one was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Its place in the list.
    Chosen(usize),
    /// None has any of the names; those that there are, for people.
    NoMatch { others: Vec<String> },
    /// Some have, and all of those are out of their time.
    OutOfTime { why: String },
}

/// As many foreign names are told.
const MOST_OTHERS: usize = 10;

/// Chooses among certificates that are sound.
pub fn choose(wanted: &[Name], candidates: &[Facts], now: i64) -> Choice {
    let matching = candidates
        .iter()
        .enumerate()
        .filter_map(|(at, facts)| Some((at, facts, first_covered(wanted, facts)?)));
    let mut out_of_time: Option<(&Facts, String)> = None;
    let mut best: Option<(usize, Rank)> = None;
    for (at, facts, name) in matching {
        if let Err(why) = in_time(facts, now) {
            // The one that ended last is the one that people look for.
            if out_of_time
                .as_ref()
                .is_none_or(|(other, _)| other.not_after < facts.not_after)
            {
                out_of_time = Some((facts, why.to_string()));
            }
            continue;
        }
        let covered = wanted.iter().filter(|name| facts.covers(name)).count();
        let rank = Rank {
            is_real: !facts.is_staging,
            preference: wanted.len() - name,
            covered,
            not_before: facts.not_before,
            not_after: facts.not_after,
        };
        if best.as_ref().is_none_or(|(_, other)| *other < rank) {
            best = Some((at, rank));
        }
    }
    match (best, out_of_time) {
        (Some((at, _)), _) => Choice::Chosen(at),
        (None, Some((facts, why))) => Choice::OutOfTime {
            why: format!("the certificate for {}: {why}", facts.names.join(", ")),
        },
        (None, None) => {
            let mut others: Vec<String> = candidates
                .iter()
                .flat_map(|facts| facts.names.clone())
                .collect();
            others.sort();
            others.dedup();
            others.truncate(MOST_OTHERS);
            Choice::NoMatch { others }
        }
    }
}

/// The place of the most wanted name that a certificate has.
fn first_covered(wanted: &[Name], facts: &Facts) -> Option<usize> {
    wanted.iter().position(|name| facts.covers(name))
}

/// What is better comes later; the order of the fields is that of their weight.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_real: bool,
    preference: usize,
    covered: usize,
    not_before: i64,
    not_after: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::pair::Algorithm;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000;
    const DAY: i64 = 86_400;

    fn facts(names: &[&str], from: i64, until: i64) -> Facts {
        Facts {
            fingerprint: String::new(),
            algorithm: Algorithm::Ecdsa,
            bits: 256,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            issuer: "CN=An authority".to_owned(),
            serial: String::new(),
            not_before: NOW + from * DAY,
            not_after: NOW + until * DAY,
            is_self_signed: false,
            is_staging: false,
            chain: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn wanted() -> Vec<Name> {
        crate::certs::names::wanted("pbx.example.com", "").0
    }

    fn chosen(candidates: &[Facts]) -> Choice {
        choose(&wanted(), candidates, NOW)
    }

    #[test]
    fn t11_of_two_with_one_name_the_valid_one() {
        let old = facts(&["pbx.example.com"], -90, -1);
        let new = facts(&["pbx.example.com"], -30, 60);
        assert_eq!(chosen(&[old.clone(), new.clone()]), Choice::Chosen(1));
        assert_eq!(chosen(&[new, old]), Choice::Chosen(0));
    }

    #[test]
    fn of_two_valid_ones_the_newest() {
        let old = facts(&["pbx.example.com"], -60, 30);
        let new = facts(&["pbx.example.com"], -1, 89);
        assert_eq!(chosen(&[new.clone(), old.clone()]), Choice::Chosen(0));
        assert_eq!(chosen(&[old, new]), Choice::Chosen(1));
    }

    #[test]
    fn t12_staging_comes_last() {
        let mut staging = facts(&["pbx.example.com"], -1, 89);
        staging.is_staging = true;
        let real = facts(&["pbx.example.com"], -60, 30);
        assert_eq!(chosen(&[staging.clone(), real]), Choice::Chosen(1));
        assert_eq!(chosen(&[staging]), Choice::Chosen(0));
    }

    #[test]
    fn t13_a_subject_alternative_name_counts_wherever_it_stands() {
        let san = facts(
            &["example.net", "www.example.net", "pbx.example.com"],
            -1,
            89,
        );
        assert_eq!(chosen(&[san]), Choice::Chosen(0));
    }

    #[test]
    fn t14_and_t16_a_wildcard_serves_the_host_and_the_bare_name_the_domain() {
        assert_eq!(
            chosen(&[facts(&["*.example.com"], -1, 89)]),
            Choice::Chosen(0)
        );
        let both = facts(&["example.com", "*.example.com"], -9, 81);
        let domain = facts(&["example.com"], -1, 89);
        assert_eq!(chosen(&[domain, both]), Choice::Chosen(1));
    }

    #[test]
    fn the_host_is_wanted_more_than_its_domain() {
        let host = facts(&["pbx.example.com"], -60, 30);
        let domain = facts(&["example.com"], -1, 89);
        assert_eq!(chosen(&[domain.clone(), host]), Choice::Chosen(1));
        assert_eq!(chosen(&[domain]), Choice::Chosen(0));
    }

    #[test]
    fn more_of_the_wanted_names_are_better() {
        let (wanted, _) = crate::certs::names::wanted("pbx.example.com", "sip.example.net");
        let both = facts(&["sip.example.net", "pbx.example.com"], -60, 30);
        let one = facts(&["pbx.example.com"], -1, 89);
        assert_eq!(choose(&wanted, &[one, both], NOW), Choice::Chosen(1));
    }

    #[test]
    fn t18_no_match_names_what_there_is() {
        let other = facts(&["shop.example.org", "example.org"], -1, 89);
        let others = vec!["example.org".to_owned(), "shop.example.org".to_owned()];
        assert_eq!(chosen(&[other]), Choice::NoMatch { others });
        assert_eq!(chosen(&[]), Choice::NoMatch { others: vec![] });
    }

    #[test]
    fn t21_expired_and_not_yet_valid_are_told_apart_from_no_match() {
        let told = |facts| match chosen(&[facts]) {
            Choice::OutOfTime { why } => why,
            other => panic!("{other:?}"),
        };
        assert!(told(facts(&["pbx.example.com"], -90, -1)).ends_with("it has expired"));
        assert!(told(facts(&["pbx.example.com"], 3, 90)).ends_with("it is not valid yet"));
        // A clock that is some hours slow.
        let fresh = facts(&["pbx.example.com"], 1, 90);
        assert_eq!(chosen(&[fresh]), Choice::Chosen(0));
    }

    proptest! {
        #[test]
        fn the_order_of_the_list_does_not_matter(
            times in proptest::collection::vec((-100..10i64, 0..100i64, any::<bool>(), 0..4usize), 1..8),
            turn in 0..8usize,
        ) {
            let names = [["pbx.example.com"], ["*.example.com"], ["example.com"], ["example.org"]];
            let candidates: Vec<Facts> = times.iter().enumerate().map(|(at, (from, length, staging, name))| {
                let mut facts = facts(&names[*name], *from, from + length);
                facts.is_staging = *staging;
                // No two are quite equal.
                facts.not_before += i64::try_from(at).unwrap();
                facts
            }).collect();
            let mut turned = candidates.clone();
            turned.rotate_left(turn % candidates.len());
            let of = |list: &[Facts]| match chosen(list) {
                Choice::Chosen(at) => Some(list[at].clone()),
                _ => None,
            };
            let (one, other) = (of(&candidates), of(&turned));
            prop_assert_eq!(&one, &other);
            if let Some(facts) = one {
                prop_assert!(in_time(&facts, NOW).is_ok() && wanted().iter().any(|name| facts.covers(name)));
            }
        }
    }
}
