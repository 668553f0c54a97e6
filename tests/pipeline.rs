//! The pipeline on sample sessions: the same results at any number of shards and threads, speed
//! and ring size, equal to the simulated exchange's own truth, and a real gap said for what it is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tapeline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tapeline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tapeline"))
        .args(args)
        .output()
        .expect("the program starts")
}

/// Runs the program; it must succeed. Its stdout.
fn ok(args: &[&str]) -> String {
    let output = tapeline(args);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {} {err}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn digest(run: &str) -> String {
    let text = std::fs::read_to_string(Path::new(run).join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["state"], "complete");
    manifest["digest"].as_str().unwrap().to_string()
}

/// Every order of a run, by what it says; the session's own fields differ between shards.
fn orders(run: &str, shards: usize) -> Vec<Vec<(String, String)>> {
    let mut orders = Vec::new();
    for shard in 0..shards {
        let path = Path::new(run)
            .join("orders")
            .join(format!("shard-{shard}.fix"));
        let text = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        for line in text.lines() {
            let fields = line
                .split('\u{1}')
                .filter_map(|field| field.split_once('='));
            let session = ["9", "10", "34", "50"];
            orders.push(
                fields
                    .filter(|(tag, _)| !session.contains(tag))
                    .map(|(tag, value)| (tag.to_string(), value.to_string()))
                    .collect(),
            );
        }
    }
    orders.sort_by_key(|order: &Vec<(String, String)>| {
        order.iter().find(|(tag, _)| tag == "11").cloned()
    });
    orders
}

#[test]
fn the_truth_is_met_at_one_two_and_four_shards_through_loss() {
    let folder = Folder::new("truth");
    let (capture, truth) = (folder.path("s.pcap.zst"), folder.path("s.truth.json"));
    let sample = "sample itch --symbols 64 --seconds 12 --rate 6000 --seed 11 --loss-a 0.05 \
                  --loss-b 0.05 --duplicate 0.01 --reorder 8 -q -o";
    let mut args: Vec<&str> = sample.split_whitespace().collect();
    args.push(&capture);
    ok(&args);
    let mut first: Option<(String, Vec<_>)> = None;
    let (threads, one) = ("pipeline", "run-to-completion");
    for (shards, ring, model) in [
        (1, 65_536, threads),
        (1, 64, threads),
        (2, 1024, threads),
        (4, 256, threads),
        (1, 65_536, one),
        (3, 16, one),
    ] {
        let run = folder.path(&format!("run-{shards}-{ring}-{model}"));
        let config = folder.path("run.toml");
        std::fs::write(
            &config,
            format!("[run]\nshards = {shards}\nring_events = {ring}\nmodel = \"{model}\"\n"),
        )
        .unwrap();
        ok(&["replay", &capture, "-c", &config, "-o", &run, "-q"]);
        let said = ok(&["verify", &run, "--against", &truth]);
        assert!(said.starts_with("truth    equal: 64 symbols"), "{said}");
        let found = (digest(&run), orders(&run, shards));
        assert!(!found.1.is_empty(), "a session without orders tells little");
        match &first {
            None => first = Some(found),
            Some(first) => {
                let how = format!("at {shards} shards, ring {ring}, {model}");
                assert_eq!(first.0, found.0, "digest {how}");
                assert!(first.1 == found.1, "orders {how}");
            }
        }
    }
}

const DECLARED: &str = r#"
[windows.1s]
size = "1s"
lateness = "200ms"
[windows.5s]
size = "5s"
lateness = "200ms"
[windows.1m]
size = "1m"
lateness = "200ms"
[windows.slide]
kind = "sliding"
size = "5s"
slide = "500ms"
lateness = "200ms"
revise = true
eligible = "us-consolidated-v1"
aggregates = ["buy_volume", "realized_variance", "size_quantiles", "twap", "spread", "ofi"]
[windows.day]
kind = "cumulative"
period = "24h"
slide = "1s"
eligible = "no-auctions"
aggregates = ["spread", "depth"]
[windows.burst]
kind = "session"
gap = "300ms"
[windows.fifty]
kind = "count"
trades = 50
[windows.lot]
kind = "volume"
qty = 5000
eligible = "all"
[rules.any]
when = "spread > 0bps"
[monitors.cost]
kind = "effective-spread"
threshold = "4bps"
clear = "2bps"
[monitors.kept]
kind = "realised-spread"
horizon = "200ms"
threshold_ticks = 1
rearm = "50ms"
[patterns.flash]
when = "add[away <= 0] then not trade then cancel[age < 500ms] times 2 within 2s"
[patterns.quiet]
when = "trade then add|cancel times 3 then not trade for 20ms within 1s"
by = "participant"
partial_max = 2
[patterns.stuffing]
kind = "quote-stuffing"
count = 5
age = "2s"
within = "4s"
[regimes.clusters]
model = "garch"
sample = "50ms"
warmup_samples = 10
stressed = 1.2
calm = 0.9
hysteresis = 0.05
[regimes.hidden]
model = "hmm"
sample = "50ms"
warmup_samples = 10
sigmas = [0.5, 1.5]
stay = 0.9
[regimes.changing]
model = "changes"
sample = "50ms"
warmup_samples = 10
run_max = 32
expected_samples = 20.0
stressed = 1.2
calm = 0.9
hysteresis = 0.05
"#;

#[test]
fn what_is_declared_says_the_same_bytes_at_any_number_of_shards() {
    let folder = Folder::new("declared");
    let (capture, truth) = (folder.path("s.pcap.zst"), folder.path("s.truth.json"));
    let sample = "sample itch --symbols 24 --seconds 8 --rate 4000 --seed 3 -q -o";
    let mut args: Vec<&str> = sample.split_whitespace().collect();
    args.push(&capture);
    ok(&args);
    let mut first: Option<(String, [Vec<u8>; 9])> = None;
    for (shards, model) in [
        (1, "pipeline"),
        (2, "pipeline"),
        (4, "pipeline"),
        (2, "run-to-completion"),
    ] {
        // Tables say the run's name, so all have the same.
        let run = folder.path(&format!("{shards}-{model}/run"));
        let config = folder.path("run.toml");
        let how = format!("[run]\nshards = {shards}\nmodel = \"{model}\"\n{DECLARED}");
        std::fs::write(&config, how).unwrap();
        std::fs::create_dir_all(Path::new(&run).parent().unwrap()).unwrap();
        ok(&["replay", &capture, "-c", &config, "-o", &run, "-q"]);
        let said = ok(&["verify", &run, "--against", &truth]);
        assert!(said.starts_with("truth    equal: 24 symbols"), "{said}");
        let table = |name: &str| {
            let path = Path::new(&run).join("tables").join(name);
            std::fs::read(path).unwrap()
        };
        let tables = [
            "windows",
            "adjustments",
            "regimes",
            "alerts",
            "digests",
            "signals",
            "lates",
            "breaks",
            "books",
        ];
        let tables = tables.map(|name| table(&format!("{name}.parquet")));
        let found = (digest(&run), tables);
        match &first {
            None => {
                let path = Path::new(&run).join("tables").join("windows.parquet");
                let rows = tapeline::tables::read_windows(&path).unwrap();
                let mut names: Vec<String> = rows.map(|row| row.unwrap().name).collect();
                names.sort_unstable();
                names.dedup();
                let all = ["1m", "1s", "5s", "burst", "day", "fifty", "lot", "slide"];
                assert_eq!(names, all);
                let said = ok(&["log", "cat", &run, "--json"]);
                let count = |kind: &str, is_rule: &dyn Fn(&str) -> bool| {
                    let of = said.lines().filter(|line| line.contains(kind));
                    of.filter(|line| is_rule(line)).count()
                };
                for rule in 1..=3 {
                    let own = format!("\"rule\":{rule},");
                    let found = count("\"record\":\"regime\"", &|line| line.contains(&own));
                    assert!(found > 0, "regime {rule}");
                }
                for rule in 1..=6 {
                    let own = format!("\"rule\":{rule},");
                    let found = count("\"record\":\"spread\"", &|line| line.contains(&own));
                    assert!(found > 0, "rule, monitor or pattern {rule}");
                }
                // Alerts of rules, monitors and patterns are counted apart.
                let is_spread = |line: &str| line.contains("\"rule\":0,");
                let alerts = "\"record\":\"spread\"";
                let path = Path::new(&run).join("manifest.json");
                let manifest = std::fs::read_to_string(path).unwrap();
                let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
                let counts = &manifest["counts"];
                let (spread, rules) =
                    (count(alerts, &is_spread), count(alerts, &|l| !is_spread(l)));
                assert!(spread > 0 && rules > 0);
                assert!(counts["dropped_matches"].as_u64().unwrap() > 0);
                assert_eq!(
                    (&counts["alerts"], &counts["rule_alerts"]),
                    (&spread.into(), &rules.into())
                );
                first = Some(found);
            }
            Some(first) => assert!(*first == found, "at {shards} shards, {model}"),
        }
    }
}

/// Of a rate a run may be behind, never ahead: the machine may be busy.
#[test]
fn a_rate_takes_its_time_and_does_not_change_results() {
    let folder = Folder::new("rate");
    let capture = folder.path("s.pcap");
    let args = "sample itch --symbols 8 --seconds 2 --rate 2000 --seed 6 --loss-a 0.02 -q -o";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.push(&capture);
    ok(&args);
    let (max, rated) = (folder.path("max"), folder.path("rated"));
    ok(&["replay", &capture, "--speed", "max", "-o", &max, "-q"]);
    let began = std::time::Instant::now();
    let said = ok(&[
        "replay", &capture, "--rate", "10k/s", "--speed", "max", "--shards", "2", "--json", "-o",
        &rated, "-q",
    ]);
    let took = began.elapsed();
    let manifest: serde_json::Value = serde_json::from_str(&said).unwrap();
    let messages = manifest["counts"]["messages"].as_f64().unwrap();
    assert!(messages > 2_000.0, "{manifest}");
    // The last packet is due when all messages before it have had their time; then the end, too.
    assert!(
        took.as_secs_f64() >= messages / 10_000.0,
        "{messages} messages in {took:?}"
    );
    assert_eq!(digest(&max), digest(&rated));
    let config = std::fs::read_to_string(Path::new(&rated).join("config.toml")).unwrap();
    assert!(config.contains("speed = \"10000/s\""), "{config}");
}

#[test]
fn speed_and_file_format_do_not_change_results() {
    let folder = Folder::new("speed");
    let (pcap, itch) = (folder.path("s.pcap.gz"), folder.path("s.itch"));
    for capture in [&pcap, &itch] {
        let args = "sample itch --symbols 8 --seconds 3 --rate 2000 --seed 5 -q -o";
        let mut args: Vec<&str> = args.split_whitespace().collect();
        args.push(capture);
        args.push("--force");
        ok(&args);
    }
    let runs: Vec<String> = ["max", "paced", "itch"]
        .map(|name| folder.path(name))
        .into();
    ok(&["replay", &pcap, "-o", &runs[0], "-q"]);
    ok(&["replay", &pcap, "--speed", "8x", "-o", &runs[1], "-q"]);
    ok(&[
        "replay",
        &itch,
        "--date",
        "2026-01-05",
        "-o",
        &runs[2],
        "-q",
    ]);
    assert_eq!(digest(&runs[0]), digest(&runs[1]));
    assert_eq!(digest(&runs[0]), digest(&runs[2]));
    // Byte for byte, in folders of other names; that of orders also says when each left.
    for table in std::fs::read_dir(Path::new(&runs[0]).join("tables")).unwrap() {
        let name = table.unwrap().file_name();
        if name == "orders.parquet" {
            continue;
        }
        let read = |run: &String| std::fs::read(Path::new(run).join("tables").join(&name)).unwrap();
        assert!(read(&runs[0]) == read(&runs[1]), "{name:?}");
    }
    let said = ok(&["diff", &runs[0], &runs[2]]);
    assert!(said.starts_with("equal: "), "{said}");
}

#[test]
fn what_both_lines_lose_is_a_gap_with_its_symbols_marked() {
    let folder = Folder::new("gap");
    let (capture, truth) = (folder.path("s.pcap"), folder.path("s.truth.json"));
    let args = "sample itch --symbols 16 --seconds 5 --rate 4000 --seed 3 --loss-a 0.02 \
                --loss-b 0.02 --drop-both 2 -q -o";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.push(&capture);
    ok(&args);
    let run = folder.path("run");
    let said = ok(&["replay", &capture, "-o", &run, "-q"]);
    assert!(said.contains("lost on every line"), "{said}");
    let manifest: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(Path::new(&run).join("manifest.json")).unwrap(),
    )
    .unwrap();
    let expected: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&truth).unwrap()).unwrap();
    let lost: Vec<(u64, u64)> = expected["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run[0].as_u64().unwrap(), run[1].as_u64().unwrap()))
        .collect();
    assert_eq!(lost.len(), 2);
    let gaps: Vec<(u64, u64)> = manifest["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| {
            (
                gap["first"].as_u64().unwrap(),
                gap["count"].as_u64().unwrap(),
            )
        })
        .collect();
    let want: Vec<(u64, u64)> = lost
        .iter()
        .map(|(first, last)| (*first, last - first + 1))
        .collect();
    assert_eq!(gaps, want, "the gaps are those that the truth tells of");
    // What differs from the truth is marked, so it is the input's fault: 3, not 4.
    let output = tapeline(&["--json", "verify", &run, "--against", &truth]);
    assert_eq!(output.status.code(), Some(3));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["unmarked"], serde_json::json!([]));
    let marked = verdict["marked_stale"].as_array().unwrap();
    for symbol in expected["lost_symbols"].as_array().unwrap() {
        assert!(
            marked.contains(symbol),
            "{symbol} lost messages and is not marked"
        );
    }
    let output = tapeline(&[
        "replay",
        &capture,
        "-o",
        &folder.path("strict"),
        "--strict",
        "-q",
    ]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn diff_finds_the_first_event_that_is_not_the_same() {
    let folder = Folder::new("diff");
    let itch = folder.path("s.itch");
    let args = "sample itch --symbols 4 --seconds 2 --rate 1000 --seed 9 -q -o";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.push(&itch);
    ok(&args);
    let mut bytes = std::fs::read(&itch).unwrap();
    // The price of an add order far into the file, one tick higher.
    let (mut at, mut changed) = (0, false);
    while at < bytes.len() {
        let length = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        if at > bytes.len() / 2 && bytes[at + 2] == b'A' && bytes[at + 2 + 35] < 200 {
            bytes[at + 2 + 35] += 50;
            changed = true;
            break;
        }
        at += 2 + length;
    }
    assert!(changed);
    let other = folder.path("other.itch");
    std::fs::write(&other, bytes).unwrap();
    let (left, right) = (folder.path("left"), folder.path("right"));
    ok(&["replay", &itch, "-o", &left, "-q"]);
    ok(&["replay", &other, "-o", &right, "-q"]);
    let output = tapeline(&["--json", "diff", &left, &right]);
    assert_eq!(output.status.code(), Some(4));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["equal"], false);
    let (left, right) = (
        said["left"].as_str().unwrap(),
        said["right"].as_str().unwrap(),
    );
    assert!(
        left.contains(" add ") && right.contains(" add ") && left != right,
        "{left} / {right}"
    );
    assert_eq!(said["context"].as_array().unwrap().len(), 3);
}

#[test]
fn only_the_symbols_and_the_times_asked_for_are_concluded() {
    let folder = Folder::new("options");
    let itch = folder.path("s.itch");
    let args = "sample itch --symbols 6 --seconds 4 --rate 1000 --seed 2 -q -o";
    let mut args: Vec<&str> = args.split_whitespace().collect();
    args.push(&itch);
    ok(&args);
    let all = folder.path("all");
    ok(&["replay", &itch, "-o", &all, "-q"]);
    let symbols: serde_json::Value = serde_json::from_str(
        &std::fs::read_to_string(Path::new(&all).join("symbols.json")).unwrap(),
    )
    .unwrap();
    let name = symbols[0]["symbol"].as_str().unwrap();
    let one = folder.path("one");
    ok(&["replay", &itch, "--symbols", name, "-o", &one, "-q"]);
    let of = |run: &str| -> Vec<String> {
        let text = std::fs::read_to_string(Path::new(run).join("digests.csv")).unwrap();
        text.lines()
            .filter(|line| line.starts_with(&format!("{name},")))
            .map(Into::into)
            .collect()
    };
    assert_eq!(
        of(&all),
        of(&one),
        "a symbol's digests do not depend on the others"
    );
    let text = std::fs::read_to_string(Path::new(&one).join("digests.csv")).unwrap();
    assert!(
        text.lines()
            .skip(1)
            .all(|line| line.starts_with(&format!("{name},")))
    );
    // The book does not depend on where conclusions begin.
    let late = folder.path("late");
    ok(&[
        "replay", &itch, "--from", "09:30:02", "--to", "09:30:03", "-o", &late, "-q",
    ]);
    let book = |run: &str| ok(&["book", name, "--run", run, "--at", "09:30:02.5", "--json"]);
    assert_eq!(book(&all), book(&late));
}
