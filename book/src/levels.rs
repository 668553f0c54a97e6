//! What is shown at one price: a pool of levels with ids that do not change while they live.

use std::io;

use bus::mem::{self, Array};
use bytemuck::Zeroable;

/// One price of one side. A level without orders stays in its side until that is tidied.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(32))]
pub(crate) struct Level {
    /// See [`crate::sides`].
    pub(crate) key: u64,
    /// The sum over its orders.
    pub(crate) qty: i64,
    /// Slot of the first order of the queue; of a free level, the next free one.
    pub(crate) head: u32,
    /// Slot of the last.
    pub(crate) tail: u32,
    pub(crate) count: u32,
    /// Twice the symbol, and one more for asks.
    pub(crate) side: u32,
}

const _: () = assert!(size_of::<Level>() == 32);

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
        self.pool[id as usize] = Level {
            key,
            qty: 0,
            head: 0,
            tail: 0,
            count: 0,
            side,
        };
        id
    }

    #[inline(always)]
    pub(crate) fn close(&mut self, id: u32) {
        let level = &mut self.pool[id as usize];
        debug_assert!(level.count == 0 && level.qty == 0);
        level.head = self.free;
        self.free = id;
    }
}
