//! Delivers a tape's packets when they are due, whatever became of those before: an open loop.

use std::sync::Mutex;

use bus::clock::{Clock, MachineClock};
use feed::source::{Line, Pace, Packet, Place, Polled, Source, SourceError, Speed};

use super::tape::Tape;
use crate::pipeline::Timed;

/// How long after the first poll the first packet is due.
const LEAD_NS: u64 = 1_000_000;

/// A packet that comes so long after it was due, although nothing kept us from delivering it, is
/// a late send: the machine took the core away.
pub const LATE_NS: u64 = 1_000_000;

/// How long after the last packet the input ends, so that what a run does at its end is not in the
/// latency of the last packets.
const TAIL_NS: u64 = 5_000_000;

/// How well the schedule was held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// When the schedule began, by the clock.
    pub start_ns: u64,
    /// Packets delivered in the measured span.
    pub packets: u64,
    /// Packets of those that were late without the product's doing.
    pub late: u64,
    /// What the latest of them was late by.
    pub late_ns_max: u64,
    /// Packets delivered in all.
    pub delivered: u64,
    /// Messages in them, each counted once.
    pub messages: u64,
}

/// See the module.
pub struct Scheduled<'a, C = MachineClock> {
    tape: &'a Tape,
    clock: &'a C,
    next: usize,
    /// What is due after the measured span is not played.
    end: usize,
    start_ns: Option<u64>,
    /// Counts from here to there, in nanoseconds from the start.
    span_ns: (u64, u64),
    /// Whether the last poll had nothing to deliver: then nothing but the machine can make the
    /// next packet late.
    was_idle: bool,
    /// A late send came, and what waited behind it is not worked off yet.
    is_behind: bool,
    sent: Sent,
    report: &'a Mutex<Sent>,
}

impl<'a, C: Clock> Scheduled<'a, C> {
    /// Plays the tape once. What became of the schedule is in `report` when the source is gone.
    pub fn new(
        tape: &'a Tape,
        clock: &'a C,
        span_ns: (u64, u64),
        report: &'a Mutex<Sent>,
    ) -> Scheduled<'a, C> {
        Scheduled {
            tape,
            clock,
            next: 0,
            end: tape
                .entries
                .partition_point(|entry| entry.due_ns < span_ns.1),
            start_ns: None,
            span_ns,
            was_idle: true,
            is_behind: false,
            sent: Sent::default(),
            report,
        }
    }

    #[cold]
    fn after_last(&mut self, now_ns: u64) -> Polled<'static> {
        let last_ns = self
            .next
            .checked_sub(1)
            .map_or(0, |at| self.tape.entries[at].due_ns);
        let end_ns = self.start_ns.unwrap_or(0) + last_ns + TAIL_NS;
        match now_ns < end_ns {
            true => Polled::Empty,
            false => Polled::End,
        }
    }

    #[inline]
    fn deliver(&mut self, due_ns: u64, late_ns: u64) {
        if late_ns < LATE_NS {
            self.is_behind = false;
        } else if self.was_idle {
            self.is_behind = true;
        }
        self.was_idle = false;
        self.sent.delivered += 1;
        if due_ns >= self.span_ns.0 && due_ns < self.span_ns.1 {
            self.sent.packets += 1;
            if self.is_behind {
                self.sent.late += 1;
                self.sent.late_ns_max = self.sent.late_ns_max.max(late_ns);
            }
        }
    }
}

impl<C: Clock> Source for Scheduled<'_, C> {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let now_ns = self.clock.now_ns();
        let Some(&entry) = self.tape.entries[..self.end].get(self.next) else {
            return Ok(self.after_last(now_ns));
        };
        let start_ns = *self.start_ns.get_or_insert(now_ns + LEAD_NS);
        let due_ns = start_ns + entry.due_ns;
        if now_ns < due_ns {
            self.was_idle = true;
            return Ok(Polled::Empty);
        }
        self.deliver(entry.due_ns, now_ns - due_ns);
        self.sent.messages += u64::from(entry.messages);
        self.next += 1;
        let payload = &self.tape.bytes[entry.at..entry.at + entry.bytes as usize];
        Ok(Polled::Packet(Packet {
            ts_recv: Some(self.tape.first_ts.plus_ns(entry.due_ns as i64)),
            line: entry.line,
            framing: entry.framing,
            payload,
            wire_bytes: entry.bytes,
            place: Place {
                packet: self.next as u64,
                offset_bytes: entry.at as u64,
                ..Place::default()
            },
        }))
    }

    fn lines(&self) -> &[Line] {
        &self.tape.lines
    }
}

impl<C: Clock> Timed for Scheduled<'_, C> {
    fn pace(&self) -> Option<Pace> {
        Some(Pace {
            start_ns: self.start_ns?,
            first_ts: self.tape.first_ts,
            speed: Speed::ONE,
        })
    }
}

impl<C> Drop for Scheduled<'_, C> {
    fn drop(&mut self) {
        self.sent.start_ns = self.start_ns.unwrap_or(0);
        *self.report.lock().unwrap_or_else(|e| e.into_inner()) = self.sent;
    }
}
