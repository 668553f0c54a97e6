//! After start-up the books take nothing from the allocator, and what they hold follows the live
//! orders. One test in a process of its own: the counter is global.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use book::{Books, BooksConfig, Depth};
use bus::{Anomaly, Event, Kind, Price, Qty, Side};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed to `System`, which keeps the allocator's contract; the counter
// touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises for `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this `layout`, so from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ORDERS_MAX: u32 = 3_000;

/// Adds and deletes with few orders live at any time, prices over a wide range, and references of
/// which every third is beyond all that is near.
fn event(step: u64) -> Event {
    let reference = |step: u64| match step % 3 {
        0 => step,
        1 => step << 30,
        _ => step << 40 | 1 << 63,
    };
    let stir = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let born = step / 2;
    let mut event = Event {
        symbol: (stir % 7) as u32,
        ..Event::new(Kind::Add)
    };
    event.order = reference(born);
    event.side = if stir & 8 == 0 { Side::Buy } else { Side::Sell };
    event.price = Price(1 + (stir >> 8) as i64 % 4_000);
    event.qty = Qty(1 + (stir >> 30) as i64 % 100);
    if step % 2 == 1 {
        event.kind = if stir & 0x70 == 0 {
            Kind::Replace
        } else {
            Kind::Delete
        };
        event.order = reference(born.saturating_sub(u64::from(ORDERS_MAX) / 2));
        event.order_b = event.order | 1 << 62;
    }
    event
}

#[test]
fn nothing_is_allocated_after_the_start_and_pages_follow_live_orders() {
    let config = BooksConfig {
        orders_max: ORDERS_MAX,
        levels_max: 10_000,
        symbols_max: 8,
        depth: Depth::L3,
    };
    let mut books = Books::new(config).unwrap();
    let events: Vec<Event> = (0..400_000).map(event).collect();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut fullest = 0;
    books.apply_block(&events, |books, _, _| {
        let stats = books.stats();
        assert!(stats.pages <= stats.orders);
        fullest = fullest.max(stats.orders);
    });
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(allocations, 0);
    // Replaced orders are never deleted, so that in the end the books are full and stay so.
    assert_eq!(fullest, ORDERS_MAX);
    let full = books
        .stats()
        .anomalies
        .iter()
        .find(|(kind, _)| *kind == Anomaly::Full);
    assert!(full.is_some());

    for symbol in 0..config.symbols_max {
        for side in [Side::Buy, Side::Sell] {
            let mut levels = Vec::new();
            books.depth(symbol, side, usize::MAX, &mut levels);
            let queues = levels
                .iter()
                .flat_map(|level| books.queue(symbol, side, level.price));
            let references: Vec<u64> = queues.map(|(reference, _)| reference).collect();
            for order in references {
                books.apply(&Event {
                    order,
                    symbol,
                    ..Event::new(Kind::Delete)
                });
            }
        }
    }
    let stats = books.stats();
    assert_eq!((stats.orders, stats.levels, stats.pages), (0, 0, 0));
}
