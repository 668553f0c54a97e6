//! Regimes by models.

use std::collections::BTreeMap;

use analytics::{ChangeConfig, GarchConfig, HmmConfig, ModelConfig, ModelKind};
use serde::{Deserialize, Serialize};

use super::units::{Ratio, Span};
use super::{Measure, SECOND, positive};

/// Named regimes, beside the one below `[regime]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Regimes(pub BTreeMap<String, Model>);

/// One of them. Keys that other models have are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Which.
    pub model: ModelName,
    /// How often the mid price is sampled.
    #[serde(default = "second")]
    pub sample: Span,
    /// Returns before the first verdict.
    #[serde(default = "sixty")]
    pub warmup_samples: u32,
    /// Half-life of the symbol's own long-run volatility.
    #[serde(default = "ten_minutes")]
    pub baseline: Span,
    /// What thresholds and `sigmas` are measured in.
    #[serde(default = "multiples")]
    pub measure: Measure,
    /// The long-run volatility is taken as at least this, per square root of a second.
    #[serde(default = "fifth")]
    pub floor: Ratio,
    /// Of `garch` and `changes`: stressed above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stressed: Option<f64>,
    /// Calm below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calm: Option<f64>,
    /// How far back, as a share of the threshold, it must come to leave a state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<f64>,
    /// Of `garch`: the weight of the latest square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The weight of the variance before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// The long-run volatility, per square root of a second; the symbol's own where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_run: Option<Ratio>,
    /// Of `hmm`: the volatility of each of two or three states, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigmas: Option<Vec<f64>>,
    /// How likely it is that a state is the next sample's too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay: Option<f64>,
    /// How likely another state must be to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Of `changes`: how many samples there are between changes, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_samples: Option<f64>,
    /// The longest stretch that is told from longer ones, in samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_max: Option<u32>,
    /// The volatility that is believed in at first, per square root of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Ratio>,
}

/// The models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Volatility that clusters.
    Garch,
    /// Hidden states.
    Hmm,
    /// Change points.
    Changes,
}

fn second() -> Span {
    Span(SECOND)
}

fn sixty() -> u32 {
    60
}

fn ten_minutes() -> Span {
    Span(600 * SECOND)
}

fn multiples() -> Measure {
    Measure::Baseline
}

fn fifth() -> Ratio {
    Ratio(20)
}

impl Model {
    /// The keys that its model has, and no others.
    fn check(&self, name: &str) -> Result<(), String> {
        positive(&format!("regimes.{name}.sample"), self.sample.0)?;
        positive(&format!("regimes.{name}.baseline"), self.baseline.0)?;
        let (garch, hmm, changes) = (ModelName::Garch, ModelName::Hmm, ModelName::Changes);
        let levels: &[ModelName] = &[garch, changes];
        let keys = [
            ("stressed", self.stressed.is_some(), levels),
            ("calm", self.calm.is_some(), levels),
            ("hysteresis", self.hysteresis.is_some(), levels),
            ("alpha", self.alpha.is_some(), &[garch]),
            ("beta", self.beta.is_some(), &[garch]),
            ("long_run", self.long_run.is_some(), &[garch]),
            ("sigmas", self.sigmas.is_some(), &[hmm]),
            ("stay", self.stay.is_some(), &[hmm]),
            ("confidence", self.confidence.is_some(), &[hmm]),
            (
                "expected_samples",
                self.expected_samples.is_some(),
                &[changes],
            ),
            ("run_max", self.run_max.is_some(), &[changes]),
            ("prior", self.prior.is_some(), &[changes]),
        ];
        for (key, is_there, models) in keys {
            if is_there && !models.contains(&self.model) {
                let model = format!("{:?}", self.model).to_lowercase();
                return Err(format!("regimes.{name}.{key}: {model} has no `{key}`"));
            }
        }
        if self.model == hmm && self.sigmas.is_none() {
            return Err(format!("regimes.{name}: hmm wants `sigmas`"));
        }
        Ok(())
    }

    fn config(&self, name: &str) -> ModelConfig {
        // A volatility of one sample from one of a second.
        let of_sample = |bps: f64| bps * (self.sample.0 as f64 / SECOND as f64).sqrt();
        ModelConfig {
            name: name.into(),
            sample_ns: self.sample.0,
            warmup_samples: self.warmup_samples,
            baseline_ns: self.baseline.0,
            measure: match self.measure {
                Measure::Baseline => analytics::Measure::Baseline,
                Measure::Absolute => analytics::Measure::Absolute,
            },
            stressed: self.stressed.unwrap_or(2.0),
            calm: self.calm.unwrap_or(0.5),
            hysteresis: self.hysteresis.unwrap_or(0.2),
            floor_bps: self.floor.bps(),
            model: match self.model {
                ModelName::Garch => ModelKind::Garch(GarchConfig {
                    alpha: self.alpha.unwrap_or(0.1),
                    beta: self.beta.unwrap_or(0.85),
                    long_run_bps: self.long_run.map(|ratio| of_sample(ratio.bps())),
                }),
                ModelName::Hmm => ModelKind::Hmm(HmmConfig {
                    sigmas: self.sigmas.clone().unwrap_or_default(),
                    stay: self.stay.unwrap_or(0.98),
                    confidence: self.confidence.unwrap_or(0.8),
                }),
                ModelName::Changes => ModelKind::Changes(ChangeConfig {
                    expected: self.expected_samples.unwrap_or(250.0),
                    run_max: self.run_max.unwrap_or(128) as usize,
                    prior_bps: self.prior.map_or(1.0, Ratio::bps),
                }),
            },
        }
    }
}

impl Regimes {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.0
            .iter()
            .try_for_each(|(name, model)| model.check(name))
    }

    /// Each, in the order of their names.
    pub(super) fn configs(&self) -> Vec<ModelConfig> {
        let models = self.0.iter();
        models.map(|(name, model)| model.config(name)).collect()
    }
}
