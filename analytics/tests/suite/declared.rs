//! Declared windows against a twin that keeps every trade and quote, and for each window that is said
//! sorts those that are in it and sums them up. What the twin is asked is written as it would be
//! defined, window by window: it knows no panes.

use std::collections::BTreeMap;

use analytics::{Aggregate, DeclaredConfig, Intents, Policy, Shape, SuiteConfig, Suites};
use analytics::{Bps, HmmConfig, Limit, Measure, ModelConfig, ModelKind, MonitorConfig, Watch};
use bus::signal::{AdjustReason, Body, Window, WindowFlow, WindowStanding};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Applied, Event, Fill, Kind, Outbox, Phase, Price, Qty, Quote, Side, Signal, Ts};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::script::MIDNIGHT;
use crate::streams::Random;

const MILLI: i64 = 1_000_000;
const CENT: i64 = Price::SCALE / 100;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Trade {
        ts: i64,
        price: i64,
        qty: i64,
        side: Side,
        is_cross: bool,
        number: u64,
    },
    Quote(i64, Quote),
    Break(i64, u64),
    Gap,
    Tick(i64),
    End,
}

/// A run of one symbol's steps, among steps of others.
struct Run {
    suites: Suites,
    out: Outbox,
    intents: Intents,
    quotes: Vec<Quote>,
    said: Vec<Signal>,
}

impl Run {
    fn new(config: &SuiteConfig) -> Run {
        Run {
            suites: Suites::new(config.clone()),
            out: Outbox::new(),
            intents: Intents::new(),
            quotes: vec![Quote::EMPTY; config.symbols_max + 1],
            said: Vec::new(),
        }
    }

    /// Numbered by its place, so that what is said tells at which step.
    fn step(&mut self, index: usize, symbol: u32, step: &Step) {
        let said = &mut self.said;
        let take = |out: &mut Outbox| {
            said.extend_from_slice(out.signals());
            out.clear();
        };
        let out = &mut self.out;
        let mut event = Event {
            symbol,
            seq: index as u64,
            ..Event::new(Kind::Trade)
        };
        let mut applied = Applied::NOTHING;
        match *step {
            Step::Tick(ts) => return self.suites.on_watermark(Ts(ts), event.seq, out, take),
            Step::End => return self.suites.finish(event.seq, out, take),
            Step::Gap => return self.suites.on_gap(),
            Step::Trade {
                ts,
                price,
                qty,
                side,
                is_cross,
                number,
            } => {
                event.ts_event = Ts(ts);
                event.order_b = number;
                if is_cross {
                    event.kind = Kind::Cross;
                }
                applied.fill = Fill {
                    price: Price(price),
                    qty: Qty(qty),
                    aggressor: side,
                };
            }
            Step::Quote(ts, quote) => {
                event.kind = Kind::Add;
                event.ts_event = Ts(ts);
                applied.quote_changed = true;
                self.quotes[symbol as usize] = quote;
            }
            Step::Break(ts, number) => {
                event.kind = Kind::Break;
                event.ts_event = Ts(ts);
                event.order_b = number;
            }
        }
        out.at(event.ts_event, event.seq, symbol);
        let quote = &self.quotes[symbol as usize];
        let intents = &mut self.intents;
        let phase = Phase::Trading;
        self.suites
            .on_event(&event, &applied, quote, phase, false, out, intents);
        let mut take = take;
        take(out);
        intents.clear();
    }

    fn reload(&mut self, config: &SuiteConfig) {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.suites.save_shared(&mut out);
        for symbol in 0..=config.symbols_max {
            self.suites.save(symbol as u32, &mut out);
        }
        out.finish().unwrap();
        let mut suites = Suites::new(config.clone());
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        suites.load_shared(&mut from).unwrap();
        for symbol in 0..=config.symbols_max {
            suites.load(symbol as u32, &mut from).unwrap();
        }
        from.end().unwrap();
        self.suites = suites;
    }
}

/// A window as it was said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    step: usize,
    end: i64,
    window: Window,
    flow: Option<WindowFlow>,
    standing: Option<WindowStanding>,
}

/// What one rule said: windows, late trades (step and price), adjustments (start, end, count, reason).
#[derive(Debug, Default)]
struct Told {
    windows: Vec<Said>,
    lates: Vec<(usize, i64)>,
    adjusts: Vec<(usize, i64, i64, u32, AdjustReason)>,
}

fn told(signals: &[Signal], symbol: u32, rule: u8) -> Told {
    let mut told = Told::default();
    let of = |signal: &&Signal| signal.symbol == symbol && signal.rule == rule;
    for signal in signals.iter().filter(of) {
        let (step, end) = (signal.seq as usize, signal.ts_event.0);
        match signal.body().expect("a body") {
            Body::Window(window) => told.windows.push(Said {
                step,
                end,
                window,
                flow: None,
                standing: None,
            }),
            Body::WindowFlow(flow) => {
                let said = told.windows.last_mut().expect("the window before it");
                assert_eq!((said.step, said.end), (step, end));
                assert!(said.flow.replace(flow).is_none());
            }
            Body::WindowStanding(standing) => {
                let said = told.windows.last_mut().expect("the window before it");
                assert_eq!((said.step, said.end), (step, end));
                assert!(said.standing.replace(standing).is_none());
            }
            Body::Late(late) => told.lates.push((step, late.price.0)),
            Body::Adjust(x) => {
                told.adjusts
                    .push((step, x.start.0, end, x.window_count, x.reason));
            }
            _ => {}
        }
    }
    told
}

/// A trade, as the twin keeps it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    step: usize,
    ts: i64,
    price: i64,
    qty: i64,
    side: Side,
    watermark: i64,
    returned: Option<i64>,
    in_range: bool,
    as_last: bool,
    /// The step at which it was broken.
    broken: usize,
}

/// Something that stands from a moment on.
#[derive(Clone, Copy, Debug)]
struct Moment {
    step: usize,
    at: i64,
    price: i64,
    quote: Quote,
    ofi: i64,
    moved: bool,
}

struct Twin<'a> {
    config: &'a DeclaredConfig,
    steps: &'a [Step],
    /// The watermark before each step, and after the last.
    watermarks: Vec<i64>,
    trades: Vec<Kept>,
    moments: Vec<Moment>,
}

impl Twin<'_> {
    fn new<'a>(config: &'a DeclaredConfig, steps: &'a [Step]) -> Twin<'a> {
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
    fn step_of(&self, watermark: i64) -> usize {
        let after = &self.watermarks[1..];
        let step = after.iter().position(|now| *now >= watermark);
        step.expect("the end")
    }

    /// When a window with this end is final.
    fn final_step(&self, end: i64) -> usize {
        self.step_of(end.saturating_add(self.config.lateness_ns))
    }

    /// The trades of `[start, end)` that its window has after `step`, in time for it, or `None` of the
    /// second where they only count that were not broken in time.
    fn of_window(&self, start: i64, end: i64, step: usize) -> (Vec<Kept>, u32) {
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
    fn standing(&self, start: i64, end: i64, step: usize) -> WindowStanding {
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
    fn check(&self, said: &Said, trades: &[Kept], late_count: u32) {
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
fn see(moments: &mut Vec<Moment>, (step, at): (usize, i64), price: i64, quote: Quote) {
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

fn flow(before: &Quote, now: &Quote) -> i64 {
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

/// Every window that could be said: start, end, and where its last pane begins.
fn candidates(config: &DeclaredConfig, steps: &[Step]) -> Vec<(i64, i64, i64)> {
    let times = steps.iter().filter_map(|step| match *step {
        Step::Trade { ts, .. } | Step::Quote(ts, _) | Step::Break(ts, _) | Step::Tick(ts) => {
            Some(ts - MIDNIGHT.0)
        }
        Step::Gap | Step::End => None,
    });
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    let mut all = Vec::new();
    let mut add = |start: i64, end: i64, slide: i64| {
        all.push((
            MIDNIGHT.0 + start,
            MIDNIGHT.0 + end,
            MIDNIGHT.0 + end - slide,
        ))
    };
    match config.shape {
        Shape::Tumbling { size_ns } => {
            for index in first / size_ns - 1..=last / size_ns + 1 {
                add(index * size_ns, (index + 1) * size_ns, size_ns);
            }
        }
        Shape::Sliding { size_ns, slide_ns } => {
            for index in first / slide_ns - 1..=(last + size_ns) / slide_ns + 1 {
                let end = (index + 1) * slide_ns;
                add(end - size_ns, end, slide_ns);
            }
        }
        Shape::Cumulative {
            period_ns,
            slide_ns,
        } => {
            for index in first / slide_ns - 1..=last / slide_ns + 1 {
                let start = index * slide_ns / period_ns * period_ns;
                add(start, (index + 1) * slide_ns, slide_ns);
            }
        }
        _ => unreachable!("no fixed times"),
    }
    all
}

/// Holds what was said of windows of fixed times against the twin.
fn check_aligned(config: &DeclaredConfig, steps: &[Step], told: &Told) -> usize {
    let twin = Twin::new(config, steps);
    let mut said: BTreeMap<(i64, i64), Vec<Said>> = BTreeMap::new();
    for one in &told.windows {
        let key = (one.window.start.0, one.end);
        said.entry(key).or_default().push(*one);
    }
    for (start, end, last_pane) in candidates(config, steps) {
        let said = said.remove(&(start, end)).unwrap_or_default();
        let final_step = twin.final_step(end);
        let is_filled = |step: usize| {
            // What grows is said where its last step has something.
            let from = match config.shape {
                Shape::Cumulative { .. } => last_pane,
                _ => start,
            };
            let (trades, _) = twin.of_window(start, end, step);
            trades.iter().any(|trade| trade.ts >= from) || twin.standing(from, end, step).moves > 0
        };
        // Said at the end, and at each later tick at which it is another one.
        let mut ticks = Vec::new();
        if config.revise && config.lateness_ns > 0 {
            let mut before = None;
            let from = twin.step_of(end);
            for (step, what) in steps.iter().enumerate().take(final_step).skip(from) {
                if !matches!(what, Step::Tick(_)) {
                    continue;
                }
                if ticks.is_empty() && !is_filled(step) {
                    continue;
                }
                let (trades, late) = twin.of_window(start, end, step);
                let now: Vec<usize> = trades.iter().map(|trade| trade.step).collect();
                if before.as_ref() != Some(&(now.clone(), late)) {
                    ticks.push(step);
                    before = Some((now, late));
                }
            }
        }
        if !ticks.is_empty() || is_filled(final_step) {
            ticks.push(final_step);
        }
        let at: Vec<usize> = said.iter().map(|said| said.step).collect();
        assert_eq!(at, ticks, "window {start} to {end}: said at these steps");
        for (revision, said) in said.iter().enumerate() {
            assert_eq!(said.window.revision, revision as u32);
            assert_eq!(said.window.is_final, revision + 1 == ticks.len());
            let (trades, late) = twin.of_window(start, end, said.step);
            twin.check(said, &trades, late);
            let standing = twin.standing(start, end, said.step);
            assert_eq!(said.standing, Some(standing), "{said:?}");
        }
    }
    assert!(said.is_empty(), "no such windows: {said:?}");
    // Late are those that no window takes, and no others.
    let is_late = |trade: &&Kept| {
        let mut windows = candidates(config, steps).into_iter();
        let all = match config.shape {
            // To the end of the period, whether or not anything is said there.
            Shape::Cumulative { period_ns, .. } => {
                let from = (trade.ts - MIDNIGHT.0) / period_ns * period_ns + MIDNIGHT.0;
                return from + period_ns + config.lateness_ns <= trade.watermark;
            }
            _ => windows.find(|(start, end, _)| {
                (start..end).contains(&&trade.ts)
                    && trade.watermark < end.saturating_add(config.lateness_ns)
            }),
        };
        all.is_none()
    };
    let lates: Vec<(usize, i64)> = twin
        .trades
        .iter()
        .filter(is_late)
        .map(|trade| (trade.step, trade.price))
        .collect();
    assert_eq!(told.lates, lates);
    check_adjusts(&twin, told);
    told.windows.len()
}

/// A trade that was broken is said of the windows that were final by then, and had it.
fn check_adjusts(twin: &Twin<'_>, told: &Told) {
    let mut want = Vec::new();
    for trade in &twin.trades {
        if trade.broken == usize::MAX {
            continue;
        }
        let windows = candidates(twin.config, twin.steps).into_iter();
        let had = windows.filter(|(start, end, _)| {
            (start..end).contains(&&trade.ts)
                && trade.watermark < end.saturating_add(twin.config.lateness_ns)
                && twin.final_step(*end) < trade.broken
        });
        let had: Vec<(i64, i64, i64)> = had.collect();
        if let (Some(first), Some(_)) = (had.first(), had.last()) {
            want.push((trade.broken, first.0));
        }
    }
    want.sort_unstable();
    let unknown =
        |adjust: &&(usize, i64, i64, u32, AdjustReason)| adjust.4 != AdjustReason::Unknown;
    let mut said: Vec<(usize, i64)> = told
        .adjusts
        .iter()
        .filter(unknown)
        .map(|adjust| (adjust.0, adjust.1))
        .collect();
    said.sort_unstable();
    assert_eq!(said, want, "{:?}", told.adjusts);
}

/// Sessions and bars as lists of trades, one step after another.
fn check_bars(config: &DeclaredConfig, steps: &[Step], told: &Told) -> usize {
    struct Open {
        trades: Vec<Kept>,
        start: i64,
        last: i64,
        late: u32,
    }
    let twin = Twin::new(config, steps);
    let (mut open, mut lates): (Vec<Open>, Vec<(usize, i64)>) = Default::default();
    // Step, start, end, trades, late.
    let mut want: Vec<(usize, i64, i64, Vec<Kept>, u32)> = Vec::new();
    let mut adjusts = Vec::new();
    let gap = match config.shape {
        Shape::Session { gap_ns } => gap_ns,
        _ => 0,
    };
    let is_session = gap > 0;
    let day = |ts: i64| (ts - MIDNIGHT.0).div_euclid(86_400_000_000_000);
    for (step, what) in steps.iter().enumerate() {
        let watermark = twin.watermarks[step + 1];
        match *what {
            Step::Tick(_) | Step::End => {
                let is_over = |one: &Open| match is_session {
                    true => (one.last + gap).saturating_add(config.lateness_ns) <= watermark,
                    false => watermark == i64::MAX,
                };
                open.sort_by_key(|one| one.start);
                let (over, rest) = open.into_iter().partition(is_over);
                open = rest;
                for one in Vec::<Open>::from_iter(over) {
                    want.push((step, one.start, one.last + gap, one.trades, one.late));
                }
            }
            Step::Trade { .. } => {
                let Some(trade) = twin.trades.iter().find(|trade| trade.step == step) else {
                    continue;
                };
                let mut all = Open {
                    trades: vec![*trade],
                    start: trade.ts,
                    last: trade.ts,
                    late: 0,
                };
                if is_session {
                    if trade.ts + gap + config.lateness_ns <= watermark {
                        lates.push((step, trade.price));
                        continue;
                    }
                    let is_near =
                        |one: &Open| trade.ts < one.last + gap && trade.ts > one.start - gap;
                    let (near, rest): (Vec<Open>, _) = open.into_iter().partition(is_near);
                    open = rest;
                    for mut one in near {
                        all.trades.append(&mut one.trades);
                        all.start = all.start.min(one.start);
                        all.last = all.last.max(one.last);
                        all.late += one.late;
                    }
                    all.late += u32::from(watermark >= all.last + gap);
                    open.push(all);
                    continue;
                }
                if open
                    .first()
                    .is_some_and(|one| day(trade.ts) > day(one.last))
                {
                    let one = open.remove(0);
                    want.push((step, one.start, one.last, one.trades, 0));
                }
                match open.first_mut() {
                    None => open.push(all),
                    Some(one) => {
                        one.trades.push(*trade);
                        one.start = one.start.min(trade.ts);
                        one.last = one.last.max(trade.ts);
                    }
                }
                let is_full = match config.shape {
                    Shape::Count { trades } => open[0].trades.len() >= trades as usize,
                    Shape::Volume { qty } => {
                        open[0].trades.iter().map(|trade| trade.qty).sum::<i64>() >= qty
                    }
                    _ => unreachable!("no bar"),
                };
                if is_full {
                    let one = open.remove(0);
                    want.push((step, one.start, one.last, one.trades, 0));
                }
            }
            Step::Break(..) => {
                let Some(gone) = twin.trades.iter().find(|trade| trade.broken == step) else {
                    continue;
                };
                let mut is_open = false;
                for one in &mut open {
                    let before = one.trades.len();
                    one.trades.retain(|trade| trade.step != gone.step);
                    is_open |= one.trades.len() < before;
                }
                if !is_open && !lates.iter().any(|late| late.0 == gone.step) {
                    adjusts.push((step, gone.ts));
                }
            }
            Step::Quote(..) | Step::Gap => {}
        }
    }
    want.retain(|one| !one.3.is_empty());
    let heads = |said: &Said| (said.step, said.window.start.0, said.end);
    let said: Vec<_> = told.windows.iter().map(heads).collect();
    let heads: Vec<_> = want.iter().map(|one| (one.0, one.1, one.2)).collect();
    assert_eq!(said, heads);
    for (said, want) in told.windows.iter().zip(&want) {
        twin.check(said, &want.3, want.4);
        assert!(said.window.is_final && said.window.revision == 0);
    }
    assert_eq!(told.lates, lates);
    let said: Vec<_> = told
        .adjusts
        .iter()
        .filter(|adjust| adjust.4 != AdjustReason::Unknown)
        .map(|adjust| (adjust.0, adjust.1))
        .collect();
    assert_eq!(said, adjusts);
    told.windows.len()
}

/// Trades up to half a second late, quotes sometimes, breaks, ticks, quiet stretches; of a symbol.
fn stream(random: &mut Random, count: usize, tick_ns: i64, symbols: i64) -> Vec<(u32, Step)> {
    // Some streams go over midnight.
    let start_s = [34_200, 86_399][(random.below(8) == 0) as usize];
    let mut now = MIDNIGHT.0 + start_s * Ts::SECOND_NS;
    let mut tick = now.div_euclid(tick_ns) * tick_ns;
    let mut mid = 10_000 * CENT;
    let mut number = 0;
    let mut steps = Vec::new();
    let lateness = [1, 300, 800][random.below(3) as usize] * MILLI;
    while steps.len() < count {
        let pause = [20, 20, 20, 20, 60, 60, 400, 3_000][random.below(8) as usize];
        now += random.below(pause * MILLI);
        // After a long rest there is the last tick only, as a reader has it.
        if now - tick > 5 * tick_ns && random.below(2) == 0 {
            tick = now.div_euclid(tick_ns) * tick_ns;
        }
        while tick <= now {
            steps.push((0, Step::Tick(tick)));
            tick += tick_ns;
        }
        let symbol = 1 + random.below(symbols) as u32;
        mid += (random.below(21) - 10) * CENT;
        let late_ns = if random.below(4) == 0 {
            random.below(lateness)
        } else {
            0
        };
        let step = match random.below(12) {
            0 if random.below(5) == 0 => {
                steps.push((0, Step::Gap));
                continue;
            }
            0 => Step::Break(now, 1 + random.below(number as i64 + 2) as u64),
            1..=7 => {
                number += 1;
                Step::Trade {
                    ts: now - late_ns,
                    price: mid + (random.below(9) - 4) * CENT,
                    qty: [1 + random.below(99), 100 * (1 + random.below(50))]
                        [random.below(2) as usize],
                    side: [Side::None, Side::Buy, Side::Sell][random.below(3) as usize],
                    is_cross: random.below(10) == 0,
                    number,
                }
            }
            kind => {
                let qty = |random: &mut Random| Qty(1 + random.below(900));
                let mut quote = Quote {
                    bid: Price(mid - random.below(4) * CENT),
                    ask: Price(mid + random.below(4) * CENT),
                    bid_qty: qty(random),
                    ask_qty: qty(random),
                };
                if kind == 8 && random.below(3) == 0 {
                    (quote.bid, quote.bid_qty) = (Price::NONE, Qty(0));
                }
                Step::Quote(now - late_ns / 2, quote)
            }
        };
        steps.push((symbol, step));
    }
    steps.push((0, Step::End));
    steps
}

fn declared_of(random: &mut Random, index: usize) -> DeclaredConfig {
    let one = |random: &mut Random, of: &[i64]| of[random.below(of.len() as i64) as usize] * MILLI;
    let slide_ns = one(random, &[50, 100, 250, 700]);
    let size_ns = slide_ns * (1 + random.below(9));
    let shape = match index % 6 {
        0 => Shape::Tumbling {
            size_ns: one(random, &[50, 200, 1_000, 7_000]),
        },
        1 => Shape::Sliding { size_ns, slide_ns },
        2 => Shape::Cumulative {
            period_ns: slide_ns * (20 + random.below(30)),
            slide_ns,
        },
        3 => Shape::Session {
            gap_ns: one(random, &[400, 600, 1_500]),
        },
        4 => Shape::Count {
            trades: 1 + random.below(9) as u32,
        },
        _ => Shape::Volume {
            qty: 1 + random.below(5_000),
        },
    };
    let is_bar = index % 6 > 3;
    let is_aligned = index % 6 < 3;
    let mut aggregates = vec![
        Aggregate::Sides,
        Aggregate::RealizedVariance,
        Aggregate::Sizes,
    ];
    if is_aligned {
        aggregates.push(Aggregate::Standing);
    }
    DeclaredConfig {
        name: format!("w{index}"),
        shape,
        lateness_ns: match is_bar {
            true => 0,
            false => one(random, &[0, 30, 250, 900]),
        },
        revise: is_aligned && random.below(2) == 0,
        policy: Policy::ALL[random.below(4) as usize],
        aggregates,
        symbols: Vec::new(),
    }
}

fn check_case(seed: u64) -> usize {
    let random = &mut Random(seed);
    let tick_ns = [10, 50, 400][random.below(3) as usize] * MILLI;
    let mut config = SuiteConfig::standard(4);
    config.origin = MIDNIGHT;
    config.ahead_ns = tick_ns;
    let count = 1 + random.below(6) as usize;
    let first = random.below(6) as usize;
    config.declared = (first..first + count)
        .map(|index| declared_of(random, index))
        .collect();
    let length = 20 + random.below(180) as usize;
    let steps = stream(random, length, tick_ns, 1);
    let mut run = Run::new(&config);
    // Some runs are saved and loaded again and again.
    let reload_each = [usize::MAX, 1, 7][random.below(3) as usize];
    for (index, (symbol, step)) in steps.iter().enumerate() {
        run.step(index, *symbol, step);
        if index % reload_each == reload_each - 1 {
            run.reload(&config);
        }
    }
    check_run(&config, &steps, &run.said)
}

/// Holds all that was said of the declared windows against their twins; says how many there were.
fn check_run(config: &SuiteConfig, steps: &[(u32, Step)], said: &[Signal]) -> usize {
    let plain: Vec<Step> = steps.iter().map(|step| step.1).collect();
    let mut windows = 0;
    for (index, declared) in config.declared.iter().enumerate() {
        let told = told(said, 1, (config.windows.len() + index) as u8);
        windows += match declared.shape {
            Shape::Tumbling { .. } | Shape::Sliding { .. } | Shape::Cumulative { .. } => {
                check_aligned(declared, &plain, &told)
            }
            _ => check_bars(declared, &plain, &told),
        };
    }
    windows
}

/// What happens next in a stream that proptest thinks of, and shrinks.
#[derive(Clone, Debug)]
enum Next {
    /// Late by so much, cents off the price before, how much.
    Trade(i64, i64, i64, Side, bool),
    /// Late by so much; cents of the bid below and of the ask above the price, and how much there.
    Quote(i64, Option<(i64, i64, i64, i64)>),
    /// Of the trade so many before the last.
    Break(u64),
    Gap,
}

/// Each with how long it is after the one before, in 10 us.
fn nexts() -> impl Strategy<Value = Vec<(i64, Next)>> {
    let side = select(vec![Side::None, Side::Buy, Side::Sell]);
    let late = prop_oneof![3 => Just(0i64), 1 => 0..80_000i64];
    let pause = prop_oneof![6 => 0..2_000i64, 2 => 0..10_000i64, 1 => 0..300_000i64];
    let qty = prop_oneof![1..100i64, (1..50i64).prop_map(|lots| 100 * lots)];
    let levels = proptest::option::weighted(0.9, (0..4i64, 0..4i64, 1..900i64, 1..900i64));
    let next = prop_oneof![
        12 => (late.clone(), -9..10i64, qty, side, proptest::bool::weighted(0.1))
            .prop_map(|(late, off, qty, side, is_cross)| Next::Trade(late, off, qty, side, is_cross)),
        8 => (late, levels).prop_map(|(late, levels)| Next::Quote(late, levels)),
        2 => (0..40u64).prop_map(Next::Break),
        1 => Just(Next::Gap),
    ];
    vec((pause, next), 1..120)
}

/// The steps of a symbol, with ticks between them as a reader makes them.
fn steps_of(nexts: &[(i64, Next)], start_s: i64, tick_ns: i64) -> Vec<(u32, Step)> {
    let mut now = MIDNIGHT.0 + start_s * Ts::SECOND_NS;
    let mut tick = now.div_euclid(tick_ns) * tick_ns;
    let (mut price, mut number) = (10_000 * CENT, 0);
    // What comes later than the first tick allows has no panes left to wait for.
    let mut steps = vec![(0, Step::Tick(tick))];
    for (pause, next) in nexts {
        now += pause * 10_000;
        let due = now.div_euclid(tick_ns) * tick_ns;
        // Behind a long rest there is the last one only.
        if due > tick {
            tick = due;
            steps.push((0, Step::Tick(tick)));
        }
        steps.push(match *next {
            Next::Trade(late, off, qty, side, is_cross) => {
                number += 1;
                price = (price + off * CENT).max(CENT);
                let ts = now - late * 10_000;
                let trade = Step::Trade {
                    ts,
                    price,
                    qty,
                    side,
                    is_cross,
                    number,
                };
                (1, trade)
            }
            Next::Quote(late, levels) => {
                let quote = levels.map_or(Quote::EMPTY, |(below, above, bid_qty, ask_qty)| Quote {
                    bid: Price(price - below * CENT),
                    ask: Price(price + above * CENT),
                    bid_qty: Qty(bid_qty),
                    ask_qty: Qty(ask_qty),
                });
                (1, Step::Quote(now - late * 5_000, quote))
            }
            Next::Break(back) => (1, Step::Break(now, number.saturating_sub(back))),
            Next::Gap => (0, Step::Gap),
        });
    }
    steps.push((0, Step::End));
    steps
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(100) as u32,
        // A failure is told with its steps; there is no file of them.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_declared_windows_of_any_stream_equal_sorting_and_summing_up(
        nexts in nexts(),
        windows in vec(any::<u64>(), 1..4),
        first in 0..6usize,
        start_s in select(vec![34_200i64, 86_399]),
        tick_ns in select(vec![10 * MILLI, 50 * MILLI, 400 * MILLI]),
        reload_each in select(vec![usize::MAX, 1, 7]),
    ) {
        let mut config = SuiteConfig::standard(4);
        config.origin = MIDNIGHT;
        config.ahead_ns = tick_ns;
        let declared = windows.iter().enumerate();
        config.declared = declared
            .map(|(index, seed)| declared_of(&mut Random(*seed), first + index))
            .collect();
        let steps = steps_of(&nexts, start_s, tick_ns);
        let mut run = Run::new(&config);
        for (index, (symbol, step)) in steps.iter().enumerate() {
            run.step(index, *symbol, step);
            if index % reload_each == reload_each - 1 {
                run.reload(&config);
            }
        }
        check_run(&config, &steps, &run.said);
    }
}

/// How many random streams: more with `TAPELINE_CASES=10000`.
fn cases(usual: u64) -> u64 {
    let cases = std::env::var("TAPELINE_CASES").ok();
    cases.map_or(usual, |text| text.parse().expect("a number of cases"))
}

#[test]
fn declared_windows_equal_sorting_and_summing_up() {
    let mut windows = 0;
    let cases = cases(300);
    let mut failed = Vec::new();
    for seed in 0..cases {
        match std::panic::catch_unwind(|| check_case(seed)) {
            Ok(checked) => windows += checked,
            Err(_) => failed.push(seed),
        }
    }
    assert!(failed.is_empty(), "seeds {failed:?}");
    println!("{cases} streams, {windows} windows");
    assert!(windows as u64 > 20 * cases);
}

#[test]
fn declared_windows_are_the_same_whatever_other_symbols_share_their_shard() {
    for seed in 0..cases(40) {
        let random = &mut Random(seed);
        let mut config = SuiteConfig::standard(8);
        config.origin = MIDNIGHT;
        config.ahead_ns = 50 * MILLI;
        config.declared = (0..6).map(|index| declared_of(random, index)).collect();
        let steps = stream(random, 600, 50 * MILLI, 8);
        let of = |shards: u32, visits_max: usize| {
            let mut said = vec![Vec::new(); 9];
            for shard in 0..shards {
                let mut run = Run::new(&config);
                for (index, (symbol, step)) in steps.iter().enumerate() {
                    if *symbol != 0 && symbol % shards != shard {
                        continue;
                    }
                    // Ticks that go on beside later events, a few visits at a time.
                    if let (Step::Tick(ts), true) = (step, visits_max < usize::MAX) {
                        while run.suites.is_ticking() {
                            run.go_on(visits_max);
                        }
                        run.suites.begin_tick(Ts(*ts), index as u64);
                        run.go_on(visits_max);
                        continue;
                    }
                    if run.suites.is_ticking() {
                        run.settle(*symbol, matches!(step, Step::End | Step::Gap));
                    }
                    run.step(index, *symbol, step);
                }
                for signal in run.said {
                    said[signal.symbol as usize].push(signal);
                }
            }
            said
        };
        let whole = of(1, usize::MAX);
        assert!(whole.iter().map(Vec::len).sum::<usize>() > 100);
        for (shards, visits_max) in [(2, usize::MAX), (4, usize::MAX), (1, 1), (2, 3)] {
            assert!(
                of(shards, visits_max) == whole,
                "seed {seed}: {shards} shards, {visits_max} visits at a time"
            );
        }
    }
}

#[test]
fn monitors_and_regimes_say_the_same_saved_and_loaded_and_beside_other_symbols() {
    let second = Ts::SECOND_NS;
    let watches = [
        Watch::Quoted,
        Watch::Effective,
        Watch::Realised {
            horizon_ns: second / 3,
        },
        Watch::Crossed,
        Watch::Locked,
        Watch::OneSided,
        Watch::Stale,
    ];
    let monitor = |watch| MonitorConfig {
        name: "m".into(),
        watch,
        threshold: Limit::Share(Bps(250)),
        hold_ns: 20 * MILLI,
        clear: Limit::Share(Bps(150)),
        clear_hold_ns: 10 * MILLI,
        rearm_ns: 40 * MILLI,
    };
    let model = ModelConfig {
        name: "r".into(),
        sample_ns: second / 10,
        warmup_samples: 3,
        baseline_ns: 5 * second,
        measure: Measure::Baseline,
        stressed: 1.2,
        calm: 0.9,
        hysteresis: 0.05,
        floor_bps: 0.1,
        model: ModelKind::Hmm(HmmConfig {
            sigmas: vec![0.5, 1.5],
            stay: 0.9,
            confidence: 0.6,
        }),
    };
    let mut counts = [0; 8];
    for seed in 0..30 {
        let mut config = SuiteConfig::standard(4);
        config.spread.threshold = Bps::whole(9_000);
        config.monitors = watches.map(monitor).to_vec();
        config.regimes = vec![model.clone()];
        let mut steps = stream(&mut Random(seed), 400, 50 * MILLI, 3);
        for (index, (_, step)) in steps.iter_mut().enumerate() {
            if let Step::Quote(_, quote) = step
                && index % 9 == 0
                && quote.is_open()
            {
                std::mem::swap(&mut quote.bid, &mut quote.ask);
            }
        }
        let of = |keep: Option<u32>, reload: bool| {
            let mut run = Run::new(&config);
            for (index, (symbol, step)) in steps.iter().enumerate() {
                if *symbol == 0 || keep.is_none_or(|keep| keep == *symbol) {
                    run.step(index, *symbol, step);
                    if reload {
                        run.reload(&config);
                    }
                }
            }
            let is_of = |signal: &Signal| keep.is_none_or(|keep| signal.symbol == keep);
            run.said.retain(is_of);
            run.said
        };
        let whole = of(None, false);
        assert!(
            of(None, true) == whole,
            "seed {seed}: saved and loaded after each step"
        );
        let mut own = whole.clone();
        own.retain(|signal| signal.symbol == 2);
        assert!(of(Some(2), false) == own, "seed {seed}: symbol 2 alone");
        for signal in &whole {
            match signal.body() {
                Some(Body::Spread(_)) => counts[usize::from(signal.rule) - 1] += 1,
                Some(Body::Regime(_)) if signal.rule == 1 => counts[7] += 1,
                _ => {}
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

impl Run {
    fn go_on(&mut self, visits_max: usize) {
        let said = &mut self.said;
        self.suites.go_on(visits_max, &mut self.out, |out| {
            said.extend_from_slice(out.signals());
            out.clear();
        });
    }

    fn settle(&mut self, symbol: u32, all: bool) {
        match all {
            true => self.go_on(usize::MAX),
            false => {
                if self.suites.settle(symbol, &mut self.out) {
                    self.said.extend_from_slice(self.out.signals());
                    self.out.clear();
                }
            }
        }
    }
}

/// What a few steps say of one declared window, in words.
fn said_of(window: DeclaredConfig, ahead_ns: i64, steps: &[Step]) -> Vec<String> {
    let mut config = SuiteConfig::standard(2);
    config.origin = MIDNIGHT;
    config.ahead_ns = ahead_ns;
    config.declared = vec![window];
    let mut run = Run::new(&config);
    for (index, step) in steps.iter().enumerate() {
        run.step(index, 1, step);
    }
    let ms = |ts: i64| (ts - MIDNIGHT.0) / MILLI;
    let mut lines = Vec::new();
    for signal in run.said.iter().filter(|signal| signal.rule == 3) {
        lines.push(match signal.body().unwrap() {
            Body::Window(x) => format!(
                "{}: {}-{} qty {} high {} rev {}{}",
                signal.seq,
                ms(x.start.0),
                ms(signal.ts_event.0),
                x.volume,
                x.high,
                x.revision,
                if x.is_final { " final" } else { "" }
            ),
            Body::Late(x) => format!("{}: late x{} by {}", signal.seq, x.qty, x.late_ns / MILLI),
            Body::Adjust(x) => format!(
                "{}: adjust {}-{} x{} {} {}",
                signal.seq,
                ms(x.start.0),
                ms(signal.ts_event.0),
                x.qty,
                x.window_count,
                x.reason.name()
            ),
            other => panic!("{other:?}"),
        });
    }
    lines
}

fn plain(shape: Shape, lateness_ms: i64, policy: Policy) -> DeclaredConfig {
    DeclaredConfig {
        name: "w".into(),
        shape,
        lateness_ns: lateness_ms * MILLI,
        revise: true,
        policy,
        aggregates: Vec::new(),
        symbols: Vec::new(),
    }
}

fn trade(ms: i64, cents: i64, qty: i64, number: u64) -> Step {
    Step::Trade {
        ts: MIDNIGHT.0 + ms * MILLI,
        price: cents * CENT,
        qty,
        side: Side::Buy,
        is_cross: false,
        number,
    }
}

fn tick(ms: i64) -> Step {
    Step::Tick(MIDNIGHT.0 + ms * MILLI)
}

fn broken(ms: i64, number: u64) -> Step {
    Step::Break(MIDNIGHT.0 + ms * MILLI, number)
}

const SECOND: Shape = Shape::Tumbling {
    size_ns: 1_000 * MILLI,
};

#[test]
fn a_window_is_revised_while_it_may_be_and_then_final_once() {
    let steps = [
        trade(100, 1_000, 5, 1),
        tick(1_000),
        trade(900, 1_010, 7, 2),
        tick(1_100),
        tick(1_200),
        broken(1_300, 2),
        tick(1_300),
        tick(1_500),
        trade(950, 1_000, 9, 3),
        broken(1_600, 1),
    ];
    assert_eq!(
        said_of(plain(SECOND, 500, Policy::All), 1_000 * MILLI, &steps),
        [
            "1: 0-1000 qty 5 high 10.00 rev 0",
            "3: 0-1000 qty 12 high 10.10 rev 1",
            "6: 0-1000 qty 5 high 10.00 rev 2",
            "7: 0-1000 qty 5 high 10.00 rev 3 final",
            "8: late x9 by 500",
            "9: adjust 0-1000 x5 1 closed",
        ]
    );
}

/// Of the four traps of watermarks, each with its name: the first.
#[test]
fn trap_a_quiet_symbol_has_its_windows_closed_by_the_time_of_others() {
    let steps = [trade(100, 1_000, 5, 1), tick(60_000), tick(61_000)];
    assert_eq!(
        said_of(plain(SECOND, 0, Policy::All), 1_000 * MILLI, &steps),
        ["1: 0-1000 qty 5 high 10.00 rev 0 final"]
    );
}

#[test]
fn trap_a_finished_input_closes_what_is_open_once() {
    let sliding = Shape::Sliding {
        size_ns: 3_000 * MILLI,
        slide_ns: 1_000 * MILLI,
    };
    let steps = [
        trade(100, 1_000, 5, 1),
        trade(1_100, 1_010, 7, 2),
        tick(1_000),
        Step::End,
        Step::End,
    ];
    assert_eq!(
        said_of(plain(sliding, 400, Policy::All), 1_000 * MILLI, &steps),
        [
            "2: -2000-1000 qty 5 high 10.00 rev 0",
            "3: -2000-1000 qty 5 high 10.00 rev 1 final",
            "3: -1000-2000 qty 12 high 10.10 rev 0 final",
            "3: 0-3000 qty 12 high 10.10 rev 0 final",
            "3: 1000-4000 qty 7 high 10.10 rev 0 final",
        ]
    );
}

#[test]
fn trades_far_ahead_of_the_watermark_close_windows_early_and_none_twice() {
    let steps = [
        tick(0),
        trade(500, 1_000, 1, 1),
        trade(9_500, 1_010, 2, 2),
        trade(600, 1_000, 3, 3),
        Step::End,
    ];
    assert_eq!(
        said_of(plain(SECOND, 0, Policy::All), 1_000 * MILLI, &steps),
        [
            "2: 0-1000 qty 1 high 10.00 rev 0 final",
            "3: late x3 by 0",
            "4: 9000-10000 qty 2 high 10.10 rev 0 final",
        ]
    );
}

#[test]
fn what_is_left_without_a_trade_at_the_edge_is_known_while_all_others_are() {
    // More trades than are kept, the highest of them among the first, and once among the last.
    let mut steps: Vec<Step> = (0..300)
        .map(|n| trade(n, 1_000 + n % 7, 1, n as u64))
        .collect();
    steps[3] = trade(3, 2_000, 1, 3);
    let inside = broken(400, 298);
    steps.extend([inside, broken(400, 2), trade(401, 3_000, 1, 900)]);
    steps.extend([broken(402, 900), tick(2_000)]);
    let cumulative = Shape::Cumulative {
        period_ns: 60_000 * MILLI,
        slide_ns: 1_000 * MILLI,
    };
    // Of one that grows, all to the end of the period keep it.
    for (shape, kept) in [(SECOND, "0-1000 x1 1"), (cumulative, "0-60000 x1 60")] {
        assert_eq!(
            said_of(plain(shape, 0, Policy::All), 1_000 * MILLI, &steps),
            [
                // The 298th is not the lowest nor the highest; the 2nd is not remembered; the 900th
                // is the highest, and not all others are remembered.
                "301: adjust 400-400 x0 0 unknown_trade",
                &format!("303: adjust {kept} beyond_memory"),
                "304: 0-1000 qty 300 high 30.00 rev 0 final",
            ]
        );
    }
}

#[test]
fn a_policy_says_which_trades_count_for_what() {
    let cross = Step::Trade {
        ts: MIDNIGHT.0 + 200 * MILLI,
        price: 1_500 * CENT,
        qty: 1_000,
        side: Side::None,
        is_cross: true,
        number: 9,
    };
    let steps = [
        trade(100, 1_000, 100, 1),
        cross,
        trade(300, 2_000, 99, 2),
        tick(1_000),
    ];
    for (policy, want) in [
        (
            Policy::AsPrinted,
            "3: 0-1000 qty 1199 high 20.00 rev 0 final",
        ),
        (Policy::All, "3: 0-1000 qty 1199 high 20.00 rev 0 final"),
        (
            Policy::NoAuctions,
            "3: 0-1000 qty 199 high 20.00 rev 0 final",
        ),
        // Below a round lot it is volume only.
        (
            Policy::UsConsolidatedV1,
            "3: 0-1000 qty 1199 high 15.00 rev 0 final",
        ),
    ] {
        assert_eq!(
            said_of(plain(SECOND, 0, policy), 1_000 * MILLI, &steps),
            [want]
        );
    }
}

#[test]
fn a_list_of_symbols_is_held_against_their_names() {
    let mut config = SuiteConfig::standard(3);
    config.origin = MIDNIGHT;
    config.declared = vec![plain(SECOND, 0, Policy::All)];
    config.declared[0].symbols = vec![*b"MSFT    ", *b"AAPL    "];
    let mut run = Run::new(&config);
    run.suites.on_symbol(1, *b"AAPL    ", 100);
    run.suites.on_symbol(2, *b"AAPLW   ", 100);
    run.reload(&config);
    for symbol in [1, 2, 3] {
        run.step(symbol as usize, symbol, &trade(100, 1_000, 5, 1));
    }
    run.step(4, 0, &tick(2_000));
    let of = |symbol| told(&run.said, symbol, 3).windows.len();
    assert_eq!([of(1), of(2), of(3)], [1, 0, 0]);
}
