//! The orders that patterns remember: an event about an order says its number, and little else.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Flags, Kind, Price, Qty, Side, Ts};

use super::Matched;
use crate::expr::pattern::{ADD, CANCEL, CROSS, REPLACE, STATUS, TRADE};

/// An order as it was said last.
#[derive(Clone, Copy, Debug)]
struct Order {
    id: u64,
    ts: Ts,
    price: Price,
    /// What is left of it.
    qty: Qty,
    key: u32,
    side: Side,
}

const _: () = assert!(size_of::<Order>() == 40);

const NO_ORDER: Order = Order {
    id: 0,
    ts: Ts(0),
    price: Price::NONE,
    qty: Qty(0),
    key: 0,
    side: Side::None,
};

/// How many orders share a place; of more, the one that was said first is forgotten.
const WAYS: usize = 8;

/// An event as patterns see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fact {
    pub(super) kind: u8,
    pub(super) seen: Matched,
    /// Of the order; `None` where it is not known.
    pub(super) age_ns: Option<i64>,
    pub(super) moves: bool,
}

/// The latest orders of each symbol: the same number for each, so that what is forgotten does not depend
/// on other symbols.
#[derive(Debug)]
pub(super) struct Orders {
    sets: usize,
    shift: u32,
    orders: Vec<Order>,
    /// How many of each set are taken; these are in front, in the order in which they were said.
    counts: Vec<u8>,
}

impl Orders {
    /// Memory for so many orders of each symbol, a power of two from 8 on.
    pub(super) fn new(per_symbol: usize, symbol_count: usize) -> Orders {
        assert!(per_symbol.is_power_of_two() && per_symbol >= WAYS);
        let sets = per_symbol / WAYS;
        Orders {
            sets,
            shift: 64 - sets.trailing_zeros(),
            orders: Vec::with_capacity(symbol_count * per_symbol),
            counts: Vec::with_capacity(symbol_count * sets),
        }
    }

    pub(super) fn bytes_per_symbol(&self) -> usize {
        self.sets * (WAYS * size_of::<Order>() + 1)
    }

    pub(super) fn appear(&mut self) {
        let count = self.counts.len() + self.sets;
        self.counts.resize(count, 0);
        self.orders.resize(count * WAYS, NO_ORDER);
    }

    fn set_of(&self, place: usize, id: u64) -> usize {
        // Multiplication by an odd number spreads neighbours; the upper bits are the good ones.
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = hash.checked_shr(self.shift).unwrap_or(0) as usize;
        place * self.sets + set
    }

    fn insert(&mut self, place: usize, order: Order) {
        self.remove(place, order.id);
        let set = self.set_of(place, order.id);
        let orders = &mut self.orders[set * WAYS..][..WAYS];
        let count = &mut self.counts[set];
        if usize::from(*count) == WAYS {
            orders.copy_within(1.., 0);
            *count -= 1;
        }
        orders[usize::from(*count)] = order;
        *count += 1;
    }

    fn remove(&mut self, place: usize, id: u64) -> Option<Order> {
        let set = self.set_of(place, id);
        let orders = &mut self.orders[set * WAYS..][..usize::from(self.counts[set])];
        let at = orders.iter().position(|order| order.id == id)?;
        let order = orders[at];
        orders.copy_within(at + 1.., at);
        self.counts[set] -= 1;
        Some(order)
    }

    /// Takes some of an order away; it is as it was before.
    fn reduce(&mut self, place: usize, id: u64, qty: Qty) -> Option<Order> {
        let set = self.set_of(place, id);
        let orders = &mut self.orders[set * WAYS..][..usize::from(self.counts[set])];
        let order = orders.iter_mut().find(|order| order.id == id)?;
        let before = *order;
        order.qty.0 = order.qty.0.saturating_sub(qty.0);
        if order.qty.0 <= 0 {
            self.remove(place, id);
        }
        Some(before)
    }

    /// Forgets all of a symbol.
    pub(super) fn clear(&mut self, place: usize) {
        self.counts[place * self.sets..][..self.sets].fill(0);
    }

    /// Takes in an event; `None` of those that patterns do not see.
    pub(super) fn take(
        &mut self,
        place: usize,
        event: &Event,
        applied: &Applied,
        now: Ts,
        mid: i64,
    ) -> Option<Fact> {
        let id = event.order;
        let added = |id, key, side| Order {
            id,
            ts: now,
            price: event.price,
            qty: event.qty,
            key,
            side,
        };
        let fact = |kind, price, qty: Option<Qty>, side: Option<Side>, order: Option<Order>| Fact {
            kind,
            seen: Matched {
                ts: now,
                price,
                mid,
                qty: qty.unwrap_or(Matched::NO_QTY),
                key: order.map_or(0, |order| order.key),
                side: side.map_or(Matched::NO_SIDE, |side| side as u8),
            },
            age_ns: order.map(|order| now.since(order.ts)),
            moves: applied.quote_changed,
        };
        let fill = &applied.fill;
        match event.kind {
            Kind::Add => {
                let key = match event.flags.has(Flags::ATTRIBUTED) {
                    true => event.order_b as u32,
                    false => 0,
                };
                let order = added(id, key, event.side);
                self.insert(place, order);
                Some(fact(
                    ADD,
                    event.price,
                    Some(event.qty),
                    Some(event.side),
                    Some(order),
                ))
            }
            Kind::Execute | Kind::ExecuteAt => {
                let order = self.reduce(place, id, event.qty);
                (fill.qty.0 > 0).then(|| {
                    fact(
                        TRADE,
                        fill.price,
                        Some(fill.qty),
                        Some(fill.aggressor),
                        order,
                    )
                })
            }
            Kind::Trade if fill.qty.0 > 0 => Some(fact(
                TRADE,
                fill.price,
                Some(fill.qty),
                Some(fill.aggressor),
                None,
            )),
            Kind::Cross if fill.qty.0 > 0 => {
                let side = Some(Side::None);
                Some(fact(CROSS, fill.price, Some(fill.qty), side, None))
            }
            Kind::Cancel => {
                let order = self.reduce(place, id, event.qty);
                let price = order.map_or(Price::NONE, |order| order.price);
                let side = order.map(|order| order.side);
                Some(fact(CANCEL, price, Some(event.qty), side, order))
            }
            Kind::Delete => {
                let order = self.remove(place, id);
                let price = order.map_or(Price::NONE, |order| order.price);
                let (qty, side) = (order.map(|order| order.qty), order.map(|order| order.side));
                Some(fact(CANCEL, price, qty, side, order))
            }
            Kind::Replace => {
                let order = self.remove(place, id);
                if let Some(Order { key, side, .. }) = order {
                    self.insert(place, added(event.order_b, key, side));
                }
                let side = order.map(|order| order.side);
                Some(fact(REPLACE, event.price, Some(event.qty), side, order))
            }
            Kind::Status => Some(fact(STATUS, Price::NONE, None, None, None)),
            Kind::Trade
            | Kind::Cross
            | Kind::Break
            | Kind::Nothing
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::System
            | Kind::Info
            | Kind::Gap
            | Kind::Tick
            | Kind::End => None,
        }
    }

    pub(super) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        for set in place * self.sets..(place + 1) * self.sets {
            out.u8(self.counts[set]);
            for order in &self.orders[set * WAYS..][..usize::from(self.counts[set])] {
                out.u64(order.id);
                out.i64(order.ts.0);
                out.i64(order.price.0);
                out.i64(order.qty.0);
                out.u32(order.key);
                out.u8(order.side as u8);
            }
        }
    }

    /// Loads what was saved of the symbol at this place, which has appeared.
    pub(super) fn load(
        &mut self,
        place: usize,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        for set in place * self.sets..(place + 1) * self.sets {
            let count = from.u8()?;
            if usize::from(count) > WAYS {
                return Err(from.error(format_args!("at most {WAYS} orders, found {count}")));
            }
            self.counts[set] = count;
            for order in &mut self.orders[set * WAYS..][..usize::from(count)] {
                *order = Order {
                    id: from.u64()?,
                    ts: Ts(from.i64()?),
                    price: Price(from.i64()?),
                    qty: Qty(from.i64()?),
                    key: from.u32()?,
                    side: match from.u8()? {
                        0 => Side::None,
                        1 => Side::Buy,
                        2 => Side::Sell,
                        other => return Err(from.error(format_args!("a side, found {other}"))),
                    },
                };
            }
        }
        Ok(())
    }
}
