//! The traders: what arrives for a symbol, given what they believe of it and what it accepts.
//!
//! Each arrival is one decision and leads to one or a few messages. The shares of the decisions
//! below are tuned so that a large session comes out near the mix of a real day.

use std::io;

use crate::book::{Id, Side};
use crate::exchange::{Exchange, State, TICK_E4};
use crate::mood::{self, Mood};
use crate::random::Random;
use crate::symbols::PARTICIPANTS;
use crate::wire;

/// What may arrive while a symbol trades, in parts of 10,000.
struct Share;

impl Share {
    const DELETE: u64 = 3900;
    const REPLACE: u64 = 640;
    const CANCEL: u64 = 265;
    const TAKE: u64 = 190;
    const SEEK: u64 = 160;
    const RETAIL: u64 = 85;
    /// Only in the last quarter of the session, so that over the whole it is a quarter of this.
    const IMBALANCE: u64 = 300;
}

pub(crate) struct Flow<'a> {
    pub(crate) exchange: Exchange<'a>,
    pub(crate) moods: Vec<Mood>,
    pub(crate) random: Random,
    /// From when on imbalances for the closing cross are published.
    pub(crate) closing_ns: u64,
}

impl Flow<'_> {
    /// Somebody does something in a symbol, now.
    pub(crate) fn arrive(&mut self, symbol: usize) -> io::Result<()> {
        let now_ns = self.exchange.now_ns();
        self.moods[symbol].wander(now_ns, &mut self.random);
        match self.exchange.states[symbol] {
            State::Trading => self.arrive_trading(symbol, now_ns),
            State::Resting => self.arrive_resting(symbol, now_ns),
            State::CancelOnly => self.arrive_halted(symbol),
        }
    }

    fn arrive_trading(&mut self, symbol: usize, now_ns: u64) -> io::Result<()> {
        if let Some(side) = self.stale_side(symbol) {
            return self.clear_stale(symbol, side);
        }
        let live = self.exchange.books[symbol].live().len();
        let usual = self.moods[symbol].orders_usual;
        // Fewer leave a thin book, and more a thick one.
        let delete = (Share::DELETE * (live as u64 + usual as u64 / 2) / (usual as u64 * 3 / 2))
            .min(Share::DELETE * 5 / 4);
        let mut draw = self.random.below(10_000);
        let mut is = |share: u64| {
            if draw < share {
                return true;
            }
            draw -= share;
            false
        };
        if live < 8 {
            self.add_patient(symbol, now_ns)
        } else if is(delete) {
            let id = self.any_order(symbol);
            self.exchange.delete(symbol, id)
        } else if is(Share::REPLACE) {
            self.replace_any(symbol, now_ns)
        } else if is(Share::CANCEL) {
            self.cancel_any(symbol)
        } else if is(Share::TAKE) {
            let side = self.eager_side(symbol, now_ns);
            let shares = mood::shares(&mut self.random);
            self.take(symbol, side, shares)
        } else if is(Share::SEEK) {
            self.seek_hidden(symbol, now_ns)
        } else if is(Share::RETAIL) {
            self.retail(symbol)
        } else if now_ns >= self.closing_ns && is(Share::IMBALANCE) {
            self.imbalance(symbol, b'C')
        } else {
            self.add_patient(symbol, now_ns)
        }
    }

    /// Before a cross, orders rest even where they meet.
    pub(crate) fn arrive_resting(&mut self, symbol: usize, now_ns: u64) -> io::Result<()> {
        let live = self.exchange.books[symbol].live().len();
        match self.random.below(100) {
            0..24 if live >= 8 => {
                let id = self.any_order(symbol);
                self.exchange.delete(symbol, id)
            }
            24..29 if live >= 8 => self.cancel_any(symbol),
            29..36 => {
                // Ready to pay a little more than fair, to be part of the cross.
                let side = self.any_side();
                let ticks = 1 + self.random.below(3) as u32;
                let reference_e4 = self.moods[symbol].reference_e4();
                let price_e4 = match side {
                    Side::Buy => reference_e4 + ticks * TICK_E4,
                    Side::Sell => reference_e4.saturating_sub(ticks * TICK_E4).max(TICK_E4),
                };
                let shares = mood::shares(&mut self.random);
                self.exchange
                    .add(symbol, side, shares, price_e4, None, false)
                    .map(drop)
            }
            _ => {
                let side = self.any_side();
                let price_e4 = self.moods[symbol].patient_e4(side, now_ns, &mut self.random);
                self.add_at(symbol, side, price_e4)
            }
        }
    }

    fn arrive_halted(&mut self, symbol: usize) -> io::Result<()> {
        if self.exchange.books[symbol].live().len() < 12 {
            return Ok(());
        }
        if self.random.chance(0.2) {
            return self.cancel_any(symbol);
        }
        let id = self.any_order(symbol);
        self.exchange.delete(symbol, id)
    }

    /// The side whose best order the fair price has left behind, so that it is a bargain.
    fn stale_side(&self, symbol: usize) -> Option<Side> {
        let (book, fair_e4) = (&self.exchange.books[symbol], self.moods[symbol].fair_e4());
        let is_below = |side| {
            book.best_price(side)
                .map(|price| f64::from(price) < fair_e4)
        };
        if is_below(Side::Sell) == Some(true) {
            Some(Side::Sell)
        } else if is_below(Side::Buy) == Some(false) {
            Some(Side::Buy)
        } else {
            None
        }
    }

    /// Either its owner is fast enough to take the best order of `side` back, or somebody
    /// takes it.
    fn clear_stale(&mut self, symbol: usize, side: Side) -> io::Result<()> {
        let id = self.exchange.books[symbol]
            .first(side)
            .expect("a stale side has an order");
        if self.random.chance(0.72) {
            return self.exchange.delete(symbol, id);
        }
        let shares = mood::shares(&mut self.random);
        let limit_e4 = self.exchange.orders.get(id).price_e4;
        self.exchange
            .take(symbol, side.other(), shares, limit_e4)
            .map(drop)
    }

    fn any_side(&mut self) -> Side {
        if self.random.next() & 1 == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    fn eager_side(&mut self, symbol: usize, now_ns: u64) -> Side {
        match self.moods[symbol].leaning(now_ns) {
            Some(side) if self.random.chance(0.8) => side,
            _ => self.any_side(),
        }
    }

    /// One live order. Those that came last are likelier to go, as fleeting ones are many.
    fn any_order(&mut self, symbol: usize) -> Id {
        let live = self.exchange.books[symbol].live();
        let index = if self.random.next() & 3 == 0 {
            live.len() - 1 - self.random.index(live.len().min(4))
        } else {
            self.random.index(live.len())
        };
        live[index]
    }

    fn add_patient(&mut self, symbol: usize, now_ns: u64) -> io::Result<()> {
        // The emptier side attracts the next order.
        let book = &self.exchange.books[symbol];
        let (bids, asks) = (book.levels(Side::Buy).len(), book.levels(Side::Sell).len());
        let side = if self.random.index(bids + asks + 4) < asks + 2 {
            Side::Buy
        } else {
            Side::Sell
        };
        let price_e4 = self.patient_e4(symbol, side, now_ns);
        self.add_at(symbol, side, price_e4)
    }

    /// A price that does not meet the other side.
    fn patient_e4(&mut self, symbol: usize, side: Side, now_ns: u64) -> u32 {
        let price_e4 = self.moods[symbol].patient_e4(side, now_ns, &mut self.random);
        match (side, self.exchange.books[symbol].best_price(side.other())) {
            (_, None) => price_e4,
            (Side::Buy, Some(ask_e4)) => price_e4.min(ask_e4 - TICK_E4),
            (Side::Sell, Some(bid_e4)) => price_e4.max(bid_e4 + TICK_E4),
        }
    }

    fn add_at(&mut self, symbol: usize, side: Side, price_e4: u32) -> io::Result<()> {
        let shares = mood::shares(&mut self.random);
        let bits = self.random.next();
        let mpid = (bits & 0x3ff < 44).then(|| PARTICIPANTS[(bits >> 60) as usize & 7]);
        let slid = (bits >> 20) & 0x3ff < 50;
        // A price of one tick has no half tick below it, and nobody lists a stock so cheap.
        let price_e4 = price_e4.max(TICK_E4);
        self.exchange
            .add(symbol, side, shares, price_e4, mpid, slid)
            .map(drop)
    }

    fn replace_any(&mut self, symbol: usize, now_ns: u64) -> io::Result<()> {
        let id = self.any_order(symbol);
        let side = self.exchange.orders.get(id).side;
        let price_e4 = self.patient_e4(symbol, side, now_ns);
        let shares = mood::shares(&mut self.random);
        self.exchange.replace(symbol, id, shares, price_e4)
    }

    fn cancel_any(&mut self, symbol: usize) -> io::Result<()> {
        let id = self.any_order(symbol);
        let shares = self.exchange.orders.get(id).shares;
        if shares == 1 {
            return self.exchange.delete(symbol, id);
        }
        let off = 1 + self.random.below(u64::from(shares) - 1) as u32;
        self.exchange.cancel(symbol, id, off)
    }

    /// Takes from the other side, and rests with a part of what it did not get.
    fn take(&mut self, symbol: usize, side: Side, shares: u32) -> io::Result<()> {
        let Some(best_e4) = self.exchange.books[symbol].best_price(side.other()) else {
            return Ok(());
        };
        let reach_e4 = self.moods[symbol].reach_e4(&mut self.random);
        let limit_e4 = match side {
            Side::Buy => best_e4 + reach_e4,
            Side::Sell => best_e4.saturating_sub(reach_e4).max(TICK_E4),
        };
        let rest = self.exchange.take(symbol, side, shares, limit_e4)?;
        if rest > 0 && self.random.chance(0.4) {
            self.exchange
                .add(symbol, side, rest, limit_e4, None, false)?;
        }
        Ok(())
    }

    /// Somebody hides at the midpoint, and somebody else looks there.
    fn seek_hidden(&mut self, symbol: usize, now_ns: u64) -> io::Result<()> {
        let side = self.eager_side(symbol, now_ns);
        let shares = mood::shares(&mut self.random);
        let Some(best_e4) = self.exchange.books[symbol].best_price(side.other()) else {
            return Ok(());
        };
        let hidden = if self.random.chance(0.9) {
            shares
        } else {
            (shares / 2).max(1)
        };
        self.exchange.hide(symbol, side.other(), hidden);
        self.exchange.take(symbol, side, shares, best_e4).map(drop)
    }

    fn retail(&mut self, symbol: usize) -> io::Result<()> {
        let others = match self.moods[symbol].retail {
            b'B' => b"SAN",
            b'S' => b"BAN",
            b'A' => b"BSN",
            _ => b"BSA",
        };
        let mood = &mut self.moods[symbol];
        mood.retail = others[self.random.index(others.len())];
        let stock = &self.exchange.stocks[symbol].name;
        let message = wire::retail_interest(self.exchange.head(symbol), stock, mood.retail);
        self.exchange.publish(&message)
    }

    /// Adds to the shares waiting for a cross, and says what it would come to.
    pub(crate) fn imbalance(&mut self, symbol: usize, kind: u8) -> io::Result<()> {
        self.wait_for_cross(symbol);
        let interest = self.moods[symbol].cross_interest;
        let reference_e4 = self.cross_reference_e4(symbol);
        self.exchange
            .publish_imbalance(symbol, interest, reference_e4, kind)
    }

    /// Somebody sends shares for the cross alone. The two sides stay within what the top of the
    /// book can balance, so that no cross runs through it.
    pub(crate) fn wait_for_cross(&mut self, symbol: usize) {
        let near = |side| {
            self.exchange.books[symbol]
                .best(side)
                .map_or(0, |level| level.shares)
        };
        let room = near(Side::Buy).min(near(Side::Sell)).max(100);
        let both = 100 * self.random.below(6);
        let more = self.random.below(room);
        let side = self.any_side() as usize;
        let interest = &mut self.moods[symbol].cross_interest;
        let paired = interest[0].min(interest[1]) + both;
        *interest = [paired; 2];
        interest[side] += more;
    }

    /// Crosses a symbol with all that waited for it.
    pub(crate) fn cross(&mut self, symbol: usize, kind: u8) -> io::Result<()> {
        let interest = std::mem::take(&mut self.moods[symbol].cross_interest);
        let reference_e4 = self.cross_reference_e4(symbol);
        self.exchange.cross(symbol, interest, reference_e4, kind)
    }

    /// The last trade, or the fair price before the first.
    fn cross_reference_e4(&self, symbol: usize) -> u32 {
        let book = &self.exchange.books[symbol];
        match (book.best_price(Side::Buy), book.best_price(Side::Sell)) {
            (Some(bid_e4), Some(ask_e4)) if bid_e4 < ask_e4 => {
                let last_e4 = self.exchange.last_e4(symbol).unwrap_or(ask_e4);
                let last_e4 = last_e4 / TICK_E4 * TICK_E4;
                last_e4.clamp(bid_e4, ask_e4)
            }
            _ => self.moods[symbol].reference_e4(),
        }
    }

    /// Market makers stand back: the orders near the fair price go, all at once.
    pub(crate) fn stand_back(&mut self, symbol: usize) -> io::Result<()> {
        let mood = &self.moods[symbol];
        let near_e4 = mood.wide.value * mood.fair_e4();
        let fair_e4 = mood.fair_e4();
        let book = &self.exchange.books[symbol];
        let near: Vec<Id> = book
            .live()
            .iter()
            .copied()
            .filter(|&id| {
                let price_e4 = f64::from(self.exchange.orders.get(id).price_e4);
                (price_e4 - fair_e4).abs() < near_e4
            })
            .collect();
        for id in near {
            self.exchange.delete(symbol, id)?;
            self.exchange.advance(self.exchange.now_ns() + 180);
        }
        Ok(())
    }
}
