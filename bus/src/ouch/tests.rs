use proptest::prelude::*;

use super::*;
use crate::oms::Encoder;

const TS: u64 = 34_200_000_000_123;

/// Bytes put together by hand, from the tables of the specification.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn text(mut self, text: &str, width: usize) -> Bytes {
        self.0
            .extend_from_slice(format!("{text:<width$}").as_bytes());
        self
    }

    fn number(mut self, value: u64, bytes: usize) -> Bytes {
        self.0.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
        self
    }
}

fn text(text: &str, width: usize) -> Bytes {
    Bytes::default().text(text, width)
}

fn order(price: i64, qty: i64, tif: Tif) -> Order {
    Order {
        side: Side::Buy,
        price: Price(price),
        qty: Qty(qty),
        bid: Price::NONE,
        ask: Price::NONE,
        tif,
    }
}

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

fn terms() -> Terms {
    Terms {
        capacity: b'P',
        display: b'Y',
        firm: None,
        midnight: MIDNIGHT,
    }
}

#[test]
fn an_order_is_written_as_the_tables_say() {
    let day = Date {
        year: 2026,
        month: 1,
        day: 5,
    };
    let id = OrderId::new(day, 1, 135, 11, 1);
    let token = Token::of(&id.key());
    assert_eq!(token.order(day), Some(id));
    // 135 is 2 * 62 + 11; 11 << 24 | 1 << 16 | 1 is 184,614,913 in base 62.
    let letters = "000002B00CUclt";
    assert_eq!(std::str::from_utf8(&token.0), Ok(letters));
    let mut writer = Writer::new(&terms());
    let plain = order(150_340_000_000, 100, Tif::Day);
    let written = writer.enter(7, token, b"AAPL    ", &plain);
    let head = |tif: &str| {
        text("O", 1)
            .number(7, 4)
            .text("B", 1)
            .number(100, 4)
            .text("AAPL", 8)
            .number(1_503_400, 8)
            .text(tif, 1)
            .text("YPNN", 4)
            .text(letters, 14)
    };
    let want = head("0").number(0, 2).0;
    assert_eq!(want.len(), 47);
    assert_eq!(written, Ok(&want[..]));
    // 09:30:01.5 is within the second 34,201.
    let till = Ts(MIDNIGHT.0 + 34_201_500_000_000);
    let mut firm = Writer::new(&Terms {
        firm: Some(*b"DESK"),
        ..terms()
    });
    let written = firm.enter(
        7,
        token,
        b"AAPL    ",
        &order(150_340_000_000, 100, Tif::Till(till)),
    );
    let want = head("6")
        .number(12, 2)
        .number(5, 1)
        .number(2, 1)
        .text("DESK", 4);
    let want = want.number(5, 1).number(15, 1).number(34_201, 4).0;
    assert_eq!(written, Ok(&want[..]));
    assert!(want.len() <= Writer::ORDER_BYTES_MAX);
    let Ok(Asked::EnterOrder(enter, appendage)) = Asked::parse(&want) else {
        panic!("it is an order");
    };
    assert_eq!(enter.user_ref_num.get(), 7);
    assert_eq!(price_of(enter.price), Some(plain.price));
    assert_eq!(appendage.get(FIRM), Some(&b"DESK"[..]));
    assert_eq!(
        appendage.get(EXPIRE_TIME),
        Some(&34_201u32.to_be_bytes()[..])
    );
    assert_eq!(appendage.get(1), None);
}

#[test]
fn what_has_no_room_is_refused_and_not_rounded() {
    let mut writer = Writer::new(&terms());
    let token = Token([b'0'; 14]);
    let mut enter = |order: &Order| writer.enter(1, token, b"A       ", order).map(<[u8]>::len);
    for price in [0, -1, 100_001, PRICE_END.0, i64::MAX, Price::NONE.0] {
        assert_eq!(
            enter(&order(price, 1, Tif::Day)),
            Err(Unfit::Price(Price(price)))
        );
    }
    for qty in [0, -1, QTY_END, i64::MAX] {
        assert_eq!(
            enter(&order(100_000, qty, Tif::Day)),
            Err(Unfit::Qty(Qty(qty)))
        );
    }
    for till in [Ts(MIDNIGHT.0 - 1), Ts(MIDNIGHT.0 + 86_400_000_000_000)] {
        let said = enter(&order(100_000, 1, Tif::Till(till)));
        let end = Ts(MIDNIGHT.0 + 86_400_000_000_000);
        assert_eq!(said, Err(Unfit::Till(till, end)));
    }
    assert_eq!(enter(&order(100_000, 1, Tif::Ioc)), Ok(47));
    assert_eq!(
        enter(&order(PRICE_END.0 - 100_000, QTY_END - 1, Tif::Day)),
        Ok(47)
    );
    let said = Unfit::Price(Price(1_234_560_000)).to_string();
    assert!(said.contains("at most four decimals"), "{said}");
}

/// What the log says of an order that is refused so: the limit that it is beyond, and what it has.
#[test]
fn what_has_no_room_is_refused_with_limit_and_value() {
    let encoder = Encoder::ouch(&terms());
    assert!(encoder.is_bounded());
    let (day, end) = (Tif::Day, MIDNIGHT.0 + 86_400_000_000_000);
    let (step, last) = (100_000, 200_000 * Price::SCALE - 100_000);
    for (order, code, limit, value) in [
        (order(100_001, 1, day), RejectCode::Price, step, 100_001),
        (order(0, 1, day), RejectCode::Price, step, 0),
        (order(last + 1, 1, day), RejectCode::Price, step, last + 1),
        (
            order(last + step, 1, day),
            RejectCode::Price,
            last,
            last + step,
        ),
        (
            order(step, 1_000_000, day),
            RejectCode::Size,
            999_999,
            1_000_000,
        ),
        (
            order(step, 1, Tif::Till(Ts(end))),
            RejectCode::Till,
            end - 1,
            end,
        ),
    ] {
        let over = encoder.unfit(&order).unwrap();
        assert_eq!((over.whose, over.code), (Whose::Session, code));
        assert_eq!((over.limit, over.value), (limit, value));
    }
    assert_eq!(
        encoder.unfit(&order(last, 999_999, Tif::Till(Ts(end - 1)))),
        None
    );
}

/// All that a venue says and that we say, by hand, and what of it is read.
#[test]
fn each_message_has_the_fields_of_the_tables() {
    let said = |code: &str| text(code, 1).number(TS, 8);
    let clord = "CLORD1";
    let accepted = said("A")
        .number(1, 4)
        .text("B", 1)
        .number(100, 4)
        .text("AAPL", 8)
        .number(1_503_400, 8)
        .text("0Z", 2)
        .number(123_456_789, 8)
        .text("ANCL", 4)
        .text(clord, 14)
        .number(3, 2)
        .number(2, 1)
        .number(28, 1)
        .number(5, 1);
    let Ok(Told::Accepted(message, appendage)) = Told::parse(&accepted.0) else {
        panic!("it is accepted");
    };
    assert_eq!(message.timestamp.get(), TS);
    assert_eq!(message.order_reference_number.get(), 123_456_789);
    assert_eq!((message.display, message.order_state), (b'Z', b'L'));
    assert_eq!(&message.cl_ord_id, b"CLORD1        ");
    assert_eq!(appendage.elements().collect::<Vec<_>>(), [(28, &[5][..])]);
    let replaced = said("U")
        .number(1, 4)
        .number(2, 4)
        .text("S", 1)
        .number(400, 4)
        .text("MSFT", 8)
        .number(4_000_000, 8)
        .text("3N", 2)
        .number(9, 8)
        .text("PNND", 4)
        .text(clord, 14)
        .number(0, 2);
    let Ok(Told::Replaced(message, Appendage::NONE)) = Told::parse(&replaced.0) else {
        panic!("it is replaced");
    };
    let numbers = (message.orig_user_ref_num.get(), message.user_ref_num.get());
    assert_eq!((numbers, message.quantity.get()), ((1, 2), 400));
    assert_eq!(message.order_state, b'D');
    let canceled = said("C").number(2, 4).number(100, 4).text("U", 1);
    let Ok(Told::Canceled(message, Appendage::NONE)) = Told::parse(&canceled.0) else {
        panic!("it is cancelled");
    };
    assert_eq!((message.quantity.get(), message.reason), (100, b'U'));
    let aiq = said("D")
        .number(4, 4)
        .number(100, 4)
        .text("Q", 1)
        .number(60, 4);
    let aiq = aiq.number(1_503_400, 8).text("RO", 2);
    let Ok(Told::AiqCanceled(message, _)) = Told::parse(&aiq.0) else {
        panic!("it is cancelled");
    };
    assert_eq!(
        (
            message.decrement_shares.get(),
            message.quantity_prevented.get()
        ),
        (100, 60)
    );
    assert_eq!((message.liquidity_flag, message.aiq_strategy), (b'R', b'O'));
    let executed = said("E")
        .number(1, 4)
        .number(100, 4)
        .number(1_503_400, 8)
        .text("A", 1);
    let executed = executed.number(987_654_321, 8).number(0, 2);
    let Ok(Told::Executed(message, Appendage::NONE)) = Told::parse(&executed.0) else {
        panic!("it is executed");
    };
    assert_eq!(message.match_number.get(), 987_654_321);
    assert_eq!(price_of(message.price), Some(Price(150_340_000_000)));
    let broken = said("B")
        .number(1, 4)
        .number(7, 8)
        .text("E", 1)
        .text(clord, 14);
    let Ok(Told::BrokenTrade(message, _)) = Told::parse(&broken.0) else {
        panic!("it is broken");
    };
    assert_eq!((message.match_number.get(), message.reason), (7, b'E'));
    let rejected = said("J").number(9, 4).number(0x1d, 2).text(clord, 14);
    let Ok(Told::Rejected(message, _)) = Told::parse(&rejected.0) else {
        panic!("it is rejected");
    };
    assert_eq!(
        (message.user_ref_num.get(), message.reason.get()),
        (9, 0x1d)
    );
    let updated = said("T")
        .number(7, 4)
        .number(1_503_300, 8)
        .text("Y", 1)
        .number(555, 8);
    let Ok(Told::PriorityUpdate(message, _)) = Told::parse(&updated.0) else {
        panic!("its priority is another");
    };
    assert_eq!(
        (message.price.get(), message.order_reference_number.get()),
        (1_503_300, 555)
    );
    let modified = said("M").number(3, 4).text("E", 1).number(50, 4);
    let Ok(Told::Modified(message, _)) = Told::parse(&modified.0) else {
        panic!("it is modified");
    };
    assert_eq!((message.side, message.quantity.get()), (b'E', 50));
    let restated = said("R")
        .number(8, 4)
        .text("R", 1)
        .number(6, 2)
        .number(5, 1)
        .number(22, 1);
    let restated = restated.number(100, 4);
    let Ok(Told::Restated(message, appendage)) = Told::parse(&restated.0) else {
        panic!("it is restated");
    };
    assert_eq!(message.reason, b'R');
    assert_eq!(appendage.get(22), Some(&100u32.to_be_bytes()[..]));
    let short: [(Bytes, u32); 3] = [
        (said("P").number(5, 4), 5),
        (
            said("I")
                .number(6, 4)
                .number(3, 2)
                .number(2, 1)
                .number(28, 1)
                .number(9, 1),
            6,
        ),
        (said("Q").number(13, 4), 13),
    ];
    for (bytes, want) in short {
        let got = match Told::parse(&bytes.0) {
            Ok(Told::CancelPending(message, _)) => message.user_ref_num,
            Ok(Told::CancelReject(message, _)) => message.user_ref_num,
            Ok(Told::AccountQueryResponse(message, _)) => message.next_user_ref_num,
            other => panic!("{other:?}"),
        };
        assert_eq!(got.get(), want);
    }
    let event = said("S").text("E", 1);
    assert!(matches!(
        Told::parse(&event.0),
        Ok(Told::SystemEvent(
            SystemEvent {
                event_code: b'E',
                ..
            },
            Appendage::NONE
        ))
    ));
    let cancel = text("X", 1).number(77, 4).number(25, 4);
    let Ok(Asked::CancelOrder(message, _)) = Asked::parse(&cancel.0) else {
        panic!("it is a cancel");
    };
    assert_eq!(
        (message.user_ref_num.get(), message.quantity.get()),
        (77, 25)
    );
    let modify = text("M", 1).number(3, 4).text("T", 1).number(50, 4);
    assert!(matches!(
        Asked::parse(&modify.0),
        Ok(Asked::ModifyOrder(..))
    ));
    assert!(matches!(Asked::parse(b"Q"), Ok(Asked::AccountQuery(..))));
    let replace = text("U", 1)
        .number(1, 4)
        .number(2, 4)
        .number(500, 4)
        .number(1_503_500, 8);
    let replace = replace.text("6AN", 3).text("REPL-2", 14).number(6, 2);
    let replace = replace.number(5, 1).number(15, 1).number(3_600, 4);
    let Ok(Asked::ReplaceOrder(message, appendage)) = Asked::parse(&replace.0) else {
        panic!("it is a replacement");
    };
    assert_eq!(
        (message.quantity.get(), &message.cl_ord_id),
        (500, b"REPL-2        ")
    );
    assert_eq!(
        appendage.get(EXPIRE_TIME),
        Some(&3_600u32.to_be_bytes()[..])
    );
}

#[test]
fn what_is_no_message_is_told_with_its_place() {
    let said = |bytes: &[u8]| Told::parse(bytes).unwrap_err().to_string();
    assert_eq!(said(b""), "a message of no bytes, want one of OUCH 5.0");
    assert_eq!(said(b"O"), "message type 'O', want one of OUCH 5.0");
    assert_eq!(said(b"C12"), "message length 3, want 18 for type 'C'");
    let mut canceled = text("C", 1)
        .number(TS, 8)
        .number(2, 4)
        .number(100, 4)
        .text("U", 1)
        .0;
    canceled.push(0);
    assert_eq!(said(&canceled), "message length 19, want 20 for type 'C'");
    canceled.push(3);
    assert_eq!(said(&canceled), "message length 20, want 23 for type 'C'");
    canceled.extend([2, 28, 5]);
    assert!(Told::parse(&canceled).is_ok());
    canceled[20] = 3;
    assert!(said(&canceled).starts_with("type 'C', byte 20: want length, tag and value"));
    canceled[20] = 0;
    assert!(said(&canceled).starts_with("type 'C', byte 20: "));
}

proptest! {
    /// What is written is read, and what is read is what was written.
    #[test]
    fn orders_read_back(
        user_ref_num: u32,
        seq in 0..OrderId::SEQ_END,
        symbol in 0..65_536u32,
        rule: u8,
        ordinal: u16,
        units in 1..PRICE_END.0 / PRICE_UNIT,
        qty in 1..QTY_END,
        is_sale: bool,
        how in 0..3,
        second in 0..86_400i64,
        name in "[A-Z]{1,8}",
        firm in proptest::option::of("[A-Z]{4}"),
    ) {
        let day = Date { year: 2026, month: 1, day: 5 };
        let id = OrderId::new(day, rule, seq, symbol, ordinal);
        let token = Token::of(&id.key());
        prop_assert_eq!(token.order(day), Some(id));
        let firm = firm.map(|firm| <[u8; 4]>::try_from(firm.as_bytes()).unwrap());
        let mut writer = Writer::new(&Terms { firm, ..terms() });
        let tif = match how {
            0 => Tif::Day,
            1 => Tif::Ioc,
            _ => Tif::Till(Ts(MIDNIGHT.0 + second * 1_000_000_000)),
        };
        let side = if is_sale { Side::Sell } else { Side::Buy };
        let wanted = Order { side, ..order(units * PRICE_UNIT, qty, tif) };
        let mut padded = [b' '; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        let bytes = writer.enter(user_ref_num, token, &padded, &wanted).unwrap();
        let Ok(Asked::EnterOrder(enter, appendage)) = Asked::parse(bytes) else {
            panic!("it is an order");
        };
        prop_assert_eq!(enter.user_ref_num.get(), user_ref_num);
        prop_assert_eq!(enter.side, if is_sale { b'S' } else { b'B' });
        prop_assert_eq!(i64::from(enter.quantity.get()), qty);
        prop_assert_eq!(enter.symbol, padded);
        prop_assert_eq!(price_of(enter.price), Some(wanted.price));
        prop_assert_eq!(Token(enter.cl_ord_id), token);
        prop_assert_eq!(enter.time_in_force, b"036"[how as usize]);
        prop_assert_eq!(appendage.get(FIRM), firm.as_ref().map(|firm| &firm[..]));
        let expire = (how == 2).then(|| (second as u32).to_be_bytes());
        prop_assert_eq!(appendage.get(EXPIRE_TIME), expire.as_ref().map(|bytes| &bytes[..]));
    }

    /// Whatever stands there is a message or an error, on both sides.
    #[test]
    fn other_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
        let codes = b"OUXMQSACDEBJPITR";
        for code in codes {
            let mut bytes = bytes.clone();
            if let Some(first) = bytes.first_mut() {
                *first = *code;
            }
            for result in [
                Told::parse(&bytes).map(|_| ()),
                Asked::parse(&bytes).map(|_| ()),
            ] {
                if let Err(bad) = result {
                    prop_assert!(!bad.to_string().is_empty());
                }
            }
        }
    }
}
