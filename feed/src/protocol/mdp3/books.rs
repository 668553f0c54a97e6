//! What messages do to books: levels by their place, orders by their priority in their price's queue.

use bus::{Event, Kind, Price, Qty, Side};

use super::message::{Block, Message};
use super::{
    MOVES_MAX, Mdp3, ORDERS_MAX, Resting, action, each, gone, info, is_held, show, side_of,
};
use crate::protocol::Fault;

impl Mdp3 {
    /// Price levels, and maybe the orders in them.
    pub(super) fn book(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let [Some(entries), orders] = message.groups else {
            return Ok(());
        };
        let Some(orders) = orders else {
            return each(entries.iter(), |e| self.entry(message, event, &e, out));
        };
        let at = orders.fields.reference_id;
        let of = |order: &Block<'_>| {
            let index = usize::from(order.byte(at).unwrap_or(0));
            let entry = index.checked_sub(1).and_then(|index| entries.get(index));
            entry.ok_or_else(|| message.wrong(order, at))
        };
        let mut result = each(orders.iter(), |order| {
            let entry = of(&order)?;
            let (symbol, _) = self.instrument(message, event, &entry, out)?;
            self.show_orders(symbol, event, message, out);
            Ok(())
        });
        result = each(entries.iter(), |e| self.entry(message, event, &e, out)).and(result);
        let ordered = each(orders.iter(), |order| {
            // That there is no such entry was told above.
            match of(&order) {
                Ok(entry) => self.order_entry(message, event, &entry, &order, out),
                Err(_) => Ok(()),
            }
        });
        ordered.and(result)
    }

    /// From now on the instrument's book is one of orders.
    pub(super) fn show_orders(
        &mut self,
        symbol: u32,
        event: &Event,
        message: &Message<'_>,
        out: &mut Vec<Event>,
    ) {
        let instrument = &mut self.instruments[symbol as usize];
        if instrument.has_orders {
            return;
        }
        let from = out.len();
        self.clear(symbol, event, out);
        self.instruments[symbol as usize].has_orders = true;
        self.changed(symbol, message, from, out);
    }

    /// A price level.
    pub(super) fn entry(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        entry: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let fields = entry.fields;
        let (symbol, is_news) = self.instrument(message, event, entry, out)?;
        let numbered = self.number(symbol, is_news, event, entry, out);
        let entry_type = entry.byte(fields.md_entry_type).unwrap_or(0);
        let from = out.len();
        let result = match (entry_type, side_of(entry_type)) {
            (b'J', _) => {
                let event = Event { symbol, ..*event };
                self.clear(symbol, &event, out);
                Ok(())
            }
            (b'E' | b'F', _) => {
                out.push(info(message, event, entry, symbol));
                Ok(())
            }
            (_, None) => Err(message.wrong(entry, fields.md_entry_type)),
            (_, Some(_)) if !is_news || self.instruments[symbol as usize].has_orders => Ok(()),
            (_, Some(side)) => {
                let event = Event {
                    symbol,
                    side,
                    ..*event
                };
                self.level(message, &event, entry, out)
            }
        };
        self.changed(symbol, message, from, out);
        numbered.and(result)
    }

    /// A level comes, changes or goes; `event` has its symbol and side.
    pub(super) fn level(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        entry: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let fields = entry.fields;
        let (price, qty) = (entry.price(), entry.qty(fields.md_entry_size));
        let level = usize::from(entry.byte(fields.md_price_level).unwrap_or(0));
        let Some(place) = level.checked_sub(1) else {
            return Err(message.wrong(entry, fields.md_price_level));
        };
        let instrument = &mut self.instruments[event.symbol as usize];
        // A level that is named shows that there are as many.
        instrument.depth = instrument.depth.max(level);
        let depth = instrument.depth;
        let levels = &mut instrument.levels[usize::from(event.side == Side::Sell)];
        let shown = &mut self.shown;
        let set = &mut |price: Price, qty: i64| show(shown, event, price, qty, out);
        match entry.byte(fields.md_update_action) {
            Some(action::NEW) => {
                levels.resize(levels.len().max(place), Price::NONE);
                levels.insert(place, price);
                let beyond = levels.drain(depth.min(levels.len())..);
                let mut result = Ok(());
                for price in beyond {
                    result = result.and(set(price, 0));
                }
                result.and(set(price, qty))
            }
            Some(action::CHANGE | action::OVERLAY) => {
                levels.resize(levels.len().max(level), Price::NONE);
                let before = std::mem::replace(&mut levels[place], price);
                if before != price && !levels.contains(&before) {
                    set(before, 0)?;
                }
                set(price, qty)
            }
            Some(action::DELETE) => {
                let known = (place < levels.len()).then(|| levels.remove(place));
                let known = known.filter(|known| known.is_some()).unwrap_or(price);
                if levels.contains(&known) {
                    return Ok(());
                }
                set(known, 0)
            }
            Some(action @ (action::DELETE_THRU | action::DELETE_FROM)) => {
                let end = match action {
                    action::DELETE_THRU => levels.len(),
                    _ => levels.len().min(level),
                };
                levels.drain(..end).try_for_each(|price| set(price, 0))
            }
            _ => Err(message.wrong(entry, fields.md_update_action)),
        }
    }

    /// An order comes, changes or goes. `entry` says of which instrument, side and price, `order` the
    /// rest; they may be one.
    pub(super) fn order_entry(
        &mut self,
        message: &Message<'_>,
        event: &Event,
        entry: &Block<'_>,
        order: &Block<'_>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (fields, of) = (order.fields, entry.fields);
        let (symbol, is_news) = self.instrument(message, event, entry, out)?;
        let entry_type = entry.byte(of.md_entry_type).unwrap_or(0);
        if entry_type == b'J' {
            let from = out.len();
            let event = Event { symbol, ..*event };
            self.clear(symbol, &event, out);
            self.changed(symbol, message, from, out);
            return Ok(());
        }
        let (Some(side), Some(id)) = (side_of(entry_type), order.u64(fields.order_id)) else {
            return Err(message.wrong(entry, of.md_entry_type));
        };
        let said = order.byte(fields.order_update_action);
        let said = said.or_else(|| order.byte(fields.md_update_action));
        let Some(action @ action::NEW..=action::DELETE) = said else {
            return Err(message.wrong(order, fields.order_update_action));
        };
        self.show_orders(symbol, event, message, out);
        if !is_news {
            return Ok(());
        }
        let from = out.len();
        let event = Event {
            symbol,
            side,
            order: id,
            price: entry.price(),
            qty: Qty(order.qty(fields.md_display_qty)),
            ..*event
        };
        let priority = order.u64(fields.md_order_priority);
        let result = self.order(&event, action == action::DELETE, priority, out);
        self.changed(symbol, message, from, out);
        result
    }

    /// An order is as `event` has it from now on, or gone.
    pub(super) fn order(
        &mut self,
        event: &Event,
        is_deleted: bool,
        priority: Option<u64>,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        let (id, price, qty) = (event.order, event.price, event.qty.0);
        let found = self.orders.get(&id).copied();
        if is_deleted || qty == 0 || !is_held(price) {
            let is_negative = price.is_some() && price.0 <= 0;
            if let Some(before) = found {
                self.orders.remove(&id);
                self.dequeue(&before, id);
                out.push(gone(event, id));
            } else if is_deleted && !is_negative {
                // An order that was never shown, which the book then tells of.
                out.push(gone(event, id));
            } else {
                out.push(Event {
                    kind: Kind::Info,
                    price: if price.is_some() { price } else { Price(0) },
                    ..*event
                });
            }
            return Ok(());
        }
        let priority = priority.or(found.map(|before| before.priority));
        let rests = Resting {
            symbol: event.symbol,
            side: event.side,
            price,
            qty,
            priority: priority.unwrap_or(u64::MAX),
        };
        if found.is_none() && self.orders.len() == ORDERS_MAX {
            let (what, max) = ("orders", ORDERS_MAX as u32);
            return Err(Fault::Full { what, max });
        }
        self.orders.insert(id, rests);
        let replace = Event {
            kind: Kind::Replace,
            order_b: id,
            ..*event
        };
        let add = Event {
            kind: Kind::Add,
            ..*event
        };
        let Some(before) = found else {
            out.push(add);
            let behind = self.enqueue(&rests, id);
            self.queue_again(&rests, behind, event, out);
            return Ok(());
        };
        if before.key() == rests.key() && before.priority == rests.priority {
            if qty < before.qty {
                out.push(Event {
                    kind: Kind::Cancel,
                    price: Price(0),
                    qty: Qty(before.qty - qty),
                    ..*event
                });
            } else if qty > before.qty {
                out.push(replace);
                self.dequeue(&before, id);
                let behind = self.enqueue(&rests, id);
                self.queue_again(&rests, behind, event, out);
            }
            return Ok(());
        }
        self.dequeue(&before, id);
        if before.symbol == rests.symbol && before.side == rests.side {
            out.push(replace);
        } else {
            out.push(gone(event, id));
            out.push(add);
        }
        let behind = self.enqueue(&rests, id);
        self.queue_again(&rests, behind, event, out);
        Ok(())
    }

    /// Takes the order's place among those of its price; says where the next one's is.
    pub(super) fn enqueue(&mut self, order: &Resting, id: u64) -> usize {
        let spare = &mut self.spare;
        let queue = self.queues.entry(order.key());
        let queue = queue.or_insert_with(|| spare.pop().unwrap_or_default());
        let place = queue.partition_point(|(priority, _)| *priority <= order.priority);
        queue.insert(place, (order.priority, id));
        place + 1
    }

    pub(super) fn dequeue(&mut self, order: &Resting, id: u64) {
        let key = order.key();
        let Some(queue) = self.queues.get_mut(&key) else {
            return;
        };
        let from = queue.partition_point(|(priority, _)| *priority < order.priority);
        if let Some(place) = queue[from..].iter().position(|(_, other)| *other == id) {
            queue.remove(from + place);
        }
        if queue.is_empty() {
            self.spare.extend(self.queues.remove(&key));
        }
    }

    /// A book puts what comes at the end of its price's queue: what belongs behind follows.
    pub(super) fn queue_again(
        &self,
        order: &Resting,
        behind: usize,
        event: &Event,
        out: &mut Vec<Event>,
    ) {
        let Some(queue) = self.queues.get(&order.key()) else {
            return;
        };
        let behind = &queue[behind..];
        if behind.len() > MOVES_MAX {
            return;
        }
        for (_, id) in behind {
            out.push(Event {
                kind: Kind::Replace,
                order: *id,
                order_b: *id,
                qty: Qty(self.orders[id].qty),
                ..*event
            });
        }
    }

    /// All that an instrument shows goes.
    pub(super) fn clear(&mut self, symbol: u32, event: &Event, out: &mut Vec<Event>) {
        let instrument = &mut self.instruments[symbol as usize];
        for (side, levels) in [Side::Buy, Side::Sell]
            .into_iter()
            .zip(&mut instrument.levels)
        {
            let event = Event {
                symbol,
                side,
                order: 0,
                ..*event
            };
            for price in levels.drain(..) {
                if is_held(price) {
                    let set = self.shown.set(&event, price, Qty(0), out);
                    set.expect("what goes takes no room");
                }
            }
        }
        if !instrument.has_orders {
            return;
        }
        let orders = self.orders.iter();
        let of_symbol = orders.filter(|(_, order)| order.symbol == symbol);
        let mut ids: Vec<(u64, Resting)> = of_symbol.map(|(id, order)| (*id, *order)).collect();
        ids.sort_unstable_by_key(|(id, _)| *id);
        for (id, order) in ids {
            self.orders.remove(&id);
            self.dequeue(&order, id);
            let (symbol, side) = (order.symbol, order.side);
            out.push(gone(
                &Event {
                    symbol,
                    side,
                    ..*event
                },
                id,
            ));
        }
    }

    /// All books of a channel are empty, and its numbers start anew.
    pub(super) fn reset(&mut self, channel: u16, event: &Event, out: &mut Vec<Event>) {
        for symbol in 1..self.instruments.len() {
            if self.instruments[symbol].channel == channel {
                self.clear(symbol as u32, event, out);
                let instrument = &mut self.instruments[symbol];
                (instrument.seen, instrument.known_to) = (0, 0);
                // An empty book lacks nothing, if what comes begins with 1.
                (instrument.numbered_to, instrument.has_hole) = (0, false);
            }
        }
    }
}
