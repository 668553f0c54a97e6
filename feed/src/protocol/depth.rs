//! The price levels of many books, each of which may be shown anew as a whole.

use std::collections::BTreeSet;

use bus::{Event, Kind, Price, Qty, Side};

use super::Fault;
use super::shown::{NARROW_MAX, Shown};

/// Price levels as orders, and which there are.
#[derive(Debug, Default)]
pub(super) struct Depth {
    shown: Shown,
    /// By symbol, side and price.
    there: BTreeSet<(u32, u8, i64)>,
}

impl Depth {
    /// A level shows `qty` from now on; see [`Shown::set`]. One that no book can hold goes, and is an
    /// error.
    pub(super) fn set(
        &mut self,
        event: &Event,
        price: Price,
        qty: Qty,
        decimals: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        // What fits into 32 bits always fits, and is not looked for.
        let max = match qty.0 <= NARROW_MAX {
            true => NARROW_MAX,
            false => self.shown.qty_max(event, price),
        };
        let fits = qty.0 <= max;
        let qty_shown = if fits { qty } else { Qty(0) };
        let start = out.len();
        self.shown.set(event, price, qty_shown, out)?;
        let key = (event.symbol, event.side as u8, price.0);
        match out.get(start).map(|made| made.kind) {
            Some(Kind::Add) => drop(self.there.insert(key)),
            Some(Kind::Delete) => drop(self.there.remove(&key)),
            // It was there before, or it was not, and so it is now.
            Some(_) | None => {}
        }
        match fits {
            true => Ok(()),
            false => Err(Fault::TooLarge {
                qty: qty.0,
                decimals,
                max,
            }),
        }
    }

    /// All levels of a symbol go that are not among `stay`, which is sorted by side and price.
    pub(super) fn keep(&mut self, event: &Event, stay: &[(u8, i64)], out: &mut Vec<Event>) {
        let range = (event.symbol, 0, i64::MIN)..=(event.symbol, u8::MAX, i64::MAX);
        let there = self.there.range(range);
        let gone: Vec<(u8, i64)> = there
            .map(|(_, side, price)| (*side, *price))
            .filter(|level| stay.binary_search(level).is_err())
            .collect();
        for (side, price) in gone {
            let event = Event {
                side: if side == Side::Buy as u8 {
                    Side::Buy
                } else {
                    Side::Sell
                },
                ..*event
            };
            self.there.remove(&(event.symbol, side, price));
            self.shown
                .set(&event, Price(price), Qty(0), out)
                .expect("nothing is added");
        }
    }
}
