//! Events that wait for room on their shard's ring.

use bus::Event;
use bus::ring::Sender;

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
    /// Events that waited in the ring before a push, summed over all pushes.
    pub waiting_sum: u64,
    /// The most events that ever waited.
    pub waiting_max: u64,
    /// How many times a push found less room than it needed.
    pub full_count: u64,
}

impl RingStats {
    /// How many events waited before a push, on average.
    pub fn waiting_mean(&self) -> f64 {
        self.waiting_sum as f64 / self.pushes.max(1) as f64
    }
}

/// One queue for each ring. Invariant: the events of a queue up to `sent` are on the ring.
#[derive(Debug)]
pub(super) struct Stage {
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    events: Vec<Event>,
    sent: usize,
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
            events: Vec::with_capacity(STAGE_EVENTS),
            sent: 0,
            ring,
            resume_after,
            last_pushed: None,
            stats: RingStats::default(),
        };
        Stage {
            queues: rings.into_iter().zip(resume_after).map(queue).collect(),
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.queues.len()
    }

    /// Adds an event; pushes when a batch is together.
    #[inline(always)]
    pub(super) fn put(&mut self, shard: usize, event: Event) {
        let queue = &mut self.queues[shard];
        queue.events.push(event);
        if queue.events.len().is_multiple_of(BATCH_EVENTS) {
            queue.flush();
        }
    }

    /// Pushes all that there is room for; says whether nothing is left.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        let mut is_empty = true;
        for queue in &mut self.queues {
            if !queue.events.is_empty() {
                queue.flush();
                is_empty &= queue.events.is_empty();
            }
        }
        is_empty
    }

    /// A shard that events wait for, and that is gone.
    #[cold]
    pub(super) fn gone(&self) -> Option<usize> {
        self.queues
            .iter()
            .position(|q| !q.events.is_empty() && q.ring.is_abandoned())
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
    fn flush(&mut self) {
        if self.resume_after > 0 {
            self.skip_known();
        }
        let waiting = &self.events[self.sent..];
        if !waiting.is_empty() {
            let before = self.ring.waiting() as u64;
            let count = self.ring.push(waiting);
            self.stats.events += count as u64;
            self.stats.pushes += 1;
            self.stats.waiting_sum += before;
            self.stats.waiting_max = self.stats.waiting_max.max(before + count as u64);
            self.stats.full_count += u64::from(count < waiting.len());
            if count > 0 {
                self.last_pushed = Some(waiting[count - 1].seq);
            }
            self.sent += count;
        }
        if self.sent == self.events.len() {
            self.events.clear();
            self.sent = 0;
        }
    }

    /// Passes over what the shard has already. Numbers rise, so this ends for good once one is
    /// greater.
    #[cold]
    fn skip_known(&mut self) {
        let waiting = &self.events[self.sent..];
        self.sent += waiting.partition_point(|event| event.seq <= self.resume_after);
        if self.sent < self.events.len() {
            self.resume_after = 0;
        }
    }
}
