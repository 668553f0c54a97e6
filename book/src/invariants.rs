//! What holds of a book whatever a feed sends, unless this program is wrong.
//!
//! Nothing here is on the way of an event unless a run asks for it.

use bus::{Event, Kind, Price};

use crate::book::Best;
use crate::books::{Books, Depth};
use crate::far::price_of;
use crate::orders::NOBODY;

/// Something that must hold, and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Breach {
    /// A quantity, or a number of orders, of zero or below.
    Empty,
    /// A price's number of orders is not that of its queue, or did not change by the orders that came
    /// and went.
    Count,
    /// A price's quantity is not the sum of its orders, or did not change by what they did.
    Quantity,
    /// Prices of a side that are not each behind the one before.
    Order,
    /// Best bid or ask, or what is shown there, are not those of the first price.
    Quote,
    /// The best bid is at or above the best ask while the symbol trades.
    Crossed,
}

impl Breach {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Breach; 6] = [
        Breach::Empty,
        Breach::Count,
        Breach::Quantity,
        Breach::Order,
        Breach::Quote,
        Breach::Crossed,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Breach::Empty => "empty_quantity",
            Breach::Count => "order_count",
            Breach::Quantity => "level_quantity",
            Breach::Order => "price_order",
            Breach::Quote => "quote",
            Breach::Crossed => "crossed_trading",
        }
    }
}

/// A price of one side of one symbol.
type Spot = (u32, usize, Price);

/// What an event will change, as it is before: taken from books with [`Books::look`], and held
/// against them with [`Books::breach`] once they took the event in.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whose book it is.
    pub symbol: u32,
    spots: [Option<Spot>; 2],
    /// Over the spots.
    shown: Shown,
    /// Over the orders that the event names.
    held: i64,
    /// Live orders.
    live: u32,
}

/// What is shown at some prices.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    qty: i64,
    count: u32,
}

impl Books {
    /// What an event that comes next will change.
    pub fn look(&self, event: &Event) -> Look {
        let named = self.spot_of(event.order);
        let spots = match event.kind {
            Kind::Add => {
                let side = (event.side as usize).wrapping_sub(1);
                [
                    (side < 2).then_some((event.symbol, side, event.price)),
                    None,
                ]
            }
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel | Kind::Delete => [named, None],
            Kind::Replace => {
                let to = named.map(|(symbol, side, _)| (symbol, side, event.price));
                [named, to.filter(|_| to != named)]
            }
            Kind::Nothing
            | Kind::Trade
            | Kind::Cross
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::Status
            | Kind::System
            | Kind::Info
            | Kind::Tick
            | Kind::Gap
            | Kind::End => [None, None],
        };
        Look {
            symbol: spots[0].map_or(event.symbol, |(symbol, ..)| symbol),
            spots,
            shown: self.shown(&spots),
            held: self.held(event),
            live: self.orders.count(),
        }
    }

    /// What does not hold after the event; of its symbol's whole book where it is asked for. The
    /// book may be crossed unless `is_open`.
    pub fn breach(&self, look: &Look, event: &Event, whole: bool, is_open: bool) -> Option<Breach> {
        let mut levels = look.spots.iter().flatten();
        let at_spots = levels.find_map(|(symbol, side, price)| {
            let id = self.find_valid(*symbol, *side, *price)?;
            self.breach_of_level(id)
        });
        // Told of where it came to be or stayed, not with each print beside it.
        let changes = look.spots[0].is_some() || event.kind == Kind::Status;
        let of_book = || match whole {
            true => self.breach_of_book(look.symbol),
            false => None,
        };
        at_spots
            .or_else(of_book)
            .or_else(|| self.breach_of_change(look, event))
            .or_else(|| self.breach_of_quote(look.symbol, is_open && changes))
    }

    /// Whether prices changed by what orders did, and by nothing else.
    fn breach_of_change(&self, look: &Look, event: &Event) -> Option<Breach> {
        let shown = self.shown(&look.spots);
        let count = i64::from(shown.count) - i64::from(look.shown.count);
        if count != i64::from(self.orders.count()) - i64::from(look.live) {
            return Some(Breach::Count);
        }
        let qty = shown.qty - look.shown.qty;
        (qty != self.held(event) - look.held).then_some(Breach::Quantity)
    }

    fn spot_of(&self, reference: u64) -> Option<Spot> {
        let order = self.orders.get(self.orders.find(reference));
        if order.qty == 0 {
            return None;
        }
        let level = self.levels.get(order.level());
        let side = level.side as usize & 1;
        Some((level.side >> 1, side, price_of(level.key, side)))
    }

    /// The level of a price, which an event may have made up.
    fn find_valid(&self, symbol: u32, side: usize, price: Price) -> Option<u32> {
        let is_valid = price.0 > 0 && price.is_some();
        is_valid.then(|| self.level_of(symbol, side, price))?
    }

    fn shown(&self, spots: &[Option<Spot>; 2]) -> Shown {
        let mut shown = Shown::default();
        for (symbol, side, price) in spots.iter().flatten() {
            if let Some(id) = self.find_valid(*symbol, *side, *price) {
                let level = self.levels.get(id);
                shown.qty = shown.qty.wrapping_add(level.qty);
                shown.count = shown.count.wrapping_add(level.count);
            }
        }
        shown
    }

    /// What the orders have that the event names.
    fn held(&self, event: &Event) -> i64 {
        let qty = |reference| {
            let slot = self.orders.find(reference);
            self.orders.qty::<true>(slot, self.orders.get(slot))
        };
        match event.kind {
            Kind::Replace if event.order_b != event.order => qty(event.order) + qty(event.order_b),
            kind if kind.is_for_all() => 0,
            _ => qty(event.order),
        }
    }

    fn breach_of_level(&self, id: u32) -> Option<Breach> {
        let level = self.levels.get(id);
        if level.qty <= 0 || level.count == 0 {
            return Some(Breach::Empty);
        }
        if self.depth == Depth::L2 {
            return None;
        }
        let mut sum = 0i64;
        for slot in self.levels.queue(id, &self.orders) {
            let order = self.orders.get(slot);
            // Nobody, or an order of another price: the queue is shorter than it says.
            if slot == NOBODY || order.qty == 0 || order.level() != id {
                return Some(Breach::Count);
            }
            sum = sum.saturating_add(self.orders.qty::<true>(slot, order));
        }
        (sum != level.qty).then_some(Breach::Quantity)
    }

    fn breach_of_quote(&self, symbol: u32, is_open: bool) -> Option<Breach> {
        let book = self.books.get(symbol as usize)?;
        for (side, best) in book.best.iter().enumerate() {
            let first = self.levels_of(symbol, side).next();
            let first = first.map_or(Best { key: 0, qty: 0 }, |id| {
                let level = self.levels.get(id);
                Best {
                    key: level.key,
                    qty: level.qty,
                }
            });
            if *best != first {
                return Some(Breach::Quote);
            }
        }
        (is_open && book.is_crossed_now()).then_some(Breach::Crossed)
    }

    /// What does not hold of a whole book, but for its quote.
    fn breach_of_book(&self, symbol: u32) -> Option<Breach> {
        for side in 0..2 {
            let mut before = u64::MAX;
            for id in self.levels_of(symbol, side) {
                let key = self.levels.get(id).key;
                // A price that is not found where it belongs is as wrong as one out of its turn.
                let found = self.level_of(symbol, side, price_of(key, side));
                if key >= before || found != Some(id) {
                    return Some(Breach::Order);
                }
                before = key;
                if let Some(breach) = self.breach_of_level(id) {
                    return Some(breach);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bus::{Qty, Side};

    use super::*;
    use crate::BooksConfig;

    fn add(order: u64, side: Side, price: i64) -> Event {
        Event {
            order,
            side,
            price: Price(price * 10_000_000),
            qty: Qty(100),
            symbol: 1,
            ..Event::new(Kind::Add)
        }
    }

    fn of(kind: Kind, order: u64, qty: i64) -> Event {
        Event {
            order,
            qty: Qty(qty),
            symbol: 1,
            ..Event::new(kind)
        }
    }

    fn books(depth: Depth) -> Books {
        let mut books = Books::new(BooksConfig {
            orders_max: 1 << 10,
            levels_max: 1 << 10,
            symbols_max: 4,
            depth,
        })
        .unwrap();
        for order in 1..=5 {
            books.apply(&add(order, Side::Buy, 1_000 - order as i64 % 2));
            books.apply(&add(order + 10, Side::Sell, 1_001 + 100 * order as i64));
        }
        books
    }

    /// What is said after an event, with `wrong` done to the books behind their backs.
    fn breach(books: &mut Books, event: Event, wrong: impl FnOnce(&mut Books)) -> Option<Breach> {
        let look = books.look(&event);
        books.apply(&event);
        wrong(books);
        books.breach(&look, &event, false, true)
    }

    #[test]
    fn good_books_break_nothing_whatever_comes() {
        for depth in [Depth::L3, Depth::L2] {
            let mut books = books(depth);
            let replace = |order, order_b, price: i64, qty| Event {
                order_b,
                price: Price(price * 10_000_000),
                ..of(Kind::Replace, order, qty)
            };
            // Queues that become linked and short again, orders that are unknown, doubled, too small,
            // at no price and of no side.
            let many = (100..130).map(|order| add(order, Side::Buy, 1_000));
            let fewer = (100..129).map(|order| of(Kind::Delete, order, 0));
            let odd = [
                of(Kind::Cancel, 1, 40),
                of(Kind::Execute, 1, 400),
                of(Kind::Delete, 1, 0),
                add(2, Side::Buy, 900),
                add(77, Side::None, 900),
                add(78, Side::Buy, 0),
                add(79, Side::Sell, -5),
                replace(2, 80, 1_000, 10),
                replace(80, 81, 990, 10),
                replace(81, 81, 991, 20),
                replace(81, 3, 991, 20),
                replace(11, 82, -1, 20),
                of(Kind::Tick, 12, 0),
                of(Kind::Trade, 12, 10),
                Event {
                    symbol: 2,
                    ..of(Kind::Delete, 12, 0)
                },
                Event {
                    symbol: 99,
                    ..add(99, Side::Buy, 1)
                },
            ];
            for event in many.chain(fewer).chain(odd) {
                let look = books.look(&event);
                books.apply(&event);
                let found = books.breach(&look, &event, true, true);
                assert_eq!(found, None, "{depth:?} {event:?}");
            }
        }
    }

    #[test]
    fn a_quantity_that_is_off_is_found_with_and_without_queues() {
        for depth in [Depth::L3, Depth::L2] {
            let mut books = books(depth);
            let price = Price(10_000_000_000);
            let found = breach(&mut books, of(Kind::Cancel, 2, 10), |books| {
                let id = books.level_of(1, 0, price).unwrap();
                books.levels.reduce(id, 1);
            });
            assert_eq!(found, Some(Breach::Quantity));
            let found = breach(&mut books, of(Kind::Cancel, 2, 10), |books| {
                let id = books.level_of(1, 0, price).unwrap();
                books.levels.reduce(id, 300);
            });
            assert_eq!(found, Some(Breach::Empty));
        }
    }

    #[test]
    fn an_order_that_is_in_no_queue_is_found() {
        for depth in [Depth::L3, Depth::L2] {
            let mut books = books(depth);
            let found = breach(&mut books, add(20, Side::Buy, 1_000), |books| {
                let slot = books.orders.find(20);
                let order = books.orders.get(slot);
                let id = order.level();
                match depth {
                    Depth::L3 => {
                        let place = order.place();
                        books
                            .levels
                            .remove::<true>(id, slot, place, 100, &mut books.orders);
                    }
                    Depth::L2 => {
                        books
                            .levels
                            .remove::<false>(id, slot, 0, 100, &mut books.orders);
                    }
                }
            });
            assert_eq!(found, Some(Breach::Count));
        }
    }

    #[test]
    fn what_is_shown_at_the_best_price_is_held_against_its_level() {
        let mut books = books(Depth::L3);
        let found = breach(&mut books, add(20, Side::Buy, 900), |books| {
            books.books[1].best[0].qty += 1;
        });
        assert_eq!(found, Some(Breach::Quote));
    }

    #[test]
    fn a_crossed_book_is_one_only_while_it_trades() {
        let mut books = books(Depth::L3);
        let cross = add(50, Side::Buy, 2_000);
        let found = breach(&mut books, cross, |_| ());
        assert_eq!(found, None, "nobody said it trades");
        let trading = of(Kind::Status, u64::from(b'T'), 0);
        let look = books.look(&trading);
        books.apply(&trading);
        let found = books.breach(&look, &trading, false, true);
        assert_eq!(found, Some(Breach::Crossed));
        let found = books.breach(&look, &trading, false, false);
        assert_eq!(found, None, "the market is closed");
    }
}
