//! The pipeline: configuration, threads, the shard, run directories and reports.
//!
//! Start with `shard`, where one core does everything for its symbols; `pipeline` runs the
//! threads; `run` is what a run directory holds; `config` every setting.

#![forbid(unsafe_code)]

pub mod config;
pub mod latency;
pub mod session;
