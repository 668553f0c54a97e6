//! A parser of captures that believes nothing: every header field and checksum is asserted.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::number;

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) unix_ns: u64,
    /// 0 for A, 1 for B.
    pub(crate) line: usize,
    pub(crate) sequence: u64,
    pub(crate) count: u64,
    pub(crate) messages: Vec<Vec<u8>>,
}

/// The bytes of a file, whatever it is compressed with.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let mut plain = Vec::new();
    match bytes[..4] {
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut plain)
            .unwrap(),
        [0x28, 0xb5, 0x2f, 0xfd] => zstd::Decoder::new(&bytes[..])
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap(),
        _ => return bytes,
    };
    plain
}

pub(crate) fn packets(bytes: &[u8]) -> Vec<Packet> {
    let le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(
        (le(0), le(4), le(16), le(20)),
        (0xa1b2_3c4d, 0x0004_0002, 65_535, 1)
    );
    let (mut at, mut packets) = (24, Vec::new());
    while at < bytes.len() {
        let unix_ns = u64::from(le(at)) * 1_000_000_000 + u64::from(le(at + 4));
        assert!(le(at + 4) < 1_000_000_000 && le(at + 8) == le(at + 12));
        let len = le(at + 8) as usize;
        packets.push(packet(unix_ns, &bytes[at + 16..at + 16 + len]));
        at += 16 + len;
    }
    assert!(
        packets.is_sorted_by_key(|packet| packet.unix_ns),
        "captured in order of time"
    );
    packets
}

fn packet(unix_ns: u64, frame: &[u8]) -> Packet {
    let (ethernet, ip) = frame.split_at(14);
    let line = usize::from(ip[18]) - 1;
    let group = [239, 192, 1 + line as u8, 1];
    assert_eq!(ethernet[..6], [0x01, 0x00, 0x5e, 0x40, group[2], group[3]]);
    assert_eq!(ethernet[12..], [0x08, 0x00]);
    assert_eq!((ip[0], ip[9]), (0x45, 17));
    assert_eq!(ip[16..20], group);
    assert_eq!(number(ip, 2, 2) as usize, ip.len());
    assert_eq!(ones_sum(&ip[..20]), 0xffff, "IPv4 checksum");
    let udp = &ip[20..];
    assert_eq!(number(udp, 2, 2), 26_400 + line as u64);
    assert_eq!(number(udp, 4, 2) as usize, udp.len());
    let mut checked = ip[12..20].to_vec();
    checked.extend([0, 17]);
    checked.extend((udp.len() as u16).to_be_bytes());
    checked.extend(udp);
    assert!(
        number(udp, 6, 2) != 0 && ones_sum(&checked) == 0xffff,
        "UDP checksum"
    );
    let mold = &udp[8..];
    assert!(mold.len() <= 1400);
    assert_eq!(&mold[..10], b"0000000001");
    let (sequence, count) = (number(mold, 10, 8), number(mold, 18, 2));
    let (mut rest, mut messages) = (&mold[20..], Vec::new());
    while !rest.is_empty() {
        let len = number(rest, 0, 2) as usize;
        messages.push(rest[2..2 + len].to_vec());
        rest = &rest[2 + len..];
    }
    assert_eq!(
        messages.len() as u64,
        if count == 0xffff { 0 } else { count }
    );
    Packet {
        unix_ns,
        line,
        sequence,
        count,
        messages,
    }
}

fn ones_sum(bytes: &[u8]) -> u32 {
    let mut sum = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}
