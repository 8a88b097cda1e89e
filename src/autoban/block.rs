//! A block of addresses as people write it: `192.0.2.7`, `198.51.100.0/24`, `2001:db8::/32`.
//!
//! Pure. Bits below the prefix are cleared, so that a block has one spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address and the number of its bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error(
        "`{0}` is no address\nhint: write an address or a block, as 192.0.2.7, 198.51.100.0/24 or 2001:db8::/32"
    )]
    Address(String),
    #[error("`{0}`: the prefix must be a number from 0 to {1}")]
    Prefix(String, u8),
}

impl Block {
    /// The block of `prefix` bits around `address`. An IPv4 address within IPv6 (RFC 4291, 2.5.5.2) is the IPv4 address when
    /// the prefix keeps it one. `None`: more bits than the address has.
    pub fn around(address: IpAddr, prefix: u8) -> Option<Block> {
        let (address, prefix) = match address {
            IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), prefix - 96),
                None => (address, prefix),
            },
            _ => (address, prefix),
        };
        let first = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Block { first, prefix })
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4()
            && Block::around(address, self.prefix) == Some(*self)
    }

    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// The first and the last address, as numbers.
    pub fn range(&self) -> (u128, u128) {
        let (first, host_bits) = match self.first {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32 - u32::from(self.prefix)),
            IpAddr::V6(v6) => (v6.to_bits(), 128 - u32::from(self.prefix)),
        };
        let hosts = u128::MAX.checked_shr(128 - host_bits).unwrap_or(0);
        (first, first | hosts)
    }
}

/// The ranges of these blocks, in order, with what overlaps or touches made one: an interval set of the kernel refuses
/// overlaps.
pub fn merged(blocks: impl Iterator<Item = Block>) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = blocks.map(|block| block.range()).collect();
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

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Block, BlockError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| BlockError::Address(text.to_owned()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match prefix {
            None => Some(most),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
        };
        bits.and_then(|bits| Block::around(address, bits))
            .ok_or_else(|| BlockError::Prefix(text.to_owned(), most))
    }
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = if self.first.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(text: &str) -> Block {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_block_has_one_spelling() {
        assert_eq!(block("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(block("192.0.2.7").to_string(), "192.0.2.7");
        assert_eq!(block("2001:db8:1::7/32").to_string(), "2001:db8::/32");
        assert_eq!(block("::ffff:192.0.2.7/120").to_string(), "192.0.2.0/24");
        assert_eq!(block("0.0.0.0/0").range(), (0, u128::from(u32::MAX)));
        assert_eq!(block("::/0").range(), (0, u128::MAX));
    }

    #[test]
    fn what_is_no_block_is_told() {
        let error = |text: &str| text.parse::<Block>().unwrap_err().to_string();
        assert!(error("example.org").starts_with("`example.org` is no address\nhint: "));
        assert_eq!(
            error("192.0.2.0/33"),
            "`192.0.2.0/33`: the prefix must be a number from 0 to 32"
        );
        assert_eq!(
            error("2001:db8::/+3"),
            "`2001:db8::/+3`: the prefix must be a number from 0 to 128"
        );
        assert_eq!(
            error("192.0.2.0/"),
            "`192.0.2.0/`: the prefix must be a number from 0 to 32"
        );
    }

    #[test]
    fn overlapping_and_touching_ranges_are_one() {
        let blocks = ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.5", "10.0.2.0/24"].map(block);
        assert_eq!(
            merged(blocks.into_iter()),
            [(0x0a00_0000, 0x0a00_00ff), (0x0a00_0200, 0x0a00_02ff)]
        );
        assert_eq!(
            merged(["::/0", "::1"].map(block).into_iter()),
            [(0, u128::MAX)]
        );
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_block_when_it_is_in_its_range(first: u128, other: u128, prefix in 0u8..=128) {
            let block = Block::around(IpAddr::V6(Ipv6Addr::from_bits(first)), prefix).unwrap();
            prop_assume!(!block.is_ipv4());
            let other = Ipv6Addr::from_bits(other);
            prop_assume!(other.to_ipv4_mapped().is_none());
            let (low, high) = block.range();
            prop_assert_eq!(block.contains(IpAddr::V6(other)), (low..=high).contains(&other.to_bits()));
            prop_assert!(block.contains(IpAddr::V6(Ipv6Addr::from_bits(high))));
            prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
        }
    }
}
