//! Books as bytes, for checkpoints: what they mean, not how they lie in memory, so that any
//! number of shards can load what any number saved.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Anomalies, Price, Qty};

use crate::book::{BUY, CUT, NAMED, SELL};
use crate::books::{Books, Depth};
use crate::far::price_of;

impl Books {
    /// Saves what is not of one symbol: whether messages were lost, and the counts of what was
    /// wrong.
    pub fn save_shared(&self, out: &mut StateWriter<'_>) {
        out.bool(self.gap_passed);
        out.u16(self.anomalies.0.len() as u16);
        for count in self.anomalies.0 {
            out.u64(count);
        }
    }

    /// Loads that in addition to what is there: the counts of several shards add up, but those of
    /// one shard must be loaded by one only (`counts`).
    pub fn load_shared(
        &mut self,
        from: &mut StateReader<'_>,
        counts: bool,
    ) -> Result<(), StateError> {
        self.gap_passed |= from.bool()?;
        let mut anomalies = Anomalies::default();
        if usize::from(from.u16()?) != anomalies.0.len() {
            return Err(from.error(format_args!("{} kinds of anomalies", anomalies.0.len())));
        }
        for count in &mut anomalies.0 {
            *count = from.u64()?;
        }
        if counts {
            self.anomalies.merge(&anomalies);
        }
        Ok(())
    }

    /// What one symbol after the other is saved from.
    pub fn saving(&self) -> Saving<'_> {
        let mut orders = Vec::with_capacity(match self.depth {
            Depth::L3 => 0,
            Depth::L2 => self.orders.count() as usize,
        });
        if self.depth == Depth::L2 {
            orders.extend(self.orders.iter().map(|slot| {
                let order = self.orders.get(slot);
                let qty = self.orders.qty::<true>(slot, order);
                (order.level(), self.orders.reference(slot), qty)
            }));
            orders.sort_unstable();
        }
        Saving {
            books: self,
            orders,
        }
    }

    /// Loads one symbol's book, of which there must be nothing yet; or reads past it.
    pub fn load(
        &mut self,
        symbol: u32,
        keep: bool,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        let phase = from.u8()?;
        let is_crossed = from.bool()?;
        let is_cut = from.bool()?;
        let evidence = from.u32()?;
        if phase > 3 {
            return Err(from.error(format_args!("a phase, found {phase}")));
        }
        if keep {
            let room = self.books.len();
            let Some(book) = self.books.get_mut(symbol as usize) else {
                return Err(from.error(format_args!("a symbol below {room}, found {symbol}")));
            };
            if book.marks & NAMED != 0 {
                return Err(from.error(format_args!("symbol {symbol} once only")));
            }
            book.phase = phase;
            book.is_crossed = u8::from(is_crossed);
            book.marks = NAMED | if is_cut { CUT } else { 0 };
            book.evidence = evidence;
        }
        for side in [BUY, SELL] {
            for _ in 0..from.u32()? {
                let price = Price(from.i64()?);
                for _ in 0..from.u32()? {
                    let (reference, narrow) = (from.u64()?, from.u32()?);
                    let qty = Qty(match narrow {
                        WIDE => from.i64()?,
                        narrow => narrow.into(),
                    });
                    if !keep {
                        continue;
                    }
                    let inserted = match self.depth {
                        Depth::L3 => self.insert::<true, true>(symbol, side, reference, price, qty),
                        Depth::L2 => {
                            self.insert::<false, true>(symbol, side, reference, price, qty)
                        }
                    };
                    if let Err(anomaly) = inserted {
                        let what = format_args!(
                            "an order that fits the book of symbol {symbol}, found {} with order \
                             {reference}",
                            anomaly.name()
                        );
                        return Err(from.error(what));
                    }
                }
            }
        }
        let digest = from.u64()?;
        if keep && self.digest(symbol) != digest {
            return Err(from.error(format_args!("the digest of the book of symbol {symbol}")));
        }
        Ok(())
    }
}

/// Books that are being saved.
#[derive(Debug)]
pub struct Saving<'a> {
    books: &'a Books,
    /// The orders by their levels, where the levels themselves do not know them.
    orders: Vec<(u32, u64, i64)>,
}

impl Saving<'_> {
    /// Saves one symbol's book: its marks, then each side's prices, the worst first, with their
    /// orders in turn, or by reference where no queues are kept; last its digest.
    pub fn save(&self, symbol: u32, out: &mut StateWriter<'_>) {
        let books = self.books;
        let book = &books.books[symbol as usize];
        out.u8(book.phase);
        out.bool(book.is_crossed != 0);
        out.bool(book.marks & CUT != 0);
        out.u32(book.evidence);
        for side in [BUY, SELL] {
            let levels: Vec<u32> = books.levels_of(symbol, side).collect();
            out.u32(levels.len() as u32);
            for &id in levels.iter().rev() {
                let level = books.levels.get(id);
                out.i64(price_of(level.key, side).0);
                out.u32(level.count);
                for (reference, qty) in books.queue_of(id) {
                    out.u64(reference);
                    save_qty(qty.0, out);
                }
                let first = self.orders.partition_point(|order| order.0 < id);
                let orders = self.orders[first..].iter();
                for (_, reference, qty) in orders.take_while(|order| order.0 == id) {
                    out.u64(*reference);
                    save_qty(*qty, out);
                }
            }
        }
        out.u64(books.digest(symbol));
    }
}

/// What no order has: behind it stands one that is beyond 32 bits, in 64. A program that does not know
/// this refuses the state.
const WIDE: u32 = 0;

fn save_qty(qty: i64, out: &mut StateWriter<'_>) {
    match u32::try_from(qty) {
        Ok(narrow) => out.u32(narrow),
        Err(_) => {
            out.u32(WIDE);
            out.i64(qty);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BooksConfig, Depth};
    use bus::state::Versions;
    use bus::{Event, Flags, Kind, Side};

    fn books(depth: Depth) -> Books {
        Books::new(BooksConfig {
            orders_max: 4096,
            levels_max: 1024,
            symbols_max: 8,
            depth,
        })
        .unwrap()
    }

    fn event(random: &mut u64) -> Event {
        *random = random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let pick = |shift: u32, below: u64| (*random >> shift) % below;
        let symbol = pick(20, 8);
        // An exchange gives a reference to one order of one symbol.
        let reference = |number: u64| (number * 8 + symbol) * 1_000_003;
        Event {
            symbol: symbol as u32,
            order: reference(pick(24, 100)),
            order_b: reference(pick(34, 100)),
            price: Price((pick(44, 40) as i64 + 100) * 10_000_000),
            // Those of some symbols pass 32 bits.
            qty: Qty((pick(50, 300) as i64 + 1) << if symbol > 5 { 26 } else { 0 }),
            flags: if symbol > 5 { Flags::WIDE } else { Flags(0) },
            side: if pick(60, 2) == 0 {
                Side::Buy
            } else {
                Side::Sell
            },
            ..Event::new(match pick(30, 8) {
                0..=3 => Kind::Add,
                4 => Kind::Replace,
                5 => Kind::Execute,
                _ => Kind::Delete,
            })
        }
    }

    /// Saved by `from` cores and loaded by `to`, the books go on as if nothing had happened.
    #[test]
    fn books_that_were_saved_go_on_as_if_they_had_not_been() {
        for (from, to) in [(1, 1), (1, 2), (2, 1), (2, 4)] {
            go_on(from, to, Depth::L3);
            go_on(from, to, Depth::L2);
        }
    }

    fn go_on(from: usize, to: usize, depth: Depth) {
        let mut random = 7 + (from * 8 + to) as u64;
        let mut twins: Vec<Books> = (0..from).map(|_| books(depth)).collect();
        for _ in 0..4_000 {
            let event = event(&mut random);
            twins[event.symbol as usize % from].apply(&event);
        }
        for twin in &mut twins {
            twin.apply(&Event::new(Kind::Gap));
        }
        let mut loaded: Vec<Books> = (0..to).map(|_| books(depth)).collect();
        for twin in &twins {
            let mut bytes = Vec::new();
            let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
            twin.save_shared(&mut out);
            let symbols: Vec<u32> = twin.symbols().collect();
            let saving = twin.saving();
            symbols
                .iter()
                .for_each(|&symbol| saving.save(symbol, &mut out));
            out.finish().unwrap();
            for (index, books) in loaded.iter_mut().enumerate() {
                let mut state = StateReader::new(&bytes, Versions::NEWEST);
                books.load_shared(&mut state, index == 0).unwrap();
                for &symbol in &symbols {
                    let keep = symbol as usize % to == index;
                    books.load(symbol, keep, &mut state).unwrap();
                }
                state.end().unwrap();
            }
        }
        let total = |books: &[Books]| -> u64 {
            books
                .iter()
                .map(|books| books.stats().anomalies.total())
                .sum()
        };
        assert_eq!(total(&twins), total(&loaded));
        for _ in 0..4_000 {
            let event = event(&mut random);
            let symbol = event.symbol;
            let (twin, other) = (symbol as usize % from, symbol as usize % to);
            assert_eq!(twins[twin].apply(&event), loaded[other].apply(&event));
            assert_eq!(twins[twin].digest(symbol), loaded[other].digest(symbol));
            assert_eq!(twins[twin].quote(symbol), loaded[other].quote(symbol));
            assert_eq!(twins[twin].evidence(symbol), loaded[other].evidence(symbol));
            assert_eq!(twins[twin].phase(symbol), loaded[other].phase(symbol));
        }
        assert!(loaded.iter().any(|books| books.is_stale(0)));
    }

    #[test]
    fn a_state_that_cannot_be_is_an_error() {
        let mut twin = books(Depth::L3);
        twin.apply(&Event {
            symbol: 1,
            order: 5,
            price: Price(10_000_000),
            qty: Qty(5),
            side: Side::Buy,
            ..Event::new(Kind::Add)
        });
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        twin.saving().save(1, &mut out);
        out.finish().unwrap();
        let load = |bytes: &[u8], symbol| {
            let mut books = books(Depth::L3);
            books.load(symbol, true, &mut StateReader::new(bytes, Versions::NEWEST))
        };
        assert_eq!(load(&bytes, 1), Ok(()));
        assert!(
            load(&bytes, 8)
                .unwrap_err()
                .want
                .contains("a symbol below 8")
        );
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0xff;
            // Marks can be anything; what is in the book is under the digest.
            assert!(load(&bad, 1).is_err() || at < 7, "byte {at}");
            assert!(load(&bytes[..at], 1).is_err(), "cut at {at}");
        }
    }
}
