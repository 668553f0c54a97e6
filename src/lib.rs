//! The pipeline: configuration, threads, the shard, run directories and reports.
//!
//! Start with `core`, what one core concludes from its symbols' events; `shard` is its loop with
//! the log before it and the gateway behind it; `pipeline` runs the threads, which `rest`. `run_dir` is what a
//! run leaves behind, with `digest`, `latency` and `tables`; `config` is every setting, `host`
//! what of them is asked of the machine, `kill` what stops orders, `copies` what says them in another form, `session` the trading day,
//! `quarantine` what was not understood, `series` several runs one after the other, `seek` the
//! books of a run at any time, `term` what people see.
//! `lockstep` holds books against their plain twin. `lab` measures all of that and is no part of it.

#![forbid(unsafe_code)]

pub mod config;
pub mod copies;
pub mod core;
pub mod digest;
pub mod guard;
pub mod host;
pub mod kill;
pub mod lab;
pub mod latency;
pub mod lockstep;
pub mod order_session;
pub mod pipeline;
pub mod positions;
pub mod quarantine;
pub mod recovery;
pub mod reference;
pub mod rest;
pub mod results;
pub mod run_dir;
pub mod savepoint;
pub mod seek;
pub mod series;
pub mod session;
pub mod shard;
pub mod summary;
pub mod tables;
pub mod term;
pub mod throttle;
pub mod venue;
