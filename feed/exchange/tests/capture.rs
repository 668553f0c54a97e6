//! Files of a session: what is in the packets, and what the impairments do to them.

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use exchange::{CaptureOptions, ItchOptions, OPEN_NS, Session, Truth, run, write_itch, write_pcap};
use reference::number;
use reference::pcap::{Packet, packets, read};

fn session() -> Session {
    Session {
        symbols: 20,
        seconds: 2,
        rate: 20_000,
        seed: 11,
        ..Session::default()
    }
}

/// A path of its own for each test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("exchange-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn messages(session: &Session) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    run(session, &mut |_, message| {
        all.push(message.to_vec());
        Ok(())
    })
    .unwrap();
    all
}

fn capture(name: &str, options: &CaptureOptions) -> (Truth, Vec<Packet>) {
    let scratch = Scratch::new(name);
    let truth = write_pcap(&session(), &scratch.0, options).unwrap();
    (truth, packets(&read(&scratch.0)))
}

/// First copy wins, by sequence number.
fn union(packets: &[Packet]) -> BTreeMap<u64, Vec<u8>> {
    let mut union = BTreeMap::new();
    for packet in packets {
        for (index, message) in packet.messages.iter().enumerate() {
            let sequence = packet.sequence + index as u64;
            let first = union.entry(sequence).or_insert_with(|| message.clone());
            assert_eq!(first, message, "all copies of {sequence} are equal");
        }
    }
    union
}

/// The packets of one line that carry messages.
fn data(packets: &[Packet], line: usize) -> Vec<&Packet> {
    packets
        .iter()
        .filter(|p| p.line == line && !p.messages.is_empty())
        .collect()
}

#[test]
fn without_impairments_both_lines_carry_all_in_order() {
    let (truth, packets) = capture("plain.pcap", &CaptureOptions::default());
    let all = messages(&session());
    assert_eq!(truth.messages, all.len() as u64);
    assert!(truth.lost.is_empty() && truth.lost_symbols.is_empty());
    for line in [0, 1] {
        let mut next = 1;
        for packet in packets.iter().filter(|packet| packet.line == line) {
            assert_eq!(packet.sequence, next);
            for message in &packet.messages {
                assert_eq!(*message, all[next as usize - 1]);
                next += 1;
            }
        }
        assert_eq!(next, truth.messages + 1);
    }
}

#[test]
fn captured_microseconds_after_the_exchange_and_a_before_b() {
    let (_, packets) = capture("times.pcap", &CaptureOptions::default());
    let midnight_ns = session().date.midnight_unix_ns();
    let mut lags_ns = Vec::new();
    let (a, b) = (data(&packets, 0), data(&packets, 1));
    for (a, b) in a.iter().zip(&b) {
        let last = a.messages.last().unwrap();
        let sent_ns = midnight_ns + number(last, 5, 6);
        assert!(
            (8_000..60_000).contains(&(a.unix_ns - sent_ns)),
            "{}",
            a.unix_ns - sent_ns
        );
        lags_ns.push(b.unix_ns as i64 - a.unix_ns as i64);
        let first_ns = number(&a.messages[0], 5, 6);
        assert!(
            number(last, 5, 6) - first_ns <= 50_000,
            "held for at most 50 microseconds"
        );
    }
    lags_ns.sort_unstable();
    assert!((2_000..6_000).contains(&lags_ns[lags_ns.len() / 2]));
}

#[test]
fn silence_has_heartbeats_and_the_end_is_said_more_than_once() {
    let (truth, packets) = capture("ends.pcap", &CaptureOptions::default());
    for line in [0, 1] {
        let of_line: Vec<&Packet> = packets
            .iter()
            .filter(|packet| packet.line == line)
            .collect();
        let ends: Vec<_> = of_line
            .iter()
            .rev()
            .take_while(|p| p.count == 0xffff)
            .collect();
        assert_eq!(ends.len(), 5);
        assert!(ends.iter().all(|end| end.sequence == truth.messages + 1));
        let longest_ns = of_line
            .windows(2)
            .map(|pair| pair[1].unix_ns - pair[0].unix_ns)
            .max();
        assert!(
            longest_ns.unwrap() < 250_100_000,
            "never silent for longer than promised"
        );
        let open_ns = session().date.midnight_unix_ns() + OPEN_NS;
        assert!(
            of_line
                .iter()
                .any(|packet| packet.count == 0 && packet.unix_ns < open_ns)
        );
    }
}

#[test]
fn losses_are_independent_but_never_of_the_same_packet() {
    let options = CaptureOptions {
        loss_a: 0.05,
        loss_b: 0.05,
        seed: 3,
        ..Default::default()
    };
    let (truth, packets) = capture("loss.pcap", &options);
    let whole = data(&capture("whole.pcap", &CaptureOptions::default()).1, 0).len() as f64;
    for line in [0, 1] {
        let lost = 1.0 - data(&packets, line).len() as f64 / whole;
        assert!((0.03..0.07).contains(&lost), "line {line} lost {lost}");
    }
    assert!(truth.lost.is_empty());
    assert!(union(&packets).into_values().eq(messages(&session())));
}

#[test]
fn line_a_alone_is_had_by_losing_all_of_b() {
    let options = CaptureOptions {
        loss_b: 1.0,
        ..Default::default()
    };
    let (_, packets) = capture("alone.pcap", &options);
    assert!(data(&packets, 1).is_empty());
    assert!(union(&packets).into_values().eq(messages(&session())));
}

#[test]
fn packets_dropped_on_both_lines_are_in_the_truth() {
    let drop_both = vec![30_000, 5_000, 5_001, 12_345];
    let options = CaptureOptions {
        drop_both,
        loss_a: 0.05,
        loss_b: 0.05,
        ..Default::default()
    };
    let (truth, packets) = capture("both.pcap", &options);
    let all = messages(&session());
    let union = union(&packets);
    let lost: Vec<u64> = (1..=truth.messages)
        .filter(|s| !union.contains_key(s))
        .collect();
    assert!(
        [5_000, 5_001, 12_345, 30_000]
            .iter()
            .all(|sequence| lost.contains(sequence))
    );
    let told: Vec<u64> = truth
        .lost
        .iter()
        .flat_map(|&[first, last]| first..=last)
        .collect();
    assert_eq!(lost, told);
    let locates: BTreeSet<u64> = lost
        .iter()
        .map(|&sequence| number(&all[sequence as usize - 1], 1, 2))
        .collect();
    let is_lost = |locate: u16| locates.contains(&u64::from(locate));
    let symbols = truth.symbols.iter().filter(|symbol| is_lost(symbol.locate));
    assert!(symbols.map(|symbol| &symbol.symbol).eq(&truth.lost_symbols));
    let whole = run(&session(), &mut |_, _| Ok(())).unwrap();
    assert_eq!(
        truth.symbols, whole.symbols,
        "the exchange knows what nobody received"
    );
}

#[test]
fn duplicates_are_as_many_as_asked_for() {
    let options = CaptureOptions {
        duplicate: 0.1,
        ..Default::default()
    };
    let (truth, packets) = capture("double.pcap", &options);
    for line in [0, 1] {
        let of_line = data(&packets, line);
        let sequences: BTreeSet<u64> = of_line.iter().map(|packet| packet.sequence).collect();
        let share = of_line.len() as f64 / sequences.len() as f64 - 1.0;
        assert!((0.07..0.13).contains(&share), "line {line}: {share}");
    }
    assert_eq!(union(&packets).len() as u64, truth.messages);
}

#[test]
fn reordered_packets_are_overtaken_by_no_more_than_asked_for() {
    let options = CaptureOptions {
        reorder: 8,
        ..Default::default()
    };
    let (truth, packets) = capture("reorder.pcap", &options);
    for line in [0, 1] {
        let of_line: Vec<u64> = data(&packets, line)
            .iter()
            .map(|packet| packet.sequence)
            .collect();
        let mut by_sequence = of_line.clone();
        by_sequence.sort_unstable();
        let mut displaced = 0;
        for (place, sequence) in of_line.iter().enumerate() {
            let later = of_line[..place]
                .iter()
                .filter(|other| *other > sequence)
                .count();
            // Others that are displaced too can be among those that overtake.
            assert!(later <= 8, "overtaken by {later}");
            displaced += usize::from(later > 0);
        }
        let share = displaced as f64 / of_line.len() as f64;
        assert!((0.03..0.07).contains(&share), "line {line}: {share}");
    }
    assert_eq!(union(&packets).len() as u64, truth.messages);
}

#[test]
fn all_impairments_at_once_leave_the_union_whole() {
    for seed in 1..4 {
        let options = CaptureOptions {
            loss_a: 0.05,
            loss_b: 0.05,
            duplicate: 0.01,
            reorder: 8,
            seed,
            ..Default::default()
        };
        let (_, packets) = capture("all.pcap", &options);
        assert!(union(&packets).into_values().eq(messages(&session())));
        for line in [0, 1] {
            assert!(
                packets
                    .iter()
                    .any(|packet| packet.line == line && packet.count == 0xffff)
            );
        }
    }
}

#[test]
fn equal_options_give_equal_files_and_compression_changes_only_the_file() {
    let options = CaptureOptions {
        loss_a: 0.02,
        reorder: 4,
        seed: 5,
        ..Default::default()
    };
    let files = ["same.pcap", "same.pcap.gz", "same.pcap.zst"].map(Scratch::new);
    for file in &files {
        write_pcap(&session(), &file.0, &options).unwrap();
    }
    let [plain, gzip, zstd] = files.each_ref().map(|file| read(&file.0));
    assert!(plain == gzip && plain == zstd);
    let sizes = files
        .each_ref()
        .map(|file| std::fs::metadata(&file.0).unwrap().len());
    assert!(
        sizes[1] < sizes[0] * 2 / 3 && sizes[2] < sizes[0] * 2 / 3,
        "{sizes:?}"
    );
}

#[test]
fn a_file_of_records_holds_the_messages() {
    for (name, end_record) in [("open.itch", false), ("closed.itch.gz", true)] {
        let scratch = Scratch::new(name);
        write_itch(&session(), &scratch.0, &ItchOptions { end_record }).unwrap();
        let bytes = read(&scratch.0);
        let mut rest = &bytes[..];
        for message in messages(&session()) {
            assert_eq!(number(rest, 0, 2) as usize, message.len());
            assert_eq!(rest[2..2 + message.len()], message);
            rest = &rest[2 + message.len()..];
        }
        assert_eq!(rest, if end_record { &[0u8, 0][..] } else { &[] });
    }
}

#[test]
fn what_cannot_be_is_refused_before_a_file_is_touched() {
    let scratch = Scratch::new("kept.pcap");
    std::fs::write(&scratch.0, "kept").unwrap();
    let fault = |session: &Session, options: &CaptureOptions| {
        let fault = write_pcap(session, &scratch.0, options).unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(std::fs::read_to_string(&scratch.0).unwrap(), "kept");
        fault.to_string()
    };
    let sound = CaptureOptions::default;
    assert_eq!(
        fault(
            &session(),
            &CaptureOptions {
                loss_a: 1.5,
                ..sound()
            }
        ),
        "capture: loss_a is 1.5, want a probability from 0 to 1"
    );
    fault(
        &session(),
        &CaptureOptions {
            duplicate: f64::NAN,
            ..sound()
        },
    );
    fault(
        &session(),
        &CaptureOptions {
            reorder: 5000,
            ..sound()
        },
    );
    fault(
        &session(),
        &CaptureOptions {
            heartbeat_ns: 0,
            ..sound()
        },
    );
    fault(
        &session(),
        &CaptureOptions {
            groups: ["10.0.0.1:1".parse().unwrap(); 2],
            ..sound()
        },
    );
    fault(
        &Session {
            symbols: 0,
            ..session()
        },
        &sound(),
    );
}
