//! Coinbase Exchange's websocket feed as captures keep it: lines with a message each, of the channels
//! level2, matches and ticker.
//!
//! ```text
//! S  snapshot     all levels of a book, which begins anew with it
//! L  l2update     levels as they are now; quantity 0 takes one away
//! T  match        a trade; `side` is that of the order that was there before it
//! P  last_match   the trade before the subscription, told again: counted, and no trade of this session
//! K  ticker       what the last trade left: counted, and never a part of the book
//! O  anything else
//! ```
//!
//! Level2 has neither numbers nor checksums: the venue promises each change, in order, and closes the
//! connection where it cannot keep that, so that a new snapshot tells of it. Changes before the first
//! snapshot leave a book stale. `P` and `K` have the time of a trade that is past, so theirs is that of
//! the message before them.

use bus::{Event, Side, Ts};
use serde::Deserialize;

use super::binance::parse;
use super::plain::{CHANGES, Plain, SNAPSHOT, Snapshots};
use super::said::{About, BadLine, Decimal, Message, Row, Said};
use super::{Fault, Notes, Protocol, Told};
use crate::source::Framing;

const CODES: &[u8] = b"LSTPKO+";
const TRADES: &[u8] = b"T";

/// The decoder.
#[derive(Debug)]
pub struct Coinbase(Plain);

impl Default for Coinbase {
    fn default() -> Coinbase {
        Coinbase::new()
    }
}

impl Coinbase {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Coinbase {
        Coinbase(Plain::new(Snapshots::InOneMessage))
    }
}

impl Protocol for Coinbase {
    const FRAMING: Framing = Framing::Records(None);
    const IS_TRANSLATED: bool = true;

    fn decode(&self, message: &[u8], event: &mut Event) -> Result<Notes, Fault> {
        Message::decode(message, CODES, TRADES, event)
    }

    fn code(&self, message: &[u8]) -> Option<u8> {
        message.get(8).copied()
    }

    fn ts_event(&self, message: &[u8]) -> Option<Ts> {
        Message::time(message)
    }

    fn translate(
        &mut self,
        message: &[u8],
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<(), Fault> {
        self.0.translate(message, event, out)
    }

    fn told(&self, message: &[u8]) -> Told {
        self.0.told(message)
    }
}

/// The fields that are looked at, in all messages that have them. None of them ever needs an escape.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    product_id: Option<&'a str>,
    time: Option<&'a str>,
    side: Option<&'a str>,
    price: Option<&'a str>,
    size: Option<&'a str>,
    trade_id: Option<u64>,
    #[serde(borrow)]
    bids: Option<Vec<(&'a str, &'a str)>>,
    #[serde(borrow)]
    asks: Option<Vec<(&'a str, &'a str)>>,
    #[serde(borrow)]
    changes: Option<Vec<(&'a str, &'a str, &'a str)>>,
}

/// Reads a line's JSON. An error is the byte where something else was expected.
pub(crate) fn read(json: &[u8], said: &mut Said) -> Result<(), BadLine> {
    said.clear();
    said.code = b'O';
    if json.first() != Some(&b'{') {
        return Ok(());
    }
    let fields: Fields = parse(json)?;
    let line = Line { json, fields };
    match line.fields.kind {
        Some("snapshot") => line.snapshot(said),
        Some("l2update") => line.changes(said),
        Some("match") => line.trade(b'T', About::Trade, said),
        Some("last_match") => line.trade(b'P', About::Quote, said),
        Some("ticker") => {
            line.symbol(said)?;
            (said.code, said.about) = (b'K', About::Quote);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A line and what stands in it.
struct Line<'a> {
    json: &'a [u8],
    fields: Fields<'a>,
}

impl Line<'_> {
    fn snapshot(&self, said: &mut Said) -> Result<(), BadLine> {
        self.symbol(said)?;
        self.time(said)?;
        (said.code, said.about) = (SNAPSHOT, About::Book);
        for (side, levels, name) in [
            (Side::Buy, &self.fields.bids, "bids"),
            (Side::Sell, &self.fields.asks, "asks"),
        ] {
            for (price, qty) in levels.as_ref().ok_or_else(|| lacks(name))? {
                said.rows.push(self.row(side, price, qty, 0)?);
            }
        }
        Ok(())
    }

    fn changes(&self, said: &mut Said) -> Result<(), BadLine> {
        self.symbol(said)?;
        self.time(said)?;
        (said.code, said.about) = (CHANGES, About::Book);
        let changes = self.fields.changes.as_ref();
        for (side, price, qty) in changes.ok_or_else(|| lacks("changes"))? {
            let side = self.side(side)?;
            said.rows.push(self.row(side, price, qty, 0)?);
        }
        Ok(())
    }

    fn trade(&self, code: u8, about: About, said: &mut Said) -> Result<(), BadLine> {
        let fields = &self.fields;
        self.symbol(said)?;
        if about == About::Trade {
            self.time(said)?;
        }
        (said.code, said.about) = (code, about);
        let side = self.side(fields.side.ok_or_else(|| lacks("side"))?)?;
        let price = fields.price.ok_or_else(|| lacks("price"))?;
        let qty = fields.size.ok_or_else(|| lacks("size"))?;
        let id = fields.trade_id.ok_or_else(|| lacks("trade_id"))?;
        said.rows.push(self.row(side, price, qty, id)?);
        Ok(())
    }

    fn symbol(&self, said: &mut Said) -> Result<(), BadLine> {
        let name = self.fields.product_id.ok_or_else(|| lacks("product_id"))?;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.wrong(name, "a product's name"));
        }
        said.symbol.push_str(name);
        said.symbol.make_ascii_uppercase();
        Ok(())
    }

    /// Older snapshots have no time.
    fn time(&self, said: &mut Said) -> Result<(), BadLine> {
        if let Some(text) = self.fields.time {
            let time = utc(text.as_bytes());
            said.ts_event = Some(time.ok_or_else(|| self.wrong(text, "a time in UTC"))?);
        }
        Ok(())
    }

    fn side(&self, word: &str) -> Result<Side, BadLine> {
        match word {
            "buy" => Ok(Side::Buy),
            "sell" => Ok(Side::Sell),
            _ => Err(self.wrong(word, "buy or sell")),
        }
    }

    fn row(&self, side: Side, price: &str, qty: &str, id: u64) -> Result<Row, BadLine> {
        let number = |text: &str| {
            let number = Decimal::parse(text.as_bytes());
            number.ok_or_else(|| self.wrong(text, "a decimal of at most 18 places"))
        };
        Ok(Row {
            side,
            price: number(price)?,
            qty: number(qty)?,
            id,
        })
    }

    /// What stands at a part of the line, and what was expected there.
    fn wrong(&self, part: &str, want: &str) -> BadLine {
        let at = (part.as_ptr() as usize).wrapping_sub(self.json.as_ptr() as usize);
        BadLine {
            at: if at < self.json.len() { at } else { 0 },
            what: format!("{part:?}, want {want}"),
        }
    }
}

fn lacks(what: &str) -> BadLine {
    let what = format!("a message without {what}");
    BadLine { at: 0, what }
}

/// `2021-04-17T16:43:37.075687Z`, with up to nine digits behind the point or no point.
fn utc(text: &[u8]) -> Option<Ts> {
    let (time, fraction) = text.split_at_checked(19)?;
    for (index, byte) in time.iter().enumerate() {
        let is_good = match index {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        };
        if !is_good {
            return None;
        }
    }
    let number = |from: usize, to: usize| {
        let digits = time[from..to].iter();
        digits.fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let is_good =
        (1..=12).contains(&month) && (1..=31).contains(&day) && (1970..2262).contains(&year);
    if !is_good || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970, by years that begin in March, so that leap days are at their ends.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    let fraction = match fraction.strip_suffix(b"Z")? {
        [] => 0,
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let value = digits
                .iter()
                .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
            value * 10i64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Ts(seconds * 1_000_000_000 + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_utc() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            (
                "2021-04-17T16:43:37.075687Z",
                Some(1_618_677_817_075_687_000),
            ),
            (
                "2024-02-29T23:59:59.999999999Z",
                Some(1_709_251_199_999_999_999),
            ),
            ("2000-03-01T00:00:00.5Z", Some(951_868_800_500_000_000)),
            ("2021-04-17T16:43:37", None),
            ("2021-04-17 16:43:37Z", None),
            ("2021-13-17T16:43:37Z", None),
            ("2021-04-17T16:43:37.Z", None),
            ("2021-04-17T16:43:37.0000000001Z", None),
            ("9999-04-17T16:43:37Z", None),
            ("2021-04-17T1\u{00e9}:43:37Z", None),
            ("", None),
        ] {
            assert_eq!(utc(text.as_bytes()), want.map(Ts), "{text}");
        }
    }
}
