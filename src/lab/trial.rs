//! One trial: a tape through the whole pipeline, as often as it takes to have measured for long
//! enough.
//!
//! An input that is shorter than the time to measure is played again. Books could not take the
//! same orders in twice, so each pass is a run of its own, with an empty state and a log of its
//! own, and the first part of each is warm-up and not counted:
//!
//! ```text
//! pass 1  |warm-up|======== measured ========|
//! pass 2                                       |warm-up|======== measured ========|   ...
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bus::clock::MachineClock;
use feed::protocol::Wire;

use super::host::{Counted, Disturbance, TwoClocks};
use super::source::{Scheduled, Sent};
use super::stall::{Stall, Stalling};
use super::tape::Tape;
use super::verdict::{self, Shown, Verdict};
use crate::config::Config;
use crate::latency::{Histogram, Latency, Measure, Stage};
use crate::pipeline::{self, Job, Outcome, Stop};
use crate::run_dir::{Part, RunDir};
use crate::session::TradingDay;

/// Single messages that a trial keeps with their parts.
const TRACES_MAX: usize = 200_000;
/// Slots of a trial, about.
const SLOTS: u64 = 120;
/// No slot is shorter, unless there would be fewer than these: whether a queue stood at the end is
/// seen in the last quarter, where the first packet, which never waits, must not be.
const SLOT_NS_MIN: u64 = 20_000_000;
const SLOTS_MIN: u64 = 4;
/// More passes than these would mostly measure how runs begin and end.
const PASSES_MAX: u64 = 200;
/// How often the machine's counts are read.
const LOOK: Duration = Duration::from_millis(200);

/// What to run, and for how long.
pub struct Plan<'a> {
    /// The input, with its schedule laid.
    pub tape: &'a Tape,
    /// Every setting.
    pub config: &'a Config,
    /// The trading day.
    pub day: &'a TradingDay,
    /// Where the runs lie while they run: the log's disk is part of what is measured.
    pub folder: &'a Path,
    /// Not counted at the start of each pass.
    pub warmup: Duration,
    /// To be measured, all passes together.
    pub duration: Duration,
    /// A stall on purpose.
    pub stall: Option<Stall>,
    /// Each so many batches one is stamped event by event.
    pub stamp_every: u32,
}

/// What a trial showed.
#[derive(Clone, Debug)]
pub struct Trial {
    /// All stages, all passes.
    pub latency: Latency,
    /// Total latencies by time, pass after pass.
    pub slots: Vec<Histogram>,
    /// How long a slot is.
    pub slot_ns: u64,
    /// What decides about the figures.
    pub shown: Shown,
    /// Whether they stand.
    pub verdict: Verdict,
    /// Why, or why not.
    pub reasons: Vec<String>,
    /// How often the input was played.
    pub passes: u32,
    /// How long was measured.
    pub measured: Duration,
    /// What every pass, or the sum of them, counted.
    pub counts: Counts,
    /// How records reached the disk, and what the pipeline had to say.
    pub log_backend: String,
    /// Remarks of the pipeline.
    pub remarks: Vec<String>,
}

/// What the pipeline counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages taken in.
    pub messages: u64,
    /// Events of all shards.
    pub events: u64,
    /// Signals.
    pub signals: u64,
    /// Orders sent.
    pub orders: u64,
}

impl Counts {
    fn of(outcome: &Outcome) -> Counts {
        let shards = outcome.shards.iter();
        Counts {
            messages: outcome.reader.messages,
            events: shards.clone().map(|s| s.counts.events).sum(),
            signals: shards
                .clone()
                .map(|s| s.counts.signals.iter().sum::<u64>())
                .sum(),
            orders: shards.map(|s| s.counts.sent).sum(),
        }
    }

    fn add(&mut self, other: Counts) {
        self.messages += other.messages;
        self.events += other.events;
        self.signals += other.signals;
        self.orders += other.orders;
    }
}

/// Runs a trial. `watch` is told how long it went on, and what it will take in all.
pub fn run(
    plan: &Plan<'_>,
    stop: &Stop,
    mut watch: impl FnMut(Duration, Duration),
) -> Result<Trial, String> {
    let length_ns = plan.tape.length_ns + 1;
    // Half of a short input is warm-up, and half of it counts.
    let warmup_ns = (plan.warmup.as_nanos() as u64).min(length_ns / 2);
    let duration_ns = plan.duration.as_nanos() as u64;
    let passes = duration_ns.div_ceil((length_ns - warmup_ns).max(1));
    if passes > PASSES_MAX {
        return Err(format!(
            "at this rate the input lasts {}: {passes} passes would be needed to measure {}; want a \
             longer input, a lower rate, or less to measure",
            crate::term::nanos(length_ns),
            crate::term::nanos(duration_ns)
        ));
    }
    let slot_ns = (duration_ns / SLOTS)
        .max(SLOT_NS_MIN.min(duration_ns / SLOTS_MIN))
        .max(1);
    let whole = Duration::from_nanos(passes_ns(length_ns, warmup_ns, duration_ns));
    let mut trial = Trial {
        latency: Latency::new(),
        slots: Vec::new(),
        slot_ns,
        shown: Shown::default(),
        verdict: Verdict::Invalid,
        reasons: Vec::new(),
        passes: 0,
        measured: Duration::ZERO,
        counts: Counts::default(),
        log_backend: String::new(),
        remarks: Vec::new(),
    };
    let clock = MachineClock::new();
    let two_clocks = TwoClocks::read(&clock);
    let mut left_ns = duration_ns;
    let mut worst = Disturbance::default();
    let mut usual: Option<(u64, Counts)> = None;
    let began = Instant::now();
    loop {
        let measured_ns = left_ns.min(length_ns - warmup_ns);
        let pass = Pass {
            plan,
            number: trial.passes,
            warmup_ns,
            measured_ns,
            slot_ns,
            traces_max: TRACES_MAX * measured_ns as usize / duration_ns.max(1) as usize + 1,
        };
        let ran = pass.run(&clock, stop, || watch(began.elapsed(), whole))?;
        trial.take_in(&ran, &mut worst);
        trial.measured += Duration::from_nanos(measured_ns);
        // Passes that were equally long must have counted the same.
        match usual {
            Some((ns, counts)) if ns == measured_ns => trial.shown.unequal |= counts != ran.counts,
            Some(_) => {}
            None => usual = Some((measured_ns, ran.counts)),
        }
        left_ns -= measured_ns;
        // A rest too short to be worth a pass of its own.
        if left_ns < duration_ns / 20 || left_ns == 0 {
            break;
        }
    }
    trial.shown.drift = two_clocks.drift(&TwoClocks::read(&clock));
    trial.shown.disturbance = worst;
    (trial.verdict, trial.reasons) = verdict::judge(&trial.shown);
    Ok(trial)
}

/// How long all passes take together.
fn passes_ns(length_ns: u64, warmup_ns: u64, duration_ns: u64) -> u64 {
    let each_ns = length_ns - warmup_ns;
    duration_ns + warmup_ns * duration_ns.div_ceil(each_ns).max(1)
}

struct Pass<'a> {
    plan: &'a Plan<'a>,
    number: u32,
    warmup_ns: u64,
    measured_ns: u64,
    slot_ns: u64,
    traces_max: usize,
}

/// What a pass left.
struct Ran {
    sent: Sent,
    latency: Latency,
    counts: Counts,
    dropped: u64,
    disturbance: Disturbance,
    log_backend: String,
    remarks: Vec<String>,
}

impl Pass<'_> {
    fn run(
        &self,
        clock: &MachineClock,
        stop: &Stop,
        mut watch: impl FnMut(),
    ) -> Result<Ran, String> {
        let plan = self.plan;
        let path: PathBuf = plan.folder.join(format!("pass-{}", self.number));
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let dir = RunDir::create(&path)?;
        let parts = [Part {
            shards: plan.config.run.shards,
            ..Part::default()
        }];
        let job = Job {
            config: plan.config,
            day: plan.day,
            dir: &dir,
            from: None,
            until: None,
            symbols: &[],
            parts: &parts,
            resume: false,
            is_live: false,
            goes_on: None,
            wire: Wire::Itch,
            moved_ns: 0,
        };
        let packets = plan.tape.packets() as u64;
        let stamped = packets / u64::from(plan.stamp_every);
        let measure = Measure {
            stamp_every: plan.stamp_every,
            warmup_ns: self.warmup_ns,
            span_ns: self.measured_ns,
            slot_ns: self.slot_ns,
            slots: self.measured_ns.div_ceil(self.slot_ns) as usize,
            traces_max: self.traces_max,
            trace_every: (stamped / self.traces_max as u64 + 1) as u32,
        };
        let span_ns = (self.warmup_ns, self.warmup_ns + self.measured_ns);
        let report = Mutex::new(Sent::default());
        let source = Scheduled::new(plan.tape, clock, span_ns, &report);
        let wrap = |gateway| Stalling::new(gateway, clock.clone(), plan.stall);
        let mut look = Look::new(self);
        let outcome = pipeline::run_measured(source, &job, clock, stop, measure, wrap, |done| {
            look.at(done.elapsed);
            watch();
        });
        let outcome = outcome.map_err(|e| e.to_string())?;
        // What is removed while something is measured holds that up; so it goes now, all of it.
        fs::remove_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if outcome.is_stopped {
            return Err(STOPPED.into());
        }
        let sent = *report.lock().unwrap_or_else(|e| e.into_inner());
        let pushed: u64 = outcome.reader.rings.iter().map(|ring| ring.events).sum();
        let counts = Counts::of(&outcome);
        let mut latency = Latency::measuring(Measure {
            traces_max: 0,
            ..measure
        });
        for shard in &outcome.shards {
            latency.merge(&shard.latency);
        }
        Ok(Ran {
            sent,
            latency,
            counts,
            dropped: sent.messages.saturating_sub(counts.messages)
                + pushed.saturating_sub(counts.events),
            disturbance: look.disturbance(),
            log_backend: outcome.log_backend,
            remarks: outcome.remarks,
        })
    }
}

/// What a trial says that was stopped by a signal.
pub const STOPPED: &str = "stopped by a signal";

/// Reads what the machine counts, from the end of the warm-up on.
struct Look {
    from: Duration,
    to: Duration,
    before: Option<Counted>,
    after: Option<Counted>,
    last: Duration,
}

impl Look {
    fn new(pass: &Pass<'_>) -> Look {
        Look {
            from: Duration::from_nanos(pass.warmup_ns),
            to: Duration::from_nanos(pass.warmup_ns + pass.measured_ns),
            before: None,
            after: None,
            last: Duration::ZERO,
        }
    }

    fn at(&mut self, elapsed: Duration) {
        if elapsed < self.from {
            return;
        }
        if self.before.is_none() {
            // The reader's thread is there a moment after the shards'.
            self.before = Some(Counted::now()).filter(Counted::has_threads);
            self.last = elapsed;
        } else if elapsed >= self.last + LOOK && elapsed <= self.to {
            let now = Counted::now();
            if now.has_threads() {
                self.after = Some(now);
            }
            self.last = elapsed;
        }
    }

    fn disturbance(&self) -> Disturbance {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => Disturbance::between(before, after),
            _ => Disturbance::default(),
        }
    }
}

impl Trial {
    fn take_in(&mut self, ran: &Ran, worst: &mut Disturbance) {
        self.passes += 1;
        self.latency.merge(&ran.latency);
        self.slots.extend_from_slice(ran.latency.slots());
        let shown = &mut self.shown;
        shown.packets += ran.sent.packets;
        let measured = ran.latency.stage(Stage::Total).count();
        shown.unmeasured += ran.sent.packets.saturating_sub(measured);
        shown.late += ran.sent.late;
        shown.late_ns_max = shown.late_ns_max.max(ran.sent.late_ns_max);
        shown.dropped += ran.dropped;
        // A queue that stood at the end of any pass stands for all of them.
        let floors = ran.latency.slots().iter();
        let floors: Vec<u64> = floors.filter_map(Histogram::min_ns).collect();
        if shown.floors_ns.is_empty() || verdict::standing(&floors).is_some() {
            shown.floors_ns = floors;
        }
        self.counts.add(ran.counts);
        worst.worsen(&ran.disturbance);
        self.log_backend.clone_from(&ran.log_backend);
        for remark in &ran.remarks {
            if !self.remarks.contains(remark) {
                self.remarks.push(remark.clone());
            }
        }
    }

    /// Messages concluded a second: fewer than were offered where a queue was left at the end.
    pub fn achieved(&self) -> f64 {
        let left_ns = self.shown.floors_ns.last().copied().unwrap_or(0);
        let count = self.latency.stage(Stage::Total).count();
        count as f64 / (self.measured.as_secs_f64() + left_ns as f64 / 1e9)
    }
}
