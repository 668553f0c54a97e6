//! How long does a checkpoint of ten million live orders hold up the shard that goes on beside it?
//!
//! A shard with its log takes in orders until so many live, and then as many that come as go, at
//! half a million events per second. Each turn is timed: first with nothing beside it, then while
//! another thread makes a checkpoint from the log (from the log's beginning, as the first of a run
//! is made), and then while the next one is made from that one. Turns are as `pipeline` makes them:
//! the shard on one core, the checkpoint on another.
//!
//! What a turn takes more is not the checkpoint's doing alone: both share memory and disk, and
//! whatever else runs on the machine takes whole time slices from either. So the kernel is asked
//! how long the thread waited for its core around each turn of a millisecond or more.
//!
//! `TAPELINE_BENCH_DIR` says where, if not in the system's temporary directory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench::is_measuring;
use bus::clock::{Clock, MachineClock};
use bus::disk::{Backend, Disk};
use bus::log::{Log, LogConfig};
use bus::oms::{Date, Encoder, FixConfig, Gateway, Real, Several};
use bus::ring::{Sender, ring};
use bus::{Event, Kind, Price, Qty, Side};
use tapeline::config::Config;
use tapeline::kill::Kill;
use tapeline::pipeline;
use tapeline::recovery::{Recovery, Share};
use tapeline::run_dir::{Part, RunDir};
use tapeline::savepoint::Origin;
use tapeline::shard::{Parts, Shard, ShardConfig};

const RATE: f64 = 500_000.0;
const BATCH_EVENTS_MAX: usize = 256;

fn main() {
    let (live, seconds) = if is_measuring() {
        (10_000_000, 5.0)
    } else {
        (2_000, 0.02)
    };
    let folder = std::env::var_os("TAPELINE_BENCH_DIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("tapeline-bench-checkpoint-{}", std::process::id()));
    let dir = RunDir::create(&folder).expect("a temporary directory");
    let parts = [Part {
        shards: 1,
        cut: Vec::new(),
        savepoint: None,
    }];
    let mut config = Config::default();
    config.limits.symbols = 1 << 14;
    config.limits.orders = 1 << 24;
    let origin = Origin {
        dir: &dir,
        parts: &parts,
        config: &config,
        midnight: bench::MIDNIGHT,
        from: None,
    };
    let cpus = tuning::pin::allowed_cpus();
    let elsewhere = cpus.first().copied();
    // The disk's threads inherit where this one runs.
    pin(elsewhere);
    let log_config = LogConfig {
        dir: dir.log_dir(0, 0),
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
    let disk = log_config.open_disk(Backend::Best).expect("a directory");
    pin(cpus.last().copied());
    let (mut events, receiver) = ring(4096);
    let kill = Kill::default();
    let fix = FixConfig {
        sender: "BENCH".into(),
        target: "NOBODY".into(),
        sender_sub: None,
        account: None,
    };
    let core = pipeline::core(&config, bench::MIDNIGHT, None).expect("memory for a core");
    let shard_parts = Parts {
        events: receiver,
        stamps: ring(64).1,
        state: Recovery::new(core, Share::ALL),
        log: Log::create(log_config, disk).expect("a new log"),
        encoder: Encoder::new(&fix).expect("a valid session"),
        gateway: Several::<Real>::new(Vec::new()),
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
    let mut shard =
        Shard::new(shard_config, shard_parts, kept_max, 0, &|_| true).expect("a new shard");
    let mut market = Market { live, next: 0 };

    let filled = Instant::now();
    while shard.events_taken() < live {
        market.push(&mut events, usize::MAX, live);
        shard.turn().expect("the shard works");
    }
    println!(
        "checkpoint: {live} orders live after {:.1?}; turns at {RATE} events/s:",
        filled.elapsed()
    );
    let alone = run(&mut shard, &mut events, &mut market, |elapsed| {
        elapsed.as_secs_f64() >= seconds
    });
    alone.print("nothing beside it");
    for name in ["the first beside it", "the next beside it"] {
        let (uuid, durable) = (shard.log_uuid(), shard.durable_upto());
        let is_made = AtomicBool::new(false);
        let (turns, made, took) = thread::scope(|scope| {
            let maker = scope.spawn(|| {
                pin(elsewhere);
                let start = Instant::now();
                let made = origin.checkpoint(0, uuid, durable);
                is_made.store(true, Ordering::Release);
                (made, start.elapsed())
            });
            let turns = run(&mut shard, &mut events, &mut market, |_| {
                is_made.load(Ordering::Acquire)
            });
            let (made, took) = maker.join().expect("no panic");
            (turns, made.expect("a checkpoint"), took)
        });
        turns.print(name);
        let Some(made) = made else {
            println!("checkpoint:   nothing more was durable in {took:.2?}");
            continue;
        };
        println!(
            "checkpoint:   made in {took:.2?}: {:.1} MB, of {} cells",
            made.bytes as f64 / 1e6,
            made.cell
        );
    }
    drop(events);
    while !shard.is_done() {
        shard.turn().expect("the shard works");
    }
    let finished = shard.finish().expect("an end in order");
    let stats = finished.core.books().stats();
    let live_end = u64::from(stats.orders);
    assert!(
        (live - 1..=live).contains(&live_end),
        "as many came as went: {live_end}"
    );
    let checksum = finished.core.symbols().fold(0, |sum, symbol| {
        bench::fold(sum, finished.core.books().digest(symbol))
    });
    println!(
        "checkpoint: {} events, checksum {checksum:016x}",
        finished.counts.events
    );
    std::fs::remove_dir_all(&folder).expect("our own directory");
}

/// Refused only where the core is gone; then the thread runs where the system likes.
fn pin(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let _ = tuning::pin::pin_to(cpu);
    }
}

/// Orders far from each other's prices, so that all of them live; after `live` of them, the
/// oldest goes for each that comes.
struct Market {
    live: u64,
    next: u64,
}

impl Market {
    fn event(&self) -> Event {
        let index = self.next;
        // After the first orders, deletions and new ones alternate.
        let churn = index.checked_sub(self.live);
        let order = match churn {
            None => index,
            Some(churn) if churn % 2 == 0 => churn / 2,
            Some(churn) => self.live + churn / 2,
        };
        let symbol = (order % 8_000) as u32 + 1;
        let is_buy = (order / 8_000).is_multiple_of(2);
        let ticks = (order.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as i64 + 1;
        let ts = bus::Ts(bench::MIDNIGHT.0 + 36_000_000_000_000 + index as i64 * 1_000);
        let event = Event {
            ts_event: ts,
            ts_recv: ts,
            seq: index + 1,
            order: order + 1,
            symbol,
            side: if is_buy { Side::Buy } else { Side::Sell },
            ..Event::new(Kind::Add)
        };
        match churn {
            Some(churn) if churn % 2 == 0 => Event {
                side: Side::None,
                ..Event {
                    kind: Kind::Delete,
                    ..event
                }
            },
            _ => Event {
                price: Price(1_000_000 + if is_buy { -ticks } else { ticks } * 100),
                qty: Qty(100),
                ..event
            },
        }
    }

    /// Up to so many events, as far as the ring has room, below event `end`.
    fn push(&mut self, events: &mut Sender<Event>, count: usize, end: u64) {
        let count = count.min(BATCH_EVENTS_MAX).min((end - self.next) as usize);
        for _ in 0..count {
            if events.push(&[self.event()]) == 0 {
                return;
            }
            self.next += 1;
        }
    }
}

/// Turns at the rate until the end; how long each took.
fn run<D: Disk, G: Gateway, C: Clock>(
    shard: &mut Shard<'_, D, G, C>,
    events: &mut Sender<Event>,
    market: &mut Market,
    is_over: impl Fn(Duration) -> bool,
) -> Turns {
    let mut turns = Turns::new();
    let first = market.next;
    let waits = CoreWaits::open();
    let mut waited = waits.total();
    let start = Instant::now();
    loop {
        let elapsed = start.elapsed();
        if is_over(elapsed) {
            turns.events = market.next - first;
            return turns;
        }
        let due = (elapsed.as_secs_f64() * RATE) as u64;
        market.push(
            events,
            due.saturating_sub(market.next - first) as usize,
            u64::MAX,
        );
        let before = Instant::now();
        let work = shard.turn().expect("the shard works");
        let took = before.elapsed();
        turns.record(took, work);
        if took >= LONG {
            let now = waits.total();
            // Since the last rest, so that what the rest itself waited is not in it.
            turns.long_waiting += u64::from(took - (now - waited).min(took) < LONG);
            waited = now;
        }
        if work == 0 {
            // As the shard's own thread does: the kernel's workers need a core too.
            thread::yield_now();
            waited = waits.total();
        }
    }
}

/// A turn as long as this holds the shard up.
const LONG: Duration = Duration::from_millis(1);

/// How long this thread could have run and had no core, by the kernel's account.
struct CoreWaits(Option<File>);

impl CoreWaits {
    fn open() -> CoreWaits {
        CoreWaits(File::open("/proc/thread-self/schedstat").ok())
    }

    fn total(&self) -> Duration {
        let mut text = [0; 96];
        let read = self.0.as_ref().map(|file| file.read_at(&mut text, 0));
        let Some(Ok(length)) = read else {
            return Duration::ZERO;
        };
        // Time on a core, time waiting for one, number of slices.
        let text = String::from_utf8_lossy(&text[..length]);
        let ns = text.split(' ').nth(1).and_then(|ns| ns.parse().ok());
        Duration::from_nanos(ns.unwrap_or(0))
    }
}

/// How many turns that did something took so many microseconds; and the longest of all.
struct Turns {
    counts: Vec<u64>,
    count: u64,
    max: Duration,
    /// A millisecond or more, whatever they did.
    long: u64,
    /// Of these, the ones that would have been shorter with a core to run on.
    long_waiting: u64,
    events: u64,
}

impl Turns {
    fn new() -> Turns {
        Turns {
            counts: vec![0; 100_001],
            count: 0,
            max: Duration::ZERO,
            long: 0,
            long_waiting: 0,
            events: 0,
        }
    }

    fn record(&mut self, took: Duration, work: usize) {
        let us = took.as_micros() as usize;
        self.max = self.max.max(took);
        self.long += u64::from(took >= LONG);
        if work > 0 {
            let last = self.counts.len() - 1;
            self.counts[us.min(last)] += 1;
            self.count += 1;
        }
    }

    fn at(&self, share: f64) -> usize {
        let rank = (self.count as f64 * share) as u64;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen > rank
        });
        found.unwrap_or(self.counts.len() - 1)
    }

    fn print(&self, name: &str) {
        println!(
            "checkpoint:   {name:19} {} turns, {} events: us p50 {} p99 {} p99.9 {} p99.99 {} \
             max {}; {} turns of 1 ms or more, {} of them for want of a core",
            self.count,
            self.events,
            self.at(0.5),
            self.at(0.99),
            self.at(0.999),
            self.at(0.9999),
            self.max.as_micros(),
            self.long,
            self.long_waiting,
        );
    }
}
