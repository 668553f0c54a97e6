//! The books of a shard beside their plain twin, which never differ, or else here is where.
//!
//! After each event what it told, the quote, the phase, and the prices it touched with their queues
//! are compared; now and then, and at the end, whole books. A whole book that is found to differ
//! does not say since when: a second walk, with [`Scope::Whole`], compares that book after each event.

use std::io;

use book::{Books, BooksConfig, Depth, Queued, Reference};
use bus::{Applied, Event, Kind, Level, Phase, Price, Qty, Quote, Side};

/// Events of a symbol between two comparisons of its whole book.
const WHOLE_EVERY: u32 = 256;

/// What is compared after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What it touched, and whole books now and then.
    Touched,
    /// The whole book of this symbol, too.
    Whole(u32),
}

/// Where the two say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of which symbol.
    pub symbol: u32,
    /// On which side, if on one.
    pub side: Side,
    /// How deep, where the plain book has the price or would have it.
    pub level: Option<usize>,
    /// At which price, if at one.
    pub price: Option<Price>,
    /// In what.
    pub what: &'static str,
    /// What the books say.
    pub books: String,
    /// What the plain ones say.
    pub reference: String,
    /// It was found by a look at the whole book, and may be older than the event.
    pub is_late: bool,
}

/// Both of them.
#[derive(Debug)]
pub struct Lockstep {
    books: Books,
    twin: Twin,
}

#[derive(Debug)]
struct Twin {
    reference: Reference,
    has_queues: bool,
    scope: Scope,
    /// Events of each symbol since its whole book was compared.
    since: Vec<u32>,
    events: u64,
    comparisons: u64,
    levels: Vec<Level>,
}

impl Lockstep {
    /// Two empty ones.
    pub fn new(config: BooksConfig, scope: Scope) -> io::Result<Lockstep> {
        Ok(Lockstep {
            books: Books::new(config)?,
            twin: Twin {
                reference: Reference::new(config),
                has_queues: config.depth == Depth::L3,
                scope,
                since: vec![0; config.symbols_max as usize],
                events: 0,
                comparisons: 0,
                levels: Vec::new(),
            },
        })
    }

    /// Takes in some events as a shard does, and finds the first after which the two differ, by its
    /// place among these.
    pub fn take(&mut self, events: &[Event]) -> Result<(), (usize, Difference)> {
        let Lockstep { books, twin } = self;
        let (mut index, mut found) = (0, None);
        books.apply_block(events, |books, event, applied| {
            if found.is_none() {
                let result = twin.step(books, event, applied);
                found = result.err().map(|difference| (index, *difference));
            }
            index += 1;
        });
        found.map_or(Ok(()), Err)
    }

    /// Compares the whole books of all symbols.
    pub fn finish(&mut self) -> Result<(), Difference> {
        for symbol in self.twin.reference.symbols() {
            self.twin
                .whole(&self.books, symbol)
                .map_err(|found| *found)?;
        }
        Ok(())
    }

    /// Events taken in.
    pub fn events(&self) -> u64 {
        self.twin.events
    }

    /// Prices compared.
    pub fn comparisons(&self) -> u64 {
        self.twin.comparisons
    }

    /// The plain books.
    pub fn reference(&self) -> &Reference {
        &self.twin.reference
    }
}

type Found = Result<(), Box<Difference>>;

impl Twin {
    fn step(&mut self, books: &Books, event: &Event, applied: Applied) -> Found {
        self.events += 1;
        let touched = self.touched(event);
        let expected = self.reference.apply(event);
        for (symbol, side, price) in touched.into_iter().flatten() {
            self.level(books, symbol, side, price)?;
        }
        let named = touched[0].map_or(event.symbol, |(symbol, ..)| symbol);
        for symbol in [named, event.symbol] {
            let (quote, plain) = (books.quote(symbol), self.reference.quote(symbol));
            equal(symbol, "quote", (quote, plain), quote_text)?;
            let (phase, plain) = (books.phase(symbol), self.reference.phase(symbol));
            equal(symbol, "phase", (phase, plain), phase_text)?;
            let (is_stale, plain) = (books.is_stale(symbol), self.reference.is_stale(symbol));
            equal(symbol, "stale", (is_stale, plain), |stale| {
                stale.to_string()
            })?;
        }
        equal(named, "print", (applied.fill, expected.fill), |fill| {
            format!("{} at {}", fill.qty, fill.price)
        })?;
        equal(
            named,
            "anomaly",
            (applied.anomaly, expected.anomaly),
            |it| it.map_or("none", |anomaly| anomaly.name()).to_string(),
        )?;
        let changed = (applied.quote_changed, expected.quote_changed);
        equal(named, "quote changed", changed, |changed| {
            changed.to_string()
        })?;
        let stats = books.stats();
        let orders = (stats.orders, self.reference.orders());
        equal(named, "live orders of all symbols", orders, |count| {
            count.to_string()
        })?;
        let levels = (stats.levels, self.reference.levels());
        equal(named, "live prices of all symbols", levels, |count| {
            count.to_string()
        })?;
        if let Scope::Whole(symbol) = self.scope {
            return self.whole(books, symbol).map_err(|mut found| {
                found.is_late = false;
                found
            });
        }
        if let Some(since) = self.since.get_mut(named as usize) {
            *since += 1;
            if *since == WHOLE_EVERY {
                *since = 0;
                return self.whole(books, named);
            }
        }
        Ok(())
    }

    /// The prices that an event is about.
    fn touched(&self, event: &Event) -> [Option<(u32, Side, Price)>; 2] {
        match event.kind {
            Kind::Add => [Some((event.symbol, event.side, event.price)), None],
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete => {
                [self.reference.order(event.order), None]
            }
            Kind::Replace => {
                let old = self.reference.order(event.order);
                [
                    old,
                    old.map(|(symbol, side, _)| (symbol, side, event.price)),
                ]
            }
            Kind::Nothing
            | Kind::Trade
            | Kind::Cross
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::Status
            | Kind::System
            | Kind::Info
            | Kind::Tick
            | Kind::Gap
            | Kind::End => [None; 2],
        }
    }

    /// One price, with its queue.
    fn level(&mut self, books: &Books, symbol: u32, side: Side, price: Price) -> Found {
        self.comparisons += 1;
        let ours = books.level(symbol, side, price);
        let plain = self.reference.level(symbol, side, price);
        self.same(books, symbol, side, price, ours, plain.as_ref())
    }

    fn same(
        &self,
        books: &Books,
        symbol: u32,
        side: Side,
        price: Price,
        ours: Option<Level>,
        plain: Option<&Queued>,
    ) -> Found {
        let differ = |what, books, reference| {
            let plain = self.reference.side(symbol, side);
            let is_before = |(level, _): &&Queued| match side {
                Side::Buy => level.price > price,
                _ => level.price < price,
            };
            Err(Box::new(Difference {
                symbol,
                side,
                level: Some(plain.iter().filter(is_before).count()),
                price: Some(price),
                what,
                books,
                reference,
                is_late: false,
            }))
        };
        let shown = plain.map(|(level, _)| *level);
        let qty = |level: Option<Level>| level.map_or(Qty(0), |level| level.qty);
        let orders = |level: Option<Level>| level.map_or(0, |level| level.orders);
        if qty(ours) != qty(shown) {
            return differ("quantity", qty(ours).to_string(), qty(shown).to_string());
        }
        if orders(ours) != orders(shown) {
            let (ours, plain) = (orders(ours), orders(shown));
            return differ("number of orders", ours.to_string(), plain.to_string());
        }
        if let Some((_, queue)) = plain.filter(|_| self.has_queues)
            && !books.queue(symbol, side, price).eq(queue.iter().copied())
        {
            let text = |(order, qty): &(u64, Qty)| format!("{order} x{qty}");
            let ours: Vec<_> = books.queue(symbol, side, price).collect();
            let texts = |queue: &[(u64, Qty)]| {
                let texts: Vec<_> = queue.iter().map(text).collect();
                texts.join(", ")
            };
            return differ("queue", texts(&ours), texts(queue));
        }
        Ok(())
    }

    /// All prices of a symbol, with their queues.
    fn whole(&mut self, books: &Books, symbol: u32) -> Found {
        for side in [Side::Buy, Side::Sell] {
            let plain = self.reference.side(symbol, side);
            let mut levels = std::mem::take(&mut self.levels);
            books.depth(symbol, side, usize::MAX, &mut levels);
            self.comparisons += levels.len() as u64;
            for depth in 0..levels.len().max(plain.len()) {
                let (ours, twin) = (levels.get(depth), plain.get(depth));
                let price = match (ours, twin) {
                    (Some(ours), Some((twin, _))) => match side {
                        Side::Buy => ours.price.max(twin.price),
                        _ => ours.price.min(twin.price),
                    },
                    (Some(level), None) | (None, Some((level, _))) => level.price,
                    (None, None) => break,
                };
                let ours = ours.filter(|level| level.price == price).copied();
                let twin = twin.filter(|(level, _)| level.price == price);
                let found = self.same(books, symbol, side, price, ours, twin);
                found.map_err(|mut found| {
                    found.is_late = true;
                    found
                })?;
            }
            self.levels = levels;
        }
        Ok(())
    }
}

fn equal<T: Copy + PartialEq>(
    symbol: u32,
    what: &'static str,
    (ours, plain): (T, T),
    text: impl Fn(T) -> String,
) -> Found {
    if ours == plain {
        return Ok(());
    }
    Err(Box::new(Difference {
        symbol,
        side: Side::None,
        level: None,
        price: None,
        what,
        books: text(ours),
        reference: text(plain),
        is_late: false,
    }))
}

fn phase_text(phase: Phase) -> String {
    let text = match phase {
        Phase::Unknown => "unknown",
        Phase::Trading => "trading",
        Phase::Halted => "halted",
        Phase::QuoteOnly => "quotes only",
    };
    text.to_string()
}

fn quote_text(quote: Quote) -> String {
    let side = |price: Price, qty: Qty| match price.is_some() {
        true => format!("{qty} at {price}"),
        false => "none".to_string(),
    };
    format!(
        "bid {}, ask {}",
        side(quote.bid, quote.bid_qty),
        side(quote.ask, quote.ask_qty)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BooksConfig = BooksConfig {
        orders_max: 1 << 12,
        levels_max: 1 << 12,
        symbols_max: 4,
        depth: Depth::L3,
    };

    fn event(kind: Kind, seq: u64, order: u64, price: i64, qty: i64) -> Event {
        Event {
            seq,
            symbol: 1,
            order,
            side: Side::Buy,
            price: Price(price * 10_000_000),
            qty: Qty(qty),
            ..Event::new(kind)
        }
    }

    /// Orders at forty prices, then changes at the best of them.
    fn stream() -> Vec<Event> {
        let adds = (1..=40).map(|n| event(Kind::Add, n, n, 1_000 - n as i64, 100));
        let takes = (41..=900).map(|n| event(Kind::Cancel, n, 1, 0, i64::from(n % 9 == 0)));
        adds.chain(takes).collect()
    }

    #[test]
    fn equal_books_stay_equal() {
        for depth in [Depth::L3, Depth::L2] {
            let config = BooksConfig { depth, ..CONFIG };
            let mut both = Lockstep::new(config, Scope::Touched).unwrap();
            assert_eq!(both.take(&stream()), Ok(()));
            assert_eq!(both.finish(), Ok(()));
            assert_eq!(both.events(), 900);
            assert!(both.comparisons() > 900);
        }
    }

    #[test]
    fn what_an_event_touches_is_found_at_once() {
        let mut both = Lockstep::new(CONFIG, Scope::Touched).unwrap();
        let events = stream();
        both.take(&events[..60]).unwrap();
        // The plain book loses a share more than the other.
        both.twin.reference.apply(&event(Kind::Cancel, 0, 30, 0, 1));
        let cancel = event(Kind::Cancel, 61, 30, 0, 10);
        let (index, found) = both.take(&[events[60], cancel]).unwrap_err();
        assert_eq!((index, found.what), (1, "quantity"));
        assert_eq!((found.side, found.level), (Side::Buy, Some(29)));
        assert_eq!(found.price, Some(Price(9_700_000_000)));
        assert_eq!((&found.books[..], &found.reference[..]), ("90", "89"));
        assert!(!found.is_late);
    }

    #[test]
    fn what_no_event_touches_is_found_late_or_at_once_in_whole_books() {
        for (scope, is_late) in [(Scope::Touched, true), (Scope::Whole(1), false)] {
            let mut both = Lockstep::new(CONFIG, scope).unwrap();
            let events = stream();
            both.take(&events[..100]).unwrap();
            both.twin.reference.apply(&event(Kind::Cancel, 0, 30, 0, 1));
            let (index, found) = both.take(&events[100..]).unwrap_err();
            assert_eq!((found.what, found.is_late), ("quantity", is_late));
            assert_eq!(index, if is_late { 155 } else { 0 });
            assert_eq!((found.level, &found.books[..]), (Some(29), "100"));
        }
    }

    #[test]
    fn queues_in_another_order_are_not_equal() {
        let mut both = Lockstep::new(CONFIG, Scope::Touched).unwrap();
        both.take(&[event(Kind::Add, 1, 1, 1_000, 10)]).unwrap();
        // One order of the twin goes and comes again: behind the other, with all else equal.
        let second = event(Kind::Add, 2, 2, 1_000, 10);
        both.take(&[second]).unwrap();
        both.twin.reference.apply(&event(Kind::Delete, 0, 1, 0, 0));
        both.twin
            .reference
            .apply(&event(Kind::Add, 0, 1, 1_000, 10));
        let third = event(Kind::Add, 3, 3, 1_000, 10);
        let (_, found) = both.take(&[third]).unwrap_err();
        assert_eq!(found.what, "queue");
        assert_eq!(found.books, "1 x10, 2 x10, 3 x10");
        assert_eq!(found.reference, "2 x10, 1 x10, 3 x10");
    }
}
