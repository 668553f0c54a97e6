//! Whole books, for people and tests: nothing here is on the way of an event.

use bus::{Level, Price, Qty, Side};

use crate::books::Books;
use crate::levels;
use crate::orders::NOBODY;
use crate::sides::{Found, key_of, price_of};

impl Books {
    /// The best `levels_max` prices of a side, best first, in place of what `out` had.
    pub fn depth(&self, symbol: u32, side: Side, levels_max: usize, out: &mut Vec<Level>) {
        out.clear();
        let Some(index) = index_of(side) else { return };
        out.extend(
            self.levels_of(symbol, index)
                .take(levels_max)
                .map(|level| Level {
                    price: price_of(level.key, index),
                    qty: Qty(level.qty),
                    orders: level.count,
                }),
        );
    }

    /// The orders at one price, the first to be executed first: reference and what is left of it.
    pub fn queue(
        &self,
        symbol: u32,
        side: Side,
        price: Price,
    ) -> impl Iterator<Item = (u64, Qty)> + '_ {
        self.level_at(symbol, side, price)
            .into_iter()
            .flat_map(|level| self.queue_of(level))
    }

    /// A number that is equal for equal books, however they came to be: over the sides, their
    /// prices from the best on, and the queue of each.
    pub fn digest(&self, symbol: u32) -> u64 {
        let mut digest = 0x7461_7065_6c69_6e65;
        for side in 0..2 {
            for level in self.levels_of(symbol, side) {
                digest = mix(digest, price_of(level.key, side).0 as u64);
                digest = mix(digest, u64::from(level.count));
                for (reference, qty) in self.queue_of(level) {
                    digest = mix(mix(digest, reference), qty.0 as u64);
                }
            }
            digest = mix(digest, side as u64);
        }
        digest
    }

    /// The symbols that any event named so far, ascending.
    pub fn symbols(&self) -> impl Iterator<Item = u32> + '_ {
        let known = self
            .books
            .iter()
            .enumerate()
            .filter(|(_, book)| book.is_known());
        known.map(|(symbol, _)| symbol as u32)
    }

    /// The levels of a side that have orders, best first.
    fn levels_of(&self, symbol: u32, side: usize) -> impl Iterator<Item = &levels::Level> {
        let entries = match self.books.get(symbol as usize) {
            Some(book) => self.sides.of(book.pieces[side]),
            None => &[],
        };
        let levels = entries
            .iter()
            .rev()
            .map(|entry| self.levels.get(entry.level));
        levels.filter(|level| level.count > 0)
    }

    fn level_at(&self, symbol: u32, side: Side, price: Price) -> Option<&levels::Level> {
        let side = index_of(side)?;
        let book = self.books.get(symbol as usize)?;
        match self.sides.search(book.pieces[side], key_of(price, side)) {
            Found::Level(id) => Some(self.levels.get(id)),
            Found::Place(_) => None,
        }
    }

    pub(crate) fn queue_of<'a>(
        &'a self,
        level: &'a levels::Level,
    ) -> impl Iterator<Item = (u64, Qty)> + 'a {
        let mut slot = NOBODY;
        (0..level.count).map(move |turn| {
            slot = level.at(turn, slot, &self.orders);
            let qty = self.orders.get(slot).qty;
            (self.orders.reference(slot), Qty(i64::from(qty)))
        })
    }
}

fn index_of(side: Side) -> Option<usize> {
    match side {
        Side::None => None,
        Side::Buy => Some(0),
        Side::Sell => Some(1),
    }
}

/// One step of a digest. The multiplier is an odd number without pattern; the shift brings the
/// high bits, which the product stirs most, down to the low ones.
fn mix(digest: u64, word: u64) -> u64 {
    let product = (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 29)
}
