//! Which symbols have something to do when time passes.

use bus::Ts;

/// By symbol number, the watermark at which there is something to do; `MAX` for never.
///
/// ```text
/// by_block    09:30:01            MAX                ...   a tick reads all of these,
/// by_symbol   09:30:01  MAX  ...  MAX  MAX  MAX  ...       and under a due one these
/// ```
///
/// A block's time is not after any of its symbols'; it may be before all of them, when what was
/// due was put off, until a tick looks.
#[derive(Debug)]
pub(crate) struct Due {
    by_symbol: Vec<Ts>,
    by_block: Vec<Ts>,
}

/// As many as a word has bits.
const BLOCK_SYMBOLS: usize = u64::BITS as usize;

/// How many visits before its own a symbol is asked for.
const ASKED_AHEAD: usize = 4;

impl Due {
    /// Without the eighth of a byte for its block's share.
    pub(crate) const BYTES_PER_SYMBOL: usize = size_of::<Ts>();

    pub(crate) fn new(symbol_count: usize) -> Due {
        Due {
            by_symbol: vec![Ts::MAX; symbol_count],
            by_block: vec![Ts::MAX; symbol_count.div_ceil(BLOCK_SYMBOLS)],
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, symbol: usize, due: Ts) {
        self.by_symbol[symbol] = due;
        let block = &mut self.by_block[symbol / BLOCK_SYMBOLS];
        *block = due.min(*block);
    }

    pub(crate) fn of(&self, symbol: usize) -> Ts {
        self.by_symbol[symbol]
    }

    /// Visits symbols that are due by `watermark`, in the order of their numbers from `next` on, at
    /// most so many; `visit` returns when it is due again. `ask` hears of a symbol some visits
    /// before, so that its state may be on the way from memory meanwhile. Says whether all were
    /// visited; if not, `next` is the first that was not.
    pub(crate) fn visit<S>(
        &mut self,
        watermark: Ts,
        next: &mut usize,
        mut visits_max: usize,
        state: &mut S,
        ask: impl Fn(&S, usize),
        mut visit: impl FnMut(&mut S, usize) -> Ts,
    ) -> bool {
        while let Some(first_due) = self.by_block.get_mut(*next / BLOCK_SYMBOLS) {
            let block = *next / BLOCK_SYMBOLS * BLOCK_SYMBOLS;
            if *first_due <= watermark {
                let end = self.by_symbol.len().min(block + BLOCK_SYMBOLS);
                let of_block = &mut self.by_symbol[block..end];
                // Bit by symbol of the block.
                let bits = of_block.iter().enumerate();
                let bits = bits.map(|(index, due)| u64::from(*due <= watermark) << index);
                let mut due = bits.fold(0, |all, bit| all | bit) & (u64::MAX << (*next - block));
                let mut unasked = due;
                for _ in 0..ASKED_AHEAD {
                    ask_first(&mut unasked, |index| ask(state, block + index));
                }
                while due != 0 {
                    let index = due.trailing_zeros() as usize;
                    *next = block + index;
                    if visits_max == 0 {
                        return false;
                    }
                    visits_max -= 1;
                    ask_first(&mut unasked, |index| ask(state, block + index));
                    of_block[index] = visit(state, *next);
                    debug_assert!(of_block[index] > watermark, "what was due is done");
                    due &= due - 1;
                }
                *first_due = of_block.iter().copied().min().unwrap_or(Ts::MAX);
            }
            *next = block + BLOCK_SYMBOLS;
        }
        true
    }
}

#[inline]
fn ask_first(unasked: &mut u64, ask: impl FnOnce(usize)) {
    if *unasked != 0 {
        ask(unasked.trailing_zeros() as usize);
        *unasked &= *unasked - 1;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn visits_what_is_due_in_order_and_nothing_else() {
        let mut due = Due::new(200);
        for (symbol, at) in [(199, 5), (3, 5), (70, 6), (64, 4), (0, 9), (63, 5)] {
            due.set(symbol, Ts(at));
        }
        due.set(63, Ts::MAX);
        let mut at = |watermark: i64| {
            let mut visited = Vec::new();
            let mut next = 0;
            // Two at a time.
            loop {
                let before = visited.len();
                let asked = Cell::new(0);
                let is_done = due.visit(
                    Ts(watermark),
                    &mut next,
                    2,
                    &mut visited,
                    |_, _| asked.set(asked.get() + 1),
                    |visited, symbol| {
                        visited.push(symbol);
                        assert!(asked.get() > visited.len() - 1 - before, "asked for before");
                        // Symbol 3 is due again and again.
                        if symbol == 3 {
                            Ts(watermark + 2)
                        } else {
                            Ts::MAX
                        }
                    },
                );
                if is_done {
                    return visited;
                }
                assert_eq!(visited.len(), before + 2);
            }
        };
        assert_eq!(at(3), []);
        assert_eq!(at(5), [3, 64, 199]);
        assert_eq!(at(6), [70]);
        assert_eq!(at(7), [3]);
        assert_eq!(at(9), [0, 3]);
        assert_eq!(at(1000), [3]);
    }
}
