//! How many instructions does the hot path execute? Run by `bench/instructions.sh` under callgrind,
//! which counts what happens inside of `measured_*` only.
//!
//! The input, the batches and the clock are fixed, so that equal programs execute equally much.

use std::cell::Cell;
use std::hint::black_box;

use bench::{MIDNIGHT, Stream, fold};
use bus::clock::Clock;
use bus::disk::{Faults, SimDisk};
use bus::log::{Log, LogConfig};
use bus::oms::{Date, Encoder, FixConfig, Several, Sim};
use bus::ring::{self, Sender};
use bus::{Event, Kind, Signal, Ts};
use feed::protocol::{Itch, Protocol};
use feed::source::{Pace, Speed};
use tapeline::config::{Check, Config};
use tapeline::core::{Core, Sink};
use tapeline::kill::Kill;
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Parts, Shard, ShardConfig, Stamp};

/// Messages of a turn of the reader.
const TURN: usize = 64;

/// Each look takes 20 ns.
#[derive(Default)]
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 20);
        self.0.get()
    }

    fn wall(&self) -> Ts {
        Ts(self.0.get() as i64)
    }
}

/// Folds what it is given into a checksum.
struct Folded(u64);

impl Sink for Folded {
    fn event(&mut self, event: &Event) {
        self.0 = fold(self.0, event.seq);
    }

    fn signal(&mut self, signal: &Signal) {
        self.0 = fold(self.0, signal.seq ^ u64::from(signal.ordinal));
    }
}

type SimShard<'a> = Shard<'a, SimDisk, Several<Sim>, &'a Ticking>;

#[inline(never)]
fn measured_decode(itch: &Itch, stream: &Stream) -> u64 {
    let mut sum = 0;
    let mut event = Event::new(Kind::Nothing);
    for message in stream.iter() {
        if itch.decode(message, &mut event).is_ok() {
            sum = fold(sum, event.order ^ event.qty.0 as u64);
        }
    }
    sum
}

#[inline(never)]
fn measured_core(core: &mut Core, events: &[Event]) -> u64 {
    let mut sink = Folded(0);
    for batch in events.chunks(TURN) {
        core.take(batch, &mut sink);
    }
    sink.0
}

#[inline(never)]
fn measured_shard(
    shard: &mut SimShard<'_>,
    ring: &mut Sender,
    stamps: &mut Option<Sender<Stamp>>,
    events: &[Event],
    clock: &Ticking,
) -> u64 {
    for batch in events.chunks(TURN) {
        let read_ns = clock.now_ns();
        let mut rest = batch;
        while !rest.is_empty() {
            let count = ring.push(rest);
            rest = &rest[count..];
            if !rest.is_empty() {
                shard.turn().expect("a simulated disk");
            }
        }
        if let (Some(stamps), Some(last)) = (stamps.as_mut(), batch.last()) {
            stamps.push(&[Stamp {
                seq: last.seq,
                read_ns,
                pushed_ns: clock.now_ns(),
                messages: batch.len() as u32,
            }]);
        }
        shard.turn().expect("a simulated disk");
    }
    shard.events_taken()
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let stream = Stream::new(200, 60_000);
    let sum = match part.as_str() {
        "decode" => measured_decode(&Itch::new(MIDNIGHT), black_box(&stream)),
        "core" | "core-touched" | "core-full" => {
            let mut config = config();
            config.book.check = match part.as_str() {
                "core-touched" => Check::Touched,
                "core-full" => Check::Full,
                _ => Check::Off,
            };
            let mut core = core(&config, MIDNIGHT, None).expect("memory for a core");
            measured_core(&mut core, black_box(&stream.events()))
        }
        "shard" => shard(&stream, false, false),
        "shard-stamped" => shard(&stream, true, false),
        "shard-paced" => shard(&stream, true, true),
        _ => {
            eprintln!(
                "which part? decode, core, core-touched, core-full, shard, shard-stamped or shard-paced"
            );
            std::process::exit(2);
        }
    };
    println!("{part} {} messages, checksum {sum:016x}", stream.messages);
}

fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 1 << 10;
    config.limits.orders = 1 << 18;
    config.limits.levels = 1 << 18;
    config
}

fn shard(stream: &Stream, is_stamped: bool, is_paced: bool) -> u64 {
    let log_config = LogConfig {
        dir: "simulated".into(),
        segment_bytes: 8 << 20,
        frame_bytes_max: 256 << 10,
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
    let (mut event_tx, event_rx) = ring::ring(4096);
    let (stamp_tx, stamp_rx) = ring::ring(4096);
    let mut stamp_tx = is_stamped.then_some(stamp_tx);
    let (clock, kill) = (Ticking::default(), Kill::default());
    let parts = Parts {
        events: event_rx,
        stamps: stamp_rx,
        state: Recovery::new(core(&config(), MIDNIGHT, None).expect("memory"), Share::ALL),
        log: Log::create(log_config, disk).expect("a simulated disk"),
        encoder: Encoder::new(&fix).expect("names"),
        gateway: Several::<Sim>::new(Vec::new()),
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
        measure: Default::default(),
    };
    let mut shard = Shard::new(shard_config, parts, 1 << 16, 0, &|_| false).expect("a new log");
    if is_paced {
        shard.set_pace(Pace {
            start_ns: 0,
            first_ts: stream.events()[0].ts_recv,
            speed: Speed::ONE,
        });
    }
    let events = stream.events();
    measured_shard(
        &mut shard,
        &mut event_tx,
        &mut stamp_tx,
        black_box(&events),
        &clock,
    )
}
