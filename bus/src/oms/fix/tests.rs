use std::str::FromStr;

use rust_decimal::Decimal;

use super::*;
use crate::fixed::{Price, Qty};
use crate::oms::{Date, OrderKey};

fn config() -> FixConfig {
    FixConfig {
        sender: "TAPELINE".into(),
        target: "BROKER".into(),
        sender_sub: Some("DESK1".into()),
        account: Some("ACC-7".into()),
    }
}

fn bare() -> FixConfig {
    FixConfig {
        sender_sub: None,
        account: None,
        ..config()
    }
}

fn id() -> OrderId {
    OrderId::new((2026, 1, 5), 0, 123_456, 42, 1)
}

fn order(side: Side, price: i64, qty: i64) -> Order {
    Order {
        side,
        price: Price(price),
        qty: Qty(qty),
        bid: Price(0),
        ask: Price::NONE,
        tif: Tif::Day,
    }
}

/// One order of the config, with SOH as `|`; its frame is checked on the way.
fn encoded(config: &FixConfig, symbol: &[u8; 8], order: Order, poss_resend: bool) -> String {
    let mut encoder = Encoder::new(config).unwrap();
    let message = encoder.encode(&NewOrder {
        msg_seq: 17,
        sending_time: Ts(1_767_623_400_123_456_789),
        id: &id(),
        symbol,
        order: &order,
        transact_time: Ts(1_767_623_399_999_999_999),
        poss_resend,
    });
    check_frame(message);
    String::from_utf8(message.to_vec())
        .unwrap()
        .replace('\x01', "|")
}

/// The frame by the words of the standard, with nothing shared with the encoder.
fn check_frame(message: &[u8]) -> Vec<(u32, String)> {
    let text = std::str::from_utf8(message).unwrap();
    let (before, trailer) = text.rsplit_once("10=").unwrap();
    let sum: u64 = before.bytes().map(u64::from).sum();
    assert_eq!(
        trailer,
        format!("{:03}\x01", sum % 256),
        "checksum of {text:?}"
    );
    let mut front = before.splitn(3, '\x01');
    assert_eq!(front.next(), Some("8=FIX.4.4"));
    let length: usize = front
        .next()
        .unwrap()
        .strip_prefix("9=")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        length,
        front.next().unwrap().len(),
        "body length of {text:?}"
    );
    let fields: Vec<(u32, String)> = text
        .strip_suffix('\x01')
        .unwrap()
        .split('\x01')
        .map(|field| field.split_once('=').unwrap())
        .map(|(tag, value)| (tag.parse().unwrap(), value.to_string()))
        .collect();
    let order = [
        8, 9, 35, 49, 56, 50, 34, 52, 97, 11, 1, 21, 55, 54, 60, 38, 40, 44, 59, 126, 10,
    ];
    let tags: Vec<u32> = fields.iter().map(|field| field.0).collect();
    let optional = [50, 97, 1, 126];
    let want = order
        .into_iter()
        .filter(|tag| !optional.contains(tag) || tags.contains(tag));
    assert_eq!(tags, want.collect::<Vec<u32>>());
    assert!(fields.iter().all(|field| !field.1.is_empty()));
    let own: Vec<(u32, String)> = Message::parse(message)
        .unwrap()
        .fields()
        .map(|(tag, value)| (tag, String::from_utf8(value.to_vec()).unwrap()))
        .collect();
    assert_eq!(own, fields);
    fields
}

#[test]
fn an_order_says_how_long_it_may_stand() {
    let end = |tif| {
        let order = Order {
            tif,
            ..order(Side::Sell, 1_000_000_000, 1)
        };
        let text = encoded(&config(), b"A       ", order, false);
        let (_, end) = text.split_once("|59=").expect("a TimeInForce");
        end.split_once("10=").expect("a checksum").0.to_string()
    };
    assert_eq!(end(Tif::Day), "0|");
    assert_eq!(end(Tif::Ioc), "3|");
    assert_eq!(
        end(Tif::Till(Ts(1_767_623_400_123_456_789))),
        "6|126=20260105-14:30:00.123|"
    );
}

#[test]
fn an_order_is_these_bytes() {
    assert_eq!(
        encoded(
            &config(),
            b"AAPL    ",
            order(Side::Buy, 187_250_000_000, 300),
            false
        ),
        "8=FIX.4.4|9=181|35=D|49=TAPELINE|56=BROKER|50=DESK1|34=17|52=20260105-14:30:00.123|\
         11=260105-000000123456-002A-00-0001|1=ACC-7|21=1|55=AAPL|54=1|\
         60=20260105-14:29:59.999|38=300|40=2|44=187.25|59=0|10=217|"
    );
    assert_eq!(
        encoded(&bare(), b"ZVZZT   ", order(Side::Sell, 100_000, 1), true),
        "8=FIX.4.4|9=168|35=D|49=TAPELINE|56=BROKER|34=17|52=20260105-14:30:00.123|97=Y|\
         11=260105-000000123456-002A-00-0001|21=1|55=ZVZZT|54=2|\
         60=20260105-14:29:59.999|38=1|40=2|44=0.0001|59=0|10=115|"
    );
}

#[test]
fn a_symbol_cannot_bring_a_field_of_its_own() {
    let with = |symbol| encoded(&bare(), symbol, order(Side::Buy, 1, 1), false);
    assert!(with(b"A\x0138=9\x01 ").contains("|55=A?38=9?|54="));
    assert!(with(b"BRK A   ").contains("|55=BRK?A|54="));
    assert!(with(b"        ").contains("|55=?|54="));
    assert!(with(&[0xff; 8]).contains("|55=????????|54="));
}

#[test]
fn any_order_reads_back() {
    let mut state = 7u64;
    let mut random = || {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (state ^ (state >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    let mut encoder = Encoder::new(&config()).unwrap();
    let mut plain = Encoder::new(&bare()).unwrap();
    for _ in 0..20_000 {
        let qty = ((random() >> (random() % 63 + 1)) as i64).max(1);
        let price = (random() as i64 >> (random() % 63)).min(i64::MAX - 1);
        let side = if random() & 1 == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let mut symbol = *b"        ";
        for byte in symbol.iter_mut().take(1 + random() as usize % 8) {
            *byte = b'A' + (random() % 26) as u8;
        }
        let key = OrderKey {
            date: Date {
                year: 2026,
                month: 12,
                day: 31,
            },
            seq: random() % OrderId::SEQ_END,
            symbol: random() as u32 & 0xffff,
            rule: random() as u8,
            ordinal: random() as u16,
        };
        let new = NewOrder {
            msg_seq: random() >> (random() % 64),
            sending_time: Ts((random() >> 1) as i64),
            id: &OrderId::new(key.date, key.rule, key.seq, key.symbol, key.ordinal),
            symbol: &symbol,
            order: &order(side, price, qty),
            transact_time: Ts((random() >> 1) as i64),
            poss_resend: random() & 1 == 0,
        };
        let which = if random() & 1 == 0 {
            &mut encoder
        } else {
            &mut plain
        };
        let fields = check_frame(which.encode(&new));
        let field = |tag| {
            fields
                .iter()
                .find(|field| field.0 == tag)
                .map(|field| &field.1[..])
        };
        assert_eq!(field(34), Some(&new.msg_seq.to_string()[..]));
        assert_eq!(field(97), new.poss_resend.then_some("Y"));
        assert_eq!(
            OrderId::parse(field(11).unwrap().as_bytes()).unwrap().key(),
            key
        );
        assert_eq!(field(55).unwrap().as_bytes(), symbol.trim_ascii_end());
        assert_eq!(field(54), Some(if side == Side::Buy { "1" } else { "2" }));
        assert_eq!(field(38), Some(&qty.to_string()[..]));
        let price = Decimal::from_i128_with_scale(i128::from(price), 9);
        assert_eq!(Decimal::from_str(field(44).unwrap()).unwrap(), price);
    }
}

#[test]
fn the_longest_message_fits() {
    let text = "x".repeat(Encoder::TEXT_BYTES_MAX);
    let config = FixConfig {
        sender: text.clone(),
        target: text.clone(),
        sender_sub: Some(text.clone()),
        account: Some(text),
    };
    let mut encoder = Encoder::new(&config).unwrap();
    let message = encoder.encode(&NewOrder {
        msg_seq: u64::MAX,
        sending_time: Ts::MIN,
        id: &id(),
        symbol: b"ABCDEFGH",
        order: &order(Side::Sell, i64::MIN, i64::MAX),
        transact_time: Ts::MAX,
        poss_resend: true,
    });
    check_frame(message);
}

#[test]
fn a_config_that_would_break_messages_is_refused() {
    let check = |config: FixConfig, want: &str| {
        assert_eq!(Encoder::new(&config).unwrap_err().to_string(), want);
    };
    check(
        FixConfig {
            sender: String::new(),
            ..bare()
        },
        "FIX sender: 0 bytes, want 1 to 48",
    );
    check(
        FixConfig {
            target: "a".repeat(49),
            ..bare()
        },
        "FIX target: 49 bytes, want 1 to 48",
    );
    check(
        FixConfig {
            account: Some("A\x0138=9".into()),
            ..bare()
        },
        "FIX account: \"A\\u{1}38=9\", byte 1: want printable ASCII",
    );
}

#[test]
fn a_broken_frame_is_refused_at_its_byte() {
    let good = encoded(&bare(), b"AAPL    ", order(Side::Buy, 1, 1), false).replace('|', "\x01");
    let check = |bytes: &[u8], want: &str| {
        assert_eq!(Message::parse(bytes).unwrap_err().to_string(), want);
    };
    check(b"", "byte 0: want 8=FIX.4.4 and 9=");
    check(b"8=FIX.4.4\x019=", "byte 12: want a body length");
    check(
        b"8=FIX.4.4\x019=99999999999999999999\x01",
        "byte 12: want a body length",
    );
    check(
        b"8=FIX.4.4\x019=7\x01",
        "byte 12: want the length of the bytes that follow",
    );
    check(&good.as_bytes()[1..], "byte 0: want 8=FIX.4.4 and 9=");
    check(
        &good.as_bytes()[..good.len() - 1],
        "byte 12: want the length of the bytes that follow",
    );
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        assert!(Message::parse(&bytes).is_err(), "byte {at}");
        assert!(
            Message::parse(&good.as_bytes()[..at]).is_err(),
            "cut at {at}"
        );
    }
}

#[test]
fn an_encoder_of_ouch_says_orders_cancels_and_what_does_not_fit() {
    let mut encoder = Encoder::ouch(&ouch::Terms {
        capacity: b'A',
        display: b'N',
        firm: None,
        midnight: Ts(0),
    });
    let id = id();
    let good = order(Side::Sell, 1_500_000_000, 7);
    let new = |order| NewOrder {
        msg_seq: 3,
        sending_time: Ts(0),
        id: &id,
        symbol: b"AAPL    ",
        order,
        transact_time: Ts(0),
        poss_resend: true,
    };
    let bytes = encoder.encode(&new(&good)).to_vec();
    let Ok(ouch::Asked::EnterOrder(enter, _)) = ouch::Asked::parse(&bytes) else {
        panic!("it is an order");
    };
    let numbers = (
        enter.user_ref_num.get(),
        enter.quantity.get(),
        enter.price.get(),
    );
    assert_eq!(numbers, (3, 7, 15_000));
    assert_eq!(
        (enter.side, enter.capacity, enter.display),
        (b'S', b'A', b'N')
    );
    assert_eq!(ouch::Token(enter.cl_ord_id).order(id.key().date), Some(id));
    let cancel = encoder.encode_about(About::Cancel, &new(&good));
    assert_eq!(cancel[..1], *b"X");
    assert_eq!(cancel[1..], enter.cl_ord_id);
    assert_eq!(encoder.encode_about(About::Status, &new(&good)), b"Q");
    let fine = order(Side::Sell, 1_500_010_000, 7);
    let over = encoder.unfit(&fine).unwrap();
    assert_eq!((over.limit, over.value), (100_000, 1_500_010_000));
    assert_eq!(encoder.unfit(&good), None);
    assert!(!Encoder::new(&config()).unwrap().is_bounded());
    // The next is one again.
    assert_eq!(encoder.encode(&new(&good)), bytes);
}
