//! What one line brought of one session: for people, and to know which lines are alive.

use bus::Ts;

use crate::moldudp64::{END_OF_SESSION, Header};
use crate::source::Packet;

/// What a line brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStats {
    /// Packets, heartbeats and ends of session included.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Messages. Those of a copy that was not read count as its header says.
    pub messages: u64,
    /// Messages that this line brought first.
    pub first_copies: u64,
    /// Messages that were there before, from this or another line.
    pub duplicates: u64,
    /// How many times this line skipped messages.
    pub gap_count: u64,
    /// Messages that this line skipped and did not bring later.
    pub missing: u64,
    /// Those of them that no other line brought either.
    pub lost: u64,
    /// Packets with messages that this line had skipped before.
    pub out_of_order: u64,
    /// Packets without messages.
    pub heartbeats: u64,
    /// Packets that said that the session is over.
    pub ends: u64,
    /// The first number it brought; 0 for none.
    pub first: u64,
    /// The number after the highest it brought; 0 for none.
    pub next: u64,
}

impl LineStats {
    /// Messages that this line skipped and another line brought.
    pub fn filled_by_others(&self) -> u64 {
        self.missing.saturating_sub(self.lost)
    }

    /// Adds what the line brought of another session.
    pub fn add(&mut self, other: &LineStats) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.first_copies += other.first_copies;
        self.duplicates += other.duplicates;
        self.gap_count += other.gap_count;
        self.missing += other.missing;
        self.lost += other.lost;
        self.out_of_order += other.out_of_order;
        self.heartbeats += other.heartbeats;
        self.ends += other.ends;
        self.first = if self.first == 0 {
            other.first
        } else {
            self.first
        };
        self.next = self.next.max(other.next);
    }

    #[inline]
    pub(super) fn count_kind(&mut self, count: u16) {
        self.heartbeats += u64::from(count == 0);
        self.ends += u64::from(count == END_OF_SESSION);
    }
}

/// One line of one session.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionLine {
    pub(super) stats: LineStats,
    /// How many packets it brought from beyond the session's first hole.
    pub(super) beyond: u32,
    last: Option<Ts>,
    /// What it skipped last.
    pub(super) missing: Spans,
}

impl SessionLine {
    #[inline]
    pub(super) fn arrived(&mut self, packet: &Packet<'_>, header: &Header) {
        self.stats.packets += 1;
        self.stats.bytes += packet.payload.len() as u64;
        self.stats.count_kind(header.count);
        self.last = packet.ts_recv;
    }

    /// Whether the line still brings packets. Without arrival times, every line does.
    pub(super) fn is_alive(&self, now: Option<Ts>, alive_ns: i64) -> bool {
        let silent_ns = match (now, self.last) {
            (Some(now), Some(last)) => now.since(last),
            _ => 0,
        };
        self.stats.packets > 0 && silent_ns < alive_ns
    }

    /// The line brought the messages from `first` up to but not including `end`; none of them
    /// in a heartbeat, which still says that there are messages up to there.
    #[inline]
    pub(super) fn received(&mut self, first: u64, end: u64, given_up: &Spans) {
        if first == self.stats.next {
            self.stats.next = end;
            return;
        }
        self.received_elsewhere(first, end, given_up);
    }

    #[cold]
    fn received_elsewhere(&mut self, first: u64, end: u64, given_up: &Spans) {
        let stats = &mut self.stats;
        if stats.next == 0 {
            (stats.first, stats.next) = (first, end);
        } else if first > stats.next {
            stats.gap_count += 1;
            stats.missing += first - stats.next;
            stats.lost += given_up.overlap(stats.next, first);
            self.missing.push(stats.next, first);
            stats.next = end;
        } else {
            let (came, were_lost) = self.missing.cut(first, end, given_up);
            stats.out_of_order += u64::from(came > 0);
            stats.missing -= came;
            stats.lost -= were_lost.min(stats.lost);
            stats.first = stats.first.min(first);
            stats.next = stats.next.max(end);
        }
    }
}

/// How many spans are remembered.
const SPANS_MAX: usize = 32;

/// The newest spans of numbers, each from its first up to but not including its end. Older ones
/// are forgotten: they only make statistics exact.
#[derive(Clone, Debug)]
pub(super) struct Spans {
    spans: Vec<(u64, u64)>,
}

impl Default for Spans {
    fn default() -> Spans {
        // One more than is kept: a cut in the middle of a span makes two.
        Spans {
            spans: Vec::with_capacity(SPANS_MAX + 1),
        }
    }
}

impl Spans {
    pub(super) fn push(&mut self, first: u64, end: u64) {
        if self.spans.len() == SPANS_MAX {
            self.spans.remove(0);
        }
        self.spans.push((first, end));
    }

    /// How many numbers of `first..end` are in the spans.
    pub(super) fn overlap(&self, first: u64, end: u64) -> u64 {
        self.spans
            .iter()
            .map(|&(a, b)| b.min(end).saturating_sub(a.max(first)))
            .sum()
    }

    /// Takes `first..end` out of the spans; says how many numbers that were, and how many of
    /// them are in `given_up`.
    fn cut(&mut self, first: u64, end: u64, given_up: &Spans) -> (u64, u64) {
        let (mut came, mut were_lost) = (0, 0);
        let mut index = 0;
        while index < self.spans.len() {
            let (a, b) = self.spans[index];
            let (from, to) = (a.max(first), b.min(end));
            if from >= to {
                index += 1;
                continue;
            }
            came += to - from;
            were_lost += given_up.overlap(from, to);
            self.spans.remove(index);
            if to < b {
                self.spans.insert(index, (to, b));
                index += 1;
            }
            if a < from {
                self.spans.insert(index, (a, from));
                index += 1;
            }
        }
        // A cut in the middle leaves one span more.
        if self.spans.len() > SPANS_MAX {
            self.spans.remove(0);
        }
        (came, were_lost)
    }
}
