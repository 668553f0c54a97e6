//! The 23 messages of Nasdaq TotalView-ITCH 5.0, as bytes.
//!
//! Section numbers are those of the specification's chapter 4. Integers are big endian, prices
//! count 1e-4 dollars (1e-8 in `V`), text is padded on the right with spaces. Every message
//! begins with type (1 byte), stock locate (2), tracking number (2), and nanoseconds since
//! midnight (6).

/// A symbol as it travels: eight bytes, padded with spaces.
pub(crate) type Name = [u8; 8];

/// The type and the length in bytes of every message, in the order of the specification.
pub const LENGTHS: [(u8, usize); 23] = [
    (b'S', 12),
    (b'R', 39),
    (b'H', 25),
    (b'Y', 20),
    (b'L', 26),
    (b'V', 35),
    (b'W', 12),
    (b'K', 28),
    (b'J', 35),
    (b'h', 21),
    (b'A', 36),
    (b'F', 40),
    (b'E', 31),
    (b'C', 36),
    (b'X', 23),
    (b'D', 19),
    (b'U', 35),
    (b'P', 44),
    (b'Q', 40),
    (b'B', 19),
    (b'I', 50),
    (b'N', 20),
    (b'O', 48),
];

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 50;

/// One message in the making. It lives on the stack, and fields are put one after the other.
pub(crate) struct Message {
    bytes: [u8; MESSAGE_BYTES_MAX],
    len: usize,
}

/// What every message begins with, apart from its type.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) locate: u16,
    pub(crate) tracking: u16,
    pub(crate) ts_ns: u64,
}

impl Message {
    fn new(kind: u8, head: Head) -> Self {
        Self {
            bytes: [0; MESSAGE_BYTES_MAX],
            len: 0,
        }
        .byte(kind)
        .u16(head.locate)
        .u16(head.tracking)
        .put(&head.ts_ns.to_be_bytes()[2..])
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline]
    fn put(mut self, bytes: &[u8]) -> Self {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }

    #[inline]
    fn byte(self, value: u8) -> Self {
        self.put(&[value])
    }

    #[inline]
    fn u16(self, value: u16) -> Self {
        self.put(&value.to_be_bytes())
    }

    #[inline]
    fn u32(self, value: u32) -> Self {
        self.put(&value.to_be_bytes())
    }

    #[inline]
    fn u64(self, value: u64) -> Self {
        self.put(&value.to_be_bytes())
    }
}

/// 4.1: `event` is O start of messages, S start of system hours, Q start of market hours, M end
/// of market hours, E end of system hours, C end of messages.
pub(crate) fn system_event(head: Head, event: u8) -> Message {
    Message::new(b'S', head).byte(event)
}

/// 4.2.1.
pub(crate) struct Directory {
    pub(crate) stock: Name,
    pub(crate) market: u8,
    pub(crate) round_lot: u32,
    pub(crate) classification: u8,
    pub(crate) sub_type: [u8; 2],
    pub(crate) ipo: u8,
    pub(crate) tier: u8,
    pub(crate) etp: u8,
}

pub(crate) fn directory(head: Head, of: &Directory) -> Message {
    Message::new(b'R', head)
        .put(&of.stock)
        .byte(of.market)
        .byte(b'N') // Financial status: normal.
        .u32(of.round_lot)
        .byte(b'N') // Round lots only: no.
        .byte(of.classification)
        .put(&of.sub_type)
        .byte(b'P') // Authenticity: live, not a test.
        .byte(b'N') // Short sale threshold: not restricted.
        .byte(of.ipo)
        .byte(of.tier)
        .byte(of.etp)
        .u32(0) // Leverage of an exchange traded product: none.
        .byte(b'N') // Inverse: no.
}

/// 4.2.2: `state` is H halted, P paused, Q quotation only, T trading.
pub(crate) fn trading_action(head: Head, stock: &Name, state: u8, reason: &[u8; 4]) -> Message {
    Message::new(b'H', head)
        .put(stock)
        .byte(state)
        .byte(b' ')
        .put(reason)
}

/// 4.2.3: `action` is 0 no restriction, 1 restricted by an intraday fall, 2 still restricted.
pub(crate) fn short_sale(head: Head, stock: &Name, action: u8) -> Message {
    Message::new(b'Y', head).put(stock).byte(action)
}

/// 4.2.4: a market maker in a symbol; `primary` is Y or N.
pub(crate) fn participant(head: Head, mpid: &[u8; 4], stock: &Name, primary: u8) -> Message {
    Message::new(b'L', head)
        .put(mpid)
        .put(stock)
        .byte(primary)
        .byte(b'N')
        .byte(b'A')
}

/// 4.2.5.1: the index levels, in 1e-8, at which the whole market is halted.
pub(crate) fn breaker_levels(head: Head, levels_e8: [u64; 3]) -> Message {
    Message::new(b'V', head)
        .u64(levels_e8[0])
        .u64(levels_e8[1])
        .u64(levels_e8[2])
}

/// 4.2.5.2: `level` is 1, 2 or 3 as text.
pub(crate) fn breaker_status(head: Head, level: u8) -> Message {
    Message::new(b'W', head).byte(level)
}

/// 4.2.6: `release_s` counts seconds since midnight; `qualifier` is A anticipated, C cancelled.
pub(crate) fn ipo_quoting(
    head: Head,
    stock: &Name,
    release_s: u32,
    qualifier: u8,
    price_e4: u32,
) -> Message {
    Message::new(b'K', head)
        .put(stock)
        .u32(release_s)
        .byte(qualifier)
        .u32(price_e4)
}

/// 4.2.7: where a paused symbol may reopen; `extension` counts how often that was widened.
pub(crate) fn collar(head: Head, stock: &Name, reference_e4: u32, extension: u32) -> Message {
    // A band of 5 percent, and 5 more with each extension, as in the limit-up limit-down plan.
    let band_e4 = reference_e4 / 20 * (extension + 1);
    Message::new(b'J', head)
        .put(stock)
        .u32(reference_e4)
        .u32(reference_e4 + band_e4)
        .u32(reference_e4 - band_e4)
        .u32(extension)
}

/// 4.2.8: `market` is Q Nasdaq, B BX, X PSX; `action` is H halted, T trading.
pub(crate) fn operational_halt(head: Head, stock: &Name, market: u8, action: u8) -> Message {
    Message::new(b'h', head)
        .put(stock)
        .byte(market)
        .byte(action)
}

/// An order as 4.3 shows it.
pub(crate) struct Added<'a> {
    pub(crate) reference: u64,
    pub(crate) side: u8,
    pub(crate) shares: u32,
    pub(crate) stock: &'a Name,
    pub(crate) price_e4: u32,
}

/// 4.3.1 without, and 4.3.2 with, the participant's name.
pub(crate) fn add(head: Head, order: &Added<'_>, mpid: Option<&[u8; 4]>) -> Message {
    let message = Message::new(if mpid.is_some() { b'F' } else { b'A' }, head)
        .u64(order.reference)
        .byte(order.side)
        .u32(order.shares)
        .put(order.stock)
        .u32(order.price_e4);
    match mpid {
        Some(mpid) => message.put(mpid),
        None => message,
    }
}

/// 4.4.1: executed at the price of the order.
pub(crate) fn executed(head: Head, reference: u64, shares: u32, match_number: u64) -> Message {
    Message::new(b'E', head)
        .u64(reference)
        .u32(shares)
        .u64(match_number)
}

/// 4.4.2: executed at another price; `printable` is N where a cross prints the total.
pub(crate) fn executed_at(
    head: Head,
    reference: u64,
    shares: u32,
    match_number: u64,
    printable: u8,
    price_e4: u32,
) -> Message {
    Message::new(b'C', head)
        .u64(reference)
        .u32(shares)
        .u64(match_number)
        .byte(printable)
        .u32(price_e4)
}

/// 4.4.3: `shares` are taken off, and some remain.
pub(crate) fn cancelled(head: Head, reference: u64, shares: u32) -> Message {
    Message::new(b'X', head).u64(reference).u32(shares)
}

/// 4.4.4.
pub(crate) fn deleted(head: Head, reference: u64) -> Message {
    Message::new(b'D', head).u64(reference)
}

/// 4.4.5: the side, symbol and attribution stay those of the old order.
pub(crate) fn replaced(head: Head, old: u64, new: u64, shares: u32, price_e4: u32) -> Message {
    Message::new(b'U', head)
        .u64(old)
        .u64(new)
        .u32(shares)
        .u32(price_e4)
}

/// 4.5.1: an execution against an order that was never shown. Since 2014 the side is always B
/// and the reference always 0.
pub(crate) fn trade(
    head: Head,
    shares: u32,
    stock: &Name,
    price_e4: u32,
    match_number: u64,
) -> Message {
    Message::new(b'P', head)
        .u64(0)
        .byte(b'B')
        .u32(shares)
        .put(stock)
        .u32(price_e4)
        .u64(match_number)
}

/// 4.5.2: `kind` is O opening, C closing, H after a halt or an initial offering.
pub(crate) fn cross(
    head: Head,
    shares: u64,
    stock: &Name,
    price_e4: u32,
    match_number: u64,
    kind: u8,
) -> Message {
    Message::new(b'Q', head)
        .u64(shares)
        .put(stock)
        .u32(price_e4)
        .u64(match_number)
        .byte(kind)
}

/// 4.5.3.
pub(crate) fn broken(head: Head, match_number: u64) -> Message {
    Message::new(b'B', head).u64(match_number)
}

/// What 4.6 says of a coming cross.
pub(crate) struct Imbalance<'a> {
    pub(crate) paired: u64,
    pub(crate) imbalance: u64,
    pub(crate) direction: u8,
    pub(crate) stock: &'a Name,
    pub(crate) far_e4: u32,
    pub(crate) near_e4: u32,
    pub(crate) reference_e4: u32,
    pub(crate) kind: u8,
    pub(crate) variation: u8,
}

pub(crate) fn imbalance(head: Head, of: &Imbalance<'_>) -> Message {
    Message::new(b'I', head)
        .u64(of.paired)
        .u64(of.imbalance)
        .byte(of.direction)
        .put(of.stock)
        .u32(of.far_e4)
        .u32(of.near_e4)
        .u32(of.reference_e4)
        .byte(of.kind)
        .byte(of.variation)
}

/// 4.7: `interest` is B buy, S sell, A both, N none.
pub(crate) fn retail_interest(head: Head, stock: &Name, interest: u8) -> Message {
    Message::new(b'N', head).put(stock).byte(interest)
}

/// 4.8: when a direct listing with a capital raise may open, around its near execution price.
pub(crate) fn direct_listing(
    head: Head,
    stock: &Name,
    eligible: u8,
    near_e4: u32,
    near_ts_ns: u64,
) -> Message {
    Message::new(b'O', head)
        .put(stock)
        .byte(eligible)
        .u32(near_e4 / 10 * 8)
        .u32(near_e4 / 10 * 18)
        .u32(near_e4)
        .u64(near_ts_ns)
        .u32(near_e4 / 10 * 9)
        .u32(near_e4 / 10 * 11)
}
