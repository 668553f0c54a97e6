//! After its start, the hot path does not allocate: reader, ring, log, books, analytics, risk.
//!
//! The test has a binary of its own, because the allocator counts for the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use bus::clock::MachineClock;
use bus::disk::Backend;
use bus::log::{Log, LogConfig};
use bus::oms::{Date, Encoder, File, FixConfig};
use bus::ring;
use bus::{SignalKind, Ts};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{SimSource, SimStep};
use tapeline::config::Config;
use tapeline::kill::Kill;
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Parts, Shard, ShardConfig};

/// Counts the allocations of this thread: the log's helper thread may do as it likes.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell of
// this thread, made without allocating.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

fn session() -> exchange::Session {
    exchange::Session {
        symbols: 50,
        seconds: 30,
        seed: 3,
        rate: 4_000,
        ..exchange::Session::default()
    }
}

/// What its stocks are called. ITCH 5.0, section 4.2.1: message `R`, bytes 11 to 18.
fn names() -> Vec<String> {
    let mut names = Vec::new();
    exchange::run(&session(), &mut |_, message| {
        if message[0] == b'R' {
            let name = String::from_utf8_lossy(&message[11..19]);
            names.push(name.trim_end().to_string());
        }
        Ok(())
    })
    .unwrap();
    names
}

/// A session as pieces of an ITCH file, 30 messages each.
fn pieces() -> Vec<SimStep> {
    let (mut pieces, mut piece, mut count) = (Vec::new(), Vec::new(), 0);
    exchange::run(&session(), &mut |_, message| {
        piece.extend_from_slice(&(message.len() as u16).to_be_bytes());
        piece.extend_from_slice(message);
        count += 1;
        if count % 30 == 0 {
            pieces.push(SimStep::messages(&piece));
            piece.clear();
        }
        Ok(())
    })
    .unwrap();
    pieces.push(SimStep::messages(&piece));
    pieces
}

#[test]
fn the_hot_path_does_not_allocate_after_warm_up() {
    let mut config = Config::default();
    config.momentum.sigmas = 0.0;
    config.momentum.cooldown = tapeline::config::Span(100_000_000);
    check("plain", &config, 0);
}

/// All that can be declared, and a venue that fills what is ordered.
const DECLARED: &str = r#"
[windows.vwap_1s]
kind = "sliding"
size = "1s"
slide = "100ms"
aggregates = ["vwap", "trade_imbalance", "size_quantiles"]

[monitors.dear]
kind = "effective-spread"
threshold = "1bps"
clear = "0.5bps"

[regimes.clusters]
model = "garch"
sample = "100ms"
baseline = "1s"
warmup_samples = 10
measure = "baseline"
floor = "0.2bps"

[momentum]
sigmas = 0.0
cooldown = "100ms"

[rules.lean]
when = "imbalance >= 0.5 and last >= vwap"
side = "buy"
touch = "near"
cooldown = "200ms"

[rules.wide]
when = "spread > 1bps for 10ms"

[strategies.back]
kind = "vwap-reversion"
enter = "2bps"
leave = "1bps"
cooldown = "100ms"

[strategies.heavy]
kind = "queue-imbalance"
cooldown = "100ms"

[strategies.quote]
kind = "spread-capture"
spread_min = "0.1bps"
life = "200ms"
cooldown = "10ms"

[features.imbalance]
value = "imbalance"

[features.flow]
window = "vwap_1s"
take = "trade_imbalance"

[features.clusters]
regime = "clusters"

[features.dear]
alert = "dear"

[risk]
orders_per_second = 100

[orders]
mode = "paper"

[orders.paper]
latency = "100us"
jitter = "50us"
queue = "orders"
"#;

/// In the place of one of those strategies.
const HEAVY: &str = "[strategies.heavy]\nkind = \"queue-imbalance\"\ncooldown = \"100ms\"\n";
const PAIR: &str = r#"
[groups.two]
symbols = ["ONE", "OTHER"]

[strategies.pair]
kind = "pairs"
legs = ["ONE", "OTHER"]
period = "10ms"
half_life = "100ms"
enter = 0.5
leave = 0.4
samples_min = 5
cooldown = "1ms"
"#;

#[test]
fn nothing_that_is_declared_allocates_nor_does_a_simulated_venue() {
    let config = |text: &str| Config::parse(text, Path::new("declared.toml")).unwrap();
    check("declared", &config(DECLARED), 1_000);
    let names = names();
    let pair = PAIR.replace("OTHER", &names[1]).replace("ONE", &names[0]);
    let light = DECLARED.replacen(HEAVY, "", 1);
    assert_ne!(light, DECLARED);
    let before = check("light", &config(&light), 1_000);
    let decisions = check("pair", &config(&(light + &pair)), 1_000);
    assert!(
        decisions > before + 50,
        "{decisions} decisions, {before} without the pair"
    );
}

/// How many decisions had features.
fn check(name: &str, config: &Config, reports_min: u64) -> u64 {
    let folder = format!("tapeline-alloc-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let log_config = LogConfig {
        dir: folder.join("log"),
        segment_bytes: 2 << 20,
        frame_bytes_max: 64 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 5,
        spares: 2,
        commit_age_ns: 200_000,
        uuid: [1; 16],
        build_hash: 0,
        config_hash: 0,
    };
    let disk = log_config.open_disk(Backend::Best).unwrap();
    let fix = FixConfig {
        sender: "A".into(),
        target: "B".into(),
        sender_sub: None,
        account: None,
    };
    let (event_tx, event_rx) = ring::ring(4096);
    let (_stamps, stamp_rx) = ring::ring(16);
    let kill = Kill::default();
    let mut core = core(config, MIDNIGHT, None).unwrap();
    // With as few symbols as here, ticks would else never go on beside later events.
    core.set_visits_at_tick(2);
    let parts = Parts {
        events: event_rx,
        stamps: stamp_rx,
        state: Recovery::new(core, Share::ALL),
        log: Log::create(log_config, disk).unwrap(),
        encoder: Encoder::new(&fix).unwrap(),
        gateway: File::create(&folder.join("orders.fix")).unwrap(),
        clock: MachineClock::new(),
        kill: &kill,
    };
    let date = Date {
        year: 2026,
        month: 1,
        day: 5,
    };
    let shard_config = ShardConfig {
        date,
        is_durable: true,
        is_live: false,
        cancels_in_doubt: false,
        again_upto: 0,
        measure: Default::default(),
    };
    let mut shard = Shard::new(shard_config, parts, 1 << 16, 0, &|_| false).unwrap();
    let source = SimSource::new(&["A"], pieces());
    let mut reader = Reader::new(source, ReaderConfig::new(MIDNIGHT), vec![event_tx]);

    let warm_up_events = 20_000;
    let (mut before, mut at_start) = (None, 0);
    loop {
        let ended = reader.turn().unwrap() == Turned::Ended;
        shard.turn().unwrap();
        if before.is_none() && shard.events_taken() > warm_up_events {
            before = Some(COUNT.with(Cell::get));
            at_start = shard.events_taken();
        }
        if ended {
            break;
        }
    }
    let after = COUNT.with(Cell::get);
    drop(reader);
    while !shard.is_done() {
        shard.turn().unwrap();
    }
    let events = shard.events_taken() - at_start;
    let finished = shard.finish().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let allocations = after - before.expect("the session is longer than the warm-up");
    let count = |kind: SignalKind| finished.counts.signals[kind.index()];
    let (features, reports) = (count(SignalKind::Features), count(SignalKind::Report));
    println!(
        "{name}: {events} events, {} orders, {features} vectors of features, {reports} reports, \
         {allocations} allocations",
        finished.counts.sent
    );
    assert!(reports >= reports_min, "only {reports} reports");
    assert!(
        events > 50_000 && finished.counts.sent > 50,
        "too little was done to tell"
    );
    assert_eq!(allocations, 0, "the hot path allocates");
    features
}
