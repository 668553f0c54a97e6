//! How fast is the log: what does an append cost, how much can be made durable, how long does a
//! commit take at a given rate?
//!
//! `cargo run --release -p bus --example log_speed -- DIR [best|plain] [seconds]`
//! Writes to a new directory under DIR and removes it.

use std::time::{Duration, Instant};

use bus::disk::{Backend, Disk, RealDisk};
use bus::log::{Log, LogConfig, LogReader, Record, random_uuid};
use bus::{Event, Kind, Price, Qty};

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned()));
    let backend = match args.next().as_deref() {
        None | Some("best") => Backend::Best,
        Some("plain") => Backend::Plain,
        Some(other) => panic!("unknown backend {other}"),
    };
    let seconds: f64 = args
        .next()
        .map_or(2.0, |text| text.parse().expect("seconds"));
    let number = |name: &str, usual: u64| {
        let text = std::env::var(name).ok();
        text.map_or(usual, |text| text.parse().expect("a number"))
    };
    let config = LogConfig {
        dir: dir.join(format!("log-speed-{}", std::process::id())),
        segment_bytes: number("SEGMENT_MB", 64) << 20,
        frame_bytes_max: (number("FRAME_KB", LogConfig::FRAME_BYTES_MAX as u64 >> 10) << 10)
            as usize,
        frames_in_flight_max: number("IN_FLIGHT", LogConfig::FRAMES_IN_FLIGHT_MAX as u64) as usize,
        frames_waiting_max: number("WAITING", LogConfig::FRAMES_WAITING_MAX as u64) as usize,
        spares: number("SPARES", 2) as usize,
        commit_age_ns: number("AGE_US", LogConfig::COMMIT_AGE_NS / 1000) * 1000,
        uuid: random_uuid().expect("random bytes"),
        build_hash: 0,
        config_hash: 0,
    };
    let parent = config.dir.clone();
    for (index, rate) in [Some(1e4), Some(1e5), Some(1e6), Some(10e6), None]
        .iter()
        .enumerate()
    {
        let config = LogConfig {
            dir: parent.join(index.to_string()),
            ..config.clone()
        };
        run(&config, backend, *rate, seconds);
    }
    // Only now: a file system may be busy for a second with files that were deleted.
    std::fs::remove_dir_all(&parent).expect("removed");
}

/// The work of one shard that does nothing but log, at `rate` events a second or flat out.
fn run(config: &LogConfig, backend: Backend, rate: Option<f64>, seconds: f64) {
    let disk = config.open_disk(backend).expect("a disk");
    let mut log: Log<RealDisk> = Log::create(config.clone(), disk).expect("a log");
    let mut seq = 0u64;
    let (mut append_ns, mut turn_ns_max, mut waits) = (None, 0, 0u64);
    let mut latencies: Vec<u64> = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    let ns = |at: Instant| at.duration_since(start).as_nanos() as u64;
    let end = Duration::from_secs_f64(seconds);
    while start.elapsed() < end {
        let due = rate.map_or(u64::MAX, |rate| {
            (start.elapsed().as_secs_f64() * rate) as u64
        });
        let count = (log.room_cells() as u64)
            .min(due.saturating_sub(seq))
            .min(512);
        waits += u64::from(log.room_cells() == 0);
        let before = Instant::now();
        for _ in 0..count {
            seq += 1;
            let event = Event {
                seq,
                order: seq * 7,
                price: Price(seq as i64),
                qty: Qty(100),
                ..Event::new(Kind::Add)
            };
            log.append_event(&event);
        }
        let after = Instant::now();
        if count == 512 {
            let ns = (after - before).as_nanos() as u64;
            append_ns = Some(append_ns.map_or(ns, |best: u64| best.min(ns)));
        }
        log.turn(ns(after), count == 0).expect("a turn");
        turn_ns_max = turn_ns_max.max(after.elapsed().as_nanos() as u64);
        latencies.extend(
            log.commits()
                .map(|commit| commit.durable_ns - commit.opened_ns),
        );
    }
    let durable = log.durable_upto();
    let seconds = start.elapsed().as_secs_f64();
    let stats = log.stats();
    let name = log.disk().describe();
    log.finish().expect("an end");
    drop(log);

    let read = Instant::now();
    let mut sum = 0u64;
    for record in LogReader::open(&config.dir).expect("a log") {
        let (_, Record::Event(event)) = record.expect("a record") else {
            panic!("no signals")
        };
        sum = sum.wrapping_add(event.seq * 31 + event.order);
    }
    let read_seconds = read.elapsed().as_secs_f64();

    latencies.sort_unstable();
    let at = |q: f64| match latencies.len() {
        0 => 0,
        len => latencies[((len - 1) as f64 * q) as usize] / 1000,
    };
    let offered = rate.map_or("flat out".to_owned(), |rate| {
        format!("{:.0} k/s", rate / 1e3)
    });
    println!("{name}; {offered}");
    println!(
        "  append {} (best of 512 at once), durable {:.2} M events/s, {:.0} MB/s in files, \
         {:.0} commits/s",
        append_ns.map_or("-".to_owned(), |ns| format!(
            "{:.1} ns/event",
            ns as f64 / 512.0
        )),
        durable as f64 / seconds / 1e6,
        stats.bytes as f64 / seconds / 1e6,
        stats.frames as f64 / seconds,
    );
    println!(
        "  commit us p50 {} p90 {} p99 {} max {}; longest turn {} us; out of room {} times",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        turn_ns_max / 1000,
        waits
    );
    println!(
        "  read back {:.2} GB/s, {} events, checksum {sum:016x}",
        seq as f64 * 64.0 / read_seconds / 1e9,
        seq
    );
}
