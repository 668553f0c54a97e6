//! Real captures, held against what other decoders say of them and against plain books.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus::{Event, Kind};
use feed::arbiter::GapRule;
use feed::inspect::{Report, inspect};
use feed::protocol::{Fault, Mdp3, Wire};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

use crate::make::Feed;
use crate::random::Queues;

/// The folder of CME's captures.
pub(crate) fn data(test: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data/cme-mdp3"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {test}: there is no folder shared/data here or above");
    }
    found
}

pub(crate) fn open(path: &Path) -> Capture {
    let files = [path.to_path_buf()];
    let mut capture = Capture::open(&files, CaptureOptions::default()).unwrap();
    assert_eq!(capture.wire().unwrap(), Wire::Mdp3, "{}", path.display());
    capture
}

pub(crate) fn survey(path: &Path) -> Report {
    inspect(&mut open(path), Mdp3::new(), GapRule::default()).unwrap()
}

/// All messages of a capture, without their sizes, with their packet's send time: those of both feeds.
pub(crate) fn messages(path: &Path) -> Vec<(u64, u16, Vec<u8>)> {
    let (mut capture, mut all) = (open(path), Vec::new());
    loop {
        match capture.poll().unwrap() {
            Polled::Packet(packet) => {
                let Framing::Mdp3(port) = packet.framing else {
                    panic!("{:?}", packet.framing);
                };
                let sent = u64::from_le_bytes(packet.payload[4..12].try_into().unwrap());
                let mut rest = &packet.payload[12..];
                while !rest.is_empty() {
                    let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
                    all.push((sent, port, rest[2..len].to_vec()));
                    rest = &rest[len..];
                }
            }
            Polled::End => return all,
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

/// Everything that two decoders say of a capture: templates, times, sessions, instruments; trades, lots
/// and their average price by instrument. The counts are of both feeds together.
#[test]
fn captures_meet_their_truth() {
    let Some(data) = data("captures_meet_their_truth") else {
        return;
    };
    for name in [
        "CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst",
        "CME_MDP3_v8_20160927_SessionStatistics_356pkts.pcap",
        "CME_MDP3_v9_20180912_100pkts.pcap",
    ] {
        let path = data.join(name);
        let truth = name.split('.').next().unwrap().to_string() + ".truth.json";
        let truth = std::fs::read_to_string(data.join(truth)).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
        let all = messages(&path);
        let report = survey(&path);
        assert_eq!(
            report.packets,
            truth["udp_packets"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            all.len() as u64,
            truth["messages_total"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            (report.not_moldudp64, report.refused, report.troubles),
            (0, 0, 0),
            "{name}"
        );
        let times = all.iter().map(|(sent, ..)| *sent);
        assert_eq!(
            times.clone().min(),
            truth["first_sending_time_ns"].as_u64(),
            "{name}"
        );
        assert_eq!(
            times.max(),
            truth["last_sending_time_ns"].as_u64(),
            "{name}"
        );
        assert_eq!(
            report.symbols as u64,
            truth["distinct_security_ids"].as_u64().unwrap(),
            "{name}"
        );
        let wanted = |field: &str| -> BTreeMap<String, u64> {
            let counts = truth[field].as_object().unwrap().iter();
            counts
                .map(|(key, count)| (key.clone(), count.as_u64().unwrap()))
                .collect()
        };
        let lines = report.lines.iter();
        let packets: BTreeMap<String, u64> = lines
            .map(|(line, stats)| (line.name.clone(), stats.packets))
            .collect();
        assert_eq!(packets, wanted("packets_by_destination"), "{name}");
        let skips = report.lines.iter().filter(|(_, stats)| stats.gap_count > 0);
        let skips: BTreeMap<String, u64> = skips
            .map(|(line, stats)| (line.name.clone(), stats.gap_count))
            .collect();
        assert_eq!(
            skips,
            wanted("sequence_discontinuities_by_destination"),
            "{name}"
        );
        let mut versions: BTreeMap<String, u64> = BTreeMap::new();
        let mut ids: BTreeMap<String, u64> = BTreeMap::new();
        let mut trades: BTreeMap<String, (u64, i64, i128)> = BTreeMap::new();
        let mut names = BTreeMap::new();
        let mut feed = Feed::new();
        for (_, port, message) in &all {
            let id = u16::from_le_bytes([message[2], message[3]]);
            *ids.entry(id.to_string()).or_default() += 1;
            let version = u16::from_le_bytes([message[6], message[7]]);
            *versions.entry(version.to_string()).or_default() += 1;
            feed.port = *port;
            let (events, result) = feed.hear(message);
            match result {
                Ok(()) => {}
                // Packets were left out of that capture, and so were numbers of instruments.
                Err(Fault::Missed { .. }) if name.contains("_356pkts") => {}
                Err(fault) => panic!("{name}: {fault}"),
            }
            for event in events {
                if event.kind == Kind::Symbol {
                    let text = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
                    names.insert(event.symbol, text.trim_end().to_string());
                }
                if event.code == b'T' && event.kind != Kind::Symbol {
                    let entry = trades.entry(names[&event.symbol].clone()).or_default();
                    entry.0 += 1;
                    entry.1 += event.qty.0;
                    entry.2 += i128::from(event.price.0) * i128::from(event.qty.0);
                }
            }
        }
        assert_eq!(ids, wanted("raw_template_id_counts"), "{name}");
        assert_eq!(versions, wanted("sbe_header_versions"), "{name}");
        for (security, wanted) in truth["trade_summary_by_security_id"].as_object().unwrap() {
            let (entries, lots, notional) = trades[security];
            assert_eq!(
                entries,
                wanted["entries"].as_u64().unwrap(),
                "{name} {security}"
            );
            assert_eq!(
                lots,
                wanted["volume"].as_i64().unwrap(),
                "{name} {security}"
            );
            let vwap = notional as f64 / lots as f64 / 1e9;
            let by = (vwap - wanted["vwap_raw"].as_f64().unwrap()).abs();
            assert!(by < 1e-9, "{name} {security}: VWAP {vwap}");
        }
    }
}

/// Both feeds of a channel are one stream of 5,000 packets, which each brings whole.
#[test]
fn two_feeds_are_one_channel() {
    let Some(data) = data("two_feeds_are_one_channel") else {
        return;
    };
    let report = survey(&data.join("CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst"));
    let [session] = &report.sessions[..] else {
        panic!("{:?}", report.sessions);
    };
    assert_eq!((session.messages, session.lost), (5_000, 0));
    assert_eq!((session.first, session.next), (Some(5_615), 10_615));
    assert_eq!(report.lines.len(), 2);
    for (line, stats) in &report.lines {
        assert_eq!((stats.packets, stats.missing), (5_000, 0), "{}", line.name);
    }
    assert_eq!(report.messages, 20_546 / 2);
    assert_eq!(report.symbols, 127);
    assert_eq!(report.anomalies.total(), 0);
    let channels = survey(&data.join("CME_MDP3_v9_20180912_100pkts.pcap")).sessions;
    assert_eq!(channels.len(), 9);
    assert!(channels.iter().all(|channel| channel.lost == 0));
}

/// The books of levels of a real session, after each message, are those of lists by place.
#[test]
fn real_levels_are_those_of_a_plain_list() {
    let Some(data) = data("real_levels_are_those_of_a_plain_list") else {
        return;
    };
    let path = data.join("CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst");
    let mut feed = Feed::new();
    let mut queues = Queues::default();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut plain: BTreeMap<(i32, u8), Vec<(i64, i64)>> = BTreeMap::new();
    let mut checked = 0;
    for (_, _, message) in messages(&path)
        .iter()
        .filter(|(_, port, _)| *port == 14_340)
    {
        for event in feed.take(message).unwrap() {
            if event.kind == Kind::Symbol {
                let text = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
                numbers.insert(text.trim_end().to_string(), event.symbol);
            }
            queues.apply_if_shown(&event);
        }
        if u16::from_le_bytes([message[2], message[3]]) != 32 {
            continue;
        }
        let mut touched = std::collections::BTreeSet::new();
        let at = 8 + usize::from(u16::from_le_bytes([message[0], message[1]]));
        let each = usize::from(u16::from_le_bytes([message[at], message[at + 1]]));
        for entry in message[at + 3..]
            .chunks_exact(each)
            .take(message[at + 2].into())
        {
            let int = |at: usize| i32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            let price = i64::from_le_bytes(entry[..8].try_into().unwrap());
            let (size, security) = (i64::from(int(8)), int(12));
            let (place, action, letter) = (usize::from(entry[24]) - 1, entry[25], entry[26]);
            if !matches!(letter, b'0' | b'1') {
                continue;
            }
            let list = plain.entry((security, letter)).or_default();
            match action {
                0 => {
                    list.resize(list.len().max(place), (0, 0));
                    list.insert(place, (price, size));
                    list.truncate(10);
                }
                1 | 5 => {
                    list.resize(list.len().max(place + 1), (0, 0));
                    list[place] = (price, size);
                }
                2 if place < list.len() => {
                    list.remove(place);
                }
                2 => {}
                other => panic!("action {other}"),
            }
            touched.insert((security, letter));
        }
        for (security, letter) in touched {
            let list = &plain[&(security, letter)];
            let symbol = numbers[&security.to_string()];
            let key = (symbol, letter - b'0' + 1);
            let shown = list.iter().filter(|(price, _)| *price > 0);
            let mut want: Vec<(i64, i64)> =
                shown.map(|(price, size)| (price * 100, *size)).collect();
            want.sort_unstable();
            plain_check(&mut checked, &queues, key, want);
        }
    }
    println!("{checked} books were compared");
    assert!(checked > 4_000);
}

impl Queues {
    /// As `apply`, for a book of levels.
    pub(crate) fn apply_if_shown(&mut self, event: &Event) {
        if matches!(event.kind, Kind::Add | Kind::Replace | Kind::Delete) {
            self.apply(event);
        }
    }
}

pub(crate) fn plain_check(
    checked: &mut u64,
    queues: &Queues,
    (symbol, side): (u32, u8),
    want: Vec<(i64, i64)>,
) {
    let all = queues
        .queues
        .range((symbol, side, i64::MIN)..=(symbol, side, i64::MAX));
    let shown = all.filter_map(|((_, _, price), ids)| {
        let [id] = ids[..] else {
            assert!(ids.is_empty());
            return None;
        };
        Some((*price, queues.orders[&id].3))
    });
    assert_eq!(shown.collect::<Vec<_>>(), want);
    *checked += 1;
}

/// Real packets, a template each.
#[test]
fn single_packets_of_each_template_are_read() {
    let Some(data) = data("single_packets_of_each_template_are_read") else {
        return;
    };
    let mut types: BTreeMap<char, u64> = BTreeMap::new();
    for folder in ["Mdp3.Sbe.v1.5", "Mdp3.Sbe.v1.9"] {
        for file in std::fs::read_dir(data.join("omi-packets").join(folder)).unwrap() {
            let path = file.unwrap().path();
            let report = survey(&path);
            assert_eq!(report.anomalies.total(), 0, "{}", path.display());
            for (code, count) in report.by_type.iter().enumerate().filter(|(_, n)| **n > 0) {
                *types.entry(code as u8 as char).or_default() += count;
            }
            if path.ends_with("MdInstrumentDefinitionSpread.pcap") {
                let names = report.busiest.iter().map(|busy| &busy.name[..]);
                assert_eq!(
                    names.collect::<Vec<_>>(),
                    ["10123", "7978", "ESU6", "8036", "ESZ5"]
                );
            }
        }
    }
    let found: String = types.keys().collect();
    assert_eq!(found, "BCFOSTV");
}
