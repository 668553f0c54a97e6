//! Other decoders beside ours, on the same bytes in the same run: [`tapes`] makes the bytes, [`ours`] and
//! [`theirs`] are the contestants, and `main` lets them take turns.
//!
//! Who decodes without looking at what it decoded has done less. So each contestant adds up what it found, and
//! before anything is measured these sums must be equal on both sides.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The file itself, not its crate: that would bring the whole program and criterion into this build.
#[path = "../../src/tapes.rs"]
pub mod tapes;

pub mod ours;
pub mod theirs;

/// Prices, quantities and orders' numbers of all that was found, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds a price and a quantity, both in 1e-9 or in what both sides have them in, and an order's number or 0.
    #[inline(always)]
    pub fn add(&mut self, price: i64, qty: i64, order: u64) {
        self.0 = self.0.wrapping_add(Sum::of(price, qty, order));
    }

    /// Takes away what was added.
    pub fn remove(&mut self, price: i64, qty: i64, order: u64) {
        self.0 = self.0.wrapping_sub(Sum::of(price, qty, order));
    }

    /// Adds all that another has.
    #[inline(always)]
    pub fn add_all(&mut self, other: Sum) {
        self.0 = self.0.wrapping_add(other.0);
    }

    #[inline(always)]
    fn of(price: i64, qty: i64, order: u64) -> u64 {
        (price as u64) ^ (qty as u64).rotate_left(32) ^ order.rotate_left(48)
    }
}
