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

const BLOCK_SYMBOLS: usize = 64;

impl Due {
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

    /// Visits every symbol that is due by `watermark`, in the order of their numbers; `visit`
    /// returns when it is due again. `look` is called for each some visits earlier, once at each
    /// of the two distances, so that its memory can be asked for.
    pub(crate) fn visit<S>(
        &mut self,
        watermark: Ts,
        shared: &mut S,
        look: impl Fn(&S, usize, Distance),
        mut visit: impl FnMut(&mut S, usize) -> Ts,
    ) {
        let blocks = self.by_symbol.chunks_mut(BLOCK_SYMBOLS);
        for (index, (block, first_due)) in blocks.zip(&mut self.by_block).enumerate() {
            if *first_due > watermark {
                continue;
            }
            let mut due_now = [0u8; BLOCK_SYMBOLS];
            let mut count = 0;
            for (offset, due) in block.iter().enumerate() {
                due_now[count] = offset as u8;
                count += usize::from(*due <= watermark);
            }
            let first = index * BLOCK_SYMBOLS;
            let due_now = &due_now[..count];
            let number = |at: usize| due_now.get(at).map(|&offset| first + usize::from(offset));
            for number in (0..FAR_VISITS).filter_map(number) {
                look(shared, number, Distance::Far);
            }
            for number in (0..NEAR_VISITS).filter_map(number) {
                look(shared, number, Distance::Near);
            }
            for (at, &offset) in due_now.iter().enumerate() {
                if let Some(number) = number(at + FAR_VISITS) {
                    look(shared, number, Distance::Far);
                }
                if let Some(number) = number(at + NEAR_VISITS) {
                    look(shared, number, Distance::Near);
                }
                let due = visit(shared, first + usize::from(offset));
                debug_assert!(due > watermark, "what was due is done");
                block[usize::from(offset)] = due;
            }
            *first_due = block.iter().copied().min().unwrap_or(Ts::MAX);
        }
    }
}

/// How far ahead of its visit a symbol is looked at: far enough for its state to come, and then
/// for what the state points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    Far,
    Near,
}

const FAR_VISITS: usize = 8;
const NEAR_VISITS: usize = 4;

#[cfg(test)]
mod tests {
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
            let looked = std::cell::RefCell::new(Vec::new());
            due.visit(
                Ts(watermark),
                &mut visited,
                |_, symbol, distance| looked.borrow_mut().push((symbol, distance)),
                |visited, symbol| {
                    visited.push(symbol);
                    // Symbol 3 is due again and again.
                    if symbol == 3 {
                        Ts(watermark + 2)
                    } else {
                        Ts::MAX
                    }
                },
            );
            for distance in [Distance::Far, Distance::Near] {
                let looked = looked.borrow();
                let at_it = looked.iter().filter(|(_, seen)| *seen == distance);
                let numbers: Vec<usize> = at_it.map(|(symbol, _)| *symbol).collect();
                assert_eq!(numbers, visited, "each is looked at once, in order");
            }
            visited
        };
        assert_eq!(at(3), []);
        assert_eq!(at(5), [3, 64, 199]);
        assert_eq!(at(6), [70]);
        assert_eq!(at(7), [3]);
        assert_eq!(at(9), [0, 3]);
        assert_eq!(at(1000), [3]);
    }
}
