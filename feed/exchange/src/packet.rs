//! Bytes around the messages: MoldUDP64 in UDP in IPv4 in Ethernet in a classic pcap record.
//!
//! ```text
//! | Ethernet 14 | IPv4 20 | UDP 8 | session 10 | sequence 8 | count 2 | length 2, message | ...
//!                                 '------ MoldUDP64 1.00 header ------'
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};

/// What goes before the first message of a packet.
pub(crate) const MOLD_HEADER_BYTES: usize = 20;

/// The count of a packet that ends the session (MoldUDP64 1.00, "End of Session").
pub(crate) const COUNT_END: u16 = 0xffff;

/// Microseconds are not enough for this feed, so the nanosecond variant, little endian.
pub(crate) const PCAP_HEADER: [u8; 24] = {
    let mut header = [0; 24];
    let fields: [(usize, &[u8]); 5] = [
        (0, &0xa1b2_3c4d_u32.to_le_bytes()),
        (4, &2u16.to_le_bytes()),
        (6, &4u16.to_le_bytes()),
        (16, &65_535u32.to_le_bytes()),
        (20, &1u32.to_le_bytes()), // Ethernet.
    ];
    let mut field = 0;
    while field < fields.len() {
        let (at, bytes) = fields[field];
        let mut index = 0;
        while index < bytes.len() {
            header[at + index] = bytes[index];
            index += 1;
        }
        field += 1;
    }
    header
};

/// The record header of a frame captured whole at `unix_ns`.
pub(crate) fn record_header(unix_ns: u64, frame_bytes: usize) -> [u8; 16] {
    let mut header = [0; 16];
    let len = (frame_bytes as u32).to_le_bytes();
    header[0..4].copy_from_slice(&((unix_ns / 1_000_000_000) as u32).to_le_bytes());
    header[4..8].copy_from_slice(&((unix_ns % 1_000_000_000) as u32).to_le_bytes());
    header[8..12].copy_from_slice(&len);
    header[12..16].copy_from_slice(&len);
    header
}

pub(crate) fn mold_header(session: &[u8; 10], sequence: u64, count: u16) -> [u8; 20] {
    let mut header = [0; MOLD_HEADER_BYTES];
    header[..10].copy_from_slice(session);
    header[10..18].copy_from_slice(&sequence.to_be_bytes());
    header[18..].copy_from_slice(&count.to_be_bytes());
    header
}

/// The sender of one line, and the group it sends to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) source: SocketAddrV4,
    pub(crate) group: SocketAddrV4,
    /// Part of the sender's hardware address.
    pub(crate) number: u8,
}

/// Writes a whole frame into `frame`, replacing what was there.
pub(crate) fn frame(route: &Route, identification: u16, payload: &[u8], frame: &mut Vec<u8>) {
    frame.clear();
    let [_, b, c, d] = route.group.ip().octets();
    // RFC 1112, 6.4: the low 23 bits of the group.
    frame.extend_from_slice(&[0x01, 0x00, 0x5e, b & 0x7f, c, d]);
    frame.extend_from_slice(&[0x02, 0, 0, 0, 0, route.number]);
    frame.extend_from_slice(&[0x08, 0x00]);

    let udp_bytes = (payload.len() + 8) as u16;
    let mut ip = [0u8; 20];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(udp_bytes + 20).to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    ip[6] = 0x40; // Not to be fragmented.
    ip[8] = 16;
    ip[9] = 17; // UDP.
    ip[12..16].copy_from_slice(&route.source.ip().octets());
    ip[16..20].copy_from_slice(&route.group.ip().octets());
    let checksum = fold(sum(&ip));
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&ip);

    let mut udp = [0u8; 8];
    udp[0..2].copy_from_slice(&route.source.port().to_be_bytes());
    udp[2..4].copy_from_slice(&route.group.port().to_be_bytes());
    udp[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
    // RFC 768: addresses, protocol and length count too, and 0 would mean no checksum.
    let pseudo = sum(&ip[12..20]) + 17 + u64::from(udp_bytes);
    let checksum = match fold(pseudo + sum(&udp) + sum(payload)) {
        0 => 0xffff,
        checksum => checksum,
    };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(&udp);
    frame.extend_from_slice(payload);
}

/// The sum of 16-bit words, big endian, the last one padded.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let whole: u64 = words
        .by_ref()
        .map(|w| u64::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    whole
        + words
            .remainder()
            .first()
            .map_or(0, |&last| u64::from(last) << 8)
}

/// RFC 1071: carries added back in, and the complement.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the packets of line `number` come from: nobody checks, but a capture should show two.
pub(crate) fn source(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, number, 1), 31_000 + u16::from(number))
}
