//! Models in ONNX: what they say is what their formulas say of the features that the log has, with the
//! same bytes at any number of shards and after a stop; and what cannot be used is refused at the start.

mod support;

#[cfg(feature = "onnx")]
use std::path::Path;

use support::program;
use support::runs::Runs;
#[cfg(feature = "onnx")]
use support::{alone, digests, manifest, signal, tapeline};

#[path = "support/onnx.rs"]
mod onnx;

const WEIGHTS: [f32; 3] = [1.5, -0.08, 2.0];
const BIAS: f32 = 0.25;

const CONFIG: &str = r#"
[momentum]
enabled = false

[features.a_imbalance]
value = "imbalance"
[features.b_spread]
value = "spread_bps"
[features.c_alert]
alert = "wide"
[features.d_up]
value = "model.up"
[features.e_slow]
value = "model.slow"

[models.up]
file = "up.onnx"
features = ["a_imbalance", "spread_bps", "c_alert"]
budget = "1ns"

[models.slow]
file = "layers.onnx"
features = ["imbalance", "spread_bps"]
output = "hidden"
index = 1
on = "every 50ms"

[rules.wide]
when = "spread_bps > 5bps"

[rules.sure]
when = "model.up > 0.8 and model.slow >= 0"
side = "buy"
cooldown = "100ms"

[strategies.follow]
kind = "model"
model = "up"
middle = 0.5
enter = 0.35
leave = 0.2
cooldown = "100ms"

[checkpoint]
every = "100ms"
"#;

/// A session, with models and settings beside it.
fn with_models(name: &str) -> Runs {
    let runs = Runs::new(name, CONFIG);
    let folder = &runs.folder;
    folder.write("up.onnx", onnx::logistic(&WEIGHTS, BIAS));
    let first: [&[f32]; 2] = [&[0.5, 1.0], &[0.25, -0.01]];
    let layers = onnx::layers(&first, &[0.1, 0.2], &[1.0, 1.0]);
    folder.write("layers.onnx", layers);
    runs
}

#[cfg(not(feature = "onnx"))]
#[test]
fn a_program_without_models_says_how_to_build_one_with_them() {
    let runs = with_models("onnx-absent");
    let output = runs.command(&runs.folder.join("run")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("models.slow: this program was built without ONNX models"),
        "{said}"
    );
    assert!(said.contains("--features onnx"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!runs.folder.join("run").exists());
    let settings = format!("{}: models.slow: ", runs.config.display());
    assert!(said.contains(&settings), "{said}");
    // Whoever looks at the settings hears the same.
    for word in ["check", "show"] {
        let mut command = program();
        let shown = support::run(command.args(["config", word]).arg(&runs.config));
        assert_eq!(shown.expect(2).stderr, said, "config {word}");
    }
}

/// The error that these settings end in, in a line, with nothing begun.
#[cfg(feature = "onnx")]
fn refused(runs: &Runs, name: &str, text: &str) -> String {
    let config = runs.folder.write(name, text);
    let run = runs.folder.join("refused");
    let mut command = program();
    command.arg("replay").arg(&runs.capture).arg("-o").arg(&run);
    let ended = support::run(command.arg("-c").arg(config)).expect(2);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(!run.exists(), "{}", ended.stderr);
    ended.stderr
}

#[cfg(feature = "onnx")]
fn table(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("tables/features.parquet")).unwrap()
}

#[cfg(feature = "onnx")]
#[test]
fn models_say_what_their_formulas_say_at_any_number_of_shards_and_after_a_kill() {
    let _alone = alone();
    let runs = with_models("onnx");
    let one = runs.folder.join("one");
    let ended = runs.start(&one, 1, "max").wait_for_end().expect(0);
    assert!(
        ended
            .stderr
            .contains("models.up.budget: an inference takes"),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("model up: "), "{}", ended.stdout);
    let counts = &manifest(&one)["counts"]["models"]["up"];
    assert!(counts["runs"].as_u64().unwrap() > 1_000, "{counts}");
    // Nothing takes a nanosecond.
    assert_eq!(counts["runs"], counts["over_budget"]);
    assert_eq!(counts["failed"], 0);

    // Each decision's score is the formula's of the features that were logged with it.
    let said = tapeline(args![
        "log".to_string(),
        "cat".to_string(),
        one,
        "--json".to_string()
    ]);
    let (mut scored, mut sure, mut unsure) = (0, 0, 0);
    for line in said.expect(0).stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        if record["record"] != "features" {
            continue;
        }
        let value = |index: usize| record[format!("value_{index}")].as_f64();
        let (Some(imbalance), Some(spread), Some(up)) = (value(0), value(1), value(3)) else {
            continue;
        };
        let formula = |alert: f64| {
            let inputs = [imbalance, spread, alert];
            let products = inputs.iter().zip(WEIGHTS);
            let sum: f64 = products.map(|(x, w)| x * f64::from(w)).sum();
            1.0 / (1.0 + (-(sum + f64::from(BIAS))).exp())
        };
        // The vector has what rules say at this event; the model, which they wait for, what they said before.
        let now = value(2).unwrap();
        let is_now = (up - formula(now)).abs() < 1e-5;
        let is_before = (up - formula(1.0 - now)).abs() < 1e-5;
        assert!(is_now || is_before, "{line}: want {}", formula(now));
        scored += 1;
        match up > 0.8 {
            true => sure += 1,
            false => unsure += 1,
        }
    }
    assert!(
        scored > 50 && sure > 10 && unsure > 5,
        "{scored} {sure} {unsure}"
    );
    let orders = tapeline::tables::read_orders(&one.join("tables/orders.parquet")).unwrap();
    let names: Vec<String> = orders.map(|order| order.unwrap().name).collect();
    for name in ["sure", "follow"] {
        assert!(names.iter().any(|own| own == name), "{name}");
    }

    let (want, want_digests) = (table(&one), digests(&one));
    for shards in [2, 4] {
        let run = runs.folder.join(&format!("at-{shards}"));
        runs.start(&run, shards, "max").wait_for_end().expect(0);
        assert!(table(&run) == want, "at {shards} shards");
        assert!(digests(&run) == want_digests, "at {shards} shards");
    }
    // Killed in its midst, with checkpoints, and gone on with; and the same after a polite stop.
    for is_killed in [true, false] {
        let run = runs
            .folder
            .join(if is_killed { "killed" } else { "stopped" });
        let mut process = runs.midway(&run, 2, 10);
        if is_killed {
            process.kill();
        } else {
            signal(process.id(), "INT");
            process.wait_for_end().expect(130);
        }
        let resume = ["replay".to_string(), "--resume".to_string()];
        // Another model under the same name is not gone on with.
        let (path, kept) = (runs.folder.join("up.onnx"), runs.folder.join("kept.onnx"));
        std::fs::rename(&path, &kept).unwrap();
        std::fs::write(&path, onnx::logistic(&WEIGHTS, 0.0)).unwrap();
        let other = tapeline(args![resume[0].clone(), resume[1].clone(), run]).expect(2);
        assert!(
            other.stderr.contains("another file than the settings name"),
            "{}",
            other.stderr
        );
        std::fs::rename(&kept, &path).unwrap();
        tapeline(args![resume[0].clone(), resume[1].clone(), run]).expect(0);
        assert!(digests(&run) == want_digests, "killed: {is_killed}");
        assert!(table(&run) == want, "killed: {is_killed}");
    }
}

#[cfg(feature = "onnx")]
#[test]
fn models_that_cannot_be_used_are_refused_before_anything_begins() {
    let _alone = alone();
    let runs = with_models("onnx-refused");
    let model = |rest: &str| format!("[models.up]\nfile = \"up.onnx\"\n{rest}\n");
    let says = |text: &str, want: &[&str]| {
        let said = refused(&runs, "refused.toml", text);
        for want in want {
            assert!(said.contains(want), "{said}want {want}");
        }
    };
    says(
        &model("features = [\"imbalance\", \"spread_bps\"]"),
        &[
            "refused.toml: models.up: ",
            "up.onnx: input `x` is float32[?, 3], want float32[1, 2], for 2 features",
        ],
    );
    says(
        &model("features = [\"imbalance\", \"spread_bsp\", \"mid\"]"),
        &[
            "models.up.features: `spread_bsp`: ",
            "no [features.spread_bsp]",
            "column 1",
        ],
    );
    let three = "features = [\"imbalance\", \"spread_bps\", \"mid\"]\n";
    says(
        &model(&format!("{three}output = \"scores\"")),
        &["up.onnx: has no output `scores`; there are `score`"],
    );
    says(
        &model(&format!("{three}on = \"every day\"")),
        &[
            "refused.toml, line 4",
            "want \"event\", or a time like \"every 100ms\"",
        ],
    );
    says(
        &model(&format!("{three}over = \"refuse\"\nbudget = \"1ns\"")),
        &[
            "refused.toml: models.up.budget: an inference takes ",
            "above its budget of 1ns",
        ],
    );
    says(
        &format!("{}[rules.r]\nwhen = \"model.down > 1\"\n", model(three)),
        &["rules.r.when: column 1: there is no model `down` here; there are up"],
    );
    says(
        &format!(
            "{}[strategies.s]\nkind = \"model\"\nmodel = \"down\"\nenter = 0.1\n",
            model(three)
        ),
        &["strategies.s.model: there is no [models.down]"],
    );
    says(
        &format!("{}sha256 = \"00\"\n", model(three)),
        &[
            "refused.toml: models.up.sha256: ",
            "up.onnx: another file than the settings name",
        ],
    );
    says(
        &format!("{}bits = \"00\"\n", model(three)),
        &[
            "refused.toml: models.up.bits: ",
            "up.onnx: says other last bits here",
        ],
    );
    std::fs::write(runs.folder.join("up.onnx"), "not a model\n").unwrap();
    says(&model(three), &["up.onnx: is not an ONNX model"]);
    std::fs::remove_file(runs.folder.join("up.onnx")).unwrap();
    says(
        &model(three),
        &[
            "refused.toml: models.up.file: ",
            "up.onnx: No such file or directory",
        ],
    );
}
