//! Whom a ban is about, and what the kernel is asked for.
//!
//! Pure. One attacker with IPv6 has a whole /64, so that is what is counted and banned; IPv4 is counted by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A source as it is counted: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    V4(u32),
    /// The upper 64 bits.
    V6(u64),
}

/// A network that is banned as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Network {
    /// A /24, with its last byte zero.
    V4(u32),
    /// A /48, as the upper 64 bits with their last 16 zero.
    V6(u64),
}

/// A dynamic set of the kernel's table; what each drops stands with the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Set {
    /// Everything of a source.
    Jail,
    /// SIP over UDP of a source, for evidence that one forged packet could have made.
    Weak,
}

/// One change of the kernel's sets. `timeout` is the whole time of the ban, `left` what remains of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Ban {
        set: Set,
        source: Source,
        timeout: Duration,
        left: Duration,
    },
    /// A source that is not in the set is no error.
    Free {
        set: Set,
        source: Source,
    },
    BanNetwork {
        network: Network,
        timeout: Duration,
        left: Duration,
    },
    FreeNetwork {
        network: Network,
    },
}

impl Source {
    /// The source that this address counts for. An IPv4 address within IPv6 (RFC 4291, 2.5.5.2) is the IPv4 address.
    pub fn of(address: IpAddr) -> Source {
        match address {
            IpAddr::V4(v4) => Source::V4(v4.to_bits()),
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => Source::V4(v4.to_bits()),
                None => Source::V6((v6.to_bits() >> 64) as u64),
            },
        }
    }

    /// The network around it that is banned when enough of it is.
    pub fn network(self) -> Network {
        match self {
            Source::V4(bits) => Network::V4(bits & 0xffff_ff00),
            Source::V6(bits) => Network::V6(bits & !0xffff),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::V4(bits) => write!(f, "{}", Ipv4Addr::from_bits(*bits)),
            Source::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Network::V4(bits) => write!(f, "{}/24", Ipv4Addr::from_bits(*bits)),
            Network::V6(bits) => write!(f, "{}/48", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> String {
        Source::of(text.parse().unwrap()).to_string()
    }

    #[test]
    fn a_source_is_an_address_or_a_64() {
        assert_eq!(source("192.0.2.7"), "192.0.2.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn its_network_is_a_24_or_a_48() {
        let network = |text: &str| Source::of(text.parse().unwrap()).network().to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.0/24");
        assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1::/48");
    }
}
