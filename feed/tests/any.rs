//! Properties of every decoder and every container, for whatever proptest thinks of: reading ends, in
//! messages or in faults; nothing panics; what comes of an input is bounded by the input; and however
//! long something claims to be, no piece of memory is larger than [`BYTES_MAX`]. (What zstd asks for its
//! windows is its own: at most 128 MiB, beyond which a stream is refused.)
//!
//! The nasty files that the fuzzer begins with are held to the same. It has a binary of its own, because
//! the allocator counts for all of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};

use bus::{Event, Kind, Ts};
use feed::arbiter::GapRule;
use feed::inspect::{Report, inspect};
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Fault, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis,
    Wire,
};
use feed::source::{Capture, CaptureOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

/// The largest piece of memory that reading an input of a few kilobytes may ask for at once: the counts
/// by symbol of `inspect` are 1 MiB.
const BYTES_MAX: usize = 2 << 20;

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// Keeps the largest piece that this thread asked for.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn saw(bytes: usize) {
    LARGEST.with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell of
// this thread, made without allocating.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        saw(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        saw(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        saw(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Does something that must not ask for more than [`BYTES_MAX`] at once.
fn bounded<R>(what: impl FnOnce() -> R) -> R {
    LARGEST.with(|largest| largest.set(0));
    let result = what();
    let largest = LARGEST.with(Cell::get);
    assert!(largest <= BYTES_MAX, "{largest} bytes at once");
    result
}

/// A file that is gone with its test.
struct File(PathBuf);

impl File {
    /// Named by the thread too: tests run side by side.
    fn new(name: &str) -> File {
        let thread = format!("{:?}", std::thread::current().id());
        let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
        let folder = format!("tapeline-any-{}-{thread}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        File(folder.join(name))
    }

    fn put(&self, bytes: &[u8]) -> &Path {
        std::fs::write(&self.0, bytes).unwrap();
        &self.0
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// All of a file, as `tapeline inspect` reads it: container, transport, arbiter and protocol. `None` if it
/// is refused.
fn survey(path: &Path) -> Option<(Wire, Report)> {
    let options = CaptureOptions {
        decompress_ahead: false,
        ..CaptureOptions::default()
    };
    let mut capture = Capture::open(&[path.to_path_buf()], options)
        .inspect_err(|error| assert!(!error.what.is_empty()))
        .ok()?;
    let wire = capture.wire().ok()?;
    let rule = GapRule {
        hold_packets: 64,
        hold_packet_bytes: 2_048,
        reorder_max: 8,
        ..GapRule::default()
    };
    let report = match wire {
        Wire::Itch => inspect(&mut capture, Itch::new(MIDNIGHT), rule),
        Wire::Iex => inspect(&mut capture, Iex::new(), rule),
        Wire::Lobster => inspect(&mut capture, Lobster::new(MIDNIGHT), rule),
        Wire::Dbn => inspect(&mut capture, Dbn::new(), rule),
        Wire::Mdp3 => inspect(&mut capture, Mdp3::new(), rule),
        Wire::Binance => inspect(&mut capture, Binance::new(), rule),
        Wire::Tardis => inspect(&mut capture, Tardis::new(), rule),
        Wire::Coinbase => inspect(&mut capture, Coinbase::new(), rule),
        Wire::Bitstamp => inspect(&mut capture, Bitstamp::new(), rule),
        Wire::Pitch => inspect(&mut capture, Pitch::new(MIDNIGHT), rule),
    };
    report.ok().map(|report| (wire, report))
}

/// A file is read to its end or refused, with no more packets and messages than it has bytes.
fn check_file(path: &Path, bytes: usize) -> Option<Wire> {
    let (wire, report) = bounded(|| survey(path))?;
    assert!(
        report.packets as usize <= bytes,
        "{} packets",
        report.packets
    );
    assert!(
        report.messages as usize <= bytes,
        "{} messages",
        report.messages
    );
    assert!(report.by_type.iter().sum::<u64>() <= report.messages);
    Some(wire)
}

/// Messages are events or faults, no more of them than the messages have room for.
fn check_messages<P: Protocol>(mut protocol: P, messages: &[Vec<u8>], events_max: usize) {
    let mut events = Vec::new();
    for message in messages {
        let mut event = Event::new(Kind::Nothing);
        protocol.ts_event(message);
        protocol.symbol(message);
        protocol.name(message);
        protocol.code(message);
        let result = protocol.decode(message, &mut event);
        let result = result.and_then(|_| {
            events.clear();
            events.push(event);
            if P::IS_TRANSLATED {
                events.clear();
                protocol.translate(message, &event, &mut events)?;
            }
            Ok::<(), Fault>(())
        });
        match result {
            Ok(()) => {
                // A book that is cleared says so for each of its orders.
                let is_clear = event.code == b'R' || event.code == b'S';
                assert!(
                    is_clear || events.len() <= events_max,
                    "{} events",
                    events.len()
                );
                assert!(
                    events
                        .iter()
                        .all(|e| Event::from_bytes(e.as_bytes()).is_some())
                );
            }
            Err(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
}

/// Numbers as lengths and counts are: small ones, and those at the ends of their types.
fn odd() -> impl Strategy<Value = u64> {
    const ENDS: &[u64] = &[
        0,
        1,
        2,
        0x7f,
        0xff,
        0x7fff,
        0xffff,
        0x7fff_ffff,
        0xffff_ffff,
        1 << 62,
        u64::MAX,
    ];
    prop_oneof![select(ENDS), 0..300u64, any::<u64>()]
}

/// A message of one of these types and about this length, with the type in this place.
fn typed(codes: &'static [(u8, usize)], at: usize) -> impl Strategy<Value = Vec<u8>> {
    let bytes = vec(
        prop_oneof![3 => any::<u8>(), 1 => Just(0u8), 1 => select(&b"BSYN 0123"[..])],
        0..120,
    );
    (select(codes), bytes, 0..9usize).prop_map(move |((code, len), mut bytes, off)| {
        bytes.resize(if off < 6 { len } else { len + off - 7 }, off as u8);
        if let Some(place) = bytes.get_mut(at) {
            *place = code;
        }
        bytes
    })
}

const ITCH: &[(u8, usize)] = &[
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];
const IEX: &[(u8, usize)] = &[
    (b'S', 10),
    (b'D', 31),
    (b'H', 22),
    (b'O', 18),
    (b'P', 19),
    (b'E', 18),
    (b'8', 30),
    (b'5', 30),
    (b'T', 38),
    (b'B', 38),
    (b'X', 26),
    (b'A', 80),
    (b'Q', 42),
    (b'I', 18),
];
const PITCH: &[(u8, usize)] = &[
    (0x20, 6),
    (0x21, 34),
    (0x22, 26),
    (0x2f, 40),
    (0x23, 26),
    (0x24, 38),
    (0x25, 18),
    (0x26, 16),
    (0x27, 27),
    (0x28, 19),
    (0x29, 14),
    (0x2a, 41),
    (0x2b, 33),
    (0x30, 43),
    (0x2c, 18),
    (0x31, 22),
    (0x2d, 6),
    (0x97, 11),
    (0x95, 22),
    (0x96, 32),
    (0xbb, 55),
];
const DBN: &[(u8, usize)] = &[
    (0xa0, 64),
    (0, 56),
    (1, 88),
    (10, 376),
    (0x13, 408),
    (0x16, 80),
    (0x15, 48),
    (0x12, 64),
];
const SAID: &[(u8, usize)] = &[
    (b'D', 52),
    (b'D', 77),
    (b'S', 127),
    (b'T', 77),
    (b'A', 77),
    (b'Q', 102),
    (b'O', 52),
    (b'+', 77),
];

/// An SBE message: a template of MDP 3.0's, a block, and groups that may say anything of themselves.
fn sbe() -> impl Strategy<Value = Vec<u8>> {
    const IDS: &[u16] = &[
        4, 12, 15, 27, 29, 30, 32, 33, 35, 37, 38, 39, 42, 43, 44, 46, 47, 48, 52, 53, 54, 63,
    ];
    let group = (
        any::<bool>(),
        select(&[0u16, 8, 24, 27, 32, 40, 0xffff][..]),
        any::<u8>(),
    );
    let rest = vec(
        prop_oneof![2 => any::<u8>(), 2 => Just(0u8), 1 => 0..4u8],
        0..400,
    );
    (select(IDS), 0..12u16, 0..70u16, vec(group, 0..3), rest).prop_map(
        |(id, version, block, groups, rest)| {
            let mut bytes = Vec::new();
            for word in [block, id, 1, version] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(
                rest.iter()
                    .cycle()
                    .take(if rest.is_empty() { 0 } else { block.into() }),
            );
            for (is_wide, each, count) in groups {
                bytes.extend(each.to_le_bytes());
                bytes.extend(vec![0; if is_wide { 5 } else { 0 }]);
                bytes.push(count % 8);
                bytes.extend(&rest);
            }
            bytes
        },
    )
}

/// A transport's payload of these messages: its header says any count and any number, mostly the right
/// ones.
fn payload(wire: Wire) -> BoxedStrategy<Vec<u8>> {
    let messages = match wire {
        Wire::Iex => vec(typed(IEX, 0), 0..5).boxed(),
        Wire::Mdp3 => vec(sbe(), 0..3).boxed(),
        Wire::Pitch => vec(typed(PITCH, 1), 0..5).boxed(),
        _ => vec(typed(ITCH, 0), 0..5).boxed(),
    };
    let spoilt = proptest::option::weighted(0.2, (any::<prop::sample::Index>(), odd()));
    (messages, 0..40u64, odd(), 0..10u8, spoilt)
        .prop_map(move |(messages, near, far, odds, spoilt)| {
            let sequence = if odds == 0 { far } else { near };
            let count = if odds == 1 {
                far
            } else {
                messages.len() as u64
            };
            let mut bytes = Vec::new();
            let mut body = Vec::new();
            for message in &messages {
                match wire {
                    Wire::Iex => body.extend((message.len() as u16).to_le_bytes()),
                    Wire::Mdp3 => body.extend((message.len() as u16 + 2).to_le_bytes()),
                    Wire::Pitch => {}
                    _ => body.extend((message.len() as u16).to_be_bytes()),
                }
                body.extend(message);
                let at = body.len() - message.len();
                if wire == Wire::Pitch && !message.is_empty() {
                    body[at] = message.len() as u8;
                }
            }
            match wire {
                Wire::Iex => {
                    bytes.extend([1, 0, 4, 0x80, 1, 0, 0, 0, 7, 0, 0, 0]);
                    bytes.extend((body.len() as u16).to_le_bytes());
                    bytes.extend((count as u16).to_le_bytes());
                    bytes.extend(near.to_le_bytes());
                    bytes.extend(sequence.to_le_bytes());
                    bytes.extend(MIDNIGHT.0.to_le_bytes());
                }
                Wire::Mdp3 => {
                    bytes.extend((sequence as u32).to_le_bytes());
                    bytes.extend(MIDNIGHT.0.to_le_bytes());
                }
                Wire::Pitch => {
                    bytes.extend((body.len() as u16 + 8).to_le_bytes());
                    bytes.extend([count as u8, 1]);
                    bytes.extend((sequence as u32).to_le_bytes());
                }
                _ => {
                    bytes.extend(b"TEST000001");
                    bytes.extend(sequence.to_be_bytes());
                    bytes.extend((count as u16).to_be_bytes());
                }
            }
            bytes.extend(body);
            if let Some((at, value)) = spoilt {
                let at = at.index(bytes.len());
                bytes.truncate(at + 2);
                let value = value.to_le_bytes();
                bytes.splice(at.., value[..2].iter().copied());
            }
            bytes.truncate(1_400);
            bytes
        })
        .boxed()
}

/// A payload in Ethernet, IPv4 and UDP.
fn frame(line: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![1, 0, 0x5e, 0x40, 1, line, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0];
    frame.extend((28 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 16, 17, 0, 0, 10, 0, 0, 1, 239, 192, 1, line]);
    frame.extend(port.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend((8 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// A pcap or a pcapng of frames; now and then a length, a time or an interface in it is another.
fn container(is_ng: bool, frames: &[Vec<u8>], spoilt: Option<(usize, u32)>) -> Vec<u8> {
    let word = |n: usize, what: u32| match spoilt {
        Some((at, value)) if at == n => value.to_le_bytes(),
        _ => what.to_le_bytes(),
    };
    let mut bytes = Vec::new();
    if is_ng {
        for what in [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28] {
            bytes.extend(u32::to_le_bytes(what));
        }
        for what in [1, 20, 1, 65_535, 20] {
            bytes.extend(u32::to_le_bytes(what));
        }
    } else {
        for what in [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1] {
            bytes.extend(u32::to_le_bytes(what));
        }
    }
    for (index, frame) in frames.iter().enumerate() {
        let (n, len) = (8 * index, frame.len() as u32);
        let padded = frame.len().next_multiple_of(4);
        if is_ng {
            let whole = 32 + padded as u32;
            let words = [6, whole, 0, 411_000, index as u32, len, len];
            for (k, what) in words.into_iter().enumerate() {
                bytes.extend(word(n + k, what));
            }
            bytes.extend(frame);
            bytes.resize(bytes.len() + padded - frame.len(), 0);
            bytes.extend(word(n + 7, whole));
        } else {
            let words = [1_767_625_200, index as u32, len, len];
            for (k, what) in words.into_iter().enumerate() {
                bytes.extend(word(n + k, what));
            }
            bytes.extend(frame);
        }
    }
    bytes
}

/// Plain, or compressed.
fn wrapped(bytes: &[u8], how: u8) -> Vec<u8> {
    match how {
        0 => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        }
        1 => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        // What fails is printed, and belongs into a test of its own.
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn itch_messages(messages in vec(typed(ITCH, 0), 0..40)) {
        bounded(|| check_messages(Itch::new(MIDNIGHT), &messages, 1));
    }

    #[test]
    fn iex_messages(messages in vec(typed(IEX, 0), 0..40)) {
        bounded(|| check_messages(Iex::new(), &messages, 5));
    }

    #[test]
    fn pitch_messages(messages in vec((1..9u8, typed(PITCH, 1)), 0..40)) {
        // As `feed::pitch` hands them on: behind their unit and its time.
        let head = |unit: u8| [&[unit][..], &MIDNIGHT.0.to_le_bytes()].concat();
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(unit, mut message)| {
                message[0] = message.len() as u8;
                [head(unit), message].concat()
            })
            .collect();
        bounded(|| check_messages(Pitch::new(MIDNIGHT), &messages, 8));
    }

    #[test]
    fn dbn_records(mut messages in vec(typed(DBN, 9), 0..40)) {
        for message in messages.iter_mut().filter(|message| message.len() > 8) {
            message[8] = ((message.len() - 8) / 4) as u8;
        }
        bounded(|| check_messages(Dbn::new(), &messages, 41));
    }

    #[test]
    fn mdp3_messages(messages in vec((any::<u64>(), odd(), sbe()), 0..20)) {
        // As `feed::mdp3` hands them on: behind their packet's time, number and port.
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(sent, port, message)| {
                let port = [14_310, 15_310, port as u16][port as usize % 3].to_le_bytes();
                [&sent.to_le_bytes()[..], &[7, 0, 0, 0], &port, &message].concat()
            })
            .collect();
        bounded(|| check_messages(Mdp3::new(), &messages, 4_096));
    }

    #[test]
    fn said_messages(messages in vec(typed(SAID, 8), 0..40), venue in 0..4u8) {
        match venue {
            0 => bounded(|| check_messages(Binance::new(), &messages, 200)),
            1 => bounded(|| check_messages(Tardis::new(), &messages, 200)),
            2 => bounded(|| check_messages(Coinbase::new(), &messages, 200)),
            _ => bounded(|| check_messages(Bitstamp::new(), &messages, 41)),
        }
    }

    #[test]
    fn lobster_lines(messages in vec("([0-9]{1,6}(\\.0{0,90}[0-9]{0,22})?|-?[0-9]{1,22}|x)(,([1-7]|-?[0-9]{1,12})){0,7}", 0..40)) {
        let messages: Vec<_> = messages.into_iter().map(String::into_bytes).collect();
        bounded(|| check_messages(Lobster::new(MIDNIGHT), &messages, 4));
    }
}

/// Captures of packets of a protocol, in every container; the reader tells which protocol it is unless
/// nothing is whole.
fn packets(wire: Wire, ports: [u16; 2]) -> impl Strategy<Value = (Vec<u8>, usize)> {
    let one = (
        0..2usize,
        payload(wire),
        proptest::option::weighted(0.05, 0..60usize),
    );
    let spoilt = proptest::option::weighted(0.3, (0..80usize, odd()));
    (
        vec(one, 1..12),
        any::<bool>(),
        spoilt,
        0..6u8,
        any::<prop::sample::Index>(),
        0..8u8,
    )
        .prop_map(move |(payloads, is_ng, spoilt, how, cut, cuts)| {
            let frames: Vec<Vec<u8>> = payloads
                .iter()
                .map(|(line, payload, kept)| {
                    let mut frame = frame(1 + *line as u8, ports[*line], payload);
                    frame.truncate(kept.unwrap_or(usize::MAX));
                    frame
                })
                .collect();
            let spoilt = spoilt.map(|(at, value)| (at, value as u32));
            let mut plain = container(is_ng, &frames, spoilt);
            if cuts == 0 {
                plain.truncate(cut.index(plain.len()));
            }
            let mut bytes = wrapped(&plain, how);
            if cuts == 1 {
                let at = cut.index(bytes.len());
                bytes[at] ^= 0x11;
            }
            (bytes, plain.len())
        })
}

/// Lines of words that such files have, in any order.
fn lines(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = "-?[0-9]{1,12}(\\.[0-9]{1,12})?([eE]-?[0-9]{1,3})?";
    let word = prop_oneof![4 => select(words).prop_map(str::to_owned), 1 => number];
    vec(vec(word, 0..30).prop_map(|words| words.concat()), 1..8).prop_map(|lines| lines.join("\n"))
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"e\":\"depthUpdate\"",
    "\"e\":\"trade\"",
    "\"s\":\"BTCUSDT\"",
    "\"U\":1",
    "\"u\":2",
    "\"pu\":1",
    "\"b\":[[\"1.5\",\"2\"]]",
    "\"a\":[]",
    "\"lastUpdateId\":1",
    "\"bids\":[]",
    "\"asks\":[[\"3\",\"0.1\"]]",
    "\"p\":\"1e9\"",
    "\"q\":\"7\"",
    "\"t\":1",
    "\"E\":1",
    "1700000000000000000 ",
    "1700000000.5: ",
    "{\"data\":",
    "\"stream\":\"x@depth\"",
    "\\u0000",
    "\\",
    "wss://x <-> 1.5",
];
const CSV_BEGINS: &[&str] = &[
    "",
    "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n",
    "id,timestamp,exchange_timestamp,price,volume,action,direction\n",
    "34200.5,1,7,100,5853300,1\n",
];
const CSV: &[&str] = &[
    "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n",
    ",",
    "binance",
    "BTCUSDT",
    "1700000000000000",
    "true",
    "false",
    "bid",
    "ask",
    "1.5",
    "\n",
    "34200.5,1,7,100,5853300,1\n",
    "34200.6,4,7,50,5853300,1\n",
    "1",
    "4",
    "7",
    "-1",
    "\r",
    "id,",
];

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn itch_captures((bytes, plain) in packets(Wire::Itch, [26_400, 26_400])) {
        let file = File::new("a.pcap");
        check_file(file.put(&bytes), plain);
    }

    #[test]
    fn iex_captures((bytes, plain) in packets(Wire::Iex, [10_378, 10_378])) {
        let file = File::new("a.pcap");
        check_file(file.put(&bytes), plain);
    }

    #[test]
    fn mdp3_captures((bytes, plain) in packets(Wire::Mdp3, [14_310, 15_310])) {
        let file = File::new("a.pcap");
        check_file(file.put(&bytes), plain);
    }

    #[test]
    fn pitch_captures((bytes, plain) in packets(Wire::Pitch, [30_501, 30_501])) {
        let file = File::new("a.pcap");
        check_file(file.put(&bytes), plain);
    }

    #[test]
    fn lengths_of_itch_files(pieces in vec((proptest::option::weighted(0.1, odd()), typed(ITCH, 0)), 0..60), how in 0..4u8) {
        let plain: Vec<u8> = pieces
            .iter()
            .flat_map(|(len, m)| [&(len.map_or(m.len() as u16, |len| len as u16)).to_be_bytes()[..], m].concat())
            .collect();
        let file = File::new("20250102.itch");
        check_file(file.put(&wrapped(&plain, how)), plain.len());
    }

    #[test]
    fn dbn_files(version in 0..5u8, len in odd(), counts in vec(odd(), 4), records in vec(typed(DBN, 1), 0..10), how in 0..4u8) {
        let mut body = vec![0; 45];
        body.extend(71u16.to_le_bytes());
        body.extend([0; 53]);
        for count in counts {
            body.extend((count as u32).to_le_bytes());
        }
        body.resize(200, 0);
        let mut plain = vec![b'D', b'B', b'N', version];
        let len = if len % 4 == 0 { len as u32 } else { body.len() as u32 };
        plain.extend(len.to_le_bytes());
        plain.extend(body);
        for mut record in records {
            record[0] = (record.len() / 4) as u8;
            plain.extend(record);
        }
        let file = File::new("a.dbn");
        check_file(file.put(&wrapped(&plain, how)), plain.len());
    }

    #[test]
    fn lines_of_json(first in select(&["", "1700000000000000000 {\"e\":\"trade\",\"E\":1,\"s\":\"BTCUSDT\",\"t\":7,\"p\":\"1.5\",\"q\":\"2\",\"m\":true}\n"][..]), text in lines(JSON), how in 0..4u8) {
        let text = format!("{first}{text}");
        let file = File::new("a.json");
        check_file(file.put(&wrapped(text.as_bytes(), how)), text.len());
    }

    #[test]
    fn lines_of_columns(first in select(CSV_BEGINS), text in lines(CSV), how in 0..4u8) {
        let text = format!("{first}{text}");
        let file = File::new("AMZN_2012-06-21_34200000_57600000_message_10.csv");
        check_file(file.put(&wrapped(text.as_bytes(), how)), text.len());
    }
}

/// What the strategies make is mostly right: else they would only show that nonsense is refused.
#[test]
fn most_of_what_is_made_is_read() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for (wire, ports) in [
        (Wire::Itch, [26_400, 26_400]),
        (Wire::Iex, [10_378, 10_378]),
        (Wire::Mdp3, [14_310, 15_310]),
        (Wire::Pitch, [30_501, 30_501]),
    ] {
        let (mut told, mut messages) = (0, 0);
        let file = File::new("a.pcap");
        for _ in 0..100 {
            let (bytes, _) = packets(wire, ports)
                .new_tree(&mut runner)
                .unwrap()
                .current();
            if let Some((found, report)) = survey(file.put(&bytes)) {
                told += u32::from(found == wire);
                messages += report.messages;
            }
        }
        println!("{}: {told} of 100 told, {messages} messages", wire.name());
        assert!(
            told > 30 && messages > 150,
            "{}: {told}, {messages}",
            wire.name()
        );
    }
}

/// The files that the fuzzer begins with, nasty ones among them.
#[test]
fn the_fuzzers_seeds_are_bounded_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/captures");
    let names = [
        "a.pcap",
        "AMZN_2012-06-21_34200000_57600000_message_10.csv",
        "20250102.itch",
    ];
    let mut nasty = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seed = std::fs::read(&path).unwrap();
        let file = File::new(names[usize::from(seed[0]) % names.len()]);
        // One of them grows to so many bytes.
        check_file(file.put(&seed[1..]), 600_000);
        nasty += u32::from(
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("nasty_"),
        );
    }
    assert!(nasty >= 15, "{nasty}");
}
