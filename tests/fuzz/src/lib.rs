//! What the fuzz targets do with their input: here, so that a find can be made a test.
//!
//! ```sh
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz log tests/fuzz/seeds/log -- \
//!     -dict=tests/fuzz/log.dict -max_total_time=60
//! ```
//!
//! With `TAPELINE_PLANTED` in the environment, the bug of that name is planted: a target that goes
//! on for long with one proves nothing.

#![deny(unsafe_code)]

pub mod captures;
pub mod checkpoint;
pub mod fix;
pub mod input;
pub mod journal;
#[allow(unsafe_code)]
pub mod largest;
pub mod log;
pub mod messages;
pub mod ouch;
pub mod soup;

use bus::planted::{Bug, Planted, plant};

/// The bug that the environment asks for.
pub fn planted() -> Option<Planted> {
    let name = std::env::var("TAPELINE_PLANTED").ok()?;
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    Some(plant(bug.unwrap_or_else(|| {
        panic!("TAPELINE_PLANTED={name}: no such bug")
    })))
}
