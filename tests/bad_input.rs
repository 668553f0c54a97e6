//! What a user does wrong, and what feeds and disks do wrong: each ends in one clear line and the
//! right exit code, or in a counted anomaly and a run that goes on. No case panics or hangs; the
//! helpers that run the program see to that.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::wire::{
    OPEN_NS, add, cancel, delete, directory, executed, frame, hidden_trade, itch_file,
    little_session, mold, mold_of, pcap_at, pcap_header, pcap_of, record, record_cut, trading,
};
use support::{Ended, Folder, SMALL, digests, manifest, program, run, symbol, tapeline};

/// Replays a file into `RUN` beside it, with small log files unless there are other settings.
fn replay(folder: &Folder, file: &Path, more: &[&str]) -> (Ended, PathBuf) {
    let run = folder.join("run");
    let _ = fs::remove_dir_all(&run);
    let mut command = program();
    command
        .arg("replay")
        .arg(file)
        .arg("-o")
        .arg(&run)
        .args(more);
    if !more.contains(&"-c") {
        command.arg("-c").arg(folder.write("small.toml", SMALL));
    }
    (support::run(&mut command), run)
}

/// An input that cannot be read at all: nothing is made of it, and one line says why.
fn refused(name: &str, bytes: &[u8], says: &[&str]) {
    let folder = Folder::quick("refused");
    let file = folder.write(name, bytes);
    let (ended, run) = replay(&folder, &file, &[]);
    let ended = ended
        .expect(5)
        .says(&[&file.display().to_string()])
        .says(says);
    assert_eq!(
        ended.stderr.lines().count(),
        1,
        "one line: {}",
        ended.stderr
    );
    assert!(!run.exists(), "a run directory of nothing");
}

/// An input with something wrong in it: the run goes on to its end, counts the anomaly, and tells
/// of it with its place. `--strict` makes it exit code 3, with the same line.
fn counted(
    name: &str,
    bytes: &[u8],
    anomalies: &[(&str, u64)],
    says: &[&str],
) -> (Folder, PathBuf) {
    let folder = Folder::quick("counted");
    let file = folder.write(name, bytes);
    let (ended, _) = replay(&folder, &file, &["--strict"]);
    ended.expect(3).says(&["anomalies"]).says(says);
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    let found = manifest(&run);
    assert_eq!(found["state"], "complete");
    let wanted: serde_json::Map<String, serde_json::Value> = anomalies
        .iter()
        .map(|(name, count)| (name.to_string(), (*count).into()))
        .collect();
    assert_eq!(
        found["anomalies"],
        serde_json::Value::from(wanted),
        "{}",
        found["anomaly_examples"]
    );
    (folder, run)
}

/// An input in which nothing leads on behind what is wrong: what came before is kept, but it is a failure, strict
/// or not.
fn unread(name: &str, bytes: &[u8], says: &[&str]) {
    let folder = Folder::quick("unread");
    let file = folder.write(name, bytes);
    for strict in [&["--strict"][..], &[]] {
        let (ended, run) = replay(&folder, &file, strict);
        ended
            .expect(5)
            .says(&["part of the input was not read"])
            .says(says);
        let found = manifest(&run);
        assert_eq!(found["state"], "complete");
        assert_eq!(
            found["anomalies"],
            serde_json::json!({"input_trouble": 1, "input_unread": 1}),
            "{}",
            found["anomaly_examples"]
        );
        assert_eq!(found["counts"]["messages"], little_session().len());
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    refused("empty.pcap", b"", &["byte 0", "is empty", "want a pcap"]);
    let header = pcap_header(0, 1);
    refused(
        "cut.pcap",
        &header[..10],
        &["byte 0", "header of 10 bytes, want 24"],
    );
    refused(
        "magic.pcap",
        b"What is this? It is no capture.",
        &["byte 0", "starts with 57 68 61 74"],
    );
    refused(
        "zero.itch",
        &[0; 64],
        &["byte 0", "starts with 00 00 00 00", "message length 0"],
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::quick("no-file");
    let (ended, run) = replay(&folder, &folder.join("nothing.pcap"), &[]);
    ended
        .expect(5)
        .says(&["nothing.pcap: cannot open: No such file"]);
    assert!(!run.exists());
    let (ended, run) = replay(&folder, folder.path(), &[]);
    ended.expect(5).says(&[
        &folder.path().display().to_string(),
        "is a directory, want a capture",
    ]);
    assert!(!run.exists());
}

#[test]
fn a_cut_record_is_told_and_the_rest_counts() {
    let messages = little_session();
    let mut bytes = pcap_of(&messages);
    bytes.truncate(bytes.len() - 5);
    let offset = bytes.len() + 5 - (16 + 42 + 20 + 2 + 12);
    let place = format!("at byte {offset}");
    let says = ["cut.pcap", &place, "cut record", "want "];
    let (_folder, run) = counted("cut.pcap", &bytes, &[("input_trouble", 1)], &says);
    assert_eq!(
        manifest(&run)["counts"]["messages"],
        messages.len() as u64 - 1
    );
}

#[test]
fn a_cut_message_is_told_and_the_rest_counts() {
    let messages = little_session();
    let mut bytes = itch_file(&messages);
    bytes.truncate(bytes.len() - 5);
    let says = ["cut.itch", "cut message: 9 bytes, want 14"];
    let (_folder, run) = counted("cut.itch", &bytes, &[("input_trouble", 1)], &says);
    assert_eq!(
        manifest(&run)["counts"]["messages"],
        messages.len() as u64 - 1
    );
}

#[test]
fn a_cut_compressed_file_is_told_and_the_rest_counts() {
    let folder = Folder::quick("cut-gz");
    let whole = folder.join("whole.pcap.gz");
    let sample = [
        "sample",
        "itch",
        "--symbols",
        "4",
        "--seconds",
        "1",
        "--rate",
        "2000",
        "-o",
    ];
    let args = sample
        .map(std::ffi::OsString::from)
        .into_iter()
        .chain([whole.clone().into()]);
    tapeline(args).expect(0);
    let bytes = fs::read(&whole).unwrap();
    let says = ["cut.pcap.gz", "gzip stream is cut: "];
    let half = &bytes[..bytes.len() / 2];
    let (_folder, run) = counted("cut.pcap.gz", half, &[("input_trouble", 1)], &says);
    assert!(manifest(&run)["counts"]["messages"].as_u64().unwrap() > 100);
}

#[test]
fn absurd_lengths_are_told() {
    // A record that claims four gigabytes: where the next one starts is not known any more.
    let messages = little_session();
    let mut bytes = pcap_of(&messages);
    let offset = bytes.len();
    bytes.extend([
        0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ]);
    let place = format!("at byte {offset}");
    let says = [
        "absurd.pcap",
        &place,
        "record of 4294967295 bytes, want at most 262144",
    ];
    unread("absurd.pcap", &bytes, &says);

    // A message that claims more than its packet has.
    let mut payload = mold(messages.len() as u64 + 1, &[trading(OPEN_NS * 2, 1, "AAA")]);
    payload[20] = 0xff;
    let mut bytes = pcap_of(&messages);
    bytes.extend(record(OPEN_NS * 2, &frame(1, &payload)));
    let says = [
        "block.pcap",
        "message count does not match the payload's bytes",
    ];
    counted("block.pcap", &bytes, &[("bad_packet", 1)], &says);

    // A packet that claims more messages than it has.
    let mut payload = mold(messages.len() as u64 + 1, &[trading(OPEN_NS * 2, 1, "AAA")]);
    payload[18] = 0x7f;
    let mut bytes = pcap_of(&messages);
    bytes.extend(record(OPEN_NS * 2, &frame(1, &payload)));
    counted(
        "count.pcap",
        &bytes,
        &[("bad_packet", 1)],
        &["count.pcap", "message count"],
    );

    // A message of an ITCH file that claims 65,535 bytes.
    let mut bytes = itch_file(&messages);
    let offset = bytes.len();
    bytes.extend([0xff, 0xff, b'A', 0, 1]);
    let place = format!("at byte {offset}");
    let says = ["long.itch", &place, "message length 65535, want 1 to 1024"];
    unread("long.itch", &bytes, &says);

    // One that claims none, in the middle: an end of session is only one at the end.
    let mut bytes = itch_file(&messages);
    bytes.extend([0, 0]);
    bytes.extend(itch_file(&messages[6..]));
    unread("none.itch", &bytes, &["none.itch", "message length 0"]);
}

/// What the capture cut from one line's packets comes from the other; where it does not, the
/// messages are lost and the books say so.
#[test]
fn packets_cut_by_the_snaplen_are_told_and_filled_from_the_other_line() {
    let messages = little_session();
    let capture = |lines: &[(u8, usize)]| {
        let mut bytes = pcap_header(0, 1);
        for (index, pair) in messages.chunks(2).enumerate() {
            let payload = mold(index as u64 * 2 + 1, pair);
            let ns = OPEN_NS + index as u64 * 20_000_000;
            for (line, kept) in lines {
                let is_cut = index == 40;
                let kept = if is_cut { *kept } else { usize::MAX };
                bytes.extend(record_cut(
                    ns + u64::from(*line),
                    &frame(*line, &payload),
                    kept,
                ));
            }
        }
        bytes
    };
    let folder = Folder::quick("whole");
    let (ended, whole) = replay(&folder, &folder.write("a.pcap", capture(&[(1, 999)])), &[]);
    ended.expect(0);
    assert_eq!(manifest(&whole)["anomalies"], serde_json::json!({}));

    // Header and first message stay; the second one is cut.
    let kept = 42 + 20 + 2 + 36 + 2 + 20;
    let both = capture(&[(1, kept), (2, 999)]);
    let says = ["both.pcap", "message count does not match"];
    let (_folder, run) = counted("both.pcap", &both, &[("bad_packet", 1)], &says);
    assert!(digests(&run) == digests(&whole), "the other line had it");

    let one = capture(&[(1, kept)]);
    let anomalies = [("bad_packet", 1), ("gap", 1)];
    let (_folder, run) = counted("one.pcap", &one, &anomalies, &says[1..]);
    let manifest = manifest(&run);
    assert_eq!(manifest["counts"]["lost_messages"], 1);
    assert_eq!(
        manifest["gaps"],
        serde_json::json!([{ "first": 82, "count": 1 }])
    );
    assert_eq!(symbol(&run, "AAA")["stale"], true);
}

/// The session with some messages put in before its last one.
fn with(more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut messages = little_session();
    let last = messages.pop().unwrap();
    messages.extend_from_slice(more);
    messages.push(last);
    messages
}

/// A time near the session's end.
const LATE_NS: u64 = OPEN_NS + 2_500_000_000;

/// The same messages in a file and in packets have the same anomalies, and the same results
/// otherwise as if the wrong ones had not been there.
fn harmless(more: &[Vec<u8>], anomalies: &[(&str, u64)], says: &[&str]) {
    let messages = with(more);
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&with(&[]))), &[]);
    ended.expect(0);
    for (name, bytes) in [
        ("bad.itch", itch_file(&messages)),
        ("bad.pcap", pcap_of(&messages)),
    ] {
        let (_folder, run) = counted(name, &bytes, anomalies, says);
        assert_eq!(manifest(&run)["counts"]["messages"], messages.len() as u64);
        for name in ["AAA", "BBB"] {
            let (mut found, mut wanted) = (symbol(&run, name), symbol(&without, name));
            // What did not fit a book stays on its record.
            found["evidence"].take();
            wanted["evidence"].take();
            found["stale"].take();
            wanted["stale"].take();
            assert_eq!(found, wanted, "{name} with {anomalies:?}");
        }
    }
}

#[test]
fn times_that_nothing_of_the_input_is_between_are_told() {
    let folder = Folder::quick("outside");
    let file = folder.write("day.pcap", pcap_of(&little_session()));
    for (args, says) in [
        (
            ["--from", "19:59"],
            "nothing of the input is at --from, 19:59",
        ),
        (
            ["--until", "04:01"],
            "nothing of the input is before --to, 04:01",
        ),
    ] {
        let (ended, run) = replay(&folder, &file, &args);
        let ended = ended.expect(0).says(&[says]);
        assert!(ended.stdout.contains(says), "{}", ended.stdout);
        let outside = manifest(&run)["outside"].clone();
        assert!(outside.as_str().unwrap().contains(says), "{outside}");
        assert_eq!(manifest(&run)["counts"]["windows"], 0);
    }
    let (ended, run) = replay(&folder, &file, &["--from", "09:30", "--to", "16:00"]);
    ended.expect(0);
    assert!(manifest(&run)["outside"].is_null());
}

#[test]
fn unknown_message_types_are_counted_and_skipped() {
    let mut message = delete(LATE_NS, 1, 1);
    message[0] = b'z';
    let says = ["bad.", "unknown_type 2", "unknown type 'z' of 19 bytes"];
    harmless(
        &[message.clone(), message],
        &[("unknown_type", 2)],
        &says[1..],
    );
}

#[test]
fn messages_of_a_wrong_length_are_counted_and_skipped() {
    let mut message = delete(LATE_NS, 1, 1);
    message.push(0);
    harmless(
        &[message],
        &[("bad_length", 1)],
        &["bad_length", "20", "19"],
    );
}

#[test]
fn fields_with_a_wrong_value_are_counted_and_skipped() {
    let message = add(LATE_NS, 1, "AAA", 9_999, b'?', 100, 99_900);
    harmless(&[message], &[("bad_field", 1)], &["bad_field"]);
}

#[test]
fn orders_that_do_not_exist_are_counted() {
    let missing = [
        executed(LATE_NS, 1, 777_777, 100),
        cancel(LATE_NS, 1, 777_778, 100),
        delete(LATE_NS, 2, 777_779),
    ];
    harmless(&missing, &[("unknown_order", 3)], &["unknown_order"]);
}

#[test]
fn an_order_of_price_zero_or_of_no_shares_is_counted_and_in_no_book() {
    let zero = add(LATE_NS, 1, "AAA", 9_999, b'B', 100, 0);
    harmless(&[zero], &[("bad_price", 1)], &["bad_price"]);
    let none = add(LATE_NS, 1, "AAA", 9_999, b'B', 0, 99_900);
    harmless(&[none], &[("bad_qty", 1)], &["bad_qty"]);
}

#[test]
fn executing_more_than_there_is_takes_what_there_is() {
    let messages = with(&[
        add(LATE_NS, 1, "AAA", 9_999, b'B', 100, 99_950),
        executed(LATE_NS + 1, 1, 9_999, 500),
        add(LATE_NS + 2, 2, "BBB", 9_998, b'B', 100, 99_950),
        cancel(LATE_NS + 3, 2, 9_998, 101),
    ]);
    let (_folder, run) = counted(
        "over.pcap",
        &pcap_of(&messages),
        &[("overfill", 2)],
        &["overfill"],
    );
    for name in ["AAA", "BBB"] {
        let bid = symbol(&run, name)["bid"].clone();
        assert_eq!(bid[0], "9.99", "the order is gone");
        assert!(bid[1].as_i64().unwrap() > 0);
    }
}

#[test]
fn time_that_goes_back_is_counted_and_its_trades_still_count() {
    let messages = with(&[
        hidden_trade(LATE_NS, 1, "AAA", 7, 100_000),
        hidden_trade(LATE_NS - 50_000_000, 1, "AAA", 7, 100_000),
    ]);
    let says = ["time_backwards", "time goes back by 50000000 ns"];
    let (_folder, run) = counted(
        "back.itch",
        &itch_file(&messages),
        &[("time_backwards", 1)],
        &says,
    );
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&with(&[]))), &[]);
    ended.expect(0);
    let volume = |run: &Path| symbol(run, "AAA")["volume"].as_i64().unwrap();
    assert_eq!(volume(&run), volume(&without) + 14);
    assert_eq!(
        manifest(&run)["counts"]["late"],
        0,
        "50 ms is within the lateness"
    );
}

/// One time in the year's future must not close the windows of all that comes after it. Wherever
/// it stands: first or last of what is read at once, in a file or in packets, at any pace.
#[test]
fn one_time_far_in_the_future_makes_nothing_late() {
    let wanted = little_session();
    let good = Folder::quick("good");
    let (ended, without) = replay(&good, &good.write("good.itch", itch_file(&wanted)), &[]);
    ended.expect(0);
    let windows = manifest(&without)["counts"]["windows"].clone();
    for at in [0, 1, 63, 64, 127] {
        let mut messages = little_session();
        // As in a real feed, the message after it was captured at its time or later.
        let captured = |index: usize| {
            let next = &wanted[if index > at { index - 1 } else { index }];
            next[5..11]
                .iter()
                .fold(0, |ns, byte| ns << 8 | u64::from(*byte))
        };
        messages.insert(at, trading(captured(at) + 100_000_000_000, 1, "AAA"));
        let says = ["time_future", "ahead of all others"];
        let capture = pcap_at(&messages, captured);
        for (name, bytes) in [("far.itch", itch_file(&messages)), ("far.pcap", capture)] {
            println!("{name}, message {at}");
            let (folder, run) = counted(name, &bytes, &[("time_future", 1)], &says);
            let counts = manifest(&run)["counts"].clone();
            assert_eq!(counts["messages"], messages.len() as u64);
            assert_eq!(counts["late"], 0, "message {at} of {name}");
            assert_eq!(counts["windows"], windows, "message {at} of {name}");
            let fast = digests(&run);
            let (ended, paced) = replay(&folder, &folder.join(name), &["--speed", "1000x"]);
            ended.expect(0);
            assert!(
                digests(&paced) == fast,
                "message {at} of {name}: another result at a pace"
            );
        }
    }
}

#[test]
fn a_link_type_that_nobody_knows_is_told_and_nothing_found_is_code_3() {
    let folder = Folder::quick("link");
    let mut bytes = pcap_of(&little_session());
    bytes[20..24].copy_from_slice(&147u32.to_le_bytes());
    let file = folder.write("link.pcap", bytes);
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(3).says(&["no message of the feed was found"]);
    let manifest = manifest(&run);
    assert_eq!(
        manifest["anomalies"]["input_trouble"], 1,
        "told once, not for each record"
    );
    let example = manifest["anomaly_examples"][0].as_str().unwrap();
    assert!(
        example.contains("link.pcap") && example.contains("link type 147"),
        "{example}"
    );
}

/// Columns that are known, and no row behind them: that is what is said.
#[test]
fn a_table_with_its_header_only_is_said_to_be_that() {
    let folder = Folder::quick("bad-header");
    let header = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n";
    let file = folder.write("empty.csv", header);
    let want = "empty.csv: columns are named, and no row follows";
    let (said, _) = replay(&folder, &file, &[]);
    said.expect(3).says(&["no message of the feed", want]);
    tapeline(args!["inspect", file])
        .expect(3)
        .says(&["no tardis.dev message", want]);
}

#[test]
fn packets_of_another_feed_are_code_3() {
    let folder = Folder::quick("other");
    let mut bytes = pcap_header(0, 1);
    for n in 0..3 {
        bytes.extend(record(
            OPEN_NS + n,
            &frame(1, b"this is not MoldUDP64, whatever it may be"),
        ));
    }
    let (ended, run) = replay(&folder, &folder.write("other.pcap", bytes), &[]);
    ended.expect(3).says(&["no message of the feed was found"]);
    assert_eq!(manifest(&run)["anomalies"]["bad_packet"], 3);

    // MoldUDP64, but not a message that ITCH 5.0 knows.
    let mut messages = little_session();
    messages.iter_mut().for_each(|message| message[0] = b'z');
    let (ended, _) = replay(
        &folder,
        &folder.write("older.pcap", pcap_of(&messages)),
        &[],
    );
    ended
        .expect(3)
        .says(&["no message of the feed was found", "unknown_type"]);
}

#[test]
fn an_output_directory_that_is_in_use_is_refused_and_left_alone() {
    let folder = Folder::quick("in-use");
    let file = folder.write("good.itch", itch_file(&little_session()));
    fs::create_dir(folder.join("run")).unwrap();
    folder.write("run/precious", "keep this");
    let run = folder.join("run");
    let args = args![String::from("replay"), file, String::from("-o"), run];
    tapeline(args).expect(2).says(&[
        &run.display().to_string(),
        "exists and is not empty",
        "--resume",
    ]);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(run.join("precious")).unwrap(),
        "keep this"
    );
}

#[test]
fn a_run_that_is_none_is_refused() {
    let folder = Folder::quick("no-run");
    let path = folder.path();
    tapeline(args![
        String::from("replay"),
        String::from("--resume"),
        path
    ])
    .expect(2)
    .says(&["manifest.json: not a run directory"]);
    tapeline(args![String::from("diff"), path, path])
        .expect(2)
        .says(&["not a run directory"]);
    folder.write("manifest.json", "{\"schema\": \"of-another-program/7\"}");
    tapeline(args![
        String::from("book"),
        String::from("AAA"),
        String::from("--run"),
        path
    ])
    .expect(2)
    .says(&["manifest.json, line 1"]);
}

#[test]
fn a_config_with_a_typo_is_refused_with_its_line() {
    let folder = Folder::quick("typo");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let check = |text: &str, says: &[&str]| {
        let config = folder.write("t.toml", text);
        let (ended, run) = replay(&folder, &file, &["-c", &config.display().to_string()]);
        ended
            .expect(2)
            .says(&[&config.display().to_string()])
            .says(says);
        assert!(!run.exists());
        let check = args![String::from("config"), String::from("check"), config];
        tapeline(check).expect(2).says(says);
    };
    check(
        "[spread]\n\ntreshold = \"20bps\"\n",
        &["line 3", "`treshold`", "did you mean `threshold`"],
    );
    check(
        "[log]\ndurability = \"durabel\"\n",
        &["line 2", "did you mean `durable`"],
    );
    check("[run]\nshards = 0\n", &["run.shards is 0, want 1 to 64"]);
    check("[run\n", &["line 1"]);
    check("[time]\ntick = \"100\"\n", &["line 2", "units"]);
    let (ended, _) = replay(&folder, &file, &["-c", "nowhere.toml"]);
    ended.expect(2).says(&["nowhere.toml", "No such file"]);
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = Folder::quick("arguments");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let check = |more: &[&str], says: &[&str]| {
        let (ended, run) = replay(&folder, &file, more);
        ended.expect(2).says(says);
        assert!(!run.exists(), "{more:?}");
    };
    check(&["--speed", "fast"], &["--speed", "`fast` is not a speed"]);
    check(&["--rate", "2M/m"], &["--rate", "`2M/m` is not a rate"]);
    check(
        &["--rate", "2M/s", "--speed", "10x"],
        &["--rate 2M/s and --speed 10x are two paces"],
    );
    check(
        &["--protocol", "lobster"],
        &["good.itch: begins as length-prefixed ITCH messages, want LOBSTER messages (CSV)"],
    );
    check(&["--shards", "many"], &["--shards", "many"]);
    check(&["--shards", "65"], &["run.shards is 65, want 1 to 64"]);
    check(&["--from", "soon"], &["`soon` is not a time"]);
    check(&["--date", "yesterday"], &["`yesterday` is not a date"]);
    check(&["--quickly"], &["--quickly"]);
    tapeline(["replay"]).expect(2).says(&["which captures?"]);
    tapeline(args![String::from("replay"), file])
        .expect(2)
        .says(&["-o runs/r1"]);
    tapeline(["repaly"]).expect(2).says(&["repaly"]);
}

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

#[test]
fn a_watch_sends_no_orders_anywhere() {
    let folder = Folder::quick("watch");
    let file = folder.write("good.itch", itch_file(&little_session()));
    for more in [["--mode", "paper"], ["--confirm", "broker"]] {
        let mut command = program();
        command
            .args(["replay", "--break", "spread > 1bps"])
            .arg(&file)
            .args(more);
        support::run(&mut command)
            .expect(2)
            .says(&["--break", "--mode", "--confirm"]);
    }
}

#[test]
fn a_core_that_is_not_there_is_refused() {
    let folder = Folder::quick("cores");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let (ended, _) = replay(&folder, &file, &["--cpus", "0,1023"]);
    assert!(matches!(ended.code, Some(2 | 5)), "{ended:?}");
    ended.says(&["1023"]);
}

/// A peer that is not there stops the run before it starts; once it is there, the run goes on.
#[test]
fn a_peer_that_is_not_there_is_an_error_that_can_be_mended() {
    let folder = Folder::quick("peer");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = folder.write("tcp.toml", format!("[orders]\ntcp = \"{address}\"\n"));
    let (ended, run) = replay(&folder, &file, &["-c", &config.display().to_string()]);
    ended.expect(5).says(&[
        &address.to_string(),
        "connect: Connection refused",
        "--resume",
    ]);
    let peer = TcpListener::bind(address).unwrap();
    let accepting = std::thread::spawn(move || {
        use std::io::Read;
        let mut received = Vec::new();
        peer.accept().unwrap().0.read_to_end(&mut received).unwrap();
    });
    tapeline(args![String::from("replay"), String::from("--resume"), run]).expect(0);
    accepting.join().unwrap();
    assert_eq!(manifest(&run)["state"], "complete");
}

/// A session whose log does not fit into some megabytes, and its undisturbed run.
fn large(folder: &Folder) -> (PathBuf, PathBuf, PathBuf) {
    let capture = folder.join("large.pcap");
    let sample = [
        "sample",
        "itch",
        "--symbols",
        "16",
        "--seconds",
        "6",
        "--rate",
        "10000",
        "-o",
    ];
    let sample = sample
        .map(std::ffi::OsString::from)
        .into_iter()
        .chain([capture.clone().into()]);
    tapeline(sample).expect(0);
    let config = folder.write("small.toml", SMALL);
    let twin = folder.join("twin");
    let mut command = program();
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&twin)
        .arg("-c")
        .arg(&config);
    run(&mut command).expect(0);
    (capture, config, twin)
}

/// A small file system of a test's own, which only root can have.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, size: &str) -> Option<Disk> {
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(&at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Disk(at))
    }

    fn grow(&self, size: &str) {
        let mut command = Command::new("mount");
        command
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_run_in_order_and_it_goes_on_once_there_is_room() {
    let folder = Folder::new("full");
    let Some(disk) = Disk::mount(folder.join("disk"), "3500k") else {
        println!("skipped: no right to mount a small disk");
        return;
    };
    let (capture, config, twin) = large(&folder);
    let run = disk.0.join("run");
    let mut command = program();
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&run)
        .arg("-c")
        .arg(&config);
    support::run(&mut command)
        .expect(5)
        .says(&["No space left on device", "log", "--resume"]);
    assert_eq!(manifest(&run)["state"], "running");
    // Still no room: the same error again, and nothing gets worse.
    let resume = args![String::from("replay"), String::from("--resume"), run];
    tapeline(&resume)
        .expect(5)
        .says(&["No space left on device"]);
    disk.grow("64m");
    tapeline(&resume).expect(0);
    assert!(
        digests(&run) == digests(&twin),
        "other digests than the undisturbed run"
    );
    tapeline(args![String::from("diff"), run, twin]).expect(0);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_can_be_mended() {
    let folder = Folder::new("limit");
    let (capture, config, twin) = large(&folder);
    let run = folder.join("run");
    let mut command = Command::new("sh");
    // In units of 512 or 1,024 bytes, by the shell: below a segment in both.
    command.args([
        "-c",
        "ulimit -f 600; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_tapeline"),
    ]);
    command
        .arg("replay")
        .arg(&capture)
        .arg("-o")
        .arg(&run)
        .arg("-c")
        .arg(&config);
    support::run(&mut command)
        .expect(5)
        .says(&["File too large", "log", "--resume"]);
    tapeline(args![String::from("replay"), String::from("--resume"), run]).expect(0);
    assert!(
        digests(&run) == digests(&twin),
        "other digests than the undisturbed run"
    );
}

#[test]
fn a_path_that_no_manifest_can_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::quick("not-utf8");
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.itch");
    let file = folder.path().join(name);
    fs::write(&file, itch_file(&little_session())).unwrap();
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(2).says(&["not UTF-8", "rename it"]);
    assert!(!run.exists(), "a run directory of nothing");
}

#[test]
fn a_pipe_is_no_capture() {
    let folder = Folder::quick("pipe");
    let pipe = folder.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    tapeline(["inspect", pipe.to_str().unwrap()])
        .expect(5)
        .says(&["is no regular file"]);
}

#[test]
fn a_stderr_that_takes_nothing_ends_no_run() {
    let folder = Folder::quick("stderr");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let run = folder.join("run");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = program();
    command.arg("replay").arg(&file).arg("-o").arg(&run);
    command.stderr(full).stdout(std::process::Stdio::null());
    let status = command.status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(manifest(&run)["state"], "complete");
}

#[test]
fn settings_that_every_run_refuses_are_refused_by_the_check() {
    let folder = Folder::quick("check");
    for (text, says) in [
        ("[orders]\nsender = \"\"", "sender"),
        ("[orders]\ntarget = \"A\\u0001B\"", "printable ASCII"),
        ("[orders]\ntcp = \"nohost\"", "want HOST:PORT"),
        ("[orders]\ntcp = \"host:0\"", "want HOST:PORT"),
        ("[source]\ntimezone = \"Mars/X\"", "not a time zone"),
        ("[source]\ndate = \"2500-01-01\"", "from 1970 to 2261"),
        ("[source]\nlines = [\"1.2.3.4:5\"]", "no multicast group"),
        (
            "[source]\nlines = [\"239.0.0.1:5\", \"239.0.0.1:5\"]",
            "twice",
        ),
    ] {
        let file = folder.write("c.toml", text);
        tapeline(["config", "check", file.to_str().unwrap()])
            .expect(2)
            .says(&[says]);
    }
}

#[test]
fn a_kill_file_is_found_from_wherever_the_run_goes_on() {
    let folder = Folder::quick("kill-file");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let config = folder.write("c.toml", "[risk]\nkill_file = \"KILL\"\n");
    let mut command = program();
    command.current_dir(folder.path());
    command
        .arg("replay")
        .arg(&file)
        .args(["-o", "run", "-c"])
        .arg(config);
    run(&mut command).expect(0);
    let kept = fs::read_to_string(folder.join("run/config.toml")).unwrap();
    let absolute = folder.path().canonicalize().unwrap().join("KILL");
    assert!(kept.contains(absolute.to_str().unwrap()), "{kept}");
}

#[test]
fn reference_data_stand_beside_their_symbols_and_bad_ones_are_refused() {
    let folder = Folder::quick("reference");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let list = folder.write(
        "list.csv",
        "symbol,tick,currency,isin\nAAA,0.01,USD,US0378331005\nCCC,,,\n",
    );
    let text = format!("[source]\nreference = {list:?}\n{SMALL}");
    let config = folder.write("c.toml", text);
    let (ended, run) = replay(&folder, &file, &["-c", config.to_str().unwrap()]);
    ended.expect(0);
    let wanted = serde_json::json!({ "tick": "0.01", "currency": "USD", "isin": "US0378331005" });
    assert_eq!(symbol(&run, "AAA")["reference"], wanted);
    assert!(symbol(&run, "BBB")["reference"].is_null());
    assert_eq!(
        fs::read(run.join("reference.csv")).unwrap(),
        fs::read(&list).unwrap(),
        "the run keeps its own"
    );

    // Decides nothing.
    let with = digests(&run);
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    assert_eq!(digests(&run), with);
    assert!(!run.join("reference.csv").exists());

    fs::write(&list, "symbol,tick\nAAA,0.01\nBBB,cheap\n").unwrap();
    let said = format!("{}, line 3: tick \"cheap\"", list.display());
    let (ended, run) = replay(&folder, &file, &["-c", config.to_str().unwrap()]);
    ended.expect(2).says(&[&said]);
    assert!(!run.exists(), "a run directory of nothing");
    tapeline(["config", "check", config.to_str().unwrap()])
        .expect(2)
        .says(&[&said]);
}

/// A session with one of everything that is not understood, on line 1, with its messages' good twins.
fn not_understood() -> (Vec<u8>, Vec<u8>) {
    let mut messages = little_session();
    let mut bytes = pcap_of(&messages);
    let next = messages.len() as u64 + 1;
    let mut unknown = add(LATE_NS, 1, "AAA", 9_001, b'B', 100, 99_900);
    let good = unknown.clone();
    unknown[0] = b'z';
    let side = add(LATE_NS + 1, 2, "BBB", 9_002, b'?', 100, 99_900);
    let mut cut = mold(
        next + 2,
        &[delete(LATE_NS + 2, 1, 1), delete(LATE_NS + 2, 1, 3)],
    );
    cut.truncate(cut.len() - 4);
    for payload in [
        mold(next, &[unknown, side]),
        cut,
        b"no MoldUDP64 at all, nor long".to_vec(),
    ] {
        bytes.extend(record(LATE_NS, &frame(1, &payload)));
    }
    messages.clear();
    (bytes, good)
}

#[test]
fn what_is_not_understood_is_kept_listed_and_replayed() {
    use feed::quarantine::{Item, Records};

    let (bytes, good) = not_understood();
    let first = little_session().len() as u64 + 1;
    let folder = Folder::quick("quarantine");
    let file = folder.write("bad.pcap", &bytes);
    let (ended, run) = replay(&folder, &file, &[]);
    let ended = ended.expect(0);
    assert!(
        ended
            .stdout
            .contains("4 not understood, kept in quarantine.bin"),
        "{}",
        ended.stdout
    );
    let kept = manifest(&run)["quarantine"].clone();
    assert_eq!(
        (kept["records"].as_u64(), kept["left_out"].as_u64()),
        (Some(4), Some(0))
    );
    let path = run.join("quarantine.bin");
    let bin = fs::read(&path).unwrap();
    let all: Vec<_> = Records::open(&bin).unwrap().map(Result::unwrap).collect();
    let packets = little_session().len() as u64;
    let found: Vec<_> = all
        .iter()
        .map(|r| {
            (
                r.item,
                r.numbered.map(|(_, n)| n),
                r.place.packet,
                r.message,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (Item::Message, Some(first), packets + 1, 1),
            (Item::Message, Some(first + 1), packets + 1, 2),
            (Item::Rest, Some(first + 3), packets + 2, 0),
            (Item::Packet, None, packets + 3, 0),
        ]
    );
    assert_eq!(all[0].raw[1..], good[1..]);
    assert!(all[0].why.contains("unknown type 'z'"), "{}", all[0].why);
    assert_eq!(all[3].raw, b"no MoldUDP64 at all, nor long");
    assert_eq!(
        all[0].ts_recv.map(|ts| ts.0 as u64),
        Some(wire_midnight() + LATE_NS)
    );

    // Listed, and by JSON.
    let listed = tapeline([Path::new("inspect"), &path]).expect(0);
    for text in [
        "quarantine of ITCH",
        "unknown_type 1",
        "bad_packet 2",
        &format!("sequence {first} of TEST000001"),
        &format!("{}, packet {}", file.display(), packets + 1),
    ] {
        assert!(
            listed.stdout.contains(text),
            "want {text}: {}",
            listed.stdout
        );
    }
    let listed = tapeline([Path::new("--json"), Path::new("inspect"), &path])
        .expect(0)
        .json();
    assert_eq!(listed["records"].as_array().unwrap().len(), 4);
    assert_eq!(listed["records"][0]["name"], file.to_str().unwrap());

    // Its bytes are what its header says, whatever somebody says.
    let (other, table) = (folder.join("other"), folder.join("events.parquet"));
    tapeline(args!["replay", path, "--protocol", "iex", "-o", other])
        .expect(2)
        .says(&["quarantine.bin", "a quarantine of ITCH", "want one of IEX"]);
    assert!(!other.exists(), "a run directory of nothing");

    // A conversion has no quarantine, and says where the first of them is.
    tapeline(args!["convert", file, "-o", table])
        .expect(0)
        .says(&[
            "wrong with the input",
            &format!("{}, packet {}", file.display(), packets + 1),
        ]);

    // Replayed as it is, the same is refused again, and kept again.
    let date = manifest(&run)["date"].clone();
    let before = bin.clone();
    let (again, copy) = (folder.write("quarantine.bin", &bin), folder.join("again"));
    let small = folder.write("small.toml", SMALL);
    let replay_again = |file: &Path, run: &Path| {
        let _ = fs::remove_dir_all(run);
        let (c, o) = (Path::new("-c"), Path::new("-o"));
        tapeline([Path::new("replay"), file, c, &small, o, run])
    };
    replay_again(&again, &copy)
        .expect(3)
        .says(&["unknown_type"]);
    assert_eq!(manifest(&copy)["date"], date);
    let second = fs::read(copy.join("quarantine.bin")).unwrap();
    let second: Vec<_> = Records::open(&second)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(second.len(), 4);
    for (left, right) in all.iter().zip(&second) {
        assert_eq!(
            (left.item, left.raw, left.ts_recv),
            (right.item, right.raw, right.ts_recv)
        );
    }

    // Once the type is known, the message is in its place in time.
    let mut mended = Records::open(&bin).unwrap().header().encode().to_vec();
    for (index, refused) in all.iter().enumerate() {
        let mut refused = refused.clone();
        if index == 0 {
            refused.raw = &good;
        }
        refused.encode(index as u64 + 1, &mut mended);
    }
    let mended = folder.write("mended.bin", &mended);
    replay_again(&mended, &copy).expect(0);
    assert_eq!(manifest(&copy)["counts"]["messages"], 2);
    let book = symbol(&copy, "AAA");
    assert_eq!(book["bid"], serde_json::json!(["9.99", 100]));

    // A damaged one is refused as a whole.
    let mut damaged = before;
    let at = damaged.len() - 3;
    damaged[at] ^= 1;
    let damaged = folder.write("damaged.bin", &damaged);
    let ended = replay_again(&damaged, &copy)
        .expect(5)
        .says(&["damaged.bin, byte ", "checksum"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(!copy.exists());
    tapeline([Path::new("inspect"), &damaged])
        .expect(5)
        .says(&["damaged quarantine: checksum"]);
}

/// Midnight of the captures made by hand, as their records have it.
fn wire_midnight() -> u64 {
    let record = record(0, &[]);
    let word = |at: usize| u64::from(u32::from_le_bytes(record[at..at + 4].try_into().unwrap()));
    word(0) * 1_000_000_000 + word(4)
}

#[test]
fn the_quarantines_bound_is_told_and_a_torn_one_is_mended_without_doubles() {
    let (bytes, _) = not_understood();
    let folder = Folder::quick("quarantine-bound");
    let file = folder.write("bad.pcap", &bytes);
    let none = folder.write(
        "none.toml",
        format!("[source.quarantine]\nmax_bytes = \"0B\"\n{SMALL}"),
    );
    let (ended, run) = replay(&folder, &file, &["-c", none.to_str().unwrap()]);
    ended.expect(0);
    assert!(!run.join("quarantine.bin").exists() && manifest(&run)["quarantine"].is_null());
    let few = folder.write(
        "few.toml",
        format!("[source.quarantine]\nmax_bytes = \"400B\"\n{SMALL}"),
    );
    let (ended, run) = replay(&folder, &file, &["-c", few.to_str().unwrap()]);
    let ended = ended.expect(0);
    assert!(
        ended.stdout.contains("2 more found no room"),
        "{}",
        ended.stdout
    );
    let listed = tapeline([Path::new("inspect"), &run.join("quarantine.bin")]).expect(0);
    assert!(
        listed.stdout.contains("no room from here on"),
        "{}",
        listed.stdout
    );

    // Killed at the end of the run, and with a torn record: the same file in the end.
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    let path = run.join("quarantine.bin");
    let whole = fs::read(&path).unwrap();
    let text = fs::read_to_string(run.join("manifest.json")).unwrap();
    assert!(text.contains("\"complete\""));
    for kept in [0, 30, 64, whole.len() - 5, whole.len()] {
        fs::write(
            run.join("manifest.json"),
            text.replace("\"complete\"", "\"running\""),
        )
        .unwrap();
        fs::write(&path, &whole[..kept]).unwrap();
        tapeline([Path::new("replay"), Path::new("--resume"), &run]).expect(0);
        assert!(fs::read(&path).unwrap() == whole, "torn at byte {kept}");
    }
}

/// A session with more than one of its limits has room for: what is beyond is in no book, and said.
#[test]
fn what_is_beyond_a_limit_is_said_and_the_rest_is_as_it_was() {
    let at = |n: u64| OPEN_NS + n * 1_000_000;
    let mut messages = vec![
        trading(at(0), 1, "AAA"),
        trading(at(0), 2, "BBB"),
        trading(at(0), 9, "ZZZ"),
        add(at(1), 9, "ZZZ", 900_000, b'B', 100, 50_000),
        add(at(1), 2, "BBB", 900_001, b'B', 100, 50_000),
    ];
    // More than 1,024 orders and as many prices of one symbol. Of ZZZ there are two messages, and its name.
    for n in 0..1_100u64 {
        messages.push(add(
            at(2 + n),
            1,
            "AAA",
            n + 1,
            b'B',
            100,
            100 * (n as u32 + 1),
        ));
    }
    let folder = Folder::quick("limits");
    let file = folder.write("many.itch", itch_file(&messages));
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    assert!(manifest(&run)["full"].is_null());
    let whole = symbol(&run, "BBB");
    for (name, value, full, lacks) in [
        ("symbols", 5, 3, "ZZZ"),
        ("orders", 1_024, 1_100 + 2 - 1_024, "AAA"),
        ("levels", 1_024, 1_100 + 2 - 1_024, "AAA"),
    ] {
        let text = format!("[limits]\n{name} = {value}\n{SMALL}");
        let config = folder.write("limits.toml", text);
        let more = ["-c", config.to_str().unwrap()];
        let says = format!("limits.{name} is {value}");
        let says = if name == "symbols" {
            says
        } else {
            says.replace(" is", "")
        };
        let (ended, run) = replay(&folder, &file, &more);
        let ended = ended.expect(0).says(&[&says]);
        assert!(ended.stdout.contains(&says), "{}", ended.stdout);
        let found = manifest(&run);
        assert_eq!(found["anomalies"]["full"], full, "{name}");
        assert_eq!(found["full"]["events"], full);
        assert_eq!(found["full"][name], value);
        let symbols = fs::read_to_string(run.join("symbols.json")).unwrap();
        let symbols: serde_json::Value = serde_json::from_str(&symbols).unwrap();
        let all = symbols.as_array().unwrap();
        let lacking = all.iter().find(|symbol| symbol["symbol"] == lacks);
        // A symbol beyond the limit has no book at all; one that lacks orders is stale.
        let is_stale = lacking.map(|symbol| symbol["stale"].as_bool());
        let wanted = (name != "symbols").then_some(Some(true));
        assert_eq!(is_stale, wanted, "{name}");
        assert_eq!(symbol(&run, "BBB"), whole, "{name}");
        let (ended, _) = replay(&folder, &file, &[&more[..], &["--strict"]].concat());
        ended.expect(3).says(&[&says]);
    }
    let config = folder.join("limits.toml");
    let config = config.to_str().unwrap();
    tapeline(["config", "check", "-c", config]).expect(0);
    tapeline(["config", "check", config]).expect(0);
    tapeline(["config", "check"]).expect(2);
}
