//! GLIMPSE 5.0: all live orders of an ITCH feed, told at once to who logs in, and the number of the feed's
//! message from which on they change.
//!
//! A snapshot is a SoupBinTCP session of ITCH messages, wanted from its first one on: the last system
//! event, directory and trading state of each symbol, an add for each live order with what is left of
//! it, and then
//!
//! ```text
//! byte 0     1
//!      G     number, 20 letters: the first message of the feed that the orders do not know of
//! ```
//!
//! Orders of one price come in the order in which they will be executed. [`Table`] is what both sides
//! keep: the server to tell it, the client to bring a snapshot up to the message that it has come to.
//! `client` asks for snapshots, on a thread of its own.

use std::collections::HashMap;

use bus::{Event, Kind, Price, Side};

mod client;

pub(crate) use client::take;
pub use client::{Answer, AskSnapshots, Fetch, Link, Snapshot, Wanted, ask, link};

/// The type of the message that ends a snapshot.
pub const END_TYPE: u8 = b'G';
/// Its length.
pub const END_BYTES: usize = 21;

/// The message that ends a snapshot.
pub fn end_message(sequence: u64) -> [u8; END_BYTES] {
    let mut bytes = [END_TYPE; END_BYTES];
    bytes[1..].copy_from_slice(format!("{sequence:>20}").as_bytes());
    bytes
}

/// The number that a message which ends a snapshot says; `None` where it says none, or is none.
pub fn end_sequence(message: &[u8]) -> Option<u64> {
    let [END_TYPE, digits @ ..] = message else {
        return None;
    };
    let digits = digits.trim_ascii();
    let is_number = message.len() == END_BYTES && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok().filter(|sequence| *sequence > 0)
}

/// The symbols of ITCH are numbered by 16 bits.
const SYMBOLS_MAX: usize = 1 << 16;
/// A queue is swept once more than half of it is gone, and not before it has so many.
const SWEEP_MIN: usize = 64;

/// The live orders of a feed, and what is said of its symbols: plain, and off every hot path.
///
/// Each live order stands once in its symbol's queue, with its turn. What is there without a live order
/// of that turn is gone, and swept when more than half of a queue is.
#[derive(Debug)]
pub struct Table {
    orders: HashMap<u64, Resting>,
    orders_max: usize,
    symbols: Vec<Symbol>,
    turn: u64,
    system: u64,
}

/// An order as it rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Its symbol's number.
    pub symbol: u32,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// What is left of it.
    pub qty: bus::Qty,
    /// When it came, or was replaced.
    pub ts_event: bus::Ts,
    /// Which order it was over all symbols to take its place.
    turn: u64,
}

/// What is known of a symbol.
#[derive(Clone, Debug, Default)]
struct Symbol {
    is_known: bool,
    name: u64,
    lot: i64,
    status: u64,
    /// References and turns.
    queue: Vec<(u64, u64)>,
    gone: usize,
}

/// What a symbol is, without its orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name as in [`Kind::Symbol`]; 0 where it was not said.
    pub name: u64,
    /// Its round lot; 0 where it was not said.
    pub lot: i64,
    /// The letter of its state as in [`Kind::Status`]; 0 where none was said.
    pub status: u64,
}

/// More live orders than a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Table {
    /// One without orders, for so many.
    pub fn new(orders_max: usize) -> Table {
        Table {
            orders: HashMap::new(),
            orders_max,
            symbols: Vec::new(),
            turn: 0,
            system: 0,
        }
    }

    /// Takes in what a message says. What a book refuses (an order that is there already, or has no
    /// quantity or price; a change of one that is not there) changes nothing here either.
    pub fn apply(&mut self, event: &Event) -> Result<(), TooMany> {
        match event.kind {
            Kind::Add => {
                let (symbol, side) = (event.symbol, event.side);
                return self.insert(event.order, symbol, side, event);
            }
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel => {
                let Some(order) = self.orders.get_mut(&event.order) else {
                    return Ok(());
                };
                if event.qty.0 >= order.qty.0 {
                    self.remove(event.order);
                } else if event.qty.0 > 0 {
                    order.qty.0 -= event.qty.0;
                }
            }
            Kind::Delete => {
                self.remove(event.order);
            }
            Kind::Replace => {
                if let Some(old) = self.remove(event.order) {
                    return self.insert(event.order_b, old.symbol, old.side, event);
                }
            }
            Kind::Symbol => {
                let symbol = self.symbol(event.symbol);
                (symbol.name, symbol.lot) = (event.order, event.qty.0);
            }
            Kind::Status => self.symbol(event.symbol).status = event.order,
            Kind::System => self.system = event.order,
            Kind::Nothing
            | Kind::Trade
            | Kind::Cross
            | Kind::Break
            | Kind::Imbalance
            | Kind::Info
            | Kind::Tick
            | Kind::Gap
            | Kind::End => {}
        }
        Ok(())
    }

    /// A symbol's name is said by other messages than its definition, too.
    pub fn name(&mut self, symbol: u32, name: u64) {
        self.symbol(symbol).name = name;
    }

    fn symbol(&mut self, number: u32) -> &mut Symbol {
        let index = number as usize % SYMBOLS_MAX;
        if index >= self.symbols.len() {
            self.symbols.resize(index + 1, Symbol::default());
        }
        let symbol = &mut self.symbols[index];
        symbol.is_known = true;
        symbol
    }

    fn insert(
        &mut self,
        reference: u64,
        symbol: u32,
        side: Side,
        event: &Event,
    ) -> Result<(), TooMany> {
        let is_right = side != Side::None
            && event.price.0 > 0
            && event.price.is_some()
            && (1..=i64::from(u32::MAX)).contains(&event.qty.0);
        if !is_right || self.orders.contains_key(&reference) {
            return Ok(());
        }
        if self.orders.len() >= self.orders_max {
            return Err(TooMany);
        }
        self.turn += 1;
        let turn = self.turn;
        let order = Resting {
            symbol,
            side,
            price: event.price,
            qty: event.qty,
            ts_event: event.ts_event,
            turn,
        };
        self.orders.insert(reference, order);
        self.symbol(symbol).queue.push((reference, turn));
        Ok(())
    }

    fn remove(&mut self, reference: u64) -> Option<Resting> {
        let order = self.orders.remove(&reference)?;
        let orders = &self.orders;
        let symbol = &mut self.symbols[order.symbol as usize];
        symbol.gone += 1;
        if symbol.queue.len() >= SWEEP_MIN && symbol.gone > symbol.queue.len() / 2 {
            let lives = |&(reference, turn): &(u64, u64)| is_at(orders, reference, turn);
            symbol.queue.retain(lives);
            symbol.gone = 0;
        }
        Some(order)
    }

    /// How many live orders there are.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Whether there is no live order.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// The letter of the session's state as in [`Kind::System`]; 0 where none was said.
    pub fn system(&self) -> u64 {
        self.system
    }

    /// Symbols are numbered below this.
    pub fn symbols_end(&self) -> u32 {
        self.symbols.len() as u32
    }

    /// What a symbol is; `None` where nothing was said of it.
    pub fn known(&self, symbol: u32) -> Option<Known> {
        let symbol = self.symbols.get(symbol as usize)?;
        symbol.is_known.then_some(Known {
            name: symbol.name,
            lot: symbol.lot,
            status: symbol.status,
        })
    }

    /// The live orders of a symbol from a place of its queue on, in the order in which they took their
    /// places; each with the place behind it.
    pub fn orders_from(
        &self,
        symbol: u32,
        place: usize,
    ) -> impl Iterator<Item = (usize, u64, &Resting)> {
        let queue = self.symbols.get(symbol as usize);
        let queue = queue.map_or(&[][..], |symbol| &symbol.queue[..]);
        let rest = queue.iter().enumerate().skip(place);
        rest.filter_map(|(place, &(reference, turn))| {
            let order = self.orders.get(&reference)?;
            (order.turn == turn).then_some((place + 1, reference, order))
        })
    }
}

/// Whether an order lives that took its place with this turn.
fn is_at(orders: &HashMap<u64, Resting>, reference: u64, turn: u64) -> bool {
    orders
        .get(&reference)
        .is_some_and(|order| order.turn == turn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::Qty;

    fn event(kind: Kind, order: u64, order_b: u64, price: i64, qty: i64) -> Event {
        Event {
            order,
            order_b,
            price: Price(price * 1_000_000_000),
            qty: Qty(qty),
            side: Side::Buy,
            symbol: 7,
            ..Event::new(kind)
        }
    }

    fn rows(table: &Table) -> String {
        let rows = table.orders_from(7, 0);
        let rows: Vec<String> = rows
            .map(|(_, reference, order)| {
                let units = order.price.0 / 1_000_000_000;
                format!("{reference}:{}@{units}", order.qty.0)
            })
            .collect();
        rows.join(" ")
    }

    #[test]
    fn a_table_knows_what_is_left_of_each_order_and_whose_turn_it_is() {
        let mut table = Table::new(3);
        let mut take = |event: Event| {
            let taken = table.apply(&event);
            (taken, rows(&table))
        };
        for (event, want) in [
            (event(Kind::Add, 1, 0, 10, 100), "1:100@10"),
            (event(Kind::Add, 2, 0, 10, 50), "1:100@10 2:50@10"),
            (event(Kind::Add, 1, 0, 11, 9), "1:100@10 2:50@10"),
            (event(Kind::Add, 9, 0, 0, 9), "1:100@10 2:50@10"),
            (event(Kind::Add, 9, 0, 9, 0), "1:100@10 2:50@10"),
            (event(Kind::Execute, 1, 77, 0, 30), "1:70@10 2:50@10"),
            (event(Kind::ExecuteAt, 1, 78, 12, 20), "1:50@10 2:50@10"),
            (event(Kind::Cancel, 2, 0, 0, 10), "1:50@10 2:40@10"),
            (event(Kind::Cancel, 2, 0, 0, 0), "1:50@10 2:40@10"),
            // A replaced order goes to the end, also under its own number.
            (event(Kind::Replace, 1, 3, 10, 60), "2:40@10 3:60@10"),
            (event(Kind::Replace, 2, 2, 10, 41), "3:60@10 2:41@10"),
            (event(Kind::Replace, 1, 4, 10, 60), "3:60@10 2:41@10"),
            (event(Kind::Execute, 3, 79, 0, 61), "2:41@10"),
            (event(Kind::Delete, 3, 0, 0, 0), "2:41@10"),
            (event(Kind::Delete, 2, 0, 0, 0), ""),
        ] {
            assert_eq!(take(event), (Ok(()), want.to_string()), "{event:?}");
        }
    }

    #[test]
    fn a_table_has_a_bound_and_does_not_grow_with_what_is_gone() {
        let mut table = Table::new(3);
        for order in 1..=3 {
            table.apply(&event(Kind::Add, order, 0, 10, 1)).unwrap();
        }
        assert_eq!(table.apply(&event(Kind::Add, 4, 0, 10, 1)), Err(TooMany));
        for order in 3..10_000 {
            table.apply(&event(Kind::Delete, order, 0, 0, 0)).unwrap();
            table.apply(&event(Kind::Add, order + 1, 0, 10, 1)).unwrap();
        }
        assert_eq!(rows(&table), "1:1@10 2:1@10 10000:1@10");
        assert!(table.symbols[7].queue.len() <= SWEEP_MIN);
    }

    #[test]
    fn the_end_says_a_number() {
        assert_eq!(end_sequence(&end_message(1)), Some(1));
        assert_eq!(end_sequence(&end_message(u64::MAX)), Some(u64::MAX));
        for wrong in [
            &b"G"[..],
            b"G                    ",
            b"G                  1x",
            b"G                   0",
            b"G                   1 ",
            b"A                   1",
            b"G99999999999999999999",
        ] {
            assert_eq!(end_sequence(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
