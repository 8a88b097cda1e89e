//! A fast hash for the tables of sources, with a secret of its own in each table.
//!
//! Pure. Strangers choose their addresses, so the hash must not be one that can be computed outside. It folds a product of
//! 128 bits, as wyhash does, with two random numbers that never leave the table.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Makes hashers with the secret of one table.
#[derive(Debug, Clone)]
pub struct Secret {
    state: u64,
    factor: u64,
}

impl Default for Secret {
    fn default() -> Secret {
        let random = RandomState::new();
        Secret {
            state: random.hash_one(1u8),
            factor: random.hash_one(2u8) | 1,
        }
    }
}

impl BuildHasher for Secret {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding {
            state: self.state,
            factor: self.factor,
        }
    }
}

/// The running hash.
#[derive(Debug)]
pub struct Folding {
    state: u64,
    factor: u64,
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, b| word << 8 | u64::from(*b));
            self.write_u64(word);
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.factor);
    }

    /// The number of an enum's variant.
    fn write_isize(&mut self, number: isize) {
        self.state = self.state.rotate_left(1 + (number as u32 & 1));
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.factor ^ 0x9e37_79b9_7f4a_7c15);
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::autoban::key::Source;

    #[test]
    fn neighbours_and_families_are_told_apart() {
        let secret = Secret::default();
        let v4 = (0..20_000).map(Source::V4);
        let v6 = (0..20_000u64).map(|n| Source::V6(n << (n % 48)));
        let all: HashSet<Source> = v4.chain(v6).collect();
        let hashes: HashSet<u64> = all.iter().map(|source| secret.hash_one(source)).collect();
        assert_eq!(hashes.len(), all.len());
        // The bits that a table takes first are spread as well.
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xff).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert_eq!((low.len(), high.len()), (256, 128));
    }

    #[test]
    fn every_table_has_a_secret_of_its_own() {
        let source = Source::V4(7);
        assert_ne!(
            Secret::default().hash_one(source),
            Secret::default().hash_one(source)
        );
    }
}
