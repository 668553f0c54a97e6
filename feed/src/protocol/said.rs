//! What a line of a crypto venue says, in one form for all of them.
//!
//! Their captures are lines of text, of which one may be longer than a message can be, and whose
//! quantities have as many decimals as each instrument likes. So the source reads the lines, and hands
//! out messages of this form: a head, and rows of side, price, quantity and number. All numbers are
//! little-endian.
//!
//! ```text
//! byte 0     8     9        10     11   12        20       28     36    44      52
//!      name  code  decimals flags  -    ts_event  ts_recv  first  last  before  rows of 25 bytes
//! ```
//!
//! Quantities are whole numbers of an instrument's smallest unit, which is 10 to the power of minus
//! its `decimals`: the most decimals that any of its quantities has anywhere in the input. So nothing
//! is ever rounded; what passes the range of a number is refused.

use std::collections::{BTreeMap, BTreeSet};

use bus::{Event, Flags, Kind, Price, Qty, Side, Ts};

use super::symbols::Symbols;
use super::{Fault, Notes};

/// The bytes of a head.
const HEAD_BYTES: usize = 52;
/// The bytes of a row.
const ROW_BYTES: usize = 25;
/// So many rows fit into one message.
const ROWS_MAX: usize = (u16::MAX as usize - HEAD_BYTES) / ROW_BYTES;
/// The decimals of a price.
const PRICE_DECIMALS: u8 = 9;
/// No number has more decimals than this.
const DECIMALS_MAX: u8 = 18;
/// Instruments are counted up to this.
const INSTRUMENTS_MAX: usize = u16::MAX as usize;

/// More of what the line said follows in the next message.
const MORE: u8 = 1;
/// It belongs to the message before.
const GOES_ON: u8 = 2;
/// A trade that another message of the input tells too.
const TOLD_ELSEWHERE: u8 = 4;

/// The next message is one change with it.
const FOLLOWED: u8 = 8;

/// The code of a message that goes on with the one before.
pub(super) const CODE_GOES_ON: u8 = b'+';

/// A decimal that is not negative, exactly, without zeros at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decimal {
    units: u64,
    /// What the units are to be divided by, as a power of ten.
    decimals: u8,
}

impl Decimal {
    /// Digits with a point among them or not, and an exponent or not, as JavaScript writes numbers.
    #[inline]
    pub(crate) fn parse(text: &[u8]) -> Option<Decimal> {
        Decimal::parse_short(text).or_else(|| Decimal::parse_any(text))
    }

    /// At most 19 digits and a point, as nearly all are: they fit into 64 bits, whatever they are. `None` may be a
    /// number of another form.
    #[inline]
    fn parse_short(text: &[u8]) -> Option<Decimal> {
        const DIGITS_MAX: usize = 19;
        if !text.first()?.is_ascii_digit() || text.len() > DIGITS_MAX + 1 {
            return None;
        }
        let (mut units, mut at) = (0u64, 0);
        while let Some(digit) = text
            .get(at)
            .map(|byte| byte.wrapping_sub(b'0'))
            .filter(|d| *d < 10)
        {
            if at == DIGITS_MAX {
                return None;
            }
            units = units * 10 + u64::from(digit);
            at += 1;
        }
        let part = match text.get(at) {
            None => return Some(Decimal { units, decimals: 0 }),
            Some(b'.') => &text[at + 1..],
            Some(_) => return None,
        };
        // Zeros at the end are left out.
        let len = part
            .iter()
            .rposition(|byte| *byte != b'0')
            .map_or(0, |last| last + 1);
        for byte in &part[..len] {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            units = units * 10 + u64::from(digit);
        }
        let decimals = len as u8;
        Some(Decimal { units, decimals })
    }

    #[cold]
    fn parse_any(text: &[u8]) -> Option<Decimal> {
        let (mut units, mut decimals, mut digits) = (0u128, 0i32, 0);
        let mut is_behind_point = false;
        let mut rest = text;
        while let [byte, behind @ ..] = rest {
            match byte {
                b'0'..=b'9' => {
                    units = units
                        .checked_mul(10)?
                        .checked_add(u128::from(byte - b'0'))?;
                    decimals += i32::from(is_behind_point);
                    digits += 1;
                }
                b'.' if !is_behind_point && digits > 0 => is_behind_point = true,
                b'e' | b'E' if digits > 0 => {
                    decimals -= exponent(behind)?;
                    rest = &[];
                    break;
                }
                _ => return None,
            }
            rest = behind;
        }
        if digits == 0 || !rest.is_empty() {
            return None;
        }
        if units == 0 {
            return Some(Decimal::default());
        }
        while decimals > 0 && units.is_multiple_of(10) {
            (units, decimals) = (units / 10, decimals - 1);
        }
        while decimals < 0 {
            (units, decimals) = (units.checked_mul(10)?, decimals + 1);
        }
        let decimals = u8::try_from(decimals).ok().filter(|n| *n <= DECIMALS_MAX)?;
        let units = u64::try_from(units).ok()?;
        Some(Decimal { units, decimals })
    }

    /// In units of 10 to the power of minus `decimals`; `None` where that is no whole number, or
    /// passes the range.
    pub(crate) fn in_units_of(self, decimals: u8) -> Option<i64> {
        let power = decimals.checked_sub(self.decimals)?;
        let factor = 10u64.checked_pow(power.into())?;
        i64::try_from(self.units.checked_mul(factor)?).ok()
    }
}

/// An exponent of at most two digits.
fn exponent(text: &[u8]) -> Option<i32> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !(1..=2).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |n, digit| n * 10 + i32::from(digit - b'0'));
    Some(if is_negative { -value } else { value })
}

/// One level, one trade or one order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) side: Side,
    pub(crate) price: Decimal,
    pub(crate) qty: Decimal,
    pub(crate) id: u64,
}

/// What a line says; used again for the next one.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What kind of message it is, by its protocol's own letters.
    pub(crate) code: u8,
    /// The instrument, in capitals; empty where the line does not say it.
    pub(crate) symbol: String,
    /// The venue, where one file has several.
    pub(crate) venue: String,
    pub(crate) ts_event: Option<Ts>,
    /// When it arrived, where the line itself says so.
    pub(crate) ts_recv: Option<Ts>,
    /// The first and the last of the venue's numbers of changes that it has, and the one before.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) before: u64,
    /// Whether it is a trade, one that is made of others, or something of the book.
    pub(crate) about: About,
    /// Whether the next message is one change with this one.
    pub(crate) is_followed: bool,
    /// On which of the venue's markets, as far as a line shows it.
    pub(crate) markets: Markets,
    pub(crate) rows: Vec<Row>,
}

/// Markets of one venue that call different instruments by the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markets(pub(crate) u8);

impl Markets {
    pub(crate) const SPOT: Markets = Markets(1);
    pub(crate) const FUTURES: Markets = Markets(2);
    /// It lacks what lines of the spot market have, which somebody may have left out.
    pub(crate) const MAYBE_FUTURES: Markets = Markets(4);
    const BOTH: u8 = 3;
}

/// What a line is about, as far as its instrument must be known for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum About {
    #[default]
    Else,
    Book,
    Trade,
    TradesTogether,
    /// Best bid and offer.
    Quote,
}

impl Said {
    pub(crate) fn clear(&mut self) {
        let mut symbol = std::mem::take(&mut self.symbol);
        let mut venue = std::mem::take(&mut self.venue);
        let mut rows = std::mem::take(&mut self.rows);
        symbol.clear();
        venue.clear();
        rows.clear();
        *self = Said {
            symbol,
            venue,
            rows,
            ..Said::default()
        };
    }

    /// Whether `other` belongs to the same message of the venue, or, where each line is one of its
    /// own, to the same time of it.
    pub(crate) fn is_one_with(&self, other: &Said, by_time: bool) -> bool {
        let is_same = self.code == other.code && self.ts_recv == other.ts_recv;
        (self.about, other.about) == (About::Book, About::Book)
            && (is_same || by_time)
            && self.ts_event == other.ts_event
            && self.symbol == other.symbol
            && self.venue == other.venue
    }

    /// The most decimals that any of its quantities has.
    pub(crate) fn decimals(&self) -> u8 {
        let decimals = self.rows.iter().map(|row| row.qty.decimals);
        decimals.max().unwrap_or(0)
    }
}

/// What is wrong with a line, and at which byte of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) at: usize,
    pub(crate) what: String,
}

/// What the input says of one instrument as a whole.
#[derive(Clone, Debug, Default)]
struct Instrument {
    name: [u8; 8],
    venue: String,
    decimals: u8,
    has_book: bool,
    has_trades: bool,
    markets: Markets,
}

/// The instruments of the whole input, known before its first message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Instruments {
    known: BTreeMap<String, Instrument>,
}

impl Instruments {
    /// Takes in what a line says.
    pub(crate) fn learn(&mut self, said: &Said) {
        if said.symbol.is_empty() || said.about == About::Else {
            return;
        }
        if !self.known.contains_key(&said.symbol) {
            if self.known.len() == INSTRUMENTS_MAX {
                return;
            }
            let known = Instrument {
                venue: said.venue.clone(),
                ..Instrument::default()
            };
            self.known.insert(said.symbol.clone(), known);
        }
        let Some(known) = self.known.get_mut(&said.symbol) else {
            return;
        };
        known.has_book |= said.about == About::Book;
        known.has_trades |= said.about == About::Trade;
        known.markets.0 |= said.markets.0;
        known.decimals = known.decimals.max(said.decimals());
    }

    /// What [`Instruments::markets`] calls those of an instrument that has two.
    pub(crate) const TWO_MARKETS: &str = "the spot market and of futures";

    /// The instruments that are known to be of a market or an exchange, with that.
    pub(crate) fn markets(&self) -> impl Iterator<Item = (&str, String)> {
        self.known.iter().filter_map(|(name, known)| {
            let market = match (known.venue.as_str(), known.markets.0) {
                ("", 0) => return None,
                ("", bits) if bits & Markets::BOTH == Markets::BOTH => Instruments::TWO_MARKETS,
                ("", bits) if bits & Markets::SPOT.0 != 0 => "the spot market",
                ("", _) => "futures",
                (venue, _) => venue,
            };
            Some((name.as_str(), market.to_owned()))
        })
    }

    /// Takes in what did not say whose it is: any of the instruments with a book.
    pub(crate) fn learn_unnamed(&mut self, decimals: u8) {
        for known in self.known.values_mut().filter(|known| known.has_book) {
            known.decimals = known.decimals.max(decimals);
        }
    }

    /// Takes in what another file says.
    pub(crate) fn merge(&mut self, other: &Instruments) {
        for (name, theirs) in &other.known {
            let mine = self
                .known
                .entry(name.clone())
                .or_insert_with(|| Instrument {
                    venue: theirs.venue.clone(),
                    ..Instrument::default()
                });
            mine.decimals = mine.decimals.max(theirs.decimals);
            mine.has_book |= theirs.has_book;
            mine.has_trades |= theirs.has_trades;
            mine.markets.0 |= theirs.markets.0;
        }
    }

    /// Gives all of them names of at most eight letters: their own where that is short enough, also
    /// without the signs between its parts, and else its first five letters with a number, in the
    /// order of the alphabet.
    pub(crate) fn name(&mut self) {
        let mut taken = BTreeSet::new();
        let plain = |full: &str| full.replace(['-', '_', '/', ':'], "");
        for short in [str::to_owned, plain] {
            for (full, known) in &mut self.known {
                let name = short(full);
                if known.name == [0; 8] && name.len() <= 8 && taken.insert(padded(&name)) {
                    known.name = padded(&name);
                }
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (full, known) in &mut self.known {
            if known.name != [0; 8] {
                continue;
            }
            let start: String = plain(full).chars().take(5).collect();
            let count = counts.entry(start.clone()).or_default();
            // Instruments are fewer than 36 * 36 * 36 for one start, else they stay without a name.
            while *count < 36 * 36 {
                *count += 1;
                let digit = |n: usize| char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[n % 36]);
                let name = padded(&format!("{start}~{}{}", digit(*count / 36), digit(*count)));
                if taken.insert(name) {
                    known.name = name;
                    break;
                }
            }
        }
    }

    /// The instruments that have another name here, with that.
    pub(crate) fn renamed(&self) -> impl Iterator<Item = (&str, String)> {
        self.known.iter().filter_map(|(full, known)| {
            let name = String::from_utf8_lossy(known.name.trim_ascii_end()).into_owned();
            (name != *full).then_some((full.as_str(), name))
        })
    }

    /// The instrument whose book it must be where nothing says whose.
    pub(crate) fn only_book(&self) -> Option<&str> {
        let mut books = self.known.iter().filter(|(_, known)| known.has_book);
        let (name, _) = books.next()?;
        books.next().is_none().then_some(name)
    }

    /// Writes what a line said as messages behind their lengths. An error is what does not fit.
    pub(crate) fn write(
        &self,
        said: &Said,
        symbol: &str,
        ts_event: Ts,
        ts_recv: Ts,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let nothing = Instrument {
            name: [b' '; 8],
            ..Instrument::default()
        };
        let known = match self.known.get(symbol) {
            Some(known) if known.name != [0; 8] => known,
            None if symbol.is_empty() || said.about == About::Else => &nothing,
            _ => return Err(format!("{symbol}: more instruments than can be told apart")),
        };
        if said.venue != known.venue && said.about != About::Else {
            let (own, other) = (&said.venue, &known.venue);
            return Err(format!(
                "{symbol} of {own}, and the input has that of {other}"
            ));
        }
        let is_told = match said.about {
            About::TradesTogether => known.has_trades,
            About::Quote => known.has_book,
            About::Else | About::Book | About::Trade => false,
        };
        let start = out.len();
        let mut rows = said.rows.as_slice();
        let mut is_first = true;
        while is_first || !rows.is_empty() {
            let (these, behind) = rows.split_at(rows.len().min(ROWS_MAX));
            let bytes = HEAD_BYTES + these.len() * ROW_BYTES;
            out.extend((bytes as u16).to_be_bytes());
            out.extend(known.name);
            out.push(if is_first { said.code } else { CODE_GOES_ON });
            out.push(known.decimals);
            let mut flags = if behind.is_empty() { 0 } else { MORE };
            flags |= if is_first { 0 } else { GOES_ON };
            flags |= if is_told { TOLD_ELSEWHERE } else { 0 };
            flags |= if said.is_followed { FOLLOWED } else { 0 };
            out.extend([flags, 0]);
            for number in [
                ts_event.0 as u64,
                ts_recv.0 as u64,
                said.first,
                said.last,
                said.before,
            ] {
                out.extend(number.to_le_bytes());
            }
            for row in these {
                let price = row.price.in_units_of(PRICE_DECIMALS);
                let qty = row.qty.in_units_of(known.decimals);
                let (Some(price), Some(qty)) = (price.filter(|e9| *e9 < i64::MAX), qty) else {
                    out.truncate(start);
                    return Err(does_not_fit(row, known.decimals, price.is_none()));
                };
                out.push(row.side as u8);
                out.extend(price.to_le_bytes());
                out.extend(qty.to_le_bytes());
                out.extend(row.id.to_le_bytes());
            }
            rows = behind;
            is_first = false;
        }
        Ok(())
    }
}

#[cold]
fn does_not_fit(row: &Row, decimals: u8, is_price: bool) -> String {
    let (what, number, decimals) = if is_price {
        ("price", row.price, PRICE_DECIMALS)
    } else {
        ("quantity", row.qty, decimals)
    };
    let Decimal {
        units,
        decimals: own,
    } = number;
    format!(
        "{what} {units}e-{own}, want at most {decimals} decimals and {} units of them",
        i64::MAX
    )
}

/// A name as [`Kind::Symbol`] has it.
fn padded(name: &str) -> [u8; 8] {
    let mut bytes = [b' '; 8];
    for (place, letter) in bytes.iter_mut().zip(name.bytes()) {
        *place = letter;
    }
    bytes
}

/// A message of this form, by its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8; HEAD_BYTES],
    rows: &'a [[u8; ROW_BYTES]],
}

/// A row of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    pub(super) side: Side,
    pub(super) price: Price,
    pub(super) qty: Qty,
    pub(super) id: u64,
}

fn unit(row: &[u8; ROW_BYTES]) -> Unit {
    Unit {
        side: match row[0] {
            1 => Side::Buy,
            2 => Side::Sell,
            _ => Side::None,
        },
        price: Price(long(row, 1) as i64),
        qty: Qty(long(row, 9) as i64),
        id: long(row, 17),
    }
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl<'a> Message<'a> {
    /// The message, if it is whole.
    pub(super) fn new(message: &'a [u8]) -> Option<Message<'a>> {
        let (bytes, rows) = message.split_first_chunk()?;
        let (rows, rest) = rows.as_chunks();
        rest.is_empty().then_some(Message { bytes, rows })
    }

    pub(super) fn name(&self) -> u64 {
        u64::from_be_bytes(*self.bytes.first_chunk().expect("eight of the head"))
    }

    pub(super) fn code(&self) -> u8 {
        self.bytes[8]
    }

    /// How many decimals a quantity's units stand for.
    pub(super) fn decimals(&self) -> u8 {
        self.bytes[9]
    }

    pub(super) fn is_told_elsewhere(&self) -> bool {
        self.bytes[10] & TOLD_ELSEWHERE != 0
    }

    pub(super) fn is_followed(&self) -> bool {
        self.bytes[10] & FOLLOWED != 0
    }

    pub(super) fn has_more(&self) -> bool {
        self.bytes[10] & MORE != 0
    }

    pub(super) fn ts_event(&self) -> Ts {
        Ts(long(self.bytes, 12) as i64)
    }

    pub(super) fn ts_recv(&self) -> Ts {
        Ts(long(self.bytes, 20) as i64)
    }

    pub(super) fn last(&self) -> u64 {
        long(self.bytes, 36)
    }

    pub(super) fn before(&self) -> u64 {
        long(self.bytes, 44)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Unit> + 'a {
        self.rows.iter().map(unit)
    }

    /// Writes the event of a message whose code is one of `codes`; those of `trades` are trades.
    pub(super) fn decode(
        message: &[u8],
        codes: &[u8],
        trades: &[u8],
        event: &mut Event,
    ) -> Result<Notes, Fault> {
        let code = message.get(8).copied().unwrap_or(b'?');
        let Some(whole) = Message::new(message) else {
            if message.is_empty() {
                return Err(Fault::Empty);
            }
            let (got, want) = (message.len() as u16, HEAD_BYTES as u16);
            return Err(Fault::Length { code, got, want });
        };
        if !codes.contains(&code) {
            let len_bytes = message.len() as u16;
            return Err(Fault::UnknownType { code, len_bytes });
        }
        let wrong = |offset_bytes: u8| Fault::Field {
            code,
            offset_bytes,
            got: message[usize::from(offset_bytes)],
        };
        if whole.decimals() > DECIMALS_MAX {
            return Err(wrong(9));
        }
        let is_good = |row: &[u8; ROW_BYTES]| {
            row[0] <= 2 && long(row, 1) >> 63 == 0 && long(row, 9) >> 63 == 0
        };
        if let Some(bad) = whole.rows.iter().position(|row| !is_good(row)) {
            return Err(wrong((HEAD_BYTES + bad * ROW_BYTES).min(255) as u8));
        }
        *event = Event {
            ts_event: whole.ts_event(),
            ts_recv: whole.ts_recv(),
            code,
            ..Event::new(Kind::Info)
        };
        let is_trade = trades.contains(&code) && message[10] & TOLD_ELSEWHERE == 0;
        if let Some(row) = whole.rows().next()
            && is_trade
        {
            event.kind = Kind::Trade;
            event.flags = Flags::PRINTABLE;
            (event.side, event.price, event.qty, event.order_b) =
                (row.side, row.price, row.qty, row.id);
        }
        Ok(Notes(0))
    }

    /// When the message happened, whatever else it says.
    pub(super) fn time(message: &[u8]) -> Option<Ts> {
        (message.len() >= HEAD_BYTES).then(|| Ts(long(message, 12) as i64))
    }

    /// The symbol's number; named by an event behind `out` where it is met for the first time. 0
    /// for a message without a symbol.
    pub(super) fn number(
        &self,
        symbols: &mut Symbols,
        event: &Event,
        out: &mut Vec<Event>,
    ) -> Result<u32, Fault> {
        let name = self.name();
        if name == u64::from_be_bytes([b' '; 8]) {
            return Ok(0);
        }
        let (symbol, is_new) = symbols.number(name)?;
        if is_new {
            out.push(Event {
                order: name,
                order_b: self.decimals().into(),
                symbol,
                ts_event: event.ts_event,
                ts_recv: event.ts_recv,
                ..Event::new(Kind::Symbol)
            });
        }
        Ok(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_reads_what_the_long_way_does() {
        let mut random = 1u64;
        let mut below = |end: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % end
        };
        let (mut short, mut long) = (0, 0);
        for _ in 0..200_000 {
            // Mostly digits, of which many are zeros.
            let letters =
                b"00000000001234567890123456789.ex"[..if below(4) == 0 { 32 } else { 29 }].to_vec();
            let mut text: Vec<u8> = (0..below(24))
                .map(|_| letters[below(letters.len())])
                .collect();
            if text.len() > 1 && below(4) > 0 {
                let point = 1 + below(text.len() - 1);
                text[point] = b'.';
            }
            let want = Decimal::parse_any(&text);
            let text_said = String::from_utf8_lossy(&text);
            assert_eq!(Decimal::parse(&text), want, "{text_said}");
            match Decimal::parse_short(&text) {
                Some(_) => short += 1,
                None => long += usize::from(want.is_some()),
            }
        }
        assert!(short > 50_000 && long > 1_000, "{short} {long}");
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        let check = |text: &str, want: Option<(u64, u8)>| {
            let found = Decimal::parse(text.as_bytes());
            assert_eq!(found.map(|d| (d.units, d.decimals)), want, "{text}");
        };
        for (text, units, decimals) in [
            ("0", 0, 0),
            ("0.00000000", 0, 0),
            ("61737.63000000", 6_173_763, 2),
            ("0.1", 1, 1),
            ("100", 100, 0),
            ("1.", 1, 0),
            ("1e-7", 1, 7),
            ("1.5E2", 150, 0),
            ("12e-1", 12, 1),
            ("18446744073709551615", u64::MAX, 0),
            ("0.000000000000000001", 1, 18),
        ] {
            check(text, Some((units, decimals)));
        }
        for text in [
            "",
            ".",
            ".5",
            "-1",
            "+1",
            "1..2",
            "1.2.3",
            " 1",
            "1 ",
            "1e",
            "1e+",
            "1e100",
            "0x1",
            "NaN",
            "1,5",
            "18446744073709551616",
            "0.0000000000000000001",
            "1e99",
            "99999999999999999999999999999999999999999",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn units_are_whole_or_refused() {
        let number = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
        assert_eq!(number("0.107").in_units_of(3), Some(107));
        assert_eq!(number("0.107").in_units_of(8), Some(10_700_000));
        assert_eq!(number("0.107").in_units_of(2), None);
        assert_eq!(
            number("92233720368.54775807").in_units_of(8),
            Some(i64::MAX)
        );
        assert_eq!(number("92233720368.54775808").in_units_of(8), None);
        assert_eq!(number("1").in_units_of(18), Some(1_000_000_000_000_000_000));
        assert_eq!(number("10").in_units_of(18), None);
    }

    #[test]
    fn long_names_are_told_apart() {
        let mut all = Instruments::default();
        for symbol in [
            "BTC-USD",
            "BTCUSD_PERP",
            "BTCUSD_240927",
            "SUSHIUSDT",
            "OCEAN-XBT",
            "OCEANXBT",
            "A_B",
        ] {
            let said = Said {
                symbol: symbol.into(),
                about: About::Book,
                ..Said::default()
            };
            all.learn(&said);
        }
        all.name();
        let renamed: Vec<_> = all.renamed().collect();
        let want = [
            ("BTCUSD_240927", "BTCUS~01"),
            ("BTCUSD_PERP", "BTCUS~02"),
            // Its plain name is another one's own.
            ("OCEAN-XBT", "OCEAN~01"),
            ("SUSHIUSDT", "SUSHI~01"),
        ];
        assert_eq!(renamed, want.map(|(full, short)| (full, short.to_owned())));
    }
}
