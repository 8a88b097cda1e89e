//! One address out of what several servers said.
//!
//! Pure. A single server may be wrong, or stand on our side of the router, so that the most voices decide. Invariant: the
//! address that holds is given up for another only by more voices.

use std::net::IpAddr;

/// The address with the most voices; of those that have as many, the one that holds, else the one that was said first.
#[must_use]
pub fn agreed(answers: &[IpAddr], holds: Option<IpAddr>) -> Option<IpAddr> {
    let voices = |address: &IpAddr| answers.iter().filter(|said| *said == address).count();
    let most = answers.iter().map(voices).max()?;
    let mut best = answers.iter().filter(|address| voices(address) == most);
    match holds {
        Some(holds) if best.clone().any(|address| *address == holds) => Some(holds),
        _ => best.next().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_are_counted() {
        let [a, b, c]: [IpAddr; 3] =
            ["203.0.113.1", "203.0.113.2", "203.0.113.3"].map(|text| text.parse().unwrap());
        assert_eq!(agreed(&[], Some(a)), None);
        assert_eq!(agreed(&[a], None), Some(a));
        assert_eq!(agreed(&[a, b, b], Some(a)), Some(b));
        assert_eq!(agreed(&[a, b], Some(b)), Some(b));
        assert_eq!(agreed(&[a, b], Some(c)), Some(a));
    }
}
