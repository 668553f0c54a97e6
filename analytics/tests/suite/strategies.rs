use analytics::strategies::{
    QueueImbalance, SpreadCapture, StrategyConfig, StrategyKind, VwapReversion,
};
use analytics::{Bps, SuiteConfig, Touch};
use bus::{Price, Qty};

use crate::script::check_with;
use crate::streams::{Random, run_from, run_reloading, stream};

fn queue() -> StrategyKind {
    StrategyKind::QueueImbalance(QueueImbalance {
        enter: 0.5,
        leave: 0.2,
    })
}

fn reversion() -> StrategyKind {
    StrategyKind::VwapReversion(VwapReversion {
        enter: Bps::whole(20),
        leave: Bps::whole(5),
        trades_min: 2,
    })
}

fn capture() -> SpreadCapture {
    SpreadCapture {
        spread_min: Bps::whole(10),
        tick: Price(10_000_000),
        inside: 1,
        skew: 4,
        inventory_max: Qty(20),
        life_ns: 2_000_000_000,
    }
}

fn strategy(kind: StrategyKind, touch: Touch) -> StrategyConfig {
    StrategyConfig {
        name: "own".into(),
        kind,
        touch,
        qty: Qty(10),
        cooldown_ns: 1_000_000_000,
    }
}

fn only(kind: StrategyKind, touch: Touch) -> impl FnOnce(&mut SuiteConfig) {
    move |config| {
        config.windows.truncate(1);
        config.windows[0].size_ns = 3_600_000_000_000;
        config.regime.warmup_samples = u32::MAX;
        config.momentum.enabled = false;
        config.spread.threshold = Bps::whole(5_000);
        config.spread.clear = Bps::whole(5_000);
        config.strategies = vec![strategy(kind, touch)];
    }
}

#[test]
fn queue_imbalance_leans_to_the_heavier_side_once() {
    check_with(
        only(queue(), Touch::Near),
        "quote 09:30:00 99.90x200 100.10x100 // A third is not enough,
         quote 09:30:01 99.90x300 100.10x100 // a half is.
         quote 09:30:02 99.90x900 100.10x100 // In already.
         quote 09:30:03 99.90x200 100.10x100 // Not out yet, so it is not in anew
         quote 09:30:04 99.90x300 100.10x100
         quote 09:30:05 99.90x100 100.10x100 // Out.
         quote 09:30:06 99.90x300 100.10x100
         quote 09:30:07 99.90x100 100.10x300 // The other side needs no rest between.
         quote 09:30:07.5 99.90x100 100.10x100
         quote 09:30:07.9 99.90x100 100.10x300 // Within the cooldown it waits,
         quote 09:30:08 99.90x100 100.10x301   // and comes if it still wants to.",
        "want buy 10 at 99.90
         want buy 10 at 99.90
         want sell 10 at 100.10
         want sell 10 at 100.10",
    );
}

#[test]
fn queue_imbalance_wants_nothing_while_the_symbol_does_not_trade() {
    check_with(
        only(queue(), Touch::Far),
        "halt 09:29:59
         quote 09:30:00 99.90x900 100.10x100
         resume 09:30:01
         quote 09:30:02 99.90x900 -
         quote 09:30:03 100.10x900 100.00x100",
        "want buy 10 at 100.10",
    );
}

#[test]
fn vwap_reversion_trades_against_a_mid_far_from_the_average() {
    check_with(
        only(reversion(), Touch::Far),
        "trade 09:30:00 100.00 x10
         quote 09:30:00.5 100.90x1 101.10x1 // One trade is no average yet.
         trade 09:30:01 100.00 x30         // Now the mid is 100 bps above it.
         quote 09:30:02 100.09x1 100.29x1   // 19 bps: in still.
         quote 09:30:03 100.10x1 100.30x1   // 20 bps, in already.
         quote 09:30:04 99.95x1 100.15x1    // 5 bps: out.
         quote 09:30:05 100.10x1 100.30x1   // Exactly 20 bps counts.
         quote 09:30:07 99.70x1 99.90x1     // 20 bps below.",
        "want sell 10 at 100.90
         want sell 10 at 100.10
         want buy 10 at 99.90",
    );
}

#[test]
fn spread_capture_quotes_inside_a_wide_spread_and_leans_against_what_it_holds() {
    check_with(
        only(StrategyKind::SpreadCapture(capture()), Touch::Near),
        "quote 09:30:00 99.96x100 100.05x100   // 9 bps is not wide enough,
         quote 09:30:01 99.95x100 100.05x100   // ten is.
         quote 09:30:02 99.94x100 100.06x100   // Both stand.
         report 09:30:02.5 fill buy 99.96 4 6  // Some of one is no end of it.
         quote 09:30:03 99.95x100 100.06x100
         report 09:30:03.1 fill buy 99.96 6 0
         report 09:30:03.2 expired sell 100.04 10 0
         quote 09:30:03.3 99.90x100 100.10x100 // Ten of twenty are held: two of four ticks lower,
         report 09:30:04.5 fill buy 99.89 10 0
         report 09:30:05.3 expired sell 100.07 10 0
         quote 09:30:06 99.90x100 100.10x100   // and all are: four ticks, and no more to buy.
         report 09:30:06.1 fill sell 100.05 10 0
         quote 09:30:06.9 99.90x100 100.10x100 // The sale rests still, of the other side nothing is out.
         quote 09:30:07 99.90x100 100.10x100
         quote 09:30:10.8 99.90x100 100.10x100 // Nothing was heard of the bid,
         quote 09:30:10.9 99.90x100 100.10x100 // which counts as gone after twice its life.",
        "want buy 10 at 99.96 until 09:30:03
         want sell 10 at 100.04 until 09:30:03
         want buy 10 at 99.89 until 09:30:05.3
         want sell 10 at 100.07 until 09:30:05.3
         want sell 10 at 100.05 until 09:30:08
         want buy 10 at 99.89 until 09:30:08.9
         want sell 10 at 100.07 until 09:30:09
         want buy 10 at 99.89 until 09:30:12.9",
    );
}

#[test]
fn quotes_of_both_sides_never_meet() {
    check_with(
        only(StrategyKind::SpreadCapture(capture()), Touch::Near),
        "quote 09:30:00 99.90x100 100.10x100
         report 09:30:01 expired buy 99.91 10 0
         quote 09:30:01.1 100.20x100 100.40x100 // It would meet the quote at 100.09,
         report 09:30:02 expired sell 100.09 10 0
         quote 09:30:02.1 100.20x100 100.40x100 // which is over now.",
        "want buy 10 at 99.91 until 09:30:02
         want sell 10 at 100.09 until 09:30:02
         want buy 10 at 100.21 until 09:30:04.1
         want sell 10 at 100.39 until 09:30:04.1",
    );
}

/// Whatever is saved and loaded after each event, the same follows.
#[test]
fn strategies_go_on_from_a_saved_state() {
    let mut orders = 0;
    for seed in 0..30 {
        let random = &mut Random(seed);
        let steps = stream(random, 400, 3, 100_000_000);
        let mut config = SuiteConfig::standard(3);
        config.momentum.enabled = false;
        config.strategies = [queue(), reversion(), StrategyKind::SpreadCapture(capture())]
            .map(|kind| strategy(kind, Touch::Far))
            .into();
        // Orders are not said by analytics; what a decision saw is.
        config.features = vec![analytics::FeatureConfig {
            name: "bid".into(),
            source: analytics::FeatureSource::Value(analytics::expr::Value::parse("bid").unwrap()),
        }];
        let (said, state) = run_from(&config, None, &steps, 0);
        let (want, want_state) = run_reloading(&config, &steps);
        assert!(said == want && state == want_state, "seed {seed}");
        let is_decision = |signal: &&bus::Signal| signal.kind == bus::signal::SignalKind::Features;
        orders += said.iter().filter(is_decision).count();
    }
    assert!(orders > 200, "{orders} orders");
}

#[test]
fn strategies_with_settings_that_make_no_sense_are_refused() {
    let problem = |kind: StrategyKind| {
        let mut config = SuiteConfig::standard(1);
        config.strategies = vec![strategy(kind, Touch::Far)];
        config.problem().expect("a problem")
    };
    let queue = |enter, leave| {
        problem(StrategyKind::QueueImbalance(QueueImbalance {
            enter,
            leave,
        }))
    };
    assert!(queue(0.5, 0.5).contains("want 0 <= leave < enter <= 1"));
    assert!(queue(1.5, 0.5).starts_with("strategy own: enter 1.5"));
    assert!(queue(f64::NAN, 0.0).contains("enter NaN"));
    let zero = VwapReversion {
        enter: Bps(0),
        leave: Bps(0),
        trades_min: 0,
    };
    assert!(problem(StrategyKind::VwapReversion(zero)).contains("enter 0bps"));
    let capture = |change: fn(&mut SpreadCapture)| {
        let mut capture = capture();
        change(&mut capture);
        problem(StrategyKind::SpreadCapture(capture))
    };
    assert!(capture(|capture| capture.spread_min = Bps(0)).contains("spread_min 0bps"));
    for change in [
        |capture: &mut SpreadCapture| capture.tick = Price(0),
        |capture: &mut SpreadCapture| capture.inside = 10_001,
        |capture: &mut SpreadCapture| capture.inventory_max = Qty(0),
        |capture: &mut SpreadCapture| capture.life_ns = 0,
    ] {
        assert!(capture(change).contains("want a tick above 0"));
    }
    let mut config = SuiteConfig::standard(1);
    config.strategies = vec![strategy(self::queue(), Touch::Far); 4];
    assert_eq!(
        config.problem().as_deref(),
        Some("4 strategies, want at most 3")
    );
}
