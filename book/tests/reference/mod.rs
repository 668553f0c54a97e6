//! The plain twin of `Books`: maps and queues, written to be read against `bus::Kind`.

use std::collections::{BTreeMap, HashMap, VecDeque};

use book::BooksConfig;
use bus::{
    Anomalies, Anomaly, Applied, Event, Fill, Flags, Kind, Level, Phase, Price, Qty, Quote, Side,
};

type Queue = VecDeque<(u64, i64)>;

#[derive(Default)]
struct TwinBook {
    bids: BTreeMap<i64, Queue>,
    asks: BTreeMap<i64, Queue>,
    phase: Phase,
    was_crossed: bool,
    is_cut: bool,
    evidence: u32,
}

impl TwinBook {
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

pub(crate) struct Twin {
    config: BooksConfig,
    books: BTreeMap<u32, TwinBook>,
    /// Symbol, side and price of each live order.
    orders: HashMap<u64, (u32, Side, i64)>,
    pub(crate) anomalies: Anomalies,
    gap_passed: bool,
    found: Vec<Anomaly>,
}

fn is_valid(price: Price) -> bool {
    price.0 > 0 && price.0 < i64::MAX
}

impl Twin {
    pub(crate) fn new(config: BooksConfig) -> Twin {
        Twin {
            config,
            books: BTreeMap::new(),
            orders: HashMap::new(),
            anomalies: Anomalies::default(),
            gap_passed: false,
            found: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, event: &Event) -> Applied {
        self.found.clear();
        let mut symbol = event.symbol;
        if event.kind == Kind::Gap {
            self.gap_passed = true;
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
        let before = self.quote(symbol);
        let fill = self.change(event, symbol);
        let after = self.quote(symbol);

        let book = self.books.get_mut(&symbol).unwrap();
        let is_crossed = book.phase == Phase::Trading && after.is_crossed();
        if is_crossed && !book.was_crossed {
            self.found.push(Anomaly::Crossed);
        }
        book.was_crossed = is_crossed;
        for anomaly in std::mem::take(&mut self.found) {
            self.count(symbol, anomaly);
            self.found.push(anomaly);
        }
        Applied {
            fill,
            quote_changed: before != after,
            anomaly: self.found.first().copied(),
        }
    }

    fn change(&mut self, event: &Event, symbol: u32) -> Fill {
        match event.kind {
            Kind::Add if event.side == Side::None => self.found.push(Anomaly::BadField),
            Kind::Add => self.add(symbol, event.side, event.order, event.price, event.qty),
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete => {
                return self.take(event, symbol);
            }
            Kind::Replace => {
                let Some(&(_, side, _)) = self.orders.get(&event.order) else {
                    self.found.push(Anomaly::UnknownOrder);
                    return Fill::NONE;
                };
                self.remove(event.order, i64::MAX);
                self.add(symbol, side, event.order_b, event.price, event.qty);
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
                self.books.get_mut(&symbol).unwrap().phase = match event.order {
                    0x54 => Phase::Trading,
                    0x48 | 0x50 => Phase::Halted,
                    0x51 => Phase::QuoteOnly,
                    _ => {
                        self.found.push(Anomaly::BadField);
                        return Fill::NONE;
                    }
                }
            }
            _ => {}
        }
        Fill::NONE
    }

    fn add(&mut self, symbol: u32, side: Side, id: u64, price: Price, qty: Qty) {
        if !is_valid(price) {
            return self.found.push(Anomaly::BadPrice);
        }
        if qty.0 <= 0 || qty.0 > i64::from(u32::MAX) {
            return self.found.push(Anomaly::BadQty);
        }
        if self.orders.contains_key(&id) {
            return self.found.push(Anomaly::DuplicateOrder);
        }
        let levels = self.levels();
        let level_is_there = self
            .books
            .get_mut(&symbol)
            .unwrap()
            .side(side)
            .contains_key(&price.0);
        if self.orders.len() == self.config.orders_max as usize
            || (levels == self.config.levels_max && !level_is_there)
        {
            return self.found.push(Anomaly::Full);
        }
        self.orders.insert(id, (symbol, side, price.0));
        let side = self.books.get_mut(&symbol).unwrap().side(side);
        side.entry(price.0).or_default().push_back((id, qty.0));
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
        let levels = self.books.get_mut(&symbol).unwrap().side(side);
        let queue = levels.get_mut(&price).unwrap();
        let place = queue.iter().position(|order| order.0 == id).unwrap();
        let taken = asked.min(queue[place].1);
        queue[place].1 -= taken;
        if queue[place].1 == 0 {
            queue.remove(place);
            self.orders.remove(&id);
            if queue.is_empty() {
                levels.remove(&price);
            }
        }
        taken
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

    pub(crate) fn quote(&self, symbol: u32) -> Quote {
        self.books
            .get(&symbol)
            .map_or(Quote::EMPTY, TwinBook::quote)
    }

    pub(crate) fn phase(&self, symbol: u32) -> Phase {
        self.books
            .get(&symbol)
            .map_or(Phase::Unknown, |book| book.phase)
    }

    pub(crate) fn is_stale(&self, symbol: u32) -> bool {
        self.gap_passed
            || symbol >= self.config.symbols_max
            || self.books.get(&symbol).is_some_and(|book| book.is_cut)
    }

    pub(crate) fn evidence(&self, symbol: u32) -> u32 {
        self.books.get(&symbol).map_or(0, |book| book.evidence)
    }

    /// A side, best first, with the queue of each level.
    pub(crate) fn side(&self, symbol: u32, side: Side) -> Vec<(Level, Vec<(u64, Qty)>)> {
        let Some(book) = self.books.get(&symbol) else {
            return Vec::new();
        };
        let describe = |(&price, queue): (&i64, &Queue)| {
            let qty = queue.iter().map(|order| order.1).sum();
            let level = Level {
                price: Price(price),
                qty: Qty(qty),
                orders: queue.len() as u32,
            };
            (
                level,
                queue.iter().map(|&(id, qty)| (id, Qty(qty))).collect(),
            )
        };
        match side {
            Side::Buy => book.bids.iter().rev().map(describe).collect(),
            Side::Sell => book.asks.iter().map(describe).collect(),
            Side::None => Vec::new(),
        }
    }

    pub(crate) fn orders(&self) -> u32 {
        self.orders.len() as u32
    }

    pub(crate) fn levels(&self) -> u32 {
        self.books
            .values()
            .map(|book| (book.bids.len() + book.asks.len()) as u32)
            .sum()
    }

    pub(crate) fn symbols(&self) -> Vec<u32> {
        self.books.keys().copied().collect()
    }

    /// Some live order, picked by this number.
    pub(crate) fn some_order(&self, pick: u64) -> Option<u64> {
        let symbols: Vec<_> = self.books.values().filter(|b| !b.bids.is_empty()).collect();
        let book = symbols.get(pick as usize % symbols.len().max(1))?;
        let queue = book
            .bids
            .values()
            .nth(pick as usize / 7 % book.bids.len())?;
        Some(queue[pick as usize / 77 % queue.len()].0)
    }
}
