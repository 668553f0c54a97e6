//! Messages one by one, and the books that they make.

use bus::Flags;
use feed::mdp3::{PREFIX_BYTES, Packets, is_mdp3};
use feed::moldudp64::{Blocks, Header};
use feed::protocol::Fault;

use crate::make::{
    E9, ENDS, Feed, SENT, book, full_order, head, level, message, order, order_book, packet, text,
};
use crate::recovery::level_snapshot;

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
