//! The reader as a shard sees it: what comes out of the rings.

mod reference;

use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;
use std::thread;

use bus::ring::{Receiver, ring};
use bus::soupbintcp::Login;
use bus::{Anomaly, Event, Flags, Kind, Price, Qty, Side, Ts};
use feed::arbiter::RecoveryRule;
use feed::glimpse::{self, AskSnapshots, Snapshot, Table};
use feed::groups::Groups;
use feed::moldudp64::{END_OF_SESSION, Header, SessionId};
use feed::protocol::{Itch, Protocol};
use feed::reader::{
    HealRule, HealStats, Position, ReadError, Reader, ReaderConfig, ReaderStats, TakenUp, Turned,
    shard_of,
};
use feed::retransmit::{self, AskCounts, Missing};
use feed::source::{Framing, Line, Packet, Place, Polled, SimSource, SimStep, Source, SourceError};
use reference::{Random, blocks, sample_messages};

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);
const SESSION: SessionId = SessionId(*b"0000000001");

fn config() -> ReaderConfig {
    ReaderConfig::new(MIDNIGHT)
}

/// Reads a script to its end through rings of some size, emptying a random part of them between
/// turns; returns what each shard got.
fn read_with(
    steps: Vec<SimStep>,
    config: ReaderConfig,
    shards: usize,
    capacity: usize,
) -> (Vec<Vec<Event>>, ReaderStats) {
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| ring::<Event>(capacity)).unzip();
    let mut reader = Reader::new(SimSource::new(&["A", "B"], steps), config, senders);
    let mut random = Random(capacity as u64);
    let mut events = vec![Vec::new(); shards];
    loop {
        let turned = reader.turn().expect("the source does not fail");
        for (events, receiver) in events.iter_mut().zip(&mut receivers) {
            let max = 1 + random.below(2 * capacity as u64) as usize;
            take(receiver, max, events);
        }
        if turned == Turned::Ended {
            break;
        }
    }
    for (events, receiver) in events.iter_mut().zip(&mut receivers) {
        take(receiver, usize::MAX, events);
    }
    assert_eq!(reader.turn().unwrap(), Turned::Ended, "it stays at its end");
    for (shard, events) in events.iter().enumerate() {
        assert_eq!(
            reader.last_pushed(shard),
            events.last().map(|event| event.seq)
        );
    }
    let stats = reader.stats();
    assert!(stats.by_type.iter().sum::<u64>() <= stats.messages);
    (events, stats)
}

fn take(receiver: &mut Receiver, max: usize, events: &mut Vec<Event>) {
    if let Some(batch) = receiver.batch(max) {
        let (front, back) = batch.slices();
        events.extend(front.iter().chain(back));
        let count = front.len() + back.len();
        batch.commit(count);
    }
}

fn read(steps: Vec<SimStep>, config: ReaderConfig) -> (Vec<Event>, ReaderStats) {
    let (mut events, stats) = read_with(steps, config, 1, 1 << 16);
    (events.remove(0), stats)
}

/// MoldUDP64 packets of some messages each, on a line, each arriving 5 us after its first one.
fn packets(messages: &[Vec<u8>], line: u8, each: usize) -> Vec<SimStep> {
    packets_from(1, messages, line, each)
}

/// The same, numbered from another number on.
fn packets_from(first: u64, messages: &[Vec<u8>], line: u8, each: usize) -> Vec<SimStep> {
    let mut sequence = first;
    let mut steps = Vec::new();
    for chunk in messages.chunks(each) {
        let header = Header {
            session: SESSION,
            sequence,
            count: chunk.len() as u16,
        };
        let mut payload = header.to_bytes().to_vec();
        payload.extend(blocks(chunk));
        let ts = Itch::new(MIDNIGHT).ts_event(&chunk[0]).unwrap();
        steps.push(SimStep::packet(Some(ts.plus_ns(5_000)), line, &payload));
        sequence += chunk.len() as u64;
    }
    steps
}

/// A message of some type, all zero but its time and symbol.
fn message(code: u8, ns: u64, symbol: u16) -> Vec<u8> {
    let lengths = reference::itch::LENGTHS;
    let length = lengths
        .iter()
        .find(|(letter, _)| *letter == code)
        .unwrap()
        .1;
    let mut message = vec![0; length];
    message[0] = code;
    message[1..3].copy_from_slice(&symbol.to_be_bytes());
    message[5..11].copy_from_slice(&ns.to_be_bytes()[2..]);
    if let Some(at) = reference::itch::name_at(code) {
        let name = format!("S{symbol:<7}");
        message[at..at + 8].copy_from_slice(name.as_bytes());
    }
    match code {
        b'A' | b'F' | b'P' => message[19] = b'B',
        b'H' => message[19] = b'T',
        b'I' => message[27] = b'N',
        _ => {}
    }
    message
}

/// Messages as one piece of a file.
fn piece(messages: &[Vec<u8>]) -> SimStep {
    SimStep::messages(&blocks(messages))
}

fn kinds(events: &[Event]) -> Vec<(Kind, i64)> {
    events
        .iter()
        .map(|event| (event.kind, event.ts_event.since(MIDNIGHT)))
        .collect()
}

#[test]
fn a_session_comes_out_whole_in_order_and_numbered() {
    let messages = sample_messages(1);
    let (events, stats) = read(packets(&messages, 0, 7), config());
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(events.last().map(|event| event.kind), Some(Kind::End));
    let of_messages = events.iter().filter(|event| event.code != 0);
    for (event, message) in of_messages.clone().zip(&messages) {
        let mut want = reference::itch::decode(MIDNIGHT, message).unwrap();
        (want.seq, want.ts_recv) = (event.seq, event.ts_recv);
        assert_eq!(*event, want);
    }
    assert_eq!(of_messages.count(), messages.len());
    assert_eq!(stats.messages, messages.len() as u64);
    assert_eq!(stats.by_type.iter().sum::<u64>(), stats.messages);
    assert_eq!(stats.anomalies.total(), 0, "{:?}", stats.examples);
    assert_eq!(stats.seq, events.len() as u64);
    assert_eq!(stats.sessions[0].messages, messages.len() as u64);
    // Every name is known before the first event of its symbol.
    let mut known = BTreeSet::new();
    for event in &events {
        if event.kind == Kind::Symbol {
            known.insert(event.symbol);
        }
        assert!(
            event.symbol == 0 || known.contains(&event.symbol),
            "{event:?}"
        );
    }
}

#[test]
fn ticks_stand_on_the_grid_before_the_message_that_passes_it() {
    let add = |ns| message(b'D', ns, 1);
    let (events, _) = read(
        vec![piece(&[
            add(10),
            add(99),
            add(100),
            add(105),
            add(450),
            add(430),
            add(500),
        ])],
        ReaderConfig {
            tick_ns: 100,
            ..config()
        },
    );
    assert_eq!(
        kinds(&events),
        [
            (Kind::Delete, 10),
            (Kind::Delete, 99),
            (Kind::Tick, 100),
            (Kind::Delete, 100),
            (Kind::Delete, 105),
            (Kind::Tick, 400),
            (Kind::Delete, 450),
            (Kind::Delete, 430),
            (Kind::Tick, 500),
            (Kind::Delete, 500),
            (Kind::End, 500),
        ]
    );
}

#[test]
fn ticks_stay_behind_by_the_time_that_messages_may_be_out_of_order() {
    let add = |ns| message(b'D', ns, 1);
    let (events, stats) = read(
        vec![piece(&[
            add(10),
            add(105),
            add(95),
            add(129),
            add(130),
            add(250),
            add(219),
        ])],
        ReaderConfig {
            tick_ns: 100,
            out_of_order_ns: 30,
            ..config()
        },
    );
    let ticks: Vec<_> = kinds(&events)
        .into_iter()
        .filter(|(kind, _)| *kind != Kind::Delete)
        .collect();
    assert_eq!(
        ticks,
        [
            (Kind::Tick, 0),
            (Kind::Tick, 100),
            (Kind::Tick, 200),
            (Kind::End, 250)
        ]
    );
    assert_eq!(
        events[5].kind,
        Kind::Tick,
        "it comes before the message at 130"
    );
    // The last one is 31 behind; 95 was no further behind than it may be.
    assert_eq!(stats.anomalies.0[Anomaly::TimeBackwards as usize], 1);
}

/// Packets of one message each of two sessions, as they arrive: session, time in ns.
fn of_sessions(messages: &[(u8, u64)]) -> Vec<SimStep> {
    let mut next = [1u64; 2];
    let step = |&(session, ns): &(u8, u64)| {
        let sequence = &mut next[usize::from(session)];
        let header = Header {
            session: SessionId([b'0' + session; 10]),
            sequence: *sequence,
            count: 1,
        };
        *sequence += 1;
        let mut payload = header.to_bytes().to_vec();
        payload.extend(blocks([message(b'D', ns, 1 + u16::from(session))]));
        SimStep::packet(Some(MIDNIGHT.plus_ns(ns as i64)), 0, &payload)
    };
    messages.iter().map(step).collect()
}

#[test]
fn trap_a_quiet_source_is_waited_for_only_so_long() {
    let messages = [
        (0, 100),
        (1, 40),
        (0, 260),
        (1, 110),
        (1, 210), // Tells that both have come to 210.
        (0, 480), // Session 1 is behind by 270, and from here on by more than 300:
        (0, 530),
        (0, 700),
        (1, 230), // it comes back with what happened before, which is no way back of its own,
        (1, 650), // and time waits for it again, from where it is.
        (0, 910),
    ];
    let ticks_of = |idle_after_ns| {
        let config = ReaderConfig {
            tick_ns: 100,
            idle_after_ns,
            ..config()
        };
        let (events, stats) = read(of_sessions(&messages), config);
        let mut seen = Vec::new();
        for (kind, ns) in kinds(&events) {
            match kind {
                Kind::Tick => seen.push(-ns),
                Kind::Delete => seen.push(ns),
                _ => {}
            }
        }
        let back = stats.anomalies.0[Anomaly::TimeBackwards as usize];
        (seen, back)
    };
    // Ticks are below zero. What was the first has the first tick.
    let waits = [
        100, 40, 260, 110, -200, 210, 480, -500, 530, -700, 700, 230, 650, 910,
    ];
    assert_eq!(ticks_of(300), (waits.to_vec(), 0));
    // Without: the latest time of all is time, and whoever is behind goes back.
    let (seen, back) = ticks_of(0);
    let ticks: Vec<i64> = seen.into_iter().filter(|ns| *ns < 0).collect();
    assert_eq!((ticks, back), (vec![-200, -400, -500, -700, -900], 3));
}

#[test]
fn trap_a_time_far_ahead_of_one_source_does_not_drag_time_on() {
    let s = 1_000_000_000;
    let mut steps = of_sessions(&[(0, s), (1, s + 5)]);
    let mut payload = Header {
        session: SessionId([b'0'; 10]),
        sequence: 2,
        count: 2,
    }
    .to_bytes()
    .to_vec();
    let (rogue, next) = (message(b'D', 90 * s, 1), message(b'D', s + 9, 1));
    payload.extend(blocks([rogue, next]));
    steps.push(SimStep::packet(
        Some(MIDNIGHT.plus_ns(s as i64 + 9)),
        0,
        &payload,
    ));
    let config = ReaderConfig {
        tick_ns: 100,
        idle_after_ns: s as i64,
        ..config()
    };
    let (events, stats) = read(steps, config);
    let times: Vec<_> = kinds(&events)
        .into_iter()
        .map(|(_, ns)| ns as u64)
        .collect();
    // The first tick is where time begins; the mended time is its own session's latest.
    assert_eq!(times, [s, s + 5, s, s + 9, s + 9]);
    assert!(events[2].flags.has(Flags::BAD_TS));
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert_eq!(stats.anomalies.total(), 1);
}

#[test]
fn a_time_far_ahead_is_mended_if_the_next_message_takes_it_back() {
    let s = 1_000_000_000;
    let add = |ns| message(b'D', ns, 1);
    let rogue = vec![piece(&[add(s), add(90 * s), add(s + 1), add(8 * s)])];
    let (events, stats) = read(
        rogue,
        ReaderConfig {
            tick_ns: 1000 * s as i64,
            ..config()
        },
    );
    let times: Vec<_> = kinds(&events).iter().map(|(_, ns)| *ns as u64).collect();
    // The last one is as far ahead, but nothing takes it back.
    assert_eq!(times, [s, s, s + 1, 8 * s, 8 * s]);
    assert!(events[1].flags.has(Flags::BAD_TS) && !events[3].flags.has(Flags::BAD_TS));
    assert_eq!(stats.anomalies.total(), 1);
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert!(
        stats.examples[0].contains("message 2"),
        "{:?}",
        stats.examples
    );
}

#[test]
fn the_first_time_of_all_may_be_the_wrong_one() {
    let s = 1_000_000_000;
    let add = |ns| message(b'D', ns, 1);
    let (events, stats) = read(vec![piece(&[add(90 * s), add(s), add(2 * s)])], config());
    let times: Vec<_> = kinds(&events)
        .into_iter()
        .filter(|(kind, _)| *kind == Kind::Delete)
        .collect();
    let want = [s as i64, s as i64, 2 * s as i64].map(|ns| (Kind::Delete, ns));
    assert_eq!(times, want);
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
}

#[test]
fn a_time_far_ahead_in_a_packet_of_its_own_is_judged_by_the_arrivals() {
    let s = 1_000_000_000u64;
    let mut steps = Vec::new();
    // The third message's time leaps with its arrival, the second's does not.
    let times = [
        (s, s),
        (90 * s, s + 1),
        (60 * s, 60 * s),
        (60 * s + 5, 60 * s + 5),
    ];
    for (sequence, (ns, recv)) in (1..).zip(times) {
        let header = Header {
            session: SESSION,
            sequence,
            count: 1,
        };
        let mut payload = header.to_bytes().to_vec();
        payload.extend(blocks([message(b'D', ns, 1)]));
        steps.push(SimStep::packet(
            Some(MIDNIGHT.plus_ns(recv as i64)),
            0,
            &payload,
        ));
    }
    let (events, stats) = read(
        steps,
        ReaderConfig {
            tick_ns: i64::MAX / 4,
            ..config()
        },
    );
    let times: Vec<_> = events
        .iter()
        .map(|e| e.ts_event.since(MIDNIGHT) as u64)
        .collect();
    assert_eq!(times, [s, s, 60 * s, 60 * s + 5, 60 * s + 5]);
    assert_eq!(stats.anomalies.total(), 1);
}

/// Who catches up over TCP gets an hour in a moment. A leap at a packet's end is judged by the message behind it, so that it does
/// not matter how messages lie in packets, nor whether they came live.
#[test]
fn a_leap_at_the_end_of_a_packet_is_true_for_who_catches_up() {
    let s = 1_000_000_000u64;
    let config = || ReaderConfig {
        tick_ns: i64::MAX / 4,
        ..config()
    };
    // The clock of arrivals is a day ahead, and goes on by a microsecond with each packet.
    let caught_up = |times: &[u64], each: usize| {
        let mut steps = Vec::new();
        for (index, chunk) in times.chunks(each).enumerate() {
            let header = Header {
                session: SESSION,
                sequence: (index * each) as u64 + 1,
                count: chunk.len() as u16,
            };
            let mut payload = header.to_bytes().to_vec();
            payload.extend(blocks(chunk.iter().map(|ns| message(b'D', *ns, 1))));
            let now = MIDNIGHT.plus_ns(86_400 * s as i64 + index as i64 * 1_000);
            steps.push(SimStep::packet(Some(now), 0, &payload));
        }
        let (events, stats) = read(steps, config());
        let of = |event: &Event| (event.ts_event, event.flags.has(Flags::BAD_TS));
        let seen: Vec<_> = events.iter().map(of).collect();
        (seen, stats.anomalies, stats.messages, stats.by_type)
    };
    // True leaps, the last message's among them, and one time that the next takes back.
    let times = [
        s,
        s + 1,
        20 * s,
        20 * s + 5,
        3600 * s,
        3600 * s + 7,
        9000 * s,
        3601 * s,
        4000 * s,
    ];
    let (seen, anomalies, messages, by_type) = caught_up(&times, times.len());
    assert_eq!(anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert_eq!(anomalies.total(), 1);
    let bad: Vec<usize> = (0..seen.len()).filter(|index| seen[*index].1).collect();
    assert_eq!(bad, [6], "{seen:?}");
    assert_eq!(messages, times.len() as u64);
    for each in 1..times.len() {
        let again = caught_up(&times, each);
        assert_eq!(
            again,
            (seen.clone(), anomalies, messages, by_type),
            "{each}"
        );
    }
}

#[test]
fn a_name_is_made_known_where_no_directory_came() {
    let messages = [
        message(b'E', 1, 5), // Carries no name.
        message(b'A', 2, 5),
        message(b'A', 3, 5),
        message(b'R', 4, 6),
        message(b'H', 5, 6),
        message(b'R', 6, 5),
    ];
    let (events, _) = read(vec![piece(&messages)], config());
    let got: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.code, event.symbol))
        .collect();
    let want = [
        (Kind::Execute, b'E', 5),
        (Kind::Symbol, 0, 5),
        (Kind::Add, b'A', 5),
        (Kind::Add, b'A', 5),
        (Kind::Symbol, b'R', 6),
        (Kind::Status, b'H', 6),
        (Kind::Symbol, b'R', 5),
        (Kind::End, 0, 0),
    ];
    assert_eq!(got, want);
    assert_eq!(events[1].order.to_be_bytes(), *b"S5      ");
}

#[test]
fn every_type_that_carries_a_name_makes_it_known() {
    for (code, _) in reference::itch::LENGTHS {
        let (events, stats) = read(vec![piece(&[message(code, 1, 3)])], config());
        let carries = reference::itch::name_at(code).is_some();
        if code == b'h' || code == b'C' {
            continue; // All zero, their letters are not allowed.
        }
        assert_eq!(events[0].kind == Kind::Symbol, carries, "{}", code as char);
        assert_eq!(stats.anomalies.total(), 0);
    }
}

#[test]
fn shards_and_filters_do_not_change_the_numbers() {
    let messages = sample_messages(2);
    let steps = packets(&messages, 0, 9);
    let (all, _) = read(steps.clone(), config());
    for shards in [2, 3, 4] {
        let (split, _) = read_with(steps.clone(), config(), shards, 1 << 16);
        for (shard, events) in split.iter().enumerate() {
            let mine = |e: &&Event| e.kind.is_for_all() || shard_of(e.symbol, shards) == shard;
            let want: Vec<Event> = all.iter().filter(mine).copied().collect();
            assert_eq!(*events, want, "shard {shard} of {shards}");
        }
    }
    let names: BTreeSet<String> = all
        .iter()
        .filter(|event| event.kind == Kind::Symbol && event.symbol.is_multiple_of(3))
        .map(|event| {
            String::from_utf8_lossy(&event.order.to_be_bytes())
                .trim()
                .to_owned()
        })
        .collect();
    assert!(names.len() > 5);
    let (few, _) = read(
        steps,
        ReaderConfig {
            symbols: Some(names),
            ..config()
        },
    );
    let is_asked_for =
        |e: &&Event| e.kind.is_for_all() || (e.symbol.is_multiple_of(3) && e.symbol != 0);
    let want: Vec<Event> = all.iter().filter(is_asked_for).copied().collect();
    assert_eq!(few, want);
}

#[test]
fn small_rings_hold_up_the_reader_and_lose_nothing() {
    let messages = sample_messages(3);
    // Packets of many messages, and a session that is held up by a gap for some time.
    let mut steps = packets(&messages, 0, 30);
    let late = steps.remove(10);
    steps.insert(60, late);
    let (want, _) = read_with(steps.clone(), config(), 2, 1 << 16);
    for capacity in [1, 2, 7, 30] {
        let (got, stats) = read_with(steps.clone(), config(), 2, capacity);
        assert_eq!(got, want, "rings for {capacity}");
        assert!(stats.rings.iter().all(|ring| ring.full_count > 0));
        assert!(
            stats
                .rings
                .iter()
                .all(|ring| ring.waiting_max <= capacity as u64)
        );
    }
}

#[test]
fn both_lines_lost_and_doubled_give_the_same_events_and_their_gaps() {
    let messages = sample_messages(4);
    let (want, _) = read(packets(&messages, 0, 5), config());
    let mut random = Random(4);
    let mut steps = Vec::new();
    for (a, b) in packets(&messages, 0, 5)
        .into_iter()
        .zip(packets(&messages, 1, 5))
    {
        let lost = random.below(4);
        steps.extend((lost != 0).then_some(a));
        steps.extend((lost != 1).then_some(b));
    }
    let (got, stats) = read(steps.clone(), config());
    // Where line A lost a packet, its copy has the same arrival time here.
    assert_eq!(got, want);
    assert!(stats.lines[0].filled_by_others() > 0 && stats.lines[1].filled_by_others() > 0);
    assert_eq!((stats.lines[0].lost, stats.gaps.len()), (0, 0));

    // Both lose one packet, of messages 501 to 505.
    let is_lost = |step: &SimStep| {
        let SimStep::Packet { payload, .. } = step else {
            return false;
        };
        Header::split(payload).unwrap().0.sequence == 501
    };
    steps.retain(|step| !is_lost(step));
    let (got, stats) = read_with(steps, config(), 3, 64);
    for events in got {
        let gaps: Vec<_> = events
            .iter()
            .filter(|event| event.kind == Kind::Gap)
            .collect();
        let [gap] = gaps[..] else {
            panic!("one gap on each shard")
        };
        assert_eq!((gap.order, gap.qty.0), (501, 5));
    }
    assert_eq!(stats.gaps.len(), 1);
    assert_eq!(stats.messages, messages.len() as u64 - 5);
    assert_eq!(stats.anomalies.0[Anomaly::Gap as usize], 1);
}

#[test]
fn a_resumed_shard_gets_only_what_it_lacks() {
    let messages = sample_messages(5);
    let steps = packets(&messages, 0, 5);
    let (all, _) = read_with(steps.clone(), config(), 2, 1 << 16);
    let resume_after = vec![700, 0];
    let (rest, _) = read_with(
        steps,
        ReaderConfig {
            resume_after,
            ..config()
        },
        2,
        5,
    );
    let want: Vec<Event> = all[0]
        .iter()
        .filter(|event| event.seq > 700)
        .copied()
        .collect();
    assert_eq!(rest[0], want);
    assert_eq!(rest[1], all[1]);
}

/// Reads messages from a place on, for shards that have so many events each; says what each has then, and why it
/// failed, if it did.
fn take_up(
    messages: &[Vec<u8>],
    all: &[Vec<Event>],
    at: Position,
    has: &[usize],
) -> (Vec<Vec<Event>>, Option<String>) {
    let shards = all.len();
    let mut events: Vec<_> = (0..shards).map(|i| all[i][..has[i]].to_vec()).collect();
    let lasts: Vec<Event> = events.iter().filter_map(|e| e.last().copied()).collect();
    let names = events.iter().flatten();
    let names = names.filter(|event| event.kind == Kind::Symbol && event.seq <= at.seq);
    let mut config = ReaderConfig {
        resume_after: events
            .iter()
            .map(|e| e.last().map_or(0, |e| e.seq))
            .collect(),
        taken_up: Some(TakenUp {
            at,
            names: names.map(|event| (event.symbol, event.order)).collect(),
            known: lasts,
        }),
        ..config()
    };
    config.gaps.goes_on = Some((at.session, at.next));
    let steps = packets_from(at.next, &messages[at.next as usize - 1..], 0, 7);
    let rings = (0..shards).map(|_| ring::<Event>(1 << 16));
    let (senders, mut receivers): (Vec<_>, Vec<_>) = rings.unzip();
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config, senders);
    let error = loop {
        match reader.turn() {
            Ok(Turned::Ended) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    for (events, receiver) in events.iter_mut().zip(&mut receivers) {
        take(receiver, usize::MAX, events);
    }
    (events, error)
}

/// When a message arrived is the only thing that differs when it comes again.
fn without_arrivals(events: &[Vec<Event>]) -> Vec<Vec<Event>> {
    let ts_recv = Ts(0);
    let bare = |events: &Vec<Event>| events.iter().map(|e| Event { ts_recv, ..*e }).collect();
    events.iter().map(bare).collect()
}

/// All places at which a reader was between its turns.
fn positions(messages: &[Vec<u8>]) -> Vec<Position> {
    let (sender, mut receiver) = ring::<Event>(1 << 16);
    let source = SimSource::new(&["A"], packets(messages, 0, 3));
    let mut reader = Reader::new(source, config(), vec![sender]);
    let mut positions = Vec::new();
    while reader.turn().unwrap() != Turned::Ended {
        positions.extend(reader.position());
        take(&mut receiver, usize::MAX, &mut Vec::new());
    }
    let last = reader.position().expect("a place at the end");
    assert_eq!(positions.last(), Some(&last), "End does not count");
    positions
}

#[test]
fn shards_that_were_killed_at_different_places_get_what_they_lack_and_nothing_else() {
    let messages = sample_messages(8);
    let positions = positions(&messages);
    assert!(positions.len() > 100);
    let mut random = Random(8);
    for shards in [1, 2, 3] {
        let (all, _) = read_with(packets(&messages, 0, 9), config(), shards, 1 << 16);
        let mut ticks = 0;
        for _ in 0..40 {
            let at = positions[random.below(positions.len() as u64) as usize];
            // Each has what came up to there, and some more, up to the end or its very last event.
            let has: Vec<usize> = all
                .iter()
                .map(|events| {
                    let least = events.partition_point(|event| event.seq <= at.seq);
                    let more = (events.len() - 1 - least) as u64;
                    least + random.below(1 + more.min(400)) as usize
                })
                .collect();
            let (events, error) = take_up(&messages, &all, at, &has);
            assert_eq!(error, None, "{at:?}, {has:?}");
            assert_eq!(
                without_arrivals(&events),
                without_arrivals(&all),
                "{at:?}, {has:?}"
            );
            let lacked = all
                .iter()
                .zip(&has)
                .flat_map(|(events, has)| &events[*has..]);
            ticks += lacked.filter(|event| event.kind == Kind::Tick).count();
        }
        assert!(ticks > 100, "ticks are among what they lacked");
    }
}

#[test]
fn a_session_that_says_something_else_than_before_is_an_error() {
    let messages = sample_messages(8);
    let (all, _) = read_with(packets(&messages, 0, 9), config(), 2, 1 << 16);
    let positions = positions(&messages);
    let at = positions[positions.len() / 2];
    let has: Vec<usize> = all
        .iter()
        .map(|events| events.partition_point(|event| event.seq <= at.seq) + 60)
        .collect();
    // Without one message all behind it has other numbers.
    let mut fewer = messages.clone();
    fewer.remove(at.next as usize);
    let (events, error) = take_up(&fewer, &all, at, &has);
    let error = error.expect("it is found");
    assert!(
        error.starts_with("the session does not say again what the log has: event "),
        "{error}"
    );
    let got = has.iter().zip(&events).map(|(has, e)| e.len() - has);
    assert_eq!(got.sum::<usize>(), 0, "no shard was told anything");
    // It ends before.
    let (_, error) = take_up(&messages[..at.next as usize + 20], &all, at, &has);
    let error = error.expect("it is found");
    assert!(
        error.starts_with("the session ends before all came again that the log has: at event "),
        "{error}"
    );
}

#[test]
fn the_input_ends_before_the_first_event_after_until() {
    let messages: Vec<_> = (1..10).map(|ns| message(b'D', ns * 10, 1)).collect();
    let until = Some(MIDNIGHT.plus_ns(50));
    let (events, stats) = read(vec![piece(&messages)], ReaderConfig { until, ..config() });
    let times: Vec<_> = kinds(&events).iter().map(|(_, ns)| *ns).collect();
    assert_eq!(times, [10, 20, 30, 40, 50, 50]);
    assert_eq!(events.last().unwrap().kind, Kind::End);
    assert_eq!(stats.anomalies.total(), 0);
}

#[test]
fn a_stopped_reader_brings_out_what_it_holds_and_ends_once() {
    let messages = sample_messages(6);
    let mut steps = packets(&messages, 0, 5);
    steps.remove(2);
    steps.truncate(6);
    steps.extend([SimStep::Empty, SimStep::Empty]);
    steps.extend(packets(&messages, 0, 5).drain(100..));
    let (tx, mut rx) = ring::<Event>(1 << 16);
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    while reader.turn().unwrap() != Turned::Empty {}
    reader.finish();
    reader.finish();
    while reader.turn().unwrap() != Turned::Ended {}
    let mut events = Vec::new();
    take(&mut rx, usize::MAX, &mut events);
    let ends = events
        .iter()
        .filter(|event| event.kind == Kind::End)
        .count();
    assert_eq!((ends, events.last().unwrap().kind), (1, Kind::End));
    let stats = reader.stats();
    assert_eq!(stats.messages, 30);
    assert_eq!((stats.gaps[0].first, stats.gaps[0].count), (11, 5));
}

#[test]
fn a_live_feed_ends_with_its_sessions() {
    let messages = sample_messages(7);
    let mut steps = packets(&messages[..50], 0, 5);
    let end = Header {
        session: SESSION,
        sequence: 51,
        count: END_OF_SESSION,
    };
    steps.push(SimStep::packet(Some(MIDNIGHT), 0, &end.to_bytes()));
    steps.push(SimStep::Fail("nobody asks any more".into()));
    let live = ReaderConfig {
        end_at_session_end: true,
        ..config()
    };
    let (events, _) = read(steps, live);
    assert_eq!(events.last().unwrap().kind, Kind::End);
}

#[test]
fn what_is_wrong_is_counted_told_and_passed_over() {
    let good = message(b'D', 5, 1);
    let mut long = message(b'A', 6, 1);
    long.push(0);
    let mut nobody = message(b'A', 7, 1);
    nobody[19] = b'?';
    let messages = [
        good.clone(),
        long,
        vec![b'z'; 9],
        nobody,
        vec![],
        message(b'D', 4, 1),
    ];
    let mut cut = blocks(&messages);
    cut.extend([0, 19, b'D']);
    let steps = vec![
        SimStep::messages(&cut),
        SimStep::Trouble("record is cut".into()),
    ];
    let (events, stats) = read(steps, config());
    assert_eq!(
        kinds(&events),
        [(Kind::Delete, 5), (Kind::Delete, 4), (Kind::End, 5)]
    );
    let counted: Vec<_> = stats.anomalies.iter().collect();
    let want = [
        (Anomaly::UnknownType, 1),
        (Anomaly::BadLength, 2),
        (Anomaly::BadField, 1),
        (Anomaly::BadPacket, 1),
        (Anomaly::TimeBackwards, 1),
    ];
    assert_eq!(counted, want);
    let place = "file 0, packet 1 at byte 0";
    let want = [
        format!("bad_length: {place}: message 2: message length 37, want 36 for type 'A'"),
        format!("unknown_type: {place}: message 3: unknown type 'z' of 9 bytes"),
        format!("bad_field: {place}: message 4: type 'A', byte 19: value '?' is not allowed"),
        format!("bad_length: {place}: message 5: message of no bytes"),
        format!("time_backwards: {place}: message 6: time goes back by 1 ns"),
        format!("bad_packet: {place}: 3 bytes behind the last whole message"),
        "trouble: file 0, packet 2 at byte 135: record is cut".to_owned(),
    ];
    assert_eq!(stats.examples, want);
    assert_eq!((stats.messages, stats.troubles), (6, 1));
}

#[test]
fn a_failed_source_and_a_gone_shard_are_errors() {
    let (tx, _rx) = ring::<Event>(4);
    let steps = vec![SimStep::Fail("socket is gone".into())];
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    let error = reader.turn().unwrap_err();
    assert!(error.to_string().contains("socket is gone"), "{error}");

    let (tx, rx) = ring::<Event>(4);
    drop(rx);
    let steps = packets(&sample_messages(8), 0, 9);
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    let error = loop {
        match reader.turn() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::ShardGone { shard: 0 }));
}

#[test]
fn changed_packets_never_panic_and_every_message_is_read_once() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let messages = sample_messages(9);
        let messages = &messages[..2_000];
        let mut steps = Vec::new();
        for (a, b) in packets(messages, 0, 4)
            .into_iter()
            .zip(packets(messages, 1, 4))
        {
            for mut step in [a, b] {
                if let SimStep::Packet { payload, .. } = &mut step {
                    if random.chance(10) {
                        let at = random.below(payload.len() as u64) as usize;
                        payload[at] ^= 1 << random.below(8);
                    }
                    if random.chance(3) {
                        payload.truncate(random.below(payload.len() as u64) as usize);
                    }
                }
                if !random.chance(5) {
                    steps.push(step);
                }
            }
        }
        let (small, _) = read_with(steps.clone(), config(), 3, 3);
        let (large, stats) = read_with(steps, config(), 3, 1 << 16);
        assert_eq!(small, large, "seed {seed}");
        let mut seqs: Vec<u64> = large.iter().flatten().map(|event| event.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert!(
            seqs.iter().zip(1..).all(|(seq, want)| *seq == want),
            "seed {seed}"
        );
        assert_eq!(seqs.len() as u64, stats.seq, "seed {seed}");
    }
}

/// A line that lost packets, and a server of what it lost that takes its time.
struct Asked {
    lines: Vec<Line>,
    all: Vec<Vec<u8>>,
    next: usize,
    is_lost: fn(usize) -> bool,
    only_answers: bool,
    /// The answer to come, and after how many polls.
    answer: Option<(u32, usize)>,
    asked: u64,
    polls_of_answer: u32,
}

impl Source for Asked {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let (line, index) = match &mut self.answer {
            Some((0, index)) => {
                let index = *index;
                self.answer = None;
                (1, index)
            }
            Some((polls, _)) if self.only_answers => {
                *polls -= 1;
                return Ok(Polled::Empty);
            }
            answer => {
                if let Some((polls, _)) = answer {
                    *polls -= 1;
                }
                while self.next < self.all.len() && (self.is_lost)(self.next) {
                    self.next += 1;
                }
                if self.next == self.all.len() {
                    return match answer {
                        Some(_) => Ok(Polled::Empty),
                        None => Ok(Polled::End),
                    };
                }
                self.next += 1;
                (0, self.next - 1)
            }
        };
        let payload = &self.all[index];
        Ok(Polled::Packet(Packet {
            ts_recv: Some(Ts(index as i64)),
            line,
            framing: Framing::MoldUdp64,
            payload,
            wire_bytes: payload.len() as u32,
            place: Place::default(),
        }))
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> retransmit::Asked {
        self.only_answers = only_answers;
        let Some(missing) = missing else {
            return retransmit::Asked::GivenUp;
        };
        if self.answer.is_none() {
            let starts = |payload: &Vec<u8>| Header::split(payload).unwrap().0.sequence;
            let index = self.all.iter().position(|p| starts(p) == missing.first);
            let index = index.expect("what is missing begins with a packet");
            self.answer = Some((self.polls_of_answer, index));
            self.asked += 1;
        }
        retransmit::Asked::Waiting
    }

    fn asked(&self) -> Option<AskCounts> {
        Some(AskCounts {
            requests: self.asked,
            ..AskCounts::default()
        })
    }
}

#[test]
fn a_slow_answer_is_waited_for_though_there_is_room_for_few_packets_only() {
    let messages = sample_messages(2_000);
    let all: Vec<Vec<u8>> = packets(&messages, 0, 5)
        .into_iter()
        .map(|step| match step {
            SimStep::Packet { payload, .. } => payload,
            other => panic!("{other:?}"),
        })
        .collect();
    let whole: Vec<SimStep> = all
        .iter()
        .enumerate()
        .map(|(index, payload)| SimStep::packet(Some(Ts(index as i64)), 0, payload))
        .collect();
    let (want, _) = read(whole, config());
    for (hold_packets, polls_of_answer) in [(2, 0), (8, 500), (64, 500), (1_024, 20)] {
        let mut config = config();
        config.gaps.hold_packets = hold_packets;
        config.gaps.reorder_max = 1;
        config.gaps.recovery = Some(RecoveryRule {
            line: 1,
            messages_max: 1_000,
            is_from_first: true,
        });
        let source = Asked {
            lines: ["A", "answers"]
                .map(|name| Line { name: name.into() })
                .into(),
            all: all.clone(),
            next: 0,
            is_lost: |index| index % 7 == 3 || (100..140).contains(&index),
            only_answers: false,
            answer: None,
            asked: 0,
            polls_of_answer,
        };
        let lost = (0..all.len()).filter(|index| (source.is_lost)(*index));
        let lost = lost.count() as u64;
        let (sender, mut receiver) = ring::<Event>(1 << 16);
        let mut reader = Reader::new(source, config, vec![sender]);
        let mut got = Vec::new();
        while reader.turn().unwrap() != Turned::Ended {
            take(&mut receiver, usize::MAX, &mut got);
        }
        take(&mut receiver, usize::MAX, &mut got);
        let stats = reader.stats();
        assert_eq!(stats.gaps.first(), None, "{hold_packets}");
        let bare = |events: &[Event]| -> Vec<Event> {
            let timeless = |event: &Event| Event {
                ts_recv: Ts(0),
                ..*event
            };
            events.iter().map(timeless).collect()
        };
        assert!(bare(&got) == bare(&want), "{hold_packets}: other events");
        let recovery = stats.recovery.unwrap();
        assert_eq!(recovery.given_up, 0);
        assert_eq!(recovery.recovered, 5 * lost);
        assert!(recovery.asked.requests >= lost);
    }
}

/// Orders of three symbols that come, trade, shrink, are replaced and go.
fn market(count: u64) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for index in 1..=count {
        let (ns, symbol) = (index * 1_000, 1 + (index % 3) as u16);
        // Those of the same symbol before it, some of which are gone.
        let (old, older) = (index.saturating_sub(3), index.saturating_sub(12));
        let mut made = match index % 8 {
            3 => message(b'E', ns, symbol),
            5 => message(b'X', ns, symbol),
            6 => message(b'D', ns, symbol),
            7 => message(b'U', ns, symbol),
            _ => message(b'A', ns, symbol),
        };
        let mut put = |at: usize, bytes: &[u8]| made[at..at + bytes.len()].copy_from_slice(bytes);
        let price = (100_000 + 100 * (index % 7) as u32).to_be_bytes();
        match index % 8 {
            3 | 5 => {
                put(11, &old.to_be_bytes());
                put(19, &40u32.to_be_bytes());
            }
            6 => put(11, &older.to_be_bytes()),
            7 => {
                put(11, &old.to_be_bytes());
                put(19, &index.to_be_bytes());
                put(27, &(50 + index as u32).to_be_bytes());
                put(31, &price);
            }
            _ => {
                put(11, &index.to_be_bytes());
                put(19, if index % 2 == 0 { b"B" } else { b"S" });
                put(20, &(100 + index as u32).to_be_bytes());
                put(32, &price);
            }
        }
        messages.push(made);
    }
    messages
}

/// The orders behind these messages.
fn table(messages: &[Vec<u8>]) -> Table {
    let (itch, mut table) = (Itch::new(MIDNIGHT), Table::new(1_000));
    for message in messages {
        let mut event = Event::new(Kind::Nothing);
        itch.decode(message, &mut event).unwrap();
        table.apply(&event).unwrap();
        if let Some(name) = itch.name(message) {
            table.name(event.symbol, name);
        }
    }
    table
}

/// Packets that come when the test says so; nothing in between, and an end when it is over.
#[derive(Default)]
struct Waiting {
    lines: Vec<Line>,
    packets: VecDeque<SimStep>,
    payload: Vec<u8>,
    is_over: bool,
}

impl Source for Waiting {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        match self.packets.pop_front() {
            Some(SimStep::Packet {
                ts_recv,
                line,
                framing,
                payload,
                wire_bytes,
            }) => {
                self.payload = payload;
                Ok(Polled::Packet(Packet {
                    ts_recv,
                    line,
                    framing,
                    payload: &self.payload,
                    wire_bytes,
                    place: Place::default(),
                }))
            }
            Some(other) => panic!("{other:?}"),
            None if self.is_over => Ok(Polled::End),
            None => Ok(Polled::Empty),
        }
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }
}

/// Turns until the source has nothing.
fn turn_to_rest(reader: &mut Reader<Waiting>, receivers: &mut [Receiver], all: &mut Vec<Event>) {
    while reader.turn().unwrap() != Turned::Empty {
        receivers.iter_mut().for_each(|r| take(r, usize::MAX, all));
    }
    receivers.iter_mut().for_each(|r| take(r, usize::MAX, all));
}

/// Two losses, the second one while a snapshot is waited for; answers that are none, that are too old,
/// and of before the second loss.
fn healed(shards: usize) -> (Vec<Event>, HealStats) {
    let messages = market(400);
    let (link, fetch) = glimpse::link();
    let rule = AskSnapshots {
        server: "127.0.0.1:9".parse().unwrap(),
        login: Login::new("", "", "", 1).unwrap(),
        midnight: MIDNIGHT,
        orders_max: 1_000,
        silence_ns: 1,
        timeout_ns: 1,
        tries_max: 100,
        retry_ns: 1,
        retry_max_ns: 1,
    };
    let (go, gone_on) = mpsc::channel();
    let known = messages.clone();
    let server = thread::spawn(move || {
        let mut asked = 0;
        fetch.serve(&rule, |_| {
            asked += 1;
            let sequence: u64 = match asked {
                1 => return Err("cut".into()),
                2 => 55,
                _ => gone_on.recv().map_err(|_| "over".to_string())?,
            };
            let table = table(&known[..sequence as usize - 1]);
            Ok(Snapshot { sequence, table })
        });
    });
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| ring::<Event>(1 << 14)).unzip();
    let mut config = config();
    config.gaps.reorder_max = 2;
    let mut reader = Reader::new(Waiting::default(), config, senders);
    let kept_bytes_max = 1 << 16;
    reader = reader.with_snapshots(Some((link, HealRule { kept_bytes_max })), false);
    let (mut steps, mut all) = (packets(&messages, 0, 10).into_iter(), Vec::new());
    let mut send = |reader: &mut Reader<Waiting>, packets: usize, lost: usize| {
        for (index, step) in steps.by_ref().take(packets).enumerate() {
            if index != lost {
                reader.source_mut().packets.push_back(step);
            }
        }
    };
    send(&mut reader, 10, 5);
    turn_to_rest(&mut reader, &mut receivers, &mut all);
    assert_eq!(reader.stats().gaps.len(), 1);
    send(&mut reader, 10, 2);
    turn_to_rest(&mut reader, &mut receivers, &mut all);
    assert_eq!(reader.stats().gaps.len(), 2);
    assert_eq!(reader.stats().heal.unwrap().heals, 0);
    for sequence in [111, 151] {
        go.send(sequence).unwrap();
    }
    while reader.stats().heal.unwrap().heals == 0 {
        turn_to_rest(&mut reader, &mut receivers, &mut all);
        thread::yield_now();
    }
    send(&mut reader, 20, usize::MAX);
    reader.source_mut().is_over = true;
    while reader.turn().unwrap() != Turned::Ended {
        receivers
            .iter_mut()
            .for_each(|r| take(r, usize::MAX, &mut all));
    }
    receivers
        .iter_mut()
        .for_each(|r| take(r, usize::MAX, &mut all));
    let stats = reader.stats();
    assert_eq!(stats.messages, 380, "each message once");
    // The server's thread ends with the reader.
    drop((reader, go));
    server.join().unwrap();
    all.sort_by_key(|event| event.seq);
    all.dedup();
    (all, stats.heal.unwrap())
}

#[test]
fn books_are_told_anew_by_a_snapshot_and_what_came_since_at_any_number_of_shards() {
    let (events, stats) = healed(1);
    let is_end = |event: &Event, flags: Flags| event.kind == Kind::Gap && event.flags == flags;
    let start = Flags::WHOLE.with(Flags::STALE);
    let start = events
        .iter()
        .position(|event| is_end(event, start))
        .unwrap();
    let end = events.iter().position(|event| is_end(event, Flags::WHOLE));
    let end = end.unwrap();
    assert_eq!((events[start].order, events[end].order), (201, 201));
    let mut want = Vec::new();
    let whole = table(&market(200));
    for symbol in 1..=3 {
        for (_, reference, order) in whole.orders_from(symbol, 0) {
            let (price, qty) = (order.price, order.qty);
            want.push((
                symbol,
                Kind::Add,
                reference,
                order.side,
                price,
                qty,
                Flags::MORE,
            ));
        }
        let none = (0, Side::None, Price(0), Qty(0));
        want.push((
            symbol,
            Kind::Info,
            none.0,
            none.1,
            none.2,
            none.3,
            Flags::ENDS,
        ));
    }
    let told = events[start + 1..end].iter();
    let told: Vec<_> = told
        .map(|e| (e.symbol, e.kind, e.order, e.side, e.price, e.qty, e.flags))
        .collect();
    assert!(want.len() > 30, "some orders live: {}", want.len());
    assert_eq!(told, want);
    let last = stats.last.unwrap();
    assert_eq!((last.sequence, last.symbols), (201, 3));
    assert_eq!(last.orders + 3, want.len() as u64);
    assert_eq!(
        (stats.losses, stats.heals, stats.is_given_up),
        (2, 1, false)
    );
    // The one that was too old for the first loss, and the one for the second.
    assert_eq!(stats.snapshots + stats.failed, 4);
    for shards in [2, 4] {
        assert!(healed(shards).0 == events, "{shards} shards");
    }
}

#[test]
fn no_more_is_kept_than_there_is_room_for_and_nobody_is_asked_for_ever() {
    let messages = market(400);
    let (link, fetch) = glimpse::link();
    let (senders, mut receivers) = ring::<Event>(1 << 14);
    let mut config = config();
    config.gaps.reorder_max = 2;
    let reader = Reader::new(Waiting::default(), config, vec![senders]);
    let kept_bytes_max = 1_000;
    let mut reader = reader.with_snapshots(Some((link, HealRule { kept_bytes_max })), false);
    let (mut all, mut left) = (Vec::new(), usize::MAX);
    for (index, step) in packets(&messages, 0, 10).into_iter().enumerate() {
        if index != 5 && left > 0 {
            reader.source_mut().packets.push_back(step);
        }
        turn_to_rest(&mut reader, std::slice::from_mut(&mut receivers), &mut all);
        // Two packets more fit.
        left = left.saturating_sub(1);
        if left > 2 && reader.stats().heal.unwrap().overflows == 2 {
            left = 2;
        }
    }
    let stats = reader.stats().heal.unwrap();
    assert_eq!((left, stats.overflows), (0, 2), "{stats:?}");
    let rule = AskSnapshots {
        server: "127.0.0.1:9".parse().unwrap(),
        login: Login::new("", "", "", 1).unwrap(),
        midnight: MIDNIGHT,
        orders_max: 1_000,
        silence_ns: 1,
        timeout_ns: 1,
        tries_max: 3,
        retry_ns: 1,
        retry_max_ns: 1,
    };
    let server = thread::spawn(move || fetch.serve(&rule, |_| Err("away".into())));
    while !reader.stats().heal.unwrap().is_given_up {
        turn_to_rest(&mut reader, std::slice::from_mut(&mut receivers), &mut all);
        thread::yield_now();
    }
    let stats = reader.stats();
    assert_eq!(stats.heal.unwrap().failed, 3);
    assert_eq!(stats.troubles, 3);
    let last = stats.examples.last().unwrap();
    assert!(last.contains("away; nobody is asked any more"), "{last}");
    drop(reader);
    server.join().unwrap();
}

#[test]
fn a_group_is_on_one_shard_and_what_has_no_name_goes_nowhere() {
    // Executions and deletes say no name; symbol 7 is added late, and 3 is in no group.
    let messages = [
        message(b'D', 1_000, 7),
        message(b'R', 2_000, 2),
        message(b'R', 3_000, 3),
        message(b'R', 4_000, 5),
        message(b'A', 5_000, 7),
        message(b'D', 6_000, 7),
        message(b'D', 7_000, 2),
        message(b'D', 8_000, 5),
        message(b'D', 9_000, 3),
        message(b'D', 10_000, 4),
    ];
    let names = |names: [&str; 2]| names.map(String::from).to_vec();
    let all = [names(["S5", "S2"]), names(["S7", "S9"])];
    let groups = Groups::new(all.iter().map(Vec::as_slice));
    let of_shard = |events: &[Event]| -> Vec<(u32, u64)> {
        let own = events.iter().filter(|event| !event.kind.is_for_all());
        own.map(|event| (event.symbol, event.seq)).collect()
    };
    let mut all_seen = Vec::new();
    for shards in 1..5 {
        let config = ReaderConfig {
            groups: groups.clone(),
            ..config()
        };
        let (events, _) = read_with(packets(&messages, 0, 3), config, shards, 1 << 10);
        let mut seen = Vec::new();
        for (shard, events) in events.iter().enumerate() {
            for (symbol, seq) in of_shard(events) {
                let home = match symbol {
                    2 | 5 => 0,
                    7 => 1 % shards,
                    _ => symbol as usize % shards,
                };
                assert_eq!(shard, home, "symbol {symbol} of {shards} shards");
                seen.push((seq, symbol));
            }
        }
        seen.sort_unstable();
        let symbols: Vec<u32> = seen.iter().map(|(_, symbol)| *symbol).collect();
        // Where a name is first met in an add, the reader says it before.
        assert_eq!(symbols, [2, 3, 5, 7, 7, 7, 2, 5, 3]);
        all_seen.push(seen);
    }
    assert!(all_seen.iter().all(|seen| *seen == all_seen[0]));
    // What was known before a live run went on needs no name.
    let mut known = groups;
    known.bind(7, *b"S7      ");
    known.is_apart(4);
    let config = ReaderConfig {
        groups: known,
        ..config()
    };
    let (events, _) = read_with(packets(&messages, 0, 3), config, 2, 1 << 10);
    let counts = events.iter().map(|events| of_shard(events).len());
    assert_eq!(counts.collect::<Vec<_>>(), [5, 6]);
    assert_eq!(of_shard(&events[1])[0].0, 7);
}
