//! What is shown at one price: a pool of levels with ids that do not change while they live.
//!
//! A short queue lies beside its level, in the same cache line: most are that short, and then an
//! order comes and goes without a look at its neighbours. A longer one is linked from order to
//! order, and comes back when it has become half as long as fits there.
//!
//! ```text
//!            0    1    2    3  ...  7     place
//! places  | C  |    | A  | B  |    |    |
//! turns     2    3    0    1 ...          eight times 4 bits: whose turn is first, second ...
//!           A    B    C    free places from here on
//! ```
//!
//! An order knows its place, so that nothing is looked for, and nothing but `turns` moves when one
//! leaves.
//!
//! Books without queues have levels without places, so that two of them share a line. The pieces
//! that matter know by `QUEUES` which they deal with.

use std::io;

use bus::mem::{self, Array};
use bus::planted::{self, Bug};
use bytemuck::{Pod, Zeroable};

use crate::orders::{LEVELS_END, Links, NOBODY, Orders, PLACES};

/// One price of one side. All zero, but for `key`, while it is free: then nothing has to be
/// prepared when it is opened.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(32))]
pub(crate) struct Level {
    /// See [`crate::far`]. Of a free level, where the next free one is, counted from where the
    /// next one lies, so that memory never used is a list of free levels.
    pub(crate) key: u64,
    /// The sum over its orders.
    pub(crate) qty: i64,
    /// Twice the symbol, and one more for asks.
    pub(crate) side: u32,
    pub(crate) count: u32,
    /// Slot of the first order of a linked queue, [`NOBODY`] for a short one.
    head: u32,
    /// Slot of the last order of a linked queue; of a short one, its places in their turns, as
    /// what differs from [`IN_ORDER`].
    tail_or_turns: u32,
}

/// The slots of the orders of a short queue, behind its level.
type Places = [u32; PLACES as usize];

const _: () = assert!(size_of::<Level>() == 32 && size_of::<Places>() == 32);

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
    /// Whose turn it is in a short queue.
    #[inline(always)]
    fn place(&self, turn: u32) -> u32 {
        (self.tail_or_turns ^ IN_ORDER) >> (turn * 4) & (PLACES - 1)
    }

    #[inline(never)]
    fn push_linked(&mut self, places: &Places, slot: u32, orders: &mut Orders) -> u32 {
        if self.head == NOBODY {
            let mut prev = NOBODY;
            for turn in 0..PLACES {
                let slot = places[self.place(turn) as usize];
                *orders.links(slot) = Links { prev, next: NOBODY };
                orders.links(prev).next = slot;
                prev = slot;
            }
            self.head = places[self.place(0) as usize];
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
    fn remove_linked(&mut self, places: &mut Places, slot: u32, orders: &mut Orders) {
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
                places[place as usize] = slot;
                orders.set_place(slot, place);
                slot = orders.links(slot).next;
            }
            self.head = NOBODY;
            self.tail_or_turns = 0;
        }
    }
}

/// How far it is from one level to the next: a short queue's places take as much as a level.
const fn distance<const QUEUES: bool>() -> u32 {
    if QUEUES { 2 } else { 1 }
}

#[derive(Debug)]
pub(crate) struct Levels {
    pool: Array<Level>,
    free: u32,
    /// Levels with orders.
    pub(crate) live: u32,
    live_max: u32,
}

impl Levels {
    /// Level 0 is nobody's, and there is one that stays free.
    pub(crate) fn new(levels_max: u32, queues: bool) -> io::Result<Levels> {
        let distance = match queues {
            true => distance::<true>(),
            false => distance::<false>(),
        };
        let len = (levels_max as usize + 2) * distance as usize;
        assert!(len <= LEVELS_END, "levels are numbered below {LEVELS_END}");
        Ok(Levels {
            pool: Array::zeroed(len)?,
            free: distance,
            live: 0,
            live_max: levels_max,
        })
    }

    #[inline(always)]
    pub(crate) fn get(&self, id: u32) -> &Level {
        &self.pool[id as usize]
    }

    #[inline(always)]
    pub(crate) fn prefetch(&self, id: u32) {
        mem::prefetch(&self.pool, id as usize);
    }

    /// Whether as many levels have orders as may.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.live_max
    }

    /// Where it `opens`, a free level in place of `id`. Whichever it is has this key then.
    #[inline(always)]
    pub(crate) fn open<const QUEUES: bool>(
        &mut self,
        opens: bool,
        id: u32,
        key: u64,
        side: u32,
    ) -> u32 {
        let id = if opens { self.free } else { id };
        let level = &mut self.pool[id as usize];
        debug_assert!(!opens || level.count == 0 && level.qty == 0 && level.head == NOBODY);
        let next = (level.key as u32).wrapping_add(id + distance::<QUEUES>());
        self.free = if opens { next } else { self.free };
        (level.key, level.side) = (key, side);
        self.live += u32::from(opens);
        id
    }

    /// Takes back a level without orders.
    #[inline(always)]
    pub(crate) fn close<const QUEUES: bool>(&mut self, id: u32) {
        let level = &mut self.pool[id as usize];
        debug_assert!(level.count == 0 && level.qty == 0 && level.head == NOBODY);
        level.key = u64::from(self.free.wrapping_sub(id + distance::<QUEUES>()));
        self.free = id;
        self.live -= 1;
    }

    #[inline(always)]
    fn with_places(&mut self, id: u32) -> (&mut Level, &mut Places) {
        let pair = self.pool[id as usize..].first_chunk_mut::<2>();
        let [level, places] = pair.expect("places behind the level");
        (level, bytemuck::cast_mut(places))
    }

    /// Puts an order at the back. Says at which place, and what is shown then.
    #[inline(always)]
    pub(crate) fn push<const QUEUES: bool>(
        &mut self,
        id: u32,
        slot: u32,
        qty: i64,
        orders: &mut Orders,
    ) -> (u32, i64) {
        if !QUEUES {
            let level = &mut self.pool[id as usize];
            level.count += 1;
            level.qty += qty;
            return (0, level.qty);
        }
        let (level, places) = self.with_places(id);
        let turn = level.count;
        level.count += 1 + u32::from(planted::is(Bug::LevelCountOff));
        level.qty += qty;
        if level.head != NOBODY || turn >= PLACES {
            return (level.push_linked(places, slot, orders), level.qty);
        }
        let place = level.place(turn);
        places[place as usize] = slot;
        (place, level.qty)
    }

    /// Takes the order out that is at `place`. Gives the level as it is then.
    #[inline(always)]
    pub(crate) fn remove<const QUEUES: bool>(
        &mut self,
        id: u32,
        slot: u32,
        place: u32,
        qty: i64,
        orders: &mut Orders,
    ) -> &Level {
        if !QUEUES {
            let level = &mut self.pool[id as usize];
            level.count -= 1;
            level.qty -= qty;
            return level;
        }
        let (level, places) = self.with_places(id);
        level.count -= 1;
        level.qty -= qty;
        if level.head != NOBODY {
            level.remove_linked(places, slot, orders);
        } else {
            debug_assert_eq!(places[place as usize], slot);
            level.tail_or_turns = to_the_end(level.tail_or_turns ^ IN_ORDER, place) ^ IN_ORDER;
        }
        level
    }

    /// Takes a part of an order away. Gives the level as it is then.
    #[inline(always)]
    pub(crate) fn reduce(&mut self, id: u32, qty: i64) -> &Level {
        let level = &mut self.pool[id as usize];
        level.qty -= qty - i64::from(planted::is(Bug::LevelQtyOff));
        if planted::is(Bug::LevelTakenTwice) {
            level.qty -= qty;
        }
        level
    }

    /// The slots of a level's orders in their turns.
    pub(crate) fn queue<'a>(&'a self, id: u32, orders: &'a Orders) -> impl Iterator<Item = u32> {
        let level = self.get(id);
        let mut before = NOBODY;
        (0..level.count).map(move |turn| {
            before = match turn {
                _ if level.head == NOBODY => {
                    let places: &Places = bytemuck::cast_ref(self.get(id + 1));
                    places[level.place(turn) as usize]
                }
                0 => level.head,
                _ => orders.next(before),
            };
            before
        })
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
