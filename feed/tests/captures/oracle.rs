//! Real and made captures as `pcap-parser` reads them: the same packets at the same times.

use std::io::Read;
use std::path::{Path, PathBuf};

use feed::link;
use feed::source::{Capture, CaptureOptions, Polled, Source};
use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader};

use super::make::{Folder, Pcapng, Random, frame};

type Packets = Vec<(Option<i64>, Vec<u8>)>;

fn ours(path: &Path) -> Packets {
    let mut capture = Capture::open(&[path.into()], CaptureOptions::default()).unwrap();
    let mut packets = Vec::new();
    loop {
        match capture.poll().unwrap() {
            Polled::Packet(packet) => {
                packets.push((packet.ts_recv.map(|ts| ts.0), packet.payload.to_vec()));
            }
            Polled::Trouble(_) => {}
            Polled::End => return packets,
            Polled::Empty => panic!("a capture never says that it is empty for now"),
        }
    }
}

fn theirs(path: &Path) -> Packets {
    let file = std::fs::read(path).unwrap();
    let mut bytes = Vec::new();
    match file[..4] {
        [0x1f, 0x8b, ..] => flate2::read::MultiGzDecoder::new(&file[..]).read_to_end(&mut bytes),
        [0x28, 0xb5, 0x2f, 0xfd] => zstd::stream::read::Decoder::new(&file[..])
            .unwrap()
            .read_to_end(&mut bytes),
        _ => (&file[..]).read_to_end(&mut bytes),
    }
    .unwrap();
    let is_nano = matches!(
        bytes[..4],
        [0x4d, 0x3c, 0xb2, 0xa1] | [0xa1, 0xb2, 0x3c, 0x4d]
    );
    let mut reader: Box<dyn PcapReaderIterator> = if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        Box::new(PcapNGReader::new(1 << 20, &bytes[..]).unwrap())
    } else {
        Box::new(LegacyPcapReader::new(1 << 20, &bytes[..]).unwrap())
    };
    let mut packets = Vec::new();
    // Link type, units in a second, offset.
    let mut interfaces: Vec<(u16, u128, i64)> = Vec::new();
    let mut add = |link_type: u16, ts: Option<i64>, frame: &[u8]| {
        if let Ok(udp) = link::udp(link_type, frame) {
            packets.push((ts, udp.payload.to_vec()));
        }
    };
    loop {
        let (used, block) = match reader.next() {
            Ok(next) => next,
            Err(PcapError::Incomplete(_)) => {
                reader.refill().unwrap();
                continue;
            }
            // At the end, in good order or not.
            Err(_) => return packets,
        };
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                interfaces.push((header.network.0 as u16, 0, 0))
            }
            PcapBlockOwned::Legacy(record) => {
                let unit_ns = if is_nano { 1 } else { 1_000 };
                let ns =
                    i64::from(record.ts_sec) * 1_000_000_000 + i64::from(record.ts_usec) * unit_ns;
                add(interfaces[0].0, Some(ns), record.data);
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(from)) => {
                let per_second = match from.if_tsresol {
                    unit if unit & 0x80 != 0 => 1 << (unit & 0x7f),
                    unit => 10u128.pow(unit.into()),
                };
                interfaces.push((from.linktype.0 as u16, per_second, from.if_tsoffset));
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let (link_type, per_second, offset_s) = interfaces[packet.if_id as usize];
                let units = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
                let ns = (units * 1_000_000_000 / per_second) as i64 + offset_s * 1_000_000_000;
                add(link_type, Some(ns), &packet.data[..packet.caplen as usize]);
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                add(
                    interfaces[0].0,
                    None,
                    &packet.data[..packet.origlen as usize],
                );
            }
            PcapBlockOwned::NG(_) => {}
        }
        reader.consume(used);
    }
}

fn check(path: &Path) -> usize {
    let (ours, theirs) = (ours(path), theirs(path));
    let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!(
        first,
        None,
        "{}: the first packet that differs",
        path.display()
    );
    assert_eq!(ours.len(), theirs.len(), "{}", path.display());
    ours.len()
}

#[test]
fn real_captures_read_as_by_another_parser() {
    let Some(data) = super::real::data() else {
        return;
    };
    let mut folders = ["itch50", "iex", "cme-mdp3", "other-venues"]
        .map(|f| data.join(f))
        .to_vec();
    let mut packets = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .contains(".pcap")
            {
                packets += check(&path);
            }
        }
    }
    assert!(packets > 190_000, "only {packets} packets");
}

#[test]
fn made_pcapngs_read_as_by_another_parser() {
    let folder = Folder::new();
    for seed in 1..=200 {
        let mut random = Random(seed);
        let mut file = Pcapng::new();
        for _ in 0..=random.below(3) {
            let is_big_endian = random.below(2) == 1;
            file = file.section(is_big_endian);
            let interfaces = 1 + random.below(4);
            for _ in 0..interfaces {
                let unit = [None, Some(9), Some(3), Some(0x80 | 30), Some(12)][random.below(5)];
                // pcap-parser 0.17 takes the offset for little-endian in either kind of section.
                let offset_s = random.below(100_000) as i64 - 50_000;
                file = file.interface(1, unit, if is_big_endian { 0 } else { offset_s });
            }
            for _ in 0..random.below(30) {
                let payload = vec![random.next() as u8; random.below(300)];
                let frame = frame(random.below(3) as u8, 5, &payload);
                let units = random.next() >> (24 + random.below(40));
                file = match random.below(8) {
                    0 => file.block(0xbad, &payload),
                    1 => file.simple_packet(&frame),
                    _ => file.packet(random.below(interfaces) as u32, units, &frame),
                };
            }
        }
        check(&folder.file("x", &file.bytes));
    }
}
