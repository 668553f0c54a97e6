//! From the reader to one shard: a lock-free ring with one writer and one reader.
//!
//! The only place that knows `rtrb`.

use crate::event::Event;

/// The reader's end.
#[derive(Debug)]
pub struct Sender<T = Event> {
    ring: rtrb::Producer<T>,
    capacity: usize,
}

/// The shard's end.
#[derive(Debug)]
pub struct Receiver<T = Event> {
    ring: rtrb::Consumer<T>,
}

/// Some items at the front of a ring, still in it.
#[derive(Debug)]
pub struct Batch<'a, T = Event> {
    chunk: rtrb::chunks::ReadChunk<'a, T>,
}

/// A ring for `capacity` items.
pub fn ring<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
    (
        Sender {
            ring: producer,
            capacity,
        },
        Receiver { ring: consumer },
    )
}

impl<T: Copy> Sender<T> {
    /// Puts as many of `items` into the ring as there is room for, in order; says how many.
    ///
    /// How far the shard has come is asked for only where the room known from before does not
    /// suffice: each such look takes a cache line from the shard's core, before the push.
    #[inline]
    pub fn push(&mut self, items: &[T]) -> usize {
        let count = match self.ring.cached_slots() >= items.len() {
            true => items.len(),
            false => items.len().min(self.ring.slots()),
        };
        if count == 0 {
            return 0;
        }
        let Ok(chunk) = self.ring.write_chunk_uninit(count) else {
            return 0;
        };
        chunk.fill_from_iter(items[..count].iter().copied())
    }

    /// How many items wait in the ring now. Takes a cache line from the shard's core.
    pub fn waiting(&self) -> usize {
        self.capacity - self.ring.slots()
    }

    /// Whether the shard's end is gone.
    pub fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl<T> Receiver<T> {
    /// Up to `max` items from the front, or `None` when the ring is empty.
    #[inline]
    pub fn batch(&mut self, max: usize) -> Option<Batch<'_, T>> {
        let count = self.ring.slots().min(max);
        if count == 0 {
            return None;
        }
        let chunk = self.ring.read_chunk(count).ok()?;
        Some(Batch { chunk })
    }

    /// Whether something waits. Costs next to nothing while nothing does.
    #[inline]
    pub fn has_some(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether nothing waits and nothing will come any more.
    pub fn is_finished(&self) -> bool {
        // The order matters: what the writer pushed before it left is seen by the second look.
        self.ring.is_abandoned() && self.ring.is_empty()
    }
}

impl<T> Batch<'_, T> {
    /// The items, in order, in one or two pieces.
    #[inline]
    pub fn slices(&self) -> (&[T], &[T]) {
        self.chunk.as_slices()
    }

    /// Takes the first `count` of them out of the ring.
    #[inline]
    pub fn commit(self, count: usize) {
        self.chunk.commit(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn numbered(range: std::ops::Range<u64>) -> Vec<Event> {
        range
            .map(|seq| Event {
                seq,
                ..Event::new(Kind::Add)
            })
            .collect()
    }

    #[test]
    fn what_does_not_fit_stays_with_the_writer() {
        let (mut tx, mut rx) = ring::<Event>(4);
        let events = numbered(0..6);
        assert_eq!(tx.push(&events), 4);
        assert_eq!(tx.push(&events[4..]), 0);
        assert!(rx.has_some());
        let batch = rx.batch(3).unwrap();
        assert_eq!(batch.slices().0.len(), 3);
        batch.commit(2);
        assert_eq!(tx.push(&events[4..]), 2);
        let batch = rx.batch(64).unwrap();
        let (front, back) = batch.slices();
        let seqs: Vec<u64> = front.iter().chain(back).map(|e| e.seq).collect();
        assert_eq!(seqs, [2, 3, 4, 5]);
        batch.commit(4);
        assert!(rx.batch(64).is_none() && !rx.has_some() && !rx.is_finished());
        drop(tx);
        assert!(rx.is_finished());
    }

    #[test]
    fn two_threads_lose_and_double_nothing() {
        const COUNT: u64 = 200_000;
        let (mut tx, mut rx) = ring::<Event>(64);
        let writer = std::thread::spawn(move || {
            let events = numbered(0..COUNT);
            let mut rest = &events[..];
            while !rest.is_empty() {
                let count = tx.push(&rest[..rest.len().min(48)]);
                rest = &rest[count..];
                std::hint::spin_loop();
            }
        });
        let mut next = 0;
        while !rx.is_finished() {
            let Some(batch) = rx.batch(32) else { continue };
            let (front, back) = batch.slices();
            for event in front.iter().chain(back) {
                assert_eq!(event.seq, next);
                next += 1;
            }
            let count = front.len() + back.len();
            batch.commit(count);
        }
        writer.join().unwrap();
        assert_eq!(next, COUNT);
    }
}
