//! What decisions saw: a row for each order that a strategy wanted, the same bytes at any number of
//! shards and after a stop.

mod support;

use std::collections::VecDeque;
use std::path::Path;

use support::runs::Runs;
use support::{alone, digests, manifest, signal, tapeline};
use tapeline::tables::{Status, read_orders};

const CONFIG: &str = r#"
[momentum]
lookback = "200ms"
threshold = "1bps"
sigmas = 0.2
imbalance = 0.1
cooldown = "50ms"

[rules.lean]
when = "imbalance >= 0.8"
side = "buy"
cooldown = "200ms"

[groups.a]
symbols = ["KUWG", "TSEW"]

[groups.b]
symbols = ["EEWN", "MYPH"]

[strategies.pair]
kind = "pairs"
legs = ["EEWN", "MYPH"]
period = "20ms"
half_life = "200ms"
enter = 1.0
samples_min = 5

[windows.1s]
size = "1s"
[windows.flow]
kind = "sliding"
size = "2s"
slide = "200ms"
aggregates = ["trade_imbalance", "ofi"]

[regimes.clusters]
model = "garch"
sample = "50ms"
warmup_samples = 10
stressed = 1.2
calm = 0.9
hysteresis = 0.05

[features.a_imbalance]
value = "imbalance"
[features.b_from_vwap]
value = "(last - vwap) / vwap"
[features.c_bid]
value = "bid"
[features.d_vwap_1s]
window = "1s"
take = "vwap"
[features.e_flow]
window = "flow"
take = "trade_imbalance"
[features.f_ofi]
window = "flow"
take = "ofi"
[features.g_garch]
regime = "clusters"
[features.h_lean]
alert = "lean"

[checkpoint]
every = "100ms"
"#;

fn table(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("tables/features.parquet")).unwrap()
}

#[test]
fn each_decision_has_its_features_at_any_number_of_shards_and_after_a_stop() {
    let _alone = alone();
    let runs = Runs::new("features", CONFIG);
    let one = runs.folder.join("one");
    runs.start(&one, 1, "max").wait_for_end().expect(0);
    let orders = read_orders(&one.join("tables/orders.parquet")).unwrap();
    let orders: Vec<_> = orders.map(Result::unwrap).collect();
    assert!(orders.len() > 100, "{} orders", orders.len());
    assert!(orders.iter().any(|order| order.status == Status::Rejected));
    for strategy in ["momentum", "lean", "pair"] {
        assert!(
            orders.iter().any(|order| order.name == strategy),
            "{strategy}"
        );
    }
    // As the log has it: one vector in front of each order, of its symbol and strategy.
    let said = tapeline(args![
        String::from("log"),
        String::from("cat"),
        one,
        String::from("--json")
    ]);
    let mut vectors = VecDeque::new();
    let (mut decisions, mut known) = (0, [0; 8]);
    for line in said.expect(0).stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let of = [&record["seq"], &record["symbol"], &record["rule"]].map(|v| v.as_u64());
        match record["record"].as_str().unwrap() {
            "features" => {
                assert_eq!((&record["first"], &record["count"]), (&0.into(), &8.into()));
                for (index, count) in known.iter_mut().enumerate() {
                    *count += i32::from(record[format!("value_{index}")].is_number());
                }
                vectors.push_back(of);
            }
            "order" | "reject" => {
                // All vectors of an event come first, in the order of its orders.
                assert_eq!(vectors.pop_front(), Some(of), "{line}");
                decisions += 1;
            }
            _ => {}
        }
    }
    assert!(vectors.is_empty());
    assert_eq!(decisions, orders.len());
    assert!(known.iter().all(|count| *count > 10), "{known:?}");

    let (want, want_digests) = (table(&one), digests(&one));
    for shards in [2, 4] {
        let run = runs.folder.join(&format!("at-{shards}"));
        runs.start(&run, shards, "max").wait_for_end().expect(0);
        assert!(table(&run) == want, "at {shards} shards");
    }
    // Stopped in its midst, with checkpoints, and gone on with.
    let run = runs.folder.join("stopped");
    let mut process = runs.midway(&run, 2, 5);
    signal(process.id(), "INT");
    process.wait_for_end().expect(130);
    assert_eq!(manifest(&run)["state"], "stopped");
    tapeline(args![String::from("replay"), String::from("--resume"), run]).expect(0);
    assert!(digests(&run) == want_digests);
    assert!(table(&run) == want, "after a stop");
}
