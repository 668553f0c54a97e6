//! Numbers for symbols that a feed calls by name, or by numbers too large to count with.

use super::Fault;
use super::keyed::Map;

/// Symbols are numbered from 1, below this.
const SYMBOLS_END: u32 = 1 << 16;

/// Which number each symbol has: the place of its first message among those of all symbols.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    numbers: Map<u64, u32>,
    /// The last one that was asked for: feeds speak of one symbol several times in a row.
    last: Option<(u64, u32)>,
}

impl Symbols {
    /// The number of a symbol that was met; 0 for any other.
    pub(super) fn known(&self, key: u64) -> u32 {
        self.numbers.get(&key).copied().unwrap_or(0)
    }

    /// The symbol's number, and whether it is met for the first time.
    #[inline]
    pub(super) fn number(&mut self, key: u64) -> Result<(u32, bool), Fault> {
        if let Some((last, number)) = self.last
            && last == key
        {
            return Ok((number, false));
        }
        let next = self.numbers.len() as u32 + 1;
        let number = match self.numbers.get(&key) {
            Some(&number) => number,
            None if next == SYMBOLS_END => {
                let (what, max) = ("symbols", SYMBOLS_END - 1);
                return Err(Fault::Full { what, max });
            }
            None => next,
        };
        if number == next {
            self.numbers.insert(key, number);
        }
        self.last = Some((key, number));
        Ok((number, number == next))
    }
}
