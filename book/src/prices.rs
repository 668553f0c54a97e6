//! Prices that come to a side, and prices that leave it.

use bus::planted::{self, Bug};
use bus::{Anomaly, Price};

use crate::book::Best;
use crate::books::Books;
use crate::far::{key_of, price_of};
use crate::ladder::{self, LOW, PLACE, RUNGS, bit, reaches, rung_of};

/// Where a ladder begins that is moved for this rung.
fn base_for(rung: u32) -> u32 {
    rung.saturating_sub(PLACE).min(u32::MAX - (RUNGS - 1))
}

/// The number of a side among those of all symbols.
#[inline(always)]
pub(crate) fn number_of(symbol: u32, side: usize) -> usize {
    symbol as usize * 2 + side
}

impl Books {
    /// The level of a price that is not on its side's ladder as that stands; opens it if there is
    /// none, and moves the ladder if the price belongs there.
    #[inline(never)]
    pub(crate) fn find_level<const QUEUES: bool>(
        &mut self,
        symbol: u32,
        side: usize,
        price: Price,
    ) -> Result<u32, Anomaly> {
        let (key, number) = (key_of(price, side), number_of(symbol, side));
        let (rung, has_rung) = rung_of(price, side);
        if has_rung {
            let book = &mut self.books[symbol as usize];
            if book.cells[side] == 0 {
                // Then none of the far prices has a rung: `close_level` saw to it.
                book.base[side] = base_for(rung);
            } else if rung > book.base[side] {
                self.move_up(symbol, side, rung)?;
            }
            let book = &mut self.books[symbol as usize];
            if reaches(book.base[side], rung) {
                book.cells[side] |= bit(rung);
                let id = self.levels.open::<QUEUES>(true, 0, key, number as u32);
                self.ladders[ladder::index(symbol, side, rung)] = id;
                return Ok(id);
            }
        }
        if let Some(id) = self.far.find(number, key) {
            return Ok(id);
        }
        if !self.far.reserve(number, 1) {
            return Err(Anomaly::Full);
        }
        let id = self.levels.open::<QUEUES>(true, 0, key, number as u32);
        self.far.insert(number, key, id);
        self.books[symbol as usize].odd |= u8::from(!has_rung) << side;
        Ok(id)
    }

    /// The level of a price, if it has one.
    pub(crate) fn level_of(&self, symbol: u32, side: usize, price: Price) -> Option<u32> {
        let book = self.books.get(symbol as usize)?;
        let (rung, has_rung) = rung_of(price, side);
        if has_rung && reaches(book.base[side], rung) {
            let has_level = book.cells[side] & bit(rung) != 0;
            return has_level.then(|| self.ladders[ladder::index(symbol, side, rung)]);
        }
        self.far.find(number_of(symbol, side), key_of(price, side))
    }

    /// When all orders or all levels are taken: whether this order still has a place.
    #[cold]
    pub(crate) fn refuse_full(
        &self,
        symbol: u32,
        side: usize,
        price: Price,
    ) -> Result<(), Anomaly> {
        if self.orders.is_full() || self.level_of(symbol, side, price).is_none() {
            Err(Anomaly::Full)
        } else {
            Ok(())
        }
    }

    /// Moves a ladder up to a rung above it. What it leaves below becomes far.
    fn move_up(&mut self, symbol: u32, side: usize, rung: u32) -> Result<(), Anomaly> {
        let number = number_of(symbol, side);
        let book = &mut self.books[symbol as usize];
        let (base, base_new) = (book.base[side], base_for(rung));
        let left = (base..base_new).take(RUNGS as usize);
        let left = left.filter(|&rung| book.cells[side] & bit(rung) != 0);
        if !self.far.reserve(number, left.clone().count()) {
            return Err(Anomaly::Full);
        }
        let mut cells = book.cells[side];
        for rung in left {
            let id = self.ladders[ladder::index(symbol, side, rung)];
            self.far.insert(number, self.levels.get(id).key, id);
            cells &= !bit(rung);
        }
        (book.base[side], book.cells[side]) = (base_new, cells);
        Ok(())
    }

    /// Moves a ladder down to where this rung has its place. The far prices that it reaches then
    /// come onto it.
    #[cold]
    fn move_down(&mut self, symbol: u32, side: usize, rung: u32) {
        let book = &mut self.books[symbol as usize];
        let base = base_for(rung);
        book.base[side] = base;
        let ladders = &mut self.ladders;
        let key_min = key_of(ladder::price_at(base, side), side);
        self.far
            .take_from(number_of(symbol, side), key_min, |entry| {
                let (rung, has_rung) = rung_of(price_of(entry.key, side), side);
                let comes = has_rung && reaches(base, rung);
                if comes {
                    book.cells[side] |= bit(rung);
                    ladders[ladder::index(symbol, side, rung)] = entry.level;
                }
                comes
            });
    }

    /// Forgets a level whose last order left.
    #[inline(always)]
    pub(crate) fn close_level<const QUEUES: bool>(
        &mut self,
        symbol: u32,
        side: usize,
        id: u32,
        key: u64,
    ) {
        self.levels.close::<QUEUES>(id);
        let (rung, has_rung) = rung_of(price_of(key, side), side);
        let book = &mut self.books[symbol as usize];
        if has_rung & reaches(book.base[side], rung) {
            book.cells[side] &= !bit(rung);
            if book.cells[side] == 0 {
                self.refill(symbol, side);
            }
        } else {
            self.close_far(symbol, side, key);
        }
    }

    #[inline(never)]
    fn close_far(&mut self, symbol: u32, side: usize, key: u64) {
        if self.far.remove(number_of(symbol, side), key) {
            self.books[symbol as usize].odd &= !(1 << side);
        }
    }

    /// A ladder is empty: the best of the far prices come onto it.
    #[inline(never)]
    fn refill(&mut self, symbol: u32, side: usize) {
        let entries = self.far.of(number_of(symbol, side)).iter().rev();
        let mut rungs = entries.map(|entry| rung_of(price_of(entry.key, side), side));
        if let Some((rung, _)) = rungs.find(|(_, has_rung)| *has_rung) {
            self.move_down(symbol, side, rung);
        }
    }

    /// The best price has no orders any more: the next one is the best.
    #[inline(always)]
    pub(crate) fn drop_best(&mut self, symbol: u32, side: usize) {
        if planted::is(Bug::BestKept) {
            return;
        }
        let book = &mut self.books[symbol as usize];
        let (cells, base) = (book.cells[side], book.base[side]);
        if cells == 0 || book.odd >> side & 1 != 0 {
            return self.drop_best_odd(symbol, side);
        }
        let rung = ladder::top(cells, base);
        let id = self.ladders[ladder::index(symbol, side, rung)];
        let level = self.levels.get(id);
        book.best[side] = Best {
            key: level.key,
            qty: level.qty,
        };
        if rung - base < LOW && base != 0 {
            self.move_down(symbol, side, rung);
        }
    }

    /// The same where the best price may be one without a rung, or there is none.
    #[cold]
    fn drop_best_odd(&mut self, symbol: u32, side: usize) {
        let book = &mut self.books[symbol as usize];
        let far = self.far.of(number_of(symbol, side)).last();
        let far = far.map(|entry| entry.level);
        let near = (book.cells[side] != 0).then(|| {
            let rung = ladder::top(book.cells[side], book.base[side]);
            self.ladders[ladder::index(symbol, side, rung)]
        });
        let bests = far.into_iter().chain(near).map(|id| self.levels.get(id));
        let best = bests.max_by_key(|level| level.key);
        book.best[side] = best.map_or(Best { key: 0, qty: 0 }, |level| Best {
            key: level.key,
            qty: level.qty,
        });
    }
}
