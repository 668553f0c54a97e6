//! Tells calm from normal from stressed, by the volatility of the mid price.
//!
//! The mid is sampled on a grid of event time; each sample holds the mid as it was just before
//! its time, so that it does not matter whether an event or a tick shows that the time has come.
//! Exponentially weighted means of the squared returns are kept: a fast one, which is the
//! estimate, and a slow one, which is the symbol's own baseline and to which a fast one that
//! single jumps cannot move far is compared.
//!
//! A calm symbol whose mid does not move sleeps: nothing could change, so no tick visits it. The
//! samples it slept through count as returns of zero when it wakes.
//!
//! Nor does a tick visit one of which it can be foreseen that the verdict stays: one return lifts the
//! level by no more than it counts for, and while the mid rests the level falls by a known share with
//! each sample at most. Its samples are taken when something happens to it, one by one as if a tick
//! had come for each, so that the bits are the same.

use bus::signal::{Body, Regime as Change, Volatility};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Ts};

use crate::intent::Intents;
use crate::number::{double_mid, half_to_the, power};
use crate::suite::{Analytic, Moment};
use crate::view::View;

/// How to tell the regimes apart.
#[derive(Clone, Debug, PartialEq)]
pub struct RegimeConfig {
    /// How often the mid price is sampled.
    pub sample_ns: i64,
    /// Half-life of the estimate.
    pub half_life_ns: i64,
    /// Half-life of the baseline.
    pub baseline_ns: i64,
    /// Samples before the first verdict.
    pub warmup_samples: u32,
    /// What the thresholds are measured in.
    pub measure: Measure,
    /// Stressed above this.
    pub stressed: f64,
    /// Calm below this.
    pub calm: f64,
    /// How far back beyond a threshold, as a share of it, the volatility must come to leave a
    /// state: with 0.2, stressed above 2 ends below 1.6.
    pub hysteresis: f64,
    /// The baseline is taken as at least this, in basis points per square root of a second, so
    /// that the first move of a symbol that never moves is not a storm.
    pub floor_bps: f64,
}

/// What the thresholds of a regime are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Multiples of the symbol's own baseline.
    Baseline,
    /// Basis points per square root of a second.
    Absolute,
}

impl Default for RegimeConfig {
    fn default() -> RegimeConfig {
        RegimeConfig {
            sample_ns: Ts::SECOND_NS / 4,
            half_life_ns: 2 * Ts::SECOND_NS,
            baseline_ns: 30 * Ts::SECOND_NS,
            warmup_samples: 20,
            measure: Measure::Baseline,
            stressed: 2.0,
            calm: 0.5,
            hysteresis: 0.2,
            floor_bps: 0.2,
        }
    }
}

impl RegimeConfig {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.sample_ns <= 0 || self.half_life_ns <= 0 {
            return Some("regime: sample and half-life must be above 0".into());
        }
        if self.baseline_ns <= self.half_life_ns {
            return Some("regime: the baseline's half-life must be above the estimate's".into());
        }
        let up = 1.0 + self.hysteresis;
        let down = 1.0 - self.hysteresis;
        if !(self.hysteresis >= 0.0 && self.hysteresis < 1.0) {
            return Some(format!(
                "regime: hysteresis {}, want 0 or above, below 1",
                self.hysteresis
            ));
        }
        if !(self.calm > 0.0 && self.calm * up < self.stressed * down) {
            return Some(format!(
                "regime: calm below {} and stressed above {}, want 0 < calm, and calm below \
                 stressed by more than the hysteresis",
                self.calm, self.stressed
            ));
        }
        if !(self.floor_bps > 0.0 && self.floor_bps.is_finite() && self.stressed.is_finite()) {
            return Some("regime: floor and thresholds must be numbers above 0".into());
        }
        None
    }
}

/// A configuration, worked out.
#[derive(Debug)]
pub struct Common {
    config: RegimeConfig,
    /// What of the means remains after one sample.
    fast_keep: f64,
    slow_keep: f64,
    floor_variance: f64,
    samples_per_second: f64,
    /// Means of more samples than this are weighed as the half-lives say.
    plain_max: u64,
    samples_per_half_life: f64,
    /// Twice the logarithms of the levels at which a falling one leaves stressed and normal.
    stressed_end_log2: f64,
    normal_end_log2: f64,
    /// Whether visits may be put off.
    is_lazy: bool,
    /// Means of fewer samples than this are still plain enough to fall fast.
    settled_min: u64,
    /// Within these squares of the level, for stressed and for normal, no verdict changes within
    /// [`QUIET_SAMPLES`] of which the first has any return and the others none.
    quiet: [(f64, f64); 2],
}

impl Common {
    /// How often is sampled.
    pub(crate) fn sample_ns(&self) -> i64 {
        self.config.sample_ns
    }

    /// Works out what is the same for all symbols. Visits are put off only if nobody who looks at
    /// the view could tell (`may_be_lazy`).
    pub fn new(config: RegimeConfig, may_be_lazy: bool) -> Common {
        assert_eq!(config.problem(), None);
        let keep = |half_life_ns| half_to_the(config.sample_ns as f64 / half_life_ns as f64);
        let samples_per_second = Ts::SECOND_NS as f64 / config.sample_ns as f64;
        let (fast_keep, slow_keep) = (keep(config.half_life_ns), keep(config.baseline_ns));
        // What the baseline can weigh a sample, where visits are put off, and what follows for the
        // square of the level: the most and the least that it can become of 1 with one sample.
        let (fast, slow_max) = (1.0 - fast_keep, 0.9 * (1.0 - fast_keep));
        let fall = half_to_the(
            QUIET_SAMPLES as f64 * config.sample_ns as f64 / config.half_life_ns as f64,
        ) / (1.0 + (BASELINE_SQUARE_MAX - 1.0) * slow_max);
        let square = |level: f64| level * level;
        let quiet_max =
            (square(config.stressed) * (1.0 - slow_max) - RECENT_SQUARE_MAX * fast) / fast_keep;
        // Some room for rounding.
        let (up, down) = (1.0 + 1e-9, 1.0 - 1e-9);
        // The logarithms decide only when to look.
        let stressed_end = config.stressed * (1.0 - config.hysteresis);
        Common {
            fast_keep,
            slow_keep,
            floor_variance: config.floor_bps * config.floor_bps / samples_per_second,
            samples_per_second,
            plain_max: ((1.0 / (1.0 - slow_keep)) as u64).saturating_add(2),
            samples_per_half_life: config.half_life_ns as f64 / config.sample_ns as f64,
            stressed_end_log2: 2.0 * stressed_end.max(config.calm).log2(),
            normal_end_log2: 2.0 * config.calm.log2(),
            // The level falls clearly, and not just up to rounding.
            is_lazy: may_be_lazy && (1.0 - slow_keep) <= slow_max,
            settled_min: ((1.0 / slow_max) as u64).saturating_add(1),
            quiet: [
                (
                    square(stressed_end.max(config.calm)) / fall * up,
                    SQUARE_MAX,
                ),
                (square(config.calm) / fall * up, quiet_max * down),
            ],
            config,
        }
    }
}

/// The regime of one symbol.
#[derive(Clone, Copy, Debug)]
pub struct Regime {
    /// The next sample; `MAX` while asleep.
    next: Ts,
    /// The first sample that could tell something new, if the mid does not move; not before `next`.
    due: Ts,
    /// The latest sample.
    sampled: Ts,
    /// Twice the mid at the latest sample; 0 when there was none, or trading stopped since.
    anchor: i64,
    /// Mean squared return of one sample, in square basis points: the estimate.
    realised: f64,
    /// The same of squares that are cut at [`RECENT_SQUARE_MAX`] and [`BASELINE_SQUARE_MAX`]
    /// times the baseline, the one with the weights of the estimate, the other with its own.
    recent: f64,
    baseline: f64,
    samples: u64,
}

/// One jump of the mid, as when a thin book loses its best order, is no storm: alone it cannot
/// lift `recent` far enough, several together can.
const RECENT_SQUARE_MAX: f64 = 16.0;

/// A storm must not quickly raise the very thing that it is measured against.
const BASELINE_SQUARE_MAX: f64 = 4.0;

impl Analytic for Regime {
    type Common = Common;

    fn new(_common: &mut Common) -> Regime {
        Regime {
            next: Ts::MAX,
            due: Ts::MAX,
            sampled: Ts(0),
            anchor: 0,
            realised: 0.0,
            recent: 0.0,
            baseline: 0.0,
            samples: 0,
        }
    }

    #[inline]
    fn on_time(&mut self, common: &mut Common, now: Ts, view: &mut View, out: &mut Outbox) {
        // Ends: a mid that no longer moves becomes calm within some half-lives, and sleeps.
        while self.next <= now {
            if self.next < self.due {
                self.catch_up(common, now, view);
            } else {
                self.sample(common, view, out);
            }
        }
    }

    #[inline]
    fn on_event(
        &mut self,
        common: &mut Common,
        moment: &Moment,
        view: &mut View,
        _out: &mut Outbox,
        _intents: &mut Intents,
    ) {
        if moment.moved {
            if self.next == Ts::MAX {
                self.wake(common, moment.event.ts_event, view);
                self.due = self.next;
            } else {
                self.foresee_return(common, view);
            }
        }
    }

    #[inline]
    fn due(&self) -> Ts {
        self.due
    }

    fn save(&self, _common: &Common, out: &mut StateWriter<'_>) {
        out.i64(self.next.0);
        out.i64(self.sampled.0);
        out.i64(self.anchor);
        out.f64(self.realised);
        out.f64(self.recent);
        out.f64(self.baseline);
        out.u64(self.samples);
    }

    fn load(_common: &mut Common, from: &mut StateReader<'_>) -> Result<Regime, StateError> {
        let next = Ts(from.i64()?);
        let sampled = Ts(from.i64()?);
        let anchor = from.i64()?;
        // With another number the level would never fall to calm, and its samples would not end.
        let mut mean = || {
            let mean = from.f64()?;
            match mean.is_finite() && mean >= 0.0 {
                true => Ok(mean),
                false => Err(from.error("a mean of squares")),
            }
        };
        let regime = Regime {
            next,
            due: next,
            sampled,
            anchor,
            realised: mean()?,
            recent: mean()?,
            baseline: mean()?,
            samples: from.u64()?,
        };
        // One that has an anchor has taken a sample, and sleeps only after a return.
        let asleep = regime.next == Ts::MAX && regime.anchor != 0;
        match asleep && regime.samples == 0 {
            false => Ok(regime),
            true => Err(from.error("samples before a sleep")),
        }
    }
}

impl Regime {
    /// The next sample, whether or not it could tell something new.
    pub(crate) fn sample_due(&self) -> Ts {
        self.next
    }

    /// Whether ticks up to this one passed over samples.
    #[inline]
    pub(crate) fn lags(&self, watermark: Ts) -> bool {
        self.next <= watermark && self.due > watermark
    }

    /// What is known of the symbol changes without an event: a tick looks at the next sample.
    pub(crate) fn look_again(&mut self) {
        self.due = self.next;
    }

    /// Takes samples up to and with `to` at which the verdict stays.
    pub(crate) fn catch_up(&mut self, common: &Common, to: Ts, view: &mut View) {
        let mid = double_mid(&view.quote);
        while self.next <= to && self.next < self.due {
            self.sampled = self.next;
            self.next = self.next.plus_ns(common.config.sample_ns);
            let before = std::mem::replace(&mut self.anchor, mid);
            self.take(common, square_of_return(before, mid));
        }
        view.sigma_bps = (self.realised * common.samples_per_second).sqrt();
    }

    /// The mid is another one, or whether it can be measured: finds out whether some samples can pass.
    #[inline]
    fn foresee_return(&mut self, common: &Common, view: &View) {
        self.due = self.next;
        let is_settled =
            self.samples >= common.settled_min.max(common.config.warmup_samples.into());
        if !(common.is_lazy && is_settled && self.anchor != 0 && view.is_measurable()) {
            return;
        }
        // What one return does to an estimate is bounded only where it is cut.
        let (low, high) = match (common.config.measure, view.regime) {
            (Measure::Absolute, _) | (_, Volatility::Calm) => return,
            (Measure::Baseline, Volatility::Stressed) => common.quiet[0],
            (Measure::Baseline, Volatility::Normal) => common.quiet[1],
        };
        let unit = self.baseline.max(common.floor_variance);
        if low * unit <= self.recent && self.recent <= high * unit {
            let quiet_ns = QUIET_SAMPLES.saturating_mul(common.config.sample_ns);
            self.due = self.next.plus_ns(quiet_ns);
        }
    }

    /// Finds out which sample could tell something new at the earliest, if the mid rests from the
    /// one just taken on.
    fn foresee(&mut self, common: &Common, regime: Volatility, square: f64) {
        self.due = self.next;
        let warmup = u64::from(common.config.warmup_samples);
        if !(common.is_lazy && square.is_finite()) {
            return;
        }
        let quiet = if self.samples < warmup {
            (warmup - self.samples - 1) as f64
        } else {
            let end_log2 = match regime {
                Volatility::Stressed => common.stressed_end_log2,
                Volatility::Normal => common.normal_end_log2,
                // It is about to sleep.
                Volatility::Calm => return,
            };
            // Means that are still plain fall faster.
            if self.samples < common.settled_min {
                return;
            }
            // The level's square falls by no more than the estimate's share with each sample.
            (log2_below(square) - end_log2) * common.samples_per_half_life - 1.0
        };
        let quiet_ns = (quiet.max(0.0) as i64).saturating_mul(common.config.sample_ns);
        self.due = self.next.plus_ns(quiet_ns);
    }

    /// Asleep, and something happened: if it matters, the next sample is due.
    fn wake(&mut self, common: &Common, ts: Ts, view: &View) {
        let measurable = view.is_measurable();
        let matters = if self.anchor == 0 {
            measurable
        } else {
            !measurable || double_mid(&view.quote) != self.anchor
        };
        if !matters {
            return;
        }
        let sample_ns = common.config.sample_ns;
        self.next = ts.floor(sample_ns).plus_ns(sample_ns);
        if self.anchor != 0 {
            self.next = self.next.max(self.sampled.plus_ns(sample_ns));
            // Between the last sample and the one now due nothing moved.
            let slept = (self.next.since(self.sampled) / sample_ns - 1) as u64;
            let fast_kept = kept(common.fast_keep, self.samples, slept);
            self.realised *= fast_kept;
            self.recent *= fast_kept;
            self.baseline *= kept(common.slow_keep, self.samples, slept);
            self.samples = self.samples.saturating_add(slept);
        }
    }

    fn sample(&mut self, common: &Common, view: &mut View, out: &mut Outbox) {
        let at = self.next;
        if !view.is_measurable() {
            // What the price does meanwhile is no return: start again from where it resumes.
            self.anchor = 0;
            self.next = Ts::MAX;
            self.due = Ts::MAX;
            return;
        }
        let mid = double_mid(&view.quote);
        let before = std::mem::replace(&mut self.anchor, mid);
        self.sampled = at;
        self.next = at.plus_ns(common.config.sample_ns);
        if before == 0 {
            self.due = self.next;
            return;
        }
        self.take(common, square_of_return(before, mid));
        view.sigma_bps = (self.realised * common.samples_per_second).sqrt();
        if self.samples < u64::from(common.config.warmup_samples) {
            return self.foresee(common, view.regime, 0.0);
        }
        view.regime_known = true;
        let square = match common.config.measure {
            Measure::Absolute => self.realised * common.samples_per_second,
            Measure::Baseline => self.recent / self.baseline.max(common.floor_variance),
        };
        let level = square.sqrt();
        let next = verdict(&common.config, view.regime, level);
        if next != view.regime {
            let change = Change {
                from: view.regime,
                to: next,
                bps: view.sigma_bps,
            };
            out.say_at(at, 0, Body::Regime(change));
            view.regime = next;
        }
        // With returns of zero the level only falls: calm stays calm until the mid moves.
        if next == Volatility::Calm && mid == before {
            self.next = Ts::MAX;
            self.due = Ts::MAX;
        } else {
            self.foresee(common, next, square);
        }
    }

    /// Takes one squared return into the means.
    fn take(&mut self, common: &Common, square: f64) {
        self.samples = self.samples.saturating_add(1);
        let (mut fast_weight, mut slow_weight) = (1.0 - common.fast_keep, 1.0 - common.slow_keep);
        // Plain means at first, so that the first sample does not weigh more than the others.
        if self.samples <= common.plain_max {
            let plain = 1.0 / self.samples as f64;
            (fast_weight, slow_weight) = (plain.max(fast_weight), plain.max(slow_weight));
        }
        let is_warm = self.samples > u64::from(common.config.warmup_samples);
        // Nothing is cut while there is no baseline to cut at.
        let unit = if is_warm {
            self.baseline.max(common.floor_variance)
        } else {
            f64::INFINITY
        };
        let recent_square = square.min(RECENT_SQUARE_MAX * unit);
        let baseline_square = square.min(BASELINE_SQUARE_MAX * unit);
        self.realised += (square - self.realised) * fast_weight;
        self.recent += (recent_square - self.recent) * fast_weight;
        self.baseline += (baseline_square - self.baseline) * slow_weight;
    }
}

/// So many samples pass without a visit after a return that cannot matter.
const QUIET_SAMPLES: i64 = 8;

/// Above this square of a level nothing is foreseen.
const SQUARE_MAX: f64 = 1e12;

/// In square basis points.
#[inline]
fn square_of_return(before: i64, mid: i64) -> f64 {
    if before == mid {
        return 0.0;
    }
    let bps = (mid as f64 - before as f64) * 10_000.0 / before as f64;
    bps * bps
}

/// The logarithm of a number above 0, or up to a tenth less.
fn log2_below(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as f64 - 1023.0;
    let fraction = (bits << 12) as f64 / 2f64.powi(64);
    // The curve is above its chord.
    exponent + fraction
}

/// What of a mean over `samples` remains after as many returns of zero as were `slept` through:
/// what `take` does to it, in one step. A mean is plain while that weighs a sample more.
fn kept(keep: f64, samples: u64, slept: u64) -> f64 {
    debug_assert!(
        samples > 0,
        "a symbol sleeps after a return at the earliest"
    );
    let plain_max = (1.0 / (1.0 - keep)) as u64;
    let after = samples + slept.min(plain_max.saturating_sub(samples));
    let plain = samples as f64 / after as f64;
    plain * power(keep, slept - (after - samples))
}

/// The regime at this level, coming from that one.
fn verdict(config: &RegimeConfig, from: Volatility, level: f64) -> Volatility {
    let leave_stressed = config.stressed * (1.0 - config.hysteresis);
    let leave_calm = config.calm * (1.0 + config.hysteresis);
    match from {
        _ if level > config.stressed => Volatility::Stressed,
        _ if level < config.calm => Volatility::Calm,
        Volatility::Stressed if level >= leave_stressed => Volatility::Stressed,
        Volatility::Calm if level <= leave_calm => Volatility::Calm,
        Volatility::Stressed | Volatility::Normal | Volatility::Calm => Volatility::Normal,
    }
}
