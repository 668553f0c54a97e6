//! What models say of symbols: one number each, which rules and strategies may ask for.
//!
//! ```text
//! view ──────────────────────── value ──┐
//! windows, regimes, alerts, said ───────┼──► float32[1, n] ──► model ──► score of the symbol
//!   at events before this one           │                        (unknown where an input is)
//! ```
//!
//! A model runs behind vwap, spread, regime and momentum and before the rules, at the events which the
//! analytics look at: at each, or at the first in each period of event time. A score stands until the next.
//! How long an inference took decides nothing. See `analytics/ONNX.md`.

use bus::state::{StateError, StateReader, StateWriter};
use bus::{Signal, Ts};
use onnx_model::{Counts, Model, Runner};

use crate::expr::Known;
use crate::features::{FeatureConfig, Features};
use crate::view::View;

/// A model, and what it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreConfig {
    /// For people, and for rules as `model.NAME`.
    pub name: String,
    /// Its inputs, in order.
    pub inputs: Vec<FeatureConfig>,
    /// It runs at the first event of a symbol in each such time; 0 for each event.
    pub every_ns: i64,
    /// Inferences that take longer are counted.
    pub budget_ns: Option<u64>,
    /// What runs.
    pub model: Model,
}

impl ScoreConfig {
    /// More are refused.
    pub const COUNT_MAX: usize = 4;

    /// What is wrong with these, if anything.
    pub(crate) fn problem(all: &[ScoreConfig]) -> Option<String> {
        if all.len() > Self::COUNT_MAX {
            let (count, max) = (all.len(), Self::COUNT_MAX);
            return Some(format!("{count} models, want at most {max}"));
        }
        all.iter().find_map(|config| {
            let name = &config.name;
            if config.inputs.is_empty() || config.inputs.len() > FeatureConfig::COUNT_MAX {
                let (count, max) = (config.inputs.len(), FeatureConfig::COUNT_MAX);
                return Some(format!("models.{name}: {count} features, want 1 to {max}"));
            }
            (config.every_ns < 0).then(|| format!("models.{name}: `on` is below 0"))
        })
    }
}

/// A model at work, and the places of its inputs among those of all models.
#[derive(Debug)]
struct One {
    name: String,
    every_ns: i64,
    first: usize,
    count: usize,
    runner: Runner,
}

/// The models of one shard, and what they said of its symbols.
#[derive(Debug)]
pub(crate) struct Scores {
    models: Box<[One]>,
    inputs: Features,
    /// For each symbol one of each model: what it said last, and in which period it said it.
    scores: Vec<f64>,
    period_ends: Vec<Ts>,
}

impl Scores {
    /// Memory for all symbols, reserved.
    pub(crate) fn new(configs: &[ScoreConfig], symbol_count: usize) -> Scores {
        let mut inputs = Vec::new();
        let models = configs.iter().map(|config| {
            let first = inputs.len();
            inputs.extend_from_slice(&config.inputs);
            One {
                name: config.name.clone(),
                every_ns: config.every_ns,
                first,
                count: config.inputs.len(),
                runner: config.model.runner(config.budget_ns),
            }
        });
        Scores {
            models: models.collect(),
            inputs: Features::new(&inputs, symbol_count),
            scores: Vec::with_capacity(symbol_count * configs.len()),
            period_ends: Vec::with_capacity(symbol_count * configs.len()),
        }
    }

    /// What a symbol takes once it has appeared, in bytes.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        let own = self.models.len() * (size_of::<f64>() + size_of::<Ts>());
        own + self.inputs.bytes_per_symbol()
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self) {
        let count = self.scores.len() + self.models.len();
        debug_assert!(count <= self.scores.capacity(), "reserved for all symbols");
        self.scores.resize(count, f64::NAN);
        self.period_ends.resize(count, Ts::MIN);
        self.inputs.appear();
    }

    /// What the models said of the symbol at this place, in their order.
    #[inline]
    pub(crate) fn of(&self, place: usize) -> &[f64] {
        &self.scores[place * self.models.len()..][..self.models.len()]
    }

    /// Something happened to the symbol at this place.
    pub(crate) fn on_event(&mut self, place: usize, ts: Ts, view: &View) {
        let count = self.models.len();
        // Models do not ask each other.
        let known = Known { view, scores: &[] };
        let scores = &mut self.scores[place * count..][..count];
        let ends = &mut self.period_ends[place * count..][..count];
        for ((model, score), end) in self.models.iter_mut().zip(scores).zip(ends) {
            if model.every_ns > 0 {
                if ts < *end {
                    continue;
                }
                *end = ts.floor(model.every_ns).plus_ns(model.every_ns);
            }
            let mut inputs = [0.0; FeatureConfig::COUNT_MAX];
            let inputs = &mut inputs[..model.count];
            let mut is_known = true;
            for (index, input) in inputs.iter_mut().enumerate() {
                *input = self.inputs.value(place, model.first + index, &known) as f32;
                is_known &= input.is_finite();
            }
            *score = match is_known {
                true => model.runner.run(inputs),
                false => f64::NAN,
            };
        }
    }

    /// What was said of the symbol at this place, for later events.
    #[inline]
    pub(crate) fn hear(&mut self, place: usize, signals: &[Signal]) {
        self.inputs.hear(place, signals);
    }

    /// What each model did.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, Counts)> {
        let models = self.models.iter();
        models.map(|model| (model.name.as_str(), model.runner.counts()))
    }

    /// Saves what is known of the symbol at this place.
    pub(crate) fn save(&self, place: usize, out: &mut StateWriter<'_>) {
        let count = self.models.len();
        let ends = &self.period_ends[place * count..][..count];
        for (score, end) in self.of(place).iter().zip(ends) {
            out.f64(*score);
            out.i64(end.0);
        }
        self.inputs.save(place, out);
    }

    /// Loads what was known of a symbol, at this place.
    pub(crate) fn load(
        &mut self,
        place: usize,
        from: &mut StateReader<'_>,
    ) -> Result<(), StateError> {
        let count = self.models.len();
        for index in place * count..(place + 1) * count {
            self.scores[index] = from.f64()?;
            self.period_ends[index] = Ts(from.i64()?);
        }
        self.inputs.load_at(place, from)
    }
}
