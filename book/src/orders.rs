//! Finds an order by its reference, in memory that follows the live orders.
//!
//! ```text
//! reference   | ........ 57 bits ........ | 5 bits | 2 bits |
//!                          │                  │        │
//!                          └───── page number │ ───────┘
//!                                  │          │
//!     near: page number < 2^27     │          │
//!     directory[page number] ── page ──► slots[page * 32 + 5 bits]
//!     far:  all others            ▲
//!     a hash table ───────────────┘
//! ```
//!
//! A page is 32 references, every fourth of 128: Nasdaq numbers orders by fours, beginning at 0, 1,
//! 2 or 3 for each of its engines, so that neighbours in time are neighbours in memory. For feeds
//! that number by ones it makes no difference. A page is taken from a pool when its first order
//! comes and goes back when its last one leaves, so that an old reference costs nothing and a
//! sparse one costs a page at most. Page 0 belongs to nobody: references without a page are looked
//! for there, so that this needs no branch.

use std::io;

use bus::Anomaly;
use bus::mem::{self, Array};
use bytemuck::Zeroable;

const PAGE_BITS: u32 = 5;
const PAGE_SLOTS: usize = 1 << PAGE_BITS;
/// A page has every fourth reference.
const STRIDE_BITS: u32 = 2;
const STRIDE_MASK: u64 = (1 << STRIDE_BITS) - 1;

/// References below 2^32 are found through the directory: 512 MiB of address space, of which a
/// day that numbers its orders from 1 touches 1 byte for 8 references.
const NEAR_PAGES: usize = 1 << (32 - PAGE_BITS);

/// The page number of a reference.
#[inline(always)]
fn page_number(reference: u64) -> u64 {
    (reference >> (PAGE_BITS + STRIDE_BITS) << STRIDE_BITS) | (reference & STRIDE_MASK)
}

/// Where a reference is in its page.
#[inline(always)]
fn index_in_page(reference: u64) -> u32 {
    (reference >> STRIDE_BITS) as u32 & (PAGE_SLOTS as u32 - 1)
}

/// The slot of no order.
pub(crate) const NOBODY: u32 = 0;

/// How many orders a level holds at numbered places of its own.
pub(crate) const PLACES: u32 = 8;

/// What all orders beyond 32 bits may have together. With all others it stays far from what a level's
/// sum can hold.
pub(crate) const WIDE_MAX: i64 = 1 << 62;

/// A resting order. `qty` is 0 where there is none, and then all is 0; `u32::MAX` may stand for more,
/// see [`Orders::qty`].
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(8))]
pub(crate) struct Order {
    pub(crate) qty: u32,
    /// Its level, and in the lowest bits its place in there.
    level_and_place: u32,
}

/// Levels are numbered below this.
pub(crate) const LEVELS_END: usize = (u32::MAX / PLACES) as usize + 1;

impl Order {
    #[inline(always)]
    pub(crate) fn new(qty: u32, level: u32, place: u32) -> Order {
        Order {
            qty,
            level_and_place: (level * PLACES) | place,
        }
    }

    #[inline(always)]
    pub(crate) fn level(self) -> u32 {
        self.level_and_place / PLACES
    }

    #[inline(always)]
    pub(crate) fn place(self) -> u32 {
        self.level_and_place % PLACES
    }
}

const _: () = assert!(size_of::<Order>() == 8);

/// The neighbours of an order in a queue that is too long for its level.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(8))]
pub(crate) struct Links {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

#[derive(Debug)]
pub(crate) struct Orders {
    slots: Array<Order>,
    /// By slot; apart, because few orders need them.
    links: Array<Links>,
    /// By slot, what orders beyond 32 bits have, and 0 for all others; nothing before the first one.
    wide: Array<i64>,
    wide_sum: i64,
    /// Page by page number; 0 for none.
    directory: Array<u32>,
    far: FarPages,
    /// Live orders of each page.
    live: Array<u8>,
    /// Page number of each page in use; of a free page, the next free one.
    numbers: Array<u64>,
    free: u32,
    /// Pages from here on were never used.
    fresh: u32,
    pages_live: u32,
    count: u32,
    count_max: u32,
}

impl Orders {
    pub(crate) fn new(orders_max: u32, queues: bool) -> io::Result<Orders> {
        // Each order in a page of its own is the worst there can be.
        let pages = orders_max as usize + 1;
        assert!(
            pages <= 1 << (32 - PAGE_BITS),
            "slots are numbered in 32 bits"
        );
        Ok(Orders {
            slots: Array::zeroed(pages * PAGE_SLOTS)?,
            links: Array::zeroed(if queues { pages * PAGE_SLOTS } else { 0 })?,
            wide: Array::zeroed(0)?,
            wide_sum: 0,
            directory: Array::zeroed(NEAR_PAGES)?,
            far: FarPages::new(pages)?,
            live: Array::zeroed(pages)?,
            numbers: Array::zeroed(pages)?,
            free: 0,
            fresh: 1,
            pages_live: 0,
            count: 0,
            count_max: orders_max,
        })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn pages_live(&self) -> u32 {
        self.pages_live
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == self.count_max
    }

    /// The slot where the order is if it lives, and a vacant one if it does not.
    #[inline(always)]
    pub(crate) fn find(&self, reference: u64) -> u32 {
        let number = page_number(reference);
        let page = match self.directory.get(number as usize) {
            Some(&page) => page,
            None => self.far.find(number),
        };
        page << PAGE_BITS | index_in_page(reference)
    }

    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> Order {
        self.slots[slot as usize]
    }

    /// What an order has. Only `WIDE` looks for what is beyond 32 bits.
    #[inline(always)]
    pub(crate) fn qty<const WIDE: bool>(&self, slot: u32, order: Order) -> i64 {
        if WIDE && order.qty == u32::MAX {
            return self.wide_qty(slot);
        }
        i64::from(order.qty)
    }

    #[cold]
    fn wide_qty(&self, slot: u32) -> i64 {
        match self.wide.get(slot as usize) {
            Some(&qty) if qty > 0 => qty,
            _ => u32::MAX.into(),
        }
    }

    /// Whether an order may have this much. Makes room for what is beyond 32 bits, so that
    /// [`Orders::narrow`] finds it.
    #[inline(always)]
    pub(crate) fn check_qty<const WIDE: bool>(&mut self, qty: i64) -> Result<(), Anomaly> {
        if WIDE && qty > i64::from(u32::MAX) {
            return self.check_wide(qty);
        }
        let is_good = (1..=i64::from(u32::MAX)).contains(&qty);
        if is_good {
            Ok(())
        } else {
            Err(Anomaly::BadQty)
        }
    }

    #[cold]
    fn check_wide(&mut self, qty: i64) -> Result<(), Anomaly> {
        if qty > WIDE_MAX - self.wide_sum {
            return Err(Anomaly::BadQty);
        }
        if self.wide.is_empty() {
            self.wide = Array::zeroed(self.slots.len()).map_err(|_| Anomaly::Full)?;
        }
        Ok(())
    }

    /// What stands in a slot for this quantity.
    #[inline(always)]
    pub(crate) fn narrow<const WIDE: bool>(&mut self, slot: u32, qty: i64) -> u32 {
        if WIDE && qty > i64::from(u32::MAX) {
            self.set_wide(slot, qty);
            return u32::MAX;
        }
        qty as u32
    }

    /// Notes what is beyond 32 bits, or with 0 that nothing is any more.
    #[cold]
    pub(crate) fn set_wide(&mut self, slot: u32, qty: i64) {
        if let Some(wide) = self.wide.get_mut(slot as usize) {
            self.wide_sum += qty - *wide;
            *wide = qty;
        }
    }

    /// Asks for the place where the page of this reference is written down.
    #[inline(always)]
    pub(crate) fn prefetch_page(&self, reference: u64) {
        mem::prefetch(&self.directory, page_number(reference) as usize);
    }

    /// Asks for the slot of this reference, and says which it is.
    #[inline(always)]
    pub(crate) fn prefetch(&self, reference: u64) -> u32 {
        let number = page_number(reference) as usize;
        // One of the far pages is not looked for.
        let page = self.directory.get(number).copied().unwrap_or(0);
        let slot = page << PAGE_BITS | index_in_page(reference);
        mem::prefetch(&self.slots, slot as usize);
        slot
    }

    /// The slot for an order that comes to life: `set` must follow. `found` is the vacant slot
    /// that `find` gave for its reference.
    #[inline(always)]
    pub(crate) fn claim(&mut self, found: u32, reference: u64) -> u32 {
        debug_assert!(!self.is_full() && self.get(found).qty == 0);
        let mut slot = found;
        if slot < PAGE_SLOTS as u32 {
            slot |= self.open_page(page_number(reference)) << PAGE_BITS;
        }
        self.live[(slot >> PAGE_BITS) as usize] += 1;
        self.count += 1;
        slot
    }

    #[inline(always)]
    pub(crate) fn set(&mut self, slot: u32, order: Order) {
        debug_assert!(order.qty > 0);
        self.slots[slot as usize] = order;
    }

    pub(crate) fn set_place(&mut self, slot: u32, place: u32) {
        let order = self.slots[slot as usize];
        self.slots[slot as usize] = Order::new(order.qty, order.level(), place);
    }

    pub(crate) fn links(&mut self, slot: u32) -> &mut Links {
        &mut self.links[slot as usize]
    }

    /// The order behind this one in a linked queue.
    pub(crate) fn next(&self, slot: u32) -> u32 {
        self.links[slot as usize].next
    }

    #[inline(always)]
    pub(crate) fn set_qty(&mut self, slot: u32, qty: u32) {
        debug_assert!(qty > 0);
        self.slots[slot as usize].qty = qty;
    }

    /// Forgets an order.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: u32, reference: u64) {
        self.slots[slot as usize] = Order::zeroed();
        self.count -= 1;
        let page = slot >> PAGE_BITS;
        let live = &mut self.live[page as usize];
        *live -= 1;
        if *live == 0 {
            self.close_page(page, page_number(reference));
        }
    }

    /// The slots of all orders.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let pages = (1..self.fresh).filter(|&page| self.live[page as usize] > 0);
        let slots = pages.flat_map(|page| (page << PAGE_BITS..).take(PAGE_SLOTS));
        slots.filter(|&slot| self.get(slot).qty > 0)
    }

    /// The reference of the order in this slot.
    pub(crate) fn reference(&self, slot: u32) -> u64 {
        let number = self.numbers[(slot >> PAGE_BITS) as usize];
        let index = u64::from(slot & (PAGE_SLOTS as u32 - 1));
        (number >> STRIDE_BITS << (PAGE_BITS + STRIDE_BITS))
            | (index << STRIDE_BITS)
            | (number & STRIDE_MASK)
    }

    #[inline(never)]
    fn open_page(&mut self, number: u64) -> u32 {
        // A page for each order that may live was reserved, and one for nobody.
        let page = if self.free != 0 {
            let page = self.free;
            self.free = self.numbers[page as usize] as u32;
            page
        } else {
            self.fresh += 1;
            self.fresh - 1
        };
        self.pages_live += 1;
        self.numbers[page as usize] = number;
        match self.directory.get_mut(number as usize) {
            Some(entry) => *entry = page,
            None => self.far.insert(number, page),
        }
        page
    }

    #[inline(never)]
    fn close_page(&mut self, page: u32, number: u64) {
        debug_assert_eq!(self.numbers[page as usize], number);
        match self.directory.get_mut(number as usize) {
            Some(entry) => *entry = 0,
            None => self.far.remove(number),
        }
        self.numbers[page as usize] = u64::from(self.free);
        self.free = page;
        self.pages_live -= 1;
    }
}

/// The pages of references that the directory does not reach: a hash table with linear probing,
/// never more than half full.
///
/// All that it may ever need is reserved, but it begins small and grows fourfold: hashes reach every
/// part of a table, and the kernel gives memory in large pieces, so that a table for millions of pages
/// would be paid for with the first thousand.
#[derive(Debug)]
struct FarPages {
    entries: Array<FarPage>,
    /// What the table was before it grew, while it grows.
    before: Array<FarPage>,
    mask: usize,
    count: u32,
}

/// The entries at the start.
const FAR_START: usize = 1 << 12;

#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C)]
struct FarPage {
    number: u64,
    /// 0 where the entry is vacant.
    page: u64,
}

impl FarPages {
    fn new(pages: usize) -> io::Result<FarPages> {
        let len = (pages * 2).next_power_of_two();
        Ok(FarPages {
            entries: Array::zeroed(len)?,
            before: Array::zeroed(len / 2)?,
            mask: len.min(FAR_START) - 1,
            count: 0,
        })
    }

    #[cold]
    fn grow(&mut self) {
        let old = self.mask + 1;
        self.before[..old].copy_from_slice(&self.entries[..old]);
        self.entries[..old].fill(FarPage::zeroed());
        self.mask = (old * 4).min(self.entries.len()) - 1;
        self.count = 0;
        for index in 0..old {
            let FarPage { number, page } = self.before[index];
            if page != 0 {
                self.insert(number, page as u32);
            }
        }
    }

    /// Where the search for this page begins.
    fn home(&self, number: u64) -> usize {
        // The constants are those of SplitMix64's output function. They are fixed, so that a run
        // takes the same time when it is repeated.
        let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) as usize & self.mask
    }

    #[inline(never)]
    fn find(&self, number: u64) -> u32 {
        if self.count == 0 {
            return 0;
        }
        let mut index = self.home(number);
        loop {
            let entry = self.entries[index];
            if entry.page == 0 || entry.number == number {
                return entry.page as u32;
            }
            index = (index + 1) & self.mask;
        }
    }

    fn insert(&mut self, number: u64, page: u32) {
        if self.count as usize * 2 > self.mask && self.mask + 1 < self.entries.len() {
            self.grow();
        }
        let mut index = self.home(number);
        while self.entries[index].page != 0 {
            debug_assert_ne!(self.entries[index].number, number);
            index = (index + 1) & self.mask;
        }
        self.entries[index] = FarPage {
            number,
            page: u64::from(page),
        };
        self.count += 1;
    }

    fn remove(&mut self, number: u64) {
        let mut hole = self.home(number);
        while self.entries[hole].number != number || self.entries[hole].page == 0 {
            assert!(
                self.entries[hole].page != 0,
                "page {number} is not in the table"
            );
            hole = (hole + 1) & self.mask;
        }
        // Those behind move up where that keeps them reachable, so that no marks are left.
        let mut index = hole;
        loop {
            index = (index + 1) & self.mask;
            let entry = self.entries[index];
            if entry.page == 0 {
                break;
            }
            let from_home = index.wrapping_sub(self.home(entry.number)) & self.mask;
            if from_home >= (index.wrapping_sub(hole) & self.mask) {
                self.entries[hole] = entry;
                hole = index;
            }
        }
        self.entries[hole] = FarPage { number: 0, page: 0 };
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_pages_take_as_much_as_they_are() {
        let mut far = FarPages::new(1 << 16).unwrap();
        let number = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 57;
        for i in 0..1 << 16 {
            far.insert(number(i), i as u32 + 1);
            let len = far.mask + 1;
            assert!(len >= 2 * (i as usize + 1) && len <= FAR_START.max(8 * (i as usize + 1)));
            // Where the table has just grown, all of it; else some of it.
            let first = if i.is_power_of_two() || (2 * i + 2).is_power_of_two() {
                0
            } else {
                i
            };
            for j in first..=i {
                assert_eq!(far.find(number(j)), j as u32 + 1, "{j} of {i}");
            }
        }
        assert_eq!((far.count, far.mask + 1), (1 << 16, far.entries.len()));
        for i in 0..1 << 16 {
            far.remove(number(i));
            assert_eq!(far.find(number(i)), 0);
        }
        assert_eq!(far.count, 0);
    }

    #[test]
    fn far_pages_stay_reachable_when_others_leave() {
        let mut far = FarPages::new(64).unwrap();
        let number = |i: u64| i.wrapping_mul(0x0123_4567_89ab_cdef) | 1 << 57;
        for round in 0..50 {
            for i in 0..64 {
                far.insert(number(round + i), i as u32 + 1);
            }
            for i in 0..64 {
                assert_eq!(far.find(number(round + i)), i as u32 + 1);
                far.remove(number(round + i));
                assert_eq!(far.find(number(round + i)), 0);
                for rest in i + 1..64 {
                    assert_eq!(far.find(number(round + rest)), rest as u32 + 1);
                }
            }
            assert_eq!(far.count, 0);
        }
    }
}
