//! How long does a message take in what one core concludes (books, analytics, risk, digests), and
//! in the whole pipeline on one shard, from memory: reader on one core, the log and all of that on
//! the other?

use std::path::Path;
use std::time::Duration;

use bench::{Memory, Stream, group};
use bus::clock::MachineClock;
use bus::{Event, Kind, Signal, Ts};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use feed::protocol::Wire;
use tapeline::config::Config;
use tapeline::core::{Core, Sink};
use tapeline::pipeline::{self, Job, Outcome, Stop, core};
use tapeline::run_dir::{Part, RunDir};
use tapeline::session::TradingDay;

fn pipeline_bench(criterion: &mut Criterion) {
    let stream = Stream::sized();
    let folder = std::env::temp_dir().join(format!("tapeline-bench-{}", std::process::id()));
    let mut runs = 0;
    let mut run_once = || {
        runs += 1;
        run(&stream, &folder.join(runs.to_string()))
    };
    let outcome = run_once();
    let shard = &outcome.shards[0];
    let orders: u64 = shard.counts.sent;
    let checksum = shard.core.symbols().fold(0, |sum, symbol| {
        bench::fold(sum, shard.core.books().digest(symbol))
    });
    println!(
        "pipeline: {} messages, {} MiB of log, {orders} orders, checksum {checksum:016x}",
        outcome.reader.messages,
        shard.log.bytes >> 20
    );
    let mut group = group(criterion, "pipeline");
    group.throughput(Throughput::Elements(stream.messages));
    let events = stream.events();
    group.bench_function("core_from_memory", |bencher| {
        bencher.iter_batched_ref(
            || core(&config(), bench::MIDNIGHT, None).expect("memory for a core"),
            |core| conclude(core, &events),
            BatchSize::PerIteration,
        );
    });
    drop(events);
    group.bench_function("one_shard_from_memory", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| run_once().elapsed)
                .sum::<Duration>()
        });
    });
    group.finish();
    remove(&folder);
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 1 << 14;
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

/// Takes in the events as a shard would, with a tick each 100 ms.
fn conclude(core: &mut Core, events: &[Event]) -> u64 {
    let mut count = Count::default();
    let mut tick_at = events
        .first()
        .map_or(Ts(0), |event| event.ts_event.floor(TICK_NS));
    for batch in events.chunks(256) {
        core.take(batch, &mut count);
        let now = batch.last().map_or(Ts(0), |event| event.ts_event);
        if now.since(tick_at) >= TICK_NS {
            tick_at = now.floor(TICK_NS);
            let seq = batch.last().map_or(0, |event| event.seq);
            core.take(
                &[Event {
                    ts_event: tick_at,
                    seq,
                    ..Event::new(Kind::Tick)
                }],
                &mut count,
            );
        }
    }
    count.signals
}

const TICK_NS: i64 = 100_000_000;

/// Into a folder of its own, which stays until the end: on some file systems, deleting a large file
/// holds up everyone's commits.
fn run(stream: &Stream, folder: &Path) -> Outcome {
    let config = config();
    let dir = RunDir::create(folder).expect("a temporary directory");
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
        goes_on: None,
        wire: Wire::Itch,
        moved_ns: 0,
    };
    let clock = MachineClock::new();
    pipeline::run(Memory::new(stream), &job, &clock, &Stop::default(), |_| {})
        .expect("the pipeline runs")
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("our own directory");
    }
}

criterion_group!(benches, pipeline_bench);
criterion_main!(benches);
