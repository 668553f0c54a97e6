//! Random streams: equal to the plain twins, and the same however they are cut.

use analytics::{
    Bps, Condition, Intents, RuleConfig, RuleOrder, SuiteConfig, Suites, Touch, WindowConfig,
};
use bus::signal::{Body, Window};
use bus::state::{StateReader, StateWriter, Versions};
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
    let mut run = Run::new(config, 0);
    run.steps(steps);
    if end {
        let said = &mut run.said;
        run.suites
            .finish(steps.len() as u64 + 1, &mut run.out, |out| {
                said.extend_from_slice(out.signals());
                out.clear();
            });
    }
    run.said
}

/// Runs steps, the first of which has the number `index`, from a saved state on if there is one;
/// the signals and the state after them.
pub(crate) fn run_from(
    config: &SuiteConfig,
    state: Option<&[u8]>,
    steps: &[(u32, Step)],
    index: usize,
) -> (Vec<Signal>, Vec<u8>) {
    let mut run = Run::new(config, index as u64);
    let symbols = 1..=config.symbols_max as u32;
    if let Some(bytes) = state {
        let mut from = StateReader::new(bytes, Versions::NEWEST);
        run.suites.load_shared(&mut from).unwrap();
        for symbol in symbols.clone() {
            run.suites.load(symbol, &mut from).unwrap();
            let quote = &mut run.quotes[symbol as usize];
            *quote = run.suites.view(symbol).quote;
        }
        from.end().unwrap();
    }
    run.steps(steps);
    let mut bytes = Vec::new();
    let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
    run.suites.save_shared(&mut out);
    for symbol in symbols {
        run.suites.save(symbol, &mut out);
    }
    out.finish().unwrap();
    (run.said, bytes)
}

struct Run {
    suites: Suites,
    out: Outbox,
    intents: Intents,
    quotes: Vec<Quote>,
    seq: u64,
    said: Vec<Signal>,
}

impl Run {
    fn new(config: &SuiteConfig, seq: u64) -> Run {
        Run {
            suites: Suites::new(config.clone()),
            out: Outbox::new(),
            intents: Intents::new(),
            quotes: vec![Quote::EMPTY; config.symbols_max + 1],
            seq,
            said: Vec::new(),
        }
    }

    fn steps(&mut self, steps: &[(u32, Step)]) {
        for (symbol, step) in steps {
            self.step(*symbol, step);
        }
    }

    fn step(&mut self, symbol: u32, step: &Step) {
        self.seq += 1;
        let Run {
            suites,
            out,
            intents,
            quotes,
            seq,
            said,
        } = self;
        let mut take = |out: &mut Outbox| {
            said.extend_from_slice(out.signals());
            out.clear();
        };
        let quote = &mut quotes[symbol as usize];
        let mut event = Event {
            symbol,
            seq: *seq,
            ..Event::new(Kind::Trade)
        };
        let mut applied = Applied::NOTHING;
        match *step {
            Step::Watermark(ts) => return suites.on_watermark(ts, *seq, out, take),
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
        out.at(event.ts_event, *seq, symbol);
        let phase = Phase::Trading;
        suites.on_event(&event, &applied, quote, phase, false, out, intents);
        take(out);
        intents.clear();
    }
}

/// Trades up to half a second out of order around a watermark that follows, quotes in order.
pub(crate) fn stream(
    random: &mut Random,
    count: usize,
    symbols: i64,
    tick_ns: i64,
) -> Vec<(u32, Step)> {
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
        ahead_ns: 0,
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

/// Rules that buy.
pub(crate) fn rules(conditions: &[&str]) -> Vec<RuleConfig> {
    let rule = |when: &&str| RuleConfig {
        name: (*when).into(),
        when: Condition::parse(when).expect(when),
        order: Some(RuleOrder {
            side: Side::Buy,
            touch: Touch::Near,
            qty: Qty(1),
            cooldown_ns: 300_000_000,
        }),
    };
    conditions.iter().map(rule).collect()
}

/// Steps from one saved state to the next: what is put off is never put off beyond a load.
pub(crate) fn run_reloading(config: &SuiteConfig, steps: &[(u32, Step)]) -> (Vec<Signal>, Vec<u8>) {
    let mut said = Vec::new();
    let mut state = None;
    for index in 0..steps.len() {
        let (signals, bytes) = run_from(config, state.as_deref(), &steps[index..=index], index);
        said.extend(signals);
        state = Some(bytes);
    }
    (said, state.expect("some steps"))
}

#[test]
fn visits_that_are_put_off_change_nothing() {
    let mut counts = [0; 4];
    for seed in 0..60 {
        let random = &mut Random(seed);
        let tick_ns = [100_000_000, 50_000_000, 400_000_000][seed as usize % 3];
        let mut steps = stream(random, 500, 3, tick_ns);
        // A long rest at the end, in which verdicts fall back.
        let last = steps_end(&steps.iter().map(|step| step.1).collect::<Vec<_>>());
        let first = last.floor(tick_ns).plus_ns(tick_ns);
        steps.extend((0..300).map(|tick| (0, Step::Watermark(first.plus_ns(tick * tick_ns)))));
        let mut config = SuiteConfig::standard(3);
        config.regime.warmup_samples = 5 + seed as u32 % 30;
        config.momentum.lookback_ns =
            [1_000_000_000, 2_000_000_000, 300_000_000][seed as usize % 3];
        config.rules = rules(&[
            "spread > 12bps for 70ms",
            "regime != 'normal' or sigma_bps > 3",
            "imbalance > 0.2 and regime == 'stressed' for 1s",
        ]);
        let (want, want_state) = run_reloading(&config, &steps);
        let (said, state) = run_from(&config, None, &steps, 0);
        assert_eq!(said, want, "seed {seed}");
        assert!(state == want_state, "seed {seed}: other states");
        for signal in said {
            match signal.body() {
                Some(Body::Regime(_)) => counts[0] += 1,
                Some(Body::Momentum(_)) => counts[1] += 1,
                Some(Body::Spread(_)) if signal.rule > 0 => counts[2] += 1,
                _ => counts[3] += 1,
            }
        }
    }
    println!("{counts:?} regimes, opportunities, rules, others");
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}
