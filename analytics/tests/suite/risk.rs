use analytics::{Bps, Intent, Risk, RiskConfig};
use bus::signal::{Order, Reject, RejectCode};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Phase, Price, Qty, Quote, Side, Ts};

use crate::script::{price, time};
use crate::streams::Random;

/// One order of symbol 1, in the middle of a fine book.
#[derive(Clone)]
struct Try {
    at: Ts,
    intent: Intent,
    quote: Quote,
    phase: Phase,
    stale: bool,
}

fn fine() -> Try {
    let quote = Quote {
        bid: price("99.99"),
        ask: price("100.01"),
        bid_qty: Qty(1),
        ask_qty: Qty(1),
    };
    let (side, price, qty) = (Side::Buy, price("100.01"), Qty(100));
    Try {
        at: time("09:30:00"),
        intent: Intent {
            rule: 0,
            side,
            price,
            qty,
            quote,
            last: Price(price.0),
            tif: Default::default(),
            is_leg: false,
        },
        quote,
        phase: Phase::Trading,
        stale: false,
    }
}

fn config() -> RiskConfig {
    RiskConfig {
        qty_max: Qty(1000),
        notional_max: 50_000,
        collar: Bps::whole(100),
        orders_per_second: 3,
        ..RiskConfig::default()
    }
}

fn ask(risk: &mut Risk, symbol: u32, order: &Try) -> Result<Order, Reject> {
    let Try {
        at,
        intent,
        quote,
        phase,
        stale,
    } = order;
    risk.check(symbol, *at, intent, quote, *phase, *stale)
}

/// What a fresh gate says of a fine order, changed: the rule with its limit and the value.
#[track_caller]
fn check(change: impl FnOnce(&mut Try), expected: Option<(RejectCode, i64, i64)>) {
    let mut order = fine();
    change(&mut order);
    let answer = ask(&mut Risk::new(config(), 1), 1, &order);
    let got = answer
        .err()
        .map(|reject| (reject.code, reject.limit, reject.value));
    assert_eq!(got, expected);
}

#[test]
fn a_fine_order_passes_with_the_quote_it_was_decided_on() {
    let mut order = fine();
    order.intent.quote.bid = price("99.98");
    let passed = ask(&mut Risk::new(config(), 1), 1, &order).expect("passes");
    let want = Order {
        side: Side::Buy,
        price: price("100.01"),
        qty: Qty(100),
        bid: price("99.98"),
        ask: price("100.01"),
        tif: Default::default(),
    };
    assert_eq!(passed, want);
}

#[test]
fn size_at_the_limit_and_beyond() {
    let qty = |qty: i64| {
        move |order: &mut Try| {
            order.intent.qty = Qty(qty);
            order.quote = Quote {
                bid: price("1.00"),
                ask: price("1.02"),
                ..order.quote
            };
            order.intent.price = price("1.01");
        }
    };
    check(qty(1000), None);
    check(qty(1001), Some((RejectCode::Size, 1000, 1001)));
    check(qty(0), Some((RejectCode::Size, 1000, 0)));
    check(qty(-5), Some((RejectCode::Size, 1000, -5)));
    check(
        |order| order.intent.side = Side::None,
        Some((RejectCode::Size, 1000, 100)),
    );
}

#[test]
fn notional_at_the_limit_and_beyond() {
    let at = |text: &'static str| {
        move |order: &mut Try| {
            order.intent.qty = Qty(500);
            order.intent.price = price(text);
        }
    };
    check(at("100.00"), None);
    check(
        at("100.000000001"),
        Some((RejectCode::Notional, 50_000, 50_001)),
    );
    check(at("100.01"), Some((RejectCode::Notional, 50_000, 50_005)));
    check(
        |order| {
            order.intent.price = Price(i64::MAX);
            order.intent.qty = Qty(1000);
        },
        Some((RejectCode::Notional, 50_000, 9_223_372_036_855)),
    );
}

#[test]
fn collar_at_the_limit_and_beyond_on_both_sides() {
    // The mid is 100.00, and 100 basis points of it are 1.00.
    let at = |side, text: &'static str| {
        move |order: &mut Try| {
            order.intent.side = side;
            order.intent.price = price(text);
        }
    };
    for side in [Side::Buy, Side::Sell] {
        check(at(side, "101.00"), None);
        check(at(side, "99.00"), None);
        check(
            at(side, "101.000000001"),
            Some((RejectCode::Collar, 10_000, 10_001)),
        );
        check(
            at(side, "98.999999999"),
            Some((RejectCode::Collar, 10_000, 10_001)),
        );
        check(
            at(side, "102.00"),
            Some((RejectCode::Collar, 10_000, 20_000)),
        );
        check(at(side, "0"), Some((RejectCode::Collar, 10_000, 1_000_000)));
    }
}

#[test]
fn halted_symbols_and_broken_books_are_not_traded() {
    for phase in [Phase::Unknown, Phase::Halted, Phase::QuoteOnly] {
        check(
            |order| order.phase = phase,
            Some((RejectCode::Halted, 1, phase as i64)),
        );
    }
    check(|order| order.stale = true, Some((RejectCode::Book, 0, 1)));
    check(
        |order| order.quote.ask = Price::NONE,
        Some((RejectCode::Book, 0, 2)),
    );
    check(
        |order| order.quote.bid = order.quote.ask,
        Some((RejectCode::Book, 0, 2)),
    );
    check(
        |order| order.quote = Quote::EMPTY,
        Some((RejectCode::Book, 0, 2)),
    );
}

#[test]
fn rate_counts_what_passed_within_a_second_of_event_time() {
    let mut risk = Risk::new(config(), 2);
    let mut at = |symbol, text: &str, qty| {
        let mut order = fine();
        order.at = time(text);
        order.intent.qty = Qty(qty);
        ask(&mut risk, symbol, &order).map_err(|reject| (reject.code, reject.value))
    };
    assert!(at(1, "09:30:00.0", 100).is_ok());
    assert!(at(1, "09:30:00.5", 100).is_ok());
    assert_eq!(
        at(1, "09:30:00.6", 9999),
        Err((RejectCode::Size, 9999)),
        "does not count"
    );
    assert!(at(1, "09:30:00.7", 100).is_ok());
    assert_eq!(at(1, "09:30:00.8", 100), Err((RejectCode::Rate, 4)));
    assert!(at(2, "09:30:00.8", 100).is_ok(), "each symbol has its own");
    assert_eq!(at(1, "09:30:00.999999999", 100), Err((RejectCode::Rate, 4)));
    assert!(at(1, "09:30:01.0", 100).is_ok());
    assert_eq!(at(1, "09:30:01.0", 100), Err((RejectCode::Rate, 4)));
    assert!(at(1, "09:30:01.5", 100).is_ok());
}

#[test]
fn rate_equals_counting_all_orders_of_the_last_second() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let limit = random.below(6) as u32;
        let mut risk = Risk::new(
            RiskConfig {
                orders_per_second: limit,
                ..config()
            },
            1,
        );
        let mut passed: Vec<Ts> = Vec::new();
        let mut order = fine();
        for _ in 0..300 {
            order.at = order.at.plus_ns(random.below(400_000_000));
            let recent = |ts: &&Ts| order.at.since(**ts) < Ts::SECOND_NS;
            let want = passed.iter().filter(recent).count() < limit as usize;
            let got = ask(&mut risk, 1, &order).is_ok();
            assert_eq!(got, want, "seed {seed}, limit {limit}");
            if got {
                passed.push(order.at);
            }
        }
    }
}

/// The rule that refuses, with its limit and the order's value.
type Said = Option<(RejectCode, i64, i64)>;

/// What a gate with other settings says of these orders of symbol 1, one after the other: the rule
/// that refuses, with limit and value.
#[track_caller]
fn in_turn(change: impl FnOnce(&mut RiskConfig), orders: &[(Side, &str, i64, Said)]) {
    let mut config = RiskConfig {
        notional_max: 1_000_000_000,
        qty_max: Qty(1_000_000),
        orders_per_second: 100,
        ..config()
    };
    change(&mut config);
    let mut risk = Risk::new(config.clone(), 2);
    for (number, (side, text, qty, expected)) in orders.iter().enumerate() {
        let mut order = fine();
        (order.intent.side, order.intent.qty) = (*side, Qty(*qty));
        order.intent.price = price(text);
        let reject = ask(&mut risk, 1, &order).err();
        let got = reject.map(|reject| (reject.code, reject.limit, reject.value));
        assert_eq!(got, *expected, "order {number}");
        // What it remembers is what it saved: a restart lets nothing more pass.
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        risk.save(1, &mut out);
        out.finish().unwrap();
        risk = Risk::new(config.clone(), 2);
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        risk.load(1, &mut from).unwrap();
        from.end().unwrap();
    }
}

use RejectCode::{Duplicate, Gross, Net, Position, SelfTrade};
use Side::{Buy, Sell};

#[test]
fn a_position_counts_all_that_passed_of_one_side_and_nothing_of_the_other() {
    in_turn(
        |config| config.position_max = Some(Qty(1000)),
        &[
            (Buy, "100.00", 600, None),
            (Buy, "100.00", 401, Some((Position, 1000, 1001))),
            (Sell, "100.00", 1000, None),
            (Buy, "100.00", 400, None),
            (Buy, "100.00", 1, Some((Position, 1000, 1001))),
            (Sell, "100.00", 1, Some((Position, 1000, 1001))),
        ],
    );
    in_turn(
        |config| config.position_max = Some(Qty(0)),
        &[(Buy, "100.00", 1, Some((Position, 0, 1)))],
    );
}

#[test]
fn gross_and_net_exposure_at_the_limit_and_beyond() {
    in_turn(
        |config| config.gross_max = Some(10_000),
        &[
            (Buy, "100.00", 60, None),
            (Sell, "100.00", 40, None),
            (Sell, "99.00", 1, Some((Gross, 10_000, 10_099))),
        ],
    );
    in_turn(
        |config| config.net_max = Some(10_000),
        &[
            (Buy, "100.00", 100, None),
            (Sell, "100.00", 99, None),
            (Sell, "100.01", 1, Some((Net, 10_000, 10_001))),
            (Sell, "100.00", 1, None),
            (Buy, "99.00", 1, Some((Net, 10_000, 10_099))),
        ],
    );
}

#[test]
fn what_could_trade_with_an_order_of_ours_is_refused_whichever_came_first() {
    in_turn(
        |config| config.refuses_self_trade = true,
        &[
            (Buy, "99.98", 10, None),
            (Buy, "99.97", 10, None),
            (
                Sell,
                "99.98",
                1,
                Some((SelfTrade, 99_980_000_000, 99_980_000_000)),
            ),
            (
                Sell,
                "99.97",
                1,
                Some((SelfTrade, 99_980_000_000, 99_970_000_000)),
            ),
            (Sell, "99.980000001", 1, None),
            (Sell, "100.10", 1, None),
            (
                Buy,
                "99.980000001",
                1,
                Some((SelfTrade, 99_980_000_001, 99_980_000_001)),
            ),
            (Buy, "99.98", 1, None),
        ],
    );
}

#[test]
fn a_duplicate_is_refused_within_its_time_and_not_at_its_end() {
    let config = || RiskConfig {
        duplicate_ns: 500_000_000,
        orders_per_second: 100,
        ..config()
    };
    let mut risk = Risk::new(config(), 2);
    let mut at = |symbol, text: &str, change: &dyn Fn(&mut Try)| {
        let mut order = fine();
        order.at = time(text);
        change(&mut order);
        let reject = ask(&mut risk, symbol, &order).err();
        reject.map(|reject| (reject.code, reject.limit, reject.value))
    };
    let same = |_: &mut Try| {};
    assert_eq!(at(1, "09:30:00.0", &same), None);
    assert_eq!(
        at(1, "09:30:00.0", &same),
        Some((Duplicate, 500_000_000, 0))
    );
    // Others in between hide nothing.
    for qty in 1..50 {
        assert_eq!(
            at(1, "09:30:00.1", &|order| order.intent.qty = Qty(qty)),
            None
        );
    }
    assert_eq!(
        at(1, "09:30:00.499999999", &same),
        Some((Duplicate, 500_000_000, 499_999_999))
    );
    assert_eq!(at(2, "09:30:00.2", &same), None, "another symbol");
    assert_eq!(at(1, "09:30:00.2", &|order| order.intent.side = Sell), None);
    let price = price("100.00");
    assert_eq!(
        at(1, "09:30:00.2", &|order| order.intent.price = price),
        None
    );
    assert_eq!(at(1, "09:30:00.5", &same), None);
    assert_eq!(
        at(1, "09:30:00.6", &same),
        Some((Duplicate, 500_000_000, 100_000_000))
    );
}

#[test]
fn the_last_trade_has_a_collar_too_and_before_it_nothing_passes() {
    let ask_at = |last: Price, text: &str| {
        let config = RiskConfig {
            collar_last: Some(Bps::whole(50)),
            ..config()
        };
        let mut order = fine();
        (order.intent.last, order.intent.price) = (last, price(text));
        let reject = ask(&mut Risk::new(config, 1), 1, &order).err();
        reject.map(|reject| (reject.code, reject.limit, reject.value))
    };
    let code = RejectCode::CollarLast;
    let last = price("100.00");
    assert_eq!(ask_at(last, "100.50"), None);
    assert_eq!(ask_at(last, "99.50"), None);
    assert_eq!(ask_at(last, "100.500000001"), Some((code, 5_000, 5_001)));
    assert_eq!(ask_at(last, "99.499999999"), Some((code, 5_000, 5_001)));
    assert_eq!(ask_at(Price::NONE, "100.00"), Some((code, 5_000, i64::MAX)));
}

#[test]
fn restricted_symbols_and_other_hours_are_refused_first() {
    let midnight = time("00:00:00");
    let hour_ns = 3_600 * Ts::SECOND_NS;
    let config = RiskConfig {
        restricted: vec![*b"GME     "],
        hours_ns: Some((9 * hour_ns, 16 * hour_ns)),
        midnight,
        orders_per_second: 100,
        ..config()
    };
    let mut risk = Risk::new(config, 2);
    risk.on_symbol(1, b"GME     ");
    risk.on_symbol(2, b"GMED    ");
    risk.on_symbol(3, b"GME     ");
    let mut at = |symbol, text: &str| {
        let mut order = fine();
        order.at = time(text);
        order.intent.qty = Qty(0);
        let reject = ask(&mut risk, symbol, &order).unwrap_err();
        (reject.code, reject.limit, reject.value)
    };
    let hours = RejectCode::Hours;
    let size = (RejectCode::Size, 1000, 0);
    assert_eq!(at(1, "10:00:00"), (RejectCode::Restricted, 0, 1));
    assert_eq!(at(2, "09:00:00"), size);
    assert_eq!(at(2, "15:59:59.999999999"), size);
    let early = (hours, 9 * hour_ns, 9 * hour_ns - 1);
    assert_eq!(at(2, "08:59:59.999999999"), early);
    assert_eq!(at(2, "16:00:00"), (hours, 16 * hour_ns, 16 * hour_ns));
}
