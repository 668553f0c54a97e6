//! One pass of one piece of the hot path over a file of length-prefixed ITCH, in a process of its
//! own, so that a script can take turns between it and someone else's program on the same file:
//! see `bench/results.sh`.
//!
//! ```text
//! hot stream FILE [symbols] [messages]   writes the simulated session that all benches run on
//! hot decode|l3|l2|core FILE             one core, from memory
//! hot share FILE SHARDS                  the first of so many shards: what it takes of `core`
//! hot ticks FILE                         how long a tick holds up what is behind it
//! hot memory FILE                        what orders and quiet symbols take
//! hot pipeline FILE DIR                  the whole, log included, into a new folder of DIR
//! ```
//!
//! Prints nanoseconds per message, the number of messages, and a checksum, or lines that say what
//! they are.

use std::path::Path;
use std::time::Instant;

use bench::{MIDNIGHT, Memory, Stream, decode_one, fold};
use book::{Books, BooksConfig, Depth};
use bus::clock::MachineClock;
use bus::{Event, Kind, Signal, Ts};
use feed::protocol::{Itch, Wire};
use tapeline::config::Config;
use tapeline::core::{Core, Sink};
use tapeline::pipeline::{self, Job, Stop};
use tapeline::run_dir::{Part, RunDir};
use tapeline::session::TradingDay;

const BOOKS: BooksConfig = BooksConfig {
    orders_max: 4 << 20,
    levels_max: 4 << 20,
    symbols_max: 1 << 16,
    depth: Depth::L3,
};

/// Events decoded before the next stage takes them: what a shard takes in one turn.
const BLOCK_EVENTS: usize = 128;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["stream", file, ref size @ ..] => {
            let number = |index: usize, usual: u64| {
                size.get(index)
                    .map_or(usual, |text| text.parse().expect("a number"))
            };
            let stream = Stream::new(number(0, 8_000) as u32, number(1, 10_000_000));
            std::fs::write(file, &stream.bytes).expect("a file to write");
            println!("{} messages, {} bytes", stream.messages, stream.bytes.len());
        }
        ["decode", file] => measure(file, decode),
        ["l3", file] => measure(file, |stream| books_of(stream, Depth::L3)),
        ["l2", file] => measure(file, |stream| books_of(stream, Depth::L2)),
        ["core", file] => measure(file, core),
        ["share", file, shards] => share(file, shards.parse().expect("a number")),
        ["ticks", file] => ticks(file),
        ["memory", file] => memory(file),
        ["pipeline", file, dir] => whole(file, Path::new(dir)),
        _ => {
            eprintln!("usage: hot stream|decode|l3|l2|core|share|ticks|memory|pipeline FILE ...");
            std::process::exit(2);
        }
    }
}

fn load(file: &str) -> Stream {
    Stream::from_bytes(std::fs::read(file).expect("a file to read"))
}

/// What `run` does is measured from when it is asked to go.
fn measure(file: &str, run: fn(&Stream) -> (Instant, Instant, u64)) {
    let stream = load(file);
    let (start, end, checksum) = run(&stream);
    say((end - start).as_nanos() as f64, stream.messages, checksum);
}

fn say(ns: f64, messages: u64, checksum: u64) {
    println!(
        "{:.2} ns/message, {messages} messages, checksum {checksum:016x}",
        ns / messages as f64
    );
}

fn decode(stream: &Stream) -> (Instant, Instant, u64) {
    let itch = Itch::new(MIDNIGHT);
    let start = Instant::now();
    let sum = bench::decode_all(&itch, stream);
    (start, Instant::now(), sum)
}

fn books_of(stream: &Stream, depth: Depth) -> (Instant, Instant, u64) {
    let mut books = Books::new(BooksConfig { depth, ..BOOKS }).expect("memory for the books");
    let start = Instant::now();
    let mut filled = 0;
    blocks(stream, |events| {
        books.apply_block(events, |_, _, applied| filled += applied.fill.qty.0 as u64);
    });
    let end = Instant::now();
    std::hint::black_box(filled);
    (start, end, best_prices(&books))
}

fn core(stream: &Stream) -> (Instant, Instant, u64) {
    let mut core = new_core();
    let start = Instant::now();
    let count = conclude(&mut core, stream, 1, |_, _| {});
    let end = Instant::now();
    std::hint::black_box(count.signals + count.events);
    (start, end, best_prices(core.books()))
}

fn new_core() -> Core {
    pipeline::core(&config(), MIDNIGHT, None).expect("memory for a core")
}

/// Takes in what the first of so many shards gets, with a tick each 100 ms; calls `each_tick` with
/// the tick's time and what it took.
fn conclude(
    core: &mut Core,
    stream: &Stream,
    shards: usize,
    mut each_tick: impl FnMut(Ts, u64),
) -> Count {
    let mut count = Count::default();
    let mut tick_at = Ts::MIN;
    let mut seq = 0;
    let mut mine = Vec::with_capacity(BLOCK_EVENTS);
    blocks(stream, |events| {
        for event in &mut *events {
            seq += 1;
            event.seq = seq;
            event.ts_recv = event.ts_event;
        }
        if shards == 1 {
            core.take(events, &mut count);
        } else {
            mine.clear();
            let is_mine = |event: &&Event| feed::reader::shard_of(event.symbol, shards) == 0;
            mine.extend(events.iter().filter(is_mine));
            core.take(&mine, &mut count);
        }
        let now = events.last().map_or(Ts(0), |event| event.ts_event);
        if now.since(tick_at) >= TICK_NS {
            tick_at = now.floor(TICK_NS);
            let tick = Event {
                ts_event: tick_at,
                seq,
                ..Event::new(Kind::Tick)
            };
            let start = Instant::now();
            core.take(&[tick], &mut count);
            each_tick(tick_at, start.elapsed().as_nanos() as u64);
        }
    });
    count
}

fn share(file: &str, shards: usize) {
    let stream = load(file);
    let mut core = new_core();
    let count = conclude(&mut core, &stream, shards, |_, _| {});
    println!("{} events of {} messages", count.events, stream.messages);
}

/// Windows of a second close with the tick 200 ms after it, those of 5 s and a minute with some of
/// these.
fn ticks(file: &str) {
    let stream = load(file);
    let (mut closing, mut others) = (Vec::new(), Vec::new());
    let late_ns = 200_000_000;
    conclude(&mut new_core(), &stream, 1, |at, ns| {
        match at.since(at.floor(Ts::SECOND_NS)) == late_ns {
            true => closing.push(ns),
            false => others.push(ns),
        }
    });
    for (name, times) in [("closing", &mut closing), ("other", &mut others)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] / 1000;
        println!(
            "{name} ticks: {} of them, p50 {} us, p99 {} us, max {} us",
            times.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

fn memory(file: &str) {
    let stream = load(file);
    for depth in [Depth::L3, Depth::L2] {
        let before = resident();
        let mut books = Books::new(BooksConfig { depth, ..BOOKS }).expect("memory for the books");
        blocks(&stream, |events| {
            books.apply_block(events, |_, _, _| {});
        });
        let stats = books.stats();
        let bytes = resident() - before;
        println!(
            "{depth:?} books: {} MiB, {:.1} bytes for each of {} live orders on {} levels, {} pages",
            bytes >> 20,
            bytes as f64 / f64::from(stats.orders),
            stats.orders,
            stats.levels,
            stats.pages
        );
    }
    let before = resident();
    let mut core = new_core();
    let mut count = Count::default();
    const SYMBOLS: u32 = 10_000;
    for symbol in 1..=SYMBOLS {
        let add = Event {
            ts_event: MIDNIGHT,
            seq: u64::from(symbol),
            order: u64::from(symbol) * 4,
            symbol,
            price: bus::Price::from_e4(1_000_000),
            qty: bus::Qty(100),
            side: bus::Side::Buy,
            ..Event::new(Kind::Add)
        };
        core.take(&[add], &mut count);
    }
    println!(
        "core: {:.0} bytes for each of {SYMBOLS} symbols with one order",
        (resident() - before) as f64 / f64::from(SYMBOLS)
    );
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse().ok());
    4096 * pages.unwrap_or(0u64)
}

/// Decodes into blocks.
fn blocks(stream: &Stream, mut each: impl FnMut(&mut [Event])) {
    let itch = Itch::new(MIDNIGHT);
    let mut block = [Event::new(Kind::Nothing); BLOCK_EVENTS];
    let mut count = 0;
    let mut walk = stream.walk();
    while let Some((message, ahead)) = walk.next_ahead() {
        if decode_one(&itch, message, ahead, &mut block[count]) {
            count += 1;
            if count == BLOCK_EVENTS {
                each(&mut block);
                count = 0;
            }
        }
    }
    each(&mut block[..count]);
}

/// Over the best prices and their quantities of all books, in 1/10000 as the peers keep them.
fn best_prices(books: &Books) -> u64 {
    let mut sum = 0;
    for symbol in 0..BOOKS.symbols_max {
        let quote = books.quote(symbol);
        for (price, qty) in [(quote.bid, quote.bid_qty), (quote.ask, quote.ask_qty)] {
            if price.is_some() {
                sum = fold(fold(sum, price.0 as u64 / 100_000), qty.0 as u64);
            }
        }
    }
    sum
}

const TICK_NS: i64 = 100_000_000;

fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 1 << 16;
    config
}

/// Counts what it is given.
#[derive(Default)]
struct Count {
    events: u64,
    signals: u64,
}

impl Sink for Count {
    fn event(&mut self, _: &Event) {
        self.events += 1;
    }

    fn signal(&mut self, _: &Signal) {
        self.signals += 1;
    }
}

fn whole(file: &str, folder: &Path) {
    let stream = load(file);
    let config = config();
    let dir = RunDir::create(&folder.join(format!("run-{}", std::process::id())))
        .expect("a folder to make one in");
    let day = TradingDay::new("2026-01-05", "America/New_York").expect("a date");
    let job = Job {
        config: &config,
        day: &day,
        dir: &dir,
        from: None,
        until: None,
        symbols: &[],
        parts: &[Part {
            shards: config.run.shards,
            ..Part::default()
        }],
        resume: false,
        is_live: false,
        wire: Wire::Itch,
    };
    let clock = MachineClock::new();
    let outcome = pipeline::run(Memory::new(&stream), &job, &clock, &Stop::default(), |_| {})
        .expect("the pipeline runs");
    let core: &Core = &outcome.shards[0].core;
    say(
        outcome.elapsed.as_nanos() as f64,
        stream.messages,
        best_prices(core.books()),
    );
}
