//! Maps whose keys are the numbers of a feed: orders, levels, names as eight letters.
//!
//! The standard library's hash is made for keys of any length and takes longer than all else that an order's
//! message asks for. These keys are one to three integers, each mixed in by one multiplication whose both halves
//! count, and one more at the end spreads what keys at even distances left uneven. What it multiplies with is drawn anew by each process, so nobody who writes a feed can choose numbers that
//! fall on one place. Nothing may depend on the order in which such a map is walked.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A map from a feed's numbers.
pub(super) type Map<K, V> = HashMap<K, V, Keys>;

/// 2^64 divided by the golden ratio: odd, and half of its bits are set.
const LAST_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// What this map's hashes begin with and are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    start: u64,
    factor: u64,
}

impl Default for Keys {
    fn default() -> Keys {
        let drawn = RandomState::new();
        Keys {
            start: drawn.hash_one(0u8),
            // Half of its bits are set or so, and the lowest one, so that no bit of a key is lost.
            factor: drawn.hash_one(1u8) | 1,
        }
    }
}

impl BuildHasher for Keys {
    type Hasher = Mixed;

    #[inline]
    fn build_hasher(&self) -> Mixed {
        Mixed {
            state: self.start,
            factor: self.factor,
        }
    }
}

/// A hash under way.
#[derive(Debug)]
pub(super) struct Mixed {
    state: u64,
    factor: u64,
}

impl Mixed {
    #[inline]
    fn mix(&mut self, value: u64) {
        self.state = folded(self.state ^ value, self.factor);
    }
}

impl Hasher for Mixed {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    #[inline]
    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    #[inline]
    fn write_i64(&mut self, value: i64) {
        self.mix(value as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        folded(self.state, LAST_FACTOR)
    }
}

/// Both halves of a product.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that feeds give: dense, far apart, in the high bits only, and keys of three parts.
    #[test]
    fn numbers_that_feeds_give_spread_over_all_places() {
        let keys = Keys::default();
        let count = 1u64 << 14;
        type Number = fn(u64) -> u64;
        let feeds: [(&str, Number); 5] = [
            ("dense", |n| n),
            ("by 1,000", |n| n * 1_000),
            ("high bits", |n| n << 40),
            ("prices", |n| 61_000_000_000_000 + n * 10_000_000),
            ("letters", |n| u64::from_be_bytes(*b"S0000   ") + (n << 24)),
        ];
        for (name, number) in feeds {
            // The map looks at the lowest bits for the place and at the highest seven for the key.
            for (what, place) in [
                ("low", (|hash| hash % (1 << 14)) as fn(u64) -> u64),
                ("high", |hash| ((hash >> 57) << 7) | (hash % (1 << 7))),
            ] {
                let mut places = vec![0u32; 1 << 14];
                for n in 0..count {
                    places[place(keys.hash_one(number(n))) as usize] += 1;
                }
                let empty = places.iter().filter(|met| **met == 0).count();
                // By chance 1/e of the places stay empty, 6,027 give or take 50, and none is met more than
                // some ten times.
                assert!(
                    empty < 6_600,
                    "{name}, {what}: {empty} empty, start {keys:?}"
                );
                let most = *places.iter().max().expect("places");
                assert!(
                    most < 20,
                    "{name}, {what}: {most} at one place, start {keys:?}"
                );
            }
        }
    }

    #[test]
    fn each_part_of_a_key_counts() {
        let keys = Keys::default();
        let hash = |symbol: u32, side: u8, price: i64| keys.hash_one((symbol, side, price));
        let all = [hash(1, 1, 5), hash(2, 1, 5), hash(1, 2, 5), hash(1, 1, 6)];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{all:x?}, {keys:?}");
        }
        assert_ne!(
            keys.hash_one(b"ab".as_slice()),
            keys.hash_one(b"ab\0".as_slice())
        );
    }

    /// Two maps do not agree where their keys fall.
    #[test]
    fn each_map_draws_its_own() {
        let (a, b) = (Keys::default(), Keys::default());
        let same = (0..64u64).filter(|n| a.hash_one(n) == b.hash_one(n));
        assert_eq!(same.count(), 0, "{a:?} {b:?}");
    }
}
