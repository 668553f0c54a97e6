//! A file of any kind, made by the fuzzer, and what must hold: opening it refuses it or reads it to
//! its end; it has no more packets than bytes; each packet lies in the file, and what its headers say
//! is looked at by the reader of its framing. Then `inspect` goes through all of it: container,
//! transport, arbiter, and the protocol that the file is told to be in. Whatever lengths the file
//! claims, no piece of memory is larger than [`ALLOCATION_BYTES_MAX`].
//!
//! The first byte of the input chooses the file's name, since LOBSTER's files say by their names
//! what they are; the rest is the file. What is compressed may grow, so that a bounded part of it is
//! read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bus::Ts;
use feed::arbiter::GapRule;
use feed::inspect::inspect;
use feed::moldudp64::{Blocks, Header};
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Tardis, Wire,
};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

use crate::largest::within;

const NAMES: [&str; 3] = [
    "a.pcap",
    "AMZN_2012-06-21_34200000_57600000_message_10.csv",
    "20250102.itch",
];
/// Twice the counts by symbol that `inspect` has, or a file's buffers. What is compressed into an
/// input of this length grows to no more.
const ALLOCATION_BYTES_MAX: usize = 2 << 20;
/// More than the bytes of any input that is not compressed.
const POLLS_MAX: usize = 1 << 16;

/// Where the file is written for each input.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("tapeline-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder to write to");
    folder
});

/// Runs one input.
pub fn check(data: &[u8]) {
    let Some((&name, bytes)) = data.split_first() else {
        return;
    };
    let path = FOLDER.join(NAMES[usize::from(name) % NAMES.len()]);
    fs::write(&path, bytes).expect("a file can be written");
    within(ALLOCATION_BYTES_MAX, || read(&path, bytes.len()));
    within(ALLOCATION_BYTES_MAX, || survey(&path));
}

fn open(path: &Path) -> Option<Capture> {
    let options = CaptureOptions {
        decompress_ahead: false,
        ..CaptureOptions::default()
    };
    Capture::open(&[path.to_path_buf()], options).ok()
}

/// All of it, as the program says what a file holds.
fn survey(path: &Path) {
    let Some(mut capture) = open(path) else {
        return;
    };
    let Ok(wire) = capture.wire() else { return };
    let rule = GapRule {
        hold_packets: 16,
        hold_packet_bytes: 1024,
        reorder_max: 4,
        ..GapRule::default()
    };
    let midnight = Ts(1_735_776_000_000_000_000);
    let report = match wire {
        Wire::Itch => inspect(&mut capture, Itch::new(midnight), rule),
        Wire::Iex => inspect(&mut capture, Iex::new(), rule),
        Wire::Lobster => inspect(&mut capture, Lobster::new(midnight), rule),
        Wire::Dbn => inspect(&mut capture, Dbn::new(), rule),
        Wire::Mdp3 => inspect(&mut capture, Mdp3::new(), rule),
        Wire::Binance => inspect(&mut capture, Binance::new(), rule),
        Wire::Tardis => inspect(&mut capture, Tardis::new(), rule),
        Wire::Coinbase => inspect(&mut capture, Coinbase::new(), rule),
        Wire::Bitstamp => inspect(&mut capture, Bitstamp::new(), rule),
        Wire::Pitch => inspect(&mut capture, Pitch::new(midnight), rule),
    };
    if let Ok(report) = report {
        assert!(report.packets <= capture.counts().packets);
        assert!(report.by_type.iter().sum::<u64>() <= report.messages);
    }
}

fn read(path: &Path, bytes: usize) {
    let Some(mut capture) = open(path) else {
        return;
    };
    let _ = capture.wire();
    let mut packets = 0;
    for _ in 0..POLLS_MAX {
        match capture.poll() {
            Ok(Polled::Packet(packet)) => {
                packets += 1;
                if packet.framing == Framing::MoldUdp64
                    && let Some((header, blocks)) = Header::split(packet.payload)
                {
                    let found = Blocks::new(blocks).take(header.message_count().into());
                    assert!(found.map(|block| block.len() + 2).sum::<usize>() <= blocks.len());
                }
            }
            Ok(Polled::Trouble(trouble)) => assert!(!trouble.what.is_empty()),
            Ok(Polled::Empty) => panic!("a file does not keep one waiting"),
            Ok(Polled::End) => {
                assert!(packets <= bytes || is_compressed(&capture));
                return;
            }
            Err(error) => {
                assert!(!error.what.is_empty());
                return;
            }
        }
    }
    assert!(is_compressed(&capture), "no end after {POLLS_MAX} polls");
}

fn is_compressed(capture: &Capture) -> bool {
    let files = capture.files().iter();
    files
        .into_iter()
        .any(|file| file.compression.name() != "none")
}
