//! IEX-TP, DEEP and TOPS: messages written by hand, streams that start anew, any bytes, and IEX's
//! own packets held against what another decoder says of them.

use std::path::Path;

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};
use feed::iextp::{Segments, is_iextp};
use feed::moldudp64::{Blocks, Header};
use feed::protocol::{Fault, Iex, Protocol, Wire};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

const AT: i64 = 1_493_133_549_000_000_000;

/// A message: type, its first byte, a time, a symbol, and what follows.
fn message(code: u8, first: u8, ns: i64, symbol: &str, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![code, first];
    bytes.extend((AT + ns).to_le_bytes());
    if code != b'S' {
        bytes.extend(format!("{symbol:<8}").bytes());
    }
    rest.iter().for_each(|part| bytes.extend(*part));
    bytes
}

fn level(code: u8, flags: u8, symbol: &str, size: u32, e4: i64) -> Vec<u8> {
    let (size, price) = (size.to_le_bytes(), e4.to_le_bytes());
    message(code, flags, 0, symbol, &[&size, &price])
}

fn quote(symbol: &str, bid: (u32, i64), ask: (u32, i64)) -> Vec<u8> {
    let parts: [&[u8]; 4] = [
        &bid.0.to_le_bytes(),
        &bid.1.to_le_bytes(),
        &ask.1.to_le_bytes(),
        &ask.0.to_le_bytes(),
    ];
    message(b'Q', 0x40, 0, symbol, &parts)
}

fn trade(code: u8, symbol: &str, size: u32, e4: i64, id: u64) -> Vec<u8> {
    let (size, price, id) = (size.to_le_bytes(), e4.to_le_bytes(), id.to_le_bytes());
    message(code, 0, 0, symbol, &[&size, &price, &id])
}

/// The events that a message makes, or what is wrong with it.
fn take(iex: &mut Iex, message: &[u8]) -> Result<Vec<Event>, Fault> {
    let mut event = Event::new(Kind::Nothing);
    iex.decode(message, &mut event)?;
    let mut events = Vec::new();
    iex.translate(message, &event, &mut events)?;
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
        let part = match event.flags {
            Flags::MORE => " more",
            Flags::ENDS => " ends",
            _ => "",
        };
        let (kind, symbol, order) = (event.kind, event.symbol, event.order);
        if kind == Kind::Symbol {
            let name = String::from_utf8(order.to_be_bytes().to_vec()).unwrap();
            return format!("{symbol} is {}", name.trim_end());
        }
        format!(
            "{symbol} {kind:?}{side} {order} {} x {}{part}",
            event.price, event.qty.0
        )
    };
    events.iter().map(line).collect()
}

#[track_caller]
fn check(iex: &mut Iex, message: &[u8], want: &[&str]) {
    assert_eq!(text(&take(iex, message).unwrap()), want);
}

#[test]
fn a_level_comes_changes_and_goes_as_one_order() {
    let iex = &mut Iex::new();
    let buy = |size, e4| level(b'8', 1, "ZIEXT", size, e4);
    check(
        iex,
        &buy(100, 99_500),
        &["1 is ZIEXT", "1 Add buy 1 9.95 x 100"],
    );
    check(iex, &buy(300, 99_500), &["1 Replace buy 1 9.95 x 300"]);
    // The same number at another price, on the other side or of another symbol is another level.
    check(iex, &buy(7, 99_400), &["1 Add buy 2 9.94 x 7"]);
    check(
        iex,
        &level(b'5', 1, "ZIEXT", 8, 99_500),
        &["1 Add sell 3 9.95 x 8"],
    );
    check(
        iex,
        &level(b'8', 1, "AA-", 5, 99_500),
        &["2 is AA-", "2 Add buy 4 9.95 x 5"],
    );
    check(iex, &buy(0, 99_500), &["1 Delete buy 1 0.00 x 0"]);
    // What changes nothing is told and no more.
    check(iex, &buy(0, 99_500), &["1 Info 0 0.00 x 0"]);
    check(iex, &buy(7, 99_400), &["1 Info 0 0.00 x 0"]);
    // A number that became free is given again.
    check(iex, &buy(1, 99_300), &["1 Add buy 1 9.93 x 1"]);
}

/// An event of the feed may change several levels, and says with which one it is over.
#[test]
fn changes_that_belong_together_end_together() {
    let iex = &mut Iex::new();
    check(
        iex,
        &level(b'8', 0, "A", 100, 99_500),
        &["1 is A", "1 Add buy 1 9.95 x 100 more"],
    );
    check(
        iex,
        &level(b'5', 1, "B", 9, 99_500),
        &["2 is B", "2 Add sell 2 9.95 x 9"],
    );
    check(
        iex,
        &level(b'5', 0, "A", 100, 99_600),
        &["1 Add sell 3 9.96 x 100 more"],
    );
    check(
        iex,
        &level(b'8', 1, "A", 50, 99_500),
        &["1 Replace buy 1 9.95 x 50 ends"],
    );
    check(
        iex,
        &level(b'8', 0, "A", 60, 99_500),
        &["1 Replace buy 1 9.95 x 60 more"],
    );
    // The last one changes nothing, and ends the change all the same.
    check(
        iex,
        &level(b'8', 1, "A", 60, 99_500),
        &["1 Info 0 0.00 x 0 ends"],
    );
}

#[test]
fn a_quote_is_one_change_of_both_sides() {
    let iex = &mut Iex::new();
    check(
        iex,
        &quote("FB", (100, 463_500), (200, 463_700)),
        &[
            "1 is FB",
            "1 Add buy 1 46.35 x 100 more",
            "1 Add sell 2 46.37 x 200 ends",
        ],
    );
    check(
        iex,
        &quote("FB", (150, 463_500), (200, 463_700)),
        &["1 Replace buy 1 46.35 x 150"],
    );
    check(
        iex,
        &quote("FB", (10, 463_800), (20, 463_900)),
        &[
            "1 Delete buy 1 0.00 x 0 more",
            "1 Add buy 1 46.38 x 10 more",
            "1 Delete sell 2 0.00 x 0 more",
            "1 Add sell 2 46.39 x 20 ends",
        ],
    );
    check(
        iex,
        &quote("FB", (0, 0), (20, 463_900)),
        &["1 Delete buy 1 0.00 x 0"],
    );
}

#[test]
fn trades_breaks_and_states_are_told() {
    let iex = &mut Iex::new();
    let print = trade(b'T', "IRS", 35, 113_200, 77);
    check(iex, &print, &["1 is IRS", "1 Trade 0 11.32 x 35"]);
    let mut event = Event::new(Kind::Nothing);
    iex.decode(&print, &mut event).unwrap();
    assert_eq!((event.order_b, event.flags), (77, Flags::PRINTABLE));
    assert_eq!(event.ts_event, Ts(AT));
    iex.decode(&trade(b'B', "IRS", 35, 113_200, 77), &mut event)
        .unwrap();
    assert_eq!((event.kind, event.order_b), (Kind::Break, 77));
    assert_eq!((event.price, event.qty), (Price(0), Qty(0)));

    let state = |code, letter| {
        let rest: &[u8] = if code == b'H' { b"    " } else { b"" };
        message(code, letter, 0, "IRS", &[rest])
    };
    let status = |letter: u8| format!("1 Status {letter} 0.00 x 0");
    let info = |letter: u8| format!("1 Info {letter} 0.00 x 0");
    for (message, want) in [
        (state(b'O', b'N'), info(b'N')),
        (state(b'H', b'T'), status(b'T')),
        // IEX alone halts; what the market's status is meanwhile waits for its end.
        (state(b'O', b'O'), status(b'H')),
        (state(b'H', b'T'), status(b'H')),
        (state(b'O', b'N'), status(b'T')),
        (state(b'H', b'O'), status(b'Q')),
        (state(b'H', b'H'), status(b'H')),
    ] {
        check(iex, &message, &[&want]);
    }
    // Market hours begin with another letter than Nasdaq's.
    let hours = message(b'S', b'R', 0, "", &[]);
    check(iex, &hours, &[&format!("0 System {} 0.00 x 0", b'Q')]);
}

#[test]
fn messages_may_grow_and_may_not_shrink() {
    let iex = &mut Iex::new();
    let mut longer = level(b'8', 1, "A", 100, 99_500);
    longer.extend([1, 2, 3]);
    assert_eq!(take(iex, &longer).unwrap().len(), 2);
    let short = &longer[..29];
    let want = Fault::Length {
        code: b'8',
        got: 29,
        want: 30,
    };
    assert_eq!(take(iex, short), Err(want));
    assert_eq!(take(iex, b""), Err(Fault::Empty));
    let unknown = Fault::UnknownType {
        code: b'z',
        len_bytes: 1,
    };
    assert_eq!(take(iex, b"z"), Err(unknown));
    for price in [-1, i64::MAX, i64::MAX / 100_000 + 1] {
        let fault = take(iex, &level(b'8', 1, "A", 100, price));
        assert!(matches!(
            fault,
            Err(Fault::Field {
                offset_bytes: 22,
                ..
            })
        ));
    }
}

/// A segment of messages.
fn segment(sequence: u64, offset: u64, sent: i64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for message in messages {
        body.extend((message.len() as u16).to_le_bytes());
        body.extend(message);
    }
    let mut bytes = vec![1, 0, 4, 0x80, 1, 0, 0, 0, 0, 0, 0x81, 0x43];
    bytes.extend((body.len() as u16).to_le_bytes());
    bytes.extend((messages.len() as u16).to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(sent.to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn a_segment_reads_as_a_moldudp64_packet() {
    let messages = [level(b'8', 1, "A", 1, 2), trade(b'T', "B", 3, 4, 5)];
    let payload = segment(41, 900, AT, &messages);
    assert!(is_iextp(&payload) && !is_iextp(&payload[..39]) && !is_iextp(&payload[1..]));
    let mut segments = Segments::default();
    let packet = segments.as_mold(&payload, 0).unwrap();
    let (header, blocks) = Header::split(packet).unwrap();
    assert_eq!((header.sequence, header.count), (41, 2));
    assert_eq!(&header.session.0[..2], b"D1");
    let found: Vec<Vec<u8>> = Blocks::new(blocks).map(<[u8]>::to_vec).collect();
    assert_eq!(found, messages);
    // Cut in its last message: what is whole comes, and the count says that more should.
    let packet = segments.as_mold(&payload[..payload.len() - 1], 0).unwrap();
    let (header, blocks) = Header::split(packet).unwrap();
    assert_eq!((header.count, Blocks::new(blocks).count()), (2, 1));
    assert!(segments.as_mold(&payload[..39], 0).is_err());
    let mut other = payload.clone();
    other[2] = 9;
    assert!(!is_iextp(&other) && segments.as_mold(&other, 0).is_err());
}

/// IEX's own sample has eleven such starts, under one session number.
#[test]
fn a_stream_that_starts_anew_is_another_session() {
    let mut segments = Segments::default();
    let mut session = |line, sequence, offset, sent| {
        let payload = segment(sequence, offset, sent, &[]);
        let packet = segments.as_mold(&payload, line).unwrap();
        Header::split(packet).unwrap().0.session
    };
    let second = 1_000_000_000;
    let first = session(0, 1, 0, AT);
    assert_eq!(session(0, 1, 0, AT + 1), first, "a second heartbeat");
    assert_eq!(session(0, 500, 9_000, AT + second), first);
    assert_eq!(session(1, 500, 9_000, AT + second + 3), first);
    assert_eq!(
        session(0, 1, 0, AT + 2),
        first,
        "a late copy is of its time"
    );
    let anew = session(0, 1, 0, AT + 60 * second);
    assert_ne!(anew, first);
    assert_eq!(
        session(1, 510, 9_900, AT + 59 * second),
        first,
        "the other line lags"
    );
    assert_eq!(
        session(1, 1, 0, AT + 60 * second + 7),
        anew,
        "and starts anew with the first"
    );
    assert_eq!(session(0, 30, 800, AT + 61 * second), anew);
    assert_eq!(session(1, 30, 800, AT + 61 * second), anew);
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

/// A plain second implementation: what each side shows, by price.
#[derive(Default)]
struct Plain(std::collections::BTreeMap<(u32, u8, i64), i64>);

#[test]
fn random_levels_are_the_orders_of_a_plain_map() {
    let mut random = Random(7);
    let (iex, mut plain) = (&mut Iex::new(), Plain::default());
    let mut orders = std::collections::BTreeMap::new();
    for step in 0..20_000 {
        let symbol = ["A", "B", "C"][random.next() as usize % 3];
        let code = [b'8', b'5'][random.next() as usize % 2];
        let e4 = 10_000 + random.next() as i64 % 40;
        let size = [0, 100, 200][random.next() as usize % 3];
        let flags = random.next() as u8 % 2;
        for event in take(iex, &level(code, flags, symbol, size, e4)).unwrap() {
            let shown = (event.symbol, event.side as u8, event.price.0, event.qty.0);
            let before = match event.kind {
                Kind::Add => orders.insert(event.order, shown).is_some(),
                Kind::Replace => orders.insert(event.order, shown).is_none(),
                Kind::Delete => orders.remove(&event.order).is_none(),
                Kind::Symbol | Kind::Info => continue,
                kind => panic!("step {step}: {kind:?}"),
            };
            assert!(
                !before,
                "step {step}: {event:?} does not fit the orders there are"
            );
        }
        // Numbers follow the order in which names came; the plain map has them by their first.
        let number = {
            let mut event = Event::new(Kind::Nothing);
            let message = level(code, 1, symbol, size, e4);
            iex.decode(&message, &mut event).unwrap();
            let mut events = Vec::new();
            iex.translate(&message, &event, &mut events).unwrap();
            events[0].symbol
        };
        let side = if code == b'8' { Side::Buy } else { Side::Sell };
        let key = (number, side as u8, e4 * 100_000);
        match size {
            0 => plain.0.remove(&key),
            size => plain.0.insert(key, size.into()),
        };
        if step % 500 == 0 {
            let mut found: Vec<_> = orders.values().copied().collect();
            found.sort_unstable();
            let want = plain.0.iter().map(|(&(n, s, p), &q)| (n, s, p, q));
            assert_eq!(found, want.collect::<Vec<_>>(), "step {step}");
        }
    }
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(11);
    let codes = b"SDHOPIE85QTBXAz";
    let (iex, mut segments) = (&mut Iex::new(), Segments::default());
    let mut events = Vec::new();
    for round in 0..200_000u64 {
        let len = random.next() as usize % 100;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if let Some(code) = bytes.first_mut() {
            *code = codes[round as usize % codes.len()];
        }
        let mut event = Event::new(Kind::Nothing);
        if iex.decode(&bytes, &mut event).is_ok() {
            events.clear();
            // More symbols than there can be are refused, and nothing else is.
            match iex.translate(&bytes, &event, &mut events) {
                Ok(()) => {}
                Err(Fault::Full { what, .. }) => assert_eq!(what, "symbols"),
                Err(other) => panic!("round {round}: {other}"),
            }
            assert!(events.len() <= 5, "round {round}: {} events", events.len());
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some())
            );
        }
        let messages = [bytes.clone(), vec![b'S'; 10]];
        let mut payload = segment(
            random.next() % 3,
            random.next() % 2,
            round as i64,
            &messages,
        );
        let at = random.next() as usize % payload.len();
        payload[at] ^= 1 << (random.next() % 8);
        payload.truncate(random.next() as usize % (payload.len() + 1));
        if let Ok(packet) = segments.as_mold(&payload, random.next() as u8 % 4) {
            assert!(packet.len() <= payload.len());
            assert!(Header::split(packet).is_some());
        }
    }
}

/// Real packets, a type each, by their folders' names for the protocol.
#[test]
fn single_packets_of_each_type_are_read() {
    let test = "single_packets_of_each_type_are_read";
    let data = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data/iex/omi-packets"))
        .find(|folder| folder.is_dir());
    let Some(data) = data else {
        println!("skipped: {test}: there is no folder shared/data here or above");
        return;
    };
    let mut types = std::collections::BTreeMap::new();
    for folder in ["Tops.IexTp.v1.5", "Tops.IexTp.v1.6", "Deep.IexTp.v1.0"] {
        for file in std::fs::read_dir(data.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let mut capture =
                Capture::open(std::slice::from_ref(&path), CaptureOptions::default()).unwrap();
            assert_eq!(capture.wire().unwrap(), Wire::Iex, "{}", path.display());
            let (iex, mut segments) = (&mut Iex::new(), Segments::default());
            loop {
                match capture.poll().unwrap() {
                    Polled::Packet(packet) => {
                        assert_eq!(packet.framing, Framing::IexTp);
                        let packet = segments.as_mold(packet.payload, packet.line).unwrap();
                        let (header, blocks) = Header::split(packet).unwrap();
                        let messages: Vec<&[u8]> = Blocks::new(blocks).collect();
                        assert_eq!(messages.len(), usize::from(header.count));
                        for message in messages {
                            *types.entry(char::from(message[0])).or_insert(0) += 1;
                            if let Err(fault) = take(iex, message) {
                                panic!("{}: {fault}", path.display());
                            }
                        }
                    }
                    Polled::End => break,
                    other => panic!("{}: {other:?}", path.display()),
                }
            }
        }
    }
    let found: String = types.keys().collect();
    assert_eq!(found, "58ADHOPQSTX");
}
