//! Captures with bytes flipped, cut, doubled and put in: never a panic, and always an end.

use std::path::Path;

use feed::source::{Capture, CaptureOptions, Polled, Source};

use super::make::{Folder, Pcap, Pcapng, Random, frame, gzip, itch, zstd};

fn originals() -> Vec<Vec<u8>> {
    let pcap = |is_big_endian| {
        (0..8).fold(Pcap::new(is_big_endian, true, 4_096, 1), |pcap, ts| {
            pcap.record(ts * 10, &frame(ts as u8 % 2, 5, b"some payload here"))
        })
    };
    let pcapng = (0..4).fold(Pcapng::new(), |file, ts| {
        file.section(ts % 2 == 1)
            .interface(1, Some(9), 3)
            .interface(113, None, 0)
            .packet(0, ts * 7, &frame(1, 5, b"some payload here"))
            .obsolete_packet(0, ts * 8, &frame(1, 5, b"more"))
            .simple_packet(&frame(1, 5, b"still more"))
            .block(5, &[0; 20])
    });
    let itch = (0..40)
        .flat_map(|ts| itch(b"SADXEU"[ts as usize % 6], ts, 36))
        .collect();
    let lobster = (0..30)
        .flat_map(|line| format!("34200.{line},1,{line},100,5853300,1\n").into_bytes())
        .collect();
    let dbn = dbn(&[("ESH4", "17"), ("ESM4", "18")]);
    let binance = br#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"1.5","q":"2","m":true}
17 {"lastUpdateId":1,"bids":[["1","2"]],"asks":[]}
"#
    .to_vec();
    let mut all = vec![
        binance,
        pcap(false).bytes,
        pcap(true).bytes,
        pcapng.bytes,
        itch,
        lobster,
        dbn,
    ];
    let wrapped: Vec<Vec<u8>> = all
        .iter()
        .flat_map(|bytes| [gzip(bytes), zstd(bytes)])
        .collect();
    all.extend(wrapped);
    all
}

/// DBN of version 2 with these names and instruments, and some records.
fn dbn(mappings: &[(&str, &str)]) -> Vec<u8> {
    let symbol = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(71, 0);
        bytes
    };
    let mut body = vec![0; 16 + 2 + 24 + 3];
    body.extend(71u16.to_le_bytes());
    body.extend([0; 53 + 4 + 12]);
    body.extend((mappings.len() as u32).to_le_bytes());
    for (raw, instrument) in mappings {
        body.extend(symbol(raw));
        body.extend(1u32.to_le_bytes());
        body.extend(20_231_225u32.to_le_bytes());
        body.extend(20_231_226u32.to_le_bytes());
        body.extend(symbol(instrument));
    }
    let mut bytes = b"DBN\x02".to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    for instrument in [17, 18, 19, 17] {
        let mut record = vec![14, 0xa0, 1, 0, instrument, 0, 0, 0];
        record.resize(56, 1);
        bytes.extend(record);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.next() as u8),
            2 => bytes.extend_from_within(at..),
            3 if bytes.len() >= at + 4 => {
                let word = [0, 1, u32::MAX, 0x7fff_ffff, 65_536][random.below(5)];
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            4 if !bytes.is_empty() => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            _ if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

/// Walks to the end; the number of polls is bounded by the number of bytes in the input.
fn walk_to_the_end(path: &Path, polls_max: usize, ahead: bool, seed: u64) {
    let options = CaptureOptions {
        decompress_ahead: ahead,
        ..CaptureOptions::default()
    };
    let Ok(mut capture) = Capture::open(&[path.into()], options) else {
        return;
    };
    for _ in 0..polls_max {
        match capture.poll() {
            Ok(Polled::Packet(packet)) => {
                assert!(usize::from(packet.line) < 256 && packet.payload.len() <= 262_144);
            }
            Ok(Polled::Trouble(trouble)) => assert!(!trouble.what.is_empty()),
            Ok(Polled::End) => return,
            Ok(Polled::Empty) | Err(_) => panic!("seed {seed}: a file has an end, and no errors"),
        }
    }
    panic!("seed {seed}: no end after {polls_max} polls");
}

#[test]
fn mutated_captures_never_panic_and_always_end() {
    let folder = Folder::new();
    let originals = originals();
    for seed in 1..=6_000 {
        let mut random = Random(seed);
        let mut bytes = originals[seed as usize % originals.len()].clone();
        mutate(&mut bytes, &mut random);
        let path = folder.file("x", &bytes);
        walk_to_the_end(&path, 100_000, seed % 16 == 0, seed);
    }
}

#[test]
fn noise_behind_each_magic_never_panics_and_always_ends() {
    let folder = Folder::new();
    let starts: Vec<Vec<u8>> = originals()
        .iter()
        .map(|bytes| bytes[..28].to_vec())
        .collect();
    for seed in 1..=2_000 {
        let mut random = Random(seed);
        let mut bytes = starts[seed as usize % starts.len()].clone();
        bytes.extend((0..random.below(600)).map(|_| random.next() as u8 & random.next() as u8));
        let path = folder.file("x", &bytes);
        walk_to_the_end(&path, 100_000, false, seed);
    }
}
