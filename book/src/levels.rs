//! What is shown at one price: a pool of levels with ids that do not change while they live.
//!
//! A short queue lies in its level, in the same cache line as all the rest: most are that short,
//! and then an order comes and goes without a look at its neighbours. A longer one is linked from
//! order to order, and comes back into its level when it has become half as long as fits there.

use std::io;

use bus::mem::{self, Array};
use bytemuck::Zeroable;

use crate::orders::{Links, NOBODY};

/// How many orders a level holds itself.
const SHORT: usize = 8;

/// One price of one side. A level without orders stays in its side until that is tidied.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Level {
    /// See [`crate::sides`].
    pub(crate) key: u64,
    /// The sum over its orders.
    pub(crate) qty: i64,
    /// Twice the symbol, and one more for asks; of a free level, [`CLOSED`].
    pub(crate) side: u32,
    pub(crate) count: u32,
    /// Slot of the first order of a linked queue, [`NOBODY`] for a short one; of a free level, the
    /// next free one.
    pub(crate) head: u32,
    /// Slot of the last order of a linked queue.
    tail: u32,
    /// The slots of a short queue, the first to be executed first; `count` of them count.
    short: [u32; SHORT],
}

const _: () = assert!(size_of::<Level>() == 64);

/// No side has this number, so that nobody who still has the id of a level that is free takes it
/// for one of his side.
const CLOSED: u32 = u32::MAX;

impl Level {
    /// Puts an order at the back. `qty` is the caller's to change.
    #[inline(always)]
    pub(crate) fn push(&mut self, slot: u32, links: &mut [Links]) {
        if self.head == NOBODY && (self.count as usize) < SHORT {
            self.short[self.count as usize] = slot;
        } else {
            self.push_linked(slot, links);
        }
        self.count += 1;
    }

    /// Takes an order out. `qty` is the caller's to change.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: u32, links: &mut [Links]) {
        self.count -= 1;
        if self.head != NOBODY {
            return self.remove_linked(slot, links);
        }
        // Slots beyond `count` are old ones and may be the same again, but come after the live one.
        let mut found = 0;
        for (index, &other) in self.short.iter().enumerate() {
            found |= u32::from(other == slot) << index;
        }
        debug_assert!(found.trailing_zeros() <= self.count);
        let at = found.trailing_zeros() as i32;
        let old = self.short;
        for index in 0..SHORT - 1 {
            self.short[index] = if index as i32 >= at {
                old[index + 1]
            } else {
                old[index]
            };
        }
    }

    #[inline(never)]
    fn push_linked(&mut self, slot: u32, links: &mut [Links]) {
        if self.head == NOBODY {
            let mut prev = NOBODY;
            for (index, &slot) in self.short.iter().enumerate() {
                let next = self.short.get(index + 1).copied().unwrap_or(NOBODY);
                links[slot as usize] = Links { prev, next };
                prev = slot;
            }
            self.head = self.short[0];
            self.tail = self.short[SHORT - 1];
        }
        links[self.tail as usize].next = slot;
        links[slot as usize] = Links {
            prev: self.tail,
            next: NOBODY,
        };
        self.tail = slot;
    }

    #[inline(never)]
    fn remove_linked(&mut self, slot: u32, links: &mut [Links]) {
        // The links of slot 0, which is nobody's, take what is written beyond the ends.
        let Links { prev, next } = links[slot as usize];
        links[prev as usize].next = next;
        links[next as usize].prev = prev;
        self.head = if prev == NOBODY { next } else { self.head };
        self.tail = if next == NOBODY { prev } else { self.tail };
        if self.count as usize <= SHORT / 2 {
            let mut slot = self.head;
            for place in &mut self.short[..self.count as usize] {
                *place = slot;
                slot = links[slot as usize].next;
            }
            self.head = NOBODY;
        }
    }

    /// The order behind `slot`, which is at `index` of the queue; the first one for `None`.
    pub(crate) fn after(&self, slot: Option<u32>, index: u32, links: &[Links]) -> Option<u32> {
        if index == self.count {
            return None;
        }
        Some(match slot {
            _ if self.head == NOBODY => self.short[index as usize],
            None => self.head,
            Some(slot) => links[slot as usize].next,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Levels {
    pool: Array<Level>,
    free: u32,
    fresh: u32,
    /// Levels with orders.
    pub(crate) live: u32,
    live_max: u32,
}

impl Levels {
    /// Level 0 is nobody's. Those without orders that wait for their side to be tidied have room
    /// besides `levels_max`, so that tidying all sides at once pays whenever it is needed.
    pub(crate) fn new(levels_max: u32) -> io::Result<Levels> {
        let len = levels_max as usize + levels_max as usize / 2 + 1024;
        assert!(len < u32::MAX as usize, "levels are numbered in 32 bits");
        let pool = Array::zeroed(len)?;
        Ok(Levels {
            pool,
            free: 0,
            fresh: 1,
            live: 0,
            live_max: levels_max,
        })
    }

    #[inline(always)]
    pub(crate) fn get(&self, id: u32) -> &Level {
        &self.pool[id as usize]
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Level {
        &mut self.pool[id as usize]
    }

    #[inline(always)]
    pub(crate) fn prefetch(&self, id: u32) {
        mem::prefetch(&self.pool, id as usize);
    }

    /// Whether as many levels have orders as may.
    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.live_max
    }

    /// Whether `open` needs those back that have no orders.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.free == 0 && self.fresh as usize == self.pool.len()
    }

    /// A level without orders.
    #[inline(always)]
    pub(crate) fn open(&mut self, key: u64, side: u32) -> u32 {
        let id = if self.free != 0 {
            let id = self.free;
            self.free = self.pool[id as usize].head;
            id
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        let level = &mut self.pool[id as usize];
        debug_assert!(level.count == 0 && level.qty == 0);
        (level.key, level.side, level.head) = (key, side, NOBODY);
        id
    }

    #[inline(always)]
    pub(crate) fn close(&mut self, id: u32) {
        let level = &mut self.pool[id as usize];
        debug_assert!(level.count == 0 && level.qty == 0);
        level.side = CLOSED;
        level.head = self.free;
        self.free = id;
    }
}
