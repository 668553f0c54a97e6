//! Pinning threads to cores, and what kind of machine this is.
//!
//! `pin` binds a thread to a core; `host` reads, and never changes, what decides about latency.
//! Depends on nothing of ours.

#![forbid(unsafe_code)]

pub mod host;
pub mod pin;
