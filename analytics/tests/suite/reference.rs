//! Plain twins: slow, short, and about whole streams at once.

use std::collections::BTreeMap;

use analytics::{SpreadConfig, WindowConfig};
use bus::signal::Window;
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
