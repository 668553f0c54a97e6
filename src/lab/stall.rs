//! A sink that holds up its shard once, to see whether the lab notices.

use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use bus::oms::{Gateway, GatewayError};

/// When to hold up, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// So long after the first turn.
    pub after: Duration,
    /// For so long.
    pub length: Duration,
}

/// A gateway behind which another does the work, once its time of doing nothing is over.
#[derive(Debug)]
pub struct Stalling<G, C = MachineClock> {
    inner: G,
    clock: C,
    stall: Option<Stall>,
    first_ns: Option<u64>,
}

impl<G, C: Clock> Stalling<G, C> {
    /// Without a stall it only passes on.
    pub fn new(inner: G, clock: C, stall: Option<Stall>) -> Stalling<G, C> {
        Stalling {
            inner,
            clock,
            stall,
            first_ns: None,
        }
    }

    /// Whether the stall is to begin now; it comes once.
    fn is_due(&mut self) -> Option<Duration> {
        let stall = self.stall?;
        let now_ns = self.clock.now_ns();
        let first_ns = *self.first_ns.get_or_insert(now_ns);
        if u128::from(now_ns - first_ns) < stall.after.as_nanos() {
            return None;
        }
        self.stall = None;
        Some(stall.length)
    }
}

impl<G: Gateway, C: Clock> Gateway for Stalling<G, C> {
    fn has_room(&mut self, message_bytes: usize) -> bool {
        self.inner.has_room(message_bytes)
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.inner.send(message)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        if let Some(length) = self.is_due() {
            let until_ns = self.clock.now_ns() + length.as_nanos() as u64;
            while self.clock.now_ns() < until_ns {
                std::hint::spin_loop();
            }
        }
        self.inner.turn()
    }

    fn waiting(&self) -> usize {
        self.inner.waiting()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        self.inner.finish()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
