//! A model in ONNX, made ready at start and then asked for one number at a time.
//!
//! [`Model::load`] takes a file's bytes and says in one line what does not fit; [`Runner`] is a model at
//! work in one thread. Without the feature `runtime` there is no model, and `load` says how to build one
//! in. Knows nothing of ours: how inputs come about is for `analytics/src/scores.rs`.
//!
//! Format: <https://onnx.ai/onnx/repo-docs/IR.html>. What is run is the package `tract-onnx`.

#![forbid(unsafe_code)]

#[cfg(not(feature = "runtime"))]
mod absent;
#[cfg(feature = "runtime")]
mod present;
#[cfg(feature = "runtime")]
mod shape;
#[cfg(all(test, feature = "runtime"))]
mod tests;

#[cfg(not(feature = "runtime"))]
pub use absent::{Model, Runner};
#[cfg(feature = "runtime")]
pub use present::{Model, Runner};

/// What is asked of a file.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How many inputs one inference takes.
    pub inputs: usize,
    /// Which output is looked at; `None` for the only one.
    pub output: Option<&'a str>,
    /// Which of its elements, from 0; `None` for the only one.
    pub index: Option<usize>,
}

/// What a runner did. Of one process, and nothing is concluded from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inferences.
    pub runs: u64,
    /// Those that took longer than the budget, where there is one.
    pub over: u64,
    /// The longest of them, in nanoseconds, where there is a budget.
    pub longest_ns: u64,
    /// Those that ended in an error, and so in no number.
    pub failed: u64,
}

/// How long an inference takes, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Half take at most this.
    pub p50_ns: u64,
    /// 99 of 100 take at most this.
    pub p99_ns: u64,
}
