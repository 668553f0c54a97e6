//! Joins against a plain look at all records, and from a state saved anywhere.

use analytics::joins::Table;
use analytics::{Intents, JoinConfig, JoinCounts, JoinKind, Right, Stream, SuiteConfig, Suites};
use bus::signal::{Body, Join, JoinValue, Met};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Applied, Event, Fill, Flags, Kind, Outbox, Phase, Price, Qty, Quote, Side, Ts};

use crate::streams::Random;

const A: u32 = 1;
const B: u32 = 2;
const NAMES: [[u8; 8]; 2] = [*b"A       ", *b"B       "];

fn suite(join: JoinConfig) -> SuiteConfig {
    let mut config = SuiteConfig::standard(2);
    config.windows.truncate(1);
    config.momentum.enabled = false;
    config.joins = vec![join];
    config
}

fn right(stream: Stream, symbol: Option<[u8; 8]>, keep: usize) -> Right {
    Right {
        stream,
        symbol,
        keep,
    }
}

fn as_of(tolerance_ns: i64) -> JoinConfig {
    JoinConfig {
        name: "j".into(),
        kind: JoinKind::AsOf {
            right: right(Stream::Quotes, Some(NAMES[1]), 64),
            tolerance_ns,
        },
        left: Stream::Trades,
        symbols: vec![NAMES[0]],
        unmatched: true,
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// What happens to a symbol: it trades, or its quote changes, or both.
    Event {
        symbol: u32,
        ts: Ts,
        fill: Option<i64>,
        quote: Option<i64>,
    },
    Tick(Ts),
    Gap,
}

fn fill_of(qty: i64) -> Fill {
    Fill {
        price: Price(qty * 7),
        qty: Qty(qty),
        aggressor: Side::Buy,
    }
}

fn quote_of(level: i64) -> Quote {
    Quote {
        bid: Price(level),
        ask: Price(level + 2),
        bid_qty: Qty(level + 1),
        ask_qty: Qty(level + 3),
    }
}

/// A row, the step at which it was said, and the time it is of.
type Row = (u64, Ts, Join);

struct Run {
    config: SuiteConfig,
    suites: Suites,
    quotes: [Quote; 3],
    rows: Vec<Row>,
}

impl Run {
    fn new(config: SuiteConfig) -> Run {
        let mut suites = Suites::new(config.clone());
        for (symbol, name) in [(A, NAMES[0]), (B, NAMES[1])] {
            suites.on_member(symbol, name, 0);
        }
        Run {
            config,
            suites,
            quotes: [Quote::EMPTY; 3],
            rows: Vec::new(),
        }
    }

    /// Takes a step; with `visits`, a tick's visits wait for the next step.
    fn step(&mut self, out: &mut Outbox, seq: u64, step: &Step, visits_wait: bool) {
        let rows = &mut self.rows;
        match *step {
            Step::Event {
                symbol,
                ts,
                fill,
                quote,
            } => {
                let event = Event {
                    ts_event: ts,
                    seq,
                    symbol,
                    ..Event::new(Kind::Execute)
                };
                let now = &mut self.quotes[symbol as usize];
                let mut applied = Applied::NOTHING;
                applied.fill = fill.map_or(Fill::NONE, fill_of);
                if let Some(level) = quote {
                    *now = quote_of(level);
                    applied.quote_changed = true;
                }
                if self.suites.settle(symbol, out) {
                    take(rows, out);
                }
                out.at(ts, seq, symbol);
                let mut intents = Intents::new();
                let (suites, phase) = (&mut self.suites, Phase::Trading);
                suites.on_event(&event, &applied, now, phase, false, out, &mut intents);
                take(rows, out);
            }
            Step::Tick(watermark) => {
                self.suites.go_on(usize::MAX, out, |out| take(rows, out));
                self.suites.begin_tick(watermark, seq);
                let visits = if visits_wait { 0 } else { usize::MAX };
                self.suites.go_on(visits, out, |out| take(rows, out));
            }
            Step::Gap => {
                self.suites.go_on(usize::MAX, out, |out| take(rows, out));
                self.suites.on_gap();
            }
        }
    }

    fn finish(&mut self, out: &mut Outbox, seq: u64) {
        let rows = &mut self.rows;
        self.suites.go_on(usize::MAX, out, |out| take(rows, out));
        self.suites.finish(seq, out, |out| take(rows, out));
    }

    /// The same from its own state.
    fn again(&mut self) {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.suites.save_shared(&mut out);
        self.suites.save_joint(&mut out);
        (A..=B).for_each(|symbol| self.suites.save(symbol, &mut out));
        out.finish().unwrap();
        let fresh = Run::new(self.config.clone());
        self.suites = fresh.suites;
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        self.suites.load_shared(&mut from).unwrap();
        self.suites.load_joint(&mut from, |_| true).unwrap();
        (A..=B).for_each(|symbol| self.suites.load(symbol, &mut from).unwrap());
        from.end().unwrap();
    }
}

fn take(rows: &mut Vec<Row>, out: &mut Outbox) {
    for signal in out.signals() {
        if let Some(Body::Join(join)) = signal.body() {
            assert_eq!(signal.symbol, A, "rows are of the left symbol");
            rows.push((signal.seq, signal.ts_event, join));
        }
    }
    out.clear();
}

/// A record as the twin has it: when it came, its time and number, what it is, and whether it is known.
#[derive(Clone, Copy, Debug)]
struct Came {
    at: u64,
    ts: Ts,
    seq: u64,
    value: JoinValue,
    is_known: bool,
}

/// All rows and counts, by looking at all records for each.
fn twin(join: &JoinConfig, steps: &[Step]) -> (Vec<Row>, JoinCounts) {
    let (of, reach) = match &join.kind {
        JoinKind::AsOf {
            right,
            tolerance_ns,
        } => (right, (*tolerance_ns, 0)),
        JoinKind::Interval {
            right,
            before_ns,
            after_ns,
            ..
        } => (right, (*before_ns, *after_ns)),
        JoinKind::Temporal { .. } => unreachable!("has no other stream"),
    };
    let right_symbol = if of.symbol.is_some() { B } else { A };
    let (mut lefts, mut rights, mut counts) = (Vec::new(), Vec::new(), JoinCounts::default());
    let mut watermark = Ts::MIN;
    // Of each symbol: whether anything happened, whether it is stale, and its quote.
    let mut views = [(false, false, Quote::EMPTY); 3];
    for (at, step) in (1..).zip(steps) {
        match *step {
            Step::Tick(ts) => watermark = ts,
            Step::Gap => {
                for (symbol, view) in (0..).zip(&mut views).filter(|(_, view)| view.0) {
                    view.1 = true;
                    if symbol == right_symbol && of.stream == Stream::Quotes {
                        let key = |came: &Came| (came.ts, came.seq);
                        let latest = rights.iter().map(key).max();
                        let (ts, seq) = latest
                            .filter(|(ts, _)| *ts >= watermark)
                            .unwrap_or((watermark, 0));
                        rights.push(Came {
                            at,
                            ts,
                            seq,
                            value: JoinValue::Quote(Quote::EMPTY),
                            is_known: false,
                        });
                    }
                }
            }
            Step::Event {
                symbol,
                ts,
                fill,
                quote,
            } => {
                let view = &mut views[symbol as usize];
                let quote = quote.map_or(view.2, quote_of);
                let is_moved = quote != view.2 || view.1;
                *view = (true, false, quote);
                let came = |value| Came {
                    at,
                    ts,
                    seq: at,
                    value,
                    is_known: true,
                };
                let trade = fill.map(|qty| came(JoinValue::Trade(fill_of(qty))));
                let quote = is_moved.then(|| came(JoinValue::Quote(quote)));
                let pick = |stream| match stream {
                    Stream::Trades => trade,
                    Stream::Quotes => quote,
                };
                let is_late = ts < watermark;
                if let Some(left) = pick(join.left).filter(|_| symbol == A) {
                    counts.late += u64::from(is_late);
                    lefts.extend((!is_late).then_some(left));
                }
                if let Some(right) = pick(of.stream).filter(|_| symbol == right_symbol) {
                    counts.late += u64::from(is_late);
                    rights.push(right);
                }
            }
        }
    }
    let end = steps.len() as u64 + 1;
    let mut rows = Vec::new();
    for left in &lefts {
        let is_past = |(at, step): &(u64, &Step)| match step {
            Step::Tick(ts) => *at > left.at && ts.0 > left.ts.0 + reach.1,
            _ => false,
        };
        let said_at = (1..).zip(steps).find(is_past).map_or(end, |(at, _)| at);
        let mut seen: Vec<&Came> = rights.iter().filter(|right| right.at < said_at).collect();
        seen.sort_by_key(|right| (right.ts, right.seq));
        let met: Vec<&Came> = match &join.kind {
            JoinKind::AsOf { .. } => {
                let before = |right: &&&Came| (right.ts, right.seq) < (left.ts, left.seq);
                let near = |right: &&Came| {
                    right.is_known && left.ts.0 as i128 - right.ts.0 as i128 <= reach.0 as i128
                };
                let latest = seen.iter().rfind(before);
                latest.copied().filter(near).into_iter().collect()
            }
            JoinKind::Interval { rows_max, .. } => {
                let is_in = |right: &&Came| {
                    right.is_known
                        && (left.ts.0 - reach.0..=left.ts.0 + reach.1).contains(&right.ts.0)
                        && !(right_symbol == A && right.seq == left.seq)
                };
                let all: Vec<&Came> = seen.into_iter().filter(is_in).collect();
                counts.beyond += all.len().saturating_sub(*rows_max) as u64;
                all.into_iter().take(*rows_max).collect()
            }
            JoinKind::Temporal { .. } => unreachable!(),
        };
        counts.unmatched += u64::from(met.is_empty());
        let nothing = (met.is_empty() && join.unmatched).then_some(Met::Nothing);
        let records = met.into_iter().map(|right| Met::Record {
            symbol: right_symbol,
            ts: right.ts,
            seq: right.seq,
            value: right.value,
        });
        for right in records.chain(nothing) {
            let join = Join {
                left_seq: left.seq,
                left: left.value,
                right,
            };
            rows.push((said_at, left.ts, join));
        }
    }
    rows.sort_by_key(|(said_at, ts, join)| (*said_at, *ts, join.left_seq));
    (rows, counts)
}

fn random_join(random: &mut Random) -> JoinConfig {
    let mut stream = || match random.below(2) {
        0 => Stream::Trades,
        _ => Stream::Quotes,
    };
    let (left, other) = (stream(), stream());
    let symbol = (random.below(3) > 0).then_some(NAMES[1]);
    let right = right(other, symbol, 64);
    let kind = match random.below(2) {
        0 => JoinKind::AsOf {
            right,
            tolerance_ns: [0, 1, 5, i64::MAX][random.below(4) as usize],
        },
        _ => JoinKind::Interval {
            right,
            before_ns: random.below(6),
            after_ns: random.below(6),
            rows_max: [1, 3, 128][random.below(3) as usize],
        },
    };
    JoinConfig {
        name: "j".into(),
        kind,
        left,
        symbols: vec![NAMES[0]],
        unmatched: random.below(2) == 0,
    }
}

/// Some steps: times with ties, some of them before the watermark.
fn random_steps(random: &mut Random) -> Vec<Step> {
    let (mut now, mut watermark) = (1_000, Ts(990));
    let count = 10 + random.below(40);
    let mut steps = Vec::new();
    for _ in 0..count {
        now += random.below(3);
        steps.push(match random.below(20) {
            0..4 => {
                watermark = watermark.max(Ts(now - random.below(8)));
                Step::Tick(watermark)
            }
            4 => Step::Gap,
            _ => {
                let what = random.below(3);
                Step::Event {
                    symbol: 1 + random.below(2) as u32,
                    ts: Ts(now - random.below(10)),
                    fill: (what != 0).then_some(1 + random.below(9)),
                    quote: (what != 1).then_some(1 + random.below(9)),
                }
            }
        });
    }
    steps
}

#[test]
fn rows_are_those_of_a_look_at_all_records() {
    let mut out = Outbox::new();
    let (mut rows, mut beyond, mut late, mut unmatched) = (0, 0, 0, 0);
    for seed in 0..25_000 {
        let mut random = Random(seed);
        let join = random_join(&mut random);
        let steps = random_steps(&mut random);
        let mut run = Run::new(suite(join.clone()));
        for (seq, step) in (1..).zip(&steps) {
            run.step(&mut out, seq, step, seed % 2 == 0);
        }
        run.finish(&mut out, steps.len() as u64 + 1);
        let (want, counts) = twin(&join, &steps);
        assert_eq!(run.rows, want, "seed {seed}: {join:?} {steps:#?}");
        assert_eq!(run.suites.join_counts(), counts, "seed {seed}");
        rows += want.len();
        beyond += counts.beyond;
        late += counts.late;
        unmatched += counts.unmatched;
    }
    assert!(rows > 100_000 && beyond > 10_000 && late > 10_000 && unmatched > 10_000);
}

#[test]
fn a_state_saved_after_any_step_goes_on_the_same() {
    let mut out = Outbox::new();
    for seed in 0..400 {
        let mut random = Random(seed);
        let join = random_join(&mut random);
        let steps = random_steps(&mut random);
        let mut run = Run::new(suite(join.clone()));
        for (seq, step) in (1..).zip(&steps) {
            run.step(&mut out, seq, step, false);
            run.again();
        }
        run.finish(&mut out, steps.len() as u64 + 1);
        let (want, counts) = twin(&join, &steps);
        assert_eq!(run.rows, want, "seed {seed}: {join:?} {steps:#?}");
        assert_eq!(run.suites.join_counts(), counts, "seed {seed}");
    }
}

fn trade(symbol: u32, ts: i64, qty: i64) -> Step {
    Step::Event {
        symbol,
        ts: Ts(ts),
        fill: Some(qty),
        quote: None,
    }
}

fn quote(symbol: u32, ts: i64, level: i64) -> Step {
    Step::Event {
        symbol,
        ts: Ts(ts),
        fill: None,
        quote: Some(level),
    }
}

/// Trades of the first symbol meet the latest quote of the second, of which so many are kept.
fn quotes_of_b(keep: usize) -> JoinConfig {
    let mut join = as_of(i64::MAX);
    join.kind = JoinKind::AsOf {
        right: right(Stream::Quotes, Some(NAMES[1]), keep),
        tolerance_ns: i64::MAX,
    };
    join
}

#[test]
fn beyond_its_bounds_left_records_and_old_right_ones_are_dropped_and_counted() {
    let mut out = Outbox::new();
    let join = quotes_of_b(16);
    let mut run = Run::new(suite(join));
    let mut steps = vec![trade(A, 105, 1)];
    steps.extend((0..20).map(|index| quote(B, 100 + index, 1 + index)));
    steps.extend((0..20).map(|index| trade(A, 200 + index, 1)));
    for (seq, step) in (1..).zip(&steps) {
        run.step(&mut out, seq, step, false);
    }
    run.finish(&mut out, 100);
    // The quotes from 104 on are left of 20, and 16 trades of 21.
    let counts = run.suites.join_counts();
    assert_eq!((counts.dropped, counts.unmatched), (4 + 5, 0));
    let met: Vec<(Ts, Ts)> = (run.rows.iter())
        .map(|(_, ts, join)| match join.right {
            Met::Record { ts: right, .. } => (*ts, right),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(met[0], (Ts(105), Ts(104)));
    let later: Vec<(Ts, Ts)> = (0..15).map(|index| (Ts(200 + index), Ts(119))).collect();
    assert_eq!(met[1..], later);
}

#[test]
fn more_rows_than_one_visit_says_come_with_the_next_ticks_and_all_by_the_end() {
    let mut out = Outbox::new();
    let join = quotes_of_b(65_536);
    let mut run = Run::new(suite(join));
    run.step(&mut out, 1, &quote(B, 100, 1), false);
    for index in 0..2_000 {
        run.step(&mut out, 2 + index, &trade(A, 200 + index as i64, 1), false);
    }
    for tick in 0..3 {
        let step = Step::Tick(Ts(10_000 + tick as i64));
        run.step(&mut out, 3_000 + tick, &step, false);
        run.again();
        assert_eq!(run.rows.len(), 256 * (tick as usize + 1));
    }
    run.finish(&mut out, 4_000);
    let times: Vec<i64> = run.rows.iter().map(|(_, ts, _)| ts.0).collect();
    assert_eq!(times, (200..2_200).collect::<Vec<i64>>());
}

#[test]
fn more_rows_at_the_end_than_there_are_ordinals_are_all_said() {
    let mut out = Outbox::new();
    let mut join = as_of(0);
    join.kind = JoinKind::Interval {
        right: right(Stream::Trades, Some(NAMES[1]), 65_536),
        before_ns: 1_000_000,
        after_ns: 1_000_000,
        rows_max: 128,
    };
    let mut run = Run::new(suite(join));
    for seq in 0..1_000 {
        let [one, two] = [trade(A, 100, 1), trade(B, 100, 1)];
        run.step(&mut out, 1 + 2 * seq, &one, false);
        run.step(&mut out, 2 + 2 * seq, &two, false);
    }
    run.finish(&mut out, 3_000);
    assert_eq!(run.rows.len(), 128_000);
    assert_eq!(run.suites.join_counts().beyond, 1_000 * (1_000 - 128));
}

#[test]
fn a_trade_meets_the_row_of_the_table_that_is_valid_then() {
    let mut out = Outbox::new();
    let rows = [(0, Ts(200), 7), (0, Ts(100), 3)];
    let config = suite(JoinConfig {
        name: "j".into(),
        kind: JoinKind::Temporal {
            table: Table::new(1, rows).unwrap(),
        },
        left: Stream::Trades,
        symbols: vec![NAMES[0]],
        unmatched: true,
    });
    let mut run = Run::new(config);
    for (seq, ts) in (1..).zip([99, 100, 199, 200, 50]) {
        run.step(&mut out, seq, &trade(A, ts, 1), false);
        run.again();
    }
    let met: Vec<(u64, Met)> = run.rows.iter().map(|row| (row.0, row.2.right)).collect();
    let want = [
        Met::Nothing,
        Met::Row(3),
        Met::Row(3),
        Met::Row(7),
        Met::Nothing,
    ];
    assert_eq!(met, (1..).zip(want).collect::<Vec<_>>());
    let twice = Table::new(1, [(0, Ts(5), 1), (0, Ts(6), 2), (0, Ts(5), 4)]);
    assert_eq!(twice, Err(4));
}

#[test]
fn a_trade_with_a_time_that_is_not_to_be_believed_meets_nothing_and_is_counted() {
    let mut out = Outbox::new();
    let mut run = Run::new(suite(as_of(i64::MAX)));
    run.step(&mut out, 1, &quote(B, 100, 1), false);
    let mut applied = Applied::NOTHING;
    applied.fill = fill_of(1);
    let event = Event {
        ts_event: Ts(150),
        seq: 2,
        symbol: A,
        flags: Flags::BAD_TS,
        ..Event::new(Kind::Trade)
    };
    out.at(event.ts_event, event.seq, A);
    let (quote, mut intents) = (Quote::EMPTY, Intents::new());
    let suites = &mut run.suites;
    suites.on_event(
        &event,
        &applied,
        &quote,
        Phase::Trading,
        false,
        &mut out,
        &mut intents,
    );
    take(&mut run.rows, &mut out);
    run.finish(&mut out, 3);
    assert_eq!((run.rows.len(), run.suites.join_counts().late), (0, 1));
}

#[test]
fn what_is_wrong_with_joins_is_said_with_the_key() {
    let said = |change: fn(&mut JoinConfig)| {
        let mut join = as_of(0);
        change(&mut join);
        JoinConfig::problem(&[join]).expect("it is wrong")
    };
    assert_eq!(
        said(|join| join.symbols.clear()),
        "joins.j.symbols: there are none, want one at least"
    );
    assert_eq!(
        said(|join| join.symbols.push(NAMES[0])),
        "joins.j.symbols: one of them is there twice"
    );
    assert_eq!(
        said(|join| {
            join.kind = JoinKind::AsOf {
                right: right(Stream::Trades, None, 8),
                tolerance_ns: 1,
            }
        }),
        "joins.j.keep is 8, want 16 to 65536"
    );
    assert_eq!(
        said(|join| {
            join.kind = JoinKind::AsOf {
                right: right(Stream::Trades, None, 16),
                tolerance_ns: -1,
            }
        }),
        "joins.j.tolerance, before and after must not be below zero"
    );
    assert_eq!(
        said(|join| {
            join.kind = JoinKind::Interval {
                right: right(Stream::Trades, None, 16),
                before_ns: 0,
                after_ns: 0,
                rows_max: 129,
            }
        }),
        "joins.j.rows_max is 129, want 1 to 128"
    );
    let nine = vec![as_of(0); 9];
    assert_eq!(
        JoinConfig::problem(&nine).unwrap(),
        "9 joins, want at most 8"
    );
}
