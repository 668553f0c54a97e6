//! Plain twins: slow, short, and about whole streams at once.

use std::collections::BTreeMap;

use analytics::{RegimeConfig, SpreadConfig, WindowConfig};
use bus::signal::{Volatility, Window};
use bus::{Notional, Price, Qty, Quote, Ts};

/// What happens to one symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Trade(Ts, Price, Qty),
    Quote(Ts, Quote),
    Watermark(Ts),
}

/// Windows by sorting and summing: a trade counts where it falls, unless the watermark had
/// closed that window when the trade came. Returns the windows by end, and the late trades.
pub(crate) fn windows(steps: &[Step], config: &WindowConfig) -> (Vec<Window>, Vec<Price>) {
    let mut by_start: BTreeMap<i64, Vec<(Price, Qty, bool)>> = BTreeMap::new();
    let mut late = Vec::new();
    let mut watermark = i64::MIN;
    for step in steps {
        match *step {
            Step::Quote(..) => {}
            Step::Watermark(ts) => watermark = watermark.max(ts.0),
            Step::Trade(ts, price, qty) => {
                let start = ts.0.div_euclid(config.size_ns) * config.size_ns;
                let end = start + config.size_ns;
                if end + config.lateness_ns <= watermark {
                    late.push(price);
                } else {
                    by_start
                        .entry(start)
                        .or_default()
                        .push((price, qty, end <= watermark));
                }
            }
        }
    }
    let sum = |(start, trades): (i64, Vec<(Price, Qty, bool)>)| Window {
        start: Ts(start),
        open: trades[0].0,
        high: trades.iter().map(|trade| trade.0).max().unwrap(),
        low: trades.iter().map(|trade| trade.0).min().unwrap(),
        close: trades[trades.len() - 1].0,
        volume: trades.iter().map(|trade| trade.1).sum(),
        notional: trades
            .iter()
            .map(|trade| trade.0 * trade.1)
            .sum::<Notional>(),
        trade_count: trades.len() as u32,
        late_count: trades.iter().filter(|trade| trade.2).count() as u32,
        revision: 0,
        is_final: true,
    };
    (by_start.into_iter().map(sum).collect(), late)
}

/// When alerts are raised (true) and cleared (false), by looking at whole stretches of quotes
/// that are wide, or narrow, one after another. `until` is where the watermark ends.
pub(crate) fn spreads(steps: &[Step], config: &SpreadConfig, until: Ts) -> Vec<(bool, Ts)> {
    let quotes: Vec<(Ts, Quote)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Quote(ts, quote) => Some((*ts, *quote)),
            Step::Trade(..) | Step::Watermark(_) => None,
        })
        .collect();
    let end_of = |index: usize| quotes.get(index).map_or(until, |next| next.0);
    // In hundredths of a basis point of the mid, exactly: numerator and denominator.
    let ratio = |quote: &Quote| {
        let (bid, ask) = (quote.bid.0 as i128, quote.ask.0 as i128);
        ((ask - bid) * 2_000_000, ask + bid)
    };
    let matches = |quote: &Quote, raised: bool| {
        if !quote.is_open() {
            return false;
        }
        let (part, whole) = ratio(quote);
        match raised {
            false => part >= whole * config.threshold.0 as i128,
            true => part <= whole * config.clear.0 as i128,
        }
    };
    let (mut raised, mut said, mut index) = (false, Vec::new(), 0);
    while index < quotes.len() {
        if !matches(&quotes[index].1, raised) {
            index += 1;
            continue;
        }
        let mut last = index;
        while last + 1 < quotes.len() && matches(&quotes[last + 1].1, raised) {
            last += 1;
        }
        let hold_ns = if raised {
            config.clear_hold_ns
        } else {
            config.hold_ns
        };
        let at = quotes[index].0.plus_ns(hold_ns);
        if at > end_of(last + 1) {
            index = last + 1;
            continue;
        }
        raised = !raised;
        said.push((raised, at));
        // The quote that stands at that moment is not looked at again: it cannot be both.
        while index < quotes.len() && quotes[index].0 <= at {
            index += 1;
        }
    }
    said
}

/// Regime changes and the volatility at each, by looking at every sample of the grid, asleep or
/// not, with quotes that are all open and measured against the symbol's own baseline.
pub(crate) fn regimes(
    steps: &[Step],
    config: &RegimeConfig,
    until: Ts,
) -> Vec<(Ts, Volatility, f64)> {
    let mids: Vec<(Ts, f64)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Quote(ts, quote) => Some((*ts, (quote.bid.0 + quote.ask.0) as f64)),
            Step::Trade(..) | Step::Watermark(_) => None,
        })
        .collect();
    let seconds = |ns: i64| ns as f64 / Ts::SECOND_NS as f64;
    let weight =
        |half_life_ns: i64| 1.0 - (-seconds(config.sample_ns) / seconds(half_life_ns)).exp2();
    let floor = config.floor_bps * config.floor_bps * seconds(config.sample_ns);
    let (mut all, mut cut, mut own, mut count) = (0.0, 0.0, 0.0, 0.0f64);
    let (mut state, mut said) = (Volatility::Normal, Vec::new());
    let mut at = mids[0].0.floor(config.sample_ns).plus_ns(config.sample_ns);
    let mut before = None;
    while at <= until {
        let index = mids.partition_point(|mid| mid.0 < at) - 1;
        let mid = mids[index].1;
        if let Some(before) = before.replace(mid) {
            count += 1.0;
            let square = ((mid - before) / before * 10_000.0).powi(2);
            let fast = weight(config.half_life_ns).max(1.0 / count);
            let slow = weight(config.baseline_ns).max(1.0 / count);
            let unit = match count as u32 > config.warmup_samples {
                true => f64::max(own, floor),
                false => f64::INFINITY,
            };
            all = all * (1.0 - fast) + square * fast;
            cut = cut * (1.0 - fast) + square.min(16.0 * unit) * fast;
            own = own * (1.0 - slow) + square.min(4.0 * unit) * slow;
            let level = (cut / f64::max(own, floor)).sqrt();
            let stays = match state {
                Volatility::Stressed => level >= config.stressed * (1.0 - config.hysteresis),
                Volatility::Normal => true,
                Volatility::Calm => level <= config.calm * (1.0 + config.hysteresis),
            };
            let next = match stays {
                _ if level > config.stressed => Volatility::Stressed,
                _ if level < config.calm => Volatility::Calm,
                true => state,
                false => Volatility::Normal,
            };
            if next != state && count as u32 >= config.warmup_samples {
                state = next;
                said.push((at, state, (all / seconds(config.sample_ns)).sqrt()));
            }
        }
        at = at.plus_ns(config.sample_ns);
    }
    said
}
