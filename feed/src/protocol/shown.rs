//! Price levels as orders: each level that a feed shows is one order with a number of its own.
//!
//! Books are built of orders. A feed that says "at 10.05 there are 300 now" says it to this, which
//! knows whether there was a level before, and makes of it an order that comes, changes or goes.
//! Numbers of levels that are gone are given again, so that they stay small and dense, as the books
//! like them.

use bus::{Event, Flags, Kind, Price, Qty};

use super::Fault;
use super::keyed::Map;

/// So many levels are remembered at most, over all symbols.
const LEVELS_MAX: u32 = 1 << 24;

/// What fits into 32 bits. More has [`Flags::WIDE`], on all events of its order.
pub(super) const NARROW_MAX: i64 = u32::MAX as i64;

/// What all orders beyond that may have together: as much as books take.
pub(super) const WIDE_MAX: i64 = 1 << 62;

/// What counts as beyond.
pub(super) fn beyond(qty: i64) -> i64 {
    if qty > NARROW_MAX { qty } else { 0 }
}

/// A level's symbol, side and price.
type Key = (u32, u8, i64);

/// The levels that are shown now.
#[derive(Debug, Default)]
pub(super) struct Shown {
    levels: Map<Key, Level>,
    free: Vec<u32>,
    /// The highest number that was ever given.
    last: u32,
    /// What all levels have that are beyond 32 bits.
    wide_sum: i64,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    id: u32,
    qty: i64,
}

impl Shown {
    /// A level shows `qty` from now on. `event` has its symbol, side, time and code; what comes of
    /// it goes behind `out`, which is one event, or none where the level was as it is.
    pub(super) fn set(
        &mut self,
        event: &Event,
        price: Price,
        qty: Qty,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let key = (event.symbol, event.side as u8, price.0);
        let found = self.levels.get_mut(&key);
        let before = found.as_ref().map_or(0, |level| level.qty);
        let (kind, id) = match found {
            Some(level) if qty.0 == 0 => {
                let id = level.id;
                self.levels.remove(&key);
                self.free.push(id);
                (Kind::Delete, id)
            }
            Some(level) if level.qty == qty.0 => return Ok(()),
            Some(level) => {
                level.qty = qty.0;
                (Kind::Replace, level.id)
            }
            None if qty.0 == 0 => return Ok(()),
            None => {
                let id = self.new_id()?;
                self.levels.insert(key, Level { id, qty: qty.0 });
                (Kind::Add, id)
            }
        };
        self.wide_sum += beyond(qty.0) - beyond(before);
        let is_wide = beyond(qty.0) + beyond(before) > 0;
        let order = u64::from(id);
        let is_there = kind != Kind::Delete;
        out.push(Event {
            kind,
            order,
            order_b: if kind == Kind::Replace { order } else { 0 },
            price: if is_there { price } else { Price(0) },
            qty: if is_there { qty } else { Qty(0) },
            flags: event
                .flags
                .with(if is_wide { Flags::WIDE } else { Flags(0) }),
            ..*event
        });
        Ok(())
    }

    /// The most that a level may show now.
    pub(super) fn qty_max(&self, event: &Event, price: Price) -> i64 {
        let level = self.levels.get(&(event.symbol, event.side as u8, price.0));
        let own = level.map_or(0, |level| beyond(level.qty));
        NARROW_MAX.max(WIDE_MAX - self.wide_sum + own)
    }

    fn new_id(&mut self) -> Result<u32, Fault> {
        if let Some(id) = self.free.pop() {
            return Ok(id);
        }
        if self.last == LEVELS_MAX {
            let (what, max) = ("price levels", LEVELS_MAX);
            return Err(Fault::Full { what, max });
        }
        self.last += 1;
        Ok(self.last)
    }
}

/// Which symbols are in the middle of several changes that are one.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    is_open: Vec<bool>,
}

impl Unfinished {
    /// Marks the changes of one book that a message made, `events`, of which `is_last` says whether
    /// more belong to them. Says whether the last of the changes is still to be told of: the
    /// message ended them without making one.
    pub(super) fn mark(&mut self, symbol: u32, events: &mut [Event], is_last: bool) -> bool {
        let index = symbol as usize;
        if index >= self.is_open.len() {
            self.is_open.resize(index + 1, false);
        }
        let was_open = self.is_open[index];
        let [before @ .., last] = events else {
            self.is_open[index] = was_open && !is_last;
            return was_open && is_last;
        };
        let several = was_open || !before.is_empty();
        for event in before {
            event.flags = event.flags.with(Flags::MORE);
        }
        if !is_last {
            last.flags = last.flags.with(Flags::MORE);
        } else if several {
            last.flags = last.flags.with(Flags::ENDS);
        }
        self.is_open[index] = !is_last;
        false
    }
}
