//! A flood of orders against the gate: whatever is wanted, in whatever order, and however often it is
//! restarted in between, what passes is within every limit, and what is refused was beyond the one
//! that is named.
//!
//! The twin adds up everything anew for each order, by the rules as `bus/RISK.md` has them.
//! `TAPELINE_FLOOD=20000000 cargo test --release -p analytics flood -- --nocapture` is the long run.

use std::collections::BTreeMap;

use analytics::{Bps, Intent, Risk, RiskConfig};
use bus::signal::{Order, Reject, RejectCode};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Phase, Price, Qty, Quote, Side, Ts};

use crate::script::{price, time};
use crate::streams::Random;

const SYMBOLS: u32 = 4;
const INTENTS_PER_GATE: u64 = 2_000;
const UNIT: i128 = Price::SCALE as i128;

/// What the gate is asked.
struct Asked {
    symbol: u32,
    at: Ts,
    intent: Intent,
    quote: Quote,
    phase: Phase,
    is_stale: bool,
}

/// What passed of a symbol, all of it.
#[derive(Clone, Copy)]
struct Passed {
    at: Ts,
    order: Order,
}

impl Passed {
    fn notional(&self) -> i128 {
        i128::from(self.order.price.0) * i128::from(self.order.qty.0)
    }
}

/// The first rule that is broken.
fn broken(config: &RiskConfig, passed: &[Passed], asked: &Asked) -> Option<RejectCode> {
    use RejectCode::{
        Book, Collar, CollarLast, Duplicate, Gross, Halted, Hours, Net, Notional, Position, Rate,
        Restricted, SelfTrade, Size,
    };
    let Intent {
        side,
        price,
        qty,
        last,
        ..
    } = asked.intent;
    let Quote { bid, ask, .. } = asked.quote;
    let since_midnight = asked.at.0 - config.midnight.0;
    let value = i128::from(price.0) * i128::from(qty.0);
    let far = |distance: i128, from: i128, most: Bps| {
        distance * i128::from(Bps::ONE.0) > from * i128::from(most.0)
    };
    let (from_mid, mid) = (
        i128::from(price.0) * 2 - i128::from(bid.0) - i128::from(ask.0),
        i128::from(bid.0) + i128::from(ask.0),
    );
    let of = |of: Side| passed.iter().filter(move |passed| passed.order.side == of);
    let other = if side == Side::Buy {
        Side::Sell
    } else {
        Side::Buy
    };
    let meets = |theirs: &Passed| match side {
        Side::Sell => price.0 <= theirs.order.price.0,
        Side::Buy | Side::None => price.0 >= theirs.order.price.0,
    };
    let mine = value + of(side).map(Passed::notional).sum::<i128>();
    let gross = mine + of(other).map(Passed::notional).sum::<i128>();
    let qty_before: i64 = of(side).map(|passed| passed.order.qty.0).sum();
    let qty_of_side = i128::from(qty.0) + i128::from(qty_before);
    let within = |passed: &&Passed, ns: i64| asked.at.0 - passed.at.0 < ns;
    let recent = passed.iter().filter(|passed| within(passed, Ts::SECOND_NS));
    let is_again = |passed: &&Passed| {
        let Order {
            side: s,
            price: p,
            qty: q,
            ..
        } = passed.order;
        (s, p, q) == (side, price, qty) && within(passed, config.duplicate_ns)
    };
    let rules = [
        (
            Restricted,
            asked.symbol == 1 && !config.restricted.is_empty(),
        ),
        (
            Hours,
            config
                .hours_ns
                .is_some_and(|(from, until)| !(from..until).contains(&since_midnight)),
        ),
        (Halted, asked.phase != Phase::Trading),
        (
            Book,
            asked.is_stale || !bid.is_some() || !ask.is_some() || bid.0 >= ask.0,
        ),
        (
            Size,
            side == Side::None || qty.0 <= 0 || qty.0 > config.qty_max.0,
        ),
        (Notional, value > i128::from(config.notional_max) * UNIT),
        (Collar, far(from_mid.abs(), mid, config.collar)),
        (
            CollarLast,
            config.collar_last.is_some_and(|most| {
                let distance = i128::from(price.0) - i128::from(last.0);
                !last.is_some() || far(distance.abs(), i128::from(last.0), most)
            }),
        ),
        (SelfTrade, config.refuses_self_trade && of(other).any(meets)),
        (
            Position,
            config
                .position_max
                .is_some_and(|max| qty_of_side > i128::from(max.0)),
        ),
        (
            Gross,
            config
                .gross_max
                .is_some_and(|max| gross > i128::from(max) * UNIT),
        ),
        (
            Net,
            config
                .net_max
                .is_some_and(|max| mine > i128::from(max) * UNIT),
        ),
        (Duplicate, passed.iter().any(|passed| is_again(&passed))),
        (Rate, recent.count() >= config.orders_per_second as usize),
    ];
    let first = rules.iter().find(|(_, is_broken)| *is_broken);
    first.map(|(code, _)| *code)
}

/// Some limits on, some off, and all of them so narrow that they are met.
fn limits(random: &mut Random) -> RiskConfig {
    let mut on = |max: i64| (random.below(3) == 0).then(|| random.below(max));
    RiskConfig {
        position_max: on(3_000).map(Qty),
        gross_max: on(400_000),
        net_max: on(200_000),
        collar_last: on(40).map(Bps::whole),
        hours_ns: on(1).map(|_| (34_200 * Ts::SECOND_NS, 34_260 * Ts::SECOND_NS)),
        restricted: on(1).map(|_| *b"GME     ").into_iter().collect(),
        refuses_self_trade: on(1).is_some(),
        duplicate_ns: on(Ts::SECOND_NS).unwrap_or(0),
        qty_max: Qty(500 + random.below(400)),
        notional_max: 60_000 + random.below(20_000),
        collar: Bps::whole(20 + random.below(20)),
        orders_per_second: 1 + random.below(8) as u32,
        midnight: time("00:00:00"),
    }
}

/// Something that is mostly within what a single order may be, and now and then far beyond.
fn asked(random: &mut Random, at: Ts) -> Asked {
    let bid = price("99.50").0 + random.below(100) * (Price::SCALE / 100);
    let mut quote = Quote {
        bid: Price(bid),
        ask: Price(bid + (1 + random.below(3)) * (Price::SCALE / 100)),
        bid_qty: Qty(100),
        ask_qty: Qty(100),
    };
    let mut rarely = |of: i64| random.below(of) == 0;
    if rarely(60) {
        quote.ask = Price(bid);
    }
    if rarely(60) {
        quote.bid = Price::NONE;
    }
    let phase = match rarely(60) {
        true => Phase::Halted,
        false => Phase::Trading,
    };
    let (is_stale, is_none, is_huge) = (rarely(60), rarely(200), rarely(100));
    let is_without_last = rarely(100);
    let side = match random.below(2) {
        _ if is_none => Side::None,
        0 => Side::Buy,
        _ => Side::Sell,
    };
    // From few prices and sizes, so that duplicates come.
    let qty = match random.below(12) {
        0 => random.below(1_200) - 100,
        _ => 100 * (1 + random.below(6)),
    };
    let away = (random.below(100) - 50) * (Price::SCALE / 100);
    Asked {
        symbol: 1 + random.below(i64::from(SYMBOLS)) as u32,
        at,
        intent: Intent {
            rule: random.below(3) as u8,
            side,
            price: Price(if is_huge { i64::MAX } else { bid + away }),
            qty: Qty(if is_huge { i64::MAX } else { qty }),
            quote,
            last: if is_without_last {
                Price::NONE
            } else {
                Price(bid)
            },
            tif: Default::default(),
            is_leg: false,
        },
        quote,
        phase,
        is_stale,
    }
}

/// A new process with what the one before saved.
fn restarted(risk: &Risk, config: &RiskConfig) -> Risk {
    let mut fresh = gate(config);
    for symbol in 0..=SYMBOLS {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        risk.save(symbol, &mut out);
        out.finish().unwrap();
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        fresh.load(symbol, &mut from).unwrap();
        from.end().unwrap();
    }
    fresh
}

fn gate(config: &RiskConfig) -> Risk {
    let mut risk = Risk::new(config.clone(), SYMBOLS as usize);
    risk.on_symbol(1, b"GME     ");
    risk.on_symbol(2, b"OTHER   ");
    risk
}

#[test]
fn not_one_order_of_a_flood_passes_a_limit() {
    let wanted = std::env::var("TAPELINE_FLOOD").ok();
    let wanted: u64 = wanted.map_or(400_000, |count| count.parse().expect("a number of orders"));
    let (mut intents, mut passes, mut restarts) = (0, 0, 0);
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0.. {
        if intents >= wanted {
            break;
        }
        let random = &mut Random(seed);
        let config = limits(random);
        let mut risk = gate(&config);
        let mut passed: Vec<Vec<Passed>> = vec![Vec::new(); SYMBOLS as usize + 1];
        let mut at = time("09:29:55");
        for _ in 0..INTENTS_PER_GATE {
            intents += 1;
            at = at.plus_ns(random.below(70_000_000));
            if random.below(100) == 0 {
                risk = restarted(&risk, &config);
                restarts += 1;
            }
            let asked = asked(random, at);
            let before = &mut passed[asked.symbol as usize];
            let want = broken(&config, before, &asked);
            let Asked {
                symbol,
                at,
                intent,
                quote,
                phase,
                is_stale,
            } = &asked;
            match risk.check(*symbol, *at, intent, quote, *phase, *is_stale) {
                Ok(order) => {
                    assert_eq!(want, None, "seed {seed}: {order:?} passed");
                    passes += 1;
                    before.push(Passed { at: *at, order });
                }
                Err(Reject { code, order, .. }) => {
                    assert_eq!(want, Some(code), "seed {seed}: {order:?} was refused");
                    *refused.entry(code.name()).or_default() += 1;
                }
            }
        }
    }
    println!(
        "{intents} orders wanted, {passes} passed, 0 over a limit, {restarts} restarts; refused: {refused:?}"
    );
    assert_eq!(refused.len(), 14, "each rule was met: {refused:?}");
    assert!(passes > intents / 100, "{passes} of {intents} passed");
}
