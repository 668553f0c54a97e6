//! Random streams: equal to the plain twins, and the same however they are cut.

use analytics::{Bps, Intents, SuiteConfig, Suites, WindowConfig};
use bus::signal::{Body, Window};
use bus::{Applied, Event, Fill, Kind, Outbox, Phase, Price, Qty, Quote, Side, Signal, Ts};

use crate::reference::{self, Step};
use crate::script::MIDNIGHT;

/// SplitMix64 (public domain, Sebastiano Vigna).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, limit: i64) -> i64 {
        (self.next() % limit as u64) as i64
    }

    /// Nearly normal, with variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12)
            .map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64)
            .sum::<f64>()
            - 6.0
    }
}

const CENT: i64 = Price::SCALE / 100;

/// Runs the steps of several symbols, which share their watermarks; the signals in order.
pub(crate) fn run(config: &SuiteConfig, steps: &[(u32, Step)], end: bool) -> Vec<Signal> {
    let mut suites = Suites::new(config.clone());
    let (mut out, mut intents) = (Outbox::new(), Intents::new());
    let mut quotes = vec![Quote::EMPTY; config.symbols_max + 1];
    let mut said = Vec::new();
    for (index, (symbol, step)) in steps.iter().enumerate() {
        let seq = index as u64 + 1;
        let mut take = |out: &mut Outbox, intents: &mut Intents| {
            said.extend_from_slice(out.signals());
            out.clear();
            intents.clear();
        };
        let quote = &mut quotes[*symbol as usize];
        let mut event = Event {
            symbol: *symbol,
            seq,
            ..Event::new(Kind::Trade)
        };
        let mut applied = Applied::NOTHING;
        match *step {
            Step::Watermark(ts) => {
                suites.on_watermark(ts, seq, &mut out, &mut intents, &mut take);
                continue;
            }
            Step::Trade(ts, price, qty) => {
                event.ts_event = ts;
                applied.fill = Fill {
                    price,
                    qty,
                    aggressor: Side::None,
                };
            }
            Step::Quote(ts, now) => {
                event.ts_event = ts;
                event.kind = Kind::Add;
                applied.quote_changed = true;
                *quote = now;
            }
        }
        out.at(event.ts_event, seq, *symbol);
        let phase = Phase::Trading;
        suites.on_event(
            &event,
            &applied,
            quote,
            phase,
            false,
            &mut out,
            &mut intents,
        );
        take(&mut out, &mut intents);
    }
    if end {
        suites.finish(steps.len() as u64 + 1, &mut out, &mut intents, |out, _| {
            said.extend_from_slice(out.signals());
            out.clear();
        });
    }
    said
}

/// Trades up to half a second out of order around a watermark that follows, quotes in order.
fn stream(random: &mut Random, count: usize, symbols: i64, tick_ns: i64) -> Vec<(u32, Step)> {
    let mut now = MIDNIGHT.plus_ns(34_200 * Ts::SECOND_NS);
    let mut tick = now.floor(tick_ns).plus_ns(tick_ns);
    let mut steps = Vec::new();
    let mut mids = vec![10_000 * CENT; symbols as usize + 1];
    for _ in 0..count {
        let busy = random.below(10) > 0;
        now = now.plus_ns(random.below(if busy { 20_000_000 } else { 400_000_000 }));
        while tick <= now {
            steps.push((0, Step::Watermark(tick)));
            tick = tick.plus_ns(tick_ns);
        }
        let symbol = 1 + random.below(symbols) as u32;
        let mid = &mut mids[symbol as usize];
        *mid += (random.below(21) - 10) * CENT;
        let qty = |random: &mut Random| Qty(1 + random.below(500));
        let step = if random.below(3) == 0 {
            let late_ns = if random.below(3) == 0 {
                random.below(500_000_000)
            } else {
                0
            };
            let price = Price(*mid + (random.below(9) - 4) * CENT);
            Step::Trade(now.plus_ns(-late_ns), price, qty(random))
        } else {
            let half = [2, 5, 9, 10, 11, 20][random.below(6) as usize] * CENT;
            let (bid_qty, ask_qty) = (qty(random), qty(random));
            let (bid, ask) = (Price(*mid - half), Price(*mid + half));
            match random.below(12) {
                0 => Step::Quote(
                    now,
                    Quote {
                        bid,
                        bid_qty,
                        ..Quote::EMPTY
                    },
                ),
                1 => Step::Quote(
                    now,
                    Quote {
                        bid: ask,
                        ask: bid,
                        bid_qty,
                        ask_qty,
                    },
                ),
                _ => Step::Quote(
                    now,
                    Quote {
                        bid,
                        ask,
                        bid_qty,
                        ask_qty,
                    },
                ),
            }
        };
        steps.push((symbol, step));
    }
    steps
}

fn window(name: &str, size_ms: i64, lateness_ms: i64) -> WindowConfig {
    let ns = |ms: i64| ms * 1_000_000;
    WindowConfig {
        name: name.into(),
        size_ns: ns(size_ms),
        lateness_ns: ns(lateness_ms),
    }
}

fn windows_of(signals: &[Signal], rule: u8) -> (Vec<Window>, Vec<Price>) {
    let (mut windows, mut late) = (Vec::new(), Vec::new());
    for signal in signals.iter().filter(|signal| signal.rule == rule) {
        match signal.body() {
            Some(Body::Window(window)) => windows.push(window),
            Some(Body::Late(x)) => late.push(x.price),
            _ => {}
        }
    }
    (windows, late)
}

#[test]
fn windows_equal_sorting_and_summing() {
    for seed in 0..300 {
        let random = &mut Random(seed);
        let tick_ns = [1_000_000, 50_000_000, 400_000_000][seed as usize % 3];
        let steps = stream(random, 600, 1, tick_ns);
        let mut config = SuiteConfig::standard(1);
        config.windows = vec![
            window("w0", 1000, 200),
            window("w1", 250, 0),
            window("w2", 700, 1500),
            window("w3", 60_000, 200),
        ];
        // A window that is shorter than what trades run ahead of the watermark closes early, by
        // its own test; here it has as much lateness as keeps panes for it.
        config.windows.retain(|w| w.size_ns > tick_ns);
        let said = run(&config, &steps, true);
        let plain: Vec<Step> = steps.iter().map(|step| step.1).collect();
        for (rule, config) in config.windows.iter().enumerate() {
            let (windows, late) = windows_of(&said, rule as u8);
            let (want_windows, want_late) = reference::windows(&plain, config);
            assert_eq!(windows, want_windows, "seed {seed}, window {}", config.name);
            assert_eq!(late, want_late, "seed {seed}, window {}", config.name);
        }
    }
}

#[test]
fn spread_alerts_equal_looking_at_whole_stretches() {
    let mut count = 0;
    for seed in 0..300 {
        let steps = stream(&mut Random(seed), 400, 1, 30_000_000);
        let plain: Vec<Step> = steps.iter().map(|step| step.1).collect();
        let mut config = SuiteConfig::standard(1);
        config.spread.threshold = Bps::whole(20);
        config.spread.clear = Bps::whole(18);
        config.spread.hold_ns = [0, 10_000_000, 100_000_000][seed as usize % 3];
        config.spread.clear_hold_ns = [0, 25_000_000][seed as usize % 2];
        let until = plain.iter().rev().find_map(|step| match step {
            Step::Watermark(ts) => Some(*ts),
            Step::Trade(..) | Step::Quote(..) => None,
        });
        let mut said: Vec<(bool, Ts)> = Vec::new();
        for signal in run(&config, &steps, true) {
            if let Some(Body::Spread(x)) = signal.body() {
                said.push((x.raised, signal.ts_event));
            }
        }
        let until = until.expect("a watermark").max(steps_end(&plain));
        let want = reference::spreads(&plain, &config.spread, until);
        // The twin sees the very end of the stream a little further than the last tick.
        assert!(
            want.starts_with(&said) && want.len() <= said.len() + 1,
            "seed {seed}"
        );
        count += said.len();
    }
    println!("{count} alerts raised or cleared");
    assert!(count > 1000);
}

#[test]
fn regimes_equal_looking_at_every_sample() {
    let mut count = 0;
    for seed in 0..100 {
        let random = &mut Random(seed);
        let mut now = MIDNIGHT.plus_ns(34_200 * Ts::SECOND_NS);
        let mut mid = 10_000 * CENT;
        let mut plain = Vec::new();
        // Busy and quiet stretches; in some of the quiet ones a calm symbol sleeps.
        while plain.len() < 1500 {
            let pause_ns = [60_000_000, 60_000_000, 2_000_000_000, 40_000_000_000];
            let pause_ns = pause_ns[(random.below(100) >= 95) as usize * random.below(4) as usize];
            now = now.plus_ns(1 + random.below(pause_ns));
            mid += (random.normal() * [1.0, 8.0][(plain.len() / 200) % 2]) as i64 * CENT;
            let (bid, ask) = (Price(mid - CENT), Price(mid + CENT));
            plain.push(Step::Quote(
                now,
                Quote {
                    bid,
                    ask,
                    bid_qty: Qty(1),
                    ask_qty: Qty(1),
                },
            ));
            if random.below(4) == 0 {
                plain.push(Step::Watermark(now));
            }
        }
        plain.push(Step::Watermark(now));
        let config = SuiteConfig::standard(1);
        let want = reference::regimes(&plain, &config.regime, now);
        let steps: Vec<(u32, Step)> = plain.into_iter().map(|step| (1, step)).collect();
        let mut said = Vec::new();
        for signal in run(&config, &steps, true) {
            if let Some(Body::Regime(change)) = signal.body() {
                said.push((signal.ts_event, change.to, change.bps));
            }
        }
        let times = |list: &[(Ts, _, f64)]| -> Vec<(Ts, _)> {
            list.iter().map(|change| (change.0, change.1)).collect()
        };
        assert_eq!(times(&said), times(&want), "seed {seed}");
        for (got, want) in said.iter().zip(&want) {
            assert!(
                (got.2 - want.2).abs() <= 1e-9 * want.2,
                "seed {seed}: {got:?} {want:?}"
            );
        }
        count += said.len();
    }
    println!("{count} changes");
    assert!(count > 1000);
}

fn steps_end(steps: &[Step]) -> Ts {
    let times = steps.iter().map(|step| match step {
        Step::Trade(ts, ..) | Step::Quote(ts, _) | Step::Watermark(ts) => *ts,
    });
    times.max().expect("a step")
}

/// The signals of one symbol, without the ordinals and causes that number them.
fn said_of(signals: &[Signal], symbol: u32) -> Vec<(Ts, u64, u16, u8, Option<Body>)> {
    let of = signals.iter().filter(|signal| signal.symbol == symbol);
    of.map(|signal| {
        (
            signal.ts_event,
            signal.seq,
            signal.ordinal,
            signal.rule,
            signal.body(),
        )
    })
    .collect()
}

#[test]
fn a_symbol_says_the_same_whatever_other_symbols_share_its_shard() {
    for seed in 0..20 {
        let steps = stream(&mut Random(seed), 4000, 8, 100_000_000);
        let mut config = SuiteConfig::standard(8);
        config.momentum.sigmas = 0.0;
        let together = run(&config, &steps, true);
        assert!(together.len() > 500, "the stream says something");
        for shards in [2, 4] {
            for shard in 0..shards {
                let is_mine = |symbol: u32| symbol == 0 || symbol % shards == shard;
                // What is not this shard's becomes a watermark of long ago, so that the numbers
                // of the events stay.
                let mine: Vec<(u32, Step)> = steps
                    .iter()
                    .map(|step| {
                        if is_mine(step.0) {
                            *step
                        } else {
                            (0, Step::Watermark(Ts(0)))
                        }
                    })
                    .collect();
                let said = run(&config, &mine, true);
                for symbol in (1..=8).filter(|symbol| is_mine(*symbol)) {
                    let (alone, among) = (said_of(&said, symbol), said_of(&together, symbol));
                    assert_eq!(
                        alone, among,
                        "seed {seed}, symbol {symbol}, {shards} shards"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_timed_by_events_does_not_depend_on_how_often_ticks_come() {
    let timed = |signals: &[Signal]| -> Vec<(Ts, Option<Body>)> {
        let is_timed = |signal: &&Signal| {
            matches!(
                signal.body(),
                Some(Body::Spread(_) | Body::Regime(_) | Body::Momentum(_))
            )
        };
        signals
            .iter()
            .filter(is_timed)
            .map(|signal| (signal.ts_event, signal.body()))
            .collect()
    };
    let mut config = SuiteConfig::standard(1);
    config.momentum.sigmas = 0.0;
    let mut count = 0;
    for seed in 0..40 {
        let steps = stream(&mut Random(seed), 2000, 1, 10_000_000);
        // Trades come out of order here; a symbol's own time follows its quotes.
        let quotes: Vec<(u32, Step)> = steps
            .into_iter()
            .filter(|step| !matches!(step.1, Step::Trade(..)))
            .collect();
        let often = timed(&run(&config, &quotes, true));
        let last_tick = |step: &(u32, Step)| matches!(step.1, Step::Watermark(_));
        let last = quotes.iter().rposition(last_tick).expect("a tick");
        let rarely: Vec<(u32, Step)> = quotes
            .iter()
            .enumerate()
            .filter(|(index, step)| match step.1 {
                Step::Watermark(ts) => ts.0 % 1_000_000_000 == 0 || *index == last,
                Step::Trade(..) | Step::Quote(..) => true,
            })
            .map(|(_, step)| *step)
            .collect();
        assert_eq!(often, timed(&run(&config, &rarely, true)), "seed {seed}");
        count += often.len();
    }
    println!("{count} signals");
    assert!(count > 1000);
}
