//! CME MDP 3.0: packets and messages written by hand, a plain second book of levels and one of
//! queues, any bytes, and real captures held against what other decoders say of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bus::ring::ring;
use bus::{Event, Flags, Kind, Side, Ts};
use feed::arbiter::GapRule;
use feed::inspect::{Report, inspect};
use feed::mdp3::{PREFIX_BYTES, Packets, is_mdp3};
use feed::moldudp64::{Blocks, Header};
use feed::protocol::{Fault, Mdp3, Protocol, Wire};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{Capture, CaptureOptions, Framing, Polled, SimSource, SimStep, Source};

const SENT: u64 = 1_536_760_535_682_568_739;
const ENDS: u8 = 0x80;

/// A message without its size: header, block, and groups of three or eight bytes' dimensions.
fn message(id: u16, version: u16, block: &[u8], groups: &[(bool, usize, Vec<Vec<u8>>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [block.len() as u16, id, 1, version] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(block);
    for (is_wide, each, entries) in groups {
        bytes.extend((*each as u16).to_le_bytes());
        if *is_wide {
            bytes.extend([0; 5]);
        }
        bytes.push(entries.len() as u8);
        for entry in entries {
            bytes.extend(entry);
            bytes.resize(bytes.len() + each - entry.len(), 0xee);
        }
    }
    bytes
}

/// The block of most messages.
fn head(ends: u8) -> Vec<u8> {
    let mut block = (SENT - 5).to_le_bytes().to_vec();
    block.extend([ends, 0, 0]);
    block
}

/// A price level: in units of the template, quantity, security, level, action, type.
fn level(units: i64, qty: i32, security: i32, level: u8, action: u8, entry: u8) -> Vec<u8> {
    let mut bytes = units.to_le_bytes().to_vec();
    bytes.extend(qty.to_le_bytes());
    bytes.extend(security.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend([level, action, entry, 0, 0, 0, 0, 0]);
    bytes
}

/// An order in an entry of template 46.
fn order(id: u64, priority: u64, qty: i32, reference: u8, action: u8) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(priority.to_le_bytes());
    bytes.extend(qty.to_le_bytes());
    bytes.extend([reference, action, 0, 0]);
    bytes
}

/// An entry of template 47.
fn full_order(id: u64, priority: u64, e9: i64, qty: i32, security: i32, end: [u8; 2]) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(priority.to_le_bytes());
    bytes.extend(e9.to_le_bytes());
    bytes.extend(qty.to_le_bytes());
    bytes.extend(security.to_le_bytes());
    bytes.extend(end);
    bytes
}

fn book(ends: u8, levels: Vec<Vec<u8>>, orders: Vec<Vec<u8>>) -> Vec<u8> {
    let groups = [(false, 32, levels), (true, 24, orders)];
    message(46, 9, &head(ends), &groups)
}

fn order_book(ends: u8, orders: Vec<Vec<u8>>) -> Vec<u8> {
    message(47, 9, &head(ends), &[(false, 40, orders)])
}

fn packet(sequence: u32, sent: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = sequence.to_le_bytes().to_vec();
    bytes.extend(sent.to_le_bytes());
    for message in messages {
        bytes.extend((message.len() as u16 + 2).to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

/// The decoder, and the number of the packet that its messages are in.
struct Feed {
    mdp3: Mdp3,
    sequence: u32,
    port: u16,
}

impl Feed {
    fn new() -> Feed {
        Feed {
            mdp3: Mdp3::new(),
            sequence: 100,
            port: 14_310,
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<Vec<Event>, Fault> {
        let (events, result) = self.hear(message);
        result.map(|()| events)
    }

    /// What is made of a message, and what is wrong with it.
    fn hear(&mut self, message: &[u8]) -> (Vec<Event>, Result<(), Fault>) {
        let mut bytes = SENT.to_le_bytes().to_vec();
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.port.to_le_bytes());
        assert_eq!(bytes.len(), PREFIX_BYTES);
        bytes.extend(message);
        let (mut event, mut events) = (Event::new(Kind::Nothing), Vec::new());
        let decoded = self.mdp3.decode(&bytes, &mut event);
        let result = decoded.and_then(|_| self.mdp3.translate(&bytes, &event, &mut events));
        (events, result)
    }

    #[track_caller]
    fn check(&mut self, message: &[u8], want: &[&str]) {
        assert_eq!(text(&self.take(message).unwrap()), want);
    }
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

const E9: i64 = 1_000_000_000;

#[test]
fn levels_are_told_by_their_place() {
    let feed = &mut Feed::new();
    let one = |l: Vec<u8>| book(ENDS, vec![l], vec![]);
    feed.check(
        &one(level(10 * E9, 5, 77, 1, 0, b'0')),
        &["1 is 77", "1 Add buy 1 10.00 x 5"],
    );
    feed.check(
        &one(level(11 * E9, 6, 77, 1, 0, b'0')),
        &["1 Add buy 2 11.00 x 6"],
    );
    feed.check(
        &one(level(10 * E9, 4, 77, 2, 1, b'0')),
        &["1 Replace buy 1 10.00 x 4"],
    );
    // Another price at its place: what was there is gone.
    feed.check(
        &one(level(9 * E9, 4, 77, 2, 5, b'0')),
        &["1 Delete buy 1 0.00 x 0 more", "1 Add buy 1 9.00 x 4 ends"],
    );
    feed.check(
        &one(level(11 * E9, 0, 77, 1, 2, b'0')),
        &["1 Delete buy 2 0.00 x 0"],
    );
    feed.check(
        &one(level(8 * E9, 1, 77, 2, 0, b'0')),
        &["1 Add buy 2 8.00 x 1"],
    );
    // The best one and those up to the second.
    feed.check(
        &one(level(0, 0, 77, 2, 4, b'0')),
        &[
            "1 Delete buy 1 0.00 x 0 more",
            "1 Delete buy 2 0.00 x 0 ends",
        ],
    );
    feed.check(
        &one(level(12 * E9, 2, 77, 1, 0, b'1')),
        &["1 Add sell 2 12.00 x 2"],
    );
    feed.check(
        &one(level(0, 0, 77, 1, 3, b'1')),
        &["1 Delete sell 2 0.00 x 0"],
    );
    feed.check(
        &one(level(12 * E9, 2, 77, 1, 0, b'1')),
        &["1 Add sell 2 12.00 x 2"],
    );
    feed.check(
        &one(level(0, 0, 77, 1, 0, b'J')),
        &["1 Delete sell 2 0.00 x 0"],
    );
}

#[test]
fn what_is_pushed_beyond_the_depth_is_gone() {
    let feed = &mut Feed::new();
    for place in 1..=10 {
        feed.take(&book(
            ENDS,
            vec![level((20 - place) * E9, 1, 77, place as u8, 0, b'0')],
            vec![],
        ))
        .unwrap();
    }
    feed.check(
        &book(ENDS, vec![level(30 * E9, 7, 77, 1, 0, b'0')], vec![]),
        &[
            "1 Delete buy 10 0.00 x 0 more",
            "1 Add buy 10 30.00 x 7 ends",
        ],
    );
}

#[test]
fn a_definition_says_name_depth_and_group() {
    let feed = &mut Feed::new();
    let mut block = vec![0; 216];
    block[1..5].fill(0xff);
    block[23..25].copy_from_slice(b"ES");
    block[35..39].copy_from_slice(b"ESZ6");
    block[55..59].copy_from_slice(&77i32.to_le_bytes());
    let depth = |feed: &[u8; 3], depth: u8| [&feed[..], &[depth]].concat();
    let groups = [
        (false, 9, vec![vec![0; 9], vec![0; 9]]),
        (false, 4, vec![depth(b"GBX", 11), depth(b"GBI", 2)]),
    ];
    let define = message(54, 9, &block, &groups);
    feed.check(&define, &["1 is ESZ6"]);
    // The same again says nothing new; levels go as deep as it said.
    feed.check(&define, &[]);
    for place in 1..=11 {
        let one = level((20 - place) * E9, 1, 77, place as u8, 0, b'0');
        assert_eq!(feed.take(&book(ENDS, vec![one], vec![])).unwrap().len(), 1);
    }
    // A status of the whole group, and of one that nobody defined.
    let status = |group: &[u8; 6], security: i32, status: u8| {
        let mut block = (SENT - 5).to_le_bytes().to_vec();
        block.extend(group);
        block.extend([0; 6]);
        block.extend(security.to_le_bytes());
        block.extend([0, 0, ENDS, status, 0, 0]);
        message(30, 9, &block, &[])
    };
    feed.check(
        &status(b"ES\0\0\0\0", i32::MAX, 17),
        &["1 Status 84 0.00 x 0"],
    );
    feed.check(&status(b"NQ\0\0\0\0", i32::MAX, 2), &["0 Info 72 0.00 x 0"]);
    feed.check(&status(b"NQ\0\0\0\0", 77, 21), &["1 Status 81 0.00 x 0"]);
    feed.check(&status(b"NQ\0\0\0\0", 77, 103), &["1 Info 103 0.00 x 0"]);
    // A number of nine digits is too long for a name.
    feed.check(
        &status(b"NQ\0\0\0\0", i32::MAX - 1, 2),
        &["2 is xzik0zi", "2 Status 72 0.00 x 0"],
    );
}

/// An event of the exchange goes over several messages, and the last may touch no book.
#[test]
fn an_event_ends_once_for_each_book_it_touched() {
    let feed = &mut Feed::new();
    feed.check(
        &book(
            0,
            vec![
                level(10 * E9, 5, 77, 1, 0, b'0'),
                level(20 * E9, 5, 78, 1, 0, b'0'),
            ],
            vec![],
        ),
        &[
            "1 is 77",
            "1 Add buy 1 10.00 x 5 more",
            "2 is 78",
            "2 Add buy 2 20.00 x 5 more",
        ],
    );
    // Of the other channel; that this event ends says nothing of the first.
    feed.port = 14_312;
    feed.check(
        &book(ENDS, vec![level(30 * E9, 5, 79, 1, 0, b'0')], vec![]),
        &["3 is 79", "3 Add buy 3 30.00 x 5"],
    );
    feed.port = 14_310;
    feed.check(
        &book(ENDS, vec![level(11 * E9, 5, 77, 1, 0, b'1')], vec![]),
        &["1 Add sell 4 11.00 x 5 ends", "2 Info 0 0.00 x 0 ends"],
    );
    feed.check(
        &book(ENDS, vec![level(11 * E9, 4, 77, 1, 1, b'1')], vec![]),
        &["1 Replace sell 4 11.00 x 4"],
    );
}

#[test]
fn implied_levels_and_prices_below_zero_change_no_book() {
    let feed = &mut Feed::new();
    feed.check(
        &book(
            ENDS,
            vec![
                level(10 * E9, 5, 77, 1, 0, b'E'),
                level(-E9 / 4, 5, 77, 1, 0, b'0'),
            ],
            vec![],
        ),
        &["1 is 77", "1 Info 69 10.00 x 5", "1 Info buy 0 -0.25 x 5"],
    );
    feed.check(
        &book(ENDS, vec![level(E9 / 4, 5, 77, 1, 5, b'0')], vec![]),
        &["1 Info buy 0 -0.25 x 0", "1 Add buy 1 0.25 x 5"],
    );
    feed.check(
        &order_book(ENDS, vec![full_order(5, 1, -E9, 2, 78, [0, b'1'])]),
        &["2 is 78", "2 Info sell 5 -1.00 x 2"],
    );
}

#[test]
fn an_instrument_with_orders_is_a_book_of_orders() {
    let feed = &mut Feed::new();
    feed.check(
        &book(ENDS, vec![level(10 * E9, 5, 77, 1, 0, b'0')], vec![]),
        &["1 is 77", "1 Add buy 1 10.00 x 5"],
    );
    feed.check(
        &book(
            ENDS,
            vec![level(10 * E9, 9, 77, 1, 1, b'0')],
            vec![order(900, 50, 4, 1, 0)],
        ),
        &[
            "1 Delete buy 1 0.00 x 0 more",
            "1 Add buy 900 10.00 x 4 ends",
        ],
    );
    // Smaller at its place, then larger, which is a new priority.
    feed.check(
        &book(
            ENDS,
            vec![level(10 * E9, 8, 77, 1, 1, b'0')],
            vec![order(900, 50, 3, 1, 1)],
        ),
        &["1 Cancel buy 900 0.00 x 1"],
    );
    feed.check(
        &order_book(ENDS, vec![full_order(900, 60, 10 * E9, 7, 77, [1, b'0'])]),
        &["1 Replace buy 900 10.00 x 7"],
    );
    // In front of the other: the book would put it behind.
    feed.check(
        &order_book(ENDS, vec![full_order(901, 55, 10 * E9, 1, 77, [0, b'0'])]),
        &[
            "1 Add buy 901 10.00 x 1 more",
            "1 Replace buy 900 10.00 x 7 ends",
        ],
    );
    feed.check(
        &order_book(ENDS, vec![full_order(900, 60, 10 * E9, 7, 77, [2, b'0'])]),
        &["1 Delete buy 900 0.00 x 0"],
    );
    // An order that nobody told of goes: the book says what it thinks of that.
    feed.check(
        &order_book(ENDS, vec![full_order(1, 60, 10 * E9, 7, 77, [2, b'0'])]),
        &["1 Delete buy 1 0.00 x 0"],
    );
    // To the other side, then the whole channel.
    feed.check(
        &order_book(ENDS, vec![full_order(901, 70, 11 * E9, 1, 77, [1, b'1'])]),
        &[
            "1 Delete sell 901 0.00 x 0 more",
            "1 Add sell 901 11.00 x 1 ends",
        ],
    );
    let fault = feed.take(&book(ENDS, vec![], vec![order(5, 5, 5, 1, 0)]));
    assert!(matches!(
        fault,
        Err(Fault::Field {
            code: b'B',
            offset_bytes: 20,
            ..
        })
    ));
    feed.check(
        &message(4, 9, &head(ENDS)[..9], &[(false, 2, vec![vec![0, 0]])]),
        &["1 Delete sell 901 0.00 x 0"],
    );
}

/// A snapshot is the book if it is not older than what came; what it knows of changes nothing.
#[test]
fn a_snapshot_is_taken_once_and_only_if_it_is_new() {
    let snapshot =
        |known_to: u32, levels: &[(i64, i32, u8, u8)]| level_snapshot(known_to, 77, levels);
    let feed = &mut Feed::new();
    feed.check(
        &book(ENDS, vec![level(10 * E9, 5, 77, 1, 0, b'0')], vec![]),
        &["1 is 77", "1 Add buy 1 10.00 x 5"],
    );
    let levels = [
        (11 * E9, 3, 1, b'0'),
        (10 * E9, 5, 2, b'0'),
        (12 * E9, 1, 1, b'1'),
    ];
    feed.check(&snapshot(99, &levels), &[]);
    feed.check(
        &snapshot(102, &levels),
        &["1 Add buy 2 11.00 x 3 more", "1 Add sell 3 12.00 x 1 ends"],
    );
    feed.check(&snapshot(103, &levels[..1]), &[]);
    for sequence in [101, 102] {
        feed.sequence = sequence;
        feed.check(&book(ENDS, vec![level(0, 0, 77, 1, 3, b'0')], vec![]), &[]);
    }
    feed.sequence = 103;
    feed.check(
        &book(ENDS, vec![level(11 * E9, 0, 77, 1, 2, b'0')], vec![]),
        &["1 Delete buy 2 0.00 x 0"],
    );
    // A packet is missing, so the next one is taken.
    feed.sequence = 105;
    feed.check(&message(12, 9, &[], &[]), &[]);
    feed.check(&snapshot(105, &levels[2..]), &["1 Delete buy 1 0.00 x 0"]);
    // Orders, in two parts.
    let orders = |part: u32, orders: &[(u64, i64)]| {
        let mut block = vec![0; 28];
        block[..4].copy_from_slice(&200u32.to_le_bytes());
        block[8..12].copy_from_slice(&78i32.to_le_bytes());
        block[12..16].copy_from_slice(&2u32.to_le_bytes());
        block[16..20].copy_from_slice(&part.to_le_bytes());
        let entry = |&(id, e9): &(u64, i64)| {
            let mut bytes = full_order(id, id, e9, 6, 0, *b"00");
            bytes.truncate(28);
            bytes.push(b'0');
            bytes
        };
        message(
            53,
            9,
            &block,
            &[(false, 29, orders.iter().map(entry).collect())],
        )
    };
    feed.check(&orders(2, &[(9, 2 * E9)]), &["2 is 78"]);
    feed.check(&orders(1, &[(8, 2 * E9)]), &["2 Add buy 8 2.00 x 6 more"]);
    feed.check(
        &orders(2, &[(7, 2 * E9)]),
        &["2 Add buy 7 2.00 x 6 more", "2 Replace buy 8 2.00 x 6 ends"],
    );
    feed.check(&orders(1, &[(8, 2 * E9)]), &[]);
}

/// Lengths and versions are those of the message: more is passed over, less is not there.
#[test]
fn blocks_are_as_long_as_the_message_says() {
    let feed = &mut Feed::new();
    let mut block = head(ENDS);
    block.extend([0xcc; 9]);
    let entries = vec![
        level(10 * E9, 5, 77, 1, 0, b'0'),
        level(9 * E9, 4, 77, 2, 0, b'0'),
    ];
    let groups = [
        (false, 41, entries),
        (true, 30, vec![]),
        (false, 4, vec![vec![1; 4]]),
    ];
    feed.check(
        &message(46, 13, &block, &groups),
        &[
            "1 is 77",
            "1 Add buy 1 10.00 x 5 more",
            "1 Add buy 2 9.00 x 4 ends",
        ],
    );
    // In template 32 a price is in 1e-7, and before version 7 there are no orders.
    let old = vec![level(10_000_000, 5, 78, 1, 0, b'0')];
    feed.check(
        &message(32, 6, &head(ENDS), &[(false, 32, old)]),
        &["2 is 78", "2 Add buy 3 1.00 x 5"],
    );
    // The number of a trade is one from version 7 on.
    let mut trade = level(10_000_000, 5, 78, 1, 0, 44);
    trade[24] = 2;
    trade[26..30].copy_from_slice(&44u32.to_le_bytes());
    for (version, number) in [(6, 0), (7, 44)] {
        let trade = message(
            42,
            version,
            &head(ENDS),
            &[(false, 32, vec![trade.clone()])],
        );
        let events = feed.take(&trade).unwrap();
        assert_eq!(text(&events), ["2 Trade sell 0 1.00 x 5"]);
        assert_eq!(
            (events[0].order_b, events[0].flags),
            (number, Flags::PRINTABLE)
        );
    }
    // A block that is too short for its fields has none of them.
    let short = message(46, 9, &head(ENDS), &[(false, 8, vec![vec![1; 8]])]);
    assert!(matches!(
        feed.take(&short),
        Err(Fault::Field { code: b'B', .. })
    ));
    let mut cut = book(ENDS, vec![level(10 * E9, 5, 77, 1, 0, b'0')], vec![]);
    cut.truncate(30);
    assert!(matches!(
        feed.take(&cut),
        Err(Fault::Length { code: b'B', .. })
    ));
    let other = message(64, 12, &head(ENDS), &[]);
    assert!(matches!(
        feed.take(&other),
        Err(Fault::UnknownType { code: 64, .. })
    ));
    let mut schema = book(ENDS, vec![], vec![]);
    schema[4] = 2;
    assert!(matches!(feed.take(&schema), Err(Fault::UnknownType { .. })));
}

#[test]
fn a_packet_is_one_message_of_the_arbiter() {
    let heartbeat = message(12, 9, &[], &[]);
    let book = book(ENDS, vec![level(E9, 5, 77, 1, 0, b'0')], vec![]);
    let payload = packet(7, SENT, &[heartbeat.clone(), book.clone()]);
    assert!(is_mdp3(&payload) && !is_mdp3(&payload[..21]));
    let mut packets = Packets::default();
    let mold = packets.as_mold(&payload, 14_310).unwrap().to_vec();
    let (header, blocks) = Header::split(&mold).unwrap();
    assert_eq!((header.sequence, header.count), (7, 1));
    assert_eq!(header.session.to_string(), "CME14310.0");
    let all: Vec<&[u8]> = Blocks::new(blocks).collect();
    assert_eq!(all.len(), 1);
    let inner: Vec<&[u8]> = Blocks::new(all[0]).map(|m| &m[PREFIX_BYTES..]).collect();
    assert_eq!(inner, [&heartbeat[..], &book[..]]);
    // Feed B is the same channel.
    assert_eq!(packets.as_mold(&payload, 15_310).unwrap(), mold);
    let mut session = |port, sequence, sent| {
        let payload = packet(sequence, sent, std::slice::from_ref(&heartbeat));
        let mold = packets.as_mold(&payload, port).unwrap();
        Header::split(mold).unwrap().0.session.to_string()
    };
    assert_eq!(session(14_320, 7, SENT), "CME14320.0");
    assert_eq!(session(14_310, 6, SENT - 1), "CME14310.0");
    // A start anew, by one feed and then by the other.
    assert_eq!(session(14_310, 1, SENT + 9), "CME14310.1");
    assert_eq!(session(15_310, 8, SENT + 5), "CME14310.0");
    assert_eq!(session(15_310, 1, SENT + 9), "CME14310.1");
    assert_eq!(session(15_310, 2, SENT + 10), "CME14310.1");
    // What comes in loops has no number.
    let mut definition = message(54, 9, &[0; 216], &[]);
    for (reports, sequence) in [(9u32, 0), (u32::MAX, 3)] {
        definition[9..13].copy_from_slice(&reports.to_le_bytes());
        let payload = packet(3, SENT, std::slice::from_ref(&definition));
        let mold = packets.as_mold(&payload, 16_310).unwrap();
        assert_eq!(Header::split(mold).unwrap().0.sequence, sequence);
    }
    // Cut in its last message: what is whole comes, with the rest behind it.
    let cut = packets
        .as_mold(&payload[..payload.len() - 1], 14_310)
        .unwrap();
    let (_, blocks) = Header::split(cut).unwrap();
    let mut walk = Blocks::new(&blocks[2..]);
    assert_eq!(walk.by_ref().count(), 1);
    assert_eq!(walk.rest().len(), book.len() + 1);
    assert!(packets.as_mold(&payload[..11], 14_310).is_err());
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

/// What a book makes of events: each price's queue, in order, with what each order has.
#[derive(Default)]
struct Queues {
    orders: BTreeMap<u64, (u32, u8, i64, i64)>,
    queues: BTreeMap<(u32, u8, i64), Vec<u64>>,
}

impl Queues {
    fn apply(&mut self, event: &Event) {
        match event.kind {
            Kind::Add => self.push(event.order, event),
            Kind::Replace => {
                self.remove(event.order);
                self.push(event.order_b, event);
            }
            Kind::Delete => self.remove(event.order),
            Kind::Cancel => {
                let order = self
                    .orders
                    .get_mut(&event.order)
                    .expect("an order is there");
                order.3 -= event.qty.0;
                assert!(order.3 > 0);
            }
            Kind::Symbol | Kind::Info => {}
            other => panic!("{other:?}"),
        }
    }

    fn push(&mut self, id: u64, event: &Event) {
        let key = (event.symbol, event.side as u8, event.price.0);
        let order = (key.0, key.1, key.2, event.qty.0);
        assert!(self.orders.insert(id, order).is_none(), "{event:?}");
        self.queues.entry(key).or_default().push(id);
    }

    fn remove(&mut self, id: u64) {
        let (symbol, side, price, _) = self.orders.remove(&id).expect("an order is there");
        let queue = self.queues.get_mut(&(symbol, side, price)).unwrap();
        queue.retain(|other| *other != id);
    }
}

/// Random orders with random priorities stand in each queue as a sort by priority has them.
#[test]
fn queues_are_in_the_order_of_priorities() {
    let mut random = Random(3);
    let feed = &mut Feed::new();
    let mut queues = Queues::default();
    // Side, price, quantity, priority.
    let mut plain: BTreeMap<u64, (u8, i64, i32, u64)> = BTreeMap::new();
    for step in 0..20_000u64 {
        let id = 1_000 + random.below(60);
        let found = plain.get(&id).copied();
        let side = found.map_or(random.below(2) as u8, |o| o.0);
        let mut price = (1 + random.below(3) as i64) * E9;
        // No two orders have one priority.
        let mut priority = random.below(1 << 20) << 20 | step;
        let qty = 1 + random.below(9) as i32;
        let action = match found {
            None => 0,
            Some(_) if random.below(3) == 0 => 2,
            Some((_, before, _, kept)) => {
                if random.below(2) == 0 {
                    (price, priority) = (before, kept);
                }
                1
            }
        };
        if action == 2 {
            plain.remove(&id);
        } else {
            plain.insert(id, (side, price, qty, priority));
        }
        let entry = full_order(id, priority, price, qty, 77, [action, b'0' + side]);
        for event in feed.take(&order_book(ENDS, vec![entry])).unwrap() {
            queues.apply(&event);
        }
        let mut want: BTreeMap<(u8, i64), Vec<(u64, u64)>> = BTreeMap::new();
        for (id, (side, price, qty, priority)) in &plain {
            let found = queues.orders[id];
            assert_eq!(
                (found.1, found.2, found.3),
                (side + 1, *price, (*qty).into())
            );
            want.entry((side + 1, *price))
                .or_default()
                .push((*priority, *id));
        }
        assert_eq!(queues.orders.len(), plain.len());
        for ((side, price), mut queue) in want {
            queue.sort_unstable();
            let queue: Vec<u64> = queue.into_iter().map(|(_, id)| id).collect();
            assert_eq!(queues.queues[&(1, side, price)], queue, "step {step}");
        }
    }
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(11);
    let ids = [
        4, 12, 15, 27, 29, 30, 32, 37, 38, 39, 41, 42, 43, 44, 46, 47, 48, 52, 53, 54, 99,
    ];
    let feed = &mut Feed::new();
    let mut packets = Packets::default();
    let mut accepted = 0;
    for round in 0..100_000u64 {
        let len = random.below(160) as usize;
        let mut bytes: Vec<u8> = (0..len)
            .map(|_| {
                if random.below(3) == 0 {
                    random.next() as u8
                } else {
                    random.below(3) as u8
                }
            })
            .collect();
        let words = [
            random.below(40) as u16,
            ids[round as usize % ids.len()],
            1,
            9,
        ];
        for (index, word) in words.into_iter().enumerate() {
            if let Some(two) = bytes.get_mut(index * 2..index * 2 + 2) {
                two.copy_from_slice(&word.to_le_bytes());
            }
        }
        // Securities that there are, so that there is something to change.
        if bytes.len() > 40 && random.below(2) == 0 {
            let at = 8 + usize::from(words[0]);
            let entry = level(
                E9 * random.below(4) as i64,
                3,
                77,
                1 + random.below(4) as u8,
                random.below(6) as u8,
                b'0' + random.below(2) as u8,
            );
            bytes.truncate(at);
            bytes.resize(at, 0);
            bytes.extend([32, 0, 1]);
            bytes.extend(entry);
        }
        feed.sequence = random.below(1_000) as u32;
        if let Ok(events) = feed.take(&bytes) {
            accepted += 1;
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some())
            );
        }
        let mut payload = packet(random.below(9) as u32, round, &[bytes, vec![0; 10]]);
        let at = random.below(payload.len() as u64) as usize;
        payload[at] ^= 1 << random.below(8);
        payload.truncate(random.below(payload.len() as u64 + 1) as usize);
        let _ = is_mdp3(&payload);
        if let Ok(mold) = packets.as_mold(&payload, random.next() as u16) {
            assert!(mold.len() <= 22 + payload.len() + 2 * PREFIX_BYTES);
            assert!(Header::split(mold).is_some());
        }
    }
    assert!(accepted > 10_000, "{accepted} messages were accepted");
}

/// The folder of CME's captures.
fn data(test: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data/cme-mdp3"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {test}: there is no folder shared/data here or above");
    }
    found
}

fn open(path: &Path) -> Capture {
    let files = [path.to_path_buf()];
    let mut capture = Capture::open(&files, CaptureOptions::default()).unwrap();
    assert_eq!(capture.wire().unwrap(), Wire::Mdp3, "{}", path.display());
    capture
}

fn survey(path: &Path) -> Report {
    inspect(&mut open(path), Mdp3::new(), GapRule::default()).unwrap()
}

/// All messages of a capture, without their sizes, with their packet's send time: those of both feeds.
fn messages(path: &Path) -> Vec<(u64, u16, Vec<u8>)> {
    let (mut capture, mut all) = (open(path), Vec::new());
    loop {
        match capture.poll().unwrap() {
            Polled::Packet(packet) => {
                let Framing::Mdp3(port) = packet.framing else {
                    panic!("{:?}", packet.framing);
                };
                let sent = u64::from_le_bytes(packet.payload[4..12].try_into().unwrap());
                let mut rest = &packet.payload[12..];
                while !rest.is_empty() {
                    let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
                    all.push((sent, port, rest[2..len].to_vec()));
                    rest = &rest[len..];
                }
            }
            Polled::End => return all,
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

/// Everything that two decoders say of a capture: templates, times, sessions, instruments; trades, lots
/// and their average price by instrument. The counts are of both feeds together.
#[test]
fn captures_meet_their_truth() {
    let Some(data) = data("captures_meet_their_truth") else {
        return;
    };
    for name in [
        "CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst",
        "CME_MDP3_v8_20160927_SessionStatistics_356pkts.pcap",
        "CME_MDP3_v9_20180912_100pkts.pcap",
    ] {
        let path = data.join(name);
        let truth = name.split('.').next().unwrap().to_string() + ".truth.json";
        let truth = std::fs::read_to_string(data.join(truth)).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
        let all = messages(&path);
        let report = survey(&path);
        assert_eq!(
            report.packets,
            truth["udp_packets"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            all.len() as u64,
            truth["messages_total"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            (report.not_moldudp64, report.refused, report.troubles),
            (0, 0, 0),
            "{name}"
        );
        let times = all.iter().map(|(sent, ..)| *sent);
        assert_eq!(
            times.clone().min(),
            truth["first_sending_time_ns"].as_u64(),
            "{name}"
        );
        assert_eq!(
            times.max(),
            truth["last_sending_time_ns"].as_u64(),
            "{name}"
        );
        assert_eq!(
            report.symbols as u64,
            truth["distinct_security_ids"].as_u64().unwrap(),
            "{name}"
        );
        let wanted = |field: &str| -> BTreeMap<String, u64> {
            let counts = truth[field].as_object().unwrap().iter();
            counts
                .map(|(key, count)| (key.clone(), count.as_u64().unwrap()))
                .collect()
        };
        let lines = report.lines.iter();
        let packets: BTreeMap<String, u64> = lines
            .map(|(line, stats)| (line.name.clone(), stats.packets))
            .collect();
        assert_eq!(packets, wanted("packets_by_destination"), "{name}");
        let skips = report.lines.iter().filter(|(_, stats)| stats.gap_count > 0);
        let skips: BTreeMap<String, u64> = skips
            .map(|(line, stats)| (line.name.clone(), stats.gap_count))
            .collect();
        assert_eq!(
            skips,
            wanted("sequence_discontinuities_by_destination"),
            "{name}"
        );
        let mut versions: BTreeMap<String, u64> = BTreeMap::new();
        let mut ids: BTreeMap<String, u64> = BTreeMap::new();
        let mut trades: BTreeMap<String, (u64, i64, i128)> = BTreeMap::new();
        let mut names = BTreeMap::new();
        let mut feed = Feed::new();
        for (_, port, message) in &all {
            let id = u16::from_le_bytes([message[2], message[3]]);
            *ids.entry(id.to_string()).or_default() += 1;
            let version = u16::from_le_bytes([message[6], message[7]]);
            *versions.entry(version.to_string()).or_default() += 1;
            feed.port = *port;
            let (events, result) = feed.hear(message);
            match result {
                Ok(()) => {}
                // Packets were left out of that capture, and so were numbers of instruments.
                Err(Fault::Missed { .. }) if name.contains("_356pkts") => {}
                Err(fault) => panic!("{name}: {fault}"),
            }
            for event in events {
                if event.kind == Kind::Symbol {
                    let text = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
                    names.insert(event.symbol, text.trim_end().to_string());
                }
                if event.code == b'T' && event.kind != Kind::Symbol {
                    let entry = trades.entry(names[&event.symbol].clone()).or_default();
                    entry.0 += 1;
                    entry.1 += event.qty.0;
                    entry.2 += i128::from(event.price.0) * i128::from(event.qty.0);
                }
            }
        }
        assert_eq!(ids, wanted("raw_template_id_counts"), "{name}");
        assert_eq!(versions, wanted("sbe_header_versions"), "{name}");
        for (security, wanted) in truth["trade_summary_by_security_id"].as_object().unwrap() {
            let (entries, lots, notional) = trades[security];
            assert_eq!(
                entries,
                wanted["entries"].as_u64().unwrap(),
                "{name} {security}"
            );
            assert_eq!(
                lots,
                wanted["volume"].as_i64().unwrap(),
                "{name} {security}"
            );
            let vwap = notional as f64 / lots as f64 / 1e9;
            let by = (vwap - wanted["vwap_raw"].as_f64().unwrap()).abs();
            assert!(by < 1e-9, "{name} {security}: VWAP {vwap}");
        }
    }
}

/// Both feeds of a channel are one stream of 5,000 packets, which each brings whole.
#[test]
fn two_feeds_are_one_channel() {
    let Some(data) = data("two_feeds_are_one_channel") else {
        return;
    };
    let report = survey(&data.join("CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst"));
    let [session] = &report.sessions[..] else {
        panic!("{:?}", report.sessions);
    };
    assert_eq!((session.messages, session.lost), (5_000, 0));
    assert_eq!((session.first, session.next), (Some(5_615), 10_615));
    assert_eq!(report.lines.len(), 2);
    for (line, stats) in &report.lines {
        assert_eq!((stats.packets, stats.missing), (5_000, 0), "{}", line.name);
    }
    assert_eq!(report.messages, 20_546 / 2);
    assert_eq!(report.symbols, 127);
    assert_eq!(report.anomalies.total(), 0);
    let channels = survey(&data.join("CME_MDP3_v9_20180912_100pkts.pcap")).sessions;
    assert_eq!(channels.len(), 9);
    assert!(channels.iter().all(|channel| channel.lost == 0));
}

/// The books of levels of a real session, after each message, are those of lists by place.
#[test]
fn real_levels_are_those_of_a_plain_list() {
    let Some(data) = data("real_levels_are_those_of_a_plain_list") else {
        return;
    };
    let path = data.join("CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst");
    let mut feed = Feed::new();
    let mut queues = Queues::default();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut plain: BTreeMap<(i32, u8), Vec<(i64, i64)>> = BTreeMap::new();
    let mut checked = 0;
    for (_, _, message) in messages(&path)
        .iter()
        .filter(|(_, port, _)| *port == 14_340)
    {
        for event in feed.take(message).unwrap() {
            if event.kind == Kind::Symbol {
                let text = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
                numbers.insert(text.trim_end().to_string(), event.symbol);
            }
            queues.apply_if_shown(&event);
        }
        if u16::from_le_bytes([message[2], message[3]]) != 32 {
            continue;
        }
        let mut touched = std::collections::BTreeSet::new();
        let at = 8 + usize::from(u16::from_le_bytes([message[0], message[1]]));
        let each = usize::from(u16::from_le_bytes([message[at], message[at + 1]]));
        for entry in message[at + 3..]
            .chunks_exact(each)
            .take(message[at + 2].into())
        {
            let int = |at: usize| i32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            let price = i64::from_le_bytes(entry[..8].try_into().unwrap());
            let (size, security) = (i64::from(int(8)), int(12));
            let (place, action, letter) = (usize::from(entry[24]) - 1, entry[25], entry[26]);
            if !matches!(letter, b'0' | b'1') {
                continue;
            }
            let list = plain.entry((security, letter)).or_default();
            match action {
                0 => {
                    list.resize(list.len().max(place), (0, 0));
                    list.insert(place, (price, size));
                    list.truncate(10);
                }
                1 | 5 => {
                    list.resize(list.len().max(place + 1), (0, 0));
                    list[place] = (price, size);
                }
                2 if place < list.len() => {
                    list.remove(place);
                }
                2 => {}
                other => panic!("action {other}"),
            }
            touched.insert((security, letter));
        }
        for (security, letter) in touched {
            let list = &plain[&(security, letter)];
            let symbol = numbers[&security.to_string()];
            let key = (symbol, letter - b'0' + 1);
            let shown = list.iter().filter(|(price, _)| *price > 0);
            let mut want: Vec<(i64, i64)> =
                shown.map(|(price, size)| (price * 100, *size)).collect();
            want.sort_unstable();
            plain_check(&mut checked, &queues, key, want);
        }
    }
    println!("{checked} books were compared");
    assert!(checked > 4_000);
}

impl Queues {
    /// As `apply`, for a book of levels.
    fn apply_if_shown(&mut self, event: &Event) {
        if matches!(event.kind, Kind::Add | Kind::Replace | Kind::Delete) {
            self.apply(event);
        }
    }
}

fn plain_check(
    checked: &mut u64,
    queues: &Queues,
    (symbol, side): (u32, u8),
    want: Vec<(i64, i64)>,
) {
    let all = queues
        .queues
        .range((symbol, side, i64::MIN)..=(symbol, side, i64::MAX));
    let shown = all.filter_map(|((_, _, price), ids)| {
        let [id] = ids[..] else {
            assert!(ids.is_empty());
            return None;
        };
        Some((*price, queues.orders[&id].3))
    });
    assert_eq!(shown.collect::<Vec<_>>(), want);
    *checked += 1;
}

/// Real packets, a template each.
#[test]
fn single_packets_of_each_template_are_read() {
    let Some(data) = data("single_packets_of_each_template_are_read") else {
        return;
    };
    let mut types: BTreeMap<char, u64> = BTreeMap::new();
    for folder in ["Mdp3.Sbe.v1.5", "Mdp3.Sbe.v1.9"] {
        for file in std::fs::read_dir(data.join("omi-packets").join(folder)).unwrap() {
            let path = file.unwrap().path();
            let report = survey(&path);
            assert_eq!(report.anomalies.total(), 0, "{}", path.display());
            for (code, count) in report.by_type.iter().enumerate().filter(|(_, n)| **n > 0) {
                *types.entry(code as u8 as char).or_default() += count;
            }
            if path.ends_with("MdInstrumentDefinitionSpread.pcap") {
                let names = report.busiest.iter().map(|busy| &busy.name[..]);
                assert_eq!(
                    names.collect::<Vec<_>>(),
                    ["10123", "7978", "ESU6", "8036", "ESZ5"]
                );
            }
        }
    }
    let found: String = types.keys().collect();
    assert_eq!(found, "BCFOSTV");
}

/// A snapshot of price levels: of quantity, place and side each, in 1e-9.
fn level_snapshot(known_to: u32, security: i32, levels: &[(i64, i32, u8, u8)]) -> Vec<u8> {
    let mut block = vec![0; 59];
    block[..4].copy_from_slice(&known_to.to_le_bytes());
    block[8..12].copy_from_slice(&security.to_le_bytes());
    let entry = |&(e9, qty, level, letter): &(i64, i32, u8, u8)| {
        let mut bytes = e9.to_le_bytes().to_vec();
        bytes.extend(qty.to_le_bytes());
        bytes.extend([0, 0, 0, 0, level, 0, 0, 0, 0, letter]);
        bytes
    };
    let entries = levels.iter().map(entry).collect();
    message(52, 9, &block, &[(false, 22, entries)])
}

/// A packet of one message to a port.
fn datagram(port: u16, sequence: u32, message: Vec<u8>) -> SimStep {
    let payload = packet(sequence, SENT + u64::from(sequence), &[message]);
    SimStep::Packet {
        ts_recv: Some(Ts(SENT as i64)),
        line: 0,
        framing: Framing::Mdp3(port),
        wire_bytes: payload.len() as u32,
        payload,
    }
}

/// What a reader makes of packets on one line, and how often some were lost.
fn through_a_reader(steps: Vec<SimStep>) -> (Vec<Event>, usize) {
    let (sender, mut receiver) = ring::<Event>(1 << 12);
    let mut config = ReaderConfig::new(Ts(0));
    config.gaps.reorder_max = 1;
    let source = SimSource::new(&["A"], steps);
    let mut reader = Reader::with_protocol(source, Mdp3::new(), config, vec![sender]);
    let mut events: Vec<Event> = Vec::new();
    loop {
        let turned = reader.turn().unwrap();
        while let Some(batch) = receiver.batch(usize::MAX) {
            let (first, second) = batch.slices();
            events.extend(first.iter().chain(second));
            let len = first.len() + second.len();
            batch.commit(len);
        }
        if turned == Turned::Ended {
            return (events, reader.stats().gaps.len());
        }
    }
}

/// What is said of books as a whole.
fn marks(events: &[Event]) -> Vec<String> {
    let marks = Flags::STALE.with(Flags::WHOLE).0;
    let said = events.iter().filter(|event| event.flags.0 & marks != 0);
    said.map(|event| match event.flags.has(Flags::WHOLE) {
        true => format!("{:?} {} whole", event.kind, event.symbol),
        false => format!("{:?} {} stale", event.kind, event.symbol),
    })
    .collect()
}

/// An entry or a snapshot with its instrument's own number, which both have behind the security.
fn numbered(mut entry: Vec<u8>, at: usize, number: u32) -> Vec<u8> {
    entry[at..at + 4].copy_from_slice(&number.to_le_bytes());
    entry
}

/// Only those stay stale whose numbers have a hole, or that say none; levels and trades are numbered together.
#[test]
fn an_instruments_own_numbers_prove_that_it_lost_nothing() {
    let told = |sequence, security, number| {
        let entry = level(10 * E9, 5, security, 1, 0, b'0');
        let levels = vec![numbered(entry, 16, number)];
        datagram(14_310, sequence, book(ENDS, levels, vec![]))
    };
    let trade = |sequence, security, number| {
        let mut entry = level(10 * E9, 5, security, 0, 0, 0);
        entry[24..32].copy_from_slice(&[1, 0, 9, 0, 0, 0, 0, 0]);
        let groups = [
            (false, 32, vec![numbered(entry, 16, number)]),
            (true, 16, vec![]),
        ];
        datagram(14_310, sequence, message(48, 9, &head(ENDS), &groups))
    };
    let snapshot = |known_to, security, number| {
        let levels = [(11 * E9, 3, 1, b'0'), (12 * E9, 1, 1, b'1')];
        let bytes = level_snapshot(known_to, security, &levels);
        datagram(22_310, 1, numbered(bytes, 8 + 12, number))
    };
    let orders = |sequence, id, number| {
        let entry = numbered(level(10 * E9, 5, 82, 1, 0, b'0'), 16, number);
        let orders = vec![order(id, id, 5, 1, 0)];
        datagram(14_310, sequence, book(ENDS, vec![entry], orders))
    };
    let steps = vec![
        told(1, 77, 1),
        told(2, 78, 1),
        told(3, 79, 1),
        orders(4, 900, 41),
        // The fifth is lost, which was of 78.
        told(6, 77, 2),
        told(7, 78, 3),
        trade(8, 79, 2),
        orders(9, 901, 42),
        told(10, 78, 4),
        snapshot(10, 78, 4),
        told(11, 78, 5),
        // Met behind the loss: from its first entry on, and from a later one on.
        told(12, 80, 1),
        told(13, 81, 7),
        told(14, 81, 8),
    ];
    let (events, gaps) = through_a_reader(steps);
    assert_eq!(gaps, 1);
    // In the order in which they were met: 77, 78, 79, 82, 80, 81. What is said of orders has no number.
    let want = [
        "Gap 0 stale",
        "Info 1 stale",
        "Info 2 stale",
        "Info 3 stale",
        "Info 4 stale",
        "Info 1 whole",
        "Info 3 whole",
        "Info 2 whole",
        "Info 5 stale",
        "Info 5 whole",
        "Info 6 stale",
    ];
    assert_eq!(marks(&events), want);
}

/// A hole though no packet was lost: the book is stale, that is told, and the next snapshot is taken even
/// if there was one before.
#[test]
fn a_hole_in_an_instruments_numbers_is_told_and_mended_by_a_snapshot() {
    let feed = &mut Feed::new();
    let told = |number: u32| {
        let entry = level(10 * E9, 5, 77, 1, 1, b'0');
        book(ENDS, vec![numbered(entry, 16, number)], vec![])
    };
    let snapshot = |known_to: u32, number: u32| {
        let bytes = level_snapshot(known_to, 77, &[(10 * E9, 6, 1, b'0')]);
        numbered(bytes, 8 + 12, number)
    };
    feed.take(&told(5)).unwrap();
    feed.check(&snapshot(100, 5), &["1 Replace buy 1 10.00 x 6"]);
    feed.sequence = 101;
    feed.take(&told(6)).unwrap();
    feed.sequence = 102;
    let (last, next) = (6, 7);
    assert_eq!(feed.take(&told(8)), Err(Fault::Missed { last, next }));
    feed.sequence = 103;
    feed.take(&told(9)).unwrap();
    let mended = feed.take(&snapshot(103, 9)).unwrap();
    assert_eq!(marks(&mended), ["Info 1 whole"]);
    // Known of already, and the next.
    feed.take(&told(9)).unwrap();
    feed.sequence = 104;
    feed.take(&told(10)).unwrap();
    // A channel that is reset begins its numbers anew.
    let reset = message(4, 9, &head(ENDS)[..9], &[(false, 2, vec![vec![0, 0]])]);
    feed.take(&reset).unwrap();
    feed.sequence = 105;
    feed.take(&told(1)).unwrap();
    feed.sequence = 106;
    feed.take(&told(2)).unwrap();
}

/// A real session from which one packet is taken: of the instruments met before it, those that speak again are
/// whole, but for the one that it told of.
#[test]
fn of_a_real_session_with_a_loss_only_those_are_stale_that_lost_something() {
    let test = "of_a_real_session_with_a_loss_only_those_are_stale_that_lost_something";
    let Some(data) = data(test) else { return };
    let name = "CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst";
    let mut capture = open(&data.join(name));
    let mut steps = Vec::new();
    const LOST: u32 = 7_000;
    loop {
        match capture.poll().unwrap() {
            Polled::Packet(packet) => {
                let sequence = u32::from_le_bytes(packet.payload[..4].try_into().unwrap());
                if sequence != LOST && packet.framing == Framing::Mdp3(14_340) {
                    steps.push(SimStep::Packet {
                        ts_recv: packet.ts_recv,
                        line: 0,
                        framing: packet.framing,
                        wire_bytes: packet.wire_bytes,
                        payload: packet.payload.to_vec(),
                    });
                }
            }
            Polled::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(steps.len(), 4_999);
    let (events, gaps) = through_a_reader(steps);
    assert_eq!(gaps, 1);
    let mut stale = std::collections::BTreeSet::new();
    let (mut lost, mut healed) = (0, 0);
    for event in events.iter().filter(|event| event.kind == Kind::Info) {
        if event.flags.has(Flags::STALE) {
            lost += usize::from(stale.insert(event.symbol));
        } else if event.flags.has(Flags::WHOLE) {
            healed += usize::from(stale.remove(&event.symbol));
        }
    }
    let gap = events
        .iter()
        .position(|event| event.kind == Kind::Gap)
        .unwrap();
    let behind = |symbol: u32| {
        let of_it = events[gap..].iter().filter(|event| event.symbol == symbol);
        of_it
            .filter(|event| event.flags.0 & Flags::STALE.0 == 0)
            .count()
    };
    let names = |events: &[Event]| -> BTreeMap<u32, String> {
        let named = events.iter().filter(|event| event.kind == Kind::Symbol);
        let name = |event: &Event| String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
        named
            .map(|event| (event.symbol, name(event).trim_end().to_owned()))
            .collect()
    };
    let met = names(&events[..gap]);
    let spoke = stale.iter().filter(|symbol| behind(**symbol) > 0);
    let told: Vec<&str> = spoke
        .filter_map(|symbol| met.get(symbol))
        .map(String::as_str)
        .collect();
    // By a plain reading of the packets: one entry was in the lost one; 81 of the 86 instruments met before
    // it speak again, and 41 are met only then, of which nobody knows what came before.
    assert_eq!(told, ["63302"]);
    assert_eq!((met.len(), healed, lost), (86, 81, 86 + 41));
}

/// Of another channel nothing was lost; what is met first behind a loss may lack something, too.
#[test]
fn a_loss_leaves_a_channels_instruments_stale_until_snapshots_that_are_not_older() {
    let told = |port, sequence, security| {
        let levels = vec![level(10 * E9, 5, security, 1, 0, b'0')];
        datagram(port, sequence, book(ENDS, levels, vec![]))
    };
    let snapshot = |known_to, security| {
        let levels = [(11 * E9, 3, 1, b'0'), (12 * E9, 1, 1, b'1')];
        // On another port, as a host may map the loops.
        datagram(22_310, 1, level_snapshot(known_to, security, &levels))
    };
    let steps = vec![
        told(14_310, 1, 77),
        told(14_311, 1, 79),
        told(14_310, 2, 78),
        // The third is lost.
        told(14_310, 4, 77),
        told(14_310, 5, 77),
        told(14_310, 6, 77),
        // Of before the loss; of the midst of it, though newer than what was told of 78.
        snapshot(1, 78),
        snapshot(2, 78),
        // Older than what was told of 77.
        snapshot(5, 77),
        snapshot(6, 78),
        told(14_310, 7, 80),
        snapshot(7, 77),
        snapshot(7, 77),
    ];
    let (events, gaps) = through_a_reader(steps);
    let said = marks(&events);
    // In the order in which they were met: 77, 79, 78, 80.
    let want = [
        "Gap 0 stale",
        "Info 1 stale",
        "Info 3 stale",
        "Info 3 whole",
        "Info 4 stale",
        "Info 1 whole",
    ];
    assert_eq!(said, want);
    assert_eq!(gaps, 1);
}
