//! Files that are none, or are cut.

use super::*;

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
