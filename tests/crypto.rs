//! Captures of crypto venues through the program, against counts by others and against what the venues
//! themselves say of their books on other streams.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use book::{Books, BooksConfig, Depth};
use bus::{Anomaly, Event, Kind, Price, Qty, Quote, Side};
use feed::moldudp64::Blocks;
use feed::protocol::{Binance, Bitstamp, Coinbase, Protocol, Tardis};
use feed::source::{Capture, CaptureOptions, Polled, Source, TextFile};
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

/// A book as a plain reading of lines has it: price to quantity, both in their smallest units.
type Plain = BTreeMap<(String, u8, i64), i64>;

/// Every level of every symbol, as the books have it.
#[track_caller]
fn check_books(books: &Books, names: &BTreeMap<String, u32>, plain: &Plain, place: &str) {
    let mut levels = Vec::new();
    for (name, symbol) in names {
        for side in [Side::Buy, Side::Sell] {
            books.depth(*symbol, side, usize::MAX, &mut levels);
            levels.sort_by_key(|level| level.price);
            let found: Vec<(i64, i64)> = levels.iter().map(|l| (l.price.0, l.qty.0)).collect();
            let range = (name.clone(), side as u8, i64::MIN)..=(name.clone(), side as u8, i64::MAX);
            let want: Vec<(i64, i64)> = plain.range(range).map(|(k, qty)| (k.2, *qty)).collect();
            assert_eq!(found, want, "{name} {side:?}: {place}");
        }
    }
}

/// The name that a symbol was given, if this event gives it one.
fn name_of(event: &Event) -> Option<String> {
    let bytes = event.order.to_be_bytes();
    (event.kind == Kind::Symbol).then(|| String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Rows of several symbols, snapshots among them, against a plain reading of the same rows after each
/// message: rows follow one another, a quantity is the level's, 0 takes it away, and the first row of a
/// snapshot behind others begins the book anew.
#[test]
fn tardis_books_are_those_of_a_plain_reading() {
    let folder = Folder::quick("tardis");
    let mut seed = 7u64;
    let mut below = |end: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % end
    };
    let mut text =
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n".to_owned();
    let mut groups = Vec::new();
    let (mut plain, mut in_snapshot) = (Plain::new(), BTreeMap::new());
    for index in 0..2_000u64 {
        let symbol = ["BTC-USD", "ETHUSDT", "XBT"][below(3) as usize];
        let is_snapshot = index < 20 || below(12) == 0;
        let was = in_snapshot.insert(symbol, is_snapshot);
        if is_snapshot && was != Some(true) {
            plain.retain(|(name, _, _), _| name != symbol);
        }
        let time = 1_700_000_000_000_000 + index * 10;
        for _ in 0..=below(6) {
            let side = [("bid", Side::Buy), ("ask", Side::Sell)][below(2) as usize];
            // Prices in steps of 0.25, quantities in 1e-4.
            let (price, qty) = (below(200) + 1, below(5) * below(90_000));
            let (whole, fraction) = (price / 4, [0, 25, 5, 75][price as usize % 4]);
            text += &format!(
                "deribit,{symbol},{time},{},{is_snapshot},{},{whole}.{fraction},{}.{:04}\n",
                time + 5,
                side.0,
                qty / 10_000,
                qty % 10_000
            );
            let key = (symbol.to_owned(), side.1 as u8, price as i64 * 250_000_000);
            match qty {
                0 => plain.remove(&key),
                _ => plain.insert(key, qty as i64),
            };
        }
        groups.push(plain.clone());
    }
    // Somewhere in the input all four decimals are used.
    text += "deribit,XBT,1800000000000000,1800000000000000,false,bid,0.25,0.0001\n";
    plain.insert(("XBT".into(), Side::Buy as u8, 250_000_000), 1);
    for symbol in ["BTC-USD", "ETHUSDT"] {
        text +=
            &format!("deribit,{symbol},1800000000000001,1800000000000001,false,bid,0.25,0.0001\n");
        plain.insert((symbol.into(), Side::Buy as u8, 250_000_000), 1);
    }
    let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let files = [folder.write("l2.csv", &text), folder.join("l2.csv.zst")];
    std::fs::write(&files[1], packed).unwrap();
    for file in files {
        let mut books = Books::new(BOOKS).unwrap();
        let (mut names, mut at) = (BTreeMap::new(), 0);
        walk(&[file], Tardis::new(), |_, events| {
            for event in events {
                assert_eq!(books.apply(event).anomaly, None, "{event:?}");
                if let Some(name) = name_of(event) {
                    assert_eq!(event.order_b, 4, "{name}");
                    names.insert(name, event.symbol);
                }
            }
            if let Some(plain) = groups.get(at) {
                check_books(&books, &names, plain, &format!("message {at}"));
            }
            at += 1;
        });
        assert_eq!(at, groups.len() + 3);
        check_books(&books, &names, &plain, "the end");
    }
}

/// A book, its trades and quotes from files of their own, through the program.
#[test]
fn tardis_files_go_through_the_program() {
    let _alone = alone();
    let folder = Folder::quick("tardis-run");
    let levels = folder.write(
        "book.csv",
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount
kraken,XBT/USD,1700000000000000,1700000000000100,true,bid,36000.1,0.5
kraken,XBT/USD,1700000000000000,1700000000000100,true,ask,36000.2,1.25
kraken,XBT/USD,1700000001000000,1700000001000100,false,ask,36000.2,0
kraken,XBT/USD,1700000001000000,1700000001000100,false,ask,36000.3,138800.00000001
",
    );
    let trades = folder.write(
        "trades.csv",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount
kraken,XBT/USD,1700000000500000,1700000000500100,,buy,36000.2,1
kraken,XBT/USD,1700000000600000,1700000000600100,,sell,36000.1,0.25
",
    );
    let (ended, run) = replay(&folder, &[&levels, &trades], &[]);
    ended.expect(0);
    let found = symbol(&run, "XBT/USD");
    for (key, want) in [
        ("qty_decimals", json!(8)),
        ("trades", json!(2)),
        ("volume", json!(125_000_000)),
        ("vwap", json!("36000.18")),
        ("bid", json!(["36000.10", 50_000_000])),
    ] {
        assert_eq!(found[key], want, "{key}");
    }
    // The last level has more than 32 bits can say.
    assert_eq!(found["ask"], json!(["36000.30", 13_880_000_000_001i64]));
    assert_eq!(found["stale"], false);
    assert_eq!(manifest(&run)["anomalies"], json!({}));
    assert_eq!(
        manifest(&run)["counts"]["by_type"],
        json!({"S": 1, "L": 1, "T": 2})
    );
}

/// A real session of ten products, snapshots and some ten thousand changes: each message's book, level by
/// level, is that of a plain reading of the same lines as JSON.
#[test]
fn coinbase_books_are_those_of_a_plain_reading() {
    let test = "coinbase_books_are_those_of_a_plain_reading";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let file = data.join("crypto/cryptofeed-ws/COINBASE.ws.28.0.zst");
    let text = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| {
            line.split_once(": {")
                .filter(|(time, _)| !time.contains(' '))
        })
        .map(|(_, json)| serde_json::from_str(&format!("{{{json}")).unwrap())
        .collect();
    let rows = |line: &serde_json::Value| -> Vec<(Side, String, String)> {
        let word = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let list = |name: &str| line[name].as_array().cloned().unwrap_or_default();
        let side = |row: &serde_json::Value| match row[0] == "buy" {
            true => Side::Buy,
            false => Side::Sell,
        };
        let bids = list("bids")
            .into_iter()
            .map(|row| (Side::Buy, word(&row[0]), word(&row[1])));
        let asks = list("asks")
            .into_iter()
            .map(|row| (Side::Sell, word(&row[0]), word(&row[1])));
        let all = list("changes")
            .into_iter()
            .map(|row| (side(&row), word(&row[1]), word(&row[2])));
        bids.chain(asks).chain(all).collect()
    };
    let mut decimals: BTreeMap<String, usize> = BTreeMap::new();
    for line in &lines {
        let sizes = rows(line).into_iter().map(|row| row.2);
        let size = line["size"].as_str().map(str::to_owned);
        for size in sizes.chain(size) {
            let fraction = size.split_once('.').map_or("", |(_, fraction)| fraction);
            let product = line["product_id"].as_str().unwrap().to_owned();
            let most = decimals.entry(product).or_default();
            *most = (*most).max(fraction.trim_end_matches('0').len());
        }
    }
    let mut books = Books::new(BOOKS).unwrap();
    let (mut names, mut plain) = (BTreeMap::new(), Plain::new());
    let (mut at, mut compared, mut by_type) = (0, 0, BTreeMap::new());
    let mut traded: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    let mut tickers = (0, 0);
    walk(std::slice::from_ref(&file), Coinbase::new(), |_, events| {
        let line = &lines[at];
        at += 1;
        for event in events {
            assert_eq!(books.apply(event).anomaly, None, "{event:?}");
            if let Some(name) = name_of(event) {
                assert_eq!(event.order_b, decimals[&name] as u64, "{name}");
                names.insert(name, event.symbol);
            }
            if event.kind == Kind::Trade {
                let product = line["product_id"].as_str().unwrap();
                assert_eq!(line["type"], "match");
                assert_eq!(Some(event.order_b), line["trade_id"].as_u64());
                assert_eq!(event.price.0, units(line["price"].as_str().unwrap(), 9));
                let qty = units(line["size"].as_str().unwrap(), decimals[product]);
                assert_eq!(event.qty.0, qty);
                let sum = traded.entry(product.into()).or_default();
                *sum = (sum.0 + 1, sum.1 + qty);
            }
        }
        let kind = line["type"].as_str().unwrap();
        let code = match kind {
            "snapshot" => "S",
            "l2update" => "L",
            "match" => "T",
            "last_match" => "P",
            "ticker" => "K",
            _ => "O",
        };
        *by_type.entry(code).or_insert(0) += 1;
        let product = line["product_id"].as_str().unwrap_or_default().to_owned();
        if kind == "snapshot" {
            plain.retain(|(name, _, _), _| *name != product);
        }
        for (side, price, qty) in rows(line) {
            let key = (product.clone(), side as u8, units(&price, 9));
            match units(&qty, decimals[&product]) {
                0 => plain.remove(&key),
                qty => plain.insert(key, qty),
            };
        }
        let symbol = names.get(&product).copied();
        if matches!(kind, "snapshot" | "l2update") {
            let one = BTreeMap::from([(product.clone(), symbol.unwrap())]);
            check_books(&books, &one, &plain, &format!("message {at}"));
            assert!(!books.is_stale(symbol.unwrap()), "message {at}");
            compared += 1;
        }
        if kind == "ticker" && symbol.is_some_and(|symbol| books.quote(symbol).bid.is_some()) {
            let quote = books.quote(symbol.unwrap());
            let said = |name: &str| units(line[name].as_str().unwrap(), 9);
            let is_same = (quote.bid.0, quote.ask.0) == (said("best_bid"), said("best_ask"));
            tickers = (tickers.0 + 1, tickers.1 + u32::from(is_same));
        }
    });
    assert_eq!(at, lines.len());
    check_books(&books, &names, &plain, "the end");
    println!(
        "{compared} books, {} tickers of which {} say our best prices",
        tickers.0, tickers.1
    );
    assert_eq!((compared, names.len()), (9_729, 10));

    let folder = Folder::quick("coinbase");
    let (ended, run) = replay(&folder, &[&file], &[]);
    ended.expect(0);
    assert_eq!(manifest(&run)["counts"]["by_type"], json!(by_type));
    assert_eq!(manifest(&run)["date"], "2021-04-17");
    for name in names.keys() {
        let found = symbol(&run, name);
        let (trades, volume) = traded.get(name).copied().unwrap_or_default();
        assert_eq!(
            (&found["trades"], &found["volume"]),
            (&json!(trades), &json!(volume)),
            "{name}"
        );
        assert_eq!(found["stale"], false, "{name}");
    }
}

/// One CSV row of Bitstamp's, plainly.
struct OrderRow {
    id: u64,
    ts_recv: i64,
    price: i64,
    qty: i64,
    action: String,
    side: Side,
}

/// A quantity in 1e-8; an exponent, as in 7.18e-06, is that of a number below one.
fn satoshi(text: &str) -> i64 {
    let Some((digits, exponent)) = text.split_once("e-") else {
        return units(text, 8);
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = fraction.len() + exponent.parse::<usize>().unwrap();
    let number: i64 = format!("{whole}{fraction}").parse().unwrap();
    number * 10i64.pow(8 - u32::try_from(places).unwrap())
}

/// Every row of the L3 file, against plain lists of orders: the queue that it touches after each, all of
/// the book now and then; and what orders lost is what the venue's trades say of them, order by order.
#[test]
fn bitstamp_orders_and_trades_meet_their_truth() {
    let test = "bitstamp_orders_and_trades_meet_their_truth";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = data.join("crypto/bitstamp");
    let orders = folder.join("bitstamp_btcusd_L3_orders.csv.gz");
    let trades = folder.join("bitstamp_btcusd_trades.csv");
    let truth = support::json(&folder.join("bitstamp_btcusd_L3_orders.truth.json"));
    let mut text = TextFile::open(&orders).unwrap();
    let mut rows = Vec::new();
    while let Some(line) = text.line().unwrap() {
        let f: Vec<&str> = std::str::from_utf8(line).unwrap().split(',').collect();
        if f[0] == "id" {
            continue;
        }
        rows.push(OrderRow {
            id: f[0].parse().unwrap(),
            ts_recv: f[1].parse().unwrap(),
            price: units(f[3], 9),
            qty: satoshi(f[4]),
            action: f[5].into(),
            side: if f[6] == "bid" { Side::Buy } else { Side::Sell },
        });
    }
    assert_eq!(truth["rows"], rows.len());

    let mut books = Books::new(BOOKS).unwrap();
    let mut queues: BTreeMap<(u8, i64), Vec<(u64, i64)>> = BTreeMap::new();
    let mut live: BTreeMap<u64, (Side, i64, i64)> = BTreeMap::new();
    let (mut at, mut unknown, mut wide) = (0, 0, 0);
    let mut by_action: BTreeMap<String, u64> = BTreeMap::new();
    let mut taken: BTreeMap<u64, i64> = BTreeMap::new();
    walk(
        std::slice::from_ref(&orders),
        Bitstamp::new(),
        |message, events| {
            let row = &rows[at];
            at += 1;
            let side = if row.side == Side::Buy { "bid" } else { "ask" };
            *by_action
                .entry(format!("{}/{side}", row.action))
                .or_default() += 1;
            let long = |at: usize| i64::from_le_bytes(message[at..at + 8].try_into().unwrap());
            assert_eq!(long(20), row.ts_recv * 1_000_000, "row {at}");
            wide += u64::from(row.qty > u32::MAX.into());
            let before = live.remove(&row.id);
            let (mut found, mut touched) = (Vec::new(), Vec::new());
            for event in events {
                found.extend(books.apply(event).anomaly);
            }
            if let Some((side, price, qty)) = before {
                let queue = queues.get_mut(&(side as u8, price));
                touched.push((side, price));
                if qty > row.qty {
                    *taken.entry(row.id).or_default() += qty - row.qty;
                }
                // Smaller at the same price keeps its place.
                let stays =
                    row.action == "changed" && price == row.price && (1..=qty).contains(&row.qty);
                if let Some(queue) = queue {
                    match stays {
                        true => queue
                            .iter_mut()
                            .filter(|o| o.0 == row.id)
                            .for_each(|o| o.1 = row.qty),
                        false => queue.retain(|order| order.0 != row.id),
                    }
                }
                if row.action == "changed" {
                    live.insert(row.id, (row.side, row.price, row.qty));
                    if !stays && row.qty > 0 && row.price > 0 {
                        let queue = queues.entry((row.side as u8, row.price)).or_default();
                        queue.push((row.id, row.qty));
                        touched.push((row.side, row.price));
                    }
                }
            } else if row.action == "created" {
                live.insert(row.id, (row.side, row.price, row.qty));
                // Some lie below the smallest price that the file can say, and so in no book.
                if row.qty > 0 && row.price > 0 {
                    let queue = queues.entry((row.side as u8, row.price)).or_default();
                    queue.push((row.id, row.qty));
                    touched.push((row.side, row.price));
                }
            } else {
                unknown += 1;
            }
            let is_known = before.is_some() || row.action == "created";
            let want = if is_known {
                &[][..]
            } else {
                &[Anomaly::UnknownOrder]
            };
            assert_eq!(found, want, "row {at}: {events:?}");
            let all = (at % 5_000 == 0).then(|| queues.keys().copied().collect::<Vec<_>>());
            let sides = [Side::None, Side::Buy, Side::Sell];
            let all = all
                .into_iter()
                .flatten()
                .map(|(side, price)| (sides[side as usize], price));
            for (side, price) in touched.into_iter().chain(all) {
                let want = queues
                    .get(&(side as u8, price))
                    .map_or(&[][..], Vec::as_slice);
                let queue = books.queue(1, side, Price(price));
                let queue: Vec<(u64, i64)> = queue.map(|(id, qty)| (id, qty.0)).collect();
                assert_eq!(queue, want, "row {at}: {side:?} at {}", Price(price));
                let level = books.level(1, side, Price(price)).map(|level| level.qty.0);
                let sum: i64 = want.iter().map(|order| order.1).sum();
                assert_eq!(level, (sum > 0).then_some(sum), "row {at}");
            }
        },
    );
    assert_eq!((at, unknown, wide), (rows.len(), 13, 146));
    assert_eq!(json!(by_action), truth["by_action_side"]);
    let mut ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(truth["distinct_order_ids"], ids.len());
    let times = || rows.iter().map(|row| row.ts_recv);
    assert_eq!(truth["min_timestamp_ms"], times().min().unwrap());
    assert_eq!(truth["max_timestamp_ms"], times().max().unwrap());
    assert_eq!(books.stats().orders, 0);

    // The trades that the venue tells, by each order's number.
    let mut told: BTreeMap<u64, i64> = BTreeMap::new();
    let (mut count, mut volume, mut notional) = (0, 0, 0i128);
    walk(
        std::slice::from_ref(&trades),
        Bitstamp::new(),
        |message, events| {
            let long = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().unwrap());
            let event = events.last().unwrap();
            assert_eq!(event.kind, Kind::Trade);
            for id in [long(28), long(36)] {
                *told.entry(id).or_default() += event.qty.0;
            }
            (count, volume) = (count + 1, volume + event.qty.0);
            notional += i128::from(event.price.0) * i128::from(event.qty.0);
        },
    );
    // Two market orders were told without a volume, so that theirs never became less.
    let untold: Vec<u64> = told
        .iter()
        .filter(|(id, qty)| taken.get(id) != Some(qty))
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(untold.len(), 2, "{untold:?}");
    for id in &untold {
        let created = rows.iter().find(|row| row.id == *id).unwrap();
        assert_eq!((created.qty, taken.get(id)), (0, None), "{id}");
    }
    assert_eq!(taken.len() + untold.len(), told.len());
    assert_eq!(truth["trades"]["count"], count);
    let quantity = truth["trades"]["quantity"].as_f64().unwrap();
    assert_eq!(volume, (quantity * 1e8).round() as i64);
    let vwap = truth["trades"]["vwap"].as_f64().unwrap();
    assert!((notional as f64 / volume as f64 / 1e9 - vwap).abs() < 1e-6);

    let folder = Folder::quick("bitstamp");
    let (ended, run) = replay(&folder, &[&orders, &trades], &[]);
    ended.expect(0);
    let manifest = manifest(&run);
    let by =
        |action: &str| by_action[&format!("{action}/bid")] + by_action[&format!("{action}/ask")];
    assert_eq!(
        manifest["counts"]["by_type"],
        json!({"C": by("created"), "H": by("changed"), "D": by("deleted"), "T": count})
    );
    assert_eq!(manifest["anomalies"]["unknown_order"], 13);
    let found = symbol(&run, "BTCUSD");
    assert_eq!(
        (&found["trades"], &found["volume"]),
        (&json!(count), &json!(volume))
    );
    let ours: f64 = found["vwap"].as_str().unwrap().parse().unwrap();
    assert!((ours - vwap).abs() < 1e-6, "{ours}, want {vwap}");
    assert_eq!(found["bid"], json!(null));
}

#[test]
fn a_line_that_is_no_message_is_kept_and_comes_again() {
    let _alone = alone();
    let folder = Folder::quick("crypto-quarantine");
    let good = r#"{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":1,"p":"1.00","q":"2","T":1700000000000,"m":true}"#;
    let bad = good.replace("\"p\":\"1.00\"", "\"p\":1x00");
    let text = format!("{good}\n{bad}\n{good}\n");
    let file = folder.write("lines.txt", text);
    let (ended, run) = replay(&folder, &[&file], &["--strict"]);
    ended.expect(3);
    let path = run.join("quarantine.bin");
    let bytes = std::fs::read(&path).unwrap();
    let records = feed::quarantine::Records::open(&bytes).unwrap();
    let records: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].item, feed::quarantine::Item::Line);
    assert_eq!(records[0].raw, bad.as_bytes());
    assert_eq!(
        records[0].place.offset_bytes,
        good.len() as u64 + 1 + bad.find("x00").unwrap() as u64
    );

    // With the line mended, its message is taken in.
    let header = feed::quarantine::Records::open(&bytes).unwrap().header();
    let mut mended = header.encode().to_vec();
    let mut line = records[0].clone();
    line.raw = good.as_bytes();
    line.encode(1, &mut mended);
    let mended = folder.write("quarantine.bin", mended);
    let (ended, run) = replay(&folder, &[&mended], &[]);
    ended.expect(0);
    assert_eq!(manifest(&run)["counts"]["messages"], 1);
    assert_eq!(symbol(&run, "BTCUSDT")["trades"], 1);
}
