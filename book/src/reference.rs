//! The plain twin of `Books`: maps and queues, slow and obvious, written to be read against
//! `bus::Kind`. It has no code of the fast one, so that what both say is twice concluded.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bus::{
    Anomalies, Anomaly, Applied, Event, Fill, Flags, Kind, Level, Phase, Price, Qty, Quote, Side,
};

use crate::books::BooksConfig;

/// A level, and the orders in it in their turns.
pub type Queued = (Level, Vec<(u64, Qty)>);

type Queue = VecDeque<(u64, i64)>;

#[derive(Debug, Default)]
struct PlainBook {
    bids: BTreeMap<i64, Queue>,
    asks: BTreeMap<i64, Queue>,
    phase: Phase,
    was_crossed: bool,
    is_cut: bool,
    evidence: u32,
}

impl PlainBook {
    fn side(&mut self, side: Side) -> &mut BTreeMap<i64, Queue> {
        if side == Side::Buy {
            &mut self.bids
        } else {
            &mut self.asks
        }
    }

    fn quote(&self) -> Quote {
        let best = |entry: Option<(&i64, &Queue)>| match entry {
            Some((&price, queue)) => (Price(price), Qty(queue.iter().map(|order| order.1).sum())),
            None => (Price::NONE, Qty(0)),
        };
        let (bid, bid_qty) = best(self.bids.last_key_value());
        let (ask, ask_qty) = best(self.asks.first_key_value());
        Quote {
            bid,
            ask,
            bid_qty,
            ask_qty,
        }
    }
}

/// The books of all symbols, kept in the plainest way.
#[derive(Debug)]
pub struct Reference {
    config: BooksConfig,
    books: BTreeMap<u32, PlainBook>,
    /// Symbol, side and price of each live order.
    orders: HashMap<u64, (u32, Side, i64)>,
    /// Prices with orders.
    levels: u32,
    anomalies: Anomalies,
    gap_passed: bool,
    found: Vec<Anomaly>,
}

/// What an order may have in 32 bits.
const NARROW_MAX: i64 = u32::MAX as i64;

fn is_valid(price: Price) -> bool {
    price.0 > 0 && price.0 < i64::MAX
}

impl Reference {
    /// No orders yet.
    pub fn new(config: BooksConfig) -> Reference {
        Reference {
            config,
            books: BTreeMap::new(),
            orders: HashMap::new(),
            levels: 0,
            anomalies: Anomalies::default(),
            gap_passed: false,
            found: Vec::new(),
        }
    }

    /// Applies one event.
    pub fn apply(&mut self, event: &Event) -> Applied {
        self.found.clear();
        let mut symbol = event.symbol;
        if event.kind == Kind::Gap {
            self.gap(event);
        }
        if event.kind.is_for_all() || event.kind == Kind::Nothing {
            return Applied::NOTHING;
        }
        if symbol >= self.config.symbols_max {
            self.count(symbol, Anomaly::Full);
            return Applied {
                anomaly: Some(Anomaly::Full),
                ..Applied::NOTHING
            };
        }
        self.books.entry(symbol).or_default();
        if let Some(&(own, ..)) = self.orders.get(&event.order)
            && matches!(
                event.kind,
                Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete | Kind::Replace
            )
        {
            symbol = own;
        }
        // Of several changes that are one, only the last tells of a quote or of a crossed book.
        let is_more = event.flags.has(Flags::MORE);
        let is_part = event.kind != Kind::Status && (is_more || event.flags.has(Flags::ENDS));
        let before = self.quote(symbol);
        let fill = self.change(event, symbol);
        let after = self.quote(symbol);
        for anomaly in self.found.clone() {
            self.count(symbol, anomaly);
        }
        // A print may stand between changes that are one.
        let is_change = matches!(
            event.kind,
            Kind::Add
                | Kind::Execute
                | Kind::ExecuteAt
                | Kind::Cancel
                | Kind::Delete
                | Kind::Replace
                | Kind::Status
        );
        if is_change && (!is_part || symbol != event.symbol) {
            self.settle(symbol);
        }
        if is_part && !is_more {
            self.settle(event.symbol);
        }
        Applied {
            fill,
            quote_changed: if is_part { !is_more } else { before != after },
            anomaly: self.found.first().copied(),
        }
    }

    /// Messages are lost, or all that they said is known again.
    fn gap(&mut self, event: &Event) {
        let is_whole = event.flags.has(Flags::WHOLE);
        let is_stale = event.flags.has(Flags::STALE);
        self.gap_passed = match is_whole {
            true => is_stale,
            false => self.gap_passed || !is_stale,
        };
        if !(is_whole && is_stale) {
            return;
        }
        self.orders.clear();
        self.levels = 0;
        for book in self.books.values_mut() {
            book.bids.clear();
            book.asks.clear();
            (book.was_crossed, book.is_cut) = (false, false);
        }
    }

    /// Counts a book that becomes crossed while trading.
    fn settle(&mut self, symbol: u32) {
        let is_crossed = self.quote(symbol).is_crossed() && self.phase(symbol) == Phase::Trading;
        let book = self.books.entry(symbol).or_default();
        let was_crossed = std::mem::replace(&mut book.was_crossed, is_crossed);
        if is_crossed && !was_crossed {
            self.found.push(Anomaly::Crossed);
            self.count(symbol, Anomaly::Crossed);
        }
    }

    fn change(&mut self, event: &Event, symbol: u32) -> Fill {
        match event.kind {
            Kind::Add if event.side == Side::None => self.found.push(Anomaly::BadField),
            Kind::Add => self.add(event, symbol, event.side, event.order),
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete => {
                return self.take(event, symbol);
            }
            Kind::Replace => {
                let Some(&(_, side, _)) = self.orders.get(&event.order) else {
                    self.found.push(Anomaly::UnknownOrder);
                    return Fill::NONE;
                };
                self.remove(event.order, i64::MAX);
                self.add(event, symbol, side, event.order_b);
                if symbol != event.symbol {
                    self.found.push(Anomaly::BadField);
                }
            }
            Kind::Trade if event.qty.0 <= 0 => self.found.push(Anomaly::BadQty),
            Kind::Cross if event.qty.0 <= 0 => {}
            Kind::Trade | Kind::Cross if !is_valid(event.price) => {
                self.found.push(Anomaly::BadPrice);
            }
            Kind::Trade | Kind::Cross => {
                return Fill {
                    price: event.price,
                    qty: event.qty,
                    aggressor: Side::None,
                };
            }
            Kind::Status => {
                self.books.entry(symbol).or_default().phase = match event.order {
                    0x54 => Phase::Trading,
                    0x48 | 0x50 => Phase::Halted,
                    0x51 => Phase::QuoteOnly,
                    _ => {
                        self.found.push(Anomaly::BadField);
                        return Fill::NONE;
                    }
                }
            }
            Kind::Info => {
                let book = self.books.entry(symbol).or_default();
                book.is_cut &= !event.flags.has(Flags::WHOLE);
                book.is_cut |= event.flags.has(Flags::STALE);
            }
            _ => {}
        }
        Fill::NONE
    }

    fn add(&mut self, event: &Event, symbol: u32, side: Side, id: u64) {
        let (price, qty) = (event.price, event.qty);
        if !is_valid(price) {
            return self.found.push(Anomaly::BadPrice);
        }
        let qty_max = match event.flags.has(Flags::WIDE) {
            true => (1 << 62) - self.wide_sum(),
            false => NARROW_MAX,
        };
        if qty.0 <= 0 || qty.0 > qty_max.max(NARROW_MAX) {
            return self.found.push(Anomaly::BadQty);
        }
        if self.orders.contains_key(&id) {
            return self.found.push(Anomaly::DuplicateOrder);
        }
        let levels = self.levels;
        let level_is_there = self.side_of(symbol, side).contains_key(&price.0);
        if self.orders.len() == self.config.orders_max as usize
            || (levels == self.config.levels_max && !level_is_there)
        {
            return self.found.push(Anomaly::Full);
        }
        self.orders.insert(id, (symbol, side, price.0));
        self.levels += u32::from(!level_is_there);
        let side = self.side_of(symbol, side);
        side.entry(price.0).or_default().push_back((id, qty.0));
    }

    /// What all orders beyond 32 bits have together.
    fn wide_sum(&self) -> i64 {
        let sides = self
            .books
            .values()
            .flat_map(|book| [&book.bids, &book.asks]);
        let orders = sides.flat_map(|side| side.values().flatten());
        let wide = orders.filter(|order| order.1 > NARROW_MAX);
        wide.map(|order| order.1).sum()
    }

    fn take(&mut self, event: &Event, symbol: u32) -> Fill {
        let Some(&(_, side, price)) = self.orders.get(&event.order) else {
            self.found.push(Anomaly::UnknownOrder);
            return Fill::NONE;
        };
        let asked = if event.kind == Kind::Delete {
            i64::MAX
        } else {
            event.qty.0
        };
        if asked <= 0 {
            self.found.push(Anomaly::BadQty);
            return Fill::NONE;
        }
        let taken = self.remove(event.order, asked);
        if event.kind != Kind::Delete && taken < asked {
            self.found.push(Anomaly::Overfill);
        }
        let mut fill = Fill::NONE;
        let price = match event.kind {
            Kind::Execute => Some(Price(price)),
            Kind::ExecuteAt if event.flags.has(Flags::PRINTABLE) => Some(event.price),
            _ => None,
        };
        match price {
            Some(price) if !is_valid(price) => self.found.push(Anomaly::BadPrice),
            Some(price) => {
                fill = Fill {
                    price,
                    qty: Qty(taken),
                    aggressor: side.other(),
                }
            }
            None => {}
        }
        if symbol != event.symbol {
            self.found.push(Anomaly::BadField);
        }
        fill
    }

    /// Takes up to `asked` from a live order; says how much that was.
    fn remove(&mut self, id: u64, asked: i64) -> i64 {
        let (symbol, side, price) = self.orders[&id];
        let levels = self.side_of(symbol, side);
        let queue = levels.get_mut(&price).expect("a live order has a level");
        let place = queue.iter().position(|order| order.0 == id);
        let place = place.expect("a live order is in its queue");
        let taken = asked.min(queue[place].1);
        queue[place].1 -= taken;
        if queue[place].1 == 0 {
            queue.remove(place);
            if queue.is_empty() {
                levels.remove(&price);
                self.levels -= 1;
            }
            self.orders.remove(&id);
        }
        taken
    }

    fn side_of(&mut self, symbol: u32, side: Side) -> &mut BTreeMap<i64, Queue> {
        self.books.entry(symbol).or_default().side(side)
    }

    fn count(&mut self, symbol: u32, anomaly: Anomaly) {
        self.anomalies.count(anomaly);
        let Some(book) = self.books.get_mut(&symbol) else {
            return;
        };
        book.is_cut |= anomaly == Anomaly::Full;
        let tells = matches!(
            anomaly,
            Anomaly::UnknownOrder | Anomaly::DuplicateOrder | Anomaly::Overfill | Anomaly::Crossed
        );
        book.evidence += u32::from(self.gap_passed && tells);
    }

    /// Best bid and ask.
    pub fn quote(&self, symbol: u32) -> Quote {
        self.books
            .get(&symbol)
            .map_or(Quote::EMPTY, PlainBook::quote)
    }

    /// Whether it trades.
    pub fn phase(&self, symbol: u32) -> Phase {
        self.books
            .get(&symbol)
            .map_or(Phase::Unknown, |book| book.phase)
    }

    /// Whether the book may lack something.
    pub fn is_stale(&self, symbol: u32) -> bool {
        self.gap_passed
            || symbol >= self.config.symbols_max
            || self.books.get(&symbol).is_some_and(|book| book.is_cut)
    }

    /// How often, after messages were lost, something told that this symbol was concerned.
    pub fn evidence(&self, symbol: u32) -> u32 {
        self.books.get(&symbol).map_or(0, |book| book.evidence)
    }

    /// A side, best first, with the queue of each level.
    pub fn side(&self, symbol: u32, side: Side) -> Vec<Queued> {
        let Some(book) = self.books.get(&symbol) else {
            return Vec::new();
        };
        match side {
            Side::Buy => book.bids.iter().rev().map(queued).collect(),
            Side::Sell => book.asks.iter().map(queued).collect(),
            Side::None => Vec::new(),
        }
    }

    /// What is at one price.
    pub fn level(&self, symbol: u32, side: Side, price: Price) -> Option<Queued> {
        let book = self.books.get(&symbol)?;
        let levels = match side {
            Side::Buy => &book.bids,
            Side::Sell => &book.asks,
            Side::None => return None,
        };
        levels.get_key_value(&price.0).map(queued)
    }

    /// Symbol, side and price of a live order.
    pub fn order(&self, id: u64) -> Option<(u32, Side, Price)> {
        let &(symbol, side, price) = self.orders.get(&id)?;
        Some((symbol, side, Price(price)))
    }

    /// How many orders live.
    pub fn orders(&self) -> u32 {
        self.orders.len() as u32
    }

    /// How many prices have orders.
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// What was wrong so far.
    pub fn anomalies(&self) -> Anomalies {
        self.anomalies
    }

    /// The symbols that any event named so far, ascending.
    pub fn symbols(&self) -> Vec<u32> {
        self.books.keys().copied().collect()
    }
}

fn queued((&price, queue): (&i64, &Queue)) -> Queued {
    let level = Level {
        price: Price(price),
        qty: Qty(queue.iter().map(|order| order.1).sum()),
        orders: queue.len() as u32,
    };
    let orders = queue.iter().map(|&(id, qty)| (id, Qty(qty)));
    (level, orders.collect())
}
