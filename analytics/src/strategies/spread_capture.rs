//! Earns the spread: a quote on each side while it is wide, both moved against what is held already.
//!
//! ```text
//! lean = skew ticks * position / inventory_max
//! buy  = bid + inside ticks - lean,  at most a tick below the ask
//! sell = ask - inside ticks - lean,  at least a tick above the bid
//! ```
//!
//! Source: T. Ho and H. Stoll, *Optimal dealer pricing under transactions and return uncertainty*, Journal
//! of Financial Economics 9 (1981): a dealer moves both quotes down as he holds more, and leaves the spread
//! between them as it is.

use bus::signal::{Fate, Report, Tif};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Price, Qty, Side, Ts};

use crate::intent::{Intent, Intents};
use crate::number::{Bps, double_mid, double_spread, excess};
use crate::view::View;

/// When and where it quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpreadCapture {
    /// Quotes while the spread is at least this share of the mid price; above 0.
    pub spread_min: Bps,
    /// The smallest step of a price; above 0.
    pub tick: Price,
    /// How many ticks better than the best price of its side a quote is.
    pub inside: u32,
    /// How many ticks quotes lean at the largest position.
    pub skew: u32,
    /// No quote that could bring the position beyond this, to either side; above 0.
    pub inventory_max: Qty,
    /// How long a quote stands; above 0.
    pub life_ns: i64,
}

impl SpreadCapture {
    /// What is wrong with its settings, if anything.
    pub(super) fn problem(&self) -> Option<String> {
        let is_above_0 = self.spread_min.0 > 0 && self.spread_min < Bps::ONE;
        if !is_above_0 {
            return Some(format!(
                "spread_min {}, want above 0 and below 100%",
                self.spread_min
            ));
        }
        let tick_max = 1_000 * Price::SCALE;
        let is_good = (1..=tick_max).contains(&self.tick.0)
            && self.inside <= 10_000
            && self.skew <= 10_000
            && self.inventory_max.0 > 0
            && self.life_ns > 0;
        (!is_good).then(|| {
            "want a tick above 0 and at most 1000, inside and skew of at most 10000 ticks, and an \
             inventory_max and a life above 0"
                .into()
        })
    }

    /// At which price it buys and sells with this position; `None` where the spread is not wide enough.
    fn prices(&self, view: &View, position: i64) -> Option<[Price; 2]> {
        let quote = &view.quote;
        if excess(double_spread(quote), double_mid(quote), self.spread_min) < 0 {
            return None;
        }
        let tick = self.tick.0;
        let full = i128::from(self.skew) * i128::from(tick) * i128::from(position);
        // No more than the inventory allows, so it is at most the skew. Whole ticks, towards 0.
        let ticks = full / i128::from(self.inventory_max.0) / i128::from(tick);
        let lean = ticks as i64 * tick;
        let inside = i64::from(self.inside) * tick;
        let buy = (quote.bid.0 + inside - lean).min(quote.ask.0 - tick);
        let sell = (quote.ask.0 - inside - lean).max(quote.bid.0 + tick);
        (0 < buy && buy < sell).then_some([Price(buy), Price(sell)])
    }
}

/// What it holds of one symbol, and its quotes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    /// Bought less sold, by reports.
    position: i64,
    quotes: [Quoted; 2],
}

/// A quote on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quoted {
    price: Price,
    /// Counts as gone then, if nothing was heard of it: the risk gate may have refused it.
    gone: Ts,
    /// No quote before this.
    rest_until: Ts,
}

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

impl Maker {
    pub(super) const NEW: Maker = Maker {
        position: 0,
        quotes: [Quoted {
            price: Price(0),
            gone: Ts::MIN,
            rest_until: Ts::MIN,
        }; 2],
    };

    /// Quotes on the sides on which it has none, of a symbol that is tradable. `template` has what is
    /// the same for both.
    pub(super) fn on_event(
        &mut self,
        kind: &SpreadCapture,
        cooldown_ns: i64,
        ts: Ts,
        view: &View,
        template: Intent,
        intents: &mut Intents,
    ) {
        let is_free = |quoted: &Quoted| ts >= quoted.gone && ts >= quoted.rest_until;
        if !self.quotes.iter().any(is_free) {
            return;
        }
        let Some(prices) = kind.prices(view, self.position) else {
            return;
        };
        for (at, side) in SIDES.into_iter().enumerate() {
            let other = self.quotes[1 - at];
            let held = if at == 0 {
                self.position
            } else {
                -self.position
            };
            let fits = held.saturating_add(template.qty.0) <= kind.inventory_max.0;
            // One that would meet the quote of the other side waits for its end.
            let meets = ts < other.gone
                && match side {
                    Side::Sell => prices[at] <= other.price,
                    Side::Buy | Side::None => prices[at] >= other.price,
                };
            if !is_free(&self.quotes[at]) || !fits || meets {
                continue;
            }
            self.quotes[at] = Quoted {
                price: prices[at],
                gone: ts.plus_ns(kind.life_ns.saturating_mul(2)),
                rest_until: ts.plus_ns(cooldown_ns),
            };
            intents.push(Intent {
                side,
                price: prices[at],
                tif: Tif::Till(ts.plus_ns(kind.life_ns)),
                ..template
            });
        }
    }

    /// A venue said something of one of its quotes.
    pub(super) fn on_report(&mut self, report: &Report) {
        let at = usize::from(report.side == Side::Sell);
        match report.fate {
            Fate::New => return,
            Fate::Fill => {
                let qty = if at == 0 { report.qty.0 } else { -report.qty.0 };
                self.position = self.position.saturating_add(qty);
            }
            Fate::Cancelled | Fate::Expired | Fate::Rejected => {}
        }
        // There is no other on its side before this one is over, or counts as gone.
        if report.left.0 == 0 && self.quotes[at].price == report.limit {
            self.quotes[at].gone = Ts::MIN;
        }
    }

    pub(super) fn save(&self, out: &mut StateWriter<'_>) {
        out.i64(self.position);
        for quoted in &self.quotes {
            out.i64(quoted.price.0);
            out.i64(quoted.gone.0);
            out.i64(quoted.rest_until.0);
        }
    }

    pub(super) fn load(from: &mut StateReader<'_>) -> Result<Maker, StateError> {
        let mut maker = Maker {
            position: from.i64()?,
            ..Maker::NEW
        };
        for quoted in &mut maker.quotes {
            *quoted = Quoted {
                price: Price(from.i64()?),
                gone: Ts(from.i64()?),
                rest_until: Ts(from.i64()?),
            };
        }
        Ok(maker)
    }
}
