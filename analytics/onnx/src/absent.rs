//! In a program that is built without models.

use std::convert::Infallible;

use crate::{Counts, Pace, Wanted};

/// There is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model(Infallible);

/// There is none.
#[derive(Debug)]
pub struct Runner(Infallible);

impl Model {
    /// Whether this program has models.
    pub const IS_BUILT_IN: bool = false;

    /// Says how to build a program that has them.
    pub fn load(_: &[u8], _: Wanted<'_>) -> Result<Model, String> {
        Err("this program was built without ONNX models; build it with \
             `cargo build --release --features onnx`"
            .into())
    }

    #[allow(missing_docs)]
    pub fn bits(&self) -> u64 {
        match self.0 {}
    }

    #[allow(missing_docs)]
    pub fn pace(&self) -> Pace {
        match self.0 {}
    }

    #[allow(missing_docs)]
    pub fn runner(&self, _budget_ns: Option<u64>) -> Runner {
        match self.0 {}
    }
}

impl Runner {
    #[allow(missing_docs)]
    pub fn run(&mut self, _: &[f32]) -> f64 {
        match self.0 {}
    }

    #[allow(missing_docs)]
    pub fn counts(&self) -> Counts {
        match self.0 {}
    }
}
