//! This program's decoders, as its reader calls them: events, whole, in blocks.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use bus::{Event, Kind};
use feed::moldudp64::Blocks;
use feed::protocol::{Protocol, lobster};
use feed::source::{Capture, CaptureOptions, Polled, Source};

use crate::Sum;
use crate::tapes::{BLOCK_EVENTS, Tape, decode_blocks};

/// The sum over events, which they are asked for in blocks.
#[inline(always)]
fn add(sum: &mut Sum, events: &[Event]) {
    for event in black_box(events) {
        sum.add(event.price.0, event.qty.0, 0);
    }
}

/// From messages in memory to events.
pub fn messages<P: Protocol>(mut protocol: P, tape: &Tape) -> Sum {
    let (mut sum, mut events) = (Sum::default(), Vec::with_capacity(2 * BLOCK_EVENTS));
    decode_blocks(&mut protocol, &tape.bytes, &mut events, |events| {
        add(&mut sum, events);
    });
    add(&mut sum, &events);
    sum
}

/// From a file to events: read, recognised, framed and decoded, without a second thread.
pub fn file<P: Protocol>(mut protocol: P, path: &Path) -> Sum {
    let (mut sum, mut events) = (Sum::default(), Vec::with_capacity(2 * BLOCK_EVENTS));
    walk(path, |blocks| {
        decode_blocks(&mut protocol, blocks, &mut events, |events| {
            add(&mut sum, events);
        });
    });
    add(&mut sum, &events);
    sum
}

fn walk(path: &Path, mut take: impl FnMut(&[u8])) {
    let options = CaptureOptions {
        decompress_ahead: false,
        ..CaptureOptions::default()
    };
    let paths: [PathBuf; 1] = [path.into()];
    let mut capture = Capture::open(&paths, options).expect("the file was just written");
    while let Polled::Packet(packet) = capture.poll().expect("a file that can be read") {
        take(packet.payload);
    }
}

/// What messages say before anything is remembered of others: to hold a peer's sum against. The order's number
/// is left out of trades, which have none.
pub fn said_by_records<P: Protocol>(protocol: P, tape: &Tape) -> Sum {
    let (mut sum, mut event) = (Sum::default(), Event::new(Kind::Nothing));
    for message in Blocks::new(&tape.bytes) {
        protocol.decode(message, &mut event).expect("it is right");
        let order = match event.kind {
            Kind::Add | Kind::Replace => event.order,
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete => event.order,
            Kind::Trade => 0,
            _ => continue,
        };
        sum.add(event.price.0, event.qty.0, order);
    }
    sum
}

/// What LOBSTER's lines say, behind the name in front of each. Their events leave out what an order has already.
pub fn said_by_lobster(tape: &Tape) -> Sum {
    let mut sum = Sum::default();
    for message in Blocks::new(&tape.bytes) {
        let said = lobster::message(&message[8..]).expect("it is right");
        sum.add(said.price.0, said.qty.0, said.order);
    }
    sum
}

/// What lines say, as the source hands it on: rows of side, price in 1e-9, quantity in the instrument's decimals
/// and number, behind a head of 52 bytes.
pub fn said_by_lines(path: &Path) -> Sum {
    let mut sum = Sum::default();
    walk(path, |blocks| {
        for message in Blocks::new(blocks) {
            let decimals = u32::from(message[9]);
            for row in message[52..].chunks_exact(25) {
                let word = |at: usize| {
                    i64::from_le_bytes(row[at..at + 8].try_into().expect("eight bytes"))
                };
                let qty = word(9) * 10i64.pow(9 - decimals);
                sum.add(word(1), qty, word(17) as u64);
            }
        }
    });
    sum
}

/// What stands in the book after each message, added up: what a feed of whole books says each time.
pub fn standing<P: Protocol>(mut protocol: P, tape: &Tape) -> Sum {
    let (mut all, mut now) = (Sum::default(), Sum::default());
    let mut orders: HashMap<u64, (i64, i64)> = HashMap::new();
    let mut event = Event::new(Kind::Nothing);
    let mut events = Vec::new();
    for message in Blocks::new(&tape.bytes) {
        protocol.decode(message, &mut event).expect("it is right");
        protocol
            .translate(message, &event, &mut events)
            .expect("there is room");
        for event in events.drain(..) {
            let gone = match event.kind {
                Kind::Add => None,
                Kind::Replace | Kind::Delete => orders.remove(&event.order),
                _ => continue,
            };
            if let Some((price, qty)) = gone {
                now.remove(price, qty, 0);
            }
            let order = match event.kind {
                Kind::Add => event.order,
                Kind::Replace => event.order_b,
                _ => continue,
            };
            orders.insert(order, (event.price.0, event.qty.0));
            now.add(event.price.0, event.qty.0, 0);
        }
        all.add_all(now);
    }
    all
}
