//! One pass of one piece of the hot path over a file of length-prefixed ITCH, in a process of its
//! own, so that a script can take turns between it and someone else's program on the same file:
//! see `bench/results.sh`.
//!
//! ```text
//! hot stream FILE [symbols] [messages]   writes the simulated session that all benches run on
//! hot decode|l3|l2|core FILE             one core, from memory
//! hot core-touched|core-full FILE        the same with a look at what must hold after each event
//! hot share FILE SHARDS INDEX            what one of so many shards executes, for callgrind
//! hot signals FILE                       a checksum of all that one core concludes, in order
//! hot ticks FILE                         how long all of a tick's work takes
//! hot windows FILE [PACE]                latency while windows of all symbols close, and else
//! hot memory FILE                        what orders and quiet symbols take
//! hot pipeline FILE DIR [EVENTS] [BYTES] the whole, log included, into a new folder of DIR, with a
//!                                        ring for so many events and frames of so many bytes
//! ```
//!
//! Prints nanoseconds per message, the number of messages, and a checksum, or lines that say what
//! they are.

use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

use bench::{MIDNIGHT, Memory, Stream, decode_one, fold};
use book::{Books, BooksConfig, Depth};
use bus::clock::{Clock, MachineClock};
use bus::disk::{Faults, SimDisk};
use bus::log::{Log, LogConfig};
use bus::oms::{Date, Encoder, FixConfig, Several, Sim};
use bus::ring;
use bus::{Event, Kind, Signal, Ts};
use feed::protocol::{Itch, Wire};
use tapeline::config::{Check, Config};
use tapeline::core::{Core, Sink};
use tapeline::kill::Kill;
use tapeline::pipeline::{self, Job, Stop};
use tapeline::recovery::{Recovery, Share};
use tapeline::run_dir::{Part, RunDir};
use tapeline::session::TradingDay;
use tapeline::shard::{Parts, Shard, ShardConfig};

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
        ["core", file] => measure(file, |stream| core(stream, Check::Off)),
        ["core-touched", file] => measure(file, |stream| core(stream, Check::Touched)),
        ["core-full", file] => measure(file, |stream| core(stream, Check::Full)),
        ["share", file, shards, index] => {
            let number = |text: &str| text.parse().expect("a number");
            share(file, number(shards), number(index));
        }
        ["signals", file] => signals(file),
        ["ticks", file] => ticks(file),
        ["windows", file] => windows(file, 1.0),
        ["windows", file, pace] => windows(file, pace.parse().expect("a number")),
        ["memory", file] => memory(file),
        ["pipeline", file, dir, ref sizes @ ..] => {
            let mut config = config();
            if let [events, ..] = sizes {
                config.run.ring_events = events.parse().expect("a number");
            }
            if let [_, bytes] = sizes {
                config.log.frame.0 = bytes.parse().expect("a number");
            }
            whole(&config, file, Path::new(dir));
        }
        _ => {
            eprintln!(
                "usage: hot stream|decode|l3|l2|core|share|signals|ticks|windows|memory|pipeline FILE ..."
            );
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

fn core(stream: &Stream, check: Check) -> (Instant, Instant, u64) {
    let mut config = config();
    config.book.check = check;
    let mut core = pipeline::core(&config, MIDNIGHT, None).expect("memory for a core");
    let start = Instant::now();
    let mut count = Count::default();
    conclude(&mut core, stream, &mut count, |_, _| {});
    let end = Instant::now();
    std::hint::black_box(count.signals + count.events);
    (start, end, best_prices(core.books()))
}

fn new_core() -> Core {
    pipeline::core(&config(), MIDNIGHT, None).expect("memory for a core")
}

/// Takes in all of a stream, with a tick each 100 ms; calls `each_tick` with the tick's time and
/// what it took.
fn conclude(
    core: &mut Core,
    stream: &Stream,
    sink: &mut impl Sink,
    mut each_tick: impl FnMut(Ts, u64),
) {
    ticked(stream, |events| match events {
        [tick] if tick.kind == Kind::Tick => {
            let start = Instant::now();
            core.take(events, sink);
            each_tick(tick.ts_event, start.elapsed().as_nanos() as u64);
        }
        _ => core.take(events, sink),
    });
}

/// Numbered events in blocks, and ticks alone.
fn ticked(stream: &Stream, mut each: impl FnMut(&[Event])) {
    let mut tick_at = Ts::MIN;
    let mut seq = 0;
    blocks(stream, |events| {
        for event in &mut *events {
            seq += 1;
            event.seq = seq;
            event.ts_recv = event.ts_event;
        }
        each(events);
        let now = events.last().map_or(Ts(0), |event| event.ts_event);
        if now.since(tick_at) >= TICK_NS {
            tick_at = now.floor(TICK_NS);
            each(&[Event {
                ts_event: tick_at,
                seq,
                ..Event::new(Kind::Tick)
            }]);
        }
    });
}

/// To decode and to choose the shard is the reader's work. What a shard takes from its ring are
/// its own events, so that alone is measured, in `measured_take`.
fn share(file: &str, shards: usize, index: usize) {
    let stream = load(file);
    let mut core = new_core();
    let mut count = Count::default();
    let mut mine = Vec::with_capacity(BLOCK_EVENTS);
    ticked(&stream, |events| {
        for event in events {
            if event.kind.is_for_all() || feed::reader::shard_of(event.symbol, shards) == index {
                mine.push(*event);
            }
            if mine.len() == BLOCK_EVENTS {
                measured_take(&mut core, &mine, &mut count);
                mine.clear();
            }
        }
    });
    measured_take(&mut core, &mine, &mut count);
    println!("{} events of {} messages", count.events, stream.messages);
}

#[inline(never)]
fn measured_take(core: &mut Core, events: &[Event], count: &mut Count) {
    core.take(events, count);
}

fn signals(file: &str) {
    let mut said = Said::default();
    conclude(&mut new_core(), &load(file), &mut said, |_, _| {});
    println!("{} signals, checksum {:016x}", said.signals, said.sum);
}

/// Folds each signal's bytes into a checksum.
#[derive(Default)]
struct Said {
    signals: u64,
    sum: u64,
}

impl Sink for Said {
    fn event(&mut self, _: &Event) {}

    fn signal(&mut self, signal: &Signal) {
        self.signals += 1;
        let (words, _) = signal.as_bytes().as_chunks();
        for word in words {
            self.sum = fold(self.sum, u64::from_le_bytes(*word));
        }
    }
}

/// Windows of a second close with the tick 200 ms after it, those of 5 s and a minute with some of
/// these.
fn ticks(file: &str) {
    let stream = load(file);
    let (mut closing, mut others) = (Vec::new(), Vec::new());
    let late_ns = 200_000_000;
    conclude(
        &mut new_core(),
        &stream,
        &mut Count::default(),
        |at, ns| match at.since(at.floor(Ts::SECOND_NS)) == late_ns {
            true => closing.push(ns),
            false => others.push(ns),
        },
    );
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

/// Windows of five seconds, all of which close with one tick, so that seconds in which they do can
/// be told from seconds in which nothing closes.
///
/// Events come by their own times, `pace` times as fast. The shard, on a simulated disk, turns on one
/// core with nobody beside it: what each turn takes is measured, and time goes on by as much, or to
/// the next event where there is nothing to do. So an event's latency has all that it waited for.
fn windows(file: &str, pace: f64) {
    let stream = load(file);
    let mut events = Vec::with_capacity(stream.messages as usize + 1000);
    ticked(&stream, |some| events.extend_from_slice(some));
    let mut config = config();
    config.windows.0.retain(|name, _| name == "5s");
    assert_eq!(config.windows.0.len(), 1, "five seconds are a usual window");
    for (name, visits_at_tick) in [("at once", usize::MAX), ("spread", 64)] {
        let mut core = pipeline::core(&config, MIDNIGHT, None).expect("memory for a core");
        core.set_visits_at_tick(visits_at_tick);
        let said = latencies(core, &events, pace);
        println!(
            "windows of {SECONDS} s {name}, {pace} x: p99.9 {:.1} us where they close, {:.1} us else: {:.2} \
             (p50 {:.2}, {:.2}; p99 {:.1}, {:.1}; max {:.0}, {:.0})",
            said[0][2],
            said[1][2],
            said[0][2] / said[1][2],
            said[0][0],
            said[1][0],
            said[0][1],
            said[1][1],
            said[0][3],
            said[1][3]
        );
    }
}

const SECONDS: i64 = 5;

/// Of events in seconds in which windows close, and in others: p50, p99, p99.9 and the most, in us.
fn latencies(core: Core, events: &[Event], pace: f64) -> [[f64; 4]; 2] {
    let log_config = LogConfig {
        dir: "simulated".into(),
        segment_bytes: 64 << 20,
        frame_bytes_max: 256 << 10,
        frames_in_flight_max: LogConfig::FRAMES_IN_FLIGHT_MAX,
        frames_waiting_max: LogConfig::FRAMES_WAITING_MAX,
        spares: 2,
        commit_age_ns: 200_000,
        uuid: [1; 16],
        build_hash: 0,
        config_hash: 0,
    };
    let disk = SimDisk::new(log_config.geometry(), 1, Faults::default());
    let fix = FixConfig {
        sender: "A".into(),
        target: "B".into(),
        sender_sub: None,
        account: None,
    };
    let (mut ring, event_rx) = ring::ring(1 << 16);
    let (_stamps, stamp_rx) = ring::ring(64);
    let (clock, kill) = (Told::default(), Kill::default());
    let parts = Parts {
        events: event_rx,
        stamps: stamp_rx,
        state: Recovery::new(core, Share::ALL),
        log: Log::create(log_config, disk).expect("a simulated disk"),
        encoder: Encoder::new(&fix).expect("names"),
        gateway: Several::<Sim>::new(Vec::new()),
        clock: &clock,
        kill: &kill,
    };
    let shard_config = ShardConfig {
        date: Date {
            year: 2026,
            month: 1,
            day: 5,
        },
        is_durable: false,
        is_live: false,
        cancels_in_doubt: false,
        again_upto: 0,
        measure: Default::default(),
    };
    let mut shard = Shard::new(shard_config, parts, 1 << 18, 0, &|_| false).expect("a new log");
    // A second before the first event, to begin with what only a beginning needs.
    let first = events[0].ts_event;
    let due_ns = |event: &Event| {
        let since = event.ts_event.since(first).max(0);
        (since as f64 / pace) as u64 + 1_000_000_000
    };
    let mut taken = [Vec::new(), Vec::new()];
    let (mut pushed, mut done, mut now_ns, mut late_ns) = (0, 0, 0u64, 0);
    while done < events.len() {
        // A tick comes with what showed that its time has come.
        while let Some(event) = events.get(pushed) {
            late_ns = due_ns(event).max(late_ns);
            if late_ns > now_ns || ring.push(std::slice::from_ref(event)) == 0 {
                break;
            }
            pushed += 1;
        }
        clock.0.set(now_ns);
        let start = Instant::now();
        let work = shard.turn().expect("a simulated disk");
        now_ns += start.elapsed().as_nanos() as u64;
        for event in &events[done..shard.events_taken() as usize] {
            if event.kind != Kind::Tick {
                let second = event.ts_event.0 / Ts::SECOND_NS;
                let class = usize::from(second % SECONDS != 0);
                taken[class].push(now_ns - due_ns(event));
            }
        }
        done = shard.events_taken() as usize;
        if work == 0 && pushed == done {
            now_ns = now_ns.max(late_ns);
        }
    }
    taken.map(|mut taken| {
        taken.sort_unstable();
        [0.5, 0.99, 0.999, 1.0].map(|share| {
            let index = ((taken.len() - 1) as f64 * share) as usize;
            taken[index] as f64 / 1000.0
        })
    })
}

/// A clock that shows what it was told.
#[derive(Default)]
struct Told(Cell<u64>);

impl Clock for Told {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }

    fn wall(&self) -> Ts {
        Ts(self.0.get() as i64)
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

fn whole(config: &Config, file: &str, folder: &Path) {
    let stream = load(file);
    let dir = RunDir::create(&folder.join(format!("run-{}", std::process::id())))
        .expect("a folder to make one in");
    let day = TradingDay::new("2026-01-05", "America/New_York").expect("a date");
    let job = Job {
        config,
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
        goes_on: None,
        wire: Wire::Itch,
        moved_ns: 0,
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
