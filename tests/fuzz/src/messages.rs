//! Messages of every protocol, made by the fuzzer, and what must hold: decoding ends, with an event
//! or a fault; what comes of a message is bounded by the message; every event is one, and books take
//! it; and no piece of memory is larger than [`ALLOCATION_BYTES_MAX`].
//!
//! The first byte of the input chooses the protocol, and its highest bit books without queues; then
//! come messages, each behind its length in one byte, or packets of IEX-TP, MDP 3.0 or PITCH likewise, or
//! pieces of a SoupBinTCP session. `TAPELINE_PROTOCOL=3` gives all inputs to one of them, by its place
//! in [`take`].

use std::sync::LazyLock;

use book::{Books, BooksConfig, Depth};
use bus::soupbintcp::{Client, LENGTH_MAX, Login, Said};
use bus::{Event, Kind, Ts};
use feed::iextp::Segments;
use feed::mdp3::Packets;
use feed::moldudp64::{Blocks, Header};
use feed::pitch::Units;
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis,
};

use crate::largest::within;

const BOOKS: BooksConfig = BooksConfig {
    orders_max: 1024,
    levels_max: 1024,
    symbols_max: 64,
    depth: Depth::L3,
};

/// More than any message makes, but for one that clears a book; Binance's, Coinbase's and tardis.dev's may show a whole book anew,
/// which has no more levels than the messages have bytes.
const EVENTS_MAX: usize = 41;

/// A packet of MDP 3.0 is one message, of up to 255 bytes here; each of its entries may move levels.
const MDP_EVENTS_MAX: usize = 2_048;

/// What books of this size, and what is remembered of an input of a few hundred bytes, ask for at once.
const ALLOCATION_BYTES_MAX: usize = 1 << 20;

/// How many kinds of input there are.
const KINDS: u8 = 12;

/// The one kind that all inputs are of, where that is asked for.
static ONLY: LazyLock<Option<u8>> = LazyLock::new(|| {
    let asked = std::env::var("TAPELINE_PROTOCOL").ok()?;
    let kind = asked.parse().ok().filter(|&kind| kind < KINDS);
    Some(kind.unwrap_or_else(|| panic!("TAPELINE_PROTOCOL={asked} is none of 0 to {}", KINDS - 1)))
});

/// Runs one input.
pub fn check(data: &[u8]) {
    within(ALLOCATION_BYTES_MAX, || take(data));
}

fn take(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else {
        return;
    };
    let depth = if which & 0x80 == 0 {
        Depth::L3
    } else {
        Depth::L2
    };
    match ONLY.unwrap_or(which % 0x80 % KINDS) {
        0 => messages(Itch::new(Ts(0)), pieces(rest), depth, EVENTS_MAX),
        1 => messages(Iex::new(), pieces(rest), depth, EVENTS_MAX),
        2 => messages(Lobster::new(Ts(0)), pieces(rest), depth, EVENTS_MAX),
        3 => messages(Dbn::new(), pieces(rest), depth, EVENTS_MAX),
        4 => {
            let mut segments = Segments::default();
            let take = |payload: &[u8], at: usize| blocks(segments.as_mold(payload, at as u8 % 3));
            packets(Iex::new(), rest, depth, EVENTS_MAX, take);
        }
        5 => messages(Binance::new(), pieces(rest), depth, 8 + data.len()),
        6 => {
            let mut packets_of = Packets::default();
            // Both feeds of one channel, and another one.
            let ports = [14_310, 15_310, 14_311];
            let take =
                |payload: &[u8], at: usize| blocks(packets_of.as_mold(payload, ports[at % 3]));
            packets(Mdp3::new(), rest, depth, MDP_EVENTS_MAX, take);
        }
        8 => messages(Tardis::new(), pieces(rest), depth, 8 + data.len()),
        9 => messages(Coinbase::new(), pieces(rest), depth, 8 + data.len()),
        10 => messages(Bitstamp::new(), pieces(rest), depth, EVENTS_MAX),
        11 => session(rest),
        _ => {
            let mut units = Units::default();
            let take = |payload: &[u8], at: usize| {
                blocks(units.as_mold(payload, 30_501, Some(Ts(at as i64))))
            };
            packets(Pitch::new(Ts(0)), rest, depth, EVENTS_MAX, take);
        }
    }
}

/// What a SoupBinTCP server says, in pieces as they came.
fn session(rest: &[u8]) {
    let login = Login::new("user", "password", "", 1).expect("it fits");
    let mut client = Client::new(login, 1);
    client.connected(0);
    let (mut messages, mut last) = (0, None);
    for piece in pieces(rest) {
        client.room()[..piece.len()].copy_from_slice(piece);
        client.received(piece.len(), 0);
        loop {
            match client.hear() {
                Ok(Some(Said::Message { sequence, bytes })) => {
                    assert!(bytes.len() < LENGTH_MAX.into());
                    assert!(last.is_none_or(|last| sequence > last || last == u64::MAX));
                    (messages, last) = (messages + 1, Some(sequence));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(fault) => return assert!(!fault.to_string().is_empty()),
            }
        }
    }
    assert!(messages <= rest.len());
}

/// What stands behind each length; the last piece may be shorter than it says.
fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, behind) = rest.split_first()?;
        let (piece, behind) = behind.split_at(behind.len().min(len.into()));
        rest = behind;
        Some(piece)
    })
}

fn messages<'a, P: Protocol>(
    mut protocol: P,
    all: impl Iterator<Item = &'a [u8]>,
    depth: Depth,
    events_max: usize,
) {
    let mut books = Books::new(BooksConfig { depth, ..BOOKS }).expect("memory for small books");
    let mut events = Vec::new();
    for message in all {
        let mut event = Event::new(Kind::Nothing);
        protocol.ts_event(message);
        protocol.symbol(message);
        protocol.name(message);
        if protocol.decode(message, &mut event).is_err() {
            continue;
        }
        events.clear();
        if !P::IS_TRANSLATED {
            events.push(event);
        } else {
            // What comes in front of a fault counts, as in the reader.
            let _fault = protocol.translate(message, &event, &mut events);
        }
        assert!(event.code == b'R' || events.len() <= events_max);
        for event in &events {
            assert!(Event::from_bytes(event.as_bytes()).is_some());
            books.apply(event);
        }
    }
    let stats = books.stats();
    assert!(stats.orders <= BOOKS.orders_max && stats.levels <= BOOKS.levels_max);
}

/// The messages of a packet, as the reader gets them.
fn blocks(packet: Result<&[u8], &'static str>) -> Vec<Vec<u8>> {
    let Ok(packet) = packet else {
        return Vec::new();
    };
    let (header, blocks) = Header::split(packet).expect("a packet has a header");
    let all = Blocks::new(blocks).take(header.message_count().into());
    all.map(<[u8]>::to_vec).collect()
}

fn packets<P: Protocol>(
    protocol: P,
    rest: &[u8],
    depth: Depth,
    events_max: usize,
    mut take: impl FnMut(&[u8], usize) -> Vec<Vec<u8>>,
) {
    let mut found = Vec::new();
    for (at, payload) in pieces(rest).enumerate() {
        let messages = take(payload, at);
        assert!(messages.len() <= payload.len());
        found.extend(messages);
    }
    let found = found.iter().map(Vec::as_slice);
    messages(protocol, found, depth, events_max);
}
