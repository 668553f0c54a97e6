//! `tapeline log`: what a user sees of a run's log, whole and damaged.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Ended, Folder, alone, tapeline};

/// A run of one shard whose log has several segments.
fn a_run(folder: &Folder) -> PathBuf {
    let session = folder.join("s.itch");
    let text = "[log]\nsegment = \"1MiB\"\nframe = \"32KiB\"\n";
    let config = folder.write("c.toml", text);
    let run = folder.join("run");
    let made = [
        "sample",
        "itch",
        "-o",
        path(&session),
        "--symbols",
        "8",
        "--seconds",
        "8",
    ];
    tapeline(made.iter().chain(&["--rate", "6000", "-q"])).expect(0);
    tapeline([
        "replay",
        path(&session),
        "-o",
        path(&run),
        "-c",
        path(&config),
        "-q",
    ])
    .expect(0);
    run
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a name that is text")
}

fn log(args: &[&str], run: &Path) -> Ended {
    tapeline(["log", args[0], path(run)].iter().chain(&args[1..]))
}

#[test]
fn a_whole_log_is_shown_counted_and_followed() {
    let _alone = alone();
    let folder = Folder::quick("log-whole");
    let run = a_run(&folder);
    let stat = log(&["stat", "--json"], &run).expect(0).json();
    let cells = stat["cells"].as_u64().unwrap();
    assert!(stat["segments"].as_u64().unwrap() >= 3, "{stat}");
    let index = log(&["index", "--json"], &run).expect(0).stdout;
    let last: serde_json::Value = serde_json::from_str(index.lines().last().unwrap()).unwrap();
    assert_eq!(last["end_cell"].as_u64(), Some(cells));

    let cat = log(&["cat", "--json"], &run).expect(0).stdout;
    let of_kinds: u64 = stat["kinds"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(cat.lines().count() as u64, of_kinds);
    let tenth: serde_json::Value = serde_json::from_str(cat.lines().nth(10).unwrap()).unwrap();
    let from = tenth["cell"].to_string();
    let middle = log(
        &[
            "cat",
            "--json",
            "--from-cell",
            &from,
            "--to-cell",
            &cells.to_string(),
        ],
        &run,
    );
    assert_eq!(
        middle.expect(0).stdout,
        cat.split_inclusive('\n').skip(10).collect::<String>()
    );
    let timed = log(
        &["cat", "--from-time", "09:30:02", "--to-time", "09:30:03"],
        &run,
    )
    .expect(0);
    assert!(
        timed.stdout.lines().next().unwrap().contains(" 09:30:02"),
        "{}",
        timed.stdout
    );
    log(&["cat", "--from-cell", "99999999"], &run)
        .expect(2)
        .says(&["the log ends before cell"]);
    log(&["stat", "--shard", "1"], &run)
        .expect(2)
        .says(&["the run has 1, numbered from 0"]);

    let schema = log(&["schema"], &run).expect(0).stdout;
    assert!(
        schema.contains("\nsignal order 2 0x85 side@16:i64 "),
        "{schema}"
    );
    log(&["verify"], &run).expect(0);

    // A named reader gets all once, and then nothing more.
    let follow = ["tail", "--consumer", "risk", "--no-follow", "--json"];
    assert_eq!(log(&follow, &run).expect(0).stdout, cat);
    assert_eq!(log(&follow, &run).expect(0).stdout, "");
    let consumers = log(&["consumers", "--json"], &run).expect(0).json();
    assert_eq!(
        (&consumers["consumer"], &consumers["lag_cells"]),
        (&"risk".into(), &0.into())
    );
    assert_eq!(consumers["cell"].as_u64(), Some(cells));
    log(&["tail", "--consumer", "../x", "--no-follow"], &run).expect(2);
}

#[test]
fn damage_in_the_middle_is_named_and_cut_off_only_when_told_to() {
    let _alone = alone();
    let folder = Folder::quick("log-damage");
    let run = a_run(&folder);
    let dir = run.join("log/shard-0");
    let whole = log(&["cat"], &run).expect(0).stdout;
    log(&["tail", "--consumer", "risk", "--no-follow"], &run).expect(0);
    let spoilt = dir.join("0000000001.seg");
    let mut bytes = fs::read(&spoilt).unwrap();
    bytes[400_000] ^= 1;
    fs::write(&spoilt, &bytes).unwrap();

    let said = log(&["verify", "--json"], &run).expect(4).json();
    let cell = said["cell"].to_string();
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .contains("0000000001.seg: damaged"),
        "{said}"
    );
    let before = log(&["cat"], &run).expect(6);
    assert!(whole.starts_with(&before.stdout) && !before.stdout.is_empty());

    let beyond = ["repair", "--shard", "0", "--truncate-at", "9999999"];
    log(&beyond, &run)
        .expect(2)
        .says(&["the log ends before cell"]);
    let cut = ["repair", "--shard", "0", "--truncate-at", &cell];
    let plan = log(&cut, &run).expect(0).stdout;
    for text in ["would lose", "cells, ", "orders", "--yes does it"] {
        assert!(plan.contains(text), "{plan}");
    }
    log(&["verify"], &run).expect(4);
    assert_eq!(
        fs::read(&spoilt).unwrap(),
        bytes,
        "without --yes nothing is touched"
    );

    let done = log(&[&cut[..], &["--yes"]].concat(), &run)
        .expect(0)
        .says(&["consumer risk was at cell"])
        .stdout;
    let aside = done.lines().last().unwrap().rsplit(": ").next().unwrap();
    let aside = Path::new(aside);
    assert_eq!(
        fs::read(aside.join("0000000001.seg")).unwrap(),
        bytes,
        "kept as it was"
    );
    assert!(aside.join("0000000002.seg").exists() && !dir.join("0000000002.seg").exists());
    let audit = fs::read_to_string(aside.join("REPAIR")).unwrap();
    assert!(
        audit.contains("0000000001.seg: damaged at byte") && audit.contains(&cell),
        "{audit}"
    );
    log(&["verify"], &run).expect(0);
    assert_eq!(log(&["cat"], &run).expect(0).stdout, before.stdout);
    // Who had read what was cut off reads what takes its place, and misses none of it.
    let consumers = log(&["consumers", "--json"], &run).expect(0).json();
    assert_eq!(consumers["lag_cells"], 0, "{consumers}");
    assert_eq!(consumers["beyond_cells"], 0, "{consumers}");
}

#[test]
fn a_missing_segment_is_cut_off_at_the_cell_that_verify_names() {
    let _alone = alone();
    let folder = Folder::quick("log-missing");
    let run = a_run(&folder);
    let dir = run.join("log/shard-0");
    let whole = log(&["cat"], &run).expect(0).stdout;
    let index = log(&["index", "--json"], &run).expect(0).stdout;
    let first: serde_json::Value = serde_json::from_str(index.lines().next().unwrap()).unwrap();
    fs::remove_file(dir.join("0000000001.seg")).unwrap();
    let said = log(&["verify", "--json"], &run).expect(4).json();
    let cell = said["cell"].to_string();
    let cut = ["repair", "--shard", "0", "--truncate-at", &cell, "--yes"];
    log(&cut, &run).expect(0);
    let left = log(&["verify", "--json"], &run).expect(0).json();
    assert_eq!(
        left["cells"], first["end_cell"],
        "no more is lost than must be"
    );
    assert!(whole.starts_with(&log(&["cat"], &run).expect(0).stdout));
}
