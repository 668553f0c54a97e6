//! Windows by sorting and summing up.

use super::*;

/// A trade, as the twin keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) step: usize,
    pub(super) ts: i64,
    pub(super) price: i64,
    pub(super) qty: i64,
    pub(super) side: Side,
    pub(super) watermark: i64,
    pub(super) returned: Option<i64>,
    pub(super) in_range: bool,
    pub(super) as_last: bool,
    /// The step at which it was broken.
    pub(super) broken: usize,
}

/// Something that stands from a moment on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) step: usize,
    pub(super) at: i64,
    pub(super) price: i64,
    pub(super) quote: Quote,
    pub(super) ofi: i64,
    pub(super) moved: bool,
}

pub(super) struct Twin<'a> {
    pub(super) config: &'a DeclaredConfig,
    pub(super) steps: &'a [Step],
    /// The watermark before each step, and after the last.
    pub(super) watermarks: Vec<i64>,
    pub(super) trades: Vec<Kept>,
    pub(super) moments: Vec<Moment>,
}

impl Twin<'_> {
    pub(super) fn new<'a>(config: &'a DeclaredConfig, steps: &'a [Step]) -> Twin<'a> {
        let mut watermarks = Vec::new();
        let (mut trades, mut moments): (Vec<Kept>, Vec<Moment>) = Default::default();
        let mut watermark = i64::MIN;
        let (mut last_price, mut latest_ts) = (0i64, i64::MIN);
        let (mut price, mut book) = (0, Quote::EMPTY);
        for (step, what) in steps.iter().enumerate() {
            watermarks.push(watermark);
            match *what {
                Step::Tick(ts) => watermark = watermark.max(ts),
                Step::End => watermark = i64::MAX,
                // Until the symbol's next event, which finds the book whole.
                Step::Gap => {
                    if let Some(last) = moments.last().copied() {
                        moments.push(Moment {
                            step,
                            at: last.at.max(watermark),
                            quote: Quote::EMPTY,
                            ofi: 0,
                            moved: false,
                            ..last
                        });
                    }
                }
                Step::Break(ts, number) => {
                    let is = |at: usize| matches!(steps[at], Step::Trade { number: n, .. } if n == number);
                    let broken = trades.iter_mut().find(|trade| is(trade.step));
                    if let Some(trade) = broken.filter(|trade| trade.broken == usize::MAX) {
                        trade.broken = step;
                    }
                    see(&mut moments, (step, ts.max(watermark)), price, book);
                }
                Step::Quote(ts, now) => {
                    book = if now.is_open() { now } else { Quote::EMPTY };
                    see(&mut moments, (step, ts.max(watermark)), price, book);
                }
                Step::Trade {
                    ts,
                    price: at,
                    qty,
                    side,
                    is_cross,
                    ..
                } => {
                    price = at;
                    see(&mut moments, (step, ts.max(watermark)), price, book);
                    let us = config.policy == Policy::UsConsolidatedV1;
                    let (is_odd, is_behind) = (us && qty < 100, us && ts < latest_ts);
                    let ratio = (at - last_price) as f64 / last_price as f64 * 1e9;
                    let kept = Kept {
                        step,
                        ts,
                        price: at,
                        qty,
                        side: if is_cross { Side::None } else { side },
                        watermark,
                        returned: (last_price > 0).then_some(ratio.round() as i64),
                        in_range: !is_odd,
                        as_last: !is_odd && !is_behind,
                        broken: usize::MAX,
                    };
                    if !(is_cross && config.policy == Policy::NoAuctions) {
                        trades.push(kept);
                    }
                    last_price = at;
                    latest_ts = latest_ts.max(ts);
                }
            }
        }
        watermarks.push(watermark);
        if config.policy == Policy::AsPrinted {
            trades
                .iter_mut()
                .for_each(|trade| trade.broken = usize::MAX);
        }
        Twin {
            config,
            steps,
            watermarks,
            trades,
            moments,
        }
    }

    /// The first step after which the watermark is at least this.
    pub(super) fn step_of(&self, watermark: i64) -> usize {
        let after = &self.watermarks[1..];
        let step = after.iter().position(|now| *now >= watermark);
        step.expect("the end")
    }

    /// When a window with this end is final.
    pub(super) fn final_step(&self, end: i64) -> usize {
        self.step_of(end.saturating_add(self.config.lateness_ns))
    }

    /// The trades of `[start, end)` that its window has after `step`, in time for it, or `None` of the
    /// second where they only count that were not broken in time.
    pub(super) fn of_window(&self, start: i64, end: i64, step: usize) -> (Vec<Kept>, u32) {
        let closed = end.saturating_add(self.config.lateness_ns);
        let final_step = self.final_step(end);
        let in_time = self.trades.iter().filter(|trade| {
            (start..end).contains(&trade.ts) && trade.watermark < closed && trade.step <= step
        });
        let late = in_time.clone().filter(|trade| trade.watermark >= end);
        let late = late.count() as u32;
        // Broken at a later step, or when it was final.
        let stays = |trade: &&Kept| trade.broken > step || trade.broken > final_step;
        (in_time.filter(stays).copied().collect(), late)
    }

    /// What stood within `[start, end)`, seen after `step`.
    pub(super) fn standing(&self, start: i64, end: i64, step: usize) -> WindowStanding {
        let seen: Vec<&Moment> = self
            .moments
            .iter()
            .filter(|moment| moment.step <= step)
            .collect();
        let mut sums = WindowStanding {
            start: Ts(start),
            price_ns: 0,
            priced_ns: 0,
            spread_ns: 0,
            bid_qty_ns: 0,
            ask_qty_ns: 0,
            quoted_ns: 0,
            ofi: Qty(0),
            moves: 0,
        };
        // Time goes to the last tick, or the last event where that is later.
        let tick = match self.watermarks[step + 1] {
            i64::MAX => self.watermarks[step],
            tick => tick,
        };
        let events = self.steps[..=step].iter().map(|step| match *step {
            Step::Trade { ts, .. } | Step::Quote(ts, _) | Step::Break(ts, _) => ts,
            Step::Gap | Step::Tick(_) | Step::End => i64::MIN,
        });
        let now = events.max().unwrap().max(tick);
        for (index, moment) in seen.iter().enumerate() {
            if moment.at >= start && moment.at < end {
                sums.ofi += Qty(moment.ofi);
                sums.moves += u32::from(moment.moved);
            }
            let until = seen.get(index + 1).map_or(now, |next| next.at).min(end);
            let ns = until - moment.at.max(start);
            if ns <= 0 {
                continue;
            }
            if moment.price > 0 {
                sums.price_ns += i128::from(moment.price) * i128::from(ns);
                sums.priced_ns += ns;
            }
            if moment.quote.is_open() {
                let quote = moment.quote;
                sums.spread_ns += i128::from(quote.ask.0 - quote.bid.0) * i128::from(ns);
                sums.bid_qty_ns += i128::from(quote.bid_qty.0) * i128::from(ns);
                sums.ask_qty_ns += i128::from(quote.ask_qty.0) * i128::from(ns);
                sums.quoted_ns += ns;
            }
        }
        sums
    }

    /// Checks one window that was said against its trades.
    pub(super) fn check(&self, said: &Said, trades: &[Kept], late_count: u32) {
        let window = &said.window;
        let mut by_time: Vec<&Kept> = trades.iter().filter(|trade| trade.as_last).collect();
        by_time.sort_by_key(|trade| (trade.ts, trade.step));
        let in_range = || trades.iter().filter(|trade| trade.in_range);
        let price = |price: Option<i64>| price.map_or(Price::NONE, Price);
        let notional = |trade: &Kept| Price(trade.price) * Qty(trade.qty);
        let want = Window {
            start: window.start,
            open: price(by_time.first().map(|trade| trade.price)),
            high: price(in_range().map(|trade| trade.price).max()),
            low: price(in_range().map(|trade| trade.price).min()),
            close: price(by_time.last().map(|trade| trade.price)),
            volume: trades.iter().map(|trade| Qty(trade.qty)).sum(),
            notional: trades.iter().map(notional).sum(),
            trade_count: trades.len() as u32,
            late_count,
            revision: window.revision,
            is_final: window.is_final,
        };
        assert_eq!(*window, want, "{said:?}");
        let flow = said.flow.expect("its aggregates");
        let taken = |side: Side| {
            let of = trades.iter().filter(|trade| trade.side == side);
            of.map(|trade| Qty(trade.qty)).sum::<Qty>()
        };
        let returns = || trades.iter().filter(|trade| trade.as_last);
        let returns = || returns().filter_map(|trade| trade.returned);
        let squares: i128 = returns().map(|r| i128::from(r) * i128::from(r)).sum();
        assert_eq!(
            (flow.bought, flow.sold),
            (Some(taken(Side::Buy)), taken(Side::Sell))
        );
        assert_eq!(
            (flow.squares, flow.return_count),
            (Some(squares), returns().count() as u32)
        );
        let mut sizes: Vec<i64> = trades.iter().map(|trade| trade.qty).collect();
        sizes.sort_unstable();
        let Some(said) = flow.sizes else {
            assert!(sizes.is_empty());
            return;
        };
        for (said, percent) in said.iter().zip([50, 95, 99]) {
            let rank = (sizes.len() * percent).div_ceil(100);
            let exact = sizes[rank - 1];
            let off = (said.0 - exact).abs();
            assert!(16 * off <= exact, "p{percent}: {said}, exactly {exact}");
        }
    }
}

/// An event at a step and time: not before what is known already.
pub(super) fn see(moments: &mut Vec<Moment>, (step, at): (usize, i64), price: i64, quote: Quote) {
    let last = moments.last();
    let before = last.map_or(Quote::EMPTY, |last| last.quote);
    let ofi = match before.is_open() && quote.is_open() && before != quote {
        true => flow(&before, &quote),
        false => 0,
    };
    moments.push(Moment {
        step,
        at: last.map_or(at, |last| last.at.max(at)),
        price,
        quote,
        ofi,
        moved: before != quote,
    });
}

pub(super) fn flow(before: &Quote, now: &Quote) -> i64 {
    let bid = match now.bid.cmp(&before.bid) {
        std::cmp::Ordering::Greater => now.bid_qty.0,
        std::cmp::Ordering::Equal => now.bid_qty.0 - before.bid_qty.0,
        std::cmp::Ordering::Less => -before.bid_qty.0,
    };
    let ask = match now.ask.cmp(&before.ask) {
        std::cmp::Ordering::Less => now.ask_qty.0,
        std::cmp::Ordering::Equal => now.ask_qty.0 - before.ask_qty.0,
        std::cmp::Ordering::Greater => -before.ask_qty.0,
    };
    bid - ask
}
