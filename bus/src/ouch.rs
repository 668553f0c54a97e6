//! OUCH 5.0: orders to Nasdaq's equity markets and what is said of them, as bytes and back. They travel
//! in SoupBinTCP ([`crate::soupbintcp`]): ours unsequenced, the venue's sequenced.
//!
//! Source of all layouts: Nasdaq, "O*U*C*H 5.0", revision 1.05, sections 2 and 3 and appendix A
//! (nasdaqtrader.com, `TradingProducts/Ouch5.0.pdf`). Numbers are big-endian and unsigned; texts are padded
//! on their right with spaces; prices have four decimals; times are nanoseconds since midnight of the venue.
//!
//! ```text
//! enter order   O  UserRefNum(4) side(1) quantity(4) symbol(8) price(8) tif(1) display(1) capacity(1)
//!                  sweep(1) cross(1) ClOrdID(14) appendage length(2), then elements: length(1) tag(1) value
//! ```
//!
//! **UserRefNum** names an order towards the venue: a message that enters one and does not have a higher one
//! than all before is ignored, so whoever does not know whether it arrived sends it again. [`Token`] is our
//! name of an order in the 14 letters of ClOrdID, which the venue repeats.

use std::fmt;

use bytemuck::{Pod, Zeroable};

use crate::event::Side;
use crate::fixed::{Price, Qty, Ts};
use crate::oms::{Date, OrderId, OrderKey};
use crate::signal::{Order, Over, RejectCode, Tif, Whose};

/// A number of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct U16([u8; 2]);

/// A number of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct U32([u8; 4]);

/// A number of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct U64([u8; 8]);

macro_rules! numbers {
    ($($name:ident: $number:ty),*) => {$(
        impl $name {
            /// As it is sent.
            #[inline]
            pub const fn new(value: $number) -> $name {
                $name(value.to_be_bytes())
            }

            /// What it says.
            #[inline]
            pub const fn get(self) -> $number {
                <$number>::from_be_bytes(self.0)
            }
        }
    )*};
}

numbers!(U16: u16, U32: u32, U64: u64);

/// Units of a [`Price`] in one of OUCH.
const PRICE_UNIT: i64 = Price::SCALE / 10_000;
/// The first quantity that an order may not have.
pub const QTY_END: i64 = 1_000_000;
/// The first price that an order may not have: 200,000 dollars. A market order has another beyond it.
pub const PRICE_END: Price = Price(200_000 * Price::SCALE);

macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident, $bytes:literal, $code:literal { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
        #[repr(C)]
        #[allow(missing_docs, reason = "fields have the names that the specification gives them")]
        pub struct $name {
            pub code: u8,
            $(pub $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() == 1);

        impl $name {
            /// The type of the message.
            pub const CODE: u8 = $code;

            /// All of it.
            pub fn as_bytes(&self) -> &[u8] {
                bytemuck::bytes_of(self)
            }
        }
    )*};
}

layouts! {
    /// Enter Order: section 2.1.
    EnterOrder, 47, b'O' {
        user_ref_num: U32,
        side: u8,
        quantity: U32,
        symbol: [u8; 8],
        price: U64,
        time_in_force: u8,
        display: u8,
        capacity: u8,
        sweep: u8,
        cross_type: u8,
        cl_ord_id: [u8; 14],
        appendage_length: U16,
    }
    /// Replace Order: section 2.2.
    ReplaceOrder, 40, b'U' {
        orig_user_ref_num: U32,
        user_ref_num: U32,
        quantity: U32,
        price: U64,
        time_in_force: u8,
        display: u8,
        sweep: u8,
        cl_ord_id: [u8; 14],
        appendage_length: U16,
    }
    /// Cancel Order: section 2.3. `quantity` is what is to be left, 0 for nothing.
    CancelOrder, 9, b'X' {
        user_ref_num: U32,
        quantity: U32,
    }
    /// Modify Order: section 2.4. Only from one kind of sale to another, or to a smaller quantity.
    ModifyOrder, 10, b'M' {
        user_ref_num: U32,
        side: u8,
        quantity: U32,
    }
    /// Account Query: section 2.8. Answered with the UserRefNum that the next order may have at least.
    AccountQuery, 1, b'Q' {
    }
    /// System Event: section 3.1. `S` at the start of the day, `E` at its end.
    SystemEvent, 10, b'S' {
        timestamp: U64,
        event_code: u8,
    }
    /// Order Accepted: section 3.2. `order_state` is `L` for live, `D` for dead.
    Accepted, 64, b'A' {
        timestamp: U64,
        user_ref_num: U32,
        side: u8,
        quantity: U32,
        symbol: [u8; 8],
        price: U64,
        time_in_force: u8,
        display: u8,
        order_reference_number: U64,
        capacity: u8,
        sweep: u8,
        cross_type: u8,
        order_state: u8,
        cl_ord_id: [u8; 14],
        appendage_length: U16,
    }
    /// Order Replaced: section 3.3.
    Replaced, 68, b'U' {
        timestamp: U64,
        orig_user_ref_num: U32,
        user_ref_num: U32,
        side: u8,
        quantity: U32,
        symbol: [u8; 8],
        price: U64,
        time_in_force: u8,
        display: u8,
        order_reference_number: U64,
        capacity: u8,
        sweep: u8,
        cross_type: u8,
        order_state: u8,
        cl_ord_id: [u8; 14],
        appendage_length: U16,
    }
    /// Order Canceled: section 3.4. `quantity` is what was taken away.
    Canceled, 18, b'C' {
        timestamp: U64,
        user_ref_num: U32,
        quantity: U32,
        reason: u8,
    }
    /// AIQ Canceled: section 3.5. The order would have traded with one of the same owner.
    AiqCanceled, 32, b'D' {
        timestamp: U64,
        user_ref_num: U32,
        decrement_shares: U32,
        reason: u8,
        quantity_prevented: U32,
        execution_price: U64,
        liquidity_flag: u8,
        aiq_strategy: u8,
    }
    /// Order Executed: section 3.6.
    Executed, 34, b'E' {
        timestamp: U64,
        user_ref_num: U32,
        quantity: U32,
        price: U64,
        liquidity_flag: u8,
        match_number: U64,
    }
    /// Broken Trade: section 3.7.
    BrokenTrade, 36, b'B' {
        timestamp: U64,
        user_ref_num: U32,
        match_number: U64,
        reason: u8,
        cl_ord_id: [u8; 14],
    }
    /// Rejected: section 3.8.
    Rejected, 29, b'J' {
        timestamp: U64,
        user_ref_num: U32,
        reason: U16,
        cl_ord_id: [u8; 14],
    }
    /// Cancel Pending: section 3.9. The order is in a cross; the cancel takes effect behind it.
    CancelPending, 13, b'P' {
        timestamp: U64,
        user_ref_num: U32,
    }
    /// Cancel Reject: section 3.10.
    CancelReject, 13, b'I' {
        timestamp: U64,
        user_ref_num: U32,
    }
    /// Order Priority Update: section 3.11.
    PriorityUpdate, 30, b'T' {
        timestamp: U64,
        user_ref_num: U32,
        price: U64,
        display: u8,
        order_reference_number: U64,
    }
    /// Order Modified: section 3.12.
    Modified, 18, b'M' {
        timestamp: U64,
        user_ref_num: U32,
        side: u8,
        quantity: U32,
    }
    /// Order Restated: section 3.13.
    Restated, 16, b'R' {
        timestamp: U64,
        user_ref_num: U32,
        reason: u8,
        appendage_length: U16,
    }
    /// Account Query Response: section 3.17.
    AccountQueryResponse, 13, b'Q' {
        timestamp: U64,
        next_user_ref_num: U32,
    }
}

/// A message that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// No bytes at all.
    Empty,
    /// A type that this side does not expect.
    #[allow(missing_docs)]
    Code { got: u8 },
    /// Fewer bytes than its type has, or more without an appendage.
    #[allow(missing_docs)]
    Length { code: u8, got: usize, want: usize },
    /// An appendage whose elements do not fill it; the byte of the message.
    #[allow(missing_docs)]
    Appendage { code: u8, offset_bytes: usize },
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Bad::Empty => f.write_str("a message of no bytes, want one of OUCH 5.0"),
            Bad::Code { got } => {
                let got = got.escape_ascii();
                write!(f, "message type '{got}', want one of OUCH 5.0")
            }
            Bad::Length { code, got, want } => {
                let code = code.escape_ascii();
                write!(f, "message length {got}, want {want} for type '{code}'")
            }
            Bad::Appendage { code, offset_bytes } => {
                let code = code.escape_ascii();
                write!(
                    f,
                    "type '{code}', byte {offset_bytes}: want length, tag and value that fill the \
                     appendage"
                )
            }
        }
    }
}

impl std::error::Error for Bad {}

/// The elements of an appendage: tags with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appendage<'a>(&'a [u8]);

/// Tag of ExpireTime: seconds since midnight (4 bytes), for orders with the time in force `6`.
pub const EXPIRE_TIME: u8 = 15;
/// Tag of Firm: the four letters of a member.
pub const FIRM: u8 = 2;

impl<'a> Appendage<'a> {
    /// None.
    pub const NONE: Appendage<'static> = Appendage(&[]);

    /// Its elements, in order.
    pub fn elements(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first()?;
            let (element, behind) = behind.split_at_checked(length.into())?;
            rest = behind;
            let (&tag, value) = element.split_first()?;
            Some((tag, value))
        })
    }

    /// The value of a tag.
    pub fn get(self, tag: u8) -> Option<&'a [u8]> {
        let found = self.elements().find(|(found, _)| *found == tag);
        found.map(|(_, value)| value)
    }

    /// What `bytes` behind a message of this type and length are, where they are a length and as many
    /// bytes, all of them in elements.
    fn read(bytes: &'a [u8], code: u8, fixed_bytes: usize) -> Result<Appendage<'a>, Bad> {
        let got = fixed_bytes + bytes.len();
        let Some((length, elements)) = bytes.split_first_chunk::<2>() else {
            let want = fixed_bytes + if bytes.is_empty() { 0 } else { 2 };
            return match bytes.is_empty() {
                true => Ok(Appendage::NONE),
                false => Err(Bad::Length { code, got, want }),
            };
        };
        let want = fixed_bytes + 2 + usize::from(u16::from_be_bytes(*length));
        if got != want {
            return Err(Bad::Length { code, got, want });
        }
        let mut at = 0;
        while at < elements.len() {
            let end = at + 1 + usize::from(elements[at]);
            if elements[at] == 0 || end > elements.len() {
                let offset_bytes = fixed_bytes + 2 + at;
                return Err(Bad::Appendage { code, offset_bytes });
            }
            at = end;
        }
        Ok(Appendage(elements))
    }
}

/// Reads the fixed part, and what stands behind it as an appendage.
fn read<'a, M: Pod>(bytes: &'a [u8], has_length: bool) -> Result<(M, Appendage<'a>), Bad> {
    let (code, want) = (bytes[0], size_of::<M>());
    let got = bytes.len();
    let Some((fixed, rest)) = bytes.split_at_checked(want) else {
        return Err(Bad::Length { code, got, want });
    };
    let message = bytemuck::pod_read_unaligned(fixed);
    // Some have the appendage's length as a field of their own, which is always there.
    let (rest, fixed_bytes) = match has_length {
        true => (&bytes[want - 2..], want - 2),
        false => (rest, want),
    };
    Ok((message, Appendage::read(rest, code, fixed_bytes)?))
}

macro_rules! directions {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident: $has_length:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each is the layout of its name, and its appendage")]
        pub enum $name<'a> {
            $($variant($variant, Appendage<'a>),)*
        }

        impl<'a> $name<'a> {
            /// The message that is all of `bytes`.
            pub fn parse(bytes: &'a [u8]) -> Result<$name<'a>, Bad> {
                match bytes.first() {
                    None => Err(Bad::Empty),
                    $(Some(&$variant::CODE) => read(bytes, $has_length)
                        .map(|(message, appendage)| $name::$variant(message, appendage)),)*
                    Some(&got) => Err(Bad::Code { got }),
                }
            }
        }
    )*};
}

directions! {
    /// What is sent to a venue.
    Asked {
        EnterOrder: true,
        ReplaceOrder: true,
        CancelOrder: false,
        ModifyOrder: false,
        AccountQuery: false,
    }
    /// What a venue says.
    Told {
        SystemEvent: false,
        Accepted: true,
        Replaced: true,
        Canceled: false,
        AiqCanceled: false,
        Executed: false,
        BrokenTrade: false,
        Rejected: false,
        CancelPending: false,
        CancelReject: false,
        PriorityUpdate: false,
        Modified: false,
        Restated: true,
        AccountQueryResponse: false,
    }
}

/// Adds elements behind a message, and tells it their length. `message` has its length as its last field.
pub fn put_appendage(message: &mut Vec<u8>, elements: &[(u8, &[u8])]) {
    let start = message.len();
    for (tag, value) in elements {
        message.push(1 + value.len() as u8);
        message.push(*tag);
        message.extend_from_slice(value);
    }
    let length = (message.len() - start) as u16;
    message[start - 2..start].copy_from_slice(&length.to_be_bytes());
}

/// An order's name in the 14 letters of ClOrdID: all of an [`OrderId`] but its date, which a day's session
/// knows.
///
/// ```text
/// letter  0          7
///         seq(40)    symbol(16) rule(8) ordinal(16)     each 40 bits as seven digits of base 62
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 14]);

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const _: () = assert!(62u64.pow(7) > 1 << 40 && OrderId::SEQ_END <= 1 << 40);

impl Token {
    /// Of what an order is made of.
    #[inline]
    pub fn of(key: &OrderKey) -> Token {
        let rest = u64::from(key.symbol) << 24 | u64::from(key.rule) << 16 | u64::from(key.ordinal);
        let mut letters = [0; 14];
        for (half, mut number) in letters.chunks_exact_mut(7).zip([key.seq, rest]) {
            for letter in half.iter_mut().rev() {
                *letter = DIGITS[(number % 62) as usize];
                number /= 62;
            }
        }
        Token(letters)
    }

    /// The order of that day; `None` where the letters are none of ours.
    pub fn order(&self, date: Date) -> Option<OrderId> {
        let mut numbers = [0u64; 2];
        for (number, half) in numbers.iter_mut().zip(self.0.chunks_exact(7)) {
            for letter in half {
                let digit = match letter {
                    b'0'..=b'9' => letter - b'0',
                    b'A'..=b'Z' => letter - b'A' + 10,
                    b'a'..=b'z' => letter - b'a' + 36,
                    _ => return None,
                };
                *number = *number * 62 + u64::from(digit);
            }
        }
        let [seq, rest] = numbers;
        if seq >= OrderId::SEQ_END || rest >> 40 != 0 {
            return None;
        }
        let (symbol, rule, ordinal) = ((rest >> 24) as u32, (rest >> 16) as u8, rest as u16);
        Some(OrderId::new(date, rule, seq, symbol, ordinal))
    }
}

/// An order that OUCH has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A price of zero or less, of more than there is, or of more than four decimals.
    Price(Price),
    /// A quantity of zero or less, or of more than there is.
    Qty(Qty),
    /// A time that is not within the venue's day, and the first behind that.
    Till(Ts, Ts),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Price(price) => write!(
                f,
                "price {price}, want one above 0 and below {PRICE_END} with at most four decimals"
            ),
            Unfit::Qty(qty) => write!(f, "quantity {}, want 1 to {}", qty.0, QTY_END - 1),
            Unfit::Till(ts, _) => write!(f, "good till {}, want a time of the venue's day", ts.0),
        }
    }
}

impl std::error::Error for Unfit {}

impl Unfit {
    /// The same as what becomes of the order: refused by its session. The limit is the one that it is beyond,
    /// or the step that its price is no multiple of.
    pub fn over(&self) -> Over {
        let (code, limit, value) = match *self {
            Unfit::Price(price) if price >= PRICE_END => {
                (RejectCode::Price, PRICE_END.0 - PRICE_UNIT, price.0)
            }
            Unfit::Price(price) => (RejectCode::Price, PRICE_UNIT, price.0),
            Unfit::Qty(qty) => (RejectCode::Size, QTY_END - 1, qty.0),
            Unfit::Till(ts, end) => (RejectCode::Till, end.0 - 1, ts.0),
        };
        Over {
            whose: Whose::Session,
            code,
            limit,
            value,
        }
    }
}

/// What all orders of a session have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `A` agency, `P` principal, `R` riskless principal, `O` other.
    pub capacity: u8,
    /// `Y` shown, `N` hidden, `A` shown with its owner.
    pub display: u8,
    /// The member's four letters, where the port's own are not meant.
    pub firm: Option<[u8; 4]>,
    /// Midnight of the venue's day, which ExpireTime counts from.
    pub midnight: Ts,
}

/// Writes orders into its one buffer: a template of fixed layout, filled in.
#[derive(Clone, Debug)]
pub struct Writer {
    template: EnterOrder,
    midnight: Ts,
    firm: Option<[u8; 4]>,
    bytes: Vec<u8>,
}

impl Writer {
    /// No order is longer.
    pub const ORDER_BYTES_MAX: usize = size_of::<EnterOrder>() + 6 + 6;

    /// Lays out the template.
    pub fn new(terms: &Terms) -> Writer {
        Writer {
            template: EnterOrder {
                code: EnterOrder::CODE,
                user_ref_num: U32::new(0),
                side: b'B',
                quantity: U32::new(0),
                symbol: [b' '; 8],
                price: U64::new(0),
                time_in_force: b'0',
                display: terms.display,
                capacity: terms.capacity,
                // No sweep, and no cross: an order of continuous trading.
                sweep: b'N',
                cross_type: b'N',
                cl_ord_id: [b' '; 14],
                appendage_length: U16::new(0),
            },
            midnight: terms.midnight,
            firm: terms.firm,
            bytes: Vec::with_capacity(Writer::ORDER_BYTES_MAX),
        }
    }

    /// Its time in force, and when it expires in seconds since midnight, where OUCH has room for all of it.
    #[inline]
    fn fit(&self, order: &Order) -> Result<(u8, Option<u32>), Unfit> {
        let price = order.price;
        if price.0 <= 0 || price >= PRICE_END || price.0 % PRICE_UNIT != 0 {
            return Err(Unfit::Price(price));
        }
        if !(1..QTY_END).contains(&order.qty.0) {
            return Err(Unfit::Qty(order.qty));
        }
        Ok(match order.tif {
            Tif::Day => (b'0', None),
            Tif::Ioc => (b'3', None),
            Tif::Till(ts) => (b'6', Some(self.seconds(ts)?)),
        })
    }

    /// Why [`Writer::enter`] would not take an order, if it would not.
    pub fn unfit(&self, order: &Order) -> Option<Unfit> {
        self.fit(order).err()
    }

    /// The order under this UserRefNum; stays until the next call. Allocates nothing.
    ///
    /// # Panics
    /// For an order without side: the risk gate lets none through.
    #[inline]
    pub fn enter(
        &mut self,
        user_ref_num: u32,
        token: Token,
        symbol: &[u8; 8],
        order: &Order,
    ) -> Result<&[u8], Unfit> {
        let (time_in_force, expire_s) = self.fit(order)?;
        let price = order.price;
        let enter = EnterOrder {
            user_ref_num: U32::new(user_ref_num),
            side: match order.side {
                Side::Buy => b'B',
                Side::Sell => b'S',
                Side::None => panic!("an order has a side"),
            },
            quantity: U32::new(order.qty.0 as u32),
            symbol: *symbol,
            price: U64::new((price.0 / PRICE_UNIT) as u64),
            time_in_force,
            cl_ord_id: token.0,
            ..self.template
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(enter.as_bytes());
        if self.firm.is_some() || expire_s.is_some() {
            let expire = expire_s.map(u32::to_be_bytes);
            let firm = self.firm.as_ref().map(|firm| (FIRM, &firm[..]));
            let expire = expire.as_ref().map(|expire| (EXPIRE_TIME, &expire[..]));
            match (firm, expire) {
                (Some(firm), Some(expire)) => put_appendage(&mut self.bytes, &[firm, expire]),
                (Some(one), None) | (None, Some(one)) => put_appendage(&mut self.bytes, &[one]),
                (None, None) => {}
            }
        }
        Ok(&self.bytes)
    }

    /// Whole seconds since midnight; an order does not stand longer than was asked.
    fn seconds(&self, till: Ts) -> Result<u32, Unfit> {
        let seconds = (till.0 - self.midnight.0).div_euclid(1_000_000_000);
        match seconds {
            0..86_400 => Ok(seconds as u32),
            _ => Err(Unfit::Till(till, Ts(self.midnight.0 + 86_400_000_000_000))),
        }
    }
}

/// A price as OUCH says it; `None` for one that has no room in ours.
pub fn price_of(price: U64) -> Option<Price> {
    let units = i64::try_from(price.get()).ok()?;
    units.checked_mul(PRICE_UNIT).map(Price)
}

#[cfg(test)]
mod tests;
