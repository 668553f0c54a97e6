//! A file of any kind, made by the fuzzer, and what must hold: opening it refuses it or reads it to
//! its end; it has no more packets than bytes; each packet lies in the file, and what its headers say
//! is looked at by the reader of its framing.
//!
//! The first byte of the input chooses the file's name, since LOBSTER's files say by their names
//! what they are; the rest is the file. What is compressed may grow, so that a bounded part of it is
//! read.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use feed::moldudp64::{Blocks, Header};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

const NAMES: [&str; 3] = [
    "a.pcap",
    "AMZN_2012-06-21_34200000_57600000_message_10.csv",
    "20250102.itch",
];
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
    read(path, bytes.len());
}

fn read(path: PathBuf, bytes: usize) {
    let options = CaptureOptions {
        decompress_ahead: false,
        ..CaptureOptions::default()
    };
    let Ok(mut capture) = Capture::open(&[path], options) else {
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
