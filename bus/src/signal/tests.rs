use super::*;
use crate::event::Side;
use crate::fixed::{Notional, Price, Qty};

#[test]
fn every_body_survives_its_bytes() {
    let order = Order {
        side: Side::Sell,
        price: Price(5),
        qty: Qty(6),
        bid: Price(7),
        ask: Price::NONE,
        tif: Tif::Till(Ts(8)),
    };
    let bodies = [
        Body::Window(Window {
            start: Ts(1),
            open: Price(2),
            high: Price(3),
            low: Price(4),
            close: Price(5),
            volume: Qty(6),
            notional: Notional(-7 << 70),
            trade_count: 8,
            late_count: 9,
            revision: 10,
            is_final: false,
        }),
        Body::Late(Late {
            price: Price(1),
            qty: Qty(2),
            late_ns: 3,
            reason: LateReason::Future,
        }),
        Body::Spread(Spread {
            raised: true,
            bps: 2.5,
            bid: Price(1),
            ask: Price(2),
            since: Ts(3),
        }),
        Body::Regime(Regime {
            from: Volatility::Calm,
            to: Volatility::Stressed,
            bps: 1.25,
        }),
        Body::Momentum(Momentum {
            side: Side::Buy,
            move_bps: -0.5,
            imbalance: 0.75,
            quote: crate::Quote::EMPTY,
        }),
        Body::Order(order),
        Body::Reject(Reject {
            order,
            code: RejectCode::Collar,
            limit: -1,
            value: i64::MAX,
        }),
        Body::Sent(Sent {
            order_ordinal: 3,
            outcome: Outcome::Killed,
            msg_seq: 9,
            ts_sent: Ts(1),
            over: None,
        }),
        Body::Sent(Sent {
            order_ordinal: 3,
            outcome: Outcome::Refused,
            msg_seq: 0,
            ts_sent: Ts(1),
            over: Some(Over {
                whose: Whose::Firm,
                code: RejectCode::Messages,
                limit: i64::MAX,
                value: i64::MIN,
            }),
        }),
        Body::Digest(Digest {
            value: u64::MAX,
            events: 3,
            minute: 570,
        }),
        Body::Broken(Broken {
            match_number: u64::MAX,
        }),
        Body::Report(Report {
            order_seq: u64::MAX,
            order_ordinal: u16::MAX,
            fate: Fate::Rejected,
            side: Side::Sell,
            reason: Some(RejectCode::Queue),
            price: Price(1),
            qty: Qty(2),
            filled: Qty(3),
            left: Qty(4),
            ahead: Qty(5),
            limit: Price(6),
        }),
        Body::WindowFlow(WindowFlow {
            start: Ts(1),
            bought: Some(Qty(2)),
            sold: Qty(3),
            squares: Some(4 << 70),
            return_count: 5,
            sizes: Some([Qty(6), Qty(7), Qty(8)]),
        }),
        Body::WindowFlow(WindowFlow {
            start: Ts(1),
            bought: None,
            sold: Qty(3),
            squares: None,
            return_count: 5,
            sizes: None,
        }),
        Body::WindowStanding(WindowStanding {
            start: Ts(1),
            price_ns: 2 << 70,
            priced_ns: 3,
            spread_ns: -4 << 70,
            bid_qty_ns: 5 << 70,
            ask_qty_ns: 6 << 70,
            quoted_ns: 7,
            ofi: Qty(-8),
            moves: 9,
        }),
        Body::Adjust(Adjust {
            start: Ts(1),
            match_number: u64::MAX,
            price: Price::NONE,
            qty: Qty(2),
            reason: AdjustReason::Unknown,
            window_count: 3,
        }),
        Body::Features(Features {
            first: 12,
            count: 2,
            values: [0.5, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0],
        }),
        Body::Best(Best {
            bid: Price(1),
            ask: Price::NONE,
            bid_qty: 2 << 70,
            ask_qty: -3,
            bid_on: 4,
            ask_on: 5,
            counts: 6,
            decimals: 18,
        }),
        Body::Join(Join {
            left_seq: u64::MAX,
            left: JoinValue::Trade(crate::Fill {
                price: Price(1),
                qty: Qty(2),
                aggressor: Side::Sell,
            }),
            right: Met::Record {
                symbol: u32::MAX,
                ts: Ts(-1),
                seq: 3,
                value: JoinValue::Quote(crate::Quote {
                    bid: Price(4),
                    ask: Price::NONE,
                    bid_qty: Qty(5),
                    ask_qty: Qty(6),
                }),
            },
        }),
        Body::Join(Join {
            left_seq: 7,
            left: JoinValue::Quote(crate::Quote::EMPTY),
            right: Met::Row(u32::MAX),
        }),
        Body::Join(Join {
            left_seq: 7,
            left: JoinValue::Quote(crate::Quote::EMPTY),
            right: Met::Nothing,
        }),
    ];
    for body in bodies {
        let signal = Signal::new(Ts(10), 11, 12, 13, 14, body);
        let back = Signal::from_bytes(signal.as_bytes()).expect("its own bytes");
        assert_eq!(back, signal);
        assert_eq!(back.body(), Some(body));
    }
}

#[test]
fn an_event_is_not_a_signal() {
    assert!(Signal::from_bytes(&[0; 128]).is_none());
}
