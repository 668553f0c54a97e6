//! The prices of each side that its ladder does not have, in order, the best last.
//!
//! A price is kept as a key, so that one piece of code serves bids and asks: a bid's key is its
//! price, an ask's what is missing to the largest number. The better price has the larger key, and
//! 0 is the key of no price.
//!
//! A side's far prices are a piece of one large array. A full piece is left for one of double the
//! size, and an empty one is given back.

use std::io;

use bus::Price;
use bus::mem::Array;
use bus::planted::{self, Bug};
use bytemuck::Zeroable;

/// The smallest piece, in entries.
const PIECE_MIN: usize = 8;
const CLASS_COUNT: usize = 26;

/// A price of a side, and where its level is.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(16))]
pub(crate) struct Entry {
    pub(crate) key: u64,
    pub(crate) level: u32,
    reserved: u32,
}

/// Where a side's far prices lie: `len` entries from `start` on, in a piece of `PIECE_MIN << class`.
/// A side without any has no piece, and `start` is 0.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(4))]
struct Piece {
    start: u32,
    len: u32,
    class: u32,
}

#[derive(Debug)]
pub(crate) struct Far {
    entries: Array<Entry>,
    /// By the number of the side.
    pieces: Array<Piece>,
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

impl Far {
    /// Room for `levels_max` prices on `symbols_max` books: a piece is at most twice as large as
    /// what its side had at most, and its smaller pieces before that together as much again. Where
    /// many sides were large one after the other, there may be no room left.
    pub(crate) fn new(symbols_max: u32, levels_max: u32) -> io::Result<Far> {
        let sides = symbols_max as usize * 2;
        let len = sides * 4 * PIECE_MIN + levels_max as usize * 8;
        let len = (len + PIECE_MIN).min(u32::MAX as usize);
        // The first piece is nobody's, so that 0 can mean none.
        Ok(Far {
            entries: Array::zeroed(len)?,
            pieces: Array::zeroed(sides)?,
            free: [0; CLASS_COUNT],
            fresh: PIECE_MIN,
        })
    }

    pub(crate) fn of(&self, side: usize) -> &[Entry] {
        let piece = self.pieces[side];
        &self.entries[piece.start as usize..][..piece.len as usize]
    }

    #[inline]
    pub(crate) fn find(&self, side: usize, key: u64) -> Option<u32> {
        let entries = self.of(side);
        let index = entries.partition_point(|entry| entry.key < key);
        let found = entries.get(index).filter(|entry| entry.key == key);
        found.map(|entry| entry.level)
    }

    /// Makes room for `count` more. False, and nothing changed, when there is none.
    pub(crate) fn reserve(&mut self, side: usize, count: usize) -> bool {
        let piece = self.pieces[side];
        let len = piece.len as usize + count;
        if len == 0 || piece.start != 0 && len <= PIECE_MIN << piece.class {
            return true;
        }
        let class = len.div_ceil(PIECE_MIN).next_power_of_two().trailing_zeros();
        let Some(start) = self.take_piece(class as usize) else {
            return false;
        };
        let from = piece.start as usize;
        self.entries
            .copy_within(from..from + piece.len as usize, start as usize);
        self.give_back(piece);
        self.pieces[side] = Piece {
            start,
            len: piece.len,
            class,
        };
        true
    }

    /// Adds a price that is not there, where there is room.
    pub(crate) fn insert(&mut self, side: usize, key: u64, level: u32) {
        let piece = &mut self.pieces[side];
        let entries = &mut self.entries[piece.start as usize..][..piece.len as usize + 1];
        let last = entries.len() - 1;
        let mut index = entries[..last].partition_point(|entry| entry.key < key);
        if planted::is(Bug::FarPriceMisplaced) {
            index = last;
        }
        entries.copy_within(index..last, index + 1);
        entries[index] = Entry {
            key,
            level,
            reserved: 0,
        };
        piece.len += 1;
    }

    /// Forgets a price; says whether it was the last one.
    pub(crate) fn remove(&mut self, side: usize, key: u64) -> bool {
        let piece = &mut self.pieces[side];
        let entries = &mut self.entries[piece.start as usize..][..piece.len as usize];
        let index = entries.partition_point(|entry| entry.key < key);
        assert!(
            entries.get(index).is_some_and(|entry| entry.key == key),
            "a price with orders is on no ladder and not far from one"
        );
        entries.copy_within(index + 1.., index);
        piece.len -= 1;
        self.is_left(side)
    }

    /// Hands the prices from `key_min` on to `take`, which says whether it takes them away.
    pub(crate) fn take_from(
        &mut self,
        side: usize,
        key_min: u64,
        mut take: impl FnMut(Entry) -> bool,
    ) {
        let piece = &mut self.pieces[side];
        let entries = &mut self.entries[piece.start as usize..][..piece.len as usize];
        let first = entries.partition_point(|entry| entry.key < key_min);
        let mut kept = first;
        for index in first..entries.len() {
            let entry = entries[index];
            if !take(entry) {
                entries[kept] = entry;
                kept += 1;
            }
        }
        piece.len = kept as u32;
        self.is_left(side);
    }

    /// Gives the piece of a side back that has no price any more; says whether it has none.
    fn is_left(&mut self, side: usize) -> bool {
        let piece = self.pieces[side];
        if piece.len == 0 {
            self.give_back(piece);
            self.pieces[side] = Piece::zeroed();
        }
        piece.len == 0
    }

    fn give_back(&mut self, piece: Piece) {
        if piece.start != 0 {
            let first = &mut self.free[piece.class as usize];
            self.entries[piece.start as usize].level = *first;
            *first = piece.start;
        }
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
