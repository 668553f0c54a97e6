use bus::signal::Volatility;
use bus::{Notional, Qty, Quote, Ts};

use super::*;

fn view() -> View {
    let cents = |cents: i64| Price(cents * Price::SCALE / 100);
    View {
        quote: Quote {
            bid: cents(10_000),
            ask: cents(10_010),
            bid_qty: Qty(300),
            ask_qty: Qty(100),
        },
        phase: Phase::Trading,
        regime: Volatility::Stressed,
        regime_known: true,
        sigma_bps: 2.5,
        last_price: cents(10_010),
        last_qty: Qty(40),
        volume: Qty(1_000),
        notional: Notional(i128::from(100 * Price::SCALE) * 1_000),
        high: cents(10_050),
        low: cents(9_990),
        trade_count: 7,
        ..View::EMPTY
    }
}

#[track_caller]
fn holds(text: &str) -> bool {
    Condition::parse(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .holds(&view())
}

#[track_caller]
fn refusal(text: &str) -> String {
    Condition::parse(text).expect_err(text).to_string()
}

#[test]
fn what_holds_and_what_does_not() {
    for text in [
        "spread_bps > 9.99 and spread_bps < 10",
        "spread > 9bps and 10bps > spread",
        "spread == 0.10 and ask - bid == 0.1 and ask - 0.10 == bid",
        "bid == 100 and ask == 100.10 and mid == 100.05 and micro == 100.075",
        "imbalance == 0.5 and bid_qty == 3 * ask_qty and bid_qty + ask_qty >= 400",
        "last == ask and last_qty == 40 and volume == 1000 and trades == 7",
        "vwap == 100 and (last - vwap) / vwap > 0.0009",
        "high - low > 0.5 and high - low < 0.61",
        "regime == 'stressed' and phase == \"trading\" and 'calm' != regime",
        "sigma_bps >= 2.5 and sigma_bps + 1 == 3.5bps",
        "not stale and not (spread_alert or stale)",
        "abs(bid - ask) == 0.1 and min(bid, ask) == bid and max(bid, 100.2) > ask",
        "-spread < 0 and --spread > 0 and 2 * -3 == -6 and 1 + 2 * 3 == 7",
        "1 > 2 or 2 > 1 and 3 > 2",
        "bid < 100.000000001",
    ] {
        assert!(holds(text), "{text}");
        assert!(!holds(&format!("not ({text})")), "not {text}");
    }
}

#[test]
fn the_unknown_decides_nothing() {
    let holds = |text: &str| Condition::parse(text).unwrap().holds(&View::EMPTY);
    for unknown in [
        "bid > 0",
        "ask < 1",
        "last == last",
        "vwap > 0",
        "regime == 'normal'",
        "imbalance > 0",
        "spread_bps < 100",
        "min(last, 1) == 1",
        "sigma_bps >= 0",
        "last_qty >= 0",
        "micro > 0",
    ] {
        assert!(!holds(unknown), "{unknown}");
        assert!(!holds(&format!("not ({unknown})")), "not {unknown}");
        assert!(holds(&format!("{unknown} or 1 == 1")), "{unknown}");
        assert!(holds(&format!("1 == 1 or {unknown}")), "{unknown}");
        assert!(holds(&format!("not ({unknown} and 1 == 2)")), "{unknown}");
        assert!(!holds(&format!("{unknown} and 1 == 1")), "{unknown}");
    }
    assert!(holds("volume == 0 and phase == 'unknown' and bid_qty == 0"));
}

#[test]
fn hold_times() {
    let hold_ns = |text: &str| Condition::parse(text).unwrap().hold_ns();
    assert_eq!(hold_ns("stale"), 0);
    assert_eq!(hold_ns("stale for 200ms"), 200_000_000);
    assert_eq!(hold_ns("stale or bid > 1 for 1.5s"), 1_500_000_000);
    assert_eq!(hold_ns("stale for 3us"), 3_000);
    assert_eq!(hold_ns("stale for 24m"), 24 * 60 * Ts::SECOND_NS);
}

#[test]
fn what_is_wrong_is_said_with_its_column() {
    for (text, want) in [
        ("", "column 1: found the end, want a name or a number"),
        (
            "bid",
            "column 1: this is a price, want a condition, like `spread > 5bps`",
        ),
        (
            "bid > ask_qty",
            "column 5: a price and a quantity do not go together",
        ),
        (
            "bid * ask > 3",
            "column 5: a price cannot be multiplied with a price",
        ),
        (
            "3 / bid > 3",
            "column 3: a plain number cannot be divided by a price",
        ),
        (
            "bid > stale",
            "column 5: a price and true or false cannot be compared",
        ),
        (
            "imbalance > bid",
            "column 11: a plain number and a price do not go together",
        ),
        (
            "spread > 5ms",
            "column 10: `5ms`: unknown unit, want none or `bps`",
        ),
        (
            "regime == 'wild'",
            "column 11: a regime is never 'wild', but calm, normal, stressed",
        ),
        (
            "regime > 'calm'",
            "column 8: a regime and a word cannot be compared",
        ),
        (
            "'calm' == 'calm'",
            "column 11: want a name and a word, like `regime == 'stressed'`",
        ),
        (
            "regime == phase",
            "column 1: want a name and a word, like `regime == 'stressed'`",
        ),
        (
            "not bid",
            "column 5: this is a price, want true or false, as a comparison says",
        ),
        (
            "bid and stale",
            "column 1: this is a price, want true or false, as a comparison says",
        ),
        (
            "bid > 1 for 5",
            "column 13: found `5`, want a time of at most a day, like `200ms`",
        ),
        (
            "bid > 1 for 2000m",
            "column 13: found `2000m`, want a time of at most a day, like `200ms`",
        ),
        (
            "bid > 1 ask",
            "column 9: found `ask`, want `and`, `or`, `for` or the end",
        ),
        ("(bid > 1", "column 9: found the end, want `)`"),
        ("min(bid)", "column 8: found `)`, want `,`"),
        (
            "abs(stale) > 1",
            "column 5: this is true or false, want a number",
        ),
        ("bid > 1.2.3", "column 7: `1.2.3` is no number"),
        ("bid > 1 & stale", "column 9: `&` means nothing here"),
        ("regime == 'calm", "column 11: the word after ' has no end"),
        ("bid = 1", "column 5: `=` means nothing here"),
    ] {
        assert_eq!(refusal(text), want, "{text}");
    }
    assert!(refusal("bdi > 1").starts_with("column 1: `bdi` is not known; there are bid, ask,"));
}

#[test]
fn what_is_too_large_is_refused() {
    let deep = format!("{}stale{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(refusal(&deep), "column 33: nested deeper than 32");
    assert!(refusal(&"not ".repeat(40)).ends_with("nested deeper than 32"));
    assert!(refusal(&format!("1 < {}1", "-".repeat(40))).ends_with("nested deeper than 32"));
    assert!(refusal(&"stale or ".repeat(200)).starts_with("column 1001: a condition of 1800"));
    let wide = format!("{}1{} > 0", "1+(".repeat(20), ")".repeat(20));
    assert_eq!(
        refusal(&wide),
        "column 1: 22 values wait for each other, want at most 16"
    );
}

#[test]
fn a_condition_may_be_of_one_symbol() {
    let symbol = |text: &str| Condition::parse_of_symbol(text).map(|(_, symbol)| symbol);
    assert_eq!(symbol("spread > 9bps"), Ok(None));
    assert_eq!(symbol("aapl.spread > 9bps"), Ok(Some("AAPL".into())));
    assert_eq!(
        symbol("BRK.A.bid > 1 and not BRK.A.stale"),
        Ok(Some("BRK.A".into()))
    );
    let (of_symbol, _) = Condition::parse_of_symbol("A.spread > 9bps for 1ms").unwrap();
    assert_eq!(
        of_symbol,
        Condition::parse("spread > 9bps for 1ms").unwrap()
    );
    let error = |text: &str| symbol(text).unwrap_err().to_string();
    assert_eq!(
        error("A.bid > B.bid"),
        "column 9: names the symbol B beside A, want one"
    );
    assert_eq!(
        error("1 < AAPL."),
        "column 5: want a field behind `AAPL.`, like `AAPL.spread`"
    );
    let error = error("AAPL.sprad > 1");
    assert!(error.starts_with("column 1: "), "{error}");
    // Rules are about every symbol.
    assert_eq!(
        refusal("1 < A.bid"),
        "column 5: names the symbol A; here a condition is about any, so leave it out"
    );
}

#[test]
fn a_value_is_a_number_in_units_of_the_currency() {
    let value = |text: &str| Value::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    for (text, want) in [
        ("bid", 100.0),
        ("ask - bid", 0.1),
        ("imbalance", 0.5),
        ("(last - vwap) / vwap", 0.001),
        ("sigma_bps * 2", 5.0),
        ("bid_qty", 300.0),
        ("regime", 2.0),
        ("regime == 'stressed'", 1.0),
        ("stale", 0.0),
    ] {
        assert_eq!(value(text).of(&view()), want, "{text}");
    }
    assert!(value("last / high").of(&View::EMPTY).is_nan());
    let refusal = |text: &str| Value::parse(text).unwrap_err().to_string();
    assert_eq!(
        refusal("'calm'"),
        "column 1: this is a word, want a number, like `imbalance`"
    );
    assert!(refusal("bid + bid_qty").starts_with("column "));
    assert!(refusal("imbalance for 5ms").starts_with("column 11: "));
    assert_eq!(
        refusal("A.bid"),
        "column 1: names the symbol A; here it is any, so leave it out"
    );
}

#[test]
fn models_are_asked_by_name_and_unknown_while_they_say_nothing() {
    let models = ["down", "up"];
    let condition =
        Condition::parse_among("model.up > 0.8 and model.up - model.down > 0.1", &models);
    let condition = condition.unwrap();
    let holds = |scores: &[f64]| {
        condition.holds_of(&Known {
            view: &View::EMPTY,
            scores,
        })
    };
    assert!(holds(&[0.5, 0.9]));
    assert!(!holds(&[0.85, 0.9]));
    assert!(!holds(&[0.5, 0.8]));
    assert!(!holds(&[f64::NAN, 0.9]) && !holds(&[0.5, f64::NAN]) && !holds(&[]));
    assert!(!condition.holds(&View::EMPTY));
    let error = |text: &str| {
        Condition::parse_among(text, &models)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error("spread > 5bps and model.flat > 1"),
        "column 19: there is no model `flat` here; there are down, up"
    );
    assert_eq!(
        error("model.up > 5bps"),
        "column 10: a plain number and basis points do not go together"
    );
    let none = Condition::parse("model.up > 1").unwrap_err().to_string();
    assert_eq!(none, "column 1: there is no model `up` here, nor any other");
    // Where a symbol may stand, one of this name is meant.
    let (_, symbol) = Condition::parse_of_symbol("model.bid > 1").unwrap();
    assert_eq!(symbol.as_deref(), Some("MODEL"));
}
