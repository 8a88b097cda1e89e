//! How often an address may try without a token that is known.
//!
//! Pure. Each has a few tries, which come back with time. It refuses to remember more than so many addresses: then the one
//! that was heard of longest ago is forgotten. Invariant: whoever has used up its tries is not looked at until one has come
//! back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::websms::delivery::Moment;

/// Tries at once.
const TRIES: i64 = 10;
/// Milliseconds after which one comes back.
const BACK: i64 = 6_000;
/// Addresses that are remembered.
const MOST: usize = 1024;

/// The addresses, each with the moment at which it has all its tries again.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<IpAddr, Moment>);

impl Attempts {
    /// Whether it may try; if not, in how many seconds.
    pub fn may(&self, address: IpAddr, now: Moment) -> Result<(), u32> {
        let Some(whole) = self.0.get(&one(address)) else {
            return Ok(());
        };
        let wait = whole.saturating_sub(now) - (TRIES - 1) * BACK;
        match wait > 0 {
            true => Err(u32::try_from(wait / 1000 + 1).unwrap_or(1)),
            false => Ok(()),
        }
    }

    /// It has failed.
    pub fn failed(&mut self, address: IpAddr, now: Moment) {
        let address = one(address);
        if self.0.len() >= MOST && !self.0.contains_key(&address) {
            self.0.retain(|_, whole| *whole > now);
            let oldest = self.0.iter().min_by_key(|(_, whole)| **whole);
            let oldest = oldest.map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MOST) {
                self.0.remove(&oldest);
            }
        }
        let whole = self.0.entry(address).or_insert(now);
        // A clock that was set back is not to close the door for long.
        *whole = (*whole).clamp(now, now + TRIES * BACK) + BACK;
    }
}

/// With IPv6 a customer has a network of addresses.
fn one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = 1_800_000_000_000;

    #[test]
    fn ten_tries_and_then_one_each_six_seconds() {
        let mut attempts = Attempts::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..TRIES {
            assert_eq!(attempts.may(one, NOW), Ok(()));
            attempts.failed(one, NOW);
        }
        assert_eq!(attempts.may(one, NOW), Err(7));
        // Its network is as guilty, another is not.
        assert!(attempts.may("2001:db8::2".parse().unwrap(), NOW).is_err());
        assert!(attempts.may("192.0.2.1".parse().unwrap(), NOW).is_ok());
        assert_eq!(attempts.may(one, NOW + BACK), Ok(()));
        attempts.failed(one, NOW + BACK);
        assert!(attempts.may(one, NOW + BACK).is_err());
        // However often it goes on, it is let in again after a while.
        (0..1000).for_each(|_| attempts.failed(one, NOW));
        assert_eq!(attempts.may(one, NOW + 2 * TRIES * BACK), Ok(()));
    }

    #[test]
    fn no_crowd_takes_more_memory() {
        let mut attempts = Attempts::default();
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            attempts.failed(IpAddr::V4(number.into()), NOW);
        }
        assert_eq!(attempts.0.len(), MOST);
    }
}
