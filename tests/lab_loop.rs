//! The same stall, seen by an open loop and by a closed one, on a clock that only tells how often
//! it was asked: nothing that the machine does can blur it.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

use bus::Ts;
use bus::clock::Clock;
use bus::disk::{Faults, SimDisk};
use bus::log::{Log, LogConfig};
use bus::oms::{Date, Encoder, FixConfig, Several, Sim};
use bus::ring;
use feed::reader::{Reader, ReaderConfig, Turned};
use tapeline::config::Config;
use tapeline::kill::Kill;
use tapeline::lab::series::stacks;
use tapeline::lab::source::{Scheduled, Sent};
use tapeline::lab::stall::{Stall, Stalling};
use tapeline::lab::tape::{Pacing, Sample, Tape};
use tapeline::lab::units::Rate;
use tapeline::latency::{Latency, Measure, Stage};
use tapeline::pipeline::{Timed, core};
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Parts, Shard, ShardConfig, Stamp};

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// Each look takes 100 ns, and nothing else takes any time.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 100);
        self.0.get()
    }

    fn wall(&self) -> Ts {
        Ts(self.0.get() as i64)
    }
}

/// Two seconds at 10,000 messages a second, with a sink that stalls once, or never.
fn run(stall: Option<Stall>) -> (Latency, Sent) {
    let sample = Sample {
        symbols: 20,
        seed: 5,
        seconds: 2,
        rate: 10_000,
    };
    let mut tape = Tape::make(&sample, MIDNIGHT).unwrap();
    tape.schedule(Pacing::Rate(Rate(10e3)));
    let clock = Ticking::default();
    let mut config = Config::default();
    config.limits.symbols = 64;
    config.limits.orders = 1 << 16;
    config.limits.levels = 1 << 16;
    let log_config = LogConfig {
        dir: "simulated".into(),
        segment_bytes: 1 << 20,
        frame_bytes_max: 64 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 3,
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
    let (event_tx, event_rx) = ring::ring(4096);
    let (mut stamp_tx, stamp_rx) = ring::ring(4096);
    let kill = Kill::default();
    let parts = Parts {
        events: event_rx,
        stamps: stamp_rx,
        state: Recovery::new(core(&config, MIDNIGHT, None).unwrap(), Share::ALL),
        log: Log::create(log_config, disk).unwrap(),
        encoder: Encoder::new(&fix).unwrap(),
        gateway: Stalling::new(Several::<Sim>::new(Vec::new()), &clock, stall),
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
        measure: Measure {
            stamp_every: 1,
            traces_max: 1 << 16,
            warmup_ns: 100_000_000,
            ..Measure::default()
        },
    };
    let mut shard = Shard::new(shard_config, parts, 1 << 16, 0, &|_| false).unwrap();
    let report = Mutex::new(Sent::default());
    let source = Scheduled::new(&tape, &clock, (100_000_000, u64::MAX), &report);
    let mut reader = Reader::new(source, ReaderConfig::new(MIDNIGHT), vec![event_tx]);
    let (mut last_seq, mut is_paced) = (0, false);
    loop {
        let read_ns = clock.now_ns();
        match reader.turn().unwrap() {
            Turned::Ended => break,
            Turned::Empty | Turned::Full => {}
            Turned::Worked { messages } => {
                if !is_paced && let Some(pace) = reader.source().pace() {
                    shard.set_pace(pace);
                    is_paced = true;
                }
                let seq = reader.last_pushed(0).unwrap_or(0);
                if seq > last_seq {
                    last_seq = seq;
                    stamp_tx.push(&[Stamp {
                        seq,
                        read_ns,
                        pushed_ns: clock.now_ns(),
                        messages: (messages as u32).max(1),
                    }]);
                }
            }
        }
        shard.turn().unwrap();
    }
    drop(reader);
    drop(stamp_tx);
    while !shard.is_done() {
        shard.turn().unwrap();
    }
    let sent = *report.lock().unwrap();
    (shard.finish().unwrap().latency, sent)
}

#[test]
fn a_stall_of_10_ms_shows_in_the_open_loop_and_not_in_the_closed_one() {
    let stall = Stall {
        after: Duration::from_secs(1),
        length: Duration::from_millis(10),
    };
    let (latency, sent) = run(Some(stall));
    let (quiet, _) = run(None);
    let p999 = |latency: &Latency, stage| latency.stage(stage).quantile_ns(0.999).unwrap();
    // 10 ms at 10,000 a second are 100 messages of some 19,000: far above one in a thousand.
    assert!(p999(&latency, Stage::Total) >= 8_000_000);
    assert!(latency.stage(Stage::Total).max_ns().unwrap() >= 9_900_000);
    // What works without waiting for its turn never knew.
    assert!(p999(&latency, Stage::Service) < 1_000_000);
    assert_eq!(
        latency.stage(Stage::Service).count(),
        quiet.stage(Stage::Service).count()
    );
    // Without the stall, nothing of it.
    assert!(p999(&quiet, Stage::Total) < 1_000_000);
    // It was our own doing, so that it is not the machine's.
    assert!(sent.packets > 15_000, "{sent:?}");
}

#[test]
fn every_message_is_broken_down_to_the_nanosecond() {
    let (latency, _) = run(None);
    let traces = latency.traces();
    assert!(traces.len() > 15_000, "{}", traces.len());
    assert_eq!(latency.unmatched, 0);
    for trace in traces {
        assert_eq!(
            trace.parts.iter().sum::<u64>(),
            trace.total_ns(),
            "{trace:?}"
        );
    }
    for stack in stacks(traces) {
        let sum: f64 = stack.parts_ns.iter().map(|(_, ns)| ns).sum();
        assert!((sum - stack.total_ns).abs() < 0.001);
    }
    // All of them but the end of the input, which no packet brought.
    let of_messages = traces.iter().filter(|trace| !trace.is_order);
    let messages: u64 = of_messages.map(|trace| u64::from(trace.messages)).sum();
    assert_eq!(messages + 1, latency.stage(Stage::Service).count());
}

#[test]
fn the_same_seed_gives_the_same_histograms() {
    let ((a, sent_a), (b, sent_b)) = (run(None), run(None));
    for stage in Stage::ALL {
        assert_eq!(a.stage(stage), b.stage(stage), "{}", stage.name());
    }
    assert_eq!(sent_a, sent_b);
}
