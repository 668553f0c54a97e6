//! Is recovery as fast as the replay that it repeats?
//!
//! In turns, in one run, over one stream: the replay of the input by the whole pipeline (one shard,
//! durable log); the log that it left, read by itself; and the same log through the shard's
//! recovery, books and analytics rebuilt and every signal compared. Events per second of each.
//!
//! `TAPELINE_BENCH_DIR` says where, if not in the system's temporary directory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench::{Memory, Stream, is_measuring};
use bus::clock::MachineClock;
use bus::disk::Backend;
use bus::log::{Log, LogConfig, LogReader, Record};
use bus::oms::{Date, Encoder, FixConfig, Several};
use bus::ring::ring;
use feed::protocol::Wire;
use tapeline::config::Config;
use tapeline::core::Core;
use tapeline::kill::Kill;
use tapeline::pipeline::{self, Job, Stop};
use tapeline::recovery::{Recovery, Share};
use tapeline::run_dir::{Part, RunDir};
use tapeline::session::TradingDay;
use tapeline::shard::{Parts, Shard, ShardConfig};

fn main() {
    let stream = Stream::sized();
    let parent = std::env::var_os("TAPELINE_BENCH_DIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("tapeline-bench-recovery-{}", std::process::id()));
    let rounds = if is_measuring() { 3 } else { 1 };
    let mut took = [Duration::ZERO; 3];
    let (mut events, mut cells) = (0, 0);
    for round in 0..rounds {
        let dir = parent.join(round.to_string());
        let (replayed, core, log_dir) = replay(&stream, &dir);
        took[0] += replayed;
        let start = Instant::now();
        let mut reader = LogReader::open(&log_dir).expect("the log is there");
        let mut sum = 0;
        for item in &mut reader {
            if let (_, Record::Event(event)) = item.expect("the log is whole") {
                events += 1;
                sum = bench::fold(sum, event.order);
            }
        }
        took[1] += start.elapsed();
        cells += reader.recovered().cells;
        let (recovered, again) = recover(&log_dir, &dir.join("other"));
        took[2] += recovered;
        let (want, found) = (digest(&core), digest(&again));
        assert_eq!(found, want, "the books are those of the replay");
        println!(
            "recovery: round {round}: replay {replayed:.2?}, recovery {recovered:.2?}; {} cells, \
             checksum {sum:016x}, books {found:016x}",
            reader.recovered().cells
        );
    }
    let millions = |count: u64, index: usize| count as f64 / took[index].as_secs_f64() / 1e6;
    println!(
        "recovery: {:.2} M messages/s by the replay, {:.2} M events/s by the recovery ({:.0} % of \
         it); the log alone {:.1} M cells/s",
        millions(stream.messages * rounds, 0),
        millions(events, 2),
        millions(events, 2) / millions(stream.messages * rounds, 0) * 100.0,
        millions(cells, 1),
    );
    std::fs::remove_dir_all(&parent).expect("our own directory");
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 1 << 14;
    config
}

fn digest(core: &Core) -> u64 {
    core.symbols().fold(0, |sum, symbol| {
        bench::fold(sum, core.books().digest(symbol))
    })
}

/// The whole pipeline; its time, what it ended with, and where its log is.
fn replay(stream: &Stream, folder: &Path) -> (Duration, Core, PathBuf) {
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
            shards: 1,
            ..Part::default()
        }],
        resume: false,
        is_live: false,
        goes_on: None,
        wire: Wire::Itch,
        moved_ns: 0,
    };
    let clock = MachineClock::new();
    let outcome = pipeline::run(Memory::new(stream), &job, &clock, &Stop::default(), |_| {})
        .expect("the pipeline runs");
    let shard = outcome.shards.into_iter().next().expect("one shard");
    (outcome.elapsed, shard.core, dir.log_dir(0, 0))
}

/// What a resumed shard does before its first turn.
fn recover(log_dir: &Path, other: &Path) -> (Duration, Core) {
    let log_config = LogConfig {
        dir: other.to_path_buf(),
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
    // A log that stays empty stands for the one that would go on.
    let disk = log_config.open_disk(Backend::Best).expect("a directory");
    let config = config();
    let kill = Kill::default();
    let fix = FixConfig {
        sender: "BENCH".into(),
        target: "NOBODY".into(),
        sender_sub: None,
        account: None,
    };
    let core = pipeline::core(&config, bench::MIDNIGHT, None).expect("memory for a core");
    let mut state = Recovery::new(core, Share::ALL);
    let start = Instant::now();
    let records = LogReader::open(log_dir).expect("the log is there");
    state.replay(records).expect("the log fits");
    let parts = Parts {
        events: ring(64).1,
        stamps: ring(64).1,
        state,
        log: Log::create(log_config, disk).expect("a new log"),
        encoder: Encoder::new(&fix).expect("a valid session"),
        gateway: Several::<bus::oms::Real>::new(Vec::new()),
        clock: MachineClock::new(),
        kill: &kill,
    };
    let shard_config = ShardConfig {
        date: Date {
            year: 2026,
            month: 1,
            day: 5,
        },
        is_durable: true,
        is_live: false,
        cancels_in_doubt: false,
        again_upto: 0,
        measure: Default::default(),
    };
    let kept_max = config.limits.symbols * (config.windows.0.len() + 4);
    let shard = Shard::new(shard_config, parts, kept_max, 0, &|_| true).expect("all was sent");
    let took = start.elapsed();
    (took, shard.finish().expect("an end").core)
}
