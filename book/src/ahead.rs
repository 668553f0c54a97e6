//! Applies events while the memory of later ones is on its way.

use bus::mem;
use bus::{Applied, Event, Side};

use crate::book::near_index;
use crate::books::Books;

/// How far apart the steps of looking ahead are: long enough for memory to come, short enough for
/// it to be there still.
const STEP_EVENTS: usize = 8;

impl Books {
    /// Asks the caches for what applying these events will touch. Changes no result; worth it for
    /// some 16 to 64 events, called right before they are applied one by one.
    /// [`Books::apply_block`] does better.
    #[inline]
    pub fn prefetch(&self, events: &[Event]) {
        for event in events {
            self.orders.prefetch_page(event.order);
        }
        for event in events {
            self.prefetch_named(event);
        }
        for event in events {
            self.prefetch_behind(event, self.orders.find_near(event.order));
        }
    }

    /// Asks for what an event names, and says in which slot its order should be.
    #[inline(always)]
    fn prefetch_named(&self, event: &Event) -> u32 {
        mem::prefetch(&self.books, event.symbol as usize);
        // The number of a side is that of its line; who has no side asks for the same line again.
        mem::prefetch_line(&self.books, event.symbol as usize, event.side as usize);
        self.orders.prefetch(event.order)
    }

    /// Asks for what lies behind what an event names, which by now should be there.
    #[inline(always)]
    fn prefetch_behind(&self, event: &Event, slot: u32) {
        self.levels.prefetch(self.orders.get(slot).level());
        if let Some(book) = self.books.get(event.symbol as usize) {
            let side = usize::from(event.side == Side::Sell);
            self.sides.prefetch(book.pieces[side]);
            self.levels
                .prefetch(book.near[side][near_index(event.price)]);
        }
    }

    /// Applies events in order, with the memory of the later ones on its way meanwhile; calls
    /// `each` after each.
    ///
    /// ```text
    /// events   0 ........ 8 ........ 16 ........ 24
    ///          │          │          │           └ asks where the page of its order is
    ///          │          │          └ asks for its order and its book
    ///          │          └ asks for the level and the prices behind those
    ///          └ is applied
    /// ```
    ///
    /// None of these steps branches on the kind of an event: to ask in vain costs less than a
    /// branch that is guessed wrong. They take turns, rather than ask for all at once, because a
    /// core has only so many requests open, and should have work of its own meanwhile.
    #[inline]
    pub fn apply_block(&mut self, events: &[Event], mut each: impl FnMut(&Books, &Event, Applied)) {
        let mut slots = [0; STEP_EVENTS];
        for event in events.iter().take(3 * STEP_EVENTS) {
            self.orders.prefetch_page(event.order);
        }
        for (event, slot) in events.iter().zip(&mut slots) {
            *slot = self.prefetch_named(event);
        }
        for (event, slot) in events.iter().zip(slots) {
            self.prefetch_behind(event, slot);
        }
        for (event, slot) in events.iter().skip(STEP_EVENTS).zip(&mut slots) {
            *slot = self.prefetch_named(event);
        }
        for (index, event) in events.iter().enumerate() {
            let slot = &mut slots[index % STEP_EVENTS];
            if let Some(later) = events.get(index + STEP_EVENTS) {
                self.prefetch_behind(later, *slot);
            }
            if let Some(later) = events.get(index + 2 * STEP_EVENTS) {
                *slot = self.prefetch_named(later);
            }
            if let Some(later) = events.get(index + 3 * STEP_EVENTS) {
                self.orders.prefetch_page(later.order);
            }
            let applied = self.apply_inlined(event);
            each(self, event, applied);
        }
    }
}
