//! Pinning threads to cores, real-time priority, locked memory, and what kind of machine this is.
//!
//! `pin` binds a thread to a core; `realtime` asks for what a thread or the process may need
//! beyond that; `host` says in short what machine this is; `doctor` looks at all that decides about
//! latency. The last two read, and never change anything.
//! Depends on nothing of ours.

#![forbid(unsafe_code)]

pub mod doctor;
pub mod host;
pub mod pin;
pub mod realtime;
