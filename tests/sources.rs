//! Two sources in one run, one behind the other and quiet for a while: whose time counts, when windows
//! close, and what is late.

mod support;

use std::path::{Path, PathBuf};

use support::wire::{self, OPEN_NS};
use support::{Folder, alone, manifest, tapeline};
use tapeline::tables::{WindowRow, read_windows};

const MS: u64 = 1_000_000;
/// A packet of the second source is captured so long after what it tells.
const BEHIND_MS: u64 = 400;
const END_MS: u64 = 12_000;
/// The second source says nothing of this time.
const QUIET_MS: std::ops::Range<u64> = 4_000..8_000;

/// What one source tells, each with the time at which it was captured.
fn source(session: &[u8; 10], line: u8, stock: &str, behind_ms: u64, is_quiet: bool) -> Captured {
    let locate = u16::from(line);
    let mut messages = vec![
        (0, wire::directory(OPEN_NS, locate, stock)),
        (0, wire::trading(OPEN_NS, locate, stock)),
    ];
    // Apart from the other source's, so that no two are of one time.
    for ms in (u64::from(line)..END_MS).step_by(50) {
        if !(is_quiet && QUIET_MS.contains(&ms)) {
            let trade = wire::hidden_trade(OPEN_NS + ms * MS, locate, stock, 10, 100_000);
            messages.push((ms, trade));
        }
    }
    let framed = messages
        .into_iter()
        .enumerate()
        .map(|(index, (ms, message))| {
            let payload = wire::mold_of(session, index as u64 + 1, &[message]);
            (ms + behind_ms, wire::frame(line, &payload))
        });
    framed.collect()
}

type Captured = Vec<(u64, Vec<u8>)>;

/// Both sources' packets as they were captured.
fn capture(folder: &Folder) -> PathBuf {
    let mut all = source(b"VENUE00001", 1, "AAA", 0, false);
    all.extend(source(b"VENUE00002", 2, "BBB", BEHIND_MS, true));
    all.sort_by_key(|(ms, _)| *ms);
    let mut bytes = wire::pcap_header(0, 1);
    for (ms, frame) in &all {
        bytes.extend(wire::record(OPEN_NS + ms * MS, frame));
    }
    folder.write("both.pcap", bytes)
}

/// A run with windows of a second, none of which waits for what is late.
fn replay(folder: &Folder, capture: &Path, idle: &str, shards: usize) -> PathBuf {
    let run = folder.join(&format!("{idle}-{shards}/run"));
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    let config = folder.write(
        "run.toml",
        format!(
            "[time]\nidle_after = \"{idle}\"\n[run]\nshards = {shards}\n[windows.1s]\nsize = \"1s\"\n"
        ),
    );
    let args = args![String::from("replay"), capture, String::from("-q")];
    let how = args![String::from("-c"), config, String::from("-o"), run];
    tapeline(args.into_iter().chain(how)).expect(0);
    run
}

/// A symbol's windows: which second of the session, how many trades, and the input's event at which it
/// was said.
fn windows(run: &Path, symbol: &str) -> Vec<(u64, u64, u64)> {
    let rows = read_windows(&run.join("tables/windows.parquet")).unwrap();
    let rows = rows.map(Result::unwrap).filter(|row| row.symbol == symbol);
    let open_ns = wire::MIDNIGHT_NS + OPEN_NS;
    let second = |row: &WindowRow| (row.start.0 as u64 - open_ns) / (1_000 * MS);
    rows.map(|row| (second(&row), row.trade_count, row.seq))
        .collect()
}

/// The event with which the second source comes back; a tick that it brings has the number before.
fn back(run: &Path) -> u64 {
    let back_ns = wire::MIDNIGHT_NS + OPEN_NS + QUIET_MS.end * MS;
    let said = tapeline(args![
        String::from("log"),
        String::from("cat"),
        run,
        String::from("--json")
    ]);
    let records = said.expect(0).stdout;
    let records = records
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let is_it = |record: &serde_json::Value| {
        record["record"] == "trade"
            && record["symbol"] == 2
            && record["ts_event"].as_u64() >= Some(back_ns)
    };
    let first = records.into_iter().find(is_it).expect("it comes back");
    first["seq"].as_u64().unwrap()
}

fn late_count(run: &Path) -> u64 {
    manifest(run)["counts"]["late"].as_u64().unwrap()
}

const EACH: u64 = 20;

fn is_quiet(second: u64) -> bool {
    QUIET_MS.contains(&(second * 1_000))
}

/// Every second of a source is there with all of its trades.
#[track_caller]
fn is_whole(found: &[(u64, u64, u64)], is_there: impl Fn(u64) -> bool) {
    let seconds = (0..END_MS / 1_000).filter(|second| is_there(*second));
    let want: Vec<(u64, u64)> = seconds.map(|second| (second, EACH)).collect();
    let found: Vec<(u64, u64)> = found.iter().map(|row| (row.0, row.1)).collect();
    assert_eq!(found, want);
}

#[test]
fn a_quiet_source_holds_time_back_for_so_long_and_one_that_lags_loses_nothing() {
    let _alone = alone();
    let folder = Folder::quick("sources");
    let capture = capture(&folder);
    let run = replay(&folder, &capture, "1s", 1);
    let (first, second) = (windows(&run, "AAA"), windows(&run, "BBB"));
    is_whole(&first, |_| true);
    is_whole(&second, |second| !is_quiet(second));
    assert_eq!(late_count(&run), 0);
    let anomalies = manifest(&run)["anomalies"].clone();
    assert!(anomalies.as_object().unwrap().is_empty(), "{anomalies}");
    // Once the first has gone on for a second without the other, its windows close without it: the
    // one that was held back and those after it, each before the second source says anything.
    let back = back(&run);
    for (second, _, seq) in first.iter().filter(|row| is_quiet(row.0)).take(3) {
        assert!(
            *seq + 1 < back,
            "second {second} waited until event {seq}, back at {back}"
        );
    }
}

#[test]
fn a_source_that_is_waited_for_holds_time_back_until_it_comes() {
    let _alone = alone();
    let folder = Folder::quick("sources-wait");
    let capture = capture(&folder);
    let run = replay(&folder, &capture, "30s", 1);
    let first = windows(&run, "AAA");
    is_whole(&first, |_| true);
    assert_eq!(late_count(&run), 0);
    let back = back(&run);
    for (second, _, seq) in first.iter().filter(|row| is_quiet(row.0)) {
        assert!(
            *seq + 1 >= back,
            "second {second} was said at event {seq}, back at {back}"
        );
    }
}

#[test]
fn where_sources_are_not_told_apart_what_lags_is_late() {
    let _alone = alone();
    let folder = Folder::quick("sources-late");
    let capture = capture(&folder);
    let run = replay(&folder, &capture, "0s", 1);
    is_whole(&windows(&run, "AAA"), |_| true);
    let second = windows(&run, "BBB");
    let counted: u64 = second.iter().map(|row| row.1).sum();
    let all = EACH * (END_MS - (QUIET_MS.end - QUIET_MS.start)) / 1_000;
    let late = late_count(&run);
    assert!(late > 0 && counted < all);
    assert_eq!(counted + late, all);
}

#[test]
fn sources_give_the_same_bytes_at_any_number_of_shards() {
    let _alone = alone();
    let folder = Folder::quick("sources-shards");
    let capture = capture(&folder);
    let of = |shards| {
        let run = replay(&folder, &capture, "1s", shards);
        let table = std::fs::read(run.join("tables/windows.parquet")).unwrap();
        (manifest(&run)["digest"].clone(), table)
    };
    let one = of(1);
    for shards in [2, 4] {
        assert!(of(shards) == one, "at {shards} shards");
    }
}
