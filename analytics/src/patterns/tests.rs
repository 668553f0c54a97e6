use std::collections::BTreeMap;

use bus::state::Versions;
use bus::{Fill, Signal};

use super::*;
use crate::expr::ExprError;

const UNIT: i64 = Price::SCALE;
const MS: i64 = 1_000_000;

/// SplitMix64 (public domain, Sebastiano Vigna).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What happens to the symbol.
#[derive(Clone, Copy, Debug)]
enum Step {
    Event(Event, Applied),
    Quote(Quote),
    Tick(Ts),
    Gap,
    Stale(Event),
}

fn config(text: &str, by: By) -> PatternConfig {
    PatternConfig {
        name: "p".into(),
        pattern: Pattern::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error}")),
        by,
        partial_max: 256,
        orders: 1_024,
    }
}

struct Run1 {
    patterns: Patterns,
    view: View,
    watermark: Ts,
    out: Outbox,
    said: Vec<(Ts, Ts, u8)>,
}

fn quote(bid: i64, ask: i64) -> Quote {
    Quote {
        bid: Price(bid),
        ask: Price(ask),
        bid_qty: Qty(100),
        ask_qty: Qty(100),
    }
}

impl Run1 {
    fn new(configs: &[PatternConfig]) -> Run1 {
        let mut patterns = Patterns::new(configs, 1, 1);
        patterns.appear();
        Run1 {
            patterns,
            view: View {
                quote: quote(102 * UNIT, 104 * UNIT),
                ..View::EMPTY
            },
            watermark: Ts::MIN,
            out: Outbox::new(),
            said: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let Run1 {
            patterns,
            view,
            watermark,
            out,
            said,
        } = self;
        out.at(Ts(0), 1, 1);
        match step {
            Step::Event(event, applied) => {
                patterns.on_event(0, event, applied, false, true, *watermark, view, out);
            }
            Step::Stale(event) => {
                let applied = Applied::NOTHING;
                patterns.on_event(0, event, &applied, true, true, *watermark, view, out);
            }
            Step::Quote(quote) => view.quote = *quote,
            Step::Tick(ts) => {
                *watermark = *ts;
                if patterns.due(0) <= *ts {
                    patterns.on_time(0, *ts, view, out);
                }
            }
            Step::Gap => patterns.on_gap(0),
        }
        for signal in out.signals() {
            said.push(alert(signal));
        }
        out.clear();
    }

    fn state(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.patterns.save(0, &mut out);
        out.finish().unwrap();
        bytes
    }

    /// As another process would go on.
    fn reload(&mut self, configs: &[PatternConfig]) {
        let bytes = self.state();
        self.patterns = Patterns::new(configs, 1, 1);
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        self.patterns.load(&mut from).unwrap();
        from.end().unwrap();
        assert!(self.state() == bytes, "what was loaded is what was saved");
    }
}

/// Until when, since when, and of which pattern.
fn alert(signal: &Signal) -> (Ts, Ts, u8) {
    match signal.body() {
        Some(Body::Spread(alert)) if alert.raised => (signal.ts_event, alert.since, signal.rule),
        other => panic!("{other:?}"),
    }
}

fn run(configs: &[PatternConfig], steps: &[Step]) -> Run1 {
    let mut run = Run1::new(configs);
    steps.iter().for_each(|step| run.step(step));
    let mut again = Run1::new(configs);
    for step in steps {
        again.step(step);
        again.reload(configs);
    }
    assert_eq!(run.said, again.said, "saved and loaded");
    assert!(run.state() == again.state(), "saved and loaded");
    run
}

// Events, written down.

fn event(kind: Kind, ts: i64, order: u64) -> Event {
    Event {
        ts_event: Ts(ts),
        symbol: 1,
        order,
        ..Event::new(kind)
    }
}

fn add(ts: i64, order: u64, side: Side, price: i64, qty: i64) -> Step {
    let event = Event {
        side,
        price: Price(price),
        qty: Qty(qty),
        ..event(Kind::Add, ts, order)
    };
    Step::Event(event, Applied::NOTHING)
}

fn delete(ts: i64, order: u64) -> Step {
    Step::Event(event(Kind::Delete, ts, order), Applied::NOTHING)
}

/// An order is taken by `aggressor`.
fn execute(ts: i64, order: u64, aggressor: Side, price: i64, qty: i64) -> Step {
    let event = Event {
        qty: Qty(qty),
        ..event(Kind::Execute, ts, order)
    };
    let fill = Fill {
        price: Price(price),
        qty: Qty(qty),
        aggressor,
    };
    Step::Event(
        event,
        Applied {
            fill,
            ..Applied::NOTHING
        },
    )
}

// The twin: each possible start on its own, over the whole list, with what conditions say in plain Rust.

#[derive(Clone, Copy, Debug)]
struct Plain {
    kind: &'static str,
    at: i64,
    price: Option<i64>,
    qty: Option<i64>,
    side: Option<Side>,
    age: Option<i64>,
    key: u32,
}

/// Conditions get the event, the first of the match and the one before.
type Ask = fn(&Plain, &Plain, &Plain) -> bool;

#[derive(Clone, Copy)]
struct Asked1 {
    text: &'static str,
    ask: Ask,
    needs_before: bool,
}

const fn plain(text: &'static str, ask: Ask) -> Asked1 {
    Asked1 {
        text,
        ask,
        needs_before: false,
    }
}

const fn behind(text: &'static str, ask: Ask) -> Asked1 {
    Asked1 {
        text,
        ask,
        needs_before: true,
    }
}

const TESTS: [Asked1; 18] = [
    plain("add", |e, _, _| e.kind == "add"),
    plain("cancel", |e, _, _| e.kind == "cancel"),
    plain("trade", |e, _, _| e.kind == "trade"),
    plain("any", |_, _, _| true),
    plain("add|replace[qty >= 3]", |e, _, _| {
        matches!(e.kind, "add" | "replace") && e.qty.unwrap() >= 3
    }),
    plain("any[side == 'buy']", |e, _, _| e.side == Some(Side::Buy)),
    plain("any[side != 'buy']", |e, _, _| {
        e.side.is_some_and(|side| side != Side::Buy)
    }),
    plain("cancel|trade[age < 30ns]", |e, _, _| {
        matches!(e.kind, "cancel" | "trade") && e.age.is_some_and(|age| age < 30)
    }),
    plain("trade|cross[price > 102.5]", |e, _, _| {
        e.kind == "trade" && e.price.unwrap() > 102
    }),
    plain("add[away <= 0]", |e, _, _| {
        e.kind == "add"
            && match e.side.unwrap() {
                Side::Buy => e.price.unwrap() >= 102,
                _ => e.price.unwrap() <= 104,
            }
    }),
    plain("status", |e, _, _| e.kind == "status"),
    plain("replace|cancel", |e, _, _| {
        matches!(e.kind, "cancel" | "replace")
    }),
    behind("any[side == first.side]", |e, first, _| {
        e.side.is_some() && e.side == first.side
    }),
    behind("trade|add[price >= prev.price]", |e, _, prev| {
        matches!(e.kind, "trade" | "add")
            && e.price.is_some()
            && prev.price.is_some()
            && e.price >= prev.price
    }),
    behind("any[gap < 12ns]", |e, _, prev| e.at - prev.at < 12),
    behind(
        "add[elapsed >= 10ns and qty != first.qty]",
        |e, first, _| {
            e.kind == "add" && e.at - first.at >= 10 && first.qty.is_some() && e.qty != first.qty
        },
    ),
    behind(
        "any[qty > prev.qty or not side == prev.side]",
        |e, _, prev| {
            let more = e.qty.zip(prev.qty).map(|(a, b)| a > b);
            let other = e.side.zip(prev.side).map(|(a, b)| a != b);
            more == Some(true) || other == Some(true)
        },
    ),
    behind("cancel[price == first.price]", |e, first, _| {
        e.kind == "cancel" && e.price.is_some() && e.price == first.price
    }),
];

#[derive(Clone)]
struct TwinStep {
    test: Asked1,
    times: usize,
    is_next: bool,
    not_before: Option<Asked1>,
    without: Option<Asked1>,
}

#[derive(Clone)]
struct Twin {
    steps: Vec<TwinStep>,
    absence: Option<(Asked1, i64)>,
    within: i64,
}

impl Twin {
    fn random(random: &mut Random) -> Twin {
        let pick = |random: &mut Random, has_before: bool| {
            loop {
                let test = random.one_of(&TESTS);
                if has_before || !test.needs_before {
                    return test;
                }
            }
        };
        let mut steps = Vec::new();
        for index in 0..1 + random.below(4) {
            let later = index > 0;
            let is_next = later && random.below(4) == 0;
            let test = pick(random, later);
            let times = random.one_of(&[1, 1, 1, 2, 3, 4]);
            let without = (times > 1 && random.below(3) == 0).then(|| pick(random, later));
            let not_before =
                (later && !is_next && random.below(3) == 0).then(|| pick(random, true));
            steps.push(TwinStep {
                test,
                times,
                is_next,
                not_before,
                without,
            });
        }
        let absence =
            (random.below(3) == 0).then(|| (pick(random, true), random.one_of(&[5, 20, 60])));
        Twin {
            steps,
            absence,
            within: random.one_of(&[15, 60, 200, 1_000]),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                text += if step.is_next { " next " } else { " then " };
            }
            if let Some(guard) = step.not_before {
                text += &format!("not {} then ", guard.text);
            }
            text += step.test.text;
            if step.times > 1 {
                text += &format!(" times {}", step.times);
            }
            if let Some(guard) = step.without {
                text += &format!(" without {}", guard.text);
            }
        }
        if let Some((test, ns)) = self.absence {
            text += &format!(" then not {} for {ns}ns", test.text);
        }
        text + &format!(" within {}ns", self.within)
    }

    /// Where the match that begins with this event ends: in front of or behind an event, and when.
    fn end(&self, events: &[Plain], start: usize, until: i64) -> Option<(usize, bool, i64)> {
        let first = events[start];
        if !(self.steps[0].test.ask)(&first, &first, &first) {
            return None;
        }
        let (mut step, mut count, mut prev) = (0, 1, first);
        let mut due = None;
        let mut at = start;
        loop {
            if step < self.steps.len() && count == self.steps[step].times {
                (step, count) = (step + 1, 0);
                if step == self.steps.len() {
                    match self.absence {
                        None => return Some((at, true, events[at].at)),
                        Some((_, ns)) => due = Some(events[at].at + ns),
                    }
                }
            }
            at += 1;
            let Some(event) = events.get(at) else {
                return due.filter(|due| *due <= until).map(|due| (at, false, due));
            };
            if let Some(due) = due
                && due <= event.at
            {
                return Some((at, false, due));
            }
            if event.key != first.key {
                continue;
            }
            let is = |test: &Asked1| (test.ask)(event, &first, &prev);
            if due.is_some() {
                if is(&self.absence.unwrap().0) {
                    return None;
                }
                continue;
            }
            if event.at - first.at >= self.within {
                return None;
            }
            let now = &self.steps[step];
            let guard = if count == 0 {
                now.not_before
            } else {
                now.without
            };
            if guard.as_ref().is_some_and(is) {
                return None;
            }
            if is(&now.test) {
                count += 1;
                prev = *event;
            } else if now.is_next && count == 0 {
                let before = &self.steps[step - 1];
                if before.times == 1 || !is(&before.test) {
                    return None;
                }
                prev = *event;
            }
        }
    }

    /// All matches, until when and since when.
    fn matches(&self, events: &[Plain], until: i64) -> Vec<(Ts, Ts)> {
        let mut all = Vec::new();
        for start in 0..events.len() {
            if let Some((at, behind, end)) = self.end(events, start, until) {
                all.push(((at, behind, end), start));
            }
        }
        all.sort_unstable();
        let mut over: BTreeMap<u32, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for ((at, behind, end), start) in all {
            // What began up to the end of a match of the same key is gone.
            let over = over.entry(events[start].key).or_default();
            if start >= *over {
                *over = at + usize::from(behind);
                found.push((Ts(end), Ts(events[start].at)));
            }
        }
        found
    }
}

/// Events of a few orders that come and go, some of them late, with ticks; and what the twin knows of them.
fn stream(random: &mut Random, by: By) -> (Vec<Step>, Vec<Plain>, i64) {
    let (mut steps, mut plain) = (Vec::new(), Vec::new());
    let mut orders: BTreeMap<u64, (i64, i64, i64, Side, u32)> = BTreeMap::new();
    let (mut now, mut clock, mut watermark) = (i64::MIN, 0, i64::MIN);
    for id in 1..=60 {
        clock += random.one_of(&[0, 1, 3, 7, 20]);
        let late = if random.below(5) == 0 {
            random.below(30) as i64
        } else {
            0
        };
        let ts = clock - late;
        if random.below(6) == 0 {
            watermark = watermark.max(clock - random.below(20) as i64);
            steps.push(Step::Tick(Ts(watermark)));
        }
        now = now.max(ts).max(watermark);
        let side = random.one_of(&[Side::Buy, Side::Sell]);
        let (price, qty) = (100 + random.below(6) as i64, 1 + random.below(5) as i64);
        let key = random.below(3) as u32;
        let known: Vec<u64> = orders.keys().copied().collect();
        let kind = match known.is_empty() {
            true => 0,
            false => random.below(9),
        };
        let order = if known.is_empty() {
            0
        } else {
            random.one_of(&known)
        };
        let (price9, qtyq) = (Price(price * UNIT), Qty(qty));
        let mut one = Plain {
            kind: "add",
            at: now,
            price: Some(price),
            qty: Some(qty),
            side: Some(side),
            age: Some(0),
            key,
        };
        let mut event = event(Kind::Add, ts, id);
        let mut applied = Applied::NOTHING;
        match kind {
            0..=2 => {
                orders.insert(id, (now, price, qty, side, key));
                (event.side, event.price, event.qty) = (side, price9, qtyq);
                if key > 0 {
                    event.order_b = key.into();
                    event.flags = Flags::ATTRIBUTED;
                }
            }
            3 | 4 => {
                let (since, price, left, side, key) = orders[&order];
                let some = 1 + random.below(left as usize) as i64;
                match left - some {
                    0 => drop(orders.remove(&order)),
                    left => drop(orders.insert(order, (since, price, left, side, key))),
                }
                let taker = side.other();
                (event.kind, event.order, event.qty) = (Kind::Execute, order, Qty(some));
                applied.fill = Fill {
                    price: Price(price * UNIT),
                    qty: Qty(some),
                    aggressor: taker,
                };
                one = Plain {
                    kind: "trade",
                    at: now,
                    price: Some(price),
                    qty: Some(some),
                    side: Some(taker),
                    age: Some(now - since),
                    key,
                };
            }
            5 => {
                let (since, price, left, side, key) = orders.remove(&order).unwrap();
                (event.kind, event.order) = (Kind::Delete, order);
                one = Plain {
                    kind: "cancel",
                    at: now,
                    price: Some(price),
                    qty: Some(left),
                    side: Some(side),
                    age: Some(now - since),
                    key,
                };
            }
            6 => {
                let (since, _, _, side, key) = orders.remove(&order).unwrap();
                orders.insert(id, (now, price, qty, side, key));
                (event.kind, event.order, event.order_b) = (Kind::Replace, order, id);
                (event.price, event.qty) = (price9, qtyq);
                one = Plain {
                    kind: "replace",
                    side: Some(side),
                    age: Some(now - since),
                    key,
                    ..one
                };
            }
            7 => {
                // One that is not known, of nobody that is known.
                (event.kind, event.order, event.qty) = (Kind::Cancel, 1_000 + id, qtyq);
                one = Plain {
                    kind: "cancel",
                    price: None,
                    side: None,
                    age: None,
                    key: 0,
                    ..one
                };
            }
            _ => {
                event.kind = Kind::Status;
                one = Plain {
                    kind: "status",
                    price: None,
                    qty: None,
                    side: None,
                    age: None,
                    key: 0,
                    ..one
                };
            }
        }
        if by == By::Symbol {
            one.key = 0;
        }
        plain.push(one);
        steps.push(Step::Event(event, applied));
    }
    let until = now.max(watermark) + random.one_of(&[0, 10, 100]);
    steps.push(Step::Tick(Ts(until)));
    (steps, plain, until)
}

#[test]
fn the_engine_finds_what_looking_at_each_start_on_its_own_finds() {
    let mut counts = [0usize; 4];
    for seed in 0..12_000 {
        let random = &mut Random(seed);
        let by = random.one_of(&[By::Symbol, By::Participant]);
        let twin = Twin::random(random);
        let (steps, events, until) = stream(random, by);
        let text = twin.text();
        let configs = [config(&text, by)];
        let got = if seed % 8 == 0 {
            run(&configs, &steps)
        } else {
            let mut run = Run1::new(&configs);
            steps.iter().for_each(|step| run.step(step));
            run
        };
        let mut said: Vec<(Ts, Ts)> = got.said.iter().map(|one| (one.0, one.1)).collect();
        let mut want = twin.matches(&events, until);
        said.sort_unstable();
        want.sort_unstable();
        assert_eq!(said, want, "seed {seed}: `{text}` by {by:?}");
        assert_eq!(got.patterns.dropped(), 0, "seed {seed}");
        counts[0] += said.len();
        counts[1] += usize::from(!said.is_empty() && by == By::Participant);
        counts[2] += usize::from(!said.is_empty() && twin.absence.is_some());
        counts[3] += usize::from(!said.is_empty() && twin.steps.len() > 2);
    }
    println!("{counts:?} matches; streams with some by participant, absences, three steps or more");
    assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
}

#[test]
fn several_patterns_say_what_each_says_alone() {
    for seed in 0..300 {
        let random = &mut Random(seed);
        let (steps, ..) = stream(random, By::Participant);
        let by = |n: usize| [By::Symbol, By::Participant][n % 2];
        let configs: Vec<PatternConfig> = (0..5)
            .map(|n| config(&Twin::random(random).text(), by(n)))
            .collect();
        let mut together = run(&configs, &steps).said;
        let mut alone = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            let said = run(std::slice::from_ref(config), &steps).said;
            alone.extend(said.iter().map(|one| (one.0, one.1, 1 + index as u8)));
        }
        together.sort_unstable();
        alone.sort_unstable();
        assert_eq!(together, alone, "seed {seed}");
    }
}

fn times(said: &[(Ts, Ts, u8)]) -> Vec<(i64, i64)> {
    said.iter().map(|one| (one.0.0, one.1.0)).collect()
}

const BUY: Side = Side::Buy;
const SELL: Side = Side::Sell;

#[test]
fn ends_of_times_are_not_within_them() {
    let found = |text: &str, steps: &[Step]| times(&run(&[config(text, By::Symbol)], steps).said);
    let two = |gap: i64| [add(0, 1, BUY, UNIT, 1), delete(gap, 1)];
    assert_eq!(found("add then cancel within 10ns", &two(9)), [(9, 0)]);
    assert_eq!(found("add then cancel within 10ns", &two(10)), []);
    // An event at the end of an absence is behind it.
    let absent = "add then not cancel for 10ns within 1s";
    assert_eq!(found(absent, &two(9)), []);
    assert_eq!(found(absent, &two(10)), [(10, 0)]);
    // A tick ends it as well, and what comes late behind that tick is of the tick's time.
    let mut late = vec![add(0, 1, BUY, UNIT, 1), Step::Tick(Ts(10)), delete(9, 1)];
    assert_eq!(found(absent, &late), [(10, 0)]);
    late[1] = Step::Tick(Ts(9));
    assert_eq!(found(absent, &late), []);
}

#[test]
fn at_the_bound_the_oldest_goes_and_is_counted() {
    let mut small = config("add then trade within 1s", By::Symbol);
    small.partial_max = 2;
    let mut steps: Vec<Step> = (1..=5).map(|n| add(n, n as u64, BUY, UNIT, 1)).collect();
    steps.push(execute(9, 5, SELL, UNIT, 1));
    let got = run(&[small], &steps);
    assert_eq!(times(&got.said), [(9, 4)]);
    assert_eq!(got.patterns.dropped(), 3);
    // Of participants, four times what one needs in the first step.
    let config = config("add times 3 within 1s", By::Participant);
    let of = |ts: i64, key: u64| match add(ts, ts as u64, BUY, UNIT, 1) {
        Step::Event(event, applied) => Step::Event(
            Event {
                order_b: key,
                flags: Flags::ATTRIBUTED,
                ..event
            },
            applied,
        ),
        other => other,
    };
    let mut steps: Vec<Step> = (1..=9).map(|n| of(n, n as u64)).collect();
    steps.extend([of(10, 9), of(11, 9), of(12, 1), of(13, 1)]);
    let got = run(&[config], &steps);
    assert_eq!(times(&got.said), [(11, 9)]);
    // The first of participant 1 went for the ninth; with it, 13 had been a match.
    assert_eq!(got.patterns.dropped(), 2);
}

#[test]
fn nothing_is_concluded_over_a_loss() {
    let config = config("add then cancel[age < 1ms] within 1s", By::Symbol);
    let found = |between: Step| {
        let steps = [add(0, 1, BUY, UNIT, 1), between, delete(9, 1)];
        times(&run(std::slice::from_ref(&config), &steps).said)
    };
    assert_eq!(found(Step::Tick(Ts(1))), [(9, 0)]);
    assert_eq!(found(Step::Gap), []);
    assert_eq!(found(Step::Stale(event(Kind::Info, 1, 0))), []);
    // What fills a book behind a loss does not happen now, up to the last of it.
    let mut whole = event(Kind::Info, 0, 0);
    whole.flags = Flags::WHOLE;
    let filled = |n: i64, flags: Flags| match add(n, n as u64, BUY, UNIT, 1) {
        Step::Event(event, applied) => Step::Event(Event { flags, ..event }, applied),
        other => other,
    };
    let steps = [
        Step::Event(whole, Applied::NOTHING),
        filled(1, Flags::MORE),
        filled(2, Flags::ENDS),
        delete(3, 1),
        filled(4, Flags::default()),
        delete(5, 4),
    ];
    assert_eq!(times(&run(&[config], &steps).said), [(5, 4)]);
}

#[test]
fn what_is_wrong_with_a_pattern_is_said_with_its_column() {
    for (text, want) in [
        (
            "",
            "column 1: found the end, want one of add, cancel, replace, trade, cross, status, any",
        ),
        (
            "add",
            "column 4: found the end, want `then`, `next` or `within`",
        ),
        ("ad within 1s", "column 1: found `ad`, want one of add"),
        (
            "add within 1",
            "column 12: found `1`, want a time of at most a day",
        ),
        ("add within 0s", "column 12: want a time above 0"),
        (
            "add times 0 within 1s",
            "column 11: found `0`, want a whole number from 1 to 4096",
        ),
        ("add times 5000 within 1s", "column 11: found `5000`"),
        ("add times 2.5 within 1s", "column 11: found `2.5`"),
        (
            "add without trade within 1s",
            "column 5: found `without`, want `then`",
        ),
        (
            "add times 1 without trade within 1s",
            "column 13: `without` is about what comes between",
        ),
        (
            "add[price] within 1s",
            "column 5: this is a price, want a condition",
        ),
        (
            "add[price > 5 within 1s",
            "column 15: found `within`, want `]`",
        ),
        (
            "add[sidle == 'buy'] within 1s",
            "column 5: `sidle` is not known; there are bid",
        ),
        (
            "add[side == 'bid'] within 1s",
            "column 13: a side is never 'bid', but none, buy, sell",
        ),
        (
            "add[age < 5] within 1s",
            "column 9: a time and a plain number do not go together",
        ),
        (
            "add[age < qty] within 1s",
            "column 9: a time and a quantity do not go together",
        ),
        (
            "add[qty > first.qty] within 1s",
            "column 11: `first.qty` is not known at the first event",
        ),
        (
            "add[AAPL.bid > 5] within 1s",
            "column 5: names the symbol AAPL",
        ),
        (
            "add then not trade within 1s",
            "column 20: found `within`, want `then`",
        ),
        (
            "add then not trade for 1s then cancel within 1s",
            "column 27: found `then`, want `within`",
        ),
        (
            "add next not trade then cancel within 1s",
            "column 10: found `not`, want one of add",
        ),
        (
            "add then cancel within 1s later",
            "column 27: found `later`, want the end",
        ),
    ] {
        let error: ExprError = Pattern::parse(text).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with(want), "`{text}`: {said}");
    }
    let many = vec!["add"; 17].join(" then ") + " within 1s";
    let said = Pattern::parse(&many).unwrap_err().to_string();
    assert!(said.contains("more than 16 steps"), "{said}");
    // Rules ask nothing of events.
    let said = crate::Condition::parse("qty > 5").unwrap_err().to_string();
    assert!(said.contains("`qty` is not known"), "{said}");
}

fn known(known: Known, within_ns: i64, steps: &[Step]) -> Vec<(i64, i64)> {
    let config = PatternConfig {
        pattern: known.pattern(within_ns).unwrap(),
        ..config("any within 1s", By::Symbol)
    };
    let said = run(&[config], steps).said;
    said.iter()
        .map(|one| (one.0.0 / MS, one.1.0 / MS))
        .collect()
}

/// A hundredth.
const TICK: i64 = UNIT / 100;

fn at_100() -> Step {
    Step::Quote(quote(100 * UNIT, 100 * UNIT + TICK))
}

#[test]
fn quote_stuffing_is_many_orders_that_nobody_could_have_met() {
    let stuffing = Known::QuoteStuffing {
        messages: 10,
        age_ns: 5 * MS,
    };
    let stream = |count: i64, every: i64, age: i64| {
        let mut steps = vec![at_100()];
        for n in 0..count {
            let (at, id) = (n * every * MS, n as u64 + 1);
            steps.push(add(at, id, BUY, 99 * UNIT, 100));
            steps.push(delete(at + age * MS, id));
        }
        steps
    };
    assert_eq!(known(stuffing, 1_000 * MS, &stream(10, 20, 4)), [(184, 4)]);
    assert_eq!(known(stuffing, 1_000 * MS, &stream(9, 20, 4)), []);
    // Orders that stood as long as others do, or that are spread over a longer time.
    assert_eq!(known(stuffing, 1_000 * MS, &stream(10, 20, 5)), []);
    assert_eq!(known(stuffing, 1_000 * MS, &stream(10, 120, 4)), []);
}

#[test]
fn layering_is_orders_of_one_side_that_go_once_the_other_side_has_traded() {
    let layering = Known::Layering {
        layers: 4,
        cancels: 3,
        away_bps: 10.0,
    };
    // The order that is meant waits at the bid; the layers press from the other side.
    let stream = |layers: i64, away: i64, taker: Side, cancels: u64| {
        let mut steps = vec![at_100(), add(0, 100, BUY, 100 * UNIT, 500)];
        for n in 0..layers {
            let price = 100 * UNIT + (1 + n + away) * TICK;
            steps.push(add((10 + n) * MS, n as u64 + 1, SELL, price, 1_000));
        }
        steps.push(execute(50 * MS, 100, taker, 100 * UNIT, 500));
        for id in 1..=cancels {
            steps.push(delete((60 + id as i64) * MS, id));
        }
        steps
    };
    let within = 1_000 * MS;
    assert_eq!(known(layering, within, &stream(4, 0, SELL, 4)), [(63, 10)]);
    assert_eq!(known(layering, within, &stream(3, 0, SELL, 3)), []);
    assert_eq!(known(layering, within, &stream(4, 0, SELL, 2)), []);
    // Too far from the market to press on it; a trade on the layers' own side.
    assert_eq!(known(layering, within, &stream(4, 20, SELL, 4)), []);
    assert_eq!(known(layering, within, &stream(4, 0, BUY, 4)), []);
    assert_eq!(known(layering, 40 * MS, &stream(4, 0, SELL, 4)), []);
}

#[test]
fn momentum_ignition_is_a_run_of_trades_that_somebody_then_trades_against() {
    let ignition = Known::MomentumIgnition {
        trades: 5,
        move_bps: 4.0,
    };
    let stream = |trades: i64, ticks: i64, last: Side| {
        let mut steps = vec![at_100()];
        for n in 0..trades {
            steps.push(execute(n * MS, 0, BUY, 100 * UNIT + n * TICK, 100));
            let up = (n * ticks).min(ticks * 4) * TICK;
            steps.push(Step::Quote(quote(100 * UNIT + up, 100 * UNIT + up + TICK)));
        }
        steps.push(execute(90 * MS, 0, last, 100 * UNIT + 4 * TICK, 500));
        steps
    };
    assert_eq!(known(ignition, 1_000 * MS, &stream(5, 2, SELL)), [(90, 0)]);
    assert_eq!(known(ignition, 1_000 * MS, &stream(4, 2, SELL)), []);
    // The market did not go with it; nobody traded against it.
    assert_eq!(known(ignition, 1_000 * MS, &stream(5, 0, SELL)), []);
    assert_eq!(known(ignition, 1_000 * MS, &stream(5, 2, BUY)), []);
}

#[test]
fn wash_prints_go_to_and_fro_at_one_price_and_size() {
    let wash = Known::WashPrints {
        prints: 4,
        qty_min: 100,
    };
    let stream = |qtys: [i64; 4], sides: [Side; 4]| {
        let mut steps = vec![at_100()];
        for (n, (qty, side)) in qtys.into_iter().zip(sides).enumerate() {
            steps.push(execute(n as i64 * MS, 0, side, 100 * UNIT, qty));
        }
        steps
    };
    let within = 100 * MS;
    let in_turn = [BUY, SELL, BUY, SELL];
    assert_eq!(known(wash, within, &stream([300; 4], in_turn)), [(3, 0)]);
    assert_eq!(
        known(wash, within, &stream([300, 300, 200, 300], in_turn)),
        []
    );
    assert_eq!(
        known(wash, within, &stream([300; 4], [BUY, SELL, SELL, BUY])),
        []
    );
    assert_eq!(known(wash, within, &stream([99; 4], in_turn)), []);
    assert_eq!(known(wash, 3 * MS, &stream([300; 4], in_turn)), []);
}

#[test]
fn latency_arbitrage_takes_an_old_order_that_is_worth_more_at_once() {
    let sniped = Known::LatencyArbitrage {
        age_ns: 100 * MS,
        edge_bps: 2.0,
    };
    let stream = |age: i64, bid: i64, after: i64| {
        let bid = 100 * UNIT + bid * TICK;
        [
            at_100(),
            add(0, 1, SELL, 100 * UNIT + TICK, 100),
            execute(age * MS, 1, BUY, 100 * UNIT + TICK, 100),
            Step::Quote(quote(bid, bid + TICK)),
            add((age + after) * MS, 2, BUY, bid - TICK, 100),
        ]
    };
    assert_eq!(known(sniped, 10 * MS, &stream(150, 4, 2)), [(152, 150)]);
    // A fresh order; a market that did not go far enough, or went too late.
    assert_eq!(known(sniped, 10 * MS, &stream(50, 4, 2)), []);
    assert_eq!(known(sniped, 10 * MS, &stream(150, 2, 2)), []);
    assert_eq!(known(sniped, 10 * MS, &stream(150, 4, 10)), []);
}
