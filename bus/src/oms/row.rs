//! What a message says of an order, for outputs that are not FIX: one struct for all of them.

use super::digits::Date;
use super::id::OrderId;
use crate::event::Side;
use crate::fixed::{Price, Qty, Ts};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RowKind {
    /// A new order (NewOrderSingle).
    Order = b'D',
    /// A cancel of one (OrderCancelRequest).
    Cancel = b'F',
    /// What the other side says of one (ExecutionReport).
    Report = b'8',
    /// It did not cancel or replace one (OrderCancelReject).
    CancelReject = b'9',
}

impl RowKind {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            RowKind::Order => "order",
            RowKind::Cancel => "cancel",
            RowKind::Report => "report",
            RowKind::CancelReject => "cancel_reject",
        }
    }
}

/// A message about an order. What the message does not say is `None`, empty, or [`Side::None`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// What it is.
    pub kind: RowKind,
    /// The order's name: the ClOrdID (11) of an order; of a message about one, its OrigClOrdID (41)
    /// where it has that.
    pub id: &'a [u8],
    /// MsgSeqNum (34).
    pub msg_seq: u64,
    /// SendingTime (52), in UTC.
    pub sent: Option<Ts>,
    /// TransactTime (60), in UTC.
    pub transacted: Option<Ts>,
    /// Symbol (55).
    pub symbol: &'a [u8],
    /// Side (54); all sales are [`Side::Sell`].
    pub side: Side,
    /// OrderQty (38), in the symbol's units.
    pub qty: Option<Qty>,
    /// Price (44).
    pub price: Option<Price>,
    /// TimeInForce (59), its letter; 0 where there is none.
    pub time_in_force: u8,
    /// PossResend (97): it may have been sent before.
    pub poss_resend: bool,
    /// ExecType (150), its first letter; 0 where there is none.
    pub exec_type: u8,
    /// OrdStatus (39), its first letter; 0 where there is none.
    pub status: u8,
    /// LastQty (32) and LastPx (31) of a fill.
    pub last_qty: Option<Qty>,
    #[allow(missing_docs)]
    pub last_price: Option<Price>,
    /// CumQty (14).
    pub filled: Option<Qty>,
}

impl<'a> Row<'a> {
    /// Reads a message whose frame was checked; `None` where it is of another kind, or names no order.
    pub fn of(message: &'a [u8]) -> Option<Row<'a>> {
        let mut kind = None;
        let (mut id, mut orig) = (None, None);
        let mut row = Row {
            kind: RowKind::Order,
            id: b"",
            msg_seq: 0,
            sent: None,
            transacted: None,
            symbol: b"",
            side: Side::None,
            qty: None,
            price: None,
            time_in_force: 0,
            poss_resend: false,
            exec_type: 0,
            status: 0,
            last_qty: None,
            last_price: None,
            filled: None,
        };
        for field in message.split(|&byte| byte == 1) {
            let Some(at) = field.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (tag, value) = (&field[..at], &field[at + 1..]);
            match tag {
                b"35" => kind = kind_of(value),
                b"11" => id = Some(value),
                b"41" => orig = Some(value),
                b"34" => row.msg_seq = whole(value)?,
                b"52" => row.sent = time(value),
                b"60" => row.transacted = time(value),
                b"55" => row.symbol = value,
                b"54" => row.side = side(value),
                b"38" => row.qty = qty(value),
                b"44" => row.price = price(value),
                b"59" => row.time_in_force = *value.first()?,
                b"97" => row.poss_resend = value == b"Y",
                b"150" => row.exec_type = *value.first()?,
                b"39" => row.status = *value.first()?,
                b"32" => row.last_qty = qty(value),
                b"31" => row.last_price = price(value),
                b"14" => row.filled = qty(value),
                _ => {}
            }
        }
        row.kind = kind?;
        row.id = match row.kind {
            RowKind::Order => id?,
            _ => orig.or(id)?,
        };
        Some(row)
    }

    /// The order's name, where it is one of ours.
    pub fn order_id(&self) -> Option<OrderId> {
        OrderId::parse(self.id)
    }

    /// Whether it is an order that may have been sent before, and is one of these, which are sorted.
    pub fn is_among(&self, had: &[OrderId]) -> bool {
        self.kind == RowKind::Order
            && self.poss_resend
            && self
                .order_id()
                .is_some_and(|id| had.binary_search(&id).is_ok())
    }
}

fn kind_of(text: &[u8]) -> Option<RowKind> {
    match text {
        b"D" => Some(RowKind::Order),
        b"F" => Some(RowKind::Cancel),
        b"8" => Some(RowKind::Report),
        b"9" => Some(RowKind::CancelReject),
        _ => None,
    }
}

fn side(text: &[u8]) -> Side {
    match text {
        b"1" | b"3" => Side::Buy,
        b"2" | b"4" | b"5" | b"6" => Side::Sell,
        _ => Side::None,
    }
}

fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A quantity may have a point and zeros behind it.
fn qty(text: &[u8]) -> Option<Qty> {
    let scaled = price(text)?.0;
    let whole = scaled % Price::SCALE == 0;
    whole.then_some(Qty(scaled / Price::SCALE))
}

/// A decimal of at most nine places.
fn price(text: &[u8]) -> Option<Price> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let (front, back) = (parts.next()?, parts.next().unwrap_or_default());
    let back = match back.iter().rposition(|&byte| byte != b'0') {
        Some(last) => &back[..=last],
        None => b"",
    };
    if back.len() > 9 {
        return None;
    }
    let mut units = whole(front)?.checked_mul(Price::SCALE as u64)?;
    if !back.is_empty() {
        let scale = 10u64.pow(9 - back.len() as u32);
        units = units.checked_add(whole(back)? * scale)?;
    }
    let units = i64::try_from(units).ok()?;
    let price = Price(if is_negative { -units } else { units });
    price.is_some().then_some(price)
}

/// `20260105-14:30:00`, with up to nine decimals of the second.
fn time(text: &[u8]) -> Option<Ts> {
    let (head, rest) = text.split_at_checked(17)?;
    let number = |range: std::ops::Range<usize>| whole(&head[range]);
    if head[8] != b'-' || head[11] != b':' || head[14] != b':' {
        return None;
    }
    let (month, day) = (number(4..6)? as u8, number(6..8)? as u8);
    let year = number(0..4)? as u16;
    let date = Date { year, month, day };
    let (hour, minute, second) = (number(9..11)?, number(12..14)?, number(15..17)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // A leap second is the first of the next minute.
    if second > 60 {
        return None;
    }
    let fraction_ns = match rest {
        b"" => 0,
        _ => price(&[b"0", rest].concat()).filter(|_| rest[0] == b'.')?.0,
    };
    let seconds = (date.days() * 24 + hour as i64) * 3_600 + minute as i64 * 60 + second as i64;
    seconds
        .checked_mul(Ts::SECOND_NS)?
        .checked_add(fraction_ns)
        .map(Ts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oms::{Encoder, FixConfig, NewOrder};
    use crate::signal::Order;

    #[test]
    fn what_the_encoder_writes_is_read_back() {
        let config = FixConfig {
            sender: "A".into(),
            target: "B".into(),
            sender_sub: None,
            account: Some("ACC".into()),
        };
        let order = Order {
            side: Side::Sell,
            price: Price(10_123_450_000),
            qty: Qty(700),
            bid: Price::NONE,
            ask: Price::NONE,
            tif: crate::signal::Tif::Day,
        };
        let id = OrderId::new((2026, 1, 5), 1, 77, 3, 2);
        let mut encoder = Encoder::new(&config).unwrap();
        let new = NewOrder {
            msg_seq: 12,
            sending_time: Ts(1_767_623_400_123_000_000),
            id: &id,
            symbol: b"ABC     ",
            order: &order,
            transact_time: Ts(951_782_400_000_000_000),
            poss_resend: true,
        };
        let row = Row::of(encoder.encode(&new)).unwrap();
        let want = Row {
            kind: RowKind::Order,
            id: id.as_bytes(),
            msg_seq: 12,
            sent: Some(new.sending_time),
            transacted: Some(new.transact_time),
            symbol: b"ABC",
            side: Side::Sell,
            qty: Some(Qty(700)),
            price: Some(order.price),
            time_in_force: b'0',
            poss_resend: true,
            exec_type: 0,
            status: 0,
            last_qty: None,
            last_price: None,
            filled: None,
        };
        assert_eq!(row, want);
        let cancel = encoder.encode_about(crate::oms::About::Cancel, &new);
        let row = Row::of(cancel).unwrap();
        assert_eq!((row.kind, row.id), (RowKind::Cancel, &id.as_bytes()[..]));
        assert_eq!(row.order_id(), Some(id));
    }

    #[test]
    fn reports_are_read_and_other_messages_are_not() {
        let text = b"8=FIX.4.2\x0135=8\x0134=9\x0152=20260105-14:30:00\x0111=x-C\x0141=x\x01150=4\
                     \x0139=4\x0132=1.5\x0131=-0.000000001\x0114=30.00\x0144=1.0000000001\x01";
        let row = Row::of(text).unwrap();
        assert_eq!((row.kind, row.id), (RowKind::Report, &b"x"[..]));
        assert_eq!(row.sent, Some(Ts(1_767_623_400_000_000_000)));
        assert_eq!((row.exec_type, row.status), (b'4', b'4'));
        // Half a unit, and a price finer than ours, are not taken for others.
        assert_eq!((row.last_qty, row.price), (None, None));
        assert_eq!(
            (row.last_price, row.filled),
            (Some(Price(-1)), Some(Qty(30)))
        );
        for other in [
            &b"35=A\x0134=1\x0111=x\x01"[..],
            b"35=D\x0134=1\x01",
            b"35=D\x0134=x\x0111=x\x01",
            b"",
        ] {
            assert_eq!(Row::of(other), None);
        }
        for time in [
            "20261301-00:00:00",
            "20260105-24:00:00",
            "20260105-00:00:00x",
            "2026",
        ] {
            assert_eq!(super::time(time.as_bytes()), None, "{time}");
        }
        assert_eq!(
            super::time(b"19700101-00:00:01.000000002"),
            Some(Ts(1_000_000_002))
        );
    }
}
