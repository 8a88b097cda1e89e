//! Networks in the notation of RFC 4632 and RFC 4291, and a set of them that is asked in constant time.
//!
//! Pure.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::key::{Network, Source};

/// An address or a network, with the bits after its length zero. An IPv4 network within IPv6 is the IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    v6: bool,
    /// Counted from the left; an IPv4 address has its 32 bits at the right.
    bits: u128,
    length: u8,
}

/// A text that is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as 192.0.2.0/24 or 2001:db8::/48")]
pub struct NoCidr(String);

impl Cidr {
    /// A network of an address; `None` if the length does not fit.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Cidr> {
        let (v6, bits, width, length) = match address {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits()), 32, length),
            IpAddr::V6(v6) => match (v6.to_ipv4_mapped(), length.checked_sub(96)) {
                (Some(v4), Some(length)) => (false, u128::from(v4.to_bits()), 32, length),
                _ => (true, v6.to_bits(), 128, length),
            },
        };
        (length <= width).then(|| Cidr {
            v6,
            bits: bits & mask(width, length),
            length,
        })
    }

    /// Just this address.
    #[must_use]
    pub fn host(address: IpAddr) -> Cidr {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Cidr::new(address, length).unwrap_or(Cidr {
            v6: false,
            bits: 0,
            length: 32,
        })
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let host = Cidr::host(address);
        host.v6 == self.v6 && host.bits & mask(self.width(), self.length) == self.bits
    }

    /// Whether they have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Cidr) -> bool {
        let length = mask(self.width(), self.length.min(other.length));
        self.v6 == other.v6 && self.bits & length == other.bits & length
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self.v6 {
            true => IpAddr::V6(Ipv6Addr::from_bits(self.bits)),
            false => IpAddr::V4(Ipv4Addr::from_bits(self.bits as u32)),
        }
    }

    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        !self.v6
    }

    /// The first and the last address, as numbers.
    #[must_use]
    pub fn range(&self) -> (u128, u128) {
        let hosts = mask(self.width(), self.width()) & !mask(self.width(), self.length);
        (self.bits, self.bits | hosts)
    }

    /// The source that it is within, if it is one source or a part of one.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        let least = if self.v6 { 64 } else { 32 };
        (self.length >= least).then(|| Source::of(self.address()))
    }

    /// The network of the jail that it is.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        let length = if self.v6 { 48 } else { 24 };
        (self.length == length).then(|| Source::of(self.address()).network())
    }

    fn width(&self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }
}

fn mask(width: u8, length: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & !(all.checked_shr(u32::from(length)).unwrap_or(0))
}

impl From<Source> for Cidr {
    fn from(source: Source) -> Cidr {
        match source {
            Source::V4(bits) => Cidr {
                v6: false,
                bits: u128::from(bits),
                length: 32,
            },
            Source::V6(bits) => Cidr {
                v6: true,
                bits: u128::from(bits) << 64,
                length: 64,
            },
        }
    }
}

impl From<Network> for Cidr {
    fn from(network: Network) -> Cidr {
        match network {
            Network::V4(bits) => Cidr {
                v6: false,
                bits: u128::from(bits),
                length: 24,
            },
            Network::V6(bits) => Cidr {
                v6: true,
                bits: u128::from(bits) << 64,
                length: 48,
            },
        }
    }
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Cidr, NoCidr> {
        let no = || NoCidr(text.escape_debug().to_string());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no())?;
        match length {
            None => Ok(Cidr::host(address)),
            Some(length) if length.bytes().all(|b| b.is_ascii_digit()) => length
                .parse()
                .ok()
                .and_then(|length| Cidr::new(address, length))
                .ok_or_else(no),
            Some(_) => Err(no()),
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = NoCidr;

    fn try_from(text: String) -> Result<Cidr, NoCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

/// An address without its length, a network with it.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length == self.width() {
            true => write!(f, "{}", self.address()),
            false => write!(f, "{}/{}", self.address(), self.length),
        }
    }
}

/// The ranges of these networks, in order, with what overlaps or touches made one: an interval set of the kernel refuses
/// overlaps.
pub fn merged(networks: impl Iterator<Item = Cidr>) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = networks.map(|network| network.range()).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// Networks, asked by address. The time is that of one look-up for each length in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CidrSet {
    by_length: BTreeMap<(bool, u8), HashSet<u128>>,
}

impl CidrSet {
    /// Whether it was not there before.
    pub fn insert(&mut self, cidr: Cidr) -> bool {
        let key = (cidr.v6, cidr.length);
        self.by_length.entry(key).or_default().insert(cidr.bits)
    }

    /// Whether it was there.
    pub fn remove(&mut self, cidr: &Cidr) -> bool {
        let key = (cidr.v6, cidr.length);
        let Some(bits) = self.by_length.get_mut(&key) else {
            return false;
        };
        let was = bits.remove(&cidr.bits);
        if bits.is_empty() {
            self.by_length.remove(&key);
        }
        was
    }

    /// The widest network that holds the address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<Cidr> {
        let host = Cidr::host(address);
        self.by_length.iter().find_map(|(&(v6, length), set)| {
            let bits = host.bits & mask(host.width(), length.min(host.width()));
            (v6 == host.v6 && set.contains(&bits)).then_some(Cidr { v6, bits, length })
        })
    }

    /// Whether one of them has an address in common with this network.
    #[must_use]
    pub fn overlaps(&self, cidr: &Cidr) -> bool {
        self.by_length.iter().any(|(&(v6, length), set)| {
            if v6 != cidr.v6 {
                return false;
            }
            match length <= cidr.length {
                true => set.contains(&(cidr.bits & mask(cidr.width(), length))),
                false => set
                    .iter()
                    .any(|bits| bits & mask(cidr.width(), cidr.length) == cidr.bits),
            }
        })
    }

    /// In the order of their lengths.
    pub fn iter(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.by_length.iter().flat_map(|(&(v6, length), set)| {
            let mut bits: Vec<u128> = set.iter().copied().collect();
            bits.sort_unstable();
            bits.into_iter().map(move |bits| Cidr { v6, bits, length })
        })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_length.values().map(HashSet::len).sum()
    }
}

impl FromIterator<Cidr> for CidrSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(cidrs: I) -> CidrSet {
        let mut set = CidrSet::default();
        for cidr in cidrs {
            set.insert(cidr);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_touching_ranges_are_one() {
        assert_eq!(cidr("0.0.0.0/0").range(), (0, u128::from(u32::MAX)));
        let networks = ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.5", "10.0.2.0/24"].map(cidr);
        assert_eq!(
            merged(networks.into_iter()),
            [(0x0a00_0000, 0x0a00_00ff), (0x0a00_0200, 0x0a00_02ff)]
        );
        assert_eq!(
            merged(["::/0", "::1"].map(cidr).into_iter()),
            [(0, u128::MAX)]
        );
    }

    proptest::proptest! {
        #[test]
        fn an_address_is_in_a_network_when_it_is_in_its_range(first: u128, other: u128, length in 0u8..=128) {
            let network = Cidr::new(IpAddr::V6(Ipv6Addr::from_bits(first)), length).unwrap();
            proptest::prop_assume!(!network.is_ipv4());
            let other = Ipv6Addr::from_bits(other);
            proptest::prop_assume!(other.to_ipv4_mapped().is_none());
            let (low, high) = network.range();
            proptest::prop_assert_eq!(network.contains(IpAddr::V6(other)), (low..=high).contains(&other.to_bits()));
            proptest::prop_assert_eq!(network.to_string().parse::<Cidr>().unwrap(), network);
        }
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn it_prints_as_it_is_meant() {
        for (text, printed) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::7/48", "2001:db8::/48"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ] {
            assert_eq!(cidr(text).to_string(), printed);
        }
        for text in [
            "",
            "192.0.2",
            "192.0.2.0/33",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "host",
            "1.2.3.4/8/9",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_set_finds_what_holds_an_address() {
        let set: CidrSet = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
            .map(cidr)
            .into_iter()
            .collect();
        let find = |text: &str| set.find(text.parse().unwrap()).map(|c| c.to_string());
        assert_eq!(find("10.9.9.9").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(find("192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(find("::ffff:192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(find("192.0.2.8"), None);
        assert_eq!(find("2001:db8:1::9").as_deref(), Some("2001:db8::/32"));
        assert_eq!(find("2001:db9::9"), None);
        assert!(set.overlaps(&cidr("192.0.2.0/24")));
        assert!(set.overlaps(&cidr("10.1.0.0/16")));
        assert!(!set.overlaps(&cidr("192.0.3.0/24")));
        assert!(set.overlaps(&cidr("2001:db8:7::/48")));
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn what_the_jail_can_hold_of_it() {
        assert_eq!(
            cidr("2001:db8::1")
                .source()
                .map(|s| s.to_string())
                .as_deref(),
            Some("2001:db8::/64")
        );
        assert_eq!(cidr("192.0.2.0/24").source(), None);
        assert_eq!(
            cidr("192.0.2.0/24").network(),
            Some(Network::V4(0xc000_0200))
        );
        assert_eq!(cidr("192.0.0.0/16").network(), None);
    }
}
