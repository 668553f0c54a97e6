//! Runs a plan: one reader, some shards, each with a disk and a peer of its own, through all the
//! lives of the process, and looks at what must hold at every death.

#![allow(unreachable_pub, missing_docs)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use bus::clock::Clock;
use bus::disk::sim::Fired;
use bus::disk::{Fault, Faults, SimDisk};
use bus::log::{Log, LogConfig, LogError, LogReader, Record};
use bus::oms::{Date, Encoder, FixConfig, OrderId};
use bus::{Signal, SignalKind, Ts, ring};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{SimSource, SimStep};
use tapeline::config::{Config, Ratio, Span};
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};
use tapeline::shard::{Parts, Shard, ShardConfig, ShardError};

use crate::network::{MIDNIGHT, script};
use crate::peer::{Peer, Received, orders};
use crate::plan::{Crash, How, Plan, Random};

const DATE: Date = Date {
    year: 2026,
    month: 1,
    day: 5,
};
/// A life that takes longer has come to a standstill.
const TURNS_MAX: u64 = 3_000_000;

/// Both clocks of a machine. The steady one leaps forward, the other either way.
#[derive(Debug, Default)]
struct Clocks {
    now_ns: Cell<u64>,
    wall_ns: Cell<i64>,
    leaps: Cell<u64>,
}

impl Clocks {
    fn advance(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
        self.wall_ns.set(self.wall_ns.get() + ns as i64);
    }

    fn leap(&self, random: &mut Random) {
        self.leaps.set(self.leaps.get() + 1);
        self.advance(random.below(10_000_000_000));
        let day = 86_400_000_000_000;
        let by = random.below(2 * day) as i64 - day as i64;
        self.wall_ns.set((self.wall_ns.get() + by).max(0));
    }
}

impl Clock for Clocks {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn wall(&self) -> Ts {
        Ts(self.wall_ns.get())
    }
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

fn log_config(shard: usize) -> LogConfig {
    LogConfig {
        dir: "simulated".into(),
        segment_bytes: 128 << 10,
        frame_bytes_max: 8 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 3,
        spares: 2,
        commit_age_ns: 50_000,
        uuid: [7 + shard as u8; 16],
        build_hash: 0,
        config_hash: 0,
    }
}

type SimShard<'a> = Shard<'a, &'a mut SimDisk, Peer, &'a Clocks>;

/// What a run left, and how it got there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// All that was concluded, by event and symbol.
    pub signals: Vec<Signal>,
    /// ClOrdID to how often it came, without and with PossResend.
    pub orders: BTreeMap<String, [u32; 2]>,
    pub lives: u64,
    /// Deaths of each kind.
    pub deaths: BTreeMap<&'static str, u64>,
    /// What went wrong on the network and with the clocks.
    pub elsewhere: BTreeMap<&'static str, u64>,
    /// Whether the operation that was to fail was reached.
    pub is_fault_fired: bool,
    pub fired: Fired,
    /// Of everything that went out, byte by byte.
    pub digest: u64,
}

/// The machine: what outlives a process.
struct World<'a> {
    plan: &'a Plan,
    script: &'a [SimStep],
    faults: Faults,
    random: Random,
    clocks: Clocks,
    disks: Vec<SimDisk>,
    received: Vec<Received>,
    /// What each shard was told to be durable.
    durable: Vec<u64>,
    left: Left,
}

/// How a life came to its end.
enum Over {
    InOrder,
    ByCrash(&'static str, bool),
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, script: &'a [SimStep], sync_lies: bool) -> World<'a> {
        let faults = Faults {
            sync_lies,
            steps_max: plan.steps,
            stall_one_in: plan.stalls,
            ..Faults::default()
        };
        let disk = |shard| SimDisk::new(log_config(shard).geometry(), plan.seed, faults);
        let shards = plan.shards as usize;
        World {
            plan,
            script,
            faults,
            random: Random(plan.seed ^ 0x0b5e55ed),
            clocks: Clocks::default(),
            disks: (0..shards).map(disk).collect(),
            received: (0..shards).map(|_| Received::default()).collect(),
            durable: vec![0; shards],
            left: Left::default(),
        }
    }

    /// One life of the process, from its start to its end or to its crash.
    fn live(&mut self, crash: Option<&Crash>, life: u64) -> Result<Over, String> {
        let (plan, clocks) = (self.plan, &self.clocks);
        let mut random = Random(self.random.next());
        let kill = AtomicBool::new(false);
        let is_start = |crash: &&Crash| crash.how == How::Start;
        if let Some(crash) = crash.filter(is_start) {
            self.disks[crash.shard as usize].fail_later(crash.nth, Fault::Io);
        }
        let mut shards: Vec<SimShard<'_>> = Vec::new();
        let mut senders = Vec::new();
        let capacity = 1 << plan.ring;
        for (index, disk) in self.disks.iter_mut().enumerate() {
            let resumed = Log::resume(log_config(index), disk);
            let (log, found) = match resumed {
                Ok(resumed) => resumed,
                Err(_) if crash.is_some_and(|crash| crash.how == How::Start) => {
                    return Ok(Over::ByCrash("while it started", true));
                }
                Err(error) => return Err(format!("life {life}, shard {index}: {error}")),
            };
            if found.cells < self.durable[index] {
                return Err(format!(
                    "life {life}, shard {index}: {} cells were durable, found {}",
                    self.durable[index], found.cells
                ));
            }
            let takes = match crash {
                Some(crash) if crash.how == How::Peer && crash.shard as usize == index => crash.nth,
                _ => u64::MAX,
            };
            let peer = Peer::new(&self.received[index], plan, random.next(), takes);
            let (sender, receiver) = ring::ring(capacity);
            let started = start(plan, log, peer, receiver, clocks, &kill, index);
            match started {
                Ok(shard) => shards.push(shard),
                Err(_) if crash.is_some_and(|crash| crash.how == How::Start) => {
                    return Ok(Over::ByCrash("while it started", true));
                }
                Err(error) => return Err(format!("life {life}, shard {index}: {error}")),
            }
            senders.push(sender);
        }
        if plan.durable == 1 {
            for (shard, received) in shards.iter().zip(&self.received) {
                causes_are_there(shard, received)?;
            }
        }
        let mut reader_config = ReaderConfig::new(MIDNIGHT);
        reader_config.resume_after = shards.iter().map(Shard::last_seq).collect();
        let source = SimSource::new(&["A", "B"], self.script.to_vec());
        let mut reader = Some(Reader::new(source, reader_config, senders));
        let over = run(plan, crash, &mut random, clocks, &mut shards, &mut reader)?;
        self.durable = shards
            .iter()
            .map(|shard| shard.log().durable_upto())
            .collect();
        if let Over::InOrder = over {
            for shard in shards {
                if let Err(error) = shard.finish() {
                    return died_of(crash, &error);
                }
            }
        }
        Ok(over)
    }

    /// The process is dead; and so is the machine, or it lives.
    fn die(&mut self, is_power_cut: bool) {
        let (faults, random) = (self.faults, &mut self.random);
        for (index, disk) in self.disks.iter_mut().enumerate() {
            self.left.is_fault_fired |= disk.fault_fired();
            let geometry = log_config(index).geometry();
            let old = std::mem::replace(disk, SimDisk::new(geometry, 0, faults));
            *disk = match is_power_cut {
                true => old.crash(random.next(), geometry, faults),
                false => old.kill(random.next(), geometry, faults),
            };
        }
    }

    fn end(mut self) -> Result<Left, String> {
        let mut left = std::mem::take(&mut self.left);
        left.elsewhere
            .insert("leaps of the clocks", self.clocks.leaps.get());
        for disk in &self.disks {
            left.is_fault_fired |= disk.fault_fired();
            left.fired.add(&disk.fired());
            let read = disk.quietly(|disk| {
                let mut reader = LogReader::over(disk)?;
                for item in &mut reader {
                    if let (_, Record::Signal(signal)) = item?
                        && signal.kind != SignalKind::Sent
                    {
                        left.signals.push(signal);
                    }
                }
                Ok(reader.recovered().finished)
            });
            match read {
                Ok(true) => {}
                Ok(false) => return Err("a log that was not ended in order".into()),
                Err::<_, LogError>(error) => return Err(format!("at the end: {error}")),
            }
        }
        left.signals
            .sort_by_key(|signal| (signal.seq, signal.symbol, signal.ordinal));
        for received in &self.received {
            let received = received.borrow();
            for byte in received.iter().flatten() {
                left.digest = Random(left.digest ^ u64::from(*byte)).next();
            }
            for (id, [plain, flagged]) in orders(received.iter()) {
                let counts = left.orders.entry(id).or_default();
                counts[0] += plain;
                counts[1] += flagged;
            }
        }
        Ok(left)
    }
}

/// A shard that goes on from what its log has.
fn start<'a>(
    plan: &Plan,
    log: Log<&'a mut SimDisk>,
    peer: Peer,
    events: ring::Receiver,
    clocks: &'a Clocks,
    kill: &'a AtomicBool,
    index: usize,
) -> Result<SimShard<'a>, String> {
    let share = Share {
        shard: index as u32,
        shards: plan.shards as u32,
    };
    let mut state = Recovery::new(core(&config(), MIDNIGHT, None)?, share);
    let records = LogReader::over(log.disk()).map_err(|error| error.to_string())?;
    state.replay(records).map_err(|error| error.to_string())?;
    let fix = FixConfig {
        sender: "SIM".into(),
        target: "PEER".into(),
        sender_sub: Some(format!("SHARD{index}")),
        account: None,
    };
    let (_, stamps) = ring::ring(1);
    let parts = Parts {
        events,
        stamps,
        state,
        log,
        encoder: Encoder::new(&fix).map_err(|error| error.to_string())?,
        gateway: peer,
        clock: clocks,
        kill,
    };
    let shard_config = ShardConfig {
        date: DATE,
        is_durable: plan.durable == 1,
        is_live: false,
        cancels_in_doubt: false,
        again_upto: 0,
    };
    Shard::new(shard_config, parts, 1024, 0, &|_| false).map_err(|error| error.to_string())
}

/// Turns the reader and the shards in any order, until all is done or the crash comes.
fn run(
    plan: &Plan,
    crash: Option<&Crash>,
    random: &mut Random,
    clocks: &Clocks,
    shards: &mut [SimShard<'_>],
    reader: &mut Option<Reader<SimSource>>,
) -> Result<Over, String> {
    for turn in 0.. {
        if turn > TURNS_MAX {
            return Err("comes to no end".into());
        }
        if let Some(crash) = crash
            && crash.turns == turn
        {
            let disk = shards[crash.shard as usize].log().disk();
            match crash.how {
                How::Power => return Ok(Over::ByCrash("by a power cut", true)),
                How::Kill => return Ok(Over::ByCrash("by a kill", false)),
                How::Write => disk.fail_later(crash.nth, Fault::Io),
                How::Full => disk.fail_later(crash.nth, Fault::NoSpace),
                How::Start | How::Peer => {}
            }
        }
        clocks.advance(random.below(20_000));
        if plan.leaps > 0 && random.one_in(plan.leaps) {
            clocks.leap(random);
        }
        if let Some(reading) = reader
            && random.one_in(3)
        {
            if reading.turn().map_err(|error| error.to_string())? == Turned::Ended {
                *reader = None; // Its ends of the rings go, as its thread's would.
            }
            continue;
        }
        let index = random.below(shards.len() as u64) as usize;
        let shard = &mut shards[index];
        if shard.is_done() {
            if shards.iter().all(|shard| shard.is_done()) {
                return Ok(Over::InOrder);
            }
            continue;
        }
        let Err(error) = shard.turn() else { continue };
        // Stopped is stopped: asked again it says no again, and no order leaves.
        let sent = shard.counts().sent;
        for _ in 0..3 {
            clocks.advance(1_000_000);
            if shard.turn().is_ok() || shard.counts().sent != sent {
                return Err(format!("goes on after: {error}"));
            }
        }
        return died_of(crash, &error);
    }
    unreachable!("the loop ends in order or by a crash")
}

/// An error must have been planned.
fn died_of(crash: Option<&Crash>, error: &ShardError) -> Result<Over, String> {
    match crash.map(|crash| crash.how) {
        Some(How::Write | How::Start) => Ok(Over::ByCrash("by a failed operation", true)),
        Some(How::Full) => Ok(Over::ByCrash("by a full disk", true)),
        Some(How::Peer) => Ok(Over::ByCrash("by its peer", false)),
        Some(How::Power | How::Kill) | None => Err(format!("fails for no reason: {error}")),
    }
}

/// What left the process must have its cause in what is left of the log.
fn causes_are_there(shard: &SimShard<'_>, received: &Received) -> Result<(), String> {
    let mut logged = BTreeSet::new();
    shard
        .log()
        .disk()
        .quietly(|disk| {
            for item in LogReader::over(disk)? {
                if let (_, Record::Signal(signal)) = item?
                    && signal.kind == SignalKind::Order
                {
                    logged.insert(OrderId::of(DATE, &signal).to_string());
                }
            }
            Ok(())
        })
        .map_err(|error: LogError| error.to_string())?;
    for id in orders(received.borrow().iter()).keys() {
        if !logged.contains(id) {
            return Err(format!("{id} was sent, and its cause is not in the log"));
        }
    }
    Ok(())
}

/// Runs a plan on this feed to its end.
fn run_on(plan: &Plan, script: &[SimStep]) -> Result<Left, String> {
    through_all_lives(World::new(plan, script, false))
}

/// Runs a plan on disks that say that they synced, and did not.
pub fn run_lying(plan: &Plan) -> Result<Left, String> {
    through_all_lives(World::new(plan, &script(plan).steps, true))
}

fn through_all_lives(mut world: World<'_>) -> Result<Left, String> {
    let plan = world.plan;
    let mut crashes = plan.crashes.iter();
    loop {
        world.left.lives += 1;
        let life = world.left.lives;
        match world.live(crashes.next(), life)? {
            Over::InOrder => return world.end(),
            Over::ByCrash(how, is_power_cut) => {
                *world.left.deaths.entry(how).or_default() += 1;
                world.die(is_power_cut);
            }
        }
    }
}

/// What the plan's feed must lead to, whatever happens on the way.
pub fn twin(plan: &Plan) -> Result<Left, String> {
    let plan = plan.twin();
    run_on(&plan, &script(&plan).steps).map_err(|what| format!("the twin: {what}"))
}

/// Runs a plan and holds it against its twin.
pub fn compare(plan: &Plan, twin: &Left) -> Result<Left, String> {
    let brought = script(plan);
    let mut left = run_on(plan, &brought.steps)?;
    for (what, count) in brought.faults {
        *left.elsewhere.entry(what).or_default() += count;
    }
    if left.signals != twin.signals {
        let pairs = left.signals.iter().zip(&twin.signals);
        let same = pairs.take_while(|(left, twin)| left == twin).count();
        return Err(format!(
            "{} signals, want {}; the first that differs is {:?}, want {:?}",
            left.signals.len(),
            twin.signals.len(),
            left.signals.get(same),
            twin.signals.get(same)
        ));
    }
    for id in twin.orders.keys() {
        if !left.orders.contains_key(id) {
            return Err(format!("{id} never came"));
        }
    }
    let is_kept = plan.durable == 1 || left.lives == 1;
    for (id, [plain, _]) in &left.orders {
        if !twin.orders.contains_key(id) {
            return Err(format!("{id} came, and nothing caused it"));
        }
        if *plain > 1 && is_kept {
            return Err(format!("{id} came {plain} times without PossResend"));
        }
    }
    Ok(left)
}

/// [`compare`], with a panic taken for what it is: a violation.
pub fn check(plan: &Plan) -> Result<Left, String> {
    let run = || compare(plan, &twin(plan)?);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("a panic").to_owned())
    })
}
