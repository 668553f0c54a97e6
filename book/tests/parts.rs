//! Several changes that are one: each is made when it comes, and only the last is told of.

use book::{Books, BooksConfig, Depth};
use bus::{Anomaly, Applied, Event, Flags, Kind, Phase, Price, Qty, Side};

const CONFIG: BooksConfig = BooksConfig {
    orders_max: 1 << 10,
    levels_max: 1 << 10,
    symbols_max: 4,
    depth: Depth::L3,
};

fn trading() -> Books {
    let mut books = Books::new(CONFIG).unwrap();
    let state = Event {
        symbol: 1,
        order: u64::from(b'T'),
        ..Event::new(Kind::Status)
    };
    books.apply(&state);
    books
}

fn order(kind: Kind, side: Side, id: u64, price: i64, flags: Flags) -> Event {
    Event {
        symbol: 1,
        order: id,
        side,
        price: Price(price * 10_000_000),
        qty: Qty(100),
        flags,
        ..Event::new(kind)
    }
}

const NONE: Flags = Flags(0);

#[test]
fn a_quote_that_moves_is_not_crossed_on_its_way() {
    let mut books = trading();
    books.apply(&order(Kind::Add, Side::Buy, 1, 1_000, NONE));
    books.apply(&order(Kind::Add, Side::Sell, 2, 1_001, NONE));
    // Up by three cents, the bid first: on the way it is above the ask.
    let changes = [
        order(Kind::Delete, Side::Buy, 1, 0, Flags::MORE),
        order(Kind::Add, Side::Buy, 3, 1_003, Flags::MORE),
        order(Kind::Delete, Side::Sell, 2, 0, Flags::MORE),
    ];
    for change in changes {
        assert_eq!(books.apply(&change), Applied::NOTHING);
    }
    let told = Applied {
        quote_changed: true,
        ..Applied::NOTHING
    };
    let last = order(Kind::Add, Side::Sell, 4, 1_004, Flags::ENDS);
    assert_eq!(books.apply(&last), told);
    let quote = books.quote(1);
    assert_eq!((quote.bid.0, quote.ask.0), (10_030_000_000, 10_040_000_000));
    assert_eq!(books.stats().anomalies.total(), 0);
    assert_eq!(books.phase(1), Phase::Trading);
}

#[test]
fn a_book_that_ends_crossed_is_told_of_once() {
    let mut books = trading();
    books.apply(&order(Kind::Add, Side::Buy, 1, 1_000, NONE));
    books.apply(&order(Kind::Add, Side::Buy, 2, 999, Flags::MORE));
    let crosses = books.apply(&order(Kind::Add, Side::Sell, 3, 1_000, Flags::ENDS));
    assert_eq!(crosses.anomaly, Some(Anomaly::Crossed));
    // It still is, behind another change: that is no news.
    books.apply(&order(Kind::Add, Side::Sell, 4, 1_005, Flags::MORE));
    let still = books.apply(&order(Kind::Add, Side::Buy, 5, 990, Flags::ENDS));
    assert_eq!(still.anomaly, None);
    // What is wrong with one of the changes is told at once.
    let unknown = books.apply(&order(Kind::Delete, Side::Buy, 77, 0, Flags::MORE));
    assert_eq!(unknown.anomaly, Some(Anomaly::UnknownOrder));
}

/// An end without a change tells that there may have been one, and a state is never part of one.
#[test]
fn an_end_that_changes_nothing_tells_all_the_same() {
    let mut books = trading();
    books.apply(&order(Kind::Add, Side::Buy, 1, 1_000, Flags::MORE));
    let end = order(Kind::Info, Side::None, 0, 0, Flags::ENDS);
    assert!(books.apply(&end).quote_changed);
    let halted = Event {
        symbol: 1,
        order: u64::from(b'H'),
        flags: Flags::MORE,
        ..Event::new(Kind::Status)
    };
    books.apply(&halted);
    assert_eq!(books.phase(1), Phase::Halted);
}
