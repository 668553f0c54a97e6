//! What is missing, and the snapshots and numbers that mend it.

use std::collections::BTreeMap;

use bus::ring::ring;
use bus::{Event, Flags, Kind, Ts};
use feed::protocol::{Fault, Mdp3};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{Framing, Polled, SimSource, SimStep, Source};

use crate::make::{E9, ENDS, Feed, SENT, book, head, level, message, order, packet};
use crate::real::{data, open};

/// A snapshot of price levels: of quantity, place and side each, in 1e-9.
pub(crate) fn level_snapshot(
    known_to: u32,
    security: i32,
    levels: &[(i64, i32, u8, u8)],
) -> Vec<u8> {
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
pub(crate) fn datagram(port: u16, sequence: u32, message: Vec<u8>) -> SimStep {
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
pub(crate) fn through_a_reader(steps: Vec<SimStep>) -> (Vec<Event>, usize) {
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
pub(crate) fn marks(events: &[Event]) -> Vec<String> {
    let marks = Flags::STALE.with(Flags::WHOLE).0;
    let said = events.iter().filter(|event| event.flags.0 & marks != 0);
    said.map(|event| match event.flags.has(Flags::WHOLE) {
        true => format!("{:?} {} whole", event.kind, event.symbol),
        false => format!("{:?} {} stale", event.kind, event.symbol),
    })
    .collect()
}

/// An entry or a snapshot with its instrument's own number, which both have behind the security.
pub(crate) fn numbered(mut entry: Vec<u8>, at: usize, number: u32) -> Vec<u8> {
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
