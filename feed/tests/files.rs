//! LOBSTER lines and DBN records, written by hand and at random, as their files have them and as
//! their protocols read them.

use std::collections::BTreeMap;

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};
use feed::moldudp64::Blocks;
use feed::protocol::{Dbn, Fault, Lobster, Protocol, Wire};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

/// The events that a message makes, or what is wrong with it.
fn take<P: Protocol>(protocol: &mut P, message: &[u8]) -> Result<Vec<Event>, Fault> {
    let mut event = Event::new(Kind::Nothing);
    protocol.decode(message, &mut event)?;
    assert_eq!(protocol.ts_event(message), Some(event.ts_event));
    let mut events = Vec::new();
    protocol.translate(message, &event, &mut events)?;
    Ok(events)
}

/// Events in a word each: kind, side, order, price, quantity, and whether more belong to it.
fn text(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let part = match event.flags {
            flags if flags.has(Flags::MORE) => " more",
            flags if flags.has(Flags::ENDS) => " ends",
            _ => "",
        };
        if event.kind == Kind::Symbol {
            let name = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
            return format!("{} is {}", event.symbol, name.trim_end());
        }
        let side = ["-", "buy", "sell"][event.side as usize];
        let (kind, order, price, qty) = (event.kind, event.order, event.price, event.qty.0);
        format!("{kind:?} {side} {order} {price} x {qty}{part}")
    };
    events.iter().map(line).collect()
}

#[track_caller]
fn check<P: Protocol>(protocol: &mut P, message: &[u8], want: &[&str]) {
    assert_eq!(text(&take(protocol, message).unwrap()), want);
}

const MIDNIGHT: Ts = Ts(1_340_251_200_000_000_000);

fn line(text: &str) -> Vec<u8> {
    [b"AAPL    ", text.as_bytes()].concat()
}

#[test]
fn a_lobster_line_is_an_event() {
    let lobster = &mut Lobster::new(MIDNIGHT);
    let new = line("34200.004241176,1,16113575,18,5853300,1");
    check(
        lobster,
        &new,
        &["1 is AAPL", "Add buy 16113575 585.33 x 18"],
    );
    let mut event = Event::new(Kind::Nothing);
    lobster.decode(&new, &mut event).unwrap();
    assert_eq!(event.ts_event, MIDNIGHT.plus_ns(34_200_004_241_176));
    assert_eq!(event.code, b'1');
    // Of more decimals nine count.
    let new = line("34200.0042411769999999999,1,16113575,18,5853300,1");
    lobster.decode(&new, &mut event).unwrap();
    assert_eq!(event.ts_event, MIDNIGHT.plus_ns(34_200_004_241_176));
    for (text, want) in [
        ("34200.1,1,7,100,5859100,-1", "Add sell 7 585.91 x 100"),
        ("34200.2,2,7,30,5859100,-1", "Cancel sell 7 0.00 x 30"),
        ("34200.3,4,7,30,5859100,-1", "Execute sell 7 0.00 x 30"),
        ("34200.4,4,7,40,5859100,-1", "Execute sell 7 0.00 x 40"),
        // It is gone, or was never told of: what executes prints by the line's own price.
        ("34200.5,4,7,5,5859100,-1", "Trade sell 0 585.91 x 5"),
        (
            "34200.6,3,16113575,18,5853300,1",
            "Delete buy 16113575 0.00 x 0",
        ),
        ("34201,5,0,12,5853350,1", "Trade buy 0 585.335 x 12"),
        ("34202.5,6,0,900,5853400,1", "Cross buy 0 585.34 x 900"),
        ("34203.5,7,0,0,-1,-1", "Status sell 72 0.00 x 0"),
        ("34204.5,7,0,0,0,-1", "Status sell 81 0.00 x 0"),
        ("34205.5,7,0,0,1,-1", "Status sell 84 0.00 x 0"),
        // A seventh column is passed over.
        ("34206.5,3,9,18,5853300,1,NSDQ", "Delete buy 9 0.00 x 0"),
    ] {
        check(lobster, &line(text), &[want]);
    }
}

#[test]
fn a_lobster_line_that_is_wrong_is_refused_at_its_byte() {
    let lobster = &mut Lobster::new(MIDNIGHT);
    for (text, byte) in [
        ("", 0),
        ("x", 0),
        ("34200", 5),
        ("34200.", 6),
        ("34200.12345678901234567890,1,7,1,1,1", 25),
        ("34200.0000000000000000000000000000000001,1,7,1,1,1", 25),
        ("172800,1,7,1,1,1", 0),
        ("34200.1,8,7,1,1,1", 8),
        ("34200.1,1,-7,1,1,1", 10),
        ("34200.1,1,7,-1,1,1", 12),
        ("34200.1,1,7,1,1x,1", 15),
        ("34200.1,1,7,1,1,2", 16),
        ("34200.1,1,99999999999999999999,1,1,1", 28),
        ("34200.1,7,0,0,5,1", 0),
        ("34200.1,1,7,1,9223372036854775807,1", 0),
    ] {
        match take(lobster, &line(text)) {
            Err(Fault::Field { offset_bytes, .. }) => assert_eq!(offset_bytes, byte, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(take(lobster, b"AAPL"), Err(Fault::Empty));
}

/// When a message's packet is due, and the message.
type Due = (Option<Ts>, Vec<u8>);

/// A file of its own, gone with the test.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let folder = std::env::temp_dir().join(format!("tapeline-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        File(path)
    }

    /// All messages with the time of their packet, the protocol, and the troubles.
    fn read(&self, max: usize) -> (Wire, Vec<Due>, Vec<String>) {
        let options = CaptureOptions {
            itch_messages_max: max,
            ..CaptureOptions::default()
        };
        let mut capture = Capture::open(std::slice::from_ref(&self.0), options).unwrap();
        let wire = capture.wire().unwrap();
        let (mut messages, mut troubles) = (Vec::new(), Vec::new());
        loop {
            match capture.poll().unwrap() {
                Polled::Packet(packet) => {
                    assert!(matches!(packet.framing, Framing::Records(_)));
                    assert_eq!(packet.ts_recv, None);
                    let due = packet.ts_due();
                    let all = Blocks::new(packet.payload);
                    messages.extend(all.map(|message| (due, message.to_vec())));
                }
                Polled::Trouble(trouble) => {
                    let at = trouble.place.offset_bytes;
                    troubles.push(format!("byte {at}: {}", trouble.what));
                }
                Polled::End => return (wire, messages, troubles),
                Polled::Empty => panic!("a file is never empty for now"),
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_lobster_file_is_its_lines() {
    let text = "34200.5,1,7,100,5853300,1\r\n\n34200.6,3,7,100,5853300,1";
    let file = File::new(
        "msft_2012-06-21_34200000_57600000_message_1.csv",
        text.as_bytes(),
    );
    for max in [1, 64] {
        let (wire, messages, troubles) = file.read(max);
        assert_eq!(wire, Wire::Lobster);
        assert_eq!(troubles, Vec::<String>::new());
        let lines: Vec<&[u8]> = messages.iter().map(|(_, message)| &message[..]).collect();
        let want: [&[u8]; 2] = [
            b"MSFT    34200.5,1,7,100,5853300,1",
            b"MSFT    34200.6,3,7,100,5853300,1",
        ];
        assert_eq!(lines, want);
        assert_eq!(messages[0].0, Some(Ts(34_200_500_000_000)));
    }
    // A line without an end says that this is no such file any more.
    let long = format!("34200.5,1,7,100,5853300,1\n{}", "7".repeat(9_000));
    let file = File::new("AAPL_long.csv", long.as_bytes());
    let (_, messages, troubles) = file.read(64);
    assert_eq!(messages.len(), 1);
    assert_eq!(
        troubles,
        ["byte 26: line without an end, want one within 256 bytes"]
    );
}

const DAY: u64 = 1_703_462_400_000_000_000;

/// A record of DBN, in the making.
struct Record(Vec<u8>);

impl Record {
    fn new(len: usize, rtype: u8) -> Record {
        let mut bytes = vec![0; len];
        bytes[0] = (len / 4) as u8;
        bytes[1] = rtype;
        Record(bytes)
            .put(2, &1u16.to_le_bytes())
            .put(4, &17_077u32.to_le_bytes())
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Record {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// As a message, behind a name.
    fn message(&self) -> Vec<u8> {
        [b"ESH4    ", &self.0[..]].concat()
    }
}

fn mbo(action: u8, side: u8, order: u64, price: i64, size: u32, flags: u8) -> Record {
    Record::new(56, 0xa0)
        .put(8, &(DAY + 1).to_le_bytes())
        .put(16, &order.to_le_bytes())
        .put(24, &(price * 1_000_000_000).to_le_bytes())
        .put(32, &size.to_le_bytes())
        .put(36, &[flags, 0, action, side])
        .put(40, &(DAY + 5).to_le_bytes())
}

/// A record of levels: bid and ask with sizes, from the best.
fn mbp(rtype: u8, action: u8, flags: u8, levels: &[[i64; 4]]) -> Record {
    let count = if rtype == 0x0a { 10 } else { 1 };
    let mut record = Record::new(48 + 32 * count, rtype)
        .put(8, &(DAY + 1).to_le_bytes())
        .put(16, &4_800_000_000_000i64.to_le_bytes())
        .put(24, &3u32.to_le_bytes())
        .put(28, &[action, b'B', flags])
        .put(32, &(DAY + 5).to_le_bytes());
    for index in 0..count {
        let at = 48 + 32 * index;
        let [bid, bid_size, ask, ask_size] = levels.get(index).copied().unwrap_or([-1, 0, -1, 0]);
        let price = |whole: i64| match whole {
            -1 => i64::MAX,
            whole => whole * 1_000_000_000,
        };
        record = record
            .put(at, &price(bid).to_le_bytes())
            .put(at + 8, &price(ask).to_le_bytes())
            .put(at + 16, &(bid_size as u32).to_le_bytes())
            .put(at + 20, &(ask_size as u32).to_le_bytes());
    }
    record
}

const LAST: u8 = 0x80;

#[test]
fn orders_of_an_mbo_day_come_change_and_go() {
    let dbn = &mut Dbn::new();
    let mut say = |record: Record, want: &[&str]| check(dbn, &record.message(), want);
    say(
        mbo(b'A', b'B', 7, 4_800, 10, LAST),
        &["1 is ESH4", "Add buy 7 4800.00 x 10"],
    );
    // Made smaller it keeps its place; moved, or made larger, it goes behind the others.
    say(
        mbo(b'M', b'B', 7, 4_800, 6, LAST),
        &["Cancel buy 7 0.00 x 4"],
    );
    say(
        mbo(b'M', b'B', 7, 4_800, 8, LAST),
        &["Replace buy 7 4800.00 x 8"],
    );
    say(
        mbo(b'M', b'B', 7, 4_801, 8, LAST),
        &["Replace buy 7 4801.00 x 8"],
    );
    say(mbo(b'M', b'B', 7, 4_801, 8, LAST), &["Info buy 7 0.00 x 8"]);
    say(
        mbo(b'M', b'A', 7, 4_802, 8, LAST),
        &["Delete sell 7 0.00 x 0 more", "Add sell 7 4802.00 x 8 ends"],
    );
    // An order that was never shown is shown now.
    say(
        mbo(b'M', b'B', 9, 4_799, 5, LAST),
        &["Add buy 9 4799.00 x 5"],
    );
    // A trade and its fill change nothing; what follows does, and only its last record counts.
    say(
        mbo(b'T', b'B', 0, 4_802, 3, 0),
        &["Trade buy 0 4802.00 x 3"],
    );
    say(mbo(b'F', b'A', 7, 4_802, 3, 0), &["Info sell 7 0.00 x 3"]);
    say(
        mbo(b'C', b'A', 7, 4_802, 8, 0),
        &["Cancel sell 7 0.00 x 8 more"],
    );
    say(
        mbo(b'C', b'B', 9, 4_799, 5, LAST),
        &["Cancel buy 9 0.00 x 5 ends"],
    );
    // The event may end with a record that changes nothing.
    say(
        mbo(b'A', b'B', 1, 4_790, 1, 0),
        &["Add buy 1 4790.00 x 1 more"],
    );
    say(
        mbo(b'A', b'B', 2, 4_789, 1, 0),
        &["Add buy 2 4789.00 x 1 more"],
    );
    say(mbo(b'N', b'N', 0, 0, 0, LAST), &["Info - 0 0.00 x 0 ends"]);
    say(
        mbo(b'R', b'N', 0, 0, 0, LAST),
        &["Delete - 1 0.00 x 0 more", "Delete - 2 0.00 x 0 ends"],
    );
    // They are forgotten: the first comes anew.
    say(
        mbo(b'M', b'B', 1, 4_790, 1, LAST),
        &["Add buy 1 4790.00 x 1"],
    );
    let events = take(dbn, &mbo(b'T', b'B', 0, 4_802, 3, 0).message()).unwrap();
    assert_eq!(events[0].ts_event, Ts(DAY as i64 + 1));
    assert_eq!(events[0].ts_recv, Ts(DAY as i64 + 5));
}

#[test]
fn levels_are_what_the_last_record_showed() {
    let dbn = &mut Dbn::new();
    let mut say = |record: Record, want: &[&str]| check(dbn, &record.message(), want);
    say(
        mbp(
            0x0a,
            b'A',
            LAST,
            &[[4_800, 10, 4_801, 5], [4_799, 20, -1, 0]],
        ),
        &[
            "1 is ESH4",
            "Add buy 1 4800.00 x 10 more",
            "Add buy 2 4799.00 x 20 more",
            "Add sell 3 4801.00 x 5 ends",
        ],
    );
    say(
        mbp(0x0a, b'C', LAST, &[[4_799, 21, 4_801, 5]]),
        &[
            "Delete buy 1 0.00 x 0 more",
            "Replace buy 2 4799.00 x 21 ends",
        ],
    );
    // A trade says what was there before it: it prints, and changes nothing.
    say(
        mbp(0x0a, b'T', LAST, &[[1, 1, 2, 2]]),
        &["Trade buy 0 4800.00 x 3"],
    );
    say(
        mbp(0xc5, b'T', LAST, &[[1, 1, 2, 2]]),
        &["Trade buy 0 4800.00 x 3"],
    );
    say(
        mbp(0x01, b'M', LAST, &[[4_799, 21, 4_801, 6]]),
        &["Replace sell 3 4801.00 x 6"],
    );
    say(
        mbp(0x01, b'R', LAST, &[]),
        &["Delete buy 2 0.00 x 0 more", "Delete sell 3 0.00 x 0 ends"],
    );
}

/// The symbol has its place by version, which the length tells.
#[test]
fn definitions_name_their_instrument() {
    for (len, at, lot_at) in [(360, 200, 148), (400, 200, 156), (520, 238, 168)] {
        let dbn = &mut Dbn::new();
        let definition = |symbol: &[u8]| {
            Record::new(len, 0x13)
                .put(8, &DAY.to_le_bytes())
                .put(at, symbol)
                .put(lot_at, &100i32.to_le_bytes())
        };
        check(dbn, &definition(b"ESM3\0").message(), &["1 is ESM3"]);
        let event = take(dbn, &definition(b"ESM3\0").message()).unwrap()[0];
        assert_eq!((event.qty, event.code), (Qty(100), b'd'));
        // Too long for a name: the one that the source knew stands in.
        check(dbn, &definition(b"ESM3 C4500\0").message(), &["1 is ESH4"]);
    }
}

/// A damaged file, or days put together, may call two instruments the same.
#[test]
fn two_instruments_are_never_called_the_same() {
    let dbn = &mut Dbn::new();
    let of = |publisher: u16, instrument: u32| {
        mbo(b'N', b'N', 0, 1, 0, LAST)
            .put(2, &publisher.to_le_bytes())
            .put(4, &instrument.to_le_bytes())
            .message()
    };
    check(dbn, &of(1, 17), &["1 is ESH4", "Info - 0 0.00 x 0"]);
    check(dbn, &of(1, 18), &["2 is 00000012", "Info - 0 0.00 x 0"]);
    check(dbn, &of(2, 18), &["3 is ~0000003", "Info - 0 0.00 x 0"]);
    check(dbn, &of(1, 17), &["Info - 0 0.00 x 0"]);
}

#[test]
fn records_that_are_wrong_are_refused() {
    let dbn = &mut Dbn::new();
    assert_eq!(take(dbn, b"ESH4    "), Err(Fault::Empty));
    let good = mbo(b'A', b'B', 7, 4_800, 10, LAST);
    let short = [&good.message()[..8 + 52], &[][..]].concat();
    let field = |record: Record| match take(&mut Dbn::new(), &record.message()) {
        Err(Fault::Field { offset_bytes, .. }) => offset_bytes,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        take(dbn, &short),
        Err(Fault::Length { want: 56, .. })
    ));
    let other = Record::new(60, 0xa0).put(8, &DAY.to_le_bytes());
    assert!(matches!(
        take(dbn, &other.message()),
        Err(Fault::Length { want: 56, .. })
    ));
    assert_eq!(field(mbo(b'Z', b'B', 7, 4_800, 10, LAST)), 38);
    assert_eq!(field(mbo(b'A', b'N', 7, 4_800, 10, LAST)), 39);
    assert_eq!(field(mbo(b'A', b'?', 7, 4_800, 10, LAST)), 39);
    let never = [0xff; 8];
    assert_eq!(field(good.put(8, &never).put(40, &never)), 8);
    // With `ts_out`, each record is eight bytes longer.
    let mut longer = mbo(b'A', b'B', 7, 4_800, 10, LAST).0;
    longer[0] = 16;
    longer.extend(DAY.to_le_bytes());
    check(
        dbn,
        &Record(longer).message(),
        &["1 is ESH4", "Add buy 7 4800.00 x 10"],
    );
}

/// Metadata of a version, with mappings `(symbol, from, to, instrument)`.
fn metadata(version: u8, mappings: &[(&str, u32, u32, &str)]) -> Vec<u8> {
    let room = if version == 1 { 22 } else { 71 };
    let symbol = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(room, 0);
        bytes
    };
    let mut body = b"GLBX.MDP3\0\0\0\0\0\0\0".to_vec();
    body.extend(0u16.to_le_bytes());
    body.extend(DAY.to_le_bytes());
    body.extend([0; 16]);
    body.extend(vec![0; if version == 1 { 8 } else { 0 }]);
    body.extend([1, 0, 0]);
    if version > 1 {
        body.extend((room as u16).to_le_bytes());
    }
    body.extend(vec![0; if version == 1 { 47 } else { 53 }]);
    body.extend(0u32.to_le_bytes());
    body.extend(1u32.to_le_bytes());
    body.extend(symbol("ESH4"));
    body.extend([0; 8]);
    body.extend((mappings.len() as u32).to_le_bytes());
    for (raw, from, to, instrument) in mappings {
        body.extend(symbol(raw));
        body.extend(1u32.to_le_bytes());
        body.extend(from.to_le_bytes());
        body.extend(to.to_le_bytes());
        body.extend(symbol(instrument));
    }
    let mut bytes = vec![b'D', b'B', b'N', version];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_dbn_file_names_its_instruments_by_date() {
    for version in 1..=3 {
        let mut bytes = metadata(
            version,
            &[
                ("OLD", 20_231_201, 20_231_225, "17077"),
                ("ESH4", 20_231_225, 20_231_226, "17077"),
                ("ESH4-ESM4", 20_231_225, 20_231_226, "9"),
            ],
        );
        let records_at = bytes.len();
        bytes.extend(mbo(b'A', b'B', 7, 4_800, 10, LAST).0);
        bytes.extend(
            mbo(b'A', b'B', 8, 4_800, 10, LAST)
                .put(4, &9u32.to_le_bytes())
                .0,
        );
        bytes.extend([14, 0xa0, 1]);
        let file = File::new(&format!("v{version}.dbn"), &bytes);
        for max in [1, 64] {
            let (wire, messages, troubles) = file.read(max);
            assert_eq!(wire, Wire::Dbn);
            let names: Vec<&[u8]> = messages.iter().map(|(_, message)| &message[..8]).collect();
            // Names beyond eight letters are told by number.
            let want: [&[u8]; 2] = [b"ESH4    ", b"00000009"];
            assert_eq!(names, want);
            assert_eq!(messages[0].0, Some(Ts(DAY as i64 + 5)));
            let at = records_at + 112;
            assert_eq!(
                troubles,
                [format!("byte {at}: cut record: 3 bytes, want 56")]
            );
        }
        let empty = File::new(&format!("v{version}-empty.dbn"), &bytes[..records_at]);
        assert_eq!(empty.read(1), (Wire::Dbn, Vec::new(), Vec::new()));
        let capture =
            Capture::open(std::slice::from_ref(&file.0), CaptureOptions::default()).unwrap();
        assert_eq!(capture.files()[0].start, Some(Ts(DAY as i64)));
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What an order is, by a plain second reading of random records, after each of them.
#[test]
fn random_mbo_records_leave_the_orders_of_a_plain_map() {
    let mut random = Random(3);
    let dbn = &mut Dbn::new();
    let mut plain: BTreeMap<u64, (u8, i64, u32)> = BTreeMap::new();
    let mut orders: BTreeMap<u64, (Side, Price, i64)> = BTreeMap::new();
    for step in 0..30_000 {
        let order = 1 + random.below(60);
        let action = *b"AAMMMCTFNR".get(random.below(100) as usize % 10).unwrap();
        let action = if action == b'R' && random.below(20) > 0 {
            b'A'
        } else {
            action
        };
        let action = match (action, plain.contains_key(&order)) {
            (b'A', true) => b'M',
            (b'C', false) => b'A',
            (action, _) => action,
        };
        let (price, size) = (4_800 + random.below(3) as i64, 1 + random.below(4) as u32);
        let side = *b"BA".get(random.below(2) as usize).unwrap();
        let (side, price, size) = match (action, plain.get(&order)) {
            // A cancel takes what is there, or part of it.
            (b'C', Some(&(side, price, left))) => (side, price, size.min(left)),
            _ => (side, price, size),
        };
        let record = mbo(
            action,
            side,
            order,
            price,
            size,
            (random.below(2) * 128) as u8,
        );
        match action {
            b'A' | b'M' => drop(plain.insert(order, (side, price, size))),
            b'C' => {
                let left = plain.get_mut(&order).unwrap();
                left.2 -= size;
                if left.2 == 0 {
                    plain.remove(&order);
                }
            }
            b'R' => plain.clear(),
            _ => {}
        }
        for event in take(dbn, &record.message()).unwrap() {
            let shown = (event.side, event.price, event.qty.0);
            match event.kind {
                Kind::Add => assert_eq!(orders.insert(event.order, shown), None, "step {step}"),
                Kind::Replace => {
                    assert_eq!(event.order, event.order_b);
                    assert!(orders.insert(event.order, shown).is_some(), "step {step}");
                }
                Kind::Delete => assert!(orders.remove(&event.order).is_some(), "step {step}"),
                Kind::Cancel => {
                    let left = orders.get_mut(&event.order).unwrap();
                    left.2 -= event.qty.0;
                    if left.2 == 0 {
                        orders.remove(&event.order);
                    }
                }
                _ => {}
            }
        }
        let want = plain.iter().map(|(&id, &(side, price, size))| {
            let side = if side == b'B' { Side::Buy } else { Side::Sell };
            (id, (side, Price(price * 1_000_000_000), i64::from(size)))
        });
        assert!(
            want.eq(orders.iter().map(|(&id, &order)| (id, order))),
            "step {step}"
        );
    }
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(5);
    let (dbn, lobster) = (&mut Dbn::new(), &mut Lobster::new(MIDNIGHT));
    let rtypes = [0xa0, 0x00, 0x01, 0xc5, 0x0a, 0x13, 0x12, 0x21, 0xff];
    let lens = [56, 48, 80, 80, 368, 520, 40, 56, 16];
    for round in 0..60_000 {
        let which = random.below(9) as usize;
        let mut message: Vec<u8> = (0..8 + lens[which]).map(|_| random.next() as u8).collect();
        (message[8], message[9]) = ((lens[which] / 4) as u8, rtypes[which]);
        if which < 5 {
            let at = 8 + if which == 0 { 38 } else { 28 };
            message[at] = b"ACMTRFN"[random.below(7) as usize];
            message[at + 1] = b"BAN"[random.below(3) as usize];
        }
        if random.below(4) == 0 {
            message.truncate(random.below(message.len() as u64 + 1) as usize);
        }
        let mut event = Event::new(Kind::Nothing);
        if dbn.decode(&message, &mut event).is_ok() {
            let mut events = Vec::new();
            let cleared = event.code == b'R';
            let result = dbn.translate(&message, &event, &mut events);
            assert!(
                matches!(result, Ok(()) | Err(Fault::Full { .. })),
                "round {round}"
            );
            assert!(
                cleared || events.len() <= 41,
                "round {round}: {}",
                events.len()
            );
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some())
            );
        }
        let mut text = *b"AAPL    34200.004241176,1,16113575,18,5853300,1";
        for _ in 0..random.below(4) {
            let at = 8 + random.below(39) as usize;
            text[at] = b"0123456789,.-x\0\xff"[random.below(16) as usize];
        }
        let mut event = Event::new(Kind::Nothing);
        if lobster.decode(&text, &mut event).is_ok() {
            let mut events = Vec::new();
            lobster.translate(&text, &event, &mut events).unwrap();
            assert!(events.len() <= 2, "round {round}");
        }
    }
}
