//! What a simulated venue said, as a session would have been told it: order states, fills and positions
//! are made by the same code.

use std::collections::HashMap;

use bus::oms::{Date, OrderId};
use bus::signal::{Fate, Order, Outcome, Report, Tif};
use bus::{Body, Price, Qty, Side, Signal};
use fix::{Blotter, DataTags, Fields, Version, Writer, parse, tags};

/// By what names an order: its signal, what it is, and the number under which it left.
type Orders = HashMap<(u64, u32, u16), (Signal, Order, Option<u64>)>;

/// How the orders of a run stand, from its signals. One that was held back never reached a venue,
/// whatever the simulation made of it.
pub(super) fn blotter(
    date: Date,
    name_of: impl Fn(u32) -> String,
    signals: impl Iterator<Item = Result<Signal, String>>,
) -> Result<Blotter, String> {
    let mut orders = Orders::new();
    let mut sent = Vec::new();
    let mut reports: Vec<(Signal, Report)> = Vec::new();
    for signal in signals {
        let signal = signal?;
        match signal.body() {
            Some(Body::Order(order)) => {
                let key = (signal.seq, signal.symbol, signal.ordinal);
                orders.insert(key, (signal, order, None));
            }
            Some(Body::Sent(outcome)) if outcome.outcome == Outcome::Sent => {
                let key = (signal.seq, signal.symbol, outcome.order_ordinal);
                if let Some((.., number @ None)) = orders.get_mut(&key) {
                    sent.push(key);
                    *number = Some(sent.len() as u64);
                }
            }
            Some(Body::Report(report)) => reports.push((signal, report)),
            _ => {}
        }
    }
    let mut told = Told {
        blotter: Blotter::default(),
        writer: Writer::new(),
        fields: Fields::default(),
    };
    for (key, number) in sent.iter().zip(1..) {
        let (signal, order, _) = &orders[key];
        let id = OrderId::of(date, signal);
        told.order(number, &id, &name_of(signal.symbol), order);
    }
    let mut notionals: HashMap<(u64, u32, u16), i128> = HashMap::new();
    for (signal, report) in &reports {
        let key = (report.order_seq, signal.symbol, report.order_ordinal);
        let Some((of, order, Some(_))) = orders.get(&key) else {
            continue;
        };
        let notional = notionals.entry(key).or_default();
        if report.fate == Fate::Fill {
            *notional += (report.price * report.qty).0;
        }
        let average = notional.checked_div(report.filled.0.into());
        let id = OrderId::of(date, of);
        let symbol = name_of(signal.symbol);
        told.report(&id, &symbol, order, signal, report, average.unwrap_or(0));
    }
    Ok(told.blotter)
}

struct Told {
    blotter: Blotter,
    writer: Writer,
    fields: Fields,
}

fn side(side: Side) -> &'static [u8] {
    match side {
        Side::Sell => b"2",
        Side::Buy | Side::None => b"1",
    }
}

impl Told {
    fn order(&mut self, number: u64, id: &OrderId, symbol: &str, order: &Order) {
        let message = self.writer.begin(b"D");
        message.bytes(tags::CL_ORD_ID, id.as_bytes());
        message.text(tags::SYMBOL, symbol);
        message.bytes(tags::SIDE, side(order.side));
        message.qty(tags::ORDER_QTY, order.qty);
        message.price(tags::PRICE, order.price);
        let tif: &[u8] = match order.tif {
            Tif::Day => b"0",
            Tif::Ioc => b"3",
            Tif::Till(_) => b"6",
        };
        let bytes = message.bytes(tags::TIME_IN_FORCE, tif);
        let bytes = bytes.finish(Version::Fix44);
        let message = parse(bytes, &mut self.fields, &DataTags::default());
        self.blotter
            .sent(number, &message.expect("a message of our own"));
    }

    fn report(
        &mut self,
        id: &OrderId,
        symbol: &str,
        order: &Order,
        signal: &Signal,
        report: &Report,
        average: i128,
    ) {
        // ExecType and OrdStatus, FIX 4.4.
        let (kind, status): (&[u8], &[u8]) = match report.fate {
            Fate::New => (b"0", b"0"),
            Fate::Fill if report.left.0 == 0 => (b"F", b"2"),
            Fate::Fill => (b"F", b"1"),
            Fate::Cancelled => (b"4", b"4"),
            Fate::Expired => (b"C", b"C"),
            Fate::Rejected => (b"8", b"8"),
        };
        let message = self.writer.begin(b"8");
        message.text(tags::ORDER_ID, &format!("P{id}"));
        message.bytes(tags::CL_ORD_ID, id.as_bytes());
        let exec_id = format!("P{}-{}-{}", signal.seq, signal.symbol, signal.ordinal);
        message.text(tags::EXEC_ID, &exec_id);
        message.bytes(tags::EXEC_TYPE, kind);
        message.bytes(tags::ORD_STATUS, status);
        message.text(tags::SYMBOL, symbol);
        message.bytes(tags::SIDE, side(order.side));
        message.qty(tags::ORDER_QTY, order.qty);
        message.price(tags::PRICE, order.price);
        if report.fate == Fate::Fill {
            message.qty(tags::LAST_QTY, report.qty);
            message.price(tags::LAST_PX, report.price);
        }
        message.qty(tags::CUM_QTY, report.filled);
        message.qty(tags::LEAVES_QTY, Qty(report.left.0));
        message.price(tags::AVG_PX, Price(average as i64));
        if let Some(reason) = report.reason {
            message.text(tags::TEXT, reason.name());
        }
        let bytes = message.finish(Version::Fix44);
        let message = parse(bytes, &mut self.fields, &DataTags::default());
        let message = message.expect("a message of our own");
        self.blotter.came(&message, signal.ts_event.0);
    }
}
