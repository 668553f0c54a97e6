//! Runs held against oracles: the plain twin of the books after each event, and LOBSTER's own rows.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ended, Folder, Random, SMALL, alone, manifest, tapeline};

/// A sample session replayed with these settings.
fn a_run(folder: &Folder, name: &str, sample: &str, config: &str) -> PathBuf {
    let capture = folder.join(&format!("{name}.pcap"));
    let sample = format!("sample itch --rate 2000 --seconds 4 {sample} -q -o");
    let mut made: Vec<std::ffi::OsString> = sample.split(' ').map(Into::into).collect();
    made.push(capture.clone().into());
    tapeline(made).expect(0);
    replay(folder, name, &capture, config)
}

fn replay(folder: &Folder, name: &str, capture: &Path, config: &str) -> PathBuf {
    let config = folder.write(&format!("{name}.toml"), format!("{SMALL}{config}"));
    let run = folder.join(name);
    let words = ["replay", "-q", "-c", "-o"].map(String::from);
    let [verb, quiet, with, into] = &words;
    tapeline(args![verb, quiet, with, config, into, run, capture]).expect(0);
    run
}

fn verify(run: &Path, oracle: &str) -> Ended {
    let words = ["--json", "verify", "--against"].map(String::from);
    let [json, verb, against] = &words;
    tapeline(args![json, verb, run, against, oracle])
}

fn is_equal(run: &Path) -> Value {
    let said = verify(run, "reference").expect(0).json();
    assert_eq!(said["equal"], true, "{said}");
    said
}

#[test]
fn books_are_those_of_their_plain_twin_after_every_event() {
    let _alone = alone();
    let folder = Folder::quick("verify-reference");
    for (name, sample, config) in [
        ("one", "--symbols 12 --seed 4", ""),
        ("three", "--symbols 12 --seed 5", "[run]\nshards = 3\n"),
        ("plain", "--symbols 5 --seed 6", "[book]\ndepth = \"l2\"\n"),
        (
            "lossy",
            "--symbols 5 --seed 7 --loss-a 0.02 --loss-b 0.02 --drop-both 2",
            "",
        ),
    ] {
        let run = a_run(&folder, name, sample, config);
        let said = is_equal(&run);
        let messages = manifest(&run)["counts"]["messages"].as_u64().unwrap();
        assert!(
            said["events"].as_u64().unwrap() >= messages,
            "{name}: {said}"
        );
        assert!(
            said["prices"].as_u64().unwrap() > messages,
            "{name}: {said}"
        );
        assert!(
            said["final_prices"].as_u64().unwrap() > 20,
            "{name}: {said}"
        );
    }
}

#[test]
fn final_books_that_the_run_did_not_have_are_found() {
    let _alone = alone();
    let folder = Folder::quick("verify-tables");
    let [one, two] = [
        ("one", "--symbols 3 --seed 1"),
        ("two", "--symbols 3 --seed 2"),
    ]
    .map(|(name, sample)| a_run(&folder, name, sample, ""));
    let table = "tables/books.parquet";
    std::fs::copy(two.join(table), one.join(table)).unwrap();
    let said = verify(&one, "reference").expect(4).json();
    assert_eq!(said["equal"], false);
    let found = &said["first_divergence"];
    assert_eq!(found["what"], "level of the run's final book");
    assert!(found["book"] != found["oracle"], "{said}");
    assert_eq!(found["event"], Value::Null);
    assert!(!found["before"].as_array().unwrap().is_empty(), "{said}");
    is_equal(&two);
}

#[test]
fn real_sessions_against_the_plain_twin() {
    let Some(data) = support::shared_data("real_sessions_against_the_plain_twin") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("verify-real");
    for (name, file) in [
        (
            "aapl",
            "itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst",
        ),
        (
            "esh4",
            "databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst",
        ),
        // Made-up messages that refer to unknown orders and end crossed.
        (
            "ritch",
            "itch50/RITCH_synthetic_20101224.lenfixed.itch50.zst",
        ),
        // Prints between changes that are one.
        ("deep", "iex/IEX_DEEP10_sample_20170425.truncated.pcap.gz"),
        // A book that is stale until its snapshot.
        (
            "spot",
            "crypto/binance/spot_btcusdt_20240808.hftbacktest-raw.gz",
        ),
    ] {
        is_equal(&replay(&folder, name, &data.join(file), ""));
    }
}

#[test]
fn an_oracle_that_is_not_there_and_times_outside_a_run_are_said_in_a_line() {
    let _alone = alone();
    let folder = Folder::quick("verify-lines");
    let run = a_run(&folder, "run", "--symbols 1 --seed 3", "");
    verify(&run, "nothing-here")
        .expect(5)
        .says(&["nothing-here"]);
    let name = support::json(&run.join("symbols.json"))[0]["symbol"].clone();
    let book = |at: &str| {
        let words = ["book", name.as_str().unwrap(), "--run", "--at", at].map(String::from);
        let [verb, name, of, when, at] = &words;
        tapeline(args![verb, name, of, run, when, at])
    };
    let early = book("01:00").expect(2);
    assert_eq!(early.stderr.lines().count(), 1, "{}", early.stderr);
    early.says(&["nothing happened to it up to 01:00:00"]);
    book("23:59")
        .expect(0)
        .says(&["the run ends before 23:59:00"]);
    book("09:30:01").expect(0);
    let words = [
        "log",
        "cat",
        "--from-time",
        "09:30:01",
        "--to-time",
        "09:30:01",
    ];
    let words = words.map(String::from);
    let [log, cat, from, first, to, last] = &words;
    let empty = tapeline(args![log, cat, run, from, first, to, last]).expect(0);
    assert_eq!(empty.stdout, "");
    empty.says(&["no record in this range"]);
}

/// How many levels the rows of a LOBSTER file show.
const LEVELS: usize = 3;

/// A market as LOBSTER would write it: messages about orders within the levels that it shows, and
/// a row for each. Some orders are from before the first line.
fn lobster_lines(seed: u64) -> (Vec<String>, Vec<String>) {
    let mut random = Random(seed);
    // By number: side (1 buy), price and size.
    let mut orders: BTreeMap<u64, (i64, i64, i64)> = BTreeMap::new();
    let (mut messages, mut rows) = (Vec::new(), Vec::new());
    let top = |orders: &BTreeMap<u64, (i64, i64, i64)>, side: i64| {
        let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
        for (own, price, size) in orders.values() {
            if *own == side {
                *levels.entry(-side * price).or_default() += size;
            }
        }
        let levels = levels.into_iter().take(LEVELS);
        levels
            .map(|(key, size)| (-side * key, size))
            .collect::<Vec<_>>()
    };
    for number in 1..3_000u64 {
        let side = if random.within(0..2) == 0 { 1 } else { -1 };
        let before = top(&orders, side);
        let pick = random.within(0..orders.len().max(1) as u64) as usize;
        let (kind, order, price, size, side) = match orders.iter().nth(pick) {
            Some((&order, &(side, price, size))) if random.within(0..10) < 5 => {
                match random.within(0..3) {
                    0 if size > 1 => (2, order, price, size / 2, side),
                    1 => (4, order, price, size.min(30), side),
                    _ => (3, order, price, size, side),
                }
            }
            _ => {
                let price = 1_000_000 - side * 100 * (1 + random.within(0..9) as i64);
                (1, number, price, 1 + random.within(0..90) as i64, side)
            }
        };
        let before = match kind {
            1 => before,
            _ => top(&orders, side),
        };
        match kind {
            1 => drop(orders.insert(order, (side, price, size))),
            _ => {
                let left = orders.get_mut(&order).unwrap();
                left.2 -= size;
                if left.2 == 0 {
                    orders.remove(&order);
                }
            }
        }
        let after = top(&orders, side);
        let shows = |levels: &[(i64, i64)]| levels.iter().any(|level| level.0 == price);
        // The day was under way before the first line.
        if number < 300 || !(shows(&before) || shows(&after)) {
            continue;
        }
        let time = format!("34200.{number:09}");
        messages.push(format!("{time},{kind},{order},{size},{price},{side}"));
        let (bids, asks) = (top(&orders, 1), top(&orders, -1));
        let mut row = Vec::new();
        for level in 0..LEVELS {
            let (ask, size) = asks.get(level).copied().unwrap_or((9_999_999_999, 0));
            row.extend([ask, size]);
            let (bid, size) = bids.get(level).copied().unwrap_or((-9_999_999_999, 0));
            row.extend([bid, size]);
        }
        let row: Vec<String> = row.iter().map(i64::to_string).collect();
        rows.push(row.join(","));
    }
    (messages, rows)
}

#[test]
fn lobster_rows_are_met_and_one_that_is_wrong_is_named_with_its_surroundings() {
    let _alone = alone();
    let folder = Folder::quick("verify-lobster");
    let write = |name: &str, lines: &[String]| {
        let name = format!("TEST_2012-06-21_34200000_57600000_{name}_3.csv");
        folder.write(&name, &(lines.join("\n") + "\n"))
    };
    for seed in 1..4 {
        let (messages, mut rows) = lobster_lines(seed);
        assert!(messages.len() > 500, "{}", messages.len());
        let file = write("message", &messages);
        write("orderbook", &rows);
        let run = replay(&folder, &format!("run-{seed}"), &file, "");
        let oracle = format!("lobster:{}", folder.join("").display());
        let said = verify(&run, &oracle).expect(0).json();
        assert_eq!(said["rows"], messages.len());
        assert!(said["from_elsewhere"].as_u64().unwrap() > 0, "{said}");

        // One share more at the best ask, where that was in view before.
        let column = |row: &str, index: usize| -> i64 {
            row.split(',').nth(index).unwrap().parse().unwrap()
        };
        let line = (300..).find(|&line| column(&rows[line], 0) == column(&rows[line - 1], 0));
        let line = line.unwrap();
        let (price, size) = (column(&rows[line], 0), column(&rows[line], 1));
        let right = format!("{price},{size},");
        rows[line] = rows[line].replacen(&right, &format!("{price},{},", size + 1), 1);
        write("orderbook", &rows);
        let said = verify(&run, &oracle).expect(4).json();
        let found = &said["first_divergence"];
        assert_eq!(found["symbol"], "TEST");
        assert_eq!(found["what"], format!("quantity, in line {}", line + 1));
        assert_eq!(
            (&found["side"], &found["level"]),
            (&"ask".into(), &0.into())
        );
        assert_eq!(found["book"], size.to_string());
        assert_eq!(found["oracle"], (size + 1).to_string());
        let count = |name: &str| found[name].as_array().unwrap().len();
        assert_eq!((count("before"), count("behind")), (5, 4), "{said}");
        let order = messages[line].split(',').nth(2).unwrap();
        let kind = messages[line].split(',').nth(1).unwrap();
        let event = found["event"].as_str().unwrap();
        assert!(
            event.contains(&format!("order={order}")) || kind == "4",
            "{event}"
        );
        let words = ["verify", "--against"].map(String::from);
        let text = tapeline(args![words[0], run, words[1], oracle]).expect(4);
        assert_eq!(text.stdout.lines().count(), 13, "{}", text.stdout);

        // A message file of another run.
        let (others, rows) = lobster_lines(seed + 10);
        write("message", &others);
        write("orderbook", &rows);
        verify(&run, &oracle)
            .expect(2)
            .says(&["want the file that the run was made from"]);
        std::fs::remove_file(&file).unwrap();
        verify(&run, &oracle).expect(2).says(&["_message_"]);
    }
}
