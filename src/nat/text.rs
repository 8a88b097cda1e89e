//! The lines that the PBX includes: our address outside for each family, and the ports of sound.
//!
//! Pure. Which networks are inside decides who is told which address (`local_net`, res_pjsip_nat.c). Invariant: a network in
//! which our address outside lies is never called inside because of its range alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::surroundings::{Network, Surroundings};
use crate::config::external::Known;
use crate::config::ports::Ports;

/// Where the PBX finds the lines, by their names in its configuration.
pub const IPV4: &str = "/run/switchhook/nat/ipv4.conf";
pub const IPV6: &str = "/run/switchhook/nat/ipv6.conf";
pub const RTP: &str = "/run/switchhook/rtp.conf";

/// Of RFC 1918 and RFC 4193.
const PRIVATE: [Network; 4] = [
    Network::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    Network::new(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    Network::new(IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    Network::new(IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
];

const HEAD: &str = "; Made by the exchange; what is changed here is lost.\n";

/// Whether it is of a range that no router of the Internet knows.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    PRIVATE.iter().any(|range| range.contains(address))
}

/// The lines of a transport of IPv4 and of one of IPv6.
#[must_use]
pub fn addresses(outside: Known, around: &Surroundings) -> [(&'static str, String); 2] {
    [
        (IPV4, lines(outside.v4.map(IpAddr::V4), around)),
        (IPV6, lines(outside.v6.map(IpAddr::V6), around)),
    ]
}

fn lines(outside: Option<IpAddr>, around: &Surroundings) -> String {
    let Some(outside) = outside else {
        return HEAD.to_owned();
    };
    let mut text = format!(
        "{HEAD}external_signaling_address = {outside}\nexternal_media_address = {outside}\n"
    );
    for network in inside(outside, around) {
        text.push_str(&format!("local_net = {network}\n"));
    }
    text
}

/// Our own networks; and the private ranges, unless we are behind a bridge: whoever comes from another network has come
/// through the host then, and does not reach us at our address inside.
fn inside(outside: IpAddr, around: &Surroundings) -> Vec<Network> {
    let is_of_family = |network: &Network| network.address.is_ipv4() == outside.is_ipv4();
    let mut found: Vec<Network> = Vec::new();
    let mut add = |network: Network| {
        if !found
            .iter()
            .any(|known| known.to_string() == network.to_string())
        {
            found.push(network);
        }
    };
    around
        .networks
        .iter()
        .copied()
        .filter(is_of_family)
        .for_each(&mut add);
    if !around.mode().is_bridge() {
        let others = PRIVATE.iter().copied().filter(is_of_family);
        let others = others.filter(|range| !range.contains(outside));
        others.for_each(&mut add);
    }
    found
}

/// The lines of `rtp.conf`.
#[must_use]
pub fn ports(ports: Ports) -> String {
    format!(
        "{HEAD}rtpstart = {}\nrtpend = {}\n",
        ports.first, ports.last
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::surroundings::Link;

    fn around(is_bridge: bool) -> Surroundings {
        Surroundings {
            links: vec![Link {
                name: "eth0".to_owned(),
                index: 2,
                peer: if is_bridge { 3 } else { 2 },
                ..Link::default()
            }],
            device: Some("eth0".to_owned()),
            gateways: vec!["172.17.0.1".parse().unwrap()],
            networks: vec![
                Network::new("127.0.0.1".parse().unwrap(), 8),
                Network::new("172.17.0.2".parse().unwrap(), 16),
                Network::new("fd00::2".parse().unwrap(), 64),
            ],
            is_pod: false,
        }
    }

    fn v4(outside: &str, is_bridge: bool) -> String {
        let known = Known::default().with(outside.parse().unwrap());
        let [(name, text), _] = addresses(known, &around(is_bridge));
        assert_eq!(name, IPV4);
        text
    }

    #[test]
    fn behind_a_bridge_only_our_own_networks_are_inside() {
        insta::assert_snapshot!(v4("203.0.113.7", true), @r"
        ; Made by the exchange; what is changed here is lost.
        external_signaling_address = 203.0.113.7
        external_media_address = 203.0.113.7
        local_net = 127.0.0.0/8
        local_net = 172.17.0.0/16
        ");
    }

    #[test]
    fn elsewhere_the_private_ranges_are_too_but_not_that_of_our_address_outside() {
        let text = v4("203.0.113.7", false);
        for range in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"] {
            assert!(text.contains(range), "{text}");
        }
        let text = v4("192.168.1.5", false);
        assert!(
            text.contains("10.0.0.0/8") && !text.contains("192.168.0.0/16"),
            "{text}"
        );
    }

    #[test]
    fn a_family_without_an_address_says_nothing() {
        let known = Known::default().with("2001:db8::7".parse().unwrap());
        let [(_, v4), (_, v6)] = addresses(known, &around(false));
        assert_eq!(v4, HEAD);
        assert!(
            v6.contains("external_media_address = 2001:db8::7\n"),
            "{v6}"
        );
        assert!(
            v6.contains("local_net = fd00::/64\nlocal_net = fc00::/7\n"),
            "{v6}"
        );
    }

    #[test]
    fn ports_are_two_lines() {
        assert!(ports(Ports::DEFAULT).ends_with("rtpstart = 10000\nrtpend = 10099\n"));
        assert!(
            is_private("172.31.1.1".parse().unwrap()) && !is_private("172.32.1.1".parse().unwrap())
        );
    }
}
