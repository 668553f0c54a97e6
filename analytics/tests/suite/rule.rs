use analytics::{Condition, RuleConfig, RuleOrder, SuiteConfig, Touch};
use bus::{Qty, Side};

use crate::script::check_with;

/// Nothing but these rules: `name: condition`, and the side of an order behind `->`.
fn only(rules: &[&str]) -> impl FnOnce(&mut SuiteConfig) {
    let rules = rules.iter().map(|line| {
        let (name, rest) = line.split_once(": ").expect("a name");
        let (when, side) = rest.split_once(" -> ").unwrap_or((rest, ""));
        let order = |side| RuleOrder {
            side,
            touch: Touch::Far,
            qty: Qty(10),
            cooldown_ns: 1_000_000_000,
        };
        RuleConfig {
            name: name.into(),
            when: Condition::parse(when).expect(when),
            order: match side {
                "buy" => Some(order(Side::Buy)),
                "sell" => Some(order(Side::Sell)),
                _ => None,
            },
        }
    });
    let rules: Vec<RuleConfig> = rules.collect();
    move |config| {
        config.regime.warmup_samples = u32::MAX;
        config.momentum.enabled = false;
        config.spread.threshold = analytics::Bps::whole(5_000);
        config.spread.clear = analytics::Bps::whole(5_000);
        config.rules = rules;
    }
}

#[test]
fn a_rule_is_raised_when_it_holds_and_cleared_when_it_no_longer_does() {
    check_with(
        only(&["wide: spread >= 20bps"]),
        "quote 09:30:00 99.90x1 100.10x1
         quote 09:30:01 99.80x1 100.20x1 // It is said already.
         quote 09:30:02 99.95x1 100.05x1
         quote 09:30:03 99.95x1 - // Unknown is not held.
         quote 09:30:04 99.90x1 100.10x1",
        "wide raised 09:30:00 20.00bps since 09:30:00
         wide cleared 09:30:02 10.00bps since 09:30:00
         wide raised 09:30:04 20.00bps since 09:30:04",
    );
}

#[test]
fn a_hold_time_ends_at_its_time_whoever_shows_it() {
    let held = || only(&["wide: spread >= 20bps for 100ms"]);
    let want = "wide raised 09:30:00.1 20.00bps since 09:30:00";
    let first = "quote 09:30:00 99.90x1 100.10x1\n";
    check_with(held(), &format!("{first}watermark 09:30:05"), want);
    check_with(held(), &format!("{first}trade 09:30:05 100.00 x1"), want);
    check_with(held(), &format!("{first}watermark 09:30:00.099"), "");
    check_with(
        held(),
        &format!("{first}quote 09:30:00.099 99.99x1 100.01x1\nwatermark 09:31:00"),
        "",
    );
    // Messages were lost meanwhile: the condition says whether that matters to it.
    let script = format!("{first}stale 09:30:00.05\nwatermark 09:31:00");
    check_with(held(), &script, want);
    check_with(
        only(&["wide: not stale and spread >= 20bps for 100ms"]),
        &script,
        "",
    );
}

#[test]
fn an_order_is_wanted_once_for_each_raise_and_rests_after() {
    check_with(
        only(&[
            "lean: imbalance > 0.5 -> buy",
            "thin: imbalance < -0.5 -> sell",
        ]),
        "quote 09:30:00 99.99x400 100.01x100
         quote 09:30:00.1 99.99x500 100.01x100 // Still raised.
         quote 09:30:00.2 99.99x100 100.01x100
         quote 09:30:00.3 99.99x400 100.01x100 // Rests.
         quote 09:30:00.4 99.99x100 100.01x400 // Another rule does not.
         quote 09:30:01 99.99x400 100.01x100
         quote 09:30:01.1 99.99x500 100.01x100",
        "lean raised 09:30:00 2.00bps since 09:30:00
         want buy 10 at 100.01
         lean cleared 09:30:00.2 2.00bps since 09:30:00
         lean raised 09:30:00.3 2.00bps since 09:30:00.3
         lean cleared 09:30:00.4 2.00bps since 09:30:00.3
         thin raised 09:30:00.4 2.00bps since 09:30:00.4
         want sell 10 at 99.99
         lean raised 09:30:01 2.00bps since 09:30:01
         thin cleared 09:30:01 2.00bps since 09:30:00.4
         want buy 10 at 100.01",
    );
}

#[test]
fn the_order_of_a_rule_with_a_hold_time_comes_with_the_next_event() {
    let held = || only(&["lean: imbalance > 0.5 for 100ms -> buy"]);
    let raised = "lean raised 09:30:00.1 2.00bps since 09:30:00\n";
    let first = "quote 09:30:00 99.99x400 100.01x100\nwatermark 09:30:00.2\n";
    check_with(held(), first, raised);
    check_with(
        held(),
        &format!("{first}quote 09:30:00.3 99.99x500 100.02x100"),
        &format!("{raised}want buy 10 at 100.02"),
    );
    // If it no longer holds then, there is none.
    check_with(
        held(),
        &format!("{first}quote 09:30:00.3 99.99x100 100.01x100"),
        &format!("{raised}lean cleared 09:30:00.3 2.00bps since 09:30:00.1"),
    );
    // While the symbol does not trade it waits.
    check_with(
        held(),
        &format!(
            "{first}halt 09:30:00.3\nresume 09:30:00.4\nquote 09:30:00.5 99.99x500 100.01x100"
        ),
        &format!("{raised}want buy 10 at 100.01"),
    );
    check_with(
        only(&["any: 1 < 2 -> sell"]),
        "trade 09:30:00 100.00 x1
         quote 09:30:00.1 99.99x1 -
         quote 09:30:00.2 99.99x1 100.01x1
         quote 09:30:00.3 99.98x1 100.01x1",
        "any raised 09:30:00 0.00bps since 09:30:00
         want sell 10 at 99.99",
    );
}

#[test]
fn symbols_know_nothing_of_each_other() {
    check_with(
        only(&["busy: trades >= 2"]),
        "trade 09:30:00 10.00 x1
         #2 trade 09:30:00.1 10.00 x1
         #2 trade 09:30:00.2 10.00 x1
         trade 09:30:00.3 10.00 x1",
        "#2 busy raised 09:30:00.2 0.00bps since 09:30:00.2
         busy raised 09:30:00.3 0.00bps since 09:30:00.3",
    );
}

#[test]
fn rules_that_cannot_be_are_said() {
    let mut config = SuiteConfig::standard(8);
    only(&["a: stale -> buy"])(&mut config);
    assert_eq!(config.problem(), None);
    config.rules[0].order.as_mut().unwrap().qty = Qty(0);
    let problem = config.problem().expect("no quantity");
    assert!(
        problem.starts_with("rule a: want a side, a quantity above 0"),
        "{problem}"
    );
    config.rules = vec![
        RuleConfig {
            order: None,
            ..config.rules[0].clone()
        };
        13
    ];
    assert_eq!(
        config.problem().as_deref(),
        Some("13 rules, want at most 12")
    );
}
