//! What does the log cost: appending an event, with everything durable at the end?

use std::path::Path;
use std::time::{Duration, Instant};

use bench::{group, is_measuring};
use bus::disk::Backend;
use bus::log::{Log, LogConfig, LogReader, Record};
use bus::{Event, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn log(criterion: &mut Criterion) {
    let count: u64 = if is_measuring() { 4_000_000 } else { 10_000 };
    let folder = std::env::temp_dir().join(format!("tapeline-bench-log-{}", std::process::id()));
    for (name, backend) in [("best", Backend::Best), ("plain", Backend::Plain)] {
        append(&folder, backend, count);
        let events = LogReader::open(&folder)
            .expect("the log is there")
            .filter(|item| matches!(item, Ok((_, Record::Event(_)))))
            .count();
        println!("log: {events} of {count} events read back, {name} backend");
        assert_eq!(events as u64, count);
    }
    let mut group = group(criterion, "log");
    group.throughput(Throughput::Elements(count));
    for (name, backend) in [
        ("append_durable", Backend::Best),
        ("append_plain", Backend::Plain),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| append(&folder, backend, count))
                    .sum::<Duration>()
            });
        });
    }
    group.finish();
    remove(&folder);
}

/// From the first append until all is durable.
fn append(folder: &Path, backend: Backend, count: u64) -> Duration {
    remove(folder);
    let config = LogConfig {
        dir: folder.to_path_buf(),
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
    let disk = config.open_disk(backend).expect("a temporary directory");
    let mut log = Log::create(config, disk).expect("a new log");
    let mut event = Event::new(Kind::Add);
    let start = Instant::now();
    while event.seq < count {
        let now_ns = start.elapsed().as_nanos() as u64;
        log.turn(now_ns, false).expect("the disk works");
        let room = (log.room_cells() as u64).min(256).min(count - event.seq);
        for _ in 0..room {
            event.seq += 1;
            log.append_event(&event);
        }
    }
    log.finish().expect("the disk works");
    start.elapsed()
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("our own directory");
    }
}

criterion_group!(benches, log);
criterion_main!(benches);
