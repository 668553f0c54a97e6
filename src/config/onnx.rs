//! Models in ONNX.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use analytics::scores::ScoreConfig;
use analytics::{FeatureConfig, FeatureSource};
use onnx_model::{Model as Ready, Wanted};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Config;
use super::units::Span;
use crate::run_dir::sha256;

/// Named models; the order of their names is that in which they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Models(pub BTreeMap<String, Model>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The model, as a file in ONNX; from the settings' folder on, where it is not absolute.
    pub file: PathBuf,
    /// Its inputs, in order: names of `[features.NAME]`, or numbers in the language of rules.
    pub features: Vec<String>,
    /// Which output is looked at, where there are several ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// ... and which of its elements, from 0, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// When it runs: at each `event`, or at a symbol's first event in `every 100ms`.
    #[serde(default)]
    pub on: On,
    /// How long one inference may take. No result depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Span>,
    /// What a new run does where one of a hundred takes longer when it starts.
    #[serde(default)]
    pub over: OverBudget,
    /// What the file must be; noted when a run begins, if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the model must say here of some inputs, as a hash of its bits; noted when a run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<String>,
    /// Once it is loaded.
    #[serde(skip)]
    ready: Loaded,
}

/// Is what `file` and `sha256` say.
#[derive(Clone, Debug, Default)]
struct Loaded(Option<Ready>);

impl PartialEq for Loaded {
    fn eq(&self, _: &Loaded) -> bool {
        true
    }
}

/// When a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum On {
    /// At each event that the analytics look at.
    #[default]
    Event,
    /// At the first of a symbol in each such time.
    Every(Span),
}

impl FromStr for On {
    type Err = String;

    fn from_str(text: &str) -> Result<On, String> {
        let want = || format!("`{text}`: want \"event\", or a time like \"every 100ms\"");
        if text == "event" {
            return Ok(On::Event);
        }
        let span = text.strip_prefix("every ").ok_or_else(want)?;
        let span: Span = span.trim().parse().map_err(|_| want())?;
        if span.0 <= 0 {
            return Err(want());
        }
        Ok(On::Every(span))
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            On::Event => f.write_str("event"),
            On::Every(span) => write!(f, "every {span}"),
        }
    }
}

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<On, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for On {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// What is done about a model that is slow when a run starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverBudget {
    /// It is said.
    #[default]
    Warn,
    /// The run does not begin. One that goes on does, with a remark.
    Refuse,
}

const NAME_LETTERS_MAX: usize = 48;

impl Model {
    /// Its inputs, worked out.
    fn inputs(&self, name: &str, all: &Config) -> Result<Vec<FeatureConfig>, String> {
        let inputs = self.features.iter().map(|feature| {
            let fail = |e: String| format!("models.{name}.features: `{feature}`: {e}");
            if let Some(declared) = all.features.0.get(feature) {
                // What one model says is no input of another.
                return declared.config(feature, all, &[]).map_err(fail);
            }
            let value = analytics::expr::Value::parse(feature)
                .map_err(|e| fail(format!("is no [features.{feature}], nor a number: {e}")))?;
            Ok(FeatureConfig {
                name: feature.clone(),
                source: FeatureSource::Value(value),
            })
        });
        inputs.collect()
    }

    fn check(&self, name: &str, all: &Config) -> Result<(), String> {
        let fail = |what: String| Err(format!("models.{name}{what}"));
        let is_letter = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_');
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.chars().all(is_letter)
            && name.len() <= NAME_LETTERS_MAX;
        if !is_name {
            return fail(format!(
                ": is asked for as `model.NAME`, want at most {NAME_LETTERS_MAX} of a-z, 0-9 and _, a \
                 letter first"
            ));
        }
        if self.file.as_os_str().is_empty() {
            return fail(".file: want the path of a model".into());
        }
        let count = self.inputs(name, all)?.len();
        if count == 0 || count > FeatureConfig::COUNT_MAX {
            let max = FeatureConfig::COUNT_MAX;
            return fail(format!(".features: {count} of them, want 1 to {max}"));
        }
        if self.budget.is_some_and(|budget| budget.0 <= 0) {
            return fail(".budget must be above zero".into());
        }
        if self.over == OverBudget::Refuse && self.budget.is_none() {
            return fail(".over: `refuse` wants a `budget`".into());
        }
        Ok(())
    }

    /// Reads and checks the file.
    fn load(&self, name: &str) -> Result<(Ready, String), String> {
        let path = self.file.display();
        let bytes = match Ready::IS_BUILT_IN {
            true => fs::read(&self.file).map_err(|e| format!("models.{name}.file: {path}: {e}"))?,
            // Says so.
            false => Vec::new(),
        };
        let hash = sha256(&bytes);
        if Ready::IS_BUILT_IN
            && let Some(want) = &self.sha256
            && *want != hash
        {
            return Err(format!(
                "models.{name}.sha256: {path}: another file than the settings name: its SHA-256 is {hash}, \
                 want {want}"
            ));
        }
        let wanted = Wanted {
            inputs: self.features.len(),
            output: self.output.as_deref(),
            index: self.index.map(|index| index as usize),
        };
        let model = Ready::load(&bytes, wanted).map_err(|e| match Ready::IS_BUILT_IN {
            true => format!("models.{name}: {path}: {e}"),
            false => format!("models.{name}: {e}"),
        })?;
        let bits = bits(&model);
        if let Some(want) = &self.bits
            && *want != bits
        {
            return Err(format!(
                "models.{name}.bits: {path}: says other last bits here than where the run began ({bits}, \
                 want {want}): another kind of processor, or another version of the runtime"
            ));
        }
        Ok((model, hash))
    }
}

/// What is said of settings, with their file in front.
fn within(settings: Option<&Path>, what: &str) -> String {
    settings.map_or(what.to_string(), |path| {
        format!("{}: {what}", path.display())
    })
}

fn bits(model: &Ready) -> String {
    format!("{:016x}", model.bits())
}

impl Models {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    pub(super) fn check(&self, all: &Config) -> Result<(), String> {
        let (count, max) = (self.0.len(), ScoreConfig::COUNT_MAX);
        if count > max {
            return Err(format!("models: {count} of them, want at most {max}"));
        }
        let mut models = self.0.iter();
        models.try_for_each(|(name, model)| model.check(name, all))
    }

    /// Files are where the settings are.
    pub(super) fn stand_in(&mut self, folder: &Path) -> Result<(), String> {
        for (name, model) in &mut self.0 {
            let path = std::path::absolute(folder.join(&model.file));
            model.file = path.map_err(|e| format!("models.{name}.file: {e}"))?;
            if model.file.to_str().is_none() {
                let path = model.file.display();
                return Err(format!("models.{name}.file: {path}: not UTF-8"));
            }
        }
        Ok(())
    }

    /// Without what decides nothing.
    pub(super) fn decisive(&self) -> Models {
        let mut models = self.clone();
        for model in models.0.values_mut() {
            (model.file, model.budget, model.over) = Default::default();
        }
        models
    }

    /// Reads and checks the files, and notes what they are. An error names the settings' file, where there is one,
    /// and the key.
    pub fn load(&mut self, settings: Option<&Path>) -> Result<(), String> {
        for (name, model) in &mut self.0 {
            let (ready, hash) = model.load(name).map_err(|what| within(settings, &what))?;
            model.sha256 = Some(hash);
            model.bits = Some(bits(&ready));
            model.ready = Loaded(Some(ready));
        }
        Ok(())
    }

    /// All of them, ready to run, from their files where they are not loaded yet.
    pub(crate) fn ready(&self, all: &Config) -> Result<Vec<ScoreConfig>, String> {
        let models = self.0.iter().map(|(name, model)| {
            let ready = match &model.ready.0 {
                Some(ready) => ready.clone(),
                None => model.load(name)?.0,
            };
            Ok(ScoreConfig {
                name: name.clone(),
                inputs: model.inputs(name, all)?,
                every_ns: match model.on {
                    On::Event => 0,
                    On::Every(span) => span.0,
                },
                budget_ns: model.budget.map(|budget| budget.0 as u64),
                model: ready,
            })
        });
        models.collect()
    }

    /// Runs those that have a budget for a while, and says which take longer; the second is whether a
    /// new run is not to begin. As in [`load`](Models::load), each names the settings' file.
    pub fn pace(&self, settings: Option<&Path>) -> Result<Vec<(String, bool)>, String> {
        let mut slow = Vec::new();
        for (name, model) in &self.0 {
            let Some(budget) = model.budget else { continue };
            let ready = match &model.ready.0 {
                Some(ready) => ready.clone(),
                None => model.load(name).map_err(|what| within(settings, &what))?.0,
            };
            let pace = ready.pace();
            if pace.p99_ns > budget.0 as u64 {
                let [p50, p99] = [pace.p50_ns, pace.p99_ns].map(|ns| ns as f64 / 1e3);
                let said = format!(
                    "models.{name}.budget: an inference takes {p50:.1} us here, and one of a hundred \
                     {p99:.1} us or more: above its budget of {budget}"
                );
                slow.push((within(settings, &said), model.over == OverBudget::Refuse));
            }
        }
        Ok(slow)
    }
}
