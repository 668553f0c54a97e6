//! After construction, nothing is allocated: not for new symbols, not when windows close, not
//! when alerts are raised or orders are wanted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use analytics::{Aggregate, DeclaredConfig, Policy, Shape};
use analytics::{Bps, Limit, MonitorConfig, Watch};
use analytics::{By, Known, Pattern, PatternConfig};
use analytics::{ChangeConfig, GarchConfig, HmmConfig, Measure, ModelConfig, ModelKind};
use analytics::{
    Condition, Intents, Risk, RiskConfig, RuleConfig, RuleOrder, SuiteConfig, Suites, Touch,
};
use analytics::{InstrumentConfig, JoinConfig, JoinKind, Right, Stream};
use bus::{
    Applied, Event, Fill, Flags, Kind, Outbox, Phase, Price, Qty, Quote, Side, SignalKind, Ts,
};

struct Counting;

thread_local! {
    /// Of this thread only: the test runner's own threads may do what they like.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of it,
// and its cell needs neither construction nor destruction.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, that is from `System`, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A text of each part, by symbol and by participant, and a built-in one.
fn name(symbol: u32) -> [u8; 8] {
    u64::from(symbol).to_be_bytes()
}

/// One of symbols with themselves, and one of symbols with another that has too much.
fn joins() -> Vec<JoinConfig> {
    let right = |stream, symbol, keep| Right {
        stream,
        symbol,
        keep,
    };
    let join = |kind, count| JoinConfig {
        name: "j".into(),
        kind,
        left: Stream::Trades,
        symbols: (1..=count).map(name).collect(),
        unmatched: true,
    };
    let as_of = JoinKind::AsOf {
        right: right(Stream::Quotes, None, 64),
        tolerance_ns: 1_000_000_000,
    };
    let interval = JoinKind::Interval {
        right: right(Stream::Quotes, Some(name(5)), 16),
        before_ns: 20_000_000_000,
        after_ns: 10_000_000,
        rows_max: 4,
    };
    vec![join(as_of, 200), join(interval, 100)]
}

fn patterns() -> Vec<PatternConfig> {
    let pattern = |pattern, by| PatternConfig {
        name: "pattern".into(),
        pattern,
        by,
        partial_max: 4,
        orders: 64,
    };
    let text = "any times 3 without trade[qty > 500] then not cross then any[side != first.side] \
                next any then not trade[price > prev.price] for 5ms within 1s";
    let text = Pattern::parse(text).unwrap();
    let messages = 20;
    let age_ns = 10 * Ts::SECOND_NS;
    let stuffing = Known::QuoteStuffing { messages, age_ns };
    vec![
        pattern(text.clone(), By::Symbol),
        pattern(text, By::Participant),
        pattern(stuffing.pattern(10 * age_ns).unwrap(), By::Symbol),
    ]
}

/// A monitor of each kind.
fn monitors() -> Vec<MonitorConfig> {
    let horizon_ns = Ts::SECOND_NS / 4;
    let watches = [
        Watch::Quoted,
        Watch::Effective,
        Watch::Realised { horizon_ns },
        Watch::Crossed,
        Watch::Locked,
        Watch::OneSided,
        Watch::Stale,
    ];
    let monitor = |watch| MonitorConfig {
        name: "monitor".into(),
        watch,
        threshold: Limit::Share(Bps::whole(5)),
        hold_ns: 1_000_000,
        clear: Limit::Share(Bps::whole(3)),
        clear_hold_ns: 0,
        rearm_ns: 1_000_000,
    };
    watches.into_iter().map(monitor).collect()
}

/// A regime by each model.
fn regimes() -> Vec<ModelConfig> {
    let models = [
        ModelKind::Garch(GarchConfig {
            alpha: 0.1,
            beta: 0.8,
            long_run_bps: None,
        }),
        ModelKind::Hmm(HmmConfig {
            sigmas: vec![0.5, 1.0, 2.0],
            stay: 0.9,
            confidence: 0.8,
        }),
        ModelKind::Changes(ChangeConfig {
            expected: 20.0,
            run_max: 16,
            prior_bps: 5.0,
        }),
    ];
    let model = |model| ModelConfig {
        name: "model".into(),
        sample_ns: Ts::SECOND_NS / 10,
        warmup_samples: 5,
        baseline_ns: 20 * Ts::SECOND_NS,
        measure: Measure::Baseline,
        stressed: 1.2,
        calm: 0.9,
        hysteresis: 0.05,
        floor_bps: 0.1,
        model,
    };
    models.into_iter().map(model).collect()
}

/// A window of each kind, with all that it can say.
fn declared() -> Vec<DeclaredConfig> {
    let second = Ts::SECOND_NS;
    let shapes = [
        Shape::Tumbling { size_ns: second },
        Shape::Sliding {
            size_ns: 10 * second,
            slide_ns: second,
        },
        Shape::Cumulative {
            period_ns: 60 * second,
            slide_ns: second,
        },
        Shape::Session { gap_ns: second / 4 },
        Shape::Count { trades: 50 },
        Shape::Volume { qty: 10_000 },
    ];
    let window = |(index, shape): (usize, Shape)| DeclaredConfig {
        name: shape.name().into(),
        shape,
        lateness_ns: if index < 4 { second / 5 } else { 0 },
        revise: index < 3,
        policy: Policy::UsConsolidatedV1,
        aggregates: match index < 3 {
            true => vec![Aggregate::Sides, Aggregate::Sizes, Aggregate::Standing],
            false => vec![Aggregate::RealizedVariance, Aggregate::Sizes],
        },
        symbols: Vec::new(),
    };
    shapes.into_iter().enumerate().map(window).collect()
}

#[test]
fn nothing_is_allocated_after_construction() {
    const SYMBOLS: u64 = 500;
    let mut config = SuiteConfig::standard(SYMBOLS as usize);
    config.momentum.sigmas = 0.0;
    config.rules = vec![RuleConfig {
        name: "lean".into(),
        when: Condition::parse("imbalance > 0.5 and spread < 10bps for 1ms").unwrap(),
        order: Some(RuleOrder {
            side: Side::Buy,
            touch: Touch::Far,
            qty: Qty(100),
            cooldown_ns: 0,
        }),
    }];
    config.declared = declared();
    config.regimes = regimes();
    config.monitors = monitors();
    config.patterns = patterns();
    config.joins = joins();
    config.instruments = vec![InstrumentConfig {
        name: "i".into(),
        members: (1..=3).map(name).collect(),
        fresh_ns: 5_000_000,
        hold_ns: 100_000,
        says: true,
    }];
    let mut suites = Suites::new(config);
    for symbol in 1..=200 {
        suites.on_member(symbol, name(symbol), 0);
    }
    let mut risk = Risk::new(RiskConfig::default(), SYMBOLS as usize);
    let (mut out, mut intents) = (Outbox::new(), Intents::new());
    let (mut signal_count, mut order_count) = (0, 0);
    let (mut row_count, mut best_count) = (0, 0);

    let before = COUNT.get();
    let mut word = 1u64;
    for index in 0..400_000u64 {
        // Xorshift (Marsaglia 2003).
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        let now = Ts(1_767_571_200_000_000_000 + index as i64 * 100_000);
        if index % 1000 == 0 {
            suites.on_watermark(now, index, &mut out, |out| {
                signal_count += out.signals().len();
                let is_row = |said: &&bus::Signal| said.kind == SignalKind::Join;
                row_count += out.signals().iter().filter(is_row).count();
                out.clear();
            });
            continue;
        }
        let symbol = 1 + (word % SYMBOLS) as u32;
        let mut event = Event {
            ts_event: now,
            seq: index,
            symbol,
            ..Event::new(Kind::Add)
        };
        let mid = 100 * Price::SCALE + (word >> 32) as i64 % 500 * Price::SCALE / 1000;
        let half = if word & 0x700 == 0 {
            Price::SCALE / 5
        } else {
            Price::SCALE / 100
        };
        let quote = Quote {
            bid: Price(mid - half),
            ask: Price(mid + half),
            bid_qty: Qty((word >> 20) as i64 % 900 + 100),
            ask_qty: Qty((word >> 40) as i64 % 900 + 100),
        };
        let mut applied = Applied {
            quote_changed: true,
            ..Applied::NOTHING
        };
        if word & 0x3000 == 0 {
            event.kind = Kind::Trade;
            event.order_b = index;
            applied.fill = Fill {
                price: Price(mid),
                qty: Qty(100),
                aggressor: Side::Buy,
            };
        }
        if word & 0x7f_0000 == 0 {
            event.kind = Kind::Break;
            event.order_b = index - 1;
        }
        out.at(now, index, symbol);
        // Orders that come and go: each symbol has some that are not known, and too many.
        event.side = if word & 2 == 0 { Side::Buy } else { Side::Sell };
        (event.order, event.price, event.qty) = (word % 4_000, Price(mid), Qty(100));
        if event.kind == Kind::Add {
            event.order_b = word % 5;
            event.flags = Flags::ATTRIBUTED;
            event.kind = [Kind::Add, Kind::Delete, Kind::Replace][word as usize / 64 % 3];
        }
        suites.watch(&event, &applied, false, true, &mut out);
        let phase = Phase::Trading;
        suites.on_event(
            &event,
            &applied,
            &quote,
            phase,
            false,
            &mut out,
            &mut intents,
        );
        for intent in &intents {
            let checked = risk.check(symbol, now, intent, &quote, phase, false);
            order_count += checked.is_ok() as usize;
        }
        signal_count += out.signals().len();
        let kinds = |kind| {
            out.signals()
                .iter()
                .filter(|said| said.kind == kind)
                .count()
        };
        best_count += kinds(SignalKind::Best);
        out.clear();
        intents.clear();
    }
    suites.finish(400_000, &mut out, |out| {
        signal_count += out.signals().len();
        out.clear();
    });
    let allocated = COUNT.get() - before;

    assert!(suites.dropped_matches() > 100, "some are one too many");
    let joined = suites.join_counts();
    assert!(joined.dropped > 100 && joined.beyond > 100, "{joined:?}");
    assert!(
        best_count > 500 && row_count > 1_000,
        "{best_count} {row_count}"
    );
    assert!(
        signal_count > 10_000 && order_count > 100,
        "{signal_count} {order_count}"
    );
    assert_eq!(
        allocated, 0,
        "for {signal_count} signals and {order_count} orders"
    );
}

#[test]
fn memory_is_reserved_at_start_and_is_as_much_as_is_said() {
    let reserved = |symbols: usize| {
        let mut config = SuiteConfig::standard(symbols);
        config.rules = vec![RuleConfig {
            name: "lean".into(),
            when: Condition::parse("imbalance > 0.5").unwrap(),
            order: None,
        }];
        config.declared = declared();
        config.regimes = regimes();
        config.monitors = monitors();
        config.patterns = patterns();
        let before = BYTES.get();
        let suites = Suites::new(config);
        (BYTES.get() - before, suites.bytes_per_symbol())
    };
    let ((small, bytes), (large, same)) = (reserved(1_000), reserved(3_000));
    assert_eq!(bytes, same);
    let each = (large - small) as f64 / 2_000.0;
    println!("{each} bytes reserved for each symbol, {bytes} said");
    // Beside it, a block of 64 symbols has a time of its own, 8 bytes.
    assert!((each - bytes as f64).abs() < 1.0, "{each} and {bytes}");
}
