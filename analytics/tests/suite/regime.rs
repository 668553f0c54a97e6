use analytics::{Measure, SuiteConfig};
use bus::signal::{Body, Volatility};
use bus::{Price, Qty, Quote, Ts};

use crate::reference::Step;
use crate::script::{MIDNIGHT, check_with};
use crate::streams::{Random, run};

/// Samples each second, verdicts from the second return on, absolute.
fn absolute(config: &mut SuiteConfig) {
    config.regime.sample_ns = Ts::SECOND_NS;
    config.regime.half_life_ns = Ts::SECOND_NS;
    config.regime.warmup_samples = 2;
    config.regime.measure = Measure::Absolute;
    config.regime.stressed = 10.0;
    config.regime.calm = 2.0;
    config.regime.hysteresis = 0.25;
    config.spread.threshold = analytics::Bps::whole(5000);
    config.momentum.enabled = false;
}

#[test]
fn thresholds_have_hysteresis() {
    // Each line moves the mid by this many basis points of a half-weighted mean of squares:
    // the estimate is said after each sample.
    check_with(
        absolute,
        "quote 09:30:00.5 99.99x1 100.01x1   // Sampled at 1, with no return yet.
         quote 09:30:01.5 100.04x1 100.06x1  // 5 at 2: warming up.
         quote 09:30:02.5 100.24x1 100.26x1  // 20 at 3: half of 25 and 400 is 14.6 squared.
         quote 09:30:03.5 100.24x1 100.26x1  // 0 at 4: 10.3, above the 7.5 that end it.
         watermark 09:30:05                  // 7.3 at 5.
         watermark 09:30:08                  // 2.6 at 8.
         watermark 09:30:09                  // 1.8 at 9.
         quote 09:30:20.5 100.27x1 100.29x1  // 3 at 21: 2.1, below the 2.5 that end calm.
         watermark 09:30:21
         quote 09:30:21.5 100.30x1 100.32x1  // 3 at 22: 2.6.
         watermark 09:30:22",
        "regime 09:30:03 normal to stressed
         regime 09:30:05 stressed to normal
         regime 09:30:09 normal to calm
         regime 09:30:22 calm to normal",
    );
}

#[test]
fn the_price_of_a_sample_is_the_one_before_its_time() {
    check_with(
        absolute,
        "quote 09:30:00.5 99.99x1 100.01x1
         quote 09:30:03 100.99x1 101.01x1  // At 3 itself: in the sample of 4.
         watermark 09:30:03
         watermark 09:30:04",
        "regime 09:30:03 normal to calm
         regime 09:30:04 calm to stressed",
    );
}

#[test]
fn a_halt_hides_what_the_price_does_meanwhile() {
    check_with(
        absolute,
        "quote 09:30:00.5 99.99x1 100.01x1
         quote 09:30:01.5 100.04x1 100.06x1
         quote 09:30:02.5 99.99x1 100.01x1
         watermark 09:30:03
         halt 09:30:03.5
         watermark 09:30:50
         quote 09:30:50.5 119.99x1 120.01x1
         resume 09:30:51
         watermark 09:31:00",
        "regime 09:30:55 normal to calm",
    );
}

/// A random walk of the mid in steps of 20 ms, each stretch with its own volatility in basis
/// points per square root of a second.
fn walk(random: &mut Random, stretches: &[(i64, f64)]) -> Vec<(u32, Step)> {
    let mut now = MIDNIGHT.plus_ns(34_200 * Ts::SECOND_NS);
    let mut mid = 100.0;
    let mut steps = Vec::new();
    for &(seconds, sigma_bps) in stretches {
        for index in 0..seconds * 50 {
            now = now.plus_ns(20_000_000);
            mid *= 1.0 + sigma_bps * 1e-4 * 0.02f64.sqrt() * random.normal();
            let cents = (mid * 1000.0) as i64 * Price::SCALE / 1000;
            let side = Price::SCALE / 100;
            let (bid, ask) = (Price(cents - side), Price(cents + side));
            let quote = Quote {
                bid,
                ask,
                bid_qty: Qty(100),
                ask_qty: Qty(100),
            };
            steps.push((1, Step::Quote(now, quote)));
            if index % 5 == 4 {
                steps.push((0, Step::Watermark(now)));
            }
        }
    }
    steps
}

#[test]
fn known_regimes_are_found_on_a_simulated_series() {
    let stretches = [(120, 2.0), (20, 12.0), (90, 2.0), (40, 0.3)];
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    let mut false_count = 0;
    let seeds = 50;
    for seed in 0..seeds {
        let steps = walk(&mut Random(seed), &stretches);
        let mut changes = Vec::new();
        for signal in run(&SuiteConfig::standard(1), &steps, true) {
            if let Some(Body::Regime(change)) = signal.body() {
                let at = signal.ts_event.since(MIDNIGHT) as f64 / 1e9 - 34_200.0;
                changes.push((at, change.to));
            }
        }
        let first = |from: f64, until: f64, wanted: &dyn Fn(Volatility) -> bool| {
            let mut inside = changes.iter().filter(|(at, _)| (from..until).contains(at));
            inside.find(|(_, to)| wanted(*to)).map(|(at, _)| at - from)
        };
        found[0].extend(first(120.0, 140.0, &|to| to == Volatility::Stressed));
        found[1].extend(first(140.0, 230.0, &|to| to != Volatility::Stressed));
        found[2].extend(first(230.0, 270.0, &|to| to == Volatility::Calm));
        let is_quiet = |at: f64| at < 120.0 || (150.0..230.0).contains(&at);
        let is_false =
            |change: &&(f64, Volatility)| is_quiet(change.0) && change.1 == Volatility::Stressed;
        false_count += changes.iter().filter(is_false).count();
    }
    let [begin, end, calm] = found.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        (
            seconds.len(),
            seconds[seconds.len() / 2],
            seconds[seconds.len() - 1],
        )
    });
    println!("of {seeds} series, found and after how many seconds (median, longest):");
    println!("stressed {begin:.2?}, its end {end:.2?}, calm {calm:.2?}, falsely {false_count}");
    let all = seeds as usize;
    assert_eq!(
        (begin.0, end.0, calm.0),
        (all, all, all),
        "every storm, its end, every calm"
    );
    assert!(
        begin.1 < 2.5 && begin.2 < 6.0,
        "a storm is seen within seconds"
    );
    assert!(calm.1 < 10.0, "calm is seen within some half-lives");
    assert!(
        false_count <= seeds as usize / 10,
        "in nearly three hours of normal trading"
    );
}

#[test]
fn one_jump_is_no_storm() {
    let mut steps = walk(&mut Random(7), &[(60, 2.0)]);
    let (_, Step::Quote(ts, quote)) = steps[steps.len() - 2] else {
        panic!("a quote")
    };
    let up = Price::SCALE / 5; // 20 basis points: ten times what a second brings.
    let jumped = Quote {
        bid: Price(quote.bid.0 + up),
        ask: Price(quote.ask.0 + up),
        ..quote
    };
    for ms in (20..3000).step_by(20) {
        let now = ts.plus_ns(ms * 1_000_000);
        steps.push((1, Step::Quote(now, jumped)));
        steps.push((0, Step::Watermark(now)));
    }
    let is_stress = |body: Option<Body>| matches!(body, Some(Body::Regime(change)) if change.to == Volatility::Stressed);
    let said = run(&SuiteConfig::standard(1), &steps, true);
    assert!(!said.iter().any(|signal| is_stress(signal.body())));
}

#[test]
fn thresholds_that_cannot_be_told_apart_are_refused() {
    let problem = |stressed, calm, hysteresis| {
        let mut config = SuiteConfig::standard(1);
        config.regime.stressed = stressed;
        config.regime.calm = calm;
        config.regime.hysteresis = hysteresis;
        config.problem()
    };
    assert_eq!(problem(2.0, 0.5, 0.2), None);
    assert!(problem(2.0, 1.5, 0.2).is_some());
    assert!(problem(2.0, 0.0, 0.2).is_some());
    assert!(problem(2.0, 0.5, 1.0).is_some());
    assert!(problem(f64::NAN, 0.5, 0.2).is_some());
    assert!(problem(2.0, 0.5, f64::NAN).is_some());
}
