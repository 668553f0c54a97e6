//! Files that are no one input, and dates.

use super::*;

/// Files of which each is good, and that are no one input: one line says which they are and why, and nothing is
/// made of them.
#[track_caller]
fn apart(files: &[(&str, &[u8])], says: &[&str]) {
    let folder = Folder::quick("apart");
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, bytes)| folder.write(name, bytes))
        .collect();
    let (run, table) = (folder.join("run"), folder.join("events.parquet"));
    let mut replay = program();
    replay.arg("replay").args(&paths).arg("-o").arg(&run);
    let mut watch = program();
    watch
        .args(["replay", "--break", "spread > 1bps"])
        .args(&paths);
    let mut convert = program();
    convert.arg("convert").args(&paths).arg("-o").arg(&table);
    let mut lab = program();
    let report = folder.join("report");
    lab.args(["bench", "latency"]).arg("-o").arg(&report);
    for path in &paths {
        lab.arg("--input").arg(path);
    }
    let mut commands = vec![replay, watch, convert, lab];
    let (cut, again) = (folder.join("cut.pcap"), folder.join("again.pcap"));
    // Only of ITCH.
    if !files[0].0.ends_with(".json") {
        for (word, to) in [("slice", &cut), ("convert", &again)] {
            let mut command = program();
            command.arg(word).arg("-o").arg(to).args(&paths);
            commands.push(command);
        }
    }
    for command in &mut commands {
        let ended = support::run(command).expect(2).says(says);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    for made in [run, table, report, cut, again] {
        assert!(!made.exists(), "{} was made", made.display());
    }
}

/// A pcap of a session that calls its first symbol so.
fn session_of(session: &[u8; 10], stock: &str) -> Vec<u8> {
    let messages = [
        directory(OPEN_NS, 1, stock),
        add(OPEN_NS + 1, 1, stock, 7, b'B', 100, 100_000),
        executed(OPEN_NS + 2, 1, 7, 40),
    ];
    let mut bytes = pcap_header(0, 1);
    for (index, message) in messages.iter().enumerate() {
        let payload = mold_of(session, index as u64 + 1, std::slice::from_ref(message));
        bytes.extend(record(OPEN_NS + index as u64, &frame(1, &payload)));
    }
    bytes
}

#[test]
fn files_that_are_no_one_input_are_refused() {
    let (one, two) = (
        session_of(b"TEST000001", "AAA"),
        session_of(b"TEST000002", "BBB"),
    );
    apart(
        &[("one.pcap", &one), ("two.pcap", &two)],
        &[
            "two.pcap",
            "one.pcap",
            "session TEST000001",
            "session TEST000002",
            "number 1",
            "AAA",
            "BBB",
            "a run of its own",
        ],
    );
    let spot = br#"{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":5,"p":"10","q":"2","T":1700000000000,"m":true,"M":true}"#;
    let futures = br#"{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":9,"p":"11","q":"2","T":1700000000000,"X":"MARKET","m":true}"#;
    apart(
        &[("spot.json", spot), ("futures.json", futures)],
        &[
            "futures.json",
            "spot.json",
            "BTCUSDT is of futures here, want one of the spot market; the other is",
        ],
    );
    let itch = itch_file(&little_session());
    let (a, b) = ("a-2026-01-05.itch", "b-2026-01-05.itch");
    let twice = [a, b, ": the same content as ", "name it once"];
    apart(&[(a, &itch), (b, &itch)], &twice);
    apart(&[(a, &itch), (a, &itch)], &[a, "named twice"]);
    apart(
        &[(a, &itch), (b, &zstd::encode_all(&itch[..], 1).unwrap())],
        &twice,
    );
    apart(
        &[("a.json", spot), ("b.json", spot)],
        &["b.json: the same content as", "a.json"],
    );
}

#[test]
fn lines_of_one_session_and_files_that_follow_each_other_are_one_input() {
    let folder = Folder::quick("together");
    let messages = little_session();
    let counts = |one: Vec<u8>, two: Vec<u8>| {
        let files = [folder.write("one", one), folder.write("two", two)];
        let run = folder.join("run");
        let _ = fs::remove_dir_all(&run);
        let mut command = program();
        command.arg("replay").args(&files).arg("-o").arg(&run);
        support::run(&mut command).expect(0);
        let found = manifest(&run);
        assert_eq!(found["anomalies"], serde_json::json!({}));
        found["counts"]["messages"].clone()
    };
    // What the other line brought before is not counted again.
    let line = pcap_of(&messages);
    assert_eq!(counts(line.clone(), line), messages.len());
    let (one, two) = messages.split_at(messages.len() / 2);
    assert_eq!(counts(itch_file(one), itch_file(two)), messages.len());
}

/// Dates at both ends of what times can say, each of which is a day like any other or refused in one line.
#[test]
fn dates_at_the_ends_of_time_are_days_or_refused() {
    let folder = Folder::quick("dates");
    let files = [
        folder.write("good.pcap", pcap_of(&little_session())),
        folder.write("good.itch", itch_file(&little_session())),
    ];
    for file in &files {
        for date in ["1970-01-01", "2116-03-01", "2200-01-01", "2261-12-31"] {
            let (ended, run) = replay(&folder, file, &["--date", date]);
            ended.expect(0);
            let found = manifest(&run);
            assert_eq!(
                found["counts"]["messages"],
                little_session().len(),
                "{date}"
            );
            for name in ["events.dbn", "events.parquet"] {
                let output = folder.join(name);
                let mut command = program();
                command
                    .arg("convert")
                    .arg(file)
                    .args(["--date", date, "-o"])
                    .arg(&output);
                support::run(&mut command).expect(0);
                assert!(fs::metadata(&output).unwrap().len() > 0, "{date}, {name}");
                fs::remove_file(output).unwrap();
            }
        }
        for date in ["1969-12-31", "2262-01-01", "9999-12-31"] {
            let (ended, run) = replay(&folder, file, &["--date", date]);
            let ended = ended.expect(2).says(&[date, "1970 to 2261"]);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(!run.exists(), "{date}");
        }
        let (ended, run) = replay(&folder, file, &["--date", "2261-12-28", "--loop", "4"]);
        ended.expect(0);
        assert!(run.join("round-4").exists());
        let (ended, run) = replay(&folder, file, &["--date", "2261-12-28", "--loop", "5"]);
        ended.expect(2).says(&["2262-01-01"]);
        assert!(!run.exists(), "rounds that come to no end");
    }
}
