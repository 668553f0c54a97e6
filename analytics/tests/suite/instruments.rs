//! Instruments of several symbols against a look at all of them in each nanosecond, and from a state saved
//! anywhere.

use analytics::{InstrumentConfig, Intents, SuiteConfig, Suites};
use bus::signal::{Best, Body};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Applied, Event, Kind, Outbox, Phase, Price, Qty, Quote, Ts};

use crate::streams::Random;

const NAMES: [[u8; 8]; 3] = [*b"A       ", *b"B       ", *b"C       "];
const DECIMALS: [u8; 3] = [0, 3, 1];
/// Behind the spread alert.
const RULE_ALERT: u8 = 1;

fn suite(fresh_ns: i64, hold_ns: i64) -> SuiteConfig {
    let mut config = SuiteConfig::standard(3);
    config.windows.truncate(1);
    config.momentum.enabled = false;
    config.instruments = vec![InstrumentConfig {
        name: "i".into(),
        members: NAMES.to_vec(),
        fresh_ns,
        hold_ns,
        says: true,
    }];
    config
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Quote {
        symbol: u32,
        ts: Ts,
        quote: Quote,
        phase: Phase,
        stale: bool,
    },
    Tick(Ts),
    Gap,
}

/// What is said: with which step, of which symbol, which rule, for when, and what.
type Said = (u64, u32, u8, Ts, What);

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Best(Best),
    Raised(bool, Price, Price, Ts),
}

struct Run {
    config: SuiteConfig,
    suites: Suites,
    said: Vec<Said>,
}

fn take(said: &mut Vec<Said>, out: &mut Outbox) {
    for signal in out.signals() {
        let what = match signal.body() {
            Some(Body::Best(best)) => What::Best(best),
            Some(Body::Spread(x)) if signal.rule >= RULE_ALERT => {
                What::Raised(x.raised, x.bid, x.ask, x.since)
            }
            _ => continue,
        };
        said.push((
            signal.seq,
            signal.symbol,
            signal.rule,
            signal.ts_event,
            what,
        ));
    }
    out.clear();
}

impl Run {
    fn new(config: SuiteConfig) -> Run {
        let mut suites = Suites::new(config.clone());
        for (symbol, (name, decimals)) in (1..).zip(NAMES.iter().zip(DECIMALS)) {
            suites.on_member(symbol, *name, decimals);
        }
        Run {
            config,
            suites,
            said: Vec::new(),
        }
    }

    fn step(&mut self, out: &mut Outbox, seq: u64, step: &Step, visits_wait: bool) {
        let said = &mut self.said;
        match *step {
            Step::Quote {
                symbol,
                ts,
                quote,
                phase,
                stale,
            } => {
                let event = Event {
                    ts_event: ts,
                    seq,
                    symbol,
                    ..Event::new(Kind::Add)
                };
                let mut applied = Applied::NOTHING;
                applied.quote_changed = true;
                if self.suites.settle(symbol, out) {
                    take(said, out);
                }
                out.at(ts, seq, symbol);
                let mut intents = Intents::new();
                let suites = &mut self.suites;
                suites.on_event(&event, &applied, &quote, phase, stale, out, &mut intents);
                take(said, out);
            }
            Step::Tick(watermark) => {
                self.suites.go_on(usize::MAX, out, |out| take(said, out));
                self.suites.begin_tick(watermark, seq);
                let visits = if visits_wait { 0 } else { usize::MAX };
                self.suites.go_on(visits, out, |out| take(said, out));
            }
            Step::Gap => {
                self.suites.go_on(usize::MAX, out, |out| take(said, out));
                self.suites.on_gap();
            }
        }
    }

    fn finish(&mut self, out: &mut Outbox, seq: u64) -> Vec<Said> {
        let said = &mut self.said;
        self.suites.go_on(usize::MAX, out, |out| take(said, out));
        self.suites.finish(seq, out, |out| take(said, out));
        // A tick's visits come when they come: in a log they stand at the tick.
        said.sort_by_key(|said| said.0);
        std::mem::take(said)
    }

    /// The same from its own state.
    fn again(&mut self) {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.suites.save_shared(&mut out);
        self.suites.save_joint(&mut out);
        (1..=3).for_each(|symbol| self.suites.save(symbol, &mut out));
        out.finish().unwrap();
        self.suites = Suites::new(self.config.clone());
        for (symbol, name) in (1..).zip(NAMES) {
            // As a core has it: decimals are in the state.
            self.suites.on_member(symbol, name, 0);
        }
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        self.suites.load_shared(&mut from).unwrap();
        self.suites.load_joint(&mut from, |_| true).unwrap();
        (1..=3).for_each(|symbol| self.suites.load(symbol, &mut from).unwrap());
        from.end().unwrap();
    }
}

/// The plain one: looks at all members in each nanosecond.
struct Twin {
    fresh_ns: i64,
    hold_ns: i64,
    members: [Option<(Quote, i64)>; 3],
    best: Best,
    /// Of locked and of crossed: since when, and since when the alert stands.
    holds: [(Option<i64>, Option<i64>); 2],
    now: i64,
    said: Vec<(u8, Ts, What)>,
}

impl Twin {
    fn best(&self) -> Best {
        let of = |side: fn(&Quote) -> (Price, Qty), is_better: fn(Price, Price) -> bool| {
            let sides = self
                .members
                .iter()
                .enumerate()
                .filter_map(|(index, member)| {
                    let (price, qty) = side(&(*member)?.0);
                    price.is_some().then_some((index, price, qty))
                });
            let sides: Vec<_> = sides.collect();
            let best = sides.iter().map(|(_, price, _)| *price);
            let best = best.reduce(|a, b| if is_better(b, a) { b } else { a });
            let at_best = sides.iter().filter(|(_, price, _)| Some(*price) == best);
            let (mut qty, mut on) = (0, 0);
            for (index, _, own) in at_best {
                qty += i128::from(own.0) * 10i128.pow(3 - u32::from(DECIMALS[*index]));
                on |= 1 << index;
            }
            (best.unwrap_or(Price::NONE), qty, on)
        };
        let (bid, bid_qty, bid_on) = of(|quote| (quote.bid, quote.bid_qty), |a, b| a > b);
        let (ask, ask_qty, ask_on) = of(|quote| (quote.ask, quote.ask_qty), |a, b| a < b);
        let counts = (0..3).filter(|index| self.members[*index].is_some());
        Best {
            bid,
            ask,
            bid_qty,
            ask_qty,
            bid_on,
            ask_on,
            counts: counts.map(|index| 1 << index).sum(),
            decimals: 3,
        }
    }

    fn look(&mut self, at: i64) {
        let (before, best) = (self.best, self.best());
        self.best = best;
        if best == before {
            return;
        }
        self.said.push((0, Ts(at), What::Best(best)));
        let is_both = best.bid.is_some() && best.ask.is_some();
        let is = [
            is_both && best.bid == best.ask,
            is_both && best.bid > best.ask,
        ];
        for (index, is) in is.into_iter().enumerate() {
            let (since, raised) = self.holds[index];
            match (is, since) {
                (true, None) => {
                    self.holds[index].0 = Some(at);
                    self.raise(at, index);
                }
                (false, Some(_)) => {
                    if let Some(raised) = raised {
                        self.alert(index, at, false, raised);
                    }
                    self.holds[index] = (None, None);
                }
                _ => {}
            }
        }
    }

    fn alert(&mut self, index: usize, at: i64, raised: bool, since: i64) {
        let what = What::Raised(raised, self.best.bid, self.best.ask, Ts(since));
        self.said.push((RULE_ALERT + index as u8, Ts(at), what));
    }

    fn raise(&mut self, at: i64, index: usize) {
        if let (Some(since), None) = self.holds[index]
            && at == since + self.hold_ns
        {
            self.alert(index, at, true, since);
            self.holds[index].1 = Some(at);
        }
    }

    fn pass(&mut self, until: i64) {
        while self.now < until {
            self.now += 1;
            let at = self.now;
            (0..2).for_each(|index| self.raise(at, index));
            for member in &mut self.members {
                let fresh_ns = self.fresh_ns;
                *member = member.filter(|(_, ts)| fresh_ns == 0 || at - ts <= fresh_ns);
            }
            self.look(at);
        }
    }
}

fn twin(fresh_ns: i64, hold_ns: i64, steps: &[Step]) -> Vec<Said> {
    let mut twin = Twin {
        fresh_ns,
        hold_ns,
        members: [None; 3],
        best: Best {
            decimals: 3,
            ..Best::NONE
        },
        holds: [(None, None); 2],
        now: 900,
        said: Vec::new(),
    };
    let (mut seat, mut advanced, mut all, mut waiting) = (0, i64::MIN, Vec::new(), Vec::new());
    let at = |seq: u64, symbol: u32, said: Vec<(u8, Ts, What)>| {
        said.into_iter()
            .map(move |(rule, ts, what)| (seq, symbol, rule, ts, what))
    };
    for (seq, step) in (1..).zip(steps) {
        match *step {
            Step::Tick(watermark) if watermark.0 > advanced => {
                advanced = watermark.0;
                twin.pass(watermark.0);
                waiting.append(&mut twin.said);
                all.extend(at(seq, seat, std::mem::take(&mut waiting)));
            }
            Step::Tick(_) => {}
            Step::Gap => {
                twin.members = [None; 3];
                twin.look(twin.now);
                waiting.append(&mut twin.said);
            }
            Step::Quote {
                symbol,
                ts,
                quote,
                phase,
                stale,
            } => {
                if seat == 0 {
                    seat = symbol;
                }
                let now = twin.now.max(ts.0);
                twin.pass(now);
                let is_good = !stale && phase == Phase::Trading && !quote.is_crossed();
                twin.members[symbol as usize - 1] = is_good.then_some((quote, now));
                twin.look(now);
                all.extend(at(seq, symbol, std::mem::take(&mut twin.said)));
            }
        }
    }
    all.extend(at(steps.len() as u64 + 1, seat, waiting));
    all
}

fn random_steps(random: &mut Random) -> Vec<Step> {
    let (mut now, mut watermark) = (1_000, 990);
    let count = 10 + random.below(40);
    let mut steps = Vec::new();
    for _ in 0..count {
        now += random.below(4);
        steps.push(match random.below(20) {
            0..4 => {
                watermark = (now - random.below(6)).max(watermark);
                Step::Tick(Ts(watermark))
            }
            4 => Step::Gap,
            _ => {
                let bid = 100 + random.below(5);
                let side = |random: &mut Random, price| match random.below(10) {
                    0 => Price::NONE,
                    _ => Price(price),
                };
                let ask = bid + random.below(4);
                Step::Quote {
                    symbol: 1 + random.below(3) as u32,
                    ts: Ts(now - random.below(5)),
                    quote: Quote {
                        bid: side(random, bid),
                        ask: side(random, ask),
                        bid_qty: Qty(1 + random.below(3)),
                        ask_qty: Qty(1 + random.below(3)),
                    },
                    phase: match random.below(12) {
                        0 => Phase::Halted,
                        _ => Phase::Trading,
                    },
                    stale: random.below(12) == 0,
                }
            }
        });
    }
    steps
}

#[test]
fn the_best_prices_and_alerts_are_those_of_a_look_at_each_nanosecond() {
    let mut out = Outbox::new();
    let (mut bests, mut alerts, mut late) = (0, 0, 0);
    for seed in 0..12_000 {
        let mut random = Random(seed);
        let (fresh_ns, hold_ns) = (random.below(3) * 7, random.below(3) * 2);
        let steps = random_steps(&mut random);
        let mut run = Run::new(suite(fresh_ns, hold_ns));
        for (seq, step) in (1..).zip(&steps) {
            run.step(&mut out, seq, step, seed % 2 == 0);
            if seed % 50 == 1 {
                run.again();
            }
        }
        let got = run.finish(&mut out, steps.len() as u64 + 1);
        let want = twin(fresh_ns, hold_ns, &steps);
        assert_eq!(got, want, "seed {seed}: {fresh_ns} {hold_ns} {steps:#?}");
        let of = |is: fn(&What) -> bool| want.iter().filter(|said| is(&said.4)).count();
        bests += of(|what| matches!(what, What::Best(_)));
        alerts += of(|what| matches!(what, What::Raised(true, ..)));
        let at_tick = |said: &&Said| matches!(steps.get(said.0 as usize - 1), Some(Step::Tick(_)));
        late += want.iter().filter(at_tick).count();
    }
    assert!(bests > 50_000 && alerts > 10_000 && late > 5_000);
}

#[test]
fn what_is_wrong_with_instruments_is_said_with_the_key() {
    let said = |change: fn(&mut InstrumentConfig)| {
        let mut config = suite(0, 0).instruments;
        change(&mut config[0]);
        InstrumentConfig::problem(&config).expect("it is wrong")
    };
    assert_eq!(
        said(|config| config.members.truncate(1)),
        "instruments.i.members: 1 symbols, want 2 to 8"
    );
    assert_eq!(
        said(|config| config.members[2] = NAMES[0]),
        "instruments.i.members: `A` is there twice, or in another instrument"
    );
    assert_eq!(
        said(|config| config.hold_ns = -1),
        "instruments.i: fresh and hold must not be below zero"
    );
    let many: Vec<_> = vec![suite(0, 0).instruments[0].clone(); 65];
    let said = InstrumentConfig::problem(&many).unwrap();
    assert_eq!(said, "65 instruments, want at most 64");
}
