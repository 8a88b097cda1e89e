//! The default gateways, from the text of /proc/net/route and /proc/net/ipv6_route.
//!
//! Pure. A line that is not of the kernel's form (net/ipv4/fib_trie.c, `fib_route_seq_show`; net/ipv6/route.c,
//! `rt6_info_route`) is passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// linux/route.h: the route goes by a gateway.
const RTF_GATEWAY: u32 = 2;

/// The gateways of the default routes of IPv4. Numbers are hexadecimal, in the machine's order.
#[must_use]
pub fn gateways_v4(text: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (destination, gateway) = (words.next()?, words.next()?);
        let flags = u32::from_str_radix(words.next()?, 16).ok()?;
        let mask = words.nth(3)?;
        let address = u32::from_str_radix(gateway, 16).ok()?;
        (destination == "00000000" && mask == "00000000" && flags & RTF_GATEWAY != 0)
            .then(|| IpAddr::V4(Ipv4Addr::from(address.to_ne_bytes())))
    };
    distinct(text.lines().filter_map(gateway))
}

/// The gateways of the default routes of IPv6.
#[must_use]
pub fn gateways_v6(text: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let mut words = line.split_whitespace();
        let (destination, length) = (words.next()?, words.next()?);
        let hop = u128::from_str_radix(words.nth(2)?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        let is_default = length == "00" && destination.bytes().all(|b| b == b'0');
        (is_default && flags & RTF_GATEWAY != 0 && hop != 0)
            .then(|| IpAddr::V6(Ipv6Addr::from_bits(hop)))
    };
    distinct(text.lines().filter_map(gateway))
}

fn distinct(found: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = found.take(64).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn the_default_gateway_of_ipv4() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            eth1\t0000000A\t0900000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let expected: IpAddr = [172, 17, 0, 1].into();
        assert_eq!(gateways_v4(text), [expected]);
    }

    #[test]
    fn the_default_gateway_of_ipv6() {
        let zero = "0".repeat(32);
        let text = format!(
            "{zero} 00 {zero} 00 fd090000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
             fd090000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        let expected: IpAddr = "fd09::1".parse().unwrap();
        assert_eq!(gateways_v6(&text), [expected]);
    }

    #[test]
    fn anything_else_is_no_gateway() {
        for text in [
            "",
            "eth0",
            "eth0 00000000 zz 3 0 0 0 00000000",
            "\0\n\u{e9}",
        ] {
            assert!(gateways_v4(text).is_empty() && gateways_v6(text).is_empty());
        }
    }
}
