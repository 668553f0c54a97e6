//! Prices that come to a side, and prices that leave it.

use bus::{Anomaly, Price};

use crate::book::{BUY, Best, SELL, near_index};
use crate::books::Books;
use crate::sides::{Entry, Found, Sides, key_of};

impl Books {
    /// The level of a price that is not among the near ones.
    #[inline(never)]
    pub(crate) fn find_level(
        &mut self,
        symbol: u32,
        side: usize,
        price: Price,
    ) -> Result<u32, Anomaly> {
        let key = key_of(price, side);
        let id = match self
            .sides
            .search(self.books[symbol as usize].pieces[side], key)
        {
            Found::Level(id) => id,
            Found::Place(index) => self.open_level(symbol, side, key, index)?,
        };
        self.books[symbol as usize].near[side][near_index(price)] = id;
        Ok(id)
    }

    /// A level for a price that its side does not have.
    #[inline(always)]
    fn open_level(
        &mut self,
        symbol: u32,
        side: usize,
        key: u64,
        mut index: usize,
    ) -> Result<u32, Anomaly> {
        let book = &self.books[symbol as usize];
        if Sides::is_full(book.pieces[side], book.classes[side]) || self.levels.is_exhausted() {
            index = self.make_room(symbol, side, key)?;
        }
        let id = self.levels.open(key, symbol << 1 | side as u32);
        let piece = &mut self.books[symbol as usize].pieces[side];
        self.sides.insert(piece, index, Entry::new(key, id));
        Ok(id)
    }

    /// Tidies the side and enlarges it if it is full all the same; says where the price belongs
    /// now.
    #[cold]
    fn make_room(&mut self, symbol: u32, side: usize, key: u64) -> Result<usize, Anomaly> {
        if self.levels.is_exhausted() {
            for symbol in 0..self.books.len() {
                self.tidy(symbol, BUY);
                self.tidy(symbol, SELL);
            }
        }
        self.tidy(symbol as usize, side);
        let book = &mut self.books[symbol as usize];
        let (piece, class) = (&mut book.pieces[side], &mut book.classes[side]);
        if Sides::is_tight(*piece, *class)
            && !self.sides.grow(piece, class)
            && Sides::is_full(*piece, *class)
        {
            return Err(Anomaly::Full);
        }
        match self.sides.search(*piece, key) {
            Found::Place(index) => Ok(index),
            Found::Level(_) => unreachable!("a price that was not there came by tidying"),
        }
    }

    /// Lets go of the prices without orders.
    fn tidy(&mut self, symbol: usize, side: usize) {
        let levels = &mut self.levels;
        self.sides
            .retain(&mut self.books[symbol].pieces[side], |entry| {
                let keep = levels.get(entry.level).count > 0;
                if !keep {
                    levels.close(entry.level);
                }
                keep
            });
    }

    /// When all orders or all levels are taken: whether this order still has a place.
    #[cold]
    pub(crate) fn refuse_full(&self, symbol: u32, side: usize, key: u64) -> Result<(), Anomaly> {
        let piece = self.books[symbol as usize].pieces[side];
        let has_level = match self.sides.search(piece, key) {
            Found::Level(id) => self.levels.get(id).count > 0,
            Found::Place(_) => false,
        };
        if self.orders.is_full() || !has_level {
            Err(Anomaly::Full)
        } else {
            Ok(())
        }
    }

    /// The best price has no orders any more: the next one that has some is the best.
    #[inline(never)]
    pub(crate) fn drop_best(&mut self, symbol: u32, side: usize) {
        let book = &mut self.books[symbol as usize];
        let piece = &mut book.pieces[side];
        let entries = self.sides.of(*piece);
        book.best[side] = Best { key: 0, qty: 0 };
        for entry in entries.iter().rev() {
            let level = self.levels.get(entry.level);
            if level.count > 0 {
                book.best[side] = Best {
                    key: entry.key,
                    qty: level.qty,
                };
                break;
            }
            self.levels.close(entry.level);
            piece.len -= 1;
        }
    }
}
