//! A capture at the pace at which it was taken, or a multiple of it.

use std::num::NonZeroU32;

use bus::Ts;
use bus::clock::Clock;

use super::{Line, Polled, Source, SourceError};

/// Recorded time passes this many times as fast as the clock: 10/1, 1/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    recorded: NonZeroU32,
    clock: NonZeroU32,
}

impl Speed {
    /// As it was.
    pub const ONE: Speed = Speed {
        recorded: NonZeroU32::MIN,
        clock: NonZeroU32::MIN,
    };

    /// So many recorded seconds in so many seconds of the clock: `ratio(1, 2)` is half speed.
    pub const fn ratio(recorded: NonZeroU32, clock: NonZeroU32) -> Speed {
        Speed { recorded, clock }
    }

    /// The clock's nanoseconds for so many recorded ones.
    #[inline]
    fn clock_ns(self, recorded_ns: i64) -> i64 {
        let (recorded, clock) = (i64::from(self.recorded.get()), i64::from(self.clock.get()));
        match recorded_ns.checked_mul(clock) {
            Some(scaled) => scaled / recorded,
            None => {
                let scaled = i128::from(recorded_ns) * i128::from(clock) / i128::from(recorded);
                i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
            }
        }
    }
}

/// When each recorded moment is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What the clock said when the first packet was delivered.
    pub start_ns: u64,
    /// The time of the first packet.
    pub first_ts: Ts,
    /// How fast recorded time passes.
    pub speed: Speed,
}

impl Pace {
    /// What the clock says when `ts` is due. Always reckoned from the start, so that nothing
    /// drifts. What was recorded before the first packet is due before the start.
    #[inline]
    pub fn due_ns(&self, ts: Ts) -> u64 {
        self.start_ns
            .saturating_add_signed(self.speed.clock_ns(ts.since(self.first_ts)))
    }
}

/// Delivers the packets of another source when they are due, and says [`Polled::Empty`] before.
///
/// A packet is due by its [`Packet::ts_due`](super::Packet::ts_due); what has no time, and every
/// trouble, comes at once. So does a packet that would be waited for more than
/// [`WAIT_NS_MAX`](Self::WAIT_NS_MAX) of recorded time: one wrong time must not stop a session.
#[derive(Debug)]
pub struct Paced<S, C> {
    inner: S,
    clock: C,
    speed: Speed,
    pace: Option<Pace>,
    /// The time of the last packet that was waited for, or would have been.
    last_ts: Ts,
    counts: PaceCounts,
}

/// How well the pace was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceCounts {
    /// Packets delivered that had a time.
    pub packets: u64,
    /// The sum of what each was late by.
    pub late_ns_sum: u64,
    /// What the latest was late by.
    pub max_late_ns: u64,
    /// What the last one was late by: how far behind we are now.
    pub last_late_ns: u64,
    /// Packets that were not waited for because their time was too far away.
    pub jumps: u64,
}

impl<S: Source, C: Clock> Paced<S, C> {
    /// The longest stretch of recorded time without a packet that is lived through: a day.
    pub const WAIT_NS_MAX: i64 = 86_400 * Ts::SECOND_NS;

    /// Paces `inner` by `clock`, starting with the first poll that finds a packet.
    pub fn new(inner: S, clock: C, speed: Speed) -> Paced<S, C> {
        Paced {
            inner,
            clock,
            speed,
            pace: None,
            last_ts: Ts::MIN,
            counts: PaceCounts::default(),
        }
    }

    /// When each moment is due; `None` before the first packet.
    pub fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// Nothing was asked for during the last so many nanoseconds of the clock, on purpose: what
    /// follows is due that much later.
    pub fn paused(&mut self, clock_ns: u64) {
        if let Some(pace) = &mut self.pace {
            pace.start_ns = pace.start_ns.saturating_add(clock_ns);
        }
    }

    /// How well the pace was held so far.
    pub fn counts(&self) -> PaceCounts {
        self.counts
    }

    /// The source that is paced.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether it is too early for what was recorded at `ts`; if not, counts it as delivered.
    #[inline]
    fn is_early(&mut self, ts: Ts) -> bool {
        let now_ns = self.clock.now_ns();
        let pace = *self.pace.get_or_insert_with(|| {
            self.last_ts = ts;
            Pace {
                start_ns: now_ns,
                first_ts: ts,
                speed: self.speed,
            }
        });
        if ts.since(self.last_ts) > Self::WAIT_NS_MAX {
            self.counts.jumps += 1;
            return false;
        }
        let due_ns = pace.due_ns(ts);
        if now_ns < due_ns {
            return true;
        }
        let late_ns = now_ns - due_ns;
        self.last_ts = ts;
        self.counts.packets += 1;
        self.counts.late_ns_sum = self.counts.late_ns_sum.saturating_add(late_ns);
        self.counts.max_late_ns = self.counts.max_late_ns.max(late_ns);
        self.counts.last_late_ns = late_ns;
        false
    }
}

impl<S: Source, C: Clock> Source for Paced<S, C> {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        if let Some(ts) = self.inner.peek_ts()
            && self.is_early(ts)
        {
            return Ok(Polled::Empty);
        }
        self.inner.poll()
    }

    fn lines(&self) -> &[Line] {
        self.inner.lines()
    }

    fn peek_ts(&mut self) -> Option<Ts> {
        self.inner.peek_ts()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SimSource, SimStep};
    use super::*;
    use bus::clock::SimClock;

    fn speed(recorded: u32, clock: u32) -> Speed {
        let [recorded, clock] = [recorded, clock].map(|n| NonZeroU32::new(n).unwrap());
        Speed::ratio(recorded, clock)
    }

    /// Polls once per nanosecond of the clock, and notes when each packet of these times came.
    fn check(speed: Speed, times: &[i64], want_at_ns: &[u64]) {
        let script = times
            .iter()
            .map(|&ts| SimStep::packet(Some(Ts(ts)), 0, b"x"))
            .collect();
        let clock = SimClock::default();
        clock.advance_ns(1_000);
        let mut paced = Paced::new(SimSource::new(&["a"], script), &clock, speed);
        let mut at_ns = Vec::new();
        loop {
            match paced.poll().unwrap() {
                Polled::Packet(packet) => {
                    at_ns.push(clock.now_ns());
                    let due_ns = packet.ts_recv.unwrap();
                    let due_ns = paced.pace().unwrap().due_ns(due_ns);
                    assert!(due_ns <= clock.now_ns() || paced.counts().jumps > 0);
                }
                Polled::Empty => clock.advance_ns(1),
                Polled::End => break,
                Polled::Trouble(trouble) => panic!("{trouble:?}"),
            }
        }
        assert_eq!(at_ns, want_at_ns);
    }

    #[test]
    fn packets_come_when_they_are_due() {
        check(Speed::ONE, &[50, 60, 60, 75], &[1_000, 1_010, 1_010, 1_025]);
        check(
            speed(10, 1),
            &[50, 60, 75, 1_050],
            &[1_000, 1_001, 1_002, 1_100],
        );
        check(speed(1, 2), &[50, 60, 75], &[1_000, 1_020, 1_050]);
        check(
            speed(3, 1),
            &[0, 1, 2, 3, 300],
            &[1_000, 1_000, 1_000, 1_001, 1_100],
        );
    }

    #[test]
    fn a_time_that_goes_back_does_not_stop_the_rest() {
        check(Speed::ONE, &[50, 10, 60], &[1_000, 1_000, 1_010]);
    }

    #[test]
    fn one_time_far_in_the_future_is_not_waited_for() {
        let far = 50 * 365 * 86_400 * Ts::SECOND_NS;
        check(Speed::ONE, &[50, far, 60], &[1_000, 1_000, 1_010]);
    }

    #[test]
    fn a_pause_moves_all_that_follows() {
        let script = [0, 10, 20].map(|ts| SimStep::packet(Some(Ts(ts)), 0, b"x"));
        let clock = SimClock::default();
        let mut paced = Paced::new(SimSource::new(&["a"], script.into()), &clock, Speed::ONE);
        assert!(matches!(paced.poll().unwrap(), Polled::Packet(_)));
        clock.advance_ns(1_005);
        paced.paused(1_000);
        assert!(matches!(paced.poll().unwrap(), Polled::Empty));
        clock.advance_ns(5);
        assert!(matches!(paced.poll().unwrap(), Polled::Packet(_)));
        assert!(matches!(paced.poll().unwrap(), Polled::Empty));
        assert_eq!(paced.counts().max_late_ns, 0);
    }

    #[test]
    fn being_late_is_measured_and_does_not_move_what_follows() {
        let times = [Ts(0), Ts(10), Ts(100)];
        let script = times
            .iter()
            .map(|&ts| SimStep::packet(Some(ts), 0, b"x"))
            .collect();
        let clock = SimClock::default();
        let mut paced = Paced::new(SimSource::new(&["a"], script), &clock, Speed::ONE);
        assert!(matches!(paced.poll().unwrap(), Polled::Packet(_)));
        clock.advance_ns(40);
        assert!(matches!(paced.poll().unwrap(), Polled::Packet(_)));
        assert!(matches!(paced.poll().unwrap(), Polled::Empty));
        clock.advance_ns(60);
        assert!(matches!(paced.poll().unwrap(), Polled::Packet(_)));
        let counts = paced.counts();
        assert_eq!(
            (counts.packets, counts.max_late_ns, counts.last_late_ns),
            (3, 30, 0)
        );
        assert_eq!(counts.late_ns_sum, 30);
    }

    #[test]
    fn extreme_times_and_speeds_stay_in_range() {
        for (recorded, clock) in [(1, u32::MAX), (u32::MAX, 1), (1, 1)] {
            let pace = Pace {
                start_ns: 5,
                first_ts: Ts(0),
                speed: speed(recorded, clock),
            };
            assert!(pace.due_ns(Ts::MAX) > 5);
            assert_eq!(pace.due_ns(Ts::MIN), 0);
        }
    }
}
