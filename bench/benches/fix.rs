//! How many nanoseconds does FIX take: the sum over a message, an execution report from a stream's
//! bytes to the values that an order's state needs, and a NewOrderSingle, by the hot path's encoder
//! and by the writer that everything else goes through?

use std::hint::black_box;

use bench::{MIDNIGHT, group};
use bus::oms::{Encoder, FixConfig, NewOrder, OrderId};
use bus::ouch::Terms;
use bus::signal::Order;
use bus::{Price, Qty, Side, Ts};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fix::{DataTags, Fields, Framed, Framer, Version, Writer, frame, parse, tags, value};

/// An execution report as venues send them.
fn report(writer: &mut Writer) -> Vec<u8> {
    let message = writer
        .begin(b"8")
        .number(34, 123_456)
        .text(49, "BROKER")
        .time(52, MIDNIGHT, true)
        .text(56, "TAPELINE")
        .text(37, "ORD-000123456")
        .text(11, "260105-000000123456-002A-00-0001")
        .text(17, "EXEC-000987654")
        .text(150, "F")
        .text(39, "1")
        .text(55, "AAPL")
        .text(54, "1")
        .qty(38, Qty(300))
        .price(44, Price(187_250_000_000))
        .qty(32, Qty(100))
        .price(31, Price(187_250_000_000))
        .qty(151, Qty(200))
        .qty(14, Qty(100))
        .price(6, Price(187_250_000_000))
        .time(60, MIDNIGHT, true);
    message.finish(Version::Fix44).to_vec()
}

fn fix_messages(c: &mut Criterion) {
    let mut writer = Writer::new();
    let report = report(&mut writer);
    let sum = frame::checksum(&report);
    println!("fix: a report of {} bytes, sum {sum}", report.len());
    let mut group = group(c, "fix");
    group.throughput(Throughput::Bytes(report.len() as u64));
    group.bench_function("checksum of an execution report", |b| {
        b.iter(|| frame::checksum(black_box(&report)));
    });
    let (mut framer, mut fields, data) =
        (Framer::new(1 << 16), Fields::default(), DataTags::default());
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode of an execution report", |b| {
        b.iter(|| {
            framer.push(black_box(&report));
            let Some(Framed::Message(range)) = framer.advance() else {
                panic!("the report is a message")
            };
            let message = parse(framer.bytes(range), &mut fields, &data).expect("it has fields");
            let filled = message.get(tags::CUM_QTY).and_then(value::qty);
            let price = message.get(tags::LAST_PX).and_then(value::price);
            assert_eq!(
                (filled, price),
                (Some(Qty(100)), Some(Price(187_250_000_000)))
            );
            message.get(tags::CL_ORD_ID).map(<[u8]>::len)
        });
    });
    let config = FixConfig {
        sender: "TAPELINE".into(),
        target: "BROKER".into(),
        sender_sub: Some("DESK1".into()),
        account: None,
    };
    let mut encoder = Encoder::new(&config).expect("a valid session");
    let id = OrderId::new((2026, 1, 5), 0, 123_456, 42, 1);
    let order = Order {
        side: Side::Buy,
        price: Price(187_250_000_000),
        qty: Qty(300),
        bid: Price(187_240_000_000),
        ask: Price(187_250_000_000),
        tif: Default::default(),
    };
    let mut seq = 0;
    group.bench_function("encode of a NewOrderSingle, hot path", |b| {
        b.iter(|| {
            seq += 1;
            let time = Ts(MIDNIGHT.0 + seq as i64 * 1_000_000);
            let message = encoder.encode(&NewOrder {
                msg_seq: seq,
                sending_time: time,
                id: &id,
                symbol: b"AAPL    ",
                order: black_box(&order),
                transact_time: time,
                poss_resend: false,
            });
            message.len()
        });
    });
    let mut ouch = Encoder::ouch(&Terms {
        capacity: b'P',
        display: b'Y',
        firm: None,
        midnight: MIDNIGHT,
    });
    group.bench_function("encode of an Enter Order of OUCH, hot path", |b| {
        b.iter(|| {
            seq += 1;
            let time = Ts(MIDNIGHT.0 + seq as i64 * 1_000_000);
            let message = ouch.encode(&NewOrder {
                msg_seq: seq % 1_000_000,
                sending_time: time,
                id: &id,
                symbol: b"AAPL    ",
                order: black_box(&order),
                transact_time: time,
                poss_resend: false,
            });
            assert_eq!(message.len(), 47);
            message[4]
        });
    });
    group.bench_function("encode of a NewOrderSingle, writer", |b| {
        b.iter(|| {
            seq += 1;
            let time = Ts(MIDNIGHT.0 + seq as i64 * 1_000_000);
            writer
                .begin(b"D")
                .number(34, seq)
                .text(49, "TAPELINE")
                .time(52, time, true)
                .text(56, "BROKER")
                .bytes(11, b"260105-000000123456-002A-00-0001")
                .text(21, "1")
                .qty(38, black_box(order.qty))
                .text(40, "2")
                .price(44, order.price)
                .text(54, "1")
                .text(55, "AAPL")
                .text(59, "0")
                .time(60, time, true);
            writer.finish(Version::Fix44).len()
        });
    });
    group.finish();
}

criterion_group!(benches, fix_messages);
criterion_main!(benches);
