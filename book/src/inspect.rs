//! Whole books, for people and tests: nothing here is on the way of an event.

use bus::{Level, Price, Qty, Side};

use crate::book::NAMED;
use crate::books::{Books, Depth};
use crate::far::price_of;
use crate::ladder;
use crate::prices::number_of;

impl Books {
    /// The best `levels_max` prices of a side, best first, in place of what `out` had.
    pub fn depth(&self, symbol: u32, side: Side, levels_max: usize, out: &mut Vec<Level>) {
        out.clear();
        let Some(index) = index_of(side) else { return };
        let levels = self.levels_of(symbol, index).take(levels_max);
        out.extend(levels.map(|id| {
            let level = self.levels.get(id);
            Level {
                price: price_of(level.key, index),
                qty: Qty(level.qty),
                orders: level.count,
            }
        }));
    }

    /// What is shown at one price, if anything is.
    pub fn level(&self, symbol: u32, side: Side, price: Price) -> Option<Level> {
        let id = self.level_of(symbol, index_of(side)?, price)?;
        let level = self.levels.get(id);
        Some(Level {
            price,
            qty: Qty(level.qty),
            orders: level.count,
        })
    }

    /// The orders at one price, the first to be executed first: reference and what is left of it.
    /// None where no queues are kept.
    pub fn queue(
        &self,
        symbol: u32,
        side: Side,
        price: Price,
    ) -> impl Iterator<Item = (u64, Qty)> + '_ {
        index_of(side)
            .and_then(|side| self.level_of(symbol, side, price))
            .into_iter()
            .flat_map(|id| self.queue_of(id))
    }

    /// A number that is equal for equal books, however they came to be: over the sides, their
    /// prices from the best on, and the queue of each, or its quantity where no queues are kept.
    pub fn digest(&self, symbol: u32) -> u64 {
        let mut digest = 0x7461_7065_6c69_6e65;
        for side in 0..2 {
            for id in self.levels_of(symbol, side) {
                let level = self.levels.get(id);
                digest = mix(digest, price_of(level.key, side).0 as u64);
                digest = mix(digest, u64::from(level.count));
                if self.depth == Depth::L2 {
                    digest = mix(digest, level.qty as u64);
                }
                for (reference, qty) in self.queue_of(id) {
                    digest = mix(mix(digest, reference), qty.0 as u64);
                }
            }
            digest = mix(digest, side as u64);
        }
        digest
    }

    /// The symbols that any event named so far, ascending.
    pub fn symbols(&self) -> impl Iterator<Item = u32> + '_ {
        let named = self.books.iter().enumerate();
        let named = named.filter(|(_, book)| book.marks & NAMED != 0);
        named.map(|(symbol, _)| symbol as u32)
    }

    /// The levels of a side, best first.
    pub(crate) fn levels_of(&self, symbol: u32, side: usize) -> impl Iterator<Item = u32> + '_ {
        let (mut cells, base, mut far) = match self.books.get(symbol as usize) {
            Some(book) => (
                book.cells[side],
                book.base[side],
                self.far.of(number_of(symbol, side)),
            ),
            None => (0, 0, &[][..]),
        };
        std::iter::from_fn(move || {
            let near = (cells != 0).then(|| ladder::top(cells, base));
            let near = near.map(|rung| (rung, self.ladders[ladder::index(symbol, side, rung)]));
            // Those without a rung may lie anywhere.
            match (near, far.split_last()) {
                (Some((_, id)), Some((last, rest))) if last.key > self.levels.get(id).key => {
                    far = rest;
                    Some(last.level)
                }
                (Some((rung, id)), _) => {
                    cells &= !ladder::bit(rung);
                    Some(id)
                }
                (None, Some((last, rest))) => {
                    far = rest;
                    Some(last.level)
                }
                (None, None) => None,
            }
        })
    }

    /// The orders of a level in their turns, where queues are kept.
    pub(crate) fn queue_of(&self, id: u32) -> impl Iterator<Item = (u64, Qty)> + '_ {
        let has_queue = self.depth == Depth::L3;
        let slots = has_queue.then(|| self.levels.queue(id, &self.orders));
        slots.into_iter().flatten().map(|slot| {
            let qty = self.orders.qty::<true>(slot, self.orders.get(slot));
            (self.orders.reference(slot), Qty(qty))
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
