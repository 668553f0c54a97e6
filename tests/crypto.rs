//! Captures of crypto venues through the program, against counts by others and against what the venues
//! themselves say of their books on other streams.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use book::{Books, BooksConfig, Depth};
use bus::{Event, Kind, Price, Qty, Quote};
use feed::moldudp64::Blocks;
use feed::protocol::{Binance, Protocol};
use feed::source::{Capture, CaptureOptions, Polled, Source};
use serde_json::{Value, json};
use support::{Ended, Folder, alone, manifest, program, symbol};

const BOOKS: BooksConfig = BooksConfig {
    orders_max: 1 << 16,
    levels_max: 1 << 16,
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

/// The events of each message of some files, with the message.
fn walk<P: Protocol>(files: &[PathBuf], mut protocol: P, mut each: impl FnMut(&[u8], &[Event])) {
    let mut capture = Capture::open(files, CaptureOptions::default()).unwrap();
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
            other => panic!("{files:?}: {other:?}"),
        }
    }
}

/// A decimal in units of 10 to the power of minus `decimals`; it must come out even.
fn units(text: &str, decimals: usize) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    assert!(fraction.len() <= decimals, "{text}");
    format!("{whole}{fraction:0<decimals$}").parse().unwrap()
}

/// Lines by stream, trades, what was traded, VWAP and the date, through the whole program.
#[test]
fn binance_captures_meet_their_counts() {
    let Some(data) = support::shared_data("binance_captures_meet_their_counts") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("binance");
    let binance = data.join("crypto/binance");
    let truth = support::json(&binance.join("counts.truth.json"));
    for (name, date, ticker, decimals) in [
        ("spot_btcusdt_20240808", "2024-08-08", "BTCUSDT", 6),
        ("spot_btcusdt_20240809", "2024-08-09", "BTCUSDT", 6),
        ("usdm_btcusdt_20240808", "2024-08-08", "BTCUSDT", 3),
        ("cm_btcusd_perp_20240808", "2024-08-08", "BTCUS~01", 0),
        ("cm_btcusd_perp_20240809", "2024-08-09", "BTCUS~01", 0),
    ] {
        let name = format!("{name}.hftbacktest-raw.gz");
        let truth = &truth["files"][&name];
        let (ended, run) = replay(&folder, &[&binance.join(&name)], &[]);
        ended.expect(0);
        let manifest = manifest(&run);
        let mut streams = BTreeMap::new();
        for (stream, count) in truth["lines_by_stream"].as_object().unwrap() {
            let code = match stream.split('@').next().unwrap() {
                "depth" => "D",
                "bookTicker" => "Q",
                "trade" => "T",
                "snapshot(rest)" => "S",
                other => panic!("{other}"),
            };
            streams.insert(code, count.clone());
        }
        assert_eq!(manifest["counts"]["by_type"], json!(streams), "{name}");
        assert_eq!(manifest["counts"]["messages"], truth["lines"], "{name}");
        assert_eq!(manifest["date"], date, "{name}");
        let anomalies = manifest["anomalies"].as_object().unwrap();
        assert!(
            anomalies.keys().all(|key| key == "time_backwards"),
            "{name}: {anomalies:?}"
        );
        let found = symbol(&run, ticker);
        assert_eq!(
            found["qty_decimals"].as_u64().unwrap_or(0),
            decimals,
            "{name}"
        );
        assert_eq!(found["trades"], truth["trades"], "{name}");
        let volume = units(truth["trade_qty"].as_str().unwrap(), decimals as usize);
        assert_eq!(found["volume"], volume, "{name}");
        let vwap: f64 = found["vwap"].as_str().unwrap().parse().unwrap();
        let wanted: f64 = truth["vwap_quote_per_qty"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (vwap - wanted).abs() <= 1e-6,
            "{name}: {vwap}, want {wanted}"
        );
        // Without a snapshot there is no book, and that is said.
        let has_book = truth["lines_by_stream"].get("snapshot(rest)").is_some();
        assert_eq!(found["stale"], !has_book, "{name}");
        assert_eq!(found["bid"].is_null(), !has_book, "{name}");
    }
}

/// When the first and the last line came, the numbers of the first and the last trade, and which line
/// is the snapshot.
#[test]
fn binance_lines_stand_where_another_reader_found_them() {
    let test = "binance_lines_stand_where_another_reader_found_them";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let binance = data.join("crypto/binance");
    let truth = support::json(&binance.join("counts.truth.json"));
    for name in [
        "spot_btcusdt_20240808",
        "usdm_btcusdt_20240808",
        "cm_btcusd_perp_20240809",
    ] {
        let name = format!("{name}.hftbacktest-raw.gz");
        let truth = &truth["files"][&name];
        let (mut lines, mut times, mut trades) = (0u64, Vec::new(), Vec::new());
        let mut snapshot = Value::Null;
        walk(&[binance.join(&name)], Binance::new(), |message, _| {
            let long = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().unwrap());
            lines += 1;
            times.push(long(20));
            match message[8] {
                b'T' => trades.push(long(52 + 17)),
                b'S' => snapshot = lines.into(),
                _ => {}
            }
        });
        let ends = |all: &[u64]| json!([all.first(), all.last()]);
        let local = json!([truth["first_local_ts_ns"], truth["last_local_ts_ns"]]);
        assert_eq!(ends(&times), local, "{name}");
        assert_eq!(ends(&trades), truth["first_last_trade_id"], "{name}");
        assert_eq!(snapshot, truth["first_rest_snapshot_line"], "{name}");
        assert_eq!(truth["depth_update_id_gaps"], 0, "{name}");
    }
}

/// What a bookTicker says, by its number in the book's changes.
type Tickers = BTreeMap<u64, Vec<Quote>>;

fn row(message: &[u8], index: usize) -> (Price, Qty) {
    let at = 52 + 25 * index;
    let long = |at: usize| i64::from_le_bytes(message[at..at + 8].try_into().unwrap());
    (Price(long(at + 1)), Qty(long(at + 9)))
}

fn tickers(files: &[PathBuf]) -> Tickers {
    let mut tickers = Tickers::new();
    walk(files, Binance::new(), |message, _| {
        if message[8] == b'Q' {
            let ((bid, bid_qty), (ask, ask_qty)) = (row(message, 0), row(message, 1));
            let last = u64::from_le_bytes(message[36..44].try_into().unwrap());
            tickers.entry(last).or_default().push(Quote {
                bid,
                ask,
                bid_qty,
                ask_qty,
            });
        }
    });
    tickers
}

/// Our best bid and offer, with their quantities, are those that the venue says on another stream, at
/// each moment of which both speak: a ticker with number X is about the book after change X. Changes
/// come in batches; a ticker with X at a batch's end, or behind it and before the next one's first
/// change, is about the book after that batch. One with X inside a batch is about a book that nobody
/// is shown, but where no other ticker comes up to the batch's end, the book should still be as it says:
/// that is so but where the venue left a state of a few changes out of the tickers, which the next one
/// shows.
#[test]
fn binance_books_have_the_best_prices_of_the_tickers() {
    let test = "binance_books_have_the_best_prices_of_the_tickers";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let binance = data.join("crypto/binance");
    for (names, compared_min) in [
        (
            vec!["spot_btcusdt_20240808", "spot_btcusdt_20240809"],
            1_000,
        ),
        (vec!["usdm_btcusdt_20240808"], 600),
        (
            vec!["cm_btcusd_perp_20240808", "cm_btcusd_perp_20240809"],
            1_800,
        ),
    ] {
        let path = |name: &&str| binance.join(format!("{name}.hftbacktest-raw.gz"));
        let files: Vec<PathBuf> = names.iter().map(path).collect();
        let tickers = tickers(&files);
        let said: usize = tickers.values().map(Vec::len).sum();
        let mut books = Books::new(BOOKS).unwrap();
        let (mut latest, mut unsaid) = (0, 0);
        let (mut compared, mut inside, mut before, mut differ) = (0, 0, 0, 0);
        // Our quote, and the last change it has.
        let mut now: Option<(u64, Quote)> = None;
        walk(&files, Binance::new(), |message, events| {
            let long = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().unwrap());
            let (first, last) = (long(28), long(36));
            if message[8] == b'D' {
                match &now {
                    None => {}
                    // In the snapshot already.
                    Some((from, _)) if last <= *from => {}
                    Some((from, quote)) => {
                        for (number, others) in tickers.range(from..&first) {
                            for other in others {
                                compared += 1;
                                if other != quote {
                                    differ += 1;
                                    println!("{number} after {from}: {other:?}, ours {quote:?}");
                                }
                            }
                        }
                        inside += tickers
                            .range(first..last)
                            .map(|(_, o)| o.len())
                            .sum::<usize>();
                    }
                }
            }
            for event in events {
                let applied = books.apply(event);
                assert_eq!(applied.anomaly, None, "{event:?}");
            }
            if books.is_stale(1) {
                return;
            }
            match message[8] {
                // What waited came after it, if anything did.
                b'S' => now = None,
                b'D' => {
                    if now.is_none() {
                        before = tickers.range(..last).map(|(_, o)| o.len()).sum();
                    }
                    now = Some((last, books.quote(1)));
                    if let Some((number, others)) = tickers.range(..=last).next_back() {
                        let (other, quote) = (others.last().unwrap(), books.quote(1));
                        latest += 1;
                        if *other != quote {
                            unsaid += 1;
                            let (next, _) = tickers.range(last + 1..).next().unwrap();
                            assert!(next - last < 16, "{number}, then nothing up to {next}");
                            println!(
                                "{number}, then nothing up to {last}: {other:?}, ours {quote:?}"
                            );
                        }
                    }
                }
                _ => {}
            }
        });
        let (end, _) = now.unwrap();
        let after: usize = tickers.range(end..).map(|(_, o)| o.len()).sum();
        println!(
            "{}: {said} tickers: {compared} compared, {differ} differ; {inside} inside a batch, {before} \
             before the book, {after} at its end or after it; of {latest} books after a batch {unsaid} are \
             not as the ticker before",
            names[0]
        );
        assert_eq!(differ, 0);
        assert!(unsaid * 1_000 <= latest, "{unsaid} of {latest}");
        assert!(latest >= 6_000, "only {latest}");
        assert!(compared >= compared_min, "only {compared} compared");
        assert_eq!(said, compared + inside + before + after);
    }
}

/// Lines by hand, after the venue's documentation: a snapshot, changes, trades, and a second symbol with
/// a long name and other decimals.
const LINES: &str = r#"1700000000000000000 {"e":"depthUpdate","E":1700000000000,"s":"ETHUSDT","U":1,"u":5,"b":[["2000.00","1.50"]],"a":[]}
1700000000100000000 {"lastUpdateId":3,"symbol":"ETHUSDT","bids":[["1999.99","0.001"]],"asks":[["2000.01","4"]]}
1700000000200000000 {"e":"trade","E":1700000000200,"s":"ETHUSDT","t":1,"p":"2000.01","q":"0.125","m":false}
1700000000300000000 {"e":"trade","E":1700000000300,"s":"ETHUSDT","t":2,"p":"2000.00","q":"0.375","m":true}
1700000000400000000 {"e":"trade","E":1700000000400,"s":"1000PEPEUSDT","t":9,"p":"0.0123456","q":"7","m":true}
1700000000500000000 {"e":"depthUpdate","E":1700000000500,"s":"ETHUSDT","U":6,"u":6,"b":[["2000.00","0.00"]],"a":[["2000.01","4.25"]]}
"#;

#[test]
fn lines_by_hand_come_to_what_they_say() {
    let _alone = alone();
    let folder = Folder::quick("crypto-lines");
    let file = folder.write("lines.json", LINES);
    let (ended, run) = replay(&folder, &[&file], &[]);
    ended
        .expect(0)
        .says(&["1000PEPEUSDT is called 1000P~01 here"]);
    let eth = symbol(&run, "ETHUSDT");
    for (key, want) in [
        ("qty_decimals", json!(3)),
        ("volume", json!(500)),
        // 2000.01 * 0.125 + 2000.00 * 0.375
        ("notional_e9", json!("1000001250000")),
        ("vwap", json!("2000.0025")),
        ("bid", json!(["1999.99", 1])),
        ("ask", json!(["2000.01", 4_250])),
        ("stale", json!(false)),
    ] {
        assert_eq!(eth[key], want, "{key}");
    }
    let pepe = symbol(&run, "1000P~01");
    assert_eq!(pepe["qty_decimals"], json!(null));
    assert_eq!(pepe["notional_e9"], "86419200");
    assert_eq!(manifest(&run)["anomalies"], json!({}));
    let book = |more: &[&str]| {
        let mut command = program();
        command
            .args(more)
            .args(["book", "ETHUSDT", "--run"])
            .arg(&run);
        support::run(&mut command).expect(0)
    };
    let said = book(&["--json"]).json();
    assert_eq!(said["qty_decimals"], 3);
    assert_eq!(said["bids"], json!([["1999.99", 1, 1]]));
    let shown = book(&[]).stdout;
    assert!(
        shown.contains("0.001") && shown.contains("4.250"),
        "{shown}"
    );
    // A state that is saved on the way, and any number of shards, come to the same.
    let digests = support::digests(&run);
    let mut command = program();
    command
        .args(["savepoint", "create", "--name", "kept"])
        .arg(&run);
    support::run(&mut command).expect(0);
    let restored = folder.join("restored");
    let mut command = program();
    command.args(["savepoint", "restore"]).arg(&run).arg("kept");
    command.args(["--shards", "2", "-o"]).arg(&restored);
    support::run(&mut command).expect(0);
    let mut command = program();
    command.args(["replay", "--resume"]).arg(&restored);
    support::run(&mut command).expect(0);
    let again = symbol(&restored, "ETHUSDT");
    for key in ["qty_decimals", "volume", "vwap", "bid", "ask", "stale"] {
        assert_eq!(again[key], eth[key], "{key}");
    }
    let (ended, run) = replay(&folder, &[&file], &["--shards", "3"]);
    ended.expect(0);
    assert_eq!(support::digests(&run), digests);
}
