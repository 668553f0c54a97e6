//! The lab: what it says of runs about which something is known.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A directory of this test's own, gone when it ends.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("tapeline-lab-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `tapeline bench`; its exit code and what it said on stderr.
fn bench(words: &[&str], out: &Path) -> (i32, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_tapeline"))
        .arg("bench")
        .args(words)
        .arg("-o")
        .arg(out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (ran.status.code().unwrap(), said)
}

fn report(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap()
}

/// A small load, which any machine holds.
const SMALL: [&str; 9] = [
    "latency",
    "--symbols",
    "20",
    "--rate",
    "5k/s",
    "--duration",
    "400ms",
    "--warmup",
    "100ms",
];

#[test]
fn an_overload_is_saturated() {
    let place = Place::new("overload");
    let input = Place::new("overload-input");
    fs::create_dir_all(&input.0).unwrap();
    let file = input.0.join("session.itch");
    let session = exchange::Session {
        symbols: 20,
        seconds: 2,
        rate: 100_000,
        ..exchange::Session::default()
    };
    exchange::write_itch(&session, &file, &exchange::ItchOptions::default()).unwrap();
    // No machine takes a message in a nanosecond.
    let words = [
        "latency",
        "--input",
        file.to_str().unwrap(),
        "--rate",
        "1000M/s",
        "--duration",
        "150us",
        "--warmup",
        "0s",
        "--trials",
        "1",
    ];
    let (code, said) = bench(&words, &place.0);
    assert_eq!(code, 8, "{said}");
    assert!(
        said.contains("SATURATED") && said.contains("never emptied"),
        "{said}"
    );
    let report = report(&place.0);
    assert_eq!(report["verdict"], "SATURATED");
    let page = fs::read_to_string(place.0.join("report.html")).unwrap();
    assert!(page.contains("<strong>SATURATED</strong>"));
}

#[test]
fn the_same_seed_gives_the_same_counts_and_another_does_not() {
    let counts = |name: &str, seed: &str| -> Value {
        let place = Place::new(name);
        let words = [&SMALL[..], &["--trials", "2", "--seed", seed]].concat();
        let (code, said) = bench(&words, &place.0);
        assert!([0, 7, 8].contains(&code), "{code}: {said}");
        let report = report(&place.0);
        let trials = report["trials"].as_array().unwrap();
        assert_eq!(trials.len(), 2);
        assert_eq!(trials[0]["counts"], trials[1]["counts"]);
        trials[0]["counts"].clone()
    };
    let first = counts("seed-a", "11");
    assert!(first[0].as_u64().unwrap() > 1_000, "{first}");
    assert_eq!(first, counts("seed-b", "11"));
    assert_ne!(first, counts("seed-c", "12"));
}

#[test]
fn what_is_written_is_read_back_as_what_was_said() {
    let place = Place::new("files");
    let words = [&SMALL[..], &["--trials", "2"]].concat();
    let (code, said) = bench(&words, &place.0);
    assert!([0, 7, 8].contains(&code), "{code}: {said}");
    let report = report(&place.0);
    let stages = report["stages"].as_array().unwrap();
    assert!(stages.len() >= 9, "{report}");
    let logged = read_log(&fs::read(place.0.join("latency.hlog")).unwrap());
    for stage in stages {
        let name = stage["stage"].as_str().unwrap();
        let count = stage["count"].as_u64().unwrap();
        let (_, histogram) = logged.iter().find(|(tag, _)| tag == name).unwrap();
        assert_eq!(histogram.len(), count, "{name}");
        let max_ns = stage["max_ns"].as_u64().unwrap();
        assert_eq!(histogram.max(), max_ns, "{name}");
        for (at, quantile) in [0.5, 0.9, 0.99, 0.999, 0.9999].into_iter().enumerate() {
            let said = stage["quantiles_ns"][at].as_u64();
            // Fewer than ten samples beyond: not said.
            assert_eq!(
                said.is_some(),
                count as f64 * (1.0 - quantile) >= 9.999,
                "{name} {at}"
            );
            if let Some(ns) = said {
                assert_eq!(histogram.value_at_quantile(quantile), ns, "{name} {at}");
            }
        }
        let text = fs::read_to_string(place.0.join(format!("{name}.hgrm"))).unwrap();
        let last = text
            .lines()
            .find(|line| line.contains("1.000000000000"))
            .unwrap();
        let cells: Vec<&str> = last.split_whitespace().collect();
        assert_eq!(cells[2].parse::<u64>().unwrap(), count, "{name}");
        let us: f64 = cells[0].parse().unwrap();
        assert!(
            (us * 1e3 / max_ns.max(1) as f64 - 1.0).abs() < 2e-3 || max_ns < 2,
            "{name} {us}"
        );
    }
    let csv = fs::read_to_string(place.0.join("percentiles.csv")).unwrap();
    let total = csv
        .lines()
        .find(|line| line.starts_with("all,total,"))
        .unwrap();
    assert_eq!(total.split(',').count(), 10);
    assert!(total.contains(",n/a,"), "{total}");
}

fn read_log(bytes: &[u8]) -> Vec<(String, hdrhistogram::Histogram<u64>)> {
    use base64::Engine as _;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let mut deserializer = Deserializer::new();
    let mut found: Vec<(String, hdrhistogram::Histogram<u64>)> = Vec::new();
    for entry in IntervalLogIterator::new(bytes) {
        let LogEntry::Interval(interval) = entry.unwrap() else {
            continue;
        };
        let tag = interval.tag().unwrap().as_str().to_string();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(interval.encoded_histogram())
            .unwrap();
        let one = deserializer
            .deserialize(&mut std::io::Cursor::new(bytes))
            .unwrap();
        match found.iter_mut().find(|(name, _)| *name == tag) {
            Some((_, all)) => all.add(&one).unwrap(),
            None => found.push((tag, one)),
        }
    }
    found
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let place = Place::new("page");
    let words = [&SMALL[..], &["--trials", "1"]].concat();
    let (code, said) = bench(&words, &place.0);
    assert!([0, 7, 8].contains(&code), "{code}: {said}");
    let page = fs::read_to_string(place.0.join("report.html")).unwrap();
    for word in [
        "http:", "https:", "//", "src=", "href=", "@import", "url(", "<script", "<link",
    ] {
        assert!(!page.contains(word), "{word} in the page");
    }
    for part in [
        "Percentiles",
        "Figures",
        "Over time",
        "The machine",
        "To do it again",
    ] {
        assert!(page.contains(&format!("<h2>{part}</h2>")), "{part}");
    }
    for opened in [
        "section", "table", "svg", "figure", "div", "dl", "p", "main", "html",
    ] {
        let count = |tag: String| page.matches(tag.as_str()).count();
        let begun = count(format!("<{opened}>")) + count(format!("<{opened} "));
        assert_eq!(begun, count(format!("</{opened}>")), "{opened}");
    }
    assert!(page.len() < 300 << 10);
}

#[test]
fn a_stack_is_as_high_as_its_parts() {
    let place = Place::new("stack");
    let words = [&SMALL[..], &["--trials", "1", "--stamp-every", "1"]].concat();
    let (code, said) = bench(&words, &place.0);
    assert!([0, 7, 8].contains(&code), "{code}: {said}");
    let report = report(&place.0);
    let stacks = report["stacks"].as_array().unwrap();
    assert!(!stacks.is_empty());
    for stack in stacks {
        let parts = stack["parts_ns"].as_array().unwrap();
        let sum: f64 = parts.iter().map(|part| part[1].as_f64().unwrap()).sum();
        let total = stack["total_ns"].as_f64().unwrap();
        assert!((sum - total).abs() <= 1.0, "{sum} {total}: {stack}");
    }
}

/// The open loop's figures show a stall, whatever else the machine does: they can only be worse.
#[test]
fn a_stall_shows_in_the_open_loop() {
    let place = Place::new("stall");
    let words = [
        "latency",
        "--symbols",
        "20",
        "--rate",
        "5k/s",
        "--duration",
        "2s",
        "--warmup",
        "200ms",
        "--trials",
        "1",
        "--stall",
        "1s,40ms",
    ];
    let (code, said) = bench(&words, &place.0);
    assert!([0, 7, 8].contains(&code), "{code}: {said}");
    let report = report(&place.0);
    let total = &report["stages"][0];
    assert_eq!(total["stage"], "total");
    // 40 ms are 200 of 10,000 messages, and 50 of them waited 30 ms or more.
    assert!(
        total["quantiles_ns"][3].as_u64().unwrap() >= 30_000_000,
        "{total}"
    );
}

#[test]
fn a_directory_that_holds_something_is_not_written_to() {
    let place = Place::new("full");
    fs::create_dir_all(&place.0).unwrap();
    fs::write(place.0.join("mine"), "kept").unwrap();
    let (code, said) = bench(&SMALL, &place.0);
    assert!(code == 2 && said.contains("not empty"), "{code}: {said}");
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
}

#[test]
fn the_machine_alone_is_looked_at() {
    let place = Place::new("jitter");
    let (code, said) = bench(
        &["jitter", "--duration", "100ms", "--threshold", "200ns"],
        &place.0,
    );
    assert_eq!(code, 0, "{said}");
    assert!(place.0.join("latency.hlog").exists());
}
