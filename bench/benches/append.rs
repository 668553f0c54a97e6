//! What does the log cost the hot path for each event?
//!
//! A thread does what a shard does with its log and nothing else: a turn, then a batch of events
//! appended. Batches come when they are due at the offered rate. Each batch's time, turn included,
//! is divided by its events; turns without events are not counted, since nothing waits for them.
//! Frames go out by size and age meanwhile, so handing over, checksums and completions are in.
//!
//! `TAPELINE_BENCH_DIR` says where, if not in the system's temporary directory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bench::is_measuring;
use bus::disk::Backend;
use bus::log::{Log, LogConfig};
use bus::{Event, Kind, Price, Qty};

fn main() {
    let parent = std::env::var_os("TAPELINE_BENCH_DIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("tapeline-bench-append-{}", std::process::id()));
    let seconds = if is_measuring() { 3.0 } else { 0.05 };
    for (index, (batch, rate)) in [(16, 1e6), (64, 1e6), (64, 5e6), (512, 5e6), (512, 10e6)]
        .into_iter()
        .enumerate()
    {
        append(&parent.join(index.to_string()), batch, rate, seconds);
    }
    std::fs::remove_dir_all(&parent).expect("our own directory");
}

fn append(dir: &Path, batch: u64, rate: f64, seconds: f64) {
    let config = LogConfig {
        dir: dir.to_path_buf(),
        segment_bytes: LogConfig::SEGMENT_BYTES,
        frame_bytes_max: LogConfig::FRAME_BYTES_MAX,
        frames_in_flight_max: LogConfig::FRAMES_IN_FLIGHT_MAX,
        frames_waiting_max: LogConfig::FRAMES_WAITING_MAX,
        spares: 2,
        commit_age_ns: LogConfig::COMMIT_AGE_NS,
        uuid: [1; 16],
        build_hash: 0,
        config_hash: 0,
    };
    let disk = config
        .open_disk(Backend::Best)
        .expect("a directory of ours");
    let mut log = Log::create(config, disk).expect("a new log");
    let batches = (seconds * rate) as u64 / batch;
    let batch_ns = batch as f64 / rate * 1e9;
    let mut took_ns: Vec<u64> = Vec::with_capacity(batches as usize);
    let mut without_room = 0u64;
    let mut event = Event::new(Kind::Add);
    let start = Instant::now();
    let ns = || start.elapsed().as_nanos() as u64;
    while (took_ns.len() as u64) < batches {
        let before_ns = ns();
        let is_due = before_ns as f64 >= took_ns.len() as f64 * batch_ns;
        log.turn(before_ns, false).expect("the disk works");
        if !is_due {
            // As a shard's thread does: the kernel's workers need a core too.
            std::thread::yield_now();
            continue;
        }
        if (log.room_cells() as u64) < batch {
            without_room += 1;
            std::thread::yield_now();
            continue;
        }
        for _ in 0..batch {
            event.seq += 1;
            event.order = event.seq * 7;
            event.price = Price(event.seq as i64);
            event.qty = Qty(100);
            log.append_event(&event);
        }
        took_ns.push(ns() - before_ns);
    }
    log.finish().expect("the disk works");
    let stats = log.stats();
    took_ns.sort_unstable();
    let at = |share: f64| {
        let index = (took_ns.len() - 1) as f64 * share;
        took_ns[index as usize] as f64 / batch as f64
    };
    let sum: u64 = took_ns.iter().sum();
    println!(
        "append: {batch:3} at once, {:4.1} M/s: ns per event p50 {:.1} p90 {:.1} p99 {:.1} p99.9 {:.1} \
         max {:.0}, mean {:.1}; {} frames, out of room {without_room} times, {} cells durable",
        rate / 1e6,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0),
        sum as f64 / event.seq as f64,
        stats.frames,
        log.durable_upto(),
    );
    assert_eq!(log.durable_upto(), event.seq, "all is durable");
}
