//! The latency lab: runs of the product under a load that does not wait for it, and what may be
//! said about the figures.
//!
//! Read in this order: `tape` (an input in memory, and when each packet of it is due), `source`
//! (delivers it then), `trial` (runs it through the pipeline), `host` (what the machine did
//! meanwhile), `verdict` (whether the figures stand), `series` (several trials as one result),
//! `report` (what is written). `hunt` looks for the highest rate that is held, `compare` sets
//! results side by side, `jitter` watches the machine alone, `wire` measures from outside of the
//! process. `html` and under it `chart` draw.
//!
//! The lab runs `pipeline::run_measured`, the same threads and the same code as `replay` and
//! `run`; nothing of the product knows of the lab.

pub mod compare;
pub mod host;
pub mod html;
pub mod hunt;
pub mod jitter;
pub mod report;
pub mod series;
pub mod source;
pub mod stall;
pub mod tape;
pub mod trial;
pub mod units;
pub mod verdict;
pub mod wire;
