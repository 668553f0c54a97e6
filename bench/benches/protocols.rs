//! How many nanoseconds does a message of each protocol take, from its bytes to an event, and from its
//! bytes into books? ITCH is here to compare with; `decode` and `book` have it with the reader's means.
//!
//! Each has a million messages of its own making, in memory. Each pass takes them from the first to the
//! last, and begins with a protocol that remembers nothing and books that are empty: the memory that they
//! grow into is part of it. `TAPELINE_BENCH_CAPTURES` names a folder of captures, laid out as the tests'
//! shared folder is, and then some of them are measured, too.

use std::hint::black_box;
use std::time::Duration;

use bench::{MIDNIGHT, Stream, fold, group, is_measuring};
use book::{Books, BooksConfig, Depth};
use bus::{Event, Kind};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use feed::iextp::Segments;
use feed::moldudp64::{Blocks, Header};
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis,
};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};

const CONFIG: BooksConfig = BooksConfig {
    orders_max: 4 << 20,
    levels_max: 4 << 20,
    symbols_max: 1 << 16,
    depth: Depth::L3,
};

/// Events gathered before the books take them.
const BLOCK_EVENTS: usize = 512;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

/// Messages behind their lengths, as the reader has them.
struct Tape {
    bytes: Vec<u8>,
    messages: u64,
}

/// So many messages, each made of chance and of which one it is.
fn tape(mut message: impl FnMut(&mut Random, u64, &mut Vec<u8>)) -> Tape {
    let messages = if is_measuring() { 1_000_000 } else { 5_000 };
    let (mut bytes, mut one, mut random) = (Vec::new(), Vec::new(), Random(7));
    for number in 0..messages {
        one.clear();
        message(&mut random, number, &mut one);
        bytes.extend((one.len() as u16).to_be_bytes());
        bytes.extend(&one);
    }
    Tape { bytes, messages }
}

fn time(number: u64) -> u64 {
    MIDNIGHT.0 as u64 + 34_200_000_000_000 + number * 1_000
}

/// DEEP's price levels: 1,000 symbols, 40 levels a side.
fn deep(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let side = random.below(2);
    out.extend([b"85"[side as usize], 1]);
    out.extend(time(number).to_le_bytes());
    out.extend(format!("S{:<7}", random.below(1_000)).bytes());
    out.extend((random.below(4) as u32 * 100).to_le_bytes());
    let e4 = 100_000 + side * 4_000 - 4_000 * (1 - side) + random.below(40) * 100;
    out.extend(e4.to_le_bytes());
}

/// TOPS' quotes.
fn tops(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend([b'Q', 0x40]);
    out.extend(time(number).to_le_bytes());
    out.extend(format!("S{:<7}", random.below(1_000)).bytes());
    let bid = 100_000 + random.below(5) * 100;
    out.extend((100 + random.below(4) as u32 * 100).to_le_bytes());
    out.extend(bid.to_le_bytes());
    out.extend((bid + 100 + random.below(3) * 100).to_le_bytes());
    out.extend((100 + random.below(4) as u32 * 100).to_le_bytes());
}

/// LOBSTER's lines: orders come, and are cancelled, executed and deleted.
fn lobster(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let kind = if number.is_multiple_of(2) {
        1
    } else {
        2 + random.below(3)
    };
    let order = match kind {
        1 => number,
        _ => number - 1 - 2 * random.below(1 + number.min(400) / 2),
    };
    let (seconds, micros) = (34_200 + number / 1_000_000, number % 1_000_000);
    let side = if order.is_multiple_of(4) { 1 } else { -1i64 };
    let price = 5_853_300 - side * (100 + 100 * (order % 30) as i64);
    let text = format!("AAPL    {seconds}.{micros:06},{kind},{order},50,{price},{side}");
    out.extend(text.bytes());
}

/// A record of market by order.
fn mbo(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let action = match number % 5 {
        0 | 2 => b'A',
        1 | 3 => b'C',
        _ => b'M',
    };
    let near = number.saturating_sub(5 * random.below(400)) / 5 * 5;
    let order = match action {
        b'A' => number,
        b'C' => near + number % 5 - 1,
        _ => near,
    };
    let is_bid = order.is_multiple_of(2);
    let steps = 1 + random.below(30) as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if is_bid { -steps } else { steps };
    out.extend(b"ESH4    ");
    out.extend([14, 0xa0, 1, 0, 9, 0, 0, 0]);
    out.extend(time(number).to_le_bytes());
    out.extend(order.to_le_bytes());
    out.extend(price.to_le_bytes());
    out.extend(10u32.to_le_bytes());
    out.extend([0x80, 0, action, if is_bid { b'B' } else { b'A' }]);
    out.extend((time(number) + 900).to_le_bytes());
    out.extend([0; 8]);
}

/// A record of ten levels.
fn mbp_10(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend(b"ESH4    ");
    out.extend([92, 0x0a, 1, 0, 9, 0, 0, 0]);
    out.extend(time(number).to_le_bytes());
    out.extend(4_800_000_000_000u64.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(*b"AB\x80\0");
    out.extend((time(number) + 900).to_le_bytes());
    out.extend([0; 8]);
    let changed = random.below(10) as i64;
    for level in 0..10i64 {
        let bid = 4_800_000_000_000 - 250_000_000 * level;
        out.extend(bid.to_le_bytes());
        out.extend((bid + 250_000_000 * (1 + 2 * level)).to_le_bytes());
        let size = 10
            + if level == changed {
                number as u32 % 7
            } else {
                0
            };
        out.extend(size.to_le_bytes());
        out.extend(20u32.to_le_bytes());
        out.extend([0; 8]);
    }
}

/// What CME writes in front of a message of one entry that ends its event, as the reader has it.
fn mdp3(number: u64, template: u16, each: u16, out: &mut Vec<u8>) {
    out.extend(time(number).to_le_bytes());
    out.extend((number as u32).to_le_bytes());
    out.extend(14_310u16.to_le_bytes());
    for word in [11, template, 1, 9] {
        out.extend(u16::to_le_bytes(word));
    }
    out.extend((time(number) - 900).to_le_bytes());
    out.extend([0x80, 0, 0]);
    out.extend(each.to_le_bytes());
    out.push(1);
}

/// PITCH's orders behind their unit and its time: of four messages, two add an order, one executes all of
/// an order of fifty such rounds before, and one deletes the other.
fn pitch(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.push(1);
    out.extend(
        (MIDNIGHT.0 as u64 + 34_200_000_000_000 + number / 1_000_000 * 1_000_000_000).to_le_bytes(),
    );
    let (round, step) = (number / 4, number % 4);
    let order = if step < 2 {
        round
    } else {
        round.saturating_sub(50)
    } * 2
        + step % 2
        + 1;
    let nanoseconds = (number as u32 % 1_000_000 * 1_000).to_le_bytes();
    let mut put = |code: u8, rest: &[&[u8]]| {
        let len = 14 + rest.iter().map(|part| part.len()).sum::<usize>();
        out.extend([len as u8, code]);
        out.extend(nanoseconds);
        out.extend(order.to_le_bytes());
        rest.iter().for_each(|part| out.extend(*part));
    };
    match step {
        0 | 1 => {
            let symbol = format!("S{:<5}", round % 1_000);
            let price = 1_000 + random.below(40) as u16 + 40 * step as u16;
            let side = [b'B', b'S'][step as usize];
            let price = price.to_le_bytes();
            put(0x22, &[&[side, 100, 0], symbol.as_bytes(), &price, &[1]]);
        }
        2 => put(0x23, &[&100u32.to_le_bytes(), &number.to_le_bytes()]),
        _ => put(0x29, &[]),
    }
}

/// ITCH of the sample exchange, on as many symbols as the others have.
fn itch() -> Tape {
    let messages = if is_measuring() { 1_000_000 } else { 5_000 };
    let Stream { bytes, messages } = Stream::new(1_000, messages);
    Tape { bytes, messages }
}

/// A capture's messages, once each, as the protocol gets them; `None` where there is no such capture.
fn capture(name: &str) -> Option<Tape> {
    let folder = std::env::var_os("TAPELINE_BENCH_CAPTURES")?;
    let path = std::path::Path::new(&folder).join(name);
    let mut capture = Capture::open(&[path], CaptureOptions::default()).ok()?;
    let mut tape = Tape {
        bytes: Vec::new(),
        messages: 0,
    };
    let mut segments = Segments::default();
    while let Polled::Packet(packet) = capture.poll().expect("a capture that can be read") {
        let blocks = match packet.framing {
            Framing::IexTp => {
                let packet = segments.as_mold(packet.payload, packet.line);
                let split = packet.ok().and_then(Header::split);
                split.map_or(&[][..], |(_, blocks)| blocks)
            }
            _ => packet.payload,
        };
        for message in Blocks::new(blocks) {
            tape.bytes.extend((message.len() as u16).to_be_bytes());
            tape.bytes.extend(message);
            tape.messages += 1;
        }
    }
    Some(tape)
}

/// MDP 3.0's price levels: 100 instruments, a change at one of ten levels.
fn mdp3_levels(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    mdp3(number, 46, 32, out);
    let (security, level, side) = (random.below(100), random.below(10), random.below(2));
    let steps = 1 + level as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if side == 0 { -steps } else { steps };
    out.extend(price.to_le_bytes());
    out.extend((1 + random.below(90) as u32).to_le_bytes());
    out.extend((7_000 + security as u32).to_le_bytes());
    out.extend([0; 8]);
    out.extend([1 + level as u8, 1, b'0' + side as u8, 0, 0, 0, 0, 0]);
    out.extend([0; 8]);
}

/// MDP 3.0's orders, which come, change and go.
fn mdp3_orders(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    mdp3(number, 47, 40, out);
    let action = match number % 5 {
        0 | 2 => 0,
        1 | 3 => 2,
        _ => 1,
    };
    let near = number.saturating_sub(5 * random.below(400)) / 5 * 5;
    let order = match action {
        0 => number,
        2 => near + number % 5 - 1,
        _ => near,
    };
    let is_bid = order.is_multiple_of(2);
    let steps = 1 + random.below(30) as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if is_bid { -steps } else { steps };
    out.extend((order + 1).to_le_bytes());
    out.extend((number + 1).to_le_bytes());
    out.extend(price.to_le_bytes());
    out.extend(10u32.to_le_bytes());
    out.extend((7_000 + order as u32 % 100).to_le_bytes());
    out.extend([action, if is_bid { b'0' } else { b'1' }, 0, 0, 0, 0, 0, 0]);
}

/// From bytes to the events that the log and the books get, which `take` is given in blocks; where a feed
/// shows levels, or a record tells of several changes, that is decoded and then translated.
#[inline(always)]
fn decode_all<P: Protocol>(mut protocol: P, tape: &Tape, mut take: impl FnMut(&[Event])) {
    let mut events = Vec::with_capacity(2 * BLOCK_EVENTS);
    let mut event = Event::new(Kind::Nothing);
    for message in Blocks::new(&tape.bytes) {
        protocol.decode(message, &mut event).expect("it is right");
        if P::IS_TRANSLATED {
            protocol
                .translate(message, &event, &mut events)
                .expect("there is room");
        } else {
            events.push(event);
        }
        if events.len() >= BLOCK_EVENTS {
            take(&events);
            events.clear();
        }
    }
    take(&events);
}

/// How many events. Each is written, whole, to where books would read it.
fn decode<P: Protocol>(protocol: P, tape: &Tape) -> u64 {
    let mut count = 0;
    decode_all(protocol, tape, |events| {
        black_box(events);
        count += events.len() as u64;
    });
    count
}

fn decode_and_apply<P: Protocol>(protocol: P, books: &mut Books, tape: &Tape) -> u64 {
    let mut wrong = 0;
    decode_all(protocol, tape, |events| {
        books.apply_block(events, |_, _, applied| {
            wrong += u64::from(applied.anomaly.is_some())
        });
    });
    wrong
}

fn measure<P: Protocol>(criterion: &mut Criterion, name: &str, tape: &Tape, new: impl Fn() -> P) {
    let events = decode(new(), tape);
    let mut books = Books::new(CONFIG).expect("memory for the books");
    let wrong = decode_and_apply(new(), &mut books, tape);
    let stats = books.stats();
    let sum = books
        .symbols()
        .fold(0, |sum, symbol| fold(sum, books.digest(symbol)));
    println!(
        "{name}: {} messages, {events} events, {} live orders, {} levels, {wrong} anomalies, checksum \
         {sum:016x}",
        tape.messages, stats.orders, stats.levels
    );
    drop(books);
    let mut group = group(criterion, name);
    group.throughput(Throughput::Elements(tape.messages));
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("decode", |bencher| {
        bencher.iter_batched(
            &new,
            |protocol| decode(protocol, tape),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("decode_and_book", |bencher| {
        bencher.iter_batched_ref(
            || {
                (
                    Some(new()),
                    Books::new(CONFIG).expect("memory for the books"),
                )
            },
            |(protocol, books)| decode_and_apply(protocol.take().expect("a new one"), books, tape),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Changes of ten levels of a book of 1e-5, one after the other, behind a snapshot, as the source makes
/// messages of Binance's lines.
fn binance(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend(b"BTCUSDT ");
    out.extend([if number == 0 { b'S' } else { b'D' }, 5, 0, 0]);
    for head in [
        time(number),
        time(number),
        number,
        number,
        number.saturating_sub(1),
    ] {
        out.extend(head.to_le_bytes());
    }
    for _ in 0..10 {
        let side = 1 + random.below(2);
        out.push(side as u8);
        let price = 61_000_000_000_000 + side * 10_000_000_000 + random.below(500) * 10_000_000;
        out.extend(price.to_le_bytes());
        out.extend((random.below(4) * 12_345).to_le_bytes());
        out.extend(0u64.to_le_bytes());
    }
}

/// What a source makes of a line: name, code, five decimals of quantity, times, numbers, and rows of side, price,
/// quantity and number.
fn said(code: u8, number: u64, rows: &[(u64, u64, u64, u64)], out: &mut Vec<u8>) {
    out.extend(b"BTC-USD ");
    out.extend([code, 5, 0, 0]);
    for head in [time(number), time(number), 0, 0, 0] {
        out.extend(head.to_le_bytes());
    }
    for (side, price, qty, id) in rows {
        out.push(*side as u8);
        for field in [price, qty, id] {
            out.extend(field.to_le_bytes());
        }
    }
}

/// A level of a book whose prices are a hundredth apart: side, price, quantity, and no number.
fn level(random: &mut Random) -> (u64, u64, u64, u64) {
    let side = 1 + random.below(2);
    let price = 61_000_000_000_000 + side * 10_000_000_000 + random.below(500) * 10_000_000;
    (side, price, random.below(4) * 12_345, 0)
}

/// Coinbase's level2: a level a message, behind a snapshot.
fn coinbase(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let code = if number == 0 { b'S' } else { b'L' };
    said(code, number, &[level(random)], out);
}

/// tardis.dev's incremental rows: three of one time a message, behind a snapshot.
fn tardis(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let code = if number == 0 { b'S' } else { b'L' };
    let rows = [level(random), level(random), level(random)];
    said(code, number, &rows, out);
}

/// Bitstamp's orders: one comes, and one that came some time before changes or goes, in turns.
fn bitstamp(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    // An order and its end are made of the same chance.
    let order = |id: u64| {
        let (side, price, ..) = level(&mut Random(id));
        (side, price)
    };
    let old = (number / 2).saturating_sub(1_000);
    if number.is_multiple_of(2) || old == 0 {
        let id = number / 2 + 1;
        let id = if number.is_multiple_of(2) {
            id
        } else {
            id + (1 << 40)
        };
        let (side, price) = order(id);
        said(
            b'C',
            number,
            &[(side, price, 1 + random.below(90_000), id)],
            out,
        );
    } else {
        let (side, price) = order(old);
        said(b'D', number, &[(side, price, 0, old)], out);
    }
}

/// Binance's lines from a plain file: read twice, once for what its quantities are counted in.
fn lines(criterion: &mut Criterion) {
    let count = if is_measuring() { 100_000 } else { 500 };
    let mut random = Random(7);
    let mut text = String::new();
    for number in 0..count {
        let mut levels = || {
            let mut level = |_| {
                let (cents, qty) = (random.below(100_000), random.below(1_000));
                format!(
                    "[\"61{:03}.{:02}000000\",\"0.{qty:03}00000\"]",
                    cents / 100,
                    cents % 100
                )
            };
            (0..5).map(&mut level).collect::<Vec<_>>().join(",")
        };
        let (bids, asks) = (levels(), levels());
        text.push_str(&format!(
            "17000000{:011} {{\"stream\":\"btcusdt@depth\",\"data\":{{\"e\":\"depthUpdate\",\"E\":17000000{:05},\
             \"s\":\"BTCUSDT\",\"U\":{number},\"u\":{number},\"b\":[{bids}],\"a\":[{asks}]}}}}\n",
            number * 1_000, number
        ));
    }
    let path = std::env::temp_dir().join(format!("tapeline-bench-lines-{}", std::process::id()));
    std::fs::write(&path, &text).expect("a file of lines");
    let read = || {
        let mut capture = Capture::open(std::slice::from_ref(&path), CaptureOptions::default())
            .expect("the file was just written");
        let mut sum = 0;
        while let Polled::Packet(packet) = capture.poll().expect("a file that can be read") {
            sum = fold(sum, packet.payload.len() as u64);
        }
        sum
    };
    println!(
        "binance_lines: {count} lines, {} bytes, checksum {:016x}",
        text.len(),
        read()
    );
    let mut group = group(criterion, "binance_lines");
    group.throughput(Throughput::Elements(count));
    group.bench_function("read", |bencher| bencher.iter(read));
    group.finish();
    let _ = std::fs::remove_file(&path);
}

fn protocols(criterion: &mut Criterion) {
    measure(criterion, "itch", &itch(), || Itch::new(MIDNIGHT));
    measure(criterion, "pitch", &tape(pitch), || Pitch::new(MIDNIGHT));
    measure(criterion, "iex_deep", &tape(deep), Iex::new);
    measure(criterion, "iex_tops", &tape(tops), Iex::new);
    measure(criterion, "lobster", &tape(lobster), || {
        Lobster::new(MIDNIGHT)
    });
    measure(criterion, "dbn_mbo", &tape(mbo), Dbn::new);
    measure(criterion, "dbn_mbp_10", &tape(mbp_10), Dbn::new);
    measure(criterion, "mdp3_levels", &tape(mdp3_levels), Mdp3::new);
    measure(criterion, "mdp3_orders", &tape(mdp3_orders), Mdp3::new);
    measure(criterion, "binance", &tape(binance), Binance::new);
    measure(criterion, "coinbase", &tape(coinbase), Coinbase::new);
    measure(criterion, "tardis", &tape(tardis), Tardis::new);
    measure(criterion, "bitstamp", &tape(bitstamp), Bitstamp::new);
    lines(criterion);
    let deep = "iex/IEX_DEEP10_sample_20170425.truncated.pcap.gz";
    if let Some(tape) = capture(deep) {
        measure(criterion, "capture_iex_deep", &tape, Iex::new);
    }
    let mbo = "databento-dbn/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst";
    if let Some(tape) = capture(mbo) {
        measure(criterion, "capture_dbn_mbo", &tape, Dbn::new);
    }
    let aapl = "itch50/AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst";
    if let Some(tape) = capture(aapl) {
        measure(criterion, "capture_itch", &tape, || Itch::new(MIDNIGHT));
    }
}

criterion_group!(benches, protocols);
criterion_main!(benches);
