//! Sources that know when what they deliver was due.

use std::num::NonZeroU32;

use bus::Ts;
use bus::clock::{Clock, MachineClock};
use feed::retransmit::{AskCounts, Asked, Missing};
use feed::source::{Capture, Pace, Paced, Polled, Source, SourceError, Speed};

use crate::config;

/// How often the clock and the time of day are read to relate them.
const CLOCK_READINGS: usize = 16;

/// A speed as the feed wants it: a ratio of whole numbers.
pub fn paced_speed(times: f64) -> Speed {
    const SCALE: f64 = 10_000.0;
    let recorded = (times * SCALE).round().clamp(1.0, f64::from(u32::MAX)) as u32;
    let one = NonZeroU32::MIN;
    Speed::ratio(
        NonZeroU32::new(recorded).unwrap_or(one),
        NonZeroU32::new(SCALE as u32).unwrap_or(one),
    )
}

/// A source at the speed that the settings say; the source itself where that is full speed, which
/// needs no clock.
pub fn paced<S: Source, C: Clock>(
    source: S,
    clock: C,
    speed: config::Speed,
) -> Result<Paced<S, C>, S> {
    match speed {
        config::Speed::Max => Err(source),
        config::Speed::Times(times) => Ok(Paced::new(source, clock, paced_speed(times))),
        config::Speed::Rate(rate) => Ok(Paced::at_rate(source, clock, rate.0)),
    }
}

/// A source that knows when what it delivers was due.
pub trait Timed: Source {
    /// What maps capture times to the clock's; `None` while unknown, or for full speed.
    fn pace(&self) -> Option<Pace>;

    /// The process did not run for so long: what follows is due that much later, if this source can
    /// wait. Whether it does.
    fn paused(&mut self, _clock_ns: u64) -> bool {
        false
    }

    /// By the clock, when the first packet since the last call was received; `None` for sources
    /// that have their packets at hand.
    fn received_ns(&mut self) -> Option<u64> {
        None
    }
}

impl Timed for Capture {
    fn pace(&self) -> Option<Pace> {
        None
    }
}

impl<C: Clock> Timed for Paced<Capture, C> {
    fn pace(&self) -> Option<Pace> {
        Paced::pace(self)
    }

    fn paused(&mut self, clock_ns: u64) -> bool {
        Paced::paused(self, clock_ns);
        true
    }
}

/// A live source: packets are due when the kernel received them.
#[derive(Debug)]
pub struct Live<S> {
    inner: S,
    pace: Pace,
    clock: MachineClock,
    received_ns: Option<u64>,
}

impl<S> Live<S> {
    /// Relates the time of day to `clock`, once.
    pub fn new(inner: S, clock: &MachineClock) -> Live<S> {
        // Of several readings the one that took least: in the midst of any of them the thread can be
        // taken off its core, and all latencies would be off by as much.
        let reading = |_| {
            let before_ns = clock.now_ns();
            let first_ts = clock.wall();
            let took_ns = clock.now_ns() - before_ns;
            (took_ns, before_ns + took_ns / 2, first_ts)
        };
        let readings = (0..CLOCK_READINGS).map(reading);
        let (_, start_ns, first_ts) = readings.min().expect("there are some");
        let pace = Pace {
            start_ns,
            first_ts,
            speed: Speed::ONE,
        };
        Live {
            inner,
            pace,
            clock: clock.clone(),
            received_ns: None,
        }
    }
}

impl<S: Source> Source for Live<S> {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let polled = self.inner.poll()?;
        if self.received_ns.is_none() && matches!(polled, Polled::Packet(_)) {
            self.received_ns = Some(self.clock.now_ns());
        }
        Ok(polled)
    }

    fn now(&self) -> Option<Ts> {
        self.inner.now()
    }

    fn lines(&self) -> &[feed::source::Line] {
        self.inner.lines()
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> Asked {
        self.inner.recover(missing, only_answers)
    }

    fn dropped(&self) -> Vec<u64> {
        self.inner.dropped()
    }

    fn asked(&self) -> Option<AskCounts> {
        self.inner.asked()
    }
}

impl<S: Source> Timed for Live<S> {
    fn pace(&self) -> Option<Pace> {
        Some(self.pace)
    }

    fn received_ns(&mut self) -> Option<u64> {
        self.received_ns.take()
    }
}
