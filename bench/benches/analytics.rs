//! What does each analytic cost on top of the book, by the number of symbols and of windows, and what
//! does it take of memory?
//!
//! The books run once, beforehand; what they said of each event is then played to the analytics, so
//! that little else is measured. `loop` is what the playing costs. Each round plays a session's first
//! quarter before it looks at the time, so that symbols have appeared and windows are open.
//!
//! `bench/cost.py` runs this and writes the pages' tables. Its lines begin with `row`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use analytics::expr::Value;
use analytics::momentum::{self, Momentum};
use analytics::regime::{self, Regime};
use analytics::rule::{self, Rules};
use analytics::spread::Spread;
use analytics::strategies::{
    Pairs, QueueImbalance, SpreadCapture, StrategyConfig, StrategyKind, VwapReversion,
};
use analytics::suite::{Analytic, Moment};
use analytics::vwap::{self, Vwap};
use analytics::{
    Aggregate, Bps, By, ChangeConfig, Condition, DeclaredConfig, FeatureConfig, FeatureSource,
    GarchConfig, HmmConfig, InstrumentConfig, Intents, JoinConfig, JoinKind, Known, Limit, Measure,
    ModelConfig, ModelKind, MonitorConfig, Pattern, PatternConfig, Policy, Right, RuleConfig,
    Shape, Stream as Joined, SuiteConfig, Suites, Take, Touch, View, Watch, matters,
};
use bench::{Stream, fold, is_measuring};
use book::{Books, BooksConfig, Depth};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Applied, Event, Outbox, Phase, Price, Qty, Quote, Ts};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

const TICK_NS: i64 = 100_000_000;
/// How far ahead a shard asks for a symbol's place, and for its state.
const FAR_EVENTS: usize = 16;
const NEAR_EVENTS: usize = 8;

/// An event, and what the books say after it.
struct Step {
    event: Event,
    applied: Applied,
    quote: Quote,
    phase: Phase,
    stale: bool,
}

/// A session that the books have seen.
struct Session {
    /// How many there are, and the highest number: venues leave numbers out.
    count: u32,
    symbols: usize,
    steps: Vec<Step>,
}

impl Session {
    fn new(count: u32) -> Session {
        let messages = if is_measuring() { 1_500_000 } else { 10_000 };
        let events = Stream::new(count, messages).events();
        let config = BooksConfig {
            orders_max: 2 << 20,
            levels_max: 2 << 20,
            symbols_max: 1 << 16,
            depth: Depth::L3,
        };
        let mut books = Books::new(config).expect("memory for the books");
        let mut steps = Vec::with_capacity(events.len());
        books.apply_block(&events, |books, event, applied| {
            if !event.kind.is_for_all() && event.symbol > 0 {
                steps.push(Step {
                    event: *event,
                    applied,
                    quote: books.quote(event.symbol),
                    phase: books.phase(event.symbol),
                    stale: books.is_stale(event.symbol),
                });
            }
        });
        let symbols = steps.iter().map(|step| step.event.symbol).max();
        Session {
            count,
            symbols: symbols.unwrap_or(0) as usize,
            steps,
        }
    }

    fn warm(&self) -> usize {
        self.steps.len() / 4
    }

    /// The symbols of which most is heard, by what [`letters`] calls them.
    fn busiest(&self, count: usize) -> Vec<[u8; 8]> {
        let mut counts = vec![0; self.symbols + 1];
        for step in self.steps.iter().filter(|s| matters(&s.event, &s.applied)) {
            counts[step.event.symbol as usize] += 1;
        }
        let mut order: Vec<usize> = (1..counts.len()).collect();
        order.sort_by_key(|symbol| std::cmp::Reverse(counts[*symbol]));
        order.truncate(count);
        order.into_iter().map(letters).collect()
    }
}

/// A symbol's number as its name.
fn letters(symbol: usize) -> [u8; 8] {
    let mut letters = [b' '; 8];
    let text = symbol.to_string();
    letters[..text.len()].copy_from_slice(text.as_bytes());
    letters
}

/// What is played to.
trait Player {
    fn new(symbols: usize, config: &SuiteConfig) -> Self;
    fn ahead(&self, _far: Option<&Event>, _near: Option<&Event>) {}
    fn step(&mut self, step: &Step);
    fn tick(&mut self, now: Ts);
    fn bytes_per_symbol(&self) -> usize;
    fn sum(&self) -> u64;
}

fn play<P: Player>(player: &mut P, steps: &[Step]) {
    let first = steps.first().map_or(Ts(0), |step| step.event.ts_event);
    let mut tick = first.floor(TICK_NS).plus_ns(TICK_NS);
    for (index, step) in steps.iter().enumerate() {
        let (far, near) = (index + FAR_EVENTS, index + NEAR_EVENTS);
        let event = |index: usize| steps.get(index).map(|step| &step.event);
        player.ahead(event(far), event(near));
        player.step(step);
        if step.event.ts_event >= tick {
            player.tick(tick);
            tick = step.event.ts_event.floor(TICK_NS).plus_ns(TICK_NS);
        }
    }
}

/// All analytics of a configuration, as a shard runs them.
struct Whole {
    suites: Suites,
    out: Outbox,
    intents: Intents,
    watches: bool,
    sum: u64,
}

fn take(out: &mut Outbox, sum: &mut u64) {
    for signal in out.signals() {
        let bytes = signal.as_bytes().as_chunks::<8>().0;
        let words = bytes.iter().map(|bytes| u64::from_le_bytes(*bytes));
        *sum = words.fold(*sum, fold);
    }
    out.clear();
}

impl Player for Whole {
    fn new(symbols: usize, config: &SuiteConfig) -> Whole {
        let mut suites = Suites::new(config.clone());
        for (number, name) in (1..).zip(config.joins.iter().flat_map(|join| &join.symbols)) {
            suites.on_member(number, *name, 0);
        }
        let names_them = !config.strategies.is_empty() || !config.instruments.is_empty();
        let is_named = config.joins.is_empty() && names_them;
        for symbol in (1..=symbols).filter(|_| is_named) {
            suites.on_member(symbol as u32, letters(symbol), 0);
        }
        Whole {
            watches: suites.watches(),
            suites,
            out: Outbox::new(),
            intents: Intents::new(),
            sum: 0,
        }
    }

    #[inline(always)]
    fn ahead(&self, far: Option<&Event>, near: Option<&Event>) {
        if let Some(event) = far {
            self.suites.prefetch_place(event.symbol);
        }
        if let Some(event) = near {
            self.suites.prefetch_state(event);
        }
    }

    #[inline(always)]
    fn step(&mut self, step: &Step) {
        let (out, intents) = (&mut self.out, &mut self.intents);
        let Step {
            event,
            applied,
            quote,
            phase,
            stale,
        } = step;
        if self.watches {
            out.at(event.ts_event, event.seq, event.symbol);
            self.suites.watch(event, applied, *stale, true, out);
            if !out.is_empty() {
                take(out, &mut self.sum);
            }
        }
        if !matters(event, applied) {
            return;
        }
        out.at(event.ts_event, event.seq, event.symbol);
        self.suites
            .on_event(event, applied, quote, *phase, *stale, out, intents);
        if !(out.is_empty() && intents.is_empty()) {
            take(out, &mut self.sum);
            intents.clear();
            while self.suites.is_away() {
                self.suites.take_away(intents);
                self.sum = fold(self.sum, intents.as_slice().len() as u64);
                intents.clear();
            }
        }
    }

    fn tick(&mut self, now: Ts) {
        let sum = &mut self.sum;
        self.suites
            .on_watermark(now, 0, &mut self.out, |out| take(out, sum));
    }

    fn bytes_per_symbol(&self) -> usize {
        self.suites.bytes_per_symbol()
    }

    fn sum(&self) -> u64 {
        self.sum
    }
}

/// Nothing at all: what the playing costs.
struct Loop {
    sum: u64,
}

impl Player for Loop {
    fn new(_: usize, _: &SuiteConfig) -> Loop {
        Loop { sum: 0 }
    }

    #[inline(always)]
    fn step(&mut self, step: &Step) {
        if matters(&step.event, &step.applied) {
            self.sum = fold(self.sum, (step.quote.bid.0 ^ step.quote.ask_qty.0) as u64);
        }
    }

    fn tick(&mut self, _: Ts) {}

    fn bytes_per_symbol(&self) -> usize {
        0
    }

    fn sum(&self) -> u64 {
        self.sum
    }
}

/// An analytic that can be had alone.
trait Plain: Analytic + Sized {
    fn common(symbols: usize, config: &SuiteConfig) -> Self::Common;
    /// Beside its own size.
    fn shared_bytes(_: &SuiteConfig) -> usize {
        0
    }
}

impl Plain for Vwap {
    fn common(symbols: usize, config: &SuiteConfig) -> vwap::Common {
        vwap::Common::new(&config.windows, symbols + 1)
    }

    fn shared_bytes(config: &SuiteConfig) -> usize {
        vwap::Common::new(&config.windows, 1).bytes_per_symbol()
    }
}

impl Plain for Spread {
    fn common(_: usize, config: &SuiteConfig) -> analytics::SpreadConfig {
        config.spread.clone()
    }
}

impl Plain for Regime {
    fn common(_: usize, config: &SuiteConfig) -> regime::Common {
        regime::Common::new(config.regime.clone(), false)
    }
}

impl Plain for Momentum {
    fn common(_: usize, config: &SuiteConfig) -> momentum::Common {
        momentum::Common::new(config.momentum.clone())
    }
}

impl Plain for Rules {
    fn common(symbols: usize, config: &SuiteConfig) -> rule::Common {
        rule::Common::new(config.rules.clone(), &[], symbols + 1)
    }

    fn shared_bytes(config: &SuiteConfig) -> usize {
        rule::Common::new(config.rules.clone(), &[], 1).bytes_per_symbol()
    }
}

/// Looks at nothing.
struct Nothing;

impl Analytic for Nothing {
    type Common = ();

    fn new((): &mut ()) -> Nothing {
        Nothing
    }

    #[inline(always)]
    fn on_event(&mut self, (): &mut (), _: &Moment, _: &mut View, _: &mut Outbox, _: &mut Intents) {
    }

    fn save(&self, (): &(), _: &mut StateWriter<'_>) {}

    fn load((): &mut (), _: &mut StateReader<'_>) -> Result<Nothing, StateError> {
        Ok(Nothing)
    }
}

impl Plain for Nothing {
    fn common(_: usize, _: &SuiteConfig) {}
}

/// One analytic with a view of each symbol, and the ticks that are its own.
struct Alone<A: Plain> {
    common: A::Common,
    all: Vec<(View, A)>,
    due: Vec<Ts>,
    watermark: Ts,
    bytes: usize,
    out: Outbox,
    intents: Intents,
    sum: u64,
}

impl<A: Plain> Player for Alone<A> {
    fn new(symbols: usize, config: &SuiteConfig) -> Alone<A> {
        let mut common = A::common(symbols, config);
        let one = |_| (View::EMPTY, A::new(&mut common));
        Alone {
            all: (0..=symbols).map(one).collect(),
            common,
            due: vec![Ts::MAX; symbols + 1],
            watermark: Ts::MIN,
            bytes: size_of::<A>() + A::shared_bytes(config),
            out: Outbox::new(),
            intents: Intents::new(),
            sum: 0,
        }
    }

    #[inline(always)]
    fn step(&mut self, step: &Step) {
        let Step {
            event,
            applied,
            quote,
            phase,
            stale,
        } = step;
        if !matters(event, applied) {
            return;
        }
        let (out, intents) = (&mut self.out, &mut self.intents);
        let (view, analytic) = &mut self.all[event.symbol as usize];
        out.at(event.ts_event, event.seq, event.symbol);
        analytic.on_time(&mut self.common, event.ts_event, view, out);
        let moved = view.quote.bid != quote.bid
            || view.quote.ask != quote.ask
            || view.phase != *phase
            || view.stale != *stale;
        let moment = Moment {
            event,
            applied,
            moved,
            watermark: self.watermark,
        };
        (view.quote, view.phase, view.stale) = (*quote, *phase, *stale);
        analytic.on_event(&mut self.common, &moment, view, out, intents);
        self.due[event.symbol as usize] = analytic.due();
        if !(out.is_empty() && intents.is_empty()) {
            take(out, &mut self.sum);
            intents.clear();
        }
    }

    fn tick(&mut self, now: Ts) {
        self.watermark = now;
        for (symbol, due) in self.due.iter_mut().enumerate() {
            if *due <= now {
                let (view, analytic) = &mut self.all[symbol];
                self.out.at(now, 0, symbol as u32);
                analytic.on_time(&mut self.common, now, view, &mut self.out);
                analytic.on_watermark(&mut self.common, now, view, &mut self.out);
                *due = analytic.due();
                take(&mut self.out, &mut self.sum);
            }
        }
    }

    fn bytes_per_symbol(&self) -> usize {
        self.bytes
    }

    fn sum(&self) -> u64 {
        self.sum
    }
}

/// Measures one row. `base` is the row that it is to be compared with, `parts` into how many the
/// difference is divided.
fn row<P: Player>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    base: &str,
    parts: usize,
    session: &Session,
    config: &SuiteConfig,
) {
    let (warm, timed) = session.steps.split_at(session.warm());
    let round = || {
        let mut player = P::new(session.symbols, config);
        play(&mut player, warm);
        let began = Instant::now();
        play(&mut player, black_box(timed));
        // Without a look at it, a loop that does nothing else is left out.
        let sum = black_box(player.sum());
        let took = began.elapsed();
        (took, sum, player.bytes_per_symbol())
    };
    let (_, sum, bytes) = round();
    let (events, matter) = (
        timed.len(),
        timed.iter().filter(|s| matters(&s.event, &s.applied)),
    );
    println!(
        "row {name} base {base} parts {parts} symbols {} events {events} matter {} bytes {bytes} \
         checksum {sum:016x}",
        session.count,
        matter.count(),
    );
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| (0..iterations).map(|_| round().0).sum::<Duration>())
    });
}

fn standard(session: &Session) -> SuiteConfig {
    SuiteConfig::standard(session.symbols)
}

fn analytics_bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("analytics");
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(100));
    group.measurement_time(Duration::from_millis(1_000));
    let group = &mut group;
    for symbols in [100, 10_000, 1_000] {
        let session = Session::new(symbols);
        let config = standard(&session);
        let name = format!("loop_{symbols}");
        row::<Loop>(group, &name, "-", 1, &session, &config);
        row::<Whole>(
            group,
            &format!("suite_{symbols}"),
            &name,
            1,
            &session,
            &config,
        );
        if symbols == 1_000 {
            plain(group, &session, &config);
            declared(group, &session, &config);
        }
    }
}

/// Each of the suite alone.
fn plain(group: &mut BenchmarkGroup<'_, WallTime>, session: &Session, config: &SuiteConfig) {
    let base = "alone_nothing";
    row::<Alone<Nothing>>(group, base, "-", 1, session, config);
    row::<Alone<Vwap>>(group, "alone_windows", base, 1, session, config);
    row::<Alone<Spread>>(group, "alone_spread", base, 1, session, config);
    row::<Alone<Regime>>(group, "alone_regime", base, 1, session, config);
    row::<Alone<Momentum>>(group, "alone_momentum", base, 1, session, config);
    let mut config = config.clone();
    let when = "spread > 5bps and regime == 'stressed' for 200ms";
    config.rules = vec![RuleConfig {
        name: "wide".into(),
        when: Condition::parse(when).expect("a condition"),
        order: None,
    }];
    row::<Alone<Rules>>(group, "alone_rule", base, 1, session, &config);
}

/// What is declared beside, each on top of the suite.
fn declared(group: &mut BenchmarkGroup<'_, WallTime>, session: &Session, plain: &SuiteConfig) {
    let second = Ts::SECOND_NS;
    let window = |shape: Shape, aggregates: &[Aggregate]| DeclaredConfig {
        name: shape.name().into(),
        shape,
        lateness_ns: 0,
        revise: false,
        policy: Policy::AsPrinted,
        aggregates: aggregates.to_vec(),
        symbols: Vec::new(),
    };
    let mut one = |name: &str, parts: usize, change: &dyn Fn(&mut SuiteConfig)| {
        let mut config = plain.clone();
        change(&mut config);
        row::<Whole>(group, name, "suite_1000", parts, session, &config);
    };
    let sliding = Shape::Sliding {
        size_ns: 10 * second,
        slide_ns: second,
    };
    for count in [1, 10, 100] {
        let windows = vec![window(sliding, &[]); count];
        one(&format!("windows_{count}"), count, &|config| {
            config.declared = windows.clone();
        });
    }
    let shapes = [
        Shape::Tumbling { size_ns: second },
        Shape::Cumulative {
            period_ns: 60 * second,
            slide_ns: second,
        },
        Shape::Session { gap_ns: second },
        Shape::Count { trades: 50 },
        Shape::Volume { qty: 10_000 },
    ];
    for shape in shapes {
        one(&format!("window_{}", shape.name()), 1, &|config| {
            config.declared = vec![window(shape, &[])];
        });
    }
    for (name, aggregate) in [
        ("sides", Aggregate::Sides),
        ("variance", Aggregate::RealizedVariance),
        ("sizes", Aggregate::Sizes),
        ("standing", Aggregate::Standing),
    ] {
        one(&format!("aggregate_{name}"), 1, &|config| {
            config.declared = vec![window(sliding, &[aggregate])];
        });
    }
    for (name, watch) in [
        ("quoted", Watch::Quoted),
        ("effective", Watch::Effective),
        ("realised", Watch::Realised { horizon_ns: second }),
        ("locked", Watch::Locked),
    ] {
        let monitor = MonitorConfig {
            name: name.into(),
            watch,
            threshold: Limit::Share(Bps::whole(20)),
            hold_ns: 0,
            clear: Limit::Share(Bps::whole(10)),
            clear_hold_ns: 0,
            rearm_ns: 0,
        };
        one(&format!("monitor_{name}"), 1, &|config| {
            config.monitors = vec![monitor.clone()];
        });
    }
    let right = Right {
        stream: Joined::Quotes,
        symbol: None,
        keep: 1_024,
    };
    let as_of = JoinKind::AsOf {
        right,
        tolerance_ns: second,
    };
    let interval = JoinKind::Interval {
        right,
        before_ns: second / 1_000,
        after_ns: second / 1_000,
        rows_max: 64,
    };
    for (name, kind) in [("asof", as_of), ("interval", interval)] {
        // Any name does: numbers have them in this order.
        let symbols = (1..=session.symbols as u64).map(u64::to_be_bytes);
        let join = JoinConfig {
            name: name.into(),
            kind,
            left: Joined::Trades,
            symbols: symbols.collect(),
            unmatched: true,
        };
        one(&format!("join_{name}"), 1, &|config| {
            config.joins = vec![join.clone()];
        });
    }
    let nothing = Pattern::parse("cross times 2 within 1s").expect("a pattern");
    let stuffing = Known::QuoteStuffing {
        messages: 200,
        age_ns: second / 20,
    };
    let layering = Known::Layering {
        layers: 5,
        cancels: 5,
        away_bps: 10.0,
    };
    for (name, pattern) in [
        ("none_seen", nothing),
        ("stuffing", stuffing.pattern(second).expect("a pattern")),
        ("layering", layering.pattern(5 * second).expect("a pattern")),
    ] {
        one(&format!("pattern_{name}"), 1, &|config| {
            config.patterns = vec![PatternConfig {
                name: name.into(),
                pattern: pattern.clone(),
                by: By::Symbol,
                partial_max: 16,
                orders: 256,
            }];
        });
    }
    let value = |text| FeatureSource::Value(Value::parse(text).expect("a number"));
    let features = [
        value("imbalance"),
        value("spread_bps"),
        value("(last - vwap) / vwap"),
        value("sigma_bps"),
        FeatureSource::Window {
            rule: 0,
            take: Take::Vwap,
        },
        FeatureSource::Window {
            rule: 0,
            take: Take::Volume,
        },
        FeatureSource::Regime { rule: 0 },
        FeatureSource::Alert { rule: 0 },
    ];
    let feature = |source: &FeatureSource| FeatureConfig {
        name: "feature".into(),
        source: source.clone(),
    };
    one("features_8", 1, &|config| {
        config.features = features.iter().map(feature).collect();
    });
    // A test's session has symbols for fewer than 64.
    let busiest = session.busiest(64 * InstrumentConfig::MEMBERS_MAX);
    for (name, count, members) in [("instrument", 1, 2), ("instruments_64", 64, 8)] {
        let members = busiest.chunks_exact(members).take(count);
        let instruments: Vec<_> = (members.enumerate())
            .map(|(index, members)| InstrumentConfig {
                name: index.to_string(),
                members: members.to_vec(),
                fresh_ns: 5 * second,
                hold_ns: second / 1_000,
                says: true,
            })
            .collect();
        one(name, 1, &|config| {
            config.instruments = instruments.clone();
        });
    }
    let strategies = [
        (
            "queue",
            StrategyKind::QueueImbalance(QueueImbalance {
                enter: 0.8,
                leave: 0.4,
            }),
        ),
        (
            "vwap",
            StrategyKind::VwapReversion(VwapReversion {
                enter: Bps::whole(20),
                leave: Bps::whole(5),
                trades_min: 100,
            }),
        ),
        (
            "quote",
            StrategyKind::SpreadCapture(SpreadCapture {
                spread_min: Bps::whole(5),
                tick: Price(10_000_000),
                inside: 1,
                skew: 2,
                inventory_max: Qty(500),
                life_ns: second,
            }),
        ),
        (
            "pair",
            StrategyKind::Pairs(Pairs {
                legs: [busiest[0], busiest[1]],
                hedge: 1.0,
                period_ns: second,
                half_life_ns: 300 * second,
                enter: 2.0,
                leave: 0.5,
                samples_min: 60,
                fresh_ns: 5 * second,
                other_qty: Qty(100),
            }),
        ),
    ];
    for (name, kind) in strategies {
        one(&format!("strategy_{name}"), 1, &|config| {
            config.strategies = vec![StrategyConfig {
                name: name.into(),
                kind: kind.clone(),
                touch: Touch::Far,
                qty: Qty(100),
                cooldown_ns: 5 * second,
            }];
        });
    }
    let models = [
        ModelKind::Garch(GarchConfig {
            alpha: 0.1,
            beta: 0.85,
            long_run_bps: None,
        }),
        ModelKind::Hmm(HmmConfig {
            sigmas: vec![0.5, 2.0],
            stay: 0.98,
            confidence: 0.8,
        }),
        ModelKind::Changes(ChangeConfig {
            expected: 250.0,
            run_max: 128,
            prior_bps: 1.0,
        }),
    ];
    for (name, model) in ["garch", "hmm", "changes"].into_iter().zip(models) {
        let regime = ModelConfig {
            name: name.into(),
            sample_ns: second,
            warmup_samples: 60,
            baseline_ns: 600 * second,
            measure: Measure::Baseline,
            stressed: 2.0,
            calm: 0.5,
            hysteresis: 0.2,
            floor_bps: 0.2,
            model,
        };
        one(&format!("regime_{name}"), 1, &|config| {
            config.regimes = vec![regime.clone()];
        });
    }
}

criterion_group!(benches, analytics_bench);
criterion_main!(benches);
