//! Cboe PITCH: units and messages written by hand, any bytes, and real packets.

use std::collections::BTreeMap;
use std::path::Path;

use bus::{Event, Flags, Kind, Side, Ts};
use feed::arbiter::GapRule;
use feed::inspect::inspect;
use feed::moldudp64::{Blocks, Header};
use feed::pitch::{PREFIX_BYTES, Units, is_pitch};
use feed::protocol::{Fault, Pitch, Protocol, Wire};
use feed::source::{Capture, CaptureOptions};

/// 2023-08-22 in New York, and 09:30 of that day.
const MIDNIGHT: i64 = 1_692_676_800_000_000_000;
const OPEN_NS: i64 = 34_200_000_000_000;

fn message(code: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0, code];
    rest.iter().for_each(|part| bytes.extend(*part));
    bytes[0] = bytes.len() as u8;
    bytes
}

fn short(code: u8, id: u64, side: u8, qty: u16, symbol: &str, e2: u16) -> Vec<u8> {
    let symbol = format!("{symbol:<6}");
    let (qty, price) = (qty.to_le_bytes(), e2.to_le_bytes());
    let id = id.to_le_bytes();
    if code == 0x2b {
        let parts: [&[u8]; 7] = [
            &[7; 4],
            &[0; 8],
            &[side],
            &qty,
            symbol.as_bytes(),
            &price,
            &id,
        ];
        return message(code, &parts);
    }
    let parts: [&[u8]; 7] = [&[7; 4], &id, &[side], &qty, symbol.as_bytes(), &price, &[1]];
    message(code, &parts)
}

/// A message of an order that is known: its number and what follows.
fn of(code: u8, id: u64, rest: &[&[u8]]) -> Vec<u8> {
    let id = id.to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![&[7; 4], &id];
    parts.extend(rest);
    message(code, &parts)
}

fn take(pitch: &mut Pitch, unit: u8, message: &[u8]) -> Result<Vec<Event>, Fault> {
    let mut bytes = vec![unit];
    bytes.extend((MIDNIGHT + OPEN_NS + 400_000_000).to_le_bytes());
    assert_eq!(bytes.len(), PREFIX_BYTES);
    bytes.extend(message);
    let mut event = Event::new(Kind::Nothing);
    pitch.decode(&bytes, &mut event)?;
    let mut events = Vec::new();
    pitch.translate(&bytes, &event, &mut events)?;
    Ok(events)
}

/// Events in one line each, for comparison.
fn text(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let side = match event.side {
            Side::Buy => " buy",
            Side::Sell => " sell",
            Side::None => "",
        };
        let (kind, symbol, order) = (event.kind, event.symbol, event.order);
        if kind == Kind::Symbol {
            let name = String::from_utf8(order.to_be_bytes().to_vec()).unwrap();
            return format!("{symbol} is {}", name.trim_end());
        }
        let (price, qty) = (event.price, event.qty.0);
        format!("{symbol} {kind:?}{side} {order} {price} x {qty}")
    };
    events.iter().map(line).collect()
}

#[track_caller]
fn check(pitch: &mut Pitch, message: &[u8], want: &[&str]) {
    assert_eq!(text(&take(pitch, 3, message).unwrap()), want);
}

#[test]
fn an_order_comes_changes_and_goes() {
    let pitch = &mut Pitch::new(Ts(MIDNIGHT));
    check(
        pitch,
        &short(0x22, 5, b'B', 300, "SPY", 1_234),
        &["1 is SPY", "1 Add buy 5 12.34 x 300"],
    );
    let long = |e4: u64| e4.to_le_bytes();
    let parts: [&[u8]; 6] = [
        b"S",
        &900u32.to_le_bytes(),
        b"SPY     ",
        &long(123_401),
        &[0],
        b"MPID",
    ];
    check(pitch, &of(0x2f, 6, &parts), &["1 Add sell 6 12.3401 x 900"]);
    let other = &mut Pitch::new(Ts(MIDNIGHT));
    let said = take(other, 3, &of(0x2f, 8, &parts)).unwrap();
    let (who, added) = (u32::from_be_bytes(*b"MPID").into(), said.last().unwrap());
    assert_eq!((added.order_b, added.flags), (who, Flags::ATTRIBUTED));
    let nobody: [&[u8]; 6] = [parts[0], parts[1], parts[2], parts[3], parts[4], b"    "];
    let said = take(other, 3, &of(0x2f, 9, &nobody)).unwrap();
    let added = said.last().unwrap();
    assert_eq!((added.order_b, added.flags), (0, Flags(0)));
    let parts: [&[u8]; 5] = [b"S", &800u32.to_le_bytes(), b"QQQ   ", &long(99), &[0]];
    check(
        pitch,
        &of(0x21, 7, &parts),
        &["2 is QQQ", "2 Add sell 7 0.0099 x 800"],
    );
    check(
        pitch,
        &of(0x23, 5, &[&100u32.to_le_bytes(), &[9; 8]]),
        &["1 Execute buy 5 0.00 x 100"],
    );
    check(
        pitch,
        &of(0x26, 5, &[&50u16.to_le_bytes()]),
        &["1 Cancel buy 5 0.00 x 50"],
    );
    check(
        pitch,
        &of(0x25, 6, &[&400u32.to_le_bytes()]),
        &["1 Cancel sell 6 0.00 x 400"],
    );
    // At another price, with less left than that alone explains.
    let parts: [&[u8]; 4] = [
        &200u32.to_le_bytes(),
        &100u32.to_le_bytes(),
        &[9; 8],
        &long(123_000),
    ];
    let events = take(pitch, 3, &of(0x24, 6, &parts)).unwrap();
    assert_eq!(
        text(&events),
        [
            "1 ExecuteAt sell 6 12.30 x 200",
            "1 Cancel sell 6 0.00 x 200"
        ]
    );
    assert_eq!(events[0].flags, Flags::PRINTABLE.with(Flags::MORE));
    assert_eq!(events[1].flags, Flags::ENDS);
    // 150 are left of order 5: at its place, then behind the others, then gone.
    let modify = |id: u64, qty: u16, e2: u16, flags: u8| {
        of(0x28, id, &[&qty.to_le_bytes(), &e2.to_le_bytes(), &[flags]])
    };
    check(
        pitch,
        &modify(5, 100, 1_234, 2),
        &["1 Cancel buy 5 0.00 x 50"],
    );
    check(
        pitch,
        &modify(5, 90, 1_234, 0),
        &["1 Replace buy 5 12.34 x 90"],
    );
    let parts: [&[u8]; 3] = [&700u32.to_le_bytes(), &long(120_000), &[2]];
    check(
        pitch,
        &of(0x27, 5, &parts),
        &["1 Replace buy 5 12.00 x 700"],
    );
    check(pitch, &of(0x29, 5, &[]), &["1 Delete buy 5 0.00 x 0"]);
    // Nobody told of it any more.
    check(pitch, &of(0x29, 5, &[]), &["0 Delete 5 0.00 x 0"]);
    check(
        pitch,
        &message(0x97, &[&[0; 4]]),
        &["1 Delete sell 6 0.00 x 0", "2 Delete sell 7 0.00 x 0"],
    );
}

#[test]
fn trades_status_and_ends_are_told() {
    let pitch = &mut Pitch::new(Ts(MIDNIGHT));
    let trade = take(pitch, 3, &short(0x2b, 77, b'B', 30, "SPY", 1_234)).unwrap();
    assert_eq!(text(&trade), ["1 is SPY", "1 Trade buy 0 12.34 x 30"]);
    assert_eq!((trade[1].order_b, trade[1].flags), (77, Flags::PRINTABLE));
    for (letter, want) in [
        (b'T', "1 Status 84 0.00 x 0"),
        (b'S', "1 Status 72 0.00 x 0"),
        (b'A', "1 Status 81 0.00 x 0"),
        (b'R', "1 Info 82 0.00 x 0"),
    ] {
        check(
            pitch,
            &message(0x31, &[&[0; 4], b"SPY     ", &[letter, b'0', 0, 0]]),
            &[want],
        );
    }
    let broken = take(pitch, 3, &of(0x2c, 77, &[])).unwrap();
    assert_eq!((broken[0].kind, broken[0].order_b), (Kind::Break, 77));
    check(pitch, &message(0x2d, &[&[0; 4]]), &["0 Info 67 0.00 x 0"]);
    let fault = take(pitch, 3, &message(0x29, &[&[0; 11]]));
    assert!(matches!(
        fault,
        Err(Fault::Length {
            code: b'D',
            got: 13,
            want: 14
        })
    ));
    let fault = take(pitch, 3, &message(0x77, &[]));
    assert!(matches!(fault, Err(Fault::UnknownType { code: 0x77, .. })));
}

/// Each unit has a clock of its own; before it told the second, the capture's is near enough.
#[test]
fn a_time_counts_from_its_units_last_second() {
    let pitch = &mut Pitch::new(Ts(MIDNIGHT));
    let at = |pitch: &mut Pitch, unit: u8, ns: u32| {
        let order = message(0x29, &[&ns.to_le_bytes(), &[0; 8]]);
        take(pitch, unit, &order).unwrap()[0].ts_event.0 - MIDNIGHT
    };
    // Received 400 ms behind the full second.
    assert_eq!(at(pitch, 1, 399_000_000), OPEN_NS + 399_000_000);
    assert_eq!(at(pitch, 1, 950_000_000), OPEN_NS - 50_000_000);
    let second = message(0x20, &[&60u32.to_le_bytes()]);
    assert_eq!(take(pitch, 2, &second).unwrap(), []);
    assert_eq!(at(pitch, 2, 5), 60_000_000_005);
    assert_eq!(at(pitch, 1, 5), OPEN_NS + 5);
    let since_1970 = (MIDNIGHT / 1_000_000_000 + 9) as u32;
    let second = message(0x20, &[&60u32.to_le_bytes(), &since_1970.to_le_bytes()]);
    take(pitch, 2, &second).unwrap();
    assert_eq!(at(pitch, 2, 5), 9_000_000_005);
}

fn unit(unit: u8, sequence: u32, messages: &[Vec<u8>]) -> Vec<u8> {
    let body = messages.concat();
    let mut bytes = ((body.len() + 8) as u16).to_le_bytes().to_vec();
    bytes.extend([messages.len() as u8, unit]);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_unit_reads_as_a_moldudp64_packet() {
    let messages = [of(0x29, 5, &[]), short(0x22, 5, b'B', 300, "SPY", 1_234)];
    let payload = unit(17, 40, &messages);
    assert!(is_pitch(&payload) && !is_pitch(&payload[..payload.len() - 1]));
    assert!(is_pitch(&unit(17, 40, &[])) && !is_pitch(&[]));
    let mut units = Units::default();
    let packet = units.as_mold(&payload, 30_217, Some(Ts(9))).unwrap();
    let (header, blocks) = Header::split(packet).unwrap();
    assert_eq!((header.sequence, header.count), (40, 2));
    assert_eq!(header.session.to_string(), "P30217.017");
    let found: Vec<&[u8]> = Blocks::new(blocks).map(|m| &m[PREFIX_BYTES..]).collect();
    assert_eq!(found, messages);
    let cut = units
        .as_mold(&payload[..payload.len() - 1], 30_217, None)
        .unwrap();
    let (header, blocks) = Header::split(cut).unwrap();
    assert_eq!((header.count, Blocks::new(blocks).count()), (2, 1));
    assert!(units.as_mold(&payload[..7], 30_217, None).is_err());
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
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(11);
    let pitch = &mut Pitch::new(Ts(MIDNIGHT));
    let mut units = Units::default();
    let mut accepted = 0;
    for _ in 0..200_000u64 {
        let len = random.next() as usize % 60;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8 % 90).collect();
        if let Some(code) = bytes.get_mut(1) {
            *code = 0x20 + (random.next() % 18) as u8;
        }
        // Few orders, so that some are known.
        if let Some(id) = bytes.get_mut(6..14) {
            id.fill(0);
            id[0] = random.next() as u8 % 20;
        }
        if let Some(side) = bytes.get_mut(14) {
            *side = b'B';
        }
        if let Ok(events) = take(pitch, random.next() as u8 % 4, &bytes) {
            accepted += 1;
            assert!(events.len() <= 3);
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some())
            );
        }
        let mut payload = unit(1, 1, &[bytes, vec![6, 0x20, 0, 0, 0, 0]]);
        let at = random.next() as usize % payload.len();
        payload[at] ^= 1 << (random.next() % 8);
        payload.truncate(random.next() as usize % (payload.len() + 1));
        let _ = is_pitch(&payload);
        if let Ok(packet) = units.as_mold(&payload, 1, None) {
            assert!(packet.len() <= 20 + 6 * payload.len());
            assert!(Header::split(packet).is_some());
        }
    }
    assert!(accepted > 20_000, "{accepted} messages were accepted");
}

/// Real packets of three of Cboe's feeds.
#[test]
fn single_packets_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data/other-venues/omi-packets"))
        .find(|folder| folder.is_dir());
    let Some(data) = data else {
        println!("skipped: single_packets_are_read: there is no folder shared/data here or above");
        return;
    };
    let mut types: BTreeMap<char, u64> = BTreeMap::new();
    let mut unknown = 0;
    for folder in [
        "Byx.Equities.DepthOfBook.Pitch.v2.41",
        "Futures.DepthOfBook.Pitch.v1.1.6",
        "Options.DepthOfBook.Pitch.v2.39.4",
    ] {
        for file in std::fs::read_dir(data.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let files = std::slice::from_ref(&path);
            let mut capture = Capture::open(files, CaptureOptions::default()).unwrap();
            assert_eq!(capture.wire().unwrap(), Wire::Pitch, "{}", path.display());
            let midnight = Ts(MIDNIGHT);
            let report = inspect(&mut capture, Pitch::new(midnight), GapRule::default()).unwrap();
            assert_eq!(report.not_moldudp64, 0, "{}", path.display());
            // A definition of a future is not read.
            unknown += report.refused;
            for (code, count) in report.by_type.iter().enumerate().filter(|(_, n)| **n > 0) {
                *types.entry(code as u8 as char).or_default() += count;
            }
            if path.ends_with(format!(
                "{}/MultipleMessages.pcap",
                "Byx.Equities.DepthOfBook.Pitch.v2.41"
            )) {
                let names = report.busiest.iter().map(|busy| &busy.name[..]);
                assert_eq!(names.collect::<Vec<_>>(), ["YANG", "XSVN"]);
                let (first, last) = report.event_span.unwrap();
                // 754,000 and 772,000 ns after 09:30 in New York, of which the unit told itself.
                assert_eq!(first.0, MIDNIGHT + 34_200_000_000_000);
                assert_eq!(last.0, MIDNIGHT + 34_200_000_772_000);
            }
        }
    }
    assert_eq!(unknown, 1);
    assert_eq!(types.remove(&'\u{bb}'), Some(1));
    let found: String = types.keys().collect();
    assert_eq!(found, "ADHMs");
}
