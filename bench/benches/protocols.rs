//! How many nanoseconds does a message of each protocol take, from its bytes to an event, and from its
//! bytes into books? ITCH is here to compare with; `decode` and `book` have it with the reader's means.
//!
//! Each has a million messages of its own making, in memory. Each pass takes them from the first to the
//! last, and begins with a protocol that remembers nothing and books that are empty: the memory that they
//! grow into is part of it. `TAPELINE_BENCH_CAPTURES` names a folder of captures, laid out as the tests'
//! shared folder is, and then some of them are measured, too.

use std::hint::black_box;
use std::time::Duration;

use bench::tapes::{self, BLOCK_EVENTS, Tape, decode_blocks, tape};
use bench::{MIDNIGHT, fold, group, is_measuring};
use book::{Books, BooksConfig, Depth};
use bus::Event;
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

/// All of a tape's events, in blocks.
#[inline(always)]
fn decode_all<P: Protocol>(mut protocol: P, tape: &Tape, mut take: impl FnMut(&[Event])) {
    let mut events = Vec::with_capacity(2 * BLOCK_EVENTS);
    decode_blocks(&mut protocol, &tape.bytes, &mut events, &mut take);
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

/// Binance's lines from a plain file: read twice, once for what its quantities are counted in.
fn lines(criterion: &mut Criterion) {
    let lines = tapes::binance_lines(if is_measuring() { 100_000 } else { 500 });
    let path = std::env::temp_dir().join(format!("tapeline-bench-lines-{}", std::process::id()));
    std::fs::write(&path, &lines.text).expect("a file of lines");
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
        "binance_lines: {} lines, {} bytes, checksum {:016x}",
        lines.messages,
        lines.text.len(),
        read()
    );
    let mut group = group(criterion, "binance_lines");
    group.throughput(Throughput::Elements(lines.messages));
    group.bench_function("read", |bencher| bencher.iter(read));
    group.finish();
    let _ = std::fs::remove_file(&path);
}

fn protocols(criterion: &mut Criterion) {
    let messages = if is_measuring() { 1_000_000 } else { 5_000 };
    measure(criterion, "itch", &tapes::itch(1_000, messages), || {
        Itch::new(MIDNIGHT)
    });
    measure(criterion, "pitch", &tape(messages, tapes::pitch), || {
        Pitch::new(MIDNIGHT)
    });
    measure(
        criterion,
        "iex_deep",
        &tape(messages, tapes::deep),
        Iex::new,
    );
    measure(
        criterion,
        "iex_tops",
        &tape(messages, tapes::tops),
        Iex::new,
    );
    measure(
        criterion,
        "lobster",
        &tape(messages, tapes::lobster),
        || Lobster::new(MIDNIGHT),
    );
    measure(criterion, "dbn_mbo", &tape(messages, tapes::mbo), Dbn::new);
    measure(
        criterion,
        "dbn_mbp_10",
        &tape(messages, tapes::mbp_10),
        Dbn::new,
    );
    measure(
        criterion,
        "mdp3_levels",
        &tape(messages, tapes::mdp3_levels),
        Mdp3::new,
    );
    measure(
        criterion,
        "mdp3_orders",
        &tape(messages, tapes::mdp3_orders),
        Mdp3::new,
    );
    measure(
        criterion,
        "binance",
        &tape(messages, tapes::binance),
        Binance::new,
    );
    measure(
        criterion,
        "coinbase",
        &tape(messages, tapes::coinbase),
        Coinbase::new,
    );
    measure(
        criterion,
        "tardis",
        &tape(messages, tapes::tardis),
        Tardis::new,
    );
    measure(
        criterion,
        "bitstamp",
        &tape(messages, tapes::bitstamp),
        Bitstamp::new,
    );
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
