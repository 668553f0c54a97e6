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
    /// By block, which symbols of it a tick found due when it looked ahead.
    found: Vec<u64>,
}

/// As many as a word has bits.
const BLOCK_SYMBOLS: usize = u64::BITS as usize;

/// How many visits before its own a symbol is asked for.
const ASKED_AHEAD: usize = 4;

impl Due {
    /// Without the quarter of a byte for its share of its block's.
    pub(crate) const BYTES_PER_SYMBOL: usize = size_of::<Ts>();

    pub(crate) fn new(symbol_count: usize) -> Due {
        Due {
            by_symbol: vec![Ts::MAX; symbol_count],
            by_block: vec![Ts::MAX; symbol_count.div_ceil(BLOCK_SYMBOLS)],
            found: vec![0; symbol_count.div_ceil(BLOCK_SYMBOLS)],
        }
    }

    #[inline]
    pub(crate) fn set(&mut self, symbol: usize, due: Ts) {
        self.by_symbol[symbol] = due;
        let block = &mut self.by_block[symbol / BLOCK_SYMBOLS];
        *block = due.min(*block);
    }

    /// Asks the caches for when a symbol is due.
    #[inline(always)]
    pub(crate) fn prefetch(&self, symbol: usize) {
        bus::mem::prefetch(&self.by_symbol, symbol);
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
        let mut ahead = self.look_ahead(*next / BLOCK_SYMBOLS, watermark);
        ahead.unasked &= u64::MAX << (*next % BLOCK_SYMBOLS);
        for _ in 0..ASKED_AHEAD {
            self.ask_next(&mut ahead, watermark, |symbol| ask(state, symbol));
        }
        while let Some(first_due) = self.by_block.get(*next / BLOCK_SYMBOLS) {
            let block = *next / BLOCK_SYMBOLS;
            if *first_due <= watermark {
                let first = block * BLOCK_SYMBOLS;
                // Whoever asks is never behind.
                let mut due = self.found[block] & (u64::MAX << (*next - first));
                while due != 0 {
                    *next = first + due.trailing_zeros() as usize;
                    if visits_max == 0 {
                        return false;
                    }
                    visits_max -= 1;
                    self.ask_next(&mut ahead, watermark, |symbol| ask(state, symbol));
                    self.by_symbol[*next] = visit(state, *next);
                    debug_assert!(self.by_symbol[*next] > watermark, "what was due is done");
                    due &= due - 1;
                }
                let end = self.by_symbol.len().min(first + BLOCK_SYMBOLS);
                let of_block = self.by_symbol[first..end].iter().copied();
                self.by_block[block] = of_block.min().unwrap_or(Ts::MAX);
            }
            *next = (block + 1) * BLOCK_SYMBOLS;
        }
        true
    }

    /// Finds out which symbols of a block are due.
    #[inline]
    fn look_ahead(&mut self, block: usize, watermark: Ts) -> Ahead {
        let end = self.by_symbol.len().min((block + 1) * BLOCK_SYMBOLS);
        let of_block = self.by_symbol.get(block * BLOCK_SYMBOLS..end);
        let from_last = of_block.unwrap_or_default().iter().rev();
        let unasked = from_last.fold(0, |all, due| all << 1 | u64::from(*due <= watermark));
        if let Some(found) = self.found.get_mut(block) {
            *found = unasked;
        }
        Ahead { block, unasked }
    }

    /// Asks for the next symbol that is due, in whichever block it is.
    #[inline]
    fn ask_next(&mut self, ahead: &mut Ahead, watermark: Ts, ask: impl FnOnce(usize)) {
        while ahead.unasked == 0 {
            let rest = self.by_block.get(ahead.block + 1..).unwrap_or_default();
            let Some(skipped) = rest.iter().position(|first_due| *first_due <= watermark) else {
                ahead.block = self.by_block.len();
                return;
            };
            *ahead = self.look_ahead(ahead.block + 1 + skipped, watermark);
        }
        ask(ahead.block * BLOCK_SYMBOLS + ahead.unasked.trailing_zeros() as usize);
        ahead.unasked &= ahead.unasked - 1;
    }
}

/// How far a tick has asked for symbols: those of a block that it is still to ask for.
struct Ahead {
    block: usize,
    unasked: u64,
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

    #[test]
    fn visits_what_a_plain_loop_visits_however_many_at_once() {
        let mut random = 7u64;
        let mut below = |end: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % end
        };
        for _ in 0..300 {
            let count = 1 + below(500) as usize;
            let (mut due, mut plain) = (Due::new(count), vec![Ts::MAX; count]);
            for watermark in (10..200).step_by(10) {
                for _ in 0..below(40) {
                    let (symbol, at) = (
                        below(count as u64) as usize,
                        Ts(watermark + below(30) as i64),
                    );
                    due.set(symbol, at);
                    plain[symbol] = at;
                }
                let watermark = Ts(watermark + 9);
                let (mut next, mut at_once) = (0, 1 + below(9) as usize);
                let mut visited = Vec::new();
                while !due.visit(
                    watermark,
                    &mut next,
                    at_once,
                    &mut visited,
                    |_, symbol| assert!(plain[symbol] <= watermark, "asked for without a reason"),
                    |visited, symbol| {
                        visited.push(symbol);
                        watermark.plus_ns(1 + symbol as i64)
                    },
                ) {
                    at_once = 1 + below(9) as usize;
                    // Something happens to a symbol, and its visit is made before: later ones, too.
                    let symbol = below(count as u64) as usize;
                    if symbol >= next && plain[symbol] <= watermark {
                        plain[symbol] = Ts::MAX;
                        due.set(symbol, Ts::MAX);
                    }
                }
                let mut expected = Vec::new();
                for (symbol, at) in plain.iter_mut().enumerate() {
                    if *at <= watermark {
                        expected.push(symbol);
                        *at = watermark.plus_ns(1 + symbol as i64);
                    }
                }
                assert_eq!(visited, expected);
            }
        }
    }
}
