//! What is shown at one price: a pool of levels with ids that do not change while they live.
//!
//! A short queue lies in its level, in the same cache line as all the rest: most are that short,
//! and then an order comes and goes without a look at its neighbours. A longer one is linked from
//! order to order, and comes back into its level when it has become half as long as fits there.
//!
//! ```text
//!            0    1    2    3  ...  7     place in `short`
//! short   | C  |    | A  | B  |    |    |
//! turns     2    3    0    1 ...          eight times 4 bits: whose turn is first, second ...
//!           A    B    C    free places from here on
//! ```
//!
//! An order knows its place, so that nothing is looked for, and nothing but `turns` moves when one
//! leaves.

use std::io;

use bus::mem::{self, Array};
use bytemuck::Zeroable;

use crate::orders::{LEVELS_END, Links, NOBODY, Orders, PLACES};

/// One price of one side. A level without orders stays in its side until that is tidied.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Level {
    /// See [`crate::sides`].
    pub(crate) key: u64,
    /// The sum over its orders.
    pub(crate) qty: i64,
    /// Twice the symbol, and one more for asks; [`NO_SIDE`] for a free level, so that nobody who
    /// still has its id takes it for one of his side.
    pub(crate) side: u32,
    pub(crate) count: u32,
    /// Slot of the first order of a linked queue, [`NOBODY`] for a short one; of a free level, the
    /// next free one.
    head: u32,
    /// Slot of the last order of a linked queue; of a short one, its places in their turns.
    tail_or_turns: u32,
    short: [u32; PLACES as usize],
}

const _: () = assert!(size_of::<Level>() == 64);

const NO_SIDE: u32 = u32::MAX;

/// First place 0, then 1, and so on.
const IN_ORDER: u32 = 0x7654_3210;
/// A one in each of eight times 4 bits.
const ONES: u32 = 0x1111_1111;

const _: () = assert!(PLACES == 8, "eight places of 4 bits fill 32 bits");

/// Moves `place` behind all others.
#[inline(always)]
fn to_the_end(turns: u32, place: u32) -> u32 {
    // The lowest of the eight that is zero after this is the one; what `zeros` may have wrong is
    // above it.
    let differs = turns ^ (place * ONES);
    let zeros = differs.wrapping_sub(ONES) & !differs & (ONES << 3);
    let earlier = (1 << (zeros.trailing_zeros() & 0x1c)) - 1;
    (turns & earlier) | (turns >> 4 & !earlier) | place << 28
}

impl Level {
    /// Puts an order at the back and says at which place. `qty` is the caller's to change.
    #[inline(always)]
    pub(crate) fn push(&mut self, slot: u32, orders: &mut Orders) -> u32 {
        let turn = self.count;
        self.count += 1;
        if self.head != NOBODY || turn >= PLACES {
            return self.push_linked(slot, orders);
        }
        let place = self.place(turn);
        self.short[place as usize] = slot;
        place
    }

    /// Takes the order out that is at `place`. `qty` is the caller's to change.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: u32, place: u32, orders: &mut Orders) {
        self.count -= 1;
        if self.head != NOBODY {
            return self.remove_linked(slot, orders);
        }
        debug_assert_eq!(self.short[place as usize], slot);
        self.tail_or_turns = to_the_end(self.tail_or_turns, place);
    }

    /// Whose turn it is in a short queue.
    #[inline(always)]
    fn place(&self, turn: u32) -> u32 {
        self.tail_or_turns >> (turn * 4) & (PLACES - 1)
    }

    #[inline(never)]
    fn push_linked(&mut self, slot: u32, orders: &mut Orders) -> u32 {
        if self.head == NOBODY {
            let mut prev = NOBODY;
            for turn in 0..PLACES {
                let slot = self.short[self.place(turn) as usize];
                *orders.links(slot) = Links { prev, next: NOBODY };
                orders.links(prev).next = slot;
                prev = slot;
            }
            self.head = self.short[self.place(0) as usize];
            self.tail_or_turns = prev;
        }
        let tail = self.tail_or_turns;
        *orders.links(slot) = Links {
            prev: tail,
            next: NOBODY,
        };
        orders.links(tail).next = slot;
        self.tail_or_turns = slot;
        0
    }

    #[inline(never)]
    fn remove_linked(&mut self, slot: u32, orders: &mut Orders) {
        // The links of slot 0, which is nobody's, take what is written beyond the ends.
        let Links { prev, next } = *orders.links(slot);
        orders.links(prev).next = next;
        orders.links(next).prev = prev;
        self.head = if prev == NOBODY { next } else { self.head };
        self.tail_or_turns = if next == NOBODY {
            prev
        } else {
            self.tail_or_turns
        };
        if self.count <= PLACES / 2 {
            let mut slot = self.head;
            for place in 0..self.count {
                self.short[place as usize] = slot;
                orders.set_place(slot, place);
                slot = orders.links(slot).next;
            }
            self.head = NOBODY;
            self.tail_or_turns = IN_ORDER;
        }
    }

    /// The order whose turn is this one; `before` is the order before it.
    pub(crate) fn at(&self, turn: u32, before: u32, orders: &Orders) -> u32 {
        match turn {
            _ if self.head == NOBODY => self.short[self.place(turn) as usize],
            0 => self.head,
            _ => orders.next(before),
        }
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
        assert!(len <= LEVELS_END, "levels are numbered below {LEVELS_END}");
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
        (level.key, level.side) = (key, side);
        (level.head, level.tail_or_turns) = (NOBODY, IN_ORDER);
        id
    }

    #[inline(always)]
    pub(crate) fn close(&mut self, id: u32) {
        let level = &mut self.pool[id as usize];
        debug_assert!(level.count == 0 && level.qty == 0);
        level.side = NO_SIDE;
        level.head = self.free;
        self.free = id;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_behind_all_others() {
        assert_eq!(to_the_end(IN_ORDER, 0), 0x0765_4321);
        assert_eq!(to_the_end(IN_ORDER, 7), IN_ORDER);
        // Against a plain list, over many moves.
        let mut list: Vec<u32> = (0..PLACES).collect();
        let mut turns = IN_ORDER;
        for step in 0..10_000u32 {
            let place = step.wrapping_mul(2_654_435_761) >> 29;
            list.retain(|&other| other != place);
            list.push(place);
            turns = to_the_end(turns, place);
            let got: Vec<u32> = (0..PLACES).map(|turn| turns >> (turn * 4) & 7).collect();
            assert_eq!(got, list);
        }
    }
}
