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
use feed::arbiter::RecoveryRule;
use feed::protocol::{Binance, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Wire};
use feed::reader::{ReadError, Reader, ReaderConfig, ReaderStats, Turned};
use feed::retransmit::{AskCounts, Asked, Missing};
use feed::source::{Capture, Pace, Paced, Polled, Source, SourceError, Speed};

use crate::config::{Backend, Config, Durability, InDoubt, Model};
use crate::core::{Core, CoreConfig};
use crate::latency::Measure;
use crate::recovery::Recovery;
use crate::rest::{Rest, Room};
use crate::run_dir::{Part, RunDir};
use crate::savepoint::Origin;
use crate::session::TradingDay;
use crate::shard::{Finished, Parts, Shard, ShardConfig, ShardError, Stamp};

/// How many turns' stamps may wait for a shard. What does not fit is counted with the next that
/// does, so that the reader never waits for a measurement.
const STAMPS_MAX: usize = 1 << 16;

/// How often the clock and the time of day are read to relate them.
const CLOCK_READINGS: usize = 16;

/// What a ring holds where the reader and the shards take turns on one thread: a few turns' events,
/// so that they stay in the core's nearest cache.
const TURN_EVENTS_MAX: usize = 512;

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

/// Set by SIGINT, SIGTERM or SIGHUP, the terminal's end; a second one ends the process at once. Under
/// `nohup` SIGHUP stays ignored. Ignores SIGXFSZ, so that a file size limit is an error that can be
/// said and not the end of the process.
pub fn watch_signals() -> std::io::Result<Stop> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Stop::default();
    let all = [SIGINT, SIGTERM, SIGHUP];
    // A shell without job control has SIGINT ignored by what it starts in the background; whoever
    // sends it there means it.
    let is_wanted = |signal: &i32| *signal != SIGHUP || !is_ignored(SIGHUP);
    for signal in all.into_iter().filter(is_wanted) {
        // The first signal sets the flag; with the flag set, the next one exits.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))?;
        signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
    }
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored)?;
    Ok(stop)
}

/// Whether whoever started the program had this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
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

    /// By the clock, when the first packet since the last call was received; `None` for sources
    /// that have their packets at hand.
    fn received_ns(&mut self) -> Option<u64> {
        None
    }
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
    clock: MachineClock,
    received_ns: Option<u64>,
}

impl<S> Live<S> {
    /// Relates the time of day to `clock`, once.
    pub fn new(inner: S, clock: &MachineClock) -> Live<S> {
        // Of several readings the one that took least: in the midst of any of them the thread can be
        // taken off its core, and all latencies would be off by as much.
        let reading = |_| {
            let before_ns = clock.now_ns();
            let first_ts = clock.wall();
            let took_ns = clock.now_ns() - before_ns;
            (took_ns, before_ns + took_ns / 2, first_ts)
        };
        let readings = (0..CLOCK_READINGS).map(reading);
        let (_, start_ns, first_ts) = readings.min().expect("there are some");
        let pace = Pace {
            start_ns,
            first_ts,
            speed: Speed::ONE,
        };
        Live {
            inner,
            pace,
            clock: clock.clone(),
            received_ns: None,
        }
    }
}

impl<S: Source> Source for Live<S> {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let polled = self.inner.poll()?;
        if self.received_ns.is_none() && matches!(polled, Polled::Packet(_)) {
            self.received_ns = Some(self.clock.now_ns());
        }
        Ok(polled)
    }

    fn lines(&self) -> &[feed::source::Line] {
        self.inner.lines()
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> Asked {
        self.inner.recover(missing, only_answers)
    }

    fn dropped(&self) -> Vec<u64> {
        self.inner.dropped()
    }

    fn asked(&self) -> Option<AskCounts> {
        self.inner.asked()
    }
}

impl<S: Source> Timed for Live<S> {
    fn pace(&self) -> Option<Pace> {
        Some(self.pace)
    }

    fn received_ns(&mut self) -> Option<u64> {
        self.received_ns.take()
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
    wrap: impl Fn(Several<Real>) -> G + Sync,
    mut watch: impl FnMut(Progressed),
) -> Result<Outcome, PipelineError> {
    let wrap = &wrap;
    let shards = job.config.run.shards;
    let cpus = plan_cpus(job.config)?;
    let granted = crate::host::ask(&job.config.host, &cpus);
    let mut remarks = granted.remarks.clone();
    remarks.extend(Room::remark(&cpus));
    let shared = Shared {
        kill: CachePadded::new(AtomicBool::new(false)),
        failed: CachePadded::new(AtomicBool::new(false)),
        pace: OnceLock::new(),
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
                let midnight = job.day.midnight;
                let body = move || match run.job.wire {
                    Wire::Itch => {
                        let itch = Itch::new(midnight);
                        one_thread(&run, itch, source, senders, ends, ready, wrap)
                    }
                    Wire::Iex => one_thread(&run, Iex::new(), source, senders, ends, ready, wrap),
                    Wire::Lobster => {
                        let lobster = Lobster::new(midnight);
                        one_thread(&run, lobster, source, senders, ends, ready, wrap)
                    }
                    Wire::Dbn => one_thread(&run, Dbn::new(), source, senders, ends, ready, wrap),
                    Wire::Mdp3 => one_thread(&run, Mdp3::new(), source, senders, ends, ready, wrap),
                    Wire::Binance => {
                        one_thread(&run, Binance::new(), source, senders, ends, ready, wrap)
                    }
                    Wire::Pitch => {
                        let pitch = Pitch::new(midnight);
                        one_thread(&run, pitch, source, senders, ends, ready, wrap)
                    }
                };
                hot.push(spawn(scope, "one".into(), body)?);
            }
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
        if is_ready == shards && job.config.run.model == Model::Pipeline {
            job.dir
                .mark_begun(job.part())
                .map_err(PipelineError::Setup)?;
        }
        let started = Instant::now();
        if let (Some(source), Some(senders)) = (source, senders) {
            let midnight = job.day.midnight;
            // What was decided at run time becomes a type here.
            let body = move || match run.job.wire {
                Wire::Itch => {
                    let itch = Itch::new(midnight);
                    reader_thread(Reading::new(
                        &run,
                        itch,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Iex => {
                    let iex = Iex::new();
                    reader_thread(Reading::new(
                        &run,
                        iex,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Lobster => {
                    let lobster = Lobster::new(midnight);
                    reader_thread(Reading::new(
                        &run,
                        lobster,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Dbn => {
                    let dbn = Dbn::new();
                    reader_thread(Reading::new(
                        &run,
                        dbn,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Mdp3 => {
                    let mdp3 = Mdp3::new();
                    reader_thread(Reading::new(
                        &run,
                        mdp3,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Binance => {
                    let binance = Binance::new();
                    reader_thread(Reading::new(
                        &run,
                        binance,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
                Wire::Pitch => {
                    let pitch = Pitch::new(midnight);
                    reader_thread(Reading::new(
                        &run,
                        pitch,
                        source,
                        senders,
                        resume_after,
                        last_ts,
                    ))
                }
            };
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
        let kill_file = job.config.risk.kill_file.as_deref();
        while !hot.iter().all(|handle| handle.is_finished()) {
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
        if let Some((shard, error)) = failed {
            return Err(PipelineError::Shard { shard, error });
        }
        let reader = read.expect("it ran: no shard failed");
        let reader = reader.map_err(PipelineError::Read)?;
        let finished = finished.into_iter().flatten().collect();
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

fn spawn<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    body: impl FnOnce() -> Ended + Send + 'scope,
) -> Result<thread::ScopedJoinHandle<'scope, Ended>, PipelineError> {
    let builder = thread::Builder::new().name(name.clone());
    let handle = builder.spawn_scoped(scope, body);
    handle.map_err(|e| PipelineError::Setup(format!("thread {name}: {e}")))
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
/// A shard as it runs.
type Running<'a, G> = Shard<'a, RealDisk, G, &'a MachineClock>;

/// One shard, and nothing else.
fn shard_thread<G: Gateway>(
    run: &Run<'_>,
    index: usize,
    ends: Ends,
    ready: mpsc::Sender<Ready>,
    wrap: &impl Fn(Several<Real>) -> G,
) -> Ended {
    let cpu = run.shared.cpus[index + 1];
    let body = || {
        let mut shard = open_shard(run, index, cpu, ends, &ready, wrap)?;
        // If another shard fails, nobody waits for more of these.
        drop(ready);
        let mut rest = Rest::new(&run.shared.cpus, cpu);
        let mut is_paced = false;
        loop {
            match run.step(index, &mut shard, &mut is_paced)? {
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

/// The reader, and nothing else.
fn reader_thread<S: Timed, P: Protocol>(mut reading: Reading<'_, S, P>) -> Ended {
    let shared = reading.run.shared;
    let cpu = shared.cpus[0];
    let remark = cpu.and_then(|cpu| tuning::pin::pin_to(cpu).err());
    let refused = shared.fifo.and_then(|p| tuning::realtime::fifo(p).err());
    let mut rest = Rest::new(&shared.cpus, cpu);
    let mut body = || {
        loop {
            match reading.turn()? {
                Turned::Worked { .. } => rest.over(),
                Turned::Empty => rest.rest(reading.now_ns, || true),
                Turned::Full => rest.rest_long(reading.now_ns),
                Turned::Ended => break,
            }
            if shared.failed.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(reading.reader.stats())
    };
    Ended {
        read: Some(body()),
        remarks: remark
            .map(|e| e.to_string())
            .or(refused)
            .into_iter()
            .collect(),
        ..Ended::default()
    }
}

/// The reader and all shards in turns, so that what a packet says is concluded, and its order
/// sent, before the next packet is asked for. The rings are those of threads, and lie in this
/// core's cache.
fn one_thread<S: Timed, P: Protocol, G: Gateway>(
    run: &Run<'_>,
    protocol: P,
    source: S,
    starts: Vec<Starts>,
    ends: Vec<Ends>,
    ready: mpsc::Sender<Ready>,
    wrap: &impl Fn(Several<Real>) -> G,
) -> Ended {
    let shared = run.shared;
    let cpu = shared.cpus[0];
    let mut ended = Ended::default();
    let mut shards: Vec<Option<Running<'_, G>>> = Vec::with_capacity(ends.len());
    let mut resume_after = Vec::with_capacity(ends.len());
    let mut last_ts = Ts::MIN;
    for (index, ends) in ends.into_iter().enumerate() {
        match open_shard(run, index, cpu, ends, &ready, wrap) {
            Ok(shard) => {
                resume_after.push(shard.last_seq());
                last_ts = last_ts.max(shard.last_ts());
                shards.push(Some(shard));
            }
            Err(error) => {
                shared.failed.store(true, Ordering::Release);
                ended.shards.push((index, Err(error)));
                shards.push(None);
            }
        }
    }
    drop(ready);
    if ended.shards.is_empty()
        && let Err(what) = run.job.dir.mark_begun(run.job.part())
    {
        shared.failed.store(true, Ordering::Release);
        ended.shards.push((0, Err(ShardError::Setup(what))));
        shards[0] = None;
    }
    // Without one of its shards nothing is read, and the others end in order.
    let mut reading = None;
    if ended.shards.is_empty() {
        reading = Some(Reading::new(
            run,
            protocol,
            source,
            starts,
            resume_after,
            last_ts,
        ));
    } else {
        drop(starts);
    }
    let mut rest = Rest::new(&shared.cpus, cpu);
    let mut is_paced = vec![false; shards.len()];
    loop {
        let mut has_worked = false;
        let mut now_ns = None;
        if let Some(reader) = &mut reading {
            let turned = reader.turn();
            now_ns = Some(reader.now_ns);
            let end = match turned {
                Ok(Turned::Worked { .. }) => {
                    has_worked = true;
                    None
                }
                Ok(Turned::Empty | Turned::Full) => None,
                Ok(Turned::Ended) => Some(Ok(reader.reader.stats())),
                Err(error) => Some(Err(error)),
            };
            let is_failed = shared.failed.load(Ordering::Relaxed);
            if let Some(end) = end.or_else(|| is_failed.then(|| Ok(reader.reader.stats()))) {
                ended.read = Some(end);
                // With it go its ends of the rings, so that the shards know.
                reading = None;
            }
        }
        for (index, place) in shards.iter_mut().enumerate() {
            let Some(shard) = place else { continue };
            match run.step(index, shard, &mut is_paced[index]) {
                Ok(Step::Worked) => has_worked = true,
                Ok(Step::Idle) => now_ns = now_ns.or(Some(shard.now_ns())),
                Ok(Step::Done) => {
                    let result = place.take().map(|shard| run.finish(index, shard));
                    ended.shards.extend(result.map(|result| (index, result)));
                }
                Err(error) => {
                    shared.failed.store(true, Ordering::Release);
                    ended.shards.push((index, Err(error)));
                    *place = None;
                }
            }
        }
        if reading.is_none() && shards.iter().all(Option::is_none) {
            return ended;
        }
        match has_worked {
            true => rest.over(),
            false => rest.rest(now_ns.unwrap_or(0), || true),
        }
    }
}

/// What came of one turn of a shard.
enum Step {
    Worked,
    Idle,
    Done,
}

impl Run<'_> {
    /// One turn of a shard, and what the other threads want to know of it.
    #[inline]
    fn step<D: Disk, G: Gateway, C: Clock>(
        &self,
        index: usize,
        shard: &mut Shard<'_, D, G, C>,
        is_paced: &mut bool,
    ) -> Result<Step, ShardError> {
        let progress = &*self.shared.shards[index];
        // Before the turn: a shard that is never idle would count nothing.
        if !*is_paced && let Some(pace) = self.shared.pace.get() {
            shard.set_pace(*pace);
            *is_paced = true;
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

    fn finish<D: Disk, G: Gateway, C: Clock>(
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
fn open_shard<'a, G: Gateway>(
    run: &Run<'a>,
    index: usize,
    cpu: Option<usize>,
    (events, stamps): Ends,
    ready: &mpsc::Sender<Ready>,
    wrap: &impl Fn(Several<Real>) -> G,
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
        last_seq: shard.last_seq(),
        last_ts: shard.last_ts(),
        backend,
        remarks,
        events,
    });
    Ok(shard)
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

/// How long a live run that is stopped goes on taking what its feed brings.
const DRAIN_NS_MAX: u64 = 1_000_000_000;

/// The reader, with what belongs to its turns.
struct Reading<'a, S, P> {
    run: Run<'a>,
    reader: Reader<S, P>,
    stamps: Vec<Sender<Stamp>>,
    /// By shard: the last event that was stamped, and messages whose stamps found no room.
    last_seq: Vec<u64>,
    unstamped: Vec<u32>,
    is_paced: bool,
    was_empty: bool,
    stopped_ns: Option<u64>,
    /// When its last turn began.
    now_ns: u64,
}

impl<'a, S: Timed, P: Protocol> Reading<'a, S, P> {
    fn new(
        run: &Run<'a>,
        protocol: P,
        source: S,
        starts: Vec<Starts>,
        resume_after: Vec<u64>,
        last_ts: Ts,
    ) -> Reading<'a, S, P> {
        let (senders, stamps): (Vec<Sender>, Vec<Sender<Stamp>>) = starts.into_iter().unzip();
        let config = reader_config(run.job, resume_after, last_ts);
        Reading {
            run: *run,
            last_seq: vec![0; stamps.len()],
            unstamped: vec![0; stamps.len()],
            reader: Reader::with_protocol(source, protocol, config, senders),
            stamps,
            is_paced: false,
            was_empty: false,
            stopped_ns: None,
            now_ns: 0,
        }
    }

    /// One turn of the reader, and its stamps.
    #[inline]
    fn turn(&mut self) -> Result<Turned, ReadError> {
        self.now_ns = self.run.clock.now_ns();
        if self.run.stop.is_set() {
            self.end();
        }
        let turned = self.reader.take()?;
        self.was_empty = turned == Turned::Empty;
        if let Turned::Worked { messages } = turned {
            if !self.is_paced
                && let Some(pace) = self.reader.source().pace()
            {
                let _ = self.run.shared.pace.set(pace);
                self.is_paced = true;
            }
            let received_ns = self.reader.source_mut().received_ns();
            let read_ns = received_ns.unwrap_or(self.now_ns);
            // From here on they are on their way to the shards.
            let pushed_ns = self.run.clock.now_ns();
            self.reader.push();
            self.stamp(read_ns, pushed_ns, messages as u32);
        }
        Ok(turned)
    }

    #[inline]
    fn stamp(&mut self, read_ns: u64, pushed_ns: u64, messages: u32) {
        for (shard, stamps) in self.stamps.iter_mut().enumerate() {
            let seq = self.reader.last_pushed(shard).unwrap_or(0);
            if seq > self.last_seq[shard] {
                self.last_seq[shard] = seq;
                let stamp = Stamp {
                    seq,
                    read_ns,
                    pushed_ns,
                    messages: self.unstamped[shard].saturating_add(messages).max(1),
                };
                self.unstamped[shard] = match stamps.push(&[stamp]) {
                    0 => stamp.messages,
                    _ => 0,
                };
            }
        }
    }

    /// Somebody asked for the end.
    #[cold]
    fn end(&mut self) {
        let since_ns = self.now_ns - *self.stopped_ns.get_or_insert(self.now_ns);
        if !self.run.job.is_live {
            // It can go on later, so it must not conclude as if this were the end.
            self.reader.halt();
        } else if (self.was_empty && !self.reader.is_recovering()) || since_ns > DRAIN_NS_MAX {
            // What the kernel had received by then is taken first, and what was asked for.
            self.reader.finish();
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
        return Ok(tuning::pin::plan(&allowed, config.run.hot_threads()));
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
    let retransmit = &config.source.retransmit;
    if job.is_live && retransmit.server.is_some() {
        reader.gaps.recovery = Some(RecoveryRule {
            // Its answers come as the line behind the others.
            line: config.source.lines.len() as u8,
            messages_max: retransmit.messages_max,
            // Where a run goes on, its own beginning is not to come again.
            is_from_first: retransmit.from_first && !job.resume,
        });
    }
    // A run that goes on says so with a gap of its own.
    reader.gaps.is_join_loss = job.is_live && !job.resume;
    reader.end_at_session_end = job.is_live && config.source.end_at_session_end;
    if job.is_live && config.run.model == Model::RunToCompletion {
        // To completion, before the next is asked for.
        reader.turn_packets_max = 1;
    }
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
