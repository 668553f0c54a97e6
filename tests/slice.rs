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
