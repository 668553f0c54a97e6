//! What travels through tapeline, how it travels, how it is kept, and how it leaves.
//!
//! Read in this order: `fixed` (prices, quantities, times), `event` (what comes in), `signal`
//! (what is concluded), `market` (what book and analytics say to each other), `ring` (from the
//! reader to a shard), `clock`, `mem`, `log` (what is kept), `state` and `checkpoint` (what need not
//! be replayed), `disk` (where), `oms` (how orders leave), `soupbintcp` (numbered messages over TCP) and
//! `ouch` (orders to a venue in it).
//! `failpoint` lets tests end the process at named places, in builds made for that.
//! Knows nothing of exchanges, books or strategies.

#![deny(unsafe_code)]

pub mod checkpoint;
pub mod clock;
pub mod disk;
pub mod event;
pub mod failpoint;
pub mod fixed;
pub mod log;
pub mod market;
pub mod mem;
pub mod oms;
pub mod ouch;
pub mod planted;
pub mod ring;
pub mod signal;
pub mod soupbintcp;
pub mod state;

pub use event::{Event, Flags, Kind, Side};
pub use fixed::{Notional, Price, Qty, Ts};
pub use market::{Anomalies, Anomaly, Applied, Fill, Level, Phase, Quote};
pub use signal::{Body, Outbox, Signal, SignalKind};
