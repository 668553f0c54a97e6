use bus::state::Versions;
use bus::{Price, Qty, Quote, Signal};

use super::*;

/// Returns of known volatility, and what implementations that are not ours make of them; made by
/// `tests/fixtures/regimes.py`, which has the parameters.
const FIXTURE: &str = include_str!("../../tests/fixtures/regimes.csv");

/// Columns of the fixture: true, bps, garch, hmm2_stressed, hmm3_calm, hmm3_stressed, length,
/// length_likely.
fn fixture() -> Vec<Vec<f64>> {
    let row = |line: &str| line.split(',').map(|cell| cell.parse().unwrap()).collect();
    let rows: Vec<Vec<f64>> = FIXTURE.lines().skip(1).map(row).collect();
    assert_eq!(rows.len(), 600);
    rows
}

fn hmm(sigmas: &[f64], stay: f64) -> HmmConfig {
    HmmConfig {
        sigmas: sigmas.to_vec(),
        stay,
        confidence: 0.8,
    }
}

#[test]
fn garch_is_what_arch_makes_of_the_same_returns() {
    let model = Garch::new(&GarchConfig {
        alpha: 0.1,
        beta: 0.85,
        long_run_bps: Some(2.0),
    });
    let mut state = [0.0; Garch::FLOATS];
    for (index, row) in fixture().iter().enumerate() {
        let seen = model.take(&mut state, row[1], 99.0);
        assert_eq!(seen.sigma, state[0].sqrt());
        // Where it began is forgotten by then: 0.85 to the power of 200 is 1e-14.
        if index >= 200 {
            let off = (state[0] - row[2]).abs() / row[2];
            assert!(off < 1e-10, "return {index}: {} and {}", state[0], row[2]);
        }
    }
}

#[test]
fn hidden_states_are_as_likely_as_hmmlearn_finds_them() {
    for (config, columns) in [
        (hmm(&[1.0, 6.0], 0.98), vec![(1, 3)]),
        (hmm(&[0.8, 2.0, 6.0], 0.95), vec![(0, 4), (2, 5)]),
    ] {
        let model = Hmm::new(&config, Measure::Absolute, 1.0);
        let mut state = vec![0.0; model.floats()];
        for (index, row) in fixture().iter().enumerate() {
            model.take(&mut state, row[1], 99.0);
            let sum: f64 = state[..config.sigmas.len()].iter().sum();
            assert!((sum - 1.0).abs() < 1e-12);
            for &(own, column) in &columns {
                let (found, want) = (state[own], row[column]);
                assert!(
                    (found - want).abs() < 1e-9,
                    "return {index}: {found}, {want}"
                );
            }
        }
    }
}

fn changes(run_max: usize) -> Changes {
    let config = ChangeConfig {
        expected: 100.0,
        run_max,
        prior_bps: 2.0,
    };
    assert_eq!(config.wrong(), None);
    Changes::new(&config, 1.0)
}

#[test]
fn stretches_are_as_likely_as_another_implementation_finds_them() {
    let model = changes(1_024);
    let mut state = vec![0.0; model.floats()];
    for (index, row) in fixture().iter().enumerate() {
        model.take(&mut state, row[1]);
        let length = model.length(&state);
        let likely = state[1 + length * 3];
        assert!(
            (likely - row[7]).abs() < 1e-8,
            "return {index}: {likely}, {}",
            row[7]
        );
        assert_eq!(length as f64, row[6], "return {index}");
    }
}

#[test]
fn stretches_beyond_the_longest_are_one_and_changes_are_found_all_the_same() {
    let (whole, short) = (changes(1_024), changes(40));
    let (mut all, mut few) = (vec![0.0; whole.floats()], vec![0.0; short.floats()]);
    let mut near = 0;
    for row in fixture() {
        let (a, b) = (whole.take(&mut all, row[1]), short.take(&mut few, row[1]));
        let sum: f64 = (0..few[0] as usize).map(|length| few[1 + 3 * length]).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert!(short.is_whole(&few) && short.length(&few) < 40);
        near += usize::from((a.sigma / b.sigma).ln().abs() < 0.35);
    }
    assert!(near > 540, "{near} of 600 within two fifths");
    // What no stretch can explain is a change, and not the end of all numbers: prices can do this.
    let seen = short.take(&mut few, 1e23);
    assert!(seen.sigma.is_finite() && few.iter().all(|value| value.is_finite()));
    assert!(short.take(&mut few, 0.5).sigma.is_finite());
}

struct Random(u64);

impl Random {
    /// Nearly normal, with variance 1.
    fn normal(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

fn config(name: &str, model: ModelKind) -> ModelConfig {
    ModelConfig {
        name: name.into(),
        sample_ns: Ts::SECOND_NS,
        warmup_samples: 30,
        baseline_ns: 600 * Ts::SECOND_NS,
        measure: Measure::Absolute,
        stressed: 4.0,
        calm: 0.5,
        hysteresis: 0.2,
        floor_bps: 0.01,
        model,
    }
}

fn garch() -> ModelKind {
    ModelKind::Garch(GarchConfig {
        alpha: 0.15,
        beta: 0.8,
        long_run_bps: None,
    })
}

fn change() -> ModelKind {
    ModelKind::Changes(ChangeConfig {
        expected: 200.0,
        run_max: 128,
        prior_bps: 2.0,
    })
}

fn all() -> Vec<ModelConfig> {
    vec![
        config("garch", garch()),
        config("hmm2", ModelKind::Hmm(hmm(&[1.5, 8.0], 0.98))),
        config("hmm3", ModelKind::Hmm(hmm(&[0.3, 1.5, 8.0], 0.98))),
        config("change", change()),
    ]
}

fn quoted(mid: f64) -> View {
    let cents = |off: i64| Price((mid * 1e9) as i64 + off * Price::SCALE / 100);
    View {
        quote: Quote {
            bid: cents(-1),
            ask: cents(1),
            bid_qty: Qty(1),
            ask_qty: Qty(1),
        },
        ..View::EMPTY
    }
}

/// One quote each second, and a tick behind it.
fn run(regimes: &mut Regimes, mids: &[f64], from: usize, reload: bool) -> Vec<Signal> {
    let (mut out, mut said) = (Outbox::new(), Vec::new());
    for (index, mid) in mids.iter().enumerate().skip(from) {
        let ts = Ts(index as i64 * Ts::SECOND_NS + Ts::SECOND_NS / 2);
        out.at(ts, index as u64, 1);
        regimes.on_event(0, ts, &quoted(*mid), &mut out);
        if regimes.due(0) <= ts.plus_ns(Ts::SECOND_NS / 2) {
            regimes.on_time(0, ts.plus_ns(Ts::SECOND_NS / 2), &mut out);
        }
        said.extend_from_slice(out.signals());
        out.clear();
        if reload {
            let configs: Vec<ModelConfig> = regimes
                .specs
                .iter()
                .map(|spec| spec.config.clone())
                .collect();
            let mut bytes = Vec::new();
            let mut to = StateWriter::new(&mut bytes, Versions::NEWEST);
            regimes.save(0, &mut to);
            to.finish().unwrap();
            let mut from = StateReader::new(&bytes, Versions::NEWEST);
            *regimes = Regimes::new(&configs, 1);
            regimes.load(&mut from).unwrap();
            from.end().unwrap();
        }
    }
    said
}

fn walk(random: &mut Random, stretches: &[(usize, f64)]) -> Vec<f64> {
    let mut mid = 100.0;
    let mut mids = vec![mid];
    for &(count, sigma) in stretches {
        for _ in 0..count {
            mid *= 1.0 + sigma * 1e-4 * random.normal();
            mids.push(mid);
        }
    }
    mids
}

fn regime_of(signal: &Signal) -> Volatility {
    match signal.body() {
        Some(Body::Regime(change)) => change.to,
        other => panic!("{other:?}"),
    }
}

/// The share of samples with the right verdict, and the time to the first right one of each stretch, over
/// twenty simulated series. Printed with `--nocapture`.
#[test]
fn known_regimes_are_found_and_soon() {
    let stretches = [(300, 1.5), (60, 8.0), (240, 1.5), (60, 8.0), (200, 1.5)];
    let configs = all();
    let mut right = vec![0usize; configs.len()];
    let mut delays = vec![Vec::new(); configs.len()];
    let mut samples = 0;
    for seed in 0..20 {
        let mids = walk(&mut Random(seed), &stretches);
        let mut regimes = Regimes::new(&configs, 1);
        regimes.appear();
        let said = run(&mut regimes, &mids, 0, false);
        for (index, (right, delays)) in right.iter_mut().zip(&mut delays).enumerate() {
            let mut own = said
                .iter()
                .filter(|signal| usize::from(signal.rule) == index + 1);
            let mut next = own.next();
            let mut is_stressed = false;
            let mut at = 0;
            for (stretch, &(count, sigma)) in stretches.iter().enumerate() {
                let mut delay = None;
                for step in 0..count {
                    at += 1;
                    while let Some(signal) = next.filter(|signal| signal.seq <= at) {
                        is_stressed = regime_of(signal) == Volatility::Stressed;
                        next = own.next();
                    }
                    let is_right = is_stressed == (sigma > 4.0);
                    *right += usize::from(is_right && at > 30);
                    if is_right && delay.is_none() {
                        delay = Some(step);
                    }
                }
                if stretch > 0 {
                    delays.push(delay.unwrap_or(count));
                }
            }
            if index == 0 {
                samples += at as usize - 30;
            }
        }
    }
    for ((config, right), delays) in configs.iter().zip(right).zip(&mut delays) {
        delays.sort_unstable();
        let accuracy = right as f64 / samples as f64;
        let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
        println!(
            "{}: {:.1} % of {samples} samples right, found after {median} samples, {worst} at worst",
            config.name,
            accuracy * 100.0
        );
        assert!(accuracy > 0.85, "{}: {accuracy}", config.name);
        assert!(median <= 20, "{}: {median}", config.name);
    }
}

#[test]
fn a_state_that_was_saved_and_loaded_goes_on_with_the_same_bits() {
    let mids = walk(&mut Random(7), &[(80, 1.5), (40, 8.0), (60, 0.3)]);
    let mut said = Vec::new();
    for reload in [false, true] {
        let mut regimes = Regimes::new(&all(), 1);
        regimes.appear();
        said.push(run(&mut regimes, &mids, 0, reload));
        assert!(regimes.bytes_per_symbol() > 128 * 24);
    }
    assert!(said[0].len() > 5 && said[0] == said[1]);
}

#[test]
fn a_halt_and_a_long_rest_are_no_returns() {
    let mut regimes = Regimes::new(&[config("garch", garch())], 1);
    regimes.appear();
    let mut out = Outbox::new();
    let at = |seconds: i64| Ts(seconds * Ts::SECOND_NS + 1);
    let mut event = |regimes: &mut Regimes, seconds, view: &View| {
        out.at(at(seconds), 1, 1);
        regimes.on_event(0, at(seconds), view, &mut out);
        assert!(out.is_empty());
    };
    event(&mut regimes, 0, &quoted(100.0));
    event(&mut regimes, 3, &quoted(100.0));
    assert_eq!(
        (regimes.states[0].samples, regimes.due(0)),
        (2, Ts(4 * Ts::SECOND_NS))
    );
    // Nothing to measure, then at another price, which is no return, and neither is the next step.
    event(&mut regimes, 4, &View::EMPTY);
    event(&mut regimes, 5, &View::EMPTY);
    assert_eq!(regimes.due(0), Ts::MAX);
    event(&mut regimes, 9, &quoted(200.0));
    event(&mut regimes, 11, &quoted(200.0));
    assert_eq!(regimes.states[0].samples, 4);
    assert_eq!(regimes.states[0].long_run, 0.0);
    // A day later the price is another one; of the samples between none is taken one by one.
    event(&mut regimes, 86_400, &quoted(300.0));
    event(&mut regimes, 86_402, &quoted(300.0));
    let state = &regimes.states[0];
    assert!(state.samples < 10 && state.long_run > 0.0);
    regimes.on_gap(0);
    event(&mut regimes, 86_410, &quoted(400.0));
    assert!(regimes.due(0) > at(86_410));
}

#[test]
fn wrong_models_are_named() {
    let problem = |change: &dyn Fn(&mut ModelConfig)| {
        let mut config = config("m", garch());
        change(&mut config);
        ModelConfig::problem(&[config])
    };
    assert_eq!(problem(&|_| {}), None);
    let says = |change: &dyn Fn(&mut ModelConfig), want: &str| {
        let said = problem(change).expect("a problem");
        assert!(
            said.starts_with("regimes.m: ") && said.contains(want),
            "{said}"
        );
    };
    says(&|config| config.sample_ns = 0, "sample");
    says(&|config| config.calm = 4.0, "below stressed");
    says(&|config| config.floor_bps = f64::NAN, "numbers");
    let garch = |alpha, beta| {
        let long_run_bps = None;
        ModelKind::Garch(GarchConfig {
            alpha,
            beta,
            long_run_bps,
        })
    };
    says(&|config| config.model = garch(0.5, 0.5), "together below 1");
    says(
        &|config| config.model = garch(f64::NAN, 0.5),
        "together below 1",
    );
    says(
        &|config| config.model = ModelKind::Hmm(hmm(&[2.0, 1.0], 0.9)),
        "ascending",
    );
    says(
        &|config| config.model = ModelKind::Hmm(hmm(&[1.0], 0.9)),
        "two or three",
    );
    says(
        &|config| config.model = ModelKind::Hmm(hmm(&[1.0, 2.0], 1.0)),
        "stay",
    );
    let changes = |expected, run_max, prior_bps| {
        ModelKind::Changes(ChangeConfig {
            expected,
            run_max,
            prior_bps,
        })
    };
    says(&|config| config.model = changes(1.0, 64, 1.0), "expected");
    says(&|config| config.model = changes(9.0, 1, 1.0), "run_max");
    says(&|config| config.model = changes(9.0, 64, 0.0), "prior");
    let many: Vec<ModelConfig> = all().into_iter().cycle().take(9).collect();
    assert!(ModelConfig::problem(&many).unwrap().contains("9 regimes"));
}
