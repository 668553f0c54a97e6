//! All books of one shard, and what each event does to them.

use std::io;

use crate::book::{Best, Book, CUT, NAMED, SELL};
use crate::far::{Far, key_of, price_of};
use crate::ladder::{self, RUNGS, bit, reaches, rung_of};
use crate::levels::Levels;
use crate::orders::{Order, Orders};
use bus::mem::Array;
use bus::planted::{self, Bug};
use bus::{Anomalies, Anomaly, Applied, Event, Fill, Flags, Kind, Phase, Price, Qty, Quote, Side};

/// What is kept of each price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Its quantity, and its orders in the order in which they will be executed.
    L3,
    /// Its quantity, and how many orders that is. The events and all that is concluded from them
    /// are the same; only [`Books::queue`] has nothing to say.
    L2,
}

/// What is to be held at most. Address space for all of it is reserved at the start; memory is
/// taken when it is first used. What comes beyond is [`Anomaly::Full`]: it is left out, and its
/// symbol is stale from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BooksConfig {
    /// Live orders, over all symbols; below 2^26.
    pub orders_max: u32,
    /// Prices with orders, over all symbols.
    pub levels_max: u32,
    /// Symbols are numbered below this.
    pub symbols_max: u32,
    /// What is kept of each price.
    pub depth: Depth,
}

/// How much is held, and what was wrong so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BooksStats {
    /// Live orders.
    pub orders: u32,
    /// Prices with orders.
    pub levels: u32,
    /// Pages of 32 references that hold live orders.
    pub pages: u32,
    /// What was wrong.
    pub anomalies: Anomalies,
}

/// The books of all symbols of one shard.
///
/// # What the kinds of events do
///
/// - `Add`: a field out of range (`BadPrice`, `BadQty`, `BadField` for the side) or an id that
///   lives (`DuplicateOrder`) leaves the book as it is. More than 32 bits are `BadQty` without
///   [`Flags::WIDE`], and with it what would bring all such orders beyond 2^62 together.
/// - `Execute`, `ExecuteAt`, `Cancel`: more than there is (`Overfill`) takes what there is, and
///   the order is gone. A quantity of zero or below is `BadQty` and takes nothing.
/// - `Replace`: the old order goes first, whatever is wrong with the new one.
/// - `Trade`, `Cross`: a fill, and no change.
/// - `Status`: the phase. A book that is crossed while trading is counted once, when it becomes so.
/// - `Gap`: every symbol is stale from now on, or no longer, or all books are empty, as its flags say.
/// - `Info`: the symbol is stale from now on, or no longer, where its flags say so.
///
/// Where several changes are one (`Flags::MORE`, then `Flags::ENDS`), each is made when it comes,
/// but only the last tells of a quote that changed, or finds the book crossed.
///
/// An event that names an order belongs to the order's book, whatever symbol it names (`BadField`
/// where they differ). Several things may be wrong with one event: each is counted, the first is
/// told. An event of a symbol beyond `symbols_max` is `Full` and does nothing.
#[derive(Debug)]
pub struct Books {
    pub(crate) books: Array<Book>,
    pub(crate) orders: Orders,
    pub(crate) levels: Levels,
    /// The levels of all ladders; see [`crate::ladder`].
    pub(crate) ladders: Array<u32>,
    pub(crate) far: Far,
    pub(crate) depth: Depth,
    pub(crate) anomalies: Anomalies,
    pub(crate) gap_passed: bool,
}

/// Where an order was reduced.
struct Reduced {
    key: u64,
    symbol: u32,
    side: usize,
    touch: Touch,
}

/// How a change concerns the best price of its side.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// It was at a worse price.
    Behind,
    /// It changed the quantity at the best price.
    Best,
    /// Another price is the best now.
    NewBest,
}

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

impl Books {
    /// Reserves all that the books will ever take. Fails if the system refuses the address space.
    pub fn new(config: BooksConfig) -> io::Result<Books> {
        let queues = config.depth == Depth::L3;
        Ok(Books {
            books: Array::zeroed(config.symbols_max as usize)?,
            orders: Orders::new(config.orders_max, queues)?,
            levels: Levels::new(config.levels_max, queues)?,
            ladders: Array::zeroed(config.symbols_max as usize * 2 * RUNGS as usize)?,
            far: Far::new(config.symbols_max, config.levels_max)?,
            depth: config.depth,
            anomalies: Anomalies::default(),
            gap_passed: false,
        })
    }

    /// Applies one event.
    pub fn apply(&mut self, event: &Event) -> Applied {
        match self.depth {
            Depth::L3 => self.apply_inlined::<true>(event),
            Depth::L2 => self.apply_inlined::<false>(event),
        }
    }

    #[inline(always)]
    pub(crate) fn apply_inlined<const QUEUES: bool>(&mut self, event: &Event) -> Applied {
        if event.symbol as usize >= self.books.len() {
            return self.refuse_symbol(event);
        }
        if event.flags.0 & (Flags::MORE.0 | Flags::ENDS.0 | Flags::WIDE.0) != 0 {
            return self.apply_marked::<QUEUES>(event);
        }
        self.apply_whole::<QUEUES, false>(event)
    }

    /// One of several changes that are one, or of an order beyond 32 bits.
    #[inline(never)]
    fn apply_marked<const QUEUES: bool>(&mut self, event: &Event) -> Applied {
        let is_part = event.flags.0 & (Flags::MORE.0 | Flags::ENDS.0) != 0;
        match (event.flags.has(Flags::WIDE), is_part) {
            (false, _) => self.apply_part::<QUEUES, false>(event),
            (true, true) => self.apply_part::<QUEUES, true>(event),
            (true, false) => self.apply_whole::<QUEUES, true>(event),
        }
    }

    #[inline(always)]
    fn apply_part<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        if event.kind == Kind::Status {
            return self.apply_whole::<QUEUES, WIDE>(event);
        }
        let book = &mut self.books[event.symbol as usize];
        let (phase, was_crossed) = (book.phase, book.is_crossed);
        // A book that is not known to trade is never found crossed.
        book.phase = Phase::Unknown as u8;
        let mut applied = self.apply_whole::<QUEUES, WIDE>(event);
        let book = &mut self.books[event.symbol as usize];
        (book.phase, book.is_crossed) = (phase, was_crossed);
        applied.quote_changed = !event.flags.has(Flags::MORE);
        if applied.quote_changed {
            self.settle(event.symbol, &mut applied);
        }
        applied
    }

    #[inline(always)]
    fn apply_whole<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        match event.kind {
            Kind::Add => self.add::<QUEUES, WIDE>(event),
            Kind::Delete => self.delete::<QUEUES, WIDE>(event),
            Kind::Execute | Kind::ExecuteAt | Kind::Cancel => self.take::<QUEUES, WIDE>(event),
            Kind::Replace => self.replace::<QUEUES, WIDE>(event),
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
            | Kind::End => self.apply_without_order(event),
        }
    }

    #[inline(never)]
    fn apply_without_order(&mut self, event: &Event) -> Applied {
        let book = &mut self.books[event.symbol as usize];
        if !event.kind.is_for_all() && event.kind != Kind::Nothing {
            book.marks |= NAMED;
        }
        match event.kind {
            Kind::Trade | Kind::Cross => self.print(event),
            Kind::Status => self.status(event),
            Kind::Info => self.info(event),
            Kind::Gap => self.gap(event),
            Kind::Nothing
            | Kind::Add
            | Kind::Execute
            | Kind::ExecuteAt
            | Kind::Cancel
            | Kind::Delete
            | Kind::Replace
            | Kind::Break
            | Kind::Imbalance
            | Kind::Symbol
            | Kind::System
            | Kind::Tick
            | Kind::End => Applied::NOTHING,
        }
    }

    #[inline(always)]
    fn add<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        let side = (event.side as usize).wrapping_sub(1);
        if side > SELL {
            return self.refuse(event.symbol, Anomaly::BadField);
        }
        match self.insert::<QUEUES, WIDE>(event.symbol, side, event.order, event.price, event.qty) {
            Ok(touch) => self.touched(event.symbol, touch),
            Err(anomaly) => self.refuse(event.symbol, anomaly),
        }
    }

    #[inline(always)]
    fn delete<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        let slot = self.orders.find(event.order);
        let order = self.orders.get(slot);
        if order.qty == 0 || planted::is(Bug::DeleteForgotten) {
            return self.refuse(event.symbol, Anomaly::UnknownOrder);
        }
        let reduced = self.remove::<QUEUES, WIDE>(slot, order, event.order);
        let symbol = reduced.symbol;
        let mut applied = self.touched(symbol, reduced.touch);
        if symbol != event.symbol {
            self.note_other_symbol(event.symbol, &mut applied);
        }
        applied
    }

    /// What is told of a change that nothing was wrong with.
    #[inline(always)]
    fn touched(&mut self, symbol: u32, touch: Touch) -> Applied {
        let mut applied = Applied {
            quote_changed: touch != Touch::Behind,
            ..Applied::NOTHING
        };
        // Only where the best price changes can a book become crossed.
        if touch == Touch::NewBest {
            self.settle(symbol, &mut applied);
        }
        applied
    }

    #[inline(never)]
    fn take<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        let slot = self.orders.find(event.order);
        let order = self.orders.get(slot);
        if order.qty == 0 {
            return self.refuse(event.symbol, Anomaly::UnknownOrder);
        }
        let (has, asked) = (self.orders.qty::<WIDE>(slot, order), event.qty.0);
        if asked <= 0 {
            return self.refuse(event.symbol, Anomaly::BadQty);
        }
        let reduced = if asked >= has {
            self.remove::<QUEUES, WIDE>(slot, order, event.order)
        } else {
            self.reduce::<WIDE>(slot, order, asked)
        };
        let symbol = reduced.symbol;
        let quote_changed = reduced.touch != Touch::Behind;
        let mut applied = Applied {
            quote_changed,
            ..Applied::NOTHING
        };
        if asked > has {
            self.note(symbol, Anomaly::Overfill, &mut applied);
        }
        if event.kind != Kind::Cancel {
            let own = price_of(reduced.key, reduced.side);
            let taken = Qty(asked.min(has));
            let aggressor = SIDES[reduced.side].other();
            self.fill(event, own, taken, aggressor, &mut applied);
        }
        if symbol != event.symbol {
            self.note_other_symbol(event.symbol, &mut applied);
        }
        self.settle(symbol, &mut applied);
        applied
    }

    /// The print of an execution.
    #[inline(always)]
    fn fill(
        &mut self,
        event: &Event,
        own: Price,
        taken: Qty,
        aggressor: Side,
        applied: &mut Applied,
    ) {
        let mut price = own;
        if event.kind == Kind::ExecuteAt {
            if !event.flags.has(Flags::PRINTABLE) {
                return;
            }
            if !is_valid(event.price) {
                return self.note(event.symbol, Anomaly::BadPrice, applied);
            }
            price = event.price;
        }
        applied.fill = Fill {
            price,
            qty: taken,
            aggressor,
        };
    }

    #[inline(never)]
    fn replace<const QUEUES: bool, const WIDE: bool>(&mut self, event: &Event) -> Applied {
        let slot = self.orders.find(event.order);
        let order = self.orders.get(slot);
        if order.qty == 0 {
            return self.refuse(event.symbol, Anomaly::UnknownOrder);
        }
        let side = self.levels.get(order.level()).side;
        let (symbol, side) = (side >> 1, side as usize & 1);
        let before = self.books[symbol as usize].best[side];
        let mut applied = Applied::NOTHING;
        self.remove::<QUEUES, WIDE>(slot, order, event.order);
        let inserted =
            self.insert::<QUEUES, WIDE>(symbol, side, event.order_b, event.price, event.qty);
        if let Err(anomaly) = inserted {
            self.note(symbol, anomaly, &mut applied);
        }
        if symbol != event.symbol {
            self.note_other_symbol(event.symbol, &mut applied);
        }
        applied.quote_changed = self.books[symbol as usize].best[side] != before;
        self.settle(symbol, &mut applied);
        applied
    }

    fn print(&mut self, event: &Event) -> Applied {
        if event.qty.0 <= 0 {
            // An auction without a trade is told with quantity 0.
            if event.kind == Kind::Cross {
                return Applied::NOTHING;
            }
            return self.refuse(event.symbol, Anomaly::BadQty);
        }
        if !is_valid(event.price) {
            return self.refuse(event.symbol, Anomaly::BadPrice);
        }
        let fill = Fill {
            price: event.price,
            qty: event.qty,
            aggressor: Side::None,
        };
        Applied {
            fill,
            ..Applied::NOTHING
        }
    }

    /// Messages are lost, or all that they said is known again.
    #[cold]
    fn gap(&mut self, event: &Event) -> Applied {
        match (event.flags.has(Flags::WHOLE), event.flags.has(Flags::STALE)) {
            (false, false) => self.gap_passed = true,
            // Each symbol that may lack something says so itself.
            (false, true) => {}
            (true, false) => self.gap_passed = false,
            (true, true) => {
                self.gap_passed = true;
                self.empty();
            }
        }
        Applied::NOTHING
    }

    /// All orders go, of all books, and with them what was left out for want of room.
    fn empty(&mut self) {
        let orders = self.orders.iter();
        let orders: Vec<u64> = orders.map(|slot| self.orders.reference(slot)).collect();
        for reference in orders {
            let slot = self.orders.find(reference);
            let order = self.orders.get(slot);
            match self.depth {
                Depth::L3 => self.remove::<true, true>(slot, order, reference),
                Depth::L2 => self.remove::<false, true>(slot, order, reference),
            };
        }
        for book in self.books.iter_mut() {
            if book.marks != 0 {
                book.marks &= !CUT;
                book.is_crossed = 0;
            }
        }
    }

    /// A feed that numbers each symbol's changes knows whose book lacks some, and when it is shown
    /// as a whole again.
    fn info(&mut self, event: &Event) -> Applied {
        let book = &mut self.books[event.symbol as usize];
        if event.flags.has(Flags::WHOLE) {
            book.marks &= !CUT;
        }
        if event.flags.has(Flags::STALE) {
            book.marks |= CUT;
        }
        Applied::NOTHING
    }

    fn status(&mut self, event: &Event) -> Applied {
        let phase = match u8::try_from(event.order) {
            Ok(b'T') => Phase::Trading,
            Ok(b'H' | b'P') => Phase::Halted,
            Ok(b'Q') => Phase::QuoteOnly,
            _ => return self.refuse(event.symbol, Anomaly::BadField),
        };
        self.books[event.symbol as usize].phase = phase as u8;
        let mut applied = Applied::NOTHING;
        self.settle(event.symbol, &mut applied);
        applied
    }

    /// Puts a new order at the back of its price's queue.
    #[inline(always)]
    pub(crate) fn insert<const QUEUES: bool, const WIDE: bool>(
        &mut self,
        symbol: u32,
        side: usize,
        reference: u64,
        price: Price,
        qty: Qty,
    ) -> Result<Touch, Anomaly> {
        if !is_valid(price) {
            return Err(Anomaly::BadPrice);
        }
        self.orders.check_qty::<WIDE>(qty.0)?;
        let slot = self.orders.find(reference);
        if self.orders.get(slot).qty != 0 {
            return Err(Anomaly::DuplicateOrder);
        }
        if self.orders.is_full() || self.levels.is_full() {
            self.refuse_full(symbol, side, price)?;
        }
        let key = key_of(price, side);
        let (rung, has_rung) = rung_of(price, side);
        let book = &mut self.books[symbol as usize];
        book.marks |= NAMED;
        let id = if has_rung & reaches(book.base[side], rung) {
            let level = &mut self.ladders[ladder::index(symbol, side, rung)];
            let opens = book.cells[side] & bit(rung) == 0;
            book.cells[side] |= bit(rung);
            let number = symbol << 1 | side as u32;
            *level = self.levels.open::<QUEUES>(opens, *level, key, number);
            *level
        } else {
            self.find_level::<QUEUES>(symbol, side, price)?
        };
        let slot = self.orders.claim(slot, reference);
        let (place, level_qty) = self
            .levels
            .push::<QUEUES>(id, slot, qty.0, &mut self.orders);
        let narrow = self.orders.narrow::<WIDE>(slot, qty.0);
        self.orders.set(slot, Order::new(narrow, id, place));
        let best = &mut self.books[symbol as usize].best[side];
        if key > best.key {
            *best = Best {
                key,
                qty: level_qty,
            };
            return Ok(Touch::NewBest);
        }
        let (is_best, best_qty) = (key == best.key, best.qty);
        best.qty = if is_best { level_qty } else { best_qty };
        Ok(if is_best { Touch::Best } else { Touch::Behind })
    }

    /// Takes an order out of its queue.
    #[inline(always)]
    fn remove<const QUEUES: bool, const WIDE: bool>(
        &mut self,
        slot: u32,
        order: Order,
        reference: u64,
    ) -> Reduced {
        let qty = self.orders.qty::<WIDE>(slot, order);
        if WIDE {
            self.orders.set_wide(slot, 0);
        }
        self.orders.remove(slot, reference);
        let id = order.level();
        let level = self
            .levels
            .remove::<QUEUES>(id, slot, order.place(), qty, &mut self.orders);
        let (key, level_qty, closes) = (level.key, level.qty, level.count == 0);
        let (symbol, side) = (level.side >> 1, level.side as usize & 1);
        let best = &mut self.books[symbol as usize].best[side];
        let is_best = key == best.key;
        best.qty = if is_best { level_qty } else { best.qty };
        let mut touch = if is_best { Touch::Best } else { Touch::Behind };
        if closes {
            self.close_level::<QUEUES>(symbol, side, id, key);
            if is_best {
                self.drop_best(symbol, side);
                touch = Touch::NewBest;
            }
        }
        Reduced {
            key,
            symbol,
            side,
            touch,
        }
    }

    /// Takes less from an order than it has.
    #[inline(always)]
    fn reduce<const WIDE: bool>(&mut self, slot: u32, order: Order, taken: i64) -> Reduced {
        if WIDE {
            let left = self.orders.qty::<WIDE>(slot, order) - taken;
            self.orders.set_wide(slot, 0);
            let narrow = self.orders.narrow::<WIDE>(slot, left);
            self.orders.set_qty(slot, narrow);
        } else {
            self.orders.set_qty(slot, order.qty - taken as u32);
        }
        let level = self.levels.reduce(order.level(), taken);
        let (symbol, side) = (level.side >> 1, level.side as usize & 1);
        let best = &mut self.books[symbol as usize].best[side];
        let is_best = level.key == best.key;
        best.qty = if is_best { level.qty } else { best.qty };
        Reduced {
            key: level.key,
            symbol,
            side,
            touch: if is_best { Touch::Best } else { Touch::Behind },
        }
    }

    /// Counts a book that becomes crossed while trading.
    #[inline(always)]
    fn settle(&mut self, symbol: u32, applied: &mut Applied) {
        let book = &mut self.books[symbol as usize];
        let is_crossed = u8::from(book.is_crossed_now());
        if is_crossed != book.is_crossed {
            book.is_crossed = is_crossed;
            if is_crossed == 1 {
                self.note(symbol, Anomaly::Crossed, applied);
            }
        }
    }

    /// Counts an anomaly; the first one of an event is told.
    #[cold]
    fn note(&mut self, symbol: u32, anomaly: Anomaly, applied: &mut Applied) {
        self.anomalies.count(anomaly);
        applied.anomaly = applied.anomaly.or(Some(anomaly));
        let Some(book) = self.books.get_mut(symbol as usize) else {
            return;
        };
        book.marks |= NAMED;
        if anomaly == Anomaly::Full {
            book.marks |= CUT;
        }
        if self.gap_passed && is_evidence(anomaly) {
            book.evidence = book.evidence.saturating_add(1);
        }
    }

    /// An event named another symbol than its order has.
    #[cold]
    fn note_other_symbol(&mut self, symbol: u32, applied: &mut Applied) {
        self.note(symbol, Anomaly::BadField, applied);
    }

    /// Counts an anomaly of an event that does nothing.
    #[cold]
    fn refuse(&mut self, symbol: u32, anomaly: Anomaly) -> Applied {
        let mut applied = Applied::NOTHING;
        self.note(symbol, anomaly, &mut applied);
        applied
    }

    /// An event of a symbol that has no place. Those for all symbols name one too, by chance 0.
    #[cold]
    fn refuse_symbol(&mut self, event: &Event) -> Applied {
        if event.kind.is_for_all() || event.kind == Kind::Nothing {
            return match event.kind {
                Kind::Gap => self.gap(event),
                _ => Applied::NOTHING,
            };
        }
        self.refuse(event.symbol, Anomaly::Full)
    }

    /// Best bid and ask. A symbol that was never named has none.
    #[inline]
    pub fn quote(&self, symbol: u32) -> Quote {
        self.books
            .get(symbol as usize)
            .map_or(Quote::EMPTY, Book::quote)
    }

    /// Whether it trades.
    pub fn phase(&self, symbol: u32) -> Phase {
        match self.books.get(symbol as usize).map_or(0, |book| book.phase) {
            1 => Phase::Trading,
            2 => Phase::Halted,
            3 => Phase::QuoteOnly,
            _ => Phase::Unknown,
        }
    }

    /// Whether the book may lack something: messages were lost (all symbols known so far or later
    /// are suspect), there was no room for an order of this one, or the feed's own numbers say so.
    pub fn is_stale(&self, symbol: u32) -> bool {
        self.gap_passed
            || self
                .books
                .get(symbol as usize)
                .is_none_or(|book| book.marks & CUT != 0)
    }

    /// How often, after messages were lost, something was met that tells that this symbol was
    /// concerned: an order that is unknown, doubled or too small, or a crossed book.
    pub fn evidence(&self, symbol: u32) -> u32 {
        self.books
            .get(symbol as usize)
            .map_or(0, |book| book.evidence)
    }

    /// How much is held, and what was wrong so far.
    pub fn stats(&self) -> BooksStats {
        BooksStats {
            orders: self.orders.count(),
            levels: self.levels.live,
            pages: self.orders.pages_live(),
            anomalies: self.anomalies,
        }
    }
}

/// Whether an order may have this price. The largest number stands for "no price".
#[inline(always)]
fn is_valid(price: Price) -> bool {
    price.0 > 0 && price.is_some()
}

fn is_evidence(anomaly: Anomaly) -> bool {
    matches!(
        anomaly,
        Anomaly::UnknownOrder | Anomaly::DuplicateOrder | Anomaly::Overfill | Anomaly::Crossed
    )
}
