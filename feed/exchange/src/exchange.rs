//! The matching engine: orders in, executions and messages out.
//!
//! Everything that changes a book goes through here, so that the messages, the books and the
//! tallies of trades cannot disagree.

use std::collections::BTreeMap;
use std::io;

use crate::book::{Book, Id, Orders, Side};
use crate::random::Random;
use crate::symbols::Stock;
use crate::truth::{Depth, LEVELS_MAX, SymbolTruth, Windows};
use crate::wire::{self, Added, Head, Message};

/// The smallest step of a displayed price, in 1e-4 dollars.
pub(crate) const TICK_E4: u32 = 100;

/// Hidden orders, and orders that were slid, execute between two ticks.
const HALF_TICK_E4: u32 = TICK_E4 / 2;

/// Where messages go: nanoseconds since midnight, and the bytes of one message.
pub(crate) type Out<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// What a symbol accepts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Orders rest without matching until a cross: before the open, and while only quoted.
    Resting,
    /// Orders match as they arrive.
    Trading,
    /// Halted: orders can be taken off, not added.
    CancelOnly,
}

/// The trades of one symbol so far.
#[derive(Clone, Debug, Default)]
struct Tally {
    trades: u64,
    volume: u64,
    notional_e4: u64,
    broken: u64,
    windows: Windows,
    last_match: Option<u64>,
    last_e4: u32,
}

pub(crate) struct Exchange<'a> {
    out: Out<'a>,
    pub(crate) stocks: Vec<Stock>,
    pub(crate) states: Vec<State>,
    pub(crate) books: Vec<Book>,
    pub(crate) orders: Orders,
    /// Shares of one hidden order at the midpoint, by symbol and side.
    hidden: Vec<[u32; 2]>,
    tallies: Vec<Tally>,
    now_ns: u64,
    messages: u64,
    by_type: [u64; 256],
    reference: u64,
    match_number: u64,
    random: Random,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(stocks: Vec<Stock>, random: Random, out: Out<'a>) -> Self {
        let count = stocks.len();
        Self {
            out,
            states: vec![State::Resting; count],
            books: stocks.iter().map(|_| Book::default()).collect(),
            orders: Orders::default(),
            hidden: vec![[0; 2]; count],
            tallies: vec![Tally::default(); count],
            stocks,
            now_ns: 0,
            messages: 0,
            by_type: [0; 256],
            // As on a real morning, when the first order of the session is not number 1.
            reference: 4_000,
            match_number: 17_000,
            random,
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Moves the clock on. It never goes back, so a moment that is past already means now.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// The beginning of a message about a symbol.
    pub(crate) fn head(&self, symbol: usize) -> Head {
        Head {
            locate: self.stocks[symbol].locate,
            tracking: 0,
            ts_ns: self.now_ns,
        }
    }

    /// The beginning of a message about the whole market.
    pub(crate) fn market_head(&self) -> Head {
        Head {
            locate: 0,
            tracking: 0,
            ts_ns: self.now_ns,
        }
    }

    pub(crate) fn publish(&mut self, message: &Message) -> io::Result<()> {
        let bytes = message.as_bytes();
        self.by_type[usize::from(bytes[0])] += 1;
        self.messages += 1;
        (self.out)(self.now_ns, bytes)
    }

    /// The engine takes a moment for each further execution of one aggressive order; those of
    /// one moment often share a time.
    fn tick_clock(&mut self) {
        self.now_ns += (self.random.next() & 0x1ff).saturating_sub(200);
    }

    fn next_reference(&mut self) -> u64 {
        // References are shared with other systems of the exchange, so that one feed sees gaps.
        self.reference += 4 * (1 + (self.random.next() & 3));
        self.reference
    }

    pub(crate) fn next_match(&mut self) -> u64 {
        self.match_number += 1 + (self.random.next() & 1);
        self.match_number
    }

    /// The price of the last trade, if there was one.
    pub(crate) fn last_e4(&self, symbol: usize) -> Option<u32> {
        Some(self.tallies[symbol].last_e4).filter(|&price| price > 0)
    }

    /// Puts an order on the book. The caller has made sure that it does not match.
    pub(crate) fn add(
        &mut self,
        symbol: usize,
        side: Side,
        shares: u32,
        price_e4: u32,
        mpid: Option<&[u8; 4]>,
        slid: bool,
    ) -> io::Result<Id> {
        debug_assert!(
            self.states[symbol] != State::Trading || !self.matches(symbol, side, price_e4)
        );
        let reference = self.next_reference();
        let added = Added {
            reference,
            side: side.letter(),
            shares,
            stock: &self.stocks[symbol].name,
            price_e4,
        };
        let message = wire::add(self.head(symbol), &added, mpid);
        self.publish(&message)?;
        Ok(self.books[symbol].add(&mut self.orders, reference, side, shares, price_e4, slid))
    }

    /// Whether an order of `side` at `price_e4` would meet a displayed one.
    pub(crate) fn matches(&self, symbol: usize, side: Side, price_e4: u32) -> bool {
        self.books[symbol]
            .best_price(side.other())
            .is_some_and(|best_e4| !side.is_better(best_e4, price_e4))
    }

    pub(crate) fn delete(&mut self, symbol: usize, id: Id) -> io::Result<()> {
        let order = self.orders.get(id);
        let (reference, shares) = (order.reference, order.shares);
        let message = wire::deleted(self.head(symbol), reference);
        self.publish(&message)?;
        self.books[symbol].reduce(&mut self.orders, id, shares);
        Ok(())
    }

    /// Takes some, but not all, of an order's shares off the book.
    pub(crate) fn cancel(&mut self, symbol: usize, id: Id, shares: u32) -> io::Result<()> {
        let order = self.orders.get(id);
        assert!(
            shares < order.shares,
            "a partial cancel of {shares} of {}",
            order.shares
        );
        let message = wire::cancelled(self.head(symbol), order.reference, shares);
        self.publish(&message)?;
        self.books[symbol].reduce(&mut self.orders, id, shares);
        Ok(())
    }

    /// Puts a new order in place of an old one, at the end of its queue.
    pub(crate) fn replace(
        &mut self,
        symbol: usize,
        id: Id,
        shares: u32,
        price_e4: u32,
    ) -> io::Result<()> {
        let old = *self.orders.get(id);
        let new = self.next_reference();
        let message = wire::replaced(self.head(symbol), old.reference, new, shares, price_e4);
        self.publish(&message)?;
        self.books[symbol].reduce(&mut self.orders, id, old.shares);
        self.books[symbol].add(&mut self.orders, new, old.side, shares, price_e4, false);
        Ok(())
    }

    /// Leaves a hidden order at the midpoint. Nothing is published: that is its point.
    pub(crate) fn hide(&mut self, symbol: usize, side: Side, shares: u32) {
        self.hidden[symbol][side as usize] = shares;
    }

    /// An aggressive order: it meets what hides at the midpoint, and then the displayed orders
    /// in price-time priority, as far as `limit_e4`. Returns the shares that found nobody.
    pub(crate) fn take(
        &mut self,
        symbol: usize,
        side: Side,
        mut shares: u32,
        limit_e4: u32,
    ) -> io::Result<u32> {
        debug_assert_eq!(self.states[symbol], State::Trading);
        shares = self.take_hidden(symbol, side, shares, limit_e4)?;
        while shares > 0 && self.matches(symbol, side, limit_e4) {
            let id = self.books[symbol]
                .first(side.other())
                .expect("the matching side has orders");
            let order = *self.orders.get(id);
            let fill = shares.min(order.shares);
            let match_number = self.next_match();
            let head = self.head(symbol);
            let price_e4 = match order.side {
                _ if !order.slid => order.price_e4,
                Side::Buy => order.price_e4 + HALF_TICK_E4,
                Side::Sell => order.price_e4 - HALF_TICK_E4,
            };
            let message = if order.slid {
                wire::executed_at(head, order.reference, fill, match_number, b'Y', price_e4)
            } else {
                wire::executed(head, order.reference, fill, match_number)
            };
            self.publish(&message)?;
            self.books[symbol].reduce(&mut self.orders, id, fill);
            self.count(symbol, price_e4, u64::from(fill), match_number);
            shares -= fill;
            self.tick_clock();
        }
        Ok(shares)
    }

    fn take_hidden(
        &mut self,
        symbol: usize,
        side: Side,
        shares: u32,
        limit_e4: u32,
    ) -> io::Result<u32> {
        let hidden = &mut self.hidden[symbol][side.other() as usize];
        let fill = shares.min(*hidden);
        let book = &self.books[symbol];
        let (Some(bid_e4), Some(ask_e4)) =
            (book.best_price(Side::Buy), book.best_price(Side::Sell))
        else {
            return Ok(shares);
        };
        let middle_e4 = u32::midpoint(bid_e4, ask_e4);
        if fill == 0 || side.is_better(middle_e4, limit_e4) {
            return Ok(shares);
        }
        *hidden -= fill;
        let match_number = self.next_match();
        let stock = &self.stocks[symbol].name;
        let message = wire::trade(self.head(symbol), fill, stock, middle_e4, match_number);
        self.publish(&message)?;
        self.count(symbol, middle_e4, u64::from(fill), match_number);
        self.tick_clock();
        Ok(shares - fill)
    }

    /// Executes up to `shares` of the displayed orders of a side at a cross price. The total is
    /// printed by the `Q` that follows, so that these are neither printable nor counted.
    pub(crate) fn fill_in_cross(
        &mut self,
        symbol: usize,
        side: Side,
        mut shares: u64,
        price_e4: u32,
    ) -> io::Result<()> {
        while shares > 0 {
            let id = self.books[symbol]
                .first(side)
                .expect("a cross fills what the book holds");
            let order = *self.orders.get(id);
            assert!(
                !side.is_better(price_e4, order.price_e4),
                "a cross fills no worse than asked"
            );
            let fill = shares.min(u64::from(order.shares)) as u32;
            let match_number = self.next_match();
            let head = self.head(symbol);
            let message =
                wire::executed_at(head, order.reference, fill, match_number, b'N', price_e4);
            self.publish(&message)?;
            self.books[symbol].reduce(&mut self.orders, id, fill);
            shares -= u64::from(fill);
        }
        Ok(())
    }

    /// Prints the total of a cross: 0 shares at price 0 when nothing met.
    pub(crate) fn print_cross(
        &mut self,
        symbol: usize,
        shares: u64,
        price_e4: u32,
        kind: u8,
    ) -> io::Result<()> {
        let match_number = self.next_match();
        let head = Head {
            tracking: 2,
            ..self.head(symbol)
        };
        let stock = &self.stocks[symbol].name;
        let message = wire::cross(head, shares, stock, price_e4, match_number, kind);
        self.publish(&message)?;
        if shares > 0 {
            self.count(symbol, price_e4, shares, match_number);
        }
        Ok(())
    }

    /// Breaks the last trade of a symbol, if it has one that is not broken yet.
    pub(crate) fn break_last(&mut self, symbol: usize) -> io::Result<()> {
        if let Some(match_number) = self.tallies[symbol].last_match.take() {
            self.tallies[symbol].broken += 1;
            self.publish(&wire::broken(self.head(symbol), match_number))?;
        }
        Ok(())
    }

    fn count(&mut self, symbol: usize, price_e4: u32, shares: u64, match_number: u64) {
        let tally = &mut self.tallies[symbol];
        tally.trades += 1;
        tally.volume += shares;
        tally.notional_e4 += u64::from(price_e4) * shares;
        tally.last_match = Some(match_number);
        tally.last_e4 = price_e4;
        tally.windows.add(self.now_ns, price_e4, shares);
    }

    /// How many messages of each type were published.
    pub(crate) fn by_type(&self) -> BTreeMap<char, u64> {
        let counts = self
            .by_type
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        counts
            .map(|(letter, count)| (char::from(letter as u8), *count))
            .collect()
    }

    /// What became of every symbol, by locate. Leaves the tallies empty.
    pub(crate) fn symbol_truths(&mut self) -> Vec<SymbolTruth> {
        let mut truths: Vec<SymbolTruth> = (0..self.stocks.len())
            .map(|symbol| {
                let tally = std::mem::take(&mut self.tallies[symbol]);
                let book = &self.books[symbol];
                let top = |side| {
                    let best_first = book.levels(side).iter().rev().take(LEVELS_MAX);
                    best_first
                        .map(|l| Depth::from((l.price_e4, l.shares, l.orders)))
                        .collect()
                };
                SymbolTruth {
                    symbol: self.stocks[symbol].symbol(),
                    locate: self.stocks[symbol].locate,
                    bids: top(Side::Buy),
                    asks: top(Side::Sell),
                    live_orders: book.live().len() as u64,
                    trades: tally.trades,
                    volume: tally.volume,
                    notional_e4: tally.notional_e4,
                    broken: tally.broken,
                    windows: tally.windows,
                }
            })
            .collect();
        truths.sort_by_key(|truth| truth.locate);
        truths
    }
}
