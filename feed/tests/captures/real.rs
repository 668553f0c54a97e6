//! Real captures of several venues, with counts by other decoders. The folder is not part of the
//! project: without it these tests say that they skip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use feed::source::capture::{Counts, Resolution};
use feed::source::{Capture, CaptureOptions, Polled, Source};

/// The folder of captures beside the project, if there is one.
pub(crate) fn data() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here
        .ancestors()
        .map(|folder| folder.join("shared/data"))
        .find(|p| p.is_dir());
    if found.is_none() {
        println!("skipped: no folder shared/data beside the project");
    }
    found
}

struct Seen {
    counts: Counts,
    packets_by_line: BTreeMap<String, u64>,
    troubles: Vec<String>,
    resolution: Option<Resolution>,
}

fn see(path: &Path) -> Seen {
    let mut capture = Capture::open(&[path.into()], CaptureOptions::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut by_line = Vec::new();
    let mut troubles = Vec::new();
    loop {
        match capture.poll().unwrap_or_else(|error| panic!("{error}")) {
            Polled::Packet(packet) => {
                let line = usize::from(packet.line);
                by_line.resize(by_line.len().max(line + 1), 0);
                by_line[line] += 1;
            }
            Polled::Trouble(trouble) => troubles.push(trouble.what),
            Polled::Empty => panic!("a capture never says that it is empty for now"),
            Polled::End => break,
        }
    }
    let names = capture.lines().iter().map(|line| line.name.clone());
    Seen {
        counts: capture.counts(),
        packets_by_line: names.zip(by_line).collect(),
        troubles,
        resolution: capture.files()[0]
            .interfaces
            .first()
            .map(|from| from.resolution),
    }
}

fn check(name: &str, want_packets: u64, want_trouble: Option<&str>) {
    let Some(data) = data() else { return };
    let seen = see(&data.join(name));
    assert_eq!(
        seen.counts.packets, want_packets,
        "{name}: {:?}",
        seen.counts
    );
    match want_trouble {
        None => assert!(seen.troubles.is_empty(), "{name}: {:?}", seen.troubles),
        Some(want) => {
            assert_eq!(seen.troubles.len(), 1, "{name}");
            assert!(
                seen.troubles[0].starts_with(want),
                "{name}: {:?}",
                seen.troubles
            );
        }
    }
}

#[test]
fn counts_are_those_of_other_decoders() {
    let deep = "iex/IEX_DEEP10_sample_20170425.truncated.pcap.gz";
    check(deep, 121_314, Some("cut record: "));
    check(
        "cme-mdp3/CME_MDP3_v8_20160927_SessionStatistics_356pkts.pcap",
        356,
        None,
    );
    check("cme-mdp3/CME_MDP3_v9_20180912_100pkts.pcap", 99, None);
    check(
        "other-venues/CBOE_Options_MarketLevel2_CSM_v1.0.4_20160112.pcap.zst",
        18_518,
        None,
    );
    check(
        "other-venues/NYSE_Imbalances_XDP_v2.1f_20170929.pcap.zst",
        11_819,
        None,
    );
    check(
        "other-venues/ICE_iMpact_v1.1.24_20160804.pcap.zst",
        530,
        None,
    );
    check(
        "other-venues/MIAX_ToM_MACH_v1.9_20161018.pcap.zst",
        20_560,
        None,
    );
}

#[test]
fn nanoseconds_are_seen_as_such() {
    let Some(data) = data() else { return };
    let seen = see(&data.join("other-venues/MIAX_ToM_MACH_v1.9_20161018.pcap.zst"));
    assert_eq!(seen.resolution, Some(Resolution::Decimal(9)));
}

#[test]
fn both_lines_of_a_feed_are_told_apart() {
    let Some(data) = data() else { return };
    let seen = see(&data.join("cme-mdp3/CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst"));
    let want = [
        ("224.0.31.64:14340".into(), 5_000),
        ("224.0.32.64:15340".into(), 5_000),
    ];
    assert_eq!(seen.packets_by_line, BTreeMap::from(want));
    assert!(seen.troubles.is_empty(), "{:?}", seen.troubles);
}

#[test]
fn every_capture_yields_packets() {
    let Some(data) = data() else { return };
    let mut folders = ["itch50", "iex", "cme-mdp3", "other-venues"]
        .map(|f| data.join(f))
        .to_vec();
    let mut seen_count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.contains(".pcap") {
                let seen = see(&path);
                seen_count += 1;
                // Order entry goes over TCP, and is passed over.
                let counts = seen.counts;
                assert!(
                    counts.packets + counts.not_udp == counts.records,
                    "{name}: {counts:?}"
                );
                let is_cut = name.contains(".truncated.");
                assert_eq!(
                    seen.troubles.len(),
                    usize::from(is_cut),
                    "{name}: {:?}",
                    seen.troubles
                );
                if counts.not_udp > 0 {
                    println!("{name}: {counts:?}");
                }
            }
        }
    }
    assert!(seen_count >= 140, "only {seen_count} captures");
}

#[test]
fn itch_files_come_whole() {
    let Some(data) = data() else { return };
    for (name, want_messages) in [
        (
            "itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst",
            42_258,
        ),
        (
            "itch50/RITCH_synthetic_20101224.lenfixed.itch50.zst",
            12_012,
        ),
        ("itch50/meatpy_synthetic_20msgs.itch50", 20),
    ] {
        let options = CaptureOptions {
            itch_messages_max: 1,
            ..CaptureOptions::default()
        };
        let mut capture = Capture::open(&[data.join(name)], options).unwrap();
        let mut messages = 0;
        loop {
            match capture.poll().unwrap() {
                Polled::Packet(_) => messages += 1,
                Polled::End => break,
                Polled::Trouble(trouble) => panic!("{name}: {trouble:?}"),
                Polled::Empty => panic!("a capture never says that it is empty for now"),
            }
        }
        assert_eq!(messages, want_messages, "{name}");
    }
}

#[test]
fn an_itch_file_of_zero_lengths_is_refused() {
    let Some(data) = data() else { return };
    let path = data.join("itch50/RITCH_synthetic_20101224.orig-zero-lengths.itch50.gz");
    let error = Capture::open(&[path], CaptureOptions::default()).unwrap_err();
    assert_eq!(error.offset_bytes, Some(0));
    assert!(
        error.what.ends_with("message length 0, want 11 to 64"),
        "{error}"
    );
    // Nor are files of another venue's own format taken for ITCH.
    let path = data.join("other-venues/micex-fast/increment_a.dat.zst");
    let error = Capture::open(&[path], CaptureOptions::default()).unwrap_err();
    assert!(error.what.starts_with("starts with c0 f8 e0 ca"), "{error}");
}
