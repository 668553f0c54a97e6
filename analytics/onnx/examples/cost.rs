//! How long does an inference take, by the size of the model?
//!
//! ```sh
//! cargo run --release -p onnx-model --features runtime --example cost
//! ```
//!
//! Prints lines of the table in `analytics/ONNX.md`: the median and the 99th percentile of 2,000
//! inferences one after another, of inputs that differ, and a hash of what they said.

#[path = "../../../tests/support/onnx.rs"]
mod onnx;

fn main() {
    use onnx_model::{Model, Wanted};

    let number = |at: usize| ((at * 7_919) % 2_001) as f32 / 1_000.0 - 1.0;
    println!("| model | inputs | p50, us | p99, us | bits |");
    println!("|---|---|---|---|---|");
    for (inputs, hidden) in [(3, 0), (16, 0), (16, 32), (48, 64), (48, 512)] {
        let row: Vec<f32> = (0..hidden.max(1)).map(number).collect();
        let rows: Vec<&[f32]> = (0..inputs).map(|_| &row[..]).collect();
        let (words, bytes, output) = match hidden {
            0 => {
                let weights: Vec<f32> = (0..inputs).map(number).collect();
                (
                    "logistic regression".into(),
                    onnx::logistic(&weights, 0.5),
                    "score",
                )
            }
            _ => {
                let bytes = onnx::layers(&rows, &row, &row);
                (format!("{hidden} hidden, ReLU"), bytes, "y")
            }
        };
        let wanted = Wanted {
            inputs,
            output: Some(output),
            index: None,
        };
        let model = Model::load(&bytes, wanted).expect("a model of our own");
        let pace = model.pace();
        let [p50, p99] = [pace.p50_ns, pace.p99_ns].map(|ns| ns as f64 / 1e3);
        println!(
            "| {words} | {inputs} | {p50:.1} | {p99:.1} | {:016x} |",
            model.bits()
        );
    }
}
