//! Captures cut by symbol and time, and written again in other forms: books at any time within, and
//! digests of all of it, are those of the whole.

mod support;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Folder, SMALL, alone, manifest, symbol, tapeline};

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(Into::into).collect()
}

fn run(text: &str, more: &[&Path]) -> support::Ended {
    let mut args = words(text);
    args.extend(more.iter().map(OsString::from));
    tapeline(args)
}

/// A session of eight symbols, of which each line loses some packets.
fn session(folder: &Folder, more: &str) -> PathBuf {
    let capture = folder.join("session.pcap.zst");
    let sample = "sample itch --symbols 8 --seconds 6 --rate 2000 --seed 21 --loss-a 0.03 \
                  --loss-b 0.03 --reorder 4 --duplicate 0.01 -q --force";
    run(&format!("{sample}{more} -o"), &[&capture]).expect(0);
    capture
}

fn replay(folder: &Folder, name: &str, capture: &Path, more: &str) -> PathBuf {
    let config = folder.write("small.toml", SMALL);
    let output = folder.join(name);
    let mut args = words(&format!("replay -q --date 2026-01-05{more}"));
    for (flag, path) in [("-c", config.as_path()), ("-o", &output)] {
        args.extend([flag.into(), path.into()]);
    }
    args.push(capture.into());
    tapeline(args).expect(0);
    output
}

fn names(run: &Path) -> Vec<String> {
    let symbols = support::json(&run.join("symbols.json"));
    let symbols = symbols.as_array().unwrap().iter();
    symbols
        .map(|symbol| symbol["symbol"].as_str().unwrap().to_string())
        .collect()
}

fn book(run_dir: &Path, name: &str, at: &str) -> Value {
    let book = run(
        &format!("--json book {name} --depth 1000 --at {at} --run"),
        &[run_dir],
    );
    book.expect(0).json()
}

#[test]
fn books_of_a_slice_are_those_of_the_whole_at_any_time_within() {
    let _alone = alone();
    let folder = Folder::quick("slice");
    let capture = session(&folder, "");
    let whole = replay(&folder, "whole", &capture, "");
    let all = names(&whole);
    let (a, b) = (&all[1], &all[6]);
    for output in ["cut.pcap", "cut.itch.gz"] {
        let cut = folder.join(output);
        let slice = format!("--json slice --symbols {a},{b} --from 09:30:02 --until 09:30:04 -o");
        let said = run(&slice, &[&cut, &capture]).expect(0).json();
        assert_eq!(said["lost"], 0);
        let (kept, read) = (said["messages"].as_u64(), said["read"].as_u64());
        assert!(kept.unwrap() * 2 < read.unwrap(), "{said}");

        let seen = run("--json inspect", &[&cut]).expect(0).json();
        assert_eq!(seen["messages"], said["messages"]);
        let part = replay(&folder, &format!("of-{output}"), &cut, " --from 09:30:02");
        assert_eq!(names(&part), [a.clone(), b.clone()]);
        assert_eq!(manifest(&part)["anomalies"], json!({}));
        assert_eq!(manifest(&part)["gaps"], json!([]));
        for name in [a, b] {
            for at in ["09:30:02", "09:30:02.7", "09:30:03.123456789", "09:30:04"] {
                let (ours, wanted) = (book(&part, name, at), book(&whole, name, at));
                assert_eq!(ours["bids"], wanted["bids"], "{name} at {at}");
                assert_eq!(ours["asks"], wanted["asks"], "{name} at {at}");
                assert_eq!(ours["phase"], wanted["phase"], "{name} at {at}");
                assert!(
                    !ours["bids"].as_array().unwrap().is_empty(),
                    "{name} at {at}"
                );
            }
        }
        // What is concluded from then on is what the whole concludes.
        let bounds = format!(" --from 09:30:02 --to 09:30:04 --symbols {a},{b}");
        let bounded = replay(&folder, &format!("bounded-{output}"), &capture, &bounds);
        for name in [a, b] {
            for what in ["trades", "volume", "notional_e9", "vwap", "bid", "ask"] {
                let (ours, wanted) = (symbol(&part, name), symbol(&bounded, name));
                assert_eq!(ours[what], wanted[what], "{name}: {what}");
            }
        }
    }
}

#[test]
fn a_converted_capture_has_the_digest_of_the_first() {
    let _alone = alone();
    let folder = Folder::quick("convert");
    let capture = session(&folder, "");
    let first = replay(&folder, "first", &capture, "");
    let mut from = capture;
    // From one to the next: lines together, into a file of messages, and back into packets.
    for output in ["a.pcap.gz", "b.itch", "c.pcap"] {
        let to = folder.join(output);
        run("convert -q --date 2026-01-05 -o", &[&to, &from]).expect(0);
        let again = replay(&folder, &format!("of-{output}"), &to, "");
        assert_eq!(
            manifest(&again)["digest"],
            manifest(&first)["digest"],
            "{output}"
        );
        from = to;
    }
    let leftovers = std::fs::read_dir(folder.join("")).unwrap();
    let leftovers = leftovers.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".part")
    });
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn what_was_lost_on_every_line_is_lost_in_what_is_made_of_it() {
    let _alone = alone();
    let folder = Folder::quick("convert-lost");
    let capture = session(&folder, " --drop-both 2");
    let lost = |run: &Path| manifest(run)["counts"]["lost_messages"].clone();
    let first = replay(&folder, "first", &capture, "");
    let to = folder.join("again.pcap");
    let said = run("--json convert -o", &[&to, &capture])
        .expect(0)
        .says(&["lost on every line"])
        .json();
    let again = replay(&folder, "again", &to, "");
    assert!(lost(&first).as_u64().unwrap() > 0);
    assert_eq!(lost(&again), lost(&first));
    assert_eq!(said["lost"], lost(&first));
}

#[test]
fn what_cannot_be_cut_or_written_is_said_in_a_line() {
    let _alone = alone();
    let folder = Folder::quick("slice-lines");
    let capture = session(&folder, "");
    let check = |text: &str, output: &str, input: &Path, code, says: &str| {
        let ended = run(text, &[&folder.join(output), input]).expect(code);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        ended.says(&[says]);
    };
    check("convert -o", "x.txt", &capture, 2, ".pcap or .itch");
    check("convert -o", "session.pcap.zst", &capture, 2, "--force");
    let over = "convert --force -o";
    check(
        over,
        "session.pcap.zst",
        &capture,
        2,
        "would be written over",
    );
    let early = "slice -q --from 10:00 --until 09:00 -o";
    check(early, "x.pcap", &capture, 2, "--from is after --until");
    check(
        "slice -q --until 01:00 -o",
        "x.pcap",
        &capture,
        3,
        "no message",
    );
    check("convert -o", "no/where.pcap", &capture, 5, "where.pcap");
    let text = folder.write(
        "TEST_2012-06-21_1_2_message_1.csv",
        "34200.1,1,5,10,1000000,1\n",
    );
    check("convert -o", "x.pcap", &text, 3, "only ITCH");
    let slice = "slice --symbols NOSUCH -o";
    let to = folder.join("y.pcap");
    let ended = run(slice, &[&to, &capture]).expect(3);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    ended.says(&["NOSUCH: no such symbol in the input"]);
    assert!(!to.exists(), "nothing is written");
    run("slice --from 23:00 -o", &[&to, &capture])
        .expect(0)
        .says(&["the input ends at ", "before --from"]);
    let undated = "an ITCH file has no date";
    let said = run("convert -o", &[&folder.join("undated.itch"), &capture]).expect(0);
    said.says(&[undated, "--date 20"]);
    let date = manifest(&replay(&folder, "dated", &capture, ""))["date"].clone();
    let dated = format!("cut-{}.itch", date.as_str().unwrap());
    let said = run("convert -o", &[&folder.join(&dated), &capture]).expect(0);
    assert!(!said.stderr.contains(undated), "{}", said.stderr);
}

/// The actions and flags of a DBN file's records.
fn records(file: &Path) -> Vec<(char, u8)> {
    let bytes = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    let metadata = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let (records, rest) = bytes[8 + metadata..].as_chunks::<56>();
    assert!(rest.is_empty());
    let all = records
        .iter()
        .map(|record| (char::from(record[38]), record[36]));
    all.collect()
}

#[test]
fn books_of_a_dbn_file_are_those_of_the_capture_it_was_made_of() {
    let _alone = alone();
    let folder = Folder::quick("dbn");
    let capture = session(&folder, "");
    let dbn = folder.join("session.dbn.zst");
    let convert = "--json convert --date 2026-01-05 -o";
    let said = run(convert, &[&dbn, &capture]).expect(0).json();
    let records = records(&dbn);
    assert_eq!(said["records"], records.len());
    assert_eq!((&said["left_out"], &said["wrong"]), (&json!(0), &json!(0)));
    let count = |action| records.iter().filter(|record| record.0 == action).count();
    assert!(count('A') > 1_000 && count('T') > 100, "{said}");
    assert!(count('F') > 50 && count('T') >= count('F') && count('C') > count('F'));
    // A trade and a fill never end what goes on with the order's change.
    for pair in records.windows(2) {
        let is_last = pair[0].1 & 0x80 != 0;
        match pair[0].0 {
            'F' => assert!(!is_last && pair[1].0 == 'C'),
            'T' => assert_eq!(is_last, pair[1].0 != 'F'),
            _ => {}
        }
    }
    assert_eq!(records.last().unwrap().1, 0x80);

    let (whole, again) = (
        replay(&folder, "whole", &capture, ""),
        replay(&folder, "again", &dbn, ""),
    );
    assert_eq!(manifest(&again)["anomalies"], json!({}));
    let all = names(&whole);
    assert_eq!(all.len(), 8);
    for name in &all {
        for at in ["09:30:01.5", "09:30:03", "09:30:05.9"] {
            let (one, other) = (book(&whole, name, at), book(&again, name, at));
            for side in ["bids", "asks"] {
                assert!(one[side].as_array().unwrap().len() > 3);
                assert_eq!(one[side], other[side], "{name} {at} {side}");
            }
        }
        let (one, other) = (symbol(&whole, name), symbol(&again, name));
        for key in ["bid", "ask", "trades", "volume", "vwap"] {
            assert_eq!(one[key], other[key], "{name} {key}");
        }
    }

    // What is there, and what is read, is not written over.
    let refused = run(convert, &[&dbn, &capture]).expect(2);
    refused.says(&["exists; --force overwrites it"]);
    let refused = run("convert --force -o", &[&dbn, &dbn]).expect(2);
    refused.says(&["is read, and would be written over"]);
    let refused = run("convert -o", &[&folder.join("x.dbn"), &dbn]).expect(3);
    refused.says(&["is DBN, and DBN is written of ITCH, LOBSTER and PITCH only"]);
}

#[test]
fn lobster_becomes_dbn_and_what_has_no_order_is_left_out() {
    let _alone = alone();
    let folder = Folder::quick("dbn-lobster");
    let lines = "34200.1,1,7,100,5859100,-1
34200.2,1,8,50,5859000,1
34200.3,1,9,60,5859000,1
34200.4,4,8,20,5859000,1
34200.5,2,7,10,5859100,-1
34200.6,3,5,10,5859100,-1
34200.7,5,0,10,5859050,1
";
    let file = folder.write("AAPL_2012-06-21_34200000_57600000_message_1.csv", lines);
    let dbn = folder.join("x.dbn.zst");
    let said = run("--json convert --date 2012-06-21 -o", &[&dbn, &file]);
    let said = said.expect(0).json();
    assert_eq!(
        (&said["records"], &said["left_out"]),
        (&json!(8), &json!(1))
    );
    let actions: String = records(&dbn).iter().map(|record| record.0).collect();
    assert_eq!(actions, "AAATFCCT");
    let again = folder.join("again");
    let config = folder.write("small.toml", SMALL);
    let mut args = words("replay -q --date 2012-06-21 -c");
    args.extend(
        [
            config.as_os_str(),
            "-o".as_ref(),
            again.as_os_str(),
            dbn.as_os_str(),
        ]
        .map(OsString::from),
    );
    tapeline(args).expect(0);
    let found = symbol(&again, "AAPL");
    assert_eq!(found["bid"], json!(["585.90", 90]));
    assert_eq!(found["ask"], json!(["585.91", 90]));
    assert_eq!(
        (&found["trades"], &found["volume"]),
        (&json!(2), &json!(30))
    );
}

#[test]
fn events_of_any_capture_become_rows() {
    let _alone = alone();
    let folder = Folder::quick("events");
    let lines = r#"1618677817.1: {"type":"snapshot","product_id":"BTC-USD","asks":[["11.5","1.25"]],"bids":[["10","2"]]}
1618677817.2: {"type":"l2update","product_id":"BTC-USD","changes":[["sell","11.5","0"]],"time":"2021-04-17T16:43:37.075687Z"}
"#;
    let file = folder.write("lines.json", lines);
    let table = folder.join("events.parquet");
    let said = run("--json convert -o", &[&table, &file]).expect(0).json();
    // Its name, two levels that come, and one that goes.
    assert_eq!(said["records"], 4);
    let bytes = std::fs::read(&table).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    let refused = run("convert -o", &[&folder.join("x.dbn"), &file]).expect(3);
    refused.says(&["is Coinbase, and DBN is written of ITCH, LOBSTER and PITCH only"]);
    let left: Vec<_> = std::fs::read_dir(file.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
