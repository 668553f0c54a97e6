//! The prices of each side in order, the best last.
//!
//! A price is kept as a key, so that one piece of code serves bids and asks: a bid's key is its
//! price, an ask's what is missing to the largest number. The better price has the larger key, and
//! 0 is the key of no price.
//!
//! A side is a piece of one large array. Most changes are near the best price, so they are found
//! from the end in a few steps and move little. A price whose last order left stays where it is,
//! unless it was the best: near the best an order soon comes back to it, and then nothing has to
//! move at all. When the piece is full, those without orders go, and if that frees too little the
//! side moves to a piece of double the size.

use std::io;

use bus::Price;
use bus::mem::{self, Array};
use bytemuck::Zeroable;

/// The smallest piece, in entries.
const PIECE_MIN: usize = 8;
const CLASS_COUNT: usize = 26;
/// How many prices are looked at one by one before the search goes by halves.
const STEPS_MAX: usize = 12;

/// A price of a side, and where its level is.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(16))]
pub(crate) struct Entry {
    pub(crate) key: u64,
    pub(crate) level: u32,
    reserved: u32,
}

impl Entry {
    pub(crate) fn new(key: u64, level: u32) -> Entry {
        Entry {
            key,
            level,
            reserved: 0,
        }
    }
}

/// Where a side lies: `len` entries from `start` on, in a piece of `PIECE_MIN << class`. A side
/// that never had an order has no piece.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C)]
pub(crate) struct Piece {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What a search found.
pub(crate) enum Found {
    /// The price's level.
    Level(u32),
    /// The price is not there; it belongs at this index of the side.
    Place(usize),
}

#[derive(Debug)]
pub(crate) struct Sides {
    entries: Array<Entry>,
    /// First free piece of each size, 0 for none; a free piece's first entry names the next.
    free: [u32; CLASS_COUNT],
    fresh: usize,
}

/// What turns a price into a key and a key into a price, for bids and for asks.
const KEY_MASKS: [u64; 2] = [0, i64::MAX as u64];

/// The key of a valid price.
#[inline(always)]
pub(crate) fn key_of(price: Price, side: usize) -> u64 {
    price.0 as u64 ^ KEY_MASKS[side & 1]
}

/// The price of a key that is one.
#[inline(always)]
pub(crate) fn price_of(key: u64, side: usize) -> Price {
    Price((key ^ KEY_MASKS[side & 1]) as i64)
}

impl Sides {
    /// Room for `levels_max` prices on `symbols_max` books. A side takes at most four times the
    /// entries it has, and its smaller pieces before that together as much again.
    pub(crate) fn new(symbols_max: u32, levels_max: u32) -> io::Result<Sides> {
        let len = symbols_max as usize * 2 * 4 * PIECE_MIN + levels_max as usize * 8;
        let len = (len + PIECE_MIN).min(u32::MAX as usize);
        // The first piece is nobody's, so that 0 can mean none.
        Ok(Sides {
            entries: Array::zeroed(len)?,
            free: [0; CLASS_COUNT],
            fresh: PIECE_MIN,
        })
    }

    #[inline(always)]
    pub(crate) fn of(&self, piece: Piece) -> &[Entry] {
        &self.entries[piece.start as usize..][..piece.len as usize]
    }

    /// Asks for the best price and its neighbours.
    #[inline(always)]
    pub(crate) fn prefetch(&self, piece: Piece) {
        let end = piece.start + piece.len;
        mem::prefetch(&self.entries, end.wrapping_sub(1) as usize);
    }

    #[inline(always)]
    pub(crate) fn search(&self, piece: Piece, key: u64) -> Found {
        let side = self.of(piece);
        let near = side.len().saturating_sub(STEPS_MAX);
        let mut index = side.len();
        for entry in side[near..].iter().rev() {
            if entry.key <= key {
                if entry.key == key {
                    return Found::Level(entry.level);
                }
                return Found::Place(index);
            }
            index -= 1;
        }
        if near == 0 {
            Found::Place(0)
        } else {
            search_far(&side[..near], key)
        }
    }

    /// Whether another entry has no place in this piece.
    #[inline(always)]
    pub(crate) fn is_full(piece: Piece, class: u8) -> bool {
        piece.start == 0 || piece.len as usize == PIECE_MIN << class
    }

    /// Puts an entry at `index` of a side that is not full.
    #[inline(always)]
    pub(crate) fn insert(&mut self, piece: &mut Piece, index: usize, entry: Entry) {
        let side = &mut self.entries[piece.start as usize..][..piece.len as usize + 1];
        let mut last = side.len() - 1;
        if last - index <= STEPS_MAX {
            while last > index {
                side[last] = side[last - 1];
                last -= 1;
            }
        } else {
            side.copy_within(index..last, index + 1);
        }
        side[index] = entry;
        piece.len += 1;
    }

    /// Keeps the entries that `keep` wants.
    pub(crate) fn retain(&mut self, piece: &mut Piece, mut keep: impl FnMut(Entry) -> bool) {
        let side = &mut self.entries[piece.start as usize..][..piece.len as usize];
        let mut kept = 0;
        for index in 0..side.len() {
            let entry = side[index];
            if keep(entry) {
                side[kept] = entry;
                kept += 1;
            }
        }
        piece.len = kept as u32;
    }

    /// Whether a tidied side should move to a larger piece rather than fill up again soon.
    pub(crate) fn is_tight(piece: Piece, class: u8) -> bool {
        piece.start == 0 || piece.len as usize > (PIECE_MIN << class) / 4 * 3
    }

    /// Moves a side to a piece of double the size, or to its first one. False when there is none.
    pub(crate) fn grow(&mut self, piece: &mut Piece, class: &mut u8) -> bool {
        let class_new = if piece.start == 0 {
            0
        } else {
            *class as usize + 1
        };
        let Some(start) = self.take_piece(class_new) else {
            return false;
        };
        if piece.start != 0 {
            let from = piece.start as usize;
            self.entries
                .copy_within(from..from + piece.len as usize, start as usize);
            self.entries[from].level = self.free[*class as usize];
            self.free[*class as usize] = piece.start;
        }
        piece.start = start;
        *class = class_new as u8;
        true
    }

    fn take_piece(&mut self, class: usize) -> Option<u32> {
        let free = self.free.get_mut(class)?;
        if *free != 0 {
            let start = *free;
            *free = self.entries[start as usize].level;
            return Some(start);
        }
        let end = self.fresh + (PIECE_MIN << class);
        if end > self.entries.len() {
            return None;
        }
        let start = self.fresh as u32;
        self.fresh = end;
        Some(start)
    }
}

/// The rest of a search: an order far from the best price.
#[inline(never)]
fn search_far(side: &[Entry], key: u64) -> Found {
    let index = side.partition_point(|entry| entry.key < key);
    match side.get(index) {
        Some(entry) if entry.key == key => Found::Level(entry.level),
        _ => Found::Place(index),
    }
}
