//! The networks that a list decides on by a rule of its own, whatever the order of its rules: what a kernel's set can hold.
//!
//! Pure. Invariant: an address is in one of the networks of a sense exactly when a rule with that sense decides on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::list::List;
use super::rule::{Clause, Sense};
use crate::autoban::cidr::Cidr;

/// A rule, by its number from 1, whose netmask has holes: it is no set of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holes(pub usize);

/// The networks on which rules of this sense decide.
///
/// # Errors
/// If a netmask has holes.
pub fn decided(list: &List, sense: Sense) -> Result<Vec<Cidr>, Holes> {
    let mut networks = Vec::new();
    for v6 in [false, true] {
        let mut decided = Vec::new();
        // What a later rule has decided on, in order and apart from each other.
        let mut taken: Vec<(u128, u128)> = Vec::new();
        for (at, rule) in list.rules.iter().enumerate().rev() {
            let clauses = rule.clauses.iter().rev();
            for clause in clauses.filter(|clause| clause.is_ipv6() == v6) {
                let range = clause.range().ok_or(Holes(at + 1))?;
                if clause.sense == sense {
                    decided.extend(without(range, &taken));
                }
                taken = joined(taken, range);
            }
        }
        decided.sort_unstable();
        for range in decided.into_iter().fold(Vec::new(), joined) {
            networks.extend(split(range, v6));
        }
    }
    Ok(networks)
}

/// Whether a clause means everybody of its family.
#[must_use]
pub fn is_everybody(clause: &Clause) -> bool {
    let last = if clause.is_ipv6() {
        u128::MAX
    } else {
        u128::from(u32::MAX)
    };
    clause.range() == Some((0, last))
}

/// What of a range is in none of these.
fn without((first, last): (u128, u128), taken: &[(u128, u128)]) -> Vec<(u128, u128)> {
    let mut parts = Vec::new();
    let mut from = Some(first);
    for (low, high) in taken
        .iter()
        .filter(|(low, high)| *high >= first && *low <= last)
    {
        let Some(start) = from else { break };
        if let Some(end) = low.checked_sub(1).filter(|end| *end >= start) {
            parts.push((start, end));
        }
        from = high.checked_add(1).map(|next| next.max(start));
    }
    parts.extend(
        from.filter(|start| *start <= last)
            .map(|start| (start, last)),
    );
    parts
}

/// One more range among them; what overlaps or touches becomes one.
fn joined(mut ranges: Vec<(u128, u128)>, (mut first, mut last): (u128, u128)) -> Vec<(u128, u128)> {
    ranges.retain(|(low, high)| {
        let is_apart = high.checked_add(1).is_some_and(|next| next < first)
            || last.checked_add(1).is_some_and(|next| next < *low);
        if !is_apart {
            (first, last) = (first.min(*low), last.max(*high));
        }
        is_apart
    });
    let at = ranges.partition_point(|(low, _)| *low < first);
    ranges.insert(at, (first, last));
    ranges
}

/// The fewest networks of a range.
fn split((first, last): (u128, u128), v6: bool) -> Vec<Cidr> {
    let width: u32 = if v6 { 128 } else { 32 };
    let mut networks = Vec::new();
    let mut from = first;
    loop {
        // As wide as the address allows, and no wider than what is left.
        let mut free = from.trailing_zeros().min(width);
        let end = |free: u32| match free {
            128 => u128::MAX,
            free => from | ((1u128 << free) - 1),
        };
        while end(free) > last {
            free -= 1;
        }
        let address = match v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(from)),
            false => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(from).unwrap_or_default())),
        };
        let length = u8::try_from(width - free).unwrap_or_default();
        networks.extend(Cidr::new(address, length));
        let next = end(free).checked_add(1).filter(|next| *next <= last);
        match next {
            Some(next) => from = next,
            None => return networks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::list::of_file;
    use crate::asterisk::conf::Document;
    use proptest::prelude::*;

    fn list(text: &str) -> List {
        let sections = Document::parse(&format!("[a]\n{text}")).full_sections();
        let (lists, mistakes) = of_file(&sections, |line| (String::new(), line));
        assert_eq!(mistakes, []);
        lists[0].clone()
    }

    fn shown(text: &str, sense: Sense) -> Vec<String> {
        let networks = decided(&list(text), sense).unwrap();
        networks.iter().map(Cidr::to_string).collect()
    }

    #[test]
    fn later_rules_take_their_part_away() {
        let text = "deny=10.0.0.0/30\npermit=10.0.0.1\ndeny=2001:db8::/32\n";
        assert_eq!(
            shown(text, Sense::Deny),
            ["10.0.0.0", "10.0.0.2/31", "2001:db8::/32"]
        );
        assert_eq!(shown(text, Sense::Permit), ["10.0.0.1"]);
        assert_eq!(
            shown("deny=::/0\ndeny=0.0.0.0/0\n", Sense::Deny),
            ["0.0.0.0/0", "::/0"]
        );
        assert_eq!(
            shown(
                "permit=255.255.255.255\ndeny=255.255.255.255\n",
                Sense::Permit
            ),
            [""; 0]
        );
        let holes = list("deny=10.0.0.0/8\ndeny=10.0.9.0/255.0.255.0\n");
        assert_eq!(decided(&holes, Sense::Deny), Err(Holes(2)));
    }

    proptest! {
        #[test]
        fn an_address_is_in_it_when_a_rule_of_that_sense_decides(
            rules in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u8..16, 0u8..=5), 0..8),
            last in 0u8..16,
            v6: bool,
        ) {
            let rules = rules.iter().map(|(deny, v6, last, length)| {
                let word = if *deny { "deny" } else { "permit" };
                match (v6, *length) {
                    (_, 5) => format!("{word} = ::/0,0.0.0.0/0\n"),
                    (false, length) => format!("{word}=10.0.0.{last}/{}\n", 28 + length),
                    (true, length) => format!("{word}=fd00::{last:x}/{}\n", 124 + length),
                }
            });
            let list = list(&rules.collect::<String>());
            let address: IpAddr = match v6 {
                false => format!("10.0.0.{last}").parse().unwrap(),
                true => format!("fd00::{last:x}").parse().unwrap(),
            };
            let decision = list.decide(address);
            for sense in [Sense::Permit, Sense::Deny] {
                let networks = decided(&list, sense).unwrap();
                let within = networks.iter().filter(|network| network.contains(address)).count();
                let is_decided = decision.by.is_some() && decision.sense == sense;
                prop_assert_eq!(within, usize::from(is_decided));
            }
        }
    }
}
