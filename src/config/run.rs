//! Threads, memory, time and bounds.

use serde::{Deserialize, Serialize};

use super::units::{Span, Speed};
use super::{MILLI, SECOND};

/// Threads and rings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Run {
    /// How many shards.
    pub shards: usize,
    /// Which threads there are. Results are the same.
    pub model: Model,
    /// Cores: the reader's, then each shard's, or the one of all of them; chosen when empty.
    pub cpus: Vec<usize>,
    /// Events a ring holds.
    pub ring_events: usize,
    /// `max`, a multiple of the recorded pace (`10x`), or messages a second (`2M/s`).
    pub speed: Speed,
}

impl Run {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.shards) {
            return Err(format!("run.shards is {}, want 1 to 64", self.shards));
        }
        let (named, threads) = (self.cpus.len(), self.hot_threads());
        if named != 0 && named != threads {
            let whose = match self.model {
                Model::Pipeline => "one for the reader and one for each shard",
                Model::RunToCompletion => "one thread does it all (run.model)",
            };
            return Err(format!(
                "run.cpus names {named} cores, want {threads}: {whose}"
            ));
        }
        if !(2..=1 << 26).contains(&self.ring_events) {
            return Err(format!(
                "run.ring_events is {}, want 2 to 2^26",
                self.ring_events
            ));
        }
        Ok(())
    }

    /// How many threads spin.
    pub fn hot_threads(&self) -> usize {
        match self.model {
            Model::Pipeline => self.shards + 1,
            Model::RunToCompletion => 1,
        }
    }
}

/// Which threads a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The reader has one and each shard has one, with a ring between: the most throughput.
    Pipeline,
    /// One thread receives, decodes, concludes and sends, packet by packet: the least latency,
    /// for what one core can take.
    RunToCompletion,
}

impl Model {
    /// As the settings have it.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Pipeline => "pipeline",
            Model::RunToCompletion => "run-to-completion",
        }
    }
}

/// What the program asks of the machine. What is refused is said in one line, and done without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Real-time priority (SCHED_FIFO) of the hot threads, 1 to 98; 0 for none. Only on isolated
    /// cores, and where the kernel does not stop real-time threads.
    pub fifo_priority: u8,
    /// Keep all memory from being moved to disk.
    pub lock_memory: bool,
    /// Pages for large arrays.
    pub huge_pages: HugePages,
}

/// Which pages large arrays are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HugePages {
    /// Ordinary ones.
    Off,
    /// Huge ones where the system has some.
    Advised,
    /// From those that were set aside (`vm.nr_hugepages`); `advised` where they do not suffice.
    Reserved,
}

/// How event time moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// How often, in event time, windows and hold times are looked at.
    pub tick: Span,
    /// How far an event may be behind the latest one.
    pub out_of_order: Span,
    /// How far a single event may be ahead of its neighbours.
    pub max_future: Span,
    /// Where there are several sources, time waits for the one that is farthest behind, but not for
    /// one that is farther behind than this. 0 to wait for none.
    #[serde(skip_serializing_if = "is_none")]
    pub idle_after: Span,
}

/// A configuration without it is the text that it was before there was any.
fn is_none(span: &Span) -> bool {
    span.0 == 0
}

impl Default for Run {
    fn default() -> Run {
        Run {
            shards: 1,
            model: Model::Pipeline,
            cpus: Vec::new(),
            ring_events: 65_536,
            speed: Speed::Max,
        }
    }
}

impl Host {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.fifo_priority > tuning::realtime::PRIORITY_MAX {
            return Err(format!(
                "host.fifo_priority is {}, want 0 (none) to {}",
                self.fifo_priority,
                tuning::realtime::PRIORITY_MAX
            ));
        }
        Ok(())
    }
}

impl Default for Host {
    fn default() -> Host {
        Host {
            fifo_priority: 0,
            lock_memory: false,
            huge_pages: HugePages::Advised,
        }
    }
}

impl Default for Time {
    fn default() -> Time {
        Time {
            tick: Span(100 * MILLI),
            out_of_order: Span(0),
            max_future: Span(5 * SECOND),
            idle_after: Span(0),
        }
    }
}

/// What a shard is told to hold at most. Memory is taken as it is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Symbol numbers, from 0.
    pub symbols: usize,
    /// Live orders.
    pub orders: usize,
    /// Price levels with orders.
    pub levels: usize,
}

impl Limits {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(2..=1 << 16).contains(&self.symbols) {
            return Err(format!(
                "limits.symbols is {}, want 2 to 65536",
                self.symbols
            ));
        }
        for (name, value) in [("orders", self.orders), ("levels", self.levels)] {
            if !(1_024..1 << 26).contains(&value) {
                return Err(format!("limits.{name} is {value}, want 1024 to 2^26 - 1"));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            symbols: 65_536,
            orders: 16 << 20,
            levels: 8 << 20,
        }
    }
}
