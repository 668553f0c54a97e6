//! Files of messages that are no captures, LOBSTER's and Databento's, through the program and
//! against what others say of them; each book of the MBO day at every moment that two other book
//! builders wrote down.

mod support;

use std::path::{Path, PathBuf};

use book::{Books, BooksConfig, Depth};
use bus::{Event, Kind, Level, Side, Ts};
use feed::moldudp64::Blocks;
use feed::protocol::{Dbn, Lobster, Protocol};
use feed::source::{Capture, CaptureOptions, Polled, Source};
use serde_json::{Value, json};
use support::{Ended, Folder, alone, manifest, program, symbol};

const BOOKS: BooksConfig = BooksConfig {
    orders_max: 1 << 20,
    levels_max: 1 << 20,
    symbols_max: 1 << 10,
    depth: Depth::L3,
};

fn replay(folder: &Folder, files: &[&Path], more: &[&str]) -> (Ended, PathBuf) {
    let run = folder.join("run");
    let _ = std::fs::remove_dir_all(&run);
    let config = folder.write("small.toml", support::SMALL);
    let mut command = program();
    command
        .arg("replay")
        .args(files)
        .args(more)
        .arg("-o")
        .arg(&run);
    command.arg("-c").arg(config);
    (support::run(&mut command), run)
}

fn inspect(file: &Path) -> Value {
    let mut command = program();
    command.args(["--json", "inspect"]).arg(file);
    support::run(&mut command).expect(0).json()
}

/// The events of each message of a file, as the reader would number none of them.
fn walk<P: Protocol>(file: &Path, mut protocol: P, mut each: impl FnMut(&[u8], &[Event])) {
    let mut capture = Capture::open(&[file.into()], CaptureOptions::default()).unwrap();
    let mut events = Vec::new();
    loop {
        match capture.poll().unwrap() {
            Polled::Packet(packet) => {
                for message in Blocks::new(packet.payload) {
                    let mut event = Event::new(Kind::Nothing);
                    protocol.decode(message, &mut event).unwrap();
                    events.clear();
                    protocol.translate(message, &event, &mut events).unwrap();
                    each(message, &events);
                }
            }
            Polled::End => return,
            other => panic!("{}: {other:?}", file.display()),
        }
    }
}

/// A side's first ten levels as `[price in 1e-9, size, orders]`.
fn top_ten(books: &Books, side: Side) -> Vec<[i64; 3]> {
    let mut levels: Vec<Level> = Vec::new();
    books.depth(1, side, 10, &mut levels);
    let row = |level: &Level| [level.price.0, level.qty.0, i64::from(level.orders)];
    levels.iter().map(row).collect()
}

/// The same from a truth, whose numbers are floats or text.
fn wanted(levels: &Value) -> Vec<[i64; 3]> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse::<f64>().unwrap(),
        number => number.as_f64().unwrap(),
    };
    let row = |level: &Value| {
        let e9 = (number(&level[0]) * 1e9).round() as i64;
        [e9, number(&level[1]) as i64, number(&level[2]) as i64]
    };
    levels.as_array().unwrap().iter().map(row).collect()
}

fn check_top_ten(books: &Books, truth: &Value, at: &str) {
    for (side, name) in [
        (Side::Buy, "top10_bids[price,size,orders]"),
        (Side::Sell, "top10_asks[price,size,orders]"),
    ] {
        assert_eq!(top_ten(books, side), wanted(&truth[name]), "{at}: {name}");
    }
}

/// What is known of a side as a whole: levels and orders.
fn whole(books: &Books, side: Side) -> (u64, u64) {
    let mut levels: Vec<Level> = Vec::new();
    books.depth(1, side, usize::MAX, &mut levels);
    let orders = levels.iter().map(|level| u64::from(level.orders)).sum();
    (levels.len() as u64, orders)
}

/// Every checkpoint of both engines: price, size and count of orders of ten levels, and of one of
/// them all levels and orders.
#[test]
fn the_books_of_the_mbo_day_are_those_of_two_other_builders() {
    let test = "the_books_of_the_mbo_day_are_those_of_two_other_builders";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let file = data.join("databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    let truth = support::json(&file.with_extension("").with_extension("book.truth.json"));
    let samples = truth["mbo_queue"]["samples"].as_array().unwrap();
    let counted = truth["nautilus_trader"]["checkpoints"].as_array().unwrap();
    let mut books = Books::new(BOOKS).unwrap();
    let (mut deltas, mut sampled, mut checked) = (0u64, 0, 0);
    let check_sample = |books: &Books, sample: &Value| {
        check_top_ten(books, sample, &sample["ts_event_le_ns"].to_string());
    };
    walk(&file, Dbn::new(), |_, events| {
        let event = events.last().unwrap();
        while let Some(sample) = samples.get(sampled)
            && event.ts_event.0 > sample["ts_event_le_ns"].as_i64().unwrap()
        {
            check_sample(&books, sample);
            sampled += 1;
        }
        for event in events {
            let applied = books.apply(event);
            assert_eq!(applied.anomaly, None, "{event:?}");
        }
        // That engine counts all but trades.
        if event.code == b'T' {
            return;
        }
        deltas += 1;
        let Some(checkpoint) = counted.get(checked) else {
            return;
        };
        let name = checkpoint["after"].as_str().unwrap();
        if !name.trim_end_matches(')').ends_with(&format!("#{deltas}")) {
            return;
        }
        check_top_ten(&books, checkpoint, name);
        for (side, of) in [(Side::Buy, "bid"), (Side::Sell, "ask")] {
            let count = |what: &str| checkpoint[format!("{of}_{what}")].as_u64().unwrap();
            assert_eq!(
                whole(&books, side),
                (count("levels"), count("orders")),
                "{name}"
            );
        }
        checked += 1;
    });
    for sample in &samples[sampled..] {
        check_sample(&books, sample);
    }
    assert_eq!(checked, counted.len());
    println!(
        "{} samples and {checked} checkpoints are met",
        samples.len()
    );
}

/// Counts by action, trades, VWAP, times and the date, through the whole program.
#[test]
fn the_mbo_day_meets_its_truth() {
    let Some(data) = support::shared_data("the_mbo_day_meets_its_truth") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("mbo");
    let nautilus = data.join("databento-dbn/nautilus");
    let truth = support::json(&nautilus.join("records.truth.json"));
    for (name, date, ticker) in [
        ("esh4-glbx-mdp3-20231225.mbo.dbn.zst", "2023-12-25", "ESH4"),
        (
            "historical_bars_catalog/futures_mbp-1_2024-07-01T23-58_2024-07-02T00-02.dbn.zst",
            "2024-07-01",
            "ESU4",
        ),
        (
            "historical_bars_catalog/futures_trades_2024-07-01T23-58_2024-07-02T00-02.dbn.zst",
            "2024-07-01",
            "ESU4",
        ),
    ] {
        let truth = &truth["files"][name];
        let file = nautilus.join(name);
        let (ended, run) = replay(&folder, &[&file], &[]);
        ended.expect(0);
        let manifest = manifest(&run);
        assert_eq!(
            manifest["counts"]["messages"], truth["records_total"],
            "{name}"
        );
        assert_eq!(manifest["counts"]["by_type"], truth["actions"], "{name}");
        assert_eq!(manifest["anomalies"].get("time_future"), None, "{name}");
        assert_eq!(manifest["date"], date, "{name}");
        let found = symbol(&run, ticker);
        let trades = &truth["trades"];
        assert_eq!(found["trades"], trades["count"], "{name}");
        assert_eq!(found["volume"], trades["volume"], "{name}");
        let notional = trades["notional_1e-9"].as_i64().unwrap();
        assert_eq!(found["notional_e9"], notional.to_string(), "{name}");
        let vwap: f64 = found["vwap"].as_str().unwrap().parse().unwrap();
        assert!(
            (vwap - trades["vwap"].as_f64().unwrap()).abs() < 1e-8,
            "{name}"
        );
        let span = &inspect(&file)["event_span_ns"];
        assert_eq!(span[0], truth["min_ts_event_ns"], "{name}");
        assert_eq!(span[1], truth["max_ts_event_ns"], "{name}");
    }
}

/// Shards change nothing, and neither does a pace, which takes records one by one.
#[test]
fn the_mbo_day_is_the_same_with_three_shards() {
    let Some(data) = support::shared_data("the_mbo_day_is_the_same_with_three_shards") else {
        return;
    };
    let _alone = alone();
    let file = data.join("databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    let folder = Folder::quick("mbo-shards");
    let (ended, run) = replay(&folder, &[&file], &[]);
    ended.expect(0);
    let one = support::digests(&run);
    let (ended, run) = replay(
        &folder,
        &[&file],
        &["--shards", "3", "--speed", "100000000x"],
    );
    ended.expect(0);
    assert_eq!(support::digests(&run), one);
}

/// The trades of a file with one instrument, through the whole program.
fn check_trades(folder: &Folder, file: &Path, trades: &Value) {
    let (ended, run) = replay(folder, &[file], &[]);
    ended.expect(0);
    let symbols = support::json(&run.join("symbols.json"));
    let [found] = &symbols.as_array().unwrap()[..] else {
        panic!("{}: {symbols}", file.display());
    };
    assert_eq!(found["trades"], trades["count"], "{}", file.display());
    assert_eq!(found["volume"], trades["volume"], "{}", file.display());
    let notional = trades["notional_1e-9"].to_string();
    assert_eq!(found["notional_e9"], notional, "{}", file.display());
}

/// Every schema in every version, and definitions: counts, times, instruments, trades.
#[test]
fn every_schema_and_version_is_read() {
    let Some(data) = support::shared_data("every_schema_and_version_is_read") else {
        return;
    };
    let data = data.join("databento-dbn");
    let quick = Folder::quick("schemas");
    let (mut read, mut traded, mut empty) = (0, 0, 0);
    for (folder, truth) in [
        ("dbn-repo-tests", "dbn-repo-tests.truth.json"),
        ("nautilus", "nautilus/records.truth.json"),
    ] {
        let truth = support::json(&data.join(truth));
        for (name, wanted) in truth["files"].as_object().unwrap() {
            let file = data.join(folder).join(name);
            // Those that their own decoder refuses, another test has.
            let Some(total) = wanted["records_total"].as_u64() else {
                assert!(wanted["error"].is_string(), "{name}");
                continue;
            };
            if total == 0 {
                let mut command = program();
                command.arg("inspect").arg(&file);
                let ended = support::run(&mut command).expect(3);
                ended.says(&["no DBN message was found"]);
                empty += 1;
                continue;
            }
            let seen = inspect(&file);
            assert_eq!(seen["messages"], total, "{name}");
            assert_eq!(seen["anomalies"].get("bad_length"), None, "{name}");
            assert_eq!(seen["symbols"], wanted["distinct_instrument_ids"], "{name}");
            let span = json!([wanted["min_ts_event_ns"], wanted["max_ts_event_ns"]]);
            assert_eq!(seen["event_span_ns"], span, "{name}");
            let schema = wanted["schema"].as_str().unwrap();
            if ["mbo", "mbp-1", "mbp-10", "tbbo", "trades"].contains(&schema) {
                assert_eq!(seen["by_type"], wanted["actions"], "{name}");
            }
            if schema == "definition" {
                assert_eq!(seen["by_type"], json!({ "d": total }), "{name}");
            }
            if folder == "dbn-repo-tests" && wanted["trades"].is_object() {
                check_trades(&quick, &file, &wanted["trades"]);
                traded += 1;
            }
            read += 1;
        }
    }
    println!("{read} files with records, {traded} of them with trades; {empty} files without");
    assert!(
        read > 50 && traded >= 8 && empty >= 4,
        "{read} {traded} {empty}"
    );
}

/// Counts by type, first and last time, and all executions, hidden ones too.
#[test]
fn the_lobster_half_hour_meets_its_truth() {
    let Some(data) = support::shared_data("the_lobster_half_hour_meets_its_truth") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("lobster");
    let lobster = data.join("lobster");
    let file = lobster.join("AAPL_2012-06-21_34200000-36000000.cut.message_50.csv.zst");
    let name = "AAPL_2012-06-21_34200000-36000000.cut.message_50.truth.json";
    let truth = support::json(&lobster.join(name));
    let (ended, run) = replay(&folder, &[&file], &[]);
    ended.expect(0);
    let manifest = manifest(&run);
    assert_eq!(manifest["counts"]["messages"], truth["rows"]);
    assert_eq!(manifest["counts"]["by_type"], truth["rows_by_type"]);
    assert_eq!(manifest["date"], "2012-06-21");
    let found = symbol(&run, "AAPL");
    assert_eq!(found["volume"], truth["executed_shares_types4and5"]);
    let e4 = truth["notional_1e-4"].as_i64().unwrap();
    assert_eq!(found["notional_e9"], format!("{e4}00000"));
    let vwap: f64 = found["vwap"].as_str().unwrap().parse().unwrap();
    assert!((vwap - truth["vwap_types4and5"].as_f64().unwrap()).abs() < 1e-8);
    // 2012-06-21 00:00 in New York, and so many seconds.
    let midnight = 1_340_251_200_000_000_000i64;
    let ns = |text: &Value| {
        let (seconds, fraction) = text.as_str().unwrap().split_once('.').unwrap();
        let seconds: i64 = seconds.parse().unwrap();
        midnight + seconds * 1_000_000_000 + fraction.parse::<i64>().unwrap()
    };
    let span = json!([ns(&truth["first_time"]), ns(&truth["last_time"])]);
    assert_eq!(inspect(&file)["event_span_ns"], span);
}

/// LOBSTER's own level 1 of the whole day, against ours of the half hour. It comes of another
/// message file, which leaves nothing out, so most of our quotes are among its, in the same order,
/// and not all.
#[test]
fn lobsters_quotes_are_most_of_its_own_orderbook() {
    let Some(data) = support::shared_data("lobsters_quotes_are_most_of_its_own_orderbook") else {
        return;
    };
    let lobster = data.join("lobster");
    let oracle = lobster.join("AAPL_2012-06-21_34200000_57600000_orderbook_1.csv.zst");
    let text = zstd::decode_all(std::fs::File::open(oracle).unwrap()).unwrap();
    let rows: Vec<[i64; 4]> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| {
            let mut columns = line.split(',').map(|column| column.parse().unwrap());
            std::array::from_fn(|_| columns.next().unwrap())
        })
        .collect();
    let file = lobster.join("AAPL_2012-06-21_34200000-36000000.cut.message_50.csv.zst");
    let mut books = Books::new(BOOKS).unwrap();
    let (mut at, mut met, mut quotes) = (0, 0u32, 0u32);
    let mut before = books.quote(1);
    walk(&file, Lobster::new(Ts(0)), |_, events| {
        for event in events {
            books.apply(event);
        }
        let quote = books.quote(1);
        if quote == before || !quote.is_open() {
            return;
        }
        before = quote;
        quotes += 1;
        let e4 = |price: bus::Price| price.0 / 100_000;
        let row = [
            e4(quote.ask),
            quote.ask_qty.0,
            e4(quote.bid),
            quote.bid_qty.0,
        ];
        // A quote that is not the oracle's must not move us far through its day.
        if let Some(step) = rows[at..].iter().take(64).position(|other| *other == row) {
            (at, met) = (at + step, met + 1);
        }
    });
    println!("{met} of {quotes} quotes are the oracle's, up to its row {at}");
    assert!(quotes > 10_000 && met * 4 > quotes * 3, "{met} of {quotes}");
}

/// One line, or one record, is wrong; the rest is read, and the place is told.
#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place() {
    let folder = Folder::quick("file-faults");
    let lines = "34200.1,1,7,100,5853300,1\n34200.2,1,8,100,58x,1\n34200.3,4,7,100,5853300,1\n";
    let file = folder.write("AAPL_2012-06-21_1_2_message_1.csv", lines);
    let (ended, run) = replay(&folder, &[&file], &[]);
    ended
        .expect(0)
        .says(&["bad_field 1", "packet 2 at byte 26", "byte 18"]);
    assert_eq!(symbol(&run, "AAPL")["volume"], 100);
    let (ended, _) = replay(&folder, &[&file], &["--strict"]);
    ended.expect(3);
    // Two protocols in one run.
    let itch = folder.join("x.itch");
    std::fs::write(&itch, [&[0, 12, b'S'][..], &[0; 10], b"O"].concat()).unwrap();
    let (ended, _) = replay(&folder, &[&file, &itch], &[]);
    ended.expect(3).says(&[
        "x.itch",
        "begins as ITCH, want LOBSTER",
        "one protocol at a time",
    ]);
    // Metadata that claim more than there is, and a version that is not known.
    for (bytes, byte, what) in [
        (
            &b"DBN\x01\xff\xff\xff\x03abc"[..],
            8,
            "cut DBN metadata: 3 bytes, want 67108863",
        ),
        (b"DBN\x01\xff\xff\xff\xff", 4, "want at most 67108864"),
        (b"DBN\x09\0\0\0\0", 3, "DBN version 9, want 1 to 3"),
        (b"DBN\x03\0\0\0\0", 8, "DBN metadata end here"),
        (b"DBN", 0, "DBN header of 3 bytes, want 8"),
    ] {
        let file = folder.join("x.dbn");
        std::fs::write(&file, bytes).unwrap();
        let (ended, _) = replay(&folder, &[&file], &[]);
        ended
            .expect(5)
            .says(&["x.dbn", &format!("byte {byte}: "), what]);
    }
}
