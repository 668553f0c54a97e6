//! A capture at the pace at which it was taken, at a multiple of it, or at so many messages a second.

use std::num::NonZeroU32;

use bus::Ts;
use bus::clock::Clock;

use super::{Framing, Line, Packet, Polled, Source, SourceError};
use crate::moldudp64::{Blocks, FirstCopies};
use crate::transport::Transports;

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

/// When messages are due that come evenly, whatever times were recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evenly {
    /// What the clock said when the first one was due.
    pub start_ns: u64,
    /// Messages in each second of the clock; more than 0.
    pub per_second: f64,
}

impl Evenly {
    /// What the clock says when that is due which comes behind so many messages. Always reckoned
    /// from the start, so that nothing drifts.
    #[inline]
    pub fn due_ns(&self, messages: u64) -> u64 {
        let after_ns = messages as f64 * 1e9 / self.per_second;
        self.start_ns.saturating_add(after_ns as u64)
    }
}

/// Counts messages as packets bring them, those that several lines bring once.
#[derive(Debug, Default)]
struct Count {
    transports: Transports,
    numbered: FirstCopies,
    messages: u64,
}

impl Count {
    fn add(&mut self, packet: &Packet<'_>) {
        let new = match packet.framing {
            Framing::LengthPrefixed | Framing::Records(_) => {
                Blocks::new(packet.payload).count() as u64
            }
            Framing::MoldUdp64 | Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_) => {
                match self.transports.as_mold(packet) {
                    Ok(packet) => self.numbered.count(packet.payload),
                    // Of no message is known that it is in there.
                    Err(_) => 0,
                }
            }
        };
        self.messages = self.messages.saturating_add(new);
    }
}

/// Delivers the packets of another source when they are due, and says [`Polled::Empty`] before.
///
/// A packet is due by its [`Packet::ts_due`](super::Packet::ts_due); what has no time, and every
/// trouble, comes at once. So does a packet that would be waited for more than
/// [`WAIT_NS_MAX`](Self::WAIT_NS_MAX) of recorded time: one wrong time must not stop a session.
///
/// At a rate, whatever comes behind so many messages is due when they have had their time, with
/// and without a time of its own, and the end too. A message that several lines bring counts once,
/// as far as their packets number it in one session.
#[derive(Debug)]
pub struct Paced<S, C> {
    inner: S,
    clock: C,
    speed: Speed,
    /// What was delivered, and how many messages a second are due, where recorded times say nothing.
    evenly: Option<(Count, f64)>,
    /// Since when these are due.
    schedule: Option<Evenly>,
    pace: Option<Pace>,
    /// The time of the last packet that was waited for, or would have been.
    last_ts: Ts,
    counts: PaceCounts,
}

/// How well the pace was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaceCounts {
    /// Packets delivered that had a time; at a rate, all.
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
            evenly: None,
            schedule: None,
            pace: None,
            last_ts: Ts::MIN,
            counts: PaceCounts::default(),
        }
    }

    /// Delivers so many messages of `inner` in each second of `clock`, evenly, starting with the
    /// first poll. `per_second` is more than 0.
    pub fn at_rate(inner: S, clock: C, per_second: f64) -> Paced<S, C> {
        assert!(
            per_second > 0.0,
            "{per_second} messages a second never end: want more than 0"
        );
        Paced {
            evenly: Some((Count::default(), per_second)),
            ..Paced::new(inner, clock, Speed::ONE)
        }
    }

    /// When each recorded moment is due; `None` before the first packet, and at a rate.
    pub fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// Nothing was asked for during the last so many nanoseconds of the clock, on purpose: what
    /// follows is due that much later.
    pub fn paused(&mut self, clock_ns: u64) {
        if let Some(pace) = &mut self.pace {
            pace.start_ns = pace.start_ns.saturating_add(clock_ns);
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.start_ns = schedule.start_ns.saturating_add(clock_ns);
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
        self.last_ts = ts;
        self.counts.add(now_ns - due_ns);
        false
    }

    /// The next packet, once the messages before it have had their time.
    fn poll_evenly(&mut self) -> Result<Polled<'_>, SourceError> {
        let (count, per_second) = self.evenly.as_mut().expect("it is polled at a rate");
        let now_ns = self.clock.now_ns();
        let schedule = self.schedule.get_or_insert(Evenly {
            start_ns: now_ns,
            per_second: *per_second,
        });
        let due_ns = schedule.due_ns(count.messages);
        if now_ns < due_ns {
            return Ok(Polled::Empty);
        }
        let polled = self.inner.poll()?;
        if let Polled::Packet(packet) = &polled {
            count.add(packet);
            self.counts.add(now_ns - due_ns);
        }
        Ok(polled)
    }
}

impl PaceCounts {
    /// A packet came so long after it was due.
    #[inline]
    fn add(&mut self, late_ns: u64) {
        self.packets += 1;
        self.late_ns_sum = self.late_ns_sum.saturating_add(late_ns);
        self.max_late_ns = self.max_late_ns.max(late_ns);
        self.last_late_ns = late_ns;
    }
}

impl<S: Source, C: Clock> Source for Paced<S, C> {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        if self.evenly.is_some() {
            return self.poll_evenly();
        }
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
    use crate::moldudp64::{Header, SessionId};
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

    /// A MoldUDP64 packet of so many messages of one byte.
    fn mold(session: u8, sequence: u64, count: u16) -> Vec<u8> {
        let header = Header {
            session: SessionId([session; 10]),
            sequence,
            count,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([0, 1, b'x'].repeat(count.into()));
        bytes
    }

    /// Polls once per nanosecond of the clock; when each packet came, and the end.
    fn at_rate(script: Vec<SimStep>, per_second: f64, pause_at_ns: Option<u64>) -> Vec<u64> {
        let clock = SimClock::default();
        clock.advance_ns(1_000);
        let mut paced = Paced::at_rate(SimSource::new(&["a", "b"], script), &clock, per_second);
        let mut at_ns = Vec::new();
        loop {
            match paced.poll().unwrap() {
                Polled::Packet(_) => at_ns.push(clock.now_ns()),
                Polled::Empty => clock.advance_ns(1),
                Polled::End => break,
                Polled::Trouble(trouble) => panic!("{trouble:?}"),
            }
            if pause_at_ns == Some(clock.now_ns()) {
                clock.advance_ns(500);
                paced.paused(500);
            }
        }
        assert_eq!(paced.counts().packets, at_ns.len() as u64);
        assert_eq!(paced.counts().max_late_ns, 0);
        at_ns.push(clock.now_ns());
        at_ns
    }

    #[test]
    fn messages_come_evenly_whatever_their_times_are() {
        let script = || {
            let packet = |at: i64, count, sequence| {
                SimStep::packet(Some(Ts(at)), 0, &mold(b'a', sequence, count))
            };
            vec![packet(50, 1, 1), packet(10, 3, 2), packet(99, 2, 5)]
        };
        // One in 10 ns.
        assert_eq!(at_rate(script(), 1e8, None), [1_000, 1_010, 1_040, 1_060]);
        // Three in 20 ns: reckoned from the start, what is rounded does not add up.
        assert_eq!(at_rate(script(), 1.5e8, None), [1_000, 1_006, 1_026, 1_040]);
        // A pause moves all that follows.
        let paused = at_rate(script(), 1e8, Some(1_020));
        assert_eq!(paused, [1_000, 1_010, 1_540, 1_560]);
    }

    #[test]
    fn a_message_of_two_lines_counts_once_at_a_rate() {
        let packet = |line, session, sequence, count| {
            SimStep::packet(None, line, &mold(session, sequence, count))
        };
        let script = vec![
            packet(0, b'a', 1, 2),
            packet(1, b'a', 1, 2),
            packet(1, b'a', 3, 2),
            // One of it was there before.
            packet(0, b'a', 2, 4),
            // Another session, a heartbeat, and messages without numbers.
            packet(0, b'b', 1, 1),
            packet(0, b'b', 2, 0),
            packet(0, b'a', 0, 1),
        ];
        assert_eq!(
            at_rate(script, 1e8, None),
            [1_000, 1_020, 1_020, 1_040, 1_050, 1_060, 1_060, 1_070]
        );
    }

    #[test]
    fn a_schedule_stays_in_range() {
        let schedule = Evenly {
            start_ns: 5,
            per_second: 1.0,
        };
        assert_eq!(schedule.due_ns(3), 3_000_000_005);
        assert_eq!(schedule.due_ns(u64::MAX), u64::MAX);
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
