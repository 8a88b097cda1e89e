//! Where this container stands: behind an engine's bridge, in the host's own network, or elsewhere.
//!
//! Pure: what the kernel says of the links in, a judgement out. It is a judgement: from inside, a bridge of Docker, one of
//! Podman and a pod of another engine look alike, so that each says on what it rests. Invariant: nothing is called a bridge
//! whose default route does not lead through one end of a veth pair.

use std::net::IpAddr;

/// A network device (/sys/class/net).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    /// `ifindex`.
    pub index: u32,
    /// `iflink`: another number where the other end lies elsewhere.
    pub peer: u32,
    /// `DEVTYPE` of `uevent`; a veth has none.
    pub kind: Option<String>,
    /// There is hardware behind it, or what a hypervisor shows as such.
    pub has_device: bool,
}

/// What is known of the surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    pub links: Vec<Link>,
    /// The device of the default route.
    pub device: Option<String>,
    pub gateways: Vec<IpAddr>,
    /// The network of each address of ours.
    pub networks: Vec<Network>,
    /// Kubernetes says so in the environment.
    pub is_pod: bool,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// An engine's bridge: the gateway is the host, and ports are published one by one.
    Bridge { device: String, gateway: IpAddr },
    /// The host's own network.
    Host,
    /// A pod: its ports are published by services.
    Pod,
    /// No way out, or one of another kind (macvlan, a VPN, user-mode networking).
    Other,
}

impl Mode {
    pub fn is_bridge(&self) -> bool {
        matches!(self, Mode::Bridge { .. })
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mode::Bridge { device, gateway } => write!(
                f,
                "this container is behind an engine's bridge: {device} is one end of a veth pair, and its gateway is {gateway}"
            ),
            Mode::Host => f.write_str("this container is in the host's own network"),
            Mode::Pod => f.write_str("this is a pod of Kubernetes"),
            Mode::Other => f.write_str("this container is behind no bridge that is known"),
        }
    }
}

impl Surroundings {
    pub fn mode(&self) -> Mode {
        if self.is_pod {
            return Mode::Pod;
        }
        if self.links.iter().any(|link| link.has_device) {
            return Mode::Host;
        }
        let is_out = |link: &&Link| self.device.as_ref() == Some(&link.name);
        let link = self.links.iter().find(is_out);
        let is_veth = link.is_some_and(|link| link.peer != link.index && link.kind.is_none());
        // IPv4's comes first in the list.
        match (link, self.gateways.first()) {
            (Some(link), Some(gateway)) if is_veth => Mode::Bridge {
                device: link.name.clone(),
                gateway: *gateway,
            },
            _ => Mode::Other,
        }
    }

    /// Whether an address is one of ours.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.address == address)
    }

    /// Our addresses that others can reach, in the order of the devices.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let all = self.networks.iter().map(|network| network.address);
        all.filter(|address| crate::config::external::can_be_reached(*address))
    }
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Network {
    pub const fn new(address: IpAddr, prefix: u8) -> Network {
        Network { address, prefix }
    }

    /// The first address.
    fn base(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32)));
                IpAddr::V4((v4.to_bits() & mask.unwrap_or(0)).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128)));
                IpAddr::V6((v6.to_bits() & mask.unwrap_or(0)).into())
            }
        }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Network::new(address, self.prefix).base() == self.base()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

/// The device of the default route in the text of /proc/net/route, else in that of /proc/net/ipv6_route.
#[must_use]
pub fn default_device(v4: &str, v6: &str) -> Option<String> {
    let of_v4 = v4.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_default = words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000");
        is_default.then(|| words.first().copied()).flatten()
    });
    let of_v6 = || {
        v6.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let device = words.last().copied().filter(|device| *device != "lo");
            let is_default = words.get(1) == Some(&"00")
                && words
                    .first()
                    .is_some_and(|text| text.bytes().all(|b| b == b'0'));
            is_default.then_some(device).flatten()
        })
    };
    of_v4.or_else(of_v6).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, index: u32, peer: u32) -> Link {
        Link {
            name: name.to_owned(),
            index,
            peer,
            ..Link::default()
        }
    }

    fn bridged() -> Surroundings {
        Surroundings {
            links: vec![link("lo", 1, 1), link("eth0", 160, 161)],
            device: Some("eth0".to_owned()),
            gateways: vec!["172.17.0.1".parse().unwrap()],
            ..Surroundings::default()
        }
    }

    #[test]
    fn a_bridge_is_told_from_what_only_looks_like_one() {
        assert!(bridged().mode().is_bridge());
        assert!(bridged().mode().to_string().contains("172.17.0.1"));
        let mut pod = bridged();
        pod.is_pod = true;
        assert_eq!(pod.mode(), Mode::Pod);
        // macvlan has its parent elsewhere as well.
        let mut macvlan = bridged();
        macvlan.links[1].kind = Some("macvlan".to_owned());
        assert_eq!(macvlan.mode(), Mode::Other);
        let mut host = bridged();
        host.links.push(Link {
            has_device: true,
            ..link("enp3s0", 2, 2)
        });
        assert_eq!(host.mode(), Mode::Host);
        assert_eq!(Surroundings::default().mode(), Mode::Other);
    }

    #[test]
    fn networks_are_shown_by_their_first_address() {
        for (address, prefix, shown, other, is_in) in [
            ("172.17.0.5", 16, "172.17.0.0/16", "172.17.255.255", true),
            ("172.17.0.5", 32, "172.17.0.5/32", "172.17.0.6", false),
            ("0.0.0.0", 0, "0.0.0.0/0", "198.51.100.1", true),
            ("fd00::5", 64, "fd00::/64", "fd00::ffff", true),
            ("fd00::5", 64, "fd00::/64", "172.17.0.5", false),
        ] {
            let network = Network::new(address.parse().unwrap(), prefix);
            assert_eq!(network.to_string(), shown);
            assert_eq!(network.contains(other.parse().unwrap()), is_in, "{other}");
        }
    }

    #[test]
    fn the_way_out_is_found() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            eth1\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 0 0 lo\n{zero} 00 {zero} 00 fd 0 0 0 0 eth2\n"
        );
        assert_eq!(default_device(v4, &v6).as_deref(), Some("eth1"));
        assert_eq!(default_device("", &v6).as_deref(), Some("eth2"));
        assert_eq!(default_device("", ""), None);
    }
}
