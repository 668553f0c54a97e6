//! The threads: one reader and one for each shard, or one for all of that; and the caller's, which
//! watches.
//!
//! Each hot thread calls `turn` in a loop and does nothing else; all that is decided at run time
//! (which disk, paced or not, live or not) became a type before the loop began.
//!
//! ```text
//! model = "pipeline"               reader ══ ring ══► shard      a thread and a core for each
//! model = "run-to-completion"      reader ─► shard ─► reader     one thread takes all their turns
//! ```

mod checkpoints;
mod guarding;
mod one;
mod orders;
mod reading;
mod shards;
mod snapshots;
mod stop;
mod timed;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bus::Ts;
use bus::clock::MachineClock;
use bus::oms::{Gateway, Several};
use bus::ring::{self, Receiver, Sender};
use crossbeam_utils::CachePadded;
use feed::glimpse::Link;
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis, Wire,
};
use feed::quarantine::Quarantine;
use feed::reader::{HealRule, Position, ReadError, ReaderStats};
use feed::source::Pace;

use crate::config::{Config, Model};
use crate::core::{Core, CoreConfig};
use crate::kill::{self, Kill};
use crate::latency::Measure;
use crate::positions::{GoesOn, Positions};
use crate::quarantine::Keeper;
use crate::rest::Room;
use crate::run_dir::{Part, RunDir};
use crate::savepoint::Origin;
use crate::session::TradingDay;
use crate::shard::{Finished, ShardError, Stamp};
use crate::term::complain;

use checkpoints::make_checkpoints;
use one::OneThread;
use reading::ReaderThread;
use shards::{Known, Ready, shard_thread};

pub use orders::Outlet;
pub use reading::reader_of;
pub use stop::{Stop, watch_signals};
pub use timed::{Live, Timed, paced, paced_speed};

/// How many turns' stamps may wait for a shard. What does not fit is counted with the next that
/// does, so that the reader never waits for a measurement.
const STAMPS_MAX: usize = 1 << 16;

/// What a ring holds where the reader and the shards take turns on one thread: a few turns' events,
/// so that they stay in the core's nearest cache.
const TURN_EVENTS_MAX: usize = 512;

/// What to run.
pub struct Job<'a> {
    /// Every setting.
    pub config: &'a Config,
    /// The trading day.
    pub day: &'a TradingDay,
    /// Where the logs and orders go.
    pub dir: &'a RunDir,
    /// Conclude nothing before.
    pub from: Option<Ts>,
    /// Stop at.
    pub until: Option<Ts>,
    /// Only these symbols.
    pub symbols: &'a [String],
    /// The parts of the run; the last one is to be run.
    pub parts: &'a [Part],
    /// Whether the logs of an earlier run are there, to go on from.
    pub resume: bool,
    /// Whether the input is live.
    pub is_live: bool,
    /// Where a live run goes on in its session, where that is known.
    pub goes_on: Option<GoesOn>,
    /// What its messages are.
    pub wire: Wire,
    /// By how much all times are later than the input says. The trading day is the later one.
    pub moved_ns: i64,
}

impl<'a> Job<'a> {
    /// From where its shards go on.
    pub fn origin(&self) -> Origin<'a> {
        Origin {
            dir: self.dir,
            parts: self.parts,
            config: self.config,
            midnight: self.day.midnight,
            from: self.from,
        }
    }

    fn part(&self) -> usize {
        self.parts.len() - 1
    }

    /// Whether it reads a session whose server can be asked from any number on.
    fn is_positioned(&self) -> bool {
        self.is_live && self.config.source.soup.server.is_some()
    }
}

/// How far the run is, for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progressed {
    /// Events the shards took in.
    pub events: u64,
    /// Since the start.
    pub elapsed: Duration,
}

/// What a run ends with.
pub struct Outcome {
    /// What the reader met.
    pub reader: ReaderStats,
    /// What each shard ends with.
    pub shards: Vec<Finished>,
    /// From the first turn to the last, without the time to rebuild from logs.
    pub elapsed: Duration,
    /// Whether it was stopped before the input ended.
    pub is_stopped: bool,
    /// How records reached the disk.
    pub log_backend: String,
    /// Things to say to the user: a core that could not be pinned.
    pub remarks: Vec<String>,
    /// How many events were rebuilt from the logs of an earlier run.
    pub recovered_events: u64,
}

/// Why a run could not go on.
#[derive(Debug)]
pub enum PipelineError {
    /// The input.
    Read(ReadError),
    /// A shard.
    Shard {
        /// Which.
        shard: usize,
        /// Why.
        error: ShardError,
    },
    /// Before anything ran.
    Setup(String),
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PipelineError::Read(error) => error.fmt(f),
            PipelineError::Shard { shard, error } => write!(f, "shard {shard}: {error}"),
            PipelineError::Setup(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for PipelineError {}

impl PipelineError {
    /// Whether a log is whole, and holds other conclusions than this program and its settings come to.
    pub fn is_divergence(&self) -> bool {
        matches!(
            self,
            PipelineError::Shard {
                error: ShardError::Diverged { .. },
                ..
            }
        )
    }

    /// Whether a log or a state is damaged, so that trying again will not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, PipelineError::Shard { error, .. } if error.is_damage())
    }
}

/// What all threads of a run share: read-mostly flags, each on its own cache line.
struct Shared {
    kill: Arc<CachePadded<Kill>>,
    failed: CachePadded<AtomicBool>,
    pace: OnceLock<Pace>,
    /// By how much what is due moved since, because the process was stopped.
    paused_ns: AtomicU64,
    /// By the clock, until when the last such time was. Written before `paused_ns`.
    resumed_ns: AtomicU64,
    /// For the reader, once.
    quarantine: Mutex<Option<Quarantine>>,
    /// How far it is in its session, where that is kept.
    position: Mutex<Option<Position>>,
    /// Once for the reader, too: whom it asks for snapshots.
    snapshots: Mutex<Option<(Link, HealRule)>>,
    /// The hot threads' cores: the reader's, then each shard's; or that of all of them.
    cpus: Vec<Option<usize>>,
    /// A core that no shard has, for threads that are not hot.
    elsewhere: Option<usize>,
    /// The real-time priority of hot threads.
    fifo: Option<u8>,
    shards: Vec<CachePadded<Progress>>,
}

/// How far a shard is, for the other threads.
#[derive(Debug, Default)]
struct Progress {
    events: AtomicU64,
    /// Cells of its log below this are durable.
    durable: AtomicU64,
    /// The log's name, once it is open.
    uuid: OnceLock<[u8; 16]>,
    /// The log is being ended: its file becomes shorter.
    is_ending: AtomicBool,
}

/// Runs `source` through the pipeline until it ends or `stop` is set. `watch` is called now and
/// then with how far the run is.
pub fn run<S: Timed + Send>(
    source: S,
    job: &Job<'_>,
    clock: &MachineClock,
    stop: &Stop,
    watch: impl FnMut(Progressed),
) -> Result<Outcome, PipelineError> {
    let measure = Measure::default();
    run_measured(source, job, clock, stop, measure, |gateway| gateway, watch)
}

/// The same, with more measured than usual, and each shard's gateway seen through `wrap`: for the
/// lab.
pub fn run_measured<S: Timed + Send, G: Gateway>(
    source: S,
    job: &Job<'_>,
    clock: &MachineClock,
    stop: &Stop,
    measure: Measure,
    wrap: impl Fn(Several<Outlet>) -> G + Sync,
    mut watch: impl FnMut(Progressed),
) -> Result<Outcome, PipelineError> {
    let wrap = &wrap;
    let shards = job.config.run.shards;
    let cpus = plan_cpus(job.config)?;
    let granted = crate::host::ask(&job.config.host, &cpus);
    let mut remarks = granted.remarks.clone();
    remarks.extend(Room::remark(&cpus));
    let (mut keeper, quarantine) = match Keeper::open(job).map_err(PipelineError::Setup)? {
        Some((keeper, quarantine)) => (Some(keeper), Some(quarantine)),
        None => (None, None),
    };
    let mut positions = match job.is_positioned() {
        true => Some(Positions::open(job.dir).map_err(PipelineError::Setup)?),
        false => None,
    };
    let latch = kill::path_of(job.config, job.dir);
    if !job.resume && latch == job.dir.latch_path() {
        job.dir.make_latch().map_err(PipelineError::Setup)?;
    }
    let (mut kill, said) = Kill::open(&latch, job.config);
    let guarded = guarding::open(&mut kill, job, clock)?;
    let kill_file = job.config.risk.kill_file.as_deref();
    said.into_iter()
        .chain(guarded)
        .chain(kill.look(kill_file))
        .for_each(complain);
    let shared = Shared {
        quarantine: Mutex::new(quarantine),
        position: Mutex::new(None),
        snapshots: Mutex::new(snapshots::start(job).map_err(PipelineError::Setup)?),
        kill: Arc::new(CachePadded::new(kill)),
        failed: CachePadded::new(AtomicBool::new(false)),
        pace: OnceLock::new(),
        paused_ns: AtomicU64::new(0),
        resumed_ns: AtomicU64::new(0),
        elsewhere: elsewhere(&cpus),
        cpus,
        fifo: granted.fifo,
        shards: (0..shards).map(|_| CachePadded::default()).collect(),
    };
    let run = Run {
        job,
        clock,
        stop,
        shared: &shared,
        measure,
    };
    let shared = &shared;
    thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut hot = Vec::with_capacity(shards + 1);
        let (mut senders, mut ends) = (Vec::new(), Vec::new());
        let (events_max, stamps_max) = match job.config.run.model {
            Model::Pipeline => (job.config.run.ring_events, STAMPS_MAX),
            Model::RunToCompletion => (
                job.config.run.ring_events.min(TURN_EVENTS_MAX),
                TURN_EVENTS_MAX,
            ),
        };
        for _ in 0..shards {
            let (event_tx, event_rx) = ring::ring(events_max);
            let (stamp_tx, stamp_rx) = ring::ring(stamps_max);
            senders.push((event_tx, stamp_tx));
            ends.push((event_rx, stamp_rx));
        }
        let mut source = Some(source);
        let mut senders = Some(senders);
        match job.config.run.model {
            Model::Pipeline => {
                for (index, rings) in ends.into_iter().enumerate() {
                    let ready = ready_tx.clone();
                    let body = move || shard_thread(&run, index, rings, ready, wrap);
                    hot.push(spawn(scope, format!("shard-{index}"), body)?);
                }
            }
            Model::RunToCompletion => {
                let (source, senders) = (source.take(), senders.take());
                let (Some(source), Some(senders)) = (source, senders) else {
                    unreachable!("both were just made");
                };
                let ready = ready_tx.clone();
                let all = OneThread {
                    run,
                    source,
                    starts: senders,
                    ends,
                    ready,
                    wrap,
                };
                let body = move || with_protocol(run.job, all);
                hot.push(spawn(scope, "one".into(), body)?);
            }
        }
        drop(ready_tx);
        let mut known = Known::nothing(shards, job.config.symbol_groups());
        let mut log_backend = String::new();
        let mut recovered_events = 0;
        let mut is_ready = 0;
        // A shard that fails before it is ready drops its end of the channel and nothing more
        // comes; its error is found below.
        for ready in ready_rx.iter().take(shards) {
            let Ready {
                shard,
                has,
                backend,
                remarks: said,
                events,
            } = ready;
            is_ready += 1;
            known.add(shard, has);
            log_backend = backend;
            recovered_events += events;
            remarks.extend(said);
        }
        if is_ready == shards && job.config.run.model == Model::Pipeline {
            job.dir
                .mark_begun(job.part())
                .map_err(PipelineError::Setup)?;
        }
        let started = Instant::now();
        if let (Some(source), Some(senders)) = (source, senders) {
            let reader = ReaderThread {
                run,
                source,
                starts: senders,
                known,
            };
            let body = move || with_protocol(run.job, reader);
            hot.push(spawn(scope, "reader".into(), body)?);
        }
        let (ended_tx, ended_rx) = mpsc::channel();
        let every = Duration::from_nanos(job.config.checkpoint.every.0 as u64);
        let mut checkpoints = None;
        if !every.is_zero() {
            let builder = thread::Builder::new().name("checkpoints".into());
            let body = move || make_checkpoints(job, shared, every, &ended_rx);
            checkpoints = Some(
                builder
                    .spawn_scoped(scope, body)
                    .map_err(|e| PipelineError::Setup(format!("thread of checkpoints: {e}")))?,
            );
        }
        while !hot.iter().all(|handle| handle.is_finished()) {
            shared.kill.look(kill_file).into_iter().for_each(complain);
            let events = shared
                .shards
                .iter()
                .map(|shard| shard.events.load(Ordering::Relaxed))
                .sum();
            remarks.extend(keeper.as_mut().and_then(Keeper::write));
            if let Some(positions) = &mut positions {
                let at = shared.position.lock();
                let at = at.unwrap_or_else(PoisonError::into_inner).take();
                remarks.extend(at.and_then(|at| positions.note(at)));
            }
            watch(Progressed {
                events,
                elapsed: started.elapsed(),
            });
            thread::park_timeout(Duration::from_millis(20));
        }
        let elapsed = started.elapsed();
        drop(ended_tx);
        let checkpointed = match checkpoints {
            Some(handle) => handle.join().expect("checkpoints do not panic"),
            None => Ok(Vec::new()),
        };
        let mut read = None;
        let mut finished: Vec<Option<Finished>> = (0..shards).map(|_| None).collect();
        let mut failed: Option<(usize, ShardError)> = None;
        for handle in hot {
            let ended = handle.join().expect("a hot thread does not panic");
            read = read.or(ended.read);
            remarks.extend(ended.remarks);
            for (shard, result) in ended.shards {
                match result {
                    Ok(end) => finished[shard] = Some(end),
                    Err(error) if failed.as_ref().is_none_or(|(first, _)| shard < *first) => {
                        failed = Some((shard, error));
                    }
                    Err(_) => {}
                }
            }
        }
        remarks.extend(keeper.and_then(Keeper::finish));
        if let Some((shard, error)) = failed {
            return Err(PipelineError::Shard { shard, error });
        }
        let reader = read.expect("it ran: no shard failed");
        let reader = reader.map_err(PipelineError::Read)?;
        let finished = finished.into_iter().flatten().collect();
        if let Some(positions) = &mut positions {
            let at = shared.position.lock();
            let at = at.unwrap_or_else(PoisonError::into_inner).take();
            remarks.extend(at.and_then(|at| positions.add(at)));
        }
        remarks.extend(granted.about_pages());
        for remark in checkpointed? {
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        Ok(Outcome {
            reader,
            shards: finished,
            elapsed,
            is_stopped: stop.is_set(),
            log_backend,
            remarks,
            recovered_events,
        })
    })
}

/// What runs once the protocol is a type.
trait Typed {
    fn run<P: Protocol>(self, protocol: P) -> Ended;
}

/// What was decided at run time becomes a type here.
fn with_protocol(job: &Job<'_>, typed: impl Typed) -> Ended {
    // The reader moves the times of all protocols but ITCH, whose day alone says when it is.
    let midnight = job.day.midnight.plus_ns(-job.moved_ns);
    match job.wire {
        Wire::Itch => typed.run(Itch::new(job.day.midnight)),
        Wire::Iex => typed.run(Iex::new()),
        Wire::Lobster => typed.run(Lobster::new(midnight)),
        Wire::Dbn => typed.run(Dbn::new()),
        Wire::Mdp3 => typed.run(Mdp3::new()),
        Wire::Binance => typed.run(Binance::new()),
        Wire::Tardis => typed.run(Tardis::new()),
        Wire::Coinbase => typed.run(Coinbase::new()),
        Wire::Bitstamp => typed.run(Bitstamp::new()),
        Wire::Pitch => typed.run(Pitch::new(midnight)),
    }
}

fn spawn<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    body: impl FnOnce() -> Ended + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, Ended>, PipelineError> {
    let builder = thread::Builder::new().name(name.clone());
    let handle = builder.spawn_scoped(scope, body);
    handle.map_err(|e| PipelineError::Setup(format!("thread {name}: {e}")))
}

/// What is the same for all threads of a run.
struct Run<'a> {
    job: &'a Job<'a>,
    clock: &'a MachineClock,
    stop: &'a Stop,
    shared: &'a Shared,
    measure: Measure,
}

impl Clone for Run<'_> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Run<'_> {}

/// What a hot thread ends with.
#[derive(Default)]
struct Ended {
    /// Of the reader, if it ran here.
    read: Option<Result<ReaderStats, ReadError>>,
    /// Of the shards that ran here.
    shards: Vec<(usize, Result<Finished, ShardError>)>,
    remarks: Vec<String>,
}

/// The ends of the rings that a shard takes from.
type Ends = (Receiver, Receiver<Stamp>);
/// The ends that the reader fills.
type Starts = (Sender, Sender<Stamp>);

/// A core without a hot thread, or else the reader's, which waits for the shards more often than
/// they for it.
fn elsewhere(cpus: &[Option<usize>]) -> Option<usize> {
    let free = |cpu: &usize| !cpus.contains(&Some(*cpu));
    tuning::pin::allowed_cpus()
        .into_iter()
        .find(free)
        .or(cpus[0])
}

fn plan_cpus(config: &Config) -> Result<Vec<Option<usize>>, PipelineError> {
    let allowed = tuning::pin::allowed_cpus();
    if config.run.cpus.is_empty() {
        return Ok(tuning::pin::plan(&allowed, config.run.hot_threads()));
    }
    let can_be_had = |cpu: &usize| allowed.contains(cpu) || tuning::pin::can_pin(*cpu);
    if let Some(cpu) = config.run.cpus.iter().find(|cpu| !can_be_had(cpu)) {
        let error = tuning::pin::PinError { cpu: *cpu, allowed };
        return Err(PipelineError::Setup(error.to_string()));
    }
    Ok(config.run.cpus.iter().map(|&cpu| Some(cpu)).collect())
}

/// The first 64 bits of a text's SHA-256.
pub(crate) fn hash_of(text: &str) -> u64 {
    let hex = crate::run_dir::sha256(text.as_bytes());
    u64::from_str_radix(&hex[..16], 16).expect("sixteen hexadecimal digits")
}

/// The part of a shard that concludes, as the configuration says.
pub fn core(config: &Config, midnight: Ts, from: Option<Ts>) -> Result<Core, String> {
    let mut suite = config.suite();
    suite.scores = config.models.ready(config)?;
    Core::new(CoreConfig {
        midnight,
        from: from.unwrap_or(Ts::MIN),
        books: config.books(),
        suite,
        risk: config.risk_gate(),
        symbols_max: config.limits.symbols,
        groups: config.symbol_groups(),
        check: config.book.check,
        paper: config.paper(),
    })
    .map_err(|e| format!("reserving memory for the books: {e}"))
}
