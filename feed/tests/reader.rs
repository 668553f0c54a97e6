//! The reader as a shard sees it: what comes out of the rings.

mod reference;

use std::collections::BTreeSet;

use bus::ring::{Receiver, ring};
use bus::{Anomaly, Event, Flags, Kind, Ts};
use feed::arbiter::RecoveryRule;
use feed::moldudp64::{END_OF_SESSION, Header, SessionId};
use feed::protocol::{Itch, Protocol};
use feed::reader::{ReadError, Reader, ReaderConfig, ReaderStats, Turned, shard_of};
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
    let mut sequence = 1;
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
    assert_eq!(stats.anomalies.0[Anomaly::TimeBackwards as usize], 1);
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
