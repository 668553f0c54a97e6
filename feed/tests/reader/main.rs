//! The reader as a shard sees it: what comes out of the rings.

mod again;
mod heal;
mod order;
#[path = "../reference/mod.rs"]
mod reference;
mod time;
mod wrong;

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
