//! Pairs against a plain recomputation from all samples, and from a state saved anywhere.

use analytics::strategies::{Pairs, StrategyConfig, StrategyKind};
use analytics::{FeatureConfig, FeatureSource, Intent, Intents, SuiteConfig, Suites, Touch, expr};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Applied, Event, Kind, Outbox, Phase, Price, Qty, Quote, Side, Ts};

use crate::streams::Random;

const SECOND_NS: i64 = 1_000_000_000;
const CENT: i64 = Price::SCALE / 100;

fn pairs() -> Pairs {
    Pairs {
        legs: [*b"A       ", *b"B       "],
        hedge: 1.3,
        period_ns: SECOND_NS,
        half_life_ns: 20 * SECOND_NS,
        enter: 1.5,
        leave: 0.4,
        samples_min: 8,
        fresh_ns: 3 * SECOND_NS,
        other_qty: Qty(7),
    }
}

fn suite(settings: Pairs) -> SuiteConfig {
    let mut config = SuiteConfig::standard(3);
    config.momentum.enabled = false;
    config.strategies = vec![StrategyConfig {
        name: "pair".into(),
        kind: StrategyKind::Pairs(settings),
        touch: Touch::Far,
        qty: Qty(10),
        cooldown_ns: 4 * SECOND_NS,
    }];
    config.features = vec![FeatureConfig {
        name: "bid".into(),
        source: FeatureSource::Value(expr::Value::parse("bid").unwrap()),
    }];
    config
}

#[derive(Clone, Copy, Debug)]
struct Step {
    symbol: u32,
    ts: Ts,
    quote: Quote,
    phase: Phase,
}

/// What was wanted: at which step, of which symbol, which side, limit and quantity.
type Wanted = (usize, u32, Side, Price, Qty);

struct Run {
    suites: Suites,
    out: Outbox,
    wanted: Vec<Wanted>,
}

impl Run {
    fn new(config: &SuiteConfig) -> Run {
        Run {
            suites: Suites::new(config.clone()),
            out: Outbox::new(),
            wanted: Vec::new(),
        }
    }

    fn named(mut self) -> Run {
        for (symbol, letter) in [(1, b'A'), (2, b'X'), (3, b'B')] {
            let mut name = [b' '; 8];
            name[0] = letter;
            self.suites.on_member(symbol, name, 0);
        }
        self
    }

    fn step(&mut self, index: usize, step: &Step) {
        let event = Event {
            ts_event: step.ts,
            seq: index as u64 + 1,
            symbol: step.symbol,
            ..Event::new(Kind::Add)
        };
        let applied = Applied {
            quote_changed: true,
            ..Applied::NOTHING
        };
        let mut intents = Intents::new();
        self.out.at(step.ts, event.seq, step.symbol);
        let (out, quote) = (&mut self.out, &step.quote);
        self.suites.on_event(
            &event,
            &applied,
            quote,
            step.phase,
            false,
            out,
            &mut intents,
        );
        let wanted = &mut self.wanted;
        let mut take = |symbol: u32, intents: &mut Intents| {
            let of = |i: &Intent| (index, symbol, i.side, i.price, i.qty);
            wanted.extend(intents.iter().map(of));
            intents.clear();
        };
        let is_any = !intents.is_empty();
        take(step.symbol, &mut intents);
        assert_eq!(is_any, self.suites.is_away(), "both legs or none");
        while let Some(symbol) = self.suites.take_away(&mut intents) {
            self.out.clear();
            self.out.at(step.ts, event.seq, symbol);
            self.suites.say_away(symbol, &mut self.out, &intents);
            assert_eq!(
                self.out.signals().len(),
                1,
                "what the other leg's order saw"
            );
            take(symbol, &mut intents);
        }
        self.out.clear();
    }

    fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.suites.save_shared(&mut out);
        self.suites.save_joint(&mut out);
        (1..=3).for_each(|symbol| self.suites.save(symbol, &mut out));
        out.finish().unwrap();
        bytes
    }

    fn load(&mut self, bytes: &[u8], keep: impl Fn(u32) -> bool) {
        let mut from = StateReader::new(bytes, Versions::NEWEST);
        self.suites.load_shared(&mut from).unwrap();
        self.suites.load_joint(&mut from, keep).unwrap();
        (1..=3).for_each(|symbol| self.suites.load(symbol, &mut from).unwrap());
        from.end().unwrap();
    }
}

/// Two prices that wander with each other, and one beside; some halts, one-sided books and pauses.
fn stream(seed: u64, count: usize) -> Vec<Step> {
    let random = &mut Random(seed);
    let (mut ts, mut common, mut own) = (Ts(1_767_605_400 * SECOND_NS), 0.0, 0.0);
    let mut steps = Vec::new();
    for _ in 0..count {
        common += 0.0004 * random.normal();
        own = 0.98 * own + 0.0006 * random.normal();
        ts = ts.plus_ns(match random.below(40) {
            0 => 5 * SECOND_NS,
            1 => -SECOND_NS / 5,
            _ => random.below(SECOND_NS),
        });
        let symbol = 1 + random.below(3) as u32;
        let fair: f64 = match symbol {
            1 => 80.0 * (1.0 + 1.3 * common + own),
            _ => 40.0 * (1.0 + common),
        };
        let bid = (fair * 100.0) as i64 * CENT;
        let mut quote = Quote {
            bid: Price(bid),
            ask: Price(bid + (1 + random.below(3)) * CENT),
            bid_qty: Qty(100),
            ask_qty: Qty(200),
        };
        if random.below(50) == 0 {
            quote.ask = Price::NONE;
        }
        let phase = match random.below(60) {
            0 => Phase::Halted,
            _ => Phase::Trading,
        };
        steps.push(Step {
            symbol,
            ts,
            quote,
            phase,
        });
    }
    steps
}

/// Weights and squares of all samples anew at each event. `None` where a z-score is too near a limit
/// for two ways of rounding to agree.
fn plain(steps: &[Step], settings: &Pairs, cooldown_ns: i64) -> Option<Vec<Wanted>> {
    let alpha = 1.0 - (-(settings.period_ns as f64) / settings.half_life_ns as f64).exp2();
    let mut latest: [Option<(Ts, Step)>; 2] = [None, None];
    let (mut samples, mut wanted): (Vec<f64>, Vec<Wanted>) = (Vec::new(), Vec::new());
    let (mut period, mut side, mut rest_until) = (None, Side::None, Ts::MIN);
    for (index, step) in steps.iter().enumerate() {
        let Some(leg) = [1, 3].iter().position(|symbol| *symbol == step.symbol) else {
            continue;
        };
        let before = latest.iter().flatten().map(|(ts, _)| *ts).max();
        let now = step.ts.max(before.unwrap_or(step.ts));
        let spread = |latest: &[Option<(Ts, Step)>; 2]| -> Option<f64> {
            let mut logs = [0.0; 2];
            for (log, leg) in logs.iter_mut().zip(latest) {
                let (ts, Step { quote, phase, .. }) = (*leg)?;
                let is_sound = phase == Phase::Trading && quote.is_open();
                if !is_sound || now.since(ts) > settings.fresh_ns {
                    return None;
                }
                *log = ((quote.bid.0 + quote.ask.0) as f64).ln();
            }
            Some(logs[0] - settings.hedge * logs[1])
        };
        let this = now.0.div_euclid(settings.period_ns);
        if period.is_none_or(|period| this > period) {
            samples.extend(spread(&latest));
            period = Some(this);
        }
        let ts = latest[leg].map_or(step.ts, |(ts, _)| ts.max(step.ts));
        latest[leg] = Some((ts, *step));
        let Some(spread) = spread(&latest) else {
            continue;
        };
        if samples.len() < settings.samples_min as usize || now < rest_until {
            continue;
        }
        let last = samples.len() - 1;
        let weight = |i: usize| match i {
            0 => (1.0 - alpha).powi(last as i32),
            _ => alpha * (1.0 - alpha).powi((last - i) as i32),
        };
        let mean: f64 = samples.iter().enumerate().map(|(i, s)| weight(i) * s).sum();
        let squares = |(i, s): (usize, &f64)| weight(i) * (s - mean) * (s - mean);
        let variance: f64 = samples.iter().enumerate().map(squares).sum();
        let z = (spread - mean) / variance.sqrt();
        let limits = [
            settings.enter,
            -settings.enter,
            settings.leave,
            -settings.leave,
        ];
        if limits.iter().any(|limit| (z - limit).abs() < 1e-7) {
            return None;
        }
        let (first, then) = match side {
            Side::None if z > settings.enter => (Side::Sell, Side::Sell),
            Side::None if z < -settings.enter => (Side::Buy, Side::Buy),
            Side::Sell if z < settings.leave => (Side::Buy, Side::None),
            Side::Buy if z > -settings.leave => (Side::Sell, Side::None),
            _ => continue,
        };
        (side, rest_until) = (then, now.plus_ns(cooldown_ns));
        for at in [leg, 1 - leg] {
            let (_, Step { symbol, quote, .. }) = latest[at].unwrap();
            let is_buy = (first == Side::Buy) == (at == 0);
            let (side, price) = match is_buy {
                true => (Side::Buy, quote.ask),
                false => (Side::Sell, quote.bid),
            };
            let qty = if at == 0 { Qty(10) } else { settings.other_qty };
            wanted.push((index, symbol, side, price, qty));
        }
    }
    Some(wanted)
}

#[test]
fn pairs_want_what_a_plain_recomputation_wants() {
    let (settings, config) = (pairs(), suite(pairs()));
    let (mut orders, mut compared) = (0, 0);
    for seed in 0..60 {
        let steps = stream(seed, 900);
        let mut run = Run::new(&config).named();
        for (index, step) in steps.iter().enumerate() {
            run.step(index, step);
        }
        if let Some(want) = plain(&steps, &settings, 4 * SECOND_NS) {
            assert_eq!(run.wanted, want, "seed {seed}");
            orders += want.len();
            compared += 1;
        }
    }
    assert!(compared > 50 && orders > 1_000, "{compared} {orders}");
}

#[test]
fn pairs_go_on_from_a_saved_state_on_the_shard_that_has_them() {
    let config = suite(pairs());
    for seed in 0..12 {
        let steps = stream(seed, 500);
        let mut whole = Run::new(&config).named();
        let mut cut = Run::new(&config).named();
        for (index, step) in steps.iter().enumerate() {
            whole.step(index, step);
            cut.step(index, step);
            if index % 37 == 36 {
                let (state, wanted) = (cut.save(), cut.wanted);
                // A shard that has neither leg takes nothing over.
                let mut other = Run::new(&config);
                other.load(&state, |symbol| symbol == 2);
                let empty = Run::new(&config);
                let joint = |run: &Run| {
                    let mut bytes = Vec::new();
                    let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
                    run.suites.save_joint(&mut out);
                    out.finish().unwrap();
                    bytes
                };
                assert_eq!(joint(&other), joint(&empty));
                cut = Run::new(&config);
                cut.load(&state, |symbol| symbol == 3);
                assert!(cut.save() == state, "seed {seed}, step {index}");
                cut.wanted = wanted;
            }
        }
        assert_eq!(cut.wanted, whole.wanted, "seed {seed}");
        assert!(whole.wanted.len() > 2, "seed {seed}");
    }
}

#[test]
fn lost_messages_stop_pairs_until_both_spoke_again() {
    let config = suite(pairs());
    let steps = stream(3, 900);
    let mut run = Run::new(&config).named();
    let mut left = [1, 3].to_vec();
    let mut is_lost = false;
    for (index, step) in steps.iter().enumerate() {
        let before = run.wanted.len();
        run.step(index, step);
        left.retain(|symbol| *symbol != step.symbol);
        if is_lost && !left.is_empty() {
            assert_eq!(run.wanted.len(), before, "step {index}");
        }
        if index % 50 == 0 {
            run.suites.on_gap();
            (is_lost, left) = (true, vec![1, 3]);
        }
    }
    assert!(run.wanted.len() > 10);
}

#[test]
fn pairs_that_make_no_sense_are_refused() {
    let problem = |change: fn(&mut Pairs)| {
        let mut settings = pairs();
        change(&mut settings);
        suite(settings).problem().expect("a problem")
    };
    assert!(problem(|p| p.legs[1] = p.legs[0]).contains("both legs are the same"));
    assert!(problem(|p| p.hedge = 0.0).contains("hedge 0, want one above 0"));
    assert!(problem(|p| p.hedge = f64::NAN).contains("hedge NaN"));
    assert!(problem(|p| p.half_life_ns = 1).contains("half-life"));
    assert!(problem(|p| p.leave = 2.0).contains("enter 1.5 and leave 2"));
    assert!(problem(|p| p.samples_min = 1).contains("at least 2"));
    assert!(problem(|p| p.other_qty = Qty(0)).contains("both quantities"));
}
