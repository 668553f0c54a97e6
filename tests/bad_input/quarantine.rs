//! What is not understood is kept.

use super::*;

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
