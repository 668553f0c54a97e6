//! Runs held against oracles: the plain twin of the books after each event, and LOBSTER's own rows.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Ended, Folder, Random, SMALL, alone, manifest, tapeline, wire};

/// A sample session replayed with these settings.
fn a_run(folder: &Folder, name: &str, sample: &str, config: &str) -> PathBuf {
    let capture = folder.join(&format!("{name}.pcap"));
    let sample = format!("sample itch --rate 2000 --seconds 4 {sample} -q -o");
    let mut made: Vec<OsString> = sample.split(' ').map(Into::into).collect();
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
fn what_must_hold_of_books_is_looked_at_where_asked_and_decides_nothing() {
    let _alone = alone();
    let folder = Folder::quick("verify-breaches");
    let sample = "--symbols 6 --seed 8";
    let plain = a_run(&folder, "plain", sample, "");
    for (name, config) in [
        ("touched", "[book]\ncheck = \"touched\"\n"),
        ("full", "[book]\ncheck = \"full\"\n[run]\nshards = 2\n"),
    ] {
        let run = a_run(&folder, name, sample, config);
        assert_eq!(support::digests(&run), support::digests(&plain), "{name}");
        assert_eq!(manifest(&run)["breaches"], Value::Null, "{name}");
    }
    // A market that trades through itself: one crossing, and what happens to its book while it lasts.
    let mut messages = wire::little_session();
    let at = messages.len() - 1;
    let ns = wire::OPEN_NS + 2_500_000_000;
    let crossing = [
        wire::add(ns, 1, "AAA", 900, b'B', 100, 100_000),
        wire::add(ns + 1, 1, "AAA", 901, b'S', 100, 90_000),
        wire::add(ns + 2, 1, "AAA", 902, b'S', 100, 95_000),
        wire::delete(ns + 3, 1, 900),
        wire::delete(ns + 4, 1, 901),
        wire::delete(ns + 5, 1, 902),
    ];
    messages.splice(at..at, crossing);
    let capture = folder.write("crossed.pcap", wire::pcap_of(&messages));
    let config = folder.write(
        "crossed.toml",
        format!("{SMALL}[book]\ncheck = \"touched\"\n"),
    );
    let run = folder.join("crossed");
    let words = ["replay", "-c", "-o"].map(String::from);
    let [verb, with, into] = &words;
    let ended = tapeline(args![verb, with, config, into, run, capture]).expect(4);
    ended.says(&[
        "books are not what they must be: crossed_trading 4;",
        "AAA",
        "order 901",
    ]);
    let manifest = manifest(&run);
    assert_eq!(manifest["breaches"]["crossed_trading"], 4, "{manifest}");
    assert_eq!(manifest["anomalies"]["crossed"], 1, "{manifest}");
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
    let known = "want --against reference, snapshots, lobster:DIR, mbp10:FILE.dbn, a truth that";
    verify(&run, "nothing-here")
        .expect(5)
        .says(&["nothing-here", known]);
    // What is there and is none of it.
    for (name, text) in [
        ("passwd", "root:x:0:0:root\n"),
        ("list.json", "[1, 2]"),
        ("other.json", "{\"schema\": \"x/1\"}"),
    ] {
        let file = folder.write(name, text);
        let said = verify(&run, file.to_str().unwrap()).expect(2);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
        said.says(&[file.to_str().unwrap(), known]);
    }
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

        // A packed copy beside it is left out, as a replay of the folder would; another content under one name is not.
        let packed = folder.join("TEST_2012-06-21_34200000_57600000_message_3.csv.zst");
        for (text, code, says) in [
            (messages.join("\n") + "\n", 0, "the same content as "),
            ("1,2,3\n".into(), 2, "another content than "),
        ] {
            std::fs::write(&packed, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
            let name = packed.to_str().unwrap();
            verify(&run, &oracle).expect(code).says(&[says, name]);
        }
        std::fs::remove_file(&packed).unwrap();

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

/// A market of orders and what Databento would make of it, by plain lists: a file of orders, and one of the
/// ten best levels after each change of them.
struct Pair {
    orders: Vec<u8>,
    levels: Vec<u8>,
    /// Where each record of the second one begins.
    records: Vec<usize>,
}

/// What stands before the records: version 2, and two instruments of which each has a name.
fn dbn_head(schema: u16) -> Vec<u8> {
    let mut body = Vec::new();
    let pad = |text: &str, len: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(len, 0);
        bytes
    };
    body.extend(pad("GLBX.MDP3", 16));
    body.extend(schema.to_le_bytes());
    body.extend(1_703_462_400_000_000_000u64.to_le_bytes());
    body.extend(u64::MAX.to_le_bytes());
    body.extend(0u64.to_le_bytes());
    body.extend([1, 0, 0]);
    body.extend(71u16.to_le_bytes());
    body.extend([0; 53]);
    body.extend([0; 4 * 4]);
    body.extend(2u32.to_le_bytes());
    for (number, name) in [("11", "ESH4"), ("12", "NQH4")] {
        body.extend(pad(name, 71));
        body.extend(1u32.to_le_bytes());
        body.extend(20_231_225u32.to_le_bytes());
        body.extend(20_231_226u32.to_le_bytes());
        body.extend(pad(number, 71));
    }
    let mut head = b"DBN\x02".to_vec();
    head.extend((body.len() as u32).to_le_bytes());
    head.extend(body);
    head
}

/// The head of a record, with as many bytes as it will have.
fn dbn_record(bytes: usize, rtype: u8, instrument: u32, ts: u64) -> Vec<u8> {
    let mut record = vec![(bytes / 4) as u8, rtype, 1, 0];
    record.extend(instrument.to_le_bytes());
    record.extend(ts.to_le_bytes());
    record
}

fn dbn_pair(seed: u64) -> Pair {
    const TICK: i64 = 250_000_000;
    let mut random = Random(seed);
    let mut pair = Pair {
        orders: dbn_head(0),
        levels: dbn_head(2),
        records: Vec::new(),
    };
    // By number: instrument, is it a bid, price, size.
    let mut live: BTreeMap<u64, (u32, bool, i64, u32)> = BTreeMap::new();
    let ten = |live: &BTreeMap<u64, (u32, bool, i64, u32)>, of: u32, bids: bool| {
        let mut levels: BTreeMap<i64, (u32, u32)> = BTreeMap::new();
        for (instrument, is_bid, price, size) in live.values() {
            if (*instrument, *is_bid) == (of, bids) {
                let level = levels
                    .entry(if bids { -price } else { *price })
                    .or_default();
                *level = (level.0 + size, level.1 + 1);
            }
        }
        let levels = levels.into_iter().take(10);
        let levels = levels.map(|(key, (size, count))| (key.abs(), size, count));
        levels.collect::<Vec<_>>()
    };
    let mut ts = 1_703_500_000_000_000_000u64;
    for number in 1..2_500u64 {
        // Some happen at the same time.
        ts += random.within(0..4) / 2 * 1_000;
        let instrument = 11 + (random.within(0..3) == 0) as u32;
        let before = [true, false].map(|bids| ten(&live, instrument, bids));
        let mut actions = Vec::new();
        // One event is often several changes: a level is swept.
        for _ in 0..1 + random.within(0..3) / 2 {
            let own: Vec<u64> = live
                .iter()
                .filter(|(_, o)| o.0 == instrument)
                .map(|(id, _)| *id)
                .collect();
            let pick = own
                .get(random.within(0..own.len().max(1) as u64) as usize)
                .copied();
            let choice = random.within(0..10);
            match pick {
                Some(id) if own.len() > 30 && choice < 5 => {
                    let (_, is_bid, price, size) = live[&id];
                    if choice < 3 || size == 1 {
                        live.remove(&id);
                        actions.push((b'C', id, is_bid, price, size));
                    } else {
                        let (price, size) = match choice {
                            3 => (price, size - 1),
                            _ => (price, size + 3),
                        };
                        live.insert(id, (instrument, is_bid, price, size));
                        actions.push((b'M', id, is_bid, price, size));
                    }
                }
                _ => {
                    let is_bid = choice.is_multiple_of(2);
                    let away = TICK * (1 + random.within(0..15) as i64);
                    let price = 4_800_000_000_000 + if is_bid { -away } else { away };
                    let id = number * 10 + actions.len() as u64;
                    let size = 1 + random.within(0..20) as u32;
                    live.insert(id, (instrument, is_bid, price, size));
                    actions.push((b'A', id, is_bid, price, size));
                }
            }
        }
        let last = actions.len() - 1;
        for (index, (action, id, is_bid, price, size)) in actions.iter().enumerate() {
            let flags = if index == last { 0x80 } else { 0 };
            let side = if *is_bid { b'B' } else { b'A' };
            let mut record = dbn_record(56, 0xa0, instrument, ts);
            record.extend(id.to_le_bytes());
            record.extend(price.to_le_bytes());
            record.extend(size.to_le_bytes());
            record.extend([flags, 0, *action, side]);
            record.extend((ts + 500).to_le_bytes());
            record.extend(0i32.to_le_bytes());
            record.extend((number as u32).to_le_bytes());
            pair.orders.extend(record);
        }
        let sides = [true, false].map(|bids| ten(&live, instrument, bids));
        // A feed of levels says nothing of what is beyond them.
        if sides == before {
            continue;
        }
        let (action, _, is_bid, price, size) = actions[last];
        pair.records.push(pair.levels.len());
        let mut record = dbn_record(368, 0x0a, instrument, ts);
        record.extend(price.to_le_bytes());
        record.extend(size.to_le_bytes());
        record.extend([action, if is_bid { b'B' } else { b'A' }, 0x80, 0]);
        record.extend((ts + 700).to_le_bytes());
        record.extend(0i32.to_le_bytes());
        record.extend((number as u32).to_le_bytes());
        for level in 0..10 {
            let side =
                |side: &[(i64, u32, u32)]| side.get(level).copied().unwrap_or((i64::MAX, 0, 0));
            let (bid, ask) = (side(&sides[0]), side(&sides[1]));
            record.extend(bid.0.to_le_bytes());
            record.extend(ask.0.to_le_bytes());
            for number in [bid.1, ask.1, bid.2, ask.2] {
                record.extend(number.to_le_bytes());
            }
        }
        pair.levels.extend(record);
    }
    pair
}

#[test]
fn ten_levels_are_met_after_each_event_and_what_is_not_is_named() {
    let _alone = alone();
    let folder = Folder::quick("verify-mbp10");
    let pair = dbn_pair(3);
    let file = folder.write("day.mbo.dbn", &pair.orders);
    let levels = |name: &str, bytes: &[u8]| {
        let path = folder.write(&format!("{name}.mbp-10.dbn"), bytes);
        format!("mbp10:{}", path.display())
    };
    for (name, config) in [
        ("one", ""),
        ("two", "[run]\nshards = 2\n[book]\ndepth = \"l2\"\n"),
    ] {
        let run = replay(&folder, name, &file, config);
        let said = verify(&run, &levels("right", &pair.levels))
            .expect(0)
            .json();
        assert_eq!(said["records"], pair.records.len(), "{said}");
        assert_eq!(said["symbols"], 2);
        assert!(said["levels"].as_u64().unwrap() > 10 * pair.records.len() as u64);

        // One lot more at the third ask, and one order more at the second bid.
        for (at, shown, side, level) in [(20, 2, "ask", 2), (24, 1, "bid", 1)] {
            let record = pair.records.len() / 2;
            let mut wrong = pair.levels.clone();
            wrong[pair.records[record] + 48 + shown * 32 + at] ^= 1;
            let said = verify(&run, &levels("wrong", &wrong)).expect(4).json();
            let found = &said["first_divergence"];
            assert_eq!(
                found["what"],
                format!("level, in record {}", record + 1),
                "{said}"
            );
            assert_eq!(
                (&found["side"], &found["level"]),
                (&side.into(), &level.into())
            );
            let number = |name: &str| found[name].as_array().unwrap().len();
            assert_eq!((number("before"), number("behind")), (5, 4), "{said}");
            assert!(found["book"] != found["oracle"], "{said}");
        }
        // A record that is not there: the book changed, and nothing says so. The next one may show the
        // same symbol at the same time, and then says it.
        let lost = (100..pair.records.len()).find(|&record| {
            let head = |record: usize| {
                let at = pair.records[record];
                let bytes = &pair.levels[at + 4..at + 16];
                (bytes[..4].to_vec(), bytes[4..].to_vec())
            };
            let own = head(record);
            (record + 1..record + 20)
                .map(head)
                .all(|other| other != own)
                && (record - 20..record).map(head).all(|other| other != own)
        });
        let (from, to) = (pair.records[lost.unwrap()], pair.records[lost.unwrap() + 1]);
        let mut wrong = pair.levels.clone();
        wrong.drain(from..to);
        let said = verify(&run, &levels("lost", &wrong)).expect(4).json();
        let found = &said["first_divergence"];
        assert_eq!(
            found["what"], "level, which changed without a record",
            "{said}"
        );
        // A file that is cut, one of another kind, and one of other instruments.
        let cut = &pair.levels[..pair.levels.len() - 100];
        let ended = verify(&run, &levels("cut", cut)).expect(2);
        ended.says(&["cut.mbp-10.dbn, byte"]);
        verify(&run, &levels("kind", &pair.orders))
            .expect(2)
            .says(&["has no mbp-10 record"]);
        let words = ["verify", "--against"].map(String::from);
        let oracle = levels("wrong", &wrong);
        let text = tapeline(args![words[0], run, words[1], oracle]).expect(4);
        assert_eq!(text.stdout.lines().count(), 13, "{}", text.stdout);
    }
}

/// The books that records of ten levels say, as checkpoints: of each symbol's last record of a time.
fn checkpoints(pair: &Pair) -> Vec<Value> {
    let u32_at = |at: usize| u32::from_le_bytes(pair.levels[at..at + 4].try_into().unwrap());
    let i64_at = |at: usize| i64::from_le_bytes(pair.levels[at..at + 8].try_into().unwrap());
    let head = |at: usize| (u32_at(at + 4), i64_at(at + 8));
    let mut checkpoints = Vec::new();
    for (index, &at) in pair.records.iter().enumerate() {
        let (instrument, ts) = head(at);
        if pair.records[index + 1..]
            .iter()
            .any(|at| head(*at) == (instrument, ts))
        {
            continue;
        }
        let side = |price_at: usize, size_at: usize, orders_at: usize| -> Vec<Value> {
            let levels = (0..10).map(|level| at + 48 + level * 32);
            let levels = levels.filter(|level| u32_at(level + size_at) > 0);
            let row = |level: usize| {
                let (price, size) = (i64_at(level + price_at), u32_at(level + size_at));
                let price = format!("{}.{:09}", price / 1_000_000_000, price % 1_000_000_000);
                json!([price, size, u32_at(level + orders_at)])
            };
            levels.map(row).collect()
        };
        checkpoints.push(json!({
            "symbol": if instrument == 11 { "ESH4" } else { "NQH4" },
            "ts_event_le_ns": ts,
            "top10_bids[price,size,orders]": side(0, 16, 24),
            "top10_asks[price,size,orders]": side(8, 20, 28),
        }));
    }
    checkpoints
}

#[test]
fn books_of_others_are_met_at_each_checkpoint_and_the_first_that_is_not_is_named() {
    let _alone = alone();
    let folder = Folder::quick("verify-checkpoints");
    let pair = dbn_pair(4);
    let file = folder.write("day.mbo.dbn", &pair.orders);
    let right = checkpoints(&pair);
    let truth = |name: &str, list: &[Value]| {
        let path = folder.write(
            name,
            json!({"note": "", "an_engine": {"samples": list}}).to_string(),
        );
        path.display().to_string()
    };
    for (name, config) in [
        ("one", ""),
        ("two", "[run]\nshards = 2\n[book]\ndepth = \"l2\"\n"),
    ] {
        let run = replay(&folder, name, &file, config);
        let said = verify(&run, &truth("right.json", &right)).expect(0).json();
        assert_eq!(said["checkpoints"], right.len(), "{said}");
        assert!(right.len() > 500, "{}", right.len());
        assert!(
            said["levels"].as_u64().unwrap() > 10 * right.len() as u64,
            "{said}"
        );

        // One order more at the third ask, and a first bid that is not there.
        let middle = right.len() / 2;
        let mut wrong = right.clone();
        let orders = &mut wrong[middle]["top10_asks[price,size,orders]"][2][2];
        *orders = (orders.as_u64().unwrap() + 1).into();
        let said = verify(&run, &truth("orders.json", &wrong)).expect(4).json();
        let found = &said["first_divergence"];
        let symbol = right[middle]["symbol"].as_str().unwrap();
        assert_eq!(found["symbol"], symbol);
        assert_eq!(
            (&found["side"], &found["level"]),
            (&"ask".into(), &2.into())
        );
        let what = found["what"].as_str().unwrap();
        let place =
            format!("level of {symbol}, an_engine samples[{middle}]; the checkpoint before");
        assert!(what.starts_with(&place), "{what}");
        let number = |name: &str| found[name].as_array().unwrap().len();
        assert_eq!((number("before"), number("behind")), (5, 4), "{said}");
        assert!(found["oracle"].as_str().unwrap() != found["book"], "{said}");
        let mut wrong = right.clone();
        wrong[middle]["top10_bids[price,size,orders]"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!([4900, 1, 1]));
        let said = verify(&run, &truth("bid.json", &wrong)).expect(4).json();
        assert_eq!(
            said["first_divergence"]["oracle"], "1 in 1 orders at 4900.00",
            "{said}"
        );

        // By count of changes: one that the run does not come to.
        let mut far = right[0].clone();
        far.as_object_mut().unwrap().remove("ts_event_le_ns");
        far["after"] = "delta #1000000".into();
        verify(&run, &truth("far.json", &[far.clone()]))
            .expect(2)
            .says(&[
                "far.json",
                "1 checkpoints are behind the run's end",
                "samples[0]",
            ]);
        far.as_object_mut().unwrap().remove("symbol");
        verify(&run, &truth("nobody.json", &[far]))
            .expect(2)
            .says(&["names no symbol"]);
        verify(&run, &truth("nothing.json", &[]))
            .expect(2)
            .says(&["no `checkpoints`, `samples`"]);
    }
}

#[test]
fn the_truths_of_real_captures_are_met_at_all_their_checkpoints() {
    let Some(data) = support::shared_data("the_truths_of_real_captures_are_met") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("verify-truths");
    for (name, file, truth, checkpoints) in [
        (
            "esh4",
            "databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst",
            "databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.book.truth.json",
            16,
        ),
        (
            "aapl",
            "itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst",
            "itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.truth.json",
            1,
        ),
        (
            "deep",
            "iex/IEX_DEEP10_sample_20170425.truncated.pcap.gz",
            "iex/IEX_DEEP10_sample_20170425.truncated.truth.json",
            20,
        ),
    ] {
        let run = replay(&folder, name, &data.join(file), "[run]\nshards = 2\n");
        let truth = data.join(truth).display().to_string();
        let said = verify(&run, &truth).expect(0).json();
        assert_eq!(said["checkpoints"], checkpoints, "{said}");
        println!(
            "{name}: {} of {} levels and sums",
            said["checkpoints"], said["levels"]
        );
    }
}

/// Lines of a Binance book: a snapshot, changes, and snapshots behind changes that they know of or not. With
/// `wrong`, the change of this number says one unit more than the venue's book has.
fn binance_lines(seed: u64, wrong: Option<u64>) -> String {
    let mut random = Random(seed);
    let mut book: BTreeMap<(bool, i64), u64> = BTreeMap::new();
    for step in 1..=20 {
        book.insert((true, 10_000 - step), 5);
        book.insert((false, 10_000 + step), 5);
    }
    let text = |book: &BTreeMap<(bool, i64), u64>, bids: bool| {
        let mut side: Vec<_> = book.iter().filter(|((own, _), _)| *own == bids).collect();
        side.sort_by_key(|((_, price), _)| if bids { -price } else { *price });
        let level = |(key, qty): &(&(bool, i64), &u64)| {
            format!("[\"{}.{:02}\",\"{qty}\"]", key.1 / 100, key.1 % 100)
        };
        side.iter().map(level).collect::<Vec<_>>().join(",")
    };
    let mut lines = String::new();
    let mut ns = 1_700_000_000_000_000_000u64;
    let mut say = |json: String| {
        ns += 1_000_000;
        lines.push_str(&format!("{ns} {json}\n"));
    };
    let snapshot = |last: u64, book: &BTreeMap<(bool, i64), u64>| {
        let (bids, asks) = (text(book, true), text(book, false));
        format!(
            "{{\"lastUpdateId\":{last},\"symbol\":\"ETHUSDT\",\"bids\":[{bids}],\"asks\":[{asks}]}}"
        )
    };
    say(snapshot(100, &book));
    let mut last = 100;
    let mut states = vec![(last, book.clone())];
    for number in 1..400u64 {
        // Each message is three changes, of which the last one is told.
        let first = last + 1;
        last += 3;
        let bids = random.within(0..2) == 0;
        let away = 1 + random.within(0..20) as i64;
        let price = if bids { 10_000 - away } else { 10_000 + away };
        let qty = random.within(0..9);
        match qty {
            0 => drop(book.remove(&(bids, price))),
            _ => drop(book.insert((bids, price), qty)),
        }
        let said = qty + u64::from(wrong == Some(number));
        let level = format!("[\"{}.{:02}\",\"{said}\"]", price / 100, price % 100);
        let (b, a) = if bids {
            (level, String::new())
        } else {
            (String::new(), level)
        };
        let ms = 1_700_000_000_000 + number;
        say(format!(
            "{{\"e\":\"depthUpdate\",\"E\":{ms},\"s\":\"ETHUSDT\",\"U\":{first},\"u\":{last},\"b\":[{b}],\"a\":[{a}]}}"
        ));
        states.push((last, book.clone()));
        if number % 20 == 0 {
            // As it was some messages ago, as over another connection; and in the midst of a message.
            let (last, book) = &states[states.len() - 1 - random.within(0..5) as usize];
            say(snapshot(*last, book));
            say(snapshot(last - 1, book));
        }
    }
    lines
}

#[test]
fn snapshots_of_the_feed_itself_are_met_at_their_own_numbers() {
    let _alone = alone();
    let folder = Folder::quick("verify-snapshots");
    let file = folder.write("right.json", binance_lines(5, None));
    for (name, config) in [("one", ""), ("two", "[run]\nshards = 2\n")] {
        let run = replay(&folder, name, &file, config);
        let said = verify(&run, "snapshots").expect(0).json();
        let counts = (&said["snapshots"], &said["compared"]);
        assert_eq!(counts, (&39.into(), &19.into()), "{said}");
        assert_eq!(
            said["not_compared"],
            json!({"begins": 1, "within_changes": 19}),
            "{said}"
        );
        assert!(said["levels"].as_u64().unwrap() > 19 * 20, "{said}");
    }
    let file = folder.write("wrong.json", binance_lines(5, Some(170)));
    let run = replay(&folder, "wrong", &file, "");
    let said = verify(&run, "snapshots").expect(4).json();
    let found = &said["first_divergence"];
    let what = found["what"].as_str().unwrap();
    assert!(
        what.starts_with("level of ETHUSDT, snapshot as of "),
        "{what}"
    );
    assert!(what.contains("the checkpoint before"), "{what}");
    // The changes up to there, of which 170 is one.
    let message = found["message"].as_u64().unwrap();
    assert!((200..330).contains(&message), "{said}");
    let number = |name: &str| found[name].as_array().unwrap().len();
    assert_eq!((number("before"), number("behind")), (5, 4), "{said}");
    assert!(found["book"] != found["oracle"], "{said}");
    // An input that is another one now, and one without snapshots.
    std::fs::write(folder.join("wrong.json"), "").unwrap();
    verify(&run, "snapshots")
        .expect(2)
        .says(&["wrong.json: 0 bytes, and the run read"]);
    let plain = a_run(&folder, "plain", "--symbols 1 --seed 3", "");
    verify(&plain, "snapshots")
        .expect(2)
        .says(&["the run's input is ITCH, which shows no books as a whole"]);
}

/// A packet of MDP 3.0 with one message of one group of three bytes' dimensions.
fn cme_packet(sequence: u32, id: u16, block: &[u8], each: u16, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [block.len() as u16, id, 1, 9] {
        message.extend(word.to_le_bytes());
    }
    message.extend(block);
    message.extend(each.to_le_bytes());
    message.push(entries.len() as u8);
    for entry in entries {
        message.extend(entry);
        message.resize(message.len() + usize::from(each) - entry.len(), 0);
    }
    let mut bytes = sequence.to_le_bytes().to_vec();
    bytes.extend((1_536_760_535_000_000_000u64 + u64::from(sequence)).to_le_bytes());
    bytes.extend((message.len() as u16 + 2).to_le_bytes());
    bytes.extend(message);
    bytes
}

/// Levels of two instruments of a channel from its first packet on, changed one by one, and snapshots of them as
/// they were some packets ago; and the packets that the snapshots are as of. With `wrong`, this packet says one
/// lot more than the exchange's book has.
fn cme_capture(wrong: Option<u32>) -> (Vec<u8>, Vec<u32>) {
    let mut random = Random(9);
    let mut lots = [[0i32; 3]; 2];
    let mut states = vec![lots];
    let mut numbers = [0u32; 2];
    let mut known = Vec::new();
    let mut bytes = wire::pcap_header(65_535, 1);
    let mut ns = wire::OPEN_NS;
    let mut send = |packet: Vec<u8>| {
        ns += 1_000_000;
        bytes.extend(wire::record(ns, &wire::frame(1, &packet)));
    };
    for sequence in 1..=600u32 {
        let (index, level) = match sequence {
            1..=6 => ((sequence as usize - 1) / 3, (sequence as usize - 1) % 3),
            _ => (random.within(0..2) as usize, random.within(0..3) as usize),
        };
        let qty = 1 + random.within(0..50) as i32;
        lots[index][level] = qty;
        numbers[index] += 1;
        let mut block = (1_536_760_535_000_000_000u64 + u64::from(sequence))
            .to_le_bytes()
            .to_vec();
        block.extend([0x80, 0, 0]);
        let price = (10 - level as i64) * 1_000_000_000;
        let mut entry = price.to_le_bytes().to_vec();
        entry.extend((qty + i32::from(wrong == Some(sequence))).to_le_bytes());
        entry.extend((77 + index as i32).to_le_bytes());
        entry.extend(numbers[index].to_le_bytes());
        entry.extend([0; 4]);
        entry.extend([level as u8 + 1, u8::from(sequence > 6), b'0']);
        send(cme_packet(sequence, 46, &block, 32, &[entry]));
        states.push(lots);
        if sequence > 10 && sequence % 15 == 0 {
            let known_to = sequence - random.within(0..4) as u32;
            known.push(known_to);
            for (index, lots) in states[known_to as usize].iter().enumerate() {
                let mut block = vec![0; 59];
                block[..4].copy_from_slice(&known_to.to_le_bytes());
                block[8..12].copy_from_slice(&(77 + index as i32).to_le_bytes());
                let entry = |(level, qty): (usize, &i32)| {
                    let price = (10 - level as i64) * 1_000_000_000;
                    let mut entry = price.to_le_bytes().to_vec();
                    entry.extend(qty.to_le_bytes());
                    entry.extend([0, 0, 0, 0, level as u8 + 1, 0, 0, 0, 0, b'0']);
                    entry
                };
                let entries: Vec<Vec<u8>> = lots.iter().enumerate().map(entry).collect();
                send(cme_packet(1, 52, &block, 22, &entries));
            }
        }
    }
    (bytes, known)
}

#[test]
fn a_channels_loop_of_snapshots_shows_an_increment_that_was_wrong() {
    let _alone = alone();
    let folder = Folder::quick("verify-loop");
    let config = "[source]\ndate = \"2018-09-12\"\n";
    let (right, known) = cme_capture(None);
    let file = folder.write("right.pcap", right);
    let run = replay(&folder, "right", &file, config);
    let said = verify(&run, "snapshots").expect(0).json();
    assert_eq!(said["snapshots"], 80, "{said}");
    assert_eq!(said["compared"], 80, "{said}");
    assert_eq!(
        (&said["symbols"], &said["levels"]),
        (&2.into(), &240.into()),
        "{said}"
    );
    // The last one that the snapshot knows of, so that no other takes its place.
    let (wrong, _) = cme_capture(Some(known[19]));
    let file = folder.write("wrong.pcap", wrong);
    let run = replay(&folder, "wrong", &file, config);
    let said = verify(&run, "snapshots").expect(4).json();
    let found = &said["first_divergence"];
    assert_eq!(found["side"], "bid", "{said}");
    let what = found["what"].as_str().unwrap();
    assert!(
        what.contains("snapshot as of ") && what.contains("the checkpoint before"),
        "{what}"
    );
    let number = |name: &str| found[name].as_array().unwrap().len();
    assert_eq!((number("before"), number("behind")), (5, 4), "{said}");
}

/// Each field of a sample's truth is held against the run, and a field that nobody knows is named.
#[test]
fn all_that_a_truth_says_is_compared_or_named() {
    let _alone = alone();
    let folder = Folder::quick("verify-truth");
    let run = a_run(&folder, "whole", "--symbols 6 --seed 21", "");
    let truth = support::json(&folder.join("whole.truth.json"));
    let against = |truth: &Value| {
        let path = folder.write("changed.truth.json", truth.to_string());
        verify(&run, path.to_str().unwrap())
    };
    let said = against(&truth).expect(0).json();
    assert_eq!(said["fields_not_compared"], json!([]), "{said}");
    assert_eq!(said["partial"], Value::Null);
    let symbol = truth["symbols"].as_array().unwrap();
    let symbol = symbol.iter().position(|s| s["trades"].as_u64() > Some(0));
    let symbol = symbol.expect("something was traded");
    let of_symbol = |rest: &str| format!("/symbols/{symbol}/{rest}");
    let name = truth["symbols"][symbol]["symbol"].clone();
    for (at, code, want) in [
        (
            "/messages".into(),
            4,
            "messages and 0 lost ones, the truth has",
        ),
        ("/by_type/A".into(), 4, "messages by type"),
        (of_symbol("live_orders"), 4, "orders on the book at the end"),
        (of_symbol("broken"), 4, "broken trades"),
        (of_symbol("locate"), 4, "the truth has locate"),
        (of_symbol("trades"), 4, "trades of"),
        // Of a window: its first, highest, lowest and last price.
        (of_symbol("windows/1s/0/4"), 4, "window 1s"),
        (of_symbol("windows/5s/0/5"), 4, "window 5s"),
        (of_symbol("windows/1m/0/6"), 4, "window 1m"),
        (of_symbol("windows/1s/0/7"), 4, "window 1s"),
    ] {
        let mut changed = truth.clone();
        let field = changed.pointer_mut(&at).expect(&at);
        *field = json!(field.as_u64().unwrap() + 1);
        let said = against(&changed).expect(code).json();
        let differences = said["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 1, "{at}: {said}");
        let of = match at.starts_with("/symbols") {
            true => name.clone(),
            false => json!("(session)"),
        };
        assert_eq!(differences[0][0], of, "{at}");
        assert!(differences[0][1].as_str().unwrap().contains(want), "{said}");
    }
    let mut changed = truth.clone();
    changed["date"] = json!("2026-01-06");
    let said = against(&changed).expect(4);
    assert!(
        said.stdout
            .contains("date 2026-01-05, the truth has 2026-01-06")
    );
    // More was lost than the run says it lost: input, which marked books would show.
    let mut changed = truth.clone();
    changed["lost"] = json!([[5, 7]]);
    assert!(
        against(&changed)
            .expect(3)
            .stdout
            .contains("0 lost messages, the truth has 3")
    );
    let mut changed = truth.clone();
    changed["weather"] = json!("fine");
    changed["symbols"][symbol]["halts"] = json!(0);
    let said = against(&changed).expect(0).json();
    assert_eq!(
        said["fields_not_compared"],
        json!(["symbols.halts", "weather"])
    );
}

/// Windows in which other trades count than in a truth's are no difference, and nothing is proven of them.
#[test]
fn windows_of_another_policy_are_named_and_not_compared() {
    let _alone = alone();
    let folder = Folder::quick("verify-policy");
    let run = a_run(&folder, "plain", "--symbols 6 --seed 24", "");
    let truth = folder.join("plain.truth.json");
    let truth = truth.to_str().unwrap();
    let plain = verify(&run, truth).expect(0).json();
    assert_eq!(plain["fields_not_compared"], json!([]));
    let capture = folder.join("plain.pcap");
    let why = "in which trades count by `no-auctions` (eligible), in the truth's by `as-printed`";
    let run = replay(
        &folder,
        "other",
        &capture,
        "[prints]\neligible = \"no-auctions\"\n",
    );
    let said = verify(&run, truth).expect(0).json();
    let named = ["1m", "1s", "5s"].map(|name| format!("windows {name}, {why}"));
    assert_eq!(said["fields_not_compared"], json!(named));
    assert_eq!(said["windows"], 0, "{said}");
    // All else of it is.
    assert_eq!(said["levels"], plain["levels"]);
    assert_eq!(said["trades"], plain["trades"]);
    // A window that has the name only.
    let mixed = "[windows.1s]\nsize = \"1s\"\n[windows.5s]\nsize = \"4s\"\n";
    let run = replay(&folder, "mixed", &capture, mixed);
    let said = verify(&run, truth).expect(0).json();
    assert_eq!(
        said["fields_not_compared"],
        json!(["windows 5s, which are declared otherwise than the truth's, tumbling of 5s"])
    );
    assert!(said["windows"].as_u64().unwrap() > 0, "{said}");
}

/// Two runs of different dates are compared by the time of day, and their dates are said.
#[test]
fn dates_that_differ_are_said_beside_what_is_equal() {
    let _alone = alone();
    let folder = Folder::quick("diff-dates");
    let first = a_run(&folder, "first", "--symbols 6 --seed 25", "");
    let capture = folder.join("first.pcap");
    let config = folder.join("first.toml");
    let next = folder.join("next");
    tapeline(args![
        "replay",
        "-q",
        capture,
        "-c",
        config,
        "-o",
        next,
        "--date",
        "2027-03-01"
    ])
    .expect(0);
    let date = manifest(&first)["date"].as_str().unwrap().to_string();
    let said = tapeline(args!["diff", first, next]).expect(0);
    let want = format!("equal but for their dates, {date} and 2027-03-01: ");
    assert!(said.stdout.starts_with(&want), "{}", said.stdout);
    let said = tapeline(args!["--json", "diff", first, next]).expect(0);
    assert_eq!(said.json()["dates"], json!([date, "2027-03-01"]));
    let same = tapeline(args!["diff", first, first]).expect(0);
    assert!(same.stdout.starts_with("equal: "), "{}", same.stdout);
    let other = a_run(&folder, "other", "--symbols 6 --seed 26", "");
    let said = tapeline(args!["diff", other, next]).expect(4);
    let want = format!("the dates differ, too: {date} and 2027-03-01");
    assert!(said.stdout.contains(&want), "{}", said.stdout);
}

/// A run of a part of its input is held against that part, and says which it is.
#[test]
fn a_partial_run_says_what_is_proven_of_it() {
    let _alone = alone();
    let folder = Folder::quick("verify-partial");
    let whole = a_run(&folder, "whole", "--symbols 6 --seed 22", "");
    let truth = folder.join("whole.truth.json");
    let truth = truth.to_str().unwrap();
    let capture = folder.join("whole.pcap");
    let part = |name: &str, how: &[&str]| {
        let run = folder.join(name);
        let words = ["replay", "-q", "-o"].map(String::from);
        let [verb, quiet, into] = &words;
        let mut all = args![verb, quiet, into, run, capture].to_vec();
        all.extend(how.iter().map(Into::into));
        tapeline(all).expect(0);
        run
    };
    let symbols = support::json(&whole.join("symbols.json"));
    let name = symbols[0]["symbol"].as_str().unwrap();
    let some = part("some", &["--symbols", name]);
    let said = verify(&some, truth).expect(0).json();
    assert_eq!(said["symbols"], 1, "{said}");
    let only = format!("of its input only the symbols {name} (--symbols)");
    assert_eq!(said["partial"], json!(only));
    assert_eq!(is_equal(&some)["partial"], json!(only));
    let early = part("early", &["--to", "09:30:02.5"]);
    let said = verify(&early, truth).expect(0).json();
    let windows = said["windows"].as_u64().unwrap();
    let of_all = verify(&whole, truth).expect(0).json()["windows"]
        .as_u64()
        .unwrap();
    assert!((1..of_all).contains(&windows), "{said}");
    let partial = said["partial"].as_str().unwrap();
    assert!(
        partial.contains("windows between the beginning and ") && partial.contains("09:30:02.5")
    );
    let partial = is_equal(&early)["partial"].clone();
    assert!(partial.as_str().unwrap().contains("(--to)"), "{partial}");
    // As a kill leaves it.
    let mut killed = manifest(&whole);
    killed["state"] = json!("running");
    std::fs::write(whole.join("manifest.json"), killed.to_string()).unwrap();
    let partial = is_equal(&whole)["partial"].clone();
    assert!(
        partial
            .as_str()
            .unwrap()
            .ends_with("it runs, or was killed"),
        "{partial}"
    );
    verify(&whole, truth)
        .expect(2)
        .says(&["want a complete run"]);
}

/// A damaged log is said to be that, with its place, by all that read it.
#[test]
fn a_damaged_log_ends_all_that_read_it_with_one_exit_code() {
    let _alone = alone();
    let folder = Folder::quick("verify-damage");
    let run = a_run(&folder, "run", "--symbols 6 --seed 23", "");
    let symbols = support::json(&run.join("symbols.json"));
    let name = symbols[0]["symbol"].as_str().unwrap().to_string();
    let mut segments: Vec<PathBuf> = std::fs::read_dir(run.join("log/shard-0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .collect();
    segments.sort();
    // In the last file, which was made shorter when the run ended.
    let last = segments.last().unwrap();
    let mut bytes = std::fs::read(last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(last, &bytes).unwrap();
    let place = format!("{}: damaged at byte ", last.display());
    let said = |ended: Ended| {
        ended
            .expect(6)
            .says(&[&place, ": no valid frame where one was durable"])
    };
    said(verify(&run, "reference"));
    said(tapeline(args!["shadow", run]));
    said(tapeline(args![
        "book", name, "--run", run, "--at", "09:30:03"
    ]));
    said(tapeline(args!["book", "--run", run, "--at", "09:30:03"]));
    // Its digests are those of a run that is whole, and it is complete.
    let twin = folder.join("twin");
    let config = folder.join("run.toml");
    let capture = folder.join("run.pcap");
    tapeline(args!["replay", "-q", capture, "-c", config, "-o", twin]).expect(0);
    tapeline(args!["diff", twin, twin]).expect(0);
    said(tapeline(args!["diff", twin, run]));
    said(tapeline(args!["diff", run, twin]));
    let ended = tapeline(args!["replay", "--resume", run]);
    let cell = ended.stderr.split_once(", cell ").unwrap().1;
    let cell: String = cell.chars().take_while(char::is_ascii_digit).collect();
    said(ended);
    // What is said to be asked can be asked as it stands.
    let asked = format!(
        "`tapeline log repair {} --shard 0 --truncate-at {cell}`",
        run.display()
    );
    said(tapeline(args!["replay", "--resume", run])).says(&[&asked]);
    let repair = "log repair --shard 0 --truncate-at".split(' ');
    let repair = repair.map(OsString::from).chain(args![cell, run]);
    let plan = tapeline(repair).expect(0);
    assert!(plan.stdout.contains("would lose"), "{}", plan.stdout);
    // One that is not complete goes on from nowhere behind damage.
    let manifest = run.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text.replace("\"complete\"", "\"stopped\"");
    std::fs::write(&manifest, text).unwrap();
    let truth = folder.join("run.truth.json");
    said(tapeline(args!["verify", run, "--against", truth])).says(&[&asked]);
    said(tapeline(args!["replay", "--resume", run])).says(&[&asked]);
}
