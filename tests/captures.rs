//! Every capture of the shared folder through the program, held against what decoders that are
//! not ours say of it. Where the folder is absent, each test says that it skips.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions};
use serde_json::{Value, json};
use support::{Ended, Folder, SMALL, Started, alone, files_under, manifest, program, symbol};

/// Replays captures into a run directory with small log files.
fn start(folder: &Folder, files: &[&Path]) -> (Started, PathBuf) {
    let config = folder.write("small.toml", SMALL);
    let run = folder.join("run");
    let _ = fs::remove_dir_all(&run);
    let mut command = program();
    command
        .arg("replay")
        .args(files)
        .arg("-o")
        .arg(&run)
        .arg("-c")
        .arg(config);
    if files.len() > 1 {
        // Packets of one kind, of whichever dates.
        command.args(["--date", "2023-08-22"]);
    }
    (Started::new(&mut command), run)
}

fn replay(folder: &Folder, file: &Path) -> (Ended, PathBuf) {
    let (mut started, run) = start(folder, &[file]);
    (started.wait_for_end(), run)
}

/// Counts by type as a truth file has them, without types that it counts as none.
fn by_type(truth: &Value) -> BTreeMap<String, u64> {
    let counts = truth.as_object().expect("counts by type").iter();
    counts
        .map(|(letter, count)| (letter.clone(), count.as_u64().unwrap()))
        .collect()
}

/// A dollar price as text in the notation of `symbols.json`, from a decoder's float.
fn price(float: &Value) -> String {
    let e4 = (float.as_f64().unwrap() * 10_000.0).round() as i64;
    let mut text = format!("{}.{:04}", e4 / 10_000, e4 % 10_000);
    while text.ends_with('0') && !text[text.len() - 3..].starts_with('.') {
        text.pop();
    }
    text
}

/// Holds a run against its truth: messages, and for each symbol trades, shares, notional, VWAP
/// and the best bid and ask at the end.
fn check_truth(run: &Path, truth: &Value) {
    let manifest = manifest(run);
    let types = by_type(&truth["messages_by_type"]["itchfeed"]);
    assert_eq!(by_type(&manifest["counts"]["by_type"]), types);
    assert_eq!(manifest["counts"]["messages"], truth["messages_total"]);
    let symbols = support::json(&run.join("symbols.json"));
    assert_eq!(
        symbols.as_array().unwrap().len() as u64,
        truth["symbols"].as_u64().unwrap()
    );
    // Numbers of symbols follow their names in these files.
    for (locate, (name, wanted)) in (1..).zip(truth["per_symbol"].as_object().unwrap()) {
        let found = symbol(run, name);
        check_orders_at_best(run, name, &truth["itch_book_last_bbo"][locate.to_string()]);
        assert_eq!(found["volume"], wanted["executed_shares"], "{name}");
        assert_eq!(found["trades"], wanted["prints"], "{name}");
        let e4 = wanted["notional_1e-4"].as_i64().unwrap();
        assert_eq!(found["notional_e9"], format!("{e4}00000"), "{name}");
        if let Some(vwap) = wanted["vwap"].as_f64() {
            let ours: f64 = found["vwap"].as_str().unwrap().parse().unwrap();
            assert!(
                (ours - vwap).abs() < 1e-8,
                "{name}: VWAP {ours}, want {vwap}"
            );
        }
        for (side, truth) in [("bid", "final_bid"), ("ask", "final_ask")] {
            match &wanted[truth] {
                Value::Null => assert!(found[side].is_null(), "{name}: {side} {}", found[side]),
                level => {
                    assert_eq!(found[side][0], price(&level[0]), "{name}: {side}");
                    assert_eq!(found[side][1], level[1], "{name}: {side}");
                }
            }
        }
    }
}

/// How many orders stand at the best bid and ask, by one more book.
fn check_orders_at_best(run: &Path, name: &str, best: &Value) {
    let mut command = program();
    command
        .args(["--json", "book", name, "--depth", "1", "--run"])
        .arg(run);
    let book = support::run(&mut command).expect(0).json();
    for (side, count) in [("bids", "bid_ct"), ("asks", "ask_ct")] {
        let found = book[side].as_array().unwrap().first();
        let orders = found.map_or(0, |level| level[2].as_u64().unwrap());
        assert_eq!(orders, best[count].as_u64().unwrap(), "{name}: {side}");
    }
}

/// The anomaly's count in a manifest.
fn anomaly(manifest: &Value, name: &str) -> u64 {
    manifest["anomalies"][name].as_u64().unwrap_or(0)
}

/// Half an hour of one busy symbol. References go to 74 million while 300 orders live at once:
/// memory must follow the orders.
#[test]
fn half_an_hour_of_aapl_in_little_memory() {
    let Some(data) = support::shared_data("half_an_hour_of_aapl_in_little_memory") else {
        return;
    };
    let _alone = alone();
    let file = data.join("itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst");
    let truth = support::json(&file.with_extension("truth.json"));
    let folder = Folder::quick("aapl");
    let (mut started, run) = start(&folder, &[&file]);
    // The kernel forgets a process's peak when it ends, so it is asked for all the time.
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(ended) = started.wait(Duration::from_millis(2)) {
            break ended;
        }
        peak_kib = peak_kib.max(peak_rss_kib(started.id()).unwrap_or(0));
    };
    ended.expect(0);
    println!("peak resident memory: {} MiB", peak_kib / 1024);
    assert!(peak_kib > 0, "no peak was seen");
    assert!(peak_kib < 300 * 1024, "{peak_kib} KiB at the peak");
    check_truth(&run, &truth);
    assert_eq!(manifest(&run)["anomalies"], json!({}));
    let stats = &truth["itch_book_stats"];
    assert_eq!(stats["missing_ref"], 0);
    check_depth(&run, "AAPL", &truth["per_symbol"]["AAPL"]);
}

fn peak_rss_kib(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// How many levels and shares each side has at the end, by the whole book.
fn check_depth(run: &Path, name: &str, truth: &Value) {
    let mut command = program();
    command
        .args(["--json", "book", name, "--depth", "100000", "--run"])
        .arg(run);
    let book = support::run(&mut command).expect(0).json();
    for (index, side) in ["bids", "asks"].into_iter().enumerate() {
        let levels = book[side].as_array().unwrap();
        let shares: i64 = levels.iter().map(|level| level[1].as_i64().unwrap()).sum();
        assert_eq!(
            levels.len() as u64,
            truth["levels"][index].as_u64().unwrap(),
            "{name} {side}"
        );
        assert_eq!(
            shares,
            truth["open_shares"][index].as_i64().unwrap(),
            "{name} {side}"
        );
    }
}

/// How many orders a run's books hold at the end.
fn live_orders(run: &Path, names: &[&str]) -> u64 {
    let mut count = 0;
    for name in names {
        let mut command = program();
        command
            .args(["--json", "book", name, "--depth", "100000", "--run"])
            .arg(run);
        let book = support::run(&mut command).expect(0).json();
        for side in ["bids", "asks"] {
            let levels = book[side].as_array().unwrap().iter();
            count += levels.map(|level| level[2].as_u64().unwrap()).sum::<u64>();
        }
    }
    count
}

/// Made-up stocks whose messages refer to orders that are not there, and whose books end crossed.
#[test]
fn the_ritch_session_meets_its_truth_and_its_faults_are_counted() {
    let test = "the_ritch_session_meets_its_truth_and_its_faults_are_counted";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let file = data.join("itch50/RITCH_synthetic_20101224.lenfixed.itch50.zst");
    let truth = support::json(&file.with_extension("truth.json"));
    let folder = Folder::quick("ritch");
    let (ended, run) = replay(&folder, &file);
    ended.expect(0);
    check_truth(&run, &truth);
    let manifest = manifest(&run);
    let stats = &truth["itch_book_stats"];
    assert_eq!(
        anomaly(&manifest, "unknown_order"),
        stats["missing_ref"].as_u64().unwrap()
    );
    assert_eq!(
        anomaly(&manifest, "crossed"),
        stats["crossed_books"].as_u64().unwrap()
    );
    let names = ["ALC", "BOB", "CHAR"];
    for name in names {
        check_depth(&run, name, &truth["per_symbol"][name]);
    }
    // One more order lives than in that book, which refused to add one.
    let count = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!(
        live_orders(&run, &names),
        count("live_orders") + count("rejected")
    );
}

/// Twenty messages, so few that what they come to was worked out by hand.
#[test]
fn the_meatpy_session_comes_to_what_it_says() {
    let test = "the_meatpy_session_comes_to_what_it_says";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("meatpy");
    let file = data.join("itch50/meatpy_synthetic_20msgs.itch50");
    let (ended, run) = replay(&folder, &file);
    // The file says no date, and neither does its name; that must not pass in silence.
    ended.expect(0).says(&["trading date"]);
    let truth = support::json(&file.with_extension("itch50.truth.json"));
    let by_hand = json!({
        "MEAT": [300, 2, 300_150_000, [99.95, 50], [100.05, 100]],
        "PYTH": [75, 1, 32_062_500, [42.5, 50], null],
    });
    for (name, wanted) in by_hand.as_object().unwrap() {
        let theirs = &truth["per_symbol"][name];
        let fields = [
            "executed_shares",
            "prints",
            "notional_1e-4",
            "final_bid",
            "final_ask",
        ];
        let theirs: Vec<_> = fields.iter().map(|field| theirs[field].clone()).collect();
        assert_eq!(Value::from(theirs), *wanted, "{name}");
    }
    check_truth(&run, &truth);
    for name in ["MEAT", "PYTH"] {
        check_depth(&run, name, &truth["per_symbol"][name]);
    }
    assert_eq!(manifest(&run)["anomalies"], json!({}));
}

/// All lengths in this file are zero: there is no telling where messages are.
#[test]
fn a_file_without_lengths_is_refused() {
    let Some(data) = support::shared_data("a_file_without_lengths_is_refused") else {
        return;
    };
    let _alone = alone();
    let file = data.join("itch50/RITCH_synthetic_20101224.orig-zero-lengths.itch50.gz");
    let folder = Folder::quick("zero");
    let (ended, run) = replay(&folder, &file);
    ended
        .expect(5)
        .says(&["orig-zero-lengths", "byte 0", "message length 0, want"]);
    assert!(!run.exists());
}

/// Nasdaq's own packets, one type of message to a file.
#[test]
fn totalview_packets_meet_their_truth() {
    let Some(data) = support::shared_data("totalview_packets_meet_their_truth") else {
        return;
    };
    let _alone = alone();
    let packets = data.join("itch50/omi-packets");
    let folder = Folder::quick("totalview");
    for set in [
        "Nasdaq.Equities.TotalView.Itch.v5.0",
        "Nasdaq.Equities.TotalView.Itch.v5.0.20230822",
    ] {
        let truth = support::json(&packets.join(format!("{set}.truth.json")));
        let mut total = BTreeMap::new();
        for (name, wanted) in truth["files"].as_object().unwrap() {
            let (ended, run) = replay(&folder, &packets.join(set).join(name));
            ended.expect(0);
            let mut types: BTreeMap<String, u64> = BTreeMap::new();
            let wanted = wanted.as_array().unwrap();
            for message in wanted
                .iter()
                .flat_map(|packet| packet["messages"].as_array().unwrap())
            {
                *types
                    .entry(message["type"].as_str().unwrap().to_string())
                    .or_default() += 1;
            }
            let manifest = manifest(&run);
            assert_eq!(
                manifest["counts"]["packets"],
                wanted.len() as u64,
                "{set}/{name}"
            );
            let found = by_type(&manifest["counts"]["by_type"]);
            assert_eq!(
                found, types,
                "{set}/{name}: {}",
                manifest["anomaly_examples"]
            );
            for (letter, count) in found {
                *total.entry(letter).or_default() += count;
            }
            check_only_unknown_orders(&manifest, name);
        }
        assert_eq!(total, by_type(&truth["messages_by_type"]), "{set}");
    }
}

/// Packets out of their session refer to orders from before; nothing else is wrong with them.
fn check_only_unknown_orders(manifest: &Value, name: &str) {
    let anomalies = manifest["anomalies"].as_object().unwrap();
    let others: Vec<&String> = anomalies
        .keys()
        .filter(|key| *key != "unknown_order")
        .collect();
    // Between the packets of a collection lie those that the collector left out.
    let is_collection = name == "Multiple.Packets.pcap";
    let others: Vec<_> = others
        .into_iter()
        .filter(|key| !(is_collection && *key == "gap"))
        .collect();
    assert!(
        others.is_empty(),
        "{name}: {others:?} {}",
        manifest["anomaly_examples"]
    );
}

/// What is not ITCH 5.0: other feeds, order entry, and dialects of ITCH with other messages. It
/// must end by itself, in a refusal with the reason, and never as if all were well.
#[test]
fn other_feeds_are_refused_and_never_pass_as_a_session() {
    let test = "other_feeds_are_refused_and_never_pass_as_a_session";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("others");
    let endings = [
        ".pcap",
        ".pcap.gz",
        ".pcap.zst",
        ".pcapng",
        ".pcapng.gz",
        ".pcapng.zst",
    ];
    let mut files = Vec::new();
    for part in ["itch50", "other-venues"] {
        files.extend(files_under(&data.join(part), &endings));
    }
    files.retain(|file| {
        let path = file.to_string_lossy();
        !path.contains("TotalView") && !path.contains(".Pitch.")
    });
    assert!(files.len() > 80, "only {} files", files.len());
    // Small files of one feed go together, and differ no more than in their messages.
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let is_one_packet = file.to_string_lossy().contains("omi-packets");
        let key = if is_one_packet {
            file.parent().unwrap().to_path_buf()
        } else {
            file.clone()
        };
        groups.entry(key).or_default().push(file);
    }
    for (key, files) in groups {
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (mut started, run) = start(&folder, &files);
        let ended = started.wait_for_end().expect(3);
        let ended = ended.says(&["no message of the feed was found"]);
        let manifest = manifest(&run);
        let counts = &manifest["counts"];
        assert_eq!(counts["orders"], 0, "{}", key.display());
        assert_eq!(counts["windows"], 0, "{}", key.display());
        // Packets that are UDP are each refused for a reason; TCP is passed over.
        let anomalies = manifest["anomalies"].as_object().unwrap();
        let reasons: u64 = anomalies
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum();
        let packets = counts["packets"].as_u64().unwrap();
        println!("{}: {packets} packets, {anomalies:?}", key.display());
        if packets > 1 {
            assert!(reasons > 0, "{}: refused without a reason", key.display());
            let (reason, _) = anomalies.iter().next().unwrap();
            let ended = ended.says(&[reason]);
            ended.says(&["the protocol was not recognised; known are itch, iex, "]);
        }
    }
}

/// What `inspect` concluded is said, and so is that it could conclude nothing.
#[test]
fn inspect_says_which_protocol_it_is() {
    let Some(data) = support::shared_data("inspect_says_which_protocol_it_is") else {
        return;
    };
    let inspect = |file: &str, code: i32| {
        let mut command = program();
        command.arg("inspect").arg(data.join(file));
        support::run(&mut command).expect(code)
    };
    let ended = inspect("iex/omi-packets/Tops.IexTp.v1.6/QuoteUpdateMessage.pcap", 0);
    assert!(
        ended.stdout.contains("\nprotocol IEX\n"),
        "{}",
        ended.stdout
    );
    for file in [
        "other-venues/omi-packets/Eobi.T7.v6.0/OrderAdd.pcap",
        "other-venues/omi-packets/Ntp.Itch.v1.05/AddOrderMessage.pcap",
        "other-venues/omi-packets/IntegratedFeed.Pillar.v2.5/AddOrderMessage.pcap",
    ] {
        let ended =
            inspect(file, 3).says(&["the protocol was not recognised; known are itch, iex, "]);
        assert!(
            ended.stdout.contains("\nprotocol not recognised\n"),
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn files_of_other_formats_are_refused() {
    let Some(data) = support::shared_data("files_of_other_formats_are_refused") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("formats");
    let mut files = files_under(&data.join("other-venues"), &[".dat.zst", ".xml"]);
    files.extend(files_under(&data.join("lobster"), &["orderbook_1.csv.zst"]));
    // Records without metadata, and what was there before DBN.
    let dbn = data.join("databento-dbn/dbn-repo-tests");
    files.extend(files_under(&dbn, &[".dbn.frag", ".frag.zst", ".dbz"]));
    assert!(files.len() > 20, "only {} files", files.len());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let (ended, run) = replay(&folder, &file);
        ended.expect(5).says(&[&name, "byte 0: ", "want a pcap"]);
        assert!(!run.exists());
    }
}

/// A dollar price as `symbols.json` has it, from a decoder's text.
fn dollars(text: &str) -> String {
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, cents)) if cents.len() == 1 => format!("{text}0"),
        Some(_) => text.to_string(),
    }
}

/// Holds a run of one of IEX's samples against its truth, by two decoders: messages by type,
/// symbols, all trades, and for the busiest symbols trades, VWAP, the last price and the best bid
/// and ask at the end.
fn check_iex(run: &Path, truth: &Value) {
    let manifest = manifest(run);
    let second = &truth["second_decoder"];
    assert_eq!(
        by_type(&manifest["counts"]["by_type"]),
        by_type(&second["messages_by_type"])
    );
    assert_eq!(manifest["counts"]["messages"], truth["messages_total"]);
    let symbols = support::json(&run.join("symbols.json"));
    let symbols = symbols.as_array().unwrap();
    assert_eq!(
        symbols.len() as u64,
        truth["distinct_symbols"].as_u64().unwrap()
    );
    let sum = |field: &str| -> u64 {
        let counts = symbols.iter().map(|symbol| symbol[field].as_u64().unwrap());
        counts.sum()
    };
    assert_eq!(
        sum("volume"),
        truth["total_traded_shares"].as_u64().unwrap()
    );
    assert_eq!(sum("trades"), truth["total_trades"].as_u64().unwrap());
    for (name, wanted) in truth["busiest_symbols"].as_object().unwrap() {
        let found = symbol(run, name);
        assert_eq!(found["trades"], wanted["trades"], "{name}");
        assert_eq!(found["volume"], wanted["traded_shares"], "{name}");
        let notional = wanted["notional"].as_str().map_or(0, e9);
        assert_eq!(found["notional_e9"], notional.to_string(), "{name}");
        match wanted["vwap"].as_str() {
            Some(vwap) => {
                let number = |text: &str| text.parse::<f64>().unwrap();
                let ours = found["vwap"].as_str().unwrap();
                let by = (number(ours) - number(vwap)).abs();
                assert!(by < 1e-6, "{name}: VWAP {ours}, want {vwap}");
                let last = dollars(wanted["last_trade"].as_str().unwrap());
                assert_eq!(found["last"], last, "{name}");
            }
            None => assert!(found["vwap"].is_null(), "{name}"),
        }
        for side in ["bid", "ask"] {
            // A quote of TOPS without orders has a size of 0.
            let quoted = |field: &str| wanted["final_quote"][format!("{side}_{field}")].as_str();
            let level = match (&wanted[format!("final_{side}")], quoted("size")) {
                (Value::Array(level), None) => Some((level[0].as_str().unwrap(), level[1].clone())),
                (Value::Null, Some("0")) | (Value::Null, None) => None,
                (Value::Null, Some(size)) => {
                    let size: u64 = size.parse().unwrap();
                    Some((quoted("price").unwrap(), size.into()))
                }
                other => panic!("{name}: {side} {other:?}"),
            };
            let level = level.map(|(price, size)| json!([dollars(price), size]));
            assert_eq!(found[side], level.unwrap_or(Value::Null), "{name}: {side}");
        }
    }
}

/// A decimal number in units of 1e-9.
fn e9(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap()
}

/// When the first and the last message happened, and how many were about each of the busiest symbols,
/// by `inspect`. The decoder keeps times in floating point: they are within a microsecond of its own.
fn check_iex_survey(file: &Path, truth: &Value) {
    let mut command = program();
    command.args(["--json", "inspect"]).arg(file);
    let seen = support::run(&mut command).expect(0).json();
    for (index, wanted) in ["first_message_timestamp", "last_message_timestamp"]
        .into_iter()
        .enumerate()
    {
        let wanted = truth[wanted].as_str().unwrap();
        let clock = wanted[11..].strip_suffix("+00:00").unwrap();
        let (hours, rest) = clock.split_once(':').unwrap();
        let (minutes, seconds) = rest.split_once(':').unwrap();
        let minutes: i128 = 60 * hours.parse::<i128>().unwrap() + minutes.parse::<i128>().unwrap();
        let wanted_ns = minutes * 60_000_000_000 + e9(seconds);
        let ns = i128::from(seen["event_span_ns"][index].as_i64().unwrap());
        let since_midnight = ns % 86_400_000_000_000;
        assert!(
            (since_midnight - wanted_ns).abs() < 1_000,
            "{ns} ns, want {wanted}"
        );
    }
    let busy = seen["busiest"].as_array().unwrap();
    let mut met = 0;
    for (name, wanted) in truth["busiest_symbols"].as_object().unwrap() {
        if let Some(found) = busy.iter().find(|found| found[0] == *name) {
            assert_eq!(found[1], wanted["messages"], "{name}");
            met += 1;
        }
    }
    assert!(
        met >= 15,
        "only {met} symbols are among the busiest of both"
    );
}

/// DEEP: every level of the busiest symbols. The file ends in the middle of a record and of its
/// gzip stream, which is told, and its stream starts anew eleven times under one session number.
#[test]
fn iex_deep_meets_its_truth_and_its_cut_is_told() {
    let test = "iex_deep_meets_its_truth_and_its_cut_is_told";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("deep");
    let file = data.join("iex/IEX_DEEP10_sample_20170425.truncated.pcap.gz");
    let truth = support::json(&data.join("iex/IEX_DEEP10_sample_20170425.truncated.truth.json"));
    let (ended, run) = replay(&folder, &file);
    ended.expect(0).says(&["cut record: ", " bytes, want "]);
    check_iex(&run, &truth);
    for (name, wanted) in truth["busiest_symbols"].as_object().unwrap() {
        let mut command = program();
        command
            .args(["--json", "book", name, "--depth", "100000", "--run"])
            .arg(&run);
        let book = support::run(&mut command).expect(0).json();
        for (index, side) in ["bids", "asks"].into_iter().enumerate() {
            let levels = book[side].as_array().unwrap().len() as u64;
            assert_eq!(wanted["final_levels"][index], levels, "{name} {side}");
        }
    }
    // By another decoder, so many packets are whole.
    let manifest = manifest(&run);
    assert_eq!(manifest["counts"]["packets"], 121_314);
    assert_eq!(anomaly(&manifest, "input_trouble"), 1);
    assert_eq!(manifest["counts"]["lost_messages"], 0);
    assert_eq!(manifest["date"], "2017-04-25");
    check_iex_survey(&file, &truth);
}

/// TOPS, in a pcapng.
#[test]
fn iex_tops_meets_its_truth() {
    let Some(data) = support::shared_data("iex_tops_meets_its_truth") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("tops");
    let file = data.join("iex/IEX_TOPS16_sample_20170710.pcapng.gz");
    let truth = support::json(&data.join("iex/IEX_TOPS16_sample_20170710.truth.json"));
    let (ended, run) = replay(&folder, &file);
    ended.expect(0);
    check_iex(&run, &truth);
    assert_eq!(manifest(&run)["date"], "2017-07-10");
    check_iex_survey(&file, &truth);
}

/// The two feeds of a CME channel: one stream of 5,000 packets, and of each instrument the trades,
/// lots and average price that another decoder found on both.
#[test]
fn cme_feeds_are_arbitrated_and_meet_their_truth() {
    let test = "cme_feeds_are_arbitrated_and_meet_their_truth";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("cme");
    let name = "CME_MDP3_v6_20161112_feedAB_10000pkts";
    let file = data.join(format!("cme-mdp3/{name}.pcapng.zst"));
    let truth = support::json(&data.join(format!("cme-mdp3/{name}.truth.json")));
    let (ended, run) = replay(&folder, &file);
    ended.expect(0);
    let found = manifest(&run);
    let counts = &found["counts"];
    assert_eq!(counts["packets"], truth["udp_packets"]);
    assert_eq!(counts["lost_messages"], 0);
    assert_eq!(
        counts["messages"],
        truth["messages_total"].as_u64().unwrap() / 2
    );
    let once = |template: &str| truth["raw_template_id_counts"][template].as_u64().unwrap() / 2;
    let letters = [
        ("B", "32"),
        ("S", "35"),
        ("T", "42"),
        ("V", "37"),
        ("h", "12"),
    ];
    let wanted = letters.map(|(letter, template)| (letter.to_string(), once(template)));
    assert_eq!(by_type(&counts["by_type"]), BTreeMap::from(wanted));
    assert_eq!(found["anomalies"], json!({}));
    let mut traded = 0;
    for (security, wanted) in truth["trade_summary_by_security_id"].as_object().unwrap() {
        let vwap = wanted["vwap_raw"].as_f64().unwrap();
        // Spreads trade at zero and below, which books and windows do not hold.
        if vwap < 1.0 {
            continue;
        }
        traded += 1;
        let ours = symbol(&run, security);
        let half = |field: &str| wanted[field].as_u64().unwrap() / 2;
        assert_eq!(ours["trades"], half("entries"), "{security}");
        assert_eq!(ours["volume"], half("volume"), "{security}");
        let ours: f64 = ours["vwap"].as_str().unwrap().parse().unwrap();
        assert!(
            (ours - vwap).abs() < 1e-8,
            "{security}: VWAP {ours}, want {vwap}"
        );
    }
    assert!(traded > 5, "{traded} instruments");
    let three = folder.join("three");
    let mut command = program();
    command
        .args(["replay", "--shards", "3", "--protocol", "mdp3", "-o"])
        .arg(&three)
        .arg(&file)
        .arg("-c")
        .arg(folder.write("small.toml", SMALL));
    support::run(&mut command).expect(0);
    assert_eq!(support::digests(&run), support::digests(&three));
}

/// Packets of three of Cboe's feeds, one message or a few to a file.
#[test]
fn cboe_packets_are_replayed() {
    let Some(data) = support::shared_data("cboe_packets_are_replayed") else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("cboe");
    let packets = data.join("other-venues/omi-packets/Byx.Equities.DepthOfBook.Pitch.v2.41");
    let (ended, run) = replay(&folder, &packets.join("MultipleMessages.pcap"));
    ended.expect(0);
    let found = manifest(&run);
    assert_eq!(
        by_type(&found["counts"]["by_type"]),
        BTreeMap::from([("A".into(), 2), ("s".into(), 1)])
    );
    assert_eq!(found["anomalies"], json!({}));
    // Bids of 8,200 at 11.33 and of 100 at 46.67, by their bytes.
    assert_eq!(symbol(&run, "YANG")["bid"], json!(["11.33", 8200]));
    assert_eq!(symbol(&run, "XSVN")["bid"], json!(["46.67", 100]));
}

/// CME's other captures: lost packets are told, and a session joined in its middle has orders that
/// nobody told of.
#[test]
fn cme_captures_with_holes_say_what_is_missing() {
    let test = "cme_captures_with_holes_say_what_is_missing";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("cme-holes");
    for (name, gaps, allowed) in [
        (
            "CME_MDP3_v8_20160927_SessionStatistics_356pkts",
            115,
            &["gap", "time_backwards"],
        ),
        (
            "CME_MDP3_v9_20180912_100pkts",
            0,
            &["unknown_order", "time_backwards"],
        ),
    ] {
        let truth = support::json(&data.join(format!("cme-mdp3/{name}.truth.json")));
        let (ended, run) = replay(&folder, &data.join(format!("cme-mdp3/{name}.pcap")));
        ended.expect(0);
        let manifest = manifest(&run);
        assert_eq!(
            manifest["counts"]["packets"], truth["udp_packets"],
            "{name}"
        );
        assert_eq!(anomaly(&manifest, "gap"), gaps, "{name}");
        let kinds = manifest["anomalies"].as_object().unwrap();
        for kind in kinds.keys() {
            assert!(allowed.contains(&&kind[..]), "{name}: {kind}");
        }
    }
    for file in files_under(&data.join("cme-mdp3/omi-packets"), &[".pcap"]) {
        let (ended, _) = replay(&folder, &file);
        ended.expect(0);
    }
}

/// Each file of these formats in the shared folder is told by how it begins, so that none is left out of
/// the tests that hold them against what others say of them. (Crypto venues': `crypto.rs`.)
#[test]
fn every_shared_file_is_told_by_how_it_begins() {
    let Some(data) = support::shared_data("every_shared_file_is_told_by_how_it_begins") else {
        return;
    };
    let pcaps = &[".pcap", ".pcap.gz", ".pcapng.gz", ".pcapng.zst"][..];
    let mut met: BTreeMap<&str, usize> = BTreeMap::new();
    for (folder, part, endings, wire) in [
        ("itch50", "", &["zst", ".itch50"][..], Wire::Itch),
        ("itch50", "TotalView", pcaps, Wire::Itch),
        ("iex", "", pcaps, Wire::Iex),
        ("cme-mdp3", "", pcaps, Wire::Mdp3),
        ("databento-dbn", "", &[".dbn", ".dbn.zst"], Wire::Dbn),
        ("lobster", "message", &[".csv.zst"], Wire::Lobster),
        ("other-venues", ".Pitch.", pcaps, Wire::Pitch),
    ] {
        let mut files = files_under(&data.join(folder), endings);
        files.retain(|file| file.to_string_lossy().contains(part));
        for file in &files {
            let mut capture =
                Capture::open(std::slice::from_ref(file), CaptureOptions::default()).unwrap();
            assert_eq!(capture.wire().unwrap(), wire, "{}", file.display());
        }
        *met.entry(folder).or_default() += files.len();
    }
    println!("{met:?}");
    for (folder, at_least) in [
        ("cme-mdp3", 12),
        ("databento-dbn", 74),
        ("iex", 15),
        ("itch50", 26),
        ("lobster", 1),
        ("other-venues", 14),
    ] {
        assert!(met[folder] >= at_least, "{folder}: {met:?}");
    }
}

/// Any number of shards comes to the same, and what is asked for by name is what is read.
#[test]
fn iex_is_the_same_with_three_shards_and_when_it_is_asked_for() {
    let test = "iex_is_the_same_with_three_shards_and_when_it_is_asked_for";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    let _alone = alone();
    let folder = Folder::quick("iex-shards");
    let file = data.join("iex/IEX_TOPS16_sample_20170710.pcapng.gz");
    let (ended, run) = replay(&folder, &file);
    ended.expect(0);
    let three = folder.join("three");
    let mut command = program();
    command
        .args(["replay", "--shards", "3", "--protocol", "iex", "-o"])
        .arg(&three)
        .arg(&file)
        .arg("-c")
        .arg(folder.write("small.toml", SMALL));
    support::run(&mut command).expect(0);
    assert_eq!(support::digests(&run), support::digests(&three));
    let wrong = folder.join("wrong");
    let mut command = program();
    command
        .args(["replay", "--protocol", "itch", "-o"])
        .arg(&wrong)
        .arg(&file);
    support::run(&mut command)
        .expect(3)
        .says(&["no message of the feed", "not a MoldUDP64 packet"]);
    let mut command = program();
    command
        .args(["replay", "--protocol", "fix", "-o", "x"])
        .arg(&file);
    support::run(&mut command).expect(2).says(&[
        "source.protocol is \"fix\", want one of itch, iex, lobster, dbn, mdp3, binance, pitch, tardis, \
         coinbase, bitstamp",
    ]);
}
