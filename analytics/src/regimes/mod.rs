//! Regimes by models that the configuration declares, beside the plain one of `regime`.
//!
//! Start with [`ModelConfig`]; `garch`, `hmm` and `change` are the models, a file each. A model takes
//! one return of the mid at each sample and says how volatile it holds the symbol to be; the verdict
//! (calm, normal, stressed) is made here, with hysteresis. `analytics/MODELS.md` has their pages.
//!
//! ```text
//! quote ──► mid ──► sample on a grid of event time ──► return ──► Model::take ──► verdict
//! ```
//!
//! Floats, under operations that IEEE 754 defines exactly: a return is put into every model of its
//! symbol in the same order everywhere, so that all bits are the same at any number of shards.

mod change;
mod garch;
mod hmm;

use bus::signal::{Body, Regime as Change, Volatility};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Outbox, Ts};

use crate::number::{double_mid, half_to_the};
use crate::regime::Measure;
use crate::view::View;

pub use change::ChangeConfig;
pub use garch::GarchConfig;
pub use hmm::HmmConfig;

use change::Changes;
use garch::Garch;
use hmm::Hmm;

/// A regime by a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// For people.
    pub name: String,
    /// How often the mid price is sampled.
    pub sample_ns: i64,
    /// Returns before the first verdict.
    pub warmup_samples: u32,
    /// Half-life of the symbol's own long-run volatility.
    pub baseline_ns: i64,
    /// What the thresholds, and a hidden state's volatilities, are measured in.
    pub measure: Measure,
    /// Stressed above this.
    pub stressed: f64,
    /// Calm below this.
    pub calm: f64,
    /// How far back, as a share of the threshold, it must come to leave a state.
    pub hysteresis: f64,
    /// The long-run volatility is taken as at least this, in basis points per square root of a second.
    pub floor_bps: f64,
    /// Which one.
    pub model: ModelKind,
}

/// The models. To add one: a file, and its lines here.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelKind {
    /// Volatility that clusters.
    Garch(GarchConfig),
    /// Hidden states, each with a volatility of its own.
    Hmm(HmmConfig),
    /// Stretches of one volatility each, with changes at unknown times.
    Changes(ChangeConfig),
}

/// What a model makes of a return.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The volatility, in basis points of one sample.
    pub(crate) sigma: f64,
    /// The state, where the model has states of its own.
    pub(crate) state: Option<Volatility>,
}

/// A model, worked out. Its state in a symbol is so many floats, all 0 before the first return.
#[derive(Clone, Debug)]
enum Model {
    Garch(Garch),
    Hmm(Hmm),
    Changes(Changes),
}

impl Model {
    fn floats(&self) -> usize {
        match self {
            Model::Garch(_) => Garch::FLOATS,
            Model::Hmm(model) => model.floats(),
            Model::Changes(model) => model.floats(),
        }
    }

    /// Takes a return in basis points, of a symbol whose usual square of one is `long_run`.
    fn take(&self, state: &mut [f64], bps: f64, long_run: f64) -> Seen {
        match self {
            Model::Garch(model) => model.take(state, bps, long_run),
            Model::Hmm(model) => model.take(state, bps, long_run),
            Model::Changes(model) => model.take(state, bps),
        }
    }
}

impl ModelConfig {
    /// What is wrong with these, if anything.
    pub(crate) fn problem(all: &[ModelConfig]) -> Option<String> {
        if all.len() > Regimes::MODELS_MAX {
            let (count, max) = (all.len(), Regimes::MODELS_MAX);
            return Some(format!("{count} regimes, want at most {max}"));
        }
        let wrong = |config: &ModelConfig| {
            let name = &config.name;
            config.wrong().map(|what| format!("regimes.{name}: {what}"))
        };
        all.iter().find_map(wrong)
    }

    fn wrong(&self) -> Option<String> {
        if self.sample_ns <= 0 || self.baseline_ns < self.sample_ns {
            return Some("sample must be above 0, and baseline not below it".into());
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if !(positive(self.calm) && positive(self.stressed) && positive(self.floor_bps)) {
            return Some("calm, stressed and floor must be numbers above 0".into());
        }
        let is_share = (0.0..1.0).contains(&self.hysteresis);
        let ends = (
            self.calm * (1.0 + self.hysteresis),
            self.stressed * (1.0 - self.hysteresis),
        );
        if !is_share || ends.0 >= ends.1 {
            return Some(format!(
                "hysteresis {} must be 0 or above and below 1, and calm, {}, below stressed, {}, by \
                 more than that",
                self.hysteresis, self.calm, self.stressed
            ));
        }
        match &self.model {
            ModelKind::Garch(config) => config.wrong(),
            ModelKind::Hmm(config) => config.wrong(),
            ModelKind::Changes(config) => config.wrong(),
        }
    }
}

/// A configuration, worked out.
#[derive(Debug)]
struct Spec {
    config: ModelConfig,
    samples_per_second: f64,
    /// What of the long-run mean remains after one sample.
    keep: f64,
    /// Means of more samples than this are weighed as the half-life says.
    plain_max: u64,
    floor_square: f64,
    model: Model,
    /// Where its floats begin among a symbol's.
    first: usize,
}

/// What one model knows of one symbol, beside its floats.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    /// The next sample; `MAX` while the mid cannot be measured.
    next: Ts,
    /// Twice the mid at the latest sample; 0 when there was none, or trading stopped since.
    anchor: i64,
    samples: u64,
    /// Mean squared return of one sample, in square basis points.
    long_run: f64,
    regime: Volatility,
}

const _: () = assert!(size_of::<State>() == 40);

impl State {
    const NEW: State = State {
        next: Ts::MAX,
        anchor: 0,
        samples: 0,
        long_run: 0.0,
        regime: Volatility::Normal,
    };
}

/// The declared regimes of all symbols of one shard.
#[derive(Debug)]
pub(crate) struct Regimes {
    specs: Vec<Spec>,
    floats_per_symbol: usize,
    /// By the symbols' places: twice the mid since the latest event, 0 where it cannot be measured.
    mids: Vec<i64>,
    states: Vec<State>,
    floats: Vec<f64>,
}

/// After a rest of more samples than this a symbol's price starts anew.
const REST_SAMPLES: i64 = 4096;

impl Regimes {
    /// At most so many.
    pub(crate) const MODELS_MAX: usize = 8;

    /// Memory for all symbols, reserved.
    pub(crate) fn new(configs: &[ModelConfig], symbol_count: usize) -> Regimes {
        let mut first = 0;
        let spec = |config: &ModelConfig| {
            let samples_per_second = Ts::SECOND_NS as f64 / config.sample_ns as f64;
            let model = match &config.model {
                ModelKind::Garch(own) => Model::Garch(Garch::new(own)),
                ModelKind::Hmm(own) => {
                    Model::Hmm(Hmm::new(own, config.measure, samples_per_second))
                }
                ModelKind::Changes(own) => Model::Changes(Changes::new(own, samples_per_second)),
            };
            let keep = half_to_the(config.sample_ns as f64 / config.baseline_ns as f64);
            let spec = Spec {
                samples_per_second,
                keep,
                plain_max: ((1.0 / (1.0 - keep)) as u64).saturating_add(2),
                floor_square: config.floor_bps * config.floor_bps / samples_per_second,
                first,
                config: config.clone(),
                model,
            };
            first += spec.model.floats();
            spec
        };
        let specs: Vec<Spec> = configs.iter().map(spec).collect();
        let reserve = match specs.len() {
            0 => 0,
            _ => symbol_count,
        };
        Regimes {
            mids: Vec::with_capacity(reserve),
            states: Vec::with_capacity(reserve * specs.len()),
            floats: Vec::with_capacity(reserve * first),
            floats_per_symbol: first,
            specs,
        }
    }

    /// What a symbol takes once it has appeared.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        let own = self.specs.len() * size_of::<State>();
        size_of::<i64>() + own + self.floats_per_symbol * size_of::<f64>()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        self.mids.push(0);
        let count = self.mids.len();
        self.states.resize(count * self.specs.len(), State::NEW);
        self.floats.resize(count * self.floats_per_symbol, 0.0);
    }

    /// When the symbol at this place has something to do.
    pub(crate) fn due(&self, place: usize) -> Ts {
        let states = &self.states[place * self.specs.len()..][..self.specs.len()];
        states
            .iter()
            .map(|state| state.next)
            .min()
            .unwrap_or(Ts::MAX)
    }

    /// Something happened to the symbol, and this is known of it now.
    pub(crate) fn on_event(&mut self, place: usize, ts: Ts, view: &View, out: &mut Outbox) {
        // What was before it stood up to its time.
        self.on_time(place, ts, out);
        let mid = match view.is_measurable() {
            true => double_mid(&view.quote),
            false => 0,
        };
        if std::mem::replace(&mut self.mids[place], mid) != 0 || mid == 0 {
            return;
        }
        let states = &mut self.states[place * self.specs.len()..][..self.specs.len()];
        for (spec, state) in self.specs.iter().zip(states) {
            if state.next == Ts::MAX {
                let sample_ns = spec.config.sample_ns;
                state.next = ts.floor(sample_ns).plus_ns(sample_ns);
            }
        }
    }

    /// Messages are lost: the mid is not known until the symbol's next event.
    pub(crate) fn on_gap(&mut self, place: usize) {
        self.mids[place] = 0;
    }

    /// Takes the samples up to and with `now`.
    pub(crate) fn on_time(&mut self, place: usize, now: Ts, out: &mut Outbox) {
        let mid = self.mids[place];
        let count = self.specs.len();
        let states = &mut self.states[place * count..][..count];
        let floats = &mut self.floats[place * self.floats_per_symbol..][..self.floats_per_symbol];
        for (index, (spec, state)) in self.specs.iter().zip(states).enumerate() {
            let own = &mut floats[spec.first..][..spec.model.floats()];
            while state.next <= now {
                spec.sample(index as u8 + 1, state, own, mid, now, out);
            }
        }
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        let count = self.specs.len();
        out.i64(self.mids[place]);
        for state in &self.states[place * count..][..count] {
            out.i64(state.next.0);
            out.i64(state.anchor);
            out.u64(state.samples);
            out.f64(state.long_run);
            out.u8(state.regime as u8);
        }
        for value in &self.floats[place * self.floats_per_symbol..][..self.floats_per_symbol] {
            out.f64(*value);
        }
    }

    /// Loads what was known of a symbol, at the next place.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.appear();
        let place = self.mids.len() - 1;
        let count = self.specs.len();
        self.mids[place] = from.i64()?;
        for state in &mut self.states[place * count..][..count] {
            *state = State {
                next: Ts(from.i64()?),
                anchor: from.i64()?,
                samples: from.u64()?,
                long_run: from.f64()?,
                regime: match from.u8()? {
                    0 => Volatility::Calm,
                    1 => Volatility::Normal,
                    2 => Volatility::Stressed,
                    other => return Err(from.error(format_args!("a regime, found {other}"))),
                },
            };
        }
        let floats = &mut self.floats[place * self.floats_per_symbol..][..self.floats_per_symbol];
        for value in &mut *floats {
            *value = from.f64()?;
        }
        for spec in &self.specs {
            if let Model::Changes(model) = &spec.model
                && !model.is_whole(&floats[spec.first..][..model.floats()])
            {
                return Err(from.error("as many stretches as there is room for"));
            }
        }
        Ok(())
    }
}

impl Spec {
    fn sample(
        &self,
        rule: u8,
        state: &mut State,
        own: &mut [f64],
        mid: i64,
        now: Ts,
        out: &mut Outbox,
    ) {
        let (at, sample_ns) = (state.next, self.config.sample_ns);
        if mid == 0 {
            // What the price does meanwhile is no return: start again from where it resumes.
            (state.anchor, state.next) = (0, Ts::MAX);
            return;
        }
        if now.since(at) / sample_ns > REST_SAMPLES {
            (state.anchor, state.next) = (0, now.floor(sample_ns));
            return;
        }
        state.next = at.plus_ns(sample_ns);
        let before = std::mem::replace(&mut state.anchor, mid);
        if before == 0 {
            return;
        }
        let bps = (mid as f64 - before as f64) * 10_000.0 / before as f64;
        state.samples = state.samples.saturating_add(1);
        let mut weight = 1.0 - self.keep;
        if state.samples <= self.plain_max {
            weight = weight.max(1.0 / state.samples as f64);
        }
        // A storm must not quickly raise the very thing that it is measured against.
        let is_warm = state.samples > u64::from(self.config.warmup_samples);
        let limit = match is_warm {
            true => SQUARE_MAX * state.long_run.max(self.floor_square),
            false => f64::INFINITY,
        };
        state.long_run += ((bps * bps).min(limit) - state.long_run) * weight;
        let long_run = state.long_run.max(self.floor_square);
        let seen = self.model.take(own, bps, long_run);
        if !is_warm {
            return;
        }
        let next = match seen.state {
            Some(state) => state,
            None => self.verdict(state.regime, seen.sigma, long_run),
        };
        if next != state.regime {
            let change = Change {
                from: state.regime,
                to: next,
                bps: seen.sigma * self.samples_per_second.sqrt(),
            };
            out.say_at(at, rule, Body::Regime(change));
            state.regime = next;
        }
    }

    fn verdict(&self, from: Volatility, sigma: f64, long_run: f64) -> Volatility {
        let level = match self.config.measure {
            Measure::Baseline => sigma / long_run.sqrt(),
            Measure::Absolute => sigma * self.samples_per_second.sqrt(),
        };
        let ModelConfig {
            stressed,
            calm,
            hysteresis,
            ..
        } = self.config;
        match from {
            _ if level > stressed => Volatility::Stressed,
            _ if level < calm => Volatility::Calm,
            Volatility::Stressed if level >= stressed * (1.0 - hysteresis) => Volatility::Stressed,
            Volatility::Calm if level <= calm * (1.0 + hysteresis) => Volatility::Calm,
            Volatility::Stressed | Volatility::Normal | Volatility::Calm => Volatility::Normal,
        }
    }
}

/// Squares beyond so many times the long-run one count as that many in it.
const SQUARE_MAX: f64 = 4.0;

#[cfg(test)]
mod tests;
