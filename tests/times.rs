//! By whose clock times are read and shown, what quantities count, and of which day a session is.

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ended, Folder, SMALL, digests, manifest, tapeline};

/// Where the metadata of a DBN file name the dataset, and its room.
const DATASET: std::ops::Range<usize> = 8..24;

/// A few seconds of four symbols on 2026-01-05 from 09:30 on in New York, as DBN of this dataset.
fn session(folder: &Folder, dataset: &str) -> PathBuf {
    let itch = folder.join("session.itch");
    if !itch.exists() {
        let of = ["--symbols", "4", "--seconds", "3", "--rate", "2000"];
        let sample = ["sample", "itch", "-o"].map(Into::into);
        let args = sample.into_iter().chain([itch.clone().into_os_string()]);
        tapeline(args.chain(of.map(Into::into))).expect(0);
    }
    let plain = folder.join("plain.dbn");
    if !plain.exists() {
        let (from, to) = (itch.to_str().unwrap(), plain.to_str().unwrap());
        tapeline(["convert", from, "--date", "2026-01-05", "-o", to]).expect(0);
    }
    let mut bytes = std::fs::read(plain).unwrap();
    let mut room = [0; 16];
    room[..dataset.len()].copy_from_slice(dataset.as_bytes());
    bytes[DATASET].copy_from_slice(&room);
    folder.write(&format!("{dataset}.dbn"), bytes)
}

fn replay(folder: &Folder, files: &[&Path], run: &str, more: &[&str]) -> (Ended, PathBuf) {
    let config = folder.write("small.toml", SMALL);
    let run = folder.join(run);
    let mut command = support::program();
    command
        .arg("replay")
        .args(files)
        .args(more)
        .arg("-o")
        .arg(&run);
    (support::run(command.arg("-c").arg(config)), run)
}

fn book(run: &Path, more: &[&str]) -> Ended {
    let mut command = support::program();
    support::run(command.arg("book").args(more).arg("--run").arg(run)).expect(0)
}

/// The venue's first symbol.
fn first_symbol(run: &Path) -> String {
    let symbols = support::json(&run.join("symbols.json"));
    symbols[0]["symbol"].as_str().unwrap().to_string()
}

#[test]
fn a_session_of_futures_is_told_by_chicagos_clock_and_in_contracts() {
    let folder = Folder::quick("times-futures");
    let file = session(&folder, "GLBX.MDP3");
    let (ended, run) = replay(&folder, &[&file], "run", &[]);
    let ended = ended.expect(0);
    let said = manifest(&run);
    assert_eq!(said["timezone"], "America/Chicago");
    assert_eq!(
        (&said["date"], &said["unit"]),
        (&Value::from("2026-01-05"), &Value::from("contracts"))
    );
    assert!(
        ended.stdout.contains("08:30:03 America/Chicago"),
        "{}",
        ended.stdout
    );
    let name = first_symbol(&run);
    let here = book(&run, &[&name, "--at", "08:30:02"]);
    assert!(
        here.stdout.contains(", last event 08:30:01."),
        "{}",
        here.stdout
    );
    assert_eq!(
        here.stdout.matches("contracts").count(),
        2,
        "{}",
        here.stdout
    );
    // The same moment by other clocks; the rows of the book are the same.
    let rows = |ended: &Ended| {
        ended
            .stdout
            .lines()
            .skip(1)
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    for (zone, at, last) in [
        ("UTC", "14:30:02", "14:30:01."),
        ("America/New_York", "2026-01-05 09:30:02", "09:30:01."),
        ("Asia/Tokyo", "2026-01-05T14:30:02Z", "23:30:01."),
    ] {
        let there = book(&run, &[&name, "--at", at, "--tz", zone]);
        assert!(
            there.stdout.contains(&format!(", last event {last}")),
            "{}",
            there.stdout
        );
        assert!(
            there.stdout.lines().next().unwrap().ends_with(zone),
            "{}",
            there.stdout
        );
        assert_eq!(rows(&there), rows(&here), "{zone}");
    }
    let json = book(&run, &[&name, "--json"]).json();
    assert_eq!(
        (&json["unit"], &json["timezone"]),
        (&Value::from("contracts"), &Value::from("America/Chicago"))
    );
    tapeline(["book", "--run", run.to_str().unwrap(), "--tz", "Mars/Base"])
        .expect(2)
        .says(&["--tz: `Mars/Base` is not a time zone"]);
}

#[test]
fn each_dataset_has_its_clock_and_the_clock_of_a_reader_changes_nothing() {
    let folder = Folder::quick("times-datasets");
    for (dataset, zone, unit) in [
        ("XNAS.ITCH", "America/New_York", "shares"),
        ("ZZZZ.NONE", "UTC", "quantity"),
    ] {
        let file = session(&folder, dataset);
        let (ended, run) = replay(&folder, &[&file], dataset, &[]);
        ended.expect(0);
        let said = manifest(&run);
        assert_eq!(
            (said["timezone"].as_str(), said["unit"].as_str()),
            (Some(zone), Some(unit))
        );
    }
    let file = session(&folder, "XNAS.ITCH");
    let until = ["--to", "14:30:02", "--tz", "UTC"];
    let (ended, told) = replay(&folder, &[&file], "told", &until);
    let ended = ended.expect(0);
    assert!(ended.stdout.contains("14:30:01 UTC"), "{}", ended.stdout);
    let (ended, own) = replay(&folder, &[&file], "own", &["--to", "09:30:02"]);
    ended.expect(0);
    assert_eq!(digests(&told), digests(&own));
    assert_eq!(manifest(&told)["timezone"], "America/New_York");
    assert_eq!(manifest(&told)["options"], manifest(&own)["options"]);
}

/// Such as an evening session, or the orders that stood before it.
#[test]
fn no_time_is_below_midnight() {
    let folder = Folder::quick("times-evening");
    let file = session(&folder, "GLBX.MDP3");
    let (ended, run) = replay(&folder, &[&file], "run", &["--date", "2026-01-06"]);
    let ended = ended.expect(0);
    assert!(
        ended.stdout.contains("2026-01-05 08:30:03 America/Chicago"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains(" -"), "{}", ended.stdout);
    let mut command = support::program();
    let log = support::run(command.args(["log", "cat", "--to-cell", "50"]).arg(&run)).expect(0);
    assert!(log.stdout.lines().count() >= 40, "{}", log.stdout);
    for line in log.stdout.lines() {
        // The shard, the cell, and when.
        let date = line.split_whitespace().nth(2);
        assert_eq!(date, Some("2026-01-05"), "{line}");
    }
}

/// A file of messages behind their lengths, as four that follow each other.
fn parts(mut bytes: &[u8]) -> [Vec<u8>; 4] {
    let part_bytes = bytes.len() / 4 + 1;
    let mut parts = [const { Vec::new() }; 4];
    let mut read = 0;
    while let [high, low, ..] = *bytes {
        let (message, rest) = bytes.split_at(2 + usize::from(u16::from_be_bytes([high, low])));
        parts[read / part_bytes].extend(message);
        read += message.len();
        bytes = rest;
    }
    parts
}

#[test]
fn captures_of_several_dates_are_no_session_unless_that_is_said() {
    let folder = Folder::quick("times-dates");
    let monday = session(&folder, "XNAS.ITCH");
    // Each a part of it: the same twice would be no session, whatever its date.
    let parts = parts(&std::fs::read(folder.join("session.itch")).unwrap());
    let named = |name: &str, part: usize| folder.write(name, &parts[part]);
    let (tuesday, undated) = (named("20260106.itch", 0), named("tape.itch", 1));
    let also_tuesday = named("2026-01-06_b.itch", 2);
    let wednesday = named("20260107.itch", 3);
    let (ended, run) = replay(&folder, &[&tuesday, &wednesday], "run", &[]);
    ended.expect(2).says(&[
        "20260106.itch is of 2026-01-06, and",
        "20260107.itch of 2026-01-07",
        "--days",
        "--date",
    ]);
    assert!(!run.exists());
    // One date, and a file that says none; or what was asked for.
    replay(&folder, &[&tuesday, &undated, &also_tuesday], "same", &[])
        .0
        .expect(0);
    let (ended, run) = replay(
        &folder,
        &[&tuesday, &wednesday],
        "asked",
        &["--date", "2026-01-06"],
    );
    ended.expect(0);
    assert_eq!(manifest(&run)["date"], "2026-01-06");
    // Files that say it themselves.
    let mut bytes = std::fs::read(&monday).unwrap();
    let start = 26..34;
    let was = u64::from_le_bytes(bytes[start.clone()].try_into().unwrap());
    bytes[start].copy_from_slice(&(was + 86_400_000_000_000).to_le_bytes());
    let next = folder.write("next.dbn", bytes);
    let (ended, _) = replay(&folder, &[&monday, &next], "dbn", &[]);
    ended.expect(2).says(&[
        "XNAS.ITCH.dbn is of 2026-01-05, and",
        "next.dbn of 2026-01-06",
    ]);
}
