//! Runs a plan: one reader, some shards, each with a disk and a peer of its own, through all the
//! lives of the process, and looks at what must hold at every death.

#![allow(unreachable_pub, missing_docs)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use bus::clock::Clock;
use bus::disk::sim::Fired;
use bus::disk::{Fault, Faults, SimDisk};
use bus::log::{Log, LogReader};
use bus::oms::{Date, Encoder, FixConfig, OrderId};
use bus::{Signal, SignalKind, Ts, ring};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{SimSource, SimStep};
use tapeline::kill::Kill;
use tapeline::shard::{Parts, Shard, ShardConfig, ShardError};

use crate::network::{MIDNIGHT, script};
use crate::part::{Part, checkpoint_of, text};
use crate::peer::{Peer, Received, orders};
use crate::plan::{Crash, How, Plan, Random};

const DATE: Date = Date {
    year: 2026,
    month: 1,
    day: 5,
};
/// A life that takes longer has come to a standstill.
const TURNS_MAX: u64 = 3_000_000;
/// So many shards are ever there.
const SHARDS_MAX: usize = 4;

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

type SimShard<'a> = Shard<'a, &'a mut SimDisk, Peer, &'a Clocks>;

/// What a run left, and how it got there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// All that was concluded, by event and symbol.
    pub signals: Vec<Signal>,
    /// ClOrdID to how often it came, without and with PossResend.
    pub orders: BTreeMap<String, [u32; 2]>,
    pub lives: u64,
    pub checkpoints: u64,
    pub rescaled: u64,
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
    part: Part,
    received: Vec<Received>,
    /// What each shard was told to be durable.
    durable: Vec<u64>,
    left: Left,
}

/// How a life came to its end.
enum Over {
    InOrder,
    /// In these words, and whether the power failed.
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
        let shards = plan.shards as usize;
        World {
            plan,
            script,
            faults,
            random: Random(plan.seed ^ 0x0b5e55ed),
            clocks: Clocks::default(),
            part: Part::first(shards, plan.seed, faults),
            received: (0..SHARDS_MAX).map(|_| Received::default()).collect(),
            durable: vec![0; shards],
            left: Left::default(),
        }
    }

    /// One life of the process, from its start to its end or to its crash.
    fn live(&mut self, crash: Option<&Crash>, life: u64) -> Result<Over, String> {
        let mut disks = std::mem::take(&mut self.part.disks);
        let over = self.live_on(&mut disks, crash, life);
        self.part.disks = disks;
        over
    }

    fn live_on(
        &mut self,
        disks: &mut [SimDisk],
        crash: Option<&Crash>,
        life: u64,
    ) -> Result<Over, String> {
        let (plan, clocks, part) = (self.plan, &self.clocks, &mut self.part);
        let mut random = Random(self.random.next());
        let kill = Kill::default();
        let target = crash.map_or(0, |crash| crash.shard as usize % part.shards);
        match crash {
            Some(Crash {
                how: How::Start,
                nth,
                ..
            }) => disks[target].fail_later(*nth, Fault::Io),
            Some(Crash {
                how: How::Checkpoint,
                nth,
                ..
            }) => part.fail_checkpoint(target, *nth),
            Some(_) | None => {}
        }
        let is_start = crash.is_some_and(|crash| crash.how == How::Start);
        let mut shards: Vec<SimShard<'_>> = Vec::new();
        let mut senders = Vec::new();
        for (index, disk) in disks.iter_mut().enumerate() {
            let takes = match crash {
                Some(crash) if crash.how == How::Peer && target == index => crash.nth,
                _ => u64::MAX,
            };
            let peer = Peer::new(&self.received[index], plan, random.next(), takes);
            let (sender, receiver) = ring::ring(1 << plan.ring);
            senders.push(sender);
            match start(plan, part, disk, peer, receiver, clocks, &kill, index) {
                Ok((_, cells)) if cells < self.durable[index] => {
                    let durable = self.durable[index];
                    return Err(format!(
                        "life {life}, shard {index}: {durable} cells were durable, found {cells}"
                    ));
                }
                Ok((shard, _)) => shards.push(shard),
                Err(_) if is_start && target == index => {
                    return Ok(Over::ByCrash("while it started", true));
                }
                // The checkpoint that cannot be read now stays what it is.
                Err(_) if part.folders[target].fired() => {
                    return Ok(Over::ByCrash("at its checkpoints", true));
                }
                Err(error) => return Err(format!("life {life}, shard {index}: {error}")),
            }
        }
        let mut reader_config = ReaderConfig::new(MIDNIGHT);
        reader_config.resume_after = shards.iter().map(Shard::last_seq).collect();
        let source = SimSource::new(&["A", "B"], self.script.to_vec());
        let reader = Reader::new(source, reader_config, senders);
        let mut running = Running {
            plan,
            crash,
            target,
            clocks,
            part,
            shards,
            reader: Some(reader),
            checkpoints: 0,
        };
        let over = running.run(&mut random)?;
        self.left.checkpoints += running.checkpoints;
        let shards = running.shards;
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
    fn die(&mut self, is_power_cut: bool) -> Result<(), String> {
        for disk in &self.part.disks {
            self.left.is_fault_fired |= disk.fault_fired();
        }
        for folder in &self.part.folders {
            self.left.is_fault_fired |= folder.fired();
        }
        self.part.die(is_power_cut, &mut self.random, self.faults);
        if self.plan.durable == 1 {
            self.causes_are_there()?;
        }
        Ok(())
    }

    /// What left the process must have its cause in what is left of the logs.
    fn causes_are_there(&self) -> Result<(), String> {
        let mut logged = BTreeSet::new();
        self.part.signals(&mut |signal, _| {
            if signal.kind == SignalKind::Order {
                logged.insert(OrderId::of(DATE, signal).to_string());
            }
        })?;
        for received in &self.received {
            for id in orders(received.borrow().iter()).keys() {
                if !logged.contains(id) {
                    return Err(format!("{id} was sent, and its cause is not in the log"));
                }
            }
        }
        Ok(())
    }

    /// The process comes back with another number of shards.
    fn rescale(mut self, shards: usize) -> Result<World<'a>, String> {
        for disk in &self.part.disks {
            self.left.fired.add(&disk.fired());
        }
        let seed = self.random.next();
        self.part = self.part.rescale(shards, seed, self.faults)?;
        self.durable = vec![0; shards];
        self.left.rescaled += 1;
        Ok(self)
    }

    fn end(mut self) -> Result<Left, String> {
        let mut left = std::mem::take(&mut self.left);
        left.elsewhere
            .insert("leaps of the clocks", self.clocks.leaps.get());
        for disk in &self.part.disks {
            left.is_fault_fired |= disk.fault_fired();
            left.fired.add(&disk.fired());
        }
        if !self.part.is_finished()? {
            return Err("a log that was not ended in order".into());
        }
        self.part.signals(&mut |signal, counts| {
            if counts {
                left.signals.push(*signal);
            }
        })?;
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

/// A shard that goes on from its checkpoint and what its log has since; and how much that is.
#[allow(clippy::too_many_arguments)]
fn start<'a>(
    plan: &Plan,
    part: &Part,
    disk: &'a mut SimDisk,
    peer: Peer,
    events: ring::Receiver,
    clocks: &'a Clocks,
    kill: &'a Kill,
    index: usize,
) -> Result<(SimShard<'a>, u64), String> {
    let mut state = part.state(index, u64::MAX)?;
    let cell = state.cell();
    let (log, found) = Log::resume_from(part.log_config(index), disk, cell).map_err(text)?;
    let records = LogReader::over_from(log.disk(), cell).map_err(text)?;
    state.replay(records).map_err(text)?;
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
        encoder: Encoder::new(&fix).map_err(text)?,
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
        measure: Default::default(),
    };
    let shard = Shard::new(shard_config, parts, 1024, 0, &|_| false).map_err(text)?;
    Ok((shard, found.cells))
}

/// One life while it lasts.
struct Running<'w, 'a> {
    plan: &'w Plan,
    crash: Option<&'w Crash>,
    /// The shard that the crash is about.
    target: usize,
    clocks: &'a Clocks,
    part: &'w mut Part,
    shards: Vec<SimShard<'a>>,
    reader: Option<Reader<SimSource>>,
    checkpoints: u64,
}

impl Running<'_, '_> {
    /// Turns the reader and the shards in any order, until all is done or the crash comes.
    fn run(&mut self, random: &mut Random) -> Result<Over, String> {
        let plan = self.plan;
        for turn in 0.. {
            if turn > TURNS_MAX {
                return Err("comes to no end".into());
            }
            if let Some(crash) = self.crash.filter(|crash| crash.turns == turn) {
                let disk = self.shards[self.target].log().disk();
                match crash.how {
                    How::Power => return Ok(Over::ByCrash("by a power cut", true)),
                    How::Kill => return Ok(Over::ByCrash("by a kill", false)),
                    How::Rescale => return Ok(Over::ByCrash("to be rescaled", false)),
                    How::Write => disk.fail_later(crash.nth, Fault::Io),
                    How::Full => disk.fail_later(crash.nth, Fault::NoSpace),
                    How::Start | How::Peer | How::Checkpoint => {}
                }
            }
            self.clocks.advance(random.below(20_000));
            if plan.leaps > 0 && random.one_in(plan.leaps) {
                self.clocks.leap(random);
            }
            if plan.checkpoints > 0 && random.one_in(plan.checkpoints) {
                let index = random.below(self.shards.len() as u64) as usize;
                match self.checkpoint(index) {
                    Ok(is_made) => self.checkpoints += u64::from(is_made),
                    Err(_) if self.part.folders[index].fired() => {
                        return Ok(Over::ByCrash("at its checkpoints", true));
                    }
                    Err(error) => return Err(format!("a checkpoint: {error}")),
                }
            }
            if let Some(reading) = &mut self.reader
                && random.one_in(3)
            {
                if reading.turn().map_err(text)? == Turned::Ended {
                    self.reader = None; // Its ends of the rings go, as its thread's would.
                }
                continue;
            }
            let index = random.below(self.shards.len() as u64) as usize;
            if self.shards[index].is_done() {
                if self.shards.iter().all(|shard| shard.is_done()) {
                    return Ok(Over::InOrder);
                }
                continue;
            }
            if let Err(error) = self.shards[index].turn() {
                self.stays_stopped(index, &error)?;
                return died_of(self.crash, &error);
            }
        }
        unreachable!("the loop ends in order or by a crash")
    }

    /// Stopped is stopped: asked again it says no again, and no order leaves.
    fn stays_stopped(&mut self, index: usize, error: &ShardError) -> Result<(), String> {
        let shard = &mut self.shards[index];
        let sent = shard.counts().sent;
        for _ in 0..3 {
            self.clocks.advance(1_000_000);
            if shard.turn().is_ok() || shard.counts().sent != sent {
                return Err(format!("goes on after: {error}"));
            }
        }
        Ok(())
    }

    /// Makes a checkpoint of a shard beside its life.
    fn checkpoint(&mut self, index: usize) -> Result<bool, String> {
        let log = self.shards[index].log();
        let state = self.part.state(index, u64::MAX)?;
        let head = self.part.head(index, &state);
        let folder = &mut self.part.folders[index];
        checkpoint_of(state, log.disk(), log.durable_upto(), &head, folder)
    }
}

/// An error must have been planned.
fn died_of(crash: Option<&Crash>, error: &ShardError) -> Result<Over, String> {
    match crash.map(|crash| crash.how) {
        Some(How::Write | How::Start) => Ok(Over::ByCrash("by a failed operation", true)),
        Some(How::Full) => Ok(Over::ByCrash("by a full disk", true)),
        Some(How::Peer) => Ok(Over::ByCrash("by its peer", false)),
        Some(How::Power | How::Kill | How::Rescale | How::Checkpoint) | None => {
            Err(format!("fails for no reason: {error}"))
        }
    }
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
        let crash = crashes.next();
        match world.live(crash, life)? {
            Over::InOrder => return world.end(),
            Over::ByCrash(how, is_power_cut) => {
                *world.left.deaths.entry(how).or_default() += 1;
                world.die(is_power_cut)?;
            }
        }
        if let Some(crash) = crash
            && crash.how == How::Rescale
        {
            let shards = (crash.nth as usize - 1) % SHARDS_MAX + 1;
            world = world
                .rescale(shards)
                .map_err(|what| format!("rescaling to {shards}: {what}"))?;
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
