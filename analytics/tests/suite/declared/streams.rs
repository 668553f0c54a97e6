//! Random streams.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::held::*;
use super::*;

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
