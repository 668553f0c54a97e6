//! Models written by hand, held against their formulas worked out in plain arithmetic.

use crate::{Model, Wanted};

#[path = "../../../tests/support/onnx.rs"]
mod onnx;

use onnx::{Dim, FLOAT32, INT64, Message};

fn wanted(inputs: usize) -> Wanted<'static> {
    Wanted {
        inputs,
        output: None,
        index: None,
    }
}

fn refused(bytes: &[u8], wanted: Wanted<'_>) -> String {
    Model::load(bytes, wanted).unwrap_err()
}

/// Numbers from -3 to 3 with some digits.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let step = |index: u32| (index * 7_919 + seed * 104_729) % 6_001;
    let all = 0..count as u32;
    all.map(|index| step(index) as f32 / 1_000.0 - 3.0)
        .collect()
}

#[test]
fn a_logistic_regression_says_what_its_formula_says() {
    let (weights, bias) = ([0.7, -1.3, 0.25], -0.1);
    let model = Model::load(&onnx::logistic(&weights, bias), wanted(3)).unwrap();
    let mut runner = model.runner(None);
    for seed in 0..500 {
        let x = numbers(3, seed);
        let sum: f64 = (x.iter().zip(weights))
            .map(|(x, w)| f64::from(*x) * f64::from(w))
            .sum();
        let want = 1.0 / (1.0 + (-(sum + f64::from(bias))).exp());
        let got = runner.run(&x);
        assert!((got - want).abs() < 1e-6, "{x:?}: {got}, want {want}");
        assert_eq!(runner.run(&x).to_bits(), got.to_bits(), "the same again");
    }
    assert_eq!(runner.counts().runs, 1_000);
    assert_eq!((runner.counts().failed, runner.counts().over), (0, 0));
}

#[test]
fn two_layers_say_what_their_products_say() {
    let first: [&[f32]; 2] = [&[0.5, -0.25, 1.0, 0.1], &[-0.75, 0.3, 0.2, -2.0]];
    let (first_bias, second) = ([0.1, 0.0, -0.2, 0.4], [1.5, -0.6, 0.05, 0.9]);
    let bytes = onnx::layers(&first, &first_bias, &second);
    let of = |output, index| {
        let wanted = Wanted {
            inputs: 2,
            output: Some(output),
            index,
        };
        Model::load(&bytes, wanted).unwrap().runner(None)
    };
    let (mut whole, mut third) = (of("y", None), of("hidden", Some(2)));
    for seed in 0..200 {
        let x = numbers(2, seed);
        let hidden: Vec<f64> = (0..4)
            .map(|column| {
                let products =
                    (x.iter().zip(first)).map(|(x, row)| f64::from(*x) * f64::from(row[column]));
                (products.sum::<f64>() + f64::from(first_bias[column])).max(0.0)
            })
            .collect();
        let want: f64 = (hidden.iter().zip(second))
            .map(|(h, w)| h * f64::from(w))
            .sum();
        assert!((whole.run(&x) - want).abs() < 1e-5, "{x:?}");
        assert!((third.run(&x) - hidden[2]).abs() < 1e-5, "{x:?}");
    }
}

#[test]
fn shapes_types_and_names_that_do_not_fit_are_said() {
    let good = onnx::logistic(&[1.0, 2.0, 3.0], 0.0);
    let error = refused(&good, wanted(4));
    assert_eq!(
        error,
        "input `x` is float32[?, 3], want float32[1, 4], for 4 features"
    );
    let with = |input: Message| {
        onnx::model(
            vec![onnx::node("Relu", &["x"], &["y"])],
            vec![],
            vec![input],
            vec![onnx::value("y", FLOAT32, &[Dim::Size(1), Dim::Size(1)])],
        )
    };
    let one = [Dim::Size(1), Dim::Size(1)];
    let error = refused(&with(onnx::value("x", INT64, &one)), wanted(1));
    assert_eq!(
        error,
        "input `x` is int64[1, 1], want float32[1, 1], for 1 feature"
    );
    let rows = [Dim::Size(8), Dim::Size(1)];
    let error = refused(&with(onnx::value("x", FLOAT32, &rows)), wanted(1));
    assert_eq!(
        error,
        "input `x` is float32[8, 1], want float32[1, 1], for 1 feature"
    );
    let output = |output, index| Wanted {
        inputs: 3,
        output,
        index,
    };
    assert_eq!(
        refused(&good, output(Some("scores"), None)),
        "has no output `scores`; there are `score`"
    );
    assert_eq!(
        refused(&good, output(None, Some(1))),
        "output `score` has 1 elements, want `index` below that, not 1"
    );
    let layers = onnx::layers(&[&[1.0, 2.0]], &[0.0, 0.0], &[1.0, 1.0]);
    assert_eq!(
        refused(&layers, wanted(1)),
        "outputs: `hidden`, `y`; want `output` to name one"
    );
    let hidden = Wanted {
        output: Some("hidden"),
        ..wanted(1)
    };
    assert_eq!(
        refused(&layers, hidden),
        "output `hidden` has 2 elements [1, 2], want one, or `index` to say which"
    );
}

#[test]
fn operators_and_values_that_there_are_not_are_said() {
    let with = |node: Message| {
        let shape = [Dim::Size(1), Dim::Size(2)];
        let (input, output) = (
            onnx::value("x", FLOAT32, &shape),
            onnx::value("y", FLOAT32, &shape),
        );
        onnx::model(vec![node], vec![], vec![input], vec![output])
    };
    assert_eq!(
        refused(&with(onnx::node("Foretell", &["x"], &["y"])), wanted(2)),
        "node `Foretell_y`: operator `Foretell` is unknown to the runtime"
    );
    let foreign = onnx::node("Relu", &["x"], &["y"]).text(7, "com.example");
    assert_eq!(
        refused(&with(foreign), wanted(2)),
        "node `Relu_y`: operator `com.example.Relu` is unknown, want one of ai.onnx or ai.onnx.ml"
    );
    let drawn = refused(
        &with(onnx::node("RandomNormalLike", &["x"], &["y"])),
        wanted(2),
    );
    assert!(drawn.contains("draws its result"), "{drawn}");
    assert_eq!(
        refused(&with(onnx::node("Relu", &["z"], &["y"])), wanted(2)),
        "nothing makes the value `z`"
    );
    assert_eq!(
        refused(&with(onnx::node("Relu", &["x"], &["z"])), wanted(2)),
        "nothing makes the value `y`"
    );
    // Two columns beside three: a product that cannot be.
    let bad = onnx::model(
        vec![onnx::node("MatMul", &["x", "w"], &["y"])],
        vec![onnx::tensor("w", &[3, 1], &[1.0, 2.0, 3.0])],
        vec![onnx::value("x", FLOAT32, &[Dim::Size(1), Dim::Size(2)])],
        vec![onnx::value("y", FLOAT32, &[Dim::Size(1), Dim::Size(1)])],
    );
    assert!(!refused(&bad, wanted(2)).is_empty());
}

#[test]
fn whatever_bytes_come_they_are_a_model_or_an_error() {
    assert_eq!(refused(b"", wanted(1)), "has no graph, want an ONNX model");
    assert!(refused(b"name,weight\n", wanted(1)).starts_with("is not an ONNX model: "));
    let good = onnx::layers(&[&[1.0, 2.0], &[0.5, 0.1]], &[0.0, 0.0], &[1.0, 1.0]);
    let y = Wanted {
        output: Some("y"),
        ..wanted(2)
    };
    let try_it = |bytes: &[u8]| match Model::load(bytes, y) {
        Ok(model) => {
            model.runner(None).run(&[0.5, 0.25]);
        }
        Err(error) => assert!(!error.is_empty() && !error.contains('\n'), "{error}"),
    };
    for end in 0..good.len() {
        try_it(&good[..end]);
    }
    for place in 0..good.len() {
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            try_it(&bytes);
        }
    }
}

#[test]
fn models_are_told_apart_by_their_bytes_and_by_what_they_say() {
    let load = |bias| Model::load(&onnx::logistic(&[1.0, 2.0], bias), wanted(2)).unwrap();
    let (one, again, other) = (load(0.5), load(0.5), load(0.25));
    assert_eq!((&one, one.bits()), (&again, again.bits()));
    assert_ne!(one, other);
    assert_ne!(one.bits(), other.bits());
}

#[test]
fn inferences_are_timed_and_those_over_the_budget_counted() {
    let model = Model::load(&onnx::logistic(&[1.0, 2.0], 0.5), wanted(2)).unwrap();
    let pace = model.pace();
    assert!(0 < pace.p50_ns && pace.p50_ns <= pace.p99_ns, "{pace:?}");
    let (mut none, mut all) = (model.runner(Some(u64::MAX)), model.runner(Some(0)));
    for seed in 0..50 {
        let x = numbers(2, seed);
        assert_eq!(none.run(&x).to_bits(), all.run(&x).to_bits());
    }
    assert_eq!((none.counts().runs, none.counts().over), (50, 0));
    assert_eq!((all.counts().runs, all.counts().over), (50, 50));
    assert!(all.counts().longest_ns > 0);
}
