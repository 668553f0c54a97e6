//! What stands for a while: the quote and the last price, weighted with time.
//!
//! Sums run from the symbol's first event on, for all its windows at once, so that a change of the
//! quote costs the same however many windows there are. A window's share is the difference of the
//! sums at its end and at its start, which are put down when time passes there.
//!
//! A symbol's clock never goes back: what comes late stands from the watermark, or from the event
//! before it, on. What was before has been said, or may have been.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Price, Qty, Quote};

/// Sums over time, each a number times nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) price: i128,
    pub(super) spread: i128,
    pub(super) bid_qty: i128,
    pub(super) ask_qty: i128,
    /// How long there was a last price, and a quote to measure.
    pub(super) priced_ns: i64,
    pub(super) quoted_ns: i64,
    /// Order-flow imbalance, and how often the quote changed.
    pub(super) ofi: i64,
    pub(super) moves: u64,
}

impl Sums {
    pub(super) fn since(&self, start: &Sums) -> Sums {
        Sums {
            price: self.price - start.price,
            spread: self.spread - start.spread,
            bid_qty: self.bid_qty - start.bid_qty,
            ask_qty: self.ask_qty - start.ask_qty,
            priced_ns: self.priced_ns - start.priced_ns,
            quoted_ns: self.quoted_ns - start.quoted_ns,
            ofi: self.ofi - start.ofi,
            moves: self.moves - start.moves,
        }
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        for sum in [self.price, self.spread, self.bid_qty, self.ask_qty] {
            out.i128(sum);
        }
        for word in [self.priced_ns, self.quoted_ns, self.ofi] {
            out.i64(word);
        }
        out.u64(self.moves);
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Sums, StateError> {
        Ok(Sums {
            price: from.i128()?,
            spread: from.i128()?,
            bid_qty: from.i128()?,
            ask_qty: from.i128()?,
            priced_ns: from.i64()?,
            quoted_ns: from.i64()?,
            ofi: from.i64()?,
            moves: from.u64()?,
        })
    }
}

/// What stands now, and the sums up to the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) sums: Sums,
    /// Up to where the sums go; `MIN` before the first event.
    pub(super) clock: i64,
    /// The last price; 0 for none.
    price: i64,
    /// The quote, if it can be measured; else none.
    quote: Quote,
}

impl Standing {
    pub(super) const NOTHING: Standing = Standing {
        sums: Sums {
            price: 0,
            spread: 0,
            bid_qty: 0,
            ask_qty: 0,
            priced_ns: 0,
            quoted_ns: 0,
            ofi: 0,
            moves: 0,
        },
        clock: i64::MIN,
        price: 0,
        quote: Quote::EMPTY,
    };

    /// The sums at a time that is not before the clock, if nothing changes until then.
    #[inline]
    pub(super) fn at(&self, ts: i64) -> Sums {
        let mut sums = self.sums;
        if self.clock == i64::MIN {
            return sums;
        }
        let ns = ts - self.clock;
        if self.price > 0 {
            sums.price += i128::from(self.price) * i128::from(ns);
            sums.priced_ns += ns;
        }
        if self.quote.is_open() {
            let wide = self.quote.ask.0 - self.quote.bid.0;
            sums.spread += i128::from(wide) * i128::from(ns);
            sums.bid_qty += i128::from(self.quote.bid_qty.0) * i128::from(ns);
            sums.ask_qty += i128::from(self.quote.ask_qty.0) * i128::from(ns);
            sums.quoted_ns += ns;
        }
        sums
    }

    /// Moves the clock on.
    #[inline]
    pub(super) fn advance(&mut self, ts: i64) {
        self.sums = self.at(ts);
        self.clock = ts;
    }

    /// From the clock on this is the last price.
    #[inline]
    pub(super) fn trade(&mut self, price: i64) {
        self.price = price;
    }

    /// From the clock on the quote may be wrong: none to measure, until the symbol's next event.
    pub(super) fn lose(&mut self) {
        self.quote = Quote::EMPTY;
    }

    /// From the clock on this is the quote, if it can be measured.
    #[inline]
    pub(super) fn change(&mut self, quote: &Quote, is_measurable: bool) {
        let now = if is_measurable { *quote } else { Quote::EMPTY };
        if now == self.quote {
            return;
        }
        if now.is_open() && self.quote.is_open() {
            self.sums.ofi += flow(&self.quote, &now);
        }
        self.sums.moves += 1;
        self.quote = now;
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        self.sums.save(out);
        out.i64(self.clock);
        out.i64(self.price);
        let quote = &self.quote;
        for word in [quote.bid.0, quote.ask.0, quote.bid_qty.0, quote.ask_qty.0] {
            out.i64(word);
        }
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Standing, StateError> {
        Ok(Standing {
            sums: Sums::load(from)?,
            clock: from.i64()?,
            price: from.i64()?,
            quote: Quote {
                bid: Price(from.i64()?),
                ask: Price(from.i64()?),
                bid_qty: Qty(from.i64()?),
                ask_qty: Qty(from.i64()?),
            },
        })
    }
}

/// What a change of the quote adds to the order-flow imbalance: what came to the bid or left it, less
/// the same at the ask. A better price brings all its quantity, a worse one takes all of the one before.
#[inline]
fn flow(before: &Quote, now: &Quote) -> i64 {
    let mut flow = 0;
    if now.bid >= before.bid {
        flow += now.bid_qty.0;
    }
    if now.bid <= before.bid {
        flow -= before.bid_qty.0;
    }
    if now.ask <= before.ask {
        flow -= now.ask_qty.0;
    }
    if now.ask >= before.ask {
        flow += before.ask_qty.0;
    }
    flow
}
