//! Order ids: the same order gets the same id on every replay, and after every crash.

use std::fmt;

use super::digits::{Date, pair, write_padded};
use crate::Signal;

/// A ClOrdID, made of nothing but what the order is caused by: no clock, no counter, no random
/// number, and nothing of how the work is shared out between threads.
///
/// ```text
/// 260105-000000123456-002A-01-0003
/// date   seq          symbol  ordinal
///        of the event      rule
/// ```
///
/// Date and `seq` are decimal; symbol, rule and ordinal, which only tell apart what one event
/// caused, are hexadecimal. The symbol is needed because one `Tick` can cause an order in each of
/// many symbols. Ids of fixed width sort as text in the order of the events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId([u8; OrderId::BYTES]);

/// What an [`OrderId`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// The trading date. An id has two digits of its year: they are read as 1970 to 2069.
    pub date: Date,
    /// The `seq` of the event that caused the order.
    pub seq: u64,
    /// The symbol's number in this run.
    pub symbol: u32,
    /// Which strategy.
    pub rule: u8,
    /// The order signal's ordinal.
    pub ordinal: u16,
}

impl OrderId {
    /// How long an id is.
    pub const BYTES: usize = 32;
    /// The first `seq` that an id has no room for. At 100 ns an event that is a day's work.
    pub const SEQ_END: u64 = 1_000_000_000_000;

    /// The id of this order.
    ///
    /// # Panics
    /// For a symbol above 65,535, or a `seq` from [`OrderId::SEQ_END`] on: two orders would share
    /// an id.
    #[inline]
    pub fn new(date: impl Into<Date>, rule: u8, seq: u64, symbol: u32, ordinal: u16) -> OrderId {
        let date = date.into();
        assert!(
            seq < OrderId::SEQ_END,
            "an order id has room for twelve digits of seq"
        );
        assert!(symbol <= 0xffff, "an order id has room for 65,536 symbols");
        let mut id = *b"YYMMDD-qqqqqqqqqqqq-ssss-rr-oooo";
        id[0..2].copy_from_slice(&pair(u32::from(date.year % 100)));
        id[2..4].copy_from_slice(&pair(u32::from(date.month)));
        id[4..6].copy_from_slice(&pair(u32::from(date.day)));
        write_padded(&mut id[7..19], seq);
        write_hex(&mut id[20..24], symbol);
        write_hex(&mut id[25..27], u32::from(rule));
        write_hex(&mut id[28..32], u32::from(ordinal));
        OrderId(id)
    }

    /// The id of the order that this signal says.
    ///
    /// # Panics
    /// As [`OrderId::new`].
    #[inline]
    pub fn of(date: impl Into<Date>, signal: &Signal) -> OrderId {
        OrderId::new(date, signal.rule, signal.seq, signal.symbol, signal.ordinal)
    }

    fn from_key(key: OrderKey) -> OrderId {
        OrderId::new(key.date, key.rule, key.seq, key.symbol, key.ordinal)
    }

    /// The id in this text, or `None` where it is none that [`OrderId::new`] makes.
    pub fn parse(text: &[u8]) -> Option<OrderId> {
        let id = OrderId(text.try_into().ok()?);
        let key = id.read()?;
        (id == OrderId::from_key(key)).then_some(id)
    }

    /// What it is made of.
    pub fn key(&self) -> OrderKey {
        self.read()
            .expect("an id is made by `new` or checked by `parse`")
    }

    fn read(&self) -> Option<OrderKey> {
        let part = |range: std::ops::Range<usize>, radix| {
            u64::from_str_radix(std::str::from_utf8(&self.0[range]).ok()?, radix).ok()
        };
        let (month, day) = (part(2..4, 10)? as u8, part(4..6, 10)? as u8);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let year = part(0..2, 10)? as u16;
        let century = if year >= 70 { 1900 } else { 2000 };
        Some(OrderKey {
            date: Date {
                year: century + year,
                month,
                day,
            },
            seq: part(7..19, 10)?,
            symbol: part(20..24, 16)? as u32,
            rule: part(25..27, 16)? as u8,
            ordinal: part(28..32, 16)? as u16,
        })
    }

    /// As bytes, for a message.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; OrderId::BYTES] {
        &self.0
    }

    /// As text, for a table.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[inline]
fn write_hex(out: &mut [u8], mut value: u32) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seq: u64, symbol: u32, rule: u8, ordinal: u16) -> OrderKey {
        OrderKey {
            date: Date {
                year: 2026,
                month: 1,
                day: 5,
            },
            seq,
            symbol,
            rule,
            ordinal,
        }
    }

    #[test]
    fn an_id_reads_back() {
        let id = OrderId::from_key(key(123_456, 42, 1, 3));
        assert_eq!(id, OrderId::new((2026, 1, 5), 1, 123_456, 42, 3));
        assert_eq!(id.to_string(), "260105-000000123456-002A-01-0003");
        for key in [
            key(123_456, 42, 1, 3),
            key(OrderId::SEQ_END - 1, 0xffff, 0xff, 0xffff),
        ] {
            let id = OrderId::from_key(key);
            assert_eq!(id.key(), key);
            assert_eq!(OrderId::parse(id.as_bytes()), Some(id));
        }
    }

    #[test]
    fn ids_sort_as_their_causes() {
        let mut keys = vec![
            key(9, 0, 9, 9),
            key(10, 3, 0, 0),
            key(10, 3, 0, 1),
            key(10, 20, 0, 0),
        ];
        keys.push(key(10, 20, 1, 0));
        let ids: Vec<OrderId> = keys.into_iter().map(OrderId::from_key).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn other_text_is_not_an_id() {
        let good = *OrderId::from_key(key(1, 2, 3, 4)).as_bytes();
        for (at, byte) in [
            (6, b'+'),
            (7, b'+'),
            (20, b'a'),
            (2, b'9'),
            (4, b'4'),
            (31, b' '),
        ] {
            let mut bad = good;
            bad[at] = byte;
            assert_eq!(
                OrderId::parse(&bad),
                None,
                "{}",
                String::from_utf8_lossy(&bad)
            );
        }
        assert_eq!(OrderId::parse(&good[..31]), None);
        assert_eq!(OrderId::parse(b""), None);
    }

    #[test]
    #[should_panic(expected = "room for 65,536 symbols")]
    fn an_id_that_would_not_be_unique_is_not_made() {
        OrderId::from_key(key(1, 65_536, 0, 0));
    }
}
