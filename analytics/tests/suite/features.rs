use analytics::expr::Value;
use analytics::{
    Bps, Condition, FeatureConfig, FeatureSource, RuleConfig, RuleOrder, SuiteConfig, Take, Touch,
};
use bus::signal::Body;
use bus::{Price, Qty, Side, Ts};

use crate::script::check_with;
use crate::streams::{Random, rules, run_from, run_reloading, stream};

fn value(text: &str) -> FeatureSource {
    FeatureSource::Value(Value::parse(text).expect(text))
}

const VWAP: FeatureSource = FeatureSource::Window {
    rule: 0,
    take: Take::Vwap,
};

fn features(sources: &[FeatureSource]) -> Vec<FeatureConfig> {
    let feature = |(index, source): (usize, &FeatureSource)| FeatureConfig {
        name: format!("f{index}"),
        source: source.clone(),
    };
    sources.iter().enumerate().map(feature).collect()
}

/// A rule that buys while the bid is heavy, and these features.
fn only(sources: &[FeatureSource]) -> impl FnOnce(&mut SuiteConfig) {
    let features = features(sources);
    move |config| {
        config.regime.warmup_samples = u32::MAX;
        config.momentum.enabled = false;
        config.spread.threshold = Bps::whole(5_000);
        config.spread.clear = Bps::whole(5_000);
        config.rules = vec![RuleConfig {
            name: "lean".into(),
            when: Condition::parse("imbalance >= 0.5").unwrap(),
            order: Some(RuleOrder {
                side: Side::Buy,
                touch: Touch::Far,
                qty: Qty(10),
                cooldown_ns: 0,
            }),
        }];
        config.features = features;
    }
}

#[test]
fn a_decision_comes_with_what_was_known_and_what_was_said_until_then() {
    let alert = FeatureSource::Alert { rule: 1 };
    let calm = FeatureSource::Regime { rule: 0 };
    let sources = [value("imbalance"), value("last"), VWAP, alert, calm];
    check_with(
        only(&sources),
        "quote 09:30:00 99.90x300 100.10x100
         trade 09:30:00.5 100.02 x10
         quote 09:30:00.6 99.90x100 100.10x100
         quote 09:30:00.7 99.90x900 100.10x100 // The window is not said yet.
         quote 09:30:00.8 99.90x100 100.10x100
         watermark 09:30:01.2
         trade 09:30:01.3 100.50 x10
         quote 09:30:01.4 99.90x300 100.10x100",
        "lean raised 09:30:00 20.00bps since 09:30:00
         features 09:30:00 1 from 0: [0.5, NaN, NaN, 1.0, NaN]
         want buy 10 at 100.10
         lean cleared 09:30:00.6 20.00bps since 09:30:00
         lean raised 09:30:00.7 20.00bps since 09:30:00.7
         features 09:30:00.7 1 from 0: [0.8, 100.02, NaN, 1.0, NaN]
         want buy 10 at 100.10
         lean cleared 09:30:00.8 20.00bps since 09:30:00.7
         1s 09:30:00 vwap 100.02 qty 10
         lean raised 09:30:01.4 20.00bps since 09:30:01.4
         features 09:30:01.4 1 from 0: [0.5, 100.5, 100.02, 1.0, NaN]
         want buy 10 at 100.10",
    );
}

#[test]
fn more_than_one_signal_has_are_several_in_order() {
    let sources: Vec<FeatureSource> = (0..14).map(|n| value(&format!("bid_qty + {n}"))).collect();
    check_with(
        only(&sources),
        "quote 09:30:00 99.90x300 100.10x100",
        "lean raised 09:30:00 20.00bps since 09:30:00
         features 09:30:00 1 from 0: [300.0, 301.0, 302.0, 303.0, 304.0, 305.0, 306.0, 307.0, 308.0, 309.0, 310.0, 311.0]
         features 09:30:00 1 from 12: [312.0, 313.0]
         want buy 10 at 100.10",
    );
}

#[test]
fn nothing_is_said_where_nobody_wants_an_order() {
    check_with(
        only(&[value("imbalance")]),
        "quote 09:30:00 99.90x100 100.10x100
         trade 09:30:00.5 100.02 x10",
        "",
    );
}

/// The vector is that of who reads all that was said, and a state that is saved and loaded after each
/// event goes on with it.
#[test]
fn features_equal_the_latest_of_what_was_said() {
    let mut vectors = 0;
    for seed in 0..30 {
        let random = &mut Random(seed);
        let steps = stream(random, 400, 3, 100_000_000);
        let mut config = SuiteConfig::standard(3);
        config.regime.warmup_samples = 5;
        config.momentum.enabled = false;
        config.rules = rules(&["spread > 12bps for 70ms", "imbalance > 0.2"]);
        for rule in &mut config.rules {
            rule.order = Some(RuleOrder {
                side: Side::Sell,
                touch: Touch::Near,
                qty: Qty(1),
                cooldown_ns: 0,
            });
        }
        config.features = features(&[
            VWAP,
            FeatureSource::Regime { rule: 0 },
            FeatureSource::Alert { rule: 0 },
            FeatureSource::Alert { rule: 2 },
        ]);
        let (said, state) = run_from(&config, None, &steps, 0);
        let (want, want_state) = run_reloading(&config, &steps);
        assert!(
            said == want && state == want_state,
            "seed {seed}: saved and loaded"
        );
        let mut known = [[f64::NAN, f64::NAN, 0.0, 0.0]; 4];
        let mut end = [Ts::MIN; 4];
        for signal in &said {
            let symbol = signal.symbol as usize;
            let own = &mut known[symbol];
            match signal.body().unwrap() {
                Body::Window(x) if signal.rule == 0 && signal.ts_event >= end[symbol] => {
                    end[symbol] = signal.ts_event;
                    let vwap = x.notional.per(x.volume).unwrap();
                    own[0] = vwap.0 as f64 / Price::SCALE as f64;
                }
                Body::Regime(x) => own[1] = f64::from(x.to as u8),
                Body::Spread(x) if signal.rule == 0 => own[2] = f64::from(u8::from(x.raised)),
                Body::Spread(x) if signal.rule == 2 => own[3] = f64::from(u8::from(x.raised)),
                Body::Features(x) => {
                    let bits = |values: &[f64]| -> Vec<u64> {
                        values.iter().map(|value| value.to_bits()).collect()
                    };
                    assert_eq!(bits(&x.values[..4]), bits(own), "seed {seed}: {signal:?}");
                    assert_eq!((x.first, x.count), (0, 4));
                    vectors += 1;
                }
                _ => {}
            }
        }
    }
    assert!(vectors > 500, "only {vectors} vectors");
}
