//! Events that wait for room on their shard's ring.

use bus::ring::Sender;
use bus::{Event, Kind};

/// So many events are pushed at once where there are as many.
const BATCH_EVENTS: usize = 256;

/// Room for all events of the largest UDP payload, whose messages are 14 bytes or more with
/// their length, so that a full ring does not make the stage grow.
const STAGE_EVENTS: usize = 8192;

/// How full a ring was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStats {
    /// Events pushed.
    pub events: u64,
    /// How many times events were pushed.
    pub pushes: u64,
    /// How many times it was looked how many events wait: at each 64th push, and whenever there
    /// was too little room. A look takes a cache line from the shard.
    pub looks: u64,
    /// Events that waited in the ring after a push, summed over all looks.
    pub waiting_sum: u64,
    /// The most events that were seen to wait.
    pub waiting_max: u64,
    /// How many times a push found less room than it needed.
    pub full_count: u64,
}

/// One push in so many is followed by a look at how full the ring is.
const LOOK_EVERY: u64 = 64;

impl RingStats {
    /// How many events waited after a push, on average.
    pub fn waiting_mean(&self) -> f64 {
        self.waiting_sum as f64 / self.looks.max(1) as f64
    }
}

/// One queue for each ring.
#[derive(Debug)]
pub(super) struct Stage {
    queues: Vec<Queue>,
    nowhere: Event,
}

/// ```text
/// 0 ......... sent ......... filled ......... events.len()
///   on the ring    waiting          free, at least one
/// ```
#[derive(Debug)]
struct Queue {
    events: Vec<Event>,
    sent: usize,
    filled: usize,
    ring: Sender,
    /// Events up to this number are on the shard's side already, from an earlier run.
    resume_after: u64,
    last_pushed: Option<u64>,
    stats: RingStats,
}

impl Stage {
    pub(super) fn new(rings: Vec<Sender>, resume_after: &[u64]) -> Stage {
        let resume_after = resume_after.iter().copied().chain(std::iter::repeat(0));
        let queue = |(ring, resume_after)| Queue {
            events: vec![Event::new(Kind::Nothing); STAGE_EVENTS],
            sent: 0,
            filled: 0,
            ring,
            resume_after,
            last_pushed: None,
            stats: RingStats::default(),
        };
        Stage {
            queues: rings.into_iter().zip(resume_after).map(queue).collect(),
            nowhere: Event::new(Kind::Nothing),
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.queues.len()
    }

    /// Where a shard's next event will stand. What is written there counts once
    /// [`Stage::commit`] is called for the shard. A shard that there is not has a slot too, where
    /// nothing ever counts.
    #[inline(always)]
    pub(super) fn slot(&mut self, shard: usize) -> &mut Event {
        match self.queues.get_mut(shard) {
            Some(queue) => &mut queue.events[queue.filled],
            None => &mut self.nowhere,
        }
    }

    /// The event in a shard's slot counts; pushes when a batch is together.
    #[inline(always)]
    pub(super) fn commit(&mut self, shard: usize) {
        let Some(queue) = self.queues.get_mut(shard) else {
            return;
        };
        queue.filled += 1;
        if queue.filled.is_multiple_of(BATCH_EVENTS) {
            queue.batch_is_full();
        }
    }

    /// Adds an event.
    pub(super) fn put(&mut self, shard: usize, event: Event) {
        *self.slot(shard) = event;
        self.commit(shard);
    }

    /// Pushes all that there is room for; says whether nothing is left.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        let mut is_empty = true;
        for queue in &mut self.queues {
            if queue.filled > 0 {
                queue.flush();
                is_empty &= queue.filled == 0;
            }
        }
        is_empty
    }

    /// A shard that events wait for, and that is gone.
    #[cold]
    pub(super) fn gone(&self) -> Option<usize> {
        self.queues
            .iter()
            .position(|q| q.filled > 0 && q.ring.is_abandoned())
    }

    #[inline]
    pub(super) fn last_pushed(&self, shard: usize) -> Option<u64> {
        self.queues[shard].last_pushed
    }

    pub(super) fn stats(&self) -> Vec<RingStats> {
        self.queues.iter().map(|queue| queue.stats).collect()
    }
}

impl Queue {
    #[inline(never)]
    fn batch_is_full(&mut self) {
        self.flush();
        if self.filled == self.events.len() {
            // Only a piece larger than any packet, while its ring is full, comes here.
            self.events
                .resize(self.filled * 2, Event::new(Kind::Nothing));
        }
    }

    fn flush(&mut self) {
        if self.resume_after > 0 {
            self.skip_known();
        }
        let waiting = &self.events[self.sent..self.filled];
        if !waiting.is_empty() {
            let count = self.ring.push(waiting);
            let is_full = count < waiting.len();
            self.stats.events += count as u64;
            self.stats.full_count += u64::from(is_full);
            if is_full || self.stats.pushes.is_multiple_of(LOOK_EVERY) {
                let waiting = self.ring.waiting() as u64;
                self.stats.looks += 1;
                self.stats.waiting_sum += waiting;
                self.stats.waiting_max = self.stats.waiting_max.max(waiting);
            }
            self.stats.pushes += 1;
            if count > 0 {
                self.last_pushed = Some(waiting[count - 1].seq);
            }
            self.sent += count;
        }
        if self.sent == self.filled {
            (self.sent, self.filled) = (0, 0);
        }
    }

    /// Passes over what the shard has already. Numbers rise, so this ends for good once one is
    /// greater.
    #[cold]
    fn skip_known(&mut self) {
        let waiting = &self.events[self.sent..self.filled];
        self.sent += waiting.partition_point(|event| event.seq <= self.resume_after);
        if self.sent < self.filled {
            self.resume_after = 0;
        }
    }
}
