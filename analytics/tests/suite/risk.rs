use analytics::{Bps, Intent, Risk, RiskConfig};
use bus::signal::{Order, Reject, RejectCode};
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
