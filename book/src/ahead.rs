//! Applies events while the memory of later ones is on its way.

use bus::mem;
use bus::{Applied, Event, Side};

use crate::books::{Books, Depth};
use crate::ladder;

/// How far apart the steps of looking ahead are: long enough for memory to come, short enough for
/// it to be there still.
const STEP_EVENTS: usize = 8;

/// Where the level of a coming event is to be found.
#[derive(Clone, Copy, Default)]
struct Trace {
    /// The slot of its order.
    slot: u32,
    /// The place of its price in the ladders; 0 for an event without a side, which has an order.
    place: usize,
}

impl Books {
    /// Asks for what an event names.
    #[inline(always)]
    fn prefetch_named(&self, event: &Event) -> Trace {
        mem::prefetch(&self.books, event.symbol as usize);
        let side = usize::from(event.side == Side::Sell);
        let (rung, _) = ladder::rung_of(event.price, side);
        let has_side = usize::from(event.side != Side::None);
        let place = ladder::index(event.symbol, side, rung) & 0usize.wrapping_sub(has_side);
        mem::prefetch(&self.ladders, place);
        let slot = self.orders.prefetch(event.order);
        Trace { slot, place }
    }

    /// Asks for the level of what was named, which by now should be there.
    #[inline(always)]
    fn prefetch_level(&self, trace: Trace) {
        let of_order = self.orders.get(trace.slot).level();
        let of_price = self.ladders.get(trace.place).copied().unwrap_or(0);
        self.levels
            .prefetch(if trace.place == 0 { of_order } else { of_price });
    }

    /// Applies events in order, with the memory of the later ones on its way meanwhile; calls
    /// `each` after each.
    ///
    /// ```text
    /// events   0 ........ 8 ........ 16 ........ 24
    ///          │          │          │           └ asks where the page of its order is
    ///          │          │          └ asks for its order, its book and its place on the ladder
    ///          │          └ asks for the level that is named there
    ///          └ is applied
    /// ```
    ///
    /// None of these steps branches on the kind of an event: to ask in vain costs less than a
    /// branch that is guessed wrong. They take turns, rather than ask for all at once, because a
    /// core has only so many requests open, and should have work of its own meanwhile.
    #[inline]
    pub fn apply_block(&mut self, events: &[Event], each: impl FnMut(&Books, &Event, Applied)) {
        match self.depth {
            Depth::L3 => self.apply_all::<true>(events, each),
            Depth::L2 => self.apply_all::<false>(events, each),
        }
    }

    #[inline(always)]
    fn apply_all<const QUEUES: bool>(
        &mut self,
        events: &[Event],
        mut each: impl FnMut(&Books, &Event, Applied),
    ) {
        for event in events.iter().take(3 * STEP_EVENTS) {
            self.orders.prefetch_page(event.order);
        }
        let mut first = [Trace::default(); STEP_EVENTS];
        for (event, trace) in events.iter().zip(&mut first) {
            *trace = self.prefetch_named(event);
        }
        let mut traces = [Trace::default(); STEP_EVENTS];
        for (event, trace) in events.iter().skip(STEP_EVENTS).zip(&mut traces) {
            *trace = self.prefetch_named(event);
        }
        for trace in first {
            self.prefetch_level(trace);
        }
        for (index, event) in events.iter().enumerate() {
            let trace = &mut traces[index % STEP_EVENTS];
            if index + STEP_EVENTS < events.len() {
                self.prefetch_level(*trace);
            }
            if let Some(later) = events.get(index + 2 * STEP_EVENTS) {
                *trace = self.prefetch_named(later);
            }
            if let Some(later) = events.get(index + 3 * STEP_EVENTS) {
                self.orders.prefetch_page(later.order);
            }
            let applied = self.apply_inlined::<QUEUES>(event);
            each(self, event, applied);
        }
    }
}
