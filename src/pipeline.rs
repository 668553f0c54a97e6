//! The threads: one reader, one for each shard, and the caller's, which watches.
//!
//! Each hot thread calls `turn` in a loop and does nothing else; all that is decided at run time
//! (which disk, paced or not, live or not) became a type before the loop began.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bus::clock::{Clock, MachineClock};
use bus::disk::{self, Disk, RealDisk};
use bus::log::{End, Log, LogConfig, LogError, LogReader};
use bus::oms::{
    About, Encoder, File, FixConfig, Gateway, GatewayError, NewOrder, OrderId, Real, Several, Tcp,
    TcpConfig,
};
use bus::ring::{self, Receiver, Sender};
use bus::{Body, Signal, Ts};
use crossbeam_utils::CachePadded;
use feed::protocol::{Dbn, Iex, Lobster, Protocol, Wire};
use feed::reader::{ReadError, Reader, ReaderConfig, ReaderStats, Turned};
use feed::source::{Capture, Pace, Paced, Source, Speed};

use crate::config::{Backend, Config, Durability, InDoubt};
use crate::core::{Core, CoreConfig};
use crate::latency::Measure;
use crate::recovery::Recovery;
use crate::run_dir::{Part, RunDir};
use crate::savepoint::Origin;
use crate::session::TradingDay;
use crate::shard::{Finished, Parts, Shard, ShardConfig, ShardError, Stamp};

/// How many turns' stamps may wait for a shard. What does not fit is counted with the next that
/// does, so that the reader never waits for a measurement.
const STAMPS_MAX: usize = 1 << 16;

/// Set once by a signal or by the caller: end in order.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Set by SIGINT or SIGTERM; a second one ends the process at once. Ignores SIGXFSZ, so that a
/// file size limit is an error that can be said and not the end of the process.
pub fn watch_signals() -> std::io::Result<Stop> {
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The first signal sets the flag; with the flag set, the next one exits.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))?;
        signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
    }
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored)?;
    Ok(stop)
}

/// A speed as the feed wants it: a ratio of whole numbers.
pub fn paced_speed(times: f64) -> Speed {
    const SCALE: f64 = 10_000.0;
    let recorded = (times * SCALE).round().clamp(1.0, f64::from(u32::MAX)) as u32;
    let one = NonZeroU32::MIN;
    Speed::ratio(
        NonZeroU32::new(recorded).unwrap_or(one),
        NonZeroU32::new(SCALE as u32).unwrap_or(one),
    )
}

/// A source that knows when what it delivers was due.
pub trait Timed: Source {
    /// What maps capture times to the clock's; `None` while unknown, or for full speed.
    fn pace(&self) -> Option<Pace>;
}

impl Timed for Capture {
    fn pace(&self) -> Option<Pace> {
        None
    }
}

impl<C: Clock> Timed for Paced<Capture, C> {
    fn pace(&self) -> Option<Pace> {
        Paced::pace(self)
    }
}

/// A live source: packets are due when the kernel received them.
#[derive(Debug)]
pub struct Live<S> {
    inner: S,
    pace: Pace,
}

impl<S> Live<S> {
    /// Relates the time of day to `clock`, once.
    pub fn new(inner: S, clock: &impl Clock) -> Live<S> {
        let pace = Pace {
            start_ns: clock.now_ns(),
            first_ts: clock.wall(),
            speed: Speed::ONE,
        };
        Live { inner, pace }
    }
}

impl<S: Source> Source for Live<S> {
    fn poll(&mut self) -> Result<feed::source::Polled<'_>, feed::source::SourceError> {
        self.inner.poll()
    }

    fn lines(&self) -> &[feed::source::Line] {
        self.inner.lines()
    }
}

impl<S: Source> Timed for Live<S> {
    fn pace(&self) -> Option<Pace> {
        Some(self.pace)
    }
}

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
    /// What its messages are.
    pub wire: Wire,
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
    /// Whether a log or a state is damaged, so that trying again will not help.
    pub fn is_damage(&self) -> bool {
        matches!(self, PipelineError::Shard { error, .. } if error.is_damage())
    }
}

/// What all threads of a run share: read-mostly flags, each on its own cache line.
struct Shared {
    kill: CachePadded<AtomicBool>,
    failed: CachePadded<AtomicBool>,
    pace: OnceLock<Pace>,
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
    wrap: impl Fn(Several<Real>) -> G + Sync,
    mut watch: impl FnMut(Progressed),
) -> Result<Outcome, PipelineError> {
    let wrap = &wrap;
    let shards = job.config.run.shards;
    let cpus = plan_cpus(job.config)?;
    let granted = crate::host::ask(&job.config.host, &cpus);
    let shared = Shared {
        kill: CachePadded::new(AtomicBool::new(false)),
        failed: CachePadded::new(AtomicBool::new(false)),
        pace: OnceLock::new(),
        elsewhere: elsewhere(&cpus),
        fifo: granted.fifo,
        shards: (0..shards).map(|_| CachePadded::default()).collect(),
    };
    let shared = &shared;
    let mut remarks = granted.remarks.clone();
    if cpus.iter().all(Option::is_none) {
        remarks.push(format!(
            "{} threads on {} cores: not pinned, latencies are not comparable",
            shards + 1,
            tuning::pin::allowed_cpus().len()
        ));
    }
    thread::scope(|scope| {
        let (ready_tx, ready_rx) = mpsc::channel();
        let mut handles = Vec::with_capacity(shards);
        let (mut senders, mut stamp_senders) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let (event_tx, event_rx) = ring::ring(job.config.run.ring_events);
            let (stamp_tx, stamp_rx) = ring::ring(STAMPS_MAX);
            senders.push(event_tx);
            stamp_senders.push(stamp_tx);
            let (ready, cpu) = (ready_tx.clone(), cpus[shard + 1]);
            let body = move || {
                let rings = (event_rx, stamp_rx);
                let result =
                    shard_thread(shard, cpu, rings, job, clock, shared, ready, measure, wrap);
                if result.is_err() {
                    shared.failed.store(true, Ordering::Release);
                }
                result
            };
            let builder = thread::Builder::new().name(format!("shard-{shard}"));
            let handle = builder
                .spawn_scoped(scope, body)
                .map_err(|e| PipelineError::Setup(format!("thread of shard {shard}: {e}")))?;
            handles.push(handle);
        }
        drop(ready_tx);
        let mut resume_after = vec![0; shards];
        let mut last_ts = Ts::MIN;
        let mut log_backend = String::new();
        let mut recovered_events = 0;
        let mut is_ready = 0;
        // A shard that fails before it is ready drops its end of the channel and nothing more
        // comes; its error is found below.
        for ready in ready_rx.iter().take(shards) {
            let Ready {
                shard,
                last_seq,
                last_ts: ts,
                backend,
                remarks: said,
                events,
            } = ready;
            is_ready += 1;
            resume_after[shard] = last_seq;
            last_ts = last_ts.max(ts);
            log_backend = backend;
            recovered_events += events;
            remarks.extend(said);
        }
        if is_ready == shards {
            job.dir
                .mark_begun(job.part())
                .map_err(PipelineError::Setup)?;
        }
        let started = Instant::now();
        let reader_config = reader_config(job, resume_after, last_ts);
        let (reader_cpu, is_live, wire) = (cpus[0], job.is_live, job.wire);
        let reader_handle = thread::Builder::new()
            .name("reader".into())
            .spawn_scoped(scope, move || {
                let remark = reader_cpu.and_then(|cpu| tuning::pin::pin_to(cpu).err());
                let refused = shared.fifo.and_then(|p| tuning::realtime::fifo(p).err());
                let watched = Watched {
                    clock,
                    stop,
                    shared,
                    cpu: reader_cpu,
                    is_live,
                };
                // What was decided at run time becomes a type here.
                let result = match wire {
                    Wire::Itch => {
                        let reader = Reader::new(source, reader_config, senders);
                        reader_loop(reader, stamp_senders, &watched)
                    }
                    Wire::Iex => {
                        let iex = Iex::new();
                        let reader = Reader::with_protocol(source, iex, reader_config, senders);
                        reader_loop(reader, stamp_senders, &watched)
                    }
                    Wire::Lobster => {
                        let lobster = Lobster::new(reader_config.midnight);
                        let reader = Reader::with_protocol(source, lobster, reader_config, senders);
                        reader_loop(reader, stamp_senders, &watched)
                    }
                    Wire::Dbn => {
                        let dbn = Dbn::new();
                        let reader = Reader::with_protocol(source, dbn, reader_config, senders);
                        reader_loop(reader, stamp_senders, &watched)
                    }
                };
                (result, remark.map(|e| e.to_string()).or(refused))
            })
            .map_err(|e| PipelineError::Setup(format!("reader's thread: {e}")))?;
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
        let kill_file = job.config.risk.kill_file.as_deref();
        while !(reader_handle.is_finished() && handles.iter().all(|h| h.is_finished())) {
            if let Some(path) = kill_file {
                shared.kill.store(path.exists(), Ordering::Release);
            }
            let events = shared
                .shards
                .iter()
                .map(|shard| shard.events.load(Ordering::Relaxed))
                .sum();
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
        let (read, remark) = reader_handle.join().expect("the reader does not panic");
        remarks.extend(remark);
        let mut finished = Vec::with_capacity(shards);
        for (shard, handle) in handles.into_iter().enumerate() {
            let result = handle.join().expect("a shard does not panic");
            finished.push(result.map_err(|error| PipelineError::Shard { shard, error })?);
        }
        let reader = read.map_err(PipelineError::Read)?;
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

/// Makes checkpoints beside the running shards, from their logs, until the other end of `ended`
/// is gone. What to tell the user.
///
/// A checkpoint that cannot be written costs time after the next crash, and nothing else, so the
/// run goes on without. A log from which something else is concluded than the shard concluded is
/// another matter: then this machine or this program is not to be trusted, and nothing leaves it
/// any more.
fn make_checkpoints(
    job: &Job<'_>,
    shared: &Shared,
    every: Duration,
    ended: &mpsc::Receiver<()>,
) -> Result<Vec<String>, PipelineError> {
    if let Some(elsewhere) = shared.elsewhere {
        // Refused only where the core is gone; then it runs where the system likes.
        let _ = tuning::pin::pin_to(elsewhere);
    }
    let origin = job.origin();
    let mut remarks = Vec::new();
    let mut was_away = false;
    while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut is_away = false;
        for (shard, progress) in shared.shards.iter().enumerate() {
            let durable = progress.durable.load(Ordering::Acquire);
            let Some(&uuid) = progress.uuid.get() else {
                continue;
            };
            match origin.checkpoint(shard, uuid, durable) {
                Ok(None) => {}
                Ok(Some(made)) => {
                    remarks.extend(made.remarks);
                    let Some(policy) = job.config.log.retention() else {
                        continue;
                    };
                    // A tier that was just waited for in vain would be again, for each shard, and
                    // the next checkpoints with it.
                    if is_away {
                        continue;
                    }
                    // The older of the two checkpoints must find its log too.
                    let dir = job.dir.log_dir(job.part(), shard);
                    let now = SystemTime::now();
                    if let Err(error) = bus::log::retain(&dir, &policy, made.base_cell, now) {
                        let what = format!("no room made in the log of shard {shard}: {error}");
                        if !error.may_pass() {
                            remarks.push(what);
                            return Ok(remarks);
                        }
                        is_away = true;
                        if !was_away {
                            remarks.push(format!("{what}; tried again with each checkpoint"));
                        }
                        was_away = true;
                    }
                }
                Err(error @ ShardError::Diverged { .. }) => {
                    shared.kill.store(true, Ordering::Release);
                    shared.failed.store(true, Ordering::Release);
                    return Err(PipelineError::Shard { shard, error });
                }
                Err(_) if progress.is_ending.load(Ordering::Acquire) => return Ok(remarks),
                Err(error) => {
                    remarks.push(format!("no more checkpoints: shard {shard}: {error}"));
                    return Ok(remarks);
                }
            }
        }
    }
    Ok(remarks)
}

/// What a shard says once it can take events.
struct Ready {
    shard: usize,
    last_seq: u64,
    last_ts: Ts,
    backend: String,
    remarks: Vec<String>,
    events: u64,
}

#[allow(clippy::too_many_arguments)]
fn shard_thread<G: Gateway>(
    index: usize,
    cpu: Option<usize>,
    (events, stamps): (Receiver, Receiver<Stamp>),
    job: &Job<'_>,
    clock: &MachineClock,
    shared: &Shared,
    ready: mpsc::Sender<Ready>,
    measure: Measure,
    wrap: &impl Fn(Several<Real>) -> G,
) -> Result<Finished, ShardError> {
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
    let mut orders = Orders::open(job, index)?;
    let mut remarks = Vec::new();
    if let Some(error) = cpu.and_then(|cpu| tuning::pin::pin_to(cpu).err()) {
        remarks.push(error.to_string());
    }
    let fix = FixConfig {
        sender: config.orders.sender.clone(),
        target: config.orders.target.clone(),
        sender_sub: Some(format!("SHARD{index}")),
        account: None,
    };
    let mut encoder = Encoder::new(&fix).map_err(|e| setup(e.to_string()))?;
    let (year, month, day) = job.day.ymd();
    let shard_config = ShardConfig {
        date: bus::oms::Date { year, month, day },
        is_durable: config.log.durability == Durability::Durable,
        is_live: job.is_live,
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
    let kill = &*shared.kill;
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
    let kept_max = config.limits.symbols * (config.windows.0.len() + 4);
    let is_delivered = |id: &OrderId| delivered.binary_search(id).is_ok();
    let mut shard = Shard::new(shard_config, parts, kept_max, msg_seq, &is_delivered)?;
    let progress = &shared.shards[index];
    progress.uuid.get_or_init(|| shard.log_uuid());
    let events = shard.events_taken();
    // All threads that it needs were made before, and did not inherit the class.
    remarks.extend(
        shared
            .fifo
            .and_then(|priority| tuning::realtime::fifo(priority).err()),
    );
    // The receiver is gone only when the pipeline is being torn down.
    let _ = ready.send(Ready {
        shard: index,
        last_seq: shard.last_seq(),
        last_ts: shard.last_ts(),
        backend,
        remarks,
        events,
    });
    drop(ready);
    shard_loop(&mut shard, &shared.pace, progress, cpu)?;
    progress.is_ending.store(true, Ordering::Release);
    shard.finish()
}

/// How long a resumed run waits for the process before it to be gone.
const GONE_MAX: Duration = Duration::from_secs(3);

/// Opens something that a killed process held. The kernel may need a moment to take it from the
/// dead, after whoever killed it went on.
fn open_when_free<T, E>(
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

/// The hot loop of a shard.
fn shard_loop<D: Disk, G: Gateway, C: Clock>(
    shard: &mut Shard<'_, D, G, C>,
    pace: &OnceLock<Pace>,
    progress: &Progress,
    cpu: Option<usize>,
) -> Result<(), ShardError> {
    let mut is_paced = false;
    let mut rest = Rest::new(cpu);
    loop {
        // Also where there is always work: what is not known to be due when is not measured.
        if !is_paced && let Some(pace) = pace.get() {
            shard.set_pace(*pace);
            is_paced = true;
        }
        let work = shard.turn()?;
        if work > 0 {
            progress
                .events
                .store(shard.events_taken(), Ordering::Relaxed);
            progress
                .durable
                .store(shard.durable_upto(), Ordering::Release);
            continue;
        }
        if shard.is_done() {
            progress
                .events
                .store(shard.events_taken(), Ordering::Relaxed);
            return Ok(());
        }
        rest.rest();
    }
}

/// How long a live run that is stopped goes on taking what its feed brings.
const DRAIN_NS_MAX: u64 = 1_000_000_000;

/// The hot loop of the reader.
/// What the reader's loop looks at besides the reader.
struct Watched<'a> {
    clock: &'a MachineClock,
    stop: &'a Stop,
    shared: &'a Shared,
    cpu: Option<usize>,
    is_live: bool,
}

fn reader_loop<S: Timed, P: Protocol>(
    mut reader: Reader<S, P>,
    mut stamps: Vec<Sender<Stamp>>,
    watched: &Watched<'_>,
) -> Result<ReaderStats, ReadError> {
    let &Watched {
        clock,
        stop,
        shared,
        cpu,
        is_live,
    } = watched;
    let mut last_seq = vec![0; stamps.len()];
    let mut unstamped = vec![0u32; stamps.len()];
    let mut is_paced = false;
    let mut rest = Rest::new(cpu);
    let (mut was_empty, mut stopped_ns) = (false, None);
    loop {
        let read_ns = clock.now_ns();
        if stop.is_set() {
            let since_ns = read_ns - *stopped_ns.get_or_insert(read_ns);
            if !is_live {
                // It can go on later, so it must not conclude as if this were the end.
                reader.halt();
            } else if was_empty || since_ns > DRAIN_NS_MAX {
                // What the kernel had received by then is taken first.
                reader.finish();
            }
        }
        match reader.turn()? {
            Turned::Worked { messages } => {
                if !is_paced && let Some(pace) = reader.source().pace() {
                    let _ = shared.pace.set(pace);
                    is_paced = true;
                }
                let pushed_ns = clock.now_ns();
                for (shard, stamps) in stamps.iter_mut().enumerate() {
                    let seq = reader.last_pushed(shard).unwrap_or(0);
                    if seq > last_seq[shard] {
                        last_seq[shard] = seq;
                        let stamp = Stamp {
                            seq,
                            read_ns,
                            pushed_ns,
                            messages: unstamped[shard].saturating_add(messages as u32).max(1),
                        };
                        unstamped[shard] = match stamps.push(&[stamp]) {
                            0 => stamp.messages,
                            _ => 0,
                        };
                    }
                }
            }
            Turned::Empty => {
                was_empty = true;
                rest.rest();
                if shared.failed.load(Ordering::Relaxed) {
                    return Ok(reader.stats());
                }
                continue;
            }
            Turned::Full => {
                if shared.failed.load(Ordering::Acquire) {
                    return Ok(reader.stats());
                }
                rest.rest_long();
            }
            Turned::Ended => return Ok(reader.stats()),
        }
        was_empty = false;
        if shared.failed.load(Ordering::Relaxed) {
            return Ok(reader.stats());
        }
    }
}

/// What a hot thread does when it has nothing to do.
///
/// A thread on an isolated core only spins. Elsewhere it also yields now and then, even when it is
/// pinned: the kernel's own workers, which make the log durable, need a core too, and a thread that
/// only spins keeps them from it for whole time slices. A yield that finds nobody costs less than
/// a microsecond.
struct Rest {
    is_isolated: bool,
    turns: u32,
}

impl Rest {
    const SPINS: u32 = 8;

    fn new(cpu: Option<usize>) -> Rest {
        Rest {
            is_isolated: cpu.is_some_and(tuning::host::is_isolated),
            turns: 0,
        }
    }

    /// Rests while a full ring empties. Each look at the ring takes a cache line from the shard
    /// that is to empty it, and a full ring is a millisecond's work.
    #[cold]
    fn rest_long(&mut self) {
        for _ in 0..256 {
            std::hint::spin_loop();
        }
        self.rest();
    }

    #[inline]
    fn rest(&mut self) {
        self.turns = self.turns.wrapping_add(1);
        if self.is_isolated || !self.turns.is_multiple_of(Rest::SPINS) {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

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
        return Ok(tuning::pin::plan(&allowed, config.run.shards));
    }
    let can_be_had = |cpu: &usize| allowed.contains(cpu) || tuning::pin::can_pin(*cpu);
    if let Some(cpu) = config.run.cpus.iter().find(|cpu| !can_be_had(cpu)) {
        let error = tuning::pin::PinError { cpu: *cpu, allowed };
        return Err(PipelineError::Setup(error.to_string()));
    }
    Ok(config.run.cpus.iter().map(|&cpu| Some(cpu)).collect())
}

fn reader_config(job: &Job<'_>, resume_after: Vec<u64>, last_ts: Ts) -> ReaderConfig {
    let config = job.config;
    let gaps = &config.source.gaps;
    let symbols = (!job.symbols.is_empty()).then(|| job.symbols.iter().cloned().collect());
    let mut reader = ReaderConfig::new(job.day.midnight);
    reader.tick_ns = config.time.tick.0;
    reader.out_of_order_ns = config.time.out_of_order.0;
    reader.max_future_ns = config.time.max_future.0;
    reader.symbols = symbols;
    reader.until = job.until;
    if job.is_live && job.resume {
        let last_seq = resume_after.iter().copied().max().unwrap_or(0);
        reader.after_stop = Some((last_seq, last_ts.max(job.day.midnight)));
    } else {
        reader.resume_after = resume_after;
    }
    reader.gaps.wait_ns = gaps.wait.0;
    reader.gaps.reorder_max = gaps.reorder_packets;
    reader.gaps.hold_packets = gaps.hold_packets as usize;
    reader.end_at_session_end = job.is_live && config.source.end_at_session_end;
    reader
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

/// The first 64 bits of a text's SHA-256.
pub(crate) fn hash_of(text: &str) -> u64 {
    let hex = crate::run_dir::sha256(text.as_bytes());
    u64::from_str_radix(&hex[..16], 16).expect("sixteen hexadecimal digits")
}

/// The part of a shard that concludes, as the configuration says.
pub fn core(config: &Config, midnight: Ts, from: Option<Ts>) -> Result<Core, String> {
    Core::new(CoreConfig {
        midnight,
        from: from.unwrap_or(Ts::MIN),
        books: config.books(),
        suite: config.suite(),
        risk: config.risk_gate(),
        symbols_max: config.limits.symbols,
    })
    .map_err(|e| format!("reserving memory for the books: {e}"))
}

/// Where a shard's orders go, and which of them are there already.
struct Orders {
    file: Option<File>,
    tcp: Option<Tcp>,
    delivered: Vec<OrderId>,
    msg_seq_last: u64,
    policy: InDoubt,
}

impl Orders {
    fn open(job: &Job<'_>, shard: usize) -> Result<Orders, ShardError> {
        let config = &job.config.orders;
        let (mut file, mut tcp) = (None, None);
        let (mut delivered, mut msg_seq_last) = (Vec::new(), 0);
        if config.file {
            let path = job.dir.orders_path(shard);
            let folder = path.parent().expect("it is in the run directory");
            std::fs::create_dir_all(folder)
                .map_err(|e| ShardError::Setup(format!("{}: {e}", folder.display())))?;
            if job.resume {
                let resumed =
                    open_when_free(true, || File::resume(&path), GatewayError::is_in_use)?;
                (delivered, msg_seq_last) = (resumed.ids, resumed.msg_seq_last);
                bus::failpoint!("orders-resumed");
                file = Some(resumed.file);
                // With another number of shards, orders of these symbols went to other files.
                let shards_max = job.parts.iter().map(|part| part.shards).max().unwrap_or(0);
                for other in (0..shards_max).filter(|other| *other != shard && job.part() > 0) {
                    delivered.extend(File::ids(&job.dir.orders_path(other))?);
                }
            } else {
                file = Some(File::create(&path)?);
            }
        }
        if let Some(address) = &config.tcp {
            // With a second peer, one peer's word does not say what the other got.
            delivered.clear();
            tcp = Some(Tcp::connect(&TcpConfig {
                address: address.clone(),
                connect_max: Duration::from_secs(5),
                stall_max: Duration::from_secs(10),
                waiting_bytes_max: 1 << 20,
            })?);
        }
        delivered.sort_unstable();
        Ok(Orders {
            file,
            tcp,
            delivered,
            msg_seq_last,
            policy: config.in_doubt,
        })
    }

    /// Finds out about orders in doubt, as the configuration says, before anything new leaves.
    fn settle(
        &mut self,
        state: &Recovery,
        encoder: &mut Encoder,
        config: &ShardConfig,
        clock: &MachineClock,
    ) -> Result<(), ShardError> {
        let id_of = |order: &Signal| OrderId::of(config.date, order);
        let is_open = |id: &OrderId| self.delivered.binary_search(id).is_err();
        let orders = state.in_doubt().map(|order| (id_of(order), *order));
        let open: Vec<(OrderId, Signal)> = orders.filter(|(id, _)| is_open(id)).collect();
        if open.is_empty() {
            return Ok(());
        }
        match (self.policy, &mut self.tcp) {
            (InDoubt::Possresend | InDoubt::Cancel, _) | (InDoubt::Query, None) => Ok(()),
            (InDoubt::Halt, _) => Err(ShardError::InDoubt {
                ids: open.iter().map(|(id, _)| id.to_string()).collect(),
            }),
            (InDoubt::Query, Some(tcp)) => {
                self.msg_seq_last = self.msg_seq_last.max(state.msg_seq());
                for (id, order) in &open {
                    let Some(Body::Order(body)) = order.body() else {
                        unreachable!("only orders are in doubt");
                    };
                    self.msg_seq_last += 1;
                    let about = NewOrder {
                        msg_seq: self.msg_seq_last,
                        sending_time: match config.is_live {
                            true => clock.wall(),
                            false => order.ts_event,
                        },
                        id,
                        symbol: state.core().name(order.symbol),
                        order: &body,
                        transact_time: order.ts_event,
                        poss_resend: false,
                    };
                    tcp.ask(id, encoder.encode_about(About::Status, &about))?;
                }
                let known = tcp.answers(ANSWERS_MAX)?;
                self.delivered.extend(known);
                self.delivered.sort_unstable();
                Ok(())
            }
        }
    }

    fn gateway(self) -> Several<Real> {
        let file = self.file.map(Real::File);
        Several::new(file.into_iter().chain(self.tcp.map(Real::Tcp)).collect())
    }
}

/// How long the peer may take to say what it knows of orders in doubt.
const ANSWERS_MAX: Duration = Duration::from_secs(10);
