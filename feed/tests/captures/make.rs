//! Captures written by hand, byte by byte, and a place to put them.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own for each test, gone when the test is.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tapeline-captures-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder { path }
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        // Some file systems flush a file that is emptied and written anew, and thousands are.
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An Ethernet frame with a datagram to `239.0.0.{group}:{port}`.
pub(crate) fn frame(group: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 0x5e, 0, 0, group, 2, 0, 0, 0, 0, 1, 8, 0];
    let udp_bytes = 8 + payload.len() as u16;
    frame.extend([0x45, 0]);
    frame.extend((20 + udp_bytes).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 239, 0, 0, group]);
    for word in [4_000, port, udp_bytes, 0] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(payload);
    frame
}

/// A classic pcap, growing.
pub(crate) struct Pcap {
    pub(crate) bytes: Vec<u8>,
    is_big_endian: bool,
    unit_ns: u64,
}

impl Pcap {
    pub(crate) fn new(is_big_endian: bool, is_nano: bool, snaplen: u32, link_type: u32) -> Pcap {
        let unit_ns = if is_nano { 1 } else { 1_000 };
        let mut pcap = Pcap {
            bytes: Vec::new(),
            is_big_endian,
            unit_ns,
        };
        pcap.word(if is_nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
        pcap.bytes.extend(if is_big_endian {
            [0, 2, 0, 4]
        } else {
            [2, 0, 4, 0]
        });
        for word in [0, 0, snaplen, link_type] {
            pcap.word(word);
        }
        pcap
    }

    /// Little-endian, nanoseconds, Ethernet.
    pub(crate) fn usual() -> Pcap {
        Pcap::new(false, true, 65_535, 1)
    }

    pub(crate) fn word(&mut self, word: u32) {
        let bytes = if self.is_big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        };
        self.bytes.extend(bytes);
    }

    pub(crate) fn record(mut self, ts_ns: u64, frame: &[u8]) -> Pcap {
        let fraction = ts_ns % 1_000_000_000 / self.unit_ns;
        self = self.header(
            (ts_ns / 1_000_000_000) as u32,
            fraction as u32,
            frame.len() as u32,
        );
        self.bytes.extend(frame);
        self
    }

    pub(crate) fn header(mut self, seconds: u32, fraction: u32, captured: u32) -> Pcap {
        for word in [seconds, fraction, captured, captured] {
            self.word(word);
        }
        self
    }
}

/// A pcapng, growing.
pub(crate) struct Pcapng {
    pub(crate) bytes: Vec<u8>,
    is_big_endian: bool,
}

impl Pcapng {
    pub(crate) fn new() -> Pcapng {
        Pcapng {
            bytes: Vec::new(),
            is_big_endian: false,
        }
    }

    pub(crate) fn word(&self, word: u32) -> [u8; 4] {
        if self.is_big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    }

    pub(crate) fn half(&self, half: u16) -> [u8; 2] {
        if self.is_big_endian {
            half.to_be_bytes()
        } else {
            half.to_le_bytes()
        }
    }

    pub(crate) fn block(mut self, kind: u32, body: &[u8]) -> Pcapng {
        let len = 12 + body.len().next_multiple_of(4);
        self.bytes.extend(self.word(kind));
        self.bytes.extend(self.word(len as u32));
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(self.word(len as u32));
        self
    }

    pub(crate) fn section(mut self, is_big_endian: bool) -> Pcapng {
        self.is_big_endian = is_big_endian;
        let mut body = self.word(0x1a2b_3c4d).to_vec();
        body.extend([self.half(1), self.half(0)].concat());
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface whose unit is the option's byte (0x80 | n for 2^-n), and its offset.
    pub(crate) fn interface(self, link_type: u16, unit: Option<u8>, offset_s: i64) -> Pcapng {
        let mut body = [self.half(link_type), self.half(0)].concat();
        body.extend(self.word(0));
        if let Some(unit) = unit {
            body.extend([self.half(9), self.half(1)].concat());
            body.extend([unit, 0, 0, 0]);
        }
        body.extend([self.half(14), self.half(8)].concat());
        let offset = offset_s as u64;
        let (high, low) = (self.word((offset >> 32) as u32), self.word(offset as u32));
        body.extend(
            if self.is_big_endian {
                [high, low]
            } else {
                [low, high]
            }
            .concat(),
        );
        body.extend([0; 4]);
        self.block(1, &body)
    }

    pub(crate) fn packet(self, interface: u32, units: u64, frame: &[u8]) -> Pcapng {
        let len = frame.len() as u32;
        let words = [interface, (units >> 32) as u32, units as u32, len, len];
        let mut body = words.map(|word| self.word(word)).concat();
        body.extend(frame);
        self.block(6, &body)
    }

    pub(crate) fn obsolete_packet(self, interface: u16, units: u64, frame: &[u8]) -> Pcapng {
        let len = frame.len() as u32;
        let mut body = [self.half(interface), self.half(0)].concat();
        body.extend(
            [(units >> 32) as u32, units as u32, len, len]
                .map(|w| self.word(w))
                .concat(),
        );
        body.extend(frame);
        self.block(2, &body)
    }

    pub(crate) fn simple_packet(self, frame: &[u8]) -> Pcapng {
        let body = [&self.word(frame.len() as u32)[..], frame].concat();
        self.block(3, &body)
    }
}

/// An ITCH message of `len` bytes with its length before it.
pub(crate) fn itch(letter: u8, ts_ns: u64, len: u16) -> Vec<u8> {
    let mut message = vec![b'.'; usize::from(len)];
    message[0] = letter;
    message[1..5].fill(0);
    message[5..11].copy_from_slice(&ts_ns.to_be_bytes()[2..]);
    [&len.to_be_bytes()[..], &message].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// A small random number generator (xorshift64*), so that a seed is a bug report.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound.max(1)
    }
}
