//! An order as a FIX 4.4 NewOrderSingle, by a template laid out once.

use std::fmt;

use super::digits::{Clockface, PRICE_BYTES_MAX, TIME_BYTES, write_number, write_price};
use super::id::OrderId;
use crate::event::Side;
use crate::fixed::Ts;
use crate::ouch;
use crate::signal::{Order, Over, Tif};

/// Who speaks to whom, and for which account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixConfig {
    /// SenderCompID, tag 49.
    pub sender: String,
    /// TargetCompID, tag 56.
    pub target: String,
    /// SenderSubID, tag 50.
    pub sender_sub: Option<String>,
    /// Account, tag 1.
    pub account: Option<String>,
}

/// A [`FixConfig`] that no message can be made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadConfig {
    /// Which field: `sender`.
    pub field: &'static str,
    /// What was found and what was expected.
    pub what: String,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FIX {}: {}", self.field, self.what)
    }
}

impl std::error::Error for BadConfig {}

/// All that changes from one order to the next.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// MsgSeqNum, tag 34.
    pub msg_seq: u64,
    /// SendingTime, tag 52: the machine's clock.
    pub sending_time: Ts,
    /// ClOrdID, tag 11.
    pub id: &'a OrderId,
    /// Symbol, tag 55: padded at the end with spaces. Bytes that FIX has no room for become `?`,
    /// which no exchange lists: the peer then refuses the order, rather than read another field.
    pub symbol: &'a [u8; 8],
    /// Side, price and quantity.
    pub order: &'a Order,
    /// TransactTime, tag 60: the time of the event that caused the order.
    pub transact_time: Ts,
    /// PossResend, tag 97: the order may have been sent before, under the same id.
    pub poss_resend: bool,
}

/// Writes orders into its one buffer.
///
/// ```text
/// 8=FIX.4.4|9=###|35=D|49=..|56=..|50=..|34=      laid out once
///     #|52=########-##:##:##.###|97=Y|11=#        written per order
/// 1=..|21=1|55=                                   copied, laid out once
///     #|54=#|60=#|38=#|40=2|44=#|59=0|10=###|     written per order; 59=3, or 59=6|126=#
/// ```
///
/// The length always has three digits, so that everything before the sequence number stays.
#[derive(Clone, Debug)]
pub struct Encoder {
    bytes: Box<[u8; Encoder::MESSAGE_BYTES_MAX]>,
    head_len: usize,
    /// Where the three digits of the length stand.
    length_at: usize,
    /// Between ClOrdID and Symbol: so many bytes of it, and then whatever follows.
    middle: [u8; MIDDLE_BYTES],
    middle_len: usize,
    clockface: Clockface,
    transact_clockface: Clockface,
    /// A message that is no order.
    about: Vec<u8>,
    /// Orders are said as OUCH, and nothing of the above counts.
    ouch: Option<Box<Ouch>>,
}

/// Orders as OUCH has them.
#[derive(Clone, Debug)]
struct Ouch {
    writer: ouch::Writer,
    about: Vec<u8>,
}

impl Ouch {
    /// The order under its UserRefNum.
    #[inline(never)]
    fn encode(&mut self, new: &NewOrder<'_>) -> &[u8] {
        let token = ouch::Token::of(&new.id.key());
        let number = u32::try_from(new.msg_seq).expect("a day has fewer orders");
        match self.writer.enter(number, token, new.symbol, new.order) {
            Ok(bytes) => bytes,
            Err(unfit) => panic!("order {}: {unfit}", new.id),
        }
    }

    /// A cancel by name, or a question that needs no answer: the venue has told all that it has.
    fn encode_about(&mut self, about: About, of: &NewOrder<'_>) -> &[u8] {
        self.about.clear();
        match about {
            About::Cancel => {
                self.about.push(ouch::CancelOrder::CODE);
                self.about.extend(ouch::Token::of(&of.id.key()).0);
            }
            About::Status => self.about.push(ouch::AccountQuery::CODE),
        }
        &self.about
    }
}

const SOH: u8 = 1;
const BEGIN: &[u8] = b"8=FIX.4.4\x019=";
/// Where the length of a message in FIX 4.4 stands.
const LENGTH_AT: usize = BEGIN.len();
/// From where the three digits of a length stand to where that which they count begins, and to the
/// message's type.
const TO_BODY: usize = 4;
const TO_TYPE: usize = TO_BODY + 3;
/// Room for an end of field, an account, HandlInst and the tag of the symbol.
const MIDDLE_BYTES: usize = 64;

impl Encoder {
    /// No message is longer.
    pub const MESSAGE_BYTES_MAX: usize = 512;
    /// The longest text in a [`FixConfig`].
    pub const TEXT_BYTES_MAX: usize = 48;

    /// Lays out the template in FIX 4.4.
    pub fn new(config: &FixConfig) -> Result<Encoder, BadConfig> {
        Encoder::speaking("FIX.4.4", config)
    }

    /// Lays out the template in a FIX whose orders have the same fields: 4.2, 4.4, and 5.0 SP2, which
    /// begins with `FIXT.1.1`.
    ///
    /// # Panics
    /// For a BeginString that is none: there is no such FIX.
    pub fn speaking(begin_string: &str, config: &FixConfig) -> Result<Encoder, BadConfig> {
        // What no message may be longer than counts on nine at the most.
        assert!((7..=9).contains(&begin_string.len()));
        let FixConfig {
            sender,
            target,
            sender_sub,
            account,
        } = config;
        let mut head = format!("8={begin_string}\x019=").into_bytes();
        let length_at = head.len();
        head.extend_from_slice(b"###\x0135=D\x01");
        push_field(&mut head, "sender", 49, sender)?;
        push_field(&mut head, "target", 56, target)?;
        if let Some(sender_sub) = sender_sub {
            push_field(&mut head, "sender_sub", 50, sender_sub)?;
        }
        head.extend_from_slice(b"34=");
        let mut middle = vec![SOH];
        if let Some(account) = account {
            push_field(&mut middle, "account", 1, account)?;
        }
        // HandlInst 1: automated, no broker in between.
        middle.extend_from_slice(b"21=1\x0155=");
        let middle_len = middle.len();
        middle.resize(MIDDLE_BYTES, 0);
        let mut bytes = Box::new([0; Encoder::MESSAGE_BYTES_MAX]);
        bytes[..head.len()].copy_from_slice(&head);
        Ok(Encoder {
            bytes,
            head_len: head.len(),
            length_at,
            middle: middle.try_into().expect("no account is as long"),
            middle_len,
            clockface: Clockface::new(),
            transact_clockface: Clockface::new(),
            about: Vec::with_capacity(Encoder::MESSAGE_BYTES_MAX),
            ouch: None,
        })
    }

    /// Lays out the template of an OUCH 5.0 order: what [`Encoder::encode`] says is then an Enter Order, whose
    /// UserRefNum is the `msg_seq`. Whether it has room for an order, [`Encoder::unfit`] says.
    pub fn ouch(terms: &ouch::Terms) -> Encoder {
        let nobody = FixConfig {
            sender: "S".into(),
            target: "T".into(),
            sender_sub: None,
            account: None,
        };
        let encoder = Encoder::new(&nobody).expect("these are names");
        let ouch = Ouch {
            writer: ouch::Writer::new(terms),
            about: Vec::new(),
        };
        Encoder {
            ouch: Some(Box::new(ouch)),
            ..encoder
        }
    }

    /// A message about an order that may have been sent before: FIX 4.4, volume 4,
    /// OrderCancelRequest `F` and OrderStatusRequest `H`. Not for the hot path.
    pub fn encode_about(&mut self, about: About, of: &NewOrder<'_>) -> &[u8] {
        if let Some(ouch) = &mut self.ouch {
            return ouch.encode_about(about, of);
        }
        let side = if of.order.side == Side::Sell {
            b'2'
        } else {
            b'1'
        };
        let mut pen = Pen {
            bytes: &mut self.bytes[..],
            at: self.head_len,
            length_at: self.length_at,
        };
        pen.number(of.msg_seq);
        pen.text(b"\x0152=");
        pen.time(&mut self.clockface, of.sending_time);
        pen.text(b"\x0111=");
        pen.text(of.id.as_bytes());
        if about == About::Cancel {
            // A cancel has a name of its own, and says which order it is for.
            pen.text(b"-C\x0141=");
            pen.text(of.id.as_bytes());
        }
        pen.text(b"\x0155=");
        pen.symbol(of.symbol);
        pen.text(b"\x0154=");
        pen.text(&[side]);
        if about == About::Cancel {
            pen.text(b"\x0160=");
            pen.time(&mut self.transact_clockface, of.transact_time);
            pen.text(b"\x0138=");
            pen.number(of.order.qty.0 as u64);
        }
        pen.text(&[SOH]);
        let body_end = pen.at;
        pen.bytes[pen.length_at + TO_TYPE] = match about {
            About::Cancel => b'F',
            About::Status => b'H',
        };
        let message_end = pen.close(body_end);
        // The template is one of orders.
        self.about.clear();
        self.about.extend_from_slice(&self.bytes[..message_end]);
        self.bytes[self.length_at + TO_TYPE] = b'D';
        &self.about
    }

    /// Whether there are orders that its messages have no room for. FIX has room for all that the risk gate lets
    /// through.
    #[inline]
    pub fn is_bounded(&self) -> bool {
        self.ouch.is_some()
    }

    /// What of an order there is no room for, as what becomes of it.
    pub fn unfit(&self, order: &Order) -> Option<Over> {
        let ouch = self.ouch.as_ref()?;
        ouch.writer.unfit(order).map(|unfit| unfit.over())
    }

    /// The order as a message, ready to send; stays until the next call.
    ///
    /// # Panics
    /// For an order without side, price, or a positive quantity: the risk gate lets none through. And for one
    /// that is [`Encoder::unfit`].
    #[inline]
    pub fn encode(&mut self, new: &NewOrder<'_>) -> &[u8] {
        if let Some(ouch) = &mut self.ouch {
            return ouch.encode(new);
        }
        let order = new.order;
        assert!(order.price.is_some(), "an order has a price");
        assert!(order.qty.0 > 0, "an order has a quantity");
        let side = match order.side {
            Side::Buy => b'1',
            Side::Sell => b'2',
            Side::None => panic!("an order has a side"),
        };
        let mut pen = Pen {
            bytes: &mut self.bytes[..],
            at: self.head_len,
            length_at: self.length_at,
        };
        pen.number(new.msg_seq);
        pen.text(b"\x0152=");
        pen.time(&mut self.clockface, new.sending_time);
        if new.poss_resend {
            pen.text(b"\x0197=Y");
        }
        pen.text(b"\x0111=");
        pen.text(new.id.as_bytes());
        // All of it, because a length that is known is copied by a few instructions; the symbol and what
        // follows it is written over what was too much.
        pen.text(&self.middle);
        pen.at -= MIDDLE_BYTES - self.middle_len;
        pen.symbol(new.symbol);
        pen.text(b"\x0154=");
        pen.text(&[side]);
        pen.text(b"\x0160=");
        pen.time(&mut self.transact_clockface, new.transact_time);
        pen.text(b"\x0138=");
        pen.number(order.qty.0 as u64);
        // OrdType 2: limit.
        pen.text(b"\x0140=2\x0144=");
        pen.at += write_price(&mut pen.bytes[pen.at..], order.price);
        match order.tif {
            Tif::Day => pen.text(b"\x0159=0\x01"),
            other => pen.tif(other, &mut self.transact_clockface),
        }

        let body_end = pen.at;
        let message_end = pen.close(body_end);
        &self.bytes[..message_end]
    }
}

/// What is said about an order that may have been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// It is to be cancelled, if it is there.
    Cancel,
    /// What became of it is asked.
    Status,
}

const _: () = {
    assert!(1 + 2 + Encoder::TEXT_BYTES_MAX + 1 + 8 <= MIDDLE_BYTES);
    let tags = LENGTH_AT + 1 + TO_BODY + 6 + 6 * 4 + 5 + 8 * 4 + 5 + 5 + 5 + 7;
    let texts = 4 * Encoder::TEXT_BYTES_MAX;
    let numbers = 2 * 20 + 3 * TIME_BYTES + OrderId::BYTES + 8 + PRICE_BYTES_MAX;
    // What is copied too much of the middle is at most 50 bytes, and what must follow it is more.
    assert!(tags + texts + numbers <= Encoder::MESSAGE_BYTES_MAX);
    // The shortest body: one byte of each text, number and symbol, and a price of four.
    let shortest = 10 * 5 + 2 * (TIME_BYTES + 4) + (OrderId::BYTES + 4) + 8;
    assert!(shortest >= 100, "the length has three digits");
};

struct Pen<'a> {
    bytes: &'a mut [u8],
    at: usize,
    length_at: usize,
}

impl Pen<'_> {
    /// Writes length and checksum of a message whose body ends here; where the message ends.
    #[inline(always)]
    fn close(&mut self, body_end: usize) -> usize {
        self.at = self.length_at;
        self.digits_3(body_end - self.length_at - TO_BODY);
        let sum = checksum(&self.bytes[..body_end]);
        self.at = body_end;
        self.text(b"10=");
        self.digits_3(usize::from(sum));
        self.text(&[SOH]);
        self.at
    }

    /// Where it is not the day: at once (3), or until a moment (6).
    #[cold]
    fn tif(&mut self, tif: Tif, clockface: &mut Clockface) {
        match tif {
            Tif::Day => self.text(b"\x0159=0\x01"),
            Tif::Ioc => self.text(b"\x0159=3\x01"),
            Tif::Till(ts) => {
                self.text(b"\x0159=6\x01126=");
                self.time(clockface, ts);
                self.text(&[SOH]);
            }
        }
    }

    #[inline(always)]
    fn text(&mut self, text: &[u8]) {
        self.bytes[self.at..self.at + text.len()].copy_from_slice(text);
        self.at += text.len();
    }

    #[inline(always)]
    fn time(&mut self, clockface: &mut Clockface, time: Ts) {
        let out = self.bytes[self.at..].first_chunk_mut();
        clockface.write(time, out.expect("a message has room for its times"));
        self.at += TIME_BYTES;
    }

    #[inline]
    fn number(&mut self, value: u64) {
        self.at += write_number(&mut self.bytes[self.at..], value);
    }

    #[inline]
    fn digits_3(&mut self, value: usize) {
        debug_assert!(value < 1_000);
        self.text(&[
            b'0' + (value / 100) as u8,
            b'0' + (value / 10 % 10) as u8,
            b'0' + (value % 10) as u8,
        ]);
    }

    /// Eight bytes are written, and those that count stay.
    #[inline]
    fn symbol(&mut self, symbol: &[u8; 8]) {
        let spaces = u64::from_le_bytes(*symbol) ^ u64::from_le_bytes([b' '; 8]);
        let len = (8 - spaces.leading_zeros() as usize / 8).max(1);
        let mut out = *symbol;
        for byte in &mut out {
            if !(b'!'..=b'~').contains(byte) {
                *byte = b'?';
            }
        }
        self.text(&out);
        self.at -= symbol.len() - len;
    }
}

fn push_field(
    out: &mut Vec<u8>,
    field: &'static str,
    tag: u32,
    value: &str,
) -> Result<(), BadConfig> {
    let bad = |what| Err(BadConfig { field, what });
    if value.is_empty() || value.len() > Encoder::TEXT_BYTES_MAX {
        return bad(format!(
            "{} bytes, want 1 to {}",
            value.len(),
            Encoder::TEXT_BYTES_MAX
        ));
    }
    if let Some(at) = value
        .bytes()
        .position(|byte| !(b' '..=b'~').contains(&byte))
    {
        return bad(format!("{value:?}, byte {at}: want printable ASCII"));
    }
    out.extend_from_slice(format!("{tag}={value}\x01").as_bytes());
    Ok(())
}

/// CheckSum, tag 10: the sum of the bytes before it. Eight bits wide from the start, so that the
/// compiler adds 16 bytes in one instruction: the whole message takes 5 ns, and adding up only the
/// fields that change took 4, which is not worth keeping the sum of the rest.
#[inline]
fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, &byte| sum.wrapping_add(byte))
}

/// A message whose frame holds: it begins and ends as FIX 4.4 wants, and its length and checksum
/// are right.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

/// Bytes that are not a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage {
    /// Where in the message.
    pub offset_bytes: usize,
    /// What was expected there.
    pub want: &'static str,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: want {}", self.offset_bytes, self.want)
    }
}

impl std::error::Error for BadMessage {}

impl<'a> Message<'a> {
    /// Checks the frame of exactly one message.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, BadMessage> {
        let bad = |offset_bytes, want| Err(BadMessage { offset_bytes, want });
        if !bytes.starts_with(BEGIN) {
            return bad(0, "8=FIX.4.4 and 9=");
        }
        let Some((length, digits)) = leading_number(&bytes[LENGTH_AT..]) else {
            return bad(LENGTH_AT, "a body length");
        };
        let body_at = LENGTH_AT + digits + 1;
        // Compared as a difference, so that no length, however long, can pass the end.
        let trailer_bytes = b"10=###\x01".len();
        if bytes.len() < body_at + trailer_bytes
            || (bytes.len() - body_at - trailer_bytes) as u64 != length
        {
            return bad(LENGTH_AT, "the length of the bytes that follow");
        }
        let trailer_at = bytes.len() - trailer_bytes;
        let sum = checksum(&bytes[..trailer_at]);
        if bytes[trailer_at..] != *format!("10={sum:03}\x01").as_bytes() {
            return bad(trailer_at, "10= and the sum of the bytes before it");
        }
        if bytes[trailer_at - 1] != SOH {
            return bad(trailer_at - 1, "a field's end");
        }
        Ok(Message { bytes })
    }

    /// The fields in order: tag and value. What is no field is left out.
    pub fn fields(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        self.bytes.split(|&byte| byte == SOH).filter_map(|field| {
            let equals_at = field.iter().position(|&byte| byte == b'=')?;
            let tag = std::str::from_utf8(&field[..equals_at])
                .ok()?
                .parse()
                .ok()?;
            Some((tag, &field[equals_at + 1..]))
        })
    }

    /// The value of the first field with this tag.
    pub fn field(&self, tag: u32) -> Option<&'a [u8]> {
        self.fields()
            .find(|field| field.0 == tag)
            .map(|field| field.1)
    }
}

/// The number up to the next SOH and how many digits it has.
fn leading_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let end = bytes.iter().take(8).position(|&byte| byte == SOH)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_number = end > 0 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok().map(|value| (value, end)))?
}

#[cfg(test)]
mod tests;
