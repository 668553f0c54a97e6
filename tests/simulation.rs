//! The whole core from one seed: a lossy feed, a reader, a shard, a disk that tears writes and
//! forgets what was not synced, a peer that refuses, and a crash between any two turns.
//!
//! The oracle is the same input without a fault: the same signals, and every order at the peer
//! once, a second time only flagged as a possible repeat. A failure prints its seed.
//!
//! `TAPELINE_SEEDS=1000 cargo test --release --test simulation` runs more seeds than the usual.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use bus::Ts;
use bus::clock::SimClock;
use bus::disk::{Faults, SimDisk};
use bus::log::{Log, LogConfig, LogReader, Record};
use bus::oms::{Answer, Date, Encoder, FixConfig, Message, Sim};
use bus::ring;
use bus::{Signal, SignalKind};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{SimSource, SimStep};
use tapeline::config::{Config, Ratio, Span};
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Parts, Shard, ShardConfig};

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// A small session as packets on two lines, with the same faults on each run of one seed.
fn script(seed: u64) -> Vec<SimStep> {
    let session = exchange::Session {
        symbols: 8,
        seconds: 5,
        seed,
        rate: 1_500,
        ..exchange::Session::default()
    };
    let mut messages: Vec<(u64, Vec<u8>)> = Vec::new();
    exchange::run(&session, &mut |ts, message| {
        messages.push((ts, message.to_vec()));
        Ok(())
    })
    .unwrap();
    let mut random = Random(seed);
    let mut lines: [Vec<SimStep>; 2] = [Vec::new(), Vec::new()];
    let mut sequence = 1u64;
    for chunk in messages.chunks(5) {
        let mut payload = b"0000000001".to_vec();
        payload.extend_from_slice(&sequence.to_be_bytes());
        payload.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
        for (_, message) in chunk {
            payload.extend_from_slice(&(message.len() as u16).to_be_bytes());
            payload.extend_from_slice(message);
        }
        sequence += chunk.len() as u64;
        let ts = Some(MIDNIGHT.plus_ns(chunk[0].0 as i64 + 10_000));
        let lost = random.below(10); // Line A loses where this is 0, line B where it is 1.
        for (line, steps) in lines.iter_mut().enumerate() {
            let step = SimStep::packet(ts, line as u8, &payload);
            if lost != line as u64 {
                steps.push(step.clone());
            }
            if random.below(20) == 0 {
                steps.push(step); // Doubled, or late where it was lost.
            }
        }
    }
    for steps in &mut lines {
        for index in 1..steps.len() {
            if random.below(10) == 0 {
                steps.swap(index - 1, index);
            }
        }
    }
    let [a, b] = lines;
    let longest = a.len().max(b.len());
    (0..longest)
        .flat_map(|index| [a.get(index).cloned(), b.get(index).cloned()])
        .flatten()
        .collect()
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 64;
    config.limits.orders = 1 << 16;
    config.limits.levels = 1 << 16;
    // Ready to trade at once and often, so that there are orders to lose.
    config.regime.sample = Span(20_000_000);
    config.regime.warmup_samples = 2;
    config.momentum.lookback = Span(200_000_000);
    config.momentum.threshold = Ratio(50);
    config.momentum.sigmas = 0.0;
    config.momentum.imbalance = 0.1;
    config.momentum.cooldown = Span(50_000_000);
    config
}

fn log_config() -> LogConfig {
    LogConfig {
        dir: "simulated".into(),
        segment_bytes: 128 << 10,
        frame_bytes_max: 8 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 3,
        spares: 2,
        commit_age_ns: 50_000,
        uuid: [7; 16],
        build_hash: 0,
        config_hash: 0,
    }
}

type SimShard<'a> = Shard<'a, SimDisk, Sim, &'a SimClock>;

fn shard<'a>(
    log: Log<SimDisk>,
    peer: Sim,
    (events, stamps): (ring::Receiver, ring::Receiver<tapeline::shard::Stamp>),
    clock: &'a SimClock,
    kill: &'a AtomicBool,
    msg_seq_last: u64,
) -> SimShard<'a> {
    let fix = FixConfig {
        sender: "SIM".into(),
        target: "PEER".into(),
        sender_sub: None,
        account: None,
    };
    let core = core(&config(), MIDNIGHT, None).unwrap();
    let mut state = Recovery::new(core, Share::ALL);
    state.replay(LogReader::over(log.disk()).unwrap()).unwrap();
    let parts = Parts {
        events,
        stamps,
        state,
        log,
        encoder: Encoder::new(&fix).unwrap(),
        gateway: peer,
        clock,
        kill,
    };
    let date = Date {
        year: 2026,
        month: 1,
        day: 5,
    };
    Shard::new(
        ShardConfig {
            date,
            is_durable: true,
            is_live: false,
            cancels_in_doubt: false,
        },
        parts,
        1024,
        msg_seq_last,
        &|_| false,
    )
    .unwrap()
}

/// What a run left: its signals, and what the peer got.
struct Left {
    signals: Vec<Signal>,
    received: Vec<Vec<u8>>,
    crashes: u32,
}

/// Runs the script to its end, with a crash now and then if `mishaps` is set.
fn run(script: &[SimStep], seed: u64, mishaps: bool) -> Left {
    let mut random = Random(seed ^ 0xc0ffee);
    let geometry = log_config().geometry();
    let faults = Faults {
        steps_max: random.below(4),
        ..Faults::default()
    };
    let mut disk = Some(SimDisk::new(geometry, seed, faults));
    let mut received: Vec<Vec<u8>> = Vec::new();
    let (clock, kill) = (SimClock::default(), AtomicBool::new(false));
    let mut crashes = 0;
    loop {
        let (log, _) = Log::resume(log_config(), disk.take().unwrap()).unwrap();
        let capacity = 1 << random.below(9);
        let (event_tx, event_rx) = ring::ring(capacity);
        let (_stamps, stamp_rx) = ring::ring(1);
        let refusals = if mishaps { random.below(30) } else { 0 };
        let answers = (0..refusals).map(|_| {
            if random.below(2) == 0 {
                Answer::NotNow
            } else {
                Answer::Take
            }
        });
        let peer = Sim::resume(std::mem::take(&mut received), answers.collect::<Vec<_>>());
        let rings = (event_rx, stamp_rx);
        let shard = shard(log, peer, rings, &clock, &kill, crashes.into());
        let mut shard = shard;
        let mut reader_config = ReaderConfig::new(MIDNIGHT);
        reader_config.resume_after = vec![shard.last_seq()];
        let source = SimSource::new(&["A", "B"], script.to_vec());
        let mut reader = Some(Reader::new(source, reader_config, vec![event_tx]));
        // Late crashes must come too, so some lives are long.
        let scale = random.below(14);
        let life = if mishaps {
            random.below(1 << scale)
        } else {
            u64::MAX
        };
        let mut turns = 0;
        let crashed = loop {
            if turns == life {
                break true;
            }
            turns += 1;
            clock.advance_ns(random.below(20_000));
            if random.below(3) == 0
                && let Some(reading) = &mut reader
            {
                if reading.turn().unwrap() == Turned::Ended {
                    reader = None; // Its end of the ring goes, as its thread's would.
                }
            } else {
                shard.turn().unwrap();
                if shard.is_done() {
                    break false;
                }
            }
        };
        let (log_disk, peer) = shard.crash();
        received = peer.crash();
        if crashed {
            crashes += 1;
            disk = Some(log_disk.crash(random.below(u64::MAX), geometry, faults));
            continue;
        }
        let mut signals = Vec::new();
        for item in LogReader::over(&log_disk).unwrap() {
            if let (_, Record::Signal(signal)) = item.unwrap() {
                signals.push(signal);
            }
        }
        return Left {
            signals,
            received,
            crashes,
        };
    }
}

/// Everything that was concluded, in order; what the gateway did is not a conclusion.
fn concluded(signals: &[Signal]) -> Vec<Signal> {
    signals
        .iter()
        .filter(|signal| signal.kind != SignalKind::Sent)
        .copied()
        .collect()
}

/// ClOrdID to how often it came without and with PossResend.
fn orders(received: &[Vec<u8>]) -> BTreeMap<Vec<u8>, [u32; 2]> {
    let mut orders: BTreeMap<Vec<u8>, [u32; 2]> = BTreeMap::new();
    for bytes in received {
        let message = Message::parse(bytes).expect("a whole FIX message");
        let id = message.field(11).expect("a ClOrdID").to_vec();
        let flagged = message.field(97) == Some(b"Y");
        orders.entry(id).or_default()[usize::from(flagged)] += 1;
    }
    orders
}

#[test]
fn a_run_with_crashes_concludes_and_sends_what_a_run_without_does() {
    let seeds: u64 = std::env::var("TAPELINE_SEEDS").ok().map_or(100, |text| {
        text.parse().expect("TAPELINE_SEEDS is a number")
    });
    let (mut crashes, mut sent, mut repeats) = (0, 0, 0);
    for seed in 1..=seeds {
        let script = script(seed);
        let twin = run(&script, seed, false);
        let left = run(&script, seed, true);
        assert!(
            !concluded(&twin.signals).is_empty(),
            "seed {seed}: nothing was concluded"
        );
        let (want, got) = (concluded(&twin.signals), concluded(&left.signals));
        assert!(
            want == got,
            "seed {seed}: {} signals, want {}",
            got.len(),
            want.len()
        );
        let (want, got) = (orders(&twin.received), orders(&left.received));
        let ids = |orders: &BTreeMap<Vec<u8>, [u32; 2]>| -> BTreeSet<Vec<u8>> {
            orders.keys().cloned().collect()
        };
        assert_eq!(ids(&got), ids(&want), "seed {seed}: not the same orders");
        for (id, [plain, flagged]) in &got {
            let id = String::from_utf8_lossy(id);
            assert!(
                *plain <= 1,
                "seed {seed}: {id} came {plain} times without PossResend"
            );
            assert!(plain + flagged >= 1, "seed {seed}: {id} never came");
            repeats += flagged;
        }
        sent += got.len();
        crashes += left.crashes;
    }
    println!("{seeds} seeds: {crashes} crashes, {sent} orders, {repeats} flagged repeats");
    assert!(
        crashes > 0 && sent > 0,
        "nothing was tried: {crashes} crashes, {sent} orders"
    );
}

/// A disk that says it synced and did not must be caught: a test that cannot fail proves nothing.
#[test]
fn a_lying_disk_is_noticed() {
    let noticed = (1..=20u64).any(|seed| {
        let script = script(seed);
        let caught = std::panic::catch_unwind(|| {
            let geometry = log_config().geometry();
            let faults = Faults {
                sync_lies: true,
                steps_max: 2,
                ..Faults::default()
            };
            let (clock, kill) = (SimClock::default(), AtomicBool::new(false));
            let (log, _) = Log::resume(log_config(), SimDisk::new(geometry, seed, faults)).unwrap();
            let (event_tx, event_rx) = ring::ring(64);
            let (_stamps, stamp_rx) = ring::ring(1);
            let peer = Sim::new([]);
            let mut shard = shard(log, peer, (event_rx, stamp_rx), &clock, &kill, 0);
            let source = SimSource::new(&["A", "B"], script.clone());
            let reader_config = ReaderConfig::new(MIDNIGHT);
            let mut reader = Reader::new(source, reader_config, vec![event_tx]);
            for _ in 0..20_000 {
                clock.advance_ns(10_000);
                let _ = reader.turn().unwrap();
                shard.turn().unwrap();
            }
            let (disk, peer) = shard.crash();
            let received = peer.crash();
            let disk = disk.crash(seed, geometry, Faults::default());
            // What was sent must be in the log that survives.
            let logged: BTreeSet<u64> = LogReader::over(&disk)
                .unwrap()
                .filter_map(|item| match item.expect("a readable log") {
                    (_, Record::Signal(s)) if s.kind == SignalKind::Order => Some(s.seq),
                    _ => None,
                })
                .collect();
            for id in orders(&received).keys() {
                let text = String::from_utf8_lossy(id).into_owned();
                let seq: u64 = text.split('-').nth(1).unwrap().parse().unwrap();
                assert!(
                    logged.contains(&seq),
                    "{text} was sent and is not in the log"
                );
            }
        });
        caught.is_err()
    });
    assert!(
        noticed,
        "twenty runs on a disk that never syncs, and no order was missing"
    );
}
