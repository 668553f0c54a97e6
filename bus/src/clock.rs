//! What time it is. Results never depend on it: it stamps latency and decides when to rest.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fixed::Ts;

/// Two clocks in one: a steady one for durations, and the time of day.
pub trait Clock {
    /// Nanoseconds since some fixed moment; never goes back.
    fn now_ns(&self) -> u64;
    /// The time of day.
    fn wall(&self) -> Ts;
}

/// The machine's clock: the processor's time stamp counter where it is steady.
#[derive(Clone, Debug)]
pub struct MachineClock {
    clock: quanta::Clock,
    start: quanta::Instant,
}

impl MachineClock {
    /// Calibrates once per process (some milliseconds), later calls are quick.
    pub fn new() -> MachineClock {
        let clock = quanta::Clock::new();
        let start = clock.now();
        MachineClock { clock, start }
    }
}

impl Default for MachineClock {
    fn default() -> MachineClock {
        MachineClock::new()
    }
}

impl Clock for MachineClock {
    #[inline]
    fn now_ns(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_nanos() as u64
    }

    fn wall(&self) -> Ts {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ts(since.as_nanos() as i64)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct SimClock {
    now_ns: Cell<u64>,
}

impl SimClock {
    /// Moves the time on.
    pub fn advance_ns(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
    }
}

impl Clock for SimClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn wall(&self) -> Ts {
        Ts(self.now_ns.get() as i64)
    }
}

impl<C: Clock> Clock for &C {
    fn now_ns(&self) -> u64 {
        (**self).now_ns()
    }

    fn wall(&self) -> Ts {
        (**self).wall()
    }
}
