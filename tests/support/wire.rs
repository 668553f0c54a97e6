//! ITCH messages, MoldUDP64 packets and pcap records, byte by byte from their specifications.

/// 09:30, in nanoseconds since midnight.
pub const OPEN_NS: u64 = 34_200 * 1_000_000_000;
/// 2026-01-05 00:00 in New York, in nanoseconds since 1970.
pub const MIDNIGHT_NS: u64 = 1_767_589_200 * 1_000_000_000;

/// The first eleven bytes of every message.
fn head(kind: u8, locate: u16, ns: u64) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(locate.to_be_bytes());
    message.extend([0, 0]);
    message.extend(&ns.to_be_bytes()[2..]);
    message
}

fn name(stock: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    bytes[..stock.len()].copy_from_slice(stock.as_bytes());
    bytes
}

pub fn system(ns: u64, code: u8) -> Vec<u8> {
    [head(b'S', 0, ns), vec![code]].concat()
}

pub fn directory(ns: u64, locate: u16, stock: &str) -> Vec<u8> {
    let rest = *b"QN\0\0\0\x64NC  PNN1N\0\0\0\0N";
    [&head(b'R', locate, ns)[..], &name(stock), &rest].concat()
}

pub fn trading(ns: u64, locate: u16, stock: &str) -> Vec<u8> {
    [&head(b'H', locate, ns)[..], &name(stock), b"T \0\0\0\0"].concat()
}

pub fn add(ns: u64, locate: u16, stock: &str, order: u64, side: u8, qty: u32, e4: u32) -> Vec<u8> {
    let [order, qty, price] = [
        &order.to_be_bytes()[..],
        &qty.to_be_bytes(),
        &e4.to_be_bytes(),
    ]
    .map(<[u8]>::to_vec);
    [
        head(b'A', locate, ns),
        order,
        vec![side],
        qty,
        name(stock).to_vec(),
        price,
    ]
    .concat()
}

pub fn executed(ns: u64, locate: u16, order: u64, qty: u32) -> Vec<u8> {
    [
        &head(b'E', locate, ns)[..],
        &order.to_be_bytes(),
        &qty.to_be_bytes(),
        &9_001u64.to_be_bytes(),
    ]
    .concat()
}

pub fn cancel(ns: u64, locate: u16, order: u64, qty: u32) -> Vec<u8> {
    [
        &head(b'X', locate, ns)[..],
        &order.to_be_bytes(),
        &qty.to_be_bytes(),
    ]
    .concat()
}

pub fn delete(ns: u64, locate: u16, order: u64) -> Vec<u8> {
    [&head(b'D', locate, ns)[..], &order.to_be_bytes()].concat()
}

/// A print against an order that is not shown.
pub fn hidden_trade(ns: u64, locate: u16, stock: &str, qty: u32, e4: u32) -> Vec<u8> {
    [
        &head(b'P', locate, ns)[..],
        &0u64.to_be_bytes(),
        b"B",
        &qty.to_be_bytes(),
        &name(stock),
        &e4.to_be_bytes(),
        &9_002u64.to_be_bytes(),
    ]
    .concat()
}

/// Messages as an ITCH file.
pub fn itch_file(messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = messages
        .iter()
        .flat_map(|m| [&(m.len() as u16).to_be_bytes()[..], m].concat());
    framed.collect()
}

/// One MoldUDP64 packet.
pub fn mold(sequence: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    mold_of(b"TEST000001", sequence, messages)
}

/// The same of any session.
pub fn mold_of(session: &[u8; 10], sequence: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = session.to_vec();
    bytes.extend(sequence.to_be_bytes());
    bytes.extend((messages.len() as u16).to_be_bytes());
    bytes.extend(itch_file(messages));
    bytes
}

/// A payload in UDP, IPv4 and Ethernet, to 239.192.1.LINE.
pub fn frame(line: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![
        0x01, 0x00, 0x5e, 0x40, 1, line, 2, 0, 0, 0, 0, 1, 0x08, 0x00,
    ];
    let ip_bytes = (20 + 8 + payload.len()) as u16;
    frame.extend([0x45, 0]);
    frame.extend(ip_bytes.to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 16, 17, 0, 0, 10, 0, 0, 1, 239, 192, 1, line]);
    frame.extend(26_400u16.to_be_bytes());
    frame.extend(26_400u16.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// A nanosecond pcap's first bytes, in little-endian.
pub fn pcap_header(snaplen: u32, link_type: u32) -> Vec<u8> {
    let mut bytes = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(snaplen.to_le_bytes());
    bytes.extend(link_type.to_le_bytes());
    bytes
}

/// A record of a frame of which at most `kept` bytes were captured.
pub fn record_cut(ns: u64, frame: &[u8], kept: usize) -> Vec<u8> {
    let ts = MIDNIGHT_NS + ns;
    let kept = kept.min(frame.len());
    let words = [
        ts / 1_000_000_000,
        ts % 1_000_000_000,
        kept as u64,
        frame.len() as u64,
    ];
    let mut bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| (*word as u32).to_le_bytes())
        .collect();
    bytes.extend(&frame[..kept]);
    bytes
}

pub fn record(ns: u64, frame: &[u8]) -> Vec<u8> {
    record_cut(ns, frame, usize::MAX)
}

/// A pcap of one MoldUDP64 packet for each of these messages, on line 1, captured when the message
/// says that it happened.
pub fn pcap_of(messages: &[Vec<u8>]) -> Vec<u8> {
    let time = |message: &Vec<u8>| {
        message[5..11]
            .iter()
            .fold(0, |ns, byte| ns << 8 | u64::from(*byte))
    };
    pcap_at(messages, |index| time(&messages[index]))
}

/// The same, captured when `time` says of each.
pub fn pcap_at(messages: &[Vec<u8>], time: impl Fn(usize) -> u64) -> Vec<u8> {
    let mut bytes = pcap_header(0, 1);
    for (index, message) in messages.iter().enumerate() {
        let payload = mold(index as u64 + 1, std::slice::from_ref(message));
        bytes.extend(record(time(index), &frame(1, &payload)));
    }
    bytes
}

/// A little of a session: two symbols, a book each, and some trades, all good. Orders are
/// numbered from 1.
pub fn little_session() -> Vec<Vec<u8>> {
    let at = |ms: u64| OPEN_NS + ms * 1_000_000;
    let mut messages = vec![
        system(at(0) - 100, b'O'),
        directory(at(0) - 90, 1, "AAA"),
        directory(at(0) - 80, 2, "BBB"),
        trading(at(0) - 70, 1, "AAA"),
        trading(at(0) - 60, 2, "BBB"),
        system(at(0), b'Q'),
    ];
    for n in 0..200u64 {
        let (locate, stock) = if n % 2 == 0 { (1, "AAA") } else { (2, "BBB") };
        let (side, price) = if n % 4 < 2 {
            (b'B', 99_900)
        } else {
            (b'S', 100_100)
        };
        let ms = 10 * (n + 1);
        messages.push(add(at(ms), locate, stock, n + 1, side, 100, price));
        if n % 10 == 9 {
            messages.push(executed(at(ms) + 1, locate, n + 1, 40));
        }
        if n % 25 == 24 {
            messages.push(hidden_trade(at(ms) + 2, locate, stock, 10, 100_000));
        }
    }
    messages.push(system(at(3_000), b'M'));
    messages
}
