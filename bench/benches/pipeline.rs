//! The whole pipeline on one shard, from memory: reader on one core; log, books, analytics and
//! risk on the other. How long does a message take?

use std::path::{Path, PathBuf};
use std::time::Duration;

use bench::{Memory, Stream, group};
use bus::clock::MachineClock;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapeline::config::Config;
use tapeline::pipeline::{self, Job, Outcome, Stop};
use tapeline::run_dir::RunDir;
use tapeline::session::TradingDay;

fn pipeline_bench(criterion: &mut Criterion) {
    let stream = Stream::sized();
    let folder = std::env::temp_dir().join(format!("tapeline-bench-{}", std::process::id()));
    let outcome = run(&stream, &folder);
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
    group.bench_function("one_shard_from_memory", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations).map(|_| run(&stream, &folder).elapsed).sum::<Duration>()
        });
    });
    group.finish();
    remove(&folder);
}

fn run(stream: &Stream, folder: &PathBuf) -> Outcome {
    remove(folder);
    let mut config = Config::default();
    config.limits.symbols = 1 << 14;
    let dir = RunDir::create(folder).expect("a temporary directory");
    let day = TradingDay::new("2026-01-05", "America/New_York").expect("a date");
    let job = Job {
        config: &config,
        day: &day,
        dir: &dir,
        from: None,
        until: None,
        symbols: &[],
        resume: false,
        is_live: false,
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
