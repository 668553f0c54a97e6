//! One session's state: what is expected, what waits, and whether a hole is lost.

use std::collections::VecDeque;

use bus::Ts;

use super::line::{LineStats, SessionLine, Spans};
use super::{Gap, GapRule, RecoveryRule};
use crate::moldudp64::SessionId;
use crate::retransmit::Missing;
use crate::source::Place;

/// How near a second packet must be to confirm one that was put aside, in messages.
const CONFIRM_SPAN: u64 = 10_000;

/// How many nanoseconds of silence explain one missing message: the mean of a very busy feed.
const SILENCE_NS: i64 = 1_000;

/// What is known of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStats {
    /// Its name.
    pub id: SessionId,
    /// The first number that was delivered; `None` while nothing was.
    pub first: Option<u64>,
    /// The number that is expected next.
    pub next: u64,
    /// How many messages were delivered.
    pub messages: u64,
    /// How many times messages were lost on all lines.
    pub gap_count: u64,
    /// How many messages were lost on all lines.
    pub lost: u64,
    /// How many packets were dropped because nothing confirmed their far jump.
    pub dropped_packets: u64,
    /// Whether its end was announced, and everything before it was delivered or given up.
    pub is_ended: bool,
    /// The lines that brought it: their index, and what they brought of it.
    pub lines: Vec<(u8, LineStats)>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The next number to deliver.
    pub(super) expected: u64,
    /// Nothing was delivered yet, and `expected` is only the lowest number possible.
    pub(super) is_joining: bool,
    /// When its last packet arrived, and the one before.
    pub(super) last: Option<Ts>,
    pub(super) before: Option<Ts>,
    pub(super) first: Option<u64>,
    /// How many packets that agree with each other came while joining.
    pub(super) agreeing: u32,
    /// What came too early, by number.
    pub(super) held: VecDeque<Held>,
    pub(super) hole: Hole,
    /// What came from beyond the first hole since a packet was last in order, the newest of it: what
    /// the next holes have waited for already.
    pub(super) early: VecDeque<Early>,
    pub(super) aside: Option<Held>,
    pub(super) dropped: VecDeque<Held>,
    /// The number after the last one, once the session's end was announced.
    pub(super) end: Option<u64>,
    pub(super) must_give_up: bool,
    /// What lies before this number is not asked for any more.
    pub(super) unrecoverable: u64,
    pub(super) lines: Vec<SessionLine>,
    pub(super) given_up: Spans,
    pub(super) messages: u64,
    pub(super) gap_count: u64,
    pub(super) lost: u64,
    pub(super) dropped_packets: u64,
}

/// The first hole: from `expected` to the front of `held`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) expected: u64,
    pub(super) front: u64,
    pub(super) since: Option<Ts>,
}

pub(super) const NO_HOLE: Hole = Hole {
    expected: 0,
    front: 0,
    since: None,
};

/// A packet that came too early.
#[derive(Clone, Copy, Debug)]
pub(super) struct Early {
    pub(super) sequence: u64,
    pub(super) line: u8,
    pub(super) at: Option<Ts>,
}

/// A packet in the hold. A heartbeat that announces a gap is one of no messages and no slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) sequence: u64,
    pub(super) count: u16,
    pub(super) line: u8,
    pub(super) slot: Option<u32>,
    pub(super) len_bytes: u32,
    pub(super) ts_recv: Option<Ts>,
    pub(super) place: Place,
}

impl Held {
    pub(super) fn end(&self) -> u64 {
        self.sequence + u64::from(self.count)
    }
}

impl Session {
    pub(super) fn new(id: SessionId, hold_packets: usize) -> Session {
        Session {
            id,
            expected: 1,
            is_joining: true,
            last: None,
            before: None,
            first: None,
            agreeing: 0,
            held: VecDeque::with_capacity(hold_packets),
            hole: NO_HOLE,
            early: VecDeque::with_capacity(hold_packets),
            aside: None,
            dropped: VecDeque::new(),
            end: None,
            must_give_up: false,
            unrecoverable: 0,
            lines: Vec::new(),
            given_up: Spans::default(),
            messages: 0,
            gap_count: 0,
            lost: 0,
            dropped_packets: 0,
        }
    }

    #[inline]
    pub(super) fn line(&mut self, line: u8) -> &mut SessionLine {
        let index = usize::from(line);
        if index >= self.lines.len() {
            self.lines.resize(index + 1, SessionLine::default());
        }
        &mut self.lines[index]
    }

    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| self.expected >= end) && self.held.is_empty()
    }

    /// Whether all of a packet's messages are in one that is held.
    pub(super) fn is_held(&self, held: &Held) -> bool {
        let behind = self.held.partition_point(|h| h.sequence <= held.sequence);
        let before = behind.checked_sub(1).map(|index| &self.held[index]);
        let is_inside = before.is_some_and(|h| h.end() >= held.end());
        // A heartbeat says nothing new if something is held behind its number.
        is_inside || (held.count == 0 && self.held.back().is_some_and(|h| h.end() >= held.end()))
    }

    pub(super) fn insert(&mut self, held: Held) {
        let index = self.held.partition_point(|h| h.sequence <= held.sequence);
        self.held.insert(index, held);
    }

    /// Whether a packet is too far from all others to be believed alone.
    pub(super) fn is_far(&self, held: &Held, jump_max: u64) -> bool {
        let silent_ns = match (self.last, self.before) {
            (Some(last), Some(before)) => last.since(before).max(0),
            _ => 0,
        };
        let jump_max = jump_max.saturating_add((silent_ns / SILENCE_NS) as u64);
        if !self.is_joining {
            return held.sequence - self.expected > jump_max;
        }
        let front = self.held.front();
        front.is_some_and(|front| front.sequence.abs_diff(held.sequence) > jump_max)
    }

    /// Puts a far packet aside; gives back the one that was aside before if the two agree.
    pub(super) fn put_aside(&mut self, held: Held) -> Option<Held> {
        if let Some(first) = self.aside.take() {
            let is_near = first.sequence.abs_diff(held.sequence) <= CONFIRM_SPAN;
            let is_copy = first.sequence == held.sequence && first.line == held.line;
            if is_near && !is_copy {
                return Some(first);
            }
            self.drop_held(first);
        }
        self.aside = Some(held);
        None
    }

    /// Two packets agree on a far place: the first one joins the held ones. While joining, a
    /// single packet elsewhere was the forged one.
    pub(super) fn take_in(&mut self, first: Held) {
        if self.is_joining && self.held.len() == 1 {
            let forged = self.held.pop_front().expect("there is one");
            self.drop_held(forged);
            self.agreeing = 1;
        }
        let line = &mut self.lines[usize::from(first.line)];
        line.received(first.sequence, first.end(), &self.given_up);
        self.insert(first);
    }

    pub(super) fn drop_held(&mut self, held: Held) {
        self.dropped_packets += 1;
        self.dropped.push_back(held);
    }

    /// A packet came from beyond the first hole.
    pub(super) fn came_early(&mut self, early: Early) {
        let line = &mut self.lines[usize::from(early.line)];
        line.beyond = line.beyond.saturating_add(1);
        if self.early.len() == self.early.capacity() {
            self.early.pop_front();
        }
        self.early.push_back(early);
    }

    /// Starts the hole's time anew if it is another one than before: where it became smaller, now;
    /// where it was behind one that is gone, when the first packet came from beyond it.
    pub(super) fn note_hole(&mut self, now: Option<Ts>) {
        let Some(front) = self.held.front() else {
            return;
        };
        if (self.hole.expected, self.hole.front) == (self.expected, front.sequence) {
            return;
        }
        let mut since = now;
        if self.hole.expected != self.expected {
            self.early.retain(|early| early.sequence > self.expected);
            if let Some(first) = self.early.front() {
                since = first.at;
            }
            for line in &mut self.lines {
                line.beyond = 0;
            }
            for early in &self.early {
                self.lines[usize::from(early.line)].beyond += 1;
            }
        }
        self.hole = Hole {
            expected: self.expected,
            front: front.sequence,
            since,
        };
    }

    /// Its first hole, if that can be asked for.
    pub(super) fn missing(&self, rule: &RecoveryRule) -> Option<Missing> {
        let front = self.held.front()?.sequence;
        // The only packet of a session may be a forged one.
        let is_joined = !self.is_joining || (rule.is_from_first && self.agreeing >= 2);
        let count = front.saturating_sub(self.expected);
        let can_be_had = (1..=rule.messages_max).contains(&count);
        let is_open = self.expected >= self.unrecoverable;
        (is_joined && can_be_had && is_open).then_some(Missing {
            session: self.id,
            first: self.expected,
            count,
        })
    }

    pub(super) fn is_hole_lost(&self, rule: &GapRule, now: Option<Ts>) -> bool {
        if self.is_joining && self.agreeing < 2 {
            // The only packet of a session may be a forged one.
            return false;
        }
        if rule.recovery.is_some_and(|r| self.missing(&r).is_some()) {
            return false;
        }
        let waited_ns = match (now, self.hole.since) {
            (Some(now), Some(since)) => now.since(since),
            _ => 0,
        };
        if waited_ns >= rule.wait_ns {
            return true;
        }
        let answers = rule.recovery.map(|r| usize::from(r.line));
        let mut alive =
            self.lines.iter().enumerate().filter(|(index, line)| {
                Some(*index) != answers && line.is_alive(now, rule.alive_ns)
            });
        let mut has_line = false;
        alive.all(|(_, line)| {
            has_line = true;
            line.beyond > rule.reorder_max
        }) && has_line
    }

    pub(super) fn count_released(&mut self, held: &Held, skip: u16) {
        let line = &mut self.lines[usize::from(held.line)];
        let fresh = u64::from(held.count - skip);
        line.stats.first_copies += fresh;
        line.stats.duplicates += u64::from(skip);
        self.messages += fresh;
        if self.first.is_none() && fresh > 0 {
            self.first = Some(held.sequence + u64::from(skip));
        }
    }

    pub(super) fn count_lost(&mut self, gap: &Gap) {
        self.gap_count += 1;
        self.lost += gap.count;
        let (first, end) = (gap.first, gap.first + gap.count);
        for line in &mut self.lines {
            line.stats.lost += line.missing.overlap(first, end);
        }
        self.given_up.push(first, end);
    }

    pub(super) fn stats(&self, is_ending: bool) -> SessionStats {
        let lines = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.stats.packets > 0);
        SessionStats {
            id: self.id,
            first: self.first,
            next: self.expected,
            messages: self.messages,
            gap_count: self.gap_count,
            lost: self.lost,
            dropped_packets: self.dropped_packets,
            is_ended: self.is_ended(),
            lines: lines
                .map(|(index, line)| {
                    let mut line = line.clone();
                    if is_ending && !self.is_joining {
                        line.received(self.expected, self.expected, &self.given_up);
                    }
                    (index as u8, line.stats)
                })
                .collect(),
        }
    }
}
