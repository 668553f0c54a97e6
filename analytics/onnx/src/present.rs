//! Models, by the package `tract-onnx`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable, TVec, Tensor, TractResult,
    TypedRunnableModel, TypedSimpleState, tvec,
};

use crate::{Counts, Pace, Wanted, shape};

/// A model that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Model(Arc<Ready>);

struct Ready {
    plan: Arc<TypedRunnableModel>,
    shape: TVec<usize>,
    inputs: usize,
    index: usize,
    /// Of its bytes and what was wanted, to tell models apart.
    identity: u64,
    bits: u64,
}

/// Inputs that are tried to know a model's bits.
const TRIED: usize = 64;
/// How often a model runs before it is timed, how often then, and how long that may take at most.
const WARM: usize = 200;
const TIMED: usize = 2_000;
const TIMED_MAX: Duration = Duration::from_millis(300);
const TIMED_MIN: usize = 20;

impl Model {
    /// Whether this program has models.
    pub const IS_BUILT_IN: bool = true;

    /// Reads, checks and optimises a file's bytes; what does not fit is said in one line.
    pub fn load(bytes: &[u8], wanted: Wanted<'_>) -> Result<Model, String> {
        assert!(wanted.inputs > 0, "a model of nothing");
        // The runtime is given what anyone may have written, and asserts here and there.
        let loaded = catch_unwind(AssertUnwindSafe(|| load(bytes, wanted)));
        loaded.unwrap_or_else(|_| Err("the runtime gives up on it".into()))
    }

    /// A number made of what it says of a few inputs: where it differs, this machine's instructions or
    /// another version of the runtime give other last bits.
    pub fn bits(&self) -> u64 {
        self.0.bits
    }

    /// How long it takes on this machine, now.
    pub fn pace(&self) -> Pace {
        let mut runner = self.runner(None);
        let mut inputs = Tries::new(self.0.inputs);
        let begin = Instant::now();
        for _ in 0..WARM {
            runner.run(inputs.next());
            if begin.elapsed() > TIMED_MAX {
                break;
            }
        }
        let mut times = Vec::with_capacity(TIMED);
        let begin = Instant::now();
        while times.len() < TIMED && (times.len() < TIMED_MIN || begin.elapsed() < TIMED_MAX) {
            let input = inputs.next();
            let before = Instant::now();
            runner.run(input);
            times.push(before.elapsed().as_nanos() as u64);
        }
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        Pace {
            p50_ns: at(0.5),
            p99_ns: at(0.99),
        }
    }

    /// One at work; those that take longer than the budget are counted.
    pub fn runner(&self, budget_ns: Option<u64>) -> Runner {
        Runner {
            state: self.0.plan.spawn().expect("spawned when it was loaded"),
            model: self.clone(),
            budget_ns,
            counts: Counts::default(),
        }
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        self.0.identity == other.0.identity
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({:016x})", self.0.identity)
    }
}

fn load(bytes: &[u8], wanted: Wanted<'_>) -> Result<Model, String> {
    let onnx = tract_onnx::onnx();
    let proto: ModelProto = onnx
        .proto_model_for_read(&mut &*bytes)
        .map_err(|e| format!("is not an ONNX model: {}", told(&e)))?;
    let is_known = |operator: &str| onnx.op_register.0.contains_key(operator);
    let (shape, output) = shape::check(&proto, &wanted, is_known)?;
    let model = onnx.model_for_proto_model(&proto).map_err(|e| told(&e))?;
    let outlet = model.output_outlets().map_err(|e| told(&e))?.to_vec();
    let graph = proto.graph.as_ref().expect("it was checked");
    let place = graph.output.iter().position(|value| value.name == output);
    let outlet = outlet[place.expect("it was found")];
    let fact = InferenceFact::dt_shape(f32::datum_type(), &shape[..]);
    let ready = || -> TractResult<_> {
        let mut model = model.with_input_fact(0, fact)?;
        model.select_output_outlets(&[outlet])?;
        let model = model.into_optimized()?;
        let fact = model.output_fact(0)?;
        let kind = fact.datum_type;
        let size = fact.shape.as_concrete().map(|dims| dims.to_vec());
        Ok((model.into_runnable()?, kind, size))
    };
    let (plan, kind, size) = ready().map_err(|e| told(&e))?;
    let is_float = kind == f32::datum_type() || kind == f64::datum_type();
    let Some(dims) = size.filter(|_| is_float) else {
        return Err(format!(
            "output `{output}` is {kind:?} of a size that is not fixed or no float, want float32 or \
             float64 of a fixed size"
        ));
    };
    let count: usize = dims.iter().product();
    let index = match (wanted.index, count) {
        (None, 1) => 0,
        (Some(index), _) if index < count => index,
        (Some(index), _) => {
            return Err(format!(
                "output `{output}` has {count} elements, want `index` below that, not {index}"
            ));
        }
        (None, _) => {
            return Err(format!(
                "output `{output}` has {count} elements {dims:?}, want one, or `index` to say which"
            ));
        }
    };
    let mut identity = Mix(wanted.inputs as u64 ^ (index as u64) << 32);
    for chunk in bytes.chunks(8).chain(output.as_bytes().chunks(8)) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        identity.take(u64::from_le_bytes(word));
    }
    let mut ready = Ready {
        plan,
        shape,
        inputs: wanted.inputs,
        index,
        identity: identity.0,
        bits: 0,
    };
    ready.plan.spawn().map_err(|e| told(&e))?;
    ready.bits = bits(&ready)?;
    Ok(Model(Arc::new(ready)))
}

/// An error of the runtime in one line, from the outside in.
fn told(error: &tract_onnx::prelude::TractError) -> String {
    let text = format!("{error:#}").replace('\n', " ");
    let letters: String = text.chars().take(300).collect();
    letters
}

fn bits(ready: &Ready) -> Result<u64, String> {
    let mut state = ready.plan.spawn().map_err(|e| told(&e))?;
    let mut inputs = Tries::new(ready.inputs);
    let mut mix = Mix(0);
    for _ in 0..TRIED {
        let value = infer(ready, &mut state, inputs.next()).map_err(|e| told(&e))?;
        mix.take(canonical(value).to_bits());
    }
    Ok(mix.0)
}

fn infer(ready: &Ready, state: &mut TypedSimpleState, inputs: &[f32]) -> TractResult<f64> {
    let tensor = Tensor::from_shape(&ready.shape, inputs)?;
    let outputs = state.run(tvec!(tensor.into()))?;
    let output = outputs[0].try_as_plain_ram()?;
    if let Ok(values) = output.as_slice::<f32>() {
        return Ok(f64::from(values[ready.index]));
    }
    Ok(output.as_slice::<f64>()?[ready.index])
}

/// What is no number has many forms, which depend on the machine.
fn canonical(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// A model at work.
pub struct Runner {
    model: Model,
    state: TypedSimpleState,
    budget_ns: Option<u64>,
    counts: Counts,
}

impl Runner {
    /// What it says of these inputs; not a number where that is none.
    pub fn run(&mut self, inputs: &[f32]) -> f64 {
        assert_eq!(inputs.len(), self.model.0.inputs);
        let Some(budget_ns) = self.budget_ns else {
            return self.infer(inputs);
        };
        let before = Instant::now();
        let value = self.infer(inputs);
        let took_ns = before.elapsed().as_nanos() as u64;
        self.counts.over += u64::from(took_ns > budget_ns);
        self.counts.longest_ns = self.counts.longest_ns.max(took_ns);
        value
    }

    fn infer(&mut self, inputs: &[f32]) -> f64 {
        self.counts.runs += 1;
        match infer(&self.model.0, &mut self.state, inputs) {
            Ok(value) => canonical(value),
            Err(_) => self.fail(),
        }
    }

    /// The state may have half of an inference in it.
    #[cold]
    fn fail(&mut self) -> f64 {
        self.counts.failed += 1;
        self.state = self.model.0.plan.spawn().expect("spawned when loaded");
        f64::NAN
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.model, self.counts)
    }
}

/// The finaliser of SplitMix64, over words in order. Source: G. Steele, D. Lea and C. Flood, *Fast
/// splittable pseudorandom number generators*, OOPSLA 2014.
struct Mix(u64);

impl Mix {
    fn take(&mut self, word: u64) {
        let mut x = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = x ^ (x >> 31);
    }
}

/// Inputs from -2 to 2, the same everywhere.
struct Tries {
    mix: Mix,
    inputs: Vec<f32>,
}

impl Tries {
    fn new(count: usize) -> Tries {
        Tries {
            mix: Mix(1),
            inputs: vec![0.0; count],
        }
    }

    fn next(&mut self) -> &[f32] {
        for input in &mut self.inputs {
            self.mix.take(2);
            // 24 bits of it, which a float has exactly.
            *input = (self.mix.0 >> 40) as f32 / (1 << 22) as f32 - 2.0;
        }
        &self.inputs
    }
}
