//! What the benches share: the stream they run on, and how large it is.
//!
//! Each bench asks one question and prints a checksum of its result, so that a wrong fast answer
//! shows. The answers, with machine, command and commit: `bench/RESULTS.md`.

#![forbid(unsafe_code)]

pub mod tapes;

use std::time::Duration;

use bus::{Event, Kind};
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use feed::moldudp64::Blocks;
use feed::protocol::{AHEAD_BYTES, Itch, Protocol};
use feed::source::{Framing, Packet, Place, Polled, Source, SourceError};

pub use tapes::MIDNIGHT;
use tapes::Tape;

/// Whether `cargo bench` runs this, and not `cargo test`.
pub fn is_measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// Symbols and messages of the stream: 8,000 and ten million, or few where nothing is measured.
pub fn size() -> (u32, u64) {
    if is_measuring() {
        (8_000, 10_000_000)
    } else {
        (50, 20_000)
    }
}

/// A simulated session as an ITCH file's bytes: a length of two bytes, a message, and so on.
pub struct Stream {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many messages.
    pub messages: u64,
}

impl Stream {
    /// About as many messages as asked for, on as many symbols, over a minute of event time.
    pub fn new(symbols: u32, messages: u64) -> Stream {
        let Tape { bytes, messages } = tapes::itch(symbols, messages);
        Stream { bytes, messages }
    }

    /// The stream of [`size`].
    pub fn sized() -> Stream {
        let (symbols, messages) = size();
        Stream::new(symbols, messages)
    }

    /// A file's bytes; what is no whole message at their end does not count.
    pub fn from_bytes(bytes: Vec<u8>) -> Stream {
        let mut stream = Stream { bytes, messages: 0 };
        stream.messages = stream.iter().count() as u64;
        stream
    }

    /// The messages one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (message, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            rest = after;
            Some(message)
        })
    }

    /// The messages one by one, each with what lies behind it.
    pub fn walk(&self) -> Blocks<'_> {
        Blocks::new(&self.bytes)
    }

    /// Decoded and numbered.
    pub fn events(&self) -> Vec<Event> {
        let itch = Itch::new(MIDNIGHT);
        let mut events = Vec::with_capacity(self.messages as usize);
        for message in self.iter() {
            let mut event = Event::new(Kind::Nothing);
            itch.decode(message, &mut event)
                .expect("a simulated exchange speaks ITCH");
            event.seq = events.len() as u64 + 1;
            event.ts_recv = event.ts_event;
            events.push(event);
        }
        events
    }
}

/// Decodes a message as the reader does: with what lies behind it, where there is enough of that.
#[inline(always)]
pub fn decode_one(
    itch: &Itch,
    message: &[u8],
    ahead: Option<&[u8; AHEAD_BYTES]>,
    event: &mut Event,
) -> bool {
    match ahead {
        Some(ahead) => itch.decode_ahead(ahead, message.len(), event).is_ok(),
        None => decode_last(itch, message, event),
    }
}

#[inline(never)]
fn decode_last(itch: &Itch, message: &[u8], event: &mut Event) -> bool {
    itch.decode(message, event).is_ok()
}

/// Decodes all of a stream; every field that a message fills goes into the sum.
pub fn decode_all(itch: &Itch, stream: &Stream) -> u64 {
    let mut sum = 0u64;
    let mut event = Event::new(Kind::Nothing);
    let mut walk = stream.walk();
    while let Some((message, ahead)) = walk.next_ahead() {
        if decode_one(itch, message, ahead, &mut event) {
            sum = sum
                .wrapping_add(event.ts_event.0 as u64)
                .wrapping_add(event.order ^ event.order_b)
                .wrapping_add(event.price.0 as u64 ^ event.qty.0 as u64)
                .wrapping_add(u64::from(event.symbol) << 8 | event.kind as u64);
        }
    }
    fold(sum, stream.messages)
}

/// A stream as a source: pieces of whole messages, as a file of them would come.
#[derive(Clone, Debug)]
pub struct Memory<'a> {
    bytes: &'a [u8],
    at: usize,
    place: Place,
}

/// Messages in a piece at most.
const PIECE_MESSAGES: usize = 64;

impl<'a> Memory<'a> {
    /// From the first message on.
    pub fn new(stream: &'a Stream) -> Memory<'a> {
        Memory {
            bytes: &stream.bytes,
            at: 0,
            place: Place::default(),
        }
    }
}

impl Source for Memory<'_> {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let start = self.at;
        for _ in 0..PIECE_MESSAGES {
            let Some(length) = self.bytes.get(self.at..self.at + 2) else {
                break;
            };
            self.at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
        }
        if self.at == start {
            return Ok(Polled::End);
        }
        self.place.packet += 1;
        self.place.offset_bytes = start as u64;
        let payload = &self.bytes[start..self.at];
        Ok(Polled::Packet(Packet {
            ts_recv: None,
            line: 0,
            framing: Framing::LengthPrefixed,
            payload,
            wire_bytes: payload.len() as u32,
            place: self.place,
        }))
    }

    fn lines(&self) -> &[feed::source::Line] {
        &[]
    }
}

impl tapeline::pipeline::Timed for Memory<'_> {
    fn pace(&self) -> Option<feed::source::Pace> {
        None
    }
}

/// A group whose runs are long: few samples, each over the whole stream.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(8));
    group
}

/// Folds a number into a checksum.
#[inline]
pub fn fold(sum: u64, value: u64) -> u64 {
    (sum ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(23)
}
