//! A shard's turns: how it is opened, and the thread that has nothing else.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use bus::disk::{self, Disk, RealDisk};
use bus::log::{End, Log, LogConfig, LogError, LogReader};
use bus::oms::{Encoder, FixConfig, Gateway, NewOrder, OrderId, Several};
use bus::{Price, Qty, Side, Ts};
use feed::groups::Groups;

use super::orders::{Orders, Outlet};
use super::{Ended, Ends, Job, Run, hash_of};
use crate::config::{Backend, Durability, InDoubt, Model};
use crate::order_session;
use crate::rest::Rest;
use crate::shard::{Finished, Parts, Shard, ShardConfig, ShardError};

/// What a shard says once it can take events.
pub(super) struct Ready {
    pub(super) shard: usize,
    pub(super) has: Has,
    pub(super) backend: String,
    pub(super) remarks: Vec<String>,
    pub(super) events: u64,
}

/// What a shard has when it begins.
pub(super) struct Has {
    last_seq: u64,
    last_ts: Ts,
    groups: Groups,
    names: Vec<(u32, u64)>,
}

impl Has {
    pub(super) fn of<D: Disk, G: Gateway, C: Clock>(shard: &Shard<'_, D, G, C>) -> Has {
        Has {
            last_seq: shard.last_seq(),
            last_ts: shard.last_ts(),
            groups: shard.groups().clone(),
            names: shard.names().collect(),
        }
    }
}

/// What all shards have when the reader begins.
pub(super) struct Known {
    /// By shard: the last event that its log has.
    pub(super) resume_after: Vec<u64>,
    pub(super) last_ts: Ts,
    /// What they know of the groups' symbols.
    pub(super) groups: Groups,
    /// What symbols are called, in eight letters.
    pub(super) names: BTreeMap<u32, u64>,
}

impl Known {
    /// Of so many shards that have nothing yet.
    pub(super) fn nothing(shards: usize, groups: Groups) -> Known {
        Known {
            resume_after: vec![0; shards],
            last_ts: Ts::MIN,
            groups,
            names: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, shard: usize, has: Has) {
        self.resume_after[shard] = has.last_seq;
        self.last_ts = self.last_ts.max(has.last_ts);
        self.groups.learn(&has.groups);
        self.names.extend(has.names);
    }
}

/// A shard as it runs.
pub(super) type Running<'a, G> = Shard<'a, RealDisk, G, &'a MachineClock>;

/// One shard, and nothing else.
pub(super) fn shard_thread<G: Gateway>(
    run: &Run<'_>,
    index: usize,
    ends: Ends,
    ready: mpsc::Sender<Ready>,
    wrap: &impl Fn(Several<Outlet>) -> G,
) -> Ended {
    let cpu = run.shared.cpus[index + 1];
    let body = || {
        let mut shard = open_shard(run, index, cpu, ends, &ready, wrap)?;
        // If another shard fails, nobody waits for more of these.
        drop(ready);
        let mut rest = Rest::new(&run.shared.cpus, cpu);
        let mut paced = Paced::default();
        loop {
            match run.step(index, &mut shard, &mut paced)? {
                Step::Worked => rest.over(),
                Step::Idle => rest.rest(shard.now_ns(), || shard.has_input()),
                Step::Done => break,
            }
        }
        run.finish(index, shard)
    };
    let result = body();
    if result.is_err() {
        run.shared.failed.store(true, Ordering::Release);
    }
    Ended {
        shards: vec![(index, result)],
        ..Ended::default()
    }
}

/// What a shard was told of the pace.
#[derive(Clone, Copy, Default)]
pub(super) struct Paced {
    is_known: bool,
    /// By how much what is due has moved.
    paused_ns: u64,
}

/// What came of one turn of a shard.
pub(super) enum Step {
    Worked,
    Idle,
    Done,
}

impl Run<'_> {
    /// One turn of a shard, and what the other threads want to know of it.
    #[inline]
    pub(super) fn step<D: Disk, G: Gateway, C: Clock>(
        &self,
        index: usize,
        shard: &mut Shard<'_, D, G, C>,
        paced: &mut Paced,
    ) -> Result<Step, ShardError> {
        let progress = &*self.shared.shards[index];
        // Before the turn: a shard that is never idle would count nothing.
        if paced.is_known {
            let paused_ns = self.shared.paused_ns.load(Ordering::Acquire);
            if paused_ns != paced.paused_ns {
                let resumed_ns = self.shared.resumed_ns.load(Ordering::Relaxed);
                shard.paused(paused_ns - paced.paused_ns, resumed_ns);
                paced.paused_ns = paused_ns;
            }
        } else if let Some(pace) = self.shared.pace.get() {
            shard.set_pace(*pace);
            paced.is_known = true;
        }
        if shard.turn()? > 0 {
            let (events, durable) = (shard.events_taken(), shard.durable_upto());
            progress.events.store(events, Ordering::Relaxed);
            progress.durable.store(durable, Ordering::Release);
            return Ok(Step::Worked);
        }
        if !shard.is_done() {
            return Ok(Step::Idle);
        }
        let events = shard.events_taken();
        progress.events.store(events, Ordering::Relaxed);
        Ok(Step::Done)
    }

    pub(super) fn finish<D: Disk, G: Gateway, C: Clock>(
        &self,
        index: usize,
        shard: Shard<'_, D, G, C>,
    ) -> Result<Finished, ShardError> {
        let is_ending = &self.shared.shards[index].is_ending;
        is_ending.store(true, Ordering::Release);
        shard.finish()
    }
}

/// A shard that can take events, and has said so: opened, recovered, and its orders in doubt
/// settled.
pub(super) fn open_shard<'a, G: Gateway>(
    run: &Run<'a>,
    index: usize,
    cpu: Option<usize>,
    (events, stamps): Ends,
    ready: &mpsc::Sender<Ready>,
    wrap: &impl Fn(Several<Outlet>) -> G,
) -> Result<Running<'a, G>, ShardError> {
    let Run {
        job,
        clock,
        shared,
        measure,
        ..
    } = *run;
    let config = job.config;
    let setup = ShardError::Setup;
    let log_config = log_config(job, index).map_err(setup)?;
    // The kernel's threads behind io_uring inherit class and core of who makes them first: on the
    // core of a real-time thread that spins they would never run.
    let backend = match config.log.backend {
        Backend::Auto if shared.fifo.is_none() => disk::Backend::Best,
        Backend::Auto | Backend::Plain => disk::Backend::Plain,
    };
    // The disk's own threads inherit where this one may run: anywhere but here, if there is
    // somewhere else, because they write whole segments of zeros.
    if cpu.is_some()
        && let Some(elsewhere) = shared.elsewhere
    {
        // Refused only where the core is gone; then they run where the system likes.
        let _ = tuning::pin::pin_to(elsewhere);
    }
    let open_disk = || log_config.open_disk(backend);
    let is_in_use = |error: &LogError| matches!(error, LogError::InUse { .. });
    let disk: RealDisk = open_when_free(job.resume, open_disk, is_in_use)?;
    let backend = disk.describe();
    let mut orders = Orders::open(job, index, &shared.kill)?;
    let mut remarks = Vec::new();
    if let Some(error) = cpu.and_then(|cpu| tuning::pin::pin_to(cpu).err()) {
        remarks.push(error.to_string());
    }
    let through = config.orders.fix.as_ref();
    let fix = FixConfig {
        sender: config.orders.sender(index),
        target: config.orders.target.clone(),
        // A session's name says which shard it is.
        sender_sub: through.is_none().then(|| format!("SHARD{index}")),
        account: through.and_then(|fix| fix.account.clone()),
    };
    let begin_string = through.map_or("FIX.4.4", |fix| fix.version.session().begin_string());
    let mut encoder = match &config.orders.ouch {
        Some(ouch) => Encoder::ouch(&ouch.terms(job.day).map_err(setup)?),
        None => Encoder::speaking(begin_string, &fix).map_err(|e| setup(e.to_string()))?,
    };
    if let Some(fix) = through {
        order_session::fits(fix, sample(&mut encoder)).map_err(setup)?;
    }
    let (year, month, day) = job.day.ymd();
    let shard_config = ShardConfig {
        date: bus::oms::Date { year, month, day },
        is_durable: config.log.durability == Durability::Durable,
        // A session's counterparty refuses messages that were sent in the past.
        is_live: job.is_live || config.orders.has_session(),
        cancels_in_doubt: config.orders.in_doubt == InDoubt::Cancel,
        again_upto: job.dir.repaired(job.part(), index).map_err(setup)?,
        measure,
    };
    let start = job.origin().start(index, u64::MAX)?;
    remarks.extend(start.remarks);
    let mut state = start.recovery;
    let log = if job.resume {
        let dir = log_config.dir.clone();
        let cell = state.cell();
        if start.uuid.is_some() && LogReader::open(&dir)?.uuid() != start.uuid {
            let folder = job.dir.checkpoints_dir(job.part(), index);
            let what = format!("{}: checkpoints of another log", folder.display());
            return Err(setup(what));
        }
        let (log, found) = match cell {
            0 => Log::resume(log_config, disk)?,
            _ => Log::resume_from(log_config, disk, cell)?,
        };
        if let End::Torn {
            segment,
            offset,
            dropped_bytes,
        } = found.end
        {
            let path = disk::files::segment_path(&dir, segment);
            remarks.push(format!(
                "{}: the end is torn at byte {offset}, as a crash leaves it: {dropped_bytes} bytes \
                 that were never durable are left out",
                path.display()
            ));
        }
        state.replay(LogReader::open_from(&dir, cell)?)?;
        log
    } else {
        Log::create(log_config, disk)?
    };
    orders.settle(&state, &mut encoder, &shard_config, clock)?;
    let delivered = std::mem::take(&mut orders.delivered);
    let msg_seq = orders.msg_seq_last;
    let gateway = wrap(orders.gateway());
    let kill = &**shared.kill;
    let parts = Parts {
        events,
        stamps,
        state,
        log,
        encoder,
        gateway,
        clock,
        kill,
    };
    let suite = config.suite();
    let rules = suite.signals_per_windows() + config.rules.0.len();
    let kept_max =
        config.limits.symbols * (rules + config.patterns.0.len() + 4) + suite.signals_of_several();
    let is_delivered = |id: &OrderId| delivered.binary_search(id).is_ok();
    let shard = Shard::new(shard_config, parts, kept_max, msg_seq, &is_delivered)?;
    let progress = &shared.shards[index];
    progress.uuid.get_or_init(|| shard.log_uuid());
    let events = shard.events_taken();
    // All threads that it needs were made before, and did not inherit the class. Where one thread
    // has all shards, those of the next ones are still to be made.
    if index + 1 == job.config.run.shards || job.config.run.model == Model::Pipeline {
        remarks.extend(
            shared
                .fifo
                .and_then(|priority| tuning::realtime::fifo(priority).err()),
        );
    }
    // The receiver is gone only when the pipeline is being torn down.
    let _ = ready.send(Ready {
        shard: index,
        has: Has::of(&shard),
        backend,
        remarks,
        events,
    });
    Ok(shard)
}

/// An order like all others, to be held against a dictionary.
fn sample(encoder: &mut Encoder) -> &[u8] {
    let order = bus::signal::Order {
        side: Side::Buy,
        price: Price(Price::SCALE),
        qty: Qty(1),
        bid: Price::NONE,
        ask: Price::NONE,
        tif: bus::signal::Tif::Day,
    };
    encoder.encode(&NewOrder {
        msg_seq: 1,
        sending_time: Ts(0),
        id: &OrderId::new((2026, 1, 1), 0, 0, 0, 0),
        symbol: b"A       ",
        order: &order,
        transact_time: Ts(0),
        poss_resend: false,
    })
}

/// How long a resumed run waits for the process before it to be gone.
const GONE_MAX: Duration = Duration::from_secs(3);

/// Opens something that a killed process held. The kernel may need a moment to take it from the
/// dead, after whoever killed it went on.
pub(super) fn open_when_free<T, E>(
    is_resumed: bool,
    open: impl Fn() -> Result<T, E>,
    is_in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + GONE_MAX;
    loop {
        match open() {
            Err(error) if is_resumed && is_in_use(&error) && Instant::now() < deadline => {
                thread::park_timeout(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn log_config(job: &Job<'_>, shard: usize) -> Result<LogConfig, String> {
    let log = &job.config.log;
    let config_text = job.config.show();
    Ok(LogConfig {
        dir: job.dir.log_dir(job.part(), shard),
        segment_bytes: log.segment.0,
        frame_bytes_max: log.frame.0 as usize,
        frames_in_flight_max: LogConfig::FRAMES_IN_FLIGHT_MAX,
        frames_waiting_max: LogConfig::FRAMES_WAITING_MAX,
        spares: 2,
        commit_age_ns: log.commit_age.0 as u64,
        uuid: bus::log::random_uuid().map_err(|e| format!("/dev/urandom: {e}"))?,
        build_hash: hash_of(env!("CARGO_PKG_VERSION")),
        config_hash: hash_of(&config_text),
    })
}
